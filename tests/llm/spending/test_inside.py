"""A function in place of a model that asks models itself: what they used is counted once."""

import pytest

from opto.errors import BadRequestError, ServerError
from opto.llm import Budget, Cassette, DummyLLM, Ledger, Reply, ScriptedLLM, Usage
from tests.llm.ways import ask

USAGE = Usage(10, 5)
HELLO = Reply("Hello.", "m", usage=USAGE)


def failed(_):
    error = ServerError("No.", mend="Wait.", status=500)
    error.usage = USAGE
    return error


@pytest.mark.parametrize("answer", [lambda reply: reply, lambda reply: reply.text], ids=["reply", "text"])
def test_what_is_passed_on_is_paid_once(how, answer):
    inner = ScriptedLLM(lambda _: HELLO, price=(1, 2))
    around = DummyLLM(lambda messages: answer(inner(messages)))
    with Ledger() as ledger, Budget(tokens=5000) as budget:
        ask(around, how)
    assert (ledger.calls, ledger.usage, ledger.cost) == (2, USAGE, pytest.approx(20e-6))
    assert ledger.totals.unreported == 0
    assert (budget.spent.calls, budget.spent.tokens, budget.spent.cost) == (2, 15, pytest.approx(20e-6))


def test_what_calls_around_calls_around_calls_pass_on_is_paid_once(how):
    inner = ScriptedLLM(lambda _: HELLO, price=(1, 2))
    middle = DummyLLM(lambda messages: inner(messages))
    with Ledger() as ledger, Budget(tokens=5000) as budget:
        ask(DummyLLM(lambda messages: middle(messages)), how)
    assert (ledger.calls, ledger.usage, budget.spent.tokens) == (3, USAGE, 15)


def test_each_client_says_what_its_own_calls_used(how):
    inner = ScriptedLLM(lambda _: HELLO)
    around = DummyLLM(lambda messages: inner(messages), budget=(own := Budget(tokens=5000)))
    ask(around, how)
    assert around.ledger.usage == inner.ledger.usage == USAGE
    assert own.spent.tokens == 15, "the calls inside know nothing of this budget"


def test_a_failure_that_is_passed_on_is_paid_once(how):
    inner = ScriptedLLM(failed, price=(1, 2))
    with Ledger() as ledger, Budget(tokens=5000) as budget, pytest.raises(ServerError):
        ask(DummyLLM(lambda messages: inner(messages), retries=0), how)
    assert (ledger.totals.failed, ledger.usage, ledger.cost) == (2, USAGE, pytest.approx(20e-6))
    assert budget.spent.tokens == 15


def test_an_error_of_the_function_leaves_what_was_paid_known(how):
    inner = ScriptedLLM(lambda _: HELLO, price=(1, 2))

    def stumble(messages):
        inner(messages)
        raise ZeroDivisionError

    with Ledger() as ledger, Budget(tokens=5000) as budget, pytest.raises(ZeroDivisionError):
        ask(DummyLLM(stumble), how)
    assert (ledger.cost, budget.spent.tokens) == (pytest.approx(20e-6), 15)


def test_what_a_cassette_answers_inside_is_not_paid_again(how, tmp_path):
    path = tmp_path / "replies.jsonl"
    ScriptedLLM([HELLO], cassette=Cassette(path))("hi")
    inner = ScriptedLLM([], cassette=Cassette(path, "replay"), price=(1, 2))
    with Ledger() as ledger, Budget(tokens=5000) as budget:
        ask(DummyLLM(lambda messages: inner(messages)), how)
    assert (ledger.usage, ledger.totals.saved_usage, ledger.cost) == (Usage(), USAGE, 0)
    assert (budget.spent.calls, budget.spent.tokens) == (1, 0)


def test_a_function_that_asks_nobody_reports_what_it_used_itself(how):
    with Ledger() as ledger:
        ask(DummyLLM(lambda messages: HELLO, price=(1, 2)), how)
        ask(DummyLLM(lambda messages: HELLO, price=(1, 2)), how)
    assert (ledger.usage, ledger.cost) == (Usage(20, 10), pytest.approx(40e-6))


def test_a_refusal_that_is_replayed_is_counted(how, tmp_path):
    path = tmp_path / "replies.jsonl"
    llm = ScriptedLLM([BadRequestError("No.", mend="Other words.")])
    copy = Cassette(tmp_path / "copy.jsonl", "keep")
    with Cassette(path), pytest.raises(BadRequestError):
        llm("hi")
    with Ledger() as ledger, copy, Cassette(path, "replay"), pytest.raises(BadRequestError):
        ask(llm, how)
    (record,) = ledger.records
    assert (record.replayed, record.error, record.cost, len(llm.calls)) == (True, "BadRequestError", 0, 1)
    assert len(Cassette(copy.path, "replay")) == 1, "also by those that keep a copy of what another one answers"
