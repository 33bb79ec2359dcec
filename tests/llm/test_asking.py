"""Asking a client, whatever is behind it."""

import asyncio
import threading

import pytest

from opto.errors import BadRequestError
from opto.llm import LLM, Adapter, DummyLLM, Reply, ScriptedLLM
from tests.llm.ways import ask

HI = [{"role": "user", "content": "hi"}]


def test_trace_programs_find_their_response(how):
    response = ask(ScriptedLLM(["hello"]), how, messages=HI)
    assert response.choices[0].message.content == "hello"
    assert response.choices[0].message.role == "assistant"


@pytest.mark.parametrize(
    "messages", [[], {"role": "user", "content": "hi"}, ["hi"], [{"role": "user"}], [{"content": "hi"}], 3, None]
)
def test_what_is_no_conversation_is_refused_before_it_is_sent(how, messages):
    llm = ScriptedLLM(["hello"])
    with pytest.raises(BadRequestError, match=r"[Mm]essage"):
        ask(llm, how, messages)
    assert not llm.calls


def test_coroutine_functions_answer_async_calls_only():
    async def answer(messages):
        return "hello"

    llm = DummyLLM(answer)
    with pytest.raises(BadRequestError, match=r"asynchronous.*acall"):
        llm("hi")
    assert asyncio.run(llm.acall("hi")).text == "hello"


def test_many_blocking_functions_run_at_once():
    """As many as are awaited, however few threads the event loop has."""
    barrier = threading.Barrier(50, timeout=30)

    def answer(messages):
        barrier.wait()
        return "hello"

    async def main():
        llm = DummyLLM(answer)
        return await asyncio.gather(*(llm.acall("hi") for _ in range(50)))

    assert {reply.text for reply in asyncio.run(main())} == {"hello"}


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
