"""Whether, and for whom, the running code is being recorded.

The state is one ContextVar, so threads, asyncio tasks and nested blocks never see each other's. None is the
common case (record, and nobody asks what is read) and costs one look-up per operator.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from opto.nodes.vertex import next_birth

__all__ = ["Scope", "current_scope", "enter_scope", "is_tracing", "leave_scope", "new_scope", "stop_tracing"]


class Scope:
    """What holds for the code that runs inside one block.

    Attributes:
        tracing: False if operators must not record their inputs.
        since: Birth number of the block. Nodes born later were made inside it and are no one's business.
        reads: Nodes from outside that were read, in order of reading (an ordered set); None until the first.
    """

    __slots__ = ("reads", "since", "tracing")
    reads: dict[Any, None] | None
    since: int
    tracing: bool

    def note(self, node: Any) -> None:
        """Remember that *node* was read, if it comes from outside the block."""
        if node.birth < self.since:
            if self.reads is None:
                self.reads = {}
            self.reads[node] = None


_new = object.__new__
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
        >>> list(scope.reads) == [weight]
        True
    """
    scope = _new(Scope)
    scope.tracing = False
    scope.reads = None
    scope.since = next_birth()
    return scope


def is_tracing() -> bool:
    """True if operators that run here record their inputs.

    Example:
        >>> with stop_tracing():
        ...     is_tracing()
        False
    """
    scope = current_scope()
    return scope is None or scope.tracing


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
        if isinstance(outer, Scope):
            for node in scope.reads or ():
                outer.note(node)
