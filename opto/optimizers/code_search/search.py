"""`CodeSearch`: better source of trainable functions by small changes and scores, without a model."""

import ast
import hashlib
import math
import os
import random
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from opto.nodes import Choices, ExceptionNode, ParameterNode, Propagator, Range
from opto.optimizers.checks import same
from opto.optimizers.code_search.lines import compiles, failed_lines, loops_around, parses, program
from opto.optimizers.code_search.mutations import Mutation, SourceText, mutations
from opto.optimizers.proposal import Evidence, Proposal
from opto.optimizers.search import ScoreSearch, from_unit, to_unit
from opto.optimizers.state import read_values, write_values
from opto.runs import Run

__all__ = ["CodeSearch"]

#: What is taken off the cost of a change in a line that an error came through.
_FAILED_LINE = 1.0
#: The same where a loop begins around such a line: it may run too far.
_AROUND_FAILED = 0.5
#: What is added to the cost of a change because of what the same one did to the start.
_HELPED, _HARMED, _DID_NOTHING = -2.0, 0.5, 0.8
#: What is built upon is so far away, and so much further for each that is better.
_BETTER, _NEXT_BETTER = 0.4, 0.3
#: What shows nothing new is further away.
_NOTHING_NEW = 3.0
#: How far chance may move a change.
_CHANCE = 0.4
#: How much of the span of all scores one unit of costs must bring to be preferred.
_WORTH = 0.15
#: Changes that are kept for what is built upon, and how much of that is kept; of the start, all are.
_MOST_CHANGES, _MOST_BASES = 200, 300
#: Likely changes that are looked at, and proposals that nobody has judged yet.
_MOST_OF_START, _MOST_ASKED = 30_000, 100


@dataclass(frozen=True, slots=True)
class _Change:
    """A change of one parameter: a mutation of its text, or another value."""

    name: str
    kind: str
    lines: range
    cost: float
    key: tuple[Any, ...]
    new: Any


@dataclass(frozen=True)
class _Outcome:
    """What a run showed: the score, a digest of the outputs, how many are errors, and the lines these came through."""

    score: float
    outputs: str
    errors: int
    failed: Mapping[str, set[int]]

    @property
    def rank(self) -> tuple[float, int]:
        return self.score, -self.errors


@dataclass(eq=False)
class _Base:
    """Values that were tried and may be built upon.

    Attributes:
        values: By name.
        outcome: What came of them.
        steps: The changes that led to them from the start.
        distance: What is added to the costs of further changes.
        waiting: The changes of each parameter that are to be tried, those with the least costs last.
    """

    values: dict[str, Any]
    outcome: _Outcome
    steps: tuple[_Change, ...] = ()
    distance: float = 0.0
    waiting: dict[str, list[tuple[float, _Change]]] = field(default_factory=dict)

    def next_cost(self, name: str) -> float:
        """Return the cost of the next change of parameter *name*; a bound of it, if nobody has looked yet."""
        if name not in self.waiting:
            return self.distance
        return self.distance + self.waiting[name][-1][0] if self.waiting[name] else math.inf


