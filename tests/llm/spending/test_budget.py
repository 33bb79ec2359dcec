"""What may be spent: a hard limit, whoever asks at once, and nobody waits for ever."""

import asyncio
import copy
import gc
import itertools
import pickle
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import BudgetError, LLMError, LLMTimeoutError, OptoError
from opto.llm import Usage
from opto.llm.pacing import Clock
from opto.llm.spending import Budget, accounts, budgets_in_force, reserve, reserve_async
from opto.llm.spending.budget import begin_holding, end_holding


class Steps(Clock):
    """A clock that moves when somebody waits, and at once."""

    def __init__(self):
        self.time = 0.0

    def now(self):
        return self.time

    def wait(self, event, seconds):
        self.time += seconds

    async def await_event(self, event, seconds):
        self.time += seconds


class Signals(Clock):
    """Tells when somebody waits."""

    def __init__(self):
        self.waiting = threading.Semaphore(0)

    def wait(self, event, seconds):
        self.waiting.release()
        super().wait(event, seconds)


def until(clock, end):
    return lambda: max(0.0, end - clock.now())


# What fits, and what does not.


@pytest.mark.parametrize("limits", [{"calls": 2}, {"tokens": 300}, {"cost": 0.3}, {"calls": 2, "tokens": 10**9}])
def test_what_does_not_fit_raises_before_it_begins(limits):
    budget = Budget(**limits)
    for _ in range(2):
        budget.reserve(tokens=100, cost=0.1).settle(Usage(60, 60), 0.12)
    with pytest.raises(BudgetError) as caught:
        budget.reserve(tokens=100, cost=0.1)
    error = caught.value
    assert error.resource == next(iter(limits))
    assert error.limit == next(iter(limits.values()))
    assert error.spent == {"calls": 2, "tokens": 240, "cost": 0.24}[error.resource]
    assert error.needed == {"calls": 1, "tokens": 100, "cost": 0.1}[error.resource]
    assert f"Raise Budget({error.resource}=…)" in str(error)
    assert not isinstance(error, LLMError), "a step must not record it and go on"


def test_errors_survive_a_pickle():
    budget = Budget(calls=1)
    budget.reserve().settle(None, None)
    with pytest.raises(BudgetError) as caught:
        budget.reserve()
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.resource, error.limit, error.spent, str(error)) == ("calls", 1, 1, str(caught.value))


def test_a_limit_may_be_used_up_to_the_last_unit():
    budget = Budget(calls=1, tokens=100, cost=0.1)
    budget.reserve(tokens=100, cost=0.1).settle(Usage(50, 50), 0.1)
    assert (budget.left.calls, budget.left.tokens, budget.left.cost) == (0, 0, 0)


def test_money_is_added_up_without_a_rest():
    budget = Budget(cost=1.0)
    for _ in range(10):
        budget.reserve(cost=0.1).settle(None, 0.1)
    assert budget.spent.cost == 1.0
    with pytest.raises(BudgetError):
        budget.reserve(cost=1e-9)


def test_a_model_that_is_free_fits_into_a_budget_of_no_money():
    budget = Budget(cost=0)
    budget.reserve(tokens=1000, cost=0.0).settle(Usage(500, 500), 0.0)
    with pytest.raises(BudgetError):
        budget.reserve(cost=0.01)


def test_what_was_not_used_comes_back():
    budget = Budget(tokens=1000)
    budget.reserve(tokens=1000).settle(Usage(10, 20), None)
    assert (budget.spent.tokens, budget.left.tokens) == (30, 970)
    budget.reserve(tokens=970).settle(None, None)
    assert budget.spent.tokens == 30, "a call that was refused costs nothing"
    budget.reserve(tokens=900).settle(None, None, uncertain=True)
    assert budget.spent.tokens == 930, "one that was cut off may have been billed"


def test_a_call_counts_when_it_was_sent():
    budget = Budget(calls=1)
    reserve([budget]).settle(None, None)
    assert budget.spent.calls == 0
    reservation = reserve([budget])
    reservation.send()
    assert budget.spent.calls == 1
    with pytest.raises(BudgetError):
        budget.reserve()
    reservation.settle(None, None)
    assert budget.spent.calls == 1


def test_a_reservation_is_settled_once():
    reservation = Budget(calls=1).reserve()
    reservation.settle(None, None)
    with pytest.raises(AssertionError):
        reservation.settle(None, None)


