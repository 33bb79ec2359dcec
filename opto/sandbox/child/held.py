"""Values that something of the user's holds under ``data``: used as the value, and asked for it by that name, too."""

import sys
from typing import Any

__all__ = ["held", "plain_of"]


class _Held:
    """Mixed into the class of a value."""


class _Nothing(_Held):
    """Stands for None."""

    data = None

    def __bool__(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, _Nothing)

    def __hash__(self) -> int:
        return hash(None)

    def __repr__(self) -> str:
        return "None"


class _Truth(_Held, int):
    """Stands for True or False."""

    @property
    def data(self) -> bool:
        """The value."""
        return self != 0

    def __repr__(self) -> str:
        return repr(self.data)

    __str__ = __repr__


#: The same object at each look where it can be changed in place: what one look does, the next one sees.
_CHANGEABLE = (list, dict, set, bytearray)
_KINDS: dict[type, Any] = {type(None): lambda _: _Nothing(), bool: _Truth}


def _make(base: Any) -> Any:
    is_changeable = base in _CHANGEABLE
    data = property(lambda self: self if is_changeable else base(self))
    return type(base.__name__, (_Held, base), {"data": data, "__module__": __name__})


for _base in (str, int, float, complex, bytes, tuple, frozenset, *_CHANGEABLE):
    _KINDS[_base] = _make(_base)


def held(value: Any) -> Any:
    """Return *value* as one that has itself under ``data``; *value* itself if nothing can be made of its class."""
    kind = type(value)
    if kind.__module__ == "numpy" and kind.__name__ == "ndarray":
        return value.view(_array_kind())
    make = _KINDS.get(kind)
    return value if make is None else make(value)


def _array_kind() -> Any:
    kind = sys.modules["numpy"].ndarray
    if kind not in _KINDS:
        made = type("ndarray", (_Held, kind), {"data": property(lambda self: self.view(kind)), "__module__": __name__})
        _KINDS[kind] = made
    return _KINDS[kind]


def plain_of(value: Any) -> Any:
    """Return what *value* stands for, which may be *value* itself."""
    if not isinstance(value, _Held):
        return value
    for base in _CHANGEABLE:
        if isinstance(value, base):
            return base(value)
    return value.data  # type: ignore[attr-defined]  # each class below has it
