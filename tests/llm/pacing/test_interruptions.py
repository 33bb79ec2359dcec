"""Whatever ends a call in the middle: its turn is given back, its connection is closed, and the next call goes on."""

import asyncio
import gc
import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from opto import errors
from opto.llm import LLM, Reply
from opto.llm.pacing.clock import Clock
from opto.llm.pacing.deadlines import seconds_left
from opto.llm.pacing.throttle import Throttle
from opto.testing import Action, Drip, Failure, LLMServer


@pytest.fixture(params=["openai", "openai-responses", "anthropic"])
def provider(request):
    return request.param


def client(server, provider="openai", **settings):
    url = server.anthropic_url if provider == "anthropic" else server.openai_url
    return LLM(f"{provider}:m", base_url=url, **settings)


def at_rest(llm):
    """Tell whether nothing runs and nobody waits, by what the next one would find."""
    throttle = llm._throttle
    throttle._take_back()
    return throttle._allowance.running == 0 and not throttle._running and not throttle._queue


class UntilGone(Action):
    """Answers byte by byte without an end, until the client has gone; tells when it has begun."""

    def __init__(self, drip=None):
        self.begun, self.gone, self._drip = threading.Event(), threading.Event(), drip or Drip()

    async def play(self, exchange):
        self.begun.set()
        try:
            await self._drip.play(exchange)
        finally:
            self.gone.set()


class Held(Action):
    """Answers when it is let go; counts those that it holds."""

    def __init__(self):
        self.go, self.held = threading.Event(), threading.Semaphore(0)

    async def play(self, exchange):
        self.held.release()
        while not self.go.is_set():  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.002)
        await exchange.write(exchange.answer("ok"))


# Ctrl-C.


class Interrupting:
    """Raises KeyboardInterrupt at one line of opto's way of a call, the one with this number."""

    def __init__(self, number):
        self.number, self.lines, self.where = number, 0, None

    def __call__(self, frame, event, argument):
        name = frame.f_code.co_filename
        if not any(
            part in name for part in ("/opto/llm/pacing/", "/opto/llm/providers/clients", "/opto/llm/providers/sdk")
        ):
            return None
        if event == "line" and frame.f_code.co_name != "__del__":  # what is raised there, Python only tells
            self.lines += 1
            if self.lines == self.number:
                self.where = f"{name}:{frame.f_lineno}"
                raise KeyboardInterrupt
        return self


def interrupt(llm, number):
    """Make a call that is interrupted at that line; return where, or None if it came to its end first."""
    tracing, before = Interrupting(number), sys.gettrace()
    sys.settrace(tracing)
    try:
        llm("hi")
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return tracing.where


def test_a_call_can_be_interrupted_at_every_line():
    with LLMServer(lambda messages: "ok") as server, client(server) as llm:
        llm("hi")
        places, number = set(), 0
        while True:
            number += 1
            where = interrupt(llm, number)
            if where is None:
                break
            places.add(where)
            assert at_rest(llm), where
            assert seconds_left() is None, where  # else every call would be late once this one's time is over
            # If its turn were not given back, the next call would wait for it.
            llm._throttle._allowance.concurrency = 1.0
            assert llm("again", deadline=30).text == "ok", where
        assert number > 60
        assert len(places) > 60


@pytest.mark.parametrize("in_headers", [True, False])
def test_an_interrupted_call_closes_its_connection(provider, in_headers):
    endless = UntilGone(Drip(in_headers=in_headers))
    with LLMServer(["hello", endless, "again"]) as server, client(server, provider) as llm:
        assert llm("hi").text == "hello"

        def interrupt_it():
            assert endless.begun.wait(60)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt_it).start()
        with pytest.raises(KeyboardInterrupt):
            llm("hi")
        assert endless.gone.wait(60)
        assert at_rest(llm)
        assert llm("hi").text == "again"


