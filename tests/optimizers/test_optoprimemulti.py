"""OptoPrimeMulti: where candidates come from, which of them wins, and what is told of the others."""

import json
import threading

import pytest

from opto.errors import (
    AuthenticationError,
    BadRequestError,
    ContextLengthError,
    OptimizerError,
    RateLimitError,
    StepsFailedError,
)
from opto.llm import LLM, Reply, ScriptedLLM, Usage, estimate_tokens
from opto.nodes import Range, node
from opto.optimizers import OptoPrime, OptoPrimeMulti
from opto.optimizers.suggestion import FORMATS, Suggestion
from opto.runs import Run, StepRecord
from opto.testing import Failure, LLMServer
from opto.trace import bundle, is_tracing, stop_tracing

MEND = {"mend": "Wait."}


def says(reasoning="because", **values):
    return FORMATS["tags"].write(Suggestion(values, reasoning))


def chooses(number, reasoning="It is right."):
    return says(reasoning, choice=number)


def number(value=1, low=0, high=100):
    return node(value, name="x", trainable=True, domain=Range(low, high))


def stepped(x, llm, **settings):
    """Return an optimizer after one step, and the step."""
    optimizer = OptoPrimeMulti([x], llm, **settings)
    return optimizer, judged(optimizer, x)


def judged(optimizer, x):
    optimizer.zero_feedback()
    optimizer.backward(x * 3, "The output should be 6.")
    return optimizer.step()


def told(step):
    return {item.number: item.reason for item in step.candidates}


class TestAsking:
    def test_candidates_are_asked_for_at_temperatures_between_two(self):
        x = number()
        llm = ScriptedLLM([says(x=5), says(x=2), says(x=9)])

        _, step = stepped(x, llm, selection="majority")

        assert [call.settings for call in llm.calls] == [{"temperature": heat} for heat in (0.0, 0.5, 1.0)]
        assert llm.calls[0].messages == llm.calls[1].messages == llm.calls[2].messages == step.messages
        assert [(item.temperature, item.source) for item in step.candidates] == [
            (0.0, "temperature 0"),
            (0.5, "temperature 0.5"),
            (1.0, "temperature 1"),
        ]
        assert [item.update for item in step.candidates] == [{"x": 5}, {"x": 2}, {"x": 9}]
        assert [item.messages for item in step.candidates] == [[], [], []]

    def test_the_prompt_is_that_of_optoprime(self):
        x, y = number(), number()
        multi, single = ScriptedLLM([says(x=2)] * 2), ScriptedLLM([says(x=2)])

        stepped(x, multi, num_responses=2)
        judged(OptoPrime([y], single), y)

        assert multi.calls[0].messages == single.calls[0].messages

    def test_one_candidate_is_asked_for_as_the_user_has_it(self):
        llm = ScriptedLLM([says(x=2)], temperature=0.7)

        stepped(number(), llm, num_responses=1)

        assert [call.settings for call in llm.calls] == [{"temperature": 0.7}]

    def test_models_are_asked_in_turn_and_as_often_as_their_weights_say(self):
        small, large = ScriptedLLM([says(x=2)] * 3), ScriptedLLM([says(x=3)])
        written = []

        def function(messages, temperature=None):
            written.append(temperature)
            return says(x=4)

        _, step = stepped(number(), None, llms=[small, large, function], selection="majority")
        assert [item.model for item in step.candidates] == ["script", "script", "function:function"]
        assert [item.update for item in step.candidates] == [{"x": 2}, {"x": 3}, {"x": 4}]
        assert [call.settings for call in small.calls + large.calls] == [{}, {}]
        assert written == [None]

        _, step = stepped(number(), None, llms=[small, function], llm_weights=[1, 2], num_responses=3, selection="last")
        assert [item.update["x"] for item in step.candidates] == [4, 2, 4]

    def test_temperatures_and_models_may_vary_together(self):
        one, other = ScriptedLLM([says(x=2)] * 2), ScriptedLLM([says(x=2)] * 2)

        stepped(number(), None, llms=[one, other], num_responses=4, temperature_range=(0.9, 0.0))

        assert [call.settings["temperature"] for call in one.calls] == [0.9, 0.3]
        assert [call.settings["temperature"] for call in other.calls] == [0.6, 0.0]

    def test_experts_are_asked_with_the_same_beginning(self):
        llm = ScriptedLLM([says(x=2), says(x=3)])

        _, step = stepped(number(), llm, experts=["a physician", "a plumber"], selection="majority")

        first, second = (call.messages for call in llm.calls)
        assert first[1]["content"].endswith("\n\nAnswer as a physician.")
        assert second[1]["content"].endswith("\n\nAnswer as a plumber.")
        assert first[1]["content"].removesuffix("a physician.") == second[1]["content"].removesuffix("a plumber.")
        assert [item.source for item in step.candidates] == ["as a physician", "as a plumber"]
        assert step.candidates[1].messages == second[1:]

    def test_refinement_shows_the_model_its_last_answer_that_can_be_used(self):
        llm = ScriptedLLM([says(x=5), "nothing of use", says(x=4), says(x=2)])

        _, step = stepped(number(), llm, generation="refinement", num_responses=4, max_repairs=0, selection="last")

        prompt = llm.calls[0].messages
        assert [len(call.messages) for call in llm.calls] == [2, 4, 4, 4]
        assert all(call.messages[:2] == prompt for call in llm.calls)
        assert [call.messages[2] for call in llm.calls[1:]] == [
            {"role": "assistant", "content": says(x=number)} for number in (5, 5, 4)
        ]
        assert "first answer" in llm.calls[1].messages[3]["content"]
        assert [item.source for item in step.candidates] == ["", "improves on 1", "improves on 1", "improves on 3"]
        assert step.update == {"x": 2}

    def test_an_answer_in_two_parts_is_shown_whole(self):
        x = number()
        y = node(1, name="y", trainable=True, domain=Range(0, 9))
        llm = ScriptedLLM([says(x=5, y=99), says(y=7), says(x=2)])
        optimizer = OptoPrimeMulti([x, y], llm, generation="refinement", num_responses=2, selection="last")

        optimizer.backward(x * y, "The output should be 6.")
        optimizer.step()

        assert llm.calls[2].messages[2]["content"] == says(x=5, y=7)

    def test_alternatives_are_shown_all_that_was_said(self):
        llm = ScriptedLLM([says(x=5), says(x=4), says(x=2)])

        _, step = stepped(number(), llm, generation="alternatives", selection="majority")

        assert [message["role"] for message in llm.calls[2].messages] == [
            *("system", "user"),
            *("assistant", "user") * 2,
        ]
        assert [llm.calls[2].messages[place]["content"] for place in (2, 4)] == [says(x=5), says(x=4)]
        assert step.candidates[2].source == "other than 1 and 2"
        assert step.candidates[2].messages == llm.calls[2].messages[2:]


