"""Which parameter to change next: what feedback reaches it, and what changing it has been seen to do."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opto.nodes import Feedback, ParameterNode, TraceGraph

__all__ = ["Credit", "Credits", "reach"]


@dataclass(frozen=True)
class Credit:
    """What is known of the part that a variable has in the score.

    Attributes:
        reach: Part of the last feedback that reaches it, from 0 to 1; bad results weigh more than good ones.
        effect: By how much the score differed, on average, when it was changed; None if it never was.
        changes: How often that was seen.
    """

    reach: float
    effect: float | None
    changes: int

    def __str__(self) -> str:
        seen = "never changed" if self.effect is None else f"effect {self.effect:.3g} over {self.changes} changes"
        return f"reached by {self.reach:.0%} of the feedback, {seen}"


class Credits:
    """What has been seen of the effects of variables."""

    def __init__(self, names: Collection[str]) -> None:
        self.reach: Mapping[str, float] = {}
        #: The sum of the effects of each, and how many they are.
        self._effects: dict[str, tuple[float, int]] = dict.fromkeys(names, (0.0, 0))

    def observe(self, changed: Collection[str], difference: float) -> None:
        """Note that the score differed by *difference* when the variables *changed* did; it is shared among them."""
        if changed and math.isfinite(difference):
            for name in changed:
                total, changes = self._effects[name]
                self._effects[name] = total + abs(difference) / len(changed), changes + 1

    @property
    def seen(self) -> dict[str, list[float]]:
        """By how much the score differed in all when each variable was changed, and how often it was."""
        return {name: list(effects) for name, effects in self._effects.items()}

    @seen.setter
    def seen(self, effects: Mapping[str, Sequence[float]]) -> None:
        read = {name: effects[name] for name in self._effects}
        self._effects = {name: (float(total), int(changes)) for name, (total, changes) in read.items()}

    def __getitem__(self, name: str) -> Credit:
        total, changes = self._effects[name]
        return Credit(self.reach.get(name, 0.0), total / changes if changes else None, changes)

    def next_of(self, names: Collection[str]) -> str:
        """Return which of *names* to change next.

        UCB1 (Auer, Cesa-Bianchi and Fischer 2002, section 2) over the effects, in parts of the largest, weighted by
        reach: what matters is changed more often, and what seemed not to is tried again from time to time.
        """
        known = {name: self[name] for name in names}
        largest = max((credit.effect or 0.0 for credit in known.values()), default=0.0) or 1.0
        total = sum(credit.changes for credit in known.values())

        def promise(name: str) -> tuple[float, float]:
            credit = known[name]
            if credit.effect is None:
                return math.inf if credit.reach else 0.0, credit.reach
            return credit.reach * (credit.effect / largest + math.sqrt(2 * math.log(total + 1) / credit.changes)), 0.0

        return max(known, key=promise)  # the first of equals


def reach(graph: TraceGraph, variables: Mapping[str, ParameterNode[Any]]) -> dict[str, float]:
    """Return for each variable what part of the feedback reaches it: failures and low scores weigh more.

    Example:
        >>> from opto.nodes import node
        >>> a, b = node(1, "a", trainable=True), node(2, "b", trainable=True)
        >>> graph = TraceGraph([a + 1, a + b], [Feedback("", 1.0), Feedback("", 0.0)])
        >>> reach(graph, {"a": a, "b": b})
        {'a': 1.0, 'b': 0.6666666666666666}
    """
    bit = {item: 1 << position for position, item in enumerate(variables.values())}
    behind: dict[Any, int] = {}
    for node in graph:  # oldest first
        found = bit.get(node, 0)
        for parent in node.parents:
            found |= behind[parent]
        behind[node] = found
    weights = _weights(graph)
    total = sum(weights)
    return {
        name: sum(weight for output, weight in zip(graph.outputs, weights, strict=True) if behind[output] & bit[item])
        / total
        for name, item in variables.items()
    }


def _weights(graph: TraceGraph) -> list[float]:
    """Return how much there is to learn from each output: 1 for the best, 2 for the worst and for failures."""
    scores = [said.score for said in graph.feedback if said.score is not None and math.isfinite(said.score)]
    low, high = min(scores, default=0.0), max(scores, default=0.0)

    def weight(output: Any, said: Feedback) -> float:
        if output.kind == "exception":
            return 2.0
        if said.score is None or not math.isfinite(said.score) or high == low:
            return 1.0
        return 1 + (high - said.score) / (high - low)

    return [weight(output, said) for output, said in zip(graph.outputs, graph.feedback, strict=True)]
