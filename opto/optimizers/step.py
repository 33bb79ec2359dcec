"""What a step gives back: its record, and its new values by parameter."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import Any

from pydantic import PrivateAttr

from opto.nodes import ParameterNode
from opto.runs import StepRecord

__all__ = ["Step"]


class Step(StepRecord, Mapping[ParameterNode[Any], Any]):
    """What happened in one step, and the new values by parameter.

    As a mapping it holds each parameter that the step changed (with ``bypassing=True``: would have changed), with
    its new value as it is. So ``len(step)`` is the number of changes, and a step that changed nothing is false. All
    else is what the `StepRecord` tells, by name and as JSON. Nodes do not leave the process: a pickle, a deep
    copy and the file of a run hold the `StepRecord` alone.

    Example:
        >>> from opto.nodes import node
        >>> from opto.optimizers import LocalSearch
        >>> x = node(1, name="x", trainable=True, domain=range(10))
        >>> optimizer = LocalSearch([x], seed=0)
        >>> optimizer.backward(x * 2, 2.0)
        >>> step = optimizer.step()
        >>> step[x] == step.update["x"] == x.data, [parameter.stem for parameter in step]
        (True, ['x'])
    """

    _values: dict[ParameterNode[Any], Any] = PrivateAttr(default_factory=dict)

    def __init__(self, values: Mapping[ParameterNode[Any], Any] = MappingProxyType({}), /, **fields: Any) -> None:
        super().__init__(**fields)
        self._values = dict(values)

    def __getitem__(self, parameter: ParameterNode[Any]) -> Any:
        if not isinstance(parameter, ParameterNode):
            raise KeyError(f"{parameter!r:.60} is no parameter. By name, values are in step.update.")
        return self._values[parameter]

    def __iter__(self) -> Iterator[ParameterNode[Any]]:  # type: ignore[override]  # of a model: its fields
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        """Compare with a record as a record, and with another mapping as a mapping."""
        return vars(self) == vars(other) if isinstance(other, StepRecord) else Mapping.__eq__(self, other)

    __hash__ = None  # type: ignore[assignment]  # as all mappings and all records with lists in them

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> StepRecord:  # type: ignore[override]
        return StepRecord.model_construct(**deepcopy(vars(self), memo))

    def __reduce__(self) -> tuple[Any, ...]:
        return _revived, (vars(self),)


def _revived(fields: dict[str, Any]) -> StepRecord:
    return StepRecord.model_construct(**fields)
