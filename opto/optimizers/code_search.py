"""`CodeSearch`: better source of trainable functions by small changes and scores, without a model."""

import ast
import heapq
import math
import os
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from opto.errors import OptimizerError
from opto.nodes import Choices, ExceptionNode, OfType, ParameterNode, Propagator, Range
from opto.optimizers.code_text import SourceText
from opto.optimizers.mutations import Mutation, mutations
from opto.optimizers.proposal import Evidence, Proposal
from opto.optimizers.search import ScoreSearch, from_unit, to_unit
from opto.runs import Run

__all__ = ["CodeSearch"]

#: What a line has that an error came through, in costs of `Mutation`.
_FAILED = 1.0
_WORDS = re.compile(r"in (\w+), line (\d+)")


@dataclass(frozen=True)
class _Change:
    """A change of one parameter, and what it makes of it."""

    name: str
    kind: str
    line: int
    key: tuple[Any, ...]
    source: Any  # a Mutation of a text, or a value


@dataclass
class _Tried:
    """An assignment of the parameters that was judged, and what of its surroundings is still to be tried.

    Attributes:
        values: By name.
        score: Of them.
        steps: Changes that led to it from the start.
        waiting: By parameter and line, the changes to try, as heaps of ``(cost, chance, number, change)``.
        given: How many of them were tried.
    """

    values: dict[str, Any]
    score: float
    failed: Mapping[str, set[int]]
    steps: tuple[_Change, ...] = ()
    waiting: dict[tuple[str, int], list[tuple[float, float, int, _Change]]] | None = None
    given: int = 0
    worth: dict[tuple[str, int], float] = field(default_factory=dict)


