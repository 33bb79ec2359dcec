"""An exception of a candidate is caught by what catches it where the same code runs in the program."""

import decimal
import errno
import json
import re
import sqlite3
import subprocess
import sys
import textwrap
import traceback
import zoneinfo
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pydantic
import pytest

from opto.errors import SandboxCrashError, SandboxError, SandboxMemoryError
from opto.sandbox import Limits, Sandbox
from opto.sandbox.child.codec import Decoder, Encoder
from opto.sandbox.child.reading import limited
from opto.sandbox.scope.remaking import class_of, remade
from opto.sandbox.scope.values import Values

pytestmark = pytest.mark.filterwarnings("ignore:Code that a model wrote:RuntimeWarning")


class FarError(Exception):
    """With another __init__ than it keeps, and a slot."""

    __slots__ = ("where",)

    def __init__(self, where, *, how):
        super().__init__("far")
        self.where, self.how = where, how


class OpaqueError(Exception):
    def __init__(self, what):
        self.what = what

    def __str__(self):
        return f"about {self.what()}"


SEEN = []


class WatchedError(SyntaxError):
    """Notes all that is done to it, and what is made below it."""

    def __new__(cls, *args):
        SEEN.append("new")
        return super().__new__(cls, *args)

    def __init_subclass__(cls):
        SEEN.append(cls)

    def __setattr__(self, name, value):
        SEEN.append(name)

    def add_note(self, note):
        SEEN.append(note)

    def with_traceback(self, traceback):
        SEEN.append(traceback)
        return self

    filename = lineno = property(lambda self: SEEN.append("get"))


class Meta(type):
    def __call__(cls, *args):
        return super().__call__(*args)


class MetaError(Exception, metaclass=Meta):
    pass


class Lazy:
    """Stands in a module for something else, which asking it brings there."""

    def __getattribute__(self, name):
        SEEN.append(name)
        return object.__getattribute__(self, name)


class Several(NamedTuple):
    what: str

    def __iter__(self):
        raise AssertionError


def f():
    return FarError, OpaqueError, OutsideError, WatchedError, MetaError, Several


class OutsideError(Exception):
    pass


@pytest.fixture(scope="module")
def sandbox():
    return Sandbox(imports=["numpy", "pydantic"])


def caught(sandbox, source, **options):
    body = textwrap.indent(textwrap.dedent(source), "    ")
    with sandbox.load(f"def f():\n{body}\n", **options) as candidate, pytest.raises(BaseException) as error:
        candidate()
    return error.value


@pytest.mark.parametrize(
    ("source", "kind", "attributes"),
    [
        ("import json; json.loads('{')", json.JSONDecodeError, {"pos": 1, "doc": "{", "lineno": 1}),
        ("import re; re.compile('(')", re.error, {"pos": 0, "pattern": "("}),
        ("import decimal; decimal.Decimal('x')", decimal.InvalidOperation, {}),
        ("import zoneinfo; zoneinfo.ZoneInfo('No/Where')", zoneinfo.ZoneInfoNotFoundError, {}),
        ("import sqlite3; sqlite3.connect(':memory:').execute('no')", sqlite3.OperationalError, {}),
        ("import numpy as np; np.linalg.inv(np.zeros((2, 2)))", np.linalg.LinAlgError, {}),
        ("import numpy as np; np.zeros(2).sum(axis=4)", np.exceptions.AxisError, {"axis": 4, "ndim": 1}),
        ("open('nowhere')", FileNotFoundError, {"errno": errno.ENOENT, "filename": "nowhere"}),
        ("raise OSError(2, 'no')", FileNotFoundError, {"errno": 2, "strerror": "no"}),
        ("import nothing_of_the_kind", ModuleNotFoundError, {"name": "nothing_of_the_kind"}),
        ("b'\\xff'.decode()", UnicodeDecodeError, {"start": 0, "object": b"\xff"}),
        ("{}['k']", KeyError, {"args": ("k",)}),
    ],
    ids=lambda item: item if isinstance(item, str) else None,
)
def test_classes_that_the_program_has_are_those(sandbox, source, kind, attributes):
    error = caught(sandbox, source)
    assert type(error) is kind
    assert {name: getattr(error, name) for name in attributes} == attributes
    with pytest.raises(kind) as original:
        exec(source, {})
    assert str(error) == str(original.value)


