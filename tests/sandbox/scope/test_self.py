"""``self`` of methods: the classes of the user's in their order, the methods that are used, plain data."""

import abc
import dataclasses
import functools
import threading
from typing import ClassVar, Generic, TypeVar

import pytest

from opto.errors import SandboxTransferError
from opto.nodes import node
from opto.sandbox import Sandbox
from opto.trace import Module

pytestmark = pytest.mark.filterwarnings("ignore:Code that a model wrote:RuntimeWarning")

T = TypeVar("T")
LOCK = threading.Lock()
RATES = {"a": 2}


@pytest.fixture(scope="module")
def sandbox():
    return Sandbox()


def answer(sandbox, body, receiver, *args, of=None, name="act", **options):
    """Return what a method answers whose body is *body*, in the place of that of the class *of*."""
    kind = receiver if isinstance(receiver, type) else type(receiver)
    of = of or next(base for base in kind.__mro__ if name in vars(base))
    like = getattr(vars(of)[name], "__func__", vars(of)[name])
    first = like.__code__.co_varnames[0]
    source = f"def {name}({first}, *args):\n    {body}\n"
    with sandbox.load(source, like=like, owner=of, **options) as candidate:
        return candidate(receiver, *args)


def twice(function):
    @functools.wraps(function)
    def wrapped(*args):
        return 2 * function(*args)

    return wrapped


def reaching(function):
    import socket

    @functools.wraps(function)
    def wrapped(*args):
        return function(*args), socket.gethostname()

    return wrapped


class Top:
    unit = "t"

    def __init__(self):
        raise AssertionError("no candidate makes one")

    def path(self):
        return ["Top"]

    def act(self, *args):
        return ["Top", *args]

    def label(self):
        return f"{self.unit}:{type(self).__name__}"

    @property
    def size(self):
        return 1

    @staticmethod
    def fixed(x):
        return x + 100

    @classmethod
    def made_by(cls, x):
        return [cls.__name__, cls.unit, x]

    def __private(self):
        return "private of Top"

    def tell(self):
        return self.__private()


class Left(Top):
    def path(self):
        return ["Left", *super().path()]

    @property
    def size(self):
        return super().size + 10

    @classmethod
    def made_by(cls, x):
        return ["Left", *super().made_by(x)]


class Right(Top):
    unit = "r"

    def path(self):
        return ["Right", *super().path()]

    @property
    def size(self):
        return super().size + 100

    def __private(self):
        return "private of Right"


class Bottom(Left, Right):
    factor = 3
    table: ClassVar = {"a": [1]}
    lock = LOCK

    def __init__(self):
        self.memory = ["first"]
        self.client = threading.Lock()

    def path(self):
        return ["Bottom", *super().path()]

    def act(self, *args):
        return args

    @twice
    def doubled(self, x):
        return x + self.factor

    @functools.cached_property
    def costly(self):
        return [self.factor]

    def ask(self):
        return self.client.acquire()

    def tally(self):
        return LOCK.locked()

    @reaching
    def reach(self):
        return 1

    def __call__(self, x):
        return f"called with {x}"

    def __len__(self):
        return len(self.memory)

    def __getitem__(self, index):
        return self.memory[index]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return self.path()", ["Bottom", "Left", "Right", "Top"]),
        ("return super().path()", ["Left", "Right", "Top"]),
        ("return super(__class__, self).path()", ["Left", "Right", "Top"]),
        ("return super(Bottom, self).path()", ["Left", "Right", "Top"]),
        ("return super(Left, self).path()", ["Right", "Top"]),
        ("return Right.path(self)", ["Right", "Top"]),
        ("return super().act(*args)", ["Top", 1]),
        ("return (lambda: super(__class__, self).size)()", 111),
        ("return [super().size, self.size]", [111, 111]),
        ("return [self.unit, super().unit, Top.unit, type(self).unit]", ["r", "r", "t", "r"]),
        ("return [self.label(), self.fixed(1), Top.fixed(2)]", ["r:Bottom", 101, 102]),
        ("return self.made_by(1)", ["Left", "Bottom", "r", 1]),
        ("return self.__class__.made_by(1)", ["Left", "Bottom", "r", 1]),
        ("return self.tell()", "private of Top"),
        ("return [isinstance(self, Right), isinstance(self, dict), issubclass(Left, Right)]", [True, False, False]),
        ("return [base.__name__ for base in type(self).__mro__][:4]", ["Bottom", "Left", "Right", "Top"]),
        ("return self.doubled(1)", 8),
        ("return [self.costly, self.costly is self.costly]", [[3], True]),
        ("return self.table['a']", [1]),
        ("return getattr(self, 'factor') + getattr(self, 'other', 1)", 4),
        ("return [self(args[0]), len(self), self[0]]", ["called with 1", 1, "first"]),
        ("return vars(self)['memory']", ["first"]),
        ("return (lambda it: it.path())(self)", ["Bottom", "Left", "Right", "Top"]),
        ("return 0 if args == (0,) else [self.act(0)]", [0]),
    ],
)
def test_its_classes_are_in_the_order_of_the_users(sandbox, body, expected):
    assert answer(sandbox, body, Bottom(), 1) == expected


