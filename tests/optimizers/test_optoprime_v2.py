"""`OptoPrimeV2`: the settings of Trace's class of that name mean what they mean there."""

import pytest

from opto.errors import OptimizerError
from opto.llm import ScriptedLLM
from opto.nodes import node
from opto.optimizers import OptoPrime, OptoPrimeV2
from opto.optimizers.optoprime_v2 import OptimizerPromptSymbolSet, OptimizerPromptSymbolSet2
from opto.optimizers.optoprime_v2 import OptimizerPromptSymbolSetJSON as Json
from opto.optimizers.optoprime_v2 import OptoPrimeV2 as AtItsPath


@pytest.fixture
def prompt():
    return node("Be brief. " * 30, name="prompt", trainable=True)


def asked(optimizer, output, feedback="wrong"):
    optimizer.zero_feedback()
    optimizer.backward(output, feedback)
    optimizer.step()
    return "\n".join(message["content"] for message in optimizer.llm.calls[-1].messages)


TERMINATE = ScriptedLLM(["TERMINATE"] * 9)


def test_all_settings_of_trace_are_taken(prompt):
    optimizer = OptoPrimeV2(
        [prompt],
        llm=TERMINATE,
        propagator=None,
        objective="Improve it.",
        ignore_extraction_error=False,
        include_example=True,
        memory_size=5,
        max_tokens=8192,
        log=True,
        initial_var_char_limit=500,
        optimizer_prompt_symbol_set=OptimizerPromptSymbolSet2(),
        use_json_object_format=False,
        truncate_expression=lambda value, limit: str(value)[:limit],
        problem_context="It is for children.",
    )

    text = asked(optimizer, prompt + "!")

    assert AtItsPath is OptoPrimeV2
    assert isinstance(optimizer, OptoPrime)
    assert "# Context\nIt is for children." in text
    assert "# Example" in text
    with pytest.raises(TypeError, match="'initial_var_limit'"):
        OptoPrimeV2([prompt], TERMINATE, initial_var_limit=3)


def test_values_are_cut_and_variables_are_not(prompt):
    optimizer = OptoPrimeV2([prompt], TERMINATE, initial_var_char_limit=100)

    text = asked(optimizer, prompt + node("x" * 5_000, name="document"))

    assert prompt.data in text
    assert "x" * 49 in text
    assert "x" * 51 not in text
    assert "(4,902 of 5,002 characters left out)" in text
    assert OptoPrimeV2([prompt], TERMINATE).initial_var_char_limit == 2_000


def test_values_are_cut_as_the_user_wants(prompt):
    optimizer = OptoPrimeV2(
        [prompt],
        TERMINATE,
        initial_var_char_limit=8,
        truncate_expression=lambda value, limit: f"{str(value)[:limit]}~",
    )

    assert "document0 = abcdefgh~\n" in asked(optimizer, prompt + node("abcdefghijklm", name="document"))


def test_context_is_added_to(prompt):
    optimizer = OptoPrimeV2([prompt], TERMINATE)

    assert "# Context" not in asked(optimizer, prompt + "!")
    optimizer.add_context("First.")
    optimizer.add_context("Second.")
    assert "# Context\nFirst.\n\nSecond.\n\n# Code" in asked(optimizer, prompt + "!")


def test_the_set_of_symbols_decides_the_format_of_answers(prompt):
    assert '{"reasoning":' in asked(OptoPrimeV2([prompt], TERMINATE, optimizer_prompt_symbol_set=Json()), prompt + "!")
    assert "<reasoning>" in asked(OptoPrimeV2([prompt], TERMINATE), prompt + "!")


def test_answers_that_cannot_be_read_are_no_format(prompt):
    class Own(OptimizerPromptSymbolSet):
        def output_response_extractor(self, response):
            return {}

    with pytest.raises(OptimizerError, match="Own has its own output_response_extractor"):
        OptoPrimeV2([prompt], TERMINATE, optimizer_prompt_symbol_set=Own())
    with pytest.raises(OptimizerError, match="initial_var_char_limit is 0"):
        OptoPrimeV2([prompt], TERMINATE, initial_var_char_limit=0)


@pytest.mark.parametrize(
    ("name", "value"), [("optimizer_prompt_symbol_set", 3), ("truncate_expression", 10), ("initial_var_char_limit", 1)]
)
def test_settings_of_another_kind_are_refused_by_name(name, value):
    x = node("a", name="x", trainable=True)

    with pytest.raises(OptimizerError, match=f"{name} is {value}"):
        OptoPrimeV2([x], ScriptedLLM([]), **{name: value})


def test_a_value_that_is_not_shortened_to_a_text_is_an_error_that_says_so():
    x = node("a", name="x", trainable=True)
    optimizer = OptoPrimeV2([x], ScriptedLLM([]), truncate_expression=lambda value, most: None)
    optimizer.backward(x + "b", "wrong")

    with pytest.raises(OptimizerError, match=r"A value was shortened to None\. Return a text\."):
        optimizer.step()
