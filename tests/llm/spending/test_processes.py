"""Budgets and ledgers where there is another process, or a copy."""

import copy
import os
import pickle
import signal
import threading

import pytest

from opto.llm import Budget, Cassette, DummyLLM, Ledger, Reply, ScriptedLLM, Usage
from opto.llm.spending import accounts

HELLO = Reply("Hello.", "m", usage=Usage(10, 5))
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
quietly = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


def in_child(work):
    """Return whether *work* ends well in a forked process, and at all."""
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # ends it
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


@needs_fork
@quietly
def test_a_forked_process_does_not_wait_for_calls_of_its_parent():
    answered, asked = threading.Event(), threading.Event()

    def slow(messages):
        asked.set()
        answered.wait(60)
        return HELLO

    budget, ledger = Budget(tokens=1200), Ledger()
    llm = ScriptedLLM([HELLO], budget=budget, ledger=ledger)

    def work():
        llm("hi")
        assert (budget.spent.calls, budget.spent.tokens, ledger.calls) == (2, 15, 1), "what was sent before counts"
        assert budget._account.held == (0, 0, 0)

    call = threading.Thread(target=DummyLLM(slow, budget=budget), args=["hi"])
    call.start()
    try:
        assert asked.wait(60)
        assert in_child(work)
    finally:
        answered.set()
        call.join()
    assert budget.spent.tokens == 15


@needs_fork
@quietly
def test_a_forked_process_waits_for_no_lock_of_its_parent():
    ledger = Ledger()
    llm = ScriptedLLM([HELLO], budget=Budget(tokens=5000), ledger=ledger)
    adapter, expectations = llm._adapter, llm._meter.expectations
    held, let_go = threading.Event(), threading.Event()

    def hold():
        with ledger._lock, adapter._lock, expectations._lock:
            held.set()
            let_go.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert held.wait(60)
        assert in_child(lambda: llm("hi"))
    finally:
        let_go.set()
        holder.join()


@needs_fork
@quietly
def test_a_process_is_forked_when_nobody_changes_numbers():
    free = threading.Event()

    def hold():
        with accounts.LOCK:
            held.set()
            free.wait(0.1)

    held = threading.Event()
    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(60)
    llm = ScriptedLLM([HELLO], budget=Budget(tokens=5000))
    assert in_child(lambda: llm("hi"))
    holder.join()
    llm("hi")  # and here it was given back


@needs_fork
def test_a_call_that_forks_holds_its_part_in_both_processes():
    budget = Budget(tokens=2500)
    inner = ScriptedLLM(lambda _: HELLO)
    ended = []

    def fork(messages):
        ended.append(in_child(lambda: (inner("hi"), check(messages))))
        return inner("hi")

    def check(messages):
        account = budget._account
        assert (account.running, account.spent.tokens, account.held.tokens > 1000) == (1, 15, True)

    with budget:
        DummyLLM(fork)("hi")
    assert ended == [True]
    assert (budget._account.held, budget._account.running) == ((0, 0, 0), 0)


def test_copies_count_in_the_same_place(tmp_path):
    for thing in (Budget(calls=1), Ledger(), Cassette(tmp_path / "replies.jsonl", "record")):
        assert copy.copy(thing) is thing
        assert copy.deepcopy(thing) is thing


@pytest.mark.parametrize(("thing", "said"), [(Budget(calls=1), "budget of its own"), (Ledger(), r"Ledger\(file\)")])
def test_another_process_gets_none_of_it_unseen(thing, said):
    with pytest.raises(TypeError, match=said):
        pickle.dumps(thing)
