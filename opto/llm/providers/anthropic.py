"""Anthropic's messages."""

from collections.abc import Mapping, Sequence
from typing import Any

from opto.errors import BadRequestError
from opto.llm.content import image_url
from opto.llm.dialects import ANTHROPIC, in_dialect
from opto.llm.environment import no_key
from opto.llm.forms import form_of
from opto.llm.messages import Message, Reply, Tool, Usage, given_twice
from opto.llm.providers.reading import anthropic_reply, anthropic_usage, dig
from opto.llm.providers.sdk import SDKAdapter

__all__ = ["ANTHROPIC_MAX_TOKENS", "AnthropicAdapter"]

ANTHROPIC_MAX_TOKENS = 8192
"""Sent when the user sets no ``max_tokens``, since Anthropic insists on one."""


class AnthropicAdapter(SDKAdapter):
    package = "anthropic"
    requirement = "anthropic>=0.125,<3"
    clients = ("Anthropic", "AsyncAnthropic")

    def _check_client(self, client: Any) -> None:
        # The SDK notices a missing key only when it sends, and then with a TypeError.
        if not any(dig(client, name) for name in ("api_key", "auth_token", "credentials")):
            raise no_key(self._endpoint)

    def _create(self, client: Any) -> Any:
        return client.messages.create

    def _body(self, messages: Sequence[Message], settings: Mapping[str, Any]) -> dict[str, Any]:
        instructions = [message["content"] for message in messages if message["role"] == "system"]
        turns = [_turn(message) for message in messages if message["role"] != "system"]
        body = {"max_tokens": ANTHROPIC_MAX_TOKENS, **_with_form(_with_tool(settings)), "messages": turns}
        if instructions:
            if "system" in body:
                raise BadRequestError(
                    "The system instructions are given twice: as system=… and as a message.",
                    mend="Leave one of them out.",
                )
            body["system"] = _joined(instructions)
        return body

    def _read(self, response: Any, model: str) -> Reply | None:
        return anthropic_reply(response, model=model)

    def _usage(self, usage: Any) -> Usage | None:
        return anthropic_usage(usage)


def _turn(message: Message) -> Message:
    content = message["content"]
    return {**message, "content": [_block(part) for part in content]} if isinstance(content, list) else message


def _block(part: Any) -> Any:
    """Return a part of a message in words of Anthropic; those that are so already stay."""
    shown = image_url(part)
    if shown is None:
        return part
    url = shown[0]
    head, comma, data = url.partition(";base64,")
    if comma and head.startswith("data:"):
        return {"type": "image", "source": {"type": "base64", "media_type": head[len("data:") :], "data": data}}
    return {"type": "image", "source": {"type": "url", "url": url}}


def _with_form(settings: Mapping[str, Any]) -> dict[str, Any]:
    body = dict(settings)
    schema, config = body.pop("schema", None), body.get("output_config") or {}
    if schema is not None:
        if "format" in config:
            raise given_twice("output_config")
        own = form_of(schema).schema
        # What cannot be said in its dialect is for the provider to refuse: it knows best what it has learned since.
        said = in_dialect(own, ANTHROPIC) or dict(own)
        body["output_config"] = {**config, "format": {"type": "json_schema", "schema": said}}
    return body


def _with_tool(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    tool = settings.get("tool")
    if not isinstance(tool, Tool):
        return settings
    others = {name: value for name, value in settings.items() if name != "tool"}
    described = {"name": tool.name, "description": tool.description, "input_schema": dict(tool.parameters)}
    return {"tools": [described], "tool_choice": {"type": "tool", "name": tool.name}, **others}


def _joined(contents: Sequence[Any]) -> Any:
    if all(isinstance(content, str) for content in contents):
        return "\n\n".join(contents)
    # Contents that are lists of blocks, for cache marks.
    return [
        block
        for content in contents
        for block in ([{"type": "text", "text": content}] if isinstance(content, str) else content)
    ]
