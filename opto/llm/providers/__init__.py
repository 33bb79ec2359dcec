"""The edge to each provider: its protocol, its SDK, its errors."""

from opto.llm.providers.anthropic import AnthropicAdapter
from opto.llm.providers.openai import OpenAIAdapter
from opto.llm.providers.reading import chat_reply

__all__ = ["AnthropicAdapter", "OpenAIAdapter", "chat_reply"]
