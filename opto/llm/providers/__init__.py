"""The edge to each provider: its protocol, its SDK, its errors."""

from opto.llm.providers.known import ADAPTERS
from opto.llm.providers.reading import chat_reply

__all__ = ["ADAPTERS", "chat_reply"]
