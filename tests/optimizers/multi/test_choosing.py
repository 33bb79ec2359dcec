"""How one of several candidates is chosen: by a measure, by a model, by a vote, or by a function."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opto.errors import AuthenticationError, OptimizerError, RateLimitError
from opto.llm import Reply, ScriptedLLM, Usage, estimate_tokens
from opto.nodes import Range, node
from opto.optimizers import OptoPrimeMulti
from opto.optimizers.suggestion import FORMATS, Suggestion

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

    def test_what_was_outdone_is_saved(self, tmp_path):
        x, y = number(3), number(3)
        optimizer, _ = stepped(x, ScriptedLLM([says(x=5), says(x=4), says(x=9)]), validate=lambda: -x.data)
        optimizer.save(tmp_path / "state.json")

        llm = ScriptedLLM([says()] * 3)
        again = OptoPrimeMulti([y], llm, validate=lambda: -y.data)
        again.load(tmp_path / "state.json")
        judged(again, y)

        assert "x = 4\n-> In validation it scored -4" in llm.calls[0].messages[-1]["content"]

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
        with pytest.raises(OptimizerError, match=r"validate returned None\. Return a number, higher is better\."):
            stepped(x, ScriptedLLM([says(x=2)]), num_responses=1, validate=lambda: None)

    def test_what_scores_the_same_as_what_there_is_is_said_to(self):
        x = number(1)
        _, step = stepped(x, ScriptedLLM([says(x=3)]), num_responses=1, validate=lambda: -abs(x.data - 2))

        assert x.data == 3
        assert told(step)[1] == "It scored highest, -1, the same as the values in force."

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

    def test_what_a_choice_took_is_told_though_validation_fails(self):
        x = number()
        judge = ScriptedLLM([Reply("1", "m", Usage(7, 1))])
        llm = ScriptedLLM([says(x=5), says(x=2)])
        optimizer = OptoPrimeMulti([x], llm, num_responses=2, judge=judge, validate=lambda: {}[x.data])

        optimizer.backward(x * 3, "no")
        with pytest.raises(KeyError):
            optimizer.step()

        assert optimizer.records[0].usage == Usage(7, 1)
        assert not any(item.chosen for item in optimizer.records[0].candidates)

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

    def test_it_is_told_what_the_others_are_told(self):
        x = number()
        llm = ScriptedLLM([says(x=5), says(x=2), chooses(2)])
        settings = {"context": {"x": "It is in metres."}, "problem_context": "A bridge is built."}
        optimizer = OptoPrimeMulti([x], llm, num_responses=2, **settings)

        optimizer.backward(x * 3, "The output should be 6.")
        optimizer.step(mask=["#Code"])

        for call in llm.calls:
            asked = call.messages[-1]["content"]
            assert "It is in metres." in asked
            assert "A bridge is built." in asked
            assert "# Code" not in asked

    def test_it_is_told_the_objective_that_there_is_when_it_is_asked(self):
        x = number()
        llm = ScriptedLLM([says(x=2), says(x=3), chooses(2)])
        optimizer = OptoPrimeMulti([x], llm, num_responses=2, objective="Old.", problem_context="Old.")
        optimizer.objective, optimizer.problem_context = "Reach the bank.", "A bridge is built."
        judged(optimizer, x)

        assert all("Reach the bank." in call.messages[-1]["content"] for call in llm.calls)
        assert all("A bridge is built." in call.messages[-1]["content"] for call in llm.calls)

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


ANSWERS = st.tuples(
    st.sampled_from(["good", "good", "good", "no change", "out of range", "nonsense", "cut", "busy"]), st.integers(0, 3)
)


def answering(kind, value):
    def model(messages):
        if kind == "busy":
            raise RateLimitError("Too many.", **MEND)
        return {
            "good": says(x=value),
            "no change": says(),
            "out of range": says(x=value + 1_000),
            "nonsense": "Hm.",
            "cut": says(x=value)[:-20],
        }[kind]

    return model


@settings(max_examples=150, deadline=None)
@given(
    answers=st.lists(ANSWERS, min_size=1, max_size=5),
    scores=st.lists(st.sampled_from([0.0, 1.0, 2.0, None]), min_size=4, max_size=4),
    selection=st.sampled_from(["validation", "judge", "majority", "last"]),
    validated=st.booleans(),
    max_workers=st.sampled_from([1, 5]),
    start=st.integers(0, 3),
)
def test_whatever_is_answered(*, answers, scores, selection, validated, max_workers, start):
    x = number(start)

    def validate():
        if scores[x.data] is None:
            raise LookupError(x.data)
        return scores[x.data]

    validated = validated or selection == "validation"
    optimizer = OptoPrimeMulti(
        [x],
        lambda messages: "1",
        llms=[answering(*answer) for answer in answers],
        selection=selection,
        validate=validate if validated else None,
        max_workers=max_workers,
        max_repairs=0,
    )
    optimizer.backward(x * 3, "no")
    usable = {value if kind == "good" else start for kind, value in answers if kind in {"good", "no change"}}
    try:
        step = optimizer.step().record
    except LookupError:
        # Nothing could be scored, as it is or as anybody would have it.
        assert validated
        assert scores[start] is None
        assert selection != "validation" or {scores[value] for value in usable} == {None}
        step = optimizer.records[0]

    assert x.data in usable | {start}
    assert (step.outcome == "updated") == (x.data != start)
    assert [item.number for item in step.candidates if item.number] == list(range(1, len(answers) + 1))
    assert sum(item.votes > 0 for item in step.candidates) == sum(kind in {"good", "no change"} for kind, _ in answers)
    assert all(item.reason for item in step.candidates if item.number)
    assert sum(item.chosen for item in step.candidates) == (bool(usable) and step.outcome != "failed")
    if validated and x.data != start:
        assert scores[x.data] is not None
        assert scores[start] is None or scores[x.data] >= scores[start]
        others = [scores[value] for value in usable if scores[value] is not None]
        assert selection != "validation" or scores[x.data] == max(others)
