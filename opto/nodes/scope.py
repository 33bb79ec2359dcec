"""Whether, and for whom, the running code is being recorded.

The state is one ContextVar, so threads, asyncio tasks and nested blocks never see each other's. None is the
common case (record, and nobody asks what is read) and costs one look-up per operator.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from opto.hooks import Running, hooks
from opto.nodes.operators import Operator
from opto.nodes.packing import unpack
from opto.nodes.vertex import births

__all__ = [
    "Scope",
    "current_scope",
    "enter_open_scope",
    "enter_scope",
    "is_tracing",
    "leave_open_scope",
    "leave_scope",
    "new_scope",
    "note_read",
    "reads_in",
    "running",
    "stop_tracing",
]


#: What holds inside one block that is not recorded: the block's birth number; the operator whose body it is, else the
#: scope around, if there is one; and the nodes from outside that were read, as keys of a dict that is there once there
#: are any. A bare list, because it is made for each call of a bundle; a mutable one, because threads and tasks that the
#: block starts with its context read on its behalf.
Scope = list[Any]

_scope: ContextVar[Scope | None] = ContextVar("opto_scope", default=None)
current_scope, enter_scope, leave_scope = _scope.get, _scope.set, _scope.reset
#: Of operators whose bodies are recorded.
_open_scope: ContextVar[Scope | None] = ContextVar("opto_open_scope", default=None)
enter_open_scope, leave_open_scope = _open_scope.set, _open_scope.reset


def new_scope(inside: Operator | Scope | None = None) -> Scope:
    """Return a scope for the body of an operator: nothing in it is recorded, and what it reads is noted.

    Args:
        inside: The operator; or the scope around, for a block that is none's body.

    Example:
        >>> from opto.nodes import node
        >>> weight = node(2)
        >>> scope = new_scope()
        >>> token = enter_scope(scope)
        >>> result = 3 * weight.data + node(1).data
        >>> leave_scope(token)
        >>> reads_in(scope) == [weight]
        True
    """
    return [next(births), inside]


def note_read(scope: Scope, node: Any) -> None:
    """Remember that *node* was read, if it is older than the block: newer ones were made inside it."""
    if node.birth < scope[0]:
        if len(scope) == 2:
            scope.append({})  # should another thread do so as well, the first one counts
        scope[2][node] = True


def reads_in(scope: Scope) -> list[Any]:
    """Return the nodes from outside that were read, in order of reading."""
    return list(scope[2]) if len(scope) > 2 else []


def running() -> Running | None:
    """Return the innermost operator whose body runs here; None outside of operators.

    Example:
        >>> from opto.trace import bundle
        >>> @bundle
        ... def asks():
        ...     return running().name
        >>> asks().data
        'asks'
    """
    scope, open_scope = _scope.get(), _open_scope.get()
    if open_scope is None:
        return None if scope is None else _running_in(scope)
    found = [item for item in map(_running_in, (scope, open_scope)) if item is not None]
    return max(found, key=lambda item: item.number) if found else None


def _running_in(scope: Scope | None) -> Running | None:
    while isinstance(scope, list) and not isinstance(scope[1], Operator):
        scope = scope[1]
    return None if scope is None else Running(scope[1].name, scope[0])


def is_tracing() -> bool:
    """True if operators that run here record their inputs.

    Example:
        >>> with stop_tracing():
        ...     is_tracing()
        False
    """
    return current_scope() is None


@contextmanager
def stop_tracing() -> Iterator[None]:
    """Run a block without recording: results are nodes without parents.

    Blocks nest, and hold for the thread or asyncio task that opened them only.

    Example:
        >>> from opto.nodes import node
        >>> with stop_tracing():
        ...     total = node(1) + node(2)
        >>> total.data, total.parents
        (3, [])
    """
    outer = current_scope()
    scope = new_scope(outer)
    token = enter_scope(scope)
    try:
        yield
    finally:
        leave_scope(token)
        # An operator around this block still wants to know what was read inside it.
        if outer is not None:
            for node in reads_in(scope):
                note_read(outer, node)


hooks.running, hooks.plain = running, unpack
