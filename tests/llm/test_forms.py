"""Answers in a form: what is sent for it, and what is read."""

import asyncio
import datetime as dt
import enum
import json
import pickle
import subprocess
import sys
from dataclasses import dataclass
from typing import Annotated, Literal, NotRequired

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import TypedDict

from opto.errors import AnswerError, BadRequestError, LLMError
from opto.llm import LLM, DummyLLM, Reply, ScriptedLLM, Usage, use_llm
from opto.llm.forms import form_of
from opto.testing import Cut, LLMServer


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Item(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=2, description="its name")
    number: int = pydantic.Field(ge=0, default=3)


class Order(pydantic.BaseModel):
    items: list[Item]
    color: Color
    when: dt.date | None = None


@dataclass
class Point:
    x: int
    y: int = 0


class Place(TypedDict):
    name: str
    street: NotRequired[str]


SCHEMA = {
    "title": "a place",
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}
STRICT_POINT = {
    "title": "Point",
    "type": "object",
    "properties": {"x": {"title": "X", "type": "integer"}, "y": {"title": "Y", "type": "integer"}},
    "required": ["x", "y"],
    "additionalProperties": False,
}


def ask(text, schema, **reply):
    return ScriptedLLM([Reply(text, "some-model", usage=Usage(7, 5), **reply)])("hi", schema=schema)


def sent(provider, **settings):
    with LLMServer(lambda messages: '{"x": 1}') as server:
        address = server.anthropic_url if provider == "anthropic" else server.openai_url
        with LLM(f"{provider}:m", base_url=address, **settings) as llm:
            replies = llm("hi"), asyncio.run(llm.acall("hi"))
    assert server.requests[0].body == server.requests[1].body
    return server.requests[0].body, replies


@pytest.mark.parametrize("provider", ["openai", "ollama"])
def test_chat_completions_are_asked_for_it(provider):
    body, replies = sent(provider, schema=Point)
    asked = {"name": "Point", "schema": STRICT_POINT, "strict": True}
    assert body["response_format"] == {"type": "json_schema", "json_schema": asked}
    assert [reply.value for reply in replies] == [Point(1), Point(1)]
    assert "schema" not in body


def test_responses_are_asked_for_it():
    body, replies = sent("openai-responses", schema=Point, text={"verbosity": "low"})
    asked = {"type": "json_schema", "name": "Point", "schema": STRICT_POINT, "strict": True}
    assert body["text"] == {"verbosity": "low", "format": asked}
    assert [reply.value for reply in replies] == [Point(1), Point(1)]


def test_anthropic_is_asked_for_it():
    body, replies = sent("anthropic", schema=Point, output_config={"effort": "low"})
    schema = {**STRICT_POINT, "required": ["x"]}
    assert body["output_config"] == {"effort": "low", "format": {"type": "json_schema", "schema": schema}}
    assert [reply.value for reply in replies] == [Point(1), Point(1)]


@pytest.mark.parametrize(
    ("provider", "settings"),
    [
        ("openai", {"response_format": {"type": "json_object"}}),
        ("openai-responses", {"text": {"format": {"type": "json_object"}}}),
        ("anthropic", {"output_config": {"format": {"type": "json_schema", "schema": {}}}}),
    ],
)
def test_a_form_that_is_asked_for_twice(provider, settings):
    with pytest.raises(BadRequestError, match="twice"):
        sent(provider, schema=Point, **settings)


def test_a_schema_of_ones_own_is_sent_as_it_is_and_strictly_only_if_it_is_strict():
    loose = {"type": "object", "properties": {"x": {"type": "integer", "default": 3}}}
    for schema, is_strict in [(SCHEMA, True), (loose, False)]:
        body, _ = sent("openai", schema=schema)
        asked = body["response_format"]["json_schema"]
        assert asked["schema"] == schema
        assert ("strict" in asked) is is_strict
    assert form_of(SCHEMA).name == "a_place"
    assert form_of(loose).name == "answer"


