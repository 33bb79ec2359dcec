"""A method finds its object's attributes and methods; what is an object of that kind in there is found the same way."""

import argparse
import enum
import gc
import logging
import threading
import warnings
from typing import NamedTuple

import pytest

from opto.errors import SandboxTransferError
from opto.sandbox import Sandbox
from opto.trace import bundle, model, node

pytestmark = pytest.mark.filterwarnings("ignore:Code that a model wrote:RuntimeWarning")


class Board:
    def __init__(self):
        self.cells = [0] * 3

    def free(self):
        return [place for place, cell in enumerate(self.cells) if not cell]


class Player:
    PROMPT, most = "Move.", 9

    def __init__(self):
        self.log = logging.getLogger("player")
        self.board, self.client = Board(), threading.Lock()
        self.history, self.best, self.count = [], {"score": 0}, 0

    def __len__(self):
        return len(self.history)

    @classmethod
    def limit(cls):
        return cls.most

    def rules(self):
        return """Rules:
  one piece each
"""

    def ask(self):
        return self.client.ask()

    def act(self, x):
        return x


@model
class Memory:
    def __init__(self):
        self.size = node(3, trainable=True)
        self.client = threading.Lock()
        self.facts = ["a", "b", "c", "d"]

    @bundle(trainable=True, allow_external_dependencies=True)
    def recall(self, count):
        return self.facts[: count + self.size]

    def first(self):
        return self.facts[0]

    def ask(self):
        return self.client.ask()


@model
class Agent:
    def __init__(self):
        self.memory, self.name = Memory(), node("Ada", trainable=True)

    @bundle(trainable=True)
    def greet(self):
        return self.memory.first()

    @bundle(trainable=True, allow_external_dependencies=True)
    def act(self, count):
        return [self.name, self.greet(), self.memory.recall(count)]


class Base:
    __secret = 3

    def act(self, x):
        return [x, self.__secret]

    def low(self):
        return "base"

    def high(self):
        return self.low()


class Middle(Base):
    __secret = 4

    def act(self, x):
        return [*super().act(x), self.__secret]

    def low(self):
        return f"middle of {super().low()}"

    def count(self, n):
        return n

    @property
    def size(self):
        return 1


class Top(Middle):
    def low(self):
        return f"top of {super().low()}"


@pytest.fixture(scope="module")
def sandbox():
    return Sandbox()


@pytest.fixture(autouse=True, scope="module")
def _ended():
    yield
    gc.collect()  # objects with changed code of their own have processes that end with them


def run(sandbox, body, player, x=1):
    source = f"def act(self, x):\n    {body}\n"
    with sandbox.load(source, like=Player.act, owner=Player) as candidate:
        return candidate(player, x)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return self.board.free()", [0, 1, 2]),
        ("board = self.board\n    return [board.free(), self.board is board]", [[0, 1, 2], True]),
        ("return self.rules()", Player.rules(None)),
        ("return len(self)", 0),
        ("return [part for part in (self,) if part.history == []] != []", True),
        ("return self.PROMPT", "Move."),
        ("return Player.PROMPT", "Move."),
        (
            "return [isinstance(self, Player), self.__class__.__name__, self.__class__.PROMPT]",
            [True, "Player", "Move."],
        ),
        ("return [self.limit(), self.log.name]", [9, "player"]),
    ],
)
def test_methods_find_what_they_use(sandbox, body, expected):
    assert run(sandbox, body, Player()) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return super().act(x)", [1, 3]),
        ("return [super(__class__, self).act(x), self.__secret]", [[1, 3], 4]),
        ("return [super().low(), self.low(), self.high()]", ["base", *["top of middle of base"] * 2]),
        ("return x if x > 3 else self.act(x + 1)", 4),
        ("return self.size + super().__sizeof__() * 0", 1),
    ],
)
def test_classes_above_are_found_in_their_order(sandbox, body, expected):
    source = f"def act(self, x):\n    {body}\n"
    with sandbox.load(source, like=Middle.act, owner=Middle) as candidate:
        assert candidate(Top(), 1) == expected


def test_one_candidate_may_serve_objects_of_several_classes(sandbox):
    source = "def act(self, x):\n    return [self.low(), *super().act(x)]\n"
    with sandbox.load(source, like=Middle.act, owner=Middle) as candidate:
        for _ in range(2):
            assert candidate(Top(), 1) == ["top of middle of base", 1, 3]
            assert candidate(Middle(), 2) == ["middle of base", 2, 3]


