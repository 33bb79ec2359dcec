"""OpenAI's chat completions, as spoken by OpenAI, by Azure, and by most local servers."""

from collections.abc import Mapping, Sequence
from typing import Any

from opto.llm.messages import Message, Reply, Usage, chat_words
from opto.llm.providers.reading import chat_reply, chat_usage
from opto.llm.providers.sdk import SDKAdapter

__all__ = ["AzureAdapter", "OpenAIAdapter"]


class OpenAIAdapter(SDKAdapter):
    package = "openai"
    requirement = "openai>=2.20,<4"
    clients = ("OpenAI", "AsyncOpenAI")
    renames = ("max_tokens", "max_completion_tokens")

    def _create(self, client: Any) -> Any:
        return client.chat.completions.create

    def _body(self, messages: Sequence[Message], settings: Mapping[str, Any]) -> dict[str, Any]:
        body = {"messages": messages, **chat_words(settings)}
        # OpenAI's reasoning models refuse max_tokens; Ollama ignores max_completion_tokens without a word.
        if "max_tokens" in body and self._endpoint.is_official:
            body.setdefault("max_completion_tokens", body.pop("max_tokens"))
        return body

    def _read(self, response: Any, model: str) -> Reply | None:
        return chat_reply(response, model=model)

    def _usage(self, usage: Any) -> Usage | None:
        return chat_usage(usage)


class AzureAdapter(OpenAIAdapter):
    """A deployment at Azure: another address, and another header for the key."""

    clients = ("AzureOpenAI", "AsyncAzureOpenAI")

    def _address(self) -> dict[str, Any]:
        return {"azure_endpoint": self._endpoint.base_url}
