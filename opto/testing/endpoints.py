"""What every adapter must keep that asks a server: a class of tests to derive from."""

import asyncio
import gc
import pickle
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

from opto.errors import LLMConnectionError, LLMError
from opto.llm import LLM, Adapter, Reply
from opto.testing.actions import Altered, Exchange, Failure, Line
from opto.testing.adapters import AdapterContract
from opto.testing.asking import WAYS, Endless, Together, come_true, failing, in_bounds, nothing_left, together
from opto.testing.faults import FAULTS, Fault
from opto.testing.server import LLMServer

__all__ = ["EndpointContract"]

#: Seconds for an attempt that a server lets wait without end.
_SHORT = 0.3
_AT_ONCE = 8


class EndpointContract(AdapterContract):
    """Tests that every adapter must pass which asks a server, in front of one where everything in `FAULTS` happens.

    Say in `connect` how to make your adapter, and what it always sends in `always`::

        class TestMine(EndpointContract):
            def connect(self, server):
                return MyAdapter(base_url=server.openai_url, api_key=self.key)

    Each fault is a test of its own; a fault that your provider does not know can be left out by overriding that test.
    """

    key: ClassVar[str] = "sk-the-key-of-the-contract"
    #: Names of what is in the body of each request.
    always: ClassVar[frozenset[str]] = frozenset({"model", "messages"})
    #: Settings that the provider knows.
    settings: ClassVar[Mapping[str, Any]] = {"temperature": 0.5, "top_p": 0.25}

    def connect(self, server: LLMServer) -> Adapter:
        """Return a new adapter that asks *server* for a model, with the `key`."""
        raise NotImplementedError(f"Say in connect() of {type(self).__name__} how to make an adapter.")

    @contextmanager
    def _served(self, replies: Sequence[Line]) -> Iterator[tuple[LLMServer, LLM]]:
        with LLMServer(replies) as server, LLM(adapter=self.connect(server), retries=0, deadline=None) as llm:
            yield server, llm

    @contextmanager
    def _asked(self, replies: Sequence[str | Reply]) -> Iterator[LLM]:
        with self._served(replies) as (_, llm):
            yield llm

    def test_messages_are_sent_as_they_are(self) -> None:
        messages = [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Grüße \N{OWL} " * 50_000},
            {"role": "assistant", "content": 'a "quoted"\nline'},
            {"role": "user", "content": "hi"},
        ]
        for ask in WAYS:
            with self._served(["hello"]) as (server, llm):
                ask(llm, messages)
            assert server.requests[-1].messages == messages

    def test_what_is_set_is_sent_and_nothing_else(self) -> None:
        for ask in WAYS:
            with self._served(["hello", "hello"]) as (server, llm):
                ask(llm)
                ask(llm, **self.settings)
            without, with_settings = (exchange.request.body for exchange in server.log)
            assert set(without) == self.always
            assert {name: with_settings.pop(name, None) for name in self.settings} == self.settings
            assert with_settings == without

    def test_the_key_is_sent(self) -> None:
        for ask in WAYS:
            with self._served(["hello"]) as (server, llm):
                ask(llm)
            assert any(self.key in value for value in server.requests[-1].headers.values())

    def test_the_key_is_in_no_error(self) -> None:
        for ask in WAYS:
            with self._served([Failure(401, f"{self.key} is no key.")]) as (_, llm):
                error = failing(ask, llm)
            assert self.key not in f"{error} {error!r} {error.raw} {vars(error)}"
            assert self.key.encode() not in pickle.dumps(error)

    def test_the_id_of_the_request_comes_back(self) -> None:
        for ask in WAYS:
            with self._served(["hello", Failure(400)]) as (server, llm):
                found = [ask(llm).request_id, failing(ask, llm).request_id]
            assert found == [f"req_{exchange.number}" for exchange in server.log]

    def test_a_cost_that_is_not_said_is_not_guessed(self) -> None:
        def without(body: dict[str, Any]) -> dict[str, Any]:
            return {name: value for name, value in body.items() if name != "usage"}

        for ask in WAYS:
            with self._served([Altered(without)]) as (_, llm):
                reply = ask(llm)
            assert (reply.text, reply.usage) == ("hello", None)

    def test_calls_of_threads_run_at_once(self) -> None:
        texts = [f"say {number}" for number in range(_AT_ONCE)]
        with self._served([Together(_AT_ONCE)] * _AT_ONCE) as (_, llm):
            assert together([lambda text=text: llm(text).text for text in texts]) == texts  # type: ignore[misc]

    def test_calls_of_tasks_run_at_once(self) -> None:
        texts = [f"say {number}" for number in range(_AT_ONCE)]

        async def all_at_once(llm: LLM) -> list[str]:
            return [reply.text for reply in await asyncio.gather(*(llm.acall(text) for text in texts))]

        with self._served([Together(_AT_ONCE)] * _AT_ONCE) as (_, llm):
            assert in_bounds(lambda: asyncio.run(all_at_once(llm))) == texts

    def test_cancelling_a_call_closes_its_connection_and_no_other(self) -> None:
        endless, together_ = Endless(), Together(2)

        async def cancel_one(server: LLMServer, llm: LLM) -> str:
            async with llm:
                other = asyncio.create_task(llm.acall("other"))
                await asyncio.to_thread(come_true, lambda: server.log, "The other call was not sent.")
                call = asyncio.create_task(llm.acall("hi"))
                await asyncio.to_thread(come_true, endless.begun.is_set, "The call was not sent.")
                call.cancel()
                await asyncio.to_thread(come_true, call.done, "A cancelled call does not end.")
                assert call.cancelled(), "A cancelled call ends as something else."
                await asyncio.to_thread(
                    come_true, lambda: server.log[1].left, "The connection of a cancelled call is still open."
                )
                assert (await llm.acall("again")).text == "again"
                return (await other).text

        with self._served([together_, endless, together_]) as (server, llm):
            assert in_bounds(lambda: asyncio.run(cancel_one(server, llm))) == "other"

    def test_nothing_is_left_behind(self) -> None:
        async def all_at_once(llm: LLM) -> None:
            await asyncio.gather(*(llm.acall("hi") for _ in range(_AT_ONCE)))

        def play(how: Callable[[LLM], object]) -> None:
            with LLMServer(lambda _: "ok") as server:
                llm = LLM(adapter=self.connect(server), retries=0, deadline=None)
                in_bounds(lambda: how(llm))
                llm.close()
                come_true(lambda: not server.connections, "Connections are open after close().")

        ways: tuple[Callable[[LLM], object], ...] = (
            lambda llm: together([lambda: llm("hi")] * _AT_ONCE),
            lambda llm: asyncio.run(all_at_once(llm)),
        )
        gc.collect()
        for how in ways:
            with warnings.catch_warnings(record=True) as warned, nothing_left():
                warnings.simplefilter("always")
                play(how)
                gc.collect()
            left = [str(item.message) for item in warned if issubclass(item.category, ResourceWarning)]
            assert not left, f"These are left open: {left}"

    def test_nobody_at_the_address(self) -> None:
        for ask in WAYS:
            with LLMServer() as server:
                adapter = self.connect(server)
            with LLM(adapter=adapter, retries=0, deadline=None) as llm:
                assert type(failing(ask, llm)) is LLMConnectionError

    def _suffers(self, fault: Fault) -> None:
        """Let *fault* happen between two good answers, and compare what comes of it with what is expected."""
        limit = {"timeout": _SHORT} if fault.stalls else {}
        for thrice in (_thrice, _thrice_awaited):
            with self._served(["before", fault, "after"]) as (server, llm):
                # Before, because a client takes its time to come about; after, because it must still be of use.
                before, outcome, after = in_bounds(partial(thrice, llm, limit))
            assert isinstance(before, Reply)
            assert isinstance(after, Reply), f"A fault spoils the call after it: {after}"
            assert (before.text, after.text) == ("before", "after")
            sent = len(server.log) - 2
            assert sent == 1, f"{sent} requests were sent for one call. Trying again is the business of LLM."
            _compare(outcome, fault, server.log[1])