class TestValidation:
    def test_the_highest_score_wins_and_all_scores_are_told(self):
        x = number()
        seen = []

        def validate():
            seen.append(x.data)
            return -abs(x.data * 3 - 6)

        _, step = stepped(x, ScriptedLLM([says(x=5), says(x=2), says(x=9)]), validate=validate)

        assert seen == [1, 5, 2, 9]
        assert x.data == 2
        assert [(item.number, item.score, item.chosen) for item in step.candidates] == [
            (0, -3.0, False),
            (1, -9.0, False),
            (2, 0.0, True),
            (3, -21.0, False),
        ]
        assert told(step)[2] == "It scored highest, 0, against -3 of the values in force."
        assert told(step)[1] == "Candidate 2 was chosen."
        assert step.reply == says(x=2)
        assert step.reasoning == "because"

    def test_nothing_worse_than_what_there_is_is_adopted(self):
        x = number(3)
        llm = ScriptedLLM([says(x=5), says(x=4), says(x=9)] * 2)

        optimizer, step = stepped(x, llm, validate=lambda: -x.data)

        assert (x.data, step.outcome) == (3, "unchanged")
        assert step.reason == "No candidate scored as high as the values in force, -3: the best of them scored -4."
        assert [item.number for item in step.candidates if item.chosen] == [0]
        assert told(step)[1] == step.reason
        # The model is told, or it would say the same again.
        judged(optimizer, x)
        shown = llm.calls[-1].messages[-1]["content"]
        assert "x = 4\n-> In validation it scored -4, and the values in force scored -3." in shown

    def test_what_was_outdone_is_told_to_the_model(self):
        x = number(3)
        llm = ScriptedLLM([says(x=2), says(x=5), says(x=1)] + [says()] * 3)

        optimizer, _ = stepped(x, llm, validate=lambda: 1 / (x.data - 5) if x.data != 1 else 0)
        judged(optimizer, x)

        shown = llm.calls[-1].messages[-1]["content"]
        assert "x = 2\n-> In validation it scored -0.333333, and what was chosen instead scored 0." in shown
        assert "x = 5\n-> It could not be scored: ZeroDivisionError" in shown
        assert "x = 1\n" not in shown

    def test_memory_of_nothing_holds_for_validation_too(self):
        x = number(3)
        llm = ScriptedLLM([says(x=5), says(x=4), says(x=9)] * 2)

        optimizer, _ = stepped(x, llm, validate=lambda: -x.data, memory_size=0)
        judged(optimizer, x)

        assert "validation" not in llm.calls[-1].messages[-1]["content"]

    def test_worse_is_allowed_on_request_and_what_there_is_then_not_scored(self):
        x = number(3)
        seen = []

        _, step = stepped(
            x,
            ScriptedLLM([says(x=5), says(x=4)]),
            num_responses=2,
            allow_worse=True,
            validate=lambda: seen.append(x.data) or -x.data,
        )

        assert (x.data, seen) == (4, [5, 4])
        assert [item.number for item in step.candidates] == [1, 2]

    def test_among_equals_the_more_frequent_and_then_the_first_wins(self):
        x = number(3)
        answers = [says(x=5), says(x=4), says(x=9), says(x=4)]
        seen = []

        _, step = stepped(x, ScriptedLLM(answers), num_responses=4, validate=lambda: seen.append(x.data) or 1.0)

        assert x.data == 4
        assert seen == [3, 5, 4, 9]
        assert [item.votes for item in step.candidates] == [0, 1, 2, 1, 2]
        assert told(step)[4] == "It has the values of candidate 2."

        _, step = stepped(x, ScriptedLLM(answers[:1] + answers[2:3]), num_responses=2, validate=lambda: 1.0)
        assert step.update == {"x": 5}

    def test_a_candidate_with_which_the_program_fails_never_wins(self):
        x = number()

        def validate():
            if x.data == 5:
                raise LookupError("five")
            return float("nan") if x.data == 7 else -x.data

        _, step = stepped(x, ScriptedLLM([says(x=5), says(x=7), says(x=0)]), validate=validate)

        assert x.data == 0
        assert told(step)[1] == "It could not be scored: LookupError: five"
        assert "NaN" in told(step)[2]
        assert step.candidates[1].score is None

    def test_a_program_that_fails_as_it_is_can_be_mended(self):
        x = number()

        def validate():
            return {2: 0.1}[x.data]

        _, step = stepped(x, ScriptedLLM([says(x=5), says(x=2)]), num_responses=2, validate=validate)

        assert x.data == 2
        assert told(step)[0] == "KeyError: 1"

    def test_a_function_that_always_fails_raises_what_it_raised(self):
        x = number()
        optimizer = OptoPrimeMulti([x], ScriptedLLM([says(x=5), says(x=2)]), num_responses=2, validate=lambda: nobody)  # noqa: F821

        optimizer.backward(x * 3, "no")
        with pytest.raises(NameError, match="nobody"):
            optimizer.step()

        assert x.data == 1
        assert optimizer.records[0].outcome == "failed"
        assert [item.update for item in optimizer.records[0].candidates] == [{"x": 5}, {"x": 2}]

    @pytest.mark.parametrize("allow_worse", [True, False])
    def test_candidates_that_all_fail_change_nothing(self, allow_worse):
        x = number()

        _, step = stepped(
            x,
            ScriptedLLM([says(x=5), says(x=2)]),
            num_responses=2,
            validate=lambda: {1: 0.5}[x.data],
            allow_worse=allow_worse,
        )

        assert (x.data, step.outcome) == (1, "unchanged")
        assert step.reason == "No candidate could be scored. Candidate 1: It could not be scored: KeyError: 5"

    @pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
    def test_values_are_put_back_whatever_happens(self, interruption):
        value = [1, 2]
        x = node(value, name="x", trainable=True)

        def validate():
            if x.data != [1, 2]:
                raise interruption
            return 0.0

        optimizer = OptoPrimeMulti([x], ScriptedLLM([says(x=[5])] * 3), validate=validate)
        optimizer.backward(x[0] * 3, "no")
        with pytest.raises(interruption):
            optimizer.step()

        assert x.data is value
        assert optimizer.records[0].reason == f"{interruption.__name__}: "
        assert len(optimizer.records[0].candidates) == 3

    def test_what_validation_changes_in_place_is_its_own_affair(self):
        x = node([1], name="x", trainable=True)

        def validate():
            x.data.append(0)
            return len(x.data)

        _, step = stepped(x, ScriptedLLM([says(x=[5, 6])]), num_responses=1, validate=validate)

        assert x.data == [5, 6]
        assert step.before == {"x": [1]}

    def test_a_call_that_fails_for_now_is_not_the_fault_of_a_candidate(self):
        x = number()
        busy = RateLimitError("Too many.", **MEND)

        def busy_with(value):
            def validate():
                if x.data == value:
                    raise busy
                return x.data

            return validate

        _, step = stepped(x, ScriptedLLM([says(x=5), says(x=2)]), num_responses=2, validate=busy_with(5))
        assert step.update == {"x": 2}

        x = number()
        _, step = stepped(x, ScriptedLLM([says(x=5), says(x=2)]), num_responses=2, validate=busy_with(1))
        assert (x.data, step.outcome, step.reason) == (1, "failed", "RateLimitError: Too many. Wait.")

    @pytest.mark.parametrize("allow_worse", [True, False])
    def test_where_all_calls_fail_for_now_so_does_the_step(self, allow_worse):
        def validate():
            raise RateLimitError("Too many.", **MEND)

        x = number()
        _, step = stepped(x, ScriptedLLM([says(x=5)] * 3), validate=validate, allow_worse=allow_worse)

        assert (x.data, step.outcome, step.reason) == (1, "failed", "RateLimitError: Too many. Wait.")

    def test_a_call_that_will_never_do_raises(self):
        x = number()

        def validate():
            if x.data == 5:
                raise AuthenticationError("No key.", mend="Get one.")
            return 0.0

        optimizer = OptoPrimeMulti([x], ScriptedLLM([says(x=2), says(x=5)]), num_responses=2, validate=validate)
        optimizer.backward(x * 3, "no")
        with pytest.raises(AuthenticationError):
            optimizer.step()
        assert x.data == 1

    def test_a_candidate_that_changes_nothing_has_the_score_of_what_there_is(self):
        x = number(3)
        seen = []

        _, step = stepped(
            x, ScriptedLLM([says(x=5), says()]), num_responses=2, validate=lambda: seen.append(x.data) or -x.data
        )

        assert seen == [3, 5]
        assert [item.score for item in step.candidates] == [-3.0, -5.0, -3.0]
        assert step.outcome == "unchanged"

    def test_scores_come_as_guides_give_them(self):
        x = number()
        _, step = stepped(x, ScriptedLLM([says(x=5), says(x=2)]), num_responses=2, validate=lambda: x * 1)
        assert step.update == {"x": 5}
        _, step = stepped(x, ScriptedLLM([says(x=6)]), num_responses=1, validate=lambda: (0.5, "so so"))
        assert step.candidates[1].score == 0.5
        with pytest.raises(OptimizerError, match="validate gave no score, but 'fine'"):
            stepped(x, ScriptedLLM([says(x=2)]), num_responses=1, validate=lambda: "fine")

    def test_what_others_choose_is_scored_before_it_is_adopted(self):
        x, y = number(3), number(3)
        seen = []
        scores = {"validate": lambda: seen.append(x.data) or -x.data, "num_responses": 2}

        _, step = stepped(x, ScriptedLLM([says(x=5), says(x=2), "1"]), selection="judge", **scores)
        assert (x.data, seen) == (3, [3, 5])
        assert step.reason == (
            "The judge chose it. No candidate scored as high as the values in force, -3: the best of them scored -5."
        )
        assert [item.score for item in step.candidates] == [-3.0, -5.0, None]

        judge = ScriptedLLM(["2"])
        _, step = stepped(x, ScriptedLLM([says(x=5), says(x=2)]), judge=judge, **scores)
        assert (x.data, len(judge.calls)) == (2, 1)
        assert told(step)[2] == "The judge chose it. It scored highest, -2, against -3 of the values in force."

        del seen[:]
        stepped(y, ScriptedLLM([says(x=5), says(x=9)]), selector=lambda found: found[1], allow_worse=True, **scores)
        assert (y.data, seen) == (9, [2])

    def test_candidates_compete_with_the_best_values_where_steps_go_back_to_them(self):
        x = number(3)
        llm = ScriptedLLM([says(x=50), says(x=10)])
        optimizer = OptoPrimeMulti(
            [x], llm, num_responses=1, validate=lambda: -x.data, allow_worse=True, keep_best=True
        )
        optimizer.backward(x * 3, -9.0)
        assert optimizer.step().update == {"x": 50}

        optimizer._allow_worse = False
        optimizer.zero_feedback()
        optimizer.backward(x * 3, -150.0)
        step = optimizer.step()

        assert step.candidates[0].score == -3.0
        assert (x.data, step.back_to) == (3, 1)


