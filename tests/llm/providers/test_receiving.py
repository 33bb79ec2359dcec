"""What came of an answer that is none is kept: it was paid for."""

import asyncio
import gzip
import json
import pickle

import pytest

from opto import errors
from opto.llm import LLM, Usage
from opto.testing import Action, Cut, Drip, Failure, LLMServer, Raw

USAGES = {
    "openai": {"prompt_tokens": 7, "completion_tokens": 5},
    "openai-responses": {"input_tokens": 7, "output_tokens": 5},
    "anthropic": {"input_tokens": 7, "output_tokens": 5},
}


@pytest.fixture(params=["openai", "openai-responses", "anthropic"])
def provider(request):
    return request.param


def fail(provider, how, line, **settings):
    with LLMServer([line]) as server:
        url = server.anthropic_url if provider == "anthropic" else server.openai_url
        llm = LLM(f"{provider}:m", base_url=url, api_key="sk-secret", retries=0, **settings)
        with llm, pytest.raises(errors.LLMError) as info:
            llm("hi") if how == "call" else asyncio.run(llm.acall("hi"))
    return info.value


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("<html>Sign in</html>", "text/html"),
        ("<html>Sign in</html>", "application/json"),
        ('{"choices": []}', "application/json"),
        ('{"id": "1", "choices": [{"mess', "application/json"),
        ("[1, 2]", "application/json"),
        ("Grüße", "text/plain; charset=utf-8"),
    ],
)
def test_a_body_that_is_no_answer_is_kept(provider, how, body, content_type):
    error = fail(provider, how, Raw(body, content_type=content_type))
    assert type(error) is errors.ServerError
    assert (error.raw, error.usage) == (body, None)


def test_what_came_before_a_cut_is_kept(provider, how):
    error = fail(provider, how, Cut("all that was said " * 50))
    assert type(error) is errors.LLMConnectionError
    assert "all that was said all that was said" in error.raw
    with pytest.raises(json.JSONDecodeError):
        json.loads(error.raw)


def test_nothing_came():
    assert fail("openai", "call", Cut()).raw is None


def test_what_came_of_an_answer_that_drips_is_kept(provider):
    with LLMServer(["hello", Drip()]) as server:
        url = server.anthropic_url if provider == "anthropic" else server.openai_url
        with LLM(f"{provider}:m", base_url=url, retries=0) as llm:
            llm("hi")  # a client takes its time to come about
            with pytest.raises(errors.LLMTimeoutError) as info:
                llm("hi", timeout=0.5)
    assert info.value.raw
    assert not info.value.raw.strip()


@pytest.mark.parametrize(
    "around", ['{{"choices": [], "content": 3, "usage": {usage}}}', '{{"a": \\"usage\\", "usage": {usage}, oops']
)
def test_what_it_cost_is_read_from_whatever_came(provider, how, around):
    body = around.format(usage=json.dumps(USAGES[provider]))
    error = fail(provider, how, Raw(body))
    assert (error.raw, error.usage) == (body, Usage(7, 5))


def test_usage_in_the_words_of_a_model_is_none_of_ours(provider):
    said = json.dumps({"usage": USAGES[provider]})
    error = fail(provider, "call", Raw(json.dumps({"choices": [{"text": said}]})))
    assert error.usage is None


class Zipped(Action):
    async def play(self, exchange):
        headers = {"content-type": "text/html", "content-encoding": "gzip"}
        await exchange.send(200, gzip.compress(b"<html>zipped</html>"), headers)


def test_a_compressed_body_is_kept_readable(provider, how):
    assert fail(provider, how, Zipped()).raw == "<html>zipped</html>"


def test_the_body_of_an_error_is_kept_without_the_key(provider, how):
    error = fail(provider, how, Failure(401, "sk-secret is wrong"))
    assert "*** is wrong" in error.raw
    assert "sk-secret" not in error.raw


def test_what_is_kept_survives_a_process_boundary():
    body = json.dumps({"usage": USAGES["openai"]})
    again = pickle.loads(pickle.dumps(fail("openai", "call", Raw(body))))
    assert (again.raw, again.usage) == (body, Usage(7, 5))
