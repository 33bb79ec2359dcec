"""What a record holds can be put back into the parameters, wherever a domain can read it."""

import dataclasses
import datetime as dt
import enum
import json
import re
import typing
from decimal import Decimal

import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import DomainError
from opto.llm import ScriptedLLM
from opto.nodes import Check, Choices, Domain, Range, Schema, Text, node
from opto.optimizers import OPRO, Optimizer, OptoPrime, Proposal, Suggestion
from opto.optimizers.checks import recorded
from opto.runs import Run
from opto.trace import bundle


class Level(enum.Enum):
    LOW = 1
    HIGH = "high"


class Swapped(str, enum.Enum):  # noqa: UP042 - many programs have such ones
    A = "B"
    B = "A"


class Right(enum.Flag):
    R = 1
    W = 2


class Model(pydantic.BaseModel):
    n: int
    when: dt.date
    tags: set[str] = set()


@dataclasses.dataclass
class Settings:
    ratio: Decimal
    level: Level
    pair: tuple[int, str] = (1, "a")


class Roman(Domain):
    """A domain of a user, with a way to write of its own."""

    signs = ("I", "II", "III", "IV", "V")

    def read(self, raw):
        if raw not in self.signs:
            raise DomainError(f"{raw!r} is no Roman number.", mend="Give one.")
        return complex(self.signs.index(raw) + 1)

    def write(self, value):
        return self.signs[int(value.real) - 1]


ATOMS = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.none() | st.text()
NESTED = st.recursive(ATOMS, lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner), max_leaves=8)
OPTIONS = [("a", 1), ["a", 1], 1, True, "x", None]
TEXTS = st.text().filter(lambda text: text.strip() and "```" not in text)

KINDS = {
    "bool": (None, st.booleans()),
    "int": (None, st.integers()),
    "float": (None, st.floats(allow_nan=False, allow_infinity=False)),
    "text": (None, TEXTS),
    "any text": (str, st.text().filter(lambda text: "```" not in text)),
    "list": (None, st.lists(NESTED, max_size=3)),
    "tuple": (None, st.lists(NESTED, max_size=3).map(tuple)),
    "dict": (None, st.dictionaries(st.integers() | st.text(), NESTED, max_size=3)),
    "set": (None, st.sets(st.integers() | st.text(), max_size=4)),
    "frozenset": (None, st.frozensets(st.integers(), max_size=4)),
    "bytes": (None, st.binary(max_size=5)),
    "float64": (None, st.floats(allow_nan=False, allow_infinity=False).map(np.float64)),
    "float32": (None, st.floats(allow_nan=False, allow_infinity=False, width=32).map(np.float32)),
    "uint64": (None, st.integers(0, 2**64 - 1).map(np.uint64)),
    "Decimal": (None, st.decimals(allow_nan=False, allow_infinity=False)),
    "Fraction": (None, st.fractions()),
    "enum": (None, st.sampled_from(Level)),
    "swapped enum": (None, st.sampled_from(Swapped)),
    "flag": (None, st.sampled_from([Right.R, Right.W, Right.R | Right.W])),
    "date": (None, st.dates()),
    "options": (Choices(*OPTIONS), st.sampled_from(OPTIONS)),
    "literal": (typing.Literal["a", 2], st.sampled_from(["a", 2])),
    "integers": (Range(0, 99), st.integers(0, 99)),
    "Decimals": (Range(0, 1), st.decimals(0, 1)),
    "pattern": (re.compile("[a-z]+"), st.text("abc", min_size=1)),
    "condition": (Check(lambda value: value >= 0, "must not be negative"), st.decimals(0, 9)),
    "annotation": (dict[str, list[int]], st.dictionaries(st.text(), st.lists(st.integers(), max_size=2), max_size=2)),
    "union": (int | str | list[int], st.integers() | TEXTS | st.sampled_from(["7", "[1]", "null"])),
    "model": (Model, st.builds(Model, n=st.integers(), when=st.dates(), tags=st.sets(st.text(max_size=3), max_size=3))),
    "dataclass": (
        Settings,
        st.builds(Settings, st.decimals(0, 9, places=3), st.sampled_from(Level), st.tuples(st.integers(), st.text())),
    ),
    "JSON Schema": (Schema({"type": ["string", "integer"]}), st.integers() | st.sampled_from(["7", "a", "[1]"])),
    "both": (Text(max_length=9) & Check(str.isascii, "must be ASCII"), st.text("ab7 ", max_size=8).map("a".__add__)),
    "domain of a user": (Roman(), st.integers(1, 5).map(complex)),
}  # fmt: skip


