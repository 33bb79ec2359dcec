"""A vertex: what a walk through a trace graph needs to know of a node, and no more.

`Node` adds to it that it acts like its value. Everything that only walks (backward passes, trace graphs,
pictures) is written against this module, so that the classes of nodes can be built on top of the walks.
"""

from collections.abc import Iterable
from itertools import count
from operator import attrgetter
from typing import Any

from opto.nodes.operators import Operator

__all__ = ["Vertex", "ancestors", "births", "by_birth", "levels"]

#: Birth numbers: a node is born after everything it was computed from, whichever thread made it.
births = count()


class Vertex:
    """A value with a birth number and the inputs it was computed from.

    Attributes:
        birth: Running number. Sorting by it is a topological order, because inputs exist before results.
        trainable: True if an optimizer may replace the value.
        stem: The name without its number.
    """

    # `_inputs` holds vertices and plain values, in the order of the operator's keys; () for a root.
    __slots__ = ("__weakref__", "_data", "_inputs", "_name", "birth")

    _data: Any
    _inputs: tuple[Any, ...]
    _name: str
    birth: int

    @property
    def trainable(self) -> bool:
        return False

    @property
    def stem(self) -> str:
        raise NotImplementedError

    @property
    def operator(self) -> Operator | None:
        """The operator whose result this is; None for a root."""
        return None

    @property
    def is_recorded(self) -> bool:
        """False for a root, and for a result that was computed while tracing was stopped."""
        return False

    def raw_inputs(self) -> list[tuple[str, Any]]:
        """Return ``(name, vertex or plain value)`` of each input, as recorded."""
        return []

    def receive(self, sender: "Vertex", feedback: Any) -> None:
        """Keep *feedback* that arrived from *sender*. Only parameters do; elsewhere it just passes."""


by_birth = attrgetter("birth")


def ancestors(outputs: Iterable[Vertex]) -> list[Vertex]:
    """Return *outputs* and all they were computed from, oldest first.

    Takes time in proportion to nodes and edges, and no recursion: a chain may be a million nodes long.
    """
    # Sets of vertices compare by identity: hashes of live objects differ unless they are the same object,
    # so the value comparison of nodes is never asked.
    seen = set(outputs)
    waiting = list(seen)
    while waiting:
        for item in waiting.pop()._inputs:
            if isinstance(item, Vertex) and item not in seen:
                seen.add(item)
                waiting.append(item)
    return sorted(seen, key=by_birth)


def levels(nodes: Iterable[Vertex]) -> dict[Vertex, int]:
    """Return the number of steps on the longest way from a root to each of *nodes*: 0 for a root.

    Args:
        nodes: Oldest first, with everything that they were computed from.
    """
    found: dict[Vertex, int] = {}
    for item in nodes:
        found[item] = max((found[above] + 1 for above in item._inputs if isinstance(above, Vertex)), default=0)
    return found
