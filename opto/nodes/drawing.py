"""Drawings of a sketch: Graphviz, and Mermaid. The only module that knows either."""

import re
import textwrap
from typing import TYPE_CHECKING, Any

from opto.nodes.constants import cut
from opto.nodes.picture import Arrow, Box, Kind, Sketch, values
from opto.nodes.tree import as_tree

if TYPE_CHECKING:
    import graphviz

__all__ = ["as_mermaid", "draw"]

_STYLE: dict[Kind, dict[str, str]] = {
    "parameter": {"shape": "box", "style": "filled,rounded", "fillcolor": "#ffe7ba"},
    "value": {"shape": "box", "style": "filled,rounded", "fillcolor": "#f2f2f2"},
    "result": {"shape": "ellipse", "style": "filled", "fillcolor": "#e3eefc"},
    "exception": {"shape": "octagon", "style": "filled", "fillcolor": "#f9d6d5"},
}
#: Arrows that lead back take no part in the layout: they would put the end of a loop beside its beginning.
_NEXT = {"style": "dashed", "color": "#777777", "fontcolor": "#777777", "constraint": "false"}
_WIDTH = 36


def draw(sketch: Sketch, *, max_value: int, reverse: bool = False) -> "graphviz.Digraph":
    """Return a Graphviz picture with one shape per kind of node."""
    import graphviz  # noqa: PLC0415 - only for pictures

    class Picture(graphviz.Digraph):  # type: ignore[misc]  # graphviz has no types
        """A Digraph that shows itself as text where it cannot be drawn."""

        def _repr_mimebundle_(self, include: Any = None, exclude: Any = None, **settings: Any) -> dict[str, str]:
            try:
                bundle: dict[str, str] = super()._repr_mimebundle_(include=include, exclude=exclude, **settings)
            except (graphviz.ExecutableNotFound, graphviz.CalledProcessError, OSError):
                # A representation that raises would fail the whole notebook cell.
                hint = "(install Graphviz, for instance `apt install graphviz`, to see the picture)"
                bundle = {"text/plain": f"{as_tree(sketch, max_value)}\n{hint}"}
            return bundle

    picture = Picture(
        graph_attr={"ranksep": "0.35", "nodesep": "0.25"},
        node_attr={"fontname": "Helvetica", "fontsize": "11", "margin": "0.12,0.06"},
        edge_attr={"fontname": "Helvetica", "fontsize": "9", "color": "#555555", "arrowsize": "0.7"},
    )
    for box in sketch.boxes:
        style = dict(_STYLE[box.kind], penwidth="2" if box.is_output else "1")
        if len(box.rows) > 1:
            style["peripheries"] = "2"
        # escape() keeps a backslash in a value from becoming a layout command of dot.
        label = graphviz.escape("\n".join(_lines(box, max_value)))
        picture.node(box.name, label, tooltip=graphviz.escape(_printable(box.rows[0].description)), **style)
    for arrow in sketch.arrows:
        ends = [sketch.boxes[arrow.source].name, sketch.boxes[arrow.target].name]
        style = dict(_NEXT if arrow.is_next else {}, **({"edgetooltip": f"{arrow.edges:,}"} if arrow.edges > 1 else {}))
        # The space keeps the text off the line.
        caption = graphviz.escape(f" {_caption(arrow)}".rstrip())
        picture.edge(*(reversed(ends) if reverse else ends), label=caption, **style)
    return picture


def as_mermaid(sketch: Sketch, *, max_value: int, reverse: bool = False) -> str:
    """Return *sketch* as the text of a Mermaid flowchart."""
    lines = ["flowchart TD"]
    for number, box in enumerate(sketch.boxes):
        left, right = _MERMAID_SHAPE[box.kind]
        label = "<br/>".join(map(_escaped, _lines(box, max_value)))
        lines.append(f'  n{number}{left}"{label}"{right}:::{box.kind}')
    for arrow in sketch.arrows:
        source, target = (arrow.target, arrow.source) if reverse else (arrow.source, arrow.target)
        caption = _escaped(_caption(arrow))
        # Mermaid takes no empty label.
        named = f'|"{caption}"|' if caption else ""
        lines.append(f"  n{source} {'-.->' if arrow.is_next else '-->'}{named} n{target}")
    used = dict.fromkeys(box.kind for box in sketch.boxes)
    lines.extend(f"  classDef {kind} fill:{_STYLE[kind]['fillcolor']},stroke:#555,color:#222" for kind in used)
    outputs = [f"n{number}" for number, box in enumerate(sketch.boxes) if box.is_output]
    if outputs:
        lines.append(f"  style {','.join(outputs)} stroke-width:3px")
    return "\n".join(lines)


_MERMAID_SHAPE: dict[Kind, tuple[str, str]] = {
    "parameter": ("(", ")"),
    "value": ("(", ")"),
    "result": ("([", "])"),
    "exception": ("{{", "}}"),
}
#: Everything else may mean something to Mermaid, to the Markdown or the HTML in its labels, or to its templates.
_NOT_PLAIN = re.compile(r"[^\w ,.()'?=+\u00d7…→-]|_|^[-+]|(?<=^\d)[.)]|(?<=^\d\d)[.)]")


def _escaped(text: str) -> str:
    """Return one line of text as Mermaid has to be given it.

    Example:
        >>> _escaped('say "hi" #1')
        'say #34;hi#34; #35;1'
    """
    return _NOT_PLAIN.sub(lambda found: f"#{ord(found[0])};", text.strip())


def _lines(box: Box, max_value: int) -> list[str]:
    """Return what a box says: its heading, and below it its value."""
    first = box.rows[0]
    # Texts stand without quotes, but in their own lines.
    is_text = len(box.rows) == 1 and isinstance(first.value, str)
    value = cut(str(first.value), max_value) if is_text else values(box, max_value)
    wrapped = [
        part for line in _printable(value).splitlines() for part in ([line] if len(line) <= _WIDTH else _wrap(line))
    ]
    return [_printable(box.heading), *wrapped]


def _wrap(line: str) -> list[str]:
    return textwrap.wrap(line, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _caption(arrow: Arrow) -> str:
    """Return the inputs that an arrow stands for, and whether it leads to the next turn of a loop."""
    keys = [key for key in dict.fromkeys(arrow.keys) if key]
    named = ", ".join(keys[:_MOST_KEYS]) + ", …" * (len(keys) > _MOST_KEYS)
    if not arrow.is_next:
        return _printable(named)
    return _printable(f"next {named}".rstrip())


_MOST_KEYS = 3


def _printable(text: str) -> str:
    """Return *text* without characters that no picture can hold, such as NUL or half a surrogate pair."""
    return "".join(
        char if char.isprintable() or char == "\n" else " " if char.isspace() else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )
