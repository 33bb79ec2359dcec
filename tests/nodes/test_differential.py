"""Small programs run twice, untraced and on nodes: same value, same type, same exception, and feedback arrives."""

import copy
import itertools
import json  # noqa: F401 - for the programs, as are the next
import math
import operator
import os  # noqa: F401
import re
import statistics  # noqa: F401
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, defaultdict, deque
from dataclasses import dataclass, field, replace  # noqa: F401
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import cached_property, reduce  # noqa: F401
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.nodes import Node, backward, node, unpack
from opto.nodes.operators import BINARY, IN_PLACE, UNARY

DAY, LATER = datetime(2020, 1, 2, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)


@dataclass
class Inner:
    size: int = 1
    tags: list = field(default_factory=list)


@dataclass(frozen=True, slots=True, order=True)
class Frozen:
    size: int
    inner: tuple = ()


class Pair(NamedTuple):
    left: int
    right: str = "r"


class Colour(Enum):
    RED = "r"


class Meter:
    """All that a class can do by itself."""

    limit = 9

    def __init__(self, size):
        self.size = size

    @property
    def twice(self):
        return self.size * 2

    @cached_property
    def kept(self):
        return self.size + 1

    @classmethod
    def made(cls, size):
        return size + 1

    @staticmethod
    def fixed(size):
        return size + 2

    def plus(self, first, *more, **named):
        return self.size + first + sum(more) + sum(named.values())

    def __call__(self, factor):
        return self.size * factor

    def __enter__(self):
        return self.size

    def __exit__(self, *error):
        return False

    def __getitem__(self, key):
        return (self.size, key)

    def __iter__(self):
        yield from "abc"

    def __reversed__(self):
        yield from "cba"

    def __len__(self):
        return 7

    def __bool__(self):
        return self.size > 2

    def __contains__(self, item):
        return item == self.size

    def __int__(self):
        return self.size

    __index__ = __int__

    def __complex__(self):
        return complex(self.size, 1)

    def __bytes__(self):
        return b"meter"

    def __format__(self, spec):
        return f"{spec}:{self.size}"

    def __fspath__(self):
        return f"/{self.size}"

    def __add__(self, other):
        return ("add", self.size, other)

    def __radd__(self, other):
        return ("radd", self.size, other)

    def __matmul__(self, other):
        return ("matmul", self.size, other)

    def __round__(self, digits=None):
        return ("round", digits)

    def __lt__(self, other):
        return ("lt", other)


class Computed:
    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return name * 2


class Numbers(list):
    def first(self):
        return self[0]


class Pages:
    """Is iterated over other things than it is indexed by."""

    def __init__(self):
        self.rows = {"a": 1, "b": 2}

    def __getitem__(self, key):
        return self.rows[key]

    def __iter__(self):
        return iter(self.rows.values())

    def __len__(self):
        return len(self.rows)


class OldSequence:
    """Is iterated by index, until that fails; has no length."""

    def __getitem__(self, index):
        if index > 2:
            raise IndexError(index)
        return index * 10


class Failing:
    def __iter__(self):
        yield 1
        raise KeyError("no more")


def endless():
    """Yield what only those see the end of who ask for more than they were to."""
    yield from range(100)
    raise AssertionError


def walk(value, visit):
    """Call *visit* with each node in *value*, and return *value* without them."""
    if isinstance(value, Node):
        visit(value)
        return walk(unpack(value), visit)
    if type(value) in {list, tuple, set}:
        return type(value)(walk(item, visit) for item in value)
    if type(value) is dict:
        return {walk(key, visit): walk(item, visit) for key, item in value.items()}
    return value


def fresh(value):
    """Return a value like *value* that no other program has changed; what a lambda gives, if it is one."""
    if getattr(value, "__name__", "") == "<lambda>":
        return value()
    return value if isinstance(value, MappingProxyType) else copy.deepcopy(value)


