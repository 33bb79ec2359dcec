"""One queue for each endpoint: what begins when, and that nobody waits for nothing."""

import asyncio
import gc
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from opto import errors
from opto.llm import LLM, DummyLLM, Reply, Usage
from opto.llm.pacing.allowance import Allowance, Window
from opto.llm.pacing.clock import Clock
from opto.llm.pacing.throttle import Throttle, _Caller, _throttles
from opto.testing import Action, Failure, LLMServer


class Steps(Clock):
    """A clock that moves when somebody waits, and at once."""

    def __init__(self):
        self.time = 0.0

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds

    async def asleep(self, seconds):
        self.time += seconds

    def wait(self, event, seconds):
        self.time += seconds

    async def await_event(self, event, seconds):
        self.time += seconds


class Held(Action):
    """Answers when it is let go, and tells how many it holds."""

    def __init__(self):
        self.go, self.all_in, self.now, self.most = threading.Event(), threading.Semaphore(0), 0, 0

    async def play(self, exchange):
        self.now += 1
        self.most = max(self.most, self.now)
        self.all_in.release()
        while not self.go.is_set():  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.002)
        self.now -= 1
        await exchange.write(exchange.answer("ok"))


def starts(allowance, number, *, now, tokens=0.0):
    return [allowance.start(tokens, now) for _ in range(number)]


# What is learned.


def test_nothing_is_held_back_before_anything_was_refused():
    allowance = Allowance()
    starts(allowance, 1000, now=0.0)
    assert allowance.delay(0, 0.0) == 0


def test_concurrency_and_pace_fall_when_requests_are_refused():
    allowance = Allowance()
    starts(allowance, 32, now=0.0)
    for _ in range(4):
        allowance.end()
        allowance.overloaded(0.0, 2.0, 0.1)
    assert (allowance.concurrency, allowance.pace) == (30.0, pytest.approx(22.4))
    for _ in range(28):
        allowance.end()
    assert allowance.delay(0, 0.1) == pytest.approx(2.0)
    assert allowance.delay(0, 2.1) == 0


def test_what_runs_at_once_falls_by_what_was_refused():
    allowance = Allowance()
    starts(allowance, 32, now=0.0)
    for _ in range(32):
        allowance.end()
        allowance.overloaded(0.0, 0.0, 0.1)
    assert allowance.concurrency == 16
    assert allowance.delay(0, 5.0) == 0


def test_the_pace_falls_once_for_a_crowd_that_is_refused():
    allowance = Allowance()
    starts(allowance, 32, now=0.0)
    for _ in range(12):
        allowance.end()
        allowance.overloaded(0.0, 0.0, 0.1)
    assert allowance.pace == pytest.approx(22.4)
    starts(allowance, 1, now=0.2)
    allowance.overloaded(0.2, 0.0, 0.3)
    assert allowance.pace < 22


def test_refusals_at_random_do_not_add_up():
    """One in fifty, of 64 at once: each of them alone would halve what the last one left, if it counted in full."""
    allowance = Allowance()
    now = 0.0
    starts(allowance, 64, now=now)
    for number in range(1, 5000):
        now += 0.001
        allowance.end()
        if number % 50:
            allowance.succeeded(now)
        else:
            allowance.overloaded(now - 0.05, 0.25, now)
        while allowance.running < 64 and allowance.delay(0, now) == 0:
            allowance.start(0, now)
        assert allowance.running > 55


def test_an_endpoint_is_left_alone_when_it_asks_for_that_however_rarely_it_refuses():
    allowance = Allowance()
    starts(allowance, 100, now=0.0)
    for _ in range(100):
        allowance.end()
    allowance.overloaded(0.0, 2.0, 0.1, wanted=0.5)
    assert allowance.delay(0, 0.1) == pytest.approx(0.5)
    assert allowance.delay(0, 0.6) == 0


def test_both_recover_while_all_goes_well():
    allowance = Allowance()
    starts(allowance, 19, now=0.0)
    for _ in range(3):
        allowance.overloaded(0.0, 0.0, 0.0)
    concurrency, pace = allowance.concurrency, allowance.pace
    for second in range(1, 11):
        allowance.succeeded(float(second))
    assert concurrency < allowance.concurrency < concurrency + 1
    assert allowance.pace > 2 * pace


