"""What makes two requests the same."""

import dataclasses
import datetime as dt
import decimal
import enum
import functools
import math
import pathlib

import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import CassetteError
from opto.llm import Tool
from opto.llm.cassettes import Request
from opto.llm.forms import form_of
from tests.llm.cassettes.made import asking


class Answer(pydantic.BaseModel):
    reason: str
    score: float


@dataclasses.dataclass
class Point:
    x: int
    tags: set[str] = dataclasses.field(default_factory=set)


class Color(enum.Enum):
    RED = "red"


def test_the_key_is_that_of_the_whole_request():
    one = asking("hello", temperature=0.5)
    others = [
        asking("hello ", temperature=0.5),
        asking("hello", temperature=0.6),
        asking("hello", model="openai:n", temperature=0.5),
        asking("hello", temperature=0.5, seed=0),
        asking("hello", temperature=0.5, rollout=1),
        Request("openai:m", [{"role": "system", "content": "hello"}], {"temperature": 0.5}),
    ]

    assert len({one.key, *(other.key for other in others)}) == 7
    assert one.key == asking("hello", temperature=0.5, rollout=0).key
    assert len(one.key) == 64


def test_what_cannot_change_the_answer_is_no_part_of_it():
    plain = asking(temperature=1)

    more = {"retries": 3, "deadline": 9.0, "timeout": 1, "extra_headers": {"x": "y"}, "api_key": "k", "base_url": "u"}
    assert asking(temperature=1.0, **more).key == plain.key
    assert set(asking(**more).content["settings"]) == set()


def test_the_order_of_names_is_no_part_of_it_but_that_of_properties_is():
    assert asking(a=1, b={"x": 1, "y": 2}).key == asking(b={"y": 2, "x": 1}, a=1).key
    one, other = ({"type": "object", "properties": {key: {} for key in names}} for names in ("ab", "ba"))
    assert asking(schema=one).key != asking(schema=other).key, "models write them in this order"


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Answer, Answer.model_json_schema()),
        (Answer(reason="r", score=1), {"reason": "r", "score": 1}),
        (Tool("t", "d", {"type": "object"}), {"name": "t", "description": "d", "parameters": {"type": "object"}}),
        (Point(1, {"b", "a"}), {"tags": ["a", "b"], "x": 1}),
        (Color.RED, "red"),
        (2.0, 2),
        (math.inf, {"$float": "inf"}),
        (True, True),
        ((1, 2), [1, 2]),
        (np.float32(0.5), 0.5),
        (np.array([1, 2]), [1, 2]),
        (decimal.Decimal("1.10"), {"$Decimal": "1.10"}),
        (dt.date(2026, 1, 2), {"$date": "2026-01-02"}),
        (pathlib.PurePosixPath("/a"), {"$PurePosixPath": "/a"}),
        (math.sqrt, {"$function": "math.sqrt"}),
        (list[int], {"$type": "list[int]"}),
        (b"abc", {"$bytes": "sha256 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad, 3 bytes"}),
    ],
    ids=lambda item: type(item).__name__,
)
def test_what_is_no_json_has_a_form_that_stays(value, plain):
    assert asking(setting=value).content["settings"]["setting"] == plain


def test_a_schema_is_that_of_json_however_it_is_given():
    for schema in (Answer, form_of(Answer), Answer.model_json_schema()):
        assert asking(schema=schema).key == asking(schema=Answer).key
    assert asking(schema=list[int]).content["settings"]["schema"] == {"type": "array", "items": {"type": "integer"}}


def test_a_class_is_told_by_what_it_says_of_its_fields():
    told = asking(kind=Point).content["settings"]["kind"]

    assert told == {"$class": f"{Point.__module__}.Point", "x": "int", "tags": "set[str]"}


def test_what_has_no_form_is_refused_by_its_place():
    request = Request("m", [{"role": "user", "content": [{"type": "image", "image": object()}]}])

    with pytest.raises(CassetteError, match=r"messages\[0\]\.content\[0\]\.image is a object, which has no form"):
        request.key
    assert request.leniently().content["messages"][0]["content"][0]["image"] == {"$object": "builtins.object"}
    with pytest.raises(CassetteError, match=r"settings\.f is a partial"):
        asking(f=functools.partial(print)).key


def test_pictures_are_told_by_their_hash():
    picture = "iVBORw0KGgo" * 100
    parts = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": picture}},
    ]
    request, other = asking(parts), asking([parts[0], {**parts[1], "source": {"data": picture + "AAAA"}}])

    assert len(request.text) < 600
    assert "data:image/png;base64,(sha256 " in request.text
    assert "1100 bytes" in request.text
    assert request.key != other.key
    prose = "All work and no play makes Jack a dull boy. " * 30
    assert prose in asking(prose).text


@pytest.mark.parametrize("rollout", [-1, 1.0, True, "1"])
def test_a_rollout_is_a_number(rollout):
    with pytest.raises(CassetteError, match="is no number"):
        asking(rollout=rollout)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.text(), st.dictionaries(st.text(max_size=8), JSON, max_size=3))
def test_what_is_stored_has_the_key_of_what_was_asked(content, settings):
    request = asking(content, **{f"s{name}": value for name, value in settings.items()})

    assert Request(**request.content).key == request.key