def _thrice(llm: LLM, limit: Mapping[str, Any]) -> list[Reply | LLMError]:
    outcomes: list[Reply | LLMError] = []
    for settings in ({}, limit, {}):
        try:
            outcomes.append(llm("hi", **settings))
        except LLMError as error:
            outcomes.append(error)
    return outcomes


def _thrice_awaited(llm: LLM, limit: Mapping[str, Any]) -> list[Reply | LLMError]:
    async def run() -> list[Reply | LLMError]:
        outcomes: list[Reply | LLMError] = []
        async with llm:
            for settings in ({}, limit, {}):
                try:
                    outcomes.append(await llm.acall("hi", **settings))
                except LLMError as error:
                    outcomes.append(error)
        return outcomes

    return asyncio.run(run())


def _compare(outcome: Reply | LLMError, fault: Fault, exchange: Exchange) -> None:
    """Expect of a call what is said about *fault*, to the token of what the server said."""
    expected = "a reply" if fault.error is None else f"a {fault.error.__name__}"
    assert type(outcome) is (fault.error or Reply), f"{expected} was expected, and this came: {outcome!r:.300}"
    assert (outcome.usage is not None) == fault.knows_usage, f"Its usage is {outcome.usage}."
    assert outcome.usage == exchange.usage, f"The server said that it cost {exchange.usage}, and not {outcome.usage}."
    if isinstance(outcome, Reply):
        assert outcome.finish_reason == fault.finish_reason
        return
    assert outcome.transient == fault.transient
    assert outcome.retry_after == fault.retry_after
    if not fault.stalls:
        assert bool(outcome.raw) == fault.keeps_raw, f"What came of the answer is {outcome.raw!r:.200}."
        assert outcome.status in ({exchange.status, None} if exchange.status == 200 else {exchange.status})
    again = pickle.loads(pickle.dumps(outcome))  # noqa: S301 - our own
    assert (type(again), str(again), vars(again)) == (type(outcome), str(outcome), vars(outcome))


def _test_of(fault: Fault) -> Callable[[EndpointContract], None]:
    def test(self: EndpointContract) -> None:
        self._suffers(fault)

    return test


for _fault in FAULTS.values():
    setattr(EndpointContract, f"test_fault_{re.sub(r'[^a-zA-Z]+', '_', _fault.name)}", _test_of(_fault))
