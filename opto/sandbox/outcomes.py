"""What comes of a call of a candidate, and how deep in calls of the host it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from opto.errors import SandboxCrashError

__all__ = ["NOTHING", "Outcome", "calls_itself", "depth_of", "made_by", "see_that_there_is_room", "serving"]

#: How many frames it takes to start a process, and to end it.
_ROOM = 40


class Outcome(NamedTuple):
    """What came of a call. No exception passes through the steps: some would end them in another way."""

    value: Any
    error: BaseException | None

    def unwrap(self) -> Any:
        """Return the value, or raise the exception."""
        if self.error is not None:
            raise self.error
        return self.value


NOTHING = Outcome(None, None)

#: The candidates whose calls of hosts this thread or task is in, the outermost first, and how many each has made.
_within: ContextVar[tuple[tuple[object, list[int]], ...]] = ContextVar("within", default=())
_DEEPEST = 20


def depth_of(name: str) -> int:
    reached = len(_within.get())
    if reached > _DEEPEST:
        raise calls_itself(name, f", {reached} times over")
    return reached


def calls_itself(name: str, how: str = "") -> SandboxCrashError:
    """Return the error for a candidate that calls itself by way of the host."""
    return SandboxCrashError(f"{name}() calls itself by way of the host{how}.", mend="Call the function itself.")


def made_by(candidate: object) -> list[int] | None:
    """Return how many calls of hosts *candidate* has made, if this is in one of them: all below it count as its own."""
    return next((made for other, made in _within.get() if other is candidate), None)


@contextmanager
def serving(candidate: object, made: list[int]) -> Iterator[None]:
    """Around a call of a host by *candidate*, which has *made* so many."""
    token = _within.set((*_within.get(), (candidate, made)))
    try:
        yield
    finally:
        _within.reset(token)


def see_that_there_is_room(frames: int = _ROOM) -> None:
    """Raise a `RecursionError` that is to come now: later, there is no room to close what was opened, either."""
    if frames:
        see_that_there_is_room(frames - 1)
