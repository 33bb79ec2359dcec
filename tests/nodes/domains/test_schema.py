"""Values with a structure come from text without loss: nothing changes its type, nothing is dropped."""

import copy
import dataclasses
import datetime as dt
import json
import pickle
from decimal import Decimal
from enum import Enum
from typing import Annotated, Literal

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opto.errors import DomainError
from opto.nodes import Choices, OfType, Schema, as_domain, node


class Mood(Enum):
    CALM = "calm"
    LOUD = 2


class Item(pydantic.BaseModel):
    name: str
    count: int = 1
    weight: float | None = None
    tags: frozenset[str] = frozenset()
    due: dt.date | None = None
    price: Decimal = Decimal(0)
    mood: Mood = Mood.CALM


class Lower(pydantic.BaseModel):
    name: Annotated[str, pydantic.AfterValidator(str.lower)]


class Loose(pydantic.BaseModel, extra="allow"):
    a: int


@dataclasses.dataclass
class Point:
    x: float
    label: str = "p"
    item: Item | None = None


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
ITEMS = st.builds(
    Item,
    name=st.text(st.characters(codec="utf-8")),
    count=st.integers(),
    weight=st.none() | FLOATS,
    tags=st.frozensets(st.text(st.characters(codec="utf-8"), max_size=3), max_size=3),
    due=st.none() | st.dates(),
    price=st.decimals(allow_nan=False, allow_infinity=False),
    mood=st.sampled_from(Mood),
)
TEXT = st.text(st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


def refusal(domain, raw):
    """Return the reason for which *domain* refuses *raw*."""
    with pytest.raises(DomainError) as caught:
        domain.accept(raw)
    assert caught.value.problem.endswith(".")
    assert caught.value.mend.endswith(".")
    assert "\n" not in str(caught.value)
    return caught.value.problem


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        (Item, ITEMS),
        (Point, st.builds(Point, x=FLOATS, label=TEXT, item=st.none() | ITEMS)),
        (list[int], st.lists(st.integers())),
        (dict[str, list[float]], st.dictionaries(TEXT, st.lists(FLOATS, max_size=3), max_size=3)),
        (dict[int, bool], st.dictionaries(st.integers(-(2**60), 2**60), st.booleans())),
        (tuple[int, str], st.tuples(st.integers(), TEXT)),
        (str | None, st.none() | TEXT),
        (int | str | None, st.none() | st.integers() | TEXT),
        (set[Mood], st.sets(st.sampled_from(Mood))),
    ],
    ids=str,
)
@settings(max_examples=40)
@given(data=st.data())
def test_what_a_schema_writes_it_reads_again(spec, values, data):
    value = data.draw(values)
    domain = Schema(spec)
    found = domain.accept(domain.write(value))
    assert found == value
    assert type(found) is type(value)
    assert repr(found) == repr(value) or "set" in repr(value) or isinstance(value, set)


@given(value=JSON)
def test_data_of_a_json_schema_are_read_as_they_were_written(value):
    domain = Schema({})
    assert repr(domain.accept(domain.write(value))) == repr(value)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ('{"name": "a", "count": "7"}', "at count"),
        ('{"name": "a", "count": 7.0}', "at count"),
        ('{"name": "a", "count": true}', "at count"),
        ('{"name": 7}', "at name"),
        ('{"count": 7}', "at name, Field required"),
        ('{"name": "a", "colour": "red"}', "at colour"),
        ('{"name": "a", "name": "b"}', "no JSON"),
        ("{'name': 'a', 'name': 'b'}", "no JSON"),
        ('{"name": "a", "weight": NaN}', "no JSON"),
        ('{"name": "a", "weight": 1e999}', "no JSON"),
        ('{"name": "a", "tags": ["x", "x"]}', "twice"),
        ('{"name": "a", "due": "2024-02-30"}', "at due"),
        ('{"name": "a", "mood": "LOUD"}', "at mood"),
        ('{"name": "a"', "no JSON"),
        ("", "no JSON"),
        ({"name": "a", "colour": "red"}, "at colour"),
        ({"name": "a", "count": True}, "at count"),
        ({"name": "a", "tags": frozenset("x"), "colour": "red"}, "at colour"),
        (3, "object"),
        (None, "object"),
    ],
)
def test_what_would_lose_or_guess_is_refused(raw, reason):
    assert reason in refusal(Schema(Item), raw)


