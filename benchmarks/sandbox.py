"""What it costs to run code in the sandbox: once, for each candidate, and for each call.

    python benchmarks/sandbox.py            # the best and the median of each figure
    python benchmarks/sandbox.py --json

The best of all rounds says what the machine can do, because whatever disturbs a measurement makes it longer; the median
says what it was like. Exits with 1 if the best of one of the figures misses its target.
"""

import argparse
import compileall
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from opto.sandbox import Candidate, Limits, Sandbox

#: Milliseconds.
TARGETS = {"once": 120.0, "candidate": 10.0, "call": 0.15}
SOURCE = "def double(x):\n    return 2 * x\n"
ONCE = (
    "import time; import opto.optimizers; from opto.sandbox import Sandbox; begin = time.perf_counter(); "
    f"candidate = Sandbox({{level!r}}).load({SOURCE!r}); candidate(1); print((time.perf_counter() - begin) * 1e3)"
)


def milliseconds(action: Callable[[], object], *, times: int = 1) -> float:
    """Return how long *action* takes, if it is done *times* over."""
    begin = time.perf_counter()
    for _ in range(times):
        action()
    return (time.perf_counter() - begin) * 1e3 / times


def figures(level: str, rounds: int) -> dict[str, list[float]]:
    """Measure everything at *level*."""
    found: dict[str, list[float]] = {"once": [], "candidate": [], "call": [], "call, 1 MB there and back": []}
    # As an installed package is.
    compileall.compile_dir(str(Path(__file__).parents[1] / "opto"), quiet=1)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", ONCE.format(level=level)]
    for _ in range(max(rounds // 4, 3)):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        found["once"].append(float(done.stdout))
    sandbox = Sandbox(level, limits=Limits(result=32 << 20))

    def one() -> None:
        with sandbox.load(SOURCE) as candidate:
            candidate(1)

    one()
    found["candidate"] = [milliseconds(one) for _ in range(rounds)]
    with sandbox.load(SOURCE) as double, sandbox.load("def same(x):\n    return x\n") as same:
        double(1)
        same(1)
        large = "x" * 1_000_000
        found["call"] = [milliseconds(lambda: double(1), times=200) for _ in range(rounds)]
        found["call, 1 MB there and back"] = [milliseconds(lambda: same(large)) for _ in range(rounds)]
        found["call of the host"] = host_calls(sandbox, rounds)
    return found


def host_calls(sandbox: Sandbox, rounds: int) -> list[float]:
    """Measure one call of the host from inside."""

    def timed(candidate: Candidate, times: int) -> float:
        return milliseconds(lambda: candidate(times)) / times

    source = "def ask_often(times):\n    for _ in range(times):\n        ask(1)\n"
    with sandbox.load(source, hosts={"ask": lambda x: x}) as candidate:
        candidate(1)
        return [timed(candidate, 200) for _ in range(rounds)]


def main() -> None:
    parser = argparse.ArgumentParser(description="What it costs to run code in the sandbox, in milliseconds.")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--level", action="append", choices=("auto", "child", "strict"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = {level: figures(level, options.rounds) for level in options.level or ("child", "auto")}
    if options.json:
        print(json.dumps(results))
        return
    print(f"{'level':8} {'ms':28} {'best':>8} {'median':>8} {'target':>8}")
    missed = False
    for level, found in results.items():
        for name, values in found.items():
            target = TARGETS.get(name)
            missed = missed or (target is not None and min(values) > target)
            print(f"{level:8} {name:28} {min(values):8.3f} {statistics.median(values):8.3f} {target or '':>8}")
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    sys.exit(missed)


if __name__ == "__main__":
    main()
