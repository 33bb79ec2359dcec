"""What steps cost, and what ends them when there is nothing left to spend."""

import asyncio
import threading
from itertools import count

import pytest

from opto.errors import BudgetError
from opto.llm import Budget, Cassette, Ledger, Reply, ScriptedLLM, Usage
from opto.nodes import node
from opto.optimizers import OptoPrime, OptoPrimeMulti
from opto.runs import Run


def answer(value):
    return Reply(f"<variable><name>x</name><value>{value}</value></variable>", "m", usage=Usage(100, 10))


def prepared(kind, llm, **settings):
    x = node(1, name="x", trainable=True)
    optimizer = kind([x], llm, **settings)
    optimizer.backward(x * 3, "The output should be 6.")
    return optimizer


def test_a_step_says_what_it_cost(tmp_path):
    optimizer = prepared(OptoPrime, ScriptedLLM([answer(2)], price=(1, 2)), run=tmp_path)
    assert optimizer.step().cost == pytest.approx(120e-6)
    assert Run(tmp_path).steps()[0].cost == pytest.approx(120e-6)


def test_what_nobody_knows_costs_nothing_that_can_be_said():
    assert prepared(OptoPrime, ScriptedLLM([answer(2)])).step().cost is None


def test_all_calls_of_a_step_are_in_its_cost():
    numbers = count(2)
    optimizer = prepared(OptoPrimeMulti, ScriptedLLM(lambda _: answer(next(numbers)), price=(1, 2)), num_responses=3)
    with Ledger() as ledger:
        step = optimizer.step()
    assert step.cost == pytest.approx(ledger.cost)
    roles = ledger.by("role")
    assert roles["optimizer"].calls == 3
    assert roles["judge"].calls >= 1  # who chooses among them
    assert set(ledger.by("step")) == {1}


def test_an_asynchronous_step_is_counted_as_well():
    with Ledger() as ledger:
        step = asyncio.run(prepared(OptoPrime, ScriptedLLM([answer(2)], price=(1, 2))).astep())
    assert step.cost == pytest.approx(ledger.cost) == pytest.approx(120e-6)


@pytest.mark.parametrize("kind", [OptoPrime, OptoPrimeMulti])
def test_a_budget_ends_the_loop_and_not_only_the_step(kind):
    llm = ScriptedLLM(lambda _: answer(2), price=(1, 2), budget=Budget(calls=1))
    optimizer = prepared(kind, llm)
    with pytest.raises(BudgetError):
        for _ in range(3):
            optimizer.step()
            optimizer.zero_feedback()
            optimizer.backward(optimizer.parameters[0] * 3, "The output should be 6.")
    assert len(llm.calls) == 1
    assert optimizer.records[-1].outcome == "failed"
    assert "budget of 1 call" in optimizer.records[-1].reason


def test_candidates_that_are_asked_at_the_same_time_are_replayed_in_their_places(tmp_path):
    path, numbers, kept = tmp_path / "replies.jsonl", count(), [threading.Event() for _ in range(4)]
    settings = {"num_responses": 4, "temperature_range": None, "selection": "last", "max_workers": 4}

    def last_first(_):
        number = next(numbers)
        if number < 3:
            kept[number + 1].wait(30)
        return answer(number)

    class Telling(Cassette):
        def keep(self, request, outcome):
            super().keep(request, outcome)
            kept[int(outcome.text.split("<value>")[1][0])].set()

    first = prepared(OptoPrimeMulti, ScriptedLLM(last_first, cassette=Telling(path)), **settings).step()
    silent = ScriptedLLM([], cassette=Cassette(path, mode="replay"))
    again = prepared(OptoPrimeMulti, silent, **settings).step()
    assert [item.update for item in again.candidates] == [item.update for item in first.candidates]
    assert again.update == first.update
