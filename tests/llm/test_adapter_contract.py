"""Every adapter passes one contract, and the contract notices those that are broken."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from opto import errors
from opto.llm import LLM, Reply, ScriptedLLM, Usage
from opto.llm.functions import FunctionAdapter
from opto.testing import AdapterContract, EndpointContract, asking


class Around(FunctionAdapter):
    def __init__(self, llm):
        super().__init__(lambda messages, **settings: llm(messages, **settings))
        self._llm = llm

    def close(self):
        self._llm.close()

    async def aclose(self):
        await self._llm.aclose()


def connected(provider, server, key):
    url = server.anthropic_url if provider == "anthropic" else server.openai_url
    return LLM(f"{provider}:some-model", base_url=url, api_key=key)._adapter


class TestOpenAI(EndpointContract):
    def connect(self, server):
        return connected("openai", server, self.key)


class TestOpenAIResponses(EndpointContract):
    always = frozenset({"model", "input"})

    def connect(self, server):
        return connected("openai-responses", server, self.key)


class TestOllama(EndpointContract):
    def connect(self, server):
        return connected("ollama", server, self.key)


class TestAzure(EndpointContract):
    @pytest.fixture(autouse=True)
    def _version(self, monkeypatch):
        monkeypatch.setenv("OPENAI_API_VERSION", "2026-10-21")

    def connect(self, server):
        return LLM("azure:some-model", base_url=server.anthropic_url, api_key=self.key)._adapter


class TestAnthropic(EndpointContract):
    always = frozenset({"model", "messages", "max_tokens"})

    def connect(self, server):
        return connected("anthropic", server, self.key)


class TestScript(AdapterContract):
    def make(self, replies):
        return ScriptedLLM(replies)._adapter


class TestFunction(AdapterContract):
    def make(self, replies):
        script = iter(replies)
        return FunctionAdapter(lambda messages, **settings: next(script))


class TestFunctionAroundAClient(EndpointContract):
    """A program of a user's own that stands between."""

    def connect(self, server):
        # Of an adapter, so that it has no queue: what a server asks to wait would hold up the next call.
        return Around(LLM(adapter=connected("openai", server, self.key), retries=0))


# The contract notices adapters that are broken in one way.


class Broken(TestOpenAI):
    """A contract of an adapter with one flaw; none of its tests is collected."""

    __test__ = False
    flaw: type

    def connect(self, server):
        adapter = super().connect(server)
        return type("Flawed", (self.flaw, type(adapter)), {})(adapter._endpoint)


class Altering:
    """Makes something of what it is asked, and of what comes back."""

    def asked(self, messages, settings):
        return messages, settings

    def replied(self, reply):
        return reply

    def raised(self, error):
        raise error

    def complete(self, messages, settings):
        try:
            return self.replied(super().complete(*self.asked(messages, settings)))
        except Exception as error:
            return self.raised(error)

    async def acomplete(self, messages, settings):
        try:
            return self.replied(await super().acomplete(*self.asked(messages, settings)))
        except Exception as error:
            return self.raised(error)


class Opinionated(Altering):
    def asked(self, messages, settings):
        return messages, {"presence_penalty": 0.1, **settings}


class Deaf(Altering):
    def asked(self, messages, settings):
        return messages, {"timeout": settings.get("timeout")} if "timeout" in settings else {}


class Chatty(Altering):
    def asked(self, messages, settings):
        return [*messages, {"role": "user", "content": "Please."}], settings


class Careless(Altering):
    def asked(self, messages, settings):
        for message in messages:
            message["content"] = message["content"].strip()
        settings.get("metadata", {})["a"] = []
        return messages, settings


class Narrow(Altering):
    def replied(self, reply):
        return replace(reply, text=reply.text[:100_000])


class Western(Altering):
    def replied(self, reply):
        return replace(reply, text=reply.text.encode("latin-1", "replace").decode("latin-1"))


class Cheap(Altering):
    def replied(self, reply):
        return replace(reply, usage=reply.usage and replace(reply.usage, cached_tokens=0))


class Guessing(Altering):
    def replied(self, reply):
        return replace(reply, usage=reply.usage or Usage(1, 1))


class Content(Altering):
    def replied(self, reply):
        return replace(reply, finish_reason="stop")


class Nameless(Altering):
    def replied(self, reply):
        return replace(reply, request_id=None)


class Helpless(Altering):
    def replied(self, reply):
        return replace(reply, arguments=None)


class Swallowing(Altering):
    def raised(self, error):
        return Reply("", "some-model")


class Vague(Altering):
    def raised(self, error):
        raise errors.ServerError(str(error), mend="Wait.") from error


class Raw(Altering):
    def raised(self, error):
        raise error.__cause__ or error


class Wasteful(Altering):
    def raised(self, error):
        error.raw = error.usage = None
        raise error


class Impatient(Altering):
    def raised(self, error):
        error.retry_after = None
        raise error


class Talkative(Altering):
    def raised(self, error):
        error.raw = f"{error.raw} {TestOpenAI.key}"
        raise error


class Unpicklable(Altering):
    def raised(self, error):
        error.original = lambda: error
        raise error


