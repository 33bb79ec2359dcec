"""What searches have in common: spaces, scores, and proposals that are evaluated several at a time."""

import math
import os
import random
import threading
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import product
from typing import Any

from opto.errors import BackwardError, ExecutionError, OptimizerError
from opto.nodes import Choices, ExceptionNode, Feedback, Node, ParameterNode, Propagator, attempt
from opto.optimizers.checks import copied
from opto.optimizers.optimizer import Optimizer
from opto.optimizers.proposal import Evidence, Proposal
from opto.optimizers.search.space import Space, count, from_unit, space_of, values_of
from opto.optimizers.state import read_values, write_values
from opto.optimizers.step import Step
from opto.optimizers.suggestion import Suggestion
from opto.runs import Run

__all__ = ["FreshSearch", "ScoreSearch"]

#: How often a search may draw what was tried before, before chance takes its place.
_MOST_DRAWS = 8
#: Spaces with more values than this are not gone through to find the last ones that were not tried.
_SMALL = 10_000
#: What is tried counts by its text: options may be lists, and 1 is not True.
Key = tuple[str, ...]


class ScoreSearch(Optimizer):
    """What searches share: parameters with a space to search, and feedback that must hold a score.

    What failed has the worst score there is, -inf: an output that is an exception, an exception as feedback, and NaN.
    """

    #: What to say behind its name of an optimizer that is part of another: what it is there for.
    searched = ""

    @cached_property
    def _spaces(self) -> dict[str, Space]:
        return {name: self._space(name, parameter) for name, parameter in self.variables.items()}

    def _space(self, name: str, parameter: ParameterNode[Any]) -> Space:
        space = space_of(parameter)
        if space is not None:
            return space
        raise OptimizerError(
            f"{type(self).__name__} cannot search {name}, which may be {parameter.domain.describe()}.",
            mend="Give it domain=Range(low, high) with both ends, or a list of options; or optimize it with OptoPrime.",
        )

    def backward(self, output: Any, feedback: Any = "", **settings: Any) -> Any:
        # Refused where it is given, though `_propose` would notice as well: that is where the mistake is.
        return super().backward(output, self.with_scores(output, feedback), **settings)

    def with_scores(self, output: Any, feedback: Any, *, refuse: bool = True) -> Any:
        """Return *feedback* on *output* with the worst score where something failed.

        Args:
            output: What `backward` takes.
            feedback: As above.
            refuse: False to return feedback without a score as it is.

        Raises:
            OptimizerError: It has no score, and nothing failed.
            BackwardError: There is no output, or the two are swapped.
        """
        _check_order(output, feedback)
        if not isinstance(output, list | tuple):
            return self._judged_by_score(feedback, output, refuse=refuse)
        said = feedback if isinstance(feedback, list) else [feedback] * len(output)
        if len(said) != len(output):
            return said  # which is refused
        judged = zip(said, output, strict=True)
        return [self._judged_by_score(item, about, refuse=refuse) for item, about in judged]

    def _judged_by_score(self, said: Any, output: Any = None, *, refuse: bool = True) -> Any:
        """Return *said* about *output*, which has a score; or the worst one, if something failed."""
        plain = said._data if isinstance(said, Node) else said  # noqa: SLF001 - no read of the program
        if any(_is_nan(part) for part in (plain if isinstance(plain, tuple) else [plain])):
            return Feedback("The score is NaN.", -math.inf)
        feedback = Feedback.of(plain)
        if feedback.score is not None:
            return said  # as it is: propagators of users may want it so
        if isinstance(plain, BaseException) or isinstance(output, ExceptionNode | ExecutionError):
            return Feedback(feedback.text, -math.inf, feedback.scores)
        if not refuse:
            return said
        raise self._no_score(str(feedback))

    def _no_score(self, said: str) -> OptimizerError:
        return OptimizerError(
            f"The feedback {said!r:.80} has no score, and {type(self).__name__}{self.searched} reads nothing else.",
            mend="Give a number, or Feedback(text, score=…); higher is better.",
        )

    def _propose(self, evidence: Evidence) -> Proposal:
        values, reason = self._next({name: evidence.values[name] for name in self.variables}, self._score(evidence))
        # Frozen parameters are searched past: they stay as they are.
        return Proposal(Suggestion({name: values[name] for name in self.active if name in values}, reason))

    def _score(self, evidence: Evidence) -> float:
        if evidence.score is not None:
            return evidence.score
        # Scores without a mean, inf and -inf, or an error that came another way than through `backward`.
        if any(said.score is not None for said in evidence.feedback) or any(
            isinstance(output, ExceptionNode) for output in evidence.graph.outputs
        ):
            return -math.inf
        raise self._no_score("; ".join(map(str, evidence.feedback)))

    @abstractmethod
    def _next(self, values: Mapping[str, Any], score: float) -> tuple[Mapping[str, Any], str]:
        """Return what to try after *values* got *score*, and why, in a few words."""


