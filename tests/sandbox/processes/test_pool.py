"""Whoever waits for a process gets one, whatever becomes of others who waited or had one."""

import asyncio
import gc
import sys
import threading
import traceback

import pytest

from opto.sandbox import Limits, Sandbox
from opto.sandbox.processes import pool as pools
from opto.sandbox.processes.pool import Pool, TaskWaiter, ThreadWaiter


class Process:
    """What a pool asks of a process."""

    is_ended = False

    def end(self):
        self.is_ended = True


@pytest.fixture
def one():
    """Return a pool for one process, which is taken; its lease; and the process."""
    pool, process = Pool(1), Process()
    lease = pool.take()
    yield pool, lease, process
    pool.close()


def within(seconds, action):
    """Return what *action* comes to, in a thread of its own; fail if it does not come to an end."""
    found = []
    thread = threading.Thread(target=lambda: found.append(action()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert found, "it waits for ever"
    return found[0]


def test_who_is_cancelled_as_a_thread_gives_it_a_process_hands_that_on(one, monkeypatch):
    pool, lease, process = one
    giving, go_on, wake = threading.Event(), threading.Event(), TaskWaiter.wake

    def slowly(self):
        if not giving.is_set():
            giving.set()
            go_on.wait(10)
        return wake(self)

    async def main():
        monkeypatch.setattr(TaskWaiter, "wake", slowly)
        waiters = [TaskWaiter(asyncio.get_running_loop()) for _ in range(2)]
        assert [pool.take(waiter=waiter) for waiter in waiters] == [None, None]
        first, second = (asyncio.create_task(waiter.result(pool)) for waiter in waiters)
        giver = threading.Thread(target=pool.give, args=(process, lease))
        giver.start()
        await asyncio.to_thread(giving.wait)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        go_on.set()
        giver.join()
        return (await asyncio.wait_for(second, 10)).child

    assert asyncio.run(main()) is process


def test_a_loop_that_is_closed_is_no_fault_of_whoever_gives(one):
    pool, lease, process = one
    loop = asyncio.new_event_loop()
    gone, waiter = TaskWaiter(loop), ThreadWaiter()
    loop.close()
    assert pool.take(waiter=gone) is None
    assert pool.take(waiter=waiter) is None
    pool.give(process, lease)
    assert within(10, lambda: waiter.result(pool)).child is process


@pytest.mark.parametrize("kind", [ThreadWaiter, TaskWaiter])
def test_what_nobody_gives_back_is_there_again(one, kind, monkeypatch):
    pool, lease, _ = one
    monkeypatch.setattr(pools, "_PATIENCE", 0.01)

    async def main():
        waiter = TaskWaiter(asyncio.get_running_loop())
        assert pool.take(waiter=waiter) is None
        lease.is_over = True
        return await waiter.result(pool)

    def wait():
        waiter = ThreadWaiter()
        assert pool.take(waiter=waiter) is None
        lease.is_over = True
        return waiter.result(pool)

    assert within(10, wait if kind is ThreadWaiter else lambda: asyncio.run(main())).child is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_exceptions_that_are_kept_keep_no_room_from_others(monkeypatch):
    kept = []
    monkeypatch.setattr(sys, "unraisablehook", kept.append)

    def call_below(depth):
        return call_below(depth - 1) if depth else candidate(1)

    with Sandbox("child", limits=Limits(children=1)).load("def f(x):\n    return x\n") as candidate:
        candidate(1)
        depth = len(traceback.extract_stack())
        for left in range(60):
            try:
                call_below(sys.getrecursionlimit() - depth - left)
            except RecursionError as error:
                kept.append(error)
        assert kept
        assert within(10, lambda: candidate(2)) == 2
    kept.clear()
    gc.collect()
    assert not kept  # such as a socket that nobody closed


def test_a_candidate_may_be_collected_while_one_of_its_processes_is_retired(one):
    pool, lease, _ = one

    class Collected(Process):
        """A process at which to look closes the pool, as the garbage collector may at any time."""

        def __eq__(self, other):
            pool.close()
            return self is other

        __hash__ = Process.__hash__

    process = Collected()
    pool.give(process, lease)
    within(10, lambda: [pool.retire(Collected())])
    assert process.is_ended


def test_whoever_is_collected_while_it_waits_leaves_its_turn_to_others(one):
    pool, lease, process = one
    loop = asyncio.new_event_loop()
    gone, waiter = TaskWaiter(loop), ThreadWaiter()
    assert pool.take(waiter=gone) is None
    assert pool.take(waiter=waiter) is None
    waiting = gone.result(pool)
    loop.call_soon(loop.stop)
    task = loop.create_task(waiting)
    loop.run_forever()
    task._log_destroy_pending = False
    del waiting, task
    loop.close()
    gone._future = None
    gc.collect()
    pool.give(process, lease)
    assert within(10, lambda: waiter.result(pool)).child is process
