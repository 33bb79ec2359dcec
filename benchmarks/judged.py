"""Runs candidates for `repair.py`, line by line of JSON: each within its CPU time, all within some memory."""

import ast
import contextlib
import json
import math
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, Never

MEMORY = 1 << 30
#: CPU seconds beyond its time after which a candidate that sees no signal is killed.
GRACE = 0.2


class OutOfTime(BaseException):
    """Not an `Exception`, so that no candidate catches it by chance."""


def counting(tests: str) -> str:
    """Return *tests* with each assert as a call, which counts it; those of a constant are left out."""

    class Calls(ast.NodeTransformer):
        def visit_Assert(self, node: ast.Assert) -> ast.stmt:
            if isinstance(node.test, ast.Constant):
                return ast.copy_location(ast.Pass(), node)
            call = ast.parse("__judge__(lambda: 0)").body[0]
            assert isinstance(call, ast.Expr)
            assert isinstance(call.value, ast.Call)
            assert isinstance(call.value.args[0], ast.Lambda)
            call.value.args[0].body = node.test
            return ast.fix_missing_locations(ast.copy_location(call, node))

    return ast.unparse(Calls().visit(ast.parse(tests)))


class Judged:
    """What the tests of one candidate show.

    Attributes:
        passed: Whether each test of the half passed.
        shown: What each showed, in a few words.
        errors: The lines of the candidate that errors came through, and the errors.
    """

    def __init__(self, source: str, half: int, seconds: float) -> None:
        self._lines = source.split("\n")
        self.passed: list[bool] = []
        self.shown: list[str] = []
        self.errors: dict[str, None] = {}
        self._half, self._end = half, time.process_time() + seconds
        self._number = -1
        self._returned: list[object] = []

    def check(self, test: Callable[[], object]) -> None:
        """Run *test* if it is of the half: every second one, beginning with the first or with the second."""
        self._number += 1
        if self._number % 2 != self._half:
            return
        self._returned.clear()
        try:
            with self.limited():
                good = bool(test())
            said = "passed" if good else f"failed with {self._returned}"[:80]
        except OutOfTime:
            good, said = False, "ran out of time"
        except Exception as error:
            good, said = False, f"raised {type(error).__name__}"
            self.note(error)
        self.passed.append(good)
        self.shown.append(said)

    def note(self, error: BaseException) -> None:
        frames = [item for item in traceback.extract_tb(error.__traceback__) if item.filename == "<candidate>"]
        lines = [
            f"in {item.name}, line {item.lineno}: {self._lines[(item.lineno or 1) - 1].strip()}" for item in frames[-3:]
        ]
        if lines:
            self.errors["\n".join(lines) + f"  <--- ({type(error).__name__})"] = None

    def calling(self, function: Callable[..., object]) -> Callable[..., object]:
        """Return *function*, keeping what it returned last."""

        def call(*args: object, **kwargs: object) -> object:
            self._returned[:] = [function(*args, **kwargs)]
            return self._returned[0]

        return call

    @contextlib.contextmanager
    def limited(self) -> Iterator[None]:
        """Raise `OutOfTime` when all the time has been used."""
        left = self._end - time.process_time()
        if left <= 0:
            raise OutOfTime
        # Again and again: an `except BaseException` of a candidate may swallow the first.
        signal.setitimer(signal.ITIMER_PROF, left, 0.5)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)


def judge(*, context: str, source: str, entry: str, tests: str, half: int, seconds: float) -> dict[str, Any]:
    """Return what the tests of one half show of *source*, and whether they ran to the end."""
    judged, began = Judged(source, half, seconds), time.process_time()
    space: dict[str, Any] = {"__name__": "candidate", "__judge__": judged.check}
    complete = True
    # Some calls, such as the sum of a long range, see no signal: then the kernel ends the process, by the signal
    # of this timer, which nobody handles; where it is the kernel itself that takes long, by a limit in whole seconds.
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds + GRACE)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(began + seconds) + 1, resource.RLIM_INFINITY))
    random.seed(0)  # some tests draw their cases
    try:
        with judged.limited():
            exec(compile(context, "<context>", "exec"), space)
            exec(compile(source, "<candidate>", "exec"), space)
            exec(compile(tests, "<tests>", "exec"), space)
        space["check"](judged.calling(space[entry]))
    except (OutOfTime, Exception) as error:
        complete = False
        judged.note(error)
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    seconds = time.process_time() - began
    found = {"passed": judged.passed, "shown": judged.shown, "errors": [*judged.errors]}
    return {**found, "complete": complete, "seconds": seconds}


def main() -> None:
    def stop(*_: object) -> Never:
        raise OutOfTime

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.setrecursionlimit(2000)
    signal.signal(signal.SIGPROF, stop)
    answers = sys.stdout
    with open(os.devnull, "w", encoding="utf-8") as sys.stdout:  # what candidates print
        for line in sys.stdin:
            print(json.dumps(judge(**json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