def test_a_method_of_a_class_in_the_middle_goes_on_from_there(sandbox):
    assert answer(sandbox, "return super().path()", Bottom(), of=Left, name="path") == ["Right", "Top"]
    source = "def path(self):\n    return ['new', *super().path()]\n"
    with sandbox.load(source, like=Right.path, owner=Right) as candidate:
        assert candidate(Bottom()) == ["new", "Top"]
        assert candidate(Right.__new__(Right)) == ["new", "Top"]
    with sandbox.load("def path(self):\n    return ['new']\n", like=Right.path, owner=Right) as candidate:
        assert candidate(Bottom()) == ["new"]


def test_what_other_methods_call_is_the_candidate(sandbox):
    source = "def act(self, n):\n    return 1 if n == 0 else n * self.act(n - 1)\n"
    with sandbox.load(source, like=Bottom.act, owner=Bottom) as candidate:
        assert candidate(Bottom(), 4) == 24
    with sandbox.load("def size(self):\n    return 5\n", like=Top.size.fget, owner=Top) as candidate:
        assert candidate(Bottom()) == 5
    body = "def path(self):\n    return self.size\n"
    with sandbox.load(body, like=Bottom.path, owner=Bottom) as candidate:
        assert candidate(Bottom()) == 111


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ("return self.client", r"act\(\) uses self.client, a lock, which cannot enter.*hosts=\['self.client'\]"),
            ("return self.lock", r"act\(\) uses self.lock, a lock, which cannot enter"),
            ("return self.ask()", r"act\(\) uses self.client, a lock"),
            ("return self.tally()", r"tally\(\) uses LOCK, a lock"),
        ],
    )
    def test_what_cannot_enter_is_said_if_it_is_used(self, sandbox, body, said):
        with pytest.raises(SandboxTransferError, match=said):
            answer(sandbox, body, Bottom())

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ("return (lambda it: it.client)(self)", "self.client is a lock, which stays outside"),
            ("return (lambda it: it.lock)(self)", "uses self.lock, a lock, which cannot enter"),
            ("return (lambda it: it.reach())(self)", "reach could not be made: import socket is not allowed"),
            ("return (lambda it: it.tally())(self)", r"tally\(\) uses LOCK, a lock, which cannot enter"),
        ],
    )
    def test_or_when_it_is_used_if_nobody_could_tell(self, sandbox, body, said):
        with pytest.raises(AttributeError, match=said):
            answer(sandbox, body, Bottom())

    def test_what_the_object_has_itself_hides_what_its_class_has(self, sandbox):
        agent = Bottom()
        agent.lock = "plain"
        assert answer(sandbox, "return self.lock", agent) == "plain"

    def test_hosts_are_called_outside(self, sandbox):
        agent = Bottom()
        assert answer(sandbox, "return self.client.locked()", agent, hosts=["self.client.locked"]) is False
        assert answer(sandbox, "return self.tally()", agent, hosts=["self.tally"]) is False

    def test_installed_packages_stay_outside(self, sandbox):
        class Agent(Module):
            name = "Ada"

            def act(self, *args):
                return args

        said = r"act\(\) uses Module.__repr__, which stays outside with the package opto. Do without it"
        with pytest.raises(SandboxTransferError, match=said):
            answer(sandbox, "return super().__repr__()", Agent())
        with pytest.raises(SandboxTransferError, match=r"act\(\) uses self.parameters, a method"):
            answer(sandbox, "return self.parameters()", Agent())
        assert answer(sandbox, "return self.name", Agent()) == "Ada"


class TestAttributes:
    def test_of_a_class_are_what_they_are_at_each_call(self, sandbox, monkeypatch):
        source = "def act(self, *args):\n    return [self.factor, type(self).table]\n"
        with sandbox.load(source, like=Bottom.act, owner=Bottom) as candidate:
            agent = Bottom()
            assert candidate(agent) == [3, {"a": [1]}]
            monkeypatch.setattr(Bottom, "factor", 4)
            monkeypatch.setitem(Bottom.table, "b", 2)
            assert candidate(agent) == [4, {"a": [1], "b": 2}]
            agent.factor = 5
            assert candidate(agent)[0] == 5

    def test_that_are_assigned_stay_inside_and_it_is_said_once(self, sandbox):
        agent = Bottom()
        body = "self.memory = []; type(self).factor = 9; return self.factor"
        with pytest.warns(RuntimeWarning, match=r"act\(\) changed self.memory, Bottom.factor, but what"):
            assert answer(sandbox, body, agent) == 9
        assert (agent.memory, Bottom.factor) == (["first"], 3)

    def test_may_be_nodes_and_in_slots(self, sandbox):
        class Slotted:
            __slots__ = ("a", "b")

            def act(self, *args):
                return args

        agent = Slotted()
        agent.a = node(2)
        adapt = lambda value: value.data if hasattr(value, "data") else value
        assert answer(sandbox, "return [self.a, hasattr(self, 'b')]", agent, adapt=adapt) == [2, False]

    def test_may_come_from_code_of_the_user(self, sandbox):
        class Dynamic:
            def __getattr__(self, name):
                if name.startswith("__"):
                    raise AttributeError(name)
                return f"dynamic {name}"

            def act(self, *args):
                return args

        assert answer(sandbox, "return self.anything", Dynamic()) == "dynamic anything"

    def test_may_be_set_through_properties(self, sandbox):
        class Box:
            def __init__(self):
                self._value = 1

            @property
            def value(self):
                return self._value

            @value.setter
            def value(self, new):
                self._value = 10 * new

            def act(self, *args):
                return args

        with pytest.warns(RuntimeWarning, match="changed self._value, self.value"):
            assert answer(sandbox, "self.value = 4\n    return self.value", Box()) == 40


