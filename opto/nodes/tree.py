"""A trace graph as a tree of text: from the outputs down to what they were computed from."""

from collections.abc import Iterator, Sequence

from opto.nodes.constants import without_halves
from opto.nodes.picture import Arrow, Sketch, describe

__all__ = ["as_tree"]

#: Branches deeper than this go on at the left margin: a page has an edge, and a chain of n must not take n² characters.
_DEEPEST = 12


def as_tree(sketch: Sketch, max_value: int, *, max_lines: int | None = None) -> str:
    """Return *sketch* as a tree. What several branches share is drawn once, and referred to after that.

    Args:
        sketch: What is to be shown.
        max_value: Characters of a value.
        max_lines: Lines after which the rest is only counted; None for all.

    Example:
        >>> from opto.nodes import TraceGraph, node
        >>> x = node(2, name="x", trainable=True)
        >>> double = x * 2
        >>> print(TraceGraph([double + double * 3]).to_tree())
        add0 = multiply0 + multiply1  → 16  (output)
        ├─ multiply0 = x * 2  → 4
        │  └─ x = 2  (parameter)
        └─ multiply1 = multiply0 * 3  → 12
           └─ multiply0 (above)
    """
    inputs = _inputs(sketch)
    lines: list[str] = []
    drawn: set[int] = set()
    # What is drawn next stands at the end.
    tops = [number for number, box in enumerate(sketch.boxes) if box.is_output][::-1]
    while tops:
        top = tops.pop()
        if top in drawn:
            continue
        left = []
        for number, branch, note in _walk(top, inputs, drawn):
            box = sketch.boxes[number]
            lines.append(branch + (f"{box.title} ({note})" if note else describe(box, max_value)))
            if note:
                left.append(number)
        tops.extend(reversed(left))
    return _shortened(lines, max_lines)


def _walk(top: int, inputs: Sequence[Sequence[Arrow]], drawn: set[int]) -> Iterator[tuple[int, str, str]]:
    """Yield what is below *top*: box, what stands before it, and why it is not drawn here ("" if it is)."""
    waiting = [(top, "", "", False, 0)]
    while waiting:
        number, branch, indent, is_next, depth = waiting.pop()
        if is_next or number in drawn or (depth == _DEEPEST and inputs[number]):
            yield number, branch, "next" if is_next else "above" if number in drawn else "below"
            continue
        drawn.add(number)
        yield number, branch, ""
        for place, arrow in enumerate(reversed(inputs[number])):
            fork, line = ("├─ ", "│  ") if place else ("└─ ", "   ")
            waiting.append((arrow.source, indent + fork, indent + line, arrow.is_next, depth + 1))


def _inputs(sketch: Sketch) -> list[list[Arrow]]:
    inputs: list[list[Arrow]] = [[] for _ in sketch.boxes]
    for arrow in sketch.arrows:
        inputs[arrow.target].append(arrow)
    return inputs


def _shortened(lines: Sequence[str], max_lines: int | None) -> str:
    if max_lines is not None and len(lines) > max_lines:
        rest = len(lines) - max_lines + 1
        lines = [*lines[: max_lines - 1], f"… and {rest:,} more lines"]
    return without_halves("\n".join(lines))