def test_requests_are_paced_after_a_refusal():
    allowance = Allowance()
    starts(allowance, 25, now=0.0)
    for _ in range(25):
        allowance.end()
    for _ in range(3):
        allowance.overloaded(0.0, 0.0, 0.0)
    assert allowance.pace == pytest.approx(17.5)
    assert allowance.delay(0, 0.01) == pytest.approx(1 / 17.5 - 0.01)
    allowance.start(0, 0.06)
    allowance.end()
    assert allowance.delay(0, 0.06) == pytest.approx(2 / 17.5 - 0.06)  # it came a little late


def test_concurrency_never_falls_below_one():
    allowance = Allowance()
    for moment in range(10):
        allowance.start(0, float(moment))
        allowance.end()
        allowance.overloaded(float(moment), 0.0, moment + 0.5)
    assert allowance.concurrency == 1
    assert allowance.delay(0, 100.0) == 0


# What is set.


def test_a_window_slides():
    window = Window()
    window.limit = 3
    for moment in (0.0, 10.0, 20.0):
        assert window.delay(1, moment) == 0
        window.use(1, moment)
    assert window.delay(1, 20.0) == 40
    assert window.delay(2, 20.0) == 50
    assert window.delay(1, 60.0) == 0


def test_what_was_estimated_is_set_right():
    window = Window()
    window.limit = 100
    entry = window.use(90, 0.0)
    assert window.delay(50, 1.0) == 59
    window.correct(entry, 30)
    assert window.delay(50, 1.0) == 0
    assert window.delay(50, 61.0) == 0
    window.correct(entry, 80)
    assert window.delay(100, 61.0) == 0, "it is long gone"


def test_what_is_too_large_for_any_minute_gets_one_of_its_own():
    window = Window()
    window.limit = 100
    assert window.delay(1000, 0.0) == 0
    window.use(5, 0.0)
    assert window.delay(1000, 1.0) == 59
    assert window.delay(1000, 60.0) == 0


def test_requests_per_minute():
    moments, clock = [], Steps()

    def model(messages):
        moments.append(clock.time)
        return "ok"

    llm = DummyLLM(model, requests_per_minute=2)
    llm._clock = clock
    for _ in range(3):
        llm("hi")
        asyncio.run(llm.acall("hi"))
    assert moments == pytest.approx([0, 0, 60, 60, 120, 120])


def test_tokens_per_minute_are_those_that_were_used():
    moments, clock = [], Steps()

    def model(messages):
        moments.append(clock.time)
        return Reply("ok", model="m", usage=Usage(40, 10))

    llm = DummyLLM(model, tokens_per_minute=100, max_tokens=40)
    llm._clock = clock
    for _ in range(4):
        llm("hi")
    assert moments == pytest.approx([0, 0, 60, 60])


@pytest.mark.parametrize("limit", [0, -1, True, "many", math.nan])
@pytest.mark.parametrize("name", ["requests_per_minute", "tokens_per_minute"])
def test_limits_that_cannot_be(name, limit):
    with pytest.raises(errors.BadRequestError, match=name):
        DummyLLM(lambda messages: "ok", **{name: limit})


def test_a_turn_that_cannot_come_before_the_deadline_is_not_waited_for():
    llm = DummyLLM(lambda messages: "ok", requests_per_minute=1, deadline=30)
    llm._clock = Steps()
    llm("hi")
    with pytest.raises(errors.RateLimitError, match="60 s") as info:
        llm("hi")
    assert info.value.retry_after == 60
    assert llm._clock.time == 0
    assert llm("hi", deadline=100).text == "ok"


# Who shares it.


def test_clients_of_an_address_and_key_share_one_which_is_gone_with_them():
    before = set(_throttles)
    clients = [
        LLM("openai:a", base_url="http://localhost:1", api_key="one"),
        LLM("openai:b", base_url="http://localhost:1", api_key="one"),
        LLM("openai:a", base_url="http://localhost:1", api_key="two"),
        LLM("openai:a", base_url="http://localhost:2", api_key="one"),
        LLM("anthropic:a", base_url="http://localhost:1", api_key="one"),
    ]
    assert clients[0]._throttle is clients[1]._throttle
    assert len({id(client._throttle) for client in clients}) == 4
    assert len(set(_throttles) - before) == 4
    del clients
    gc.collect()
    assert not set(_throttles) - before


