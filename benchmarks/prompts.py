"""Compare the prompts of opto with those of trace-opt, in one run: ``python benchmarks/prompts.py``. See README.md."""

import argparse
import os
import sys
from collections.abc import Iterator
from typing import Any

from compare import Figure, conditions, table
from environments import CHECKOUT, PEERS, answer, installed, python_at, source_version


def characters(pythons: dict[str, str]) -> Iterator[Figure]:
    """Compare the prompts for workflows of different shape: the same program, the same feedback."""
    plain, with_sources = (
        answer(pythons["opto"], "prompted.py", "prompts", "OptoPrime", *options) for options in (["--no-sources"], [])
    )
    peers = {"OptoPrime": answer(pythons["trace-opt"], "prompted.py", "prompts", "OptoPrime")}
    if "v2" in pythons:
        peers["OptoPrimeV2"] = answer(pythons["v2"], "prompted.py", "prompts", "OptoPrimeV2")
    for workflow, found in plain.items():
        for peer, theirs in peers.items():
            target = 2 if peer == "OptoPrimeV2" else None
            mine, other = found["characters"], theirs[workflow]["characters"]
            yield Figure(f"{workflow}, characters", "", mine, peer, other, faster=target)
        yield Figure("… with sources of operators", "", with_sources[workflow]["characters"])
        yield _lost([*found["lost"], *found["left out"], *with_sources[workflow]["lost"]])


def graphs(pythons: dict[str, str], rounds: int) -> Iterator[Figure]:
    """Compare the time from feedback to prompt; and look at the prompts for a short graph and a long one."""
    for shape, target in ("loop", 20), ("chain", None), ("examples", None):
        mine, theirs = (
            min(_graph(pythons[library], shape, 1_000)["seconds"] for _ in range(rounds))
            for library in ("opto", "trace-opt")
        )
        name = f"{shape} of 1,000 nodes, feedback to prompt"
        yield Figure(name, "ms", 1000 * mine, "OptoPrime", 1000 * theirs, faster=target)
    for shape in "loop", "chain", "examples":
        runs = [_graph(pythons["opto"], shape, 10_000) for _ in range(rounds)]
        seconds = min(run["seconds"] for run in runs)
        yield Figure(f"{shape} of 10,000 nodes, feedback to prompt", "ms", 1000 * seconds, at_most=300)
        yield Figure("… tokens, as estimated", "", runs[0]["tokens"], at_most=16_000)
        short = _graph(pythons["opto"], shape, 20)
        yield _lost([*short["lost"], *short["left out"]], f"{shape} of 20 nodes")


def _graph(python: str, shape: str, length: int) -> dict[str, Any]:
    return answer(python, "prompted.py", "graph", "OptoPrime", shape, length)


def _lost(what: list[str], of: str = "…") -> Figure:
    return Figure(" ".join([f"{of} values, calls, feedback lost", *what]), "", len(what), at_most=0)


def main() -> None:
    parser = argparse.ArgumentParser(description="Prompts of opto beside those of trace-opt.")
    for name, has in ("trace", PEERS["trace-opt"]), ("opto", "opto"), ("v2", "opto.optimizers.optoprime_v2 of Trace"):
        parser.add_argument(f"--python-of-{name}", type=python_at, metavar="PATH", help=f"a Python that has {has}")
    parser.add_argument("--rounds", type=int, default=5, help="how often each time is measured; the best counts")
    options = parser.parse_args()
    pythons = {
        "trace-opt": options.python_of_trace or installed("trace-opt", PEERS["trace-opt"], PEERS["trace-opt"]),
        "opto": options.python_of_opto or installed("opto", str(CHECKOUT), source_version()),
    }
    if options.python_of_v2:
        pythons["v2"] = options.python_of_v2
    load = os.getloadavg()[0]
    figures = [*characters(pythons), *graphs(pythons, options.rounds)]
    print(f"{table(figures)}\n\n{conditions(pythons, options.rounds, load)}")
    sys.exit(any(figure.met is False for figure in figures))


if __name__ == "__main__":
    main()