class TestJudge:
    def test_a_model_names_one_of_them(self):
        x = number()
        llm = ScriptedLLM([says(x=5), says(x=2), says(x=9), chooses(2)])

        _, step = stepped(x, llm)

        assert x.data == 2
        asked = llm.calls[-1].messages
        assert "number" in asked[0]["content"]
        assert "# Feedback\nThe output should be 6." in asked[1]["content"]
        assert 'Candidate 1:\n<value of="x">5</value>\n\nCandidate 2:\n<value of="x">2</value>' in asked[1]["content"]
        assert asked[1]["content"].endswith("The choice is one of 1, 2, 3.")
        assert llm.calls[-1].settings == {}
        assert [item.chosen for item in step.candidates] == [False, True, False]
        assert told(step) == {
            1: "Candidate 2 was chosen.",
            2: "The judge chose it. It is right.",
            3: "Candidate 2 was chosen.",
        }

    def test_another_model_may_judge(self):
        asked = []

        def judge(messages):
            asked.append(messages)
            return "Candidate 1"

        _, step = stepped(number(), ScriptedLLM([says(x=5), says(x=2)]), num_responses=2, judge=judge)

        assert step.update == {"x": 5}
        assert len(asked) == 1

    @pytest.mark.parametrize("answer", ["2", " **2** ", "Candidate 2.", "#2", '{"choice": 2}', chooses("2")])
    def test_a_number_is_read_in_many_forms(self, answer):
        _, step = stepped(number(), ScriptedLLM([says(x=5), says(x=2), answer]), num_responses=2)

        assert step.update == {"x": 2}

    @pytest.mark.parametrize(
        "answer",
        [
            "3",
            "-1",
            "1.5",
            "1 or 2",
            "0",
            "both",
            says(),
            says(choice=9),
            says(x=7),
            Reply("1", "m", finish_reason="length"),
        ],
    )
    def test_what_names_no_candidate_is_sent_back_and_then_votes_decide(self, answer):
        llm = ScriptedLLM([says(x=5), says(x=2), says(x=2), answer, answer])

        _, step = stepped(number(), llm)

        assert step.update == {"x": 2}
        assert told(step)[2].startswith("The judge chose none (SuggestionError: ")
        assert told(step)[2].endswith("By votes: 2 of 3 have these values.")
        assert llm.calls[-1].messages[-1]["content"].startswith("That answer cannot be used. ")
        assert len(llm.calls) == 5

    def test_a_judge_that_gives_values_of_its_own_is_not_followed_in_that(self):
        llm = ScriptedLLM([says(x=5), says(x=2), says(x=77, choice=1)])

        _, step = stepped(number(), llm, num_responses=2)

        assert step.update == {"x": 5}

    def test_a_second_try_may_succeed(self):
        _, step = stepped(number(), ScriptedLLM([says(x=5), says(x=2), "Hm.", chooses(1)]), num_responses=2)

        assert step.update == {"x": 5}

    def test_a_judge_that_cannot_be_reached_leaves_it_to_votes(self):
        llm = ScriptedLLM([says(x=5), says(x=2), RateLimitError("Too many.", **MEND)])

        _, step = stepped(number(), llm, num_responses=2)

        assert step.update == {"x": 5}
        assert "RateLimitError: Too many." in told(step)[1]
        assert told(step)[1].endswith("By votes: 1 of 2 have these values, and it came first.")

    def test_a_judge_that_never_can_be_asked_raises(self):
        x = number()
        llm = ScriptedLLM([says(x=5), says(x=2), AuthenticationError("No key.", mend="Get one.")])
        optimizer = OptoPrimeMulti([x], llm, num_responses=2)

        optimizer.backward(x * 3, "no")
        with pytest.raises(AuthenticationError):
            optimizer.step()

        assert x.data == 1
        assert len(optimizer.records[0].candidates) == 2

    def test_where_there_is_nothing_to_choose_nobody_is_asked(self):
        llm = ScriptedLLM([says(x=5), says(x=5), "no answer"])

        _, step = stepped(number(), llm, max_repairs=0)

        assert step.update == {"x": 5}
        assert told(step)[1] == "All that can be used have these values."
        assert len(llm.calls) == 3

    def test_no_change_is_a_candidate(self):
        llm = ScriptedLLM([says(x=5), says("It is fine."), chooses(2)])

        _, step = stepped(number(), llm, num_responses=2)

        assert "Candidate 2:\n(all stays as it is)" in llm.calls[-1].messages[1]["content"]
        assert (step.outcome, step.reasoning) == ("unchanged", "It is fine.")

    def test_the_judge_keeps_to_the_budget(self):
        prompt = node("short", name="prompt", trainable=True)
        long = [" ".join([word] * 3_000) for word in ("one", "two")]
        llm = ScriptedLLM([says(prompt=long[0]), says(prompt=long[1]), chooses(2)])
        optimizer = OptoPrimeMulti([prompt], llm, num_responses=2, max_prompt_tokens=3_000)
        given = node([f"line {place}" for place in range(9_000)], name="given")
        optimizer.backward(prompt + given[0], " ".join(["It should be longer."] * 100))

        optimizer.step()

        asked = llm.calls[-1].messages
        assert 1_000 < sum(estimate_tokens(message["content"]) for message in asked) <= 3_000
        assert "characters left out" in asked[1]["content"]
        assert prompt.data == long[1]

    def test_it_calls_a_tool_where_candidates_are_asked_for_with_one(self):
        def call(**values):
            return Reply("", "m", arguments=json.dumps({"reasoning": "r", "suggestion": values}))

        llm = ScriptedLLM([call(x=5), call(x=2), call(choice=2)])

        _, step = stepped(number(), llm, num_responses=2, answer_format="tool")

        schema = llm.calls[-1].settings["tool"].parameters["properties"]["suggestion"]
        assert schema["properties"]["choice"]["enum"] == [1, 2]
        assert step.update == {"x": 2}