VALIDATING = """
import pydantic, pydantic_core
class Point(pydantic.BaseModel):
    x: int
    y: str = ""
    @pydantic.field_validator("y")
    def check(cls, value):
        if value == "a": raise ValueError("is {a}")
        raise pydantic_core.PydanticCustomError("of_mine", "no {what}", {"what": 3})
def f(x):
    return Point(**x)
"""


@pytest.mark.parametrize("given", [{"x": "q"}, {}, {"x": 1, "y": "a"}, {"x": 1, "y": "b"}, {"x": [1], "y": 5}])
def test_errors_of_validation_are_those(sandbox, given):
    names = {}
    exec(VALIDATING, names)
    loaded = sandbox.load(VALIDATING, "f", imports=["pydantic_core"])
    with loaded as candidate, pytest.raises(pydantic.ValidationError) as error:
        candidate(given)
    with pytest.raises(pydantic.ValidationError) as original:
        names["f"](given)
    assert str(error.value) == str(original.value)
    kept = ("type", "loc", "input", "msg")
    said, expected = ([[item[name] for name in kept] for item in each.value.errors()] for each in (error, original))
    assert said == expected


def test_classes_of_the_candidates_own_are_below_those(sandbox):
    error = caught(sandbox, "import json\nclass Mine(json.JSONDecodeError): ...\nraise Mine('no', 'text', 2)")
    assert isinstance(error, json.JSONDecodeError)
    assert (type(error).__module__, type(error).__name__, error.pos) == ("candidate", "Mine", 2)
    error = caught(sandbox, "class Mine(FarError): ...\nraise Mine(3, how=4)", like=f)
    assert isinstance(error, FarError)
    assert (error.where, error.how) == (3, 4)


def test_no_init_runs(sandbox, monkeypatch):
    def init(*_, **__):
        raise AssertionError

    monkeypatch.setattr(json.JSONDecodeError, "__init__", init)
    assert caught(sandbox, "import json; json.loads('{')").pos == 1


def test_what_an_exception_says_comes_over_whatever_it_says_it_of(sandbox):
    error = caught(sandbox, "raise OpaqueError(lambda: 'this')", like=f)
    assert isinstance(error, OpaqueError)
    assert str(error) == "about this"


@pytest.mark.parametrize("name", ["opto.errors.SandboxTimeoutError", "__main__.Sandbox", "sys.modules", "json.nothing"])
def test_other_classes_are_not_for_candidates_to_name(sandbox, name):
    module, _, kind = name.rpartition(".")
    source = f"class Mine(ValueError):\n    __module__ = {module!r}\n    __qualname__ = {kind!r}\nraise Mine('x')"
    error = caught(sandbox, source)
    assert not isinstance(error, SandboxError)
    assert isinstance(error, ValueError)
    assert type(error).__module__ == "candidate"


def test_what_ends_programs_is_not_made(sandbox):
    assert type(caught(sandbox, "import asyncio\nraise asyncio.CancelledError")) is SandboxCrashError


def test_where_an_exception_comes_from_is_there(sandbox):
    handled = "try:\n    {}['k']\nexcept KeyError as e:\n    raise ValueError('no')"
    error = caught(sandbox, f"{handled} from e")
    assert (type(error.__cause__), error.__cause__.args, error.__suppress_context__) == (KeyError, ("k",), True)
    assert traceback.extract_tb(error.__cause__.__traceback__)[-1].lineno == 3
    error = caught(sandbox, handled)
    assert (error.__cause__, error.__context__.args, error.__suppress_context__) == (None, ("k",), False)
    error = caught(sandbox, f"{handled} from None")
    assert error.__suppress_context__


