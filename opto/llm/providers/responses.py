"""OpenAI's responses."""

from collections.abc import Mapping, Sequence
from typing import Any

from opto.errors import BadRequestError
from opto.llm.content import image_url
from opto.llm.forms import chat_format, form_of
from opto.llm.messages import Message, Reply, Tool, Usage, given_twice
from opto.llm.providers.failures import failed_response
from opto.llm.providers.reading import dig, response_reply, response_usage
from opto.llm.providers.sdk import SDKAdapter

__all__ = ["ResponsesAdapter"]

#: Names of a limit in chat completions, which programs use.
_LIMITS = ("max_completion_tokens", "max_tokens")


class ResponsesAdapter(SDKAdapter):
    package = "openai"
    requirement = "openai>=2.20,<4"
    clients = ("OpenAI", "AsyncOpenAI")

    def _create(self, client: Any) -> Any:
        return client.responses.create

    def _body(self, messages: Sequence[Message], settings: Mapping[str, Any]) -> dict[str, Any]:
        if settings.get("background"):
            raise BadRequestError("background=True cannot be used: a Reply is whole.", mend="Leave it out.")
        body = _with_form(_with_tool(settings))
        for name in _LIMITS:
            if name in body:
                body.setdefault("max_output_tokens", body.pop(name))
        turns = list(messages)
        leading = 0 if "instructions" in body else _leading_instructions(turns)
        if leading:
            body["instructions"] = "\n\n".join(turn["content"] for turn in turns[:leading])
        return {**body, "input": [_item(turn) for turn in turns[leading:]]}

    def _read(self, response: Any, model: str) -> Reply | None:
        if dig(response, "status") == "failed":
            raise failed_response(response, self._endpoint)
        return response_reply(response, model=model)

    def _usage(self, usage: Any) -> Usage | None:
        return response_usage(usage)


def _leading_instructions(turns: Sequence[Message]) -> int:
    """Return how many messages from the system stand in front; later ones keep their place."""
    for place, turn in enumerate(turns):
        if turn["role"] != "system" or not isinstance(turn["content"], str):
            return place
    # There must be some input.
    return 0


def _item(turn: Message) -> Message:
    content, is_answer = turn["content"], turn["role"] == "assistant"
    if not isinstance(content, list):
        return turn
    return {**turn, "content": [_part(part, "output_text" if is_answer else "input_text") for part in content]}


def _part(part: Any, text_type: str) -> Any:
    """Return a part of a message in words of responses; those that are so already stay."""
    shown = image_url(part)
    if shown is not None:
        return {"type": "input_image", "image_url": shown[0], **shown[1]}
    return {**part, "type": text_type} if dig(part, "type") == "text" else part


def _with_form(settings: Mapping[str, Any]) -> dict[str, Any]:
    body = dict(settings)
    schema, text = body.pop("schema", None), body.get("text") or {}
    if schema is not None:
        if "format" in text:
            raise given_twice("text")
        body["text"] = {**text, "format": {"type": "json_schema", **chat_format(form_of(schema))}}
    return body


def _with_tool(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    tool = settings.get("tool")
    if not isinstance(tool, Tool):
        return settings
    others = {name: value for name, value in settings.items() if name != "tool"}
    function = {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
        # As in chat completions: else every parameter would be obligatory.
        "strict": False,
    }
    return {"tools": [function], "tool_choice": {"type": "function", "name": tool.name}, **others}