class TestOtherChoices:
    def test_majority_takes_the_most_frequent_values(self):
        llm = ScriptedLLM([says(x=5), says(x="2"), says(x=2), says(x=9)])

        _, step = stepped(number(), llm, num_responses=4, selection="majority")

        assert step.update == {"x": 2}
        assert [item.votes for item in step.candidates] == [1, 2, 2, 1]
        assert told(step)[2] == "2 of 4 have these values."

    def test_a_tie_goes_to_the_first(self):
        llm = ScriptedLLM([says(x=5), says(x=2), says(x=2), says(x=5)])

        _, step = stepped(number(), llm, num_responses=4, selection="majority")

        assert step.update == {"x": 5}
        assert told(step)[1] == "2 of 4 have these values, and it came first."

    def test_true_is_not_one(self):
        x = node([5], name="x", trainable=True)
        llm = ScriptedLLM([says(x=[1]), says(x=[True]), says(x=[1.0]), says(x=[True])])

        _, step = stepped(x, llm, num_responses=4, selection="majority")

        assert [item.votes for item in step.candidates] == [1, 2, 1, 2]

    def test_the_last_is_the_last_that_can_be_used(self):
        _, step = stepped(number(), ScriptedLLM([says(x=5), says(x=2), "?"]), selection="last", max_repairs=0)

        assert step.update == {"x": 2}

    def test_a_function_chooses_among_dicts_from_parameter_to_value(self):
        x = number()

        optimizer, step = stepped(
            x, ScriptedLLM([says(x=5), says(x=2), says(x=9)]), selector=lambda found: min(found, key=lambda one: one[x])
        )

        assert step.update == {"x": 2}
        assert optimizer.candidates == [{x: 5}, {x: 2}, {x: 9}]
        assert optimizer.selected_candidate == {x: 2}
        assert told(step)[2] == "The selector chose it."

    @pytest.mark.parametrize("returned", [None, 1, {}, "first"])
    def test_a_function_that_returns_something_else_is_refused(self, returned):
        with pytest.raises(OptimizerError, match="none of the 2 candidates"):
            stepped(number(), ScriptedLLM([says(x=5), says(x=2)]), num_responses=2, selector=lambda _: returned)


