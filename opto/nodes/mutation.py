"""Noticing that a recorded input was changed in place, without copying it.

A graph holds its values by reference. When an operator changes one, the graph shows an input that the operator
never read: that is worth a warning.
"""

import warnings
import zlib
from collections import deque
from collections.abc import Callable, Hashable
from functools import lru_cache
from itertools import islice
from operator import is_
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from opto.nodes.constants import attempt
from opto.nodes.containers import SCALARS, container_of, slots_of

__all__ = ["fingerprint", "warn_if_changed"]

# Looking must stay cheap beside what an operator does: so many objects are looked at, in a value and in what it holds,
# and so many numbers of an array.
_LIMIT = 2_000
_NUMBERS = 20_000


class _Look(NamedTuple):
    """How objects of one class are looked at.

    Attributes:
        parts: What is in an object, as a list or by name; of so many parts at most.
        is_same: Compares two such answers.
        goes_on: True if the parts are to be looked at as well.
    """

    parts: Callable[[Any, int], Any]
    is_same: Callable[[Any, Any], bool]
    goes_on: bool


#: Each object that was looked at, how, at how many parts, and the parts. They are kept, so that no new object takes
#: the place of an old one in memory and passes for it.
Fingerprint = list[tuple[Any, _Look, int, Any]]


def fingerprint(value: Any) -> Fingerprint:
    """Return which objects are in *value* and in the containers inside, so that a change can be noticed later.

    Of arrays and bytes, numbers are looked at. Of other objects, public attributes: those that are new or were None
    may be caches, and what these objects hold is their own affair. Objects that can be called are services, and may
    change as they like.

    Example:
        >>> items = [[1], 2]
        >>> before = fingerprint(items)
        >>> was_changed(before)
        False
        >>> items[0].append(3)
        >>> was_changed(before)
        True
    """
    kind: type = type(value)
    look = _way_to_look(kind)
    if look is None:
        return []
    # Objects of users may refuse, such as a proxy of something that is not there.
    parts = attempt(look.parts, value, _LIMIT, fallback=None)
    if parts is None:
        return []
    found = [(value, look, _LIMIT, parts)]
    if waiting := _inside(look, parts):
        _look_on(found, deque(waiting), {id(value)}, _LIMIT - len(parts))
    return found


def _inside(look: _Look, parts: Any) -> list[Any]:
    if not look.goes_on:
        return []
    return [part for part in (parts.values() if parts.__class__ is dict else parts) if part.__class__ not in SCALARS]


def _look_on(found: Fingerprint, waiting: deque[Any], seen: set[int], left: int) -> None:
    while waiting and left > 0:
        item = waiting.popleft()
        kind: type = type(item)
        look = None if id(item) in seen else _way_to_look(kind)
        parts = None if look is None else attempt(look.parts, item, left, fallback=None)
        if look is not None and parts is not None:
            seen.add(id(item))
            found.append((item, look, left, parts))
            left -= len(parts)
            waiting += _inside(look, parts)


def was_changed(before: Fingerprint) -> bool:
    """True if an object that was looked at is no longer the same."""
    return any(
        not look.is_same(parts, attempt(look.parts, item, limit, fallback=parts)) for item, look, limit, parts in before
    )


def warn_if_changed(operator: str, name: str, before: Fingerprint, *, stacklevel: int) -> None:
    """Warn if the input *name* of *operator* is no longer what it was at *before*."""
    if was_changed(before):
        warnings.warn(
            f"{operator}() changed its input {name} in place, so the graph shows a value that it did not read. "
            "Return a changed copy instead, such as items + [new].",
            stacklevel=stacklevel + 1,
        )


@lru_cache(maxsize=1024)
def _way_to_look(kind: Hashable) -> _Look | None:
    """Return how objects of class *kind* are looked at; None if they are trusted."""
    assert isinstance(kind, type)
    if issubclass(kind, bytearray):
        return _Look(lambda item, _: [len(item), zlib.crc32(item[:: len(item) // _NUMBERS + 1])], _same_items, False)
    if hasattr(kind, "__array_interface__") and hasattr(kind, "flat") and hasattr(kind, "__setitem__"):
        return _Look(_numbers, _same_items, False)
    container = container_of(kind)
    if container is not None and container.names is None:
        every = container.every
        return _Look(lambda item, limit: [_size(item), *islice(every(item), limit)], _same_items, True)
    if issubclass(kind, ModuleType | FunctionType | type) or (container is None and _has_call(kind)):
        return None
    slots = [name for name in slots_of(kind) if not name.startswith("_")]
    if not slots and not getattr(kind, "__dictoffset__", 0):
        return None

    def attributes(item: Any, limit: int) -> dict[str, Any]:
        found = {name: value for name, value in islice(vars_of(item), limit) if not name.startswith("_")}
        return {**found, **{name: getattr(item, name, None) for name in slots}}

    def vars_of(item: Any) -> Any:
        held = getattr(item, "__dict__", None)
        return list(held.items()) if isinstance(held, dict) else ()

    return _Look(attributes, _same_attributes if container is None else _same_fields, container is not None)


def _has_call(kind: type) -> bool:
    return any("__call__" in vars(base) for base in kind.__mro__)  # `hasattr` would find that classes can be called


def _size(item: Any) -> int:
    return len(item) if hasattr(item, "__len__") else 0


def _numbers(array: Any, _: int) -> list[Any]:
    some = array.flat[:: array.size // _NUMBERS + 1]
    return [*array.shape, zlib.crc32(some.tobytes())]


def _is_same(old: Any, new: Any) -> bool:
    # Never by a comparison of users: it may be slow, or give an array.
    return old is new or (old.__class__ in SCALARS and old.__class__ is new.__class__ and bool(old == new))


def _same_items(old: list[Any], new: list[Any]) -> bool:
    return len(old) == len(new) and (all(map(is_, old, new)) or all(map(_is_same, old, new)))


def _same_fields(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return all(name in new and _is_same(value, new[name]) for name, value in old.items())


def _same_attributes(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return all(
        value is None or (name in new and (new[name] is None or _is_same(value, new[name])))
        for name, value in old.items()
    )
