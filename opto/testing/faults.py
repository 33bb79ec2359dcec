"""What goes wrong with calls of models, and what must come of it."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from opto.errors import (
    AuthenticationError,
    BadRequestError,
    ContentRefusedError,
    ContextLengthError,
    LLMConnectionError,
    LLMError,
    LLMTimeoutError,
    OptoError,
    QuotaError,
    RateLimitError,
    ServerError,
)
from opto.llm import Reply
from opto.testing.actions import Action, Altered, Cut, Drip, Exchange, Failure, Line, Raw, Slow
from opto.testing.wire import AnthropicMessages

__all__ = ["FAULTS", "Fault", "Faults"]


@dataclass(frozen=True)
class Fault(Action):
    """One way to go wrong, with the outcome that is expected of every adapter.

    Args:
        name: In `FAULTS`, and in the log of the server.
        action: What the server does.
        error: What a call raises; None if there is a reply.
        finish_reason: Of the reply.
        keeps_raw: Whether the error has the body that came (`LLMError.raw`).
        knows_usage: Whether what it cost is known: it is in the body, as far as that came.
        retry_after: Seconds that the error says the provider asks to wait.
        stalls: Whether it ends only when the client has had enough: its ``timeout`` or ``deadline``.
        anthropic: What the server does instead where it speaks as Anthropic does.
    """

    name: str
    action: Line
    error: type[LLMError] | None = None
    finish_reason: str = "stop"
    keeps_raw: bool = False
    knows_usage: bool = False
    retry_after: float | None = None
    stalls: bool = False
    anthropic: Line | None = None

    @property
    def transient(self) -> bool:
        """True if the call is tried again."""
        return self.error is not None and self.error.transient

    async def play(self, exchange: Exchange) -> None:
        line = self.action
        if self.anthropic is not None and isinstance(exchange.protocol, AnthropicMessages):
            line = self.anthropic
        if isinstance(line, str | Reply):
            await exchange.write(exchange.answer(line))
        else:
            await line.play(exchange)


def _refused(
    name: str,
    error: type[LLMError],
    status: int,
    *,
    openai: tuple[str, str | None],
    anthropic: tuple[str, str],
    headers: Mapping[str, str] = MappingProxyType({}),
    retry_after: float | None = None,
    anthropic_status: int | None = None,
) -> Fault:
    """Return a fault that is an HTTP error, with the message and the code of each provider."""
    message, code = openai
    other, kind = anthropic
    return Fault(
        name,
        Failure(status, message, code, headers),
        error,
        keeps_raw=True,
        retry_after=retry_after,
        anthropic=Failure(anthropic_status or status, other, kind, headers),
    )


_BUSY = ("Rate limit reached for this model.", "rate_limit_exceeded"), ("You are going too fast.", "rate_limit_error")
_DATES = {"date": "Sun, 22 Nov 2026 10:00:00 GMT", "retry-after": "Sun, 22 Nov 2026 10:00:07 GMT"}
_PAGE = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
_LONG = "all that was said " * 20


def _syntax_error(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body).encode().replace(b": ", b"= ", 1)


def _half(body: Mapping[str, Any]) -> bytes:
    text = json.dumps(body).encode()
    return text[: len(text) // 2]


def _nothing_said(body: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**body, **{name: [] for name in ("choices", "content", "output") if name in body}, **_unfinished(body)}


def _parts_of_null(body: Mapping[str, Any]) -> Mapping[str, Any]:
    if "choices" in body:
        return {**body, "choices": [{"index": 0, "message": None, "finish_reason": None}]}
    return {**body, **{name: [None] for name in ("content", "output") if name in body}, **_unfinished(body)}


def _unfinished(body: Mapping[str, Any]) -> dict[str, None]:
    return {name: None for name in ("stop_reason", "status") if name in body}


_ALL = (
    # Refused, and worth another try.
    _refused(
        "rate limit, seconds",
        RateLimitError,
        429,
        openai=_BUSY[0],
        anthropic=_BUSY[1],
        headers={"retry-after": "7"},
        retry_after=7.0,
    ),
    _refused(
        "rate limit, milliseconds",
        RateLimitError,
        429,
        openai=_BUSY[0],
        anthropic=_BUSY[1],
        headers={"retry-after": "1", "retry-after-ms": "250"},
        retry_after=0.25,
    ),
    _refused(
        "rate limit, date",
        RateLimitError,
        429,
        openai=_BUSY[0],
        anthropic=_BUSY[1],
        headers=_DATES,
        retry_after=7.0,
    ),
    _refused("rate limit", RateLimitError, 429, openai=_BUSY[0], anthropic=_BUSY[1]),
    _refused(
        "server error",
        ServerError,
        500,
        openai=("The server had an error.", "server_error"),
        anthropic=("Internal server error", "api_error"),
    ),
    Fault("bad gateway", Raw(_PAGE, 502, "text/html"), ServerError, keeps_raw=True),
    _refused(
        "unavailable",
        ServerError,
        503,
        openai=("The engine is overloaded.", None),
        anthropic=("Service unavailable", "api_error"),
    ),
    _refused(
        "overloaded",
        ServerError,
        529,
        openai=("Overloaded", None),
        anthropic=("Overloaded", "overloaded_error"),
    ),
    # Refused for good.
    _refused(
        "no credit",
        QuotaError,
        429,
        openai=("You exceeded your current quota.", "insufficient_quota"),
        anthropic_status=400,
        anthropic=("Your credit balance is too low to access the API.", "invalid_request_error"),
    ),
    _refused(
        "wrong key",
        AuthenticationError,
        401,
        openai=("Incorrect API key provided.", "invalid_api_key"),
        anthropic=("invalid x-api-key", "authentication_error"),
    ),
    _refused(
        "not allowed",
        AuthenticationError,
        403,
        openai=("You are not allowed to sample from this model.", None),
        anthropic=("No access.", "permission_error"),
    ),
    _refused(
        "no such model",
        BadRequestError,
        404,
        openai=("The model does not exist.", "model_not_found"),
        anthropic=("model: test", "not_found_error"),
    ),
    _refused(
        "bad request",
        BadRequestError,
        400,
        openai=("Invalid type for 'messages'.", "invalid_type"),
        anthropic=("messages: Input should be a valid list", "invalid_request_error"),
    ),
    _refused(
        "context too long",
        ContextLengthError,
        400,
        openai=("This model's maximum context length is 8192 tokens.", "context_length_exceeded"),
        anthropic=("prompt is too long: 250000 tokens > 200000 maximum", "invalid_request_error"),
    ),
    _refused(
        "content filter",
        ContentRefusedError,
        400,
        openai=("The response was filtered.", "content_filter"),
        anthropic=("Output blocked by content filtering policy", "invalid_request_error"),
    ),
    # Slow without end.
    Fault("silence", Slow(3600), LLMTimeoutError, stalls=True),
    Fault("silence after headers", Slow(3600, in_body=True), LLMTimeoutError, stalls=True),
    Fault("dripping headers", Drip(in_headers=True), LLMTimeoutError, stalls=True),
    Fault("dripping body", Drip(), LLMTimeoutError, stalls=True),
    # Slow, and in time.
    Fault("late", Slow(0.2), knows_usage=True),
    Fault("late body", Slow(0.2, in_body=True), knows_usage=True),
    # Broken off.
    Fault("cut before headers", Cut(), LLMConnectionError),
    Fault("cut in body", Cut(_LONG), LLMConnectionError, keeps_raw=True),
    Fault("reset before headers", Cut(reset=True), LLMConnectionError),
    # Sent whole, and none of it an answer.
    Fault("malformed JSON", Altered(_syntax_error), ServerError, keeps_raw=True, knows_usage=True),
    Fault("truncated JSON", Altered(_half, _LONG), ServerError, keeps_raw=True),
    Fault("web page", Raw(_PAGE, content_type="text/html"), ServerError, keeps_raw=True),
    Fault("web page as JSON", Raw(_PAGE), ServerError, keeps_raw=True),
    Fault("empty body", Raw(""), ServerError),
    Fault("not gzip", Raw(_PAGE, headers={"content-encoding": "gzip"}), ServerError),
    Fault("other shape", Raw('{"object": "list", "data": []}'), ServerError, keeps_raw=True),
    Fault("nothing said", Altered(_nothing_said), ServerError, keeps_raw=True, knows_usage=True),
    Fault("parts of null", Altered(_parts_of_null), ServerError, keeps_raw=True, knows_usage=True),
    Fault("error with 200", Failure(200, "Something is amiss.", "server_error"), ServerError, keeps_raw=True),
    # Answers that are no failures, and not what was hoped for.
    Fault(
        "refusal", Reply("I cannot help.", "test", finish_reason="refusal"), finish_reason="refusal", knows_usage=True
    ),
    Fault(
        "length stop", Reply("and then he", "test", finish_reason="length"), finish_reason="length", knows_usage=True
    ),
    Fault("empty text", Reply("", "test"), knows_usage=True),
)

FAULTS: Mapping[str, Fault] = MappingProxyType({fault.name: fault for fault in _ALL})
"""Everything that `AdapterContract` lets go wrong, by name."""


@dataclass
class Faults:
    """A script with faults among its replies: pass it to `LLMServer`.

    What is drawn depends on *seed*, on the messages and on how often these came before, and not on when: a program
    whose threads come in another order sees the same.

    Args:
        replies: As for `LLMServer`.
        rate: The part of all requests that a fault happens to.
        kinds: The faults, each as likely as the others: names of `FAULTS`, or actions. Left out, all of `FAULTS`
            that do not stall.
        seed: Of chance.

    Example:
        >>> from opto.llm import LLM
        >>> from opto.testing import LLMServer
        >>> with LLMServer(Faults(lambda messages: "ok", rate=0.5, kinds=["server error"], seed=0)) as server:
        ...     with LLM("test", base_url=server.openai_url) as llm:
        ...         reply = llm("hi")
        >>> reply.text, [exchange.fault for exchange in server.log]
        ('ok', ['server error', None])
    """

    replies: Iterable[Line] | Callable[[list[dict[str, Any]]], Line]
    rate: float = 0.1
    kinds: Sequence[str | Line] = field(default=())
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if isinstance(kind, str) and kind not in FAULTS]
        if unknown:
            raise OptoError(f"There is no fault {unknown[0]!r}.", mend=f"Use one of {', '.join(FAULTS)}.")
        self._drawn_from = [FAULTS[kind] if isinstance(kind, str) else kind for kind in self.kinds]
        self._drawn_from = self._drawn_from or [fault for fault in FAULTS.values() if not fault.stalls]
        self._script: Iterator[Line] = iter(()) if callable(self.replies) else iter(self.replies)
        self._seen: Counter[str] = Counter()

    def __call__(self, messages: list[dict[str, Any]]) -> Line:
        asked = json.dumps(messages, sort_keys=True)
        self._seen[asked] += 1
        chance = random.Random(f"{self.seed} {self._seen[asked]} {asked}")  # noqa: S311 - no secret
        if chance.random() < self.rate:
            return chance.choice(self._drawn_from)
        if callable(self.replies):
            return self.replies(messages)
        return next(
            self._script, Failure(400, "The script of this LLMServer is over.", headers={"x-should-retry": "false"})
        )
