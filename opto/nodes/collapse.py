"""Folding of large trace graphs: nodes that play the same part become one box with a count.

Two nodes play the same part if their operators are the same, those of their inputs, those of the inputs of these, and
so on for a few rounds (colour refinement). In a loop that would tell the first iteration from the second and so on, so
parts that differ only in what they get from a loop are one. Everything here takes time in proportion to nodes and
edges.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from opto.nodes.picture import Arrow, Box, Row, Sketch

__all__ = ["collapse"]

#: Boxes that a person can take in, besides parameters, outputs and exceptions.
MOST_BOXES = 32
#: Rounds of refinement. More of them tell apart what looks the same in the picture.
_ROUNDS = 3
#: Parts before turns of loops are put together: more are those of a program that never does the same again.
_MOST_PARTS = 1_000
#: Parameters and outputs up to this number have a box each, as have exceptions up to the other.
_MOST_SINGLE = 50
_MOST_EXCEPTIONS = 10
#: What happens once in so many turns of a loop, or less often, may be the start of it.
_RARE = 10


def collapse(shown: Sequence[Row]) -> Sketch:
    """Return a sketch of *shown* in which nodes that play the same part share a box.

    Parameters and outputs keep a box each, unless there are more than 50 of them; so do exceptions, unless there are
    more than 10.

    Args:
        shown: Rows in topological order.

    Example:
        >>> from opto.nodes import TraceGraph, node
        >>> total = node(0)
        >>> for _ in range(1000):
        ...     total = total + 1
        >>> print(TraceGraph([total]).to_text())
        int0 = 0
        add ×999 = 1 … 999  ← int0, add (next)
        add999 = 1000  (output)  ← add
    """  # noqa: RUF002 - this is how many there are
    edges = _edges(shown)
    parts = _parts(shown, edges)
    singles = _singles(shown)
    groups: dict[Hashable, list[int]] = {}
    for number, row in enumerate(shown):
        groups.setdefault(("single", number) if singles[number] else (row.is_output, parts[number]), []).append(number)
    boxes = _boxes([shown[number] for number in members] for members in groups.values())
    place = {number: box for box, members in enumerate(groups.values()) for number in members}
    return Sketch(boxes, _arrows(len(boxes), [(place[edge.source], place[edge.target], edge.key) for edge in edges]))


class _Edge(NamedTuple):
    """From one row to another (positions), as the input *key*; items of a sequence all count as the same."""

    source: int
    target: int
    key: str


def _edges(shown: Sequence[Row]) -> list[_Edge]:
    place = {row.name: number for number, row in enumerate(shown)}
    return [
        _Edge(place[parent], number, _general(key))
        for number, row in enumerate(shown)
        for parent, keys in row.parents.items()
        for key in keys
    ]


def _general(key: str) -> str:
    """Return *key* without the position in a sequence: "" for "17", "*args" for "*args[17]"."""
    if key.isdigit():
        return ""
    return key.partition("[")[0] if key[:1] == "*" != key[1:2] else key


def _stem(name: str) -> str:
    # An underscore behind the number tells a value from a parameter of that name.
    return name.rstrip("_").rstrip("0123456789") or name


def _singles(shown: Sequence[Row]) -> list[bool]:
    """Return for each row whether it has a box of its own."""
    kinds = Counter(row.kind for row in shown)
    outputs = sum(row.is_output for row in shown)
    return [
        (row.kind == "parameter" and kinds["parameter"] <= _MOST_SINGLE)
        or (row.is_output and outputs <= _MOST_SINGLE)
        or (row.kind == "exception" and kinds["exception"] <= _MOST_EXCEPTIONS)
        for row in shown
    ]


def _parts(shown: Sequence[Row], edges: Sequence[_Edge]) -> list[int]:
    """Return the part that each row plays, as finely told apart as a person can take in."""
    first = parts = _numbered(_base(shown))
    accepted = _squeezed(shown, first)
    # First by the parameters used, if nothing else: calls with another prompt play another part.
    from_parameters = [edge for edge in edges if shown[edge.source].kind == "parameter"]
    for number in range(_ROUNDS + 1):
        finer = _refined(shown, edges if number else from_parameters, parts)
        if max(finer, default=0) > _MOST_PARTS or (finer == parts and number):
            break
        merged = _without_turns(finer, first, edges)
        if _foldable(shown, merged) <= MOST_BOXES and not _is_tangled(merged, accepted, edges):
            parts, accepted = finer, merged
        elif number:
            break
    return accepted


def _is_tangled(finer: Sequence[int], parts: Sequence[int], edges: Sequence[_Edge]) -> bool:
    """True if *finer* parts bring more arrows than they are worth.

    Where a loop takes another way in each turn, telling uses apart by what went before draws every way to every other.
    """
    boxes, boxes_before = len(set(finer)), len(set(parts))
    arrows, arrows_before = (len({(of[source], of[target]) for source, target, _ in edges}) for of in (finer, parts))
    return arrows >= 2 * boxes and arrows - arrows_before > 2 * (boxes - boxes_before)


def _numbered(keys: Iterable[Hashable]) -> list[int]:
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def _base(shown: Sequence[Row]) -> Iterable[Hashable]:
    own_box = sum(row.kind == "parameter" for row in shown) <= _MOST_SINGLE
    for row in shown:
        if row.kind == "exception":
            # (KeyError) 'a' and (KeyError) 'b' are the same trouble.
            yield row.kind, row.operator, str(row.value).partition(")")[0]
        elif row.operator is None:
            yield row.kind, row.name if own_box and row.kind == "parameter" else _stem(row.name)
        else:
            yield row.kind, row.operator


def _foldable(shown: Sequence[Row], parts: Sequence[int]) -> int:
    """Return the number of parts that are played by values and results."""
    return len({part for row, part in zip(shown, parts, strict=True) if row.kind in ("value", "result")})


def _squeezed(shown: Sequence[Row], parts: list[int]) -> list[int]:
    """Return *parts* with the rarest put together by kind, if there are too many operators to show them all."""
    if _foldable(shown, parts) <= MOST_BOXES:
        return parts
    counts = Counter(part for row, part in zip(shown, parts, strict=True) if row.kind in ("value", "result"))
    kept = {part for part, _ in counts.most_common(MOST_BOXES - 2)}
    return _numbered(
        (row.kind,) if part in counts and part not in kept else part for row, part in zip(shown, parts, strict=True)
    )


def _refined(shown: Sequence[Row], edges: Sequence[_Edge], parts: Sequence[int]) -> list[int]:
    """Return parts told apart by those of their inputs; values, which have none, by what they are used for."""
    around: list[set[Hashable]] = [set() for _ in shown]
    for source, target, key in edges:
        around[target].add((key, parts[source]))
        if shown[source].kind == "value":
            around[source].add((key, shown[target].operator))
    return _numbered((part, frozenset(seen)) for part, seen in zip(parts, around, strict=True))


class _Quotient(NamedTuple):
    """What is between parts: how often each is played, by which operator, and the different edges."""

    counts: list[int]
    operators: list[int]
    edges: list[_Edge]


def _without_turns(parts: list[int], base: Sequence[int], edges: Sequence[_Edge]) -> list[int]:
    """Return *parts* without those that differ only in the turn of a loop they belong to, or stand behind."""
    counts = Counter(parts)
    operators = dict(zip(parts, base, strict=True))
    seen = dict.fromkeys(_Edge(parts[source], parts[target], key) for source, target, key in edges)
    merged = list(range(len(counts)))
    quotient = _Quotient([counts[part] for part in merged], [operators[part] for part in merged], [*seen])
    for _ in range(_ROUNDS):
        before = len(quotient.counts)
        for step in (_without_starts, _without_doubles):
            fewer = _numbered(step(quotient))
            quotient = _together(quotient, fewer)
            merged = [fewer[part] for part in merged]
        if len(quotient.counts) == before:
            break
    return [merged[part] for part in parts]


def _together(quotient: _Quotient, parts: Sequence[int]) -> _Quotient:
    """Return *quotient* with those parts counted as one that have the same number in *parts*."""
    counts, operators = [0] * (max(parts, default=-1) + 1), [0] * (max(parts, default=-1) + 1)
    for part, count, operator in zip(parts, quotient.counts, quotient.operators, strict=True):
        counts[part] += count
        operators[part] = operator
    seen = dict.fromkeys(_Edge(parts[source], parts[target], key) for source, target, key in quotient.edges)
    return _Quotient(counts, operators, [*seen])


def _without_doubles(quotient: _Quotient) -> list[Hashable]:
    """Return parts of which those are one that have the same inputs, now that turns are."""
    inputs: dict[int, set[tuple[str, int]]] = {}
    for source, target, key in quotient.edges:
        inputs.setdefault(target, set()).add((key, source))
    return [
        (operator, frozenset(inputs[part])) if part in inputs else part
        for part, operator in enumerate(quotient.operators)
    ]


def _without_starts(quotient: _Quotient) -> list[int]:
    """Return parts of which the first turns of a loop are one with its turns.

    They are told apart only because what they get is the start instead of the result of the turn before.
    """
    counts, operators, edges = quotient
    inputs: list[dict[str, set[int]]] = [{} for _ in counts]
    children: dict[int, set[int]] = {part: set() for part in range(len(counts))}
    # What is next to a part, as far as its operator goes.
    around: list[set[tuple[str, str, int]]] = [set() for _ in counts]
    for source, target, key in edges:
        inputs[target].setdefault(key, set()).add(source)
        children[source].add(target)
        around[target].add(("input", key, operators[source]))
        around[source].add(("child", key, operators[target]))
    cycle = _components(len(counts), children)
    in_loops: dict[int, list[int]] = {}
    for part, following in children.items():
        if any(cycle[child] == cycle[part] for child in following):
            in_loops.setdefault(operators[part], []).append(part)

    def is_start(part: int, turn: int) -> bool:
        # Beyond the rounds of refinement, starts look like what is inside the loop, so they may seem to lie on it.
        is_before = cycle[part] != cycle[turn] or counts[part] * _RARE < counts[turn]
        return (
            is_before
            and (counts[part], part) < (counts[turn], turn)
            and inputs[part].keys() == inputs[turn].keys()
            and all(
                sources <= inputs[turn][key] or any(cycle[source] == cycle[turn] for source in inputs[turn][key])
                for key, sources in inputs[part].items()
            )
        )

    def likeness(part: int, turn: int) -> tuple[int, int, int]:
        # In a loop with two sums, the start of one has the inputs of that one, and leads where it leads.
        children_of_both = {merged.get(child, child) for child in children[part]} & children[turn]
        return len(children_of_both) + len(around[part] & around[turn]), counts[turn], turn

    merged: dict[int, int] = {}
    # Frequent parts first, so that what is the start of a start is merged with the loop of both; and among those
    # that are equally rare the younger, so that what they lead to is merged before them.
    for part in sorted(children, key=lambda one: (counts[one], one), reverse=True):
        turns = [turn for turn in in_loops.get(operators[part], ()) if is_start(part, turn)]
        best = max(turns, key=partial(likeness, part), default=part)
        merged[part] = merged.get(best, best)
    return [merged[part] for part in children]


def _arrows(boxes: int, edges: Iterable[tuple[int, int, str]]) -> list[Arrow]:
    """Return one arrow per pair of boxes with edges between them."""
    keys: dict[tuple[int, int], Counter[str]] = {}
    for source, target, key in edges:
        keys.setdefault((source, target), Counter())[key] += 1
    children: dict[int, set[int]] = {box: set() for box in range(boxes)}
    for source, target in keys:
        children[source].add(target)
    cycle = _components(boxes, children)
    # Boxes are in the order of the birth of their oldest node: inside a loop, what leads to an older box leads back.
    return [
        Arrow(source, target, list(found), found.total(), cycle[source] == cycle[target] and source >= target)
        for (source, target), found in keys.items()
    ]


def _components(size: int, children: dict[int, set[int]]) -> list[int]:
    """Return a number for each of *size* vertices: the same for those that lie on a common cycle (Tarjan)."""
    order, low, component = [-1] * size, [0] * size, [-1] * size
    path: list[int] = []
    visited = 0
    for start in range(size):
        # Each entry: a vertex, and its children that are still to be looked at.
        stack = [(start, iter(sorted(children[start])))] if order[start] < 0 else []
        while stack:
            vertex, rest = stack[-1]
            if order[vertex] < 0:
                order[vertex] = low[vertex] = visited
                visited += 1
                path.append(vertex)
            child = next(rest, None)
            if child is None:
                stack.pop()
                if stack:
                    low[stack[-1][0]] = min(low[stack[-1][0]], low[vertex])
                if low[vertex] == order[vertex]:
                    while component[vertex] < 0:
                        component[path.pop()] = vertex
            elif order[child] < 0:
                stack.append((child, iter(sorted(children[child]))))
            elif component[child] < 0:
                low[vertex] = min(low[vertex], order[child])
    return component


def _boxes(groups: Iterable[list[Row]]) -> list[Box]:
    boxes = []
    used: Counter[str] = Counter()
    for members in groups:
        first = members[0]
        title = first.name
        if len(members) > 1:
            titles = {row.operator or _stem(row.name) for row in members}
            title = titles.pop() if len(titles) == 1 else f"{len(titles)} others"
            used[title] += 1
            # The same operator in another part of the program.
            title = f"{title} #{used[title]}" if used[title] > 1 else title
        boxes.append(Box(first.name, title, members))
    return boxes
