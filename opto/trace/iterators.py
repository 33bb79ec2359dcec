"""Iterating over nodes, under the names that programs for Trace use: a node can be iterated by itself."""

from collections.abc import Iterator
from typing import Any

from opto.nodes import Node, node

__all__ = ["DictIterable", "SeqIterable", "iterate"]


class _Again:
    """Can be iterated as often as one likes, and asked for its items one by one."""

    _running: Iterator[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError

    def __next__(self) -> Any:
        if self._running is None:
            self._running = iter(self)
        return next(self._running)


class SeqIterable(_Again):
    """The items of a sequence as nodes, as often as it is iterated."""

    def __init__(self, wrapped_list: Node[Any]) -> None:
        self.wrapped_list = wrapped_list

    def __iter__(self) -> Iterator[Any]:
        return iter(self.wrapped_list)


class DictIterable(_Again):
    """The items of a dict as pairs of nodes, as often as it is iterated."""

    def __init__(self, wrapped_dict: Node[Any]) -> None:
        self.wrapped_dict = wrapped_dict

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for key in self.wrapped_dict:
            yield key, self.wrapped_dict[key]


def iterate(x: Any) -> SeqIterable:
    """Return the items of *x*, a node or a plain sequence, set or dict, as nodes; of a dict, its keys.

    Raises:
        TypeError: *x* has no items.

    Example:
        >>> [item.data for item in iterate([1, 2])]
        [1, 2]
    """
    wrapped = node(x)
    iter(wrapped)
    return SeqIterable(wrapped)
