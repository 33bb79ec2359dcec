"""What every optimizer must keep when something goes wrong."""

import asyncio
import threading

from opto.errors import (
    AuthenticationError,
    OptimizerError,
    OptoError,
    RateLimitError,
    RunError,
    StepsFailedError,
    SuggestionError,
)
from opto.nodes import SumPropagator, node
from opto.optimizers import Proposal, Suggestion
from opto.runs import Run
from opto.testing.expecting import folder, raises, suggest
from opto.testing.subject import Subject

__all__ = ["FailureContract"]


class FailureContract(Subject):
    """Tests of what must not happen, and of what is said about it."""

    def test_a_state_that_cannot_be_loaded_changes_nothing(self) -> None:
        optimizer = self._made(self._given())
        self.run(optimizer)
        state = optimizer.state_dict()
        again = self._made(self._given())
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

    def test_what_cannot_be_optimized_is_refused_at_once(self) -> None:
        for parameters, message in (
            ([], "no trainable parameter"),
            ([3], "3 is no parameter"),
            ([node(3)], "is no parameter"),
            (node(3, trainable=True), "single ParameterNode"),
            (None, "single NoneType"),
        ):
            with raises(OptimizerError, message):
                self._made(parameters)

    def test_a_value_outside_of_its_domain_is_never_applied(self) -> None:
        optimizer = self._made(self._given())
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
        optimizer = self._made(self._given())
        suggest(optimizer, {"nobody": 1})

        self.judge(optimizer)
        step = optimizer.step()

        assert step.outcome == "rejected"
        assert "There is no variable 'nobody'" in step.rejected[0].reason

    def test_whatever_goes_wrong_is_recorded_before_it_is_passed_on(self) -> None:
        with folder() as place:
            optimizer = self._made(self._given(), run=place)
            values = optimizer.values()
            suggest(optimizer, KeyboardInterrupt())
            self.judge(optimizer)

            with raises(KeyboardInterrupt, ""):
                optimizer.step()

            assert [record.outcome for record in Run(place).steps()] == ["failed"]
        assert optimizer.records[0].reason == "KeyboardInterrupt: "
        assert optimizer.values() == values

    def test_a_record_that_cannot_be_written_changes_nothing(self) -> None:
        with folder() as place:
            optimizer = self._made(self._given(), run=place / "run")
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
                self._made(self._given(), run=place / "file")

    def test_feedback_that_reaches_nothing_fails_and_raises_in_the_end(self) -> None:
        optimizer = self._made(self._given())

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
            self._made(self._given(), max_failures=0)
        optimizer = self._made(self._given())
        outputs = self._outputs(optimizer.parameters)
        with raises(OptimizerError, "takes no visualize"):
            optimizer.backward(outputs, self.feedback(outputs), visualize=True)

    def test_a_propagator_that_sends_no_graphs_is_refused(self) -> None:
        optimizer = self._made(self._given(), propagator=SumPropagator())
        optimizer.backward(self._outputs(optimizer.parameters)[0], 1.0)

        with raises(OptimizerError, "reads trace graphs, and the propagator sent a float"):
            optimizer.step()

    def test_what_can_be_used_is_applied_and_what_cannot_is_named(self) -> None:
        optimizer = self._made(self._given())
        proposed = self._updating(optimizer, bypassing=True)
        parameter, value = next(iter(proposed.items()))
        name = next(name for name, item in optimizer.variables.items() if item is parameter)
        others = {other: item.data for other, item in optimizer.variables.items() if other != name}
        suggest(optimizer, lambda: Proposal(Suggestion({name: value, **dict.fromkeys(others, object())})))

        self.judge(optimizer)
        step = optimizer.step()

        assert step.outcome == "updated"
        assert set(step.update) == {name}
        assert {item.name for item in step.rejected} == set(others)
        assert all(optimizer.variables[other].data is item for other, item in others.items())

    def test_values_that_are_in_force_already_are_no_update(self) -> None:
        optimizer = self._made(self._given())
        values = optimizer.values()
        suggest(optimizer, dict(values))

        self.judge(optimizer)
        step = optimizer.step()

        assert (step.outcome, dict(step)) == ("unchanged", {})
        assert step.reason
        assert all(item is values[name] for name, item in optimizer.values().items())

    def test_a_proposal_that_cannot_be_had_fails_and_raises_in_the_end_with_all_causes(self) -> None:
        optimizer = self._made(self._given())
        values = optimizer.values()
        errors: list[SuggestionError | RateLimitError] = [
            SuggestionError("unreadable", mend="Write."),
            RateLimitError("too many", mend="Wait."),
            SuggestionError("cut", mend="Write less."),
        ]

        coming = iter(errors)
        suggest(optimizer, lambda: Proposal(error=next(coming)))
        for error in errors[:2]:
            self.judge(optimizer)
            step = optimizer.step()
            assert step.outcome == "failed"
            assert str(error) in step.reason
        self.judge(optimizer)
        with raises(StepsFailedError, "unreadable") as raised:
            optimizer.step()
        assert all(str(error) in str(raised[0]) for error in errors)
        assert optimizer.values() == values

    def test_what_will_not_go_away_by_itself_is_raised_at_once(self) -> None:
        optimizer = self._made(self._given())
        suggest(optimizer, lambda: Proposal(error=AuthenticationError("wrong key", mend="Set another.")))

        self.judge(optimizer)
        with raises(AuthenticationError, "wrong key"):
            optimizer.step()

        assert [record.outcome for record in optimizer.records] == ["failed"]

    def test_how_many_steps_may_fail_is_for_the_user_to_say(self) -> None:
        optimizer = self._made(self._given(), max_failures=1)
        suggest(optimizer, {"nobody": 1})

        self.judge(optimizer)
        with raises(StepsFailedError, "The last step changed nothing"):
            optimizer.step()

    def test_a_step_that_is_cancelled_changes_nothing(self) -> None:
        optimizer = self._made(self._given())
        step = self._updating(optimizer, bypassing=True)
        proposed = {name: step[item] for name, item in optimizer.variables.items() if item in step}
        values = optimizer.values()
        begun, go = threading.Event(), threading.Event()

        def slowly() -> Proposal:
            begun.set()
            assert go.wait(60)
            return Proposal(Suggestion(proposed))

        async def run() -> None:
            task = asyncio.create_task(optimizer.astep())
            await asyncio.to_thread(begun.wait, 60)
            task.cancel()
            await asyncio.sleep(0)
            go.set()
            with raises(asyncio.CancelledError, ""):
                await task
            assert optimizer.records[-1].outcome == "failed", "it has ended when that is passed on"

        suggest(optimizer, slowly)
        self.judge(optimizer)
        asyncio.run(run())

        assert optimizer.values() == values
