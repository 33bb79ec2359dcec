"""Every adapter passes one contract, and the contract notices those that are broken."""

from opto.llm import LLM, ScriptedLLM
from opto.llm.functions import FunctionAdapter
from opto.testing import AdapterContract, EndpointContract


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
        inner = LLM("some-model", base_url=server.openai_url, api_key=self.key, retries=0)
        return Around(inner)
