"""What is spent, what calls in flight hold, and who waits for it: numbers only, no clock and no blocking."""

import os
import threading
from _thread import get_ident
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from opto.errors import BudgetError
from opto.llm.messages import Usage
from opto.llm.spending.table import dollars, number

__all__ = ["LOCK", "Account", "Amounts", "Reservation", "Waiter"]

#: Of all budgets: a call that needs several takes all or none. It may be taken again by what is finalized meanwhile.
LOCK = threading.RLock()
if hasattr(os, "register_at_fork"):
    # A forked process gets numbers that nobody was about to change.
    os.register_at_fork(before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=LOCK.release)
#: Money is counted in whole units, so that what is held and given back adds up to nothing.
_UNITS = 10**12
_NAMES = ("calls", "tokens", "cost")


class Amounts(NamedTuple):
    """How much of what budgets limit; cost in units of `dollars_of`."""

    calls: int = 0
    tokens: int = 0
    cost: int = 0

    @classmethod
    def of(cls, calls: int, tokens: int, cost: float | None) -> "Amounts":
        return cls(calls, tokens, units(cost or 0.0))

    def plus(self, other: "Amounts") -> "Amounts":
        return Amounts(self.calls + other.calls, self.tokens + other.tokens, self.cost + other.cost)

    def minus(self, other: "Amounts") -> "Amounts":
        return Amounts(self.calls - other.calls, self.tokens - other.tokens, self.cost - other.cost)


_NOTHING = Amounts()


def units(cost: float) -> int:
    return round(cost * _UNITS)


def dollars_of(cost: int) -> float:
    return cost / _UNITS


class Account:
    """One budget's numbers. Whoever calls anything here holds `LOCK`."""

    def __init__(self, calls: int | None, tokens: int | None, cost: float | None) -> None:
        self.limits = (calls, tokens, None if cost is None else units(cost))
        self.spent = self.held = _NOTHING
        #: How many of those who hold something do not wait themselves, and so will give it back.
        self.running = 0
        #: Whether something was spent of which the cost is not known.
        self.is_unpriced = False
        #: Whether there were replies of which nobody knows how many tokens they took.
        self.is_unreported = False
        self.queue: deque[Waiter] = deque()
        #: Whose calls in event loops hold something, each with the thread of its loop.
        self.in_loops: dict[Reservation, int] = {}

    def begin_again(self, around: Sequence["Reservation"]) -> None:
        """Forget what calls of the process hold that this one was forked from, except for those *around*."""
        self.held, self.running = _NOTHING, 0
        self.queue.clear()
        self.in_loops.clear()
        for reservation in around:
            self.held = self.held.plus(reservation.held)
            self.running += 1

    def stuck(self, thread: int | None) -> "list[Reservation]":
        """Return what calls hold that cannot go on while *thread* is blocked: it is that of their event loop."""
        return [found for found, of_loop in self.in_loops.items() if of_loop == thread]

    def lacks(self, need: Amounts, taken: Amounts) -> int | None:
        """Return the place of the first limit that *need* exceeds on top of *taken*; None if it fits.

        What a call does not need at all never hinders it: one that is free fits into any budget of money.
        """
        for place, (limit, more) in enumerate(zip(self.limits, need, strict=True)):
            if limit is not None and more > 0 and taken[place] + more > limit:
                return place
        return None

    def lacks_now(self, need: Amounts) -> int | None:
        return self.lacks(need, self.spent.plus(self.held))

    def lacks_for_good(self, need: Amounts, around: Sequence["Reservation"], blocked: int | None) -> int | None:
        """Do the same if all calls in flight came back as nothing, but for those that wait for this one.

        These are those *around* it, and those in the event loop of the thread that is *blocked* by it, if any. If all
        of them wait, somebody has to give way.
        """
        stuck = self.stuck(blocked)
        if self.running <= sum(not reservation.waits for reservation in stuck):
            return self.lacks_now(need)
        taken = self.spent
        for reservation in dict.fromkeys([*around, *stuck]):
            if self in reservation.accounts:
                taken = taken.plus(reservation.held)
        return self.lacks(need, taken)

    def refusal(self, place: int, need: Amounts) -> BudgetError:
        """Build the error for a call that does not fit."""
        name, limit, spent, more = _NAMES[place], self.limits[place] or 0, self.spent[place], need[place]
        held = self.held[place]
        said = _SAID[place]
        flight = f", calls in flight hold {said(held)}" if held else ""
        if place == 0:
            problem = f"The budget of {said(limit)} is used up: {said(spent)} made{flight}."
        else:
            problem = (
                f"The budget of {said(limit)} has no room for another call: {said(spent)} spent{flight},"
                f" and the call may take {said(more)}."
            )
        amounts = [dollars_of(item) if place == len(_NAMES) - 1 else item for item in (limit, spent, held, more)]
        return BudgetError(
            problem,
            mend=_MENDS[place],
            resource=name,
            limit=amounts[0],
            spent=amounts[1],
            reserved=amounts[2],
            needed=amounts[3],
        )


