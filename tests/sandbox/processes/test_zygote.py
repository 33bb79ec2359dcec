"""Processes start in programs of all kinds, and with bubblewrap, what the program imports itself is let in."""

import os
import shutil
import subprocess
import sys

import pytest

from opto.errors import IsolationError
from opto.sandbox import Sandbox
from opto.sandbox.processes import zygote as zygotes

pytestmark = pytest.mark.filterwarnings("ignore:Code that a model wrote:RuntimeWarning")
SAME = "def same(x):\n    return x\n"
PROGRAM = """
import warnings
warnings.simplefilter('ignore')
from opto.sandbox import Limits, Sandbox
sandbox = Sandbox({level!r}, limits=Limits(seconds=0.5))
for number in range({count}):
    with sandbox.load(f'def f(x):\\n    return x + {{number}}') as candidate:
        assert candidate(1) == number + 1
try:
    with sandbox.load('def f():\\n    while True: pass') as candidate:
        candidate()
except Exception as error:
    print(type(error).__name__, error.line)  # which takes a signal to find out
"""
LATE = "SandboxTimeoutError 2\n"
LEVELS = ["auto", "child", "strict"]


def ran(beginning, level, count=1):
    """Return what a program writes that begins in this way and then calls candidates, the last of which is late."""
    try:
        Sandbox(level).prepare()
    except IsolationError:
        pytest.skip("the strict level is not to be had here")
    program = beginning + PROGRAM.format(level=level, count=count)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("level", LEVELS)
def test_how_long_sockets_of_the_program_wait_is_its_own_affair(level):
    beginning = "import socket\nsocket.setdefaulttimeout(30)\n"
    assert ran(beginning, level, 15) == LATE


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    "beginning",
    [
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
        "for number in signal.valid_signals() - {9, 19}: signal.signal(number, signal.SIG_IGN)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
    ],
    ids=["ignoring what becomes of children", "ignoring all", "holding all back"],
)
def test_signals_that_a_program_does_not_hear_are_heard_by_processes_of_candidates(level, beginning):
    assert ran(f"import signal\n{beginning}\n", level) == LATE


@pytest.mark.parametrize("level", LEVELS)
def test_where_temporary_files_are_cleared_up_new_processes_start_elsewhere(level):
    sandbox = Sandbox(level)
    try:
        sandbox.prepare()
    except IsolationError:
        pytest.skip("the strict level is not to be had here")
    with sandbox.load(SAME) as before, sandbox.load(SAME) as after, sandbox.load(SAME) as last:
        assert before(1) == 1
        zygote = sandbox._level.zygote
        shutil.rmtree(zygote.root)
        assert before(2) == 2
        assert after(1) == 1
        # What is under way goes on, and the next ones find the new place at once.
        assert before(3) == 3
        assert zygote.is_alive
        assert last(1) == 1
        assert after._engine.newest._zygote is last._engine.newest._zygote


FEW_FILES = """
import os, resource, warnings
warnings.simplefilter('ignore')
from opto.sandbox import Sandbox
import opto.sandbox.engines, opto.sandbox.processes.shortages, subprocess, socket
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
held, outcomes = [], []
for left in range(12):
    try:
        while True:
            held.append(os.open('/dev/null', os.O_RDONLY))
    except OSError:
        pass
    for _ in range(left):
        os.close(held.pop())
    try:
        outcome = Sandbox('child').load('def f():\\n    return 1')()
    except Exception as error:
        outcome = f'{type(error).__name__}: {error}'
    print(outcome)
    while held:
        os.close(held.pop())
"""


def test_who_has_too_many_files_open_is_told_to_close_some(tmp_path):
    options = {"env": {**os.environ, "TMPDIR": str(tmp_path)}, "capture_output": True, "text": True, "check": True}
    done = subprocess.run([sys.executable, "-c", FEW_FILES], **options)
    said = "IsolationError: The process for candidates could not be started: Too many open files. "
    mend = "Close files that the program has open, or raise its limit for them (ulimit -n)."
    assert {*done.stdout.splitlines()} == {"1", said + mend}
    assert not [*tmp_path.iterdir()]


def test_who_has_too_many_processes_is_told_to_end_some(monkeypatch):
    """Root may have as many as it likes, so the kernel's answer is put in its place."""
    beginning = "import os\ndef fork():\n    raise BlockingIOError(11, os.strerror(11))\nos.fork = fork\n"
    monkeypatch.setattr(zygotes, "_START", beginning + zygotes._START)
    with pytest.raises(IsolationError) as caught:
        zygotes.Zygote(zygotes.Variant())
    assert str(caught.value) == (
        "The process for candidates could not be started: Resource temporarily unavailable. End processes or threads "
        "of this user, or raise the limit for them (ulimit -u)."
    )


@pytest.fixture
def strict():
    sandbox = Sandbox("strict")
    try:
        sandbox.prepare()
    except IsolationError:
        pytest.skip("the strict level is not to be had here")
    return sandbox


def loaded(sandbox, source, module):
    namespace = {"__name__": "program", "module": module}
    exec("def like(x):\n    return module\n", namespace)
    return sandbox.load(source, "like", like=namespace["like"])


def test_modules_of_the_users_own_are_there(strict, tmp_path, monkeypatch):
    import importlib

    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "of_a_file.py").write_text("def grow(x):\n    return x + 1\n")
    (tmp_path / "of_a_folder").mkdir()
    (tmp_path / "of_a_folder" / "__init__.py").write_text("from of_a_folder.inner import grow\n")
    (tmp_path / "of_a_folder" / "inner.py").write_text("def grow(x):\n    return x + 2\n")
    (tmp_path / "secret").write_text("nobody's business")
    for name, expected in (("of_a_file", 4), ("of_a_folder", 6)):
        module = importlib.import_module(name)
        with loaded(strict, "def like(x):\n    return module.grow(x) * 2\n", module) as candidate:
            assert candidate(1) == expected
        source = f"def like(x):\n    try:\n        return open({str(tmp_path / 'secret')!r}).read()\n"
        with loaded(
            strict, f"{source}    except OSError as error:\n        return module and 'none'\n", module
        ) as other:
            assert other(1) == "none"
        del sys.modules[name]


def test_candidates_with_the_same_modules_share_what_makes_their_processes(strict, tmp_path, monkeypatch):
    import importlib

    monkeypatch.syspath_prepend(tmp_path)
    makers = {}
    for name in ("of_one", "of_another"):
        (tmp_path / f"{name}.py").write_text("def grow(x):\n    return x + 1\n")
        module = importlib.import_module(name)
        candidates = [loaded(strict, "def like(x):\n    return module.grow(x)\n", module) for _ in range(2)]
        assert [each(1) for each in candidates] == [2, 2]
        makers[name] = {each._engine.newest._zygote.process_id for each in candidates}
        for each in candidates:
            each.close()
        del sys.modules[name]
    assert [len(found) for found in makers.values()] == [1, 1]
    assert makers["of_one"] != makers["of_another"]
