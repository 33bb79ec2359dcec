"""One call is as many attempts as it takes, and as its patience allows."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from opto.errors import BadRequestError, LLMError, LLMTimeoutError, kind_of
from opto.llm.adapter import Adapter
from opto.llm.messages import Message, Reply
from opto.llm.pacing.clock import Clock
from opto.llm.pacing.deadlines import run_within
from opto.llm.pacing.throttle import Throttle, Turn
from opto.llm.tokens import estimate_messages

__all__ = ["DEADLINE", "RETRIES", "Attempts", "Patience", "ask", "ask_async"]

RETRIES = 4
DEADLINE = 600.0

#: Seconds before the first retry, and at most; each wait is twice the one before.
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
#: Seconds that are never waited, deadline or not.
_NEVER = 86400.0
#: The part of a wait that chance leaves.
_LEAST = 0.5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long a call is tried.

    Args:
        retries: Attempts after the first.
        deadline: Seconds for all attempts and the waits between them; None for no end.
        timeout: Seconds for one attempt; None for what is left of the deadline.
    """

    retries: int = RETRIES
    deadline: float | None = DEADLINE
    timeout: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.retries, bool) or not isinstance(self.retries, int) or self.retries < 0:
            raise BadRequestError(f"retries is {self.retries!r:.80}.", mend="Give a whole number from 0 on.")
        for name in ("timeout", "deadline"):
            seconds = getattr(self, name)
            is_time = isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds > 0
            if seconds is not None and not is_time:
                # An SDK finds out when its sockets are open, takes it for a bad connection, and tries again.
                raise BadRequestError(
                    f"{name} is {seconds!r:.80}.",
                    mend=f"Give seconds above 0, such as {name}=60, or None for none.",
                )


class Attempts:
    """The attempts of one call so far.

    Attributes:
        sent: How many were begun, and so may have been billed.
        failures: How they failed, in order, the last one included.
    """

    def __init__(self, patience: Patience, *, model: str, throttle: Throttle | None, clock: Clock) -> None:
        self._patience = patience
        self._throttle = throttle
        self._model = model
        self.clock = clock
        self._begun = clock.now()
        self._retries = 0
        self._turn: Turn | None = None
        self._seconds: float | None = None  # what the attempt that is running may take
        self.sent = 0
        self.failures: list[LLMError] = []

    @property
    def left(self) -> float | None:
        """Seconds until the deadline, never below 0."""
        deadline = self._patience.deadline
        return None if deadline is None else max(0.0, deadline - (self.clock.now() - self._begun))

    @property
    def seconds(self) -> float | None:
        """What the next attempt may take."""
        timeout, left = self._patience.timeout, self.left
        return timeout if left is None or (timeout is not None and timeout < left) else left

    @property
    def _wait(self) -> float:
        return float(min(_FIRST_WAIT * 2**self._retries, _LONGEST_WAIT))

    def tokens(self, messages: Sequence[Message], settings: Mapping[str, Any]) -> float:
        """Return what the call may cost, if anybody counts it: set right when its reply says what it did."""
        if self._throttle is None or not self._throttle.counts_tokens:
            return 0.0
        limit = settings.get("max_completion_tokens", settings.get("max_tokens", 0))
        written = max(0, limit) if isinstance(limit, int) else 0
        return written + estimate_messages(messages)

    def enter(self, tokens: float) -> Turn | None:
        """Wait until the next attempt may begin; None if there is nothing to wait for."""
        throttle = self._throttle
        return None if throttle is None else throttle.enter(tokens, lambda: self.left, clock=self.clock)

    async def aenter(self, tokens: float) -> Turn | None:
        """Do the same without blocking the event loop."""
        throttle = self._throttle
        return None if throttle is None else await throttle.aenter(tokens, lambda: self.left, clock=self.clock)

    def begin(self) -> None:
        """Let the deadline count from here: a call has not begun before its SDK is loaded."""
        self._begun = self.clock.now()

    def begun(self, turn: Turn | None, before: Callable[[], None]) -> float | None:
        """Count an attempt, and return what it may take."""
        self._turn = turn
        before()
        self.sent += 1
        self._seconds = self.seconds
        return self._seconds

    @property
    def _limit(self) -> str | None:
        """What the attempt that is running has to keep to, in words."""
        if self._seconds is None:
            return None
        name = "timeout" if self._seconds == self._patience.timeout else "deadline"
        return f"{name}={getattr(self._patience, name):g}"

    def ended(self, outcome: Reply | LLMError | None = None) -> None:
        """Give the turn back, if that was not done, and tell what came of it."""
        turn, self._turn = self._turn, None
        if self._throttle is not None and turn is not None:
            pause = self._wait * _LEAST if isinstance(outcome, LLMError) else 0.0
            self._throttle.finish(turn, outcome=outcome, pause=pause, now=self.clock.now())

    def succeeded(self, reply: Reply) -> Reply:
        if not isinstance(reply, Reply):  # of an adapter that somebody wrote
            raise BadRequestError(
                f"The adapter of {self._model} returned {kind_of(reply)}.", mend="Return an opto.llm.Reply."
            )
        self.ended(reply)
        return replace(reply, retries=self._retries) if self._retries else reply

    def wait_after(self, error: LLMError) -> float | None:
        """Return the seconds to wait before the next attempt; None if there is to be none."""
        self.ended(error)
        self.failures.append(error)
        error.retries = self._retries
        limit, self._seconds = self._limit, None
        if limit is not None and isinstance(error, LLMTimeoutError) and error.status is None:
            error.mend = f"{limit} ended it: call again or give it more time; this call may have been billed."
        may_help = error.transient if error.should_retry is None else error.should_retry
        if not may_help or self._retries >= self._patience.retries:
            return None
        wait = self._wait * (_LEAST + (1 - _LEAST) * self.clock.chance())
        if error.retry_after is not None:
            # Never before the time, and not all callers in the same instant.
            wait = error.retry_after + min(wait, error.retry_after / 10)
        left = self.left
        if wait >= (_NEVER if left is None else left):
            if left is not None and error.retry_after is not None:
                asked = f"The provider asks to wait {error.retry_after:g} s"
                error.mend = f"{asked}, which is beyond deadline={self._patience.deadline:g}: raise it, or call later."
            return None
        self._retries += 1
        _log.info("Retry %d of %s in %.1f s: %s", self._retries, self._model, wait, error.problem)
        return wait

    def too_late(self, cancelled: BaseException | None) -> LLMTimeoutError:
        """Return the error for an attempt that was cancelled because its time was over."""
        error = LLMTimeoutError(
            f"{self._model} did not answer in time.",
            mend="Call again or raise timeout=… or deadline=…; this call may have been billed.",
        )
        # Adapters leave there what had come until then.
        error.raw, error.usage = getattr(cancelled, "raw", None), getattr(cancelled, "usage", None)
        return error