def test_attempts_that_failed_are_charged_before_the_next_begins():
    budget = Budget(tokens=1000, cost=1)
    reservation = budget.reserve(tokens=400, cost=0.1)
    reservation.charge(Usage(300, 200), 0.2)
    reservation.check()
    reservation.charge(None, None, uncertain=True)
    assert (budget.spent.tokens, budget.spent.cost) == (900, pytest.approx(0.3))
    with pytest.raises(BudgetError):
        reservation.check()
    reservation.settle(None, None)


def test_all_budgets_are_taken_or_none():
    wide, narrow = Budget(tokens=1000), Budget(tokens=100)
    for order in ([wide, narrow], [narrow, wide]):
        with pytest.raises(BudgetError):
            reserve(order, tokens=500)
        assert wide.left.tokens == 1000
        assert str(wide) == "0 calls, 0 of 1,000 tokens"
    reserve([wide, narrow, wide], tokens=80).settle(Usage(40, 40), None)
    assert (wide.spent.tokens, narrow.spent.tokens) == (80, 80)


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"calls": 0},
        {"calls": -1},
        {"calls": True},
        {"calls": 1.5},
        {"tokens": "many"},
        {"cost": float("nan")},
        {"cost": -1},
        {"seconds": 0},
        {"seconds": float("inf")},
    ],
)
def test_limits_are_numbers(limits):
    with pytest.raises(OptoError, match=r"Give (one|a number)"):
        Budget(**limits)


def test_a_copy_of_a_program_spends_the_same_money():
    program = {"budget": Budget(calls=1)}
    copy.deepcopy(program)["budget"].reserve().settle(None, None)
    assert program["budget"].spent.calls == 1


# Time.


def test_no_call_begins_after_the_time():
    budget, clock = Budget(seconds=60), Steps()
    budget._clock = clock
    clock.time = 1000.0
    budget.reserve().settle(None, None)
    assert budget.seconds_left == 60, "it runs from the first use on"
    clock.time += 59
    budget.reserve().settle(None, None)
    clock.time += 1
    with pytest.raises(BudgetError, match=r"60.0 s is used up") as caught:
        budget.reserve()
    assert (caught.value.resource, caught.value.limit, caught.value.spent) == ("seconds", 60, 60)


def test_time_runs_from_the_beginning_of_a_block():
    budget, clock = Budget(seconds=60), Steps()
    budget._clock = clock
    with budget:
        clock.time += 61
        with pytest.raises(BudgetError):
            budget.reserve()


# Waiting for calls in flight.


def test_a_call_waits_for_those_in_flight_and_begins_when_they_used_less():
    budget, clock = Budget(tokens=1000), Signals()
    first = budget.reserve(tokens=800)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(reserve, [budget], tokens=800, clock=clock)
        assert clock.waiting.acquire(timeout=30)
        assert not second.done()
        first.settle(Usage(100, 100), None)
        second.result(30).settle(Usage(10, 10), None)
    assert budget.spent.tokens == 220


def test_a_call_that_waited_in_vain_raises():
    budget, clock = Budget(tokens=1000), Signals()
    first = budget.reserve(tokens=800)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(reserve, [budget], tokens=800, clock=clock)
        assert clock.waiting.acquire(timeout=30)
        first.settle(Usage(400, 400), None)
        with pytest.raises(BudgetError, match="800 tokens spent"):
            second.result(30)


def test_what_can_never_fit_raises_at_once_though_calls_are_in_flight():
    budget = Budget(tokens=1000)
    budget.reserve(tokens=10).settle(Usage(300, 0), None)
    budget.reserve(tokens=200)
    with pytest.raises(BudgetError, match="calls in flight hold 200 tokens"):
        budget.reserve(tokens=800)


def test_calls_that_were_sent_are_not_waited_for():
    """With a budget of calls, nothing that is in flight comes back."""
    budget = Budget(calls=1)
    budget.reserve()
    with pytest.raises(BudgetError):
        budget.reserve()


def test_waiting_ends_at_the_deadline():
    budget, clock = Budget(tokens=1000), Steps()
    budget.reserve(tokens=800)
    with pytest.raises(LLMTimeoutError, match="deadline"):
        reserve([budget], tokens=800, left=until(clock, 30), clock=clock)
    assert clock.time == 30
    with pytest.raises(LLMTimeoutError):
        asyncio.run(reserve_async([budget], tokens=800, left=until(clock, 50), clock=clock))
    assert clock.time == 50
    assert not budget._account.queue


