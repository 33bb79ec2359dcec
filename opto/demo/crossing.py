"""A signalised crossing, simulated: how long do its vehicles wait for a given pair of green times?

The traffic problem of the Trace paper (arXiv 2406.16218) on the UXsim simulator, with the facts of the
notebook ``docs/examples/numerical/numerical_optimization.ipynb`` of microsoft/Trace: four roads of 500 m meet
at one signal; for half an hour vehicles drive between every ordered pair of the four ends; for the first ten
minutes more of them head from W1 to E1, and for the last ten more from E1 to W1. Nothing here knows of graphs
or optimizers.

    >>> from opto.demo.crossing import simulate
    >>> simulate(24, 15).delay < simulate(15, 15).delay
    True
"""

import functools
import itertools
import logging
import math
import operator
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from opto.errors import DomainError, MissingDependencyError

__all__ = ["MAX_GREEN", "MIN_GREEN", "Approach", "Result", "load_simulator", "simulate"]

logger = logging.getLogger(__name__)

MIN_GREEN = 15
"""Shortest green time of the problem, in seconds; `simulate` itself takes shorter ones."""
MAX_GREEN = 90
"""Longest green time of the problem, in seconds; `simulate` itself takes longer ones."""

_ENDS = {"W1": (-1, 0), "E1": (1, 0), "N1": (0, 1), "S1": (0, -1)}  # place on the map, of no effect
_SIGNAL_GROUP = {"W1": 0, "E1": 0, "N1": 1, "S1": 1}  # which of the two green times lets an end's road go
_DURATION = 1800  # s
_STEP = 6  # s for which a demand is constant
_DEMAND = 0.25  # vehicles/s: the most that a pair is drawn, and what a rush adds
_LENGTH = 500.0  # m, of each of the four roads
_SPEED = 10.0  # m/s
_JAM_DENSITY = 0.2  # vehicles/m
_FREE_TRAVEL = 2 * _LENGTH / _SPEED  # s from any end to any other when nothing is in the way
_DEMAND_SEED = 42
_WORLD_SEED = 0

# UXsim draws with numpy and matplotlib and sets rcParams for every world: one at a time.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True)
class Approach:
    """The vehicles that came from one end of the crossing.

    Attributes:
        vehicles: How many set out.
        finished: How many of them arrived.
        delay: Mean seconds that each lost against an empty road; see `Result` for those that did not arrive.
    """

    vehicles: int
    finished: int
    delay: float


@dataclass(frozen=True, slots=True)
class Result:
    """What a pair of green times does to the traffic. Times are seconds per vehicle; lower is better.

    A vehicle that arrived lost its travel time, less the 100 s that an empty road takes. One that did not
    arrive within the 1800 s counts as one second slower than the slowest arrival of its origin and
    destination (or, if none arrived, as travelling for the 1800 s).

    Attributes:
        delay: The figure to minimise: ``mean_delay + spread``.
        mean_delay: Mean loss over all vehicles.
        spread: Standard deviation of the mean losses of the twelve pairs of origin and destination, each
            weighted with its vehicles: what makes it no solution to starve one road.
        published_delay: The "overall score" as the notebook computes it, to be compared with figures
            published for Trace. For each pair it charges ``vehicles - 12`` missing arrivals (12 being the
            number of pairs) where `delay` charges those that are missing, so it is some three times as large
            and no time that anybody waited. Its best green times are all but the best for `delay`.
        vehicles: How many set out; the same for all green times.
        finished: How many of them arrived.
        approaches: The same by origin: W1, E1, N1 and S1.
    """

    delay: float
    mean_delay: float
    spread: float
    published_delay: float
    vehicles: int
    finished: int
    approaches: dict[str, Approach]


