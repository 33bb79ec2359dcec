"""What may be spent, and who has to wait for it."""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any, NoReturn, Self

from opto.blocks import Block, without_last
from opto.errors import BudgetError, LLMTimeoutError, OptoError
from opto.forks import renew_after_fork
from opto.llm.pacing import Clock
from opto.llm.spending.accounts import LOCK, Account, Amounts, Reservation, Waiter, dollars_of
from opto.llm.spending.table import dollars, duration, number

__all__ = [
    "Budget",
    "Reservation",
    "Spent",
    "begin_holding",
    "budgets_in_force",
    "end_holding",
    "pay_inside",
    "reserve",
    "reserve_async",
]

#: How often those who wait look at the time, in seconds.
_LOOK = 1.0
_CLOCK = Clock()

#: What calls around this place hold: a function in place of a model may ask models itself.
_outer: ContextVar[tuple[Reservation, ...]] = ContextVar("opto_reservations", default=())


def budgets_in_force() -> tuple["Budget", ...]:
    """Return the budgets whose blocks are around here, outermost first."""
    return Budget.blocks.around()


@dataclass(frozen=True, slots=True)
class Spent:
    """Amounts of what budgets limit.

    Args:
        calls: Calls that were sent.
        tokens: Read and written; None if a reply did not say how many, and no limit made somebody estimate them.
        cost: US dollars; None if it is not known, or not limited.
        seconds: Wall time.
    """

    calls: int | None
    tokens: int | None
    cost: float | None
    seconds: float | None


