"""What is tried again, when, how often, and when it ends."""

import asyncio
import itertools
import threading

import pytest

from opto import errors
from opto.llm import LLM, DummyLLM, Reply, ScriptedLLM
from opto.llm.pacing.clock import Clock
from opto.testing import Action, Cut, Drip, Failure, LLMServer, Raw, Slow
from tests.llm.ways import ask


class Waits(Clock):
    """A clock on which only waits take time, and they take none; `list` holds them."""

    def __init__(self, chance=0.0):
        self.list = []
        self._chance = chance

    def now(self):
        return sum(self.list)

    def sleep(self, seconds):
        self.list.append(seconds)

    async def asleep(self, seconds):
        self.list.append(seconds)

    def wait(self, event, seconds):
        self.list.append(seconds)

    async def await_event(self, event, seconds):
        self.list.append(seconds)

    def chance(self):
        return self._chance


@pytest.fixture(params=["openai", "anthropic"])
def provider(request):
    return request.param


def client(server, provider, clock=None, **settings):
    url = server.openai_url if provider == "openai" else server.anthropic_url
    llm = LLM(f"{provider}:m", base_url=url, **settings)
    if clock is not None:
        llm._clock = clock
    return llm


@pytest.mark.parametrize(
    "failure",
    [
        Failure(429), Failure(500), Failure(502), Failure(503), Failure(529), Failure(408), Failure(409), Failure(504),
        Cut(), Cut("hello"), Raw("<html>"), Raw('{"choices": []}'),
    ],
    ids=repr,
)  # fmt: skip
def test_what_may_pass_is_tried_again(provider, how, failure):
    waits = Waits()
    with LLMServer([failure, failure, "hello"]) as server, client(server, provider, waits) as llm:
        reply = ask(llm, how)
    assert (reply.text, reply.retries, len(server.requests)) == ("hello", 2, 3)
    assert waits.list == [0.25, 0.5]


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (Failure(401), errors.AuthenticationError),
        (Failure(403), errors.AuthenticationError),
        (Failure(400), errors.BadRequestError),
        (Failure(404), errors.BadRequestError),
        (Failure(413), errors.ContextLengthError),
        (Failure(400, "prompt is too long: 3 > 2"), errors.ContextLengthError),
        (Failure(400, code="content_filter"), errors.ContentRefusedError),
        (Failure(402), errors.QuotaError),
        (Failure(429, code="insufficient_quota"), errors.QuotaError),
    ],
    ids=repr,
)
def test_what_stays_is_raised_at_once(provider, how, failure, kind):
    waits = Waits()
    with LLMServer([failure, "hello"]) as server, client(server, provider, waits) as llm, pytest.raises(kind) as info:
        ask(llm, how)
    assert type(info.value) is kind
    assert (info.value.retries, len(server.requests), waits.list) == (0, 1, [])


def test_the_sdks_try_nothing_again_themselves(provider, how):
    with (
        LLMServer(lambda messages: Failure(500)) as server,
        client(server, provider, retries=0) as llm,
        pytest.raises(errors.ServerError),
    ):
        ask(llm, how)
    assert len(server.requests) == 1


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_retries_end_with_the_last_failure(provider, how, retries):
    failures = (Failure(500, f"failure {number}") for number in itertools.count())
    waits = Waits()
    with (
        LLMServer(failures) as server,
        client(server, provider, waits, retries=retries) as llm,
        pytest.raises(errors.ServerError, match=f"failure {retries}") as info,
    ):
        ask(llm, how)
    assert (info.value.retries, len(waits.list), len(server.requests)) == (retries, retries, retries + 1)


def test_a_call_may_have_patience_of_its_own(how):
    with (
        LLMServer(lambda messages: Failure(500)) as server,
        client(server, "openai", Waits(), retries=3) as llm,
        pytest.raises(errors.ServerError),
    ):
        ask(llm, how, retries=1, deadline=100)
    assert len(server.requests) == 2
    assert "retries" not in server.requests[0].body
    assert "deadline" not in server.requests[0].body


