"""What every adapter must keep: a class of tests to derive from."""

import asyncio
import copy
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from opto.llm import LLM, Adapter, Reply, Tool, Usage
from opto.testing.asking import WAYS, in_bounds, together

__all__ = ["AdapterContract"]

_AT_ONCE = 8


class AdapterContract:
    """Tests that every `Adapter` must pass, whatever answers.

    Derive a class of tests from it, or from `EndpointContract` for one that asks a server, and say in `make` how to
    make your adapter. pytest finds the tests in it::

        class TestParrot(AdapterContract):
            def make(self, replies):
                return Parrot(replies)

    Each is made in both ways, by calling a client and with ``await llm.acall(…)``.
    """

    def make(self, replies: Sequence[Reply]) -> Adapter:
        """Return a new adapter that answers with *replies*, in this order."""
        raise NotImplementedError(f"Say in make() of {type(self).__name__} how to make an adapter.")

    @contextmanager
    def _asked(self, replies: Sequence[str | Reply]) -> Iterator[LLM]:
        """Yield a client of the adapter; it is closed at the end."""
        whole = [Reply(reply, "some-model", Usage(1, 1)) if isinstance(reply, str) else reply for reply in replies]
        with LLM(adapter=self.make(whole), retries=0, deadline=None) as llm:
            yield llm

    def test_the_text_comes_back(self) -> None:
        for ask in WAYS:
            with self._asked(["hello"]) as llm:
                reply = ask(llm)
            assert isinstance(reply, Reply)
            assert (reply.text, reply.finish_reason, reply.arguments) == ("hello", "stop", None)
            assert reply.model

    def test_texts_of_every_kind_come_back(self) -> None:
        texts = ["", "Grüße, \N{OWL}, שלום and 日本", 'a "quoted" \\ line\r\nand\tanother\x00', "long " * 400_000]
        for ask in WAYS:
            with self._asked(texts) as llm:
                assert [ask(llm).text for _ in texts] == texts

    def test_usage_comes_back(self) -> None:
        for usage in (Usage(12, 7, cached_tokens=4, reasoning_tokens=3, cache_write_tokens=5), Usage(3, 0)):
            for ask in WAYS:
                with self._asked([Reply("hello", "some-model", usage)]) as llm:
                    assert ask(llm).usage == usage

    def test_why_it_finished_comes_back(self) -> None:
        reasons: tuple[Any, ...] = ("stop", "length", "refusal", "tool", "other")
        for ask in WAYS:
            with self._asked([Reply("he", "some-model", Usage(1, 1), reason) for reason in reasons]) as llm:
                assert tuple(ask(llm).finish_reason for _ in reasons) == reasons

    def test_what_a_tool_is_called_with_comes_back(self) -> None:
        tool = Tool("choose", "Choose one.", {"type": "object", "properties": {"choice": {"type": "integer"}}})
        called = Reply("", "some-model", Usage(1, 1), "tool", arguments='{"choice": 2}')
        for ask in WAYS:
            with self._asked([called]) as llm:
                reply = ask(llm, tool=tool)
            assert json.loads(reply.arguments or "null") == {"choice": 2}

    def test_what_the_caller_passes_stays_as_it_is(self) -> None:
        messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}]
        settings = {"max_tokens": 50, "metadata": {"a": ["b"]}}
        before = copy.deepcopy((messages, settings))
        for ask in WAYS:
            with self._asked(["hello"]) as llm:
                ask(llm, messages, **settings)
            assert (messages, settings) == before

    def test_threads_share_it(self) -> None:
        texts = [f"reply {number}" for number in range(3 * _AT_ONCE)]
        with self._asked(texts) as llm:
            calls: list[Callable[[], list[str]]] = [lambda: [llm("hi").text for _ in range(3)]] * _AT_ONCE
            said = together(calls)
        assert sorted(text for of_one in said for text in of_one) == sorted(texts)

    def test_tasks_share_it(self) -> None:
        texts = [f"reply {number}" for number in range(_AT_ONCE)]

        async def all_at_once(llm: LLM) -> list[Reply]:
            return await asyncio.gather(*(llm.acall("hi") for _ in texts))

        with self._asked(texts) as llm:
            said = in_bounds(lambda: asyncio.run(all_at_once(llm)))
        assert sorted(reply.text for reply in said) == sorted(texts)

    def test_it_outlives_event_loops(self) -> None:
        texts = [str(number) for number in range(6)]
        with self._asked(texts) as llm:
            assert [WAYS[number % 2](llm).text for number in range(6)] == texts

    def test_event_loops_of_several_threads_share_it(self) -> None:
        texts = [f"reply {number}" for number in range(2 * _AT_ONCE)]

        async def twice(llm: LLM) -> list[str]:
            return [(await llm.acall("hi")).text for _ in range(2)]

        with self._asked(texts) as llm:
            said = together([lambda: asyncio.run(twice(llm))] * _AT_ONCE)
        assert sorted(text for of_one in said for text in of_one) == sorted(texts)

    def test_it_can_be_closed_twice_and_used_again(self) -> None:
        for ask in WAYS:
            with self._asked(["one", "two"]) as llm:
                assert ask(llm).text == "one"
                llm.close()
                llm.close()
                assert ask(llm).text == "two"

    def test_it_can_be_closed_in_a_running_event_loop(self) -> None:
        async def use(llm: LLM) -> list[str]:
            async with llm:
                first = (await llm.acall("hi")).text
            async with llm:
                return [first, (await llm.acall("hi")).text]

        with self._asked(["one", "two"]) as llm:
            assert in_bounds(lambda: asyncio.run(use(llm))) == ["one", "two"]

    def test_the_model_is_named_with_its_provider(self) -> None:
        with self._asked([]) as llm:
            provider, _, name = llm.model.partition(":")
        assert provider, f"{llm.model!r} names no provider. Write one and a colon in front."
        assert name, f"{llm.model!r} names no model. Write it behind the provider and a colon."