def test_what_a_field_holds_deep_inside_is_not_dropped_either():
    assert "at item.colour" in refusal(Schema(Point), '{"x": 1, "item": {"name": "a", "colour": "red"}}')
    assert "twice" in refusal(Schema(list[Item]), '[{"name": "a", "tags": ["x", "x"]}]')


def test_sets_are_written_in_the_same_order_in_every_process():
    tags = [f"tag {number}" for number in range(20)]
    assert json.loads(Schema(Item).write(Item(name="a", tags=tags)))["tags"] == sorted(tags)
    assert json.loads(Schema(set[str]).write(set(tags))) == sorted(tags)


def test_what_a_model_keeps_without_naming_it_is_no_loss():
    found = Schema(Loose).accept('{"a": 1, "b": [2]}')
    assert found == Loose(a=1, b=[2])


@pytest.mark.parametrize(
    ("spec", "raw", "value"),
    [
        (Item, '```json\n{"name": "a"}\n```', Item(name="a")),
        (Item, "{'name': 'a', 'weight': None}", Item(name="a")),
        (Item, {"name": "a", "tags": ["x"]}, Item(name="a", tags={"x"})),
        (Item, {"name": "a", "tags": frozenset("x")}, Item(name="a", tags={"x"})),
        (Item, Item(name="a"), Item(name="a")),
        (Item, '{"name": "a", "price": "0.1000000000000000000001"}', Item(name="a", price="0.1000000000000000000001")),
        (tuple[int, str], "(2, 'b')", (2, "b")),
        (tuple[int, str], [2, "b"], (2, "b")),
        (str | None, "hello", "hello"),
        (str | None, '"null"', "null"),
        (str | None, "null", None),
        (str | None, "7", "7"),
        (dt.timedelta, "P2D", dt.timedelta(days=2)),
        (Annotated[int, pydantic.Field(gt=0)], "4", 4),
    ],
)  # fmt: skip
def test_text_and_data_are_read(spec, raw, value):
    assert repr(Schema(spec).accept(raw)) == repr(value)


def test_an_instance_counts_as_what_is_in_it():
    """Instances may have been built or changed without any check."""
    assert refusal(Schema(Item), Item.model_construct(name="a", count="many"))
    assert "another value" in refusal(Schema(Lower), Lower.model_construct(name="ADA"))
    assert refusal(Schema(Point), Point(x=float("nan")))
    assert refusal(Schema(Point), Point(x="far"))


def test_what_users_write():
    assert as_domain(Item, Item(name="a")) == Schema(Item)
    assert as_domain(Point, Point(1.0)) == Schema(Point)
    assert as_domain(list[int], [1]) == Schema(list[int])
    assert as_domain(int | None, 1) == Schema(int | None)
    assert as_domain(Literal["a", 1], "a") == Choices("a", 1)
    assert as_domain(None, Point(1.0)) == OfType(Point)
    parameter = node(Point(1.0), trainable=True, domain=Point)
    assert parameter.accept('{"x": 2}') == Point(2.0)
    assert copy.deepcopy(parameter).domain == parameter.domain == pickle.loads(pickle.dumps(parameter.domain))
    assert hash(parameter.domain) == hash(Schema(Point))


def test_what_cannot_be_checked_is_refused_at_once():
    class Odd:
        pass

    for wrong in (Odd, 3, list[Odd]):
        with pytest.raises(DomainError, match="pydantic can check"):
            Schema(wrong)