class TestWhatCannotBeUsed:
    def test_it_never_wins(self):
        x = number(1, 0, 10)
        cut = Reply(says(x=3), "m", finish_reason="length")
        llm = ScriptedLLM([says(x=99), "no answer", cut, says(x=99), RateLimitError("Too many.", **MEND), says(x=2)])

        _, step = stepped(x, llm, num_responses=6, max_repairs=0, selection="majority")

        assert x.data == 2
        assert [item.votes for item in step.candidates] == [0, 0, 0, 0, 0, 1]
        reasons = told(step)
        assert reasons[1].startswith("x: 99 lies outside the range")
        assert step.candidates[0].rejected[0].suggested == 99
        assert reasons[2].startswith("SuggestionError: ")
        assert "cut off" in reasons[3]
        assert reasons[5] == "RateLimitError: Too many. Wait."
        assert step.rejected == []

    def test_each_candidate_is_sent_back_for_itself(self):
        llm = ScriptedLLM([says(x=999), says(x=5), says(x=2)])

        _, step = stepped(number(), llm, num_responses=2, selection="last")

        assert [item.update for item in step.candidates] == [{"x": 5}, {"x": 2}]
        assert step.candidates[0].messages[0] == {"role": "assistant", "content": says(x=999)}

    def test_of_a_candidate_only_what_is_accepted_counts(self):
        x, y = number(), node(1, name="y", trainable=True, domain=Range(0, 9))
        llm = ScriptedLLM([says(x=5, y=99), says(x=5), says(x=2)])
        optimizer = OptoPrimeMulti([x, y], llm, max_repairs=0, selection="majority")
        optimizer.backward(x * y, "no")

        step = optimizer.step()

        assert (x.data, y.data) == (5, 1)
        assert [item.votes for item in step.candidates] == [2, 2, 1]
        assert [item.name for item in step.rejected] == ["y"]

    def test_if_all_are_rejected_the_step_is_and_the_model_is_told(self):
        x = number()
        llm = ScriptedLLM(["no answer", says(x=-1), says(x=-3)] * 2)

        optimizer, step = stepped(x, llm, max_repairs=0)

        assert (x.data, step.outcome) == (1, "rejected")
        assert step.rejected[0].suggested == -1
        assert optimizer.candidates == []
        judged(optimizer, x)
        assert "# Rejected in the step before\nx = -1" in llm.calls[-1].messages[-1]["content"]

    def test_if_all_fail_the_step_does_with_the_error(self):
        x = number()
        llm = ScriptedLLM([RateLimitError(f"Too many {turn}.", **MEND) for turn in range(4)])
        optimizer = OptoPrimeMulti([x], llm, num_responses=2, max_failures=2)

        step = judged(optimizer, x)
        assert (step.outcome, step.reason) == ("failed", "RateLimitError: Too many 0. Wait.")
        assert told(step)[2] == "RateLimitError: Too many 1. Wait."
        with pytest.raises(StepsFailedError, match="Too many 2"):
            judged(optimizer, x)

    @pytest.mark.parametrize("max_workers", [1, 3])
    def test_an_error_that_stays_raises_and_what_was_paid_is_told(self, max_workers):
        x = number()
        spent = Reply(says(x=5), "m", Usage(10, 2))
        good, bad = (lambda messages: spent), ScriptedLLM([AuthenticationError("No key.", mend="Get one.")])
        optimizer = OptoPrimeMulti([x], llms=[good, bad, good], max_workers=max_workers)

        optimizer.backward(x * 3, "no")
        with pytest.raises(AuthenticationError):
            optimizer.step()

        record = optimizer.records[0]
        assert x.data == 1
        assert record.outcome == "failed"
        assert record.usage == (Usage(10, 2) if max_workers == 1 else Usage(20, 4))
        assert told(record)[2] == "AuthenticationError: No key. Get one."
        assert told(record)[1] == "The step ended before there was a choice."
        assert (told(record)[3] == "It was not asked for any more.") == (max_workers == 1)

    @pytest.mark.parametrize("max_workers", [1, 3])
    def test_whatever_a_function_raises_is_recorded_with_what_was_paid(self, max_workers):
        x = number()

        def broken(messages):
            if len(messages) == 2:
                return Reply("no answer", "m", Usage(5, 1))
            raise KeyError("a mistake")

        spent = Reply(says(x=5), "m", Usage(10, 2))
        optimizer = OptoPrimeMulti([x], llms=[lambda messages: spent, broken], max_workers=max_workers)
        optimizer.backward(x * 3, "no")
        with pytest.raises(KeyError, match="a mistake"):
            optimizer.step()

        record = optimizer.records[0]
        assert record.usage == Usage(15, 3)
        assert told(record)[2] == "The step ended before it was there."
        assert record.messages[-1]["content"].startswith("That answer cannot be used.")

    def test_if_all_want_no_change_there_is_none(self):
        x = number()
        validated = []

        _, step = stepped(x, ScriptedLLM([says("Fine.")] * 3), validate=lambda: validated.append(1) or 0.0)

        assert (step.outcome, step.reason, step.reasoning) == ("unchanged", "No change was suggested.", "Fine.")
        assert validated == []
        _, step = stepped(x, ScriptedLLM([says("Fine.", x=1)] * 3))
        assert step.reason == "The suggested values are those already in force."