class Budget(Block):
    """What calls of models may spend: a hard limit, checked before each call.

    It holds for calls made inside its block, and for clients that it is given to; several may hold at once, and any
    number of clients, threads and event loops may share one. What a call may use is estimated and held before it
    begins, and set right when it ends. One that does not fit only because of calls in flight waits for them; one that
    cannot fit raises. A call that was cut off and may have been billed counts as estimated.

    Args:
        calls: Calls that may be sent; attempts of the same call are one.
        tokens: Read and written, in all.
        cost: US dollars. Every model has to have a price then; one that is free always fits.
        seconds: Wall time since the budget was first entered or used. No call begins later, and those under way end
            then, with a `BudgetError`.

    Raises:
        OptoError: No limit is given, or one is no number.

    Example:
        >>> from opto.errors import BudgetError
        >>> from opto.llm import Usage
        >>> budget = Budget(tokens=2_000)
        >>> budget.reserve(tokens=1_500).settle(Usage(900, 300), None)
        >>> print(budget)
        1 call, 1,200 of 2,000 tokens
        >>> try:
        ...     budget.reserve(tokens=1_500)
        ... except BudgetError as error:
        ...     print(error.problem)
        The budget of 2,000 tokens has no room for another call: 1,200 tokens spent, and the call may take 1,500 tokens.
    """

    def __init__(
        self,
        *,
        calls: int | None = None,
        tokens: int | None = None,
        cost: float | None = None,
        seconds: float | None = None,
    ) -> None:
        limits = {"calls": calls, "tokens": tokens, "cost": cost, "seconds": seconds}
        if all(limit is None for limit in limits.values()):
            raise OptoError(
                "The budget has no limit.", mend="Give one: Budget(calls=100), tokens=…, cost=…, seconds=…."
            )
        for name, limit in limits.items():
            _check_limit(name, limit)
        self._limit = Spent(calls, tokens, cost, seconds)
        self._account = Account(calls, tokens, cost)
        self._began: float | None = None
        self._clock = Clock()
        renew_after_fork(self)

    def begin_again(self) -> None:
        """Forget what belongs to the process that this one was forked from: calls in flight, but not what was spent."""
        self._account.begin_again([item for item in _outer.get() if self._account in item.accounts])

    @property
    def limit(self) -> Spent:
        """What may be spent in all; None of what has no limit."""
        return self._limit

    @property
    def limits_cost(self) -> bool:
        """Whether calls need a price."""
        return self._limit.cost is not None

    @property
    def limits_usage(self) -> bool:
        """Whether what a call uses has to be estimated."""
        return self._limit.cost is not None or self._limit.tokens is not None

    @property
    def seconds_left(self) -> float | None:
        """Seconds until no call may begin, never below 0; None if there is no such limit."""
        return None if self._limit.seconds is None else max(0.0, self._limit.seconds - self._elapsed())

    @property
    def spent(self) -> Spent:
        """What was spent so far; what calls in flight hold is not in it."""
        with LOCK:
            account, spent = self._account, self._account.spent
            cost = None if account.is_unpriced and not self.limits_cost else dollars_of(spent.cost)
            tokens = None if account.is_unreported and self._limit.tokens is None else spent.tokens
        return Spent(spent.calls, tokens, cost, self._elapsed())

    @property
    def left(self) -> Spent:
        """What may still be spent, never below 0; None of what has no limit."""
        with LOCK:
            spent = self._account.spent
        calls, tokens, cost = (
            None if limit is None else max(0, limit - used)
            for limit, used in zip(self._account.limits, spent, strict=True)
        )
        return Spent(calls, tokens, None if cost is None else dollars_of(cost), self.seconds_left)

    def reserve(
        self, *, tokens: int = 0, cost: float | None = None, left: Callable[[], float | None] = lambda: None
    ) -> Reservation:
        """Hold what a call may use, before it begins: see `reserve`, which does the same for several budgets."""
        reservation = reserve((self,), tokens=tokens, cost=cost, left=left)
        reservation.send()
        return reservation

    def start(self) -> None:
        """Let the time run, if it does not yet."""
        with LOCK:
            if self._began is None:
                self._began = self._clock.now()

    def check_time(self) -> None:
        """Raise if the time is over.

        Raises:
            BudgetError: It is.
        """
        if self._limit.seconds is not None and self.seconds_left == 0:
            spent = self._elapsed()
            raise BudgetError(
                f"The budget of {duration(self._limit.seconds)} is used up: {duration(spent)} have passed.",
                mend="Raise Budget(seconds=…), or stop here.",
                resource="seconds",
                limit=self._limit.seconds,
                spent=spent,
            )

    def __enter__(self) -> Self:
        self.start()
        return super().__enter__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # A copy of a program spends the same money.
        return self

    def __copy__(self) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        # Each process would spend all of it.
        raise TypeError(f"{self!r} counts what this process spends: give each other process a budget of its own")

    def __str__(self) -> str:
        with LOCK:
            held = self._account.held
        spent, limit = self.spent, self._limit
        cost = dollars(spent.cost or 0.0) if spent.cost or self.limits_cost else ""
        parts = [
            _part(number(spent.calls or 0), limit.calls, number, "call"),
            "" if spent.tokens is None else _part(number(spent.tokens), limit.tokens, number, "token"),
            f"{cost} of {dollars(limit.cost)}" if limit.cost is not None else cost,
            f"{duration(self._elapsed())} of {duration(self._limit.seconds)}"
            if self._limit.seconds is not None
            else "",
            f"{number(held.tokens)} tokens held by calls in flight" if held.tokens else "",
        ]
        return ", ".join(filter(None, parts))

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={limit!r}" for name, limit in asdict(self._limit).items() if limit is not None)
        return f"Budget({given})"

    def _elapsed(self) -> float:
        return 0.0 if self._began is None else self._clock.now() - self._began


def reserve(
    budgets: Sequence[Budget],
    *,
    tokens: int = 0,
    cost: float | None = None,
    left: Callable[[], float | None] = lambda: None,
    clock: Clock = _CLOCK,
) -> Reservation:
    """Hold what a call may use of all *budgets*, or of none of them; wait for calls in flight if that may help.

    Args:
        budgets: Those in force for the call; one that is in there twice counts once.
        tokens: Estimated.
        cost: Estimated, in US dollars; None if no budget needs it.
        left: Seconds that the call has until its deadline; None for no end.
        clock: To wait by.

    Raises:
        BudgetError: The call cannot fit, whatever comes of those in flight.
        LLMTimeoutError: No room came in time.
    """
    event = threading.Event()

    def wake() -> bool:
        event.set()
        return True

    with _waiting(budgets, Amounts.of(1, tokens, cost), wake) as waiter:
        while waiter.outcome is None:
            clock.wait(event, _patience(budgets, left()))
        return _taken(waiter)


