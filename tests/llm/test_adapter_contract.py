"""Every adapter passes one contract, and the contract notices those that are broken."""

from opto.llm import ScriptedLLM
from opto.llm.environment import Endpoint
from opto.llm.functions import FunctionAdapter
from opto.llm.providers import AnthropicAdapter, OpenAIAdapter
from opto.testing import AdapterContract, EndpointContract


class TestOpenAI(EndpointContract):
    def connect(self, server):
        return OpenAIAdapter(Endpoint("openai", "some-model", server.openai_url, self.key))


class TestAnthropic(EndpointContract):
    always = frozenset({"model", "messages", "max_tokens"})

    def connect(self, server):
        return AnthropicAdapter(Endpoint("anthropic", "some-model", server.anthropic_url, self.key))


class TestScript(AdapterContract):
    def make(self, replies):
        return ScriptedLLM(replies)._adapter


class TestFunction(AdapterContract):
    def make(self, replies):
        script = iter(replies)
        return FunctionAdapter(lambda messages, **settings: next(script))
