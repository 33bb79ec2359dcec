"""What a candidate uses of the program is what it is there now, and not what its source would make of it anew."""

import dataclasses
import enum
import functools
import linecache
import re
import sys
import types
import xml.etree.ElementTree  # noqa: ICN001 - looked up by the name of the package
import zipfile
from collections import namedtuple
from typing import ClassVar

import pytest

from opto.errors import SandboxTransferError
from opto.sandbox import Sandbox

pytestmark = pytest.mark.filterwarnings("ignore:Code that a model wrote:RuntimeWarning")

SIZE = 7


def scaled(x, n=SIZE, *, more=(SIZE,)):
    return x * n + sum(more)


@functools.wraps(scaled)
def wrapped(*args, first=SIZE):
    return first, scaled(*args)


class Scale:
    def by(self, x, n=SIZE):
        return x * n

    @classmethod
    def made(cls, n=SIZE):
        return n


SIZE = 1


class NeverEqual:
    def __del__(self):
        pass


STUCK = NeverEqual()


def with_client(x, client=STUCK):
    return x or client.ask()


def closures():
    k = 5

    def helper(x, k=k):
        return x + k

    return helper


HELPER = closures()
TABLE = [lambda x, i=i: x + i for i in range(3)]


class Registry:
    SEEN: ClassVar = {"a": 1}
    KINDS: ClassVar = {}
    mode = "first"
    lock = None
    own = None

    def __init_subclass__(cls):
        Registry.KINDS[cls.__name__] = cls


class Outer:
    class Inner:
        HELD: ClassVar = [1]

        def more(self, x=SIZE):
            return x, self.HELD

    class Kind(enum.Enum):
        ONE = 1


Outer.Inner.HELD.append(2)
SIZE = 100
MISSING = object()


def given(x=MISSING):
    return "nothing" if x is MISSING else x


class Calls:
    def __init__(self, function, times):
        functools.update_wrapper(self, function)
        self.function, self.times = function, times

    def __call__(self, x):
        return self.function(x) * self.times


def times(number):
    def decorate(function):
        @functools.wraps(function)
        def called(x):
            return function(x) * number

        return called

    return decorate


def recursive():
    def down(n):
        return [n, *(up(n - 1) if n else [])]

    def up(n):
        return down(n)

    return down, up


def renamed(x):
    return x + 1


down, up = recursive()
FIRST = renamed


def renamed(x):
    return x + 2


Made = dataclasses.make_dataclass("Made", [("x", int), ("y", list, dataclasses.field(default_factory=list))])
Tupled = namedtuple("Tupled", "a b", defaults=[3])  # noqa: PYI024 - it has no class statement
TRIPLED, CALLED = times(3)(scaled), Calls(scaled, 2)


class Listed(Registry):
    def double(self, x):
        return 2 * x


Registry.SEEN["b"] = 2
Registry.mode = "second"
Registry.lock = STUCK
Registry.added = [1]


@dataclasses.dataclass
class Options:
    size: int = 3
    factor: "int" = 2


Options.size = 4


def counted(x):
    counted.n += x
    return counted.n


counted.n = 5
counted.__dict__["client"] = STUCK


def announce(function):
    @functools.wraps(function)
    def called(*args):
        called.count += 1
        return function(*args), called.count

    called.count = 0
    return called


@announce
def told(x):
    return x


told(1)

INNER = (lambda x: lambda y: y * 100)(1)  # noqa: PLC3002 - what it is about
BOTH = [lambda x: x + 1, lambda x: x + 2]


def original(x):
    return x


@pytest.fixture(scope="module")
def sandbox():
    return Sandbox()


def load(sandbox, expression, **options):
    return sandbox.load(f"def original(x):\n    return {expression}\n", like=original, **options)


def run(sandbox, expression, given=None, **options):
    with load(sandbox, expression, **options) as candidate:
        return candidate(given)


class TestDefaults:
    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            ("scaled(2)", 21),
            ("scaled(2, 1, more=[])", 2),
            ("wrapped(2)", (7, 21)),
            ("[Scale().by(2), Scale.made()]", [14, 7]),
            ("HELPER(2)", 7),
            ("[f(2) for f in TABLE]", [2, 3, 4]),
            ("with_client(2)", 2),
            ("[given(), given(1)]", ["nothing", 1]),
            ("Outer.Inner().more()", (1, [1, 2])),
        ],
    )
    def test_are_the_objects_that_the_functions_have(self, sandbox, expression, expected):
        assert run(sandbox, expression) == expected

    def test_of_arguments(self, sandbox):
        assert run(sandbox, "[f(1) for f in x]", [*TABLE, HELPER]) == [1, 2, 3, 6]

    def test_of_the_function_itself(self, sandbox):
        made = []
        for i in range(3):

            def work(x, i=i):
                return x + i

            made.append(work)
        source = "def work(x, i=i):\n    return x + i + 10\n"
        results = []
        for work in made:
            with sandbox.load(source, like=work) as candidate:
                results.append(candidate(1))
        assert results == [11, 12, 13]

    def test_that_are_new_are_computed(self, sandbox):
        def work(x, n=SIZE):
            return x + n

        with sandbox.load("def work(x, n=SIZE + 1, *, m=2):\n    return x, n, m\n", like=work) as candidate:
            assert candidate(1) == (1, 101, 2)

    def test_that_cannot_enter_say_so_when_they_are_used(self, sandbox):
        with pytest.raises(AttributeError, match=r"with_client\(\) uses client, a NeverEqual"):
            run(sandbox, "with_client(0)")


