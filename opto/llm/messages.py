"""What goes to a model and what comes back: messages, replies and their cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, cast

from opto.errors import BadRequestError
from opto.hooks import hooks

__all__ = ["Choice", "FinishReason", "Message", "Reply", "Tool", "Usage", "conversation", "openai_tool"]

FinishReason = Literal["stop", "length", "refusal", "tool", "other"]


class Message(TypedDict):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, or of several added up with ``+``.

    Args:
        input_tokens: Everything that the model read, cached or not.
        output_tokens: Everything that the model wrote, its reasoning included.
        cached_tokens: The part of the input that was read from a cache; 0 if the provider does not say.
        reasoning_tokens: The part of the output that was reasoning; 0 if the provider does not say.

    Example:
        >>> sum([Usage(10, 2), Usage(5, 1, cached_tokens=4)], Usage())
        Usage(input_tokens=15, output_tokens=3, cached_tokens=4, reasoning_tokens=0)
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "Usage") -> "Usage":
        if not isinstance(other, Usage):
            return NotImplemented
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model is to call, instead of answering in words: ``llm(messages, tool=…)``.

    What it calls it with is in `Reply.arguments`. Nothing is run.

    Args:
        name: Letters, digits and underscores.
        description: When and how to call it.
        parameters: The JSON schema of its arguments, an object.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]


def openai_tool(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return *settings* with their tool, if they have one, in words of the OpenAI protocol."""
    others = {name: value for name, value in settings.items() if name != "tool"}
    tool = settings.get("tool")
    if not isinstance(tool, Tool):
        return dict(settings)
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    choice = {"type": "function", "function": {"name": tool.name}}
    return {"tools": [{"type": "function", "function": function}], "tool_choice": choice, **others}


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of a model.

    Args:
        text: What the model said; empty if it only called a tool. A refusal's own words if it refused.
        arguments: With what it called the first tool, as text of JSON; None if it called none.
        model: The model that answered, as the provider names it.
        usage: None if the provider did not report both totals: a cost is never guessed.
        finish_reason: ``"length"`` means that `text` is cut off, ``"refusal"`` that the model or a filter of
            the provider would not answer. Check both before reading the text.
        request_id: The provider's id of the request, to quote in a complaint.
        retries: How many attempts failed before this answer came.
        left_out: Names of settings that were not sent, because the model refuses them.
        raw: The provider's own object.

    Example:
        Programs written for an OpenAI response work too:

        >>> reply = Reply("hello", model="some-model")
        >>> reply.choices[0].message.content
        'hello'
    """

    text: str
    model: str
    usage: Usage | None = None
    finish_reason: FinishReason = "stop"
    request_id: str | None = None
    arguments: str | None = None
    retries: int = 0
    left_out: tuple[str, ...] = ()
    raw: Any = field(default=None, repr=False, compare=False)

    @property
    def choices(self) -> "tuple[Choice]":
        return (Choice(AssistantMessage(self.text), self.finish_reason),)


@dataclass(frozen=True, slots=True)
class AssistantMessage:
    content: str
    role: Literal["assistant"] = "assistant"


@dataclass(frozen=True, slots=True)
class Choice:
    """A reply in the shape of an OpenAI response."""

    message: AssistantMessage
    finish_reason: FinishReason
    index: int = 0


def conversation(messages: str | Sequence[Mapping[str, Any]]) -> list[Message]:
    """Copy of the messages; a plain string is one message of the user. Nodes are read: what they hold is sent.

    Raises:
        BadRequestError: Something in it is not a message.

    Example:
        >>> conversation("hi")
        [{'role': 'user', 'content': 'hi'}]
    """
    messages = hooks.plain(messages)
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    mend = 'Pass a string, or a list like [{"role": "user", "content": "hello"}].'
    if isinstance(messages, Mapping) or not isinstance(messages, Sequence):
        raise BadRequestError(f"Messages cannot be a {type(messages).__name__}.", mend=mend)
    if not messages:
        raise BadRequestError("There are no messages to send.", mend=mend)
    for position, message in enumerate(cast("Sequence[object]", messages)):
        if not isinstance(message, Mapping):
            raise BadRequestError(f"Message {position} is a {type(message).__name__}.", mend=mend)
        missing = [key for key in ("role", "content") if key not in message]
        if missing:
            raise BadRequestError(f"Message {position} has no {' and no '.join(missing)}.", mend=mend)
    # Other keys and other contents (images, tool results) are the provider's business.
    return [cast("Message", dict(message)) for message in cast("Sequence[Mapping[str, Any]]", messages)]