def test_waiting_ends_with_the_time_of_a_budget():
    budget, clock = Budget(tokens=1000, seconds=20), Steps()
    budget._clock = clock
    budget.reserve(tokens=800)
    with pytest.raises(BudgetError) as caught:
        reserve([budget], tokens=800, clock=clock)
    assert (caught.value.resource, clock.time) == ("seconds", 20)


def test_those_who_wait_go_first_come_first_served():
    budget, order = Budget(tokens=1000), []

    async def call(name, tokens):
        reservation = await reserve_async([budget], tokens=tokens)
        order.append(name)
        await asyncio.sleep(0)
        reservation.settle(Usage(1, 0), None)

    async def main():
        first = await reserve_async([budget], tokens=900)
        tasks = [asyncio.ensure_future(call(*item)) for item in (("large", 990), ("small", 50), ("tiny", 1))]
        for _ in range(5):
            await asyncio.sleep(0)
        assert order == [], "what came later does not overtake, or the large one would wait for ever"
        first.settle(Usage(1, 0), None)
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert order == ["large", "small", "tiny"]


@pytest.mark.parametrize("cancelled", [(0,), (0, 1), (1,), (2,), (0, 2)])
def test_nobody_waits_for_one_who_was_cancelled(cancelled):
    budget = Budget(tokens=1000)

    async def main():
        first = await reserve_async([budget], tokens=900)
        tasks = [asyncio.ensure_future(reserve_async([budget], tokens=900)) for _ in range(3)]
        await asyncio.sleep(0)
        for place in cancelled:
            tasks[place].cancel()
        first.settle(None, None)
        for place, task in enumerate(tasks):
            if place in cancelled:
                with pytest.raises(asyncio.CancelledError):
                    await task
            else:
                (await asyncio.wait_for(task, 30)).settle(None, None)

    asyncio.run(main())
    assert budget._account.held == (0, 0, 0)


def test_what_was_given_to_a_task_that_is_cancelled_in_the_same_moment_comes_back():
    budget = Budget(tokens=1000)

    async def main():
        first = await reserve_async([budget], tokens=900)
        task = asyncio.ensure_future(reserve_async([budget], tokens=900))
        await asyncio.sleep(0)
        first.settle(None, None)  # gives it to the task, which has not run yet
        assert budget._account.held.tokens == 900
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert budget._account.held == (0, 0, 0)


def test_an_event_loop_that_was_left_keeps_nothing():
    budget = Budget(tokens=1000)
    first = budget.reserve(tokens=900)
    loop = asyncio.new_event_loop()
    task = loop.create_task(reserve_async([budget], tokens=900))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    first.settle(None, None)
    assert budget._account.held == (0, 0, 0)
    budget.reserve(tokens=900).settle(None, None)
    task._log_destroy_pending = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "get_running_loop", lambda: loop)
        del task
        gc.collect()
    assert not budget._account.queue


def test_threads_and_tasks_wait_for_each_other():
    budget, clock = Budget(tokens=1000), Signals()

    async def main():
        first = await reserve_async([budget], tokens=900)
        thread = asyncio.get_running_loop().run_in_executor(None, lambda: reserve([budget], tokens=900, clock=clock))
        await asyncio.to_thread(clock.waiting.acquire)
        task = asyncio.ensure_future(reserve_async([budget], tokens=900))
        await asyncio.sleep(0)
        first.settle(Usage(5, 5), None)
        (await thread).settle(Usage(5, 5), None)
        (await task).settle(Usage(5, 5), None)

    asyncio.run(main())
    assert budget.spent.tokens == 30


def test_two_budgets_in_either_order_do_not_lock_each_other_out():
    one, two = Budget(tokens=100), Budget(tokens=100)

    def work(order):
        for _ in range(200):
            reserve(order, tokens=60).settle(None, None)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, order) for order in ([one, two], [two, one], [one], [two])]:
            done.result(60)
    assert one._account.held == two._account.held == (0, 0, 0)


def test_one_who_waits_for_one_budget_does_not_hold_up_another():
    one, two = Budget(tokens=100), Budget(tokens=100)

    async def main():
        first = await reserve_async([one], tokens=90)
        both = asyncio.ensure_future(reserve_async([one, two], tokens=90))
        await asyncio.sleep(0)
        (await asyncio.wait_for(reserve_async([two], tokens=5), 30)).settle(None, None)
        first.settle(None, None)
        (await asyncio.wait_for(both, 30)).settle(None, None)

    asyncio.run(main())


