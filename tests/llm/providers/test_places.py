"""Azure and Ollama: OpenAI's protocol in other places."""

import asyncio
import socket

import pytest

from opto import errors
from opto.llm import LLM, environment_model
from opto.llm.environment import NO_KEY, find_endpoint
from opto.testing import Failure, LLMServer


@pytest.fixture
def server():
    with LLMServer(lambda messages: "ok") as server:
        yield server


@pytest.fixture
def azure(monkeypatch, server):
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", server.anthropic_url)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "az-secret")
    monkeypatch.setenv("OPENAI_API_VERSION", "2026-10-21")
    return server


# Azure.


@pytest.mark.parametrize("how", ["call", "acall"])
def test_a_deployment_is_asked_under_its_path(azure, how):
    with LLM("azure:mine", max_tokens=7) as llm:
        text = llm("hi").text if how == "call" else asyncio.run(llm.acall("hi")).text
    assert text == "ok"
    (request,) = azure.requests
    assert request.path == "/openai/deployments/mine/chat/completions?api-version=2026-10-21"
    assert request.headers["api-key"] == "az-secret"
    assert "authorization" not in request.headers
    assert request.body["max_completion_tokens"] == 7


def test_the_environment_may_name_a_deployment(azure, monkeypatch):
    monkeypatch.setenv("OPTO_MODEL", "azure:mine")
    assert environment_model() == "azure:mine"
    with LLM() as llm:
        assert llm("hi").text == "ok"


def test_azure_failures_are_those_of_openai(azure):
    with (
        LLMServer([Failure(429, "Out of it.", "insufficient_quota")]) as server,
        LLM("azure:mine", base_url=server.anthropic_url, api_key="other-secret", retries=0) as llm,
        pytest.raises(errors.QuotaError, match="azure:mine at http://127.0.0.1"),
    ):
        llm("hi")
    assert server.requests[0].headers["api-key"] == "other-secret"


@pytest.mark.parametrize(
    ("variable", "kind"),
    [
        ("AZURE_OPENAI_ENDPOINT", errors.BadRequestError),
        ("OPENAI_API_VERSION", errors.BadRequestError),
        ("AZURE_OPENAI_API_KEY", errors.AuthenticationError),
    ],
)
def test_what_azure_wants_and_is_not_there_is_named(azure, monkeypatch, variable, kind):
    monkeypatch.delenv(variable)
    with pytest.raises(kind, match=f"Set {variable}"):
        LLM("azure:mine")


def test_the_key_of_the_environment_stays_with_its_address(azure):
    with pytest.raises(errors.AuthenticationError, match="api_key="):
        LLM("azure:mine", base_url="http://elsewhere.example")


def test_a_token_of_entra_will_do(azure, monkeypatch):
    monkeypatch.delenv("AZURE_OPENAI_API_KEY")
    monkeypatch.setenv("AZURE_OPENAI_AD_TOKEN", "token")
    with LLM("azure:mine") as llm:
        assert llm("hi").text == "ok"
    assert azure.requests[0].headers["authorization"] == "Bearer token"


@pytest.mark.parametrize(("provider", "path"), [("openai", "chat/completions"), ("openai-responses", "responses")])
def test_the_version_of_azure_that_needs_none_is_plain_openai(server, provider, path):
    with LLM(f"{provider}:mine", base_url=f"{server.anthropic_url}/openai/v1/", api_key="az-secret") as llm:
        assert llm("hi").text == "ok"
    assert server.requests[0].path == f"/openai/v1/{path}"
    assert server.requests[0].headers["authorization"] == "Bearer az-secret"


def test_azure_takes_tools():
    assert find_endpoint("openai:m", api_key="k").is_official
    assert not find_endpoint("ollama:m").is_official


# Ollama.


@pytest.mark.parametrize(
    ("host", "url"),
    [
        (None, "http://127.0.0.1:11434/v1"),
        ("", "http://127.0.0.1:11434/v1"),
        ("box", "http://box:11434/v1"),
        ("box:1234", "http://box:1234/v1"),
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),
        ("0.0.0.0:1234", "http://127.0.0.1:1234/v1"),
        (":1234", "http://127.0.0.1:1234/v1"),
        ("[::1]:1234", "http://[::1]:1234/v1"),
        ("http://box", "http://box/v1"),
        ("https://box:1234/", "https://box:1234/v1"),
        ("https://box.example/ollama", "https://box.example/ollama/v1"),
        ("http://box:1234/v1", "http://box:1234/v1"),
    ],
)
def test_where_ollama_is(monkeypatch, host, url):
    if host is not None:
        monkeypatch.setenv("OLLAMA_HOST", host)
    endpoint = find_endpoint("ollama:llama3.2:1b")
    assert (endpoint.base_url, endpoint.model, endpoint.api_key) == (url, "llama3.2:1b", NO_KEY)
    if "://" in (host or ""):
        assert find_endpoint("ollama:m", base_url=host).base_url == url


def test_an_address_of_ollama_that_is_none(monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", "box:port")
    with pytest.raises(errors.BadRequestError, match="not an address"):
        LLM("ollama:m")


@pytest.mark.parametrize("how", ["call", "acall"])
def test_ollama_gets_the_limit_that_it_does_not_ignore(monkeypatch, server, how):
    monkeypatch.setenv("OLLAMA_HOST", server.anthropic_url.removeprefix("http://"))
    with LLM("ollama:llama3.2", max_tokens=7) as llm:
        assert (llm("hi") if how == "call" else asyncio.run(llm.acall("hi"))).text == "ok"
    assert server.requests[0].path == "/v1/chat/completions"
    assert server.requests[0].body == {
        "model": "llama3.2",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 7,
    }


def test_the_environment_may_name_a_model_of_ollama(monkeypatch):
    monkeypatch.setenv("OPTO_MODEL", "ollama:llama3.2:1b")
    assert environment_model() == "ollama:llama3.2:1b"


def test_ollama_that_does_not_run_is_to_be_started(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{port}")
    with LLM("ollama:llama3.2", retries=0) as llm, pytest.raises(errors.LLMConnectionError) as info:
        llm("hi")
    assert f"http://127.0.0.1:{port}" in info.value.problem
    for hint in ("ollama serve", "OLLAMA_HOST", "LocalSearch"):
        assert hint in info.value.mend


def test_a_model_that_ollama_has_not_is_to_be_fetched():
    with (
        LLMServer([Failure(404, 'model "llama3.2" not found, try pulling it first')]) as server,
        LLM("ollama:llama3.2", base_url=server.anthropic_url) as llm,
        pytest.raises(errors.BadRequestError, match="ollama pull llama3.2"),
    ):
        llm("hi")


def test_models_of_one_key_share_their_limits_in_both_protocols():
    one, other = find_endpoint("openai:m", api_key="k"), find_endpoint("openai-responses:n", api_key="k")
    assert one.account == other.account
    assert one.account != find_endpoint("openai:m", api_key="l").account
    assert find_endpoint("litellm:bedrock/a").account == find_endpoint("litellm:bedrock/b").account
    assert find_endpoint("litellm:bedrock/a").account != find_endpoint("litellm:groq/a").account
