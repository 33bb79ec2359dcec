"""Runs calls in processes of their own, each within its time: none of them can hold up the others."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

# Not "spawn": what was loaded need not be loaded again for each call.
_FORK = multiprocessing.get_context("fork")


@dataclass
class _Running:
    name: str
    process: BaseProcess
    end: float


class Tasks:
    """Calls of one function, some at the same time; those that take too long are killed with all they started.

    Args:
        function: Takes keyword arguments, and returns what can be pickled.
        jobs: How many may run at the same time.
        seconds: How long each may take.
    """

    def __init__(self, function: Callable[..., Any], jobs: int, seconds: float) -> None:
        self._function, self._jobs, self._seconds = function, jobs, seconds

    def run(self, calls: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
        """Yield what each of *calls* returned, by name, as soon as it is there; a few words if it did not return."""
        waiting, running = [*calls.items()], dict[Connection, _Running]()
        try:
            while waiting or running:
                while waiting and len(running) < self._jobs:
                    name, arguments = waiting.pop(0)
                    answers, process = self._started(arguments)
                    running[answers] = _Running(name, process, time.monotonic() + self._seconds)
                left = min(item.end for item in running.values()) - time.monotonic()
                ready = wait([*running], timeout=max(0.0, left))
                late = [answers for answers, item in running.items() if time.monotonic() > item.end]
                for answers in dict.fromkeys([*ready, *late]):
                    item = running.pop(answers)
                    yield item.name, self._ended(answers, item.process, is_late=answers not in ready)
        finally:
            for answers, item in running.items():
                self._ended(answers, item.process, is_late=True)

    def _started(self, arguments: Mapping[str, Any]) -> tuple[Connection, BaseProcess]:
        answers, answering = _FORK.Pipe(duplex=False)
        process = _FORK.Process(target=_work, args=(answering, self._function, arguments))
        process.start()
        answering.close()  # so that the end of the process is the end of the pipe
        return answers, process

    def _ended(self, answers: Connection, process: BaseProcess, *, is_late: bool) -> Any:
        said: Any = f"took more than {self._seconds:g} s"
        if not is_late:
            try:
                said = answers.recv()
            except EOFError:
                said = "ended without an answer"
        answers.close()
        assert process.pid is not None
        # Also what it started, and what has not been waited for yet.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            process.kill()
        process.join()
        return said


def _work(answering: Connection, function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    os.setsid()
    answering.send(function(**arguments))
