"""One queue in front of each endpoint, for all clients, threads and event loops of the process."""

import itertools
import math
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from threading import get_ident
from typing import Any

from opto.errors import BadRequestError, LLMError, LLMTimeoutError, RateLimitError, ServerError
from opto.forks import renew_after_fork
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
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
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
            raise BadRequestError(f"{name} is {limit!r}.", mend=f"Give a number above 0, such as {name}=500.")
    if throttle is None and requests_per_minute is None and tokens_per_minute is None:
        return None
    throttle = throttle or Throttle()
    throttle.restrict(requests_per_minute, tokens_per_minute)
    return throttle


class Throttle:
    """Lets requests begin when the endpoint may take them, in the order in which they came."""

    def __init__(self) -> None:
        self._allowance = Allowance()
        self._numbers = itertools.count()
        self.begin_again()
        renew_after_fork(self)

    def begin_again(self) -> None:
        """Forget who waits and what runs, but not what was learned."""
        # Reentrant: what the garbage collector ends gives its turn back, whatever this thread is doing.
        self._lock = threading.RLock()
        self._queue: deque[_Waiter] = deque()
        self._due: float | None = None
        self._running: dict[int, _Caller] = {}
        self._lost: deque[int] = deque()
        self._allowance.running = 0

    @property
    def counts_tokens(self) -> bool:
        return self._allowance.tokens.limit < float("inf")

    def restrict(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        """Keep to these as well; of several that are given, to the lowest."""
        with self._lock:
            if requests_per_minute is not None:
                self._allowance.requests.restrict(requests_per_minute)
            if tokens_per_minute is not None:
                self._allowance.tokens.restrict(tokens_per_minute)

    def enter(self, tokens: float, left: Callable[[], float | None], *, clock: Clock) -> "Turn":
        """Wait for a turn.

        Raises:
            LLMError: None comes in the seconds that are *left*.
        """
        caller = _Caller(get_ident(), is_blocking=True)
        turn = self._at_once(tokens, caller, left(), clock.now())
        if turn is not None:
            return turn
        event = threading.Event()
        waiter = self._join(tokens, caller, event.set)
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
        caller = _Caller(get_ident(), is_blocking=False)
        turn = self._at_once(tokens, caller, left(), clock.now())
        if turn is not None:
            return turn

        import asyncio  # noqa: PLC0415 - runs already

        event, loop = asyncio.Event(), asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # a loop that was closed in the middle
                loop.call_soon_threadsafe(event.set)

        waiter = self._join(tokens, caller, wake)
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
        """End a turn, if it was not yet, and learn from what came of it."""
        with self._lock:
            if self._running.pop(turn.number, None) is None:
                return
            turn.lost = None
            self._allowance.end()
            if isinstance(outcome, Reply):
                self._allowance.succeeded(now)
            elif isinstance(outcome, RateLimitError | ServerError) and outcome.status in _OVERLOADED:
                self._allowance.overloaded(turn.begun, pause, now, wanted=outcome.retry_after or 0.0)
            usage = getattr(outcome, "usage", None) if self._allowance.tokens.limit < math.inf else None
            if usage is not None:
                self._allowance.tokens.correct(turn.entry, usage.total_tokens)
            if self._queue:
                self._wake()

    def _at_once(self, tokens: float, caller: "_Caller", left: float | None, now: float) -> "Turn | None":
        """Return a turn if nobody waits for one: as it is nearly always."""
        with self._lock:
            if self._lost:
                self._take_back()
            if self._queue or (left is not None and left <= 0) or self._allowance.delay(tokens, now) != 0:
                return None
            return self._start(tokens, caller, now)

    def _start(self, tokens: float, caller: "_Caller", now: float) -> "Turn":
        turn = Turn(next(self._numbers), now, self._allowance.start(tokens, now), self._lost)
        self._running[turn.number] = caller
        return turn

    def _take_back(self) -> None:
        """End the turns that nobody gave back, and forget those that were interrupted before they were had."""
        while self._lost:
            self._running.pop(self._lost.popleft(), None)
        self._allowance.running = len(self._running)

    def _join(self, tokens: float, caller: "_Caller", wake: Callable[[], None]) -> "_Waiter":
        waiter = _Waiter(tokens, caller, wake)
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
            self._take_back()
            delay = self._allowance.delay(waiter.tokens, now)
            if delay is None:
                stuck = sum(waiter.caller.holds_up(other) for other in self._running.values())
                delay = self._allowance.delay(waiter.tokens, now, stuck=stuck)
            if left is not None and delay is not None and delay > left:
                raise RateLimitError(
                    f"The next request may begin in {delay:.0f} s, and there are {left:.0f} s left.",
                    mend="Wait, raise deadline=…, or allow more per minute.",
                    retry_after=delay,
                )
            if left is not None and left <= 0:
                raise LLMTimeoutError("No turn came in time.", mend="Raise deadline=…, or call with fewer at a time.")
            is_first = self._is_first(waiter)
            if is_first and delay == 0:
                self._queue.remove(waiter)
                waiter.is_queued = False
                self._due = None
                return self._start(waiter.tokens, waiter.caller, now), 0.0
            self._pass_over(delay, now)
            if not is_first or delay is None:
                delay = _LOOK
            return None, min(delay, _LOOK, _LOOK if left is None else left)

    def _is_first(self, waiter: "_Waiter") -> bool:
        """Tell whether none is in front of *waiter*, but for those that cannot go before it has gone."""
        for other in self._queue:
            if other is waiter:
                return True
            if not waiter.caller.holds_up(other.caller):
                break
        return False

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
        # As many as there are places: in a loop that has much to do, one that wakes the next would take its time.
        if self._queue:
            for waiter in islice(self._queue, self._allowance.places):
                waiter.wake()


class Turn:
    """A request that has begun."""

    __slots__ = ("begun", "entry", "lost", "number")

    def __init__(self, number: int, begun: float, entry: Entry, lost: deque[int]) -> None:
        self.number = number
        self.begun = begun
        self.entry = entry
        self.lost: deque[int] | None = lost

    def __del__(self) -> None:
        # Whoever had it was interrupted before it could give it back.
        lost = getattr(self, "lost", None)
        if lost is not None:
            lost.append(self.number)


class _Caller:
    """Who has a turn, or waits for one."""

    __slots__ = ("is_blocking", "thread")

    def __init__(self, thread: int, *, is_blocking: bool) -> None:
        self.thread = thread
        self.is_blocking = is_blocking

    def holds_up(self, other: "_Caller") -> bool:
        """Tell whether *other* cannot go on while this one waits: its event loop is blocked, or it is what asked."""
        return self.thread == other.thread and (self.is_blocking or other.is_blocking)


class _Waiter:
    __slots__ = ("caller", "is_queued", "tokens", "wake")

    def __init__(self, tokens: float, caller: _Caller, wake: Callable[[], None]) -> None:
        self.tokens = tokens
        self.caller = caller
        self.wake = wake
        self.is_queued = True