def test_methods_may_call_themselves(sandbox):
    source = "def count(self, n):\n    return n and 1 + self.count(n - 1)\n"
    with sandbox.load(source, like=Middle.count, owner=Middle) as candidate:
        assert candidate(Top(), 5) == 5


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("self.history.append(x)\n    return x", "self.history"),
        ("self.best['score'] = x\n    return x", "self.best"),
        ("self.count += 1\n    return x", "self.count"),
    ],
)
def test_what_is_changed_stays_inside_and_is_said_once(sandbox, body, named):
    player = Player()
    with pytest.warns(RuntimeWarning, match=rf"act\(\) changed {named}, but .* old value\. Return it") as said:
        assert run(sandbox, body, player) == 1
    assert len(said) == 1
    assert (player.history, player.best, player.count) == ([], {"score": 0}, 0)


def test_nothing_is_said_of_what_was_only_read(sandbox):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(sandbox, "return [self.history, self.best, self.count, self.board.free()]", Player())[:2] == [
            [],
            {"score": 0},
        ]


def test_what_an_unused_method_needs_does_not_matter(sandbox):
    assert run(sandbox, "return [getattr(self, name) for name in ['count']]", Player()) == [0]


def test_what_is_used_and_cannot_enter_is_said(sandbox):
    with pytest.raises(SandboxTransferError, match=r"act\(\) uses self.client, a lock.*hosts=\['self.client.ask'\]"):
        run(sandbox, "return self.ask()", Player())


def changed(method):
    method.parameter._set(method.parameter.data + "\n# again\n")


def test_modules_in_modules_are_there_with_what_is_used_of_them():
    agent = Agent()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        untouched = agent.act(1).data, agent.greet().data
        changed(agent.act)
        changed(agent.greet)
        assert (agent.act(1).data, agent.greet().data) == untouched == (["Ada", "a", ["a", "b", "c", "d"]], "a")


def test_only_what_is_used_of_a_module_in_a_module_is_read():
    agent = Agent()
    changed(agent.greet)
    result = agent.greet()  # reads no node, though there is one in its memory
    assert result.data == "a"
    assert agent.memory.size not in result.parents


def test_methods_of_modules_in_modules_are_what_they_are_now():
    agent, other = Agent(), Agent()
    changed(agent.act)
    assert agent.act(0).data[2] == ["a", "b", "c"]
    agent.memory.recall.parameter._set("def recall(self, count):\n    return self.facts[-1:]\n")
    assert agent.act(0).data[2] == ["d"]
    changed(other.act)
    assert other.act(0).data[2] == ["a", "b", "c"]
    agent.memory.size._set(1)
    agent.memory.facts = ["x", "y"]
    assert agent.act(0).data[2] == ["y"]


def test_what_a_module_in_a_module_cannot_give_is_said():
    agent = Agent()
    agent.greet.parameter._set("def greet(self):\n    return self.memory.ask()\n")
    with pytest.raises(Exception, match=r"greet\(\) uses self.memory.client, a lock.*\['self.memory.client.ask'\]"):
        agent.greet()


@model
class Tally:
    def __init__(self):
        self.count = 0

    @bundle(trainable=True)
    def unused(self):
        return 0

    def add(self):
        self.count += 1
        return self.count


@model
class Teller:
    def __init__(self):
        self.first = self.second = Tally()

    @bundle(trainable=True, allow_external_dependencies=True)
    def act(self):
        return 0


@pytest.mark.filterwarnings("ignore:.*changed self:RuntimeWarning")
def test_one_object_by_two_names_is_one_inside():
    teller = Teller()
    teller.act.parameter._set("def act(self):\n    return [self.first.add(), self.second.add(), self.second.count]\n")
    assert teller.act().data == [1, 2, 2]
    teller.act.parameter._set("def act(self):\n    return [each.count for each in (self.first, self.second)]\n")
    assert teller.act().data == [0, 0]


