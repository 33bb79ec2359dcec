"""What models say over HTTP: the bodies of answers and errors in each protocol."""

import json
import re
from collections.abc import Mapping
from typing import Any, Protocol

from opto.llm import Reply, Usage

__all__ = [
    "PROTOCOLS",
    "AnthropicMessages",
    "OpenAIChat",
    "OpenAIResponses",
    "WireProtocol",
    "asked_messages",
    "protocol_of",
]


#: What a tool is called that a scripted reply calls: nobody asks.
_TOOL = "tool"


class WireProtocol(Protocol):
    """One kind of endpoint for asking a model."""

    request_id_header: str

    def answer(self, reply: Reply, usage: Usage, number: int) -> dict[str, Any]:
        """The body that carries a reply."""

    def failure(self, status: int, message: str, code: str | None, param: str | None) -> dict[str, Any]:
        """The body that carries an error."""


class OpenAIChat:
    """``POST /v1/chat/completions``."""

    request_id_header = "x-request-id"

    def answer(self, reply: Reply, usage: Usage, number: int) -> dict[str, Any]:
        finishes = {"refusal": "content_filter", "tool": "tool_calls"}
        message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": None}
        if reply.arguments is not None:
            called = {"name": _TOOL, "arguments": reply.arguments}
            message |= {
                "content": reply.text or None,
                "tool_calls": [{"id": f"call_{number}", "type": "function", "function": called}],
            }
        return {
            "id": f"chatcmpl-{number}",
            "object": "chat.completion",
            "created": 0,
            "model": reply.model,
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "finish_reason": finishes.get(reply.finish_reason, reply.finish_reason),
                }
            ],
            "usage": {
                "prompt_tokens": usage.input_tokens,
                "completion_tokens": usage.output_tokens,
                "total_tokens": usage.total_tokens,
                "prompt_tokens_details": {
                    "cached_tokens": usage.cached_tokens,
                    "cache_write_tokens": usage.cache_write_tokens,
                },
                "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
            },
        }

    def failure(self, status: int, message: str, code: str | None, param: str | None) -> dict[str, Any]:
        kind = "server_error" if status >= 500 else "invalid_request_error"
        return {"error": {"message": message, "type": kind, "param": param, "code": code}}


class AnthropicMessages:
    """``POST /v1/messages``."""

    request_id_header = "request-id"

    def answer(self, reply: Reply, usage: Usage, number: int) -> dict[str, Any]:
        finishes = {"stop": "end_turn", "length": "max_tokens", "tool": "tool_use", "other": "pause_turn"}
        texts = [{"type": "text", "text": reply.text}] if reply.text else []
        calls: list[dict[str, Any]] = []
        if reply.arguments is not None:
            # On this wire, arguments are no text.
            called = json.loads(reply.arguments)
            calls.append({"type": "tool_use", "id": f"toolu_{number}", "name": _TOOL, "input": called})
        return {
            "id": f"msg_{number}",
            "type": "message",
            "role": "assistant",
            "model": reply.model,
            "content": [*texts, *calls],
            "stop_reason": finishes.get(reply.finish_reason, reply.finish_reason),
            "stop_sequence": None,
            "usage": {
                # On this wire what met a cache is not in the input.
                "input_tokens": usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens,
                "cache_read_input_tokens": usage.cached_tokens,
                "cache_creation_input_tokens": usage.cache_write_tokens,
                "output_tokens": usage.output_tokens,
                "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
            },
        }

    def failure(self, status: int, message: str, code: str | None, param: str | None) -> dict[str, Any]:  # noqa: ARG002 - no place for it
        kind = code or ("api_error" if status >= 500 else "invalid_request_error")
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": None}


class OpenAIResponses(OpenAIChat):
    """``POST /v1/responses``."""

    def answer(self, reply: Reply, usage: Usage, number: int) -> dict[str, Any]:
        reasons = {"length": "max_output_tokens", "other": "max_messages"}
        reason = reasons.get(reply.finish_reason)
        said = {"type": "output_text", "text": reply.text, "annotations": []}
        if reply.finish_reason == "refusal":
            said = {"type": "refusal", "refusal": reply.text}
        message = {"type": "message", "id": f"msg_{number}", "status": "completed", "role": "assistant"}
        output: list[dict[str, Any]] = [{**message, "content": [said]}] if reply.text else []
        if reply.arguments is not None or reply.finish_reason == "tool":
            called = {"name": _TOOL, "arguments": reply.arguments or "{}"}
            output.append({"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}", **called})
        return {
            "id": f"resp_{number}",
            "object": "response",
            "created_at": 0,
            "model": reply.model,
            "status": "incomplete" if reason else "completed",
            "incomplete_details": {"reason": reason} if reason else None,
            "error": None,
            "output": output,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": {
                "input_tokens": usage.input_tokens,
                "input_tokens_details": {
                    "cached_tokens": usage.cached_tokens,
                    "cache_write_tokens": usage.cache_write_tokens,
                },
                "output_tokens": usage.output_tokens,
                "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
                "total_tokens": usage.total_tokens,
            },
        }


PROTOCOLS: dict[tuple[str, str], WireProtocol] = {
    ("POST", "/v1/chat/completions"): OpenAIChat(),
    ("POST", "/v1/responses"): OpenAIResponses(),
    ("POST", "/v1/messages"): AnthropicMessages(),
}

#: What stands before the path at Azure: with a deployment and, in the version that needs none, without.
_AZURE = re.compile(r"/openai(?:/deployments/[^/]+|/v1)?(?=/)")


def protocol_of(method: str, path: str) -> WireProtocol | None:
    """Return what is spoken at *path*; None if it is not to be asked there.

    Example:
        >>> type(protocol_of("POST", "/openai/deployments/mine/chat/completions?api-version=2026-10-21")).__name__
        'OpenAIChat'
    """
    plain = path.partition("?")[0]
    return PROTOCOLS.get((method, _AZURE.sub("/v1", plain, count=1) if _AZURE.match(plain) else plain))


def asked_messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the conversation in a request, with instructions that stand apart as its first message."""
    apart = next((body[name] for name in ("system", "instructions") if body.get(name)), None)
    turns = body.get("messages", body.get("input", []))
    turns = [{"role": "user", "content": turns}] if isinstance(turns, str) else turns
    return [*([] if apart is None else [{"role": "system", "content": apart}]), *turns]
