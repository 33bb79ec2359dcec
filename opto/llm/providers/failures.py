"""Turns every exception of an SDK into one of opto's.

Classes are recognised by name, along their bases, so that nothing here imports an SDK and both majors of each
are covered by one table.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from opto.errors import (
    AuthenticationError,
    BadRequestError,
    ContentRefusedError,
    ContextLengthError,
    LLMConnectionError,
    LLMError,
    LLMTimeoutError,
    QuotaError,
    RateLimitError,
    ServerError,
)
from opto.llm.environment import NO_KEY, Endpoint
from opto.llm.providers.pausing import retry_after, should_retry
from opto.llm.providers.reading import count, dig, text_or_none
from opto.llm.providers.receiving import Received, Redirected
from opto.llm.providers.saying import message_in, on_one_line
from opto.llm.providers.unwrapping import (
    PACKAGES,
    explanation,
    has_answer,
    is_of_litellm,
    lacks_key,
    original,
    variable_in,
)

__all__ = ["failed_response", "masked", "not_an_answer", "sdk_errors", "text_of_response", "translate"]

_BY_CLASS: dict[str, type[LLMError]] = {
    "APITimeoutError": LLMTimeoutError,
    "APIConnectionError": LLMConnectionError,
    "APIResponseValidationError": ServerError,
    "APIWebhookValidationError": BadRequestError,
    "ContentFilterFinishReasonError": ContentRefusedError,
    "LengthFinishReasonError": BadRequestError,
    "SubjectTokenProviderError": AuthenticationError,
    "CredentialsError": AuthenticationError,
    "RetryableError": ServerError,
    "WebSocketConnectionClosedError": LLMConnectionError,
    "WebSocketQueueFullError": LLMConnectionError,
    # The bases, for what a later version adds: an API error without a status comes from the provider,
    # anything else is the SDK's objection to how it was called.
    "APIError": ServerError,
    "OpenAIError": BadRequestError,
    "AnthropicError": BadRequestError,
    "DecodingError": ServerError,  # a body that is not packed as its headers say
    # LiteLLM's own findings in what its providers say.
    "ContextWindowExceededError": ContextLengthError,
    "ContentPolicyViolationError": ContentRefusedError,
    "RejectedRequestError": ContentRefusedError,
    "PaymentRequiredError": QuotaError,
    "BudgetExceededError": QuotaError,
    "GuardrailRaisedException": ContentRefusedError,
    "BlockedPiiEntityError": ContentRefusedError,
    "ModifyResponseException": ContentRefusedError,
    "SensitiveDataRouteException": ContentRefusedError,
    "ModelNotMappedError": BadRequestError,
    # httpx and httpx2: not seen through the SDKs' plain calls, but their streams let them pass.
    "TimeoutException": LLMTimeoutError,
    "HTTPError": LLMConnectionError,
    "StreamError": LLMConnectionError,
    "InvalidURL": BadRequestError,
}

_BY_STATUS: dict[int, type[LLMError]] = {
    401: AuthenticationError,
    402: QuotaError,
    403: AuthenticationError,
    408: LLMTimeoutError,
    409: ServerError,  # a lock at the provider; the SDKs retry it too
    413: ContextLengthError,
    429: RateLimitError,
    499: LLMConnectionError,
    501: BadRequestError,
    504: LLMTimeoutError,
}

_BY_CODE: dict[str, type[LLMError]] = {
    "insufficient_quota": QuotaError,
    "billing_hard_limit_reached": QuotaError,
    "billing_not_active": QuotaError,
    "billing_error": QuotaError,
    "contract_spend_limit_reached": QuotaError,
    "enforced_spend_limit_reached": QuotaError,
    "linked_organization_spend_limit_reached": QuotaError,
    "linked_organization_billing_unavailable": QuotaError,
    "context_length_exceeded": ContextLengthError,
    "exceed_context_size_error": ContextLengthError,
    "content_filter": ContentRefusedError,
    "content_policy_violation": ContentRefusedError,
}

# With status 200, in a response that failed. What is not here is the provider's fault.
_BY_FAILURE: dict[str, type[LLMError]] = {
    **_BY_CODE,
    "rate_limit_exceeded": RateLimitError,
    "invalid_prompt": BadRequestError,
    "data_residency_mismatch": BadRequestError,
    "bio_policy": ContentRefusedError,
    "misalignment_policy_violation": ContentRefusedError,
    "image_content_policy_violation": ContentRefusedError,
    "invalid_image": BadRequestError,
    "invalid_image_format": BadRequestError,
    "invalid_base64_image": BadRequestError,
    "invalid_image_url": BadRequestError,
    "image_too_large": BadRequestError,
    "image_too_small": BadRequestError,
    "image_parse_error": BadRequestError,
    "invalid_image_mode": BadRequestError,
    "image_file_too_large": BadRequestError,
    "unsupported_image_media_type": BadRequestError,
    "empty_image_file": BadRequestError,
    "failed_to_download_image": BadRequestError,
    "image_file_not_found": BadRequestError,
}

# Anthropic and most local servers say these with status 400 and no code of their own.
_BY_PHRASE: dict[str, type[LLMError]] = {
    "prompt is too long": ContextLengthError,
    "maximum context length": ContextLengthError,
    "exceed context limit": ContextLengthError,
    "credit balance is too low": QuotaError,
    "content filtering policy": ContentRefusedError,
}

_VERBS: dict[type[LLMError], str] = {
    LLMTimeoutError: "did not answer in time",
    LLMConnectionError: "cannot be reached",
    ServerError: "sent something that is not an answer",
    BadRequestError: "was called in a way that its SDK refuses",
}

_MENDS: dict[type[LLMError], str] = {
    QuotaError: "Add credit or raise the spending limit at the provider; waiting does not help.",
    ContextLengthError: "Shorten the prompt, or use a model with a larger context window.",
    ContentRefusedError: "Reword the prompt, or use another model.",
    BadRequestError: "Check the model name and the settings against the message; the same call cannot succeed.",
    RateLimitError: "Wait and call again, with fewer calls at a time.",
    LLMTimeoutError: "Call again or raise timeout=…; this call may have been billed.",
    LLMConnectionError: "Check the network and the base URL, then call again.",
    ServerError: "Call again later; if it stays, check that the base URL is that of the provider's API.",
    LLMError: "Please report this: opto should know this failure.",
}

_EMPTY = "the body is empty"
#: What becomes of an answer that has begun.
_BROKEN_OFF = {"RemoteProtocolError", "ReadError", "CloseError"}
#: What the SDKs call a bad connection, and is none.
_BY_CAUSE: dict[str, type[LLMError]] = {
    "DecodingError": ServerError,
    "LocalProtocolError": BadRequestError,
    "UnsupportedProtocol": BadRequestError,
    "InvalidURL": BadRequestError,
}


class sdk_errors:  # noqa: N801 - used like a function; a class, because every call goes through it
    """Translate what a call of an SDK raises; nothing but that call belongs inside.

    Args:
        endpoint: Whom it calls.
        received: What keeps the text of the response, if anything does.
    """

    __slots__ = ("_endpoint", "_received")

    def __init__(self, endpoint: Endpoint, received: Received | None = None) -> None:
        self._endpoint = endpoint
        self._received = received

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Exception):
            raise translate(error, self._endpoint, "" if self._received is None else self._received.text) from error


def translate(error: Exception, endpoint: Endpoint, text: str = "") -> LLMError:
    """Build the error of opto that says what this exception of an SDK means, which had read *text* by then."""
    redirected = next((cause for cause in (error, error.__cause__) if isinstance(cause, Redirected)), None)
    if redirected is not None:
        return _redirection(redirected, endpoint)
    told, error = error, original(error)
    if is_of_litellm(told) and _status(error) is None and lacks_key(said := explanation(told)):
        return _without_key(said, endpoint)
    kind = _kind(told) if type(told).__name__ in _FINDINGS else _kind(error)
    if text and kind in (LLMError, BadRequestError) and type(error).__module__ == "builtins":
        kind = ServerError  # the SDK has nothing against the call, but cannot read what came
    status = _status(error)
    problem = f"{endpoint} answered with status {status}" if status else f"{endpoint} {_verb(kind, error)}"
    headers = dig(error, "response", "headers")
    # Of what it was called with, LiteLLM says more than whatever stopped it.
    by_litellm = is_of_litellm(told) and status is None and (error is told or kind is BadRequestError)
    detail = _tidy(explanation(told), endpoint) if by_litellm else _detail(error, endpoint, text)
    return kind(
        f"{problem}: {detail}",
        mend=_mend(kind, endpoint, status),
        status=status or (count(dig(error, "status_code")) if has_answer(error) else None),
        request_id=text_or_none(dig(error, "request_id")) or _request_id(headers),
        retry_after=retry_after(headers) if headers is not None else None,
        should_retry=should_retry(headers) if headers is not None else None,
    )


def not_an_answer(response: Any, endpoint: Endpoint, *, request_id: str | None = None, text: str = "") -> ServerError:
    """Build the error for a successful response that holds no reply."""
    said = (
        text_or_none(dig(response, "error", "message")) or message_in(text) or (repr(response) if response else _EMPTY)
    )
    return ServerError(
        f"{endpoint} {_VERBS[ServerError]}: {_tidy(said, endpoint)}",
        mend=_MENDS[ServerError],
        status=200,
        request_id=request_id,
    )


def _without_key(said: str, endpoint: Endpoint) -> AuthenticationError:
    variable = variable_in(said) or endpoint.key_variable
    return AuthenticationError(
        f"{endpoint} has no key: {_tidy(said, endpoint)}", mend=f"Set {variable}, or pass api_key=…."
    )


def _redirection(redirected: Redirected, endpoint: Endpoint) -> BadRequestError:
    return BadRequestError(
        f"{endpoint} answered with status {redirected.status} and points to {redirected.place}.",
        mend="Set base_url to the address of the API itself; keys and prompts are not taken elsewhere.",
        status=redirected.status,
    )


def failed_response(response: Any, endpoint: Endpoint) -> LLMError:
    """Build the error for a response that says itself that it failed."""
    code = dig(response, "error", "code")
    kind = _BY_FAILURE.get(code, ServerError) if isinstance(code, str) else ServerError
    said = text_or_none(dig(response, "error", "message")) or text_or_none(code) or "no reason is given"
    return kind(
        f"{endpoint} could not answer: {_tidy(said, endpoint)}",
        mend=_mend(kind, endpoint, 200),
        status=200,
        request_id=text_or_none(dig(response, "_request_id")),
    )


def _kind(error: Exception) -> type[LLMError]:
    if isinstance(error.__cause__, TimeoutError):
        return LLMTimeoutError  # our own, when the time of an attempt is over
    if type(error.__cause__).__name__ in _BY_CAUSE:
        return _BY_CAUSE[type(error.__cause__).__name__]
    for base in type(error).__mro__:
        if base.__module__.partition(".")[0] not in PACKAGES:
            continue
        if base.__name__ in {"APIStatusError", "HTTPStatusError"}:
            return _kind_of_response(error)
        if base.__name__ in _BY_CLASS:
            return _BY_CLASS[base.__name__]
    if isinstance(error, json.JSONDecodeError | UnicodeError):
        return ServerError
    if isinstance(error, TypeError | ValueError | ImportError):
        return BadRequestError
    if isinstance(error, TimeoutError):
        return LLMTimeoutError
    return LLMConnectionError if isinstance(error, OSError) else LLMError


def _kind_of_response(error: Exception) -> type[LLMError]:
    body = _body(error)
    # OpenAI's SDK unwraps {"error": …}, Anthropic's does not.
    inner = dig(body, "error") if isinstance(dig(body, "error"), Mapping) else body
    for code in (dig(inner, "code"), dig(inner, "type"), dig(inner, "details", "error_code")):
        if isinstance(code, str) and code in _BY_CODE:
            return _BY_CODE[code]
    status = _claimed_status(error) or 0
    if 400 <= status < 500:
        message = f"{dig(inner, 'message')}".lower()
        for phrase, kind in _BY_PHRASE.items():
            if phrase in message:
                return kind
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return BadRequestError if 300 <= status < 500 else ServerError


def _status(error: Exception) -> int | None:
    """Status of an error response; a 200 with nonsense in it is told as nonsense."""
    return _claimed_status(error) if has_answer(error) else None


def _claimed_status(error: Exception) -> int | None:
    status = dig(error, "status_code")
    status = dig(error, "response", "status_code") if status is None else status
    return status if isinstance(status, int) and status >= 300 else None


#: Classes by which LiteLLM says more than the exception from which it made them.
_FINDINGS = {"ContextWindowExceededError", "ContentPolicyViolationError", "PaymentRequiredError", "Timeout"}


def text_of_response(error: BaseException | None) -> str:
    """Return the body of the response that an exception came with, as far as it has one."""
    response = dig(original(error), "response") if isinstance(error, Exception) else None
    try:
        return text_or_none(dig(response, "text")) or ""
    except (RuntimeError, ValueError):  # it was never read
        return ""


def _body(error: Exception) -> Any:
    """Return the parsed body of an error response; httpx leaves it in the response."""
    body = dig(error, "body")
    if body is None and isinstance(error, Exception) and dig(error, "response") is not None:
        try:
            body = json.loads(text_of_response(error))
        except (ValueError, RecursionError):
            return None
    return body


def _request_id(headers: Any) -> str | None:
    names = ("x-request-id", "request-id")
    return None if headers is None else next((found for name in names if (found := headers.get(name))), None)


def _verb(kind: type[LLMError], error: Exception) -> str:
    if kind is LLMConnectionError and type(error.__cause__).__name__ in _BROKEN_OFF:
        return "did not send a whole answer"
    return _VERBS.get(kind, "failed")


def _detail(error: Exception, endpoint: Endpoint, text: str) -> str:
    status = _status(error)
    said = message_in(_body(error))
    if said is None and status is not None:
        said = message_in(text) or {known.value: known.phrase for known in HTTPStatus}.get(status, "no reason is given")
    if said is None:
        # "Connection error." alone does not tell a refused connection from an unknown host.
        cause = error.__cause__ or error
        said = str(cause) or type(cause).__name__
        came = message_in(text)
        if isinstance(error, ValueError):
            said = _EMPTY if dig(error, "doc") == "" else said if came is None else f"{said}, in {came}"
    return _tidy(said, endpoint)


def _tidy(text: str, endpoint: Endpoint) -> str:
    """One line, not too long, without the key."""
    return on_one_line(masked(text, endpoint))


def masked(text: str, endpoint: Endpoint) -> str:
    """Return *text* without the key."""
    return text.replace(endpoint.api_key, "***") if endpoint.api_key and endpoint.api_key != NO_KEY else text


def _mend(kind: type[LLMError], endpoint: Endpoint, status: int | None) -> str:
    if endpoint.provider == "ollama" and kind is LLMConnectionError:
        return (
            "Start Ollama with `ollama serve`, or set OLLAMA_HOST to where it runs; for numbers and choices,"
            " opto.optimizers.LocalSearch needs no model."
        )
    if endpoint.provider == "ollama" and status == 404:
        return f"Fetch the model with `ollama pull {endpoint.model}`, or name one that `ollama list` shows."
    if status is not None and 300 <= status < 400:
        return "Check the base URL: an API does not redirect."
    if kind is not AuthenticationError:
        return _MENDS[kind]
    if endpoint.api_key == NO_KEY:
        named = f" and to an address from {endpoint.url_variable}" if endpoint.url_variable else ""
        return f"Pass api_key=…; {endpoint.key_variable} goes only to the provider itself{named}."
    return f"Check the key in {endpoint.key_variable} or api_key=…, and that it may use this model."