@model
class Voice:
    def __init__(self, inner=None):
        self.inner = inner

    @bundle(trainable=True)
    def other(self):
        return "as written"

    def asks(self):
        return self.other()

    def asks_itself(self):
        return [self][0].other()

    @bundle(trainable=True, allow_external_dependencies=True)
    def act(self):
        return 0


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("self.asks()", "changed"),
        ("[[self][0].n, self.asks()][1]", "changed"),
        ("self.asks_itself()", "changed"),
        ("self.inner.asks()", "changed within"),
        ("self.inner.asks_itself()", "changed within"),
    ],
)
def test_objects_run_the_code_that_is_their_own(body, expected):
    voice = Voice(Voice())
    voice.n = 1
    voice.other.parameter._set("def other(self):\n    return 'changed'\n")
    voice.inner.other.parameter._set("def other(self):\n    return 'changed within'\n")
    voice.act.parameter._set(f"def act(self):\n    return {body}\n")
    assert voice.act().data == expected


class Color(enum.Enum):
    RED = 1

    def act(self, x):
        return x


class Spot(NamedTuple):
    left: int

    def act(self, x):
        return x


class Walker:
    def act(this, x):  # noqa: N805 - what is tried
        return x

    def steps(this):  # noqa: N805
        return 3


class Far:
    def __init__(self):
        self.n = 4

    def far(self):
        return self.n


class Near:
    def __init__(self):
        self.inner, self.call, self.k = Far(), self.near, 2

    def near(self):
        return self.k

    def __getattr__(self, name):
        return getattr(self.__dict__["inner"], name)

    def act(self, x):
        return x


@pytest.mark.parametrize(
    ("receiver", "source", "expected"),
    [
        (Color.RED, "def act(self, x):\n    return [self is Color.RED, self.value]\n", [True, 1]),
        (Spot(2), "def act(self, x):\n    return [self == (2,), self._replace(left=x).left]\n", [True, 1]),
        (Near(), "def act(self, x):\n    return [self.call(), self.far()]\n", [2, 4]),
        (Walker(), "def act(this, x):\n    return this.steps()\n", 3),
    ],
)
def test_methods_run_on_whatever_has_them(sandbox, receiver, source, expected):
    kind = type(receiver)
    with sandbox.load(source, like=kind.act, owner=kind) as candidate:
        assert candidate(receiver, 1) == expected


class Shelf:
    def __init__(self):
        self.size = 2

    @staticmethod
    def act(other):
        return other


def test_the_argument_of_a_static_method_is_a_value(sandbox):
    with sandbox.load("def act(other):\n    return other\n", like=Shelf.act, owner=Shelf) as candidate:
        assert vars(candidate(Shelf())) == {"size": 2}


class Parser(argparse.ArgumentParser):
    def act(self, x):
        return x


def test_methods_of_classes_that_stay_outside_are_said_to_be_there(sandbox):
    says = "uses self.parse_args, a method that stays outside with its class, which cannot enter the sandbox"
    with (
        sandbox.load("def act(self, x):\n    return self.parse_args(x)\n", like=Parser.act, owner=Parser) as candidate,
        pytest.raises(SandboxTransferError, match=says),
    ):
        candidate(Parser(), [])


@model
class Pinging:
    @bundle(trainable=True)
    def unused(self):
        return 0

    def ping(self):
        return self.other.pong()

    def pong(self):
        return self.other.ping()

    @bundle(trainable=True, allow_external_dependencies=True)
    def act(self):
        return 0


def test_what_is_in_itself_without_end_is_said():
    first, second = Pinging(), Pinging()
    first.other, second.other = second, first
    first.act.parameter._set("def act(self):\n    return self.other.ping()\n")
    with pytest.raises(SandboxTransferError, match="a Pinging that is in itself, which cannot enter"):
        first.act()


def test_another_object_in_the_same_place_runs_its_own_code():
    voice = Voice(Voice())
    voice.inner.other.parameter._set("def other(self):\n    return 'first'\n")
    voice.act.parameter._set("def act(self):\n    return self.inner.asks()\n")
    assert voice.act().data == "first"
    voice.inner = Voice()
    voice.inner.other.parameter._set("def other(self):\n    return 'second'\n")
    assert voice.act().data == "second"


def test_attributes_that_are_nodes_have_the_attributes_of_their_values():
    agent = Agent()
    agent.act.parameter._set("def act(self, count):\n    return [self.name.upper(), self.name.data]\n")
    assert agent.act(1).data == ["ADA", "Ada"]
