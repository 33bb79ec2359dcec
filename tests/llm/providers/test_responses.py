"""OpenAI's responses, with the real SDK against a server."""

import asyncio
import json
from typing import get_args

import pytest

from opto import errors
from opto.llm import LLM, Reply, Tool, Usage, environment_model
from opto.llm.providers.failures import _BY_FAILURE
from opto.testing import Failure, LLMServer, Raw

TOOL = Tool("suggest", "Suggest a number.", {"type": "object", "properties": {"x": {"type": "integer"}}})


@pytest.fixture
def server():
    with LLMServer(lambda messages: "ok") as server:
        yield server


@pytest.fixture
def llm(server):
    with LLM("openai-responses:some-model", base_url=server.openai_url, retries=0) as llm:
        yield llm


def answer(**changes):
    """A response in which only what is given differs from an ordinary one."""
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hello"}]}
    return Raw(json.dumps({"id": "1", "model": "m", "status": "completed", "output": [said], **changes}))


def ask(line, **settings):
    with (
        LLMServer([line]) as server,
        LLM("openai-responses:m", base_url=server.openai_url, retries=0, **settings) as llm,
    ):
        return llm("hi")


def fail(line):
    with pytest.raises(errors.LLMError) as info:
        ask(line)
    return info.value


def test_nothing_is_sent_that_was_not_set(server, llm):
    llm("hi")
    assert server.requests[0].path == "/v1/responses"
    assert server.requests[0].body == {"model": "some-model", "input": [{"role": "user", "content": "hi"}]}


def test_instructions_stand_apart_where_they_come_first_and_keep_their_place_elsewhere(server, llm):
    turns = [
        {"role": "system", "content": "Be kind."},
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
        {"role": "system", "content": "Be rude."},
    ]
    llm(turns)
    body = server.requests[0].body
    assert (body["instructions"], body["input"]) == ("Be kind.\n\nBe brief.", turns[2:])
    assert [turn["role"] for turn in server.requests[0].messages] == ["system", "user", "system"]


def test_instructions_of_the_settings_push_none_away(server, llm):
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}]
    llm(turns, instructions="Be brief.")
    assert (server.requests[0].body["instructions"], server.requests[0].body["input"]) == ("Be brief.", turns)


def test_instructions_alone_are_input(server, llm):
    llm([{"role": "system", "content": "Greet."}])
    assert server.requests[0].body["input"] == [{"role": "system", "content": "Greet."}]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_a_limit_goes_under_its_name_there(server, llm, name):
    llm("hi", **{name: 9})
    assert {key: value for key, value in server.requests[0].body.items() if "max" in key} == {"max_output_tokens": 9}


def test_a_tool_is_described_flat_and_takes_what_it_takes(server, llm):
    llm("hi", tool=TOOL)
    body = server.requests[0].body
    assert body["tool_choice"] == {"type": "function", "name": "suggest"}
    assert body["tools"] == [
        {
            "type": "function",
            "name": "suggest",
            "description": TOOL.description,
            "parameters": TOOL.parameters,
            "strict": False,
        }
    ]


def test_what_a_tool_is_called_with_comes_back():
    reply = ask(Reply("", "m", arguments='{"x": 3}', finish_reason="tool"))
    assert (reply.arguments, reply.finish_reason, reply.text) == ('{"x": 3}', "tool", "")


def test_what_is_answered_in_the_background_is_refused(server, llm):
    with pytest.raises(errors.BadRequestError, match="background"):
        llm("hi", background=True)
    assert server.requests == []


@pytest.mark.parametrize(
    ("changes", "finish"),
    [
        ({}, "stop"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "refusal"),
        ({"status": "incomplete", "incomplete_details": None}, "other"),
        ({"status": "cancelled"}, "other"),
        ({"status": None}, "other"),
    ],
)
def test_how_it_ended(changes, finish):
    reply = ask(answer(**changes))
    assert (reply.text, reply.finish_reason) == ("hello", finish)


def test_a_refusal_is_seen():
    refused = {"type": "message", "content": [{"type": "refusal", "refusal": "I will not."}]}
    reply = ask(answer(output=[refused]))
    assert (reply.text, reply.finish_reason) == ("I will not.", "refusal")


def test_reasoning_alone_is_an_empty_answer():
    reply = ask(answer(output=[{"type": "reasoning", "summary": []}], status="incomplete"))
    assert (reply.text, reply.finish_reason) == ("", "other")


def test_usage_is_read():
    usage = {
        "input_tokens": 50,
        "input_tokens_details": {"cached_tokens": 40},
        "output_tokens": 9,
        "output_tokens_details": {"reasoning_tokens": 7},
        "total_tokens": 59,
    }
    reply = ask(answer(usage=usage))
    assert reply.usage == Usage(50, 9, cached_tokens=40, reasoning_tokens=7)
    assert ask(answer()).usage is None


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("server_error", errors.ServerError),
        ("rate_limit_exceeded", errors.RateLimitError),
        ("vector_store_timeout", errors.ServerError),
        ("invalid_prompt", errors.BadRequestError),
        ("image_too_large", errors.BadRequestError),
        ("bio_policy", errors.ContentRefusedError),
        ("insufficient_quota", errors.QuotaError),
        ("never_heard_of", errors.ServerError),
        (None, errors.ServerError),
    ],
)
def test_a_response_that_failed_is_an_error_of_its_kind(code, kind):
    error = fail(
        answer(
            status="failed",
            error={"code": code, "message": "It broke."},
            output=[],
            usage={"input_tokens": 3, "output_tokens": 1},
        )
    )
    assert type(error) is kind
    assert "could not answer: It broke." in error.problem
    assert (error.status, error.request_id, error.usage) == (200, "req_1", Usage(3, 1))
    assert '"failed"' in error.raw


def test_every_code_that_the_sdk_knows_has_been_thought_of():
    from openai.types.responses import ResponseError

    of_the_provider = {"server_error", "vector_store_timeout"}
    codes = set(get_args(ResponseError.model_fields["code"].annotation))
    assert len(codes) > 10
    assert not codes - set(_BY_FAILURE) - of_the_provider


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_what_is_not_finished_is_no_answer(status):
    assert type(fail(answer(status=status))) is errors.ServerError


def test_a_refused_parameter_is_left_out_here_as_well(caplog):
    refused = Failure(400, "Unsupported parameter: 'temperature' is not supported with this model.")
    with (
        LLMServer([refused, "one"]) as server,
        LLM("openai-responses:m", base_url=server.openai_url, temperature=0) as llm,
    ):
        assert llm("hi").left_out == ("temperature",)
    assert "temperature" not in server.requests[1].body
    assert len(caplog.records) == 1


def test_the_environment_may_name_it(monkeypatch, server):
    monkeypatch.setenv("OPTO_MODEL", "openai-responses:some-model")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    monkeypatch.setenv("OPENAI_BASE_URL", server.openai_url)
    assert environment_model() == "openai-responses:some-model"
    with LLM() as llm:
        assert asyncio.run(llm.acall("hi")).text == "ok"
    assert server.requests[0].path == "/v1/responses"
    assert server.requests[0].headers["authorization"] == "Bearer sk-mine"


def test_its_key_is_openais():
    with pytest.raises(errors.AuthenticationError, match="Set OPENAI_API_KEY"):
        LLM("openai-responses:some-model")
