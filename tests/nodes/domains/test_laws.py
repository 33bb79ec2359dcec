"""The laws of domains, held against odd values of every kind: what is taken has its type, and comes back from text."""

import collections
import dataclasses
import datetime as dt
import enum
import math
import pathlib
import re
import typing
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pydantic
import pytest

from opto.errors import DomainError
from opto.nodes import Check, Range, Schema, Text, node
from opto.trace import Imports, bundle


class Level(enum.Enum):
    LOW = 1
    HIGH = 2


class Size(enum.IntEnum):
    S = 1
    L = 2


class Right(enum.Flag):
    R = 1
    W = 2


class Mode(enum.StrEnum):
    FAST = "fast"
    SLOW = "slow"


class Model(pydantic.BaseModel):
    a: int
    b: list[str] = []


@dataclasses.dataclass
class Settings:
    n: int
    when: dt.date | None = None
    tags: set[str] = dataclasses.field(default_factory=set)


class Whole(int):
    pass


EVEN = Check(lambda number: number % 2 == 0, "must be even")
OBJECT = Schema({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})

#: What parameters start as, and their domain.
STARTS = {
    "int": (1, None),
    "float": (1.5, None),
    "bool": (True, None),
    "text": ("hi", None),
    "any text": ("hi", str),
    "list": ([1], None),
    "tuple": ((1,), None),
    "dict": ({"a": 1}, None),
    "set": ({1}, None),
    "frozenset": (frozenset({1}), None),
    "bytes": (b"a", None),
    "float64": (np.float64(0.5), None),
    "float16": (np.float16(0.5), None),
    "int8": (np.int8(3), None),
    "bool_": (np.bool_(True), None),
    "Decimal": (Decimal("0.1"), None),
    "Fraction": (Fraction(1, 3), None),
    "enum": (Level.LOW, None),
    "IntEnum": (Size.S, None),
    "Flag": (Right.R, None),
    "StrEnum": (Mode.FAST, None),
    "date": (dt.date(2020, 1, 1), None),
    "datetime": (dt.datetime(2020, 1, 1, tzinfo=dt.UTC), None),
    "range of floats": (0.5, Range(0, 1)),
    "range of integers": (5, Range(1, 9)),
    "logarithmic": (0.1, Range(1e-4, 1, log=True)),
    "steps": (0.5, Range(0, 1, step=0.25)),
    "open": (1, Range(low=0)),
    "Python's range": (5, range(1, 10, 2)),
    "range of int8": (np.int8(4), Range(0, 100, step=4)),
    "range of Decimals": (Decimal("0.5"), Range(0, 1)),
    "options": ("a", ["a", "b", 1, True, None, 1.5]),
    "enum's members": (Level.LOW, Level),
    "literal": ("a", typing.Literal["a", 2]),
    "pattern": ("abc", re.compile("[a-z]+")),
    "placeholders": ("{q} x", Text(placeholders=True, max_length=50)),
    "kept": ("KEEP a", Text(keep="KEEP")),
    "annotation": ([1], list[int]),
    "optional": (1, int | None),
    "model": (Model(a=1), Model),
    "dataclass": (Settings(1), Settings),
    "JSON Schema": ({"a": 1}, OBJECT),
    "condition": (2, EVEN),
    "range and condition": (4, Range(0, 10) & EVEN),
    "text and pattern": ("abc", Text(max_length=4) & Text("[a-c]+")),
    "three": (4, [Range(0, 100), EVEN, Check(lambda number: number % 3, "must be no multiple of 3")]),
    "annotation and condition": ([1], Schema(list[int]) & Check(len, "must not be empty")),
}
#: May give values of several types.
OF_SEVERAL_TYPES = {"options", "literal", "optional"}

TEXTS = [
    *("7", " 7 ", "7.0", "7,5", "0x10", "1_000", "1e3", "1e400", "1e-400", "٣", "½", "+7", "--7", "lots", "", "   "),
    *("None", "null", "nan", "inf", "-inf", "Infinity", "true", "True", "TRUE", "yes", "no", "[1]", "[1,2,]", "(1,)"),
    *("{1}", "{}", "[]", "{'a': 1}", '{"a": 1}', '{"a": true}', '{"a": 1, "a": 2}', "```\n7\n```", "```json\n[1]\n```"),
    *("`7`", "'7'", '"a"', "a", "b", "A", "LOW", "Level.LOW", "Level.HIGH", "Size.L", "L", "R|W", "Right.R|Right.W"),
    *("fast", "Mode.SLOW", "slow", "1j", "b'x'", "2020-01-02", "2020-01-02T00:00", "20200102", "range(0, 5)", "0.1"),
    *("0.3333333333333333", "1/3", "1/0", "abc", "abc\n", "KEEP b", "{q}", "{q}{", "{q} {r}", "x" * 100, "\ud800"),
    *("5", "3", "9", "10", "0", "-1", "0.25", "0.3", "1", "8", "4", "100", "[" * 5000, "9" * 5000, "\0", "1;2"),
]
THINGS = [
    *(7, 7.0, 7.5, True, False, None, 1, 0, 1.0, -0.0, math.nan, math.inf, 10**400, 1j, [1], (1,), {1}, {"a": 1}),
    *(
        {"a": True},
        {"k": 1},
        {1: 2},
        b"x",
        bytearray(b"x"),
        np.float64(7),
        np.float32(0.1),
        np.int64(7),
        np.bool_(True),
    ),
    *(np.array(7), np.array([1]), np.str_("a"), Decimal(7), Decimal("0.1"), Decimal("NaN"), Fraction(7), Level.LOW),
    *(
        Level.HIGH,
        Size.S,
        Size.L,
        Right.R | Right.W,
        Mode.SLOW,
        dt.date(2020, 1, 1),
        dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
        Whole(7),
    ),
    *(
        Model(a=2),
        Settings(2),
        object(),
        len,
        int,
        [[1]],
        [True],
        ["7"],
        range(3),
        ...,
        NotImplemented,
        ValueError("no"),
    ),
    *(
        collections.OrderedDict(a=1),
        pathlib.Path("a"),
        {"a": 1, "b": []},
        [],
        {},
        "",
        frozenset(),
        2**53 + 1,
        4,
        8,
        0.5,
    ),
]