def test_a_call_can_be_interrupted_while_it_waits_for_its_turn():
    held = Held()
    with LLMServer([held, "again"]) as server, client(server) as llm, ThreadPoolExecutor(1) as pool:
        llm._throttle._allowance.concurrency = 1.0
        first = pool.submit(llm, "hi")
        assert held.held.acquire(timeout=60)

        def interrupt_it():
            while not llm._throttle._queue:
                pass
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt_it).start()
        with pytest.raises(KeyboardInterrupt):
            llm("hi")
        assert not llm._throttle._queue
        held.go.set()
        assert first.result(60).text == "ok"
        assert llm("hi").text == "again"
        assert at_rest(llm)


def test_a_call_can_be_interrupted_between_attempts():
    class Interrupted(Clock):
        def sleep(self, seconds):
            raise KeyboardInterrupt

    with LLMServer([Failure(500), "again"]) as server, client(server) as llm:
        llm._clock = Interrupted()
        with pytest.raises(KeyboardInterrupt):
            llm("hi")
        assert at_rest(llm)
        assert llm("hi").text == "again"


def test_a_turn_that_nobody_gave_back_is_taken_back():
    throttle = Throttle()
    throttle._allowance.concurrency = 1.0
    turn = throttle.enter(0, lambda: None, clock=Clock())
    del turn
    throttle.enter(0, lambda: 10, clock=Clock())


def test_a_turn_is_given_back_once():
    throttle, clock = Throttle(), Clock()
    turns = [throttle.enter(0, lambda: None, clock=clock) for _ in range(3)]
    for _ in range(3):
        throttle.finish(turns[0], outcome=Reply("ok", model="m"), pause=0, now=0.0)
    assert throttle._allowance.running == 2


# Cancellation.


@pytest.mark.parametrize("steps", range(1, 30, 2))
def test_a_task_can_be_cancelled_after_any_number_of_steps(provider, steps):
    endless = UntilGone()

    async def main(llm):
        async with llm:
            await llm.acall("hi")
            call = asyncio.create_task(llm.acall("hi"))
            for _ in range(steps):
                await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert at_rest(llm)
            llm._throttle._allowance.concurrency = 1.0
            assert (await llm.acall("again", deadline=60)).text == "again"

    def reply(messages):
        return {"hi": endless if server.requests[1:] else "ok", "again": "again"}[messages[-1]["content"]]

    with LLMServer(reply) as server, client(server, provider) as llm:
        asyncio.run(main(llm))
        assert not endless.begun.is_set() or endless.gone.wait(60)


def test_what_came_of_a_call_that_was_too_late_is_kept(provider):
    with LLMServer(["hello", Drip(piece=b"x")]) as server, client(server, provider, retries=0) as llm:

        async def main():
            async with llm:
                await llm.acall("hi")
                with pytest.raises(errors.LLMTimeoutError) as info:
                    await llm.acall("hi", timeout=0.5)
                return info.value

        error = asyncio.run(main())
    assert set(error.raw) == {"x"}


def test_what_came_of_a_cancelled_call_is_kept(provider):
    endless = UntilGone(Drip(piece=b"x"))

    async def main(llm):
        async with llm:
            call = asyncio.create_task(llm.acall("hi"))
            assert await asyncio.to_thread(endless.begun.wait, 60)
            await asyncio.sleep(0.2)  # in which some of it comes
            call.cancel()
            with pytest.raises(asyncio.CancelledError) as info:
                await call
            return info.value

    with LLMServer([endless]) as server, client(server, provider) as llm:
        assert set(asyncio.run(main(llm)).raw) == {"x"}


def test_a_second_request_of_the_same_attempt_can_be_cancelled():
    refused = Failure(400, "Unsupported parameter: 'temperature' is not supported with this model.")
    endless = UntilGone()

    async def main(llm):
        async with llm:
            call = asyncio.create_task(llm.acall("hi"))
            assert await asyncio.to_thread(endless.begun.wait, 60)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert (await llm.acall("hi")).text == "again"

    with LLMServer([refused, endless, "again"]) as server, client(server, temperature=0) as llm:
        asyncio.run(main(llm))
        assert endless.gone.wait(60)
        assert at_rest(llm)


