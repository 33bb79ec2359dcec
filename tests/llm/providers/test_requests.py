"""What goes over the wire, read from the log of a server."""

import asyncio

import pytest

from opto.errors import BadRequestError, MissingDependencyError, ServerError
from opto.llm import LLM, Reply, Usage
from opto.llm.environment import Endpoint
from opto.llm.providers.anthropic import ANTHROPIC_MAX_TOKENS
from opto.llm.providers.openai import OpenAIAdapter
from opto.testing import LLMServer, Raw

CONVERSATION = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "hello"},
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "bye"},
]


@pytest.fixture
def server():
    with LLMServer(lambda messages: "ok") as server:
        yield server


@pytest.fixture
def openai(server):
    with LLM("some-model", base_url=server.openai_url) as llm:
        yield llm


@pytest.fixture
def anthropic(server):
    with LLM("anthropic:some-model", base_url=server.anthropic_url) as llm:
        yield llm


def test_openai_gets_nothing_that_was_not_set(server, openai):
    openai(CONVERSATION)
    assert server.requests[0].body == {"model": "some-model", "messages": CONVERSATION}


def test_anthropic_gets_its_obligatory_limit_and_nothing_else_that_was_not_set(server, anthropic):
    anthropic("hi")
    assert server.requests[0].body == {
        "model": "some-model",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": ANTHROPIC_MAX_TOKENS,
    }


def test_anthropic_gets_instructions_apart(server, anthropic):
    anthropic(CONVERSATION, max_tokens=9)
    body = server.requests[0].body
    assert body["system"] == "Be kind.\n\nBe brief."
    assert [turn["content"] for turn in body["messages"]] == ["hi", "hello", "bye"]
    assert body["max_tokens"] == 9


def test_anthropic_gets_instructions_in_blocks_if_they_have_some(server, anthropic):
    block = {"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}
    anthropic([{"role": "system", "content": [block]}, *CONVERSATION[1:]])
    assert server.requests[0].body["system"] == [block, {"type": "text", "text": "Be brief."}]


def test_anthropic_instructions_given_twice_are_refused(server, anthropic):
    with pytest.raises(BadRequestError, match="twice"):
        anthropic(CONVERSATION, system="Be rude.")
    assert server.requests == []


@pytest.mark.parametrize("how", ["call", "acall"])
def test_settings_of_a_call_override_those_of_the_client(server, how):
    with LLM("m", base_url=server.openai_url, temperature=0.5, seed=1, max_tokens=3) as llm:
        if how == "call":
            llm("hi", temperature=0, seed=None)
        else:
            asyncio.run(llm.acall("hi", temperature=0, seed=None))
    body = server.requests[0].body
    assert body["temperature"] == 0
    assert "seed" not in body
    assert body["max_tokens"] == 3


@pytest.mark.parametrize("llm_name", ["openai", "anthropic"])
def test_settings_that_the_sdk_does_not_know_are_sent_all_the_same(server, llm_name, request):
    llm = request.getfixturevalue(llm_name)
    llm("hi", temperature=0.25, min_p=0.1, extra_body={"top_k": 4}, extra_headers={"x-mine": "yes"})
    sent = server.requests[0]
    assert {name: sent.body[name] for name in ("temperature", "min_p", "top_k")} == {
        "temperature": 0.25,
        "min_p": 0.1,
        "top_k": 4,
    }
    assert sent.headers["x-mine"] == "yes"
    assert "extra_body" not in sent.body


@pytest.mark.parametrize("llm_name", ["openai", "anthropic"])
def test_the_model_may_change_for_one_call(server, llm_name, request):
    reply = request.getfixturevalue(llm_name)("hi", model="other-model")
    assert server.requests[0].body["model"] == reply.model == "other-model"


@pytest.mark.parametrize("llm_name", ["openai", "anthropic"])
def test_streams_are_refused(server, llm_name, request):
    with pytest.raises(BadRequestError, match="stream"):
        request.getfixturevalue(llm_name)("hi", stream=True)
    assert server.requests == []


def test_openai_itself_is_told_max_completion_tokens():
    """OpenAI's own address cannot be called here, so this looks at the request one step before it is sent."""
    adapter = OpenAIAdapter(Endpoint("openai", "gpt-5.4-mini", None, "key"))
    assert adapter._body([], {"max_tokens": 3}) == {"messages": [], "max_completion_tokens": 3}
    regional = OpenAIAdapter(Endpoint("openai", "gpt-5.4-mini", "https://eu.api.openai.com/v1", "key"))
    assert regional._body([], {"max_tokens": 3}) == {"messages": [], "max_completion_tokens": 3}


def test_a_server_without_a_named_model_is_asked_for_its_first(monkeypatch):
    with LLMServer(["one", "two"], models=["first", "second"]) as server, LLM(base_url=server.openai_url) as llm:
        assert server.openai_url in llm.model
        assert llm("hi").model == "first"
        assert asyncio.run(llm.acall("hi")).model == "first"
        assert llm.model == "openai:first"
    assert [request.path for request in server.requests] == ["/v1/models", *["/v1/chat/completions"] * 2]


def test_the_first_model_can_be_asked_for_asynchronously():
    with LLMServer(["one"], models=["first"]) as server, LLM(base_url=server.openai_url) as llm:
        assert asyncio.run(llm.acall("hi")).model == "first"


def test_a_server_without_any_model_says_so():
    with LLMServer(models=[]) as server, LLM(base_url=server.openai_url) as llm, pytest.raises(BadRequestError) as info:
        llm("hi")
    assert "lists no model" in str(info.value)
    assert "OPENAI_MODEL" in info.value.mend


def test_a_key_from_the_environment_goes_only_where_the_environment_says(monkeypatch, server):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-meant-for-openai")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-meant-for-anthropic")
    for model, url in [("openai:m", server.openai_url), ("anthropic:m", server.anthropic_url)]:
        with LLM(model, base_url=url) as llm:
            llm("hi")
    assert not [value for request in server.requests for value in request.headers.values() if "sk-meant" in value]

    monkeypatch.setenv("OPENAI_BASE_URL", server.openai_url)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.anthropic_url)
    for provider in ("openai", "anthropic"):
        with LLM(f"{provider}:m") as llm:
            llm("hi")
        assert any(f"sk-meant-for-{provider}" in value for value in server.requests[-1].headers.values())