class TestThreads:
    def test_calls_run_at_the_same_time_and_the_order_of_their_ends_means_nothing(self):
        met = threading.Barrier(3, timeout=30)
        ends = [threading.Event() for _ in range(4)]
        ends[3].set()
        finished = []

        def model(position):
            def answer(messages):
                met.wait()
                ends[position + 1].wait(30)  # the last is ready first
                finished.append(position)
                ends[position].set()
                return says(x=[5, 2, 2][position]) if position != 1 else says(x=7)

            return answer

        x = number()
        _, step = stepped(x, None, llms=[model(position) for position in range(3)], max_workers=3, selection="majority")

        assert finished == [2, 1, 0]
        assert x.data == 5
        assert [item.update["x"] for item in step.candidates] == [5, 7, 2]

    def test_records_are_those_of_one_call_after_the_other(self):
        def answer(messages, temperature):
            return Reply(says(x=round(temperature * 10)), "m", Usage(int(temperature * 100), 1))

        def record(max_workers):
            x = number()
            _, step = stepped(x, answer, num_responses=5, max_workers=max_workers, validate=lambda: -abs(x.data - 3))
            return step.record.model_dump(exclude={"seconds", "at"})

        assert record(1) == record(2) == record(5)
        assert record(5)["usage"]["input_tokens"] == 250

    def test_what_holds_in_the_caller_holds_in_the_calls(self):
        seen = []

        def answer(messages):
            seen.append(is_tracing())
            return says(x=2)

        x = number()
        optimizer = OptoPrimeMulti([x], answer, max_workers=3)
        optimizer.backward(x * 3, "no")
        with stop_tracing():
            optimizer.step()

        assert seen == [False] * 3