class CodeSearch(ScoreSearch):
    """Search for better code of trainable functions by mutation and crossover. Needs nothing but the standard library.

    All changes that are one step away from the start come first, the likely ones in lines that errors came through
    before others. What made the score better is built upon: further changes of it, and what helped elsewhere put
    into it. Comments and layout stay; what a parameter's domain refuses and what was tried before is not proposed.
    Numbers and choices beside the code are searched as well.

    Args:
        parameters: Sources of functions, such as ``fun.parameters()`` of a trainable bundle; numbers with a `Range`,
            options, bools.
        seed: The same seed and the same scores give the same proposals.
        propagator: How feedback passes a node.
        run: Folder that keeps every step.
        max_failures: How many steps in a row may fail: the last of them raises.

    Raises:
        OptimizerError: A parameter is neither code nor has a space to search.
    """

    def __init__(
        self,
        parameters: Iterable[ParameterNode[Any]],
        *,
        seed: int = 0,
        propagator: Propagator | None = None,
        run: Run | str | os.PathLike[str] | None = None,
        max_failures: int = 3,
    ) -> None:
        super().__init__(parameters, propagator=propagator, run=run, max_failures=max_failures)
        self._random = random.Random(seed)  # noqa: S311 - chance, not secrets
        self._code = {name for name, item in self.variables.items() if _is_code(item)}
        for name, item in self.variables.items():
            if name not in self._code:
                self._space(name, item)  # refuses at once what cannot be searched
        self._seen: set[tuple[Any, ...]] = set()
        self._tried: list[_Tried] = []
        self._asked: tuple[dict[str, Any], _Tried, tuple[_Change, ...]] | None = None
        self._gains: dict[tuple[Any, ...], float] = {}

    def _propose(self, evidence: Evidence) -> Proposal:
        reached = set(evidence.graph.parameters)
        self._open = {name for name, item in self.active.items() if item in reached}
        self._failed = _failed_lines(evidence, {name: self.variables[name] for name in self._code})
        return super()._propose(evidence)

    def _next(self, values: Mapping[str, Any], score: float) -> tuple[Mapping[str, Any], str]:
        self._learn(dict(values), -math.inf if math.isnan(score) else score)
        for node, change in self._ideas():
            proposed = self._made(node.values, change)
            if proposed is not None:
                self._asked = proposed, node, (*node.steps, change)
                return proposed, f"{change.kind} in line {change.line} of {change.name}"
        return values, "Everything that is near has been tried."

    def _learn(self, values: dict[str, Any], score: float) -> None:
        asked, self._asked = self._asked, None
        self._seen.add(self._key(values))
        if asked is None or asked[0] != values:
            # The start, or values that somebody else put into the parameters.
            self._tried.append(_Tried(values, score, self._failed))
            return
        _, node, steps = asked
        change = steps[-1]
        gain = score - node.score
        if not node.steps:
            self._gains[change.key] = gain
        place = (change.name, change.line)
        node.worth[place] = max(node.worth.get(place, -math.inf), gain)
        self._tried.append(_Tried(values, score, self._failed, steps))

    def _key(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        # Code by its tree: layout makes no difference.
        return tuple(
            ast.dump(ast.parse(value)) if name in self._code else repr(value) for name, value in values.items()
        )

    def _ideas(self) -> "Iterator[tuple[_Tried, _Change]]":
        """Yield what to try: as often a change of the start as one of what was better since."""
        while True:
            node = self._chosen()
            if node is None:
                return
            change = self._pop(node)
            if change is not None:
                node.given += 1
                yield node, change

    def _chosen(self) -> _Tried | None:
        start, *others = [item for item in self._tried if item.waiting is None or item.waiting]
        better = [item for item in others if item.score > self._tried[0].score]
        if start is self._tried[0] and start.given <= sum(item.given for item in others):
            return start
        better.sort(key=lambda item: (-item.score, len(item.steps)))
        if better:
            return min(better, key=lambda item: (item.given + 1) * 1.6 ** better.index(item))
        if start is self._tried[0]:
            return start
        return max([start, *others], key=lambda item: (item.score, -item.given), default=None)

    def _pop(self, node: _Tried) -> _Change | None:
        if node.waiting is None:
            node.waiting = self._surroundings(node)
        if not node.waiting:
            return None
        place = min(node.waiting, key=lambda item: node.waiting[item][0])
        heap = node.waiting[place]
        *_, change = heapq.heappop(heap)
        if not heap:
            del node.waiting[place]
        return change

    def _surroundings(self, node: _Tried) -> dict[tuple[str, int], list[tuple[float, float, int, _Change]]]:
        found: dict[tuple[str, int], list[tuple[float, float, int, _Change]]] = {}
        number = 0
        for name in sorted(self._open):
            failed = node.failed.get(name, set())
            for cost, change in self._changes(name, node.values[name]):
                known = self._gains.get(change.key)
                if known is not None:
                    cost += -2 if known > 0 else 0.5
                if change.line in failed:
                    cost -= _FAILED
                number += 1
                entry = (cost + 0.4 * self._random.random(), 0.0, number, change)
                found.setdefault((name, change.line), []).append(entry)
        for heap in found.values():
            heapq.heapify(heap)
        return found

    def _changes(self, name: str, value: Any) -> Iterator[tuple[float, _Change]]:
        if name in self._code:
            for item in mutations(value):
                yield item.cost, _Change(name, item.kind, item.line, (name, *item.key), item)
            return
        space = self._space(name, self.variables[name])
        if isinstance(space, Choices):
            others = [(1.0, item) for item in space.options if item is not value]
        else:
            place = to_unit(space, value)
            parts = (0.5, 0.25, 0.1, 0.05, 0.02, 0.01, 0.001)
            others = [(1 + i * 0.3, from_unit(space, place + sign * part)) for i, part in enumerate(parts) for sign in (1, -1)]
        for cost, item in others:
            yield cost, _Change(name, "value", 1, (name, repr(item)), item)

    def _made(self, values: Mapping[str, Any], change: _Change) -> dict[str, Any] | None:
        """Return *values* with *change*; None if that is refused, or was tried before."""
        new = change.source
        if isinstance(new, Mutation):
            new = SourceText(values[change.name]).applied(new.edits)
        try:
            proposed = {**values, change.name: self.variables[change.name].accept(new)}
            key = self._key(proposed)
        except (ValueError, TypeError, ArithmeticError, AssertionError, SyntaxError, RecursionError, MemoryError):
            return None
        if key in self._seen:
            return None
        self._seen.add(key)
        return proposed


def _is_code(parameter: ParameterNode[Any]) -> bool:
    value = parameter._data  # noqa: SLF001 - no read of the program
    if not isinstance(value, str) or isinstance(parameter.domain, Choices | Range):
        return False
    try:
        body = ast.parse(value).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) for item in body)


def _failed_lines(evidence: Evidence, parameters: Mapping[str, ParameterNode[Any]]) -> dict[str, set[int]]:
    """Return the lines of each code that errors came through."""
    said = "\n".join(item.traceback for item in evidence.graph if isinstance(item, ExceptionNode))
    found: dict[str, set[int]] = {}
    for function, line in _WORDS.findall(said):
        for name, parameter in parameters.items():
            if f"def {function}(" in parameter._data:  # noqa: SLF001
                found.setdefault(name, set()).add(int(line))
    return found