@pytest.mark.parametrize(("chance", "waits"), [(0.0, [0.25, 0.5, 1, 2]), (0.5, [0.375, 0.75, 1.5, 3])])
def test_waits_grow_and_have_jitter(chance, waits):
    clock = Waits(chance)
    llm = ScriptedLLM(lambda messages: errors.ServerError("no", mend="Wait."), retries=4)
    llm._clock = clock
    with pytest.raises(errors.ServerError):
        llm("hi")
    assert clock.list == waits


def test_no_wait_is_longer_than_half_a_minute():
    clock = Waits(1.0)
    llm = ScriptedLLM(lambda messages: errors.ServerError("no", mend="Wait."), retries=20)
    llm._clock = clock
    with pytest.raises(errors.ServerError):
        llm("hi")
    assert max(clock.list) == 30


@pytest.mark.parametrize(
    "headers",
    [
        {"retry-after": "30"},
        {"retry-after-ms": "30000"},
        {"retry-after": "Sun, 22 Nov 2026 10:00:30 GMT", "date": "Sun, 22 Nov 2026 10:00:00 GMT"},
    ],
)
def test_the_provider_says_how_long_to_wait(provider, how, headers):
    waits = Waits()
    with LLMServer([Failure(429, headers=headers), "hello"]) as server, client(server, provider, waits) as llm:
        assert ask(llm, how).text == "hello"
    assert len(waits.list) == 1
    assert 30 <= waits.list[0] <= 33


def test_a_wait_beyond_the_deadline_is_not_begun(provider, how):
    waits = Waits()
    with (
        LLMServer([Failure(429, headers={"retry-after": "300"}), "hello"]) as server,
        client(server, provider, waits, deadline=60) as llm,
        pytest.raises(errors.RateLimitError) as info,
    ):
        ask(llm, how)
    assert (waits.list, info.value.retry_after, len(server.requests)) == ([], 300, 1)


def test_nobody_waits_for_what_never_comes():
    """Without a deadline too: the longest sleep of a machine is some hundred years."""
    clock = Waits()
    error = errors.RateLimitError("no", mend="Wait.", retry_after=1e300)
    llm = ScriptedLLM(lambda messages: error, retries=4, deadline=None)
    llm._clock = clock
    with pytest.raises(errors.RateLimitError):
        llm("hi")
    assert clock.list == []


def test_a_server_that_says_to_come_back_at_once_is_not_stormed(provider, how):
    clock = Waits()
    busy = Failure(429, headers={"retry-after": "0"})
    with LLMServer([busy, busy, "hello"]) as server, client(server, provider, clock) as llm:
        assert ask(llm, how).text == "hello"
    assert clock.list == [0.25, 0.5]


def test_all_waits_together_keep_the_deadline():
    clock = Waits()
    llm = ScriptedLLM(lambda messages: errors.ServerError("no", mend="Wait."), retries=100, deadline=10)
    llm._clock = clock
    with pytest.raises(errors.ServerError):
        llm("hi")
    assert clock.list == [0.25, 0.5, 1, 2, 4]


@pytest.mark.parametrize(("says", "requests"), [("false", 1), ("true", 3)])
def test_the_provider_says_whether_to_try_again(provider, says, requests):
    failure = Failure(429 if says == "false" else 400, headers={"x-should-retry": says})
    with LLMServer([failure, failure, "hello"]) as server, client(server, provider, Waits()) as llm:
        if says == "true":
            assert llm("hi").text == "hello"
        else:
            with pytest.raises(errors.RateLimitError):
                llm("hi")
    assert len(server.requests) == requests


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
@pytest.mark.parametrize("in_headers", [False, True])
def test_an_answer_that_drips_ends_in_time(provider, how, limit, in_headers):
    with (
        LLMServer([Drip(in_headers=in_headers), "hello", Drip(in_headers=in_headers)]) as server,
        client(server, provider, retries=0) as llm,
        pytest.raises(errors.LLMTimeoutError) as info,
    ):
        ask(llm, how, **{limit: 0.1})
    assert info.value.transient