class TestTemperaturesThatAreRefused:
    def refusing(self, *, tools=False):
        """A server of the OpenAI protocol that takes no temperature but 1, and tools only if it is told so."""

        def reply(messages):
            body = server.requests[-1].body
            if body.get("temperature", 1) != 1:
                return Failure(400, "Unsupported value: 'temperature' does not support this with this model.")
            if "tools" in body and not tools:
                return Failure(400, "This model takes no tools.")
            return says(x=len(server.requests))

        server = LLMServer(reply)
        return server

    def test_it_is_asked_without_and_that_is_said_once(self):
        x = number()
        with self.refusing() as server, LLM("a-model", base_url=server.openai_url) as llm:
            optimizer = OptoPrimeMulti([x], llm, selection="majority")
            with pytest.warns(
                UserWarning, match=r"openai:a-model refuses the temperature 0: it is asked without"
            ) as said:
                step = judged(optimizer, x)
            sent = [request.body.get("temperature") for request in server.requests]
            again = judged(optimizer, x)
            sent_again = [request.body.get("temperature") for request in server.requests][len(sent) :]

        assert len(said) == 1
        assert said[0].filename == __file__
        assert sent == [0.0, None, 0.5, None, 1.0]
        assert sent_again == [None, None, 1.0]
        assert [(item.temperature, item.source) for item in step.candidates] == [
            (None, "temperature 0 was refused"),
            (None, "temperature 0.5 was refused"),
            (1.0, "temperature 1"),
        ]
        assert [item.source for item in again.candidates] == [item.source for item in step.candidates]
        assert [item.update["x"] for item in step.candidates] == [2, 4, 5]

    def test_tools_and_temperature_may_both_be_refused(self):
        x = number()
        with self.refusing() as server, LLM("a-model", base_url=server.openai_url) as llm:
            optimizer = OptoPrimeMulti(
                [x], llm, num_responses=1, temperature_range=(0.2, 0.2), answer_format="tool", memory_size=0
            )
            with pytest.warns(UserWarning, match=r"temperature 0\.2"):
                judged(optimizer, x)
            first = len(server.requests)
            judged(optimizer, x)
            sent = [("tools" in request.body, "temperature" in request.body) for request in server.requests]

        assert sent[first - 1] == (False, False)
        assert sent[first:] == [(False, False)]

    def test_a_request_that_is_wrong_for_other_reasons_raises(self):
        x = number()
        missing = Failure(404, "There is no such model.")
        with LLMServer(lambda messages: missing) as server, LLM("a-model", base_url=server.openai_url) as llm:
            optimizer = OptoPrimeMulti([x], llm)
            optimizer.backward(x * 3, "no")
            with pytest.raises(BadRequestError, match="no such model"):
                optimizer.step()

    def test_a_prompt_that_is_too_long_is_not_sent_again(self):
        x = number()
        failure = Failure(400, "maximum context length", code="context_length_exceeded")
        with LLMServer(lambda messages: failure) as server, LLM("a-model", base_url=server.openai_url) as llm:
            optimizer = OptoPrimeMulti([x], llm, num_responses=2)
            optimizer.backward(x * 3, "no")
            with pytest.raises(ContextLengthError):
                optimizer.step()
            assert len(server.requests) == 1

    @pytest.mark.parametrize("max_workers", [1, 4])
    def test_candidates_through_the_sdk(self, max_workers):
        def reply(messages):
            heat = server.requests[-1].body["temperature"]
            return says(x=round(heat * 10))

        x = number()
        # At the same time, requests mix: no answer can go by the last of them.
        server = LLMServer(reply if max_workers == 1 else [says(x=2)] * 4)
        with server, LLM("a-model", base_url=server.openai_url) as llm:
            _, step = stepped(x, llm, num_responses=4, max_workers=max_workers, validate=lambda: -abs(x.data - 3))
            heats = {request.body["temperature"] for request in server.requests}

        assert heats == {0.0, 0.333333, 0.666667, 1.0}
        assert step.update == {"x": 3 if max_workers == 1 else 2}