def test_one_who_is_refused_by_one_budget_lets_those_behind_it_in_another_go():
    one, two = Budget(tokens=900), Budget(tokens=100)

    async def main():
        first, second = await reserve_async([one], tokens=880), await reserve_async([two], tokens=60)
        both = asyncio.ensure_future(reserve_async([one, two], tokens=50))
        await asyncio.sleep(0)
        behind = asyncio.ensure_future(reserve_async([two], tokens=40))
        await asyncio.sleep(0)
        first.settle(Usage(880, 0), None)
        with pytest.raises(BudgetError, match="budget of 900 tokens"):
            await asyncio.wait_for(both, 30)
        (await asyncio.wait_for(behind, 30)).settle(None, None)
        second.settle(None, None)

    asyncio.run(main())


# Calls inside of calls: a function in place of a model may ask models itself.


def test_a_call_inside_of_one_that_holds_the_rest_raises_and_does_not_wait_for_it():
    budget = Budget(tokens=1000)
    outer = budget.reserve(tokens=800)
    begin_holding(outer)
    try:
        with pytest.raises(BudgetError):
            reserve([budget], tokens=300)
        reserve([budget], tokens=200).settle(None, None)
    finally:
        end_holding(outer)


def test_a_call_inside_does_not_wait_for_others_in_vain():
    budget, clock = Budget(tokens=1000), Steps()
    budget.reserve(tokens=100)
    outer = budget.reserve(tokens=800)
    begin_holding(outer)
    try:
        with pytest.raises(BudgetError):
            reserve([budget], tokens=300, left=until(clock, 10), clock=clock)
        assert clock.time == 0
    finally:
        end_holding(outer)


def test_one_who_waits_for_a_call_around_another_waits_until_both_are_done():
    """No circle: the call inside waits for a third one, which comes back."""
    budget = Budget(tokens=1000)

    async def main():
        third, outer = await reserve_async([budget], tokens=300), await reserve_async([budget], tokens=400)
        large = asyncio.ensure_future(reserve_async([budget], tokens=700))
        await asyncio.sleep(0)
        begin_holding(outer)
        inner = asyncio.ensure_future(reserve_async([budget], tokens=500))
        await asyncio.sleep(0)
        end_holding(outer)
        assert not large.done()
        assert not inner.done()
        third.settle(None, None)
        (await asyncio.wait_for(inner, 30)).settle(None, None)
        outer.settle(None, None)
        (await asyncio.wait_for(large, 30)).settle(None, None)

    asyncio.run(main())
    assert (budget._account.held, budget._account.running) == ((0, 0, 0), 0)


def test_an_outer_call_may_end_before_one_inside_that_waits():
    budget = Budget(tokens=1000)

    async def main():
        third, outer = await reserve_async([budget], tokens=300), await reserve_async([budget], tokens=400)
        begin_holding(outer)
        inner = asyncio.ensure_future(reserve_async([budget], tokens=500))
        await asyncio.sleep(0)
        end_holding(outer)
        outer.settle(Usage(300, 0), None)
        assert not inner.done()
        third.settle(None, None)
        (await asyncio.wait_for(inner, 30)).settle(None, None)

    asyncio.run(main())
    assert (budget._account.held, budget._account.running) == ((0, 0, 0), 0)


def test_calls_inside_of_others_do_not_wait_for_each_other_in_a_circle():
    budget, clock = Budget(tokens=1000), Signals()
    ready, outcomes = threading.Barrier(2), []

    def work():
        outer = budget.reserve(tokens=400)
        begin_holding(outer)
        ready.wait(30)
        try:
            reserve([budget], tokens=300, clock=clock).settle(Usage(300, 0), None)
            outcomes.append("done")
        except BudgetError:
            outcomes.append("refused")
        finally:
            end_holding(outer)
            outer.settle(None, None)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert sorted(outcomes) == ["done", "refused"]
    assert (budget._account.held, budget._account.running) == ((0, 0, 0), 0)


# The law: what is spent and held never exceeds a limit by more than calls in flight turned out to need.