class TestAttributes:
    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            ("Registry.SEEN", {"a": 1, "b": 2}),
            ("[Registry.mode, Registry.added]", ["second", [1]]),
            ("[*Registry.KINDS], Registry.KINDS['Listed']().double(2)", (["Listed"], 4)),
            ("Listed().mode", "second"),
            ("[Options().size, Options.size, Options().factor]", [3, 4, 2]),
            ("[counted(1), counted.n]", [6, 6]),
            ("told(3)", (3, 2)),
        ],
    )
    def test_are_what_the_program_has_made_of_them(self, sandbox, expression, expected):
        assert run(sandbox, expression) == expected

    def test_are_looked_at_before_each_call(self, sandbox, monkeypatch):
        with load(sandbox, "Registry.mode, Registry.own, counted.n") as candidate:
            assert candidate(1) == ("second", None, 5)
            monkeypatch.setattr(Registry, "mode", "third")
            monkeypatch.setattr(counted, "n", 8)
            monkeypatch.setattr(Registry, "own", STUCK)
            with pytest.raises(AttributeError, match="own is a NeverEqual"):
                candidate(1)
            monkeypatch.setattr(Registry, "own", 1)
            assert candidate(1) == ("third", 1, 8)

    def test_that_cannot_enter_say_so_when_they_are_used(self, sandbox):
        with pytest.raises(AttributeError, match="client is a NeverEqual"):
            run(sandbox, "counted.client.ask()")

    def test_classes_in_classes_are_the_same_by_all_ways(self, sandbox):
        assert run(sandbox, "[x is Outer.Kind.ONE, x]", Outer.Kind.ONE) == [True, Outer.Kind.ONE]
        assert run(sandbox, "isinstance(x, Outer.Inner)", Outer.Inner()) is True

    def test_marks_are_the_same_object_on_both_sides(self, sandbox):
        assert run(sandbox, "[x is MISSING, given(x), x]", MISSING) == [True, "nothing", MISSING]

    def test_wrappers_that_are_made_by_a_call_are_there(self, sandbox):
        assert run(sandbox, "[TRIPLED(2), CALLED(2), scaled(2)]") == [63, 42, 21]

    def test_functions_that_call_each_other_are_there(self, sandbox):
        assert run(sandbox, "[down(2), up(1), x(1)]", recursive()[0]) == [[2, 1, 0], [1, 0], [1, 0]]

    def test_functions_that_have_had_the_same_name_are_there(self, sandbox):
        assert run(sandbox, "[FIRST(1), renamed(1)]") == [2, 3]

    def test_classes_made_by_a_call_have_their_default_values(self, sandbox):
        assert run(sandbox, "[Made(1).y, Tupled(1).b, x.b]", Tupled(1, 2)) == [[], 3, 2]