def test_an_answer_that_drips_over_a_connection_in_use_ends_in_time(provider):
    with LLMServer(["hello", Drip(in_headers=True), "again"]) as server, client(server, provider, retries=0) as llm:
        assert llm("hi").text == "hello"
        with pytest.raises(errors.LLMTimeoutError):
            llm("hi", timeout=0.1)
        assert llm("hi").text == "again"


def test_an_attempt_that_is_too_slow_is_tried_again(provider, how):
    waits = Waits()
    with LLMServer([Slow(3600), "hello"]) as server, client(server, provider, waits) as llm:
        reply = ask(llm, how, timeout=0.5)
    assert (reply.text, reply.retries) == ("hello", 1)


def test_a_timeout_of_the_users_own_code_is_the_users_own():
    async def answer(messages):
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        asyncio.run(DummyLLM(answer).acall("hi"))


def test_an_asynchronous_function_has_a_deadline_if_it_is_given_one():
    async def answer(messages):
        await asyncio.sleep(3600)

    with pytest.raises(errors.LLMTimeoutError, match="function:answer"):
        asyncio.run(DummyLLM(answer, deadline=0.01).acall("hi"))


def test_functions_and_scripts_are_asked_once_unless_told():
    failures = [errors.ServerError("no", mend="Wait."), Reply("yes", model="m")]
    with pytest.raises(errors.ServerError):
        ScriptedLLM(failures)("hi")
    llm = ScriptedLLM(failures, retries=1)
    llm._clock = Waits()
    assert llm("hi") == Reply("yes", model="m", retries=1)


@pytest.mark.parametrize("settings", [{"retries": -1}, {"retries": 1.5}, {"retries": True}, {"deadline": 0}])
def test_patience_that_cannot_be(settings):
    with pytest.raises(errors.BadRequestError, match=repr(next(iter(settings.values())))):
        ScriptedLLM(["hello"], **settings)


class UntilGone(Action):
    """Answers byte by byte without an end, until the client has gone."""

    def __init__(self):
        self.begun, self.gone = threading.Event(), threading.Event()

    async def play(self, exchange):
        self.begun.set()
        try:
            await Drip().play(exchange)
        finally:
            self.gone.set()


def test_a_cancelled_call_closes_its_connection(provider):
    endless = UntilGone()

    async def main(server):
        async with client(server, provider) as llm:
            call = asyncio.create_task(llm.acall("hi"))
            await asyncio.to_thread(endless.begun.wait)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert await asyncio.to_thread(endless.gone.wait, 30)

    with LLMServer([endless]) as server:
        asyncio.run(main(server))


def test_a_call_that_is_too_late_closes_its_connection(provider, how):
    endless = UntilGone()

    async def twice(llm):
        async with llm:
            await llm.acall("hi")  # a client takes its time to come about
            with pytest.raises(errors.LLMTimeoutError):
                await llm.acall("hi", timeout=0.3)

    with LLMServer(["hello", endless]) as server, client(server, provider, retries=0) as llm:
        if how == "acall":
            asyncio.run(twice(llm))
        else:
            llm("hi")
            with pytest.raises(errors.LLMTimeoutError):
                llm("hi", timeout=0.3)
        assert endless.gone.wait(30)


def test_a_call_can_be_cancelled_while_it_waits_to_try_again():
    waiting = asyncio.Event()

    class Long(Clock):
        async def asleep(self, seconds):
            waiting.set()
            await asyncio.sleep(3600)

    async def main(server):
        async with client(server, "openai", Long()) as llm:
            call = asyncio.create_task(llm.acall("hi"))
            await waiting.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    with LLMServer([Failure(500)]) as server:
        asyncio.run(main(server))
    assert len(server.requests) == 1