@given(st.data())
def test_what_is_spent_and_held_stays_within_the_limit(data):
    calls, tokens = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 500))
    budget, clock = Budget(calls=calls, tokens=tokens, cost=tokens / 1000), Steps()
    flight, settled, excess = [], 0, 0
    for _ in range(data.draw(st.integers(1, 40))):
        account = budget._account
        if flight and data.draw(st.booleans()):
            reservation, estimate = flight.pop(data.draw(st.integers(0, len(flight) - 1)))
            kind = data.draw(st.sampled_from(["used", "refused", "uncertain"]))
            used = data.draw(st.integers(0, 2 * estimate)) if kind == "used" else estimate * (kind == "uncertain")
            usage = Usage(used, 0) if kind == "used" else None
            reservation.settle(usage, used / 1000 if kind == "used" else None, uncertain=kind == "uncertain")
            settled += used
            excess += max(0, used - estimate)
        else:
            estimate = data.draw(st.integers(1, 200))
            spent = budget.spent
            hopeless = spent.calls >= calls or spent.tokens + estimate > tokens
            try:
                reservation = reserve(
                    [budget], tokens=estimate, cost=estimate / 1000, left=until(clock, clock.time), clock=clock
                )
            except BudgetError:
                assert hopeless
            except LLMTimeoutError:
                assert not hopeless
                assert spent.tokens + sum(held for _, held in flight) + estimate > tokens
            else:
                assert spent.tokens < tokens
                assert spent.calls < calls
                reservation.send()
                flight.append((reservation, estimate))
        assert account.spent.tokens == settled
        assert account.held.tokens == sum(held for _, held in flight)
        assert account.spent.tokens + account.held.tokens <= tokens + excess
        assert account.spent.cost == settled * 10**9
        assert account.spent.calls <= calls
    for reservation, _ in flight:
        reservation.settle(None, None)
    assert (budget._account.held, budget._account.running) == ((0, 0, 0), 0)


@pytest.fixture
def begun(monkeypatch):
    """What was spent of the budget when a call was let go, for each of them."""
    found = []

    class Watched(accounts.Reservation):
        __slots__ = ()

        def __init__(self, all_of_them, estimate, *rest):
            account = all_of_them[0]
            assert account.spent.plus(account.held).plus(estimate).tokens <= account.limits[1]
            found.append(account.spent.tokens)
            super().__init__(all_of_them, estimate, *rest)

    monkeypatch.setattr(accounts, "Reservation", Watched)
    return found


class Callers:
    """Calls that use more or less than was estimated, until there is no room for another one."""

    def __init__(self, limit, *, estimate=100, seed=0):
        self.budget, self.limit, self.estimate = Budget(tokens=limit, cost=limit), limit, estimate
        self.random, self.lock = random.Random(seed), threading.Lock()
        self.used, self.sent, self.refused = 0, 0, 0

    def begin(self, reservation):
        reservation.send()
        with self.lock:
            self.sent += 1
            return self.random.randrange(2 * self.estimate)

    def end(self, reservation, used):
        reservation.settle(Usage(used, 0), used / 1000)
        with self.lock:
            self.used += used

    def refuse(self):
        with self.lock:
            self.refused += 1

    def check(self, callers, begun):
        spent = self.budget.spent
        assert (spent.tokens, spent.calls, spent.cost) == (self.used, self.sent, self.used / 1000)
        assert len(begun) >= self.sent
        assert max(begun) < self.limit
        assert self.refused == callers, "each went on until it was refused"
        # Each of those in flight may use twice what was estimated.
        assert self.limit - self.estimate < self.used <= self.limit + callers * self.estimate
        assert self.budget._account.held == (0, 0, 0)


def test_64_threads_share_a_budget(begun):
    callers = Callers(100_000)

    def work():
        while True:
            try:
                reservation = reserve([callers.budget], tokens=callers.estimate, cost=0.1)
            except BudgetError:
                return callers.refuse()
            used = callers.begin(reservation)
            if used % 3 == 0:
                time.sleep(0)  # let others run in the middle of it
            callers.end(reservation, used)

    threads = [threading.Thread(target=work) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    callers.check(64, begun)


def test_64_tasks_share_a_budget_and_others_are_cancelled(begun):
    callers = Callers(100_000)

    async def work():
        while True:
            try:
                reservation = await reserve_async([callers.budget], tokens=callers.estimate, cost=0.1)
            except BudgetError:
                return callers.refuse()
            used = callers.begin(reservation)
            try:
                for _ in range(1 + used % 5):
                    await asyncio.sleep(0)
            finally:
                callers.end(reservation, used)

    async def main():
        tasks = [asyncio.ensure_future(work()) for _ in range(80)]
        while callers.budget.spent.tokens < 90_000:  # noqa: ASYNC110 - they run on meanwhile
            await asyncio.sleep(0)
        for task in tasks[::5]:
            task.cancel()
        done = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 120)
        assert sum(isinstance(item, asyncio.CancelledError) for item in done) == 16

    asyncio.run(main())
    callers.check(64, begun)


