"""What a candidate uses of the program that it comes from goes along: data, functions, classes, modules, ``self``."""

import dataclasses
import enum
import functools
import logging
import math
import re
import sys
import textwrap
import threading
import types
from collections import Counter, OrderedDict, namedtuple
from typing import NamedTuple

import numpy as np
import pytest

from opto.errors import SandboxForbiddenError, SandboxTransferError
from opto.sandbox import Sandbox

pytestmark = pytest.mark.filterwarnings("ignore:Code that a model wrote:RuntimeWarning")

FACTOR = 3
TABLE = {"a": [1, 2], ("b", 1): {3}}
PATTERN = re.compile(r"(\d+)", re.MULTILINE)
ARRAY = np.arange(3)
LOGGER = logging.getLogger("opto.test")
CLIENT = threading.Lock()


def triple(x):
    return FACTOR * x


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n != 0 and even(n - 1)


def shout(function):
    @functools.wraps(function)
    def wrapped(*args):
        return function(*args).upper()

    return wrapped


@shout
def greet(name):
    return f"dear {name}"


@functools.lru_cache
def slow(x):
    return x + FACTOR


class Color(enum.Enum):
    RED = 1
    BLUE = "b"


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0
    tags: list = dataclasses.field(default_factory=list)

    def norm(self):
        return math.hypot(self.x, self.y)


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    start: Point
    end: Point


class Pair(NamedTuple):
    left: int
    right: int


class RefusedError(ValueError):
    def __init__(self, item, why):
        super().__init__(f"{item}: {why}")
        self.item = item


Old = namedtuple("Old", "a b")  # noqa: PYI024 - people still write it


class Agent:
    greeting = "hi"

    def __init__(self):
        self.memory = ["first"]
        self.factor = 2
        self.client = threading.Lock()
        self.__secret = 5

    def helper(self, x):
        return self.scale(x) + FACTOR

    def scale(self, x):
        return self.factor * x

    @property
    def size(self):
        return len(self.memory)

    @staticmethod
    def fixed(x):
        return x + 100

    @shout
    def wrapped(self, x):
        return x

    def act(self, x):
        return x


def original(x):
    return x


@pytest.fixture(scope="module")
def sandbox():
    return Sandbox()


def load(sandbox, body, *, like=original, **options):
    source = f"def {like.__name__}(x):\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n"
    return sandbox.load(source, like=like, **options)


@pytest.mark.parametrize(
    ("body", "given", "expected"),
    [
        ("return [FACTOR, TABLE]", None, [3, {"a": [1, 2], ("b", 1): {3}}]),
        ("return PATTERN.findall(x)", "a1b22", ["1", "22"]),
        ("return (ARRAY + x).tolist()", 1, [1, 2, 3]),
        ("LOGGER.warning('x')\nreturn LOGGER.name", None, "opto.test"),
        ("return triple(x)", 4, 12),
        ("return [even(x), odd(x)]", 7, [False, True]),
        ("return greet(x)", "Ada", "DEAR ADA"),
        ("return slow(x)", 1, 4),
        ("return math.sqrt(x)", 16, 4.0),
        ("return np.asarray(x).sum().item()", [1, 2], 3),
        ("return Color(x).name", 1, "RED"),
        ("return [Point(3, 4).norm(), Point(1).tags]", None, [5.0, []]),
        ("return Counter(x)", "aab", Counter("aab")),
        ("return dataclasses.replace(x, y=4.0)", Point(3.0), Point(3.0, 4.0)),
        ("return x.norm()", Point(3.0, 4.0), 5.0),
        ("return Line(x.end, x.start)", Line(Point(1), Point(2)), Line(Point(2), Point(1))),
        ("return x.start", Line(Point(1), Point(2)), Point(1)),
        ("return [x, Color.BLUE, x is Color.RED]", Color.RED, [Color.RED, Color.BLUE, True]),
        ("return x._replace(left=x.right)", Pair(1, 2), Pair(2, 2)),
        ("return Pair(x.b, x.a)", Old(1, 2), Pair(2, 1)),
        ("return {Color.RED: Pair(1, 2)}", None, {Color.RED: Pair(1, 2)}),
    ],
)
def test_what_stands_in_the_module_is_there(sandbox, body, given, expected):
    with load(sandbox, body) as candidate:
        result = candidate(given)
    assert result == expected
    assert type(result) is type(expected)


def test_exceptions_of_the_module_are_its_own(sandbox):
    with (
        load(sandbox, "raise RefusedError(x, 'too small')") as candidate,
        pytest.raises(RefusedError, match="7: too small") as caught,
    ):
        candidate(7)
    assert caught.value.item == 7


def test_closures_are_copied_and_may_be_assigned(sandbox):
    count, unused = 5, threading.Lock()

    def add(x):
        nonlocal count
        count += x
        return count, unused

    with sandbox.load("def add(x):\n    nonlocal count\n    count += x\n    return count\n", like=add) as candidate:
        assert [candidate(1), candidate(1)] == [6, 7]
    assert count == 5


