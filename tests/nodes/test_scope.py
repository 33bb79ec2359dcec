"""Whether code is recorded holds for one block, in one thread or task."""

import asyncio
import operator
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest

from opto.nodes import is_tracing, node, reads_in, stop_tracing
from opto.nodes.scope import current_scope, enter_scope, leave_scope, new_scope


def recorded():
    """True if a result that is made here knows its parents, as it must be where is_tracing() says so."""
    known = bool((node(1) + 1).parents)
    assert known is is_tracing()
    return known


def test_results_in_the_block_have_no_parents():
    assert recorded()
    with stop_tracing():
        assert not recorded()
    assert recorded()


def test_values_are_computed_all_the_same():
    x = node([3, 1], trainable=True)
    with stop_tracing():
        assert (x[0] + 1).data == 4
        assert [item.data for item in x] == [3, 1]
        assert x.index(1).data == 1
        assert (x[0] + 1).is_root


def test_blocks_nest():
    with stop_tracing():
        with stop_tracing():
            assert not recorded()
        assert not recorded()
    assert recorded()


def test_the_block_ends_with_an_exception():
    with pytest.raises(ValueError), stop_tracing():
        raise ValueError
    assert recorded()


def test_feedback_does_not_pass_what_was_not_recorded():
    x = node(1, trainable=True)
    with stop_tracing():
        y = x + 1
    (y + 1).backward("good")
    assert x.feedback == {}


def test_it_can_decorate_a_function():
    @stop_tracing()
    def quiet():
        return recorded()

    assert not quiet()
    assert not quiet()
    assert recorded()


def test_threads_do_not_see_each_other():
    inside, outside, seen = threading.Event(), threading.Event(), {}

    def quiet():
        with stop_tracing():
            inside.set()
            assert outside.wait(10)
            seen["quiet"] = recorded()
        seen["after"] = recorded()

    def loud():
        assert inside.wait(10)
        seen["loud"] = recorded()
        outside.set()

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(quiet), pool.submit(loud)]:
            future.result()
    assert seen == {"quiet": False, "after": True, "loud": True}


def test_tasks_do_not_see_each_other():
    async def quiet(steps):
        with stop_tracing():
            for _ in range(steps):
                await asyncio.sleep(0)
                assert not recorded()
        assert recorded()

    async def loud(steps):
        for _ in range(steps):
            await asyncio.sleep(0)
            assert recorded()

    async def main():
        await asyncio.gather(*(job(steps) for steps in (3, 5, 8) for job in (quiet, loud)))
        assert recorded()

    asyncio.run(main())


def test_a_task_started_in_the_block_inherits_it_and_keeps_it():
    async def job(gate):
        await gate.wait()
        return recorded()

    async def main():
        gate = asyncio.Event()
        with stop_tracing():
            task = asyncio.create_task(job(gate))
        assert recorded()
        gate.set()
        return await task

    assert asyncio.run(main()) is False


def test_a_copied_context_keeps_the_block():
    with stop_tracing():
        context = copy_context()
    assert context.run(recorded) is False
    assert recorded()


# What is read.


@pytest.fixture
def scope():
    made = new_scope()
    token = enter_scope(made)
    yield made
    leave_scope(token)
    assert current_scope() is None


OUTER = node([1, 2], name="outer")


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.data,
        len,
        bool,
        str,
        lambda x: f"{x}",
        lambda x: x == [1],
        lambda x: 1 in x,
        lambda x: x[0],
        lambda x: operator.add(x, [1]),
        lambda x: operator.add([1], x),
        lambda x: x.index(1),
        list,
        lambda x: x.call("index", 1),
        lambda x: x.getattr("__len__"),
        lambda x: node(0) + len(x),
        lambda x: operator.add(node([0]), [x]),
        lambda x: node([1, 2])[x[0] :],
    ],
)
def test_every_way_to_read_a_node_from_outside_is_noted(scope, read):
    read(OUTER)
    assert [item is OUTER for item in reads_in(scope)] == [True]


def test_reading_an_empty_node_in_a_loop_is_noted(scope):
    """What follows depends on its being empty."""
    empty = node([], name="empty")
    inner = new_scope()
    token = enter_scope(inner)
    for _ in empty:
        pytest.fail("it is empty")
    leave_scope(token)
    assert [item is empty for item in reads_in(inner)] == [True]


def test_reads_that_fail_are_noted(scope):
    with pytest.raises(TypeError):
        OUTER + 1
    assert [item is OUTER for item in reads_in(scope)] == [True]


def test_nodes_made_inside_are_no_ones_business(scope):
    x = node([1])
    (x * 2)[0].data
    assert reads_in(scope) == []


def test_reads_in_a_quiet_block_are_noted_outside_of_it(scope):
    with stop_tracing():
        OUTER.data
    assert [item is OUTER for item in reads_in(scope)] == [True]


def test_reads_are_noted_once_and_in_order(scope):
    other = OUTER
    first, second = OUTER, other
    first.data, second.data, len(first)
    assert len(reads_in(scope)) == 1
