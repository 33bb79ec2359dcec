"""One call of a client, held to its budgets before it begins and counted however it ends."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import replace
from types import TracebackType
from typing import Any, Protocol, Self

from opto.blocks import without_last
from opto.errors import (
    BudgetError,
    LLMConnectionError,
    LLMError,
    LLMTimeoutError,
    OptoError,
    ServerError,
)
from opto.llm.messages import Reply, Usage
from opto.llm.pacing import Clock
from opto.llm.spending.budget import (
    Budget,
    Reservation,
    begin_holding,
    budgets_in_force,
    end_holding,
    pay_inside,
    reserve,
    reserve_async,
)
from opto.llm.spending.expecting import Expectations
from opto.llm.spending.ledger import Ledger, ledgers_in_force
from opto.llm.spending.prices import Price, Pricing
from opto.llm.spending.records import CallRecord

__all__ = ["Meter", "MeteredCall"]

#: Records that a client keeps itself, whatever it was asked: totals are of all calls.
_KEPT = 10_000
#: What kept a connection from being made: nothing was sent. Names, since SDKs bring their own.
_NOT_SENT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ConnectionRefusedError", "gaierror"}


class Labels(Protocol):
    """For whom a call is made."""

    @property
    def role(self) -> str | None: ...
    @property
    def operator(self) -> str | None: ...
    @property
    def step(self) -> int | None: ...


class Attempts(Protocol):
    """The attempts of one call so far, as `opto.llm.pacing` keeps them."""

    clock: Clock
    sent: int
    failures: list[LLMError]

    @property
    def left(self) -> float | None: ...


class Meter:
    """What the calls of one client cost, and what they may.

    Args:
        ledger: Where they are entered, besides those whose blocks are around; None for one of its own.
        budget: What holds for them, besides those whose blocks are around: one or several.
        price: What the user says that calls cost.
        is_official: False for a server of one's own, whose prices no table knows.
    """

    def __init__(
        self,
        *,
        ledger: Ledger | None = None,
        budget: "Budget | Sequence[Budget] | None" = None,
        price: "Price | tuple[float, ...] | None" = None,
        is_official: bool = True,
    ) -> None:
        if ledger is not None and not isinstance(ledger, Ledger):
            raise OptoError(f"The ledger is {ledger!r:.80}.", mend="Give an opto.llm.Ledger, such as Ledger(file).")
        self.ledger = Ledger(keep=_KEPT) if ledger is None else ledger
        self.pricing = Pricing(price, is_official=is_official)
        self.expectations = Expectations()
        self._budgets = _budgets(budget)

    @property
    def seconds_left(self) -> float | None:
        """Seconds that the budgets in force here leave for a call; None if they do not limit them."""
        budgets = self.budgets()
        if not budgets:
            return None
        limits = (budget.seconds_left for budget in budgets)
        return min((limit for limit in limits if limit is not None), default=None)

    def check_time(self) -> None:
        """Raise if the time of a budget in force here is over.

        Raises:
            BudgetError: It is.
        """
        for budget in self.budgets():
            budget.check_time()

    def budgets(self) -> tuple[Budget, ...]:
        """Return the budgets that hold for a call that begins here."""
        around = budgets_in_force()
        return tuple(dict.fromkeys((*around, *self._budgets))) if around else self._budgets

    def ledgers(self) -> tuple[Ledger, ...]:
        """Return the ledgers that count a call that begins here."""
        around = ledgers_in_force()
        return tuple(dict.fromkeys((*around, self.ledger))) if around else (self.ledger,)

    def call(
        self,
        model: "str | Callable[[], str]",
        messages: Sequence[Mapping[str, Any]],
        settings: Mapping[str, Any],
        *,
        labels: Labels,
        attempts: Attempts,
    ) -> "MeteredCall":
        """Return what a call stands inside of: ``with`` or ``async with``.

        ::

            with meter.call(model, messages, settings, labels=labels(), attempts=attempts) as call:
                return call.replied(ask(adapter, messages, settings, attempts))

        Entering it may wait for room in the budgets, or raise `BudgetError`. The time that budgets leave a call is
        `seconds_left`, for its deadline. Each attempt calls `MeteredCall.begin` first: it counts the call, and none is
        begun after the earlier ones used up what there was. A server may tell the name of its model only when it is
        asked: *model* may be a function.
        """
        return MeteredCall(self, model, messages, settings, labels=labels, attempts=attempts)

    def replayed(self, model: str, outcome: Reply | LLMError, *, labels: Labels, seconds: float = 0.0) -> None:
        """Count a call that a cassette answered, or refused as it was refused before: no budget pays for it."""
        usage = outcome.usage if isinstance(outcome, Reply) else None
        record = CallRecord(
            model,
            role=labels.role,
            operator=labels.operator,
            step=labels.step,
            usage=usage,
            cost=0.0,
            saved=self.pricing.cost(model, usage, answered_by=outcome.model) if isinstance(outcome, Reply) else 0.0,
            seconds=seconds,
            replayed=True,
            error=None if isinstance(outcome, Reply) else type(outcome).__name__,
        )
        ledgers = self.ledgers()
        _count_inside(ledgers)
        pay_inside(self.budgets())
        for ledger in ledgers:
            ledger.enter(record)


class MeteredCall:
    """One call, from before it begins until it has ended: see `Meter.call`."""

    def __init__(
        self,
        meter: Meter,
        model: str | Callable[[], str],
        messages: Sequence[Mapping[str, Any]],
        settings: Mapping[str, Any],
        *,
        labels: Labels,
        attempts: Attempts,
    ) -> None:
        self._meter = meter
        self._model = model
        self._messages = messages
        self._settings = settings
        self._labels = labels
        self._attempts = attempts
        self._ledgers, self._budgets = meter.ledgers(), meter.budgets()
        self._limits_usage = any(budget.limits_usage for budget in self._budgets)
        self._reservation: Reservation | None = None
        self._reply: Reply | None = None
        self._begun = attempts.clock.now()
        #: Failures that are counted already, what is known of their cost, and whether there may be more.
        self._counted = 0
        self._wasted: Usage | None = None
        self._cost: float | None = 0.0
        self._is_uncertain = False
        #: Those in which calls inside of this one are counted as well.
        self._counted_inside: set[Ledger] = set()

    @property
    def model(self) -> str:
        """Under what name it is counted."""
        model = self._model if isinstance(self._model, str) else self._model()
        named = self._settings.get("model")
        return f"{model.partition(':')[0]}:{named}" if isinstance(named, str) else model

    def __enter__(self) -> Self:
        budgets = self._budgets
        if budgets:
            tokens, cost = self._estimate(budgets)
            attempts = self._attempts
            with ExitStack() as waiting:
                waiting.push(self._ended_waiting)
                self._hold(reserve(budgets, tokens=tokens, cost=cost, left=lambda: attempts.left, clock=attempts.clock))
        return self._entered()

    async def __aenter__(self) -> Self:
        budgets = self._budgets
        if budgets:
            tokens, cost = self._estimate(budgets)
            attempts = self._attempts
            with ExitStack() as waiting:
                waiting.push(self._ended_waiting)
                self._hold(
                    await reserve_async(
                        budgets, tokens=tokens, cost=cost, left=lambda: attempts.left, clock=attempts.clock
                    )
                )
        return self._entered()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _around.set(without_last(_around.get(), self._counted_inside))
        if self._attempts.failures:
            self._count_failures()
        failures, sent, reply = len(self._attempts.failures), self._attempts.sent, self._reply
        # An attempt that ended neither in a reply nor in an error of the model: cancelled, interrupted, or user code
        # that raised. What raises an error of opto's own sent nothing.
        is_cut_off = reply is None and sent > failures and not isinstance(error, OptoError)
        self._is_uncertain |= is_cut_off
        model, usage = self.model, None if reply is None else reply.usage
        cost = None if reply is None else self._meter.pricing.cost(model, usage, answered_by=reply.model)
        if usage is not None:
            self._meter.expectations.learn(model, usage)
        if self._reservation is not None:
            end_holding(self._reservation)
            self._settle(self._reservation, cost, is_cut_off=is_cut_off)
        self._enter(model, usage, cost, error)

    def _settle(self, reservation: Reservation, cost: float | None, *, is_cut_off: bool) -> None:
        usage = None if self._reply is None else self._reply.usage
        if usage is None and self._reply is not None and self._limits_usage:
            usage = self._meter.expectations.by_texts(self._messages, self._reply)
            cost = self._meter.pricing.cost(self.model, usage)
        is_unreported = usage is None and self._reply is not None
        reservation.settle(usage, cost, uncertain=is_cut_off, unreported=is_unreported)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def begin(self) -> None:
        """Say that an attempt is sent now.

        Raises:
            BudgetError: What earlier ones cost leaves no room for it.
        """
        reservation = self._reservation
        if reservation is not None:
            self._count_failures()
            for budget in self._budgets:
                budget.check_time()
            reservation.check()
            reservation.send()

    def replied(self, reply: Reply) -> Reply:
        """Say what came of it."""
        self._reply = reply
        return reply

    def _estimate(self, budgets: Sequence[Budget]) -> tuple[int, float | None]:
        """Return what the call may take of what the budgets limit: estimating long texts takes its time."""
        if not self._limits_usage:
            return 0, None
        expected = self._meter.expectations.of(self.model, self._messages, self._settings)
        limits = [budget for budget in budgets if budget.limits_cost]
        # As far as anybody knows, all that is read may be written to a cache, which may cost more.
        dearest = replace(expected, cache_write_tokens=expected.input_tokens)
        cost = self._meter.pricing.cost(self.model, dearest) if limits else None
        if limits and cost is None:
            raise BudgetError(
                f"What {self.model} costs is not known, and there is a budget of money.",
                mend=self._meter.pricing.mend(),
                resource="cost",
                limit=limits[0].limit.cost or 0.0,
            )
        return expected.total_tokens, cost

    def _ended_waiting(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Enter a call that ended while it waited for room. One that was refused is none."""
        if error is not None and not isinstance(error, BudgetError):
            self._enter(self.model, None, None, error)

    def _entered(self) -> Self:
        around = _around.get()
        if around:
            _count_inside(self._ledgers)
        _around.set((*around, self._counted_inside))
        return self

    def _hold(self, reservation: Reservation) -> None:
        self._reservation = reservation
        begin_holding(reservation)

    def _count_failures(self) -> None:
        """Count what failed attempts cost that are not counted yet."""
        for failure in self._attempts.failures[self._counted :]:
            self._counted += 1
            usage = failure.usage
            # The last one may have failed before it was sent: no turn came.
            is_uncertain = self._counted <= self._attempts.sent and _may_be_billed(failure)
            if usage is None and not is_uncertain:
                continue
            cost = None if usage is None else self._meter.pricing.cost(self.model, usage)
            if self._reservation is not None:
                self._reservation.charge(usage, cost, uncertain=is_uncertain)
            self._is_uncertain |= is_uncertain
            if usage is not None:
                self._wasted = usage + (self._wasted or Usage())
                self._cost = None if self._cost is None or cost is None else self._cost + cost

    def _enter(self, model: str, usage: Usage | None, cost: float | None, error: BaseException | None) -> None:
        if self._reply is not None:
            known = None if cost is None or self._cost is None else cost + self._cost
        else:
            # Of a failure that may have been billed, nothing else is known.
            known = None if self._is_uncertain and not self._cost else self._cost
        record = CallRecord(
            model,
            role=self._labels.role,
            operator=self._labels.operator,
            step=self._labels.step,
            usage=usage,
            wasted=self._wasted,
            cost=known,
            seconds=self._attempts.clock.now() - self._begun,
            retries=max(0, self._attempts.sent - 1),
            error=None if self._reply is not None or error is None else type(error).__name__,
            uncertain=self._is_uncertain,
        )
        inside = self._counted_inside
        for ledger in self._ledgers:
            ledger.enter(_without_use(record) if ledger in inside else record)


