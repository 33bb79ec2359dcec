"""Where a vertex stands in its graph: answered when asked, so that recording pays for none of it."""

import gc
from typing import Any

from opto.nodes.vertex import Vertex, ancestors, levels

__all__ = ["Kin"]


class Kin(Vertex):
    """A vertex that can be asked for its relatives."""

    __slots__ = ()

    @property
    def parents(self) -> list[Any]:
        """The nodes this one was computed from, each once; empty for a root."""
        return list(dict.fromkeys(item for item in self._inputs if isinstance(item, Vertex)))

    @property
    def children(self) -> list[Any]:
        """The living nodes computed from this one, oldest first: for looking, not for programs that must be fast.

        A graph dies with its outputs because nodes hold their parents only. Who holds this node is therefore asked
        of the garbage collector, which looks through all objects of the process.
        """
        holders = [found for found in gc.get_referrers(self) if type(found) is tuple]
        inputs = {id(found) for found in holders}
        found = gc.get_referrers(*holders) if holders else []
        # In a dict by identity, because nodes compare by value; the same node may refer twice.
        born = {id(item): item for item in found if isinstance(item, Kin) and id(item._inputs) in inputs}
        return sorted(born.values(), key=lambda item: item.birth)

    @property
    def is_root(self) -> bool:
        return not self._inputs

    @property
    def is_leaf(self) -> bool:
        """True if nothing that is still alive was computed from this node; as slow as `children`."""
        return not self.children

    @property
    def level(self) -> int:
        """Number of steps on the longest way from a root: 0 for a root itself."""
        return levels(ancestors([self]))[self]

    @property
    def parameter_dependencies(self) -> set[Any]:
        """The parameters that this node was computed from, itself included."""
        return {item for item in ancestors([self]) if item.trainable}
