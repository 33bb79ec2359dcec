"""What every optimizer must keep: a class of tests to derive from."""

import asyncio
import itertools
import json
import warnings

from opto.errors import DomainError, OptimizerError
from opto.nodes import Feedback
from opto.optimizers import Step
from opto.runs import Run, StepRecord
from opto.testing.expecting import essence, folder, raises, refuse_to_propose, suggest
from opto.testing.failing import FailureContract

__all__ = ["OptimizerContract"]


class OptimizerContract(FailureContract):
    """Tests that every optimizer must pass, whatever it is that proposes.

    Derive a class of tests from it, and say in `make` how to make your optimizer. pytest finds the tests in it::

        class TestGreedy(OptimizerContract):
            def make(self, parameters, **settings):
                return Greedy(parameters, ScriptedLLM(replies()), **settings)

    Made twice, it must propose the same: give it a seed, or a script in place of a model. It must propose at least one
    change within the first three steps.

    It must take the settings of `Optimizer`, such as ``run`` and ``keep_best``: one with an ``__init__`` of its own
    passes them on to ``super().__init__``. If it is not for numbers and options, say in `parameters` and `program` what
    it is for: at least two parameters, and a list of outputs, the first of which depends on all of them.
    """

    def test_parameters_change_within_their_domains_and_the_record_tells_it(self) -> None:
        optimizer = self._made(self._given())
        for _ in range(3):
            self.judge(optimizer)
            before = optimizer.values()
            step = optimizer.step()
            assert (step.outcome == "updated") == bool(step)
            for name, parameter in optimizer.variables.items():
                # What a step does not name is the very object that it was.
                assert parameter.data is (step[parameter] if parameter in step else before[name])

        records = optimizer.records
        assert [record.step for record in records] == [1, 2, 3]
        assert "updated" in {record.outcome for record in records}
        for earlier, later in itertools.pairwise(records):
            assert later.before == earlier.after
        for record in records:
            assert record.after == {**record.before, **record.update}
        for parameter in optimizer.parameters:
            parameter.domain.check(parameter.data)

    def test_what_is_not_given_to_the_optimizer_is_left_alone(self) -> None:
        parameters = self._given()
        *_, bystander = self._given()
        value = bystander.data
        optimizer = self._made(parameters)

        for _ in range(3):
            outputs = self._outputs([*parameters[:-1], bystander])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # one of them is reached by nothing
                optimizer.zero_feedback()
                optimizer.backward(outputs[0], self.feedback(outputs)[0])
                optimizer.step()

        assert bystander.data is value
        assert parameters[-1] in optimizer.parameters
        optimizer.zero_feedback()
        assert bystander.feedback, "what has come for others is for others to forget"
        assert not any(item.feedback for item in parameters)

    def test_without_feedback_nothing_is_asked_and_nothing_changes(self) -> None:
        parameters = self._given()
        optimizer = self._made(parameters)
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
        first, second = self._made(self._given()), self._made(self._given())
        values = second.values()

        self.run(first)

        assert second.records == []
        assert second.values() == values
        assert second.best() is None

    def test_the_same_seed_and_answers_give_the_same_records(self) -> None:
        first, second = (self.run(self._made(self._given()), 6) for _ in range(2))

        assert essence(first) == essence(second)

    def test_bypassing_changes_no_parameter_but_says_what_would_be(self) -> None:
        optimizer = self._made(self._given())
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
        first, second = self._made(self._given()), self._made(self._given())
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
            optimizer = self._made(self._given(), run=place / "run")

            records = self.run(optimizer)

            assert Run(place / "run").steps() == records
        for record in records:
            assert StepRecord.model_validate_json(record.model_dump_json()) == record
            json.dumps(record.model_dump(mode="json"), allow_nan=False)

    def test_what_is_saved_can_be_loaded(self) -> None:
        optimizer = self._made(self._given())
        self.run(optimizer)
        again = self._made(self._given())

        with folder() as place:
            optimizer.save(place / "state.json")
            again.load(place / "state.json")

        assert again.values() == optimizer.values()
        assert again.best() == optimizer.best()
        assert again.records == optimizer.records
        assert again.state_dict() == optimizer.state_dict()
        assert self.run(again, 1)[-1].step == 4

    def test_best_is_the_highest_score_with_the_values_that_led_to_it(self) -> None:
        optimizer = self._made(self._given())
        judged = []
        for _ in range(6):
            self.judge(optimizer)
            values = optimizer.values()
            step = optimizer.step()
            judged.append((step.score, step.step, values))

        best = optimizer.best()
        assert best is not None
        assert best.score == max(score for score, _, _ in judged if score is not None)
        first = next((step, values) for score, step, values in judged if score == best.score)
        assert (best.step, best.values) == first

    def test_restore_puts_values_back_all_or_none(self) -> None:
        optimizer = self._made(self._given())
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
        optimizer = self._made(self._given(), keep_best=True)
        best = optimizer.values()

        def step(score: float) -> Step:
            optimizer.zero_feedback()
            outputs = self._outputs(optimizer.parameters)
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

    def test_a_parameter_given_twice_counts_once(self) -> None:
        parameters = self._given()

        assert self._made([*parameters, *parameters]).parameters == parameters

    def test_names_of_parameters_may_be_given(self) -> None:
        named = {f"called_{position}": item for position, item in enumerate(self._given())}
        optimizer = self._made(named)

        assert optimizer.variables == named

    def test_feedback_on_values_that_are_gone_is_not_booked_to_those_in_force(self) -> None:
        optimizer = self._made(self._given())
        step = self._updating(optimizer)

        again = optimizer.step()

        assert step.outcome == "updated"
        assert again.outcome == "unchanged"
        assert "no longer in force" in again.reason
        assert again.score is None

    def test_frozen_parameters_stay_as_they_are(self) -> None:
        # A script may well go on about a variable that is not shown any more.
        optimizer = self._made(self._given(), max_failures=100)
        frozen = optimizer.parameters[0]
        value = frozen.data
        frozen.trainable = False

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.run(optimizer, 4)

        assert frozen.data == value
        assert frozen not in optimizer.active.values()

    def test_only_what_is_named_changes(self) -> None:
        optimizer = self._made(self._given())
        name = list(optimizer.variables)[-1]

        with optimizer.only([name]):
            records = self.run(optimizer)

        assert {key for record in records for key in record.update} <= {name}

    def test_steps_go_on_counting_in_a_run_that_exists(self) -> None:
        with folder() as place:
            self.run(self._made(self._given(), run=place), 2)
            self.run(self._made(self._given(), run=place), 1)

            assert [record.step for record in Run(place).steps()] == [1, 2, 3]