class CodeSearch(ScoreSearch):
    r"""Search for better code of trainable functions by mutation and crossover. Needs only the standard library.

    Small changes of the syntax tree are tried one by one, the likely ones first, and those in lines that an error came
    through before others. What made a score better, or an error go away, is built upon: what else made the start
    better is put into it first. What at least made a difference comes later. Comments and layout stay. Only code that
    feedback reaches is changed; nothing is proposed that is no Python or that its domain refuses, and no code twice.

    Numbers with a `Range`, options and bools beside the code are searched as well. When all that is near has been
    tried, a step goes back to the best, and from then on steps are ``unchanged``.

    A change can make a loop endless, and nothing here stops it: the program that runs the code must limit it, by a
    timer or in a process that it can kill. ``docs/code-search.md`` shows both.

    Args:
        parameters: Sources of functions, such as ``function.parameters()`` of a trainable bundle; numbers and options.
        seed: The same seed and the same scores give the same proposals.
        propagator: How feedback passes a node.
        run: Folder that keeps every step.
        max_failures: How many steps in a row may fail: the last of them raises.
        keep_best: Go back to the best values so far after a step that did worse (see `Optimizer`).

    Raises:
        OptimizerError: A parameter is neither code nor has a space to search.

    Example:
        >>> from opto.nodes import node
        >>> code = node("def larger(a, b):\n    return a if a < b else b  # not both\n", name="code", trainable=True)
        >>> optimizer = CodeSearch([code], seed=0)
        >>> for _ in range(10):
        ...     exec(code.data, space := {})
        ...     optimizer.zero_feedback()
        ...     optimizer.backward(code + "", float(space["larger"](1, 2) == 2) + (space["larger"](4, 3) == 4))
        ...     _ = optimizer.step()
        >>> print(optimizer.best().values["code"])
        def larger(a, b):
            return a if a >= b else b  # not both
        <BLANKLINE>
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
        super().__init__(parameters, propagator=propagator, run=run, max_failures=max_failures, keep_best=keep_best)
        self._code = {name for name, item in self.variables.items() if _is_code(item)}
        self._others = {
            name: self._space(name, item) for name, item in self.variables.items() if name not in self._code
        }
        self._begin(seed)

    def _begin(self, seed: int) -> None:
        """Forget everything that was learned."""
        self._seed = seed
        self._random = random.Random(seed)  # noqa: S311 - chance, not secrets
        #: What was learned, as JSON, in its order: all else follows from it.
        self._history: list[dict[str, Any]] = []
        self._expected: dict[str, Any] | None = None
        self._open: list[str] = []
        self._outcome: _Outcome | None = None
        self._known: set[int] = set()
        self._outputs: set[str] = set()
        self._bases: list[_Base] = []
        self._effects: dict[tuple[Any, ...], float] = {}
        self._asked: dict[int, tuple[_Base, _Change]] = {}

    def _propose(self, evidence: Evidence) -> Proposal:
        reached = set(evidence.graph.parameters)
        self._open = [name for name, item in self.active.items() if item in reached]
        outputs = evidence.graph.outputs
        errors = [item for item in evidence.graph if isinstance(item, ExceptionNode)]
        sources = {name: str(evidence.values[name]) for name in self._code}
        failed = failed_lines("\n".join(item.traceback for item in errors), sources)
        said = "\n".join(_in_words(item._data) for item in outputs)  # noqa: SLF001 - no read of the program
        self._outcome = _Outcome(
            score=-math.inf if evidence.score is None else evidence.score,
            outputs=hashlib.sha256(said.encode(errors="backslashreplace")).hexdigest()[:24],
            errors=sum(isinstance(item, ExceptionNode) for item in outputs),
            failed=failed,
        )
        return super()._propose(evidence)

    def _next(self, values: Mapping[str, Any], score: float) -> tuple[Mapping[str, Any], str]:  # noqa: ARG002 - in the outcome
        assert self._outcome is not None
        outcome, expected = self._outcome, self._expected
        is_expected = expected is not None and all(same(value, expected[name]) for name, value in values.items())
        self._history.append(
            {
                "open": self._open,
                "values": None if is_expected else write_values(values, self.variables),
                "score": outcome.score,
                "outputs": outcome.outputs,
                "errors": outcome.errors,
                "failed": {name: sorted(lines) for name, lines in outcome.failed.items()},
            }
        )
        self._learn(dict(values), outcome)
        self._expected = None
        for base, change in self._in_order():
            if (proposed := self._made(base, change)) is not None:
                self._asked[self._key(proposed)] = base, change
                if len(self._asked) > _MOST_ASKED:
                    del self._asked[next(iter(self._asked))]
                self._expected = proposed
                upon = "" if base is self._bases[0] else f", with {len(base.steps)} more since the start"
                return proposed, f"{change.kind} in line {change.lines.start} of {change.name}{upon}"
        if (best := self.best()) is not None and self._key(best.values) != self._key(values):
            return best.values, "All that is near has been tried: back to the best."
        return values, "All that is near has been tried."

    def _state(self) -> dict[str, Any]:
        return {"seed": self._seed, "history": self._history}

    def _set_state(self, state: Mapping[str, Any]) -> None:
        before, is_read = dict(vars(self)), False
        try:
            self._begin(state["seed"])
            for item in state["history"]:
                self._again(item)
            is_read = True
        finally:
            if not is_read:
                vars(self).update(before)

    def _again(self, item: Mapping[str, Any]) -> None:
        """Learn what was learned before, which leads to the same proposal."""
        written = item["values"]
        values = self._expected if written is None else read_values(written, self.variables)
        if values is None:
            raise ValueError("it does not say which values were judged")
        self._open = [name for name in item["open"] if name in self.variables]
        failed = {name: set(lines) for name, lines in item["failed"].items()}
        self._outcome = _Outcome(float(item["score"]), item["outputs"], item["errors"], failed)
        self._next(values, self._outcome.score)

    def _learn(self, values: dict[str, Any], outcome: _Outcome) -> None:
        """Note what came of *values*, and whether they are something to build upon."""
        asked = self._asked.pop(key := self._key(values), None)
        is_new = outcome.outputs not in self._outputs
        self._outputs.add(outcome.outputs)
        if asked is None:
            # The start, or values that somebody else put into the parameters; or what was tried already.
            if key not in self._known:
                self._known.add(key)
                self._bases.append(_Base(values, outcome))
            return
        base, change = asked
        better = outcome.rank > base.outcome.rank
        if base is self._bases[0]:
            unlike = 0.0 if outcome.outputs != base.outcome.outputs else _DID_NOTHING
            self._effects[change.key] = _HELPED if better else _HARMED if outcome.rank < base.outcome.rank else unlike
        if outcome.rank >= self._bases[0].outcome.rank:
            # Two changes that show the same are hardly better than one of them: the likelier was tried first.
            distance = base.distance + change.cost + _BETTER + (0 if better or is_new else _NOTHING_NEW)
            self._bases.append(_Base(values, outcome, (*base.steps, change), distance))
        if better:
            self._bring_near()
        if len(self._bases) > _MOST_BASES:
            self._bases.remove(max(self._bases[1:], key=lambda item: item.distance))

    def _bring_near(self) -> None:
        """Let what is better than the start be near to it: first what is much better, by few and likely changes."""
        start = self._bases[0].outcome
        better = [base for base in self._bases if base.steps and base.outcome.rank > start.rank]
        finite = [item.score for item in (start, *(base.outcome for base in better)) if math.isfinite(item.score)]
        low, span = min(finite, default=0.0), (max(finite, default=0.0) - min(finite, default=0.0)) or 1.0

        def worth(base: _Base) -> float:
            return (base.outcome.score - low) / span - _WORTH * sum(step.cost for step in base.steps)

        shown: set[str] = set()
        for position, base in enumerate(sorted(better, key=worth, reverse=True)):
            again = base.outcome.outputs in shown
            shown.add(base.outcome.outputs)
            base.distance = _BETTER + _NEXT_BETTER * position + again

    def _in_order(self) -> Iterator[tuple[_Base, _Change]]:
        """Yield what is to be tried, the likeliest first, until nothing is left."""
        while self._open:
            cost, position, name = min(
                (base.next_cost(name), position, name)
                for position, base in enumerate(self._bases)
                for name in self._open
            )
            base = self._bases[position]
            if cost == math.inf:
                return
            if name in base.waiting:
                yield base, base.waiting[name].pop()[1]
            else:
                base.waiting[name] = self._surroundings(base, name)

    def _surroundings(self, base: _Base, name: str) -> list[tuple[float, _Change]]:
        failed = base.outcome.failed.get(name, set())
        around = loops_around(base.values[name], failed) if name in self._code else set[int]()
        is_start = base is self._bases[0]
        is_better = base.outcome.rank > self._bases[0].outcome.rank
        found = []
        for change in self._changes(name, base.values[name]):
            effect = self._effects.get(change.key, 0.0)
            # What helped is put together with what helped as well: crossover. With others it can be had the other way
            # round.
            cost = change.cost + (effect if is_better else max(effect, 0.0))
            if not failed.isdisjoint(change.lines):
                cost -= _FAILED_LINE
            elif not around.isdisjoint(change.lines):
                cost -= _AROUND_FAILED
            found.append((cost + _CHANCE * self._random.random(), change))
        found.sort(key=lambda item: -item[0])
        return found if is_start else found[-_MOST_CHANGES:]

    def _changes(self, name: str, value: Any) -> Iterator[_Change]:
        if name in self._code:
            for item in mutations(value)[:_MOST_OF_START] if parses(value) else ():
                yield _Change(name, item.kind, item.lines, item.cost, (name, *item.key), item)
            return
        space = self._others[name]
        others: list[Any]
        if isinstance(space, Choices):
            others = list(space.options)
        else:
            place = to_unit(space, value)
            parts = (0.5, 0.25, 0.1, 0.05, 0.02, 0.01, 0.001)
            others = [from_unit(space, place + sign * part) for part in parts for sign in (1, -1)]
        for position, other in enumerate(others):
            yield _Change(name, "value", range(1, 2), 1 + 0.1 * position, (name, repr(other)), other)

    def _made(self, base: _Base, change: _Change) -> dict[str, Any] | None:
        """Return the values of *base* with *change*; None if that is refused, or was tried before."""
        new = change.new
        if isinstance(new, Mutation):
            old = base.values[change.name]
            new = SourceText(old).applied(new.edits)
            # Code in a closure may not compile alone.
            if not (compiles(new) or (parses(new) and not compiles(old))):
                return None
        try:
            proposed = {**base.values, change.name: self.variables[change.name].accept(new)}
        except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, AssertionError):
            return None  # DomainError is one of these; domains that users write raise others.
        key = self._key(proposed)
        if key in self._known:
            return None
        self._known.add(key)
        return proposed

    def _key(self, values: Mapping[str, Any]) -> int:
        # Code by its tree: layout makes no difference. A number, because there are thousands of them.
        return hash(tuple(program(value) if name in self._code else repr(value) for name, value in values.items()))


def _is_code(parameter: ParameterNode[Any]) -> bool:
    """True if the value is the text of a function."""
    value = parameter._data  # noqa: SLF001 - no read of the program
    if not isinstance(value, str) or isinstance(parameter.domain, Choices | Range) or not parses(value):
        return False
    return any(isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) for item in ast.parse(value).body)


class _Words(reprlib.Repr):
    """Enough of a value to tell it from another, however large it is."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = self.maxdeque = 60
        self.maxstring = self.maxother = self.maxlong = 400


def _in_words(value: Any) -> str:
    # Where an object lies in memory tells nothing.
    return re.sub(r" at 0x[0-9a-fA-F]+", "", _Words().repr(value))
