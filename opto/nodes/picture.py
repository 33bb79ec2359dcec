"""What pictures of a trace graph show: rows, one per node, and the sketch that is drawn of them.

A `Sketch` has a box per row, or per group of rows (`opto.nodes.collapse`); text, trees, Graphviz and Mermaid are all
made of sketches, so that every picture shows the same.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from opto.nodes.constants import brief, cut, without_halves, write_constant, write_index
from opto.nodes.operators import COPY, GETITEM
from opto.nodes.vertex import Vertex

__all__ = [
    "Arrow",
    "Box",
    "Kind",
    "Row",
    "Sketch",
    "as_text",
    "describe",
    "one_by_one",
    "rows",
    "write_call",
    "write_constant",
]

_TIMES = "\N{MULTIPLICATION SIGN}"
Kind = Literal["parameter", "value", "result", "exception"]


class Row(NamedTuple):
    """One node, ready to be shown."""

    name: str
    kind: Kind
    value: Any
    operator: str | None
    expression: str
    description: str
    parents: Mapping[str, list[str]]
    is_output: bool


class Box(NamedTuple):
    """What a picture shows in one place: a node, or several that play the same part.

    Attributes:
        name: The name of the node, or of the oldest one.
        title: What it is called in a sketch: the name of the node, or what several have in common.
        rows: The nodes, oldest first.
    """

    name: str
    title: str
    rows: Sequence[Row]

    @property
    def kind(self) -> Kind:
        return self.rows[0].kind

    @property
    def is_output(self) -> bool:
        return self.rows[0].is_output

    @property
    def heading(self) -> str:
        """The title, and how many nodes there are if there is more than one."""
        return self.title if len(self.rows) == 1 else f"{self.title} {_TIMES}{len(self.rows):,}"


class Arrow(NamedTuple):
    """From the box *source* to *target* (positions): how many edges it stands for, and as which inputs.

    ``is_next`` says that it leads back, to what comes next in a loop. The other arrows form no cycle.
    """

    source: int
    target: int
    keys: Sequence[str]
    edges: int = 1
    is_next: bool = False


class Sketch(NamedTuple):
    """Boxes, oldest first, and arrows from inputs to results."""

    boxes: Sequence[Box]
    arrows: Sequence[Arrow]


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
            arguments[key] = write_index(value) if is_index else constant(value)
    return str(item.operator.write(arguments))


def rows(
    nodes: Sequence[Any],
    names: Mapping[Vertex, str],
    outputs: Sequence[Vertex],
    *,
    simple: bool = False,
    calls: bool = True,
) -> list[Row]:
    """Return one row per node, in the order of *nodes*.

    Args:
        nodes: Inputs before results.
        names: One for each of *nodes*.
        outputs: Those of *nodes* that are marked as such.
        simple: Leave out nodes that only hand on their input, such as a copy: the input stands for them.
        calls: Write how each was computed.
    """
    shown_as_output = set(outputs)
    stand_ins: dict[Vertex, Vertex] = {}
    shown = []
    for item in nodes:
        inputs = item.raw_inputs()
        if simple and item not in shown_as_output and _hands_on(item, inputs):
            stand_ins[item] = stand_ins.get(inputs[0][1], inputs[0][1])
            continue
        parents: dict[str, list[str]] = {}
        for key, value in inputs:
            if isinstance(value, Vertex):
                parents.setdefault(names[stand_ins.get(value, value)], []).append(key)
        shown.append(
            Row(
                name=names[item],
                kind=item.kind,
                value=item._data,
                operator=None if item.operator is None else item.operator.name,
                expression=write_call(item, lambda one: names[stand_ins.get(one, one)], _short) if calls else "",
                description=item.description or "",
                parents=parents,
                is_output=item in shown_as_output,
            )
        )
    return shown


#: How an operator that hands on its input is called: here, in Trace, and as a method of containers.
_HANDS_ON = {"identity", "clone", "copy", "deepcopy"}


def _hands_on(item: Any, inputs: Sequence[tuple[str, Any]]) -> bool:
    """True if *item* is a copy of its only input, or a container of it alone."""
    operator = item.operator
    if len(inputs) != 1 or item.kind != "result" or not isinstance(inputs[0][1], Vertex):
        return False
    if operator.packs or operator is COPY:
        return True
    if operator.name not in _HANDS_ON:
        return False
    # "copy" may also be what a writer of advertisements makes.
    old, new = inputs[0][1]._data, item._data
    return old is new or (type(old) is type(new) and brief(old, _SAME) == brief(new, _SAME))


_SAME = 10_000


def one_by_one(shown: Sequence[Row]) -> Sketch:
    """Return a sketch with one box per row."""
    place = {row.name: number for number, row in enumerate(shown)}
    return Sketch(
        [Box(row.name, row.name, [row]) for row in shown],
        [
            Arrow(place[parent], number, keys)
            for number, row in enumerate(shown)
            for parent, keys in row.parents.items()
        ],
    )


def describe(box: Box, max_value: int) -> str:
    """Return *box* in one line: how it was computed, its value, and what is special about it."""
    first = box.rows[0]
    notes = [kind for kind in ("parameter", "exception") if kind == first.kind] + ["output"] * first.is_output
    # A call with thousands of inputs would push the value out of sight.
    computed = f"{cut(first.expression, _LONGEST_CALL)}  → " if first.expression else ""
    return f"{box.heading} = {computed}{values(box, max_value)}" + (f"  ({', '.join(notes)})" if notes else "")


_LONGEST_CALL = 200


def values(box: Box, max_value: int) -> str:
    """Return the value of *box*; the first and the last if it stands for several nodes."""
    first, last = (brief(row.value, max_value) for row in (box.rows[0], box.rows[-1]))
    if first == last:
        return first
    # Two long texts that are both cut say less than one.
    return f"{first} … {last}" if len(first) + len(last) + 3 <= max_value else f"{cut(first, max_value - 3)}, …"


def as_text(sketch: Sketch, max_value: int) -> str:
    """Return one line per box, oldest first. Boxes that stand for many say where their inputs come from."""
    sources: dict[int, list[str]] = {}
    for arrow in sketch.arrows:
        title = sketch.boxes[arrow.source].title
        sources.setdefault(arrow.target, []).append(f"{title} (next)" if arrow.is_next else title)
    lines = []
    for number, box in enumerate(sketch.boxes):
        line = describe(box, max_value)
        # The expression of a single node names its inputs.
        is_told = bool(box.rows[0].expression) or number not in sources
        lines.append(line if is_told else f"{line}  ← {', '.join(sources[number])}")
    return without_halves("\n".join(lines))


def _short(value: Any) -> str:
    return brief(value, 40)