def test_what_cannot_be_strict_is_asked_for_all_the_same():
    class Prices(pydantic.BaseModel):
        by_name: dict[str, int]

    for schema in (Prices, list[int]):
        body, _ = sent("openai", schema=schema)
        asked = body["response_format"]["json_schema"]
        assert "strict" not in asked
        assert asked["schema"] == pydantic.TypeAdapter(schema).json_schema()


def test_functions_are_asked_in_the_way_that_they_can_be():
    seen = {}

    def with_schema(messages, schema=None):
        seen["schema"] = schema
        return '{"x": 1}'

    def with_anything(messages, **settings):
        seen.update(settings)
        return '{"x": 2}'

    assert DummyLLM(with_schema)("hi", schema=Point).value == Point(1)
    assert seen == {"schema": Point}
    seen.clear()
    assert DummyLLM(with_anything)("hi", schema=Point).value == Point(2)
    assert seen == {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "Point", "schema": STRICT_POINT, "strict": True},
        }
    }
    assert DummyLLM(lambda messages: '{"x": 3}')("hi", schema=Point).value == Point(3)


def test_a_call_may_have_another_form_than_its_client_or_none():
    with ScriptedLLM(['{"x": 1}', '{"name": "Ulm"}', '{"x": 1}'], schema=Point) as llm:
        assert llm("hi").value == Point(1)
        assert llm("hi", schema=SCHEMA).value == {"name": "Ulm"}
        assert llm("hi", schema=None).value == {"x": 1}


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        (Point, '{"x": 1, "y": 2}', Point(1, 2)),
        (Point, '```json\n{"x": 1}\n```', Point(1)),
        (Point, 'Here it is:\n\n```\n{"x": 1}\n```\nGood luck!', Point(1)),
        (Point, "I take [1] as {given}: {'x': 1,}. That is {it}.", Point(1)),
        (Point, '<think>{"x": 9}?</think>\n{"x": 1}', Point(1)),
        (Point, '{"reason": "no x"}\n{"x": 1}', Point(1)),
        (Point, '"{\\"x\\": 1}"', Point(1)),
        (Point, '\ufeff{"x": 1}', Point(1)),
        (list[int], "It is [1, 2].", [1, 2]),
        (Place, '{"name": "Ulm"}', {"name": "Ulm"}),
        (SCHEMA, '{"name": "a\nb"}', {"name": "a\nb"}),
        (
            Order,
            '{"items": [{"name": "pen"}], "color": "red", "when": "2026-11-22"}',
            Order(items=[Item(name="pen")], color=Color.RED, when=dt.date(2026, 11, 22)),
        ),
        (Literal["yes", "no"], '"yes"', "yes"),
        (str, '"one\ntwo"', "one\ntwo"),
        (Annotated[int, pydantic.Field(ge=3)], "4", 4),
        (int, "{'a': 1} 7", None),
    ],
)
def test_what_is_read(schema, text, value):
    reply = ask(text, schema)
    if value is None:
        with pytest.raises(AnswerError):
            assert reply.value
    else:
        assert reply.value == value
        assert type(reply.value) is type(value)
    assert reply.text == text


@pytest.mark.parametrize(
    ("schema", "text", "reason"),
    [
        (Point, "", "it is empty"),
        (Point, "I do not know.", "it holds no JSON"),
        (Point, '{"x": 1, "y"', "its JSON ends in the middle"),
        (Point, '{"x": oops}', "its JSON is broken"),
        (Point, '{"x": "one"}', "at x, Input should be a valid integer"),
        (Point, "[1, 2]", "Input should be"),
        (Point, '{"x": NaN}', "NaN"),
        (SCHEMA, '{"name": 3}', "at name, 3 is no string"),
        (SCHEMA, '{"street": ""}', "'name' is missing"),
        (
            Order,
            '{"items": [{"name": "p"}, {"name": "q"}, {"name": "r"}], "color": "green"}',
            "at items.0.name.*and 1 more",
        ),
    ],
)
def test_what_cannot_be_read_loses_nothing(schema, text, reason):
    reply = ask(text, schema)
    with pytest.raises(AnswerError, match=reason) as info:
        assert reply.value
    assert info.value.reply is reply
    assert (info.value.reply.text, info.value.reply.usage) == (text, Usage(7, 5))
    assert not isinstance(info.value, LLMError)
    assert isinstance(info.value, ValueError)
    assert "some-model" in info.value.problem


