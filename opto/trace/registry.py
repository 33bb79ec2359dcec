"""`GRAPH`: what programs for Trace do with its registry of all nodes, which opto does not have."""

from opto.errors import GraphError
from opto.nodes import is_tracing, restart_numbers

__all__ = ["GRAPH", "Graph"]


class Graph:
    """A stand-in for Trace's registry. A graph dies with its outputs here, and nothing global holds one."""

    def clear(self) -> None:
        """Number the names of new nodes from 0 again; there is nothing to free.

        Example:
            >>> from opto.nodes import node
            >>> GRAPH.clear()
            >>> node(1, name="x").name, node(2, name="x").name
            ('x:0', 'x:1')
        """
        restart_numbers()

    @property
    def TRACE(self) -> bool:  # noqa: N802 - Trace's name
        """True if operators that run here are recorded."""
        return is_tracing()

    @TRACE.setter
    def TRACE(self, value: bool) -> None:  # noqa: N802 - Trace's name
        raise GraphError(
            f"GRAPH.TRACE cannot be set (to {value!r}): tracing is stopped for a block, not for the process.",
            mend="Write `with opto.trace.stop_tracing():` around the block.",
        )


GRAPH = Graph()
