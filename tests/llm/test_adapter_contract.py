"""What every adapter must do, whichever provider is behind it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from opto.errors import BadRequestError
from opto.llm import LLM, Adapter, DummyLLM, Reply, ScriptedLLM, Usage
from opto.testing import LLMServer


@contextmanager
def over_http(provider, replies, **settings):
    with LLMServer(replies) as server:
        url = server.anthropic_url if provider == "anthropic" else server.openai_url
        with LLM(f"{provider}:some-model", base_url=url, **settings) as llm:
            yield llm


@contextmanager
def scripted(replies, **settings):
    with ScriptedLLM(replies, **settings) as llm:
        yield llm


@contextmanager
def function(replies, **settings):
    script = iter(replies)
    with DummyLLM(lambda messages, **_: next(script), **settings) as llm:
        yield llm


@contextmanager
def coroutine_function(replies, **settings):
    script = iter(replies)

    async def answer(messages, **_):
        return next(script)

    with DummyLLM(answer, **settings) as llm:
        yield llm


KINDS = {
    "openai": lambda *args, **kw: over_http("openai", *args, **kw),
    "openai-responses": lambda *args, **kw: over_http("openai-responses", *args, **kw),
    "ollama": lambda *args, **kw: over_http("ollama", *args, **kw),
    "anthropic": lambda *args, **kw: over_http("anthropic", *args, **kw),
    "scripted": scripted,
    "function": function,
}
SOME_USAGE = Usage(input_tokens=12, output_tokens=7, cached_tokens=4, reasoning_tokens=3)


@pytest.fixture(params=KINDS)
def make(request):
    return KINDS[request.param]


def ask(llm, how, messages="hi", **settings):
    if how == "call":
        return llm(messages, **settings)
    return asyncio.run(llm.acall(messages, **settings))


@pytest.fixture(params=["call", "acall"])
def how(request):
    return request.param


def test_text_comes_back(make, how):
    with make(["hello"]) as llm:
        reply = ask(llm, how)
    assert isinstance(reply, Reply)
    assert reply.text == "hello"
    assert reply.finish_reason == "stop"


def test_trace_programs_find_their_response(make):
    with make(["hello"]) as llm:
        response = llm(messages=[{"role": "user", "content": "hi"}])
    assert response.choices[0].message.content == "hello"
    assert response.choices[0].message.role == "assistant"


def test_usage_survives_the_way(make, how):
    with make([Reply("hello", "some-model", usage=SOME_USAGE)]) as llm:
        assert ask(llm, how).usage == SOME_USAGE


@pytest.mark.parametrize("reason", ["stop", "length", "refusal", "tool", "other"])
def test_finish_reason_survives_the_way(make, how, reason):
    with make([Reply("he", "some-model", finish_reason=reason)]) as llm:
        assert ask(llm, how).finish_reason == reason


def test_text_may_be_empty(make, how):
    with make([Reply("", "some-model", finish_reason="length")]) as llm:
        assert ask(llm, how).text == ""


@pytest.mark.parametrize(
    "messages", [[], {"role": "user", "content": "hi"}, ["hi"], [{"role": "user"}], [{"content": "hi"}], 3, None]
)
def test_what_is_no_conversation_is_refused_before_it_is_sent(make, how, messages):
    with make(["hello"]) as llm, pytest.raises(BadRequestError, match=r"[Mm]essage"):
        ask(llm, how, messages)


def test_the_callers_messages_stay_as_they_are(make, how):
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}]
    with make(["hello"]) as llm:
        ask(llm, how, messages, max_tokens=5)
    assert messages == [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}]


def test_many_threads_share_one_client(make):
    with make([f"reply {i}" for i in range(24)]) as llm, ThreadPoolExecutor(8) as pool:
        texts = [reply.text for reply in pool.map(llm, ["hi"] * 24)]
    assert sorted(texts) == sorted(f"reply {i}" for i in range(24))


def test_many_tasks_share_one_client(make):
    async def all_at_once(llm):
        return await asyncio.gather(*(llm.acall("hi") for _ in range(12)))

    with make([f"reply {i}" for i in range(12)]) as llm:
        replies = asyncio.run(all_at_once(llm))
    assert sorted(reply.text for reply in replies) == sorted(f"reply {i}" for i in range(12))


def test_one_client_outlives_event_loops(make):
    with make(["one", "two", "three"]) as llm:
        assert [asyncio.run(llm.acall("hi")).text, llm("hi").text, asyncio.run(llm.acall("hi")).text] == [
            "one",
            "two",
            "three",
        ]


def test_closing_twice_and_calling_again_both_work(make, how):
    with make(["one", "two"]) as llm:
        assert ask(llm, how).text == "one"
        llm.close()
        llm.close()
        assert ask(llm, how).text == "two"


@pytest.mark.asyncio
async def test_async_with_closes(make):
    with make(["one"]) as llm:
        async with llm:
            assert (await llm.acall("hi")).text == "one"


def test_the_model_is_named_with_its_provider(make):
    with make([]) as llm:
        provider, colon, name = llm.model.partition(":")
        assert provider
        assert colon
        assert name


def test_coroutine_functions_answer_async_calls_only():
    with coroutine_function(["hello"]) as llm:
        with pytest.raises(BadRequestError, match=r"asynchronous.*acall"):
            llm("hi")
        assert asyncio.run(llm.acall("hi")).text == "hello"


def test_an_adapter_of_ones_own_needs_two_methods():
    class Echo(Adapter):
        model = "test:echo"

        def complete(self, messages, settings):
            return Reply(f"{messages[0]['content']} {dict(settings)}", model="echo")

        async def acomplete(self, messages, settings):
            return self.complete(messages, settings)

    with LLM(adapter=Echo(), temperature=1) as llm:
        assert llm("hi", seed=2).text == "hi {'temperature': 1, 'seed': 2}"
        assert asyncio.run(llm.acall("hi")).text == "hi {'temperature': 1}"
