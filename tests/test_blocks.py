"""Blocks of cassettes, budgets and ledgers: whom they hold for, and that nobody escapes them without a word."""

import asyncio
import contextvars
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from opto.errors import BudgetError
from opto.llm import Budget, Cassette, Ledger, Reply, ScriptedLLM, UnknowingThreadWarning, Usage
from opto.nodes import node
from opto.optimizers import OptoPrime

HELLO = Reply("hello", "m", usage=Usage(10, 5))


@pytest.fixture(params=["cassette", "budget", "ledger"])
def block(request, tmp_path):
    made = {
        "cassette": lambda: Cassette(tmp_path / "replies.jsonl"),
        "budget": lambda: Budget(calls=9),
        "ledger": Ledger,
    }
    return made[request.param]()


def held(block):
    """Tell whether *block* holds here."""
    return block in block.blocks.around()


def in_thread(function):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def test_a_thread_begun_inside_is_told_of_once(block):
    llm = ScriptedLLM([HELLO] * 3)
    with block:
        with pytest.warns(UnknowingThreadWarning, match="in_all_threads"):
            in_thread(lambda: llm("hi"))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            in_thread(lambda: llm("hi"))
    in_thread(lambda: llm("hi"))


def test_nothing_is_asked_where_the_warning_is_an_error(block):
    llm = ScriptedLLM([HELLO])
    with block, warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UnknowingThreadWarning):
            in_thread(lambda: llm("hi"))
    assert llm.calls == []


def test_threads_that_know_it_or_were_there_before_are_not_told_of(block):
    llm, begin, seen = ScriptedLLM([HELLO] * 4), threading.Event(), []

    def later():
        begin.wait(30)
        seen.append(held(block))
        llm("hi")

    before = threading.Thread(target=later)
    before.start()
    with block:
        begin.set()
        before.join()
        in_thread(lambda: None)
        context = contextvars.copy_context()
        assert in_thread(lambda: context.run(held, block))
        in_thread(lambda: context.run(llm, "hi"))

        async def main():
            return await asyncio.to_thread(held, block), await asyncio.create_task(awaited())

        async def awaited():
            return held(block)

        assert asyncio.run(main()) == (True, True)
    assert seen == [False]


def test_it_may_hold_in_all_threads(block):
    with block.in_all_threads() as entered:
        assert entered is block
        assert held(block)
        assert in_thread(lambda: held(block))
    assert not held(block)
    assert not in_thread(lambda: held(block))


def test_another_block_of_its_own_comes_first_in_a_thread(tmp_path):
    outer, inner = Ledger(), Ledger()

    def work():
        with inner:
            return Ledger.blocks.around()

    with outer.in_all_threads():
        assert in_thread(work) == (inner,)


def test_a_budget_in_all_threads_is_hard():
    llm = ScriptedLLM(lambda _: HELLO)

    def call(_):
        try:
            llm("hi")
        except BudgetError:
            return False
        return True

    with Budget(calls=7).in_all_threads() as budget, ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(call, range(20))) == 7
    assert budget.spent.calls == len(llm.calls) == 7


def test_blocks_may_end_in_any_order(block):
    other = (
        type(block)(block.path)
        if isinstance(block, Cassette)
        else Budget(calls=1)
        if isinstance(block, Budget)
        else Ledger()
    )
    block.__enter__()
    other.__enter__()
    block.__exit__(None, None, None)
    assert block.blocks.around() == (other,)
    other.__exit__(None, None, None)
    assert block.blocks.around() == ()


def test_what_a_step_opens_for_itself_warns_of_nothing(tmp_path):
    def model(messages):
        in_thread(lambda: inner("hi"))
        return "<variable><name>x</name><value>2</value></variable>"

    inner = ScriptedLLM([HELLO])
    x = node(1, name="x", trainable=True)
    optimizer = OptoPrime([x], model, run=tmp_path)
    optimizer.backward(x * 3, "six")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert optimizer.step().outcome == "updated"