class TestLambdas:
    def test_are_told_apart_by_their_code(self, sandbox):
        assert run(sandbox, "x(5)", INNER) == 500
        assert run(sandbox, "[f(5) for f in x]", BOTH) == [6, 7]

    def test_whose_line_has_changed_are_refused(self, sandbox, tmp_path):
        file = tmp_path / "lines.py"
        file.write_text("add = lambda x: x + 1\n")
        space = {}
        exec(compile(file.read_text(), str(file), "exec"), space)
        file.write_text("add = lambda x: x + 2\n")
        with load(sandbox, "x(1)") as candidate, pytest.raises(SandboxTransferError, match="source cannot be found"):
            candidate(space["add"])


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Make a package in *tmp_path* that can be imported."""
    package = tmp_path / "clean_words"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "helpers.py").write_text("def clean(text):\n    return text.strip()\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "clean_words"]:
        del sys.modules[name]


@pytest.fixture
def in_program(monkeypatch):
    """Return a function that runs a text as a notebook does, and returns the function ``original`` of it."""

    def run_text(text):
        module, file = types.ModuleType("notebook"), "<cell 1>"
        monkeypatch.setitem(sys.modules, "notebook", module)
        monkeypatch.setitem(linecache.cache, file, (len(text), None, text.splitlines(keepends=True), file))
        exec(compile(text, file, "exec"), vars(module))
        return module.original

    return run_text


class TestModules:
    def test_inside_others_are_there_as_in_the_program(self, sandbox, program, in_program):
        sys.path.insert(0, str(program))
        like = in_program("import clean_words.helpers\ndef original(x):\n    return clean_words.helpers.clean(x)\n")
        with sandbox.load("def original(x):\n    return clean_words.helpers.clean(x) + '.'\n", like=like) as candidate:
            assert candidate(" a ") == "a."
        assert run(sandbox, "xml.etree.ElementTree.fromstring('<a/>').tag") == "a"
        assert xml.etree.ElementTree.fromstring("<a/>").tag == "a"

    def test_in_an_archive_are_found(self, sandbox, program, in_program):
        archive = program / "lib.zip"
        with zipfile.ZipFile(archive, "w") as file:
            for name in ("__init__.py", "helpers.py"):
                file.write(program / "clean_words" / name, f"clean_words/{name}")
        sys.path.insert(0, str(archive))
        like = in_program("from clean_words import helpers\ndef original(x):\n    return helpers.clean(x)\n")
        assert str(archive) in sys.modules["clean_words"].__file__
        with sandbox.load("def original(x):\n    return helpers.clean(x) + '.'\n", like=like) as candidate:
            assert candidate(" a ") == "a."


CELL = """
from collections import namedtuple
from dataclasses import dataclass
from enum import Enum
class Mode(Enum):
    ON = [1]
    ALSO = ON
Pair = namedtuple("Pair", "left right", defaults=[2])
class Plain:
    pass
class Counter:
    def __init__(self, n):
        self.n = n
    def more(self):
        return self.n + 1
class EmptyError(ValueError):
    pass
@dataclass
class Point:
    x: int
    def twice(self):
        return 2 * self.x
def original(x):
    return x
"""


class TestCells:
    @pytest.fixture
    def like(self, in_program):
        return in_program(CELL)

    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            ("Counter(x).more()", 3),
            ("Point(x).twice()", 4),
            ("isinstance(Plain(), Plain)", True),
            ("issubclass(EmptyError, ValueError)", True),
        ],
    )
    def test_classes_in_them_are_found(self, sandbox, like, expression, expected, monkeypatch):
        monkeypatch.setitem(linecache.cache, "<cell 2>", (8, None, ["%magic\n"], "<cell 2>"))
        with sandbox.load(f"def original(x):\n    return {expression}\n", like=like) as candidate:
            assert candidate(2) == expected

    def test_methods_without_a_source_say_so_when_they_are_used(self, sandbox, like):
        linecache.cache.pop(like.__code__.co_filename)
        with sandbox.load("def original(x):\n    return Point(x).x\n", like=like) as candidate:
            assert candidate(2) == 2
        with (
            sandbox.load("def original(x):\n    return Point(x).twice()\n", like=like) as candidate,
            pytest.raises(AttributeError, match=r"Point.twice stays outside: .*source cannot be found"),
        ):
            candidate(2)

    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            ("[Mode.ON.value, Mode.ALSO is Mode.ON]", [[1], True]),
            ("[*Pair(1)]", [1, 2]),
            ("Point(x) == Point(2)", True),
        ],
    )
    def test_classes_of_data_without_a_source_are_what_their_data_is(self, sandbox, like, expression, expected):
        linecache.cache.pop(like.__code__.co_filename)
        with sandbox.load(f"def original(x):\n    return {expression}\n", like=like) as candidate:
            assert candidate(2) == expected

    def test_what_cannot_enter_is_said_once(self, sandbox, like):
        linecache.cache.pop(like.__code__.co_filename)
        with pytest.raises(SandboxTransferError) as caught:
            sandbox.load("def original(x):\n    return Counter(x)\n", like=like)
        assert str(caught.value).startswith(
            "original() uses Counter, whose source cannot be found, so it cannot enter the sandbox."
        )

    def test_nor_of_arguments(self, sandbox, like):
        linecache.cache.pop(like.__code__.co_filename)
        counter = like.__globals__["Counter"](1)
        with (
            sandbox.load("def original(x):\n    return x\n", like=like) as candidate,
            pytest.raises(SandboxTransferError, match=r"is or holds a Counter, whose source cannot be found, which"),
        ):
            candidate(counter)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("re.match('a', 'a')", "a re.Match, which"),
        ("io.StringIO()", "an io.StringIO, which"),
        ("type('Own', (), {})()", "an Own, a class of its own, which"),
        ("iter([])", "a list_iterator, which"),
    ],
)
def test_what_cannot_leave_is_named_as_its_users_know_it(sandbox, expression, said):
    source = f"def original(x):\n    import io, re\n    return {expression}\n"
    with (
        sandbox.load(source, like=original) as candidate,
        pytest.raises(SandboxTransferError, match=rf"returned {re.escape(said)}"),
    ):
        candidate(1)