def test_a_refusal_of_one_client_holds_another_back():
    class Waits(Steps):
        def wait(self, event, seconds):
            waits.append(seconds)
            super().wait(event, seconds)

    waits = []
    refused = Failure(429, headers={"retry-after": "7"})
    with (
        LLMServer([refused, "ok"]) as server,
        LLM("one", base_url=server.openai_url, retries=0) as one,
        LLM("two", base_url=server.openai_url) as two,
    ):
        one._clock = two._clock = Waits()
        with pytest.raises(errors.RateLimitError):
            one("hi")
        assert two("hi").text == "ok"
    assert sum(waits) == pytest.approx(7)


# That nobody waits for nothing.


@pytest.mark.parametrize("how", ["threads", "tasks"])
def test_a_slow_call_holds_nobody_up(how):
    held = Held()
    with (
        LLMServer(lambda messages: held if messages[0]["content"] == "slow" else "ok") as server,
        LLM("m", base_url=server.openai_url) as llm,
    ):
        if how == "threads":
            with ThreadPoolExecutor(8) as pool:
                slow = pool.submit(llm, "slow")
                texts = [reply.text for reply in pool.map(llm, ["quick"] * 20)]
                assert not slow.done()
                held.go.set()
        else:

            async def main():
                async with llm:
                    slow = asyncio.create_task(llm.acall("slow"))
                    replies = await asyncio.gather(*(llm.acall("quick") for _ in range(20)))
                    assert not slow.done()
                    held.go.set()
                    await slow
                    return [reply.text for reply in replies]

            texts = asyncio.run(main())
    assert texts == ["ok"] * 20


def test_threads_and_event_loops_share_what_may_run_at_once():
    held = Held()
    with LLMServer(lambda messages: held) as server, LLM("m", base_url=server.openai_url) as llm:
        llm._throttle._allowance.concurrency = 3

        async def main():
            async with llm:
                return await asyncio.gather(*(llm.acall("hi") for _ in range(4)))

        with ThreadPoolExecutor(6) as pool:
            calls = [pool.submit(llm, "hi") for _ in range(4)]
            loops = [pool.submit(asyncio.run, main()) for _ in range(2)]
            for _ in range(3):
                assert held.all_in.acquire(timeout=30)
            assert llm._throttle._allowance.running == 3
            held.go.set()
            texts = [call.result(60).text for call in calls]
            texts += [reply.text for loop in loops for reply in loop.result(60)]
    assert texts == ["ok"] * 12
    # It grows by one in about as many calls as may run at once.
    assert 3 <= held.most <= 6
    assert (llm._throttle._allowance.running, list(llm._throttle._queue)) == (0, [])


def test_who_is_cancelled_while_it_waits_leaves_the_queue():
    held = Held()

    async def main(llm):
        async with llm:
            first = asyncio.create_task(llm.acall("hi"))
            await asyncio.to_thread(held.all_in.acquire)
            waiting = [asyncio.create_task(llm.acall("hi")) for _ in range(3)]
            while len(llm._throttle._queue) < 3:  # noqa: ASYNC110 - of no event
                await asyncio.sleep(0)
            waiting[0].cancel()
            waiting[1].cancel()
            await asyncio.wait(waiting[:2])
            held.go.set()
            assert [(await first).text, (await waiting[2]).text] == ["ok", "ok"]

    with LLMServer(lambda messages: held) as server, LLM("m", base_url=server.openai_url) as llm:
        llm._throttle._allowance.concurrency = 1.0
        asyncio.run(main(llm))
    assert len(server.requests) == 2
    assert (llm._throttle._allowance.running, list(llm._throttle._queue)) == (0, [])


@pytest.mark.parametrize("failure", [Failure(500), Failure(400), Failure(429)])
def test_a_turn_ends_however_the_call_does(failure):
    with (
        LLMServer([failure, failure]) as server,
        LLM("m", base_url=server.openai_url, retries=0) as llm,
    ):
        with pytest.raises(errors.LLMError):
            llm("hi")
        with pytest.raises(errors.LLMError):
            asyncio.run(llm.acall("hi"))
        assert llm._throttle._allowance.running == 0


