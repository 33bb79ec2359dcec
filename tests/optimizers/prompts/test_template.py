"""Templates: slots are filled, empty paragraphs vanish, and mistakes show when a template is made."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import OptimizerError
from opto.optimizers.prompts.template import PromptTemplate, Template, masked

TEXT = '# Head\n{head}\n\n# Data\n{data}\n{more}\n\nAs JSON: {"a": {{data}}}\n\n\nEnd { and } {0} {}'


def test_values_stand_in_their_slots():
    template = Template(TEXT, ["head", "data", "more"])

    assert template.fill({"head": "H", "data": "D", "more": "M"}) == (
        '# Head\nH\n\n# Data\nD\nM\n\nAs JSON: {"a": {data}}\n\n\nEnd { and } {0} {}'
    )


def test_a_paragraph_goes_if_all_of_its_slots_are_empty():
    template = Template(TEXT, ["head", "data", "more"])

    shown = template.fill({"more": "M"})

    assert shown.startswith("# Data\n\nM\n\nAs JSON")
    assert "Head" not in shown


def test_what_stands_in_a_slot_is_not_looked_at():
    template = Template("{first} {second}", ["first", "second"])

    assert template.fill({"first": "{second} {{second}} %s \\1 {", "second": "2"}) == "{second} {{second}} %s \\1 { 2"


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.text()))
def test_any_value_is_kept_as_it_is(values):
    template = Template("<{a}|{b}|{c}>", ["a", "b", "c"])

    expected = f"<{values.get('a', '')}|{values.get('b', '')}|{values.get('c', '')}>" if any(values.values()) else ""
    assert template.fill(values) == expected


def test_an_unknown_slot_is_refused_with_its_neighbour():
    with pytest.raises(OptimizerError, match=r"\{feedbak\} is no slot of user_prompt\. Did you mean \{feedback\}\?"):
        PromptTemplate("", "{feedbak}", ["feedback", "code"])
    with pytest.raises(OptimizerError, match=r"There are \{feedback\} and \{code\}\. For the text .* \{\{name\}\}"):
        PromptTemplate("Hello {name}", "{feedback}", ["feedback", "code"])


def test_a_missing_slot_is_refused():
    required = [("variables", "problem"), ("answer_format",)]
    slots = ["variables", "problem", "answer_format"]

    with pytest.raises(OptimizerError, match=r"no slot for the variables\. Write \{variables\} or \{problem\} where"):
        PromptTemplate("{answer_format}", "Improve it.", slots, required=required)
    with pytest.raises(OptimizerError, match=r"no slot for the answer format\. Write \{answer_format\} where"):
        PromptTemplate("", "{problem}", slots, required=required)
    PromptTemplate("{answer_format}", "{variables}", slots, required=required)


def test_something_else_than_text_is_refused():
    with pytest.raises(OptimizerError, match="system_prompt is a list"):
        PromptTemplate(["{a}"], "{a}", ["a"])


def test_a_prompt_without_system_text_is_one_message():
    template = PromptTemplate("{context}", "{request}", ["context", "request"])

    assert template.fill({"request": "What?"}) == [{"role": "user", "content": "What?"}]
    assert [message["role"] for message in template.fill({"context": "A", "request": "B"})] == ["system", "user"]


@pytest.mark.parametrize("title", ["#Left out", "# Left out", "left_out", "# LEFT OUT "])
def test_sections_are_known_by_their_titles(title):
    assert masked([title], ["code", "left_out"], "It") == {"left_out"}


def test_sections_that_are_not_there_cannot_be_masked():
    with pytest.raises(OptimizerError, match=r"The prompt of It has no section '#Cods'\. Did you mean code\?"):
        masked(["#Cods"], ["code"], "It")
    with pytest.raises(OptimizerError, match="has no section 'x'. There are code, inputs."):
        masked("x", ["code", "inputs"], "It")


def test_what_is_said_in_the_system_prompt_only_is_said_as_the_user():
    prompt = PromptTemplate("Improve {variables}.", "{context}", ["variables", "context"])

    assert prompt.fill({"variables": "x"}) == [{"role": "user", "content": "Improve x."}]
    assert [message["role"] for message in prompt.fill({"variables": "x", "context": "y"})] == ["system", "user"]
