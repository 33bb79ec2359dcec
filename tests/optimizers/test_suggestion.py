"""Answers of models: what is written is read back, and what is broken is never a value."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import SuggestionError
from opto.optimizers.suggestion import FORMATS, JsonFormat, Suggestion, TagFormat, read_answer

TAGS, JSON = TagFormat(), JsonFormat()

names = st.text(string.ascii_letters + string.digits + "_", min_size=1)
# Pieces that formats are made of, so that values hold what could end them.
pieces = st.sampled_from(
    [
        *("<value>", "</value>", "</value>\n</variable>", "<variable>", "<![CDATA[", "]]>", "</reasoning>", "<think>"),
        *("\n", "  ", "```", '"', "\\", "{", "}", "TERMINATE", "é", "def f():\n    return 1\n"),
    ]
)
texts = st.lists(pieces | st.text(max_size=8)).map("".join).filter(lambda text: "\r" not in text)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(names, texts, max_size=3))
def test_tags_give_every_text_back(values):
    written = TAGS.write(Suggestion(values, "because"))

    assert TAGS.read(written) == Suggestion(values, "because")
    assert read_answer(written).values == values


@given(st.dictionaries(names, json_values, max_size=3), texts)
def test_json_gives_every_value_back(values, reasoning):
    written = JSON.write(Suggestion(values, reasoning))

    assert JSON.read(written) == Suggestion(values, reasoning)
    assert read_answer(written).values == values


CODE = 'def f(x):\n    """Doc with <b> and {"a": 1}."""\n    return [x < 3, "</value>"]\n'


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_cut_answer_is_never_a_value(format_name):
    whole = FORMATS[format_name].write(Suggestion({"code": CODE, "prompt": "Say <hi>."}, "Because of {this}."))
    unread, complete = 0, 0

    for end in range(len(whole.rstrip())):
        try:
            read = read_answer(whole[:end])
        except SuggestionError:
            unread += 1
        else:
            # Between two blocks nothing tells that another was to come; what was read is whole all the same.
            assert read.values in ({}, {"code": CODE})
            complete += 1

    assert unread > 10 * complete


TAGGED = "<reasoning>r</reasoning><variable><name>x</name><value>2</value></variable>"


@pytest.mark.parametrize(
    ("answer", "values"),
    [
        (TAGGED, {"x": "2"}),
        (f"Sure! Here it is:\n\n{TAGGED}\n\nHope that helps.", {"x": "2"}),
        (f"```xml\n{TAGGED}\n```", {"x": "2"}),
        (f"<think>x = {{3}}? <variable></think>{TAGGED}", {"x": "2"}),
        (TAGGED.upper().replace("<NAME>X", "<NAME>x"), {"x": "2"}),
        ("<variable>\n  <name> x </name>\n  <value>\n2\n  </value>\n</variable>", {"x": "2"}),
        ("<variable><name>x</name><value></value></variable>", {"x": ""}),
        ("<reasoning>nothing to do</reasoning>", {}),
        ('{"reasoning": "r", "suggestion": {"x": 2}}', {"x": 2}),
        ('Here: {"suggestion": {"x": "<variable><name>y</name><value>1</value></variable>"}} !', None),
        ('```json\n{"suggestion": {"x": "a\nb"}}\n```', {"x": "a\nb"}),
        ('{"suggestion": {"x": "say TERMINATE"}}', {"x": "say TERMINATE"}),
        ("TERMINATE", {}),
        # What the problem shows of a variable, repeated.
        (TAGGED.replace("</value>", "</value>\n<constraint>must be an integer</constraint>\n"), {"x": "2"}),
        (TAGGED.replace("<value>", "<constraint>an integer</constraint><value type='int'>"), {"x": "2"}),
        ('<variable name="x"><value>2</value></variable>', {"x": "2"}),
        ("<variable ><name>`x`</name><value>2</value></variable >", {"x": "2"}),
        # Thinking in other words, and with the opening tag in the prompt.
        ("<thinking><variable><name>y</name><value>9</value></variable></thinking>" + TAGGED, {"x": "2"}),
        ("maybe <variable><name>y</name><value>9</value></variable> no</think>" + TAGGED, {"x": "2"}),
        ("The set {1, 2} and the tag `<variable>` in prose. " + TAGGED, {"x": "2"}),
        ('For {"a": 1} I say: {"suggestion": {"x": 2}}', {"x": 2}),
        ("<variable>\r\n<name>x</name>\r\n<value>\r\na\r\nb\r\n</value>\r\n</variable>", {"x": "a\nb"}),
    ],
)
def test_answers_as_models_write_them(answer, values):
    if values is None:
        values = {"x": "<variable><name>y</name><value>1</value></variable>"}
    assert read_answer(answer).values == values


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "empty"),
        ("   \n", "empty"),
        ("I would change nothing.", "no <variable> block"),
        ("<think>hm", "still thinking"),
        ("<reasoning>because", "within its reasoning"),
        ("<variable><name>x</name><value>2", "within the value of 'x'"),
        ("<variable><name>x</name>", "no <name> and <value>"),
        (f"{TAGGED}<varia", "within a tag"),
        (f"{TAGGED}{TAGGED.partition('</reasoning>')[2]}", "two values for 'x'"),
        ('{"suggestion": {"x": 2}', "no complete JSON"),
        ('{"suggestion": {"x": 2, "x": 3}}', "'x' occurs twice"),
        ('{"suggestion": "x"}', "no object under 'suggestion'"),
        ('{"x": 2}', "no object under 'suggestion'"),
        ("<variable><name>x</name><value>A</value>\n" + TAGGED, "not closed"),
        ("<variable><name>x</name><value><![CDATA[End with </value>\n</variable> and", "not closed|within the value"),
        ('{"suggestion": {"x": 2}} {"suggestion": {"x": 3}}', "two suggestions"),
        ('{"suggestion": {"x": NaN}}', "no number of JSON"),
        ('<reasoning>r</reasoning>\n```json\n{"suggestion": {"x": 5}}\n```', "in no <variable> block"),
        ("<reasoning>r</reasoning><name>x</name><value>2</value>", "in no <variable> block"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_reason(answer, reason):
    with pytest.raises(SuggestionError, match=reason):
        read_answer(answer)


def test_answers_that_were_cut_within_many_escapes_are_read_in_no_time():
    written = TAGS.write(Suggestion({"x": "]]>" * 2_000 + "</value></variable>"}))

    assert read_answer(written).values == {"x": "]]>" * 2_000 + "</value></variable>"}
    with pytest.raises(SuggestionError):
        read_answer(written[:-40])


@given(texts)
def test_any_text_is_read_or_refused_and_values_come_from_it(text):
    try:
        read = read_answer(text)
    except SuggestionError:
        return
    for value in read.values.values():
        if isinstance(value, str) and "\\" not in text and "CDATA" not in text:
            assert value in text
