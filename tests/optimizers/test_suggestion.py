"""Answers of models: what is written is read back, and what is broken is never a value."""

import importlib.util
import string
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import SuggestionError
from opto.optimizers.suggestion import FORMATS, Suggestion, read_answer


def figures():
    """Load the command that prints the figures on answers: it knows the corpus, and what "contains" means."""
    spec = importlib.util.spec_from_file_location("answers", Path(__file__).parents[2] / "benchmarks" / "answers.py")
    sys.modules["answers"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


answers = figures()
CORPUS = {answer.name: answer for answer in answers.corpus()}
GOOD = [name for name, answer in CORPUS.items() if answer.values]

names = st.text(string.ascii_letters + string.digits + "_.:", min_size=1)
# Pieces that formats are made of, so that values hold what could end them.
texts = st.lists(st.sampled_from(answers.TOKENS) | st.text(max_size=8)).map("".join)
data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
CODE = 'def f(x):\n    """Doc with <b> and {"a": 1}."""\n    return [x < 3, "</value>"]\n'


@pytest.mark.parametrize("name", CORPUS)
def test_an_answer_of_the_corpus_is_read_as_expected(name):
    assert CORPUS[name].complaint() is None


def test_the_corpus_has_answers_of_every_kind():
    assert len(CORPUS) >= 60
    assert sum(answer.refused is None and not answer.values for answer in CORPUS.values()) >= 5, "no change"


@pytest.mark.parametrize("name", GOOD)
def test_an_answer_of_the_corpus_that_was_cut_gives_no_value(name):
    assert [wrong for cut in CORPUS[name].cuts() if (wrong := CORPUS[name].complaint_of_cut(cut))] == []


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_cut_answer_gives_nothing_wherever_it_is_cut(format_name):
    whole = FORMATS[format_name].write(Suggestion({"code": CODE, "n": 3, "prompt": "Say <hi>."}, "For {this}."))

    for end in range(len(whole)):
        with pytest.raises(SuggestionError):
            read_answer(whole[:end])


@pytest.mark.parametrize("format_name", FORMATS)
@given(st.dictionaries(names, data | st.just(CODE), max_size=3), texts)
def test_what_is_written_is_read_back(format_name, values, reasoning):
    read = read_answer(FORMATS[format_name].write(Suggestion(values, reasoning)))

    assert answers.same(dict(read.values), values)


@pytest.mark.parametrize("format_name", FORMATS)
def test_reasoning_is_read_back_as_well(format_name):
    said = Suggestion({"x": 1}, 'Write </reasoning> and <![CDATA[, as {"suggestion": 1} does.')

    assert read_answer(FORMATS[format_name].write(said)) == said


@pytest.mark.parametrize("format_name", FORMATS)
def test_what_is_no_data_is_not_written(format_name):
    for value in (float("nan"), object()):
        with pytest.raises((ValueError, TypeError)):
            FORMATS[format_name].write(Suggestion({"x": value}))


def test_changed_answers_are_read_or_refused_and_values_come_from_them():
    found = answers.fuzz(1_500)

    assert found.complaints == []
    assert found.outcomes["values"] > 100
    assert found.outcomes["refused"] > 100


@pytest.mark.parametrize(
    ("answer", "value", "is_contained"),
    [
        ('{"x": "a\\nb"}', "a\nb", True),
        ("<value>a\r\nb</value>", "a\nb", True),
        ('{"x": "a\\nb"}', "a b", False),
        ('{"x": "ab"}', "abc", False),
        ('{"x": 17}', 17, True),
        ('{"x": 17}', 1, False),
        ('{"x": 1}', 1.0, False),
        ('{"x": 1}', True, False),
        ('{"x": [1, {"y": null}]}', [1, {"y": None}], True),
        ('{"x": [1, {"y": 2}]}', [1, {"z": 2}], False),
    ],
)
def test_what_an_answer_contains(answer, value, is_contained):
    assert answers.contains(answer, value) is is_contained


@given(texts)
def test_any_text_is_read_or_refused_and_values_come_from_it(text):
    try:
        read = read_answer(text)
    except SuggestionError:
        return
    assert answers.contains(text, dict(read.values))


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
        ("<reasoning>r</reasoning><name>x</name><value>2</value>", "in no <variable> block"),
        ("<variable><name>x</name><value><![CDATA[a]]> and b</value></variable>", "holds tags"),
        # A second answer that was cut, and one behind an answer that is broken.
        ('{"suggestion": {"x": 2}}\nOr better: {"sugg', "no complete JSON"),
        ('{"suggestion": {"x": 1 2}} {"suggestion": {"x": 3}}', "no complete JSON"),
        ('{"reasoning": "Say "no".", "suggestion": {"suggestion": {"x": 2}}}', "no complete JSON"),
        # Not the end of thinking: a part of a value, though its quotes are wrong.
        ('{"suggestion": {"p": "Say "hi", </think>, and {"suggestion": {"x": 1}}."}}', "no complete JSON"),
        ('{"suggestion": {"x": 1e999}}', "no finite number"),
        ('{"suggestion": {"x": 007}}', "begins with a zero"),
        ('{"suggestion": {"x": (7)}}', "single value"),
        ('{"suggestion": {"x": %s}}' % ("7" * 5_000), "too long"),
        ('{"suggestion": {"x": %s}}' % ("[" * 100_000), "nested too deep"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_reason(answer, reason):
    with pytest.raises(SuggestionError, match=reason):
        read_answer(answer)


def test_an_object_of_variables_is_an_answer_only_if_it_is_whole():
    assert read_answer('{"x": 1}', ["x", "reasoning"]).values == {"x": 1}
    assert read_answer('{"reasoning": "new", "x": 1}', ["x", "reasoning"]).values == {"reasoning": "new", "x": 1}
    with pytest.raises(SuggestionError, match="no complete JSON"):
        read_answer('{"reasoning": "Say "no".", "values": {"x": 1}}', ["x"])
    with pytest.raises(SuggestionError, match="no object under"):
        read_answer('{"x": 1} {"x": 2}', ["x"])


def test_many_escapes_are_read_in_no_time():
    written = FORMATS["tags"].write(Suggestion({"x": "]]>" * 2_000 + "</value></variable>"}))

    assert read_answer(written).values == {"x": "]]>" * 2_000 + "</value></variable>"}
    with pytest.raises(SuggestionError):
        read_answer(written[:-60])
