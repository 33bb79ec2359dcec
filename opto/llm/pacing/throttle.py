"""One queue in front of each endpoint, for all clients, threads and event loops of the process."""

import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from opto.errors import BadRequestError, LLMError, LLMTimeoutError, RateLimitError, ServerError
from opto.llm.environment import Endpoint
from opto.llm.messages import Reply
from opto.llm.pacing.allowance import Allowance, Entry
from opto.llm.pacing.clock import Clock

__all__ = ["Throttle", "Turn", "limited", "throttle_of"]

#: How often those who wait look whether the first of them takes its turn, in seconds.
_LOOK = 1.0
#: Statuses of a server that has too much to do.
_OVERLOADED = {429, 503, 529}

_lock = threading.Lock()
_throttles: weakref.WeakValueDictionary[tuple[Any, ...], "Throttle"] = weakref.WeakValueDictionary()


def throttle_of(endpoint: Endpoint) -> "Throttle":
    """Return what all clients of this address and key share; it is gone with the last of them."""
    key = endpoint.account
    with _lock:
        throttle = _throttles.get(key)
        if throttle is None:
            throttle = _throttles[key] = Throttle()
        return throttle


def limited(
    throttle: "Throttle | None", requests_per_minute: float | None, tokens_per_minute: float | None
) -> "Throttle | None":
    """Return a throttle that keeps to these: *throttle* if there is one, and none if there is nothing to keep."""
    for name, limit in (("requests_per_minute", requests_per_minute), ("tokens_per_minute", tokens_per_minute)):
        is_limit = isinstance(limit, int | float) and not isinstance(limit, bool) and limit > 0
        if limit is not None and not is_limit:
            raise BadRequestError(f"{name} is {limit!r}.", mend=f"Give a number, such as {name}=500.")
    if throttle is None and requests_per_minute is None and tokens_per_minute is None:
        return None
    throttle = throttle or Throttle()
    throttle.restrict(requests_per_minute, tokens_per_minute)
    return throttle


class Throttle:
    """Lets requests begin when the endpoint may take them, in the order in which they came."""

    def __init__(self) -> None:
        self._allowance = Allowance()
        self._lock = threading.Lock()
        self._queue: deque[_Waiter] = deque()
        self._due: float | None = None

    @property
    def counts_tokens(self) -> bool:
        return self._allowance.tokens.limit < float("inf")

    def restrict(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        """Keep to these as well; of several that are given, to the lowest."""
        with self._lock:
            for window, limit in (
                (self._allowance.requests, requests_per_minute),
                (self._allowance.tokens, tokens_per_minute),
            ):
                if limit is not None:
                    window.limit = min(window.limit, limit)

    def enter(self, tokens: float, left: Callable[[], float | None], *, clock: Clock) -> "Turn":
        """Wait for a turn.

        Raises:
            LLMError: None comes in the seconds that are *left*.
        """
        turn = self._at_once(tokens, left(), clock.now())
        if turn is not None:
            return turn
        event = threading.Event()
        waiter = self._join(tokens, event.set)
        try:
            while True:
                event.clear()
                turn, seconds = self._try(waiter, left(), clock.now())
                if turn is not None:
                    return turn
                clock.wait(event, seconds)
        finally:
            self._leave(waiter)

    async def aenter(self, tokens: float, left: Callable[[], float | None], *, clock: Clock) -> "Turn":
        """Do the same without blocking the event loop."""
        turn = self._at_once(tokens, left(), clock.now())
        if turn is not None:
            return turn

        import asyncio  # noqa: PLC0415 - runs already

        event, loop = asyncio.Event(), asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # a loop that was closed in the middle
                loop.call_soon_threadsafe(event.set)

        waiter = self._join(tokens, wake)
        try:
            while True:
                event.clear()
                turn, seconds = self._try(waiter, left(), clock.now())
                if turn is not None:
                    return turn
                await clock.await_event(event, seconds)
        finally:
            self._leave(waiter)

    def finish(self, turn: "Turn", *, outcome: Reply | LLMError | None, pause: float, now: float) -> None:
        """End a turn, and learn from what came of it."""
        with self._lock:
            self._allowance.end()
            if isinstance(outcome, Reply):
                self._allowance.succeeded(now)
            elif isinstance(outcome, RateLimitError | ServerError) and outcome.status in _OVERLOADED:
                self._allowance.overloaded(turn.begun, pause, now, wanted=outcome.retry_after or 0.0)
            usage = getattr(outcome, "usage", None)
            if usage is not None:
                self._allowance.tokens.correct(turn.entry, usage.total_tokens)
            self._wake()

    def _at_once(self, tokens: float, left: float | None, now: float) -> "Turn | None":
        """Return a turn if nobody waits for one: as it is nearly always."""
        with self._lock:
            if self._queue or (left is not None and left <= 0) or self._allowance.delay(tokens, now) != 0:
                return None
            return Turn(now, self._allowance.start(tokens, now))

    def _join(self, tokens: float, wake: Callable[[], None]) -> "_Waiter":
        waiter = _Waiter(tokens, wake)
        with self._lock:
            self._queue.append(waiter)
        return waiter

    def _leave(self, waiter: "_Waiter") -> None:
        with self._lock:
            if waiter.is_queued:
                self._queue.remove(waiter)
            self._wake()

    def _try(self, waiter: "_Waiter", left: float | None, now: float) -> "tuple[Turn | None, float]":
        """Return a turn, or how long to wait before the next look."""
        with self._lock:
            delay = self._allowance.delay(waiter.tokens, now)
            if left is not None and delay is not None and delay > left:
                raise RateLimitError(
                    f"The next request may begin in {delay:.0f} s, and there are {left:.0f} s left.",
                    mend="Wait, raise deadline=…, or allow more per minute.",
                    retry_after=delay,
                )
            if left is not None and left <= 0:
                raise LLMTimeoutError("No turn came in time.", mend="Raise deadline=…, or call with fewer at a time.")
            if self._queue[0] is waiter and delay == 0:
                self._queue.popleft()
                waiter.is_queued = False
                self._due = None
                return Turn(now, self._allowance.start(waiter.tokens, now)), 0.0
            self._pass_over(delay, now)
            if self._queue[0] is not waiter or delay is None:
                delay = _LOOK
            return None, min(delay, _LOOK, _LOOK if left is None else left)

    def _pass_over(self, delay: float | None, now: float) -> None:
        """Let the next go first if the first does not take its turn: its event loop is blocked, or was left."""
        if delay != 0:
            self._due = None
        elif self._due is None:
            self._due = now
        elif now - self._due >= _LOOK:
            self._due = now
            self._queue.rotate(-1)
            self._wake()

    def _wake(self) -> None:
        if self._queue:
            self._queue[0].wake()


class Turn:
    """A request that has begun."""

    __slots__ = ("begun", "entry")

    def __init__(self, begun: float, entry: Entry) -> None:
        self.begun = begun
        self.entry = entry


class _Waiter:
    __slots__ = ("is_queued", "tokens", "wake")

    def __init__(self, tokens: float, wake: Callable[[], None]) -> None:
        self.tokens = tokens
        self.wake = wake
        self.is_queued = True