def test_data_of_the_program_is_what_it_is_at_each_call(sandbox, monkeypatch):
    base, names = 10, ["a"]

    def work(x):
        return base, names

    source = "def work(x):\n    return [base, names, FACTOR, TABLE, triple(x)]\n"
    with sandbox.load(source, like=work) as candidate:
        assert candidate(1) == [10, ["a"], 3, TABLE, 3]
        base = 20
        names.append("b")
        monkeypatch.setitem(globals(), "FACTOR", 5)
        monkeypatch.setitem(TABLE, "new", 1)
        assert candidate(1) == [20, ["a", "b"], 5, TABLE, 5]
        candidate.close()
        assert candidate(1) == [20, ["a", "b"], 5, TABLE, 5]
        monkeypatch.setitem(globals(), "FACTOR", CLIENT)
        with pytest.raises(SandboxTransferError, match=r"work\(\) uses FACTOR, a lock"):
            candidate(1)


def test_global_names_of_the_program_are_never_written(sandbox):
    source = "def original(x):\n    global FACTOR, NEW\n    FACTOR = NEW = 9\n    TABLE.clear()\n    return triple(x)\n"
    with sandbox.load(source, like=original) as candidate:
        assert candidate(1) == 9
    assert FACTOR == 3
    assert TABLE
    assert "NEW" not in globals()


class TestSelf:
    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ("return [self.factor, self.memory]", [2, ["first"]]),
            ("return self.helper(x)", 9),
            ("return [self.size, self.fixed(1), self.greeting]", [1, 101, "hi"]),
            ("return self._Agent__secret", 5),
            ("return self.__secret", 5),
            ("return sorted(vars(self))", ["_Agent__secret", "factor", "memory"]),
            ("return type(self).__name__", "Agent"),
        ],
    )
    def test_has_its_plain_attributes_and_its_methods(self, sandbox, body, expected):
        source = f"def act(self, x):\n    {body}\n"
        with sandbox.load(source, like=Agent.act, owner=Agent) as candidate:
            assert candidate(Agent(), 3) == expected

    def test_says_at_the_first_call_what_it_cannot_have(self, sandbox):
        with (
            sandbox.load(
                "def act(self, x):\n    return self.client.ask(x)\n", like=Agent.act, owner=Agent
            ) as candidate,
            pytest.raises(SandboxTransferError, match=r"act\(\) uses self.client, a lock.*\['self.client.ask'\]"),
        ):
            candidate(Agent(), 1)

    def test_what_is_assigned_stays_inside_and_is_said_once(self, sandbox):
        agent = Agent()
        with sandbox.load(
            "def act(self, x):\n    self.factor = x\n    return self.factor\n", like=Agent.act
        ) as candidate:
            with pytest.warns(RuntimeWarning, match=r"act\(\) changed self.factor"):
                assert candidate(agent, 7) == 7
            assert candidate(agent, 8) == 8
        assert agent.factor == 2


def test_what_cannot_enter_is_said_at_once(sandbox):
    said = r"original\(\) uses CLIENT, a lock, which cannot enter the sandbox. Pass it as plain data"
    with pytest.raises(SandboxTransferError, match=said):
        load(sandbox, "return [CLIENT, x]")


class Model:
    def __init__(self):
        self.lock = threading.Lock()

    def ask(self, text):
        return f"answer to {text}"


MODEL = Model()


def ask_model(text):
    return MODEL.ask(text)


class Asking:
    def __init__(self):
        self.inner = Model()

    def helper(self, text):
        return ask_model(text)

    def act(self, x):
        return x


@pytest.mark.parametrize(
    "expression", ["MODEL.ask(x)", "ask_model(x)", "local(x)", "self.helper(x)", "self.inner.ask(x)"]
)
def test_the_advice_helps(sandbox, expression):
    def local(text):
        return ask_model(text)

    def plain(x):
        return [x, local]

    is_method = expression.startswith("self.")
    like, owner = (Asking.act, Asking) if is_method else (plain, None)
    source = f"def {like.__name__}({'self, ' * is_method}x):\n    return {expression}\n"
    given = (Asking(), "a") if is_method else ("a",)

    def run(hosts):
        with sandbox.load(source, like=like, owner=owner, hosts=hosts) as candidate:
            return candidate(*given)

    with pytest.raises(SandboxTransferError, match=r"Offer what it calls there with Sandbox\(hosts=") as caught:
        run([])
    assert run([re.search(r"hosts=\['(.+?)'\]", str(caught.value))[1]]) == "answer to a"


