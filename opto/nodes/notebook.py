"""How nodes and graphs show themselves in a notebook: as text, and as a picture where one can be drawn.

Nothing here raises: that would fail the whole cell.
"""

from collections.abc import Callable
from shutil import which
from typing import Any

from opto.nodes.constants import attempt, brief, without_halves
from opto.nodes.graph import MAX_NODES, TraceGraph
from opto.nodes.vertex import Vertex

__all__ = ["of_graph", "of_node"]

#: Lines of a tree: a graph was asked for, the history of a node was not.
_LINES_OF_GRAPH, _LINES_OF_NODE = 40, 20
#: Nodes that are walked through to show what a node was computed from: well below a second.
_LONGEST_HISTORY = 10_000


def of_graph(graph: TraceGraph) -> dict[str, str]:
    """Return *graph* by MIME type: as a tree of text, and as a picture if ``dot`` is installed."""
    return _bundle(repr(graph), lambda: graph.to_tree(max_lines=_LINES_OF_GRAPH), graph.to_graphviz)


def of_node(item: Any) -> dict[str, str]:
    """Return *item* by MIME type: its `repr`, and what it was computed from.

    Example:
        >>> from opto.nodes import node
        >>> print(of_node(node(3, name="price") * 2)["text/plain"].partition("= ")[2])
        6>
        multiply0 = price0 * 2  → 6  (output)
        └─ price0 = 3
    """
    kind = type(item).__name__
    heading = attempt(repr, item, fallback=f"<{kind} {item.name} = {brief(item._data, 80)}>")
    history = _history(item)
    if history <= 1:
        return _bundle(heading, str, None)
    if history > _LONGEST_HISTORY:
        hint = f"(computed from more than {_LONGEST_HISTORY:,} nodes: TraceGraph([node]) shows them)"
        return _bundle(heading, lambda: hint, None)
    graph = TraceGraph([item])
    drawing = graph.to_graphviz if history <= MAX_NODES else None
    return _bundle(heading, lambda: graph.to_tree(max_lines=_LINES_OF_NODE), drawing)


def _history(item: Vertex) -> int:
    """Return the number of nodes that *item* was computed from, with itself; no more than one above the longest."""
    seen = {item}
    waiting = [item]
    while waiting and len(seen) <= _LONGEST_HISTORY:
        for parent in waiting.pop()._inputs:
            if isinstance(parent, Vertex) and parent not in seen:
                seen.add(parent)
                waiting.append(parent)
    return len(seen)


def _bundle(heading: str, tree: Callable[[], str], drawing: Callable[[], Any] | None) -> dict[str, str]:
    shown = {"text/plain": f"{heading}\n{attempt(tree, fallback='')}".rstrip()}
    # Looked for first, because graphviz takes longer to be imported than a path to be searched.
    if drawing is not None and which("dot"):
        picture = attempt(lambda: str(drawing().pipe(format="svg", encoding="utf-8", quiet=True)), fallback="")
        if picture:
            shown["image/svg+xml"] = picture
    return {mime: without_halves(text) for mime, text in shown.items()}
