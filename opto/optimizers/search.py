"""Optimizers that need no language model: they propose from scores alone."""

import math
import os
import random
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from opto.errors import MissingDependencyError, OptimizerError
from opto.nodes import Choices, Feedback, OfType, ParameterNode, Propagator, Range
from opto.optimizers.optimizer import Optimizer
from opto.optimizers.proposal import Evidence, Proposal
from opto.optimizers.suggestion import Suggestion
from opto.runs import Run

if TYPE_CHECKING:
    import optuna

__all__ = ["LocalSearch", "Sampler", "ScoreSearch", "can_search", "from_unit", "to_unit"]

Space = Range | Choices


def can_search(parameter: ParameterNode[Any]) -> bool:
    """True if there is a space to search: options, a range with both ends, a bool."""
    return _space_of(parameter) is not None


def _space_of(parameter: ParameterNode[Any]) -> Space | None:
    domain = parameter.domain
    if isinstance(domain, Choices) or (isinstance(domain, Range) and not domain.is_open):
        return domain
    return Choices(False, True) if domain == OfType(bool) else None


class ScoreSearch(Optimizer):
    """What searches share: parameters with a space to search, and feedback that must hold a score."""

    @cached_property
    def _spaces(self) -> dict[str, Space]:
        return {name: self._space(name, parameter) for name, parameter in self.variables.items()}

    def _space(self, name: str, parameter: ParameterNode[Any]) -> Space:
        space = _space_of(parameter)
        if space is not None:
            return space
        raise OptimizerError(
            f"{type(self).__name__} cannot search {name}, which may be {parameter.domain.describe()}.",
            mend="Give it domain=Range(low, high) with both ends, or a list of options; or optimize it with OptoPrime.",
        )

    def backward(self, output: Any, feedback: Any = "", **settings: Any) -> Any:
        # Refused where it is given, though `_propose` would notice as well: that is where the mistake is.
        for said in feedback if isinstance(feedback, list) else [feedback]:
            if Feedback.of(said).score is None:
                raise self._no_score(str(said))
        return super().backward(output, feedback, **settings)

    def _no_score(self, said: str) -> OptimizerError:
        return OptimizerError(
            f"The feedback {said!r:.80} has no score, and {type(self).__name__} reads nothing else.",
            mend="Give a number, or Feedback(text, score=…); higher is better.",
        )

    def _propose(self, evidence: Evidence) -> Proposal:
        if evidence.score is None:
            raise self._no_score("; ".join(map(str, evidence.feedback)))
        values, reason = self._next({name: evidence.values[name] for name in self.variables}, evidence.score)
        # Frozen parameters are searched past: they stay as they are.
        return Proposal(Suggestion({name: values[name] for name in self.active if name in values}, reason))

    @abstractmethod
    def _next(self, values: Mapping[str, Any], score: float) -> tuple[Mapping[str, Any], str]:
        """Return what to try after *values* got *score*, and why, in a few words."""


