"""What an optimizer holds: parameters, the best of their values, records; in memory, and as a file."""

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opto.errors import DomainError, OptimizerError
from opto.files import replace_file
from opto.nodes import Feedback, ParameterNode
from opto.optimizers.checks import checked, copied, named, recorded, same
from opto.optimizers.proposal import Candidate
from opto.optimizers.step import Step
from opto.runs import StepRecord

__all__ = ["OptimizerState", "read_values", "write_values"]

_FORMAT = 1


class OptimizerState:
    """The parameters of an optimizer by name, the best of their values so far, and what happened to them.

    Attributes:
        parameters: Each once, in the order given.
        variables: The parameters by the names under which problems and records show them.
        records: What happened in the last thousand steps, one `StepRecord` each. A run keeps all of them.
    """

    def __init__(self, parameters: Iterable[ParameterNode[Any]] | Mapping[str, ParameterNode[Any]]) -> None:
        self.parameters = checked(parameters)
        self.variables = named(self.parameters, parameters)
        self.records: list[StepRecord] = []
        self._best: Candidate | None = None
        self._focus: Collection[str] | None = None
        #: All that records tell of: more than the variables, if this is one of several optimizers of one step.
        self._recorded = self.variables

    @property
    def active(self) -> dict[str, ParameterNode[Any]]:
        """The variables that may be changed now: those that nobody has frozen since, and that the step is about."""
        return {
            name: parameter
            for name, parameter in self.variables.items()
            if parameter.trainable and (self._focus is None or name in self._focus)
        }

    @contextmanager
    def _in_force(self, values: Mapping[str, Any]) -> Iterator[None]:
        """Let the parameters have *values* for as long as the block runs."""
        before = {name: (self.variables[name]._data, self.variables[name].since) for name in values}  # noqa: SLF001 - no read of the program
        put: dict[str, Any] = {}
        try:
            for name, value in values.items():
                self.variables[name]._set(value)  # noqa: SLF001 - were in force before
                put[name] = self.variables[name]._data  # noqa: SLF001 - as above
            yield
        finally:
            for name, value in put.items():
                # Unless somebody else has changed it meanwhile, such as another optimizer in another thread.
                if self.variables[name]._data is value:  # noqa: SLF001 - as above
                    old, since = before[name]
                    self.variables[name]._set(old)  # noqa: SLF001 - as above
                    self.variables[name].since = since  # what was computed from it before is about it still

    def values(self) -> dict[str, Any]:
        """Return the current value of each parameter, by name."""
        return {name: parameter._data for name, parameter in self.variables.items()}  # noqa: SLF001 - no read of the program

    def recorded(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return *values* of variables, by name, as they stand in records: as JSON that `restore` reads."""
        return {name: recorded(self._recorded.get(name), value) for name, value in values.items()}

    def best(self) -> Candidate | None:
        """Return the values with the highest score so far; None if no feedback had a score."""
        return self._best

    def restore(self, candidate: Candidate | Mapping[str, Any] | None) -> None:
        """Put the values of *candidate*, such as `best`, back into the parameters; None changes nothing.

        Values by name will do as well, such as those of a record: ``optimizer.restore(record.before)``.

        Raises:
            DomainError: A value lies outside its parameter's domain; then nothing is changed.
            OptimizerError: *candidate* has values for variables that are not there.
        """
        if candidate is None:
            return
        values = dict(candidate if isinstance(candidate, Mapping) else candidate.values)
        if unknown := [name for name in values if name not in self.variables]:
            raise self._no_variable(unknown)
        if candidate is not self._best:  # which was in force, whatever the domain says of it
            values = {name: _read(self.variables[name], value) for name, value in values.items()}
        for name, value in values.items():
            self.variables[name]._set(copied(value))  # noqa: SLF001 - checked just before

    def update(self, values: Mapping[ParameterNode[Any], Any]) -> None:
        """Put *values*, such as those of a step, into their parameters, all together. Frozen ones keep theirs.

        Raises:
            DomainError: A value lies outside its parameter's domain; then nothing is changed.
            OptimizerError: *values* are not by parameter.

        Example:
            >>> from opto.nodes import node
            >>> from opto.optimizers import LocalSearch
            >>> x = node(1, name="x", trainable=True, domain=range(10))
            >>> optimizer = LocalSearch([x], seed=0)
            >>> optimizer.backward(x * 2, 2.0)
            >>> step = optimizer.propose()
            >>> x.data
            1
            >>> optimizer.update(step)
            >>> x.data == step[x]
            True
        """
        if wrong := [item for item in values if not isinstance(item, ParameterNode)]:
            raise OptimizerError(
                f"{wrong[0]!r:.80} is no parameter.", mend="Give new values by parameter: {parameter: value}."
            )
        accepted = {
            item: value if isinstance(values, Step) and values.has_accepted(item, value) else item.accept(value)
            for item, value in values.items()
            if item.trainable
        }
        for item, value in accepted.items():
            item._set(value)  # noqa: SLF001 - checked just before

    @contextmanager
    def only(self, names: Collection[str]) -> Iterator[None]:
        """Leave all variables but those with these *names* as they are, for as long as the block runs.

        Raises:
            OptimizerError: There is no variable of that name.

        Example:
            >>> from opto.nodes import node
            >>> from opto.optimizers import LocalSearch
            >>> x, y = (node(1, name=name, trainable=True, domain=range(10)) for name in "xy")
            >>> optimizer = LocalSearch([x, y], seed=0)
            >>> optimizer.backward(x * y, 2.0)
            >>> with optimizer.only(["y"]):
            ...     print(optimizer.step())
            step 1 (score 2): updated y
        """
        names = {names} if isinstance(names, str) else set(names)
        if unknown := sorted(names.difference(self.variables)):
            raise self._no_variable(unknown)
        before, self._focus = self._focus, names
        try:
            yield
        finally:
            self._focus = before

    def state_dict(self) -> dict[str, Any]:
        """Return what the optimizer knows, as JSON: values in force, the best, records, and the state of a search.

        Raises:
            OptimizerError: A value cannot be written as text.
        """
        best = self._best
        return {
            "format": _FORMAT,
            "optimizer": type(self).__name__,
            "values": write_values(self.values(), self.variables),
            "best": best
            and {
                "values": write_values(best.values, self.variables),
                "score": best.score,
                "step": best.step,
                "feedback": [vars(said) for said in best.feedback],
            },
            "records": [record.model_dump(mode="json") for record in self.records],
            "state": self._state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` was called: the parameters get the values that they had then.

        Raises:
            OptimizerError: The state is not one of this class of optimizers, with these variables.
            DomainError: A value lies outside its parameter's domain. In either case nothing is changed.
        """
        kind = type(self).__name__
        if not isinstance(state, Mapping) or state.get("format") != _FORMAT:
            raise OptimizerError("This is no state of an optimizer.", mend="Give what state_dict() or save() wrote.")
        if (other := state.get("optimizer")) != kind:
            raise OptimizerError(f"This is the state of {other}, not of {kind}.", mend="Load it into one of its kind.")
        try:
            if set(names := state["values"]) != set(self.variables):
                raise OptimizerError(
                    f"The state is one of the variables {', '.join(names)}.",
                    mend=f"Load it into an optimizer of these; this one has {', '.join(self.variables)}.",
                )
            values = read_values(state["values"], self.variables)
            best = None if state["best"] is None else _read_candidate(state["best"], self.variables)
            records = [StepRecord.model_validate(record) for record in state["records"]]
            self._set_state(state["state"])
        except (OptimizerError, DomainError):
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise OptimizerError(
                f"The state of this {kind} cannot be read: {type(error).__name__}: {error}.",
                mend="Load what this version of opto saved, unchanged.",
            ) from error
        for name, value in values.items():
            self.variables[name]._set(value)  # noqa: SLF001 - were in force when they were written
        self._best = best
        self.records[:] = records
        self._go_on()

    def save(self, path: "str | os.PathLike[str]") -> None:
        """Write `state_dict` to a file, as readable JSON: all of it, or the file stays as it was."""
        text = json.dumps(self.state_dict(), indent=1)
        try:
            replace_file(path, text + "\n")
        except (OSError, ValueError) as error:
            raise OptimizerError(
                f"The file {os.fspath(path)!r} cannot be written: {getattr(error, 'strerror', None) or error}.",
                mend="Choose another file, or make room and permissions there.",
            ) from error

    def load(self, path: "str | os.PathLike[str]") -> None:
        """Read what `save` wrote (see `load_state_dict`). Nothing in the file is executed.

        Example:
            >>> import tempfile
            >>> from opto.nodes import node
            >>> from opto.optimizers import LocalSearch
            >>> x = node(1, name="x", trainable=True, domain=range(10))
            >>> optimizer = LocalSearch([x], seed=0)
            >>> optimizer.backward(x * 2, 2.0)
            >>> step = optimizer.step()
            >>> again = LocalSearch([node(1, name="x", trainable=True, domain=range(10))], seed=0)
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     optimizer.save(f"{folder}/state.json")
            ...     again.load(f"{folder}/state.json")
            >>> again.values() == optimizer.values(), again.best() == optimizer.best(), again.records == [step]
            (True, True, True)
        """
        try:
            with open(path, encoding="utf-8") as file:
                state = json.load(file)
        except (OSError, ValueError) as error:
            raise OptimizerError(
                f"The file {os.fspath(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}.",
                mend="Give a file that save() wrote.",
            ) from error
        self.load_state_dict(state)

    def _go_on(self) -> None:
        """Adapt to records and values that were loaded."""

    def _state(self) -> dict[str, Any]:
        """Return what a subclass knows besides, as JSON, for `_set_state`."""
        return {}

    def _set_state(self, state: Mapping[str, Any]) -> None:
        """Take up what `_state` returned, or raise a `ValueError` and change nothing."""

    def _no_variable(self, names: Iterable[str]) -> OptimizerError:
        return OptimizerError(
            f"There is no variable {', '.join(names)}.", mend=f"The variables are {', '.join(self.variables)}."
        )


def write_values(values: Mapping[str, Any], variables: Mapping[str, ParameterNode[Any]]) -> dict[str, str]:
    """Return *values*, by name, as texts from which `read_values` makes them again.

    Raises:
        OptimizerError: There is none for a value.
    """
    return {name: _write(name, variables[name], value) for name, value in values.items()}


def read_values(written: Mapping[str, str], variables: Mapping[str, ParameterNode[Any]]) -> dict[str, Any]:
    """Return the values that `write_values` wrote.

    Raises:
        DomainError: The domain of a parameter, which may be another now, does not take a value.
    """
    return {name: _read(variables[name], text) for name, text in written.items()}


def _read(parameter: ParameterNode[Any], value: Any) -> Any:
    # Without projections, which a value that was in force has been through.
    read = parameter.domain.read(value)
    parameter.domain.check(read)
    return read


def _write(name: str, parameter: ParameterNode[Any], value: Any) -> str:
    try:
        text = parameter.domain.write(value)
        if same(parameter.domain.read(text), value):
            return text
    except DomainError:
        pass
    raise OptimizerError(
        f"The value of {name}, a {type(value).__name__}, cannot be saved.",
        mend="Give the parameter a domain that can write and read it, or keep records in a folder with run=.",
    )


def _read_candidate(written: Mapping[str, Any], variables: Mapping[str, ParameterNode[Any]]) -> Candidate:
    feedback = tuple(Feedback(**said) for said in written["feedback"])
    return Candidate(read_values(written["values"], variables), written["score"], written["step"], feedback)
