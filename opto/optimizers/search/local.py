"""`LocalSearch`: a search around the best so far that needs nothing but the standard library."""

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

from opto.nodes import Choices, ParameterNode, Propagator
from opto.optimizers.search.base import FreshSearch
from opto.optimizers.search.space import from_unit, to_unit
from opto.optimizers.state import read_values, write_values
from opto.runs import Run

__all__ = ["LocalSearch"]

#: Random values that are tried before the search goes on from the best. More of them help in few dimensions only.
_STARTS = 5


class LocalSearch(FreshSearch):
    """Search around the best values so far; random starts first. Needs nothing but the standard library.

    The (1+1) evolution strategy with the 1/5 success rule for the step size (Rechenberg 1973) on numbers,
    scaled to their range, and rare flips on choices. The values that parameters start with are tried first.

    Args:
        parameters: Numbers with a `Range`, options, or bools.
        seed: The same seed and the same scores give the same proposals.
        propagator: How feedback passes a node.
        run: Folder that keeps every step.
        max_failures: How many steps in a row may fail: the last of them raises.
        keep_best: Go back to the best values so far after a step that did worse (see `Optimizer`).

    Raises:
        OptimizerError: A parameter has no space to search.

    Example:
        >>> from opto.nodes import Range, node
        >>> x = node(0.0, name="x", trainable=True, domain=Range(-4, 4))
        >>> optimizer = LocalSearch([x], seed=1)
        >>> for _ in range(60):
        ...     y = (x - 1) ** 2
        ...     optimizer.zero_feedback()
        ...     optimizer.backward(y, -y.data)
        ...     _ = optimizer.step()
        >>> abs(optimizer.best().values["x"] - 1) < 0.1
        True
    """

    def __init__(
        self,
        parameters: Iterable[ParameterNode[Any]],
        *,
        seed: int = 0,
        propagator: Propagator | None = None,
        run: Run | str | os.PathLike[str] | None = None,
        max_failures: int = 3,
        keep_best: bool = False,
    ) -> None:
        super().__init__(
            parameters, seed=seed, propagator=propagator, run=run, max_failures=max_failures, keep_best=keep_best
        )
        self._radius = 0.25  # standard deviation of a change, as a part of the range
        self._center: dict[str, Any] = {}
        self._center_score = -math.inf

    def _state(self) -> dict[str, Any]:
        center = write_values(self._center, self.variables)
        return {**super()._state(), "radius": self._radius, "center": [self._center_score, center]}

    def _set_state(self, state: Mapping[str, Any]) -> None:
        radius, (score, written) = float(state["radius"]), state["center"]
        center = read_values(written, self.variables)
        super()._set_state(state)
        self._radius, self._center_score, self._center = radius, score, center

    def _learn(self, values: Mapping[str, Any], score: float) -> None:
        better = not self._center or score > self._center_score
        if better:
            self._center, self._center_score = dict(values), score
        if len(self._known) > _STARTS:
            # 1/5 rule: in balance if one proposal in five is better; the factors multiply to 1 at that rate.
            self._radius = min(0.5, max(1e-3, self._radius * (1.5 if better else 1.5**-0.25)))

    def _draw(self) -> tuple[dict[str, Any], str]:
        if not self._center or len(self._known) + len(self._waiting) <= _STARTS:
            return self._anywhere(), "a random start"
        return self._nearby(), f"near the best, within {self._radius:.0%} of the range"

    def _note_repeat(self, values: Mapping[str, Any], score: float | None) -> None:  # noqa: ARG002 - all repeats alike
        # From farther and farther away.
        self._radius = min(0.5, self._radius * 1.1)

    def _nearby(self) -> dict[str, Any]:
        values = {**self._center, **self._fixed()}
        free = [name for name in values if name in self.active]
        # Some of the parameters, at least one: in many dimensions, changing all at once rarely helps.
        chance = max(0.5, 1 / len(free))
        changed = [name for name in free if self._random.random() < chance] or [self._random.choice(free)]
        for name in changed:
            space = self._spaces[name]
            if isinstance(space, Choices):
                values[name] = self._random.choice(space.options)
            else:
                moved = to_unit(space, values[name]) + self._random.gauss(0, self._radius)
                values[name] = from_unit(space, abs(1 - abs(1 - moved)) if -1 <= moved <= 2 else self._random.random())
        return values