_SAID: tuple[Callable[[int], str], ...] = (
    lambda count: f"{number(count)} call{'' if count == 1 else 's'}",
    lambda count: f"{number(count)} tokens",
    lambda cost: dollars(dollars_of(cost)),
)
_MENDS = (
    "Raise Budget(calls=…), or stop here.",
    "Raise Budget(tokens=…), or set max_tokens=… for calls, by which they are estimated.",
    "Raise Budget(cost=…), set max_tokens=… for calls, by which they are estimated, or use a cheaper model.",
)


class Reservation:
    """What one call holds of all its budgets, until it is settled: exactly once, whatever comes of it."""

    __slots__ = ("_waiting", "accounts", "estimate", "held", "is_sent", "is_settled", "paid_inside")

    def __init__(self, accounts: Sequence[Account], estimate: Amounts, in_loop_of: int | None = None) -> None:
        self.accounts = accounts
        self.estimate = estimate
        self.held = _NOTHING
        #: How many calls inside of this one wait for their turn: what it holds does not come back before they have it.
        self._waiting = 0
        #: Those to which calls inside of this one were held as well: they pay there for what it used.
        self.paid_inside: set[Account] = set()
        self.is_sent = self.is_settled = False
        self._hold(estimate)
        self._run(1)
        if in_loop_of is not None:
            for account in accounts:
                account.in_loops[self] = in_loop_of

    @property
    def waits(self) -> bool:
        """Whether calls inside of it wait."""
        return self._waiting > 0

    def send(self) -> None:
        """Count the call: from now on it is one that was made."""
        with LOCK:
            if not self.is_sent:
                self.is_sent = True
                self._hold(self.held._replace(calls=0))
                self._spend(Amounts(calls=1))
                advance(self.accounts)

    def charge(self, usage: Usage | None, cost: float | None, *, uncertain: bool = False) -> None:
        """Count what a part of the call used, and go on holding what is estimated for the rest.

        Args:
            usage: What it used; None if nobody said.
            cost: In US dollars; None if it is not known.
            uncertain: It may have been billed, and nobody said how much: the estimate is counted.
        """
        with LOCK:
            self._charge(usage, cost, uncertain=uncertain)
            advance(self.accounts)

    def check(self) -> None:
        """Raise if what this call was already charged leaves no room for what it holds.

        Raises:
            BudgetError: It does not.
        """
        with LOCK:
            for account in self.accounts:
                place = account.lacks(self.held, account.spent)
                if place is not None:
                    raise account.refusal(place, self.held)

    def settle(
        self, usage: Usage | None, cost: float | None, *, uncertain: bool = False, unreported: bool = False
    ) -> None:
        """Count what was used, as `charge` does, and give back the rest. A call that was never sent is none.

        Args:
            usage: What was used; None if nothing was, or nobody knows.
            cost: US dollars.
            uncertain: Whether it may have been billed, and counts as estimated.
            unreported: Whether there was a reply that does not say what it used.
        """
        with LOCK:
            assert not self.is_settled, "a reservation is settled once"
            if unreported:
                for account in self.accounts:
                    account.is_unreported |= account not in self.paid_inside
                    account.is_unpriced |= cost is None and account not in self.paid_inside
            self._charge(usage, cost, uncertain=uncertain)
            self._hold(_NOTHING)
            if not self._waiting:
                self._run(-1)
            for account in self.accounts:
                account.in_loops.pop(self, None)
            self.is_settled = True
            advance(self.accounts)

    def wait(self, more: int) -> None:
        """Count calls inside of this one that wait."""
        waited, self._waiting = bool(self._waiting), self._waiting + more
        if waited != bool(self._waiting) and not self.is_settled:
            self._run(1 if waited else -1)

    def _charge(self, usage: Usage | None, cost: float | None, *, uncertain: bool) -> None:
        if usage is None and cost is None and not uncertain:
            return
        tokens = usage.total_tokens if usage is not None else self.estimate.tokens if uncertain else 0
        self._spend(Amounts(0, tokens, self.estimate.cost if cost is None else units(cost)), but=self.paid_inside)
        for account in self.accounts:
            account.is_unpriced |= cost is None and account not in self.paid_inside

    def _hold(self, amounts: Amounts) -> None:
        more, self.held = amounts.minus(self.held), amounts
        for account in self.accounts:
            account.held = account.held.plus(more)

    def _run(self, more: int) -> None:
        for account in self.accounts:
            account.running += more

    def _spend(self, amounts: Amounts, but: Collection[Account] = ()) -> None:
        for account in self.accounts:
            if account not in but:
                account.spent = account.spent.plus(amounts)


