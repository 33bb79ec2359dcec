"""Runs candidates for `repair.py`, line by line of JSON: each within its CPU time, all within some memory."""

import ast
import contextlib
import io
import json
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, Never

MEMORY = 1 << 30


class OutOfTime(BaseException):
    """Not an `Exception`, so that no candidate catches it by chance."""


def counting(tests: str) -> str:
    """Return *tests* with each assert as a call, which counts it; those of a constant are left out."""

    class Calls(ast.NodeTransformer):
        def visit_Assert(self, node: ast.Assert) -> ast.stmt:  # noqa: N802 - as Python names it
            if isinstance(node.test, ast.Constant):
                return ast.copy_location(ast.Pass(), node)
            call = ast.Call(ast.Name("__judge__", ast.Load()), [_lazy(node.test)], [])
            return ast.fix_missing_locations(ast.copy_location(ast.Expr(call), node))

    return ast.unparse(Calls().visit(ast.parse(tests)))


def _lazy(value: ast.expr) -> ast.expr:
    made = ast.parse("lambda: 0", mode="eval").body
    assert isinstance(made, ast.Lambda)
    made.body = value
    return made


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    def stop(*_: object) -> Never:
        raise OutOfTime

    if seconds <= 0:
        raise OutOfTime
    signal.signal(signal.SIGPROF, stop)
    # Again and again: a `finally` or `except BaseException` of a candidate may swallow the first.
    signal.setitimer(signal.ITIMER_PROF, seconds, 0.05)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def calling(function: Callable[..., object], returned: list[object]) -> Callable[..., object]:
    """Return *function*, keeping what it returned last."""

    def call(*args: object, **kwargs: object) -> object:
        returned[:] = [function(*args, **kwargs)]
        return returned[0]

    return call


def judge(context: str, source: str, entry: str, tests: str, half: int | None, seconds: float) -> dict[str, Any]:
    """Return whether each test passed, and the lines that errors came through. *half*: which tests run, or all."""
    passed: list[bool] = []
    shown: list[str] = []
    returned: list[object] = []
    errors: dict[str, None] = {}
    began = time.process_time()
    number, end = -1, began + seconds

    def check(test: Callable[[], object]) -> None:
        nonlocal number
        number += 1
        if half is not None and number % 2 != half:
            return
        try:
            with limited(end - time.process_time()):
                good = bool(test())
            passed.append(good)
            shown.append("passed" if good else f"failed: {returned.pop()!r:.60}" if returned else "failed")
        except OutOfTime:
            passed.append(False)
            shown.append("out of time")
        except Exception as error:
            passed.append(False)
            shown.append(f"raised {type(error).__name__}")
            lines = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == "<candidate>"]
            errors["\n".join(f"in {item.name}, line {item.lineno}: " for item in lines[-3:]) + f"({type(error).__name__})"] = None

    random.seed(0)
    space: dict[str, Any] = {"__name__": "candidate", "__judge__": check}
    complete = True
    try:
        with contextlib.redirect_stdout(io.StringIO()), limited(seconds):
            exec(compile(context, "<context>", "exec"), space)
            exec(compile(source, "<candidate>", "exec"), space)
    except (OutOfTime, Exception) as error:
        return {"passed": [], "shown": [], "errors": [type(error).__name__], "complete": False, "seconds": 0.0}
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(tests, "<tests>", "exec"), space)
            space["check"](calling(space[entry], returned))
    except (OutOfTime, Exception):
        complete = False
    used = time.process_time() - began
    return {"passed": passed, "shown": shown, "errors": [*errors], "complete": complete, "seconds": used}


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.setrecursionlimit(2000)
    answers, sys.stdout = sys.stdout, io.StringIO()
    for line in sys.stdin:
        print(json.dumps(judge(**json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
