"""Every failure of a provider becomes one of opto's errors."""

import asyncio
import importlib
import json
import pickle
import pkgutil
import socket
import time

import pytest

from opto import errors
from opto.llm import LLM
from opto.llm.environment import Endpoint
from opto.llm.providers.failures import translate
from opto.testing import Cut, Failure, LLMServer, Slow

ONCE = {"x-should-retry": "false"}
ENDPOINT = Endpoint("openai", "some-model", None, "sk-very-secret")


@pytest.fixture(params=["openai", "openai-responses", "anthropic"])
def provider(request):
    return request.param


def fail(provider, replies, how="call", **settings):
    """Ask a server that is going to fail, and return the error."""
    with LLMServer(replies) as server:
        url = server.anthropic_url if provider == "anthropic" else server.openai_url
        with LLM(f"{provider}:some-model", base_url=url, api_key="sk-very-secret", retries=0, **settings) as llm:
            ask = llm if how == "call" else lambda messages: asyncio.run(llm.acall(messages))
            with pytest.raises(errors.LLMError) as info:
                ask("hi")
    return info.value


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.BadRequestError),
        (401, errors.AuthenticationError),
        (402, errors.QuotaError),
        (403, errors.AuthenticationError),
        (404, errors.BadRequestError),
        (408, errors.LLMTimeoutError),
        (409, errors.ServerError),
        (413, errors.ContextLengthError),
        (418, errors.BadRequestError),
        (422, errors.BadRequestError),
        (429, errors.RateLimitError),
        (500, errors.ServerError),
        (501, errors.BadRequestError),
        (502, errors.ServerError),
        (503, errors.ServerError),
        (504, errors.LLMTimeoutError),
        (529, errors.ServerError),
    ],
)
def test_status(provider, how, status, kind):
    error = fail(provider, [Failure(status, "Something is amiss.", headers=ONCE)], how)
    assert type(error) is kind
    assert error.status == status
    assert error.request_id == "req_1"
    assert f"status {status}: Something is amiss." in error.problem
    assert "some-model" in error.problem
    assert error.mend.endswith(".")
    assert type(error.__cause__).__module__.startswith(provider.partition("-")[0])


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (429, "insufficient_quota", errors.QuotaError),
        (429, "rate_limit_exceeded", errors.RateLimitError),
        (400, "context_length_exceeded", errors.ContextLengthError),
        (400, "content_filter", errors.ContentRefusedError),
        (403, "billing_error", errors.QuotaError),
    ],
)
def test_codes_say_more_than_the_status(provider, status, code, kind):
    assert type(fail(provider, [Failure(status, code=code, headers=ONCE)])) is kind


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("prompt is too long: 250000 tokens > 200000 maximum", errors.ContextLengthError),
        ("This model's maximum context length is 4096 tokens. However, …", errors.ContextLengthError),
        ("Your credit balance is too low to access the API.", errors.QuotaError),
        ("Unknown parameter: 'seed'.", errors.BadRequestError),
    ],
)
def test_messages_where_there_is_no_code(provider, message, kind):
    assert type(fail(provider, [Failure(400, message, headers=ONCE)])) is kind


