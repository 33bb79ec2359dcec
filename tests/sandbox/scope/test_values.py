"""Values that are more than plain data go in as what they are, and come out as what they were."""

import collections
import copy
import dataclasses
import enum
import functools
import logging
import operator
import os
import random
import threading
from types import SimpleNamespace
from typing import Generic, TypeVar

import numpy as np
import pydantic
import pytest

from opto.errors import SandboxTimeoutError, SandboxTransferError
from opto.sandbox import Limits, Sandbox

pytestmark = pytest.mark.filterwarnings("ignore:Code that a model wrote:RuntimeWarning")

LOCK = threading.Lock()
BASE_RATE = 7
LOGGER = logging.getLogger("values")
RATES = {"net": lambda price: price, "gross": lambda price: 1.2 * price}


def doubled(x):
    return 2 * x


class Cell:
    """A class that is none of those made for data."""

    limit = 9

    def __init__(self, row, column):
        self.row, self.column = row, column

    def __eq__(self, other):
        return isinstance(other, Cell) and (self.row, self.column) == (other.row, other.column)

    def __hash__(self):
        return hash((self.row, self.column))

    def moved(self, by):
        return Cell(self.row + by, self.column)

    def locked(self):
        with LOCK:
            return self.row


class Slotted:
    __slots__ = ("__hidden", "shown")

    def __init__(self, shown, hidden):
        self.shown, self.__hidden = shown, hidden

    def both(self):
        return [self.shown, self.__hidden]


class Tree:
    def __init__(self, value, parent=None):
        self.value, self.parent, self.children = value, parent, []
        if parent is not None:
            parent.children.append(self)

    def depth(self):
        return 0 if self.parent is None else 1 + self.parent.depth()


class Link:
    def __init__(self, following=None):
        self.following = following


class Environment(dict):
    def __init__(self, names=(), outer=None):
        super().__init__(names)
        self.outer = outer

    def find(self, name):
        return self if name in self else self.outer.find(name)


class Stack(list):
    def top(self):
        return self[-1]


class Recent(collections.deque):
    pass


class Ordered(collections.OrderedDict):
    pass


class Client:
    def __init__(self):
        self.lock = threading.Lock()


X = TypeVar("X")
TOOLS = {}
GENERATOR = np.random.default_rng(3)
RANDOM = random.Random(3)


def tool(function):
    TOOLS[function.__name__] = function
    return function


@tool
def halved(x):
    return x / 2


@functools.singledispatch
def kind_of(x):
    return "something"


@kind_of.register
def _(x: int):
    return f"whole number {doubled(x)}"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Box(Generic[X]):
    def __init__(self, item: X):
        self.item = item

    def __eq__(self, other):
        return self.item == other.item

    __hash__ = None


class User(pydantic.BaseModel):
    name: str


class Team(pydantic.BaseModel):
    users: list[User]


class Names(pydantic.RootModel[list[str]]):
    pass


class RefusedError(Exception):
    def __init__(self, code):
        super().__init__(f"no {code}")
        self.code = code


@dataclasses.dataclass(frozen=True)
class Key:
    name: str
    cell: Cell


@pytest.fixture(scope="module")
def sandbox():
    return Sandbox()


def original(x):
    return x


def run(sandbox, expression, x):
    with sandbox.load(f"def original(x):\n    return {expression}\n", like=original) as candidate:
        return candidate(x)


