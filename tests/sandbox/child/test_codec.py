"""Values become JSON and values again; what comes from the other side is believed in nothing."""

import datetime as dt
import json
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import SimpleNamespace
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.sandbox.child.codec import CannotCrossError, Decoder, Encoder, MalformedError, dumps, loads

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=1 << 300, max_value=1 << 400)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(dt.UTC))
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.uuids()
)
hashable = leaves | st.tuples(leaves, leaves)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | hashable, inner)
        | st.sets(hashable)
        | st.frozensets(hashable)
        | st.dictionaries(st.sampled_from(["!tuple", "!", "a"]), inner)
    ),
    max_leaves=20,
)


def crossed(value):
    return Decoder().decode(loads(dumps(Encoder().encode(value))))


def same(one, other):
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(same, one.values(), other.values()))
    return one == other


@given(values)
def test_values_come_back_as_they_were(value):
    assert same(crossed(value), value)


@pytest.mark.parametrize(
    "value",
    [
        "\ud800",
        float("inf"),
        -0.0,
        range(1, 9, 2),
        slice(1, None),
        ...,
        NotImplemented,
        deque([1, 2], 3),
        OrderedDict(b=1, a=2),
        Counter("aab"),
        defaultdict(list, a=[1]),
        dt.time(1, 2, fold=1),
        dt.timezone(dt.timedelta(hours=2)),
        dt.datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Rome")),
        Path("/a/b"),
        PurePosixPath("a"),
        PureWindowsPath("c:/a"),
        bytearray(b"x"),
        UUID(int=5),
        SimpleNamespace(a=1, b=[2]),
        Fraction(1, 3),
        Decimal("NaN").__class__("1E+5"),
    ],
    ids=repr,
)
def test_other_types_come_back_as_well(value):
    assert same(crossed(value), value)
    assert repr(crossed(value)) == repr(value)


@pytest.mark.parametrize(
    "value",
    [
        np.arange(6.0).reshape(2, 3),
        np.arange(6).reshape(2, 3).T,
        np.array("text"),
        np.array([], dtype=np.int8),
        np.array(["2024-01-01"], dtype="datetime64[D]"),
        np.array([1, 2], dtype="timedelta64[25us]"),
        np.array([], dtype="datetime64"),
        np.array([[], []]),
        np.array([b"ab", b""]),
        np.array([1.5], dtype=">f4"),
        np.float32(0.5),
        np.bool_(True),
        np.int64(-3),
    ],
    ids=repr,
)
def test_arrays_and_numbers_of_numpy(value):
    found = crossed(value)
    assert type(found) is type(value)
    assert found.dtype == value.dtype
    assert np.array_equal(found, value)


def test_arrays_can_be_written_to():
    found = crossed(np.zeros(3))
    found[0] = 1
    assert found[0] == 1


class Text(str):
    __slots__ = ()

    def __eq__(self, other):
        return True

    __hash__ = str.__hash__

    def __str__(self):
        return "other"


class Items(list):
    def __iter__(self):
        raise AssertionError


class Number(int):
    def __int__(self):
        return 7


@pytest.mark.parametrize(("value", "plain"), [(Text("a"), "a"), (Items([1]), [1]), (Number(3), 3)])
def test_values_of_subclasses_are_plain_afterwards(value, plain):
    found = crossed(value)
    assert type(found) is type(plain)
    assert found == plain


def endless():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (object(), "an object"),
        (iter([]), "a list_iterator"),
        (len, "a builtin_function_or_method"),
        (endless(), "a value that is nested too deeply, or contains itself"),
        (np.array([object()]), "an object"),
        (np.array([(1, None)], dtype=[("a", int), ("b", object)]), "a numpy array of [('a', '<i8'), ('b', 'O')]"),
        ({"a": [object()]}, "an object"),
        (defaultdict(lambda: 1), "a defaultdict with a function of its own"),
    ],
)
def test_other_values_are_named(value, what):
    with pytest.raises(CannotCrossError) as caught:
        Encoder().encode(value)
    assert caught.value.what == what