@pytest.mark.parametrize("given", ["(i for i in [1])", "open('f', 'w')"])
def test_what_cannot_be_given_to_hosts_is_said(sandbox, given):
    source = f"def f():\n    return asks.ask(1, about={given})\n"
    said = pytest.raises(TypeError, match=r"^asks.ask\(\) was given an? [\w.]+, which cannot leave.*plain data$")
    with sandbox.load(source, hosts={"asks.ask": print}) as candidate, said:
        candidate()


def test_what_hosts_return_and_cannot_enter_has_advice(sandbox):
    said = pytest.raises(SandboxTransferError, match=r"ask\(\) returned a lock, .*in its place.*hosts=\{'ask': ask\}")
    with sandbox.load("def f():\n    return ask()\n", hosts={"ask": threading.Lock}) as candidate, said:
        candidate()


@pytest.mark.parametrize("value", [threading.Lock(), iter([1]), sys.modules["re"], [CLIENT], {"a": CLIENT}])
def test_arguments_that_cannot_enter_are_named(sandbox, value):
    said = r"The argument x of original\(\) is or holds"
    with load(sandbox, "return x") as candidate, pytest.raises(SandboxTransferError, match=said):
        candidate(value)


def test_functions_that_can_be_imported_enter(sandbox):
    with load(sandbox, "return x([3, 1])") as candidate:
        assert candidate(sorted) == [1, 3]
        assert candidate(Counter) == Counter([3, 1])
        assert candidate(math.prod) == 3


def test_modules_that_the_module_imports_may_be_imported(sandbox):
    with load(sandbox, "import numpy\nreturn int(numpy.sum(x))") as candidate:
        assert candidate([1, 2]) == 3


def test_other_packages_may_not_unless_they_are_named(sandbox):
    body = "import pygments\nreturn pygments.__name__"
    with load(sandbox, body) as candidate, pytest.raises(SandboxForbiddenError, match="import pygments is not allowed"):
        candidate(1)
    with load(sandbox, body, imports=["pygments"]) as candidate:
        assert candidate(1) == "pygments"


def test_modules_of_the_program_itself_are_found_where_they_are(sandbox, tmp_path, monkeypatch):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text("from shop.prices import price\n")
    (tmp_path / "shop" / "prices.py").write_text("def price(x):\n    return 10 * x\n")
    (tmp_path / "tools.py").write_text("import shop\nRATE = 2\n\ndef rated(x):\n    return RATE * x\n")
    (tmp_path / "main.py").write_text("import shop\nfrom tools import rated\n\ndef cost(x):\n    return 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    main = __import__("main")
    try:
        source = (
            "def cost(x):\n    import tools\n    return [shop.price(x), rated(x), tools.RATE, shop.prices.price(1)]\n"
        )
        with sandbox.load(source, like=main.cost) as candidate:
            assert candidate(3) == [30, 6, 2, 10]
    finally:
        for name in ("main", "tools", "shop", "shop.prices"):
            sys.modules.pop(name)


def test_what_wraps_functions_can_be_unwrapped(sandbox):
    class Wrapped:
        def __init__(self, value):
            self.value = value

    module = types.ModuleType("made")
    module.__dict__.update(helper=Wrapped(triple), number=Wrapped(4))
    like = types.FunctionType(original.__code__, vars(module), "original")

    def adapt(value):
        return value.value if isinstance(value, Wrapped) else value

    with sandbox.load("def original(x):\n    return helper(x) + number\n", like=like, adapt=adapt) as candidate:
        assert candidate(2) == 10


class Bundled:
    """As a bundle does, it takes the place of a function and is called like it."""

    def __init__(self, function):
        self.function = function

    def __call__(self, *args):
        raise AssertionError

    def __get__(self, instance, owner):
        return self


@Bundled
@shout
def bundled(x):
    return f"{x}{FACTOR}"


class Bundles:
    @Bundled
    def part(self, x):
        return x + FACTOR

    def act(self, x):
        return x


def unbundled(value):
    return value.function if isinstance(value, Bundled) else value


def test_decorators_that_were_unwrapped_are_left_out_and_those_below_are_kept(sandbox):
    source = "def original(x):\n    return [bundled(x), bundled(x)]\n"
    with sandbox.load(source, like=original, adapt=unbundled) as candidate:
        assert candidate("a") == ["A3", "A3"]
    source = "def act(self, x):\n    return self.part(x)\n"
    with sandbox.load(source, like=Bundles.act, adapt=unbundled) as candidate:
        assert candidate(Bundles(), 1) == 4


def test_wrappers_deep_in_arguments_are_unwrapped(sandbox):
    with sandbox.load("def f(x):\n    return x\n", adapt=lambda value: 5 if value is CLIENT else value) as candidate:
        assert candidate([{"a": CLIENT}]) == [{"a": 5}]


def test_containers_keep_their_kinds(sandbox):
    with load(sandbox, "return x") as candidate:
        given = OrderedDict([("b", 1), ("a", (1, [2]))])
        assert list(candidate(given).items()) == list(given.items())
        assert type(candidate(given)) is OrderedDict