def same(left, right):
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and repr(left) == repr(right)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return repr(left) == repr(right) or bool(left == right) or vars(left) == vars(right)


def outcome(program, values):
    try:
        return program(*values), None
    except Exception as error:
        return None, error


def compare(program, make, traced):
    """Run *program* on the values that *make* gives, those marked in *traced* as nodes, and untraced; compare."""
    expected, error = outcome(program, make())
    values = [node(value, trainable=True) if flag else value for value, flag in zip(make(), traced, strict=True)]
    found, raised = outcome(program, values)
    assert isinstance(raised, type(error)), f"{error!r} became {raised!r}"
    nodes = []
    assert same(walk(found, nodes.append), expected), f"{expected!r} became {found!r}"
    if nodes:
        backward(nodes, ["feedback"] * len(nodes))
        for value, flag in zip(values, traced, strict=True):
            assert not flag or value.feedback, f"no feedback for {value!r} from {found!r}"
    return found, raised


# Every operator of the table, on every pair of kinds.

KINDS = [
    *(7, -3, 2.5, 1 + 2j, True, "ab", b"ab", [3, 1], (1, 2), {"a": 1}, {1, 2}, frozenset({1}), range(3), None),
    *(deque([1]), Counter("aab"), bytearray(b"xy"), timedelta(1), Decimal("1.5"), Fraction(1, 3), UserList([1])),
    *(np.array([1.0, 2.0]), np.array([1, 2]), np.float64(1.5), PurePosixPath("/a"), MappingProxyType({"a": 1})),
]


def is_for_python(method, left, right):
    """True if a plain value on the left decides by itself what happens, before it asks the node; see `DIFFERENCES`."""
    if isinstance(left, np.generic) or isinstance(right, np.generic | np.ndarray):
        # numpy's scalars have rules of their own for each class on the other side.
        return isinstance(left, bytearray | complex | Decimal | Fraction | np.generic)
    if isinstance(left, str | bytes | bytearray):
        return method == "__mod__"
    return (isinstance(left, Fraction) and method == "__pow__") or isinstance(left, UserList)


@pytest.mark.parametrize("method", [*BINARY, "__eq__", "__ne__", "__getitem__"])
def test_two_values_of_all_kinds(method):
    compute = divmod if method == "__divmod__" else getattr(operator, method)
    for left, right in itertools.product(KINDS, repeat=2):
        for traced in [(True, False), (True, True), (False, True)]:
            if traced == (False, True) and (method == "__getitem__" or is_for_python(method, left, right)):
                continue
            compare(compute, lambda: [fresh(left), fresh(right)], traced)  # noqa: B023 - called at once


@pytest.mark.parametrize("method", IN_PLACE)
def test_in_place_forms_of_all_kinds(method):
    change = getattr(operator, method)
    for left, right in itertools.product(KINDS, repeat=2):
        for traced in [(True, False), (True, True)]:
            compare(change, lambda: [fresh(left), fresh(right)], traced)  # noqa: B023 - called at once
        # The node keeps its value, of which the result is a changed copy.
        x = node(fresh(left))
        outcome(change, [x, right])
        assert same(x.data, left)


@pytest.mark.parametrize("method", UNARY)
def test_one_value_of_all_kinds(method):
    compute = getattr(operator, method, None) or getattr(math, method.strip("_"))
    for value in KINDS:
        compare(compute, lambda: [fresh(value)], [True])  # noqa: B023 - called at once


# Programs as people write them, by the value of x; y and z are further inputs.

