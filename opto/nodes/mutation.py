"""Noticing that a recorded input was changed in place, without copying it.

A graph holds its values by reference. When an operator changes one, the graph shows an input that the operator
never read: that is worth a warning. A false one is worse than none, so only data is looked at: what a class does with
the state of its own objects, such as a client that counts its calls, is its own affair.
"""

import warnings
import zlib
from collections import deque
from collections.abc import Callable, Hashable
from functools import lru_cache
from itertools import islice
from operator import is_
from typing import Any, NamedTuple

from opto.nodes.constants import attempt
from opto.nodes.containers import SCALARS, container_of

__all__ = ["fingerprint", "warn_if_changed"]

# Looking must stay cheap beside what an operator does: so many objects are looked at, in a value and in what it holds,
# and so many numbers of an array.
_LIMIT = 1_000
_NUMBERS = 20_000


class _Look(NamedTuple):
    """How objects of one class are looked at.

    Attributes:
        parts: What an object is, as a list: how much is in it, and some of that, of so many items at most.
        goes_on: True if the items are to be looked at as well.
    """

    parts: Callable[[Any, int], list[Any]]
    goes_on: bool


#: Each object that was looked at, how, at how many parts, and the parts. They are kept, so that no new object takes
#: the place of an old one in memory and passes for it.
Fingerprint = list[tuple[Any, _Look, int, list[Any]]]


def fingerprint(value: Any) -> Fingerprint:
    """Return which objects are in *value* and in the containers inside, so that a change can be noticed later.

    Of arrays and bytes, numbers are looked at. Objects whose classes have methods of their own are trusted.

    Example:
        >>> items = [[1], 2]
        >>> before = fingerprint(items)
        >>> was_changed(before)
        False
        >>> items[0].append(3)
        >>> was_changed(before)
        True
    """
    found: Fingerprint = []
    waiting, seen, left = deque([value]), set(), _LIMIT
    while waiting and left > 0:
        item = waiting.popleft()
        kind: type = type(item)
        look = _way_to_look(kind)
        if look is None or id(item) in seen:
            continue
        seen.add(id(item))
        # Code of users runs here, such as the `__iter__` of a subclass, and may refuse.
        parts: list[Any] | None = attempt(look.parts, item, left, fallback=None)
        if parts is not None:
            found.append((item, look, left, parts))
            left -= len(parts)
            if look.goes_on and not SCALARS.issuperset(map(type, parts)):
                waiting += [part for part in parts if part.__class__ not in SCALARS]
    return found


def was_changed(before: Fingerprint) -> bool:
    """True if an object that was looked at is no longer the same."""
    return any(
        not _is_same(parts, attempt(look.parts, item, limit, fallback=parts)) for item, look, limit, parts in before
    )


def _is_same(old: list[Any], new: list[Any]) -> bool:
    return len(old) == len(new) and (all(map(is_, old, new)) or all(map(_is_same_part, old, new)))


def _is_same_part(old: Any, new: Any) -> bool:
    # Never by a comparison of users: it may be slow, or give an array.
    return old is new or (old.__class__ in SCALARS and old.__class__ is new.__class__ and bool(old == new))


def warn_if_changed(operator: str, name: str, before: Fingerprint, *, stacklevel: int) -> None:
    """Warn if the input *name* of *operator* is no longer what it was at *before*."""
    if was_changed(before):
        warnings.warn(
            f"{operator}() changed its input {name} in place, so the graph shows a value that it did not read. "
            "Make a changed copy instead, such as items + [new].",
            stacklevel=stacklevel + 1,
        )


@lru_cache(maxsize=1024)
def _way_to_look(kind: Hashable) -> _Look | None:
    """Return how objects of class *kind* are looked at; None if they are trusted."""
    assert isinstance(kind, type)
    if issubclass(kind, bytearray):
        return _Look(lambda item, _: [len(item), zlib.crc32(item[:: len(item) // _NUMBERS + 1])], goes_on=False)
    if hasattr(kind, "__array_interface__") and hasattr(kind, "flat") and hasattr(kind, "__setitem__"):
        return _Look(_numbers, goes_on=False)
    container = container_of(kind)
    if container is None or _has_methods(kind):
        return None
    names, every = container.names, container.every
    if names is None:
        return _Look(lambda item, limit: [_size(item), *islice(every(item), limit)], goes_on=True)

    def fields(item: Any, limit: int) -> list[Any]:
        public = [name for name in names(item) if not name.startswith("_")]
        return [len(public), *(getattr(item, name) for name in public[:limit])]

    return _Look(fields, goes_on=True)


#: Where the classes come from that change their objects only when they are asked to.
_KNOWN = {"builtins", "collections", "types"}
#: Special methods that make an object more than a record.
_ACTS = {"__call__", "__enter__", "__getitem__", "__missing__", "__next__"}


def _has_methods(kind: type) -> bool:
    """True if objects of class *kind* do something, and so have a state that they keep for themselves."""
    return any(
        callable(member) and not isinstance(member, type | staticmethod) and (name[0] != "_" or name in _ACTS)
        for base in kind.__mro__
        if base.__module__ not in _KNOWN
        for name, member in vars(base).items()
    )


def _size(item: Any) -> int:
    return len(item) if hasattr(item, "__len__") else 0


def _numbers(array: Any, _: int) -> list[Any]:
    some = array.flat[:: array.size // _NUMBERS + 1]
    return [*array.shape, zlib.crc32(some.tobytes())]