def ask(
    adapter: Adapter,
    messages: Sequence[Message],
    settings: Mapping[str, Any],
    attempts: Attempts,
    *,
    before_each: Callable[[], None],
) -> Reply:
    """Ask until there is a reply, or an error that is final; also one that *before_each* attempt raises."""
    prepare = getattr(adapter, "prepare", None)  # adapters need not derive from the protocol
    if prepare is not None and prepare():
        attempts.begin()
    tokens = attempts.tokens(messages, settings)
    while True:
        try:
            seconds = attempts.begun(attempts.enter(tokens), before_each)
            return attempts.succeeded(run_within(seconds, adapter.complete, messages, settings))
        except LLMError as error:
            wait = attempts.wait_after(error)
            if wait is None:
                raise
        finally:
            attempts.ended()
        attempts.clock.sleep(wait)


async def ask_async(
    adapter: Adapter,
    messages: Sequence[Message],
    settings: Mapping[str, Any],
    attempts: Attempts,
    *,
    before_each: Callable[[], None],
) -> Reply:
    """Do the same without blocking the event loop."""
    from asyncio import timeout  # noqa: PLC0415 - as in Clock

    prepare = getattr(adapter, "aprepare", None)
    if prepare is not None and await prepare():
        attempts.begin()
    tokens = attempts.tokens(messages, settings)
    while True:
        try:
            timer = timeout(attempts.begun(await attempts.aenter(tokens), before_each))
            try:
                async with timer:
                    return attempts.succeeded(await adapter.acomplete(messages, settings))
            except TimeoutError as error:
                if not timer.expired():  # one of the adapter's own
                    raise
                # Python 3.11.2 does not say that the one is the cause of the other.
                raise attempts.too_late(error.__cause__ or error.__context__) from error
        except LLMError as error:
            wait = attempts.wait_after(error)
            if wait is None:
                raise
        finally:
            attempts.ended()
        await attempts.clock.asleep(wait)
