"""How good are the searches that need no model? Prints the tables of docs/search.md; takes about three minutes.

    python benchmarks/search.py            # --quick: with 3 seeds

Each problem has its optimum at another place for every seed, and parameters start at random places. What is printed is
the loss of the best of 100 evaluations, as a part of the loss at the start: the median over the seeds; 0 is the
optimum.
"""

import argparse
import math
import random
import statistics
from collections.abc import Callable, Mapping
from typing import Any

from opto.nodes import Choices, Range, node
from opto.optimizers import LocalSearch, Sampler

Loss = Callable[[Mapping[str, Any]], float]
Problem = tuple[dict[str, tuple[Any, Any]], Loss]

BUDGET = 100
SEARCHES = ["LocalSearch", "tpe", "cmaes", "random", "grid"]


def bowl(chance: random.Random) -> Problem:
    goal = [chance.uniform(-4, 4) for _ in range(5)]
    spaces = {f"x{i}": (chance.uniform(-5, 5), Range(-5.0, 5.0)) for i in range(5)}
    return spaces, lambda at: sum((at[f"x{i}"] - goal[i]) ** 2 for i in range(5))


def valley(chance: random.Random) -> Problem:
    # Steep in one direction, which lies across all axes: one parameter alone can hardly be changed for the better.
    goal = [chance.uniform(-4, 4) for _ in range(4)]

    def loss(at: Mapping[str, Any]) -> float:
        away = [at[f"x{i}"] - goal[i] for i in range(4)]
        return 50 * sum(away) ** 2 + sum(x * x for x in away)

    # All begin on the slope, as far away.
    return {f"x{i}": (goal[i] + chance.choice([-1, 1]), Range(-5.0, 5.0)) for i in range(4)}, loss


def peaks(chance: random.Random) -> Problem:
    # The function of Rastrigin (1974).
    goal = [chance.uniform(-3, 3) for _ in range(3)]

    def loss(at: Mapping[str, Any]) -> float:
        away = [at[f"x{i}"] - goal[i] for i in range(3)]
        return sum(x * x + 10 * (1 - math.cos(2 * math.pi * x)) for x in away)

    return {f"x{i}": (chance.uniform(-5, 5), Range(-5.0, 5.0)) for i in range(3)}, loss


def rates(chance: random.Random) -> Problem:
    goal = [chance.uniform(-5, -1) for _ in range(3)]
    spaces = {f"x{i}": (10 ** chance.uniform(-6, 0), Range(1e-6, 1.0, log=True)) for i in range(3)}
    return spaces, lambda at: sum((math.log10(at[f"x{i}"]) - goal[i]) ** 2 for i in range(3))


def counts(chance: random.Random) -> Problem:
    goal = [chance.randrange(31) for _ in range(4)]
    spaces = {f"n{i}": (chance.randrange(31), Range(0, 30)) for i in range(4)}
    return spaces, lambda at: sum(abs(at[f"n{i}"] - goal[i]) for i in range(4))


def options(chance: random.Random) -> Problem:
    goal = [chance.choice("abcde") for _ in range(6)]
    spaces = {f"c{i}": (chance.choice("abcde"), Choices(*"abcde")) for i in range(6)}
    return spaces, lambda at: sum(at[f"c{i}"] != goal[i] for i in range(6))


def mixed(chance: random.Random) -> Problem:
    goal = {kind: (chance.uniform(0, 1), chance.randrange(64)) for kind in "abc"}
    worse = dict(zip("abc", chance.sample([0, 1, 2], 3), strict=True))
    spaces = {
        "kind": (chance.choice("abc"), Choices(*"abc")),
        "share": (chance.random(), Range(0.0, 1.0)),
        "size": (chance.randrange(64), Range(0, 63)),
        "fast": (chance.random() < 0.5, None),
    }

    def loss(at: Mapping[str, Any]) -> float:
        # What is best for the numbers depends on the option.
        share, size = goal[at["kind"]]
        return float(worse[at["kind"]] + 4 * abs(at["share"] - share) + abs(at["size"] - size) / 16 + (not at["fast"]))

    return spaces, loss


PROBLEMS = {
    "a bowl: 5 floats": bowl,
    "a slanted valley: 4 floats": valley,
    "many peaks: 3 floats": peaks,
    "rates: 3 floats, logarithmic": rates,
    "counts: 4 ints of 31 values": counts,
    "options: 6 of 5 each": options,
    "mixed: option, float, int, bool": mixed,
}


def left(problem: Callable[[random.Random], Problem], search: str, seed: int, at_once: int) -> float:
    """Return the part of the loss that is left after the budget."""
    spaces, loss = problem(random.Random(seed))
    parameters = [node(start, name=name, trainable=True, domain=space) for name, (start, space) in spaces.items()]
    optimizer: Any
    if search == "LocalSearch":
        optimizer = LocalSearch(parameters, seed=seed)
    else:
        optimizer = Sampler(parameters, sampler=search, seed=seed, points=2 if len(spaces) > 4 else 4)  # type: ignore[arg-type]
    begin, spent = loss(optimizer.values()), 0
    while spent < BUDGET and (asked := optimizer.ask(min(at_once, BUDGET - spent))):
        spent += len(asked)
        for values in asked:
            optimizer.tell(values, -loss(values))
    best = optimizer.best()
    return -best.score / begin if begin else 0.0


def table(seeds: int, at_once: int) -> None:
    print(f"| {BUDGET} evaluations, {at_once} at a time, {seeds} seeds | {' | '.join(SEARCHES)} |")
    print("|---" * (len(SEARCHES) + 1) + "|")
    for name, problem in PROBLEMS.items():
        found = [statistics.median(left(problem, item, seed, at_once) for seed in range(seeds)) for item in SEARCHES]
        shown = [f"{part:.1%}" if part >= 1e-3 else "< 0.1%" if part else "0" for part in found]
        print(f"| {name} | {' | '.join(shown)} |", flush=True)
    print()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 seeds instead of 9")
    quick = parser.parse_args().quick
    for several in (1, 8):
        table(3 if quick else 9, several)