def test_error_codes_in_details_are_read():
    details = {"type": "rate_limit_error", "message": "no", "details": {"error_code": "enforced_spend_limit_reached"}}
    error = anthropic_error("RateLimitError", 429, {"type": "error", "error": details})
    assert type(translate(error, ENDPOINT)) is errors.QuotaError


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e9"}, 1e9),
        ({"retry-after-ms": "0", "retry-after": "2"}, 2.0),
        ({"retry-after-ms": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Sun, 22 Nov 2026 10:00:30 GMT", "date": "Sun, 22 Nov 2026 10:00:00 GMT"}, 30.0),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:30 +0200", "date": "Sun, 22 Nov 2026 10:00:00 GMT"}, 30.0),
        ({"retry-after": "Sun, 22 Nov 2026 10:00:30 -0000", "date": "Sun, 22 Nov 2026 10:00:00 GMT"}, 30.0),
        ({"retry-after": "Sun, 22 Nov 2026 10:00:30", "date": "Sun, 22 Nov 2026 10:00:00 GMT"}, 30.0),
        ({"retry-after": "Sun, 22 Nov 2026 09:00:00 GMT", "date": "Sun, 22 Nov 2026 10:00:00 GMT"}, None),
        ({"retry-after": "Sun, 22 Nov 2015 09:00:00 GMT"}, None),
        ({"retry-after": "Sun, 99 Nov 2026 09:00:00 GMT"}, None),
        ({}, None),
    ],
)
def test_retry_after(provider, headers, seconds, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    assert fail(provider, [Failure(429, headers={**ONCE, **headers})]).retry_after == seconds


def test_an_answer_that_comes_too_late(provider, how):
    error = fail(provider, [Slow(60)], how, timeout=0.05)
    assert type(error) is errors.LLMTimeoutError
    assert error.transient
    assert error.status is None
    assert "timeout" in error.mend


def test_an_answer_that_is_cut_off(provider, how):
    error = fail(provider, [Cut("hello")], how)
    assert type(error) is errors.LLMConnectionError
    assert error.transient


def test_nobody_at_the_address(provider):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with (
        LLM(f"{provider}:m", base_url=f"http://127.0.0.1:{port}", retries=0) as llm,
        pytest.raises(errors.LLMConnectionError, match=f"127.0.0.1:{port}.*cannot be reached.*refused"),
    ):
        llm("hi")


def test_what_the_sdk_itself_objects_to(provider):
    error = fail(provider, ["hello"], metadata=object())
    assert type(error) is errors.BadRequestError
    assert not error.transient


@pytest.mark.parametrize("timeout", ["soon", 0, -1, float("nan"), True])
def test_a_timeout_that_is_no_time(provider, timeout):
    error = fail(provider, ["hello"], timeout=timeout)
    assert type(error) is errors.BadRequestError
    assert repr(timeout) in error.problem


def test_anthropic_wants_a_timeout_for_very_long_answers():
    error = fail("anthropic", ["hello"], max_tokens=100_000)
    assert type(error) is errors.BadRequestError
    assert "Streaming" in error.problem


def test_the_key_is_in_no_message_and_no_repr(provider):
    error = fail(provider, [Failure(401, "Incorrect API key: sk-very-secret", headers=ONCE)])
    assert "***" in error.problem
    assert "sk-very-secret" not in repr(error)
    with LLM(f"{provider}:m", api_key="sk-very-secret", extra_headers={"x-key": "sk-other-secret"}, seed=1) as llm:
        assert repr(llm) == f"LLM('{provider}:m', seed=1)"
    secret_url = Endpoint("openai", "m", "http://me:sk-very-secret@localhost/v1?key=sk-very-secret", "sk-very-secret")
    assert "sk-very-secret" not in f"{secret_url} {secret_url!r}"


def test_a_key_that_is_missing_for_a_server_of_ones_own_is_told_why(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    with LLMServer([Failure(401, headers=ONCE)]) as server, LLM("m", base_url=server.openai_url) as llm:
        with pytest.raises(errors.AuthenticationError) as info:
            llm("hi")
        assert "OPENAI_BASE_URL" in info.value.mend


def test_long_messages_are_cut_and_put_on_one_line(provider):
    error = fail(provider, [Failure(400, "a\n" * 1000, headers=ONCE)])
    assert len(error.problem) < 600
    assert "\n" not in str(error)


def test_errors_survive_a_process_boundary(provider):
    error = fail(provider, [Failure(429, headers={**ONCE, "retry-after": "7"})])
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.retry_after) == (type(error), str(error), 7.0)


# Every exception class of both SDKs.


def sdk_classes(package):
    """All exception classes that an SDK's modules define, apart from those of its optional parts."""
    root = importlib.import_module(package)
    base = root.OpenAIError if package == "openai" else root.AnthropicError
    for module in pkgutil.iter_modules(root.__path__):
        if not module.name.startswith("__") and module.name != "cli":
            try:
                importlib.import_module(f"{package}.{module.name}")
            except (ImportError, base):
                continue  # an extra that is not installed
    found, todo = {base}, [base]
    while todo:
        todo.extend(new := set(todo.pop().__subclasses__()) - found)
        found |= new
    named = {getattr(root, name) for name in dir(root) if name.endswith("Error")}
    return sorted(found | {kind for kind in named if isinstance(kind, type)}, key=lambda kind: kind.__qualname__)


def build(kind, package):
    """An instance of an SDK's exception, without the SDK's help."""
    error = kind.__new__(kind, "made by a test")
    error.args = ("made by a test",)
    error.body = error.request_id = None
    if hasattr(importlib.import_module(package), "APIStatusError") and issubclass(
        kind, importlib.import_module(package).APIStatusError
    ):
        error.status_code = getattr(kind, "status_code", 500)
    return error


@pytest.mark.parametrize("package", ["openai", "anthropic"])
def test_no_exception_of_an_sdk_is_unmapped(package):
    classes = sdk_classes(package)
    assert len(classes) > 15
    for kind in classes:
        mapped = type(translate(build(kind, package), ENDPOINT))
        assert mapped is not errors.LLMError, f"{kind} falls through"
        assert issubclass(mapped, errors.LLMError)


@pytest.mark.parametrize("package", ["openai", "anthropic"])
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("APITimeoutError", errors.LLMTimeoutError),
        ("APIConnectionError", errors.LLMConnectionError),
        ("APIResponseValidationError", errors.ServerError),
        ("APIError", errors.ServerError),
        ("AuthenticationError", errors.AuthenticationError),
        ("PermissionDeniedError", errors.AuthenticationError),
        ("NotFoundError", errors.BadRequestError),
        ("UnprocessableEntityError", errors.BadRequestError),
        ("RateLimitError", errors.RateLimitError),
        ("InternalServerError", errors.ServerError),
    ],
)
def test_exceptions_of_both_sdks(package, name, kind):
    exception = build(getattr(importlib.import_module(package), name), package)
    assert type(translate(exception, ENDPOINT)) is kind


