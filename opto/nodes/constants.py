"""Plain values as text: as in the source of a program, or cut for people who look."""

import re
from collections.abc import Callable
from itertools import islice
from typing import Any, TypeVar

__all__ = ["attempt", "brief", "cut", "without_halves", "write_constant", "write_index"]

V = TypeVar("V")


def write_constant(value: Any) -> str:
    """Return a plain value as it would stand in the source of a program; the same in every process.

    Example:
        >>> write_constant(["a", {3, 1, 2}]), write_constant(object()), write_constant(len)
        ("['a', {1, 2, 3}]", '<object>', 'len')
    """
    kind = type(value)
    if kind in (list, tuple):
        items = ", ".join(map(write_constant, value))
        return f"[{items}]" if kind is list else f"({items}{',' * (len(value) == 1)})"
    if kind is dict:
        return f"{{{', '.join(f'{write_constant(key)}: {write_constant(item)}' for key, item in value.items())}}}"
    if kind in (set, frozenset) and value:
        items = ", ".join(sorted(map(write_constant, value)))
        return f"{{{items}}}" if kind is set else f"frozenset({{{items}}})"
    if getattr(kind, "__repr__", None) is object.__repr__:
        return f"<{kind.__name__}>"
    name = getattr(value, "__qualname__", None)
    if callable(value) and isinstance(name, str):
        return name
    if hasattr(kind, "__dataclass_fields__") and hasattr(kind.__repr__, "__wrapped__"):  # made by the decorator
        shown = [item.name for item in kind.__dataclass_fields__.values() if item.repr and hasattr(value, item.name)]
        return f"{kind.__qualname__}({', '.join(f'{key}={write_constant(getattr(value, key))}' for key in shown)})"
    # Of text, nothing is an address.
    return repr(value) if kind in (str, bytes) else _ADDRESS.sub("", repr(value))


_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+(?=>)")


def write_index(value: Any) -> str:
    """Return what stands between square brackets.

    Example:
        >>> write_index(slice(1, None)), write_index("k")
        ('1:', "'k'")
    """
    if isinstance(value, slice):
        bounds = ["" if bound is None else write_constant(bound) for bound in (value.start, value.stop, value.step)]
        return ":".join(bounds[:2] if value.step is None else bounds)
    if type(value) is tuple and any(isinstance(item, slice) for item in value):
        return ", ".join(map(write_index, value)) + "," * (len(value) == 1)
    return write_constant(value)


def brief(value: Any, limit: int) -> str:
    """Return `write_constant` of *value* in one line of at most *limit* characters. It never raises.

    Takes time in proportion to *limit*, however long a text or a list is.

    Example:
        >>> brief("a" * 1_000_000, 8), brief(list(range(1_000_000)), 12)
        ("'aaaaaa…", '[0, 1, 2, 3…')
    """
    if type(value) is str:
        return cut(repr(value[:limit]), limit)
    # A value may say what it likes of itself, over many lines or by raising.
    text = attempt(_write_start, value, limit, fallback=f"<{type(value).__name__}>")
    return cut(" ".join(text.split()) if "\n" in text else text, limit)


def cut(text: str, limit: int) -> str:
    """Return *text*, or its beginning and an ellipsis: at most *limit* characters."""
    return text if len(text) <= limit else f"{text[: max(limit - 1, 0)]}…"


def attempt(look: Callable[..., V], *args: Any, fallback: V) -> V:
    """Return ``look(*args)``, or *fallback* if the code of users that it runs (a ``__repr__``) fails.

    Example:
        >>> attempt(lambda: 1 / 0, fallback="nothing")
        'nothing'
    """
    try:
        return look(*args)
    except Exception:
        return fallback


def without_halves(text: str) -> str:
    r"""Return *text* with half characters as escapes: neither terminals nor messages to a browser take them.

    Example:
        >>> without_halves("a\ud800")
        'a\\ud800'
    """
    return text.encode(errors="backslashreplace").decode()


class _Rest:
    """Stands where the items end that are shown."""

    def __repr__(self) -> str:
        return "…"


_REST = _Rest()
_DEPTH = 8


def _write_start(value: Any, limit: int) -> str:
    return write_constant(_start_of(value, limit, _DEPTH))


def _start_of(value: Any, limit: int, depth: int) -> Any:
    """Return *value* without items that would be cut off in any case: each takes a character at least."""
    kind = type(value)
    if kind in (str, bytes):
        return value[:limit]
    if kind not in (list, tuple, dict) or not value:
        return value
    if not depth:
        return _REST
    if kind is dict:
        return {key: _start_of(item, limit, depth - 1) for key, item in islice(value.items(), limit)}
    return kind(_start_of(item, limit, depth - 1) for item in islice(value, limit))
