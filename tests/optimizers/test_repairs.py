"""What cannot be used of an answer goes back to the model within the step."""

import pytest

from opto.errors import AuthenticationError, RateLimitError
from opto.llm import Reply, ScriptedLLM, Usage
from opto.nodes import Choices, Range, node
from opto.optimizers import OptoPrime
from opto.optimizers.suggestion import Suggestion, TagFormat


def answer(reasoning="because", **values):
    return TagFormat().write(Suggestion(values, reasoning))


@pytest.fixture
def parameters():
    return [
        node(1, name="count", trainable=True, domain=Range(0, 10)),
        node("a", name="mode", trainable=True, domain=Choices("a", "b")),
    ]


def stepped(parameters, replies, feedback="wrong", **settings):
    optimizer = OptoPrime(parameters, ScriptedLLM(replies), **settings)
    optimizer.backward(parameters[1] * parameters[0], feedback)
    return optimizer, optimizer.step()


def test_a_refused_value_is_asked_for_again_and_what_was_accepted_stays(parameters):
    optimizer, step = stepped(parameters, [answer(count="11", mode="b"), answer(count="10")])

    objection = optimizer.llm.calls[1].messages[-1]["content"]
    assert "Accepted: mode." in objection
    assert "11 lies outside the range" in objection
    assert optimizer.llm.calls[1].messages[-2] == {"role": "assistant", "content": answer(count="11", mode="b")}
    assert step.update == {"count": 10, "mode": "b"}
    assert step.rejected == []


def test_it_is_asked_no_more_often_than_is_allowed(parameters):
    replies = [answer(count="11"), answer(count="12"), answer(count="13")]
    optimizer, step = stepped(parameters, replies, max_repairs=2)

    assert len(optimizer.llm.calls) == 3
    assert step.outcome == "rejected"
    assert [item.suggested for item in step.rejected] == ["13"]


def test_a_value_that_is_not_given_again_stays_refused(parameters):
    _, step = stepped(parameters, [answer(count="11"), answer(mode="b")])

    assert step.update == {"mode": "b"}
    assert [(item.name, item.suggested) for item in step.rejected] == [("count", "11")]


def test_a_name_of_trace_and_its_correction_are_one_variable(parameters):
    _, step = stepped(parameters, [answer(count0="11", mode="b"), answer(count="4")])

    assert step.update == {"count": 4, "mode": "b"}
    assert step.rejected == []


@pytest.mark.parametrize("second", ["no values in this", RateLimitError("slow down", mend="wait")])
def test_what_can_be_used_is_used_though_the_rest_is_never_had(parameters, second):
    _, step = stepped(parameters, [answer(count="11", mode="b"), second])

    assert step.update == {"mode": "b"}
    assert "11 lies outside" in step.rejected[0].reason


def test_that_asking_again_fails_does_not_hide_what_was_wrong_with_the_answer(parameters):
    wrong = AuthenticationError("The key is wrong.", mend="Set another.")
    optimizer, step = stepped(parameters, [answer(count="11"), wrong, wrong])

    assert step.outcome == "rejected"
    assert "11 lies outside" in step.reason
    assert step.reply == answer(count="11")
    optimizer.zero_feedback()
    optimizer.backward(parameters[1] * parameters[0], "wrong")
    with pytest.raises(AuthenticationError):
        optimizer.step()


def test_all_calls_are_paid_for_in_the_record(parameters):
    replies = [Reply(answer(count="11"), "m", Usage(10, 1)), Reply(answer(count="9"), "m", Usage(20, 2))]
    _, step = stepped(parameters, replies)

    assert step.usage == Usage(30, 3)
    assert [message["role"] for message in step.messages] == ["system", "user", "assistant", "user"]


def judge(optimizer, score):
    count, mode = optimizer.parameters
    optimizer.zero_feedback()
    optimizer.backward(mode * count, score)
    return optimizer.step()


def test_values_that_did_worse_before_are_pointed_out_before_they_are_run_again(parameters):
    replies = [answer(count="2"), answer(count="1"), answer(count="3")]
    optimizer = OptoPrime(parameters, ScriptedLLM(replies))
    assert judge(optimizer, -5.0).update == {"count": 2}

    step = judge(optimizer, -3.0)

    objection = optimizer.llm.calls[2].messages[-1]["content"]
    assert "tried before, in step 1, and did worse" in objection
    assert "score -5" in objection
    assert step.update == {"count": 3}
    assert step.repeats is None


def test_a_model_may_insist_and_the_record_tells_what_is_known(parameters):
    optimizer = OptoPrime(parameters, ScriptedLLM([answer(count="2"), answer(count="1"), answer(count="1")]))
    judge(optimizer, -5.0)

    step = judge(optimizer, -3.0)

    assert step.update == {"count": 1}
    assert step.repeats == 1
    assert "as in step 1" in str(step)


def test_a_model_that_suggests_nothing_instead_of_what_did_worse_changes_nothing(parameters):
    optimizer = OptoPrime(parameters, ScriptedLLM([answer(count="2"), answer(count="1"), answer("Leave it.")]))
    judge(optimizer, -5.0)

    step = judge(optimizer, -3.0)

    assert (step.outcome, step.reasoning) == ("unchanged", "Leave it.")
    assert parameters[0].data == 2


@pytest.mark.parametrize(("first", "second"), [(-3.0, -5.0), ("fine", "go back to what you had")])
def test_going_back_to_what_did_better_needs_no_second_question(parameters, first, second):
    optimizer = OptoPrime(parameters, ScriptedLLM([answer(count="2"), answer(count="1")]))
    judge(optimizer, first)

    step = judge(optimizer, second)

    assert step.update == {"count": 1}
    assert step.repeats == 1


def test_what_was_paid_for_is_recorded_though_a_projection_breaks(parameters):
    def broken(value):
        raise RuntimeError("broken")

    x = node(1, name="x", trainable=True, projections=[broken])
    optimizer = OptoPrime([x], ScriptedLLM([Reply(answer(x="7"), "m", Usage(10, 1))]))
    optimizer.backward(x * 2, "more")

    with pytest.raises(RuntimeError, match="broken"):
        optimizer.step()

    (record,) = optimizer.records
    assert (record.outcome, record.reason) == ("failed", "RuntimeError: broken")
    assert record.reply == answer(x="7")
    assert record.usage == Usage(10, 1)


def test_a_reason_says_what_kind_of_error_it_was(parameters):
    x = node("a", name="x", trainable=True, projections=[lambda value: {"a": "b"}[value]])
    optimizer = OptoPrime([x], ScriptedLLM([answer(x="c")]), max_repairs=0)
    optimizer.backward(x + "", "more")

    assert optimizer.step().rejected[0].reason == "KeyError: 'c'"


@pytest.mark.parametrize("reply", ["", "  \n", Reply("", "m", finish_reason="refusal")])
def test_no_answer_is_asked_again_about_with_messages_that_say_something(parameters, reply):
    optimizer, step = stepped(parameters, [reply, answer(count="3")])

    assert optimizer.llm.calls[1].messages[-2] == {"role": "assistant", "content": "(no answer)"}
    assert step.update == {"count": 3}


def test_no_change_is_no_value_that_was_tried_before_however_scores_differ(parameters):
    optimizer, _ = stepped(parameters, ["TERMINATE", "TERMINATE"], feedback=0.1)
    optimizer.zero_feedback()
    optimizer.backward(parameters[1] * parameters[0], 0.5)

    assert optimizer.step().outcome == "unchanged"
    assert len(optimizer.llm.calls) == 2
