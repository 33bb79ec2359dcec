"""A parameter that a model refuses by name is renamed or left out, once and for all."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from opto import errors
from opto.llm import LLM
from opto.testing import Action, Failure, LLMServer
from tests.llm.ways import ask

MAX_TOKENS = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
)


@pytest.fixture(params=["openai", "openai-responses", "anthropic"])
def provider(request):
    return request.param


def client(server, provider, **settings):
    url = server.anthropic_url if provider == "anthropic" else server.openai_url
    return LLM(f"{provider}:m", base_url=url, **settings)


@pytest.mark.parametrize(
    "failure",
    [
        Failure(400, MAX_TOKENS, "unsupported_parameter", param="max_tokens"),
        Failure(400, MAX_TOKENS),
        Failure(422, "body.max_tokens: Extra inputs are not permitted"),
    ],
)
def test_a_limit_gets_its_other_name(how, failure, caplog):
    with LLMServer([failure, "one", "two"]) as server, client(server, "openai", max_tokens=9) as llm:
        assert (ask(llm, how).text, ask(llm, how).text) == ("one", "two")
    sent = [{name: value for name, value in request.body.items() if "max" in name} for request in server.requests]
    assert sent == [{"max_tokens": 9}, {"max_completion_tokens": 9}, {"max_completion_tokens": 9}]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "openai:m refuses max_tokens and is sent max_completion_tokens instead" in record.message


@pytest.mark.parametrize(
    ("name", "failure"),
    [
        ("top_p", Failure(400, "`top_p` is deprecated for this model.")),
        ("temperature", Failure(400, "temperature is not supported", param="temperature")),
        ("seed", Failure(400, "Unknown parameter: 'seed'.", "unknown_parameter")),
        ("top_k", Failure(422, "top_k: Extra inputs are not permitted")),
        ("reasoning_effort", Failure(400, "Unrecognized request argument supplied: reasoning_effort")),
    ],
)
def test_what_only_shapes_an_answer_is_left_out(provider, name, failure, caplog):
    with LLMServer([failure, "one", "two"]) as server, client(server, provider, **{name: 0.5, "extra": 1}) as llm:
        replies = llm("hi"), asyncio.run(llm.acall("hi"))
    assert [(reply.text, reply.left_out) for reply in replies] == [("one", (name,)), ("two", (name,))]
    assert [name in request.body for request in server.requests] == [True, False, False]
    assert all(request.body["extra"] == 1 for request in server.requests)
    assert [f"refuses {name} and is asked without" in record.message for record in caplog.records] == [True]


@pytest.mark.parametrize(
    "failure",
    [
        Failure(400, "Unsupported value: 'temperature' does not support 0.5 with this model. Only the default (1)."),
        Failure(400, "No.", "unsupported_value", param="temperature"),
    ],
)
def test_a_value_that_is_refused_leaves_others(how, failure, caplog):
    with LLMServer([failure, "one", "two", "three"]) as server, client(server, "openai") as llm:
        texts = [ask(llm, how, temperature=heat).text for heat in (0.5, 1, 0.5)]
    assert texts == ["one", "two", "three"]
    assert [request.body.get("temperature") for request in server.requests] == [0.5, None, 1, None]
    assert [record.message.partition(" and ")[0] for record in caplog.records] == ["openai:m refuses temperature=0.5"]


def test_several_are_learned_in_turn(provider, how):
    refusals = [Failure(400, f"'{name}' is not supported.") for name in ("temperature", "top_p", "seed")]
    with LLMServer([*refusals, "one"]) as server, client(server, provider, temperature=0, top_p=1, seed=2) as llm:
        reply = ask(llm, how).text
    assert (reply, len(server.requests)) == ("one", 4)
    assert not {"temperature", "top_p", "seed"} & set(server.requests[-1].body)


def test_of_two_that_exclude_each_other_one_stays(provider):
    both = Failure(400, "`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    with LLMServer([both, "one", "two"]) as server, client(server, provider, top_p=0.5) as llm:
        llm("hi", temperature=0)
        llm("hi")
    sent = [{name for name in request.body if name in {"temperature", "top_p"}} for request in server.requests]
    assert sent == [{"temperature", "top_p"}, {"temperature"}, {"top_p"}]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 7}, "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 7."),
        ({"temperature": 1}, "The model `m` is not supported."),
        ({"stop": ["x"]}, "Unsupported parameter: 'stop' is not supported with this model."),
        ({"response_format": {"type": "text"}}, "'response_format' is not supported with this model."),
        ({"tools": []}, "This model does not support tools."),
        ({"temprature": 1}, "Unknown parameter: 'temprature'."),
        ({"seed": 1}, "Unknown parameter: 'top_p'."),
        ({"seed": 1}, "Unknown parameter: 'seeds'."),
    ],
)
def test_other_refusals_are_the_users_to_mend(provider, settings, message):
    with (
        LLMServer([Failure(400, message), "one"]) as server,
        client(server, provider, **settings) as llm,
        pytest.raises(errors.BadRequestError) as info,
    ):
        llm("hi")
    assert message.rstrip(".") in info.value.problem
    assert len(server.requests) == 1


def test_a_limit_under_neither_name_is_an_error():
    refuse = iter(["max_tokens", "max_completion_tokens"])
    with (
        LLMServer(lambda messages: Failure(400, f"Unsupported parameter: '{next(refuse)}'.")) as server,
        client(server, "openai", max_tokens=9) as llm,
        pytest.raises(errors.BadRequestError, match="max_completion_tokens"),
    ):
        llm("hi")
    assert len(server.requests) == 2


def test_the_obligatory_limit_of_anthropic_stays():
    with (
        LLMServer([Failure(400, "max_tokens: 8192 is not supported"), "one"]) as server,
        client(server, "anthropic") as llm,
        pytest.raises(errors.BadRequestError),
    ):
        llm("hi")
    assert len(server.requests) == 1


def test_what_one_model_refuses_another_gets():
    with (
        LLMServer([Failure(400, "'seed' is not supported"), "one", "two"]) as server,
        client(server, "openai", seed=1) as llm,
    ):
        llm("hi")
        llm("hi", model="other")
    assert ["seed" in request.body for request in server.requests] == [True, False, True]


def test_threads_that_learn_it_at_the_same_time_all_get_an_answer(caplog):
    class Answer(Action):
        async def play(self, exchange):
            if "seed" in exchange.request.body:
                await Failure(400, "'seed' is not supported").play(exchange)
            else:
                await exchange.write(exchange.answer("ok"))

    with (
        LLMServer(lambda messages: Answer()) as server,
        client(server, "openai", seed=1) as llm,
        ThreadPoolExecutor(8) as pool,
    ):
        texts = [reply.text for reply in pool.map(lambda _: llm("hi"), range(32))]
    assert texts == ["ok"] * 32
    assert len(caplog.records) == 1
