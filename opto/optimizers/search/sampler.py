"""`Sampler`: Optuna's samplers, by ask and tell."""

import contextlib
import difflib
import math
import os
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

from opto.errors import MissingDependencyError, OptimizerError
from opto.nodes import Choices, ParameterNode, Propagator
from opto.optimizers.search.base import FreshSearch, Key
from opto.optimizers.search.space import Space, count, from_unit, values_of
from opto.runs import Run

if TYPE_CHECKING:
    import optuna

__all__ = ["Sampler", "SamplerName"]

SamplerName = Literal["tpe", "cmaes", "random", "grid"]

#: Grids are held in memory as a whole.
_LARGEST_GRID = 100_000
#: How many of the numbers of a range without steps are in a grid if nobody says.
_POINTS = 5


class Sampler(FreshSearch):
    """Optuna's samplers, behind the same steps. Needs ``pip install 'opto-trace[search]'``.

    By name there are ``tpe`` (the tree-structured Parzen estimator), ``cmaes`` (the evolution strategy CMA-ES on the
    numbers; options are left to TPE), ``random``, and ``grid`` (everything, in random order; see *points*).

    Args:
        parameters: Numbers with a `Range`, options, or bools. The values that they start with are tried first.
        sampler: A name; or one of Optuna's objects, such as ``optuna.samplers.QMCSampler(seed=1)``.
        seed: Seed of a sampler given by name.
        points: How many values of each range a grid has at most, evenly spread, both ends among them. The default takes
            all integers and steps, and 5 of other numbers.
        repeats: True if values may be tried again, because their scores are noisy. Otherwise what was tried before
            is not proposed: the sampler is told its score, and asked again.
        propagator: How feedback passes a node.
        run: Folder that keeps every step.
        max_failures: How many steps in a row may fail: the last of them raises.
        keep_best: Go back to the best values so far after a step that did worse (see `Optimizer`).

    Attributes:
        study: The `optuna.Study`, with a finished trial for everything that was judged, for Optuna's own tools. It also
            has one for each time that values were drawn again.

    Raises:
        MissingDependencyError: Optuna, or what the sampler needs besides, is not installed.
        OptimizerError: A parameter has no space to search; there is no such sampler; the grid is too large.
    """

    def __init__(
        self,
        parameters: Iterable[ParameterNode[Any]],
        *,
        sampler: "SamplerName | optuna.samplers.BaseSampler" = "tpe",
        seed: int = 0,
        points: int | None = None,
        repeats: bool = False,
        propagator: Propagator | None = None,
        run: Run | str | os.PathLike[str] | None = None,
        max_failures: int = 3,
        keep_best: bool = False,
    ) -> None:
        super().__init__(
            parameters,
            seed=seed,
            repeats=repeats,
            propagator=propagator,
            run=run,
            max_failures=max_failures,
            keep_best=keep_best,
        )
        self._distributions = {name: _distribution(space) for name, space in self._spaces.items()}
        self._grid = _Grid(self._spaces, points, self._random) if sampler == "grid" else None
        self._kind, self._seed = sampler, seed
        self._sampler_name = sampler if isinstance(sampler, str) else type(sampler).__name__
        self.study: optuna.Study = _new_study(_made(sampler, seed))
        self._trials: dict[Key, list[Any]] = {}
        self._drawn: Any = None

    def _state(self) -> dict[str, Any]:
        finished = [item for item in self.study.trials if item.state.is_finished()]
        trials = [
            {
                "state": item.state.name,
                "value": item.value,
                "params": item.params,
                "attributes": _safe(item.system_attrs),
            }
            for item in finished
        ]
        return {**super()._state(), "trials": trials, "grid": self._grid and list(self._grid.left)}

    def _set_state(self, state: Mapping[str, Any]) -> None:
        # Optuna keeps the state of its generators to itself: a sampler named here begins another stream of chance.
        made = _made(self._kind, self._seed + len(state["trials"]))
        study = _new_study(made)
        for item in state["trials"]:
            study.add_trial(
                _optuna().create_trial(
                    state=_optuna().trial.TrialState[item["state"]],
                    value=item["value"],
                    params=item["params"],
                    distributions={name: self._distributions[name] for name in item["params"]},
                    system_attrs=_safe(item["attributes"]),
                )
            )
        left = list(state["grid"] or [])
        super()._set_state(state)
        self.study, self._trials = study, {}
        if self._grid is not None:
            # Last come those that were taken; of these, only what nobody told of is proposed again.
            taken = set() if self._repeats else set(range(len(self._grid))).difference(left)
            self._grid.left = [*sorted(taken), *left]

    @property
    def _leaves_to_chance(self) -> bool:
        # Who gives a grid wants no other values.
        return self._grid is None and not isinstance(self.study.sampler, _optuna().samplers.GridSampler)

    def _draw(self) -> tuple[dict[str, Any], str] | None:
        if self._grid is not None:
            return self._draw_point(self._grid)
        if hasattr(self.study.sampler, "is_exhausted") and not self._repeats and self._is_through():
            return None
        try:
            trial = self.study.ask({name: self._distributions[name] for name in self.active})
        except ImportError as error:
            raise _missing(self._sampler_name, error) from error
        drawn = {name: _decoded(self._spaces[name], trial.params[name]) for name in self.active}
        values = {name: drawn.get(name, value) for name, value in self.values().items()}
        self._trials.setdefault(self._key(values), []).append(trial)
        self._drawn = trial
        return values, f"trial {trial.number} of {self._sampler_name}"

    def _is_through(self) -> bool:
        sampler: Any = self.study.sampler
        # A grid tells by its finished trials. Without one, Optuna has not seen its values yet.
        return bool(self.study.trials) and bool(sampler.is_exhausted(self.study))

    def _draw_point(self, grid: "_Grid") -> tuple[dict[str, Any], str] | None:
        fixed = self._fixed()
        for number, point in grid:
            values = {**point, **fixed}
            if self._repeats or self._is_fresh(values):
                return values, f"point {number} of {len(grid)} of the grid"
        if not self._repeats:
            return None
        grid.begin()
        return self._draw_point(grid)

    def _note_repeat(self, values: Mapping[str, Any], score: float | None) -> None:
        # Without a score, an evaluation is under way: what comes of it will be told to all trials of these values.
        if score is not None:
            self._trials.pop(self._key(values))
            self._finish_trial(self._drawn, score)

    def _learn(self, values: Mapping[str, Any], score: float) -> None:
        key = self._key(values)
        trials = self._trials.pop(key, [])
        if self._repeats and len(trials) > 1:
            # The others are evaluations of their own.
            self._trials[key] = trials[1:]
            del trials[1:]
        for trial in trials:
            self._finish_trial(trial, score)
        if not trials and self._holds(values):
            # The start, a point of a grid, or values that somebody else chose: evidence all the same.
            known = {name: _encoded(self._spaces[name], value) for name, value in values.items()}
            trial = _optuna().create_trial(params=known, distributions=self._distributions, value=score)
            self.study.add_trial(trial)

    def _finish_trial(self, trial: Any, score: float) -> None:
        # How samplers of finite spaces say that they are through; the trial has been told all the same.
        with contextlib.suppress(RuntimeError):
            self.study.tell(trial, score)

    def _give_up(self, key: Key) -> None:
        for trial in self._trials.pop(key, []):
            self.study.tell(trial, state=_optuna().trial.TrialState.FAIL)