class Repeating(Optimizer):
    """Proposes what it is given."""

    values_to_propose: typing.ClassVar = []

    def _propose(self, evidence):
        return Proposal(Suggestion({"p": self.values_to_propose.pop(0)}, ""))


def start(spec, value):
    """Return a parameter that starts as *value*."""
    if isinstance(spec, Roman):
        parameter = node("I", name="p", trainable=True, domain=spec)
        parameter._set(value)
        return parameter
    return node(value, name="p", trainable=True, domain=spec)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_what_is_recorded_makes_the_value_again(kind, data):
    spec, values = KINDS[kind]
    value = data.draw(values)
    parameter = start(spec, value)

    there = json.loads(json.dumps(recorded(parameter, value)))

    again = parameter.accept(there)
    assert type(again) is type(value)
    assert again == value
    assert parameter.domain.write(again) == parameter.domain.write(value), "inside as well: True is not 1"


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_can_be_gone_back_in_to_any_of_its_steps(kind, tmp_path):
    spec, values = KINDS[kind]
    drawn = []

    @given(values)
    def draw(value):
        drawn.append(value)

    draw()
    first, others = drawn[0], drawn[1:6]
    parameter = start(spec, first)
    optimizer = Repeating([parameter], run=tmp_path / "run", max_failures=99)
    optimizer.values_to_propose = [parameter.domain.write(value) for value in others]
    held = []
    for _ in others:
        held.append(parameter.data)
        optimizer.zero_feedback()
        optimizer.backward(bundle(lambda p: p)(parameter), "Another, please.")
        optimizer.step()

    for value, record in zip(held, Run(tmp_path / "run").steps(), strict=True):
        optimizer.restore(record.before)
        assert type(parameter.data) is type(value)
        assert parameter.data == value
        optimizer.restore(record.after)
        assert recorded(parameter, parameter.data) == record.after["p"]


def test_records_are_readable():
    cases = {
        "0.10": node(Decimal("0.10"), trainable=True),
        "Level.LOW": node(Level.LOW, trainable=True),
        "2020-01-02": node(dt.date(2020, 1, 2), trainable=True),
        0.5: node(np.float64(0.5), trainable=True),
        '["a", 1]': node(("a", 1), trainable=True),
        '{"n": 1, "when": "2020-01-02", "tags": ["a", "b"]}': node(
            Model(n=1, when=dt.date(2020, 1, 2), tags={"b", "a"}), trainable=True, domain=Model
        ),
    }
    for expected, parameter in cases.items():
        found = recorded(parameter, parameter.data)
        assert (found if isinstance(expected, float) or expected[0] not in "[{" else json.dumps(found)) == expected


def test_sets_have_one_form_in_whatever_order_they_were_filled():
    some, same = set([0, 8]), set([8, 0])  # noqa: C405 - an order is what this is about
    assert repr(some) != repr(same)
    assert recorded(node(some, trainable=True), some) == recorded(node(same, trainable=True), same) == "{0, 8}"


def test_what_no_domain_can_read_is_shown_as_it_is():
    array = node(np.ones(2), trainable=True)
    assert recorded(array, array.data) == [1.0, 1.0]
    anything = node(1j, trainable=True)
    assert recorded(anything, 1j) == "1j"


def test_a_domain_that_fails_is_no_reason_to_fail():
    class Broken(Domain):
        def write(self, value):
            raise RuntimeError("no")

    parameter = node("a", trainable=True, domain=Broken())
    assert recorded(parameter, "a") == "a"
    assert recorded(parameter, (1,)) == [1]


@pytest.mark.parametrize("kind", [OptoPrime, OPRO])
def test_the_values_in_force_are_known_in_the_memory_of_what_was_tried(kind):
    """By the same form: else what is in force would be shown as tried before, with other words."""
    level = node(Level.LOW, name="level", trainable=True)
    share = node(Decimal("0.5"), name="share", trainable=True, domain=Range(0, 1))
    llm = ScriptedLLM(["<variable><name>share</name><value>0.75</value></variable>"] * 3)
    optimizer = kind([level, share], llm)
    for _ in range(3):
        optimizer.zero_feedback()
        optimizer.backward(bundle(lambda a, b: f"{a} {b}")(level, share), "More.")
        optimizer.step()

    shown = optimizer.records[-1].messages[-1]["content"]
    assert "level = 'Level.LOW'\nshare = '0.5'\n-> More." in shown
    assert shown.count("share = '0.75'\n-> More.") == (kind is OPRO), "OPRO shows what is in force among the others"
    assert optimizer.records[1].before == {"level": "Level.LOW", "share": "0.75"}
