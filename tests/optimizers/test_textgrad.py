"""TextGrad: what is said goes backward call by call, and each variable is edited by what arrives at it."""

import pytest

from opto.errors import OptimizerError, ServerError
from opto.llm import Reply, ScriptedLLM, Usage
from opto.nodes import node
from opto.optimizers import TextGrad
from opto.optimizers.suggestion import Suggestion, TagFormat
from opto.trace import bundle


@bundle
def answer(prompt, question):
    """Answers the question as the prompt says."""
    return f"{prompt} {question}: 42"


def edit(**values):
    return TagFormat().write(Suggestion(values, "because"))


def texts(llm):
    return [call.messages[-1]["content"] for call in llm.calls]


def test_a_graph_that_needs_too_many_calls_is_refused_before_the_first():
    prompt = node("Be brief.", name="prompt", trainable=True)
    llm = ScriptedLLM([])
    optimizer = TextGrad([prompt], llm, max_calls=3)

    optimizer.backward(answer(prompt, "6 * 7?").strip().upper(), "The unit is missing.")
    with pytest.raises(OptimizerError, match=r"would ask the model 4 times in this step\. Raise max_calls, which is 3"):
        optimizer.step()

    assert llm.calls == []


def test_feedback_arrives_in_words_and_edits_the_variable():
    prompt = node("Be brief.", name="prompt", trainable=True)
    question = node("6 * 7?", name="question")
    llm = ScriptedLLM(["It has no unit.", "It asks for no unit.", edit(prompt="Name the unit.")])
    optimizer = TextGrad([prompt], llm)

    optimizer.backward(answer(prompt, question).strip(), "The unit is missing.")
    step = optimizer.step()

    strip, asked, edited = texts(llm)
    assert "# Call\nstrip0 = answer0.strip()" in strip
    assert "# Feedback on strip0\nThe unit is missing." in strip
    assert strip.endswith("How should answer0 change?")
    assert "# Call\nanswer0 = answer(prompt=prompt, question=question0)\n[answer] Answers the question" in asked
    assert "# Feedback on answer0\nIt has no unit." in asked
    assert "question0 = '6 * 7?'" in asked
    assert asked.endswith("How should prompt change?")
    assert "# What was said about prompt\n- It asks for no unit." in edited
    assert prompt.data == "Name the unit."
    assert step.reasoning == "because"


def test_what_is_said_by_several_calls_adds_up_and_lists_cost_nothing():
    x = node(2, name="x", trainable=True)
    llm = ScriptedLLM(["from the product", "from the sum", edit(x=3)])
    optimizer = TextGrad([x], llm)

    optimizer.backward(node([x + 1, x * 2]), "too small")
    optimizer.step()

    assert "- from the product\n- from the sum" in texts(llm)[-1]
    assert "# Feedback on multiply0\ntoo small" in "".join(texts(llm))
    assert x.data == 3


def test_all_calls_are_counted():
    x = node(2, name="x", trainable=True)
    cost = Usage(input_tokens=10, output_tokens=5)
    replies = [Reply("more", "m", usage=cost), Reply(edit(x=3), "m", usage=cost)]
    optimizer = TextGrad([x], ScriptedLLM(replies))

    optimizer.backward(x + 1, "too small")

    assert optimizer.step().usage == cost + cost


def test_an_edit_that_cannot_be_read_is_asked_for_again():
    x = node(2, name="x", trainable=True)
    llm = ScriptedLLM(["more", "I would say 3", edit(x=3)])
    optimizer = TextGrad([x], llm)

    optimizer.backward(x + 1, "too small")

    assert optimizer.step().outcome == "updated"
    assert "That answer cannot be used" in texts(llm)[-1]


def test_what_was_paid_before_a_call_fails_is_recorded():
    x = node(2, name="x", trainable=True)
    cost = Usage(input_tokens=10, output_tokens=5)
    failure = ServerError("It is down.", mend="Wait.")
    optimizer = TextGrad([x], ScriptedLLM([Reply("more", "m", usage=cost), failure]))

    optimizer.backward((x + 1) * 2, "too small")
    step = optimizer.step()

    assert step.outcome == "failed"
    assert step.usage == cost
    assert step.messages[-1]["content"].endswith("How should x change?")


@pytest.mark.parametrize("reply", ["", Reply("I cannot help with that.", "m", finish_reason="refusal")])
def test_a_variable_of_which_nothing_was_said_stays_as_it_is(reply):
    x = node(2, name="x", trainable=True)
    llm = ScriptedLLM([reply])
    optimizer = TextGrad([x], llm)

    optimizer.backward(x + 1, "too small")
    step = optimizer.step()

    assert (step.outcome, step.reason) == ("unchanged", "The model said nothing about the variables.")
    assert len(llm.calls) == 1


def test_variables_have_the_same_name_in_all_questions():
    x = node(2, name="x", trainable=True)
    llm = ScriptedLLM(["more", edit(tone=3)])
    optimizer = TextGrad({"tone": x}, llm)

    optimizer.backward(x * 2, "too small")
    optimizer.step()

    assert "multiply0 = tone * 2" in texts(llm)[0]
    assert texts(llm)[0].endswith("How should tone change?")


def test_code_is_shown_as_it_is_and_long_values_are_cut():
    @bundle(trainable=True)
    def shout(text, after):
        return text.upper()

    code = "def shout(text, after):\n    return after\n"
    llm = ScriptedLLM(["use after", edit(shout=code)])
    optimizer = TextGrad(shout.parameters(), llm)

    optimizer.backward(shout(node("a" * 9_000, name="text"), "b" * 9_000), "# Values\nwrong")
    optimizer.step()

    question = texts(llm)[0]
    assert '<value of="shout">\ndef shout(text, after):\n    return text.upper()\n\n</value>' in question
    assert "characters left out" in question
    assert len(question) < 15_000
    assert "<![CDATA[# Values\nwrong]]>" in question


def test_settings_that_make_no_sense_are_refused():
    x = node(2, name="x", trainable=True)

    with pytest.raises(OptimizerError, match="remembers nothing between steps"):
        TextGrad([x], ScriptedLLM([]), memory_size=3)
    with pytest.raises(OptimizerError, match="max_calls is 0"):
        TextGrad([x], ScriptedLLM([]), max_calls=0)
    assert TextGrad([x], ScriptedLLM([]), memory_size=0).memory_size == 0
