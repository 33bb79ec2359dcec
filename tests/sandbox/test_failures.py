"""What a candidate's process says of an exception is somebody else's text, and ends nobody's run."""

import gc
import importlib.util
import linecache
import signal
import sys
import traceback

import pydantic_core  # noqa: F401 - some forged answers speak of it
import pytest

from opto.errors import SandboxCrashError, SandboxError, SandboxForbiddenError, SandboxTransferError, StoppingError
from opto.sandbox import Limits, Sandbox
from opto.sandbox.failures import visible

pytestmark = pytest.mark.filterwarnings("ignore:Code that a model wrote:RuntimeWarning")


class EnoughError(StoppingError):
    def __init__(self):
        super().__init__("Enough.", mend="Stop.")


class Over(BaseException):
    pass


def stops(kind):
    raise {"EnoughError": EnoughError, "Over": Over}[kind]


@pytest.fixture(scope="module")
def sandbox():
    return Sandbox("child")


def caught(candidate, *args, **kwargs):
    with candidate, pytest.raises(BaseException) as error:
        candidate(*args, **kwargs)
    return error.value


def says(sandbox, answer, **options):
    """Return what comes of an answer that a candidate writes by itself."""
    source = (
        "import json, os, struct, sys\ndef f():\n"
        "    frame = sys._getframe()\n"
        "    while '_number' not in dir(frame.f_locals.get('self')):\n        frame = frame.f_back\n"
        f"    data = json.dumps({{'n': frame.f_locals['self']._number, **{answer}}}).encode()\n"
        "    os.write(3, struct.pack('>Q', len(data)) + data)\n"
        "    sys.stdin.read()\n"
    )
    return caught(sandbox.load(source, **options))


def test_what_terminals_obey_is_shown():
    assert visible("a\tb\n\x1b[31m\x07\x9b\r\u202e\ud800é") == "a\tb\n\\x1b[31m\\x07\\x9b\\r\\u202e\\ud800é"


def test_texts_of_errors_are_short_and_can_be_shown(sandbox):
    error = caught(sandbox.load("def f():\n    raise ValueError('\\x1b[31m\\ud800' + 'x' * 100_000)\n"))
    assert type(error) is ValueError
    assert str(error).startswith("\\x1b[31m\\ud800xxx")
    assert len(str(error)) < 5000
    error = caught(
        sandbox.load("def f():\n    raise type('\\x1b[31m', (ValueError,), {'__notes__': ['\\x07']})('x')\n")
    )
    assert "\x1b" not in "".join(traceback.format_exception(error))


def test_output_can_be_shown(sandbox):
    with sandbox.load("def f():\n    print('\\x1b]0;x\\x07\\ud800')\n") as candidate:
        candidate()
        assert candidate.output == "\\x1b]0;x\\x07\\ud800\n"


@pytest.mark.parametrize("kind", ["EnoughError", "Over"])
def test_classes_of_the_program_that_end_runs_do_not(sandbox, kind):
    error = caught(sandbox.load(f"def stops(kind):\n    raise {kind}()\n", like=stops), kind)
    assert type(error) is SandboxCrashError
    assert f"raised {kind} in line 2, which ends programs" in str(error)


def test_no_attribute_of_an_exception_is_what_python_looks_at(sandbox):
    error = caught(
        sandbox.load(
            "def f():\n    e = ValueError(1)\n    e.__dict__.update({2: 3, '__cause__': 4, 'kept': 5})\n    raise e\n"
        )
    )
    assert vars(error) == {"kept": 5}
    error = caught(sandbox.load("def f():\n    e = ValueError(1)\n    e.__notes__ = 5\n    raise e\n"))
    assert vars(error) == {}


def test_lines_of_a_helpers_file_are_shown_only_if_they_were_sent(sandbox, tmp_path, monkeypatch):
    path = tmp_path / "helping.py"
    path.write_text("def helper(x):\n    return 1 // x\n\nKEY = 'secret'\n\ndef f(x):\n    return helper(x)\n")
    spec = importlib.util.spec_from_file_location("helping", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "helping", module)
    spec.loader.exec_module(module)
    honest = caught(sandbox.load("def f(x):\n    return helper(x)\n", like=module.f), 0)
    assert "return 1 // x" in "".join(traceback.format_exception(honest))
    forging = "def f(x):\n    exec(compile('\\n\\n\\nraise ValueError', helper.__code__.co_filename, 'exec'))\n"
    forged = caught(sandbox.load(forging, like=module.f), 0)
    assert type(forged) is ValueError
    assert "secret" not in "".join(traceback.format_exception(forged))


def test_a_syntax_error_names_no_file_of_somebody_elses(sandbox, tmp_path):
    error = caught(sandbox.load(f"def f():\n    raise SyntaxError('bad', ({str(tmp_path / 'x')!r}, 1, 1, None))\n"))
    assert type(error) is SyntaxError
    assert error.filename is None