def test_a_loop_that_is_left_in_the_middle_gives_its_turns_back():
    held = Held()
    with LLMServer([held, "again"]) as server, client(server) as llm:
        loop = asyncio.new_event_loop()
        call = loop.create_task(llm.acall("hi"))
        while not held.held.acquire(blocking=False):
            loop.run_until_complete(asyncio.sleep(0.01))
        assert not at_rest(llm)
        call.cancel()
        loop.run_until_complete(asyncio.wait([call]))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        held.go.set()
        llm._throttle._allowance.concurrency = 1.0
        assert llm("hi").text == "again"


# Nobody waits for what it holds up itself.


def test_a_blocking_call_does_not_wait_for_the_loop_that_it_blocks():
    """As in a notebook, where a loop runs in the thread of every cell."""
    held = Held()

    async def main(llm):
        async with llm:
            llm._throttle._allowance.concurrency = 1.0
            running = asyncio.create_task(llm.acall("held"))
            await asyncio.to_thread(held.held.acquire)
            waiting = asyncio.create_task(llm.acall("waiting"))
            while not llm._throttle._queue:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0)
            # Neither can go on before this one has ended.
            assert llm("blocking", deadline=60).text == "ok"
            held.go.set()
            return [(await running).text, (await waiting).text]

    def reply(messages):
        return held if messages[-1]["content"] == "held" else "ok"

    with LLMServer(reply) as server, client(server) as llm:
        assert asyncio.run(main(llm)) == ["ok", "ok"]
        assert at_rest(llm)


def test_another_thread_does_wait():
    held = Held()
    with LLMServer(lambda messages: held) as server, client(server) as llm, ThreadPoolExecutor(2) as pool:
        llm._throttle._allowance.concurrency = 1.0
        calls = [pool.submit(llm, "hi") for _ in range(2)]
        assert held.held.acquire(timeout=60)
        while not llm._throttle._queue:
            pass
        assert not held.held.acquire(timeout=0.05)
        held.go.set()
        assert [call.result(60).text for call in calls] == ["ok", "ok"]


def test_threads_and_loops_and_two_keys_at_once():
    seen = []

    def reply(messages):
        seen.append(messages[-1]["content"])
        return Failure(503, headers={"retry-after-ms": "1"}) if len(seen) % 10 == 3 else messages[-1]["content"]

    with LLMServer(reply) as server:
        one, two = client(server, api_key="one", deadline=300), client(server, api_key="two", deadline=300)

        async def tasks(name, llm):
            texts = [f"{name} {number}" for number in range(21)]
            return [r.text for r in await asyncio.gather(*(llm.acall(text) for text in texts))] == texts

        with one, two, ThreadPoolExecutor(67) as pool:
            loops = [pool.submit(asyncio.run, tasks(f"loop {n}", (one, two, one)[n])) for n in range(3)]
            calls = {f"thread {n}": pool.submit((one, two)[n % 2], f"thread {n}") for n in range(64)}
            assert all(loop.result(300) for loop in loops)
            assert all(call.result(300).text == text for text, call in calls.items())
            assert at_rest(one)
            assert at_rest(two)


# Closing and forking.


def test_a_client_that_is_closed_lets_calls_end(provider):
    held = Held()
    with (
        LLMServer([held, held, "new"]) as server,
        client(server, provider, retries=0) as llm,
        ThreadPoolExecutor(1) as pool,
    ):
        call = pool.submit(llm, "hi")
        assert held.held.acquire(timeout=60)
        before = llm._adapter._clients._blocking.client
        llm.close()
        assert not before.is_closed()
        held.go.set()
        assert call.result(60).text == "ok"
        assert before.is_closed()

        async def main():
            held.go.clear()
            async with llm:
                call = asyncio.create_task(llm.acall("hi"))
                await asyncio.to_thread(held.held.acquire)
                (shared,) = llm._adapter._clients._by_loop.values()
                await llm.aclose()
                assert not shared.client.is_closed()
                held.go.set()
                assert (await call).text == "ok"
                assert shared.client.is_closed()

        asyncio.run(main())
        assert llm("hi").text == "new"


