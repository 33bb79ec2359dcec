"""What of a trace graph is shown first, where not all of it can be."""

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from opto.nodes import Feedback, TraceGraph

__all__ = ["as_many_as_fit", "by_importance", "distances", "most_telling"]

T = TypeVar("T")
#: Of a room, the part of which so much is taken that no more is looked for; and how often by proportion.
_FULL = 0.9
_PROPORTIONAL = 2


def most_telling(outputs: Sequence[Any], feedback: Sequence[Feedback]) -> list[Any]:
    """Return *outputs*, each once, in the order in which they tell what to improve.

    Failures first, then low scores before high ones, then what has no score.

    Example:
        >>> from opto.nodes import node
        >>> a, b = node("a"), node("b")
        >>> [item.data for item in most_telling([a, b], [Feedback("", 1.0), Feedback("", 0.2)])]
        ['b', 'a']
    """

    def rank(position: int) -> tuple[bool, float]:
        score = feedback[position].score
        return outputs[position].kind != "exception", math.inf if score is None or math.isnan(score) else score

    return list(dict.fromkeys(outputs[position] for position in sorted(range(len(outputs)), key=rank)))


def by_importance(graph: TraceGraph, variables: Collection[Any]) -> list[Any]:
    """Return the nodes of *graph* but for *variables*, the most important first.

    One path from each variable to an output that it reaches comes before all else. Then comes what led to the most
    telling output, what led to the next besides that, and so on: each time what variables had part in before what they
    had not, and what is near to an output or a variable before what lies between. So of a long loop its ends are left,
    and of a batch its failures.

    Takes time in proportion to nodes and edges.
    """
    from_variable = distances(graph, variables)
    shown: set[Any] = set()
    path: dict[Any, int] = {}
    order: list[tuple[tuple[int, bool, float, int], Any]] = []
    for turn, output in enumerate(most_telling(graph.outputs, graph.feedback)):
        for node, (distance, _) in (reached := _behind(output, shown)).items():
            near = min(distance, from_variable.get(node, math.inf))
            order.append(((turn, node not in from_variable, near, node.birth), node))
        for variable in (node for node in reached if node in variables):
            on_way: Any = variable
            while on_way is not None:
                path.setdefault(on_way, min(reached[on_way][0], from_variable[on_way]))
                on_way = reached[on_way][1]
        shown.update(reached)
    rest = [node for _, node in sorted(order, key=lambda item: item[0]) if node not in path]
    return [node for node in [*sorted(path, key=lambda node: (path[node], node.birth)), *rest] if node not in variables]


def distances(graph: TraceGraph, variables: Collection[Any]) -> dict[Any, int]:
    """Return how many calls lie between each node and the nearest of *variables* behind it, if there is one."""
    found: dict[Any, int] = {}
    for node in graph:  # oldest first
        if node in variables:
            found[node] = 0
        elif above := [found[item] for item in node.parents if item in found]:
            found[node] = min(above) + 1
    return found


def as_many_as_fit(most: int, made_of: Callable[[int], T], filled: Callable[[T], float]) -> T:
    """Return what is made of as many as there is room for, or nearly: of *most* if they fit, of one in any case.

    Args:
        most: How many there are.
        made_of: Returns what is made of the first so many.
        filled: Returns which part of the room that takes.

    Example:
        >>> as_many_as_fit(1_000, lambda number: "word " * number, lambda text: len(text) / 40).split()
        ['word', 'word', 'word', 'word', 'word', 'word', 'word', 'word']
    """
    found, least, over, number, turn = None, 0, most + 1, most, 0
    while least < number < over:
        made = made_of(number)
        part = filled(made)
        if part <= 1 or number <= 1:
            found, least = made, number
            if part > _FULL or number == most:
                break
        else:
            over = number
        turn += 1
        # In proportion, which is right where all take about the same; else halfway, which never takes many turns.
        number = int(number * (1 + _FULL) / 2 / part) if turn <= _PROPORTIONAL else (least + over) // 2
        number = min(max(number, least + 1), over - 1)
    return made_of(most) if found is None else found


def _behind(output: Any, known: set[Any]) -> dict[Any, tuple[int, Any]]:
    """Return what *output* was computed from and is not *known*: how many calls it is away, and the next on the way."""
    if output in known:
        return {}
    found: dict[Any, tuple[int, Any]] = {output: (0, None)}
    row = [output]
    while row:
        following = []
        for node in row:
            for item in node.parents:
                if item not in found and item not in known:
                    found[item] = (found[node][0] + 1, node)
                    following.append(item)
        row = following
    return found