TEXT = "Hello {name}, %s: a,b"
PROGRAMS = [
    # Text.
    *((f"x.{call}", TEXT) for call in ["upper()", "split()", "split(',', 1)", "partition(',')", "splitlines()"]),
    *((f"x.{call}", TEXT) for call in ["encode()", "zfill(40)", "find('l')", "rindex('zz')", "isdigit()", "title()"]),
    *((f"x.{call}", TEXT) for call in ["startswith(('H', 'x'))", "translate({97: 98})", "format_map({'name': 1})"]),
    *(("x.replace(y, z)", TEXT, "l", "L"), ("x.count(y)", TEXT, "l"), ("x.center(y, z)", "a", 9, "*")),
    *(("x.format(y, name=z)", "{}{name}", 1, 2), ("x.join([y, z])", "-", "a", "b"), ("x % (y, z)", "%s %d", "a", 3)),
    *(("'a' + x", "b"), ("x * y", "ab", 3), ("x[y:z]", "abcdef", 1, 3), ("x[::-1]", "abc"), ("x < 'b'", "a")),
    *(("[c for c in x]", "abc"), ("x[9]", "abc"), ("x + 1", "abc"), ("1 + x", "abc")),
    # Sequences.
    *(("[*x, *x]", value) for value in ([1, 2], (1, 2), "ab", b"ab", range(2), deque([1]), Pair(1), np.arange(2))),
    *(("[*x]", value) for value in (Numbers([1]), UserList([1]), OldSequence(), Pages(), Meter(1), {1: 2}, {1}, {})),
    *(("[*reversed(x)]", value) for value in ([1, 2], "ab", {"a": 1, "b": 2}, range(3), Meter(1), {1}, 5, deque("ab"))),
    *(("x[0] + x[-1]", [1, 2, 3]), ("x[1:]", (1, 2)), ("x[y]", [1, 2], 1), ("x[y, z]", np.eye(3), 1, 2)),
    *(("sorted(x)", [2, 1]), ("sorted(x, key=lambda i: -i, reverse=True)", [2, 1]), ("max(x, key=abs)", [-3, 1])),
    *(("min(x) + max(x) + sum(x)", [1, 2]), ("sum(x) / len(x)", [1, 2]), ("[*map(lambda i: i * 2, x)]", (1, 2))),
    *(("[*zip(x, y)]", [1, 2], "ab"), ("[*zip(*x)]", [[1, 2], [3, 4]]), ("[*enumerate(x, 1)]", "ab")),
    *(("[*filter(lambda i: i > 1, x)]", [1, 2]), ("reduce(operator.add, x)", [1, 2, 3]), ("next(iter(x))", [1, 2])),
    *(("[i * y for i in x if i != 2]", [1, 2], 3), ("[*itertools.chain(x, y)]", [1], [2]), ("x + y", [1], [2])),
    *(("[*itertools.islice(x, 2)]", [1, 2, 3]), ("x.count(y)", [1, 1], 1), ("x.index(y)", [1], 5), ("x.copy()", [1])),
    *(("x.first() + x[1]", Numbers([1, 2])), ("x * 2", [1]), ("2 * x", [1]), ("x == [1]", [1]), ("x < [2]", [1])),
    *(("(lambda a, *b, c: [a, b, c])(*x, c=y)", [1, 2], 3), ("x[[0, 1]]", np.arange(3))),
    # Iterators, which may have no end.
    *(("next(x) + next(x)", lambda: iter([1, 2])), ("[*x]", lambda: (i for i in range(3))), ("next(x)", [1])),
    *(("[*itertools.islice(x, 2)]", lambda: endless()), ("next(x)", lambda: iter([])), ("[*x]", Failing())),
    # Dicts.
    *((f"x{call}", {"a": 1, "b": [1, 2]}) for call in ["['a']", "['c']", ".get('a')", ".get('c', 5)", "['b'][1]"]),
    *((f"x{call}", {"a": 1, "b": 2}) for call in ["| {'c': 3}", ".copy()", ".keys() & {'a'}", ".keys() - {'a'}"]),
    *((f"{call}", {"a": 1, "b": 2}) for call in ["x.keys() == {'a', 'b'}", "{'a', 'c'} - x.keys()", "{'c': 3} | x"]),
    *((f"[*x.{view}()]", {"a": 1, "b": [2]}) for view in ["keys", "values", "items"]),
    *(("[x[key] for key in x]", {"a": 1}), ("{str(k): v for k, v in x.items()}", {"a": 1}), ("[*x]", {"a": 1})),
    *(("sum(x.values())", value) for value in (OrderedDict(a=1), defaultdict(int, a=1), Counter("aab"))),
    *(("x['a']", value) for value in (ChainMap({"a": 1}), UserDict({"a": 1}), MappingProxyType({"a": 1}))),
    *(("x['new']", defaultdict(list)), ("x.most_common(1)", Counter("aab")), ("'%(a)s' % x", {"a": 1})),
    # Sets.
    *((f"x {sign} {{2, 3}}", {1, 2}) for sign in ["|", "&", "-", "^", "<=", "=="]),
    *(("x.union([4])", {1}), ("x.isdisjoint({5})", {1}), ("sorted(x)", {2, 1})),
    # Numbers.
    *(("x + y * z", 1, 2, 3), ("x ** y", 2, 3), ("pow(x, 3, 5)", 2), ("divmod(x, y)", 7, 2), ("2 - x", 5)),
    *(("round(x)", 2.5), ("round(x, y)", 2.567, 1), ("round(x, None)", 2.5), ("abs(x)", -3), ("-x + +x", 3), ("~x", 5)),
    *(("x / 0", 1), ("1 // x", 0), ("x << y", 1, 3), ("x.real + x.imag", 3 + 4j)),
    *(("(y := x + 1) + y", 1), ("x.as_integer_ratio()", 0.5), ("x.bit_length()", 5), ("max(x, y) + min(x, y)", 1, 2)),
    # The standard library.
    *(("x + timedelta(1)", DAY), ("LATER - x", DAY)),
    *(("x.replace(year=2000).strftime('%Y')", DAY), ("x.year", DAY)),
    *(("x.total_seconds() * y", timedelta(1), 2), ("3 * x", timedelta(1)), ("x.sqrt()", Decimal("2.25"))),
    *(("Decimal(1) + x", Decimal("2.25")), ("round(x, 1)", Decimal("2.25")), ("Fraction(1, 2) + x", Fraction(1, 3))),
    *(("x / 'b'", PurePosixPath("/a")), ("'b' / x", PurePosixPath("c")), ("x.suffix", PurePosixPath("c.py"))),
    *(("x.value", Colour.RED), ("x[1] + x['w']", lambda: re.match("(?P<w>a)", "a"))),
    *(("operator.itemgetter(0, 1)(x)", [1, 2]), ("operator.attrgetter('real')(x)", 1), ("copy.copy(x)", [1])),
    # Objects.
    *((f"x.{member}", Meter(3)) for member in ["size", "twice", "kept", "limit", "plus(2)", "plus(1, 2, z=3)"]),
    *((f"x.{member}", Meter(3)) for member in ["made(1)", "fixed(1)", "nothing", "plus()"]),
    *((f"{use}", Meter(3)) for use in ["x(4)", "x['k']", "x[1, ...]", "x + 1", "1 + x", "x @ 2", "round(x, 1)"]),
    *((f"{use}", Meter(3)) for use in ["round(x)", "x < 4", "[*map(x.plus, [1, 2])]", "x - 1", "-x", "x(1, 2)"]),
    *(("x.name_of()", Computed()), ("x.anything", Computed()), ("x(y, z)", max, 1, 2), ("x(y)", int, "a"), ("x(1)", 3)),
    *(("x.size + x.tags[0]", Inner(1, [2])), ("x.inner[0].size", Frozen(1, (Inner(4),))), ("x < Frozen(2)", Frozen(1))),
    *(("x.left", Pair(1)), ("x._replace(left=y)", Pair(1), 2), ("x._asdict()", Pair(1)), ("x + (1,)", Pair(1))),
]  # fmt: skip


