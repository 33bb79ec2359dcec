"""Where owners and parameters are in a module: the expressions that lead to them."""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

from opto.nodes import Node, ParameterNode
from opto.trace.bundle import FunModule
from opto.trace.ownership import ParameterOwner, attributes_of, items_of, members_of

__all__ = ["Place", "owners_in", "places_in"]


class Place(NamedTuple):
    """A parameter in a module: how the exported program says it, and what can be assigned if it cannot."""

    expression: str
    value: Any
    # The nearest expression around it that can be assigned, and its value: an item of a tuple cannot.
    assignable: str
    around: Any


def owners_in(value: Any, expression: str, seen: dict[int, Any]) -> Iterator[tuple[str, Any]]:
    """Yield owners in *value*, itself first, each with the expression that leads to it."""
    for place in places_in(value, expression, expression, value, seen):
        if isinstance(place.value, ParameterOwner):
            yield place.expression, place.value


def places_in(value: Any, expression: str, assignable: str, around: Any, seen: dict[int, Any]) -> Iterator[Place]:
    """Yield owners and parameters in *value*, each with the expression that leads to it; methods are left out."""
    if isinstance(value, ParameterNode):
        yield Place(expression, value, assignable, around)
    if id(value) in seen:
        return
    seen[id(value)] = value
    if isinstance(value, ParameterOwner):
        yield Place(expression, value, assignable, around)
    if isinstance(value, FunModule | Node):
        return
    if isinstance(value, ParameterOwner):
        known = attributes_of(value)
        steps = [(f".{name}", item) for name, item in known.items() if name != "_opto_code"]
        steps += [
            (step, item)
            for step, item in members_of(value)
            if step[1:] not in known and "." not in step[1:] and not isinstance(item, FunModule)
        ]
    elif isinstance(value, dict):
        steps = [(f"[{key!r}]", item) for key, item in value.items()]
    else:
        steps = list(items_of(value))
    is_frozen = isinstance(value, tuple | set | frozenset | partial) or _is_frozen_dataclass(value)
    for step, item in steps:
        path = f"{expression}{step}"
        if is_frozen:
            yield from places_in(item, path, assignable, around, seen)
        else:
            yield from places_in(item, path, path, item, seen)


def _is_frozen_dataclass(value: Any) -> bool:
    return bool(getattr(getattr(type(value), "__dataclass_params__", None), "frozen", False))