@pytest.mark.parametrize(
    "form",
    [
        {"!object": ["os.system", {}]},
        {"!import": ["os", "system"]},
        {"!unknown": 1},
        {"!tuple": 3},
        {"!dict": [[1]]},
        {"!dict": [[[1], 2]]},
        {"!set": [[1]]},
        {"!int": "zz"},
        {"!int": "f" * 3_000_000},
        {"!bytes": "x"},
        {"!range": [0, {"!int": hex(1 << 300)}, 1]},
        {"!range": [0, 10**9, 1]},
        {"!range": [0, 1, 0]},
        {"!array": ["O", [1], "AAAA"]},
        {"!array": ["<f8", [10**9], "AAAA"]},
        {"!array": ["<f8,<i4", [1], "AAAAAAAAAAAAAAAA"]},
        {"!array": [["<f8"], [1], "AAAAAAAAAAA="]},
        {"!decimal": "1E+999999999"},
        {"!decimal": "1E-999999999"},
        {"!fraction": [1, 0]},
        {"!fraction": [{"!int": hex(3**100_000)}, {"!int": hex(2**200_000)}]},
        {"!fraction": [{"!int": hex(1 << 10_001)}, 3]},
        {"!fraction": ["1e1000000000", 1]},
        {"!namespace": [["__array_interface__", 1]]},
        {"!namespace": [["_opto_code", 1]]},
        {"!namespace": [[1, 1]]},
        {"!datetime": ["now", 0, None]},
        {"!datetime": ["2024-01-01", 0, "x"]},
        {"!timedelta": [10**12, 0, 0]},
        {"!zone": "../../etc/passwd"},
        {"!zone": "No/Where"},
        {"!zone": "Europe"},
        {"!zone": "x" * 5000},
        {"!array": ["<U1", [1], "/////w=="]},
        {"!array": [">U1", [1], "AQAAAA=="]},
        {"!numpy": ["<U1", [], "/////w=="]},
        {"!path": ["Popen", "x"]},
        {"!default": ["eval", []]},
        {"!dict": [[{"!int": hex(number * ((1 << 61) - 1))}, 0] for number in range(2000)]},
        {"!set": [*range(1, 1000), *({"!int": hex(number * ((1 << 61) - 1))} for number in range(300))]},
        {"!array": ["f8" + " " * 1000, [0], ""]},
        {"!complex": ["1", "2"]},
        {"!array": ["M8[D/0]", [1], "AAAAAAAAAAA="]},
        {"!array": ["<M8[0s]", [1], "AAAAAAAAAAA="]},
        {"!array": ["f8,f8", [1], "AAAAAAAAAAAAAAAAAAAAAA=="]},
        {"!array": ["<f8", [10**9, 0], ""]},
        {"!array": ["<f8", [10**4, 10**4, 0], ""]},
        {"!objects": [[0, 10**9], []]},
        {"!array": ["|S999999999", [0], ""]},
    ],
    ids=lambda form: json.dumps(form)[:40],
)
def test_forms_of_nothing_are_refused(form):
    with pytest.raises(MalformedError):
        Decoder().decode(form)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 5000, b"nothing"])
def test_what_is_no_message_is_refused(data):
    with pytest.raises(MalformedError):
        loads(data)


def test_whatever_is_raised_while_something_is_read_says_that_it_is_nothing():
    class Unusual(Exception):  # noqa: N818 - as libraries have them
        def __str__(self):
            return self.args[0]

    def other(_, content, __):
        raise Unusual(content)

    with pytest.raises(MalformedError, match="Unusual: x"):
        Decoder(other).decode({"!other": "x"})
    with pytest.raises(MalformedError, match="Unusual"):
        Decoder(other).decode({"!other": 1})


def test_long_numbers_are_refused_whatever_the_program_allows_itself():
    allowed = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        with pytest.raises(MalformedError, match="too many digits"):
            loads(b"1" * 5000)
        assert loads(b"1" * 4000) == int("1" * 4000)
    finally:
        sys.set_int_max_str_digits(allowed)