def simulate(ew_green: int, ns_green: int) -> Result:
    """Run the crossing for half an hour with these green times, which alternate without a pause.

    As switching costs nothing, the shortest green times would win: hence `MIN_GREEN`, the problem's bound.

    The same green times give the same result in every call, thread and process of one platform. Between
    platforms it may differ a little: UXsim's C++ engine leaves its random choices to the standard library.
    UXsim's Python engine, used where the C++ one cannot be loaded, is some twenty times slower and differs
    by a percent or two.

    The first call imports UXsim, and with it pandas and matplotlib, which takes one or two seconds;
    matplotlib may then keep a list of fonts in the user's cache directory, as it does for every program.
    Nothing is printed.

    Args:
        ew_green: Seconds of green for W1 and E1 in each cycle, 1 or more.
        ns_green: Seconds of green for N1 and S1 in each cycle, 1 or more.

    Raises:
        DomainError: A green time is not a whole number of at least one second.
        MissingDependencyError: UXsim, or a package that it needs, is not installed.

    Example:
        >>> result = simulate(ew_green=24, ns_green=15)
        >>> result.vehicles, sum(approach.vehicles for approach in result.approaches.values())
        (1456, 1456)
    """
    signal = [_whole_seconds("east-west", ew_green), _whole_seconds("north-south", ns_green)]
    with _one_at_a_time:
        uxsim = load_simulator()
        with uxsim.rc_context():
            world = _build(uxsim, signal)
            world.exec_simulation()
            travel_times: dict[tuple[str, str], list[float | None]] = {}
            for vehicle in world.VEHICLES.values():
                seconds = float(vehicle.travel_time)
                pair = travel_times.setdefault((vehicle.orig.name, vehicle.dest.name), [])
                pair.append(None if seconds == -1 else seconds)
    return _measure(travel_times)


def _whole_seconds(direction: str, value: int) -> int:
    try:
        seconds = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        seconds = 0
    if seconds < 1:
        raise DomainError(
            f"The {direction} green time is {value!r}, which is not a positive whole number.",
            mend="Give it in whole seconds, 1 or more.",
        )
    return seconds


class _UXsim(NamedTuple):
    new_world: Any  # uxsim.World
    cpp: bool
    rc_context: Any  # matplotlib.rc_context: takes back the font that a world sets for all plots


@functools.cache
def load_simulator() -> _UXsim:
    """Import UXsim, and take back the warnings filter and format that it sets for the whole process."""
    matplotlib_log = logging.getLogger("matplotlib")  # where it says that it looks for fonts
    level, formatwarning = matplotlib_log.level, warnings.formatwarning
    matplotlib_log.setLevel(logging.ERROR)
    try:
        # `record` holds back what UXsim's own filter, set in the middle of its import, would let through.
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("ignore")
            import uxsim  # noqa: PLC0415 - an extra, as is what it needs
            from matplotlib import rc_context  # noqa: PLC0415 - the same

            try:
                import uxsim.uxsim_cpp_wrapper  # noqa: PLC0415 - not in every build

                cpp = True
            except ImportError as error:
                logger.warning("UXsim's C++ engine cannot be loaded; its Python engine is slower: %s", error)
                cpp = False
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"The traffic simulation needs the module {error.name!r}, which is not installed.",
            mend="Install it with: pip install 'opto-trace[demo]'",
        ) from error
    finally:
        matplotlib_log.setLevel(level)
        warnings.formatwarning = formatwarning
    return _UXsim(new_world=uxsim.World, cpp=cpp, rc_context=rc_context)


def _build(uxsim: _UXsim, signal: Sequence[int]) -> Any:
    world = uxsim.new_world(
        name="crossing",
        deltan=1,  # vehicles that move as one
        reaction_time=1,
        tmax=_DURATION,
        duo_update_time=120,
        vehicle_logging_timestep_interval=-1,
        random_seed=_WORLD_SEED,
        print_mode=0,
        save_mode=0,
        show_mode=0,
        show_progress=0,
        cpp=uxsim.cpp,
    )
    # UXsim seeds each node and link by the order in which it comes: this is the notebook's.
    ends = {end: world.addNode(end, x, y) for end, (x, y) in _ENDS.items()}
    centre = world.addNode("I1", 0, 0, signal=list(signal))
    for end, node in ends.items():
        inward, outward = (f"{end}I1", node, centre), (f"I1{end}", centre, node)
        for name, start, stop in (inward, outward) if end in {"W1", "N1"} else (outward, inward):
            world.addLink(
                name,
                start,
                stop,
                length=_LENGTH,
                free_flow_speed=_SPEED,
                jam_density=_JAM_DENSITY,
                signal_group=_SIGNAL_GROUP[end],
            )
    for origin, destination, second in _departures():
        world.addVehicle(origin, destination, second)
    return world