def test_where_an_exception_comes_from_may_be_outside(sandbox):
    raised = OutsideError("here")

    def ask():
        raise raised

    error = caught(sandbox, "try:\n    ask()\nexcept Exception as e:\n    raise ValueError from e", hosts={"ask": ask})
    assert error.__cause__ is raised


def test_a_long_chain_ends(sandbox):
    source = "def g(n):\n    try: g(n - 1) if n else 1 / 0\n    except Exception: raise ValueError\ng(50)"
    error = caught(sandbox, source)
    length = 0
    while error is not None:
        error, length = error.__context__, length + 1
    assert 3 <= length < 10


def test_groups_are_groups(sandbox):
    source = "raise ExceptionGroup('several', [ValueError(1), ExceptionGroup('more', [KeyError('k')])])"
    error = caught(sandbox, source)
    values, others = error.split(ValueError)
    assert [item.args for item in values.exceptions] == [(1,)]
    assert others.exceptions[0].exceptions[0].args == ("k",)
    assert str(error) == "several (2 sub-exceptions)"
    assert type(caught(sandbox, "raise BaseExceptionGroup('g', [SystemExit()])")) is SandboxCrashError


def test_places_in_syntax_errors_are_numbers(sandbox):
    error = caught(sandbox, "raise SyntaxError('bad', (None, 'x', 'y', 5))")
    assert "bad" in "".join(traceback.format_exception(error))


def test_a_file_that_is_too_large_is_a_limit(sandbox):
    small = Sandbox(sandbox.isolation, limits=Limits(disk=1 << 20))
    error = caught(small, "with open('x', 'wb', buffering=0) as file:\n    while True: file.write(bytes(1 << 18))")
    assert type(error) is SandboxMemoryError
    assert "f() wrote a file of more than 256 KiB, a quarter of what it may write in line 3." in str(error)


def test_frames_are_in_their_lines(sandbox):
    for line in (1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 4095, 4096, 70_000):
        error = caught(sandbox, "\n" * (line - 2) + "1 / 0" if line > 1 else "x = 1 / 0")
        frame = traceback.TracebackException.from_exception(error).stack[-1]
        last = error.__traceback__
        while last.tb_next:
            last = last.tb_next
        assert last.tb_frame.f_lineno == last.tb_lineno == frame.lineno == max(line, 2)
        assert frame.colno is None


def test_ipython_shows_functions_of_cells_and_of_files(tmp_path):
    """It looks at the frame for its line where it does not look at the code."""
    (tmp_path / "helping.py").write_text("def inner(x):\n    def deep(z):\n        return [][z]\n    return deep(x)\n")
    script = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
from IPython.core.interactiveshell import InteractiveShell
from ipykernel.compiler import XCachingCompiler
InteractiveShell.compiler_class = XCachingCompiler  # as notebooks name their cells
shell = InteractiveShell.instance(colors="nocolor")
shell.run_cell('''from opto.sandbox import Sandbox
from helping import inner
def helper(x): return [][x]
class Agent:
    def helps(self, x):
        y = 5
        return [][x]
    def act(self, x): return self.helps(x)
def f(x): return helper(x), inner(x)
def changed(source, *args, like=f, **options): Sandbox().load(source, like=like, **options)(*args)
''')
shell.run_cell("changed('def f(x):\\\\n    return helper(x)\\\\n', 1)")
shell.run_cell("changed('def f(x):\\\\n    return inner(x)\\\\n', 1)")
shell.run_cell("source = 'def act(self, x):\\\\n    return self.helps(x)\\\\n'")
shell.run_cell("changed(source, Agent(), 1, like=Agent.act, owner=Agent)")
shell.run_cell("changed('def f(x):\\\\n    return eval(x)\\\\n', '1 1')")
"""
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert "Unexpected exception" not in shown.stdout + shown.stderr
    assert shown.stdout.count("IndexError") >= 3
    for line in ("def helper(x): return [][x]", "return [][z]", "self.helps(x)", "return [][x]", "SyntaxError"):
        assert line in shown.stdout, shown.stdout


def test_nothing_is_called_of_a_class_that_an_exception_is_of(sandbox):
    SEEN.clear()
    source = """
