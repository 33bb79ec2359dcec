"""What goes to a model and what comes back: messages, replies and their cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, cast

from opto.errors import AnswerError, BadRequestError
from opto.hooks import hooks
from opto.llm.content import as_parts
from opto.llm.forms import Form, MisfitError, chat_format, form_of, read_form

__all__ = ["Choice", "FinishReason", "Message", "Reply", "Tool", "Usage", "chat_words", "conversation", "given_twice"]

FinishReason = Literal["stop", "length", "refusal", "tool", "other"]


class Message(TypedDict):
    """One turn of a conversation. Its content is a text, or a list of parts: texts, and what `opto.llm.image` gives."""

    role: Literal["system", "user", "assistant"]
    content: Any


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, or of several added up with ``+``.

    Args:
        input_tokens: Everything that the model read, cached or not.
        output_tokens: Everything that the model wrote, its reasoning included.
        cached_tokens: The part of the input that was read from a cache; 0 if the provider does not say.
        reasoning_tokens: The part of the output that was reasoning; 0 if the provider does not say.
        cache_write_tokens: The part of the input that was written to a cache, for which some providers charge more; 0
            if the provider does not say.

    Example:
        >>> sum([Usage(10, 2), Usage(5, 1, cached_tokens=4)], Usage())
        Usage(input_tokens=15, output_tokens=3, cached_tokens=4, reasoning_tokens=0, cache_write_tokens=0)
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0

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
            self.cache_write_tokens + other.cache_write_tokens,
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


def chat_words(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return *settings* with their tool and their schema, if they have some, in words of chat completions."""
    words = dict(settings)
    tool, schema = words.get("tool"), words.pop("schema", None)
    if schema is not None:
        if "response_format" in words:
            raise given_twice("response_format")
        words["response_format"] = {"type": "json_schema", "json_schema": chat_format(form_of(schema))}
    if not isinstance(tool, Tool):
        return words
    del words["tool"]
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    choice = {"type": "function", "function": {"name": tool.name}}
    return {"tools": [{"type": "function", "function": function}], "tool_choice": choice, **words}


def given_twice(name: str) -> BadRequestError:
    """Build the error for a form that is asked for in two ways."""
    return BadRequestError(
        f"The form of the answer is given twice: as schema=… and as {name}=….", mend="Leave one of them out."
    )


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
        form: What ``schema=`` asked for; None if nothing did.

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
    form: Form | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Those of users as well: what counts tokens finds out when it was paid for.
        if not isinstance(self.text, str) or not isinstance(self.usage, Usage | None):
            name, kind = ("usage", "Usage") if isinstance(self.text, str) else ("text", "str")
            given = type(getattr(self, name)).__name__
            raise BadRequestError(f"The {name} of a Reply is a {given}.", mend=f"Give a {kind}.")

    @property
    def value(self) -> Any:
        """What was said in the form that ``schema=`` asked for: an instance of the class, or data of JSON.

        Read are JSON, also in a fence or with words around it. It is read each time; keep it.

        Raises:
            AnswerError: There is none, or it does not fit. The reply is in it.

        Example:
            >>> Reply('Here it is: {"score": 7}', model="some-model").value
            {'score': 7}
        """
        try:
            return read_form(self.text, self.form)
        except MisfitError as error:
            raise self._unreadable(str(error)) from error

    def _unreadable(self, reason: str) -> AnswerError:
        asked = "JSON" if self.form is None else self.form.name
        problem = f"The answer of {self.model} is no {asked}: {reason}."
        if self.finish_reason == "length":
            return AnswerError(f"{problem} It was cut off.", mend="Raise max_tokens=…, or ask for less.", reply=self)
        if self.finish_reason == "refusal":
            problem = f"{self.model} refused to answer: {' '.join(self.text.split())!r:.200}."
            return AnswerError(problem, mend="Reword the prompt, or use another model.", reply=self)
        return AnswerError(problem, mend="Ask again, and say what was wrong; error.reply has the text.", reply=self)

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


def _is_text_only(messages: Any) -> bool:
    """Tell whether there is no place for nodes and parts, as nearly always."""
    if type(messages) is not list:
        return isinstance(messages, str)
    for message in messages:
        if type(message) is not dict:
            return False
        for value in message.values():
            if type(value) is not str:
                return False
    return True


def conversation(messages: str | Sequence[Mapping[str, Any]]) -> list[Message]:
    """Copy of the messages; a plain string is one message of the user. Nodes are read: what they hold is sent.

    Raises:
        BadRequestError: Something in it is not a message.

    Example:
        >>> conversation("hi")
        [{'role': 'user', 'content': 'hi'}]
    """
    if not _is_text_only(messages):
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
    # Other keys and other parts (audio, tool results) are the provider's business.
    return [
        cast("Message", {**message, "content": as_parts(message["content"])})
        for message in cast("Sequence[Mapping[str, Any]]", messages)
    ]
