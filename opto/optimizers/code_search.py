"""`CodeSearch`: better source of trainable functions by small changes and scores, without a model."""

import ast
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
#: Characters of an output that are looked at.
_LONGEST = 500
_WORDS = re.compile(r"in (\w+), line (\d+)")


@dataclass(frozen=True)
class _Change:
    """A change of one parameter, and what it makes of it."""

    name: str
    kind: str
    line: int
    cost: float
    key: tuple[Any, ...]
    source: Any  # a Mutation of a text, or a value


@dataclass(frozen=True)
class _Seen:
    """What a run showed: its score, its outputs as text, how many of them are errors, and the lines these came through."""

    score: float
    outputs: tuple[str, ...] = ()
    errors: int = 0
    failed: Mapping[str, set[int]] = field(default_factory=dict)

    @property
    def rank(self) -> tuple[float, int]:
        return self.score, -self.errors


@dataclass
class _Tried:
    """An assignment of the parameters that was judged, and what of its surroundings is still to be tried.

    Attributes:
        values: By name.
        seen: What came of them.
        steps: Changes that led to it from the start.
        distance: How unlikely they are, all told: what is added to the costs of further changes.
        waiting: The changes to try, those with the least costs last; None if nobody has asked for them yet.
    """

    values: dict[str, Any]
    seen: _Seen
    steps: tuple[_Change, ...] = ()
    distance: float = 0.0
    waiting: list[tuple[float, _Change]] | None = None

    @property
    def next_cost(self) -> float:
        if self.waiting is None:
            return self.distance + 1
        return self.distance + self.waiting[-1][0] if self.waiting else math.inf


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
        self._asked: tuple[dict[str, Any], _Tried, _Change] | None = None
        self._effects: dict[tuple[Any, ...], float] = {}
        self._outputs: set[tuple[str, ...]] = set()

    def _propose(self, evidence: Evidence) -> Proposal:
        reached = set(evidence.graph.parameters)
        self._open = sorted(name for name, item in self.active.items() if item in reached)
        self._run = _Seen(
            evidence.score if evidence.score is not None else -math.inf,
            tuple(repr(item._data)[:_LONGEST] for item in evidence.graph.outputs),  # noqa: SLF001
            sum(isinstance(item, ExceptionNode) for item in evidence.graph.outputs),
            _failed_lines(evidence, {name: self.variables[name] for name in self._code}),
        )
        return super()._propose(evidence)

    def _next(self, values: Mapping[str, Any], score: float) -> tuple[Mapping[str, Any], str]:
        self._learn(dict(values))
        while (node := min(self._tried, key=lambda item: item.next_cost)).next_cost < math.inf:
            change = self._pop(node)
            proposed = None if change is None else self._made(node.values, change)
            if change is not None and proposed is not None:
                self._asked = proposed, node, change
                return proposed, f"{change.kind} in line {change.line} of {change.name}"
        return values, "Everything that is near has been tried."

    def _learn(self, values: dict[str, Any]) -> None:
        asked, self._asked = self._asked, None
        self._seen.add(self._key(values))
        if asked is None or asked[0] != values:
            # The start, or values that somebody else put into the parameters.
            self._tried.append(_Tried(values, self._run))
            self._outputs.add(self._run.outputs)
            return
        _, node, change = asked
        better = self._run.rank > node.seen.rank
        changed = self._run.outputs != node.seen.outputs
        if not node.steps:
            worse = self._run.rank < node.seen.rank
            self._effects[change.key] = -2.0 if better else 0.5 if worse else 0.0 if changed else 0.8
        # What shows nothing new is nothing to build upon.
        new = self._run.outputs not in self._outputs
        self._outputs.add(self._run.outputs)
        start = self._tried[0]
        if better or (new and self._run.rank >= start.seen.rank):
            self._tried.append(_Tried(values, self._run, (*node.steps, change), node.distance + change.cost + 0.5))
        if better:
            self._rank()

    def _rank(self) -> None:
        """Bring near what is better than the start: the better, and the likelier, the nearer."""
        start = self._tried[0].seen
        better = [item for item in self._tried if item.steps and item.seen.rank > start.rank]
        better.sort(key=lambda item: (item.seen.score, -item.seen.errors, -sum(step.cost for step in item.steps)), reverse=True)
        for position, item in enumerate(better):
            item.distance = min(item.distance, 2.5) if False else 0.3 * position

    def _key(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        # Code by its tree: layout makes no difference.
        return tuple(
            ast.dump(ast.parse(value)) if name in self._code else repr(value) for name, value in values.items()
        )

    def _pop(self, node: _Tried) -> _Change | None:
        if node.waiting is None:
            node.waiting = self._surroundings(node)
        return node.waiting.pop()[1] if node.waiting else None

    def _surroundings(self, node: _Tried) -> list[tuple[float, _Change]]:
        found = []
        for name in self._open:
            failed = node.seen.failed.get(name, set())
            for change in self._changes(name, node.values[name]):
                cost = change.cost + self._effects.get(change.key, 0.0) - (change.line in failed) * _FAILED
                found.append((cost + 0.4 * self._random.random(), change))
        found.sort(key=lambda item: -item[0])
        return found

    def _changes(self, name: str, value: Any) -> Iterator[_Change]:
        if name in self._code:
            for item in mutations(value):
                yield _Change(name, item.kind, item.line, item.cost, (name, *item.key), item)
            return
        space = self._space(name, self.variables[name])
        if isinstance(space, Choices):
            others = [(1.0, item) for item in space.options if item is not value]
        else:
            place = to_unit(space, value)
            parts = (0.5, 0.25, 0.1, 0.05, 0.02, 0.01, 0.001)
            others = [(1 + i * 0.3, from_unit(space, place + sign * part)) for i, part in enumerate(parts) for sign in (1, -1)]
        for cost, item in others:
            yield _Change(name, "value", 1, cost, (name, repr(item)), item)

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
