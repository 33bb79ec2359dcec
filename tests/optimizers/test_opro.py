"""OPRO: the best values so far, the worst of them first, and nothing of the program."""

import pytest

from opto.errors import OptimizerError
from opto.llm import ScriptedLLM, estimate_tokens
from opto.nodes import Range, node
from opto.optimizers import OPRO
from opto.optimizers.suggestion import Suggestion, TagFormat


def answer(**values):
    return TagFormat().write(Suggestion(values, "because"))


def optimized(scores, replies, **settings):
    """Return what the model was shown in the last of some steps with these scores."""
    x = node(0, name="x", trainable=True, domain=Range(0, 1000), description="How far.")
    optimizer = OPRO([x], ScriptedLLM(replies), **settings)
    for score in scores:
        optimizer.zero_feedback()
        optimizer.backward(x * 2, score)
        optimizer.step()
    return optimizer, optimizer.llm.calls[-1].messages[-1]["content"]


def test_what_was_tried_is_shown_the_worst_first():
    _, shown = optimized([0.5, 0.9, 0.1], [answer(x=10), answer(x=20), answer(x=30)])

    assert shown == (
        "# Instruction\n"
        "Give values of the variables that differ from all that were tried, and get a higher score.\n\n"
        "# Variables\nx: an integer from 0 to 1000. How far.\n<value>20</value>\n\n"
        "# Tried so far, the worst first\n"
        "x = 20\n-> score 0.1\n\nx = 0\n-> score 0.5\n\nx = 10\n-> score 0.9\n\n"
        "What should become of x?"
    )


def test_the_best_are_remembered():
    scores = [0.1 * number for number in (3, 9, 1, 7, 5)]
    _, shown = optimized(scores, [answer(x=number) for number in (1, 2, 3, 4, 5)], memory_size=2)

    assert [line for line in shown.splitlines() if line.startswith("-> ")] == [
        "-> score 0.5",
        "-> score 0.7",
        "-> score 0.9",
    ]


def test_the_worst_are_left_out_where_there_is_no_room():
    prompt = node("start", name="prompt", trainable=True)
    optimizer = OPRO(
        [prompt], ScriptedLLM([answer(prompt=f"{n} word" * 90) for n in range(9)]), max_prompt_tokens=1_500
    )
    for number in range(9):
        optimizer.zero_feedback()
        optimizer.backward(prompt + "!", number / 9)
        step = optimizer.step()

    messages = optimizer.llm.calls[-1].messages
    assert sum(estimate_tokens(message["content"]) for message in messages) <= 1_500
    assert f"-> score {8 / 9:g}" in messages[-1]["content"]
    shown = messages[-1]["content"].count("-> score")
    assert 1 < shown < 9
    assert step.left_out == [f"the worst {9 - shown} of 9 values that were tried"]


def test_settings_that_make_no_sense_are_refused():
    x = node(0, trainable=True)
    with pytest.raises(OptimizerError, match="memory_size is -1"):
        OPRO([x], ScriptedLLM([]), memory_size=-1)
    with pytest.raises(TypeError, match=r"OPRO\(\) got an unexpected keyword argument 'temprature'"):
        OPRO([x], ScriptedLLM([]), temprature=1)
