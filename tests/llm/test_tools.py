"""Which models are known to call tools."""

import pytest

from opto.llm import LLM, ScriptedLLM, as_llm


@pytest.mark.parametrize(
    ("llm", "takes"),
    [
        (lambda: LLM("openai:m", api_key="k"), True),
        (lambda: LLM("openai-responses:m", api_key="k"), True),
        (lambda: LLM("anthropic:m", api_key="k"), True),
        (lambda: LLM("ollama:m"), False),
        (lambda: LLM("litellm:openai/m"), False),
        (lambda: LLM("m", base_url="http://localhost:11434/v1"), False),
        (lambda: LLM("anthropic:m", base_url="http://localhost:1"), False),
        (lambda: ScriptedLLM([]), False),
        (lambda: as_llm(lambda messages: ""), False),
    ],
)
def test_those_of_their_own_providers_are(llm, takes):
    assert llm().takes_tools is takes


def test_an_adapter_need_not_know():
    class Bare:
        model = "bare"

    assert LLM(adapter=Bare()).takes_tools is False
