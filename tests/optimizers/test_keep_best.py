"""With ``keep_best``, a step that did worse leads back to the best values."""

import re

import pytest

from opto.errors import LLMError
from opto.llm import ScriptedLLM
from opto.nodes import Feedback, Range, node
from opto.optimizers import OPRO, LocalSearch, OptoPrime, TextGrad
from opto.optimizers.suggestion import Suggestion, TagFormat


def answer(**values):
    return TagFormat().write(Suggestion(values, "because"))


@pytest.fixture
def parameters():
    return [node(n, name=name, trainable=True, domain=Range(0, 100)) for n, name in ((1, "x"), (2, "y"))]


def judge(optimizer, score, **settings):
    x, y = optimizer.parameters
    optimizer.zero_feedback()
    optimizer.backward(x * 10 + y, Feedback(f"a result of {x.data * 10 + y.data}", score=score))
    return optimizer.step(**settings)


def test_the_next_proposal_starts_from_the_best(parameters):
    x, y = parameters
    optimizer = OptoPrime(parameters, ScriptedLLM([answer(x="5", y="6"), answer(y="3")]), keep_best=True)
    judge(optimizer, -1.0)

    step = judge(optimizer, -9.0)

    assert (x.data, y.data) == (1, 3)
    assert step.back_to == 1
    assert step.before == {"x": 5, "y": 6}
    assert step.after == {"x": 1, "y": 3}
    assert "from the values of step 1" in str(step)
    prompt = optimizer.llm.calls[-1].messages[-1]["content"]
    # The run that did best, and what did worse since.
    assert "a result of 12" in prompt
    assert re.search(r"\nx: .*\n<value>1</value>", prompt)
    assert "# Tried before, with the feedback it got\nx = 5\ny = 6\n-> score -9\na result of 56" in prompt


def test_without_it_the_loop_goes_on_from_where_it_is(parameters):
    x, y = parameters
    optimizer = OptoPrime(parameters, ScriptedLLM([answer(x="5", y="6"), answer(y="3")]))
    judge(optimizer, -1.0)

    assert judge(optimizer, -9.0).back_to is None
    assert (x.data, y.data) == (5, 3)


def test_it_goes_back_even_if_nothing_new_is_suggested(parameters):
    optimizer = OptoPrime(parameters, ScriptedLLM([answer(x="5"), answer()]), keep_best=True)
    judge(optimizer, -1.0)

    step = judge(optimizer, -9.0)

    assert step.outcome == "updated"
    assert step.update == {"x": 1}
    assert step.repeats == 1


def test_a_step_that_fails_or_bypasses_changes_nothing(parameters):
    replies = [answer(x="5"), answer(y="7"), LLMError("no", mend="wait"), answer(y="8")]
    optimizer = OptoPrime(parameters, ScriptedLLM(replies), keep_best=True)
    judge(optimizer, -1.0)

    step = judge(optimizer, -9.0, bypassing=True)
    assert step.update == {"x": 1, "y": 7}
    assert optimizer.values() == {"x": 5, "y": 2}

    with pytest.raises(LLMError):
        judge(optimizer, -9.0)
    assert optimizer.values() == {"x": 5, "y": 2}

    judge(optimizer, -9.0)
    assert optimizer.values() == {"x": 1, "y": 8}


def test_what_was_frozen_since_stays(parameters):
    x, _ = parameters
    optimizer = OptoPrime(parameters, ScriptedLLM([answer(x="5", y="6"), answer(y="3")]), keep_best=True)
    judge(optimizer, -1.0)
    x.trainable = False

    judge(optimizer, -9.0)

    assert optimizer.values() == {"x": 5, "y": 3}


def test_equal_and_better_scores_and_words_go_on(parameters):
    optimizer = OptoPrime(parameters, ScriptedLLM([answer(x=str(n)) for n in (2, 3, 4, 5)]), keep_best=True)

    for score in (-5.0, -5.0, -1.0, None):
        assert judge(optimizer, score).back_to is None
    assert optimizer.best().step == 3
    assert [said.text for said in optimizer.best().feedback] == ["a result of 32"]


def test_opro_and_textgrad_start_from_the_best_as_well(parameters):
    opro = OPRO(parameters, ScriptedLLM([answer(x="5", y="6"), answer(y="3")]), keep_best=True)
    judge(opro, -1.0)
    assert judge(opro, -9.0).after == {"x": 1, "y": 3}
    prompt = opro.llm.calls[-1].messages[-1]["content"]
    assert prompt.index("x = 5\ny = 6\n-> score -9") < prompt.index("x = 1\ny = 2\n-> score -1")

    for item, value in zip(parameters, (1, 2), strict=True):
        item._set(value)
    said = ["more", "more", "less", answer(x="5"), answer(y="6"), "more", "more", "less", answer(), answer(y="3")]
    textgrad = TextGrad(parameters, ScriptedLLM(said), keep_best=True)
    judge(textgrad, -1.0)
    assert judge(textgrad, -9.0).after == {"x": 1, "y": 3}


def test_a_search_of_two_hundred_steps_never_stays_below_its_best(parameters):
    optimizer = LocalSearch(parameters, seed=1, keep_best=True)
    best = -1e9

    for _ in range(200):
        x, y = (item.data for item in parameters)
        score = -abs(x - 70) - abs(y - 30)
        step = judge(optimizer, score)
        best = max(best, score)
        assert step.back_to is None or score < best
    assert optimizer.best().score == best > -10