class FreshSearch(ScoreSearch):
    """A search that tries nothing twice, unless it is told to, and that can be asked for several proposals at once.

    A subclass defines `_draw` and `_learn`. Whether what is drawn was tried before is looked after here.
    """

    def __init__(
        self,
        parameters: Iterable[ParameterNode[Any]],
        *,
        seed: int = 0,
        repeats: bool = False,
        propagator: Propagator | None = None,
        run: Run | str | os.PathLike[str] | None = None,
        max_failures: int = 3,
        keep_best: bool = False,
    ) -> None:
        super().__init__(parameters, propagator=propagator, run=run, max_failures=max_failures, keep_best=keep_best)
        self._spaces  # noqa: B018 - refuses at once what cannot be searched
        self._random = random.Random(seed)  # noqa: S311 - chance, not secrets
        self._repeats = repeats
        self._known: dict[Key, float] = {}
        #: What was proposed and not judged yet, and how many evaluations of it are under way.
        self._waiting: dict[Key, int] = {}
        self._stepped: Key | None = None
        self._top: tuple[float, Mapping[str, Any]] | None = None
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state, _lock=threading.RLock())

    @abstractmethod
    def _draw(self) -> tuple[dict[str, Any], str] | None:
        """Return values of all parameters to try, and why, in a few words; None if there are no more."""

    @abstractmethod
    def _learn(self, values: Mapping[str, Any], score: float) -> None:
        """Note that *values*, whoever proposed them, got *score*."""

    def _note_repeat(self, values: Mapping[str, Any], score: float | None) -> None:
        """Note that what was just drawn was tried before, and its score if there is one yet."""

    def _give_up(self, key: Key) -> None:
        """Note that nobody will say what came of a proposal."""

    def ask(self, n: int = 1) -> list[dict[str, Any]]:
        """Return *n* assignments to evaluate, each the values of all parameters by name; no parameter is changed.

        They differ from each other and from all that was tried or is being tried. First comes what the parameters
        start as. Evaluate them where and in which order you like, and `tell` what came of each.

        Returns:
            Fewer than *n*, in the end none, when all there is has been tried.

        Raises:
            OptimizerError: *n* is less than 1.

        Example:
            >>> from concurrent.futures import ThreadPoolExecutor
            >>> from opto.nodes import Range, node
            >>> from opto.optimizers import LocalSearch
            >>> x = node(0.0, name="x", trainable=True, domain=Range(-4, 4))
            >>> optimizer = LocalSearch([x], seed=1)
            >>> def evaluate(values):
            ...     return -((values["x"] - 1) ** 2)
            >>> with ThreadPoolExecutor(4) as pool:
            ...     for _ in range(20):
            ...         asked = optimizer.ask(4)
            ...         for values, score in zip(asked, pool.map(evaluate, asked)):
            ...             _ = optimizer.tell(values, score)
            >>> optimizer.restore(optimizer.best())
            >>> abs(x.data - 1) < 0.1
            True
        """
        if n < 1:
            raise OptimizerError(f"There are no {n} assignments.", mend="Ask for 1 or more.")
        asked: list[dict[str, Any]] = []
        with self._lock:
            for _ in range(n):
                start = self.values()
                begins = not self._known and not self._waiting
                found = start if begins else (self._fresh() or (None, ""))[0]
                if found is None:
                    break
                self._await(found)
                asked.append({name: copied(value) for name, value in found.items()})
        return asked

    def tell(self, values: Mapping[str, Any], feedback: Any) -> Step:
        """Say what came of *values*, asked for or not; they are recorded as a step, and change no parameter.

        Args:
            values: Of all parameters, by name.
            feedback: A score, ``(score, text)``, or `Feedback` with a score. An exception, or NaN, is the worst score.

        Raises:
            OptimizerError: *feedback* has no score, or *values* are not those of all parameters.
            DomainError: A value lies outside its parameter's domain.
        """
        said = Feedback.of(self._judged_by_score(feedback))
        assert said.score is not None
        if set(values) != set(self.variables):
            raise OptimizerError(
                f"These are values of {', '.join(values) or 'nothing'}.",
                mend=f"Give one for each of {', '.join(self.variables)}.",
            )
        accepted = {name: parameter.accept(values[name]) for name, parameter in self.variables.items()}
        with self._lock:
            self._judge(accepted, said.score)
            return self._record_told(accepted, said)

    def _state(self) -> dict[str, Any]:
        version, numbers, gauss = self._random.getstate()
        return {
            "random": [version, list(numbers), gauss],
            "known": [[list(key), score] for key, score in self._known.items()],
            "stepped": self._stepped and list(self._stepped),
            "top": self._top and [self._top[0], write_values(self._top[1], self.variables)],
        }

    def _set_state(self, state: Mapping[str, Any]) -> None:
        version, numbers, gauss = state["random"]
        top = state["top"] and (state["top"][0], read_values(state["top"][1], self.variables))
        self._random.setstate((version, tuple(numbers), gauss))
        self._known = {tuple(key): score for key, score in state["known"]}
        self._stepped = state["stepped"] and tuple(state["stepped"])
        # Who was evaluating the others may be gone: they are proposed again.
        self._waiting = {self._stepped: 1} if self._stepped else {}
        self._top = top

    def _next(self, values: Mapping[str, Any], score: float) -> tuple[Mapping[str, Any], str]:
        with self._lock:
            stepped, self._stepped = self._stepped, None
            if stepped in self._waiting and stepped != self._key(values):
                # Somebody put other values into the parameters.
                self._done(stepped)
                self._give_up(stepped)
            self._judge(values, score)
            found = self._fresh()
            if found is None:
                return self._top[1] if self._top else values, "Everything has been tried; these values were the best."
            self._stepped = self._await(found[0])
            return found

    def _judge(self, values: Mapping[str, Any], score: float) -> None:
        key = self._key(values)
        self._done(key)
        self._known[key] = score
        if (self._top is None or score > self._top[0]) and self._holds(values):
            self._top = score, dict(values)
        self._learn(values, score)

    def _await(self, values: Mapping[str, Any]) -> Key:
        key = self._key(values)
        self._waiting[key] = self._waiting.get(key, 0) + 1
        return key

    def _done(self, key: Key) -> None:
        left = self._waiting.pop(key, 0) - 1
        if self._repeats and left > 0:
            self._waiting[key] = left

    def _key(self, values: Mapping[str, Any]) -> Key:
        return tuple(repr(values[name]) for name in self.variables)

    def _holds(self, values: Mapping[str, Any]) -> bool:
        """True unless somebody put values into the parameters that the search would never propose."""
        spaces = self._spaces
        return attempt(lambda: all(spaces[name].check(value) is None for name, value in values.items()), fallback=False)

    def _is_fresh(self, values: Mapping[str, Any]) -> bool:
        key = self._key(values)
        return key not in self._known and key not in self._waiting

    def _fresh(self) -> tuple[dict[str, Any], str] | None:
        """Return what to try next and why; None if everything was tried."""
        if self._repeats:
            return self._draw()
        size = self._size()
        if size is not None and len(self._known) + len(self._waiting) >= size and not self._left():
            return None
        for _ in range(_MOST_DRAWS):
            drawn = self._draw()
            if drawn is None:
                return None
            if self._is_fresh(drawn[0]):
                return drawn
            self._note_repeat(drawn[0], self._known.get(self._key(drawn[0])))
        if not self._leaves_to_chance:
            return None
        found = next(filter(self._is_fresh, (self._anywhere() for _ in range(64))), None)
        if found is None and size is not None:
            found = self._random.choice(self._left())
        return None if found is None else (found, "at random, as what was drawn had been tried")

    @property
    def _leaves_to_chance(self) -> bool:
        """True if chance may take the place of draws that find nothing new."""
        return True

    def _size(self) -> int | None:
        """Return how many assignments there are; None if there are many, or no end of them."""
        sizes = [count(space) for name, space in self._spaces.items() if name in self.active]
        total = math.prod(size or 0 for size in sizes)
        return None if None in sizes or total > _SMALL else total

    def _left(self) -> list[dict[str, Any]]:
        """Return everything that was not tried yet."""
        fixed = self._fixed()
        searched = {name: space for name, space in self._spaces.items() if name not in fixed}
        every = (dict(zip(searched, values, strict=True)) for values in product(*map(values_of, searched.values())))
        return [values for some in every if self._is_fresh(values := {**fixed, **some})]

    def _fixed(self) -> dict[str, Any]:
        """Return the values of what is frozen."""
        return {name: value for name, value in self.values().items() if name not in self.active}

    def _anywhere(self) -> dict[str, Any]:
        drawn = {
            name: self._random.choice(space.options)
            if isinstance(space, Choices)
            else from_unit(space, self._random.random())
            for name, space in self._spaces.items()
        }
        return {**drawn, **self._fixed()}


def _check_order(output: Any, feedback: Any) -> None:
    """Refuse an output that is none where what was meant is plain to see."""
    outputs, said = (item if isinstance(item, list | tuple) else [item] for item in (output, feedback))
    if not outputs or any(isinstance(item, Node | ExecutionError) for item in outputs):
        return
    if any(isinstance(item, Node) for item in said):
        raise BackwardError(
            f"The output is {output!r:.60}, and the feedback is a node: it seems that they are swapped.",
            mend="Write backward(output, feedback), with the node that is judged first.",
        )
    if isinstance(feedback, str) and not feedback:
        raise BackwardError(
            f"No output was given, only {output!r:.60}.",
            mend="Write backward(output, score), with the node that is judged first.",
        )


def _is_nan(value: Any) -> bool:
    return hasattr(value, "__float__") and attempt(lambda: bool(value != value), fallback=False)  # noqa: PLR0124