def shown(item):
    return item if isinstance(item, str) else None


@pytest.mark.parametrize(("text", "values"), [(text, values) for text, *values in PROGRAMS], ids=shown)
def test_programs(text, values):
    program = eval(f"lambda {', '.join('xyz'[: len(values)])}: {text}", globals())

    for others in itertools.product([False, True], repeat=len(values) - 1):
        compare(program, lambda: [*map(fresh, values)], (True, *others))


# What Python decides by itself: it does not ask the node, or asks for a plain answer. Said in docs/nodes.md.

ASKED_FOR_PLAIN = [
    *(("len(x)", [1]), ("bool(x)", []), ("not x", 1), ("1 in x", [1]), ("x in [1]", 1), ("x == 1", 1), ("x != 1", 1)),
    *(("int(x)", "12"), ("float(x)", "1.5"), ("complex(x)", "1+2j"), ("complex(x)", Meter(3)), ("str(x)", [1])),
    *(("bytes(x)", [1, 2]), ("bytes(x)", 3), ("bytes(x)", Meter(3)), ("[1, 2][x]", 1), ("range(x)", 3), ("hex(x)", 9)),
    *(("f'{x:>5}|{x!s:>4}'", "a"), ("f'{x:.2f}'", 2.5), ("f'{x:%Y}'", DAY), ("f'{x:spec}'", Meter(3))),
    *(("'{:>5} {}'.format(x, x)", "a"), ("'%5.1f' % x", 2.0), ("'%s %d' % (x, 1)", "a"), ("math.sqrt(x)", 4)),
    *(("PurePosixPath(x) / x", Meter(3)), ("PurePosixPath(x)", "b"), ("os.fspath(x)", PurePosixPath("/a"))),
    *(("0 < x.size < 2 and x in [x]", Inner(1)), ("any(x) and all(x)", [1]), ("x == Frozen(1)", Frozen(1))),
    *(("statistics.fmean(x)", [1, 2]), ("math.fsum(x)", [1, 2]), ("math.dist(x, x)", [1, 2]), ("int(x)", [])),
    ("x == 1", np.float64(1)),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), ASKED_FOR_PLAIN, ids=shown)
