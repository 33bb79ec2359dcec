"""What every optimizer must keep: a class of tests to derive from."""

import asyncio
import itertools
import json
import warnings
from collections.abc import Sequence
from typing import Any

from opto.errors import DomainError, OptimizerError, OptoError, RunError, StepsFailedError
from opto.nodes import Choices, Feedback, Node, ParameterNode, Range, SumPropagator, node
from opto.optimizers import Optimizer, Step
from opto.runs import Run, StepRecord
from opto.testing.expecting import essence, folder, raises, refuse_to_propose, suggest

__all__ = ["OptimizerContract"]


class OptimizerContract:
    """Tests that every optimizer must pass, whatever it is that proposes.

    Derive a class of tests from it, and say in `make` how to make your optimizer. pytest finds the tests in it::

        class TestGreedy(OptimizerContract):
            def make(self, parameters, **settings):
                return Greedy(parameters, ScriptedLLM(replies()), **settings)

    Made twice, it must propose the same: give it a seed, or a script in place of a model. It must propose at least one
    change within the first three steps. If it is not for numbers and options, say in `parameters` and `program` what it
    is for.
    """

    def make(self, parameters: Any, **settings: Any) -> Optimizer:
        """Return a new optimizer of *parameters*, with *settings* of `Optimizer`, such as ``run`` and ``keep_best``."""
        raise NotImplementedError(f"{type(self).__name__} must define make(parameters, **settings).")

    def parameters(self) -> list[ParameterNode[Any]]:
        """Return two new parameters or more, of different names, with a domain that does not take ``object()``."""
        return [
            node(1, name="size", trainable=True, domain=Range(0, 100)),
            node("a", name="mode", trainable=True, domain=Choices("a", "b", "c")),
        ]

    def program(self, parameters: Sequence[ParameterNode[Any]]) -> list[Node[Any]]:
        """Return outputs that depend on *parameters*, the first on all of them."""
        size, mode = parameters
        return [size * 2 + mode.count("b"), mode.upper()]

    def feedback(self, outputs: Sequence[Node[Any]]) -> list[Feedback]:
        """Return what is said about each of *outputs*: words and a score, for optimizers that need either."""
        first = outputs[0].data
        score = -abs(first - 9) if isinstance(first, int | float) else -float(len(str(first)))
        return [Feedback("so so", score=score)] * len(outputs)

    # What follows is for no one to change.

    def judge(self, optimizer: Optimizer) -> None:
        """Run the program, and give feedback."""
        optimizer.zero_feedback()
        outputs = self.program(optimizer.parameters)
        optimizer.backward(outputs, self.feedback(outputs))

    def run(self, optimizer: Optimizer, steps: int = 3) -> list[StepRecord]:
        """Return the records of some steps."""
        for _ in range(steps):
            self.judge(optimizer)
            optimizer.step()
        return optimizer.records

    def test_parameters_change_within_their_domains_and_the_record_tells_it(self) -> None:
        optimizer = self.make(self.parameters())

        records = self.run(optimizer)

        assert [record.step for record in records] == [1, 2, 3]
        assert "updated" in {record.outcome for record in records}
        for before, after in itertools.pairwise(records):
            assert after.before == before.after
        for parameter in optimizer.parameters:
            parameter.domain.check(parameter.data)

    def test_what_is_not_given_to_the_optimizer_is_left_alone(self) -> None:
        parameters = self.parameters()
        *_, bystander = self.parameters()
        value = bystander.data
        optimizer = self.make(parameters)

        for _ in range(3):
            outputs = self.program([*parameters[:-1], bystander])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # one of them is reached by nothing
                optimizer.zero_feedback()
                optimizer.backward(outputs[0], self.feedback(outputs)[0])
                optimizer.step()

        assert bystander.data is value
        assert parameters[-1] in optimizer.parameters

    def test_without_feedback_nothing_is_asked_and_nothing_changes(self) -> None:
        parameters = self.parameters()
        optimizer = self.make(parameters)
        values = [item.data for item in parameters]
        asked = refuse_to_propose(optimizer)

        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            step = optimizer.step()

        assert step.outcome == "unchanged"
        assert "backward" in step.reason
        assert any("No feedback has come" in str(item.message) for item in warned)
        assert [item.data for item in parameters] == values
        assert asked == []

    def test_two_optimizers_share_nothing(self) -> None:
        first, second = self.make(self.parameters()), self.make(self.parameters())
        values = second.values()

        self.run(first)

        assert second.records == []
        assert second.values() == values
        assert second.best() is None

    def test_the_same_seed_and_answers_give_the_same_records(self) -> None:
        first, second = (self.run(self.make(self.parameters()), 6) for _ in range(2))

        assert essence(first) == essence(second)

    def test_bypassing_changes_no_parameter_but_says_what_would_be(self) -> None:
        optimizer = self.make(self.parameters())
        values = optimizer.values()
        steps = []
        for _ in range(3):
            self.judge(optimizer)
            steps.append(optimizer.step(bypassing=True))

        assert optimizer.values() == values
        assert all(step.after == step.before for step in steps)
        step = next(step for step in steps if step.outcome == "updated")
        assert step.update
        optimizer.update(step)
        assert {name: value for name, value in optimizer.values().items() if name in step.update} == {
            parameter_name: step[optimizer.variables[parameter_name]] for parameter_name in step.update
        }

    def test_asynchronous_steps_do_what_steps_do(self) -> None:
        first, second = self.make(self.parameters()), self.make(self.parameters())
        self.run(first)

        async def run() -> None:
            for _ in range(3):
                self.judge(second)
                await second.astep()

        asyncio.run(run())

        assert essence(first.records) == essence(second.records)
        assert first.values() == second.values()

    def test_records_survive_json_and_the_disk(self) -> None:
        with folder() as place:
            optimizer = self.make(self.parameters(), run=place / "run")

            records = self.run(optimizer)

            assert Run(place / "run").steps() == records
        for record in records:
            assert StepRecord.model_validate_json(record.model_dump_json()) == record
            json.dumps(record.model_dump(mode="json"), allow_nan=False)

    def test_what_is_saved_can_be_loaded(self) -> None:
        optimizer = self.make(self.parameters())
        self.run(optimizer)
        again = self.make(self.parameters())

        with folder() as place:
            optimizer.save(place / "state.json")
            again.load(place / "state.json")

        assert again.values() == optimizer.values()
        assert again.best() == optimizer.best()
        assert again.records == optimizer.records
        assert again.state_dict() == optimizer.state_dict()
        assert self.run(again, 1)[-1].step == 4

    def test_a_state_that_cannot_be_loaded_changes_nothing(self) -> None:
        optimizer = self.make(self.parameters())
        self.run(optimizer)
        state = optimizer.state_dict()
        again = self.make(self.parameters())
        before = again.state_dict()

        for changes, message in (
            ({"format": 0}, "no state of an optimizer"),
            ({"optimizer": "Other"}, "the state of Other"),
            ({"values": {"nobody": "1"}}, "variables nobody"),
            ({"records": [{}]}, "cannot be read"),
            ({"best": {}}, "cannot be read"),
            ({"values": dict.fromkeys(state["values"])}, ""),
        ):
            with raises(OptoError, message):
                again.load_state_dict({**state, **changes})
            assert again.state_dict() == before

    def test_best_is_the_highest_score_with_the_values_that_led_to_it(self) -> None:
        optimizer = self.make(self.parameters())

        records = self.run(optimizer, 6)

        best = optimizer.best()
        assert best is not None
        assert best.score == max(record.score for record in records if record.score is not None)
        assert best.step == next(record.step for record in records if record.score == best.score)

    def test_restore_puts_values_back_all_or_none(self) -> None:
        optimizer = self.make(self.parameters())
        self.run(optimizer, 4)
        best = optimizer.best()
        assert best is not None

        optimizer.restore(best)
        assert optimizer.values() == best.values

        first, *others = best.values
        broken = type(best)({first: best.values[first], **dict.fromkeys(others, object())}, score=0.0, step=1)
        with raises(DomainError, ""):
            optimizer.restore(broken)
        assert optimizer.values() == best.values
        with raises(OptimizerError, "There is no variable nobody"):
            optimizer.restore(type(best)({"nobody": 1}, 0.0, 1))
        optimizer.restore(None)

    def test_with_keep_best_a_step_that_did_worse_leads_back(self) -> None:
        optimizer = self.make(self.parameters(), keep_best=True)
        best = optimizer.values()

        def step(score: float) -> Step:
            optimizer.zero_feedback()
            outputs = self.program(optimizer.parameters)
            optimizer.backward(outputs, [Feedback("so so", score=score)] * len(outputs))
            return optimizer.step()

        for _ in range(3):
            if optimizer.values() == best:
                step(1.0)
        assert optimizer.values() != best
        suggest(optimizer, {})
        worse = step(0.0)

        assert worse.back_to == 1
        assert optimizer.values() == best
        assert worse.after == optimizer.records[0].before

    def test_what_cannot_be_optimized_is_refused_at_once(self) -> None:
        for parameters, message in (
            ([], "no trainable parameter"),
            ([3], "3 is no parameter"),
            ([node(3)], "is no parameter"),
            (node(3, trainable=True), "single ParameterNode"),
            (None, "single NoneType"),
        ):
            with raises(OptimizerError, message):
                self.make(parameters)

    def test_a_parameter_given_twice_counts_once(self) -> None:
        parameters = self.parameters()

        assert self.make([*parameters, *parameters]).parameters == parameters

    def test_names_of_parameters_may_be_given(self) -> None:
        named = {f"called_{position}": item for position, item in enumerate(self.parameters())}
        optimizer = self.make(named)

        assert optimizer.variables == named

    def test_feedback_on_values_that_are_gone_is_not_booked_to_those_in_force(self) -> None:
        optimizer = self.make(self.parameters())
        step = self._updating(optimizer)

        again = optimizer.step()

        assert step.outcome == "updated"
        assert again.outcome == "unchanged"
        assert "no longer in force" in again.reason
        assert again.score is None

    def test_frozen_parameters_stay_as_they_are(self) -> None:
        # A script may well go on about a variable that is not shown any more.
        optimizer = self.make(self.parameters(), max_failures=100)
        frozen = optimizer.parameters[0]
        value = frozen.data
        frozen.trainable = False

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.run(optimizer, 4)

        assert frozen.data == value
        assert frozen not in optimizer.active.values()

    def test_only_what_is_named_changes(self) -> None:
        optimizer = self.make(self.parameters())
        name = list(optimizer.variables)[-1]

        with optimizer.only([name]):
            records = self.run(optimizer)

        assert {key for record in records for key in record.update} <= {name}

    def test_a_value_outside_of_its_domain_is_never_applied(self) -> None:
        optimizer = self.make(self.parameters())
        values = optimizer.values()
        suggest(optimizer, dict.fromkeys(optimizer.variables, object()))

        for _ in range(2):
            self.judge(optimizer)
            step = optimizer.step()
            assert step.outcome == "rejected"
            assert {item.name for item in step.rejected} == set(values)
            assert all(item.reason for item in step.rejected)
        self.judge(optimizer)
        with raises(StepsFailedError, ""):
            optimizer.step()
        assert optimizer.values() == values

    def test_a_name_that_nobody_has_is_never_applied(self) -> None:
        optimizer = self.make(self.parameters())
        suggest(optimizer, {"nobody": 1})

        self.judge(optimizer)
        step = optimizer.step()

        assert step.outcome == "rejected"
        assert "There is no variable 'nobody'" in step.rejected[0].reason

    def test_whatever_goes_wrong_is_recorded_before_it_is_passed_on(self) -> None:
        with folder() as place:
            optimizer = self.make(self.parameters(), run=place)
            values = optimizer.values()
            suggest(optimizer, KeyboardInterrupt())
            self.judge(optimizer)

            with raises(KeyboardInterrupt, ""):
                optimizer.step()

            assert [record.outcome for record in Run(place).steps()] == ["failed"]
        assert optimizer.records[0].reason == "KeyboardInterrupt: "
        assert optimizer.values() == values

    def test_steps_go_on_counting_in_a_run_that_exists(self) -> None:
        with folder() as place:
            self.run(self.make(self.parameters(), run=place), 2)
            self.run(self.make(self.parameters(), run=place), 1)

            assert [record.step for record in Run(place).steps()] == [1, 2, 3]

    def test_a_record_that_cannot_be_written_changes_nothing(self) -> None:
        with folder() as place:
            optimizer = self.make(self.parameters(), run=place / "run")
            (place / "run" / "steps.jsonl").mkdir()
            values = optimizer.values()
            self.judge(optimizer)

            with raises(RunError, ""):
                optimizer.step()
            assert optimizer.values() == values
            assert optimizer.records[-1].outcome == "failed"
            assert optimizer.records[-1].after == optimizer.records[-1].before

    def test_a_run_that_cannot_be_is_refused_before_anything_is_paid(self) -> None:
        with folder() as place:
            (place / "file").write_text("in the way")

            with raises(RunError, "cannot be written"):
                self.make(self.parameters(), run=place / "file")

    def test_feedback_that_reaches_nothing_fails_andraises_in_the_end(self) -> None:
        optimizer = self.make(self.parameters())

        for _ in range(2):
            optimizer.zero_feedback()
            optimizer.backward(node("elsewhere"), (1.0, "no"))
            step = optimizer.step()
            assert step.outcome == "failed"
            assert f"No feedback reaches {', '.join(optimizer.variables)}" in step.reason
        optimizer.backward(node("again"), (1.0, "no"))
        with raises(StepsFailedError, "No feedback reaches"):
            optimizer.step()

    def test_settings_are_checked(self) -> None:
        with raises(OptimizerError, "max_failures is 0"):
            self.make(self.parameters(), max_failures=0)
        optimizer = self.make(self.parameters())
        outputs = self.program(optimizer.parameters)
        with raises(OptimizerError, "takes no visualize"):
            optimizer.backward(outputs, self.feedback(outputs), visualize=True)

    def test_a_propagator_that_sends_no_graphs_is_refused(self) -> None:
        optimizer = self.make(self.parameters(), propagator=SumPropagator())
        optimizer.backward(self.program(optimizer.parameters)[0], 1.0)

        with raises(OptimizerError, "reads trace graphs, and the propagator sent a float"):
            optimizer.step()

    def _updating(self, optimizer: Optimizer) -> Step:
        for _ in range(2):
            self.judge(optimizer)
            step = optimizer.step()
            if step.outcome == "updated":
                return step
        self.judge(optimizer)
        return optimizer.step()