@pytest.mark.parametrize("llm_name", ["openai", "anthropic"])
def test_the_reply_carries_the_providers_request_id_and_object(llm_name, request):
    reply = request.getfixturevalue(llm_name)("hi")
    assert reply.request_id == "req_1"
    assert reply.raw is not None


def test_anthropic_input_counts_reads_and_writes_of_the_cache():
    body = """{"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a"},
        {"type": "text", "text": "b"}], "model": "m", "stop_reason": "end_turn", "usage": {"input_tokens": 10,
        "cache_read_input_tokens": 200, "cache_creation_input_tokens": 3000, "output_tokens": 5}}"""
    with LLMServer([Raw(body)]) as server, LLM("anthropic:m", base_url=server.anthropic_url) as llm:
        reply = llm("hi")
    assert reply.text == "ab"
    assert reply.usage == Usage(3210, 5, cached_tokens=200, cache_write_tokens=3000)


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("stop_sequence", "stop"),
        ("new", "other"),
    ],
)
def test_anthropic_stop_reasons(stop, reason):
    body = f'{{"content": [{{"type": "text", "text": "a"}}], "stop_reason": "{stop}"}}'
    with LLMServer([Raw(body)]) as server, LLM("anthropic:m", base_url=server.anthropic_url) as llm:
        assert llm("hi").finish_reason == reason


@pytest.mark.parametrize("usage", ["null", "{}", '{"prompt_tokens": 3}', '{"prompt_tokens": "3"}', "[]", "7"])
def test_usage_that_is_not_reported_is_none(usage):
    body = f'{{"choices": [{{"message": {{"content": "a"}}, "finish_reason": null}}], "usage": {usage}}}'
    with LLMServer([Raw(body)]) as server, LLM("m", base_url=server.openai_url) as llm:
        reply = llm("hi")
    assert reply == Reply("a", model="m", usage=None, finish_reason="other", request_id="req_1")


def test_openai_refusals_are_seen():
    body = '{"choices": [{"message": {"content": null, "refusal": "I will not."}, "finish_reason": "stop"}]}'
    with LLMServer([Raw(body)]) as server, LLM("m", base_url=server.openai_url) as llm:
        reply = llm("hi")
    assert (reply.text, reply.finish_reason) == ("I will not.", "refusal")


NONSENSE = [
    "<html>hi</html>", '{"id": ', "null", "[]", "3", '"text"', "{}", "", '{"choices": []}', '{"choices": [null]}',
    '{"choices": {"a": 1}}', '{"choices": [{"message": {"content": 5}}]}', '{"choices": [{"message": {}}]}',
    '{"content": "x"}', '{"content": [null]}', '{"content": []}', '{"content": [{"type": "text"}]}',
    '{"error": {"message": "upstream died"}}',
]  # fmt: skip


@pytest.mark.parametrize("provider", ["openai", "openai-responses", "anthropic"])
@pytest.mark.parametrize("content_type", ["application/json", "text/html"])
@pytest.mark.parametrize("body", NONSENSE)
def test_nonsense_with_status_200_is_a_server_error(provider, content_type, body):
    with LLMServer([Raw(body, content_type=content_type)] * 2) as server:
        url = server.anthropic_url if provider == "anthropic" else server.openai_url
        with LLM(f"{provider}:m", base_url=url, retries=0) as llm:
            for ask in (llm, lambda messages: asyncio.run(llm.acall(messages))):
                with pytest.raises(ServerError, match="not an answer") as info:
                    ask("hi")
                assert info.value.transient
                assert info.value.status in {200, None}


def test_an_error_in_a_200_is_quoted():
    with (
        LLMServer([Raw('{"error": {"message": "upstream died"}}')]) as server,
        LLM("m", base_url=server.openai_url, retries=0) as llm,
        pytest.raises(ServerError, match="upstream died"),
    ):
        llm("hi")


@pytest.mark.parametrize(("package", "model"), [("openai", "openai:m"), ("anthropic", "anthropic:m")])
def test_a_missing_sdk_comes_with_the_line_that_installs_it(monkeypatch, package, model):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with LLM(model, api_key="key") as llm, pytest.raises(MissingDependencyError) as info:
        llm("hi")
    assert f'pip install "{package}>=' in info.value.mend
    assert isinstance(info.value.__cause__, ImportError)