class _Grid:
    """The points of a grid in random order, each of which is gone through once. It goes on where it was left.

    Args:
        spaces: What each parameter may be.
        points: How many values are taken of each range; None for all that can be counted.
        chance: Where the order comes from.
    """

    def __init__(self, spaces: Mapping[str, Space], points: int | None, chance: random.Random) -> None:
        if points is not None and points < 1:
            raise OptimizerError(f"There is no grid with {points} points.", mend="Give 1 or more.")
        sizes = {name: _points_of(space, points) for name, space in spaces.items()}
        if (most := math.prod(sizes.values())) > _LARGEST_GRID:
            shape = " times ".join(f"{size:,} of {name}" for name, size in sizes.items())
            raise OptimizerError(
                f"The grid has {most:,} points: {shape}.",
                mend="Take fewer of each range with points=, or another sampler.",
            )
        self._lines = {name: _line(space, sizes[name]) for name, space in spaces.items()}
        self._size = math.prod(map(len, self._lines.values()))
        self._chance = chance
        self.begin()

    def begin(self) -> None:
        self.left = list(range(self._size))
        self._chance.shuffle(self.left)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        while self.left:
            place, point = self.left.pop(), {}
            for name, line in self._lines.items():
                place, position = divmod(place, len(line))
                point[name] = line[position]
            yield self._size - len(self.left), point


