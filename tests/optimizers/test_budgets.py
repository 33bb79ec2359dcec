"""Budgets end optimization: a call that may not be made is no failed step to go on from."""

import asyncio
import itertools

import pytest

from opto import trace
from opto.errors import BudgetError
from opto.llm import Budget, DummyLLM, Ledger, Reply, ScriptedLLM, Usage
from opto.nodes import node
from opto.optimizers import OptoPrime, OptoPrimeMulti
from opto.optimizers.suggestion import Suggestion, TagFormat


def answers():
    """Suggest 2, 3, 4 …"""
    numbers = itertools.count(2)
    return lambda _: Reply(TagFormat().write(Suggestion({"x": next(numbers)})), "m", usage=Usage(500, 50))


@pytest.fixture
def x():
    return node(1, name="x", trainable=True)


def steps(optimizer, x, number=10):
    """Yield the steps of a loop that goes on whatever they say."""
    for _ in range(number):
        optimizer.zero_feedback()
        optimizer.backward(x * 3, "More, please.")
        yield optimizer.step()


@pytest.mark.parametrize("where", ["client", "block"])
def test_a_budget_of_calls_ends_a_loop(x, where):
    budget, done = Budget(calls=3), []
    llm = ScriptedLLM(answers(), budget=budget if where == "client" else None)
    optimizer = OptoPrime([x], llm)
    with budget if where == "block" else Ledger(), pytest.raises(BudgetError, match="budget of 3 calls is used up"):
        done.extend(record.outcome for record in steps(optimizer, x))
    assert len(llm.calls) == budget.spent.calls == 3
    assert x.data == 4, "what the last answer that was paid for suggested"
    assert [record.outcome for record in optimizer.records] == ["updated"] * 3 + ["failed"]
    assert "BudgetError" in optimizer.records[-1].reason


def test_a_budget_of_tokens_ends_a_loop_before_it_is_exceeded(x):
    llm = ScriptedLLM(answers(), max_tokens=100)
    with Budget(tokens=3_000) as budget, pytest.raises(BudgetError):
        list(steps(OptoPrime([x], llm), x))
    assert 550 * len(llm.calls) == budget.spent.tokens
    assert 2_000 < budget.spent.tokens <= 3_000


def test_a_budget_ends_steps_in_an_event_loop(x):
    async def main():
        optimizer = OptoPrime([x], ScriptedLLM(answers()))
        for _ in range(10):
            optimizer.zero_feedback()
            optimizer.backward(x * 3, "More, please.")
            await optimizer.astep()

    with Budget(calls=3) as budget, Ledger() as ledger, pytest.raises(BudgetError):
        asyncio.run(main())
    assert (budget.spent.calls, ledger.calls, x.data) == (3, 3, 4)


def test_candidates_share_what_there_is(x):
    llm = ScriptedLLM(answers())
    optimizer = OptoPrimeMulti([x], llm, num_responses=5)
    with Budget(calls=7) as budget, Ledger() as ledger, pytest.raises(BudgetError):
        list(steps(optimizer, x))
    assert len(llm.calls) == ledger.calls == budget.spent.calls == 7


def test_a_program_that_has_used_up_its_budget_is_no_failure_to_learn_from(x):
    llm = DummyLLM(lambda messages: "fine")

    @trace.bundle()
    def agent(x):
        return llm(f"Do it {x} times.").text

    optimizer = OptoPrime([x], ScriptedLLM(answers()))
    with Budget(calls=1), pytest.raises(BudgetError) as caught:
        for _ in range(3):
            try:
                output, feedback = agent(x), "More, please."
            except trace.ExecutionError as error:
                output, feedback = error.exception_node, "It failed."
            optimizer.zero_feedback()
            optimizer.backward(output, feedback)
    assert not isinstance(caught.value, trace.ExecutionError)


def test_what_optimizers_and_programs_spend_is_told_apart(x):
    llm = DummyLLM(lambda messages: Reply("fine", "m", usage=Usage(7, 3)))

    @trace.bundle()
    def agent(x):
        return llm(f"Do it {x} times.").text

    optimizer = OptoPrime([x], ScriptedLLM(answers()))
    with Ledger() as ledger:
        for _ in range(2):
            output = agent(x)
            optimizer.zero_feedback()
            optimizer.backward(output, "More, please.")
            optimizer.step()
    assert {role: total.usage.total_tokens for role, total in ledger.by("role").items()} == {
        "task": 20,
        "optimizer": 1100,
    }
    assert set(ledger.by("role", "step")) == {("task", None), ("optimizer", 1), ("optimizer", 2)}
    assert ledger.by("operator")["agent"].calls == 2
