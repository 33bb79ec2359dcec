"""Which adapter speaks to which provider."""

from opto.llm.providers.anthropic import AnthropicAdapter
from opto.llm.providers.litellm import LiteLLMAdapter
from opto.llm.providers.openai import AzureAdapter, OpenAIAdapter
from opto.llm.providers.responses import ResponsesAdapter
from opto.llm.providers.sdk import SDKAdapter

__all__ = ["ADAPTERS"]

ADAPTERS: dict[str, type[SDKAdapter]] = {
    "openai": OpenAIAdapter,
    "openai-responses": ResponsesAdapter,
    "anthropic": AnthropicAdapter,
    "azure": AzureAdapter,
    # It ignores max_completion_tokens without a word, and is sent max_tokens like every server of one's own.
    "ollama": OpenAIAdapter,
    "litellm": LiteLLMAdapter,
}
"""By what stands in front of a model's name."""