error = WatchedError('no', ('x.py', 'y', 'z', 'w'))
error.__dict__['__notes__'] = ['first']
try: {}['k']
except KeyError: raise error
"""
    error = caught(sandbox, source, like=f)
    assert SEEN == []
    assert type(error) is WatchedError
    assert error.__notes__ == ["first"]
    assert error.__traceback__ is not None
    assert type(error.__context__) is KeyError


def described(kind, args=None, **state):
    return {"type": kind, "args": args if args is not None else {"!tuple": []}, "state": state}


@pytest.mark.parametrize("kind", [WatchedError, MetaError])
def test_no_class_is_made_below_one_that_would_know_of_it(kind):
    SEEN.clear()
    error = remade(kind, described("Evil"), "text", Decoder(), is_exact=False)
    assert (type(error).__name__, str(error), SEEN) == ("Evil", "text", [])
    assert not isinstance(error, kind)
    assert kind.__subclasses__() == []


def test_what_stands_in_modules_is_not_asked_what_it_is(monkeypatch):
    module = ModuleType("plugin")
    module.lazy, module.Error = Lazy(), OutsideError
    monkeypatch.setitem(sys.modules, "plugin", module)
    SEEN.clear()
    kinds = [["plugin", "lazy"], ["plugin", "lazy.more"], ["plugin", "Error"]]
    assert class_of(kinds, Decoder()) == (OutsideError, False)
    assert SEEN == []


def test_arguments_are_a_plain_tuple():
    values = Values(None, Encoder)
    values.known["Several"] = Several
    error = remade(ValueError, described("E", {"!named": ["Several", ["x"]]}), "text", values.decoder, is_exact=True)
    assert error.args == ("text",)


class MortalError(Exception):
    def __del__(self):
        SEEN.append("gone")


@pytest.mark.parametrize("named", ["key", [__name__, "MortalError"]])
def test_no_exception_is_made_that_runs_code_when_it_goes(named):
    values = Values(None, Encoder)
    values.known["key"] = MortalError
    assert class_of([named, ["builtins", "ValueError"]], values.decoder) == (ValueError, False)


@pytest.mark.parametrize(
    ("args", "state"),
    [
        (("ascii", b"a", -(10**9), 1 - 10**9, "no"), {}),
        (("ascii", b"a", 5, 6, "no"), {}),
        (("ascii", b"a", 0, 1, "no"), {"start": -(10**9), "end": 1 - 10**9}),
        (("ascii", b"a", 0, 1, "no"), {"object": 5}),
    ],
)
def test_places_outside_of_a_text_are_not_looked_for(args, state):
    encode, decoder = Encoder().encode, Decoder()
    described = {"type": "UnicodeDecodeError", "args": encode(args), "state": encode(state)}
    error = remade(UnicodeDecodeError, described, "it says", decoder, is_exact=True)
    assert str(error) in {"it says", "'ascii' codec can't decode byte 0x61 in position 0: no"}


def test_methods_of_an_exception_stay_what_they_are():
    described = {"type": "ValueError", "args": {"!tuple": []}, "state": {"add_note": 1, "code": 2}}
    error = remade(ValueError, described, "", Decoder(), is_exact=True)
    error.add_note("x")
    assert vars(error) == {"code": 2, "__notes__": ["x"]}


def test_nothing_without_end_is_gone_through_for_the_place_of_a_syntax_error():
    args = {"!tuple": ["x", {"!range": [0, 10**7, 1]}]}
    error = remade(SyntaxError, {"type": "SyntaxError", "args": args}, "x", Decoder(), is_exact=True)
    assert error.args == ("x",)


def test_many_exceptions_are_not_made_for_longer_than_they_may_be():
    with limited(-1.0), pytest.raises(ValueError, match="longer"):
        remade(ValueError, {"type": "ValueError", "args": {"!tuple": []}}, "x", Decoder(), is_exact=True)
