"""Whether values could enter the sandbox, without taking them along."""

from itertools import islice
from typing import Any

from opto.sandbox.child.codec import CannotCrossError, Encoder

__all__ = ["Glance"]

#: What the first items of a container do not tell, a call will.
_MOST = 100


class Glance(Encoder):
    """Looks at the first items of each container only. What it returns stands for nothing."""

    most = _MOST

    def encode(self, value: Any, depth: int = 0) -> Any:
        kind = type(value)
        if kind.__module__ == "numpy" and kind.__name__ == "ndarray":
            if value.dtype.kind == "O":
                return self._items(value.ravel()[:_MOST].tolist(), depth)
            if value.dtype.hasobject:
                raise CannotCrossError(f"a numpy array of {str(value.dtype)[:80]}")
            return None
        if kind in {bytes, bytearray, str}:
            return None
        return super().encode(value, depth)

    def _items(self, values: Any, depth: int) -> Any:
        return super()._items(values[:_MOST], depth)

    def _dict(self, value: dict[Any, Any], depth: int) -> Any:
        return super()._dict(dict(islice(dict.items(value), _MOST)), depth)

    def pairs(self, value: dict[Any, Any], depth: int) -> list[Any]:
        return super().pairs(dict(islice(dict.items(value), _MOST)), depth)

    def sequence(self, value: Any, depth: int) -> list[Any]:
        return super().sequence(islice(value, _MOST), depth)