def taken(parameter, raw):
    """Return what *parameter* makes of *raw* in a list, or an empty one if it refuses with two sentences."""
    try:
        return [parameter.accept(raw)]
    except DomainError as caught:
        sentences = [caught.problem, caught.mend]
    assert all(sentence.endswith(".") for sentence in sentences)
    return []


@pytest.mark.parametrize("name", STARTS)
def test_whatever_comes_is_taken_whole_or_refused_with_a_reason(name):
    start, spec = STARTS[name]
    parameter = node(start, name="p", trainable=True, domain=spec)
    assert parameter.domain.describe()
    values = [(raw, value) for raw in [*TEXTS, *THINGS] for value in taken(parameter, raw)]
    assert values
    for raw, value in values:
        assert type(value) is type(parameter._data) or name in OF_SEVERAL_TYPES, (raw, value)
        # True is no number, and no number is a truth; a member of an enum is itself only.
        assert isinstance(raw, bool | np.bool_ | str) >= isinstance(value, bool | np.bool_), (raw, value)
        assert (
            isinstance(value, enum.Enum) or not isinstance(raw, enum.Enum) or name in {"options", "literal", "optional"}
        )
        if isinstance(raw, bool):
            assert isinstance(value, bool | np.bool_), (raw, value)
        if isinstance(value, float | np.floating | Decimal):
            assert value - value == 0  # else it is NaN, or infinite
        again = parameter.accept(parameter.domain.write(value))
        assert type(again) is type(value)
        assert again == value
    assert parameter.accept(parameter.domain.write(parameter._data)) == parameter._data


SOURCE = "def area(radius):\n    return 4\n"
SOURCES = [
    *(SOURCE, f"```python\n{SOURCE}```", "def area(r):\n    return 4\n", f"import os\n{SOURCE}", "", "  ", "x = 1"),
    *("def area(radius):\n  return (", "5", "radius", f"{SOURCE}\nimport numpy as np\n", f"{SOURCE}{SOURCE}"),
    *(
        "def area(radius):\n    import os\n    return 4",
        "def area(radius):\n    return __import__('os')",
        "lambda r: r",
    ),
    *(
        "async def area(radius):\n    return 4\n",
        "def area(radius, more=1):\n    return 4\n",
        "def other(radius): pass",
    ),
    *(
        "class area:\n    pass\n",
        f"if True:\n    {SOURCE[:18]} return 4\n",
        "\0",
        "\ud800",
        5,
        None,
        ["def"],
        b"x",
        len,
    ),
]


@pytest.mark.parametrize(
    "domain",
    [
        None,
        Text(max_length=500),
        Text(keep="return"),
        re.compile("(?s)def .*"),
        Imports("math"),
        Imports() & Text(max_lines=4),
        [Imports("math"), Check(lambda source: len(source) < 90, "must be short")],
        Check(lambda source: "os" not in source, "must not say os"),
        int | str,
        Schema({"type": "string"}),
    ],
    ids=str,
)
def test_a_trainable_function_stays_one_whatever_its_domain_adds(domain):
    @bundle(trainable=True, domain=domain)
    def area(radius):
        return 3 * radius**2

    sources = [source for raw in SOURCES for source in taken(area.parameter, raw)]
    for source in sources:
        scope = {}
        exec(compile(source, "source", "exec"), scope)  # what an optimizer would put in
        assert scope["area"].__code__.co_varnames[:1] == ("radius",)
        assert area.parameter.accept(source) == source
    assert SOURCE in sources
    if "Imports" in str(domain):
        assert not any("import" in source for source in sources)


@pytest.mark.parametrize(
    "domain", [int, ["a", "b"], Range(0, 1), range(3), list[int], Text(max_length=9), Text("x")], ids=str
)
def test_a_domain_that_no_source_lies_in_is_refused_at_once(domain):
    with pytest.raises(DomainError, match="Parameter 'area"):

        @bundle(trainable=True, domain=domain)
        def area(radius):
            return 3 * radius**2