@pytest.mark.parametrize(
    ("package", "name", "kind"),
    [
        ("anthropic", "RetryableError", errors.ServerError),
        ("anthropic", "CredentialsError", errors.AuthenticationError),
        ("openai", "OAuthError", errors.AuthenticationError),
        ("openai", "SubjectTokenProviderError", errors.AuthenticationError),
        ("openai", "ContentFilterFinishReasonError", errors.ContentRefusedError),
    ],
)
def test_exceptions_of_one_sdk(package, name, kind):
    sdk = importlib.import_module(f"{package}._exceptions")
    if not hasattr(sdk, name):
        pytest.skip(f"this version of {package} has no {name}")
    assert type(translate(build(getattr(sdk, name), package), ENDPOINT)) is kind


@pytest.mark.parametrize("package", ["httpx2", "httpx"])
def test_exceptions_of_the_transport_that_an_sdk_lets_pass(package):
    transport = pytest.importorskip(package)
    for name, kind in [
        ("ReadTimeout", errors.LLMTimeoutError),
        ("ReadError", errors.LLMConnectionError),
        ("RemoteProtocolError", errors.LLMConnectionError),
    ]:
        assert type(translate(getattr(transport, name)("made by a test"), ENDPOINT)) is kind


@pytest.mark.parametrize(
    ("exception", "kind"),
    [
        (json.JSONDecodeError("no", "", 0), errors.ServerError),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), errors.ServerError),
        (TypeError("no"), errors.BadRequestError),
        (TimeoutError("no"), errors.LLMTimeoutError),
        (FileNotFoundError("no certificates"), errors.LLMConnectionError),
        (RuntimeError("no"), errors.LLMError),
    ],
)
def test_exceptions_that_are_nobodys(exception, kind):
    assert type(translate(exception, ENDPOINT)) is kind


def anthropic_error(name, status, body):
    error = build(getattr(importlib.import_module("anthropic"), name), "anthropic")
    error.body, error.status_code = body, status
    return error
