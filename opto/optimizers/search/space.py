"""What can be searched: ranges with two ends, and options."""

import math
from collections.abc import Iterator
from typing import Any

from opto.nodes import Choices, OfType, ParameterNode, Range

__all__ = ["Space", "can_search", "count", "from_unit", "space_of", "to_unit", "values_of"]

Space = Range | Choices


def can_search(parameter: ParameterNode[Any]) -> bool:
    """True if there is a space to search: options, a range with both ends, a bool."""
    return space_of(parameter) is not None


def space_of(parameter: ParameterNode[Any]) -> Space | None:
    domain = parameter.domain
    if isinstance(domain, Choices) or (isinstance(domain, Range) and not domain.is_open):
        return domain
    return Choices(False, True) if domain == OfType(bool) else None


def to_unit(space: Range, value: float) -> float:
    """Return where *value* lies in *space*, from 0 to 1."""
    value = float(value)
    if space.log:
        return (math.log(value) - math.log(space.low)) / ((math.log(space.high) - math.log(space.low)) or 1.0)
    return (value - space.low) / ((space.high - space.low) or 1.0)


def from_unit(space: Range, part: float) -> Any:
    """Return the value of *space* at *part*, from 0 to 1: a legal one, of the right type.

    Example:
        >>> from_unit(Range(0, 10, step=5), 0.6), from_unit(Range(15, 90, kind=int), 0.999)
        (5.0, 90)
    """
    part = min(1.0, max(0.0, part))
    if space.log:
        value = math.exp(math.log(space.low) + part * (math.log(space.high) - math.log(space.low)))
    else:
        value = space.low + part * (space.high - space.low)
    if space.step is not None:
        value = space.low + min(_steps(space, space.step), round((value - space.low) / space.step)) * space.step
    if space.is_whole:
        value = min(math.floor(space.high), max(math.ceil(space.low), round(value)))
    # In the type of the parameter, which may be a number of numpy or a Decimal.
    return space.read(min(space.high, max(space.low, value)))


def _steps(space: Range, step: float) -> int:
    # In floating point, three steps of 0.1 may reach a little beyond 0.3.
    return math.floor((space.high - space.low) / step + 1e-9)


def count(space: Space) -> int | None:
    """Return how many values there are in *space*; None if nobody can count them.

    Example:
        >>> count(Choices("a", "b")), count(Range(0, 1, step=0.1)), count(Range(15, 90, kind=int)), count(Range(0, 1))
        (2, 11, 76, None)
    """
    if isinstance(space, Choices):
        return len(space.options)
    if space.is_whole:
        return int(space.high - space.low) // int(space.step or 1) + 1
    if space.step is not None:
        return _steps(space, space.step) + 1
    return 1 if space.low == space.high else None


def values_of(space: Space) -> Iterator[Any]:
    """Yield the values of a *space* that has a `count`, in order."""
    if isinstance(space, Choices):
        yield from space.options
        return
    step = space.step or 1
    for position in range(count(space) or 0):
        yield space.read(min(space.high, space.low + position * step))
