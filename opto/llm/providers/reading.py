"""Reads answers of any shape: an SDK builds its objects without checking what the server sent."""

import json
from functools import lru_cache
from typing import Any

from opto.llm.messages import FinishReason, Reply, Usage

__all__ = [
    "anthropic_reply",
    "anthropic_usage",
    "chat_reply",
    "chat_usage",
    "count",
    "dig",
    "response_reply",
    "response_usage",
    "text_or_none",
]

_CHAT_FINISHES: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "refusal",
    "tool_calls": "tool",
    "function_call": "tool",
}
_ANTHROPIC_FINISHES: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
    "tool_use": "tool",
}

_RESPONSE_FINISHES: dict[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "refusal"}


def dig(value: Any, *path: str | int) -> Any:
    """What lies at the end of keys, indices and attributes; None as soon as one of them is missing.

    Example:
        >>> dig({"choices": [{"text": "hi"}]}, "choices", 0, "text")
        'hi'
    """
    for step in path:
        if value is None:
            return None
        way = _way(type(value), step)  # type: ignore[arg-type]  # mypy thinks that classes have no hash
        if way == _FIELD:
            held, more = value.__dict__, value.__pydantic_extra__
            value = held[step] if step in held else more.get(step) if more else None
        elif way == _ITEM:
            try:
                value = value[step]
            except (TypeError, LookupError):
                return None
        else:
            value = getattr(value, step, None)  # type: ignore[arg-type]  # numbers are items
    return value


_FIELD, _ITEM, _ATTRIBUTE = range(3)


@lru_cache(maxsize=1024)
def _way(kind: type, step: str | int) -> int:
    """Tell how objects of a class are asked for what has this name.

    Objects of pydantic, of which every reply is made, take long to say that there is no such thing.
    """
    if isinstance(step, int) or hasattr(kind, "keys"):
        return _ITEM
    is_field = hasattr(kind, "__pydantic_extra__") and not any(step in base.__dict__ for base in kind.__mro__)
    return _FIELD if is_field else _ATTRIBUTE


def count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def chat_reply(response: Any, *, model: str) -> Reply | None:
    """Read a chat completion of the OpenAI protocol; None if it is not one."""
    message = dig(response, "choices", 0, "message")
    content = dig(message, "content")
    refusal = text_or_none(dig(message, "refusal"))
    finish = dig(response, "choices", 0, "finish_reason")
    arguments = dig(message, "tool_calls", 0, "function", "arguments")
    if content is None and (refusal is not None or isinstance(finish, str)):
        content = refusal or ""
    if not isinstance(content, str):
        return None
    return Reply(
        text=content,
        model=text_or_none(dig(response, "model")) or model,
        usage=chat_usage(dig(response, "usage")),
        finish_reason="refusal" if refusal else _finish(_CHAT_FINISHES, finish),
        request_id=text_or_none(dig(response, "_request_id")),
        # Some servers send an object instead of its text.
        arguments=arguments if isinstance(arguments, str | None) else _json(arguments),
        raw=response,
    )


def _json(value: Any) -> str | None:
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        return None


def chat_usage(usage: Any) -> Usage | None:
    read, written = count(dig(usage, "prompt_tokens")), count(dig(usage, "completion_tokens"))
    if read is None or written is None:
        return None
    return Usage(
        input_tokens=read,
        output_tokens=written,
        cached_tokens=count(dig(usage, "prompt_tokens_details", "cached_tokens")) or 0,
        reasoning_tokens=count(dig(usage, "completion_tokens_details", "reasoning_tokens")) or 0,
        cache_write_tokens=count(dig(usage, "prompt_tokens_details", "cache_write_tokens"))
        or count(dig(usage, "cache_creation_input_tokens"))  # LiteLLM's name for it
        or 0,
    )


def anthropic_reply(response: Any, *, model: str) -> Reply | None:
    """Read a message of the Anthropic protocol; None if it is not one."""
    blocks = dig(response, "content")
    if not isinstance(blocks, list):
        return None
    texts = [dig(block, "text") for block in blocks if dig(block, "type") == "text"]
    if not all(isinstance(text, str) for text in texts):
        return None
    calls = [block for block in blocks if dig(block, "type") == "tool_use"]
    finish = dig(response, "stop_reason")
    if not texts and not isinstance(finish, str):
        return None
    return Reply(
        text="".join(texts),
        model=text_or_none(dig(response, "model")) or model,
        usage=anthropic_usage(dig(response, "usage")),
        finish_reason=_finish(_ANTHROPIC_FINISHES, finish),
        request_id=text_or_none(dig(response, "_request_id")),
        arguments=_json(dig(calls[0], "input")) if calls else None,
        raw=response,
    )


def anthropic_usage(usage: Any) -> Usage | None:
    read, written = count(dig(usage, "input_tokens")), count(dig(usage, "output_tokens"))
    if read is None or written is None:
        return None
    # Anthropic's input_tokens are those that met no cache at all.
    cached = count(dig(usage, "cache_read_input_tokens")) or 0
    stored = count(dig(usage, "cache_creation_input_tokens")) or 0
    return Usage(
        input_tokens=read + cached + stored,
        output_tokens=written,
        cached_tokens=cached,
        reasoning_tokens=count(dig(usage, "output_tokens_details", "thinking_tokens")) or 0,
        cache_write_tokens=stored,
    )


def response_reply(response: Any, *, model: str) -> Reply | None:
    """Read a response of OpenAI's protocol of that name; None if it is not one."""
    items, status = dig(response, "output"), dig(response, "status")
    if not isinstance(items, list) or status in _UNFINISHED:
        return None
    contents = [dig(item, "content") for item in items if dig(item, "type") == "message"]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    texts = [dig(part, "text") for part in parts if dig(part, "type") == "output_text"]
    refusals = [dig(part, "refusal") for part in parts if dig(part, "type") == "refusal"]
    calls = [dig(item, "arguments") for item in items if dig(item, "type") == "function_call"]
    if not all(isinstance(text, str) for text in texts + refusals):
        return None
    if not texts and not refusals and not isinstance(status, str):
        return None
    if refusals:
        finish: FinishReason = "refusal"
    elif status == "incomplete":
        finish = _finish(_RESPONSE_FINISHES, dig(response, "incomplete_details", "reason"))
    elif status == "completed":
        finish = "tool" if calls else "stop"
    else:
        finish = "other"
    arguments = calls[0] if calls else None
    return Reply(
        text="".join(texts or refusals),
        model=text_or_none(dig(response, "model")) or model,
        usage=response_usage(dig(response, "usage")),
        finish_reason=finish,
        request_id=text_or_none(dig(response, "_request_id")),
        arguments=arguments if isinstance(arguments, str | None) else _json(arguments),
        raw=response,
    )


#: Of responses that were asked for in the background.
_UNFINISHED = ("queued", "in_progress")


def response_usage(usage: Any) -> Usage | None:
    read, written = count(dig(usage, "input_tokens")), count(dig(usage, "output_tokens"))
    if read is None or written is None:
        return None
    return Usage(
        input_tokens=read,
        output_tokens=written,
        cached_tokens=count(dig(usage, "input_tokens_details", "cached_tokens")) or 0,
        reasoning_tokens=count(dig(usage, "output_tokens_details", "reasoning_tokens")) or 0,
        cache_write_tokens=count(dig(usage, "input_tokens_details", "cache_write_tokens")) or 0,
    )


def _finish(names: dict[str, FinishReason], finish: Any) -> FinishReason:
    return names.get(finish, "other") if isinstance(finish, str) else "other"
