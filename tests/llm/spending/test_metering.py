"""What a call is charged, however it ends; and that budgets know no more of it than anybody does."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from opto.errors import (
    AuthenticationError,
    BadRequestError,
    BudgetError,
    ContentRefusedError,
    ContextLengthError,
    LLMConnectionError,
    LLMError,
    LLMTimeoutError,
    MissingDependencyError,
    OptoError,
    QuotaError,
    RateLimitError,
    ServerError,
)
from opto.llm import LLM, Adapter, Budget, DummyLLM, Ledger, Price, Reply, ScriptedLLM, UnknowingThreadWarning, Usage
from opto.llm.spending import Expectations, Meter
from opto.llm.spending.budget import _outer as reservations_around
from opto.llm.spending.expecting import FIRST_OUTPUT
from opto.llm.tokens import estimate_tokens
from opto.testing import Failure, LLMServer
from tests.llm import ways

HELLO = Reply("hello", "m", usage=Usage(10, 5))
PROMPT = "Say hello to everybody in the room."
ask = partial(ways.ask, messages=PROMPT)


def failing(kind, *, status=None, usage=None, cause=None):
    error = kind("No.", mend="Wait.", status=status)
    error.usage, error.__cause__ = usage, cause
    return error


class ConnectError(Exception):
    """Named as those of the SDKs are."""


REFUSED = [
    (AuthenticationError, 401),
    (QuotaError, 429),
    (RateLimitError, 429),
    (BadRequestError, 400),
    (ContextLengthError, 400),
    (ContentRefusedError, 400),
    (ServerError, 500),
    (ServerError, 503),
]


@pytest.mark.parametrize(("kind", "status"), REFUSED)
def test_a_call_that_was_refused_counts_and_gives_its_tokens_back(how, kind, status):
    budget = Budget(calls=5, tokens=5000, cost=1)
    llm = ScriptedLLM([failing(kind, status=status)], budget=budget, price=(1, 1))
    with pytest.raises(kind):
        ask(llm, how)
    assert (budget.spent.calls, budget.spent.tokens, budget.spent.cost) == (1, 0, 0)
    (record,) = llm.ledger.records
    assert (record.cost, record.uncertain, record.error) == (0, False, kind.__name__)
    assert llm.ledger.cost == 0


UNCERTAIN = [
    failing(LLMTimeoutError),
    failing(LLMTimeoutError, status=504),
    failing(LLMConnectionError),
    failing(ServerError),
    failing(ServerError, status=200),
    failing(LLMError),
    ValueError("a function of the user's"),
]


@pytest.mark.parametrize("error", UNCERTAIN, ids=repr)
def test_a_call_that_may_have_been_billed_is_charged_what_was_estimated(how, error):
    budget = Budget(tokens=5000, cost=1)
    llm = ScriptedLLM([error], budget=budget, price=(1, 1))
    with pytest.raises(type(error)):
        ask(llm, how, max_tokens=300)
    estimate = estimate_tokens(PROMPT) + 300
    assert (budget.spent.calls, budget.spent.tokens, budget.spent.cost) == (1, estimate, estimate / 1e6)
    (record,) = llm.ledger.records
    assert (record.cost, record.uncertain, record.error) == (None, True, type(error).__name__)
    assert llm.ledger.cost is None


@pytest.mark.parametrize(
    "error",
    [
        failing(LLMConnectionError, cause=ConnectionRefusedError("refused")),
        failing(LLMTimeoutError, cause=ConnectError("no route")),
    ],
)
def test_what_never_reached_anybody_is_free(how, error):
    budget = Budget(tokens=5000)
    with pytest.raises(LLMError):
        ask(ScriptedLLM([error], budget=budget), how)
    assert (budget.spent.calls, budget.spent.tokens) == (1, 0)


def test_a_server_that_is_not_there_costs_nothing(how):
    with LLMServer([]) as server:
        address = server.openai_url
    budget = Budget(tokens=5000)
    with LLM("m", base_url=address, retries=0, budget=budget) as llm:
        with pytest.raises(LLMConnectionError):
            ask(llm, how)
        (record,) = llm.ledger.records
    assert (record.uncertain, record.cost, budget.spent.tokens) == (False, 0, 0)


def test_a_failure_that_says_what_it_cost_is_charged_that(how):
    budget = Budget(tokens=5000)
    error = failing(ServerError, status=200, usage=Usage(70, 30))
    llm = ScriptedLLM([error], budget=budget, price=(1, 1))
    with pytest.raises(ServerError):
        ask(llm, how)
    (record,) = llm.ledger.records
    assert (budget.spent.tokens, record.wasted, record.uncertain) == (100, Usage(70, 30), False)
    assert record.cost == pytest.approx(1e-4)


def test_each_attempt_that_was_cut_off_is_charged(how):
    budget = Budget(tokens=50_000)
    script = [failing(LLMTimeoutError), failing(ServerError, usage=Usage(7, 3)), failing(LLMTimeoutError), HELLO]
    llm = ScriptedLLM(script, budget=budget, retries=3, price=(1, 1))
    llm._clock.sleep = lambda seconds: None
    llm._clock.asleep = lambda seconds: asyncio.sleep(0)
    assert ask(llm, how, max_tokens=300).retries == 3
    assert budget.spent.tokens == 2 * (estimate_tokens(PROMPT) + 300) + 10 + 15
    assert budget.spent.calls == 1, "attempts of one call"
    (record,) = llm.ledger.records
    assert (record.retries, record.wasted, record.usage, record.uncertain) == (3, Usage(7, 3), HELLO.usage, True)
    assert record.cost == pytest.approx(25e-6), "what is known of it"
    assert (llm.ledger.cost, llm.ledger.known_cost) == (None, record.cost)


def test_a_call_without_a_turn_was_not_sent(how):
    budget = Budget(calls=1, tokens=5000)
    llm = ScriptedLLM([HELLO], budget=budget, requests_per_minute=1, deadline=10)
    llm._throttle._allowance.requests.use(1, llm._clock.now())
    with pytest.raises(RateLimitError, match="next request may begin"):
        ask(llm, how)
    assert (budget.spent.tokens, llm.ledger.records[0].cost, llm.ledger.records[0].uncertain) == (0, 0, False)


def test_a_call_that_waited_for_its_turn_until_its_deadline_was_not_sent(how):
    budget = Budget(tokens=5000)
    llm = ScriptedLLM([HELLO], budget=budget, requests_per_minute=100)
    with pytest.raises(LLMTimeoutError, match="No turn"):
        ask(llm, how, deadline=1e-9)
    assert (budget.spent.calls, budget.spent.tokens, llm.ledger.cost) == (0, 0, 0)


def test_a_call_that_waited_for_room_until_its_deadline_is_counted(how):
    budget = Budget(tokens=1200)
    budget.reserve(tokens=1000)
    llm = ScriptedLLM([HELLO], budget=budget)
    with pytest.raises(LLMTimeoutError, match="held the budget"):
        ask(llm, how, deadline=1e-9, max_tokens=500)
    (record,) = llm.ledger.records
    assert (record.error, record.cost, budget.spent.calls) == ("LLMTimeoutError", 0, 1)


def test_a_call_that_is_cancelled_while_it_waits_for_room_is_counted():
    budget = Budget(tokens=1200)

    async def main():
        budget.reserve(tokens=1000)
        llm = ScriptedLLM([HELLO], budget=budget)
        call = asyncio.ensure_future(llm.acall(PROMPT, max_tokens=500))
        for _ in range(5):
            await asyncio.sleep(0)
        assert budget._account.queue
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return llm.ledger.records

    assert [record.error for record in asyncio.run(main())] == ["CancelledError"]


class Missing(Adapter):
    model = "openai:gpt-4o"

    def complete(self, messages, settings):
        raise MissingDependencyError("There is no SDK.", mend="Install it.")

    async def acomplete(self, messages, settings):
        self.complete(messages, settings)


def test_a_missing_package_costs_nothing(how):
    budget = Budget(tokens=5000)
    llm = LLM(adapter=Missing(), budget=budget)
    with pytest.raises(MissingDependencyError):
        ask(llm, how)
    assert (budget.spent.tokens, llm.ledger.cost) == (0, 0)


def test_a_cancelled_task_is_charged_and_those_who_wait_go_on():
    budget, begun = Budget(tokens=1000), []

    async def slow(messages):
        begun.append(None)
        if len(begun) == 1:
            await asyncio.sleep(3600)
        return HELLO

    async def main():
        llm = DummyLLM(slow, budget=budget, max_tokens=500)
        first = asyncio.ensure_future(llm.acall(PROMPT))
        while not begun:  # noqa: ASYNC110 - it runs meanwhile
            await asyncio.sleep(0)
        second = asyncio.ensure_future(llm.acall(PROMPT))
        await asyncio.sleep(0.01)
        assert len(begun) == 1, "the second one does not fit while the first one holds its part"
        first.cancel()
        with pytest.raises(BudgetError):
            await asyncio.wait_for(second, 30)
        with pytest.raises(asyncio.CancelledError):
            await first
        return llm.ledger.records

    (record,) = asyncio.run(main())
    assert (record.error, record.uncertain) == ("CancelledError", True)
    assert budget.spent.tokens == estimate_tokens(PROMPT) + 500
    assert budget._account.held == (0, 0, 0)


def test_an_interrupt_is_charged():
    budget = Budget(tokens=5000)

    def stopped(messages):
        raise KeyboardInterrupt

    llm = DummyLLM(stopped, budget=budget)
    with pytest.raises(KeyboardInterrupt):
        llm(PROMPT)
    assert budget.spent.tokens > FIRST_OUTPUT
    assert budget._account.held == (0, 0, 0)
    assert llm.ledger.records[0].error == "KeyboardInterrupt"


def test_clients_wait_for_room_and_use_all_of_it(how):
    """Eight at once, where the estimates of only two fit."""
    budget, most, running, lock, pair = Budget(tokens=2 * 320), [], [], threading.Lock(), threading.Barrier(2)

    def model(messages):
        with lock:
            running.append(None)
            most.append(len(running))
        if len(most) <= 2:
            pair.wait(30)
        with lock:
            running.pop()
        return HELLO

    llm = DummyLLM(model, budget=budget, max_tokens=300)

    async def together():
        return await asyncio.gather(*(llm.acall(PROMPT) for _ in range(8)))

    if how == "acall":
        asyncio.run(together())
    else:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(llm, [PROMPT] * 8))
    assert budget.spent.tokens == 8 * 15
    assert max(most) == 2 == budget.limit.tokens // (estimate_tokens(PROMPT) + 300)


# What is not reported.


def test_a_reply_that_does_not_say_what_it_used_is_charged_by_its_texts(how):
    budget = Budget(tokens=5000, cost=1)
    llm = ScriptedLLM(["Dear all, welcome."], budget=budget, price=(1, 1))
    ask(llm, how)
    texts = estimate_tokens(PROMPT) + estimate_tokens("Dear all, welcome.")
    assert (budget.spent.tokens, budget.spent.cost) == (texts, pytest.approx(texts / 1e6))
    (record,) = llm.ledger.records
    assert (record.usage, record.cost) == (None, None), "a ledger holds no estimates"


def test_a_function_that_asks_models_itself_is_not_charged_twice(how):
    inner = ScriptedLLM(lambda _: HELLO)

    def wrapped(messages):
        return inner(messages).text

    budget = Budget(tokens=5000, calls=10)
    with budget:
        ask(DummyLLM(wrapped), how)
    assert (budget.spent.tokens, budget.spent.calls) == (15, 2)


def test_what_a_call_held_is_forgotten_when_it_ends():
    async def twice(llm):
        await llm.acall(PROMPT)
        assert reservations_around.get() == ()

    with Budget(tokens=5000):
        llm = ScriptedLLM(lambda _: HELLO)
        llm(PROMPT)
        assert reservations_around.get() == ()
        asyncio.run(twice(llm))


def test_a_function_inside_of_which_the_budget_ends_raises_and_does_not_wait_for_itself(how):
    inner = ScriptedLLM(lambda _: HELLO)
    with Budget(tokens=1500) as budget, pytest.raises(BudgetError):
        ask(DummyLLM(lambda messages: inner(messages).text), how, max_tokens=1000)
    assert budget._account.held == (0, 0, 0)


# Estimates.


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_what_a_model_may_write_is_estimated_by_its_limit(name):
    messages = [{"role": "user", "content": PROMPT}]
    assert Expectations().of("m", messages, {name: 77}) == Usage(estimate_tokens(PROMPT), 77)
    assert Expectations().of("m", messages, {name: 77, "n": 3}).output_tokens == 231


def test_without_a_limit_it_is_the_most_that_the_model_wrote_so_far():
    expectations, messages = Expectations(), [{"role": "user", "content": PROMPT}]
    assert expectations.of("m", messages, {}).output_tokens == FIRST_OUTPUT == 1024
    expectations.learn("m", Usage(10, 40))
    expectations.learn("m", Usage(10, 4000))
    expectations.learn("m", Usage(10, 30))
    expectations.learn("other", Usage(10, 9000))
    assert expectations.of("m", messages, {}).output_tokens == 4000
    assert expectations.of("third", messages, {"max_tokens": None}).output_tokens == FIRST_OUTPUT


def test_a_client_learns_how_much_its_model_writes():
    budget = Budget(tokens=FIRST_OUTPUT + 100)
    llm = ScriptedLLM(lambda _: HELLO, budget=budget)
    for _ in range(20):
        llm(PROMPT)
    assert budget.spent.tokens == 300, "with the first estimate, the second call would not fit"


def test_all_that_a_model_reads_is_estimated():
    expectations = Expectations()
    parts = [{"type": "text", "text": PROMPT}, {"type": "image_url", "image_url": {"url": f"data:{'A' * 100_000}"}}]
    with_picture = expectations.of("m", [{"role": "user", "content": parts}], {}).input_tokens
    assert estimate_tokens(PROMPT) + 500 < with_picture < 3000, "bytes of a picture are no text"
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 100_000}}
    assert 500 < expectations.of("m", [{"role": "user", "content": [picture]}], {}).input_tokens < 3000
    plain = expectations.of("m", [{"role": "user", "content": PROMPT}], {}).input_tokens
    tool = {"name": "look", "parameters": {"type": "object", "properties": {"place": {"type": "string"}}}}
    assert expectations.of("m", [{"role": "user", "content": PROMPT}], {"tools": [tool]}).input_tokens > plain + 10
    assert expectations.of("m", [{"role": "assistant", "content": None}], {}).input_tokens == 1


# Money.


def test_a_budget_of_money_is_held_to_prices_of_the_table(how):
    class Adapted(Adapter):
        model = "openai:gpt-4o"

        def complete(self, messages, settings):
            return Reply("hello", "gpt-4o-2024-08-06", usage=Usage(400_000, 0))

        async def acomplete(self, messages, settings):
            return self.complete(messages, settings)

    budget = Budget(cost=2.5)
    llm = LLM(adapter=Adapted(), budget=budget)
    llm._meter = Meter(budget=budget, is_official=True)
    for _ in range(2):
        ask(llm, how)
    assert budget.spent.cost == pytest.approx(2.0)
    assert llm.ledger.cost == pytest.approx(2.0)
    ask(llm, how)
    with pytest.raises(BudgetError, match=r"\$2.50 has no room"):
        ask(llm, how)


def test_a_server_of_ones_own_has_no_price_unless_it_is_given(how):
    with LLMServer([HELLO] * 2) as server:
        with LLM("openai:gpt-4o", base_url=server.openai_url) as llm:
            ask(llm, how)
            assert llm.ledger.cost is None
            with Budget(cost=1), pytest.raises(BudgetError, match="openai:gpt-4o costs is not known"):
                ask(llm, how)
        with LLM("openai:gpt-4o", base_url=server.openai_url, price=(1, 1)) as llm, Budget(cost=1) as budget:
            ask(llm, how)
            assert budget.spent.cost == pytest.approx(15e-6)


def test_what_is_read_may_be_written_to_a_cache_which_costs_more(how):
    read = estimate_tokens(PROMPT)
    llm = ScriptedLLM([HELLO], price=Price(1, 1, cache_write=2), budget=Budget(cost=1e-9))
    with pytest.raises(BudgetError) as caught:
        ask(llm, how, max_tokens=10)
    assert caught.value.needed == pytest.approx((2 * read + 10) / 1e6)


def test_what_is_free_can_be_said_to_be(how):
    llm = DummyLLM(lambda messages: "hello", price=(0, 0), budget=Budget(cost=0))
    ask(llm, how)
    assert llm.ledger.cost == 0


# Names and places.


def test_a_call_of_another_model_is_entered_under_its_name(how):
    llm = ScriptedLLM([HELLO])
    ask(llm, how, model="other")
    assert llm.ledger.records[0].model == "scripted:other"


def test_a_model_that_its_server_names_is_entered_under_that_name(how):
    with LLMServer([HELLO] * 2, models=["llama3.2"]) as server, LLM(base_url=server.openai_url) as llm:
        ask(llm, how)
        ask(llm, how)
        assert list(llm.ledger.by("model")) == ["openai:llama3.2"]


def test_a_call_counts_where_it_began(how):
    outer = Ledger()

    def model(messages):
        with Ledger() as inside:
            pass
        return str(inside.calls)

    with outer:
        assert ask(DummyLLM(model), how).text == "0"
    assert outer.calls == 1


def test_a_ledger_that_is_around_its_own_client_counts_once(how):
    ledger = Ledger()
    with ledger, ledger:
        ask(ScriptedLLM([HELLO], ledger=ledger), how)
    assert ledger.calls == 1


@pytest.mark.parametrize("budget", [3, "much", [Budget(calls=1), 3], {"calls": 3}])
def test_what_is_no_budget_is_refused(budget):
    with pytest.raises(OptoError, match="The budget is"):
        ScriptedLLM([], budget=budget)


def test_a_client_may_have_several_budgets_and_one_twice(how):
    one, two = Budget(calls=5), Budget(tokens=5000)
    llm = ScriptedLLM([HELLO], budget=[one, two])
    with one:
        ask(llm, how)
    assert (one.spent.calls, two.spent.calls, two.spent.tokens) == (1, 1, 15)


def test_ledger_and_server_agree_to_the_token():
    """Every call ends, and what the server said that it cost is what was counted, retries included."""
    script = [Failure(500, headers={"retry-after-ms": "1"}) if n % 7 == 0 else HELLO for n in range(150)]
    budget = Budget(calls=100, tokens=10**6)
    with (
        LLMServer(script) as server,
        LLM("m", base_url=server.openai_url, budget=budget) as llm,
        Ledger() as ledger,
        ThreadPoolExecutor(16) as pool,
    ):
        for _ in range(10):
            llm(PROMPT)
        with pytest.warns(UnknowingThreadWarning, match="Ledger"):
            list(pool.map(llm, [PROMPT] * 90))
        billed = sum((exchange.usage or Usage() for exchange in server.log), Usage())
        answered = len(server.log)
    assert llm.ledger.usage == billed
    assert llm.ledger.totals.retries == answered - 100
    assert (budget.spent.calls, budget.spent.tokens) == (100, billed.total_tokens)
    assert ledger.calls == 10, "threads of a pool do not inherit what is around"