class LocalSearch(ScoreSearch):
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
        >>> from opto.nodes import node
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
        super().__init__(parameters, propagator=propagator, run=run, max_failures=max_failures, keep_best=keep_best)
        self._random = random.Random(seed)  # noqa: S311 - chance, not secrets
        self._spaces  # noqa: B018 - refuses at once what cannot be searched
        self._radius = 0.25  # standard deviation of a change, as a part of the range
        self._tried: set[tuple[Any, ...]] = set()
        self._center: dict[str, Any] = {}
        self._center_score = -math.inf

    def _next(self, values: Mapping[str, Any], score: float) -> tuple[Mapping[str, Any], str]:
        self._tried.add(self._key(values))
        better = not self._center or score > self._center_score
        if better:
            self._center, self._center_score = dict(values), score
        if len(self._tried) <= _STARTS:
            return self._fresh(self._anywhere), "a random start"
        # 1/5 rule: in balance if one proposal in five is better; the factors multiply to 1 at that rate.
        self._radius = min(0.5, max(1e-3, self._radius * (1.5 if better else 1.5**-0.25)))
        return self._fresh(self._nearby), f"near the best, within {self._radius:.0%} of the range"

    def _key(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        # By text: options may be lists, and 1 is not True.
        return tuple(repr(value) for value in values.values())

    def _fresh(self, draw: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return values from *draw* that were not tried before; if all seem to be, from farther and farther away."""
        values = draw()
        for _ in range(64):
            if self._key(values) not in self._tried:
                break
            self._radius = min(0.5, self._radius * 1.1)
            values = draw()
        return values

    def _anywhere(self) -> dict[str, Any]:
        return {
            name: self._random.choice(space.options)
            if isinstance(space, Choices)
            else from_unit(space, self._random.random())
            for name, space in self._spaces.items()
        }

    def _nearby(self) -> dict[str, Any]:
        values = dict(self._center)
        # Some of the parameters, at least one: in many dimensions, changing all at once rarely helps.
        chance = max(0.5, 1 / len(values))
        changed = [name for name in values if self._random.random() < chance] or [self._random.choice(list(values))]
        for name in changed:
            space = self._spaces[name]
            if isinstance(space, Choices):
                values[name] = self._random.choice(space.options)
            else:
                moved = to_unit(space, values[name]) + self._random.gauss(0, self._radius)
                values[name] = from_unit(space, abs(1 - abs(1 - moved)) if -1 <= moved <= 2 else self._random.random())
        return values


#: Random values that are tried before the search goes on from the best. More of them help in few dimensions only.
_STARTS = 5


def to_unit(space: Range, value: float) -> float:
    """Return where *value* lies in *space*, from 0 to 1."""
    value = float(value)
    if space.log:
        return (math.log(value) - math.log(space.low)) / ((math.log(space.high) - math.log(space.low)) or 1.0)
    return (value - space.low) / ((space.high - space.low) or 1.0)


def from_unit(space: Range, part: float) -> Any:
    """Return the value of *space* at *part*, from 0 to 1: a legal one, of the right type.

    Example:
        >>> from_unit(Range(0, 10, step=5), 0.6), from_unit(Range(15, 90, kind=int), 0.999)
        (5.0, 90)
    """
    part = min(1.0, max(0.0, part))
    if space.log:
        value = math.exp(math.log(space.low) + part * (math.log(space.high) - math.log(space.low)))
    else:
        value = space.low + part * (space.high - space.low)
    if space.step is not None:
        last = math.floor((space.high - space.low) / space.step + 1e-9)
        value = space.low + min(last, round((value - space.low) / space.step)) * space.step
    if space.is_whole:
        value = min(math.floor(space.high), max(math.ceil(space.low), round(value)))
    # In the type of the parameter, which may be a number of numpy or a Decimal.
    return space.read(min(space.high, max(space.low, value)))


class Sampler(ScoreSearch):
    """Optuna's samplers, by ask and tell, behind the same steps. Needs ``pip install 'opto-trace[search]'``.

    Args:
        parameters: Numbers with a `Range`, options, or bools.
        sampler: One of Optuna's, such as ``optuna.samplers.RandomSampler(seed=1)``. The default is TPE.
        seed: Seed of the default sampler.
        propagator: How feedback passes a node.
        run: Folder that keeps every step.
        max_failures: How many steps in a row may fail: the last of them raises.
        keep_best: Go back to the best values so far after a step that did worse (see `Optimizer`).

    Attributes:
        study: The `optuna.Study`, with one finished trial per step, for Optuna's own tools.

    Raises:
        MissingDependencyError: Optuna is not installed.
        OptimizerError: A parameter has no space to search.
    """

    def __init__(
        self,
        parameters: Iterable[ParameterNode[Any]],
        *,
        sampler: "optuna.samplers.BaseSampler | None" = None,
        seed: int = 0,
        propagator: Propagator | None = None,
        run: Run | str | os.PathLike[str] | None = None,
        max_failures: int = 3,
        keep_best: bool = False,
    ) -> None:
        super().__init__(parameters, propagator=propagator, run=run, max_failures=max_failures, keep_best=keep_best)
        self._optuna = _import_optuna()
        self._distributions = {name: self._distribution(space) for name, space in self._spaces.items()}
        self.study: optuna.Study = self._new_study(sampler or self._optuna.samplers.TPESampler(seed=seed))
        self._asked: tuple[Any, Mapping[str, Any]] | None = None

    def _new_study(self, sampler: Any) -> Any:
        # Optuna announces every study; a library under another one has nothing to announce.
        verbosity = self._optuna.logging.get_verbosity()
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        try:
            return self._optuna.create_study(direction="maximize", sampler=sampler)
        finally:
            self._optuna.logging.set_verbosity(verbosity)

    def _distribution(self, space: Space) -> Any:
        kinds = self._optuna.distributions
        if isinstance(space, Choices):
            # By position: Optuna takes text, numbers and bools only, and options may be anything.
            return kinds.CategoricalDistribution(range(len(space.options)))
        if space.is_whole:
            step = int(space.step or 1)
            high = space.low + (space.high - space.low) // step * step
            return kinds.IntDistribution(int(space.low), int(high), step=step, log=space.log)
        if space.step is not None:
            # By position: Optuna counts steps in decimals and warns of ranges that end between two.
            return kinds.IntDistribution(0, math.floor((space.high - space.low) / space.step + 1e-9))
        return kinds.FloatDistribution(space.low, space.high, log=space.log)

    def _next(self, values: Mapping[str, Any], score: float) -> tuple[Mapping[str, Any], str]:
        asked, self._asked = self._asked, None
        if asked is not None and asked[1] == values:
            try:
                self.study.tell(asked[0], score)
            except RuntimeError:
                # How samplers of finite spaces say that they are through; the trial has been told all the same.
                return values, f"{type(self.study.sampler).__name__} has tried everything"
        else:
            # The start, or values that somebody else put into the parameters: evidence all the same.
            if asked is not None:
                self.study.tell(asked[0], state=self._optuna.trial.TrialState.FAIL)
            known = {name: self._encode(name, value) for name, value in values.items()}
            self.study.add_trial(
                self._optuna.create_trial(params=known, distributions=self._distributions, value=score)
            )
        try:
            trial = self.study.ask(self._distributions)
        except ImportError as error:
            raise MissingDependencyError(
                f"{type(self.study.sampler).__name__} needs a package: {error}.",
                mend="Install it, or use another sampler.",
            ) from error
        proposed = {name: self._decode(name, trial.params[name]) for name in self._spaces}
        self._asked = (trial, proposed)
        return proposed, f"trial {trial.number} of {type(self.study.sampler).__name__}"

    def _encode(self, name: str, value: Any) -> Any:
        space = self._spaces[name]
        if isinstance(space, Choices):
            # By type as well: 1 and True are two options.
            return next(i for i, option in enumerate(space.options) if type(option) is type(value) and option == value)
        if space.is_whole:
            return int(value)
        return float(value) if space.step is None else round((float(value) - space.low) / space.step)

    def _decode(self, name: str, value: Any) -> Any:
        space = self._spaces[name]
        if isinstance(space, Choices):
            return space.options[value]
        return space.read(value if space.is_whole or space.step is None else space.low + value * space.step)


def _import_optuna() -> Any:
    try:
        import optuna  # noqa: PLC0415 - optional
    except ImportError as error:
        raise MissingDependencyError(
            "Sampler needs Optuna, which is not installed.",
            mend="Install it with: pip install 'opto-trace[search]' (LocalSearch needs nothing).",
        ) from error
    return optuna
