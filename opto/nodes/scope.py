"""Whether, and for whom, the running code is being recorded.

The state is one ContextVar, so threads, asyncio tasks and nested blocks never see each other's. None is the
common case (record, and nobody asks what is read) and costs one look-up per operator.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from opto.nodes.vertex import births

__all__ = [
    "SINCE",
    "Scope",
    "current_scope",
    "enter_scope",
    "is_tracing",
    "leave_scope",
    "new_scope",
    "note_read",
    "reads_in",
    "stop_tracing",
]


#: What holds inside one block that is not recorded: the block's birth number under `SINCE`, and the nodes from outside
#: that were read, as further keys. A bare dict, because it is made for each call of a bundle; a mutable one, because
#: threads and tasks that the block starts with its context read on its behalf.
Scope = dict[Any, Any]
SINCE = None

_scope: ContextVar[Scope | None] = ContextVar("opto_scope", default=None)
current_scope, enter_scope, leave_scope = _scope.get, _scope.set, _scope.reset


def new_scope() -> Scope:
    """Return a scope for the body of an operator: nothing in it is recorded, and what it reads is noted.

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
    return {SINCE: next(births)}


def note_read(scope: Scope, node: Any) -> None:
    """Remember that *node* was read, if it is older than the block: newer ones were made inside it."""
    if node.birth < scope[SINCE]:
        scope[node] = True


def reads_in(scope: Scope) -> list[Any]:
    """Return the nodes from outside that were read, in order of reading."""
    return [node for node in scope if node is not SINCE]


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
    scope = new_scope()
    token = enter_scope(scope)
    outer = token.old_value
    try:
        yield
    finally:
        leave_scope(token)
        # An operator around this block still wants to know what was read inside it.
        if isinstance(outer, dict):
            for node in reads_in(scope):
                note_read(outer, node)
