"""Measure opto side by side with trace-opt, in one run: ``python benchmarks/against_trace.py``. See README.md."""

import argparse
import json
import math
import os
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from statistics import linear_regression, median

from environments import CHECKOUT, PEER, answer, cpu_ms, installed, run, source_version

#: How many times faster opto must be. For one length of chain: trace-opt grows with the square of it.
RATIOS = {"x + y": 50, "bundle, five arguments": 30, "chain of 10,000, build and backward": 500}
LENGTHS = (10_000, 100_000, 1_000_000)
HEAVY = {"openai", "anthropic", "networkx", "graphviz", "numpy", "optuna"}
#: Milliseconds that an import may take, and packages that it must not load.
IMPORTS = {"from opto import trace": (40, {*HEAVY, "pydantic"}), "from opto.optimizers import OptoPrime": (250, HEAVY)}


@dataclass
class Figure:
    """One line of the table. Targets are ``at_least`` for the ratio, or ``at_most`` for opto's own figure."""

    name: str
    unit: str
    trace_opt: float | None
    opto: float
    at_least: float | None = None
    at_most: float | None = None
    ratio: float | None = None
    met: bool | None = None

    def __post_init__(self) -> None:
        if self.trace_opt is not None:
            self.ratio = self.trace_opt / self.opto
            self.met = None if self.at_least is None else self.ratio >= self.at_least
        if self.at_most is not None:
            self.met = self.opto <= self.at_most

    def cells(self) -> list[str]:
        target = f"≥ {_short(self.at_least, 'x')}" if self.at_least else f"≤ {_short(self.at_most, self.unit)}"
        numbers = _short(self.trace_opt, self.unit), _short(self.opto, self.unit), _short(self.ratio, "x")
        return [self.name, *numbers, *(("", "") if self.met is None else (target, "yes" if self.met else "NO"))]


def _short(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:{',.0f' if value >= 100 else '.3g'}} {unit}".rstrip()


def operations(pythons: tuple[str, str], rounds: int) -> list[Figure]:
    runs = [[answer(python, "operations.py", 2000, 5) for python in pythons] for _ in range(rounds)]
    theirs, ours = ({name: min(pair[side][name] for pair in runs) for name in runs[0][0]} for side in (0, 1))
    return [Figure(name, "µs", theirs[name], ours[name], at_least=RATIOS.get(name)) for name in ours]


def chain(pythons: tuple[str, str], rounds: int, length: int) -> list[Figure]:
    runs = [[answer(python, "chain.py", length) for python in pythons] for _ in range(rounds)]
    theirs, ours = (min(1000 * (pair[side]["build"] + pair[side]["backward"]) for pair in runs) for side in (0, 1))
    return [Figure(name := f"chain of {length:,}, build and backward", "ms", theirs, ours, RATIOS.get(name))]


def imports(pythons: tuple[str, str], processes: int) -> list[Figure]:
    codes = ("pass", *IMPORTS)
    runs = [[{code: cpu_ms(python, code) for code in codes} for python in pythons] for _ in range(processes)]
    theirs, ours = ({code: median(pair[side][code] for pair in runs) for code in codes} for side in (0, 1))
    figures = []
    for code, (limit, heavy) in IMPORTS.items():
        figures.append(Figure(code, "ms", theirs[code] - theirs["pass"], ours[code] - ours["pass"], at_most=limit))
        seen = answer(pythons[1], "-P", "imported.py", code)
        wrong = sorted(heavy & set(seen["modules"])) + seen["sockets"]
        figures.append(Figure(" ".join(["… heavy packages, sockets", *wrong]), "", None, len(wrong), at_most=0))
    return figures


def growth(opto: str, rounds: int) -> list[Figure]:
    """Measure opto alone. That the longest chain is built, walked and released shows that nothing recurses."""
    figures = []
    for option, parts in ((), ("build", "backward", "release")), (("--no-gc",), ("build",)):
        runs = [{n: answer(opto, "chain.py", n, *option) for n in LENGTHS} for _ in range(rounds)]
        for part in parts:
            name, times = " ".join([part, *option]), [min(run[n][part] for run in runs) for n in LENGTHS]
            for n, seconds in zip(LENGTHS, times, strict=True):
                figures.append(Figure(f"{name}, per node of {n:,}", "µs", None, 1e6 * seconds / n))
            exponent = linear_regression(list(map(math.log, LENGTHS)), list(map(math.log, times))).slope
            # With Python's collector on, building any object grows faster than its number: that is not judged here.
            judged = None if name == "build" else 1.15
            figures.append(Figure(f"{name}, exponent", "", None, exponent, at_most=judged))
    if held := median(run[LENGTHS[-1]]["bytes"] for run in runs):
        figures.append(Figure(f"memory, per node of {LENGTHS[-1]:,}", "B", None, held / LENGTHS[-1], at_most=400))
    return figures


def table(figures: list[Figure]) -> str:
    rows = [["figure", "trace-opt", "opto", "ratio", "target", "met"], *(figure.cells() for figure in figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(map(str.ljust, row, widths))} |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of opto and of trace-opt, measured side by side.")
    parser.add_argument("--quick", action="store_true", help="one round and a short chain: rough figures in a minute")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument("--python-of-trace", type=os.path.abspath, metavar="PATH", help="a Python that has trace-opt")
    parser.add_argument("--python-of-opto", type=os.path.abspath, metavar="PATH", help="a Python that has opto")
    options = parser.parse_args()
    theirs = options.python_of_trace or installed("trace-opt", PEER, PEER)
    ours = options.python_of_opto or installed("opto", str(CHECKOUT), source_version())
    rounds, processes, length = (1, 3, 1_000) if options.quick else (3, 11, 10_000)

    load = os.getloadavg()[0]
    figures = [*operations((theirs, ours), rounds), *chain((theirs, ours), rounds, length)]
    figures += [*imports((theirs, ours), processes), *growth(ours, rounds)]
    versions = " and ".join(sorted({run(python, "-V").strip() for python in (theirs, ours)}))
    conditions = (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"{versions}, {PEER}, rounds: {rounds}, load: {load:.1f} to {os.getloadavg()[0]:.1f}"
    )
    as_json = json.dumps({"conditions": conditions, "figures": [*map(asdict, figures)]}, indent=1)
    print(as_json if options.json else f"{table(figures)}\n\n{conditions}")


if __name__ == "__main__":
    main()
