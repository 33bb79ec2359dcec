"""Small pure functions run in an interpreter of their own."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from opto.errors import (
    MissingDependencyError,
    SandboxCrashError,
    SandboxForbiddenError,
    SandboxMemoryError,
    SandboxOutputError,
    SandboxTimeoutError,
    SandboxTransferError,
    SourceError,
)
from opto.sandbox import Limits, Sandbox
from opto.sandbox import monty as module

FACTOR = 3


def original(x):
    return x


@pytest.fixture(scope="module")
def sandbox():
    pytest.importorskip("pydantic_monty")
    return Sandbox("monty", limits=Limits(seconds=0.5, memory=32 << 20, output=100, result=1000))


def test_values_and_state(sandbox):
    body = "    seen.append(x)\n    print('hello')\n    return {'all': seen, 'by': x * by}\n"
    source = f"seen = []\ndef f(x, *, by=2):\n{body}"
    assert sandbox.level == "monty"
    with sandbox.load(source) as candidate:
        assert candidate(1) == {"all": [1], "by": 2}
        assert candidate.function(2, by=4) == {"all": [1, 2], "by": 8}
        assert candidate.output == "hello\n"
        candidate.close()
        assert candidate(1) == {"all": [1], "by": 2}


def test_plain_data_of_the_module_and_hosts(sandbox):
    source = "def original(x):\n    return ask(FACTOR * x)\n"
    with sandbox.load(source, like=original, hosts={"ask": lambda x: x + 1}) as candidate:
        assert candidate(2) == 7


def test_exceptions_have_their_lines(sandbox):
    with sandbox.load("def f(x):\n    y = x\n    return 1 / y\n") as candidate:
        with pytest.raises(ZeroDivisionError) as caught:
            candidate(0)
        traceback = caught.value.__traceback__
        while traceback.tb_next:
            traceback = traceback.tb_next
        assert traceback.tb_lineno == 3
        assert candidate(2) == 0.5


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("while True: pass", SandboxTimeoutError),
        ("return len([0] * 10**9)", SandboxMemoryError),
        ("return [1] * 2000", SandboxOutputError),
        ("print('x' * 1000)", SandboxOutputError),
    ],
)
def test_limits(sandbox, body, kind):
    with sandbox.load(f"def f():\n    {body}\n") as candidate, pytest.raises(kind):
        candidate()


def test_what_terminals_obey_is_shown(sandbox):
    source = "def f(x):\n    print('\\x1b[31m')\n    raise ValueError('\\x07' + 'x' * x)\n"
    with sandbox.load(source) as candidate:
        with pytest.raises(ValueError, match=r"^\\x07x+$") as caught:
            candidate(10_000)
        assert len(str(caught.value)) < 5000
        assert candidate.output == "\\x1b[31m\n"


def test_calls_of_hosts_come_to_an_end_and_prints_are_handed_on():
    pytest.importorskip("pydantic_monty")
    asked, printed = [], []
    source = "def spends(x):\n    print('begins')\n    while True:\n        ask(x)\n"
    sandbox = Sandbox("monty", limits=Limits(calls=25))
    with (
        sandbox.load(source, hosts={"ask": asked.append}, printed=printed.append) as spends,
        pytest.raises(SandboxForbiddenError, match="more than 25 times in one call"),
    ):
        spends(1)
    assert len(asked) == 25
    assert printed == ["begins\n"]


@pytest.mark.parametrize(
    "written", ["1, 2", "()", "'a', 'b'", "{'a': (1, 2)}", "[(1, 2.5), ()]", "{(1, 2): (None, True)}", "divmod(7, 2)"]
)
def test_tuples_leave(sandbox, written):
    with sandbox.load(f"def f():\n    return {written}\n") as candidate:
        assert repr(candidate()) == repr(eval(written))


@pytest.mark.parametrize(
    ("written", "what"),
    [
        ("range(3)", "a range"),
        ("lambda: 1", "a function"),
        ("math", "a module"),
        ("{1: 2}.keys()", "a dict_keys"),
        ("[1, ('a', {'b': range(3)})]", "a range"),
        ("loop", "a value that contains itself"),
        ("Point()", "a Point"),
    ],
)
def test_what_has_no_form_outside_does_not_leave_as_a_text(sandbox, written, what):
    source = "import math\nclass Point: ...\nloop = [1]\nloop.append({'in': loop})\n"
    with sandbox.load(f"{source}def f():\n    return {written}\n") as candidate:
        with pytest.raises(SandboxTransferError, match=rf"f\(\) returned {what}, which cannot leave"):
            candidate()
        candidate.close()
    with sandbox.load("def f():\n    twice = [(1, 'range(0, 3)')]\n    return [twice, twice, '[...]']\n") as candidate:
        assert candidate() == [[(1, "range(0, 3)")], [(1, "range(0, 3)")], "[...]"]


def test_names_that_the_code_takes_are_in_nobodys_way(sandbox):
    source = "type = id = isinstance = set = list = 3\ndef f():\n    return (1, [type])\n"
    with sandbox.load(source) as candidate:
        assert candidate() == (1, [3])


def test_too_much_is_not_printed_by_the_program():
    pytest.importorskip("pydantic_monty")
    printed = []
    sandbox = Sandbox("monty", limits=Limits(output=100))
    source = "def f():\n    print('x' * 90)\n    ask()\n    print('y' * 90)\n"
    with sandbox.load(source, hosts={"ask": dict}, printed=printed.append) as candidate:
        with pytest.raises(SandboxOutputError):
            candidate()
        assert candidate.output.startswith("xxx")
    assert printed == []


def test_files_are_not_there(sandbox):
    with (
        sandbox.load("def f():\n    return open('/etc/passwd').read()\n") as candidate,
        pytest.raises(Exception) as caught,
    ):
        candidate()
    assert "root:" not in str(caught.value)


def test_what_it_does_not_know_is_refused(sandbox):
    with sandbox.load("def f(x):\n    del x\n    return 1\n") as candidate, pytest.raises(SourceError, match="monty"):
        candidate(1)
    with (
        sandbox.load("def f(x):\n    return x\n") as candidate,
        pytest.raises(SandboxTransferError, match="argument x"),
    ):
        candidate(object())


def test_the_package_is_named_if_it_is_missing(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(module, "import_module", missing)
    with pytest.raises(MissingDependencyError, match=r"pip install 'opto-trace\[monty\]'"):
        Sandbox("monty").load("def f(): ...")


def test_a_candidate_that_calls_itself_by_way_of_the_host_does_not_wait_for_itself():
    def again(depth):
        with pytest.raises(SandboxCrashError, match="calls itself by way of the host"):
            candidate(depth + 1)
        return depth

    with Sandbox("monty").load("def run(x):\n    return again(x)\n", hosts={"again": again}) as candidate:
        assert candidate(1) == 1


INTERRUPTED = """
import sys
from opto.sandbox import Limits, Sandbox

sandbox = Sandbox("monty", limits=Limits(seconds=300))
candidate = sandbox.load({source!r})
print(candidate(0), flush=True)
try:
    while True:
        candidate(1)
except KeyboardInterrupt:
    print("interrupted", candidate(0), flush=True)
    sys.exit(5)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are other ones there")
@pytest.mark.parametrize("body", ["while x: pass", "x += 1"])
def test_ctrl_c_is_heard(body):
    pytest.importorskip("pydantic_monty")
    program = INTERRUPTED.format(source=f"def f(x):\n    {body}\n    return 'done'\n")
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "done\n"
            time.sleep(0.3)  # for it to be in the middle of a call
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=60)[0] == "interrupted done\n"
        finally:
            process.kill()
    assert process.returncode == 5


def test_functions_of_the_host_are_called_in_the_thread_that_calls_the_candidate(sandbox):
    def thread():
        return threading.get_ident()

    with sandbox.load("def f():\n    return thread()\n", hosts={"thread": thread}) as candidate:
        assert candidate() == threading.get_ident()
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(candidate).result() == pool.submit(threading.get_ident).result()
