"""With ``keep_best``, a step that did worse leads back to the best values."""

import math
import re

import pytest

from opto import trace
from opto.errors import LLMError
from opto.llm import ScriptedLLM
from opto.nodes import Feedback, Range, node
from opto.optimizers import OPRO, LocalSearch, Optimizer, OptoPrime, Proposal, TextGrad
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


def test_the_best_values_judged_again_and_worse_are_nowhere_to_go_back_from(parameters):
    optimizer = OptoPrime(parameters, ScriptedLLM([answer(), answer(x="3")]), keep_best=True)
    judge(optimizer, 5.0)

    step = judge(optimizer, 4.0)

    assert step.update == {"x": 3}
    assert step.back_to is None
    assert "score 4" in optimizer.llm.calls[-1].messages[-1]["content"], "what was said last"


def test_a_loaded_best_that_scores_less_this_time_is_no_dead_end(parameters):
    optimizer = OptoPrime(parameters, ScriptedLLM([answer()]), keep_best=True)
    judge(optimizer, 5.0)
    again = OptoPrime(parameters, ScriptedLLM([answer(x="3")]), keep_best=True)
    again.load_state_dict(optimizer.state_dict())

    assert judge(again, 4.0).update == {"x": 3}


def test_what_is_frozen_has_the_same_value_while_a_step_proposes_as_after_it(parameters):
    x, _ = parameters
    optimizer = LocalSearch(parameters, seed=1, keep_best=True)
    judge(optimizer, -1.0)
    x.trainable = False
    x._set(50)

    judge(optimizer, -9.0)

    assert x.data == 50
    judge(optimizer, -8.0)
    assert {key[0] for key in optimizer._waiting} == {"50"}, "what was proposed is what was run"


@trace.bundle()
def divided(value):
    return 100 / (value - 5)


def test_what_fails_in_part_is_no_better_for_the_rest(parameters):
    x, y = parameters
    optimizer = OptoPrime(parameters, ScriptedLLM([answer(x="5"), answer(x="7")]), keep_best=True)
    optimizer.backward([divided(x), y * 2], [0.5, 0.9])
    optimizer.step()
    optimizer.zero_feedback()
    with pytest.raises(trace.ExecutionError) as error:
        divided(x)

    optimizer.backward([error.value, y * 2], ["It crashed.", 0.9])
    step = optimizer.step()

    assert step.score == -math.inf
    assert step.back_to == 1
    assert optimizer.best().values == {"x": 1, "y": 2}
    assert x.data == 7


def test_a_failure_without_a_score_did_worse_than_what_has_one(parameters):
    x, _ = parameters
    optimizer = OptoPrime(parameters, ScriptedLLM([answer(x="5"), answer(x="7")]), keep_best=True)
    optimizer.backward(divided(x) + parameters[1], 0.5)
    optimizer.step()
    optimizer.zero_feedback()
    with pytest.raises(trace.ExecutionError) as error:
        divided(x)

    optimizer.backward(error.value, "It crashed.")
    step = optimizer.step()

    assert (step.score, step.back_to) == (None, 1)
    assert optimizer.values() == {"x": 7, "y": 2}


def test_what_another_thread_changes_while_a_step_proposes_stays(parameters):
    x, _ = parameters

    class Disturbed(Optimizer):
        def _propose(self, evidence):
            if evidence.best is not None:
                assert optimizer.values() == {"x": 1, "y": 2}
                x._set(77)
                raise KeyboardInterrupt
            return Proposal(Suggestion({"x": 5, "y": 6}))

    optimizer = Disturbed(parameters, keep_best=True)
    judge(optimizer, -1.0)

    with pytest.raises(KeyboardInterrupt):
        judge(optimizer, -9.0)
    assert optimizer.values() == {"x": 77, "y": 6}


def test_what_a_frozen_variable_goes_with_now_was_not_tried_before(parameters):
    x, _ = parameters
    replies = [answer(x="50", y="6"), answer(y="7"), answer(y="6"), answer(y="3")]
    optimizer = OptoPrime(parameters, ScriptedLLM(replies), keep_best=True)
    judge(optimizer, -1.0)
    judge(optimizer, -9.0)
    assert optimizer.values() == {"x": 1, "y": 7}
    x._set(50)
    x.trainable = False

    step = judge(optimizer, -8.0)

    assert len(optimizer.llm.calls) == 4, "these values were, and the model is told so"
    assert "tried before, in step 2" in optimizer.llm.calls[-1].messages[-1]["content"]
    assert step.after == {"x": 50, "y": 3}