class Base(abc.ABC, Generic[T]):
    @abc.abstractmethod
    def act(self, *args):
        raise NotImplementedError

    @abc.abstractmethod
    def other(self): ...


class Concrete(Base[int]):
    def act(self, *args):
        return args

    def other(self):
        return "other"


class Items(dict):
    def act(self, *args):
        return args

    def total(self):
        return sum(self.values())


class Word(str):
    __slots__ = ()

    def act(self, *args):
        return args


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0
    tags: list = dataclasses.field(default_factory=list)
    limit: ClassVar[int] = 7

    def act(self, *args):
        return args

    def norm(self):
        return abs(self.x) + abs(self.y)

    def __add__(self, other):
        return Point(self.x + other.x, self.y + other.y)


@dataclasses.dataclass(frozen=True)
class Fixed:
    lock: object
    x: int = 1

    def act(self, *args):
        return args


@pytest.mark.parametrize(
    ("agent", "body", "expected"),
    [
        (Concrete(), "return self.other()", "other"),
        (Items(a=1, b=2), "return [self.total(), self['a'], len(self), dict(self)]", [3, 1, 2, {"a": 1, "b": 2}]),
        (Word("hey"), "return [self.upper(), self + '!', len(self)]", ["HEY", "hey!", 3]),
        (Point(1.0), "return [self.norm(), self.y, self.tags, self.limit]", [1.0, 0.0, [], 7]),
        (Point(1.0), "return Point(3.0, 4.0).norm()", 7.0),
        (Point(1.0), "return Point(3.0)", Point(3.0)),
        (Point(1.0), "return type(self)(x=2.0).tags", []),
        (Point(1.0), "return dataclasses.replace(self, y=2.0)", Point(1.0, 2.0)),
        (Point(1.0), "return dataclasses.asdict(self)", {"x": 1.0, "y": 0.0, "tags": []}),
        (Point(1.0), "return [self == Point(1.0), repr(self)]", [True, "Point(x=1.0, y=0.0, tags=[])"]),
        (Point(1.0), "return [f'{self}', self.norm.__name__]", ["Point(x=1.0, y=0.0, tags=[])", "norm"]),
        (Point(1.0), "return repr(self)", "Point(x=1.0, y=0.0, tags=[])"),
        (Point(1.0), "return self + args[0]", Point(3.0, 5.0)),
        (Point(1.0), "return args[0].norm()", 7.0),
        (Fixed(LOCK), "return self.x", 1),
    ],
)
def test_agents_of_many_kinds(sandbox, agent, body, expected):
    assert answer(sandbox, body, agent, Point(2.0, 5.0)) == expected


def test_a_pydantic_agent(sandbox):
    pydantic = pytest.importorskip("pydantic")

    class Agent(pydantic.BaseModel):
        name: str
        _secret: int = pydantic.PrivateAttr(default=5)

        def helper(self):
            return self.name.upper()

        def act(self, *args):
            return args

    agent = Agent(name="Ada")
    assert answer(sandbox, "return [self.name, self.helper(), self._secret]", agent) == ["Ada", "ADA", 5]
    with pytest.raises(
        SandboxTransferError, match=r"act\(\) uses self.model_dump, a method.*hosts=\['self.model_dump'\]"
    ):
        answer(sandbox, "return self.model_dump()", agent)
    assert answer(sandbox, "return self.model_dump()", agent, hosts=["self.model_dump"]) == {"name": "Ada"}


def test_methods_in_functions_keep_what_is_around_them(sandbox):
    base = 10

    class Local:
        def helper(self, x):
            return base + x

        def act(self, *args):
            return args

    class Child(Local):
        def helper(self, x):
            return super().helper(x) + len(RATES)

    assert answer(sandbox, "return self.helper(1)", Child()) == 12
    assert answer(sandbox, "return [self.helper(1), super().__eq__(self)]", Child())[0] == 12