def _safe(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a trial notes for its sampler, without the pickles of CMA-ES: whoever opens one runs what is in it.

    It makes itself again from the trials, a generation with each that is evaluated.
    """
    return {name: value for name, value in attributes.items() if "optimizer" not in name}


def _points_of(space: Space, points: int | None) -> int:
    counted = count(space)
    if points is None or isinstance(space, Choices):
        return counted or _POINTS
    return points if counted is None else min(counted, points)


def _line(space: Space, size: int) -> list[Any]:
    if isinstance(space, Choices) or count(space) == size:
        return list(values_of(space))
    # The middle, if there is to be one only. By factors, several may be the same integer.
    parts = [place / (size - 1) for place in range(size)] if size > 1 else [0.5]
    return list(dict.fromkeys(from_unit(space, part) for part in parts))


def _distribution(space: Space) -> Any:
    kinds = _optuna().distributions
    if isinstance(space, Choices):
        # By position: Optuna takes text, numbers and bools only, and options may be anything.
        return kinds.CategoricalDistribution(range(len(space.options)))
    if space.is_whole:
        step = int(space.step or 1)
        high = space.low + (space.high - space.low) // step * step
        return kinds.IntDistribution(int(space.low), int(high), step=step, log=space.log)
    if space.step is not None:
        # By position: Optuna counts steps in decimals and warns of ranges that end between two.
        return kinds.IntDistribution(0, (count(space) or 1) - 1)
    return kinds.FloatDistribution(space.low, space.high, log=space.log)


def _encoded(space: Space, value: Any) -> Any:
    if isinstance(space, Choices):
        # By type as well: 1 and True are two options.
        return next(i for i, option in enumerate(space.options) if type(option) is type(value) and option == value)
    if space.is_whole:
        return int(value)
    return float(value) if space.step is None else round((float(value) - space.low) / space.step)


def _decoded(space: Space, value: Any) -> Any:
    if isinstance(space, Choices):
        return space.options[value]
    return space.read(value if space.is_whole or space.step is None else space.low + value * space.step)


def _made(sampler: Any, seed: int) -> Any:
    """Return the sampler that is meant."""
    samplers = _optuna().samplers
    match sampler:
        case "tpe":
            return samplers.TPESampler(seed=seed)
        case "random" | "grid":  # which needs none
            return samplers.RandomSampler(seed=seed)
        case "cmaes":
            try:
                import cmaes  # noqa: F401, PLC0415 - optional
            except ImportError as error:
                raise _missing("The sampler 'cmaes'", error) from error
            # What it leaves out, such as options, would else be drawn without regard to scores; and with a warning.
            others = samplers.TPESampler(seed=seed)
            return samplers.CmaEsSampler(seed=seed, independent_sampler=others, warn_independent_sampling=False)
        case samplers.BaseSampler():
            return sampler
    names = get_args(SamplerName)
    near = difflib.get_close_matches(str(sampler).lower().replace("-", ""), names, n=1, cutoff=0.7)
    meant = f"Did you mean {near[0]!r}? " if near else ""
    raise OptimizerError(
        f"There is no sampler {sampler!r:.80}.", mend=f"{meant}Give one of {', '.join(names)}, or one of Optuna's."
    )


def _new_study(sampler: Any) -> Any:
    optuna = _optuna()
    # Optuna announces every study; a library under another one has nothing to announce.
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(direction="maximize", sampler=sampler)
    finally:
        optuna.logging.set_verbosity(verbosity)


def _missing(who: str, error: ImportError) -> MissingDependencyError:
    package = (error.name or "").partition(".")[0]
    line = "pip install 'opto-trace[search]'" if package in {"", "cmaes"} else f"pip install {package}"
    return MissingDependencyError(
        f"{who} needs the package {package or 'that Optuna names'}, which is not installed: {error}.",
        mend=f"Install it with: {line}",
    )


def _optuna() -> Any:
    try:
        import optuna  # noqa: PLC0415 - optional
    except ImportError as error:
        raise MissingDependencyError(
            "Sampler needs Optuna, which is not installed.",
            mend="Install it with: pip install 'opto-trace[search]' (LocalSearch needs nothing).",
        ) from error
    return optuna
