"""What identifies functions and values: equal for equal content, and different wherever a result could be."""

import collections
import datetime as dt
import decimal
import enum
import functools
import logging
import pathlib
import re
import sys
import textwrap
import threading
import types
from dataclasses import dataclass

import numpy as np
import pytest

from opto.nodes import node
from opto.trace.content import Content, NotContentError


class Text(str):
    __slots__ = ()


class Bag(list):
    pass


class Slotted:
    __slots__ = ("_Slotted__hidden", "shown")

    def __init__(self, shown, hidden):
        self.shown, self.__hidden = shown, hidden


@dataclass
class Point:
    x: int


class Client:
    """Cannot be told, but says what it stands for."""

    def __init__(self, name):
        self.name, self.lock = name, threading.Lock()

    def __call__(self):
        return self.name

    def __memo__(self):
        return self.name


def tagged(tag):
    bag = Bag([1])
    bag.tag = tag
    return bag


#: Makers of values, each of which differs from all others.
VALUES = [
    lambda: 1,
    lambda: True,
    lambda: 1.0,
    lambda: "1",
    lambda: b"1",
    lambda: Text("1"),
    lambda: 0.0,
    lambda: -0.0,
    lambda: float("nan"),
    lambda: None,
    lambda: ...,
    lambda: NotImplemented,
    lambda: 10**5000,
    lambda: "\ud800",
    lambda: [1, 2],
    lambda: (1, 2),
    lambda: [[1], 2],
    lambda: [1, [2]],
    lambda: ["ab", "c"],
    lambda: ["a", "bc"],
    lambda: {1: 2},
    lambda: {True: 2},
    lambda: {"a": 1, "b": 2},
    lambda: {"b": 2, "a": 1},
    lambda: {"a", "b"},
    lambda: frozenset({"a", "b"}),
    lambda: Bag([1]),
    lambda: tagged("red"),
    lambda: tagged("green"),
    lambda: Slotted(1, 2),
    lambda: Slotted(1, 3),
    lambda: Point(1),
    lambda: Point(2),
    lambda: range(3),
    lambda: range(4),
    lambda: bytearray(b"1"),
    lambda: dt.date(2020, 1, 1),
    lambda: dt.date(2020, 1, 2),
    lambda: decimal.Decimal("1.0"),
    lambda: decimal.Decimal("1.00"),
    lambda: collections.deque([1]),
    lambda: collections.deque([1], maxlen=3),
    lambda: collections.OrderedDict(a=1),
    lambda: collections.defaultdict(list, a=1),
    lambda: collections.defaultdict(int, a=1),
    lambda: re.compile("a"),
    lambda: re.compile("a", re.IGNORECASE),
    lambda: pathlib.PurePosixPath("a"),
    lambda: pathlib.PurePosixPath("b"),
    lambda: ValueError("a"),
    lambda: ValueError("b"),
    lambda: functools.partial(int, base=2),
    lambda: functools.partial(int, base=3),
    lambda: "a".join,
    lambda: "b".join,
    lambda: len,
    lambda: max,
    lambda: np.zeros(2),
    lambda: np.zeros(3),
    lambda: np.float64(1),
    lambda: Client("one"),
    lambda: Client("two"),
    lambda: logging.getLogger("one"),
    lambda: logging.getLogger("two"),
]


def test_every_value_has_a_content_of_its_own():
    contents = [Content().of(make()) for make in VALUES]

    assert contents == [Content().of(make()) for make in VALUES]
    assert len(set(contents)) == len(VALUES)


@pytest.mark.parametrize("value", [object(), threading.Lock(), iter("a").__reduce__, (item for item in "a")])
def test_what_may_hide_anything_has_none(value):
    if callable(value):
        value = sys.stdout
    with pytest.raises(NotContentError):
        Content().of(value)


def test_what_an_object_works_out_and_remembers_is_no_part_of_a_library_value():
    path = pathlib.PurePosixPath("a") / "b"
    before = Content().of(path)
    str(path), hash(path), path.parts
    assert Content().of(path) == before


def test_nodes_are_their_values_and_are_met_in_order():
    first, second = node(1), node([2])
    content = Content()
    assert content.of([first, {"key": second}]) == Content().of([1, {"key": [2]}])
    assert [item is known for item, known in zip(content.nodes, (first, second), strict=True)] == [True, True]


def function(text, **names):
    """Return the function `f` that *text* defines, in a module of its own."""
    module = types.ModuleType("__main__")
    vars(module).update(names)
    exec(compile(textwrap.dedent(text), "<made>", "exec"), vars(module))
    return module.f


IMPORTS = "import dataclasses, enum, functools\nfrom opto.trace import bundle\n"