class Stubborn(Altering):
    def complete(self, messages, settings):
        try:
            return super().complete(messages, settings)
        except errors.LLMError as error:
            if not error.transient:
                raise
            return super().complete(messages, settings)


class Blocking(Altering):
    async def acomplete(self, messages, settings):
        return self.complete(messages, settings)


class OneByOne(Altering):
    lock = threading.Lock()

    def complete(self, messages, settings):
        with self.lock:
            return super().complete(messages, settings)


class Shared(Altering):
    """Keeps what it was asked where the next one writes."""

    def complete(self, messages, settings):
        self.reply = super().complete(messages, settings)
        time.sleep(0.01)
        return self.reply


class Shielded(Altering):
    async def acomplete(self, messages, settings):
        return await asyncio.shield(asyncio.ensure_future(super().acomplete(messages, settings)))


class Open(Altering):
    def close(self):
        KEPT.append(self._clients)


class Threaded(Altering):
    def complete(self, messages, settings):
        threading.Thread(target=ENDED.wait, daemon=True).start()
        return super().complete(messages, settings)


class Patient(Altering):
    """Forgets the timeout of an attempt."""

    def complete(self, messages, settings):
        with ThreadPoolExecutor(1) as pool:
            without = {name: value for name, value in settings.items() if name != "timeout"}
            return pool.submit(super().complete, messages, without).result()


class Loopbound(Altering):
    """Has one asynchronous client for all event loops."""

    async def acomplete(self, messages, settings):
        self.kept = getattr(self, "kept", None) or await self._clients.of_this_loop()
        response = await self.kept.chat.completions.create(model="m", messages=messages)
        return self._checked(response, "m")


class Anonymous(Altering):
    model = "some-model"


class Final(Altering):
    """Can be closed once, and is of no use after that."""

    def close(self):
        self.complete = None


KEPT, ENDED = [], threading.Event()

NOTICED = [
    (Opinionated, "test_what_is_set_is_sent_and_nothing_else"),
    (Deaf, "test_what_is_set_is_sent_and_nothing_else"),
    (Chatty, "test_messages_are_sent_as_they_are"),
    (Careless, "test_what_the_caller_passes_stays_as_it_is"),
    (Narrow, "test_texts_of_every_kind_come_back"),
    (Western, "test_texts_of_every_kind_come_back"),
    (Cheap, "test_usage_comes_back"),
    (Guessing, "test_a_cost_that_is_not_said_is_not_guessed"),
    (Content, "test_why_it_finished_comes_back"),
    (Content, "test_fault_length_stop"),
    (Nameless, "test_the_id_of_the_request_comes_back"),
    (Helpless, "test_what_a_tool_is_called_with_comes_back"),
    (Swallowing, "test_fault_web_page"),
    (Vague, "test_fault_wrong_key"),
    (Vague, "test_fault_rate_limit"),
    (Raw, "test_fault_server_error"),
    (Raw, "test_nobody_at_the_address"),
    (Wasteful, "test_fault_malformed_JSON"),
    (Wasteful, "test_fault_cut_in_body"),
    (Impatient, "test_fault_rate_limit_date"),
    (Talkative, "test_the_key_is_in_no_error"),
    (Unpicklable, "test_fault_server_error"),
    (Stubborn, "test_fault_server_error"),
    (Blocking, "test_calls_of_tasks_run_at_once"),
    (OneByOne, "test_calls_of_threads_run_at_once"),
    (Shared, "test_threads_share_it"),
    (Shielded, "test_cancelling_a_call_closes_its_connection_and_no_other"),
    (Open, "test_nothing_is_left_behind"),
    (Threaded, "test_nothing_is_left_behind"),
    (Patient, "test_fault_dripping_body"),
    (Patient, "test_fault_silence"),
    (Loopbound, "test_it_outlives_event_loops"),
    (Anonymous, "test_the_model_is_named_with_its_provider"),
    (Final, "test_it_can_be_closed_twice_and_used_again"),
]


#: What goes through the test as it is: an error of the SDK, of pickle, of an event loop that is over.
FLAWS = {Raw: Exception, Unpicklable: Exception, Loopbound: Exception, Final: TypeError}


@pytest.mark.parametrize(("flaw", "test"), NOTICED, ids=lambda item: getattr(item, "__name__", item))
@pytest.mark.filterwarnings("ignore")
def test_a_flaw_is_noticed(flaw, test, monkeypatch):
    monkeypatch.setattr(asking, "LONG", 2.0)
    ENDED.clear()
    contract = Broken()
    contract.flaw = flaw
    try:
        with pytest.raises(FLAWS.get(flaw, AssertionError)):
            getattr(contract, test)()
    finally:
        ENDED.set()
        while KEPT:
            KEPT.pop().close()


def test_what_the_contract_needs_is_said():
    with pytest.raises(NotImplementedError, match=r"make\(\) of AdapterContract"):
        AdapterContract().test_the_text_comes_back()
    with pytest.raises(NotImplementedError, match=r"connect\(\) of EndpointContract"):
        EndpointContract().test_the_text_comes_back()
