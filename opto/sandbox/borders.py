"""What enters the sandbox with a candidate, and whether it could."""

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

from opto.sandbox.glance import Glance
from opto.sandbox.scope import Scope
from opto.sandbox.written import closure_of

__all__ = ["look", "scope_of", "space_of"]


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
    scope = scope_of(source, like.__name__, like=like, owner=owner, hosts=hosts, adapt=adapt, encoder=Glance)
    for name, value in arguments.items():
        scope.encode(name, value)


def scope_of(source: str, name: str, *, like: FunctionType | None, owner: type | None, **settings: Any) -> Scope:
    return Scope(
        source,
        name,
        values=like.__globals__ if like is not None else {},
        free=closure_of(like) if like is not None else {},
        space=space_of(like),
        owner=owner,
        **settings,
    )


def space_of(like: FunctionType | None) -> str:
    return (like.__module__ if like is not None else None) or "candidate"