def elsewhere(function, *args, **kwargs):
    """Do it in another thread, and wait for it."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args, **kwargs).result(60)


def test_a_turn_that_does_not_come_in_time_is_an_error():
    throttle, clock = Throttle(), Steps()
    throttle._allowance.concurrency = 1.0
    turn = elsewhere(throttle.enter, 0, lambda: None, clock=clock)
    with pytest.raises(errors.LLMTimeoutError, match="No turn"):
        throttle.enter(0, lambda: 5 - clock.time, clock=clock)
    assert clock.time == 5
    assert not throttle._queue
    throttle.finish(turn, outcome=None, pause=0, now=clock.time)


def test_who_does_not_take_its_turn_is_passed_over():
    """An event loop may have been left."""
    throttle = Throttle()
    throttle._join(0, _Caller(0, is_blocking=False), lambda: None)  # never comes
    clock = Steps()
    throttle.enter(0, lambda: None, clock=clock)
    assert clock.time <= 3
    assert len(throttle._queue) == 1


def test_those_who_wait_get_their_turn_in_order():
    throttle, order, clock = Throttle(), [], Clock()
    throttle._allowance.concurrency = 1.0
    turn = throttle.enter(0, lambda: None, clock=clock)

    def run(number):
        own = throttle.enter(0, lambda: None, clock=clock)
        order.append(number)
        throttle.finish(own, outcome=None, pause=0, now=clock.now())

    threads = []
    for number in range(10):
        threads.append(threading.Thread(target=run, args=[number]))
        threads[-1].start()
        while len(throttle._queue) <= number:
            pass
    throttle.finish(turn, outcome=None, pause=0, now=clock.now())
    for thread in threads:
        thread.join(60)
    assert order == list(range(10))


def test_fewer_than_one_request_per_minute():
    moments, clock = [], Steps()

    def model(messages):
        moments.append(clock.time)
        return "ok"

    llm = DummyLLM(model, requests_per_minute=0.5)
    llm._clock = clock
    for _ in range(3):
        llm("hi")
    assert moments == pytest.approx([0, 120, 240])


def test_of_several_limits_the_lowest_is_kept():
    window = Window()
    for limit in (3, 0.5, 2, 0.25, 100):
        window.restrict(limit)
    window.use(1, 0.0)
    assert window.delay(1, 0.0) == 240


def test_an_absurd_pause_does_not_close_an_endpoint_for_good():
    allowance = Allowance()
    starts(allowance, 1, now=0.0)
    allowance.end()
    allowance.overloaded(0.0, 1e9, 0.0)
    assert allowance.delay(0, 0.0) == 600
    assert allowance.delay(0, 600.0) == 0


def test_a_clock_that_goes_back_holds_nobody_up():
    allowance = Allowance()
    starts(allowance, 3, now=1e6)
    assert allowance.delay(0, 0.0) == 0


def test_concurrency_that_was_cut_to_one_comes_back():
    clock, calls = Steps(), iter([errors.RateLimitError("no", mend="Wait.", status=429)] * 6)

    def model(messages):
        error = next(calls, None)
        if error is not None:
            raise error
        return "ok"

    llm = DummyLLM(model, requests_per_minute=1e9, retries=10)
    llm._clock = clock
    llm("hi")
    assert llm._throttle._allowance.concurrency == 2
    for _ in range(50):
        llm("hi")
    assert llm._throttle._allowance.concurrency > 9


def test_as_many_are_woken_as_there_are_places():
    """One that wakes the next would take a turn of the event loop for each."""
    throttle, woken = Throttle(), []
    for number in range(5):
        throttle._join(0.0, _Caller(number, is_blocking=False), partial(woken.append, number))
    throttle._allowance.concurrency = 3.0
    throttle._wake()
    assert woken == [0, 1, 2]
    throttle._allowance.pace = 5.0  # one at a time then, each at its moment
    throttle._wake()
    assert woken == [0, 1, 2, 0]


def test_a_request_that_comes_late_does_not_hold_up_those_behind_it():
    allowance = Allowance()
    allowance.pace = 100.0
    started = []
    for now in (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.03, 1.03, 1.03, 1.03):
        if allowance.delay(0.0, now) == 0:
            allowance.start(0.0, now)
            started.append(now)
    # A twentieth of a second is made up for, and no more.
    assert started == [1.0] * 6 + [1.03] * 3