async def reserve_async(
    budgets: Sequence[Budget],
    *,
    tokens: int = 0,
    cost: float | None = None,
    left: Callable[[], float | None] = lambda: None,
    clock: Clock = _CLOCK,
) -> Reservation:
    """Do the same without blocking the event loop."""
    import asyncio  # noqa: PLC0415 - runs already

    event, loop = asyncio.Event(), asyncio.get_running_loop()

    def wake() -> bool:
        try:
            loop.call_soon_threadsafe(event.set)
        except RuntimeError:  # a loop that was closed in the middle
            return False
        return True

    with _waiting(budgets, Amounts.of(1, tokens, cost), wake, is_blocking=False) as waiter:
        while waiter.outcome is None:
            await clock.await_event(event, _patience(budgets, left()))
        return _taken(waiter)


def begin_holding(reservation: Reservation) -> None:
    """Say that calls from here on are made by the one that holds this: they must not wait for it."""
    _outer.set((*_outer.get(), reservation))


def end_holding(reservation: Reservation) -> None:
    """Take it back; not by a token: an event loop that was left in the middle of a call ends it in another context."""
    _outer.set(without_last(_outer.get(), reservation))


def pay_inside(budgets: Sequence[Budget]) -> None:
    """Say that a call which a cassette answers is held to these: what those around it report was paid long ago."""
    for outer in _outer.get():
        outer.paid_inside.update(budget._account for budget in budgets)  # noqa: SLF001 - of this module


@contextmanager
def _waiting(
    budgets: Sequence[Budget], need: Amounts, wake: Callable[[], bool], *, is_blocking: bool = True
) -> Iterator[Waiter]:
    budgets = list(dict.fromkeys(budgets))
    for budget in budgets:
        budget.start()
        budget.check_time()
    accounts = [budget._account for budget in budgets]  # noqa: SLF001 - of this module
    waiter = Waiter(accounts, need, _outer.get(), wake, is_blocking=is_blocking)
    is_taken = False
    try:
        waiter.join()
        yield waiter
        is_taken = isinstance(waiter.outcome, Reservation)
    finally:
        if not is_taken:
            waiter.leave()


def _taken(waiter: Waiter) -> Reservation:
    if isinstance(waiter.outcome, BudgetError):
        raise waiter.outcome
    assert waiter.outcome is not None
    return waiter.outcome


def _patience(budgets: Sequence[Budget], left: float | None) -> float:
    """Return how long to wait before the next look."""
    for budget in budgets:
        budget.check_time()
    if left is not None and left <= 0:
        raise LLMTimeoutError(
            "Calls in flight held the budget until the deadline.",
            mend="Raise deadline=… or the budget, or call with fewer at a time.",
        )
    limits = [left, *(budget.seconds_left for budget in budgets)]
    return min([_LOOK, *(limit for limit in limits if limit is not None)])


def _check_limit(name: str, limit: Any) -> None:
    if limit is None:
        return
    kinds = int | float if name in {"cost", "seconds"} else int
    is_number = isinstance(limit, kinds) and not isinstance(limit, bool) and limit < math.inf
    # No money at all means models that are free.
    if not is_number or limit < 0 or (limit == 0 and name != "cost"):
        raise OptoError(f"The budget's {name} is {limit!r:.80}.", mend=f"Give a number, such as Budget({name}=100).")


def _part(spent: str, limit: float | None, said: Callable[[float], str], name: str) -> str:
    if limit is None:
        return f"{spent} {name}{'' if spent == '1' else 's'}"
    return f"{spent} of {said(limit)} {name}{'' if limit == 1 else 's'}"