@functools.cache
def _departures() -> tuple[tuple[str, str, int], ...]:
    """Who sets out, as (origin, destination, second).

    UXsim moves whole vehicles and forgets, at the end of each step of the demand, the part of a vehicle that
    is left over: of 2995 in the notebook's demand 1456 drive, and UXsim warns of it in every run. The same
    1456 are worked out here and added one by one, which is faster too.
    """
    import numpy as np  # noqa: PLC0415 - comes with the extra

    pairs = list(itertools.permutations(_ENDS, 2))
    draws = np.random.RandomState(_DEMAND_SEED).uniform(0, _DEMAND, size=(len(pairs), _DURATION // _STEP))
    departures = []
    for (origin, destination), flows in zip(pairs, draws.tolist(), strict=True):
        for start, flow in zip(range(0, _DURATION, _STEP), flows, strict=True):
            rush = (origin, destination) == ("W1", "E1") and start < _DURATION // 3
            rush |= (origin, destination) == ("E1", "W1") and start >= 2 * _DURATION // 3
            rate, ready = flow + _DEMAND * rush, 0.0
            for second in range(start, start + _STEP):
                ready += rate
                if ready >= 1:
                    ready -= 1
                    departures.append((origin, destination, second))
    return tuple(departures)


class _Lost(NamedTuple):
    """Seconds that some vehicles lost together."""

    vehicles: int
    seconds: float


def _measure(travel_times: Mapping[tuple[str, str], Sequence[float | None]]) -> Result:
    """Work out the figures from the travel time in seconds, None if it did not arrive, of each vehicle."""
    lost: dict[tuple[str, str], _Lost] = {}
    published: list[_Lost] = []
    arrived = {pair: [t for t in times if t is not None] for pair, times in travel_times.items()}
    pairs_with_arrivals = sum(bool(times) for times in arrived.values())
    for pair, times in arrived.items():
        vehicles = len(travel_times[pair])
        seconds = math.fsum(times) - _FREE_TRAVEL * len(times)
        if_missing = (max(times) + 1 if times else _DURATION) - _FREE_TRAVEL
        lost[pair] = _Lost(vehicles, seconds + if_missing * (vehicles - len(times)))
        published.append(_Lost(vehicles, seconds + if_missing * (vehicles - pairs_with_arrivals)))

    approaches = {}
    for end in _ENDS:
        mine = [pair for pair in lost if pair[0] == end]
        approaches[end] = Approach(
            vehicles=sum(lost[pair].vehicles for pair in mine),
            finished=sum(len(arrived[pair]) for pair in mine),
            delay=_mean(lost[pair] for pair in mine),
        )
    mean, spread = _mean(lost.values()), _spread(lost.values())
    return Result(
        delay=mean + spread,
        mean_delay=mean,
        spread=spread,
        published_delay=_mean(published) + _spread(published),
        vehicles=sum(a.vehicles for a in approaches.values()),
        finished=sum(a.finished for a in approaches.values()),
        approaches=approaches,
    )


def _mean(lost: Iterable[_Lost]) -> float:
    parts = list(lost)
    return math.fsum(part.seconds for part in parts) / sum(part.vehicles for part in parts)


def _spread(lost: Iterable[_Lost]) -> float:
    parts = list(lost)
    mean = _mean(parts)
    squares = (part.vehicles * (part.seconds / part.vehicles - mean) ** 2 for part in parts)
    return math.sqrt(math.fsum(squares) / sum(part.vehicles for part in parts))