class TestRecord:
    def test_all_that_was_spent_is_added_up(self):
        def paid(text, spent):
            return Reply(text, "m", Usage(spent, 1))

        llm = ScriptedLLM(
            [
                *(paid("no answer", 1), paid(says(x=5), 10)),
                paid("no answer", 100),
                paid("no answer", 1_000),
                *(paid(says(x=2), 10_000), paid(chooses(3), 100_000)),
            ]
        )

        _, step = stepped(number(), llm)

        assert step.usage == Usage(111_111, 6)
        assert [item.usage for item in step.candidates] == [Usage(11, 2), Usage(1_100, 2), Usage(10_000, 1)]

    def test_it_survives_json_and_the_disk(self, tmp_path):
        x = number()
        optimizer, step = stepped(
            x,
            ScriptedLLM([says(x=5), "no answer", says(x=2)]),
            validate=lambda: -abs(x.data - 2),
            max_repairs=0,
            run=tmp_path,
        )

        assert Run(tmp_path).steps() == optimizer.records
        assert StepRecord.model_validate_json(step.record.model_dump_json()) == step.record
        assert step.candidates[2].reply == "no answer"

    def test_records_of_other_optimizers_have_no_candidates(self):
        x = number()
        assert judged(OptoPrime([x], ScriptedLLM([says(x=2)])), x).candidates == []


class TestNamesOfTrace:
    def test_programs_for_trace_run(self):
        assert OptoPrimeMulti.__module__ == "opto.optimizers.optoprimemulti"

        @bundle(trainable=True)
        def double(value):
            """Doubles."""
            return value

        llm = ScriptedLLM([says(double="def double(value):\n    return 2 * value\n")] * 4)
        optimizer = OptoPrimeMulti(
            double.parameters(),
            llm=llm,
            num_responses=4,
            temperature_min_max=[0.0, 0.9],
            generation_technique="temperature_variation",
            selection_technique="best_of_n",
            experts_list=None,
            llm_profiles=["cheap"],
            memory_size=0,
            ignore_extraction_error=True,
        )
        optimizer.backward(double(3), "It should be 6.")
        optimizer.step(verbose="output")

        assert double(3).data == 6
        assert [call.settings["temperature"] for call in llm.calls] == [0.0, 0.3, 0.6, 0.9]

    @pytest.mark.parametrize(
        ("settings", "temperatures", "wishes"),
        [
            ({"temperature_range": [1.3, 0.0], "num_responses": 2}, [1.3, 0.0], []),
            ({"generation_technique": "Multi_Experts"}, [None] * 3, ["an expert in the subject of the program"]),
            ({"generation_technique": "multi_experts", "experts_list": ["a cook"]}, [None], ["a cook"]),
            ({"experts_list": ["a cook"], "generation_technique": "temperature_variation"}, [0.0, 0.5, 1.0], []),
            ({"generation_technique": "self_refinement"}, [None] * 3, []),
            ({"generation_technique": "iterative_alternatives"}, [None] * 3, []),
        ],
    )
    def test_techniques_mean_what_they_mean_there(self, settings, temperatures, wishes):
        llm = ScriptedLLM([says(x=2)] * 5)

        stepped(number(), llm, **settings)

        assert [call.settings.get("temperature") for call in llm.calls] == temperatures
        assert all(f"Answer as {wish}." in llm.calls[0].messages[1]["content"] for wish in wishes)

    def test_profiles_are_models(self):
        asked = []
        llm = ScriptedLLM([says(x=2)] * 2)

        profiles = [llm, lambda messages: asked.append(1) or says(x=3)]
        settings = {"generation_technique": "multi_llm", "selection_technique": "lastofn"}
        _, step = stepped(number(), None, llm_profiles=profiles, num_responses=3, **settings)

        assert (len(llm.calls), len(asked)) == (2, 1)
        assert step.update == {"x": 2}

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"num_responses": 0}, "num_responses is 0"),
            ({"max_workers": 0}, "max_workers is 0"),
            ({"temperature_range": [1]}, r"temperature_range is \[1\]"),
            ({"temperature_range": (-1, 1)}, "temperature_range"),
            (
                {"generation": "magic"},
                "There is no generation 'magic'. Choose one of independent, refinement, alternatives.",
            ),
            ({"selection": "magic"}, "Choose one of validation, judge, majority, last."),
            ({"selection_technique": 3}, "There is no selection 3"),
            ({"selection": "validation"}, "nothing to go by. Give validate="),
            ({"validate": 3}, "validate is 3"),
            ({"selector": "first"}, "selector is 'first'"),
            ({"judge": print, "selection": "last"}, "a judge, and something else that chooses"),
            ({"experts": "a cook"}, "experts is 'a cook'"),
            ({"llm_weights": [1, 2]}, r"llm_weights is \[1, 2\] for 1 models"),
            ({"llm_weights": [0]}, "llm_weights"),
            ({"experts": ["a"], "experts_list": ["b"]}, "experts_list and experts mean the same"),
        ],
    )
    def test_settings_that_make_no_sense_are_refused(self, settings, message):
        with pytest.raises(OptimizerError, match=message):
            OptoPrimeMulti([number()], ScriptedLLM([]), **settings)

    def test_unknown_settings_are_refused(self):
        with pytest.raises(TypeError, match=r"OptoPrimeMulti\(\) got an unexpected keyword argument 'temprature'"):
            OptoPrimeMulti([number()], ScriptedLLM([]), temprature=1)
