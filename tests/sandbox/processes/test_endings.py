"""What nobody refers to any more is ended, no interrupt is lost by it, and the end of a program is quiet."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from opto.sandbox.processes import endings


@pytest.fixture
def program(tmp_path):
    """Return what runs a program and returns what it wrote."""

    def run(text):
        environment = {**os.environ, "PYTHONWARNINGS": "ignore", "TMPDIR": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", text], capture_output=True, text=True, env=environment, check=False
        )
        until = time.monotonic() + 10  # whose end began last may come after that of the program
        while [*tmp_path.iterdir()] and time.monotonic() < until:
            time.sleep(0.02)
        assert not [*tmp_path.iterdir()]
        return done.stdout + done.stderr

    return run


DROPPING = """
import os, signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # which shells have their background ignore
from opto.sandbox import Sandbox
from opto.sandbox.processes import {module} as module

original = module.{name}

def interrupted(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGINT)
    return original(*args, **kwargs)

module.{name} = interrupted
sandbox = Sandbox("child")
candidate = sandbox.load("def f(x):\\n    return x\\n")
{begin}
try:
    del candidate, sandbox
    for _ in range(500):
        time.sleep(0.02)
except KeyboardInterrupt:
    print("interrupted")
module.{name} = original
"""


@pytest.mark.parametrize(
    ("module", "name", "begin"), [("pool", "Pool.close", "candidate(1)"), ("zygote", "_bury", "sandbox.prepare()")]
)
def test_ctrl_c_is_heard_also_where_a_candidate_is_dropped(program, module, name, begin):
    assert program(DROPPING.format(module=module, name=name, begin=begin)) == "interrupted\n"


def test_ctrl_c_is_heard_also_where_a_note_is_taken(monkeypatch):
    original, done = endings._see_that_it_is_done, threading.Event()

    def see():
        monkeypatch.setattr(endings, "_see_that_it_is_done", original)
        raise KeyboardInterrupt

    monkeypatch.setattr(endings, "_see_that_it_is_done", see)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        endings.end_later(done.set)  # where this is called, an exception would be lost
        with pytest.raises(KeyboardInterrupt):
            time.sleep(10)
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.wait(10)


def test_what_fails_keeps_nothing_else_from_being_done():
    done = threading.Event()
    endings.end_later(lambda: 1 / 0)
    endings.end_later(done.set)
    assert done.wait(10)


def test_what_comes_while_the_last_is_done_is_done_as_well():
    done = threading.Event()
    endings.end_later(lambda: endings.end_later(lambda: endings.end_later(done.set)))
    assert done.wait(10)


def test_a_process_is_copied_when_it_is_done():
    done = threading.Event()
    endings.end_later(lambda: time.sleep(0.05))
    endings.end_later(done.set)
    pid = os.fork()
    if not pid:
        os._exit(not done.is_set())
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("call", ["candidate(1)", "while True: candidate(0)", "sandbox.load(TEXT)(1)"])
def test_a_thread_that_the_end_of_the_program_stops_says_nothing(program, call):
    text = (
        "import threading, time\n"
        "from opto.sandbox import Sandbox\n"
        "TEXT = 'def f(x):\\n    while x: pass\\n    return x'\n"
        "sandbox = Sandbox('child')\n"
        "candidate = sandbox.load(TEXT)\n"
        "candidate(0)\n"
        f"def work():\n    {call}\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "time.sleep(0.3)\n"
    )
    assert program(text) == ""


def test_who_calls_at_the_very_end_gets_an_answer(program):
    text = (
        "import atexit\n"
        "atexit.register(lambda: print(candidate(2)))\n"  # which is called last
        "from opto.sandbox import Sandbox\n"
        "candidate = Sandbox('child').load('def f(x):\\n    return x')\n"
        "candidate(1)\n"
    )
    assert program(text) == "2\n"
