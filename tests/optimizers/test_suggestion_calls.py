"""Suggestions as calls of a tool: what providers are told, and what is read from their calls."""

import asyncio
import json
from enum import Enum

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import BadRequestError, SuggestionError
from opto.llm import LLM, Reply, ScriptedLLM
from opto.nodes import Check, Range, node
from opto.optimizers import OptoPrime
from opto.optimizers.suggestion import FORMATS, Suggestion, read_arguments, read_reply, schema, suggest_tool
from opto.testing import Failure, LLMServer


class Shade(Enum):
    DARK = 1


VARIABLES = {
    name: node(value, name=name, trainable=True, domain=domain, description=description)
    for name, value, domain, description in (
        ("prompt", "Be brief.", None, "what the model is told"),
        ("limit", 3, Range(0, 9), None),
        ("rate", 0.5, Range(0, 1), None),
        ("strict", True, None, None),
        ("mode", "fast", ["fast", "slow"], None),
        ("sizes", [1, 2], None, None),
        ("by_name", {"a": 1}, None, None),
        ("shade", Shade.DARK, None, None),
        ("anything", None, None, None),
    )
}
GOOD = {"limit": 4, "rate": 0.25, "strict": False, "mode": "slow", "sizes": [3], "by_name": {"b": 2}, "prompt": "Hi"}
CALL = json.dumps({"reasoning": "Less is more.", "suggestion": GOOD})
#: A part of the schema that says what a value must not be, and such a value.
BAD = [("limit", 10), ("limit", 2.5), ("rate", "low"), ("strict", 1), ("mode", "medium"), ("sizes", 7), ("other", 1)]


def test_the_schema_lets_through_what_the_domains_do():
    checker = jsonschema.Draft202012Validator
    checker.check_schema(schema(VARIABLES))

    assert checker(schema(VARIABLES)).is_valid(json.loads(CALL))
    assert checker(schema(VARIABLES)).is_valid({"reasoning": "It is good.", "suggestion": {}})
    for name, value in BAD:
        assert not checker(schema(VARIABLES)).is_valid({"reasoning": "r", "suggestion": {name: value}}), name
    assert not checker(schema(VARIABLES)).is_valid({"suggestion": GOOD})


def test_what_a_schema_cannot_say_stands_in_the_descriptions():
    described = schema(VARIABLES)["properties"]["suggestion"]["properties"]

    assert described["prompt"] == {"type": "string", "description": "a text; what the model is told"}
    assert described["anything"] == {"description": "anything"}


def test_names_that_providers_do_not_take_for_properties_become_values():
    variables = {"größe": node(3, trainable=True), "limit": VARIABLES["limit"]}
    call = {"reasoning": "r", "suggestion": [{"name": "größe", "value": 4}]}

    assert jsonschema.Draft202012Validator(schema(variables)).is_valid(call)
    assert not jsonschema.Draft202012Validator(schema(variables)).is_valid(
        {"reasoning": "r", "suggestion": [{"name": "groesse", "value": 4}]}
    )
    assert read_arguments(call).values == {"größe": 4}


data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(min_size=1, max_size=5), data, max_size=3), st.text())
def test_what_a_tool_is_called_with_is_read_as_it_is(values, reasoning):
    call = {"reasoning": reasoning, "suggestion": values}

    assert read_arguments(call) == read_arguments(json.dumps(call)) == Suggestion(values, reasoning)


def test_a_call_that_was_cut_is_never_a_value():
    for end in range(len(CALL)):
        with pytest.raises(SuggestionError):
            read_arguments(CALL[:end])
    # As a provider makes objects of calls that were cut.
    for call in ({}, {"reasoning": "Less is more."}, {"suggestion": GOOD}):
        with pytest.raises(SuggestionError, match="has no 'reasoning' and 'suggestion'"):
            read_arguments(call)


def asked(server, protocol):
    if protocol == "openai":
        return LLM("some-model", base_url=server.openai_url)
    return LLM("anthropic:some-model", base_url=server.anthropic_url, api_key="sk-test")


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
@pytest.mark.parametrize("how", ["blocking", "async"])
def test_a_model_calls_the_tool_through_its_sdk(protocol, how):
    tool = suggest_tool(VARIABLES)
    with LLMServer([Reply("", "some-model", arguments=CALL, finish_reason="tool")]) as server:
        with asked(server, protocol) as llm:
            reply = llm("Improve it.", tool=tool) if how == "blocking" else asyncio.run(_ask(llm, tool))
        body = server.requests[0].body

    assert json.loads(reply.arguments) == json.loads(CALL)
    assert (reply.text, reply.finish_reason) == ("", "tool")
    assert read_reply(reply, VARIABLES) == Suggestion(GOOD, "Less is more.")
    assert "tool" not in body
    if protocol == "openai":
        assert body["tools"][0]["function"]["parameters"] == schema(VARIABLES)
        assert body["tool_choice"] == {"type": "function", "function": {"name": "suggest"}}
    else:
        assert body["tools"][0]["input_schema"] == schema(VARIABLES)
        assert body["tool_choice"] == {"type": "tool", "name": "suggest"}