class Waiter:
    """A call that wants to begin: `outcome` tells whether it may, and None that it has to wait."""

    __slots__ = ("_wake", "accounts", "around", "in_loop_of", "is_queued", "need", "outcome", "thread")

    def __init__(
        self,
        accounts: Sequence[Account],
        need: Amounts,
        around: Sequence[Reservation],
        wake: Callable[[], bool],
        *,
        is_blocking: bool = True,
    ) -> None:
        self.accounts = accounts
        self.need = need
        self.around = around
        self._wake = wake
        thread = get_ident()
        #: The thread that is blocked while this one waits; and that whose event loop it waits in.
        self.thread: int | None = thread if is_blocking else None
        self.in_loop_of: int | None = None if is_blocking else thread
        self.outcome: Reservation | BudgetError | None = None
        self.is_queued = False

    def join(self) -> None:
        """Take what is needed; else wait for it, behind those who came before."""
        with LOCK:
            # A call inside of another one goes first: the other one holds its part until it is done.
            is_inner = False
            for outer in self.around:
                shared = [account for account in self.accounts if account in outer.accounts]
                outer.paid_inside.update(shared)
                is_inner |= bool(shared)
            # So does one that blocks an event loop: those in it can do nothing before.
            goes_first = is_inner or self._blocks_a_loop()
            self._look(is_behind=not goes_first and any(account.queue for account in self.accounts))
            if self.outcome is not None:
                return
            self.is_queued = True
            for account in self.accounts:
                (account.queue.appendleft if goes_first else account.queue.append)(self)
            for outer in self.around:
                outer.wait(1)
            # It may fit where those before it wait for another budget; and all may wait now, for each other.
            advance([*self.accounts, *(account for outer in self.around for account in outer.accounts)])

    def leave(self) -> None:
        """Stop waiting, and give back what nobody took any more."""
        with LOCK:
            if self.is_queued:
                self._dequeue()
                advance(self.accounts)
            elif isinstance(self.outcome, Reservation) and not self.outcome.is_settled:
                self.outcome.settle(None, None)

    def look(self) -> bool:
        """Tell whether there is an outcome now, for one that is first in a queue."""
        self._look(is_behind=False)
        if self.outcome is None:
            return False
        self._dequeue()
        is_awake = self._wake()  # its event loop may be closed
        if not is_awake and isinstance(self.outcome, Reservation):
            self.outcome.settle(None, None)
        return True

    def _look(self, *, is_behind: bool) -> None:
        if not is_behind and all(account.lacks_now(self.need) is None for account in self.accounts):
            self.outcome = Reservation(self.accounts, self.need, self.in_loop_of)
            return
        for account in self.accounts:
            place = account.lacks_for_good(self.need, self.around, self.thread)
            if place is not None:
                self.outcome = account.refusal(place, self.need)
                return

    def _blocks_a_loop(self) -> bool:
        if self.thread is None:
            return False
        queued = (waiter.in_loop_of for account in self.accounts for waiter in account.queue)
        return self.thread in queued or any(account.stuck(self.thread) for account in self.accounts)

    def _dequeue(self) -> None:
        self.is_queued = False
        for account in self.accounts:
            account.queue.remove(self)
        for outer in self.around:
            outer.wait(-1)


def advance(accounts: Sequence[Account]) -> None:
    """Let go whoever waits and fits now, or never will; first come, first served."""
    changed = dict.fromkeys(accounts)
    while changed:
        account, _ = changed.popitem()
        place = 0
        while place < len(account.queue):
            waiter = account.queue[place]
            if waiter.look():
                # Others may have been behind it in its other queues.
                changed.update(dict.fromkeys(waiter.accounts))
            elif account.lacks_now(waiter.need) is None:
                place += 1  # it waits for another budget
            else:
                break
