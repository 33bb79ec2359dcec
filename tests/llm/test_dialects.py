"""JSON Schema as providers take it."""

import datetime as dt
import enum
from typing import Annotated, Any, Literal

import jsonschema
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.llm.dialects import ANTHROPIC, OPENAI, in_dialect

DIALECTS = {"openai": OPENAI, "anthropic": ANTHROPIC}


@pytest.fixture(params=DIALECTS)
def dialect(request):
    return DIALECTS[request.param]


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Item(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=2, description="its name")
    number: int = pydantic.Field(ge=0, default=3)


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    when: dt.datetime | None = None


class Whole(pydantic.BaseModel):
    items: list[Item]
    one: Item = pydantic.Field(description="the one")
    color: Color = pydantic.Field(description="a color")
    pet: Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]
    either: Item | int = 3


class Tree(pydantic.BaseModel):
    value: int
    branches: list["Tree"] = []


def objects(schema):
    """Yield every schema in *schema* that describes an object."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for inner in schema.values():
            yield from objects(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from objects(inner)


@pytest.mark.parametrize("model", [Whole, Tree, Item])
def test_every_object_is_closed(model, dialect):
    said = in_dialect(model.model_json_schema(), dialect)
    found = list(objects(said))
    assert found
    assert all(each["additionalProperties"] is False for each in found)
    assert said["type"] == "object"
    for each in found:
        assert dialect is ANTHROPIC or each["required"] == list(each["properties"])


def keys(schema):
    if isinstance(schema, dict):
        for name, inner in schema.items():
            yield name, schema
            yield from keys(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from keys(inner)


@pytest.mark.parametrize("model", [Whole, Tree, Item])
def test_nothing_is_said_that_providers_refuse(model, dialect):
    said = in_dialect(model.model_json_schema(), dialect)
    names = {name for name, _ in keys(said)}
    assert not {"oneOf", "allOf", "default", "discriminator", "minLength"} & names
    assert dialect is OPENAI or "minimum" not in names
    assert all(set(schema) <= {"$ref"} for name, schema in keys(said) if name == "$ref")


def test_what_is_not_taken_is_put_in_words(dialect):
    name = in_dialect(Item.model_json_schema(), dialect)["properties"]["name"]
    assert name["description"] == "its name (minLength: 2)"
    number = in_dialect(Item.model_json_schema(), dialect)["properties"]["number"]
    assert number.get("minimum") == (0 if dialect is OPENAI else None)
    assert dialect is OPENAI or number["description"] == "minimum: 0"


def test_formats_that_are_known_stay(dialect):
    schema = {"type": "object", "properties": {"a": {"type": "string", "format": "date"}, "b": {"type": "string"}}}
    schema["properties"]["b"]["format"] = "path"
    said = in_dialect(schema, dialect)["properties"]
    assert said["a"] == {"type": "string", "format": "date"}
    assert said["b"] == {"type": "string", "description": "format: path"}


@pytest.mark.parametrize(
    "part",
    [
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"type": "object"},
        {"type": "array"},
        {"type": "array", "prefixItems": [{"type": "integer"}]},
        {"type": "string", "not": {"const": "a"}},
        {"allOf": [{"type": "string"}, {"minLength": 2}]},
        {},
        True,
        {"$ref": "#/nowhere", "description": "lost"},
    ],
)
def test_what_cannot_be_said_is_not_said_wrongly(part, dialect):
    assert in_dialect({"type": "object", "properties": {"a": part}}, dialect) is None


def test_the_schema_of_the_caller_stays_as_it_is(dialect):
    before, again = Whole.model_json_schema(), Whole.model_json_schema()
    in_dialect(before, dialect)
    assert before == again


def test_what_is_in_the_dialect_already_is_the_same():
    said = in_dialect(Whole.model_json_schema(), OPENAI)
    assert in_dialect(said, OPENAI) == said


wholes = st.builds(
    lambda items, one, color, pet, either: {"items": items, "one": one, "color": color, "pet": pet, "either": either},
    st.lists(st.fixed_dictionaries({"name": st.text(), "number": st.integers()}), max_size=2),
    st.fixed_dictionaries({"name": st.text(), "number": st.integers()}),
    st.sampled_from(["red", "blue", "green"]),
    st.one_of(
        st.fixed_dictionaries({"kind": st.just("cat"), "lives": st.integers()}),
        st.fixed_dictionaries({"kind": st.just("dog"), "when": st.none()}),
        st.just({"kind": "bird"}),
    ),
    st.integers() | st.none(),
)


@pytest.mark.parametrize("name", DIALECTS)
@given(data=wholes)
def test_what_fits_the_model_fits_what_is_said(name, data):
    """Of answers with all fields: what the model takes, a provider that holds to the schema can say."""
    said = in_dialect(Whole.model_json_schema(), DIALECTS[name])
    try:
        Whole.model_validate(data, strict=False)
    except pydantic.ValidationError:
        return
    jsonschema.validate(data, said)


def test_anything_at_all_is_no_schema_of_theirs(dialect):
    assert in_dialect(pydantic.TypeAdapter(Any).json_schema(), dialect) is None