async def _ask(llm, tool):
    async with llm:
        return await llm.acall("Improve it.", tool=tool)


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
def test_a_model_that_answers_in_words_is_read_all_the_same(protocol):
    with LLMServer([FORMATS["json"].write(Suggestion(GOOD, "r"))]) as server, asked(server, protocol) as llm:
        reply = llm("Improve it.", tool=suggest_tool(VARIABLES))

    assert reply.arguments is None
    assert read_reply(reply, VARIABLES).values == GOOD


def test_a_function_in_place_of_a_model_gets_the_tool_if_it_takes_tools():
    def plain(messages):
        return "hello"

    def calling(messages, tools, tool_choice):
        function = {"name": tool_choice["function"]["name"], "arguments": CALL}
        message = {"content": None, "tool_calls": [{"type": "function", "function": function}]}
        return {"choices": [{"message": message, "finish_reason": "tool_calls"}]}

    from opto.llm import DummyLLM

    assert DummyLLM(plain)("Improve it.", tool=suggest_tool(VARIABLES)).text == "hello"
    assert read_reply(DummyLLM(calling)("Improve it.", tool=suggest_tool(VARIABLES)), VARIABLES).values == GOOD


def test_a_script_sees_the_tool():
    llm = ScriptedLLM([Reply("", "script", arguments=CALL)])

    assert read_reply(llm("Improve it.", tool=suggest_tool(VARIABLES)), VARIABLES).values == GOOD
    assert llm.calls[0].settings["tool"].name == "suggest"


def improved(llm):
    """Return an `OptoPrime` that asks for calls, what its step did, and the parameter."""
    limit = node(3, name="limit", trainable=True, domain=Range(0, 9))
    optimizer = OptoPrime([limit], llm, answer_format="tool")
    optimizer.backward(limit * 2, "The output should be 8.")
    return optimizer, optimizer.step(), limit


LIMIT = json.dumps({"reasoning": "Twice 4 is 8.", "suggestion": {"limit": 4}})


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
def test_an_optimizer_asks_for_a_call_and_sends_a_bad_one_back(protocol):
    bad = json.dumps({"reasoning": "No suggestion."})
    replies = [Reply("", "some-model", arguments=text, finish_reason="tool") for text in (bad, LIMIT)]
    with LLMServer(replies) as server, asked(server, protocol) as llm:
        _, step, limit = improved(llm)
        again = server.requests[1].messages

    assert (step.outcome, limit.data, step.reasoning) == ("updated", 4, "Twice 4 is 8.")
    assert json.loads(step.reply) == json.loads(LIMIT)
    assert json.loads(again[-2]["content"]) == json.loads(bad)
    assert "has no 'reasoning' and 'suggestion'" in again[-1]["content"]


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
def test_an_optimizer_asks_in_words_where_tools_are_refused(protocol):
    with LLMServer([Failure(400, "This model does not support tools."), LIMIT, LIMIT]) as server:
        with asked(server, protocol) as llm:
            optimizer, step, limit = improved(llm)
            optimizer.backward(limit * 3, "The output should be 12.")
            optimizer.step()
        with_tools = ["tools" in request.body for request in server.requests]

    assert (step.outcome, limit.data) == ("updated", 4)
    assert with_tools == [True, False, False], "it is asked once whether tools are taken"


def test_a_request_that_is_bad_in_itself_is_an_error():
    replies = [Failure(400, "No such model.")] * 2
    with LLMServer(replies) as server, asked(server, "openai") as llm, pytest.raises(BadRequestError, match="No such"):
        improved(llm)


def test_open_ends_and_conditions_leave_a_schema_that_json_can_hold():
    variables = {
        "size": node(3, trainable=True, domain=Range(0, None)),
        "odd": node(3, trainable=True, domain=[Range(1, 9), Check(lambda n: n % 2, "must be odd")]),
    }
    text = json.dumps(schema(variables), allow_nan=False)
    assert '"minimum": 0' in text
    assert '"maximum": 9' in text
    assert "Infinity" not in text
    assert "must be odd" in text
