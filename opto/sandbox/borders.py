"""What enters the sandbox with a candidate, and whether it could."""

from collections.abc import Callable, Mapping
from types import CodeType, FunctionType
from typing import Any

from opto.sandbox.offering import check_found
from opto.sandbox.program.losses import losses_in
from opto.sandbox.program.written import closure_of
from opto.sandbox.scope.glance import Glance
from opto.sandbox.scope.scope import Scope

__all__ = ["look", "lost", "scope_of", "space_of"]

#: What finds names that stand nowhere in the text.
_LOOK_UP = frozenset({"eval", "exec", "globals"})
_MOST_NAMED = 4


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


def lost(
    source: str, arguments: Mapping[str, Any], *, like: FunctionType, owner: type | None, hosts: Any
) -> str | None:
    """Return what *source* changes of the program, in one sentence; None if that is nothing, or called outside."""
    found = losses_in(source, like, arguments, is_method=owner is not None)
    found = [path for path in found if not any(host == path or host.startswith(f"{path}.") for host in hosts)]
    if not found:
        return None
    named = ", ".join(found[:_MOST_NAMED]) + (" and more" if len(found) > _MOST_NAMED else "")
    return (
        f"{like.__name__}() changes {named}, which is lost in a sandbox. Return what it computes instead, or use "
        "isolation='none'."
    )


def scope_of(
    source: str,
    name: str,
    *,
    like: FunctionType | None,
    owner: type | None,
    hosts: Mapping[str, Any],
    **settings: Any,
) -> Scope:
    """Return what *source* may use of the program, in the place of *like*. See `Scope` for the rest.

    Raises:
        SandboxTransferError: Something of it cannot enter.
    """
    values: Mapping[str, Any] = like.__globals__ if like is not None else {}
    free: Mapping[str, Any] = closure_of(like) if like is not None else {}
    check_found(hosts, {**values, **free}, name)
    return Scope(
        source,
        name,
        values=values,
        free=free,
        hosts=hosts,
        space=space_of(like),
        like=like,
        owner=owner,
        # Only if the user's own code does so: otherwise a candidate would find what nobody meant it to see.
        looks_up=like is not None and _looks_up(like.__code__),
        **settings,
    )


def _looks_up(code: CodeType) -> bool:
    inner = (item for item in code.co_consts if isinstance(item, CodeType))
    return not _LOOK_UP.isdisjoint(code.co_names) or any(map(_looks_up, inner))


def space_of(like: FunctionType | None) -> str:
    return (like.__module__ if like is not None else None) or "candidate"
