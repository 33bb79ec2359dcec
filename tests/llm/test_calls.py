"""What every call of a client goes through, whichever model is behind it: cassettes, budgets, ledgers."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from opto.errors import (
    AuthenticationError,
    BadRequestError,
    BudgetError,
    CassetteError,
    LLMConnectionError,
    LLMTimeoutError,
    OptoError,
    RateLimitError,
)
from opto.llm import LLM, Budget, Cassette, DummyLLM, Ledger, Price, Reply, ScriptedLLM, Usage, labelled, use_llm
from opto.testing import Cut, Failure, LLMServer, Raw, Slow
from tests.llm.ways import ask

HELLO = Reply("hello", "m", usage=Usage(10, 5))


def test_every_client_counts_its_calls(how):
    llm = ScriptedLLM([HELLO, RateLimitError("No.", mend="Wait."), "unknown usage"], price=(1, 2))
    ask(llm, how)
    with pytest.raises(RateLimitError):
        ask(llm, how)
    ask(llm, how)
    first, second, third = llm.ledger.records
    assert (first.usage, first.error, first.role, first.model) == (HELLO.usage, None, "task", "scripted:script")
    assert first.cost == pytest.approx((10 * 1 + 5 * 2) / 1e6)
    assert (second.usage, second.error, second.cost) == (None, "RateLimitError", 0)
    assert (third.usage, third.cost) == (None, None)


def test_calls_are_entered_for_whom_they_are(how):
    ledger = Ledger()
    judge = ScriptedLLM([HELLO] * 2, role="judge", ledger=ledger)
    with labelled(step=7):
        ask(judge, how)
    with labelled(role="optimizer"):
        ask(judge, how)
    assert [(record.role, record.step) for record in ledger.records] == [("judge", 7), ("optimizer", None)]
    assert judge.ledger is ledger


def test_ledgers_around_count_all_clients_inside(how):
    one, two = ScriptedLLM([HELLO] * 2), ScriptedLLM([HELLO] * 2)
    with Ledger() as outer:
        ask(one, how)
        with Ledger() as inner:
            ask(two, how)
    ask(two, how)
    assert (outer.calls, inner.calls, one.ledger.calls, two.ledger.calls) == (2, 1, 1, 2)


def test_failed_attempts_are_on_the_bill(how):
    cut = Raw('{"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}')
    script = [cut, Failure(503, headers={"retry-after-ms": "1"}), HELLO]
    with LLMServer(script) as server, LLM("m", base_url=server.openai_url, price=(1, 1)) as llm:
        llm._clock.sleep = lambda seconds: None
        assert ask(llm, how).retries == 2
    (record,) = llm.ledger.records
    assert (record.usage, record.wasted, record.retries) == (HELLO.usage, Usage(7, 3), 2)
    assert record.cost == pytest.approx(25e-6)
    assert not record.uncertain


def test_a_call_that_may_have_been_billed_is_not_free(how):
    with LLMServer([Slow(60), HELLO]) as server, LLM("m", base_url=server.openai_url, price=(1, 1)) as llm:
        with pytest.raises(LLMTimeoutError):
            ask(llm, how, timeout=0.5, retries=0)
        assert ask(llm, how).text == "hello"
    first, second = llm.ledger.records
    assert (first.uncertain, first.cost, first.error) == (True, None, "LLMTimeoutError")
    assert not second.uncertain
    assert llm.ledger.cost is None
    assert llm.ledger.known_cost == pytest.approx(15e-6)


def test_a_cancelled_call_is_counted():
    async def main():
        async with LLM("m", base_url=server.openai_url) as llm:
            task = asyncio.create_task(llm.acall("hi"))
            while not server.requests:  # noqa: ASYNC110 - of another thread
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return llm.ledger.records

    with LLMServer([Slow(60)]) as server:
        (record,) = asyncio.run(main())
    assert (record.error, record.uncertain) == ("CancelledError", True)


def test_a_budget_stops_a_client_before_it_spends_more(how):
    llm = ScriptedLLM(lambda _: HELLO, budget=Budget(calls=3))
    for _ in range(3):
        ask(llm, how)
    with pytest.raises(BudgetError, match="3 calls"):
        ask(llm, how)
    assert (len(llm.calls), llm.ledger.calls) == (3, 3)


def test_a_budget_around_holds_for_all_clients(how):
    one, two = ScriptedLLM(lambda _: HELLO), ScriptedLLM(lambda _: HELLO)
    with Budget(tokens=2_000) as budget, pytest.raises(BudgetError):
        for _ in range(1_000):
            ask(one, how, max_tokens=50)
            ask(two, how, max_tokens=50)
    assert budget.spent.tokens == 15 * (len(one.calls) + len(two.calls))
    assert 1_900 <= budget.spent.tokens <= 2_000
    ask(one, how)  # outside


def test_a_budget_of_money_needs_a_price(how):
    with pytest.raises(BudgetError, match="is not known") as info:
        ask(ScriptedLLM([HELLO], budget=Budget(cost=1)), how)
    assert "price=" in str(info.value)
    assert ask(ScriptedLLM([HELLO], budget=Budget(cost=1), price=Price(1, 1)), how).text == "hello"


def test_retries_end_when_the_budget_does(how):
    wasteful = Raw('{"choices": [], "usage": {"prompt_tokens": 900, "completion_tokens": 50}}')
    with LLMServer([wasteful] * 5) as server:
        budget = Budget(tokens=1_000)
        with LLM("m", base_url=server.openai_url, budget=budget, max_tokens=100) as llm:
            llm._clock.sleep = lambda seconds: None
            llm._clock.asleep = lambda seconds: asyncio.sleep(0)
            with pytest.raises(BudgetError):
                ask(llm, how)
    assert len(server.requests) == 1
    assert budget.spent.tokens == 950


def test_the_time_of_a_budget_ends_calls_under_way(how):
    with (
        LLMServer([Slow(60)]) as server,
        LLM("m", base_url=server.openai_url, deadline=None) as llm,
        Budget(seconds=0.5),
        pytest.raises(BudgetError, match="seconds=") as info,
    ):
        ask(llm, how)
    assert isinstance(info.value.__context__, LLMTimeoutError)
    (record,) = llm.ledger.records
    assert record.uncertain


def test_a_timeout_inside_of_the_time_of_a_budget_is_one(how):
    with (
        LLMServer([Slow(60)]) as server,
        LLM("m", base_url=server.openai_url, timeout=0.2, retries=0) as llm,
        Budget(seconds=100),
        pytest.raises(LLMTimeoutError),
    ):
        ask(llm, how)


def test_a_budget_does_not_say_what_nobody_knows(how):
    with Budget(calls=5) as budget:
        ask(ScriptedLLM(["no usage is reported"]), how)
    assert (budget.spent.calls, budget.spent.tokens, budget.spent.cost) == (1, None, None)
    assert str(budget) == "1 of 5 calls"


def test_many_threads_keep_to_one_budget():
    budget, together = Budget(calls=100), threading.Barrier(64, timeout=30)
    llm = ScriptedLLM(lambda _: HELLO, budget=budget)

    def work(_):
        together.wait()
        for _ in range(5):
            try:
                llm("hi")
            except BudgetError:
                return

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(work, range(64)))
    assert (len(llm.calls), budget.spent.calls, budget.left.calls) == (100, 100, 0)


def test_a_cassette_answers_in_place_of_the_model(how, tmp_path):
    path = tmp_path / "replies.jsonl"
    with LLMServer([HELLO]) as server, LLM("m", base_url=server.openai_url, cassette=Cassette(path)) as llm:
        reply = ask(llm, how)
        assert ask(llm, how, "hi", rollout=0) == reply
        assert len(server.requests) == 1
    first, second = llm.ledger.records
    assert (first.replayed, second.replayed, second.cost) == (False, True, 0)
    with Cassette(path, mode="replay"), LLM("m", base_url="http://127.0.0.1:9/v1") as llm:
        assert ask(llm, how) == reply
        with pytest.raises(CassetteError, match="bye"):
            ask(llm, how, "bye")


def test_replayed_calls_take_nothing_from_a_budget(how, tmp_path):
    path = tmp_path / "replies.jsonl"
    ask(ScriptedLLM([HELLO], cassette=Cassette(path)), how)
    budget = Budget(calls=1)
    llm = ScriptedLLM([HELLO], cassette=Cassette(path), budget=budget)
    for _ in range(5):
        ask(llm, how, rollout=0)
    assert (len(llm.calls), budget.spent.calls) == (0, 0)


def test_replaying_needs_no_key_and_no_model(how, tmp_path):
    path = tmp_path / "replies.jsonl"
    with LLMServer([HELLO]) as server, LLM("openai:m", base_url=server.openai_url, cassette=Cassette(path)) as llm:
        ask(llm, how)
    with Cassette(path, mode="replay"):
        with LLM() as llm, LLM("openai:m") as named:
            assert (llm.model, ask(llm, how).text) == ("openai:m", "hello")
        assert ask(named, how, rollout=0).text == "hello"
    with pytest.raises(AuthenticationError):
        LLM()


def test_keys_stay_out_of_cassettes(how, tmp_path):
    path, key = tmp_path / "replies.jsonl", "a-key-like-no-other"
    with LLMServer([HELLO]) as server:
        settings = {"base_url": server.openai_url, "api_key": key, "extra_headers": {"x-secret": "hidden-header"}}
        with LLM("m", cassette=Cassette(path), **settings) as llm:
            ask(llm, how, f"My key is {key}.")
    assert key not in path.read_text()
    assert "hidden-header" not in path.read_text()
    with LLM("m", base_url="http://127.0.0.1:9/v1", api_key=key, cassette=Cassette(path, mode="replay")) as llm:
        assert ask(llm, how, f"My key is {key}.").text == "hello"


def test_a_reply_is_on_disk_before_it_is_used(how, tmp_path):
    path, seen = tmp_path / "replies.jsonl", []

    class Watched(Cassette):
        def keep(self, request, outcome):
            super().keep(request, outcome)
            seen.append(path.read_text())

    ask(ScriptedLLM([HELLO], cassette=Watched(path)), how)
    assert "hello" in seen[0]


def test_programs_inherit_what_is_around_them():
    with use_llm(DummyLLM(lambda messages: "hi")) as llm, Ledger() as ledger, Budget(calls=1):
        llm("one")
        with pytest.raises(BudgetError):
            llm("two")
    assert ledger.calls == 1


def test_a_connection_cut_in_the_middle_is_uncertain(how):
    with (
        LLMServer([Cut(HELLO)]) as server,
        LLM("m", base_url=server.openai_url, retries=0, price=(1, 1)) as llm,
        pytest.raises(LLMConnectionError),
    ):
        ask(llm, how)
    (record,) = llm.ledger.records
    assert record.usage is None
    assert record.uncertain or record.wasted == HELLO.usage


def test_what_would_limit_nothing_is_refused(how):
    budget = Budget(calls=1)
    llm = DummyLLM(lambda messages: "Hello.")
    for settings in ({"budget": budget}, {"budgets": budget}, {"role": "judge"}, {"price": (1, 2)}, {"x": Ledger()}):
        with pytest.raises(BadRequestError, match="client|is no|no setting"):
            ask(llm, how, **settings)
    assert llm.ledger.calls == 0


@pytest.mark.parametrize("wrong", [{"budgets": Budget(calls=1)}, {"ledger": "a file"}, {"cassette": "a file"}])
def test_a_client_is_given_what_it_is_to_be_given(wrong):
    with pytest.raises(OptoError, match="Give an opto|budget|Ledger|Cassette"):
        DummyLLM(lambda messages: "Hello.", **wrong)


@pytest.mark.parametrize("made", [lambda: Reply(None, "m"), lambda: Reply("Hello.", "m", usage={"input_tokens": 3})])
def test_a_reply_that_could_not_be_counted_is_none(how, made):
    budget = Budget(tokens=5000)
    with pytest.raises(BadRequestError, match="of a Reply is a"):
        ask(DummyLLM(lambda messages: made(), budget=budget), how)
    assert budget._account.held == (0, 0, 0)