@pytest.mark.parametrize(
    "text",
    [
        "def f(x): return {}",
        "def f(x): return x + {}",
        "def f(x, y={}): return y",
        "def f(x, *, y={}): return y",
        "def f(x):\n    def inner(): return {}\n    return inner()",
        "def f(x): return [item * {} for item in x]",
        "def f(x): return x in (0, {})",
        "def f(x): return x in {{0, {}}}",
        "K = {}\ndef f(x): return K",
        "K = [0, {{'key': {}}}]\ndef f(x): return K",
        "def outer(k):\n    def f(x): return k\n    return f\nf = outer({})",
        "def helper(): return {}\ndef f(x): return helper()",
        "def helper(*, a={}): return a\ndef f(x): return helper()",
        "def far(): return {}\ndef helper(): return far()\ndef f(x): return helper()",
        "helper = lambda: {}\ndef f(x): return helper()",
        "table = {{'key': lambda: {}}}\ndef f(x): return table['key']()",
        "helper = functools.partial(int, {})\ndef f(x): return helper()",
        "@functools.lru_cache\ndef helper(): return {}\ndef f(x): return helper()",
        "def by(h):\n    @functools.wraps(h)\n    def w(x): return h(x) * {}\n    return w\n@by\ndef f(x): return x",
        "@bundle\ndef helper(): return {}\ndef f(x): return helper().data",
        "class C:\n    def m(self): return {}\ndef f(x): return C().m()",
        "class C:\n    k = {}\ndef f(x): return C.k",
        "class C:\n    _k = {}\ndef f(x): return C._k",
        "class C:\n    __k = {}\n    def m(self): return self.__k\ndef f(x): return C().m()",
        "class C:\n    @property\n    def p(self): return {}\ndef f(x): return C().p",
        "class C:\n    @functools.cached_property\n    def p(self): return {}\ndef f(x): return C().p",
        "class C:\n    @staticmethod\n    def m(): return {}\ndef f(x): return C.m()",
        "class C:\n    @classmethod\n    def m(cls): return {}\ndef f(x): return C.m()",
        "class B:\n    def m(self): return {}\nclass C(B): pass\ndef f(x): return C().m()",
        "class M(type):\n    def m(cls): return {}\nclass C(metaclass=M): pass\ndef f(x): return C.m()",
        "class E(enum.Enum):\n    A = {}\ndef f(x): return E.A.value",
        "@dataclasses.dataclass\nclass C:\n    k: int = {}\ndef f(x): return C().k",
        "class C:\n    def __call__(self): return self.k\nc = C()\nc.k = {}\ndef f(x): return c()",
        "class C:\n    def m(self): return self.k\nc = C()\nc.k = {}\nm = c.m\ndef f(x): return m()",
    ],
)
def test_whatever_a_function_can_reach_by_name_is_part_of_it(text):
    first, same, other = (function(IMPORTS + text.format(number)) for number in (1, 1, 2))
    assert Content().of(first) == Content().of(same) != Content().of(other)


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ("def f(x): return x + 1", "def f(x): return x - 1"),
        ("def f(x): return x.real", "def f(x): return x.imag"),
        ("def f(a, b): return a - b", "def f(b, a): return a - b"),
        ("h = ','.join\ndef f(x): return h(x)", "h = ';'.join\ndef f(x): return h(x)"),
    ],
)
def test_functions_that_do_other_things_differ(first, other):
    assert Content().of(function(first)) != Content().of(function(other))


def test_comments_and_layout_are_no_part_of_a_function():
    assert Content().of(function("def f(x): return x")) == Content().of(
        function("\n\ndef f(x):\n    # same\n    return x")
    )


def test_functions_of_one_name_that_no_module_holds_are_told_apart():
    made = []
    for number in (1, 2):
        names = {}  # no __name__: exec puts such functions into `builtins`
        exec(f"def f(x): return {number}", names)
        made.append(names["f"])
    assert Content().of(made[0]) != Content().of(made[1])


def test_a_program_below_the_prefix_of_python_is_no_library(tmp_path, monkeypatch):
    # Such as /usr/src/app, for the Python of the system.
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    module = types.ModuleType("program_below_prefix")
    module.__file__ = str(tmp_path / "program_below_prefix.py")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    contents = []
    for number in (1, 2):
        exec(f"def f(x): return {number}", vars(module))
        contents.append(Content().of(module.f))
    assert contents[0] != contents[1]


def test_modules_of_the_program_are_what_is_used_of_them(monkeypatch):
    module = types.ModuleType("settings_of_program")
    module.used, module.unused = 1, 1
    monkeypatch.setitem(sys.modules, module.__name__, module)
    f = function("def f(x): return settings.used", settings=module)
    before = Content().of(f)
    module.unused = 2
    assert Content().of(f) == before
    module.used = 2
    assert Content().of(f) != before


class Colour(enum.Enum):
    RED = 1


def test_members_of_enumerations_are_told_by_their_values_too():
    other = enum.Enum("Colour", {"RED": 2}, module=__name__, qualname="Colour")
    assert Content().of(Colour.RED) != Content().of(other.RED)