def test_plain_answers(text, value):
    program = eval(f"lambda x: {text}", globals())
    found, _ = compare(program, lambda: [fresh(value)], [True])
    assert not isinstance(found, Node)


def matched(value):
    match value:
        case 1:
            return "value"
        case str():
            return "class"
        case [_, _]:
            return "sequence"
        case {"a": _}:
            return "mapping"
        case None:
            return "none"
    return "nothing"


@pytest.mark.parametrize(
    ("text", "value", "untraced", "traced"),
    [
        ("x is None", None, True, False),
        ("isinstance(x, int)", 1, True, False),
        ("type(x) is int", 1, True, False),
        ("callable(x)", 1, False, True),
        ("matched(x)", 1, "value", "value"),
        ("matched(x)", "a", "class", "nothing"),
        ("matched(x)", [1, 2], "sequence", "nothing"),
        ("matched(x)", {"a": 1}, "mapping", "nothing"),
        ("matched(x)", None, "none", "nothing"),
        ("{1: 'a'}.get(x)", 1, "a", None),
        ("x in {1}", 1, True, False),
        ("len(set(x))", [1, 1], 1, 2),
        ("f'{x!r}'.startswith('<')", 1, False, True),
        ("x.name", Colour.RED, "RED", "x:0"),
        ("'one' % x", 1, TypeError, "one"),
        ("'%s %s' % x", (1, 2), "1 2", TypeError),
        ("', '.join([x])", "a", "a", TypeError),
        ("json.dumps(x)", [1], "[1]", TypeError),
        ("re.sub('a', 'b', x)", "a", "b", TypeError),
        ("(lambda **named: named)(**x)", {"a": 1}, {"a": 1}, TypeError),
        ("pow(2, 3, x)", 5, 3, TypeError),
        ("x.__name__", len, "len", AttributeError),
        ("setattr(x, 'size', 3)", Inner(1), None, AttributeError),
        ("operator.setitem(x, 0, 3)", [1], None, TypeError),
    ],
)
def test_what_python_decides_by_itself(text, value, untraced, traced):
    program = eval(f"lambda x: {text}", globals())
    for given_value, expected in [(value, untraced), (node(value), traced)]:
        found, raised = outcome(program, [given_value])
        if isinstance(expected, type):
            assert type(raised) is expected
        elif text == "x.name" and isinstance(given_value, Node):
            assert found == given_value.name != "RED"
        else:
            assert (found, raised) == (expected, None)