def in_child(llm, connection):
    assert not llm._adapter._clients.is_built, "a connection of its parent"
    connection.send([llm("child").text for _ in range(5)])
    connection.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes are forked")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_connections_and_turns_of_its_own(provider):
    held = Held()

    def reply(messages):
        return held if messages[-1]["content"] == "held" else messages[-1]["content"]

    with LLMServer(reply) as server, client(server, provider) as llm, ThreadPoolExecutor(1) as pool:
        llm("warm")
        llm._throttle._allowance.concurrency = 1.0
        call = pool.submit(llm, "held")
        assert held.held.acquire(timeout=60)
        holding, forked = threading.Event(), threading.Event()

        def hold():  # as another thread may at that moment
            with llm._throttle._lock, llm._adapter._clients._lock:
                holding.set()
                assert forked.wait(60)

        holder = threading.Thread(target=hold)
        holder.start()
        assert holding.wait(60)
        forks = multiprocessing.get_context("fork")
        ours, theirs = forks.Pipe()
        child = forks.Process(target=in_child, args=[llm, theirs])
        child.start()
        forked.set()
        holder.join(60)
        theirs.close()
        assert ours.poll(60), "the child waits for what only its parent can give"
        assert ours.recv() == ["child"] * 5
        child.join(60)
        assert child.exitcode == 0
        held.go.set()
        assert call.result(60).text == "ok"
        assert llm("parent").text == "parent"
        assert at_rest(llm)


# What is no time of a call.


class Slowly(Clock):
    """A clock on which nothing but loading takes time."""

    def __init__(self):
        self.time = 0.0

    def now(self):
        return self.time


def test_loading_is_no_time_of_a_call():
    class Loads:
        model = "local:slow"

        def __init__(self, clock):
            self.clock = clock

        def prepare(self):
            self.clock.time += 100
            return True

        async def aprepare(self):
            return self.prepare()

        def complete(self, messages, settings):
            return Reply(f"{seconds_left() > 5}", model="slow")

        async def acomplete(self, messages, settings):
            await asyncio.sleep(0.01)  # in which a call that is too late is cancelled
            return Reply("True", model="slow")

    clock = Slowly()
    llm = LLM(adapter=Loads(clock), deadline=10)
    llm._clock = clock
    assert llm("hi").text == "True"
    assert asyncio.run(llm.acall("hi")).text == "True"


# A connection that is given up at the very moment at which it is there is left by asyncio to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("how", ["call", "acall"])
@pytest.mark.parametrize("settings", [{"timeout": 0.001}, {"deadline": 0.001}, {"timeout": 0.001, "deadline": 1e12}])
def test_times_that_are_too_short_for_anything(provider, how, settings):
    with LLMServer(lambda messages: Drip()) as server, client(server, provider, retries=0) as llm:
        with pytest.raises(errors.LLMTimeoutError):
            llm("hi", **settings) if how == "call" else asyncio.run(llm.acall("hi", **settings))
        assert at_rest(llm)
    gc.collect()  # here, and not in another test


@pytest.mark.parametrize("how", ["call", "acall"])
@pytest.mark.parametrize("seconds", [1e12, 1e300, float("inf")])
def test_times_without_an_end(provider, how, seconds):
    with LLMServer(["hello", "hello"]) as server, client(server, provider, deadline=seconds) as llm:
        for settings in ({}, {"timeout": seconds}):
            reply = llm("hi", **settings) if how == "call" else asyncio.run(llm.acall("hi", **settings))
            assert reply.text == "hello"


def test_garbage_is_collected_while_calls_are_made():
    with LLMServer(lambda messages: "ok") as server, ThreadPoolExecutor(4) as pool:

        def forget(number):
            text = client(server)(f"{number}").text
            gc.collect()
            return text

        assert list(pool.map(forget, range(20))) == ["ok"] * 20