#: What the calls around a place are told: a function in place of a model may ask models itself. Not the calls: a
#: connection keeps the context in which it was opened, and would keep the client that is to close it.
_around: ContextVar[tuple[set[Ledger], ...]] = ContextVar("opto_calls", default=())


def _count_inside(ledgers: Sequence[Ledger]) -> None:
    for counted in _around.get():
        counted.update(ledgers)


def _without_use(record: CallRecord) -> CallRecord:
    """Return *record* for a ledger that counts what was used already: with the calls inside of this one."""
    usage = None if record.usage is None and record.error is not None else Usage()
    return replace(record, usage=usage, wasted=None, cost=0.0, uncertain=False)


def _may_be_billed(error: LLMError) -> bool:
    """Whether a failed attempt may have cost something of which nobody said how much."""
    if error.usage is not None:
        return False
    if isinstance(error, LLMTimeoutError | LLMConnectionError):
        return not _was_not_sent(error)
    # A server that says that it failed did nothing; one that sent something else may have.
    return (isinstance(error, ServerError) or type(error) is LLMError) and (error.status or 200) < 300


def _was_not_sent(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if type(cause).__name__ in _NOT_SENT:
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _budgets(given: Any) -> tuple[Budget, ...]:
    budgets = () if given is None else (given,) if isinstance(given, Budget) else given
    if not isinstance(budgets, tuple | list) or not all(isinstance(budget, Budget) for budget in budgets):
        raise OptoError(f"The budget is {given!r:.80}.", mend="Give an opto.llm.Budget, or a list of them.")
    return tuple(dict.fromkeys(budgets))
