"""Whether, and for whom, the running code is being recorded.

The state is one ContextVar, so threads, asyncio tasks and nested blocks never see each other's. None is the
common case (record, and nobody asks what is read) and costs one look-up per operator.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any

__all__ = ["Scope", "current_scope", "is_tracing", "stop_tracing", "watch_reads"]


class Scope:
    """What holds for the code that runs inside one block.

    Attributes:
        tracing: False if operators must not record their inputs.
        reads: Nodes whose values were read, in order of reading (an ordered set), or None if nobody asks.
        since: Birth number of the block. Nodes born later were made inside it and are no one's business.
    """

    __slots__ = ("reads", "since", "tracing")

    def __init__(self, *, tracing: bool, reads: dict[Any, None] | None = None, since: int = 0) -> None:
        self.tracing = tracing
        self.reads = reads
        self.since = since

    def note(self, node: Any) -> None:
        """Remember that *node* was read, if it comes from outside the block."""
        if self.reads is not None and node.birth < self.since:
            self.reads[node] = None


_scope: ContextVar[Scope | None] = ContextVar("opto_scope", default=None)
current_scope = _scope.get


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
    outer = current_scope()
    # An operator around this block still wants to know what is read inside it.
    reads, since = (None, 0) if outer is None else (outer.reads, outer.since)
    token = _scope.set(Scope(tracing=False, reads=reads, since=since))
    try:
        yield
    finally:
        _scope.reset(token)


class watch_reads:  # noqa: N801 - reads as a function, and is a class because it is on the hot path
    """Run the body of an operator: record nothing in it, and learn which nodes it reads.

    A class with two slots: `contextlib.contextmanager` would cost more than all else that a bundle does.

    Example:
        >>> from opto.nodes import node
        >>> weight = node(2)
        >>> with watch_reads(since=weight.birth + 1) as reads:
        ...     result = 3 * weight.data
        >>> list(reads) == [weight]
        True
    """

    __slots__ = ("_since", "_token")
    _token: Token[Scope | None]

    def __init__(self, since: int) -> None:
        self._since = since

    def __enter__(self) -> dict[Any, None]:
        reads: dict[Any, None] = {}
        self._token = _scope.set(Scope(tracing=False, reads=reads, since=self._since))
        return reads

    def __exit__(self, *_: object) -> None:
        _scope.reset(self._token)