@pytest.mark.parametrize(
    "answer",
    [
        {"limit": "result", "size": 10**4000},
        {"limit": "output", "line": 10**4000},
        {"limit": "nothing"},
        {"ok": 1, "lost": 5},
        {"error": {"type": "X", "kinds": ["nobody's"]}},
        {"error": {"type": "X", "kinds": [["builtins", "Exception"]], "frames": [[1]]}},
        {"error": 5},
        {"error": {"type": "X", "kinds": [5]}},
        {"error": {"type": "X", "kinds": [["builtins", "len", "x"]]}},
        {"error": {"type": "X", "kinds": [["pydantic_core._pydantic_core", "ValidationError"]], "found": [5, [5]]}},
        {"error": {"type": "X", "kinds": [["builtins", "Exception"]], "inner": [5]}},
        {"error": {"type": "X", "kinds": [["builtins", "Exception"]], "cause": 5}},
        {"ok": {"!int": 5}},
        {"ok": {"!decimal": "\x1b"}},
        {"host": "\x1b" * 10_000, "args": [], "kwargs": {}},
        {},
    ],
    ids=repr,
)
def test_forged_answers_are_errors_of_the_sandbox(sandbox, answer):
    error = says(sandbox, answer)
    assert type(error).__name__.startswith("Sandbox")
    assert len(str(error)) < 600
    assert "\x1b" not in str(error)


def test_a_result_that_cannot_be_read_is_one(sandbox):
    error = says(sandbox, {"ok": {"!member": ["nobody's", "UP"]}})
    assert type(error) is SandboxTransferError
    assert str(error).startswith("f() returned a value that cannot be read outside the sandbox (KeyError")


def test_imports_that_are_allowed_are_named(sandbox):
    error = caught(sandbox.load("def f():\n    import numpy\n", imports=["attrs", "pytest.raises"]))
    assert type(error) is SandboxForbiddenError
    assert "import numpy is not allowed here; what is, is the harmless part of the standard library and " in str(error)
    assert "attrs, pytest (the program allows more with Sandbox(imports=['numpy']))." in str(error)


@pytest.mark.parametrize("module", ["socket", "subprocess", "http.client", "urllib.request", "ctypes"])
def test_imports_that_would_come_to_nothing_are_not_advised(sandbox, module):
    error = caught(sandbox.load(f"def f():\n    import {module}\n"))
    assert f"import {module} is not allowed here" in str(error)
    assert "imports=" not in str(error)
    assert "offer a function of its own that reaches out, with Sandbox(hosts={'fetch': fetch})" in str(error)


def test_lines_are_forgotten_with_the_last_candidate_that_has_them():
    text = "def f(x):\n    return 1 / x\n"
    first = Sandbox("child").load(text, file="<of two>")
    with Sandbox("child").load(text, file="<of two>") as second:
        del first
        gc.collect()
        assert linecache.getline("<of two>", 2) == "    return 1 / x\n"
    del second
    gc.collect()
    assert "<of two>" not in linecache.cache


@pytest.mark.parametrize("rest", ["return iter(())", "while True: pass"])
def test_errors_tell_what_was_printed(rest):
    with Sandbox("child", limits=Limits(seconds=0.3)).load(f"def f():\n    print('so far')\n    {rest}\n") as candidate:
        with pytest.raises(SandboxError) as caught:
            candidate()
        assert caught.value.output == candidate.output == "so far\n"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("SIGALRM", "was ended by the alarm that it set (SIGALRM). Set no timers"),
        ("SIGVTALRM", "was ended by the alarm that it set (SIGVTALRM). Set no timers"),
        ("SIGPIPE", "wrote to something that nobody reads any more (SIGPIPE). Leave SIGPIPE ignored"),
        ("SIGTERM", "was ended by SIGTERM. Send no signals"),
        ("SIGUSR1", "was ended by SIGUSR1. Send no signals"),
        ("SIGSEGV", "crashed Python (SIGSEGV). Recurse less deeply"),
        ("SIGKILL", "was killed, or closed its connection. Return a value"),
        ("SIGXFSZ", "wrote a file of more than 16 MiB, a quarter of what it may write. Write less"),
        ("SIGXCPU", "did not finish within 10 s. Make it end sooner"),
        ("SIGPROF", "did not finish within 10 s. Make it end sooner"),
    ],
)
def test_signals_are_told_as_what_they_mean(sandbox, name, words):
    begin = "    signal.signal(number, signal.SIG_DFL)\n" if name != "SIGKILL" else ""
    source = f"import os, signal\ndef f(number):\n{begin}    os.kill(os.getpid(), number)\n"
    error = caught(sandbox.load(source, imports=["signal"]), int(getattr(signal, name)))
    assert str(error).startswith(f"f() {words}")


def test_who_leaves_python_unable_to_answer_is_told_so(sandbox):
    error = caught(sandbox.load("import os\ndef f():\n    os.write = None\n    return 1\n"))
    assert type(error) is SandboxCrashError
    assert str(error) == (
        "f() ended Python, or left it unable to answer (exit code 70). Leave builtins and Python's own modules as they "
        "are; return a value, or raise an exception."
    )
    assert (error.exit_code, error.output) == (70, "")