def test_64_callers_of_a_budget_of_calls_make_just_so_many():
    budget, made = Budget(calls=40), itertools.count()

    def work(_):
        try:
            reservation = reserve([budget])
        except BudgetError:
            return 0
        reservation.send()
        next(made)
        reservation.settle(Usage(1, 1), None)
        return 1

    with ThreadPoolExecutor(64) as pool:
        assert sum(pool.map(work, range(64))) == 40
    assert budget.spent.calls == next(made) == 40


# Where it holds.


def test_blocks_hold_for_what_is_inside_also_in_tasks_and_in_any_order():
    one, two = Budget(calls=1), Budget(calls=1)
    assert budgets_in_force() == ()
    with one:
        with two:
            assert budgets_in_force() == (one, two)
            with one:
                assert budgets_in_force() == (one, two, one)
            assert budgets_in_force() == (one, two)
        assert budgets_in_force() == (one,)

    async def inside(budget, others):
        with budget:
            await asyncio.sleep(0)
            assert budgets_in_force() == (*others, budget)

    async def main():
        with one:
            await asyncio.gather(inside(two, [one]), inside(one, [one]))

    asyncio.run(main())
    assert budgets_in_force() == ()


def test_a_budget_says_how_it_stands():
    budget = Budget(calls=10, tokens=50_000, cost=1.0)
    budget.reserve(tokens=1500, cost=0.01).settle(Usage(1000, 200), 0.0213)
    flight = budget.reserve(tokens=1500, cost=0.01)
    assert (
        str(budget) == "2 of 10 calls, 1,200 of 50,000 tokens, $0.0213 of $1.00, 1,500 tokens held by calls in flight"
    )
    flight.settle(None, None)
    assert repr(budget) == "Budget(calls=10, tokens=50000, cost=1.0)"
    assert (budget.limit.calls, budget.left.calls, budget.limit.seconds) == (10, 8, None)
    assert budget.spent.cost == 0.0213


def test_what_nobody_knows_the_price_of_is_not_said_to_cost_nothing():
    budget = Budget(calls=10)
    budget.reserve().settle(Usage(10, 10), 0.5)
    assert budget.spent.cost == 0.5
    budget.reserve().settle(Usage(10, 10), None)
    assert budget.spent.cost is None
    assert "$" not in str(budget)


# A blocking call in a thread whose event loop runs.


def test_a_call_that_blocks_the_event_loop_does_not_wait_for_calls_in_it():
    async def main():
        budget, clock = Budget(tokens=1000), Steps()
        running = await reserve_async([budget], tokens=600)
        with pytest.raises(BudgetError):
            reserve([budget], tokens=600, clock=clock, left=until(clock, 5))
        reserve([budget], tokens=400).settle(Usage(300, 0), None)
        running.settle(Usage(300, 0), None)
        reserve([budget], tokens=400).settle(None, None)
        assert (budget._account.held, budget._account.in_loops) == ((0, 0, 0), {})

    asyncio.run(main())


def test_a_call_that_blocks_the_event_loop_goes_before_those_that_wait_in_it():
    async def main():
        budget, clock = Budget(tokens=1000), Steps()
        running = await reserve_async([budget], tokens=600)
        waiting = asyncio.ensure_future(reserve_async([budget], tokens=900))
        await asyncio.sleep(0)
        reserve([budget], tokens=300, clock=clock, left=until(clock, 5)).settle(None, None)
        running.settle(None, None)
        (await asyncio.wait_for(waiting, 30)).settle(None, None)
        assert budget._account.held == (0, 0, 0)

    asyncio.run(main())


def test_a_call_that_blocks_the_event_loop_waits_for_calls_elsewhere():
    budget, clock = Budget(tokens=1000), Signals()

    async def main(other):
        await reserve_async([budget], tokens=300)
        return reserve([budget], tokens=500, clock=clock)

    other = reserve([budget], tokens=400)
    with ThreadPoolExecutor(1) as pool:
        blocking = pool.submit(lambda: asyncio.run(main(other)))
        assert clock.waiting.acquire(timeout=30)
        other.settle(None, None)
        blocking.result(30).settle(None, None)
