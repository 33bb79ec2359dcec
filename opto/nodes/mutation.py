"""Noticing that a recorded input was changed in place, without copying it.

A graph holds its values by reference. When an operator changes one, the graph shows an input that the operator
never read: that is worth a warning.
"""

import warnings
import zlib
from itertools import chain, islice
from typing import Any

__all__ = ["MUTABLE", "fingerprint", "warn_if_changed"]

#: Classes whose objects are looked at. Objects of other classes are trusted.
MUTABLE: frozenset[type] = frozenset({list, dict, set, bytearray})

# Looking must stay cheap beside what an operator does: items beyond this many are not compared one by one.
_LIMIT = 2_000


def fingerprint(value: Any, depth: int = 2) -> Any:
    """Return something that differs after *value* was changed: sizes, and which objects are in it, two levels deep.

    Example:
        >>> items = [[1], 2]
        >>> before = fingerprint(items)
        >>> items[0].append(3)
        >>> fingerprint(items) == before
        False
    """
    kind = type(value)
    if kind is bytearray:
        return zlib.crc32(value)
    if kind not in MUTABLE:
        return _array(value) if hasattr(value, "__array_interface__") else id(value)
    parts = islice(chain(value, value.values()) if kind is dict else value, _LIMIT)
    inner = [id(item) if depth == 1 or type(item) not in MUTABLE else fingerprint(item, depth - 1) for item in parts]
    return len(value), sorted(map(repr, inner)) if kind is set else inner


def _array(value: Any) -> Any:
    data = getattr(value, "data", None)
    if not isinstance(data, memoryview) or not data.c_contiguous or data.nbytes > 1_000_000:
        return id(value)
    return zlib.crc32(data.cast("B")) if data.nbytes else 0


def warn_if_changed(operator: str, name: str, value: Any, before: Any, *, stacklevel: int) -> None:
    """Warn if *value*, the input *name* of *operator*, is no longer what it was at *before*."""
    if fingerprint(value) != before:
        warnings.warn(
            f"{operator}() changed its input {name} in place, so the graph shows a value that it did not read. "
            "Return a changed copy instead, such as items + [new].",
            stacklevel=stacklevel + 1,
        )