def test_a_part_of_what_was_cut_off_is_not_taken_for_the_whole():
    reply = ask('{"points": [{"x": 1}, {"x": 2', Point, finish_reason="length")
    with pytest.raises(AnswerError, match=r"was cut off.*Raise max_tokens"):
        assert reply.value


def test_a_whole_answer_is_read_though_the_limit_was_reached():
    assert ask('{"x": 1}', Point, finish_reason="length").value == Point(1)


def test_a_refusal_is_said():
    with pytest.raises(AnswerError, match=r"refused to answer: 'I will not.'.*Reword"):
        assert ask("I will not.", Point, finish_reason="refusal").value


def test_an_answer_that_breaks_off_on_the_wire_is_a_failed_call():
    with LLMServer([Cut('{"x": 1}')]) as server, LLM("m", base_url=server.openai_url, retries=0, schema=Point) as llm:
        with pytest.raises(LLMError) as info:
            llm("hi")
        assert info.value.raw


def test_without_a_form_any_json_is_read():
    assert Reply('Sure: {"a": [1]}', "m").value == {"a": [1]}
    with pytest.raises(AnswerError, match="is no JSON"):
        assert Reply("Sure.", "m").value


@pytest.mark.parametrize("schema", ["Point", 3, [1], {"type": {1}}, object(), b"x"])
def test_what_is_no_schema_is_refused_before_anything_is_sent(schema):
    with LLMServer(["no"]) as server, LLM("m", base_url=server.openai_url) as llm:
        with pytest.raises(BadRequestError, match="pydantic model, a dataclass, a TypedDict, or a JSON schema"):
            llm("hi", schema=schema)
        with pytest.raises(BadRequestError):
            asyncio.run(llm.acall("hi", schema=schema))
    assert server.requests == []


def test_replies_and_errors_survive_a_process_boundary():
    reply = ask('{"x": 1}', Point)
    assert pickle.loads(pickle.dumps(reply)).value == Point(1)
    with pytest.raises(AnswerError) as info:
        assert ask("no", SCHEMA).value
    again = pickle.loads(pickle.dumps(info.value))
    assert (str(again), again.reply.text) == (str(info.value), "no")


def test_programs_may_set_it_without_knowing_the_model():
    with use_llm(lambda messages: '{"x": 1}') as llm:
        assert llm("hi", schema=Point).value == Point(1)


def test_no_pydantic_where_there_is_no_class():
    program = (
        "import sys; from opto.llm import ScriptedLLM\n"
        "reply = ScriptedLLM(['{\"a\": 1}'])('hi', schema={'type': 'object'})\n"
        "assert reply.value == {'a': 1}\n"
        "assert 'pydantic' not in sys.modules, 'loaded'"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


json_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_data, max_size=4), st.sampled_from([None, 2]))
def test_whatever_json_says_is_read_as_it_is(data, indent):
    text = json.dumps(data, indent=indent)
    assert Reply(text, "m").value == data
    assert Reply(f"```json\n{text}\n```", "m").value == data


@given(st.text(alphabet='{}[]",:ab1 \\\n`'))
def test_any_text_gives_a_value_or_an_answer_error(text):
    try:
        value = Reply(text, "m", form=form_of(dict[str, int])).value
    except AnswerError as error:
        assert error.reply.text == text  # noqa: PT017 - either will do
    else:
        assert all(isinstance(item, int) for item in value.values())
