"""What stands against a candidate: whether all that it speaks of could enter the sandbox, and what is lost there."""

from collections.abc import Callable, Mapping
from itertools import islice
from types import FunctionType
from typing import Any

from opto.sandbox.child.codec import CannotCrossError, Encoder
from opto.sandbox.child.words import is_among
from opto.sandbox.program.losses import losses_in
from opto.sandbox.scope.scope import Scope

__all__ = ["look", "lost"]

_MOST_NAMED = 4
#: What the first items of a container do not tell, a call will.
_MOST_LOOKED_AT = 100


def look(
    source: str,
    arguments: Mapping[str, Any],
    *,
    like: FunctionType,
    owner: type | None,
    hosts: Mapping[str, Any],
    adapt: Callable[[Any], Any] | None,
) -> None:
    """Look whether what *source* speaks of could enter a child, and *arguments* as well.

    Raises:
        SandboxTransferError: Something could not.
    """
    scope = Scope(source, like.__name__, like=like, owner=owner, hosts=hosts, adapt=adapt, encoder=_Glance)
    for name, value in arguments.items():
        scope.encode(name, value)


def lost(
    source: str, arguments: Mapping[str, Any], *, like: FunctionType, owner: type | None, hosts: Any
) -> str | None:
    """Return what *source* changes of the program, in one sentence; None if that is nothing, or called outside."""
    found = losses_in(source, like, arguments, is_method=owner is not None)
    found = [path for path in found if not is_among(hosts, path)]
    if not found:
        return None
    named = ", ".join(found[:_MOST_NAMED]) + (" and more" if len(found) > _MOST_NAMED else "")
    return (
        f"{like.__name__}() changes {named}, which is lost in a sandbox. Return what it computes instead, or use "
        "isolation='none'."
    )


class _Glance(Encoder):
    """Looks at the first items of each container only. What it returns stands for nothing."""

    most = _MOST_LOOKED_AT

    def encode(self, value: Any, depth: int = 0) -> Any:
        kind = type(value)
        if kind.__module__ == "numpy" and kind.__name__ == "ndarray":
            if value.dtype.kind == "O":
                return self._items(value.ravel()[:_MOST_LOOKED_AT].tolist(), depth)
            if value.dtype.hasobject:
                raise CannotCrossError(f"a numpy array of {str(value.dtype)[:80]}")
            return None
        if kind in {bytes, bytearray, str}:
            return None
        return super().encode(value, depth)

    def _items(self, values: Any, depth: int) -> Any:
        return super()._items(values[:_MOST_LOOKED_AT], depth)

    def _dict(self, value: dict[Any, Any], depth: int) -> Any:
        return super()._dict(dict(islice(dict.items(value), _MOST_LOOKED_AT)), depth)

    def pairs(self, value: dict[Any, Any], depth: int) -> list[Any]:
        return super().pairs(dict(islice(dict.items(value), _MOST_LOOKED_AT)), depth)

    def sequence(self, value: Any, depth: int) -> list[Any]:
        return super().sequence(islice(value, _MOST_LOOKED_AT), depth)
