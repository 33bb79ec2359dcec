"""Text keeps what a program needs of it: placeholders, parts, form and size."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import DomainError
from opto.nodes import Text, as_domain, node

PIECES = ["{question}", "{context}", "{question!r}", "{question:>20}", "{question.name}", "{other}", "{}", "{0}",
          "{{", "}}", "{", "}", "Answer in JSON.", "Be brief.", "\n", " "]  # fmt: skip
PROMPTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=8).map("".join)


def reason(domain, raw):
    """Return the reason for which *domain* refuses *raw*, in two sentences, or None if it does not."""
    try:
        assert domain.accept(raw) == raw
    except DomainError as error:
        sentences = error.problem, error.mend
    else:
        return None
    assert all(sentence.endswith(".") for sentence in sentences)
    return " ".join(sentences)


@given(prompt=PROMPTS)
def test_what_is_accepted_can_be_filled_in_and_holds_the_value(prompt):
    """The law that a program needs: `format` works, and the question is in what it returns."""
    domain = Text(placeholders=["question"], optional=["context"])
    if reason(domain, prompt) is None:
        assert "Question" in prompt.format(question="Question", context="Context")


@given(prompt=PROMPTS)
def test_what_cannot_be_filled_in_is_refused(prompt):
    try:
        filled = prompt.format(question="\0", context="")
    except (ValueError, KeyError, IndexError, AttributeError):
        filled = ""
    if not re.search("\0|'.x00'", filled):
        assert reason(Text(placeholders=["question"], optional=["context"]), prompt)


@pytest.mark.parametrize(
    ("prompt", "problem"),
    [
        ("Q: {question}", None),
        ("Q: {question!r:>10} {{not one}}", None),
        ("Q: {question} {context}", None),
        ("Q", "lacks the placeholder {question}"),
        ("Q: {{question}}", "lacks the placeholder {question}"),
        ("Q: {question.text}", "lacks the placeholder {question}"),
        ("Q: {question} {answer}", "placeholder {answer}, for which there is no value"),
        ("Q: {question} {question.__class__}", "for which there is no value"),
        ("Q: {question:{width}}", "placeholder {width}"),
        ("Q: {question} {}", "placeholder {}"),
        ('Q: {question} {"a": 1}', "for which there is no value"),
        ("Q: {question} {", "cannot be filled in"),
        ("Q: {question} }", "cannot be filled in"),
        ("Q: {question!x}", "cannot be filled in"),
    ],
)
def test_placeholders(prompt, problem):
    said = reason(Text(placeholders=["question"], optional=["context"]), prompt)
    assert said is None if problem is None else problem in said


def test_placeholders_of_the_start_are_those_to_keep():
    prompt = node("{user.name} asks: {question}", trainable=True, domain=Text(placeholders=True))
    assert prompt.accept("{question} ({user.name})") == "{question} ({user.name})"
    assert "{user.name}" in reason(prompt.domain, "{question}")
    assert "with the placeholders {user.name}, {question} and no other" in prompt.domain.describe()
    with pytest.raises(DomainError, match="has no placeholders"):
        node("Answer.", trainable=True, domain=Text(placeholders=True))


@given(parts=st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=4), between=st.lists(st.text(), min_size=5))
def test_parts_stay_in_their_order_whatever_is_written_around_them(parts, between):
    text = "".join(one for pair in zip(between, [*parts, ""], strict=False) for one in pair)
    assert reason(Text(keep=parts, min_length=0), text) is None


@given(text=st.text(alphabet="ab"), parts=st.lists(st.sampled_from(["a", "b", "ab", "ba", "aa"]), max_size=4))
def test_kept_parts_are_found_apart_from_each_other(text, parts):
    """Against another way to say the same: a regular expression with anything between the parts."""
    pattern = ".*".join(["", *parts, ""])
    assert (reason(Text(keep=parts, min_length=0), text) is None) is bool(re.fullmatch(pattern, text, re.DOTALL))


def test_parts_between_marks_stay():
    start = "Hello. <rules>Never lie.</rules> Bye. <rules>Be kind.</rules>"
    prompt = node(start, trainable=True, domain=Text(keep=re.compile("<rules>.*?</rules>")))
    assert prompt.accept("<rules>Never lie.</rules><rules>Be kind.</rules>")
    assert "lacks '<rules>Be kind.</rules>'" in reason(prompt.domain, "<rules>Never lie.</rules>")
    swapped = "<rules>Be kind.</rules><rules>Never lie.</rules>"
    assert "has '<rules>Be kind.</rules>' in another place" in reason(prompt.domain, swapped)
    with pytest.raises(DomainError, match="finds nothing in the text"):
        node("Hello.", trainable=True, domain=Text(keep=re.compile("<rules>.*?</rules>")))


@given(text=st.text(alphabet="ab\n", max_size=12), least=st.integers(0, 6), most=st.integers(0, 12),
       lines=st.integers(1, 4))  # fmt: skip
def test_sizes(text, least, most, lines):
    if most < least:
        with pytest.raises(DomainError, match="No text has"):
            Text(min_length=least, max_length=most)
        return
    fits = (
        least <= len(text) <= most
        and (least == 0 or text.strip() != "")
        and len(text.removesuffix("\n").split("\n")) <= lines
    )
    assert (reason(Text(min_length=least, max_length=most, max_lines=lines), text) is None) is fits


def test_a_pattern_matches_all_of_the_text():
    domain = as_domain(re.compile(r"[a-z]+|\d"), "abc")
    assert domain == Text(r"[a-z]+|\d")
    assert [raw for raw in ("abc", "7", "77", "abc\n", "a1", "") if reason(domain, raw) is None] == ["abc", "7"]


@pytest.mark.parametrize("raw", [3, None, b"text", ["text"]])
def test_other_values_are_no_text(raw):
    assert "is not a text" in reason(Text(), raw)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "a text"),
        ({"max_length": 200}, "a text of at most 200 characters"),
        ({"min_length": 1}, "a text of at least 1 character"),
        ({"min_length": 2, "max_length": 9, "max_lines": 1}, "a text of 2 to 9 characters, of at most 1 line"),
        ({"pattern": "[a-z]+"}, "a text matching the regular expression [a-z]+ as a whole"),
        ({"keep": "END"}, "a text that keeps 'END' word for word"),
        (
            {"placeholders": ["a"], "optional": ["b"]},
            (
                "a text with the placeholder {a}, perhaps {b}, and no other "
                "(a brace that means itself is doubled: {{ or }})"
            ),
        ),
    ],
)
def test_words_for_texts(settings, words):
    assert Text(**settings).describe() == words


@pytest.mark.parametrize(
    "settings", [{"pattern": "("}, {"max_length": -1}, {"max_lines": 0}, {"placeholders": ["{a"]}, {"optional": [""]}]
)
def test_texts_that_cannot_be(settings):
    with pytest.raises(DomainError):
        Text(**settings)


@pytest.mark.parametrize(
    "domain", [None, Text(), Text(max_length=80), re.compile("(?s).*"), Text(min_length=1)], ids=str
)
@pytest.mark.parametrize("raw", ["", " ", "\n\t ", "```\n\n```"])
def test_nobody_means_to_leave_a_prompt_out(domain, raw):
    prompt = node("Be brief.", trainable=True, domain=domain)
    with pytest.raises(DomainError, match=r"The text is blank\. Give one with something in it\."):
        prompt.accept(raw)
    assert prompt.accept(" x ") == " x "


@pytest.mark.parametrize("domain", [str, Text(min_length=0), Text("a*", min_length=0)], ids=str)
def test_whoever_wants_blank_texts_says_so(domain):
    assert not node("a", trainable=True, domain=domain).accept("")


@pytest.mark.parametrize("domain", [None, Text(), Text(max_length=9)], ids=str)
def test_a_text_that_starts_blank_may_stay_so(domain):
    suffix = node(" ", trainable=True, domain=domain)
    assert [suffix.accept(raw) for raw in ("", "\n", "more")] == ["", "\n", "more"]