@pytest.mark.parametrize(
    ("expression", "given", "expected"),
    [
        ("x.moved(2)", Cell(1, 2), Cell(3, 2)),
        ("[x, Cell(5, 6), x.limit]", Cell(1, 2), [Cell(1, 2), Cell(5, 6), 9]),
        ("{Cell(1, 2): x[Cell(1, 2)]}", {Cell(1, 2): "here"}, {Cell(1, 2): "here"}),
        ("x.name + str(x.cell.row)", Key("a", Cell(1, 2)), "a1"),
        ("[key.cell for key in x]", {Key("a", Cell(1, 2)): 1}, [Cell(1, 2)]),
        ("x.both()", Slotted(1, 2), [1, 2]),
        ("x.find('b')['b']", Environment({"a": 1}, Environment({"b": 2})), 2),
        ("[x.top(), len(x)]", Stack([1, 2]), [2, 2]),
        ("x.maxlen", Recent([1, 2]), None),
        ("x.name.upper()", SimpleNamespace(name="a"), "A"),
        ("[x(3), x.keywords]", functools.partial(pow, exp=2), [9, {"exp": 2}]),
        ("x({'a': 5})", operator.itemgetter("a"), 5),
        ("x(3)", doubled, 6),
        ("x(3)", lambda number: number + 1, 4),
        ("x(1).column", Cell(0, 7).moved, 7),
        ("[RATES[name](10) for name in x]", ["net", "gross"], [10, 12.0]),
        ("TOOLS['halved'](x)", 3, 1.5),
        ("[tool(v)(x) for v in TOOLS.values()]", 3, [1.5]),
        ("[kind_of(x), kind_of('')]", 3, ["whole number 6", "something"]),
        (
            "[x.users[0].name, Team(users=[User(name='b')]).model_dump()]",
            Team(users=[User(name="a")]),
            ["a", {"users": [{"name": "b"}]}],
        ),
        ("Team.model_validate(x).model_dump()", {"users": [{"name": "b"}]}, {"users": [{"name": "b"}]}),
        ("[x.code, str(x), isinstance(x, RefusedError)]", RefusedError(3), [3, "no 3", True]),
        ("[str(x), x.args]", KeyError("a", 1), ["('a', 1)", ("a", 1)]),
        ("x('abc')", str.upper, "ABC"),
        ("x(4.0)", np.sqrt, 2.0),
        ("[x.random(), RANDOM.random()]", random.Random(5), [random.Random(5).random(), random.Random(3).random()]),
        ("GENERATOR.random()", None, np.random.default_rng(3).random()),
        ("LOGGER.name", None, "values"),
        ("[type(x).__name__, isinstance(x, Cell)]", Cell(1, 2), ["Cell", True]),
    ],
)
def test_objects_and_functions_enter(sandbox, expression, given, expected):
    assert run(sandbox, expression, given) == expected


@pytest.mark.parametrize(
    "given",
    [
        *[Cell, Cell(1, 2), Stack([1]), Environment({"a": 1}), Ordered(b=1, a=2), Box([1]), Rights.READ],
        *[
            Rights.READ | Rights.WRITE,
            Team(users=[User(name="a")]),
            Names(["a"]),
            ValueError,
            np.array([1, "a", None], dtype=object),
        ],
    ],
)
def test_what_came_in_comes_out_as_the_same_kind(sandbox, given):
    result = run(sandbox, "x", given)
    assert np.all(result == given)
    assert type(result) is type(given)


def test_exceptions_come_out_as_values(sandbox):
    for given in (ValueError("a", 1), RefusedError(4)):
        result = run(sandbox, "x", given)
        assert (type(result), result.args, vars(result)) == (type(given), given.args, vars(given))


def test_classes_come_out_as_themselves_and_functions_stay_where_they_are_called(sandbox):
    assert run(sandbox, "[x, Cell]", Cell) == [Cell, Cell]
    for expression in ("x", "doubled"):
        function = run(sandbox, expression, doubled)
        assert function is not doubled
        assert function(4) == 8


def test_names_are_looked_up_only_where_the_original_does_so(sandbox):
    def looking(x):
        return eval(x)

    with sandbox.load("def looking(x):\n    return eval('BASE_' + x)\n", like=looking) as candidate:
        assert candidate("RATE") == 7
    for expression in ("eval('BASE_' + x)", "globals()['BASE_' + x]"):
        with pytest.raises((NameError, KeyError), match="BASE_RATE"):
            run(sandbox, expression, "RATE")


def test_objects_may_refer_to_each_other_and_to_themselves(sandbox):
    root = Tree("root")
    leaf = Tree("leaf", Tree("branch", root))
    assert run(sandbox, "[x.depth(), x.parent.parent.children[0] is x.parent]", leaf) == [2, True]
    back = run(sandbox, "x.parent", leaf)
    assert back.children[0].parent is back
    assert back.parent.value == "root"
    shared = Cell(1, 2)
    one, other = run(sandbox, "[x, x]", shared)
    assert one is other


def test_chains_may_be_long(sandbox):
    chain = None
    for _ in range(500):
        chain = Link(chain)
    last = run(sandbox, "x", chain)
    for _ in range(499):
        last = last.following
    assert last.following is None


def test_what_methods_speak_of_and_nobody_calls_may_stay_outside(sandbox):
    assert run(sandbox, "x.moved(1).row", Cell(1, 2)) == 2
    with pytest.raises((TypeError, AttributeError), match=r"locked\(\) uses LOCK|Cell\(\) uses LOCK"):
        run(sandbox, "x.locked()", Cell(1, 2))


def test_what_cannot_enter_is_named_with_its_place(sandbox):
    with pytest.raises(SandboxTransferError, match="a lock in the attribute lock of Client"):
        run(sandbox, "x", [Client()])
    with pytest.raises(SandboxTransferError, match="the function <lambda>"):
        run(sandbox, "x(1)", eval("lambda x: x"))


