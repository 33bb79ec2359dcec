"""OptoPrimeMulti: where candidates come from, which of them wins, and what is told of the others."""

import asyncio
import decimal
import importlib
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
from opto.llm import LLM, Reply, ScriptedLLM, Usage
from opto.nodes import Range, node
from opto.optimizers import LocalSearch, Mixed, OptoPrime, OptoPrimeMulti
from opto.optimizers.suggestion import FORMATS, Suggestion
from opto.runs import Run, StepRecord
from opto.testing import Failure, LLMServer
from opto.trace import bundle, is_tracing, stop_tracing

MEND = {"mend": "Wait."}


def says(reasoning="because", **values):
    return FORMATS["tags"].write(Suggestion(values, reasoning))


def chooses(number, reasoning="It is right."):
    return says(reasoning, choice=number)


async def wait():
    """A function that may not be used."""


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


class TestEventLoops:
    def test_asynchronous_models_are_awaited_at_the_same_time(self):
        async def main():
            met = asyncio.Barrier(3)

            async def model(messages):
                await met.wait()
                return says(x=2)

            x = number()
            optimizer = OptoPrimeMulti([x], model, max_workers=3)
            optimizer.backward(x * 3, "no")
            return await asyncio.wait_for(optimizer.astep(), 30)

        assert asyncio.run(main()).update == {"x": 2}

    @pytest.mark.parametrize("max_workers", [1, 3])
    def test_a_step_that_is_cancelled_changes_nothing_and_is_recorded(self, max_workers):
        x = number()
        begun = []

        async def main():
            waiting = asyncio.Event()

            async def model(messages):
                begun.append(1)
                waiting.set()
                await asyncio.Event().wait()

            optimizer = OptoPrimeMulti([x], model, max_workers=max_workers)
            optimizer.backward(x * 3, "no")
            step = asyncio.create_task(optimizer.astep())
            await waiting.wait()
            step.cancel()
            with pytest.raises(asyncio.CancelledError):
                await step
            return optimizer.records

        [record] = asyncio.run(main())

        assert x.data == 1
        assert (record.outcome, record.reason) == ("failed", "CancelledError: ")
        assert len(begun) <= max_workers

    def test_a_validation_may_run_a_loop_of_its_own(self):
        x = number()

        async def accuracy():
            await asyncio.sleep(0)
            return -x.data

        async def main():
            llm = ScriptedLLM([says(x=5), says(x=0)])
            optimizer = OptoPrimeMulti([x], llm, num_responses=2, validate=lambda: asyncio.run(accuracy()))
            optimizer.backward(x * 3, "no")
            return await optimizer.astep()

        assert asyncio.run(main()).update == {"x": 0}


def test_as_a_part_of_a_mixed_optimizer_it_tells_the_same():
    x, y = number(), node(1, name="y", trainable=True, domain=Range(0, 9))
    llm = ScriptedLLM([says(x=5), says(x=2)])
    groups = [
        {"params": [x], "optimizer": OptoPrimeMulti, "num_responses": 2, "validate": lambda: -x.data},
        {"params": [y], "optimizer": LocalSearch},
    ]
    optimizer = Mixed(groups, llm=llm, seed=1, objective="Make it 6.")
    optimizer.backward(x * y, (0.5, "no"))

    step = optimizer.step()

    assert step.update.keys() == {"y"}
    assert [item.score for item in step.candidates] == [-1.0, -5.0, -2.0]
    assert "# Instruction\nMake it 6." in llm.calls[0].messages[1]["content"]


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
        assert importlib.import_module("opto.optimizers.optoprimemulti").OptoPrimeMulti is OptoPrimeMulti

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
            ({"validate": wait}, "validate is asynchronous"),
            ({"validate": lambda p: 1}, r"validate takes \(p\), and it is called with no arguments, .*'p'"),
            ({"selector": lambda: 1}, r"selector takes \(\), and it is called with one argument"),
            ({"selector": "first"}, "selector is 'first'"),
            ({"judge": print, "selection": "last"}, "a judge, and something else that chooses"),
            ({"experts": "a cook"}, "experts is 'a cook'"),
            ({"llm_weights": [1, 2]}, r"llm_weights is \[1, 2\] for 1 models"),
            ({"llm_weights": [0]}, "llm_weights"),
            ({"llm_weights": ["much"]}, r"llm_weights is \['much'\]"),
            ({"llm_weights": 2}, "llm_weights is 2 for 1 models"),
            ({"temperature_range": 0.3}, r"temperature_range is 0\.3\. Give two numbers"),
            ({"experts": 5}, "experts is 5. Give a list of texts."),
            ({"llms": "openai:a-model"}, "llms is 'openai:a-model'. Give a list of models, or llm= for a single one."),
            ({"llms": print}, "Give a list of models"),
            ({"experts": ["a"], "experts_list": ["b"]}, "experts_list and experts mean the same"),
        ],
    )
    def test_settings_that_make_no_sense_are_refused(self, settings, message):
        with pytest.raises(OptimizerError, match=message):
            OptoPrimeMulti([number()], ScriptedLLM([]), **settings)

    def test_unknown_settings_are_refused(self):
        with pytest.raises(TypeError, match=r"OptoPrimeMulti\(\) got an unexpected keyword argument 'temprature'"):
            OptoPrimeMulti([number()], ScriptedLLM([]), temprature=1)


def test_candidates_are_recorded_as_their_domains_read_them():
    price = node(decimal.Decimal("1.10"), name="price", trainable=True)
    optimizer = OptoPrimeMulti([price], ScriptedLLM([says(price="1.20")] * 2), num_responses=2, selection="majority")
    optimizer.backward(price * 2, "too low")
    step = optimizer.step()

    assert [item.update for item in step.candidates] == [{"price": "1.20"}] * 2
    assert price.accept(step.candidates[0].update["price"]) == decimal.Decimal("1.20")