def test_words_for_schemas():
    words = Schema(Annotated[list[int], pydantic.Field(max_length=3)]).describe()
    assert words.startswith("JSON that fits the schema ")
    assert json.loads(words.removeprefix("JSON that fits the schema ")) == {
        "type": "array", "items": {"type": "integer"}, "maxItems": 3,
    }  # fmt: skip
    assert "title" not in Schema(Item).describe()


# JSON Schema.

EMBRACING = {
    "type": "object",
    "properties": {
        "n": {"type": "integer", "minimum": 0, "exclusiveMaximum": 10},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "uniqueItems": True, "maxItems": 3},
        "pair": {"prefixItems": [{"type": "string"}, {"type": "number"}], "items": False, "minItems": 2},
        "many": {"maxItems": 2},
        "either": {"oneOf": [{"type": "integer"}, {"const": 1}]},
        "name": {"type": ["string", "null"], "pattern": "^[a-z]", "maxLength": 4, "not": {"const": "bad"}},
    },
    "patternProperties": {"^x_": {"multipleOf": 0.1}},
    "propertyNames": {"minLength": 1},
    "required": ["n"],
    "additionalProperties": False,
    "$defs": {"tag": {"enum": ["a", "b", 1]}},
}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"n": 0}, None),
        ({"n": 9, "tags": ["a", 1], "pair": ["a", 2], "either": 2, "name": None, "x_": 0.3}, None),
        ({"n": 10}, "10 is not less than 10"),
        ({"n": -1}, "-1 is less than 0"),
        ({"n": True}, "at n, true is no integer"),
        ({"n": 1.0}, "at n, 1.0 is no integer"),
        ({}, "'n' is missing"),
        ({"n": 1, "z": 1}, "at z, nothing may stand here"),
        ({"n": 1, "tags": ["a", "c"]}, 'at tags.1, "c" is none of'),
        ({"n": 1, "tags": [True]}, "at tags.0, true is none of"),
        ({"n": 1, "tags": ["a", "a"]}, "twice"),
        ({"n": 1, "tags": ["a", "b", 1, 2]}, "none of"),
        ({"n": 1, "many": [1, 2, 3]}, "more items than 2"),
        ({"n": 1, "pair": ["a", 2, 3]}, "at pair.2"),
        ({"n": 1, "pair": ["a"]}, "fewer items than 2"),
        ({"n": 1, "either": 1}, "fits 2 of the alternatives"),
        ({"n": 1, "either": "x"}, "fits none of the alternatives"),
        ({"n": 1, "name": "A"}, "does not match"),
        ({"n": 1, "name": "abcde"}, "more characters than 4"),
        ({"n": 1, "name": "bad"}, "what must not be"),
        ({"n": 1, "x_": 0.35}, "no multiple of 0.1"),
        ([], "is no object"),
        ({"n": (1,)}, "no data of JSON"),
    ],
)  # fmt: skip
def test_every_keyword_is_checked(data, reason):
    domain = Schema(EMBRACING)
    if reason is None:
        assert domain.accept(data) == domain.accept(json.dumps(data)) == data
    else:
        assert reason in refusal(domain, data)


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "strin"},
        {"if": {}},
        {"format": "date"},
        {"properties": {"a": {"fromat": "date"}}},
        {"properties": []},
        {"items": 3},
        {"pattern": "("},
        {"minimum": "1"},
        {"multipleOf": 0},
        {"required": "a"},
        {"$ref": "#/$defs/none"},
        {"$ref": "https://example.com/schema"},
        {"const": (1,)},
    ],
    ids=str,
)
def test_a_schema_that_says_more_than_is_checked_is_refused(wrong):
    with pytest.raises(DomainError):
        Schema(wrong)


def test_data_may_be_nested_as_deep_as_the_schema_says():
    tree = Schema({"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}})
    assert tree.accept("[[], [[]]]") == [[], [[]]]
    assert "at 1.0, 3 is no array" in refusal(tree, "[[], [3]]")
    assert refusal(tree, "[" * 100_000)
    assert "nested too deeply" in refusal(Schema({"$ref": "#"}), "1")