class TestFunctionsThatComeOut:
    """They are called where they were made."""

    @pytest.mark.parametrize(
        ("expression", "args", "expected"),
        [
            ("lambda a: a + x", (2,), 12),
            ("[lambda a: a, lambda a: a * x][1]", (2,), 20),
            ("(lambda y: lambda a=3, *, b=4: [x, y, a, b])(7)", (5,), [10, 7, 5, 4]),
            ("(lambda f: lambda a: f(a) + f(x))(lambda n: n * n)", (2,), 104),
            ("(lambda: (yield from range(x)))", (), [*range(10)]),
            ("len", ([1, 2],), 2),
            ("__import__('math').sqrt", (16,), 4.0),
            ("int", ("7",), 7),
            ("doubled", (4,), 8),
        ],
    )
    def test_are_called_like_functions(self, sandbox, expression, args, expected):
        function = run(sandbox, expression, 10)
        assert function(*args) == expected

    def test_are_found_in_other_results_and_go_back_in(self, sandbox):
        source = "def original(x):\n    return {'+': lambda a, b: a + b} if x is None else x['+'](1, 2)\n"
        with sandbox.load(source, like=original) as candidate:
            table = candidate(None)
            assert table["+"](3, 4) == 7
            candidate.close()
            assert table["+"](3, 4) == 7
            assert candidate(table) == 3
        assert run(sandbox, "x['+'](5, 6)", table) == 11
        assert copy.deepcopy(table)["+"](1, 1) == 2

    def test_go_back_in_as_what_they_were(self, sandbox):
        source = "import os\n\ndef original(x):\n    return x() == os.getpid() if x else lambda: os.getpid()\n"
        with sandbox.load(source, like=original) as candidate:
            process = candidate(None)
            assert candidate(process) is True
            assert process() != os.getpid()

    def test_may_use_what_stands_beside_them_in_the_text(self, sandbox):
        source = (
            "import math\nimport numpy as np\n\nclass Pair:\n    def __init__(self, a):\n        self.a = a\n\n"
            "def twice(x):\n    return 2 * x\n\n"
            "def original(x):\n    return {'f': lambda a: math.sqrt(twice(Pair(a).a)) + x + float(np.sum([a]))}\n"
        )
        with sandbox.load(source, like=original) as candidate:
            table = candidate(1)
            assert table["f"](8) == 13
            candidate.close()
            assert table["f"](8) == 13

    def test_have_limits_and_lines(self):
        body = "    def work(n):\n        while n:\n            pass\n        return 1 / n\n    return work\n"
        source = f"def original(x):\n{body}"
        with Sandbox(limits=Limits(seconds=0.5)).load(source, like=original) as candidate:
            work = candidate(1)
            with pytest.raises(SandboxTimeoutError) as caught:
                work(1)
            assert caught.value.line in (3, 4)
            with pytest.raises(ZeroDivisionError):
                work(0)

    @pytest.mark.parametrize(
        "expression", ["open", "__import__('os').system", "eval", "type", "(lambda: 1).__get__(1)"]
    )
    def test_others_stay_inside(self, sandbox, expression):
        with pytest.raises(SandboxTransferError, match="cannot leave"):
            run(sandbox, expression, 1)


def test_classes_in_functions_have_what_stands_there(sandbox):
    step = 3

    class Walker:
        def __init__(self, place):
            self.place = place

        def walk(self):
            return self.place + step

    assert run(sandbox, "x.walk()", Walker(4)) == 7


def test_a_first_look_is_a_short_one(sandbox):
    class Counted:
        looks = 0

        def __init__(self, following):
            self.following = following

        def __getattribute__(self, name):
            Counted.looks += name == "__dict__"
            return object.__getattribute__(self, name)

    chain = None
    for _ in range(1000):
        chain = Counted(chain)
    assert sandbox.objection("def original(x):\n    return x\n", original, {"x": chain}) is None
    assert 0 < Counted.looks <= 300


def test_a_function_of_another_candidate_that_is_gone_is_not_mistaken_for_a_later_one(sandbox):
    made = sandbox.load("def make(n):\n    def get():\n        return n\n    return get\n", "make")
    source = "kept = []\ndef ask(get):\n    kept.append(get)\n    return [each() for each in kept]\n"
    with made, sandbox.load(source, "ask") as asked:
        first = made(1)
        assert asked(first) == [1]
        for later in range(2, 30):  # one of them most likely where the first one was
            if later == 2:
                del first
            with pytest.raises(SandboxTransferError, match="that the program does not hold any more. Pass it in each"):
                asked(made(later))
