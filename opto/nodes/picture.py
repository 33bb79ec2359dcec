"""Pictures of a trace graph: rows of text, and Graphviz.

The only module that knows graphviz. It works on rows, one per node, so that every picture shows the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from opto.nodes.operators import GETITEM
from opto.nodes.vertex import Vertex

if TYPE_CHECKING:
    import graphviz

__all__ = ["Row", "as_text", "draw", "rows", "write_call", "write_constant"]

Kind = Literal["parameter", "value", "result", "exception"]


@dataclass(frozen=True, slots=True)
class Row:
    """One node, ready to be shown."""

    name: str
    kind: Kind
    value: Any
    operator: str | None
    expression: str
    description: str
    parents: Mapping[str, list[str]] = field(default_factory=dict)
    is_output: bool = False


def write_constant(value: Any) -> str:
    """Return a plain value as it would stand in the source of a program; the same in every process.

    Example:
        >>> write_constant(["a", {3, 1, 2}]), write_constant(object()), write_constant(len)
        ("['a', {1, 2, 3}]", '<object>', 'len')
    """
    kind = type(value)
    if kind in (list, tuple):
        items = ", ".join(map(write_constant, value))
        return f"[{items}]" if kind is list else f"({items}{',' * (len(value) == 1)})"
    if kind is dict:
        return f"{{{', '.join(f'{write_constant(key)}: {write_constant(item)}' for key, item in value.items())}}}"
    if kind in (set, frozenset) and value:
        items = ", ".join(sorted(map(write_constant, value)))
        return f"{{{items}}}" if kind is set else f"frozenset({{{items}}})"
    if getattr(kind, "__repr__", None) is object.__repr__:
        return f"<{kind.__name__}>"
    name = getattr(value, "__qualname__", None)
    return name if callable(value) and isinstance(name, str) else repr(value)


def _write_index(value: Any) -> str:
    """Return what stands between square brackets."""
    if isinstance(value, slice):
        bounds = ["" if bound is None else write_constant(bound) for bound in (value.start, value.stop, value.step)]
        return ":".join(bounds[:2] if value.step is None else bounds)
    if type(value) is tuple and any(isinstance(item, slice) for item in value):
        return ", ".join(map(_write_index, value)) + "," * (len(value) == 1)
    return write_constant(value)


def write_call(item: Any, name_of: Callable[[Vertex], str], constant: Callable[[Any], str] = write_constant) -> str:
    """Return how *item* was computed, as one line of Python; "" if nothing is recorded of that."""
    if not item.is_recorded:
        return ""
    arguments = {}
    for key, value in item.raw_inputs():
        if isinstance(value, Vertex):
            arguments[key] = name_of(value)
        else:
            is_index = item.operator is GETITEM and key == "index"
            arguments[key] = _write_index(value) if is_index else constant(value)
    return str(item.operator.write(arguments))


def rows(nodes: Sequence[Any], names: Mapping[Vertex, str], outputs: Sequence[Vertex]) -> list[Row]:
    """Return one row per node, in the order of *nodes*."""
    shown_as_output = set(outputs)
    shown = []
    for item in nodes:
        parents: dict[str, list[str]] = {}
        for key, value in item.raw_inputs():
            if isinstance(value, Vertex):
                parents.setdefault(names[value], []).append(key)
        shown.append(
            Row(
                name=names[item],
                kind=item.kind,
                value=item._data,
                operator=None if item.operator is None else item.operator.name,
                expression=write_call(item, names.__getitem__, _short),
                description=item.description or "",
                parents=parents,
                is_output=item in shown_as_output,
            )
        )
    return shown


def as_text(shown: Sequence[Row], *, max_value: int) -> str:
    """Return one line per row."""
    lines = []
    for row in shown:
        value = _cut(write_constant(row.value), max_value)
        notes = [kind for kind in ("parameter", "exception") if kind == row.kind] + ["output"] * row.is_output
        computed = f"{row.expression}  → " if row.expression else ""
        lines.append(f"{row.name} = {computed}{value}" + (f"  ({', '.join(notes)})" if notes else ""))
    return "\n".join(lines)


_STYLE: dict[Kind, dict[str, str]] = {
    "parameter": {"shape": "box", "style": "filled,rounded", "fillcolor": "#ffe7ba"},
    "value": {"shape": "box", "style": "filled,rounded", "fillcolor": "#f2f2f2"},
    "result": {"shape": "ellipse", "style": "filled", "fillcolor": "#e3eefc"},
    "exception": {"shape": "octagon", "style": "filled", "fillcolor": "#f9d6d5"},
}


def draw(shown: Sequence[Row], *, max_value: int) -> "graphviz.Digraph":
    """Return a Graphviz picture with one shape per kind of node."""
    import graphviz  # noqa: PLC0415 - only for pictures

    class Picture(graphviz.Digraph):  # type: ignore[misc]  # graphviz has no types
        """A Digraph that shows itself as text where the program ``dot`` is missing."""

        def _repr_mimebundle_(self, include: Any = None, exclude: Any = None, **settings: Any) -> dict[str, str]:
            try:
                bundle: dict[str, str] = super()._repr_mimebundle_(include=include, exclude=exclude, **settings)
            except graphviz.ExecutableNotFound:
                # A representation that raises would fail the whole notebook cell.
                hint = "(install Graphviz, for instance `apt install graphviz`, to see the picture)"
                bundle = {"text/plain": f"{as_text(shown, max_value=max_value)}\n{hint}"}
            return bundle

    picture = Picture(node_attr={"fontname": "Helvetica", "fontsize": "10"}, edge_attr={"fontsize": "8"})
    for row in shown:
        heading = row.name if row.operator is None else f"{row.name}: {row.operator}"
        style = dict(_STYLE[row.kind], penwidth="2" if row.is_output else "1")
        # escape() keeps a backslash in a value from becoming a layout command of dot.
        label = graphviz.escape(
            f"{heading}\n{_cut(row.value if isinstance(row.value, str) else write_constant(row.value), max_value)}"
        )
        picture.node(row.name, label, tooltip=graphviz.escape(row.description), **style)
        for parent, keys in row.parents.items():
            picture.edge(parent, row.name, label=graphviz.escape(", ".join(keys)))
    return picture


def _short(value: Any) -> str:
    return _cut(write_constant(value), 40)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
