"""Measure opto side by side with others, in one run: ``python benchmarks/compare.py``. See README.md."""

import argparse
import json
import math
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import chain
from statistics import linear_regression, median

from environments import CHECKOUT, PEERS, answer, cpu_ms, installed, python_at, run, source_version

#: How many times faster than trace-opt opto must be.
OPERATIONS = {
    "x + y": 80,
    "items[0]": 80,
    "iterating ten items": 100,
    "bundle, one argument": 50,
    "bundle, five arguments": 40,
    "bundle, defaults": 40,
    "trainable bundle": 40,
    "method of a model": 40,
    "trainable method": 40,
}
SHAPES = ("chain", "fan_in", "lattice", "minibatch")
LENGTHS = (10_000, 100_000, 1_000_000)
HEAVY = {"openai", "anthropic", "networkx", "graphviz", "numpy", "optuna"}
#: Milliseconds that an import may take, and packages that it must not load.
IMPORTS = {"from opto import trace": (40, {*HEAVY, "pydantic"}), "from opto.optimizers import OptoPrime": (250, HEAVY)}


@dataclass
class Figure:
    """One line of the table: a figure of opto, perhaps beside that of a *peer*.

    Targets are ``faster``, how many times faster than the peer opto must be, or ``at_most`` for opto's own figure.
    """

    name: str
    unit: str
    opto: float
    peer: str = ""
    theirs: float | None = None
    faster: float | None = None
    at_most: float | None = None
    ratio: float | None = None
    met: bool | None = None

    def __post_init__(self) -> None:
        if self.theirs is not None:
            self.ratio = self.theirs / self.opto
            self.met = None if self.faster is None else self.ratio >= self.faster
        if self.at_most is not None:
            self.met = self.opto <= self.at_most

    def cells(self) -> list[str]:
        target = f"≥ {_short(self.faster, 'x')}" if self.faster else f"≤ {_short(self.at_most, self.unit)}"
        theirs = f"{self.peer} {_short(self.theirs, self.unit)}".strip()
        numbers = _short(self.opto, self.unit), theirs, _short(self.ratio, "x")
        return [self.name, *numbers, *(("", "") if self.met is None else (target, "yes" if self.met else "NO"))]


def _short(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:{',.0f' if value >= 100 else '.3g'}} {unit}".rstrip()


class Bench:
    """The Pythons in which things are measured, in turn, and how often."""

    def __init__(self, pythons: dict[str, str], rounds: int) -> None:
        self.pythons = pythons
        self.rounds = rounds

    def best(self, program: str, *cases: tuple[str, tuple[object, ...]]) -> list[dict[str, float]]:
        """Return the least of each figure for each case, a library and arguments: all cases in turn, round by round."""
        runs = [
            [answer(self.pythons[library], program, *arguments) for library, arguments in cases]
            for _ in range(self.rounds)
        ]
        return [{key: min(run[key] for run in case) for key in case[0]} for case in zip(*runs, strict=True)]

    def operations(self) -> Iterator[Figure]:
        theirs, ours = self.best("operations.py", ("trace-opt", (2000, 5)), ("opto", (2000, 5)))
        for name, target in OPERATIONS.items():
            yield Figure(name, "µs", ours[name], "trace-opt", theirs[name], target)
        cases = [("opto", ("trace", "addition", 100_000)), ("opto", ("floor", "addition", 100_000))]
        cases += [("torch", ("torch", "addition", 100_000))] * ("torch" in self.pythons)
        ours, least, *torch = self.best("graphs.py", *cases)
        yield Figure("x + y", "µs", 1e6 * ours["addition"], "floor", 1e6 * least["addition"], faster=0.5)
        for found in torch:
            yield Figure("x + y", "µs", 1e6 * ours["addition"], "torch", 1e6 * found["addition"], faster=3)

    def graphs(self, length: int) -> Iterator[Figure]:
        """Compare whole graphs: a chain with trace-opt, whose time grows with the square of it, and all with torch."""
        cases = [(library, ("trace", "chain", length)) for library in ("trace-opt", "opto")]
        theirs, ours = (1000 * (found["build"] + found["backward"]) for found in self.best("graphs.py", *cases))
        target = 500 if length == 10_000 else None
        yield Figure(f"chain of {length:,}, build and backward", "ms", ours, "trace-opt", theirs, target)
        for shape in SHAPES if "torch" in self.pythons else ():
            cases = [("torch", ("torch", shape, 100_000)), ("opto", ("trace", shape, 100_000))]
            theirs, ours = (1000 * (found["build"] + found["backward"]) for found in self.best("graphs.py", *cases))
            yield Figure(f"{shape} of 100,000, build and backward", "ms", ours, "torch", theirs, faster=2)

    def growth(self) -> Iterator[Figure]:
        """Show how time and memory grow. That the longest graphs are walked and released shows: nothing recurses."""
        for shape in SHAPES:
            for option in (), ("--no-gc",):
                cases = [("opto", (name, shape, n, *option)) for name in ("trace", "floor") for n in LENGTHS]
                found = self.best("graphs.py", *cases)
                ours, least = ([case["build"] + case["backward"] for case in half] for half in (found[:3], found[3:]))
                for n, mine, floor in zip(LENGTHS, ours, least, strict=True) if not option else ():
                    yield Figure(f"{shape}, per node of {n:,}", "µs", 1e6 * mine / n, "floor", 1e6 * floor / n)
                # With Python's collector on, building any object grows faster than its number: judged is the rest.
                name = f"{shape}, exponent{' without collector' * bool(option)}"
                judged = 1.1 if option else None
                yield Figure(name, "", _exponent(ours), "floor", _exponent(least), at_most=judged)
                if option and found[2]["bytes"]:
                    yield Figure(f"{shape}, memory per node", "B", found[2]["bytes"] / LENGTHS[-1], at_most=350)

    def imports(self, processes: int) -> Iterator[Figure]:
        codes = ("pass", *IMPORTS)
        pair = (self.pythons["trace-opt"], self.pythons["opto"])
        runs = [[{code: cpu_ms(python, code) for code in codes} for python in pair] for _ in range(processes)]
        theirs, ours = ({code: median(pair[side][code] for pair in runs) for code in codes} for side in (0, 1))
        for code, (limit, heavy) in IMPORTS.items():
            mine = ours[code] - ours["pass"]
            yield Figure(code, "ms", mine, "trace-opt", theirs[code] - theirs["pass"], at_most=limit)
            seen = answer(pair[1], "-P", "imported.py", code)
            wrong = sorted(heavy & set(seen["modules"])) + seen["sockets"]
            yield Figure(" ".join(["… heavy packages, sockets", *wrong]), "", len(wrong), at_most=0)

    def loops(self, iterations: int) -> Iterator[Figure]:
        for kind, name in ("search", "LocalSearch"), ("model", "OptoPrime"):
            found = answer(self.pythons["opto"], "iterations.py", kind, iterations)
            # A page of memory more or less in thousands of iterations is no leak.
            label = f"{name}, {iterations:,} iterations: memory kept by each"
            yield Figure(label, "B", found["bytes"], at_most=10)
        (found,) = self.best("checkpoint.py", ("opto", ()))
        yield Figure("module of 1,000 prompts, save and load", "ms", found["save"] + found["load"], at_most=50)


