"""What a step gives back: its new values by parameter, and its record."""

from copy import deepcopy
from typing import Any

from opto.nodes import ParameterNode
from opto.runs import StepRecord

__all__ = ["Step"]


class Step(dict[ParameterNode[Any], Any]):
    """The new values of one step by parameter, and what happened in it.

    A dict, as Trace's ``step()`` returns: it has every parameter that the step changed (with ``bypassing=True``: would
    have changed), with its new value as it is. So ``len(step)`` is the number of changes, and a step that changed
    nothing is false. All that the `StepRecord` tells is there as well: ``step.outcome``, ``step.reason`` and so on.

    Attributes:
        record: What is kept of the step: values by name and as JSON, no nodes.
        update: The new values of ``record.update``, by name. The method of dicts is ``step |= values``.

    Example:
        >>> from opto.nodes import node
        >>> from opto.optimizers import LocalSearch
        >>> x = node(1, name="x", trainable=True, domain=range(10))
        >>> optimizer = LocalSearch([x], seed=0)
        >>> optimizer.backward(x * 2, 2.0)
        >>> step = optimizer.step()
        >>> step[x] == step.update["x"] == x.data, step.outcome
        (True, 'updated')
    """

    __slots__ = ("_accepted", "record")
    record: StepRecord

    def __init__(
        self,
        values: dict[ParameterNode[Any], Any],
        record: StepRecord,
        accepted: dict[ParameterNode[Any], Any] | None = None,
    ) -> None:
        super().__init__(values)
        # A program may have put others beside these.
        self._accepted = dict(values if accepted is None else accepted)
        self.record = record

    @property
    def update(self) -> dict[str, Any]:  # type: ignore[override]  # of the record; see the class
        return self.record.update

    def has_accepted(self, parameter: ParameterNode[Any], value: Any) -> bool:
        """True if *value* is what the step found for *parameter*, which need not be checked again."""
        return parameter in self._accepted and self._accepted[parameter] is value

    def __getattr__(self, name: str) -> Any:
        if name in Step.__slots__ or name.startswith("__"):  # not set yet, as in a copy under way
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.record, name)

    def __eq__(self, other: object) -> bool:
        """Compare with a step or a record as records, and with another dict as a dict."""
        if isinstance(other, Step):
            other = other.record
        return self.record == other if isinstance(other, StepRecord) else dict.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # as all dicts

    def __deepcopy__(self, memo: dict[int, Any]) -> "Step":
        # The parameters that it is about stay who they are.
        return self._with({parameter: deepcopy(value, memo) for parameter, value in self.items()})

    def __copy__(self) -> "Step":
        return self._with(dict(self))

    def __or__(self, other: object) -> "Step":  # type: ignore[override]  # stays a step
        if not isinstance(other, dict):
            return NotImplemented
        found = self.copy()
        dict.update(found, other)
        return found

    def _with(self, values: dict[ParameterNode[Any], Any]) -> "Step":
        """Return this step with copies of its values; what was accepted is so there."""
        accepted = {item: values[item] for item, value in self.items() if self.has_accepted(item, value)}
        return Step(values, self.record, accepted)

    def copy(self) -> "Step":
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        accepted = {item: value for item, value in self.items() if self.has_accepted(item, value)}
        return Step, (dict(self), self.record, accepted)

    def __str__(self) -> str:
        return str(self.record)

    def __repr__(self) -> str:
        return f"<{self.record}>"