INSTEAD = [
    *(("x == None", None, True), ("isinstance(x.data, str)", "a", True), ("x.type", "a", str), ("d[x.data]", "a", 1)),
    *(("node(d)[x]", "a", 1), ("node(set)(x)", [1, 1], {1}), ("node(dict)(x)", {"a": 1}, {"a": 1})),
    *(("x | {'b': 2}", {"a": 1}, {"a": 1, "b": 2}), ("dict(**x.data)", {"a": 1}, {"a": 1})),
    *(("matched(x.data)", None, "none"), ("f'{x.data!r}'", "a", "'a'")),
    *(("f'{node([x])}'", "a", "['a']"), ("node('%s-%s') % x", (1, 2), "1-2"), ("node('-').join([x, x])", "a", "a-a")),
    *(("node(re.sub)('a', 'b', x)", "a", "b"), ("node(json.dumps)(x)", [1], "[1]")),
    ("x.getattr('__name__')", len, "len"),
    *(("node(replace)(x, size=2)", Inner(1), Inner(2)), ("x.getattr('name')", Colour.RED, "RED")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value", "expected"), INSTEAD, ids=shown)
def test_what_the_page_says_to_write_instead(text, value, expected):
    x = node(value, trainable=True)
    found = eval(text, {**globals(), "x": x, "d": {"a": 1}})
    assert unpack(found) == expected
    assert type(unpack(found)) is type(expected)
    if text.startswith(("node(", "x |", "x.getattr")):
        found.backward("feedback")
        assert len(x.feedback) == 1


# Laws.

SCALAR = st.one_of(st.integers(-9, 9), st.text(max_size=3), st.booleans(), st.none())
NESTED = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=4)
)


@given(value=st.lists(NESTED, max_size=6))
def test_going_through_a_node_gives_the_items_in_order(value):
    x = node(value)
    assert [item.data for item in x] == value
    assert [item.data for item in reversed(x)] == [*reversed(value)]
    for item in x:
        assert item.operator.function(*(given.data for given in item.inputs.values())) == item.data


def test_what_cannot_be_copied_is_changed_in_place_as_untraced():
    class Stream:
        total = 0

        def __iadd__(self, other):
            self.total += other
            return self

        def __copy__(self):
            raise TypeError("there is one of these only")

    x = node(Stream())
    x += 2
    assert x.total == 2


@given(start=st.lists(SCALAR, max_size=4), steps=st.lists(st.lists(SCALAR, max_size=3) | st.integers(0, 3), max_size=5))
def test_in_place_steps_leave_every_earlier_value_as_it_was(start, steps):
    x, plain, history = node(start), list(start), []
    for step in steps:
        history.append((x, list(plain)))
        if isinstance(step, int):
            x *= step
            plain *= step
        else:
            x += step
            plain += step
    assert x.data == plain
    assert all(earlier.data == value for earlier, value in history)


@given(value=NESTED)
def test_a_container_with_a_node_in_it_is_computed_from_it(value):
    x = node("inside", trainable=True)
    packed = node([value, {"key": (x, value)}])
    assert packed.data == [value, {"key": ("inside", value)}]
    packed[1]["key"][0].backward("feedback")
    assert len(x.feedback) == 1