def _exponent(times: Iterable[float]) -> float:
    """Return the exponent of growth: 1 is linear. Fitted to the logarithms of the times."""
    return linear_regression(list(map(math.log, LENGTHS)), list(map(math.log, times))).slope


def table(figures: list[Figure]) -> str:
    rows = [["figure", "opto", "beside", "ratio", "target", "met"], *(figure.cells() for figure in figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(map(str.ljust, row, widths))} |" for row in rows)


def conditions(pythons: dict[str, str], rounds: int, load: float) -> str:
    """Return under which conditions figures were taken: *load* is that of the machine when it began."""
    versions = " and ".join(sorted({run(python, "-V").strip() for python in pythons.values()}))
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores, {versions}, "
        f"{', '.join(PEERS[name] for name in pythons if name in PEERS)}, rounds: {rounds}, "
        f"load: {load:.1f} to {os.getloadavg()[0]:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of opto beside trace-opt, torch and a bare floor.")
    parser.add_argument("--quick", action="store_true", help="one round and a short chain: rough figures in a minute")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument("--torch", action="store_true", help="also beside torch, which is installed: 5 GB on Linux")
    for library in ("trace-opt", "torch", "opto"):
        option = f"--python-of-{library.partition('-')[0]}"
        parser.add_argument(option, type=python_at, metavar="PATH", help=f"a Python that has {library}")
    options = parser.parse_args()
    pythons = {
        "trace-opt": options.python_of_trace or installed("trace-opt", PEERS["trace-opt"], PEERS["trace-opt"]),
        "opto": options.python_of_opto or installed("opto", str(CHECKOUT), source_version()),
    }
    if options.torch or options.python_of_torch:
        pythons["torch"] = options.python_of_torch or installed("torch", PEERS["torch"], PEERS["torch"])
    bench = Bench(pythons, 1 if options.quick else 3)

    load = os.getloadavg()[0]
    length, processes = (1_000, 3) if options.quick else (10_000, 11)
    measured = bench.operations(), bench.graphs(length), bench.growth(), bench.imports(processes), bench.loops(length)
    figures = []
    for figure in chain.from_iterable(measured):
        # Minutes pass before the table is there.
        print(" ".join(figure.cells()), file=sys.stderr)
        figures.append(figure)
    said = conditions(pythons, bench.rounds, load)
    as_json = json.dumps({"conditions": said, "figures": [*map(asdict, figures)]}, indent=1)
    print(as_json if options.json else f"{table(figures)}\n\n{said}")


if __name__ == "__main__":
    main()
