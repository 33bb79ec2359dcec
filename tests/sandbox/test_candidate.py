"""Whatever happens around a candidate's process, the caller goes on, and nothing is left."""

import asyncio
import gc
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
import weakref
from pathlib import Path

import pytest

from opto.errors import (
    IsolationError,
    SandboxCrashError,
    SandboxError,
    SandboxForbiddenError,
    SandboxMemoryError,
    SandboxTimeoutError,
    SourceError,
)
from opto.sandbox import Limits, Sandbox
from opto.sandbox.child.codes import NOT_STARTED
from opto.sandbox.processes import talk
from opto.sandbox.processes.zygote import Zygote

pytestmark = [
    pytest.mark.filterwarnings("ignore:Code that a model wrote:RuntimeWarning"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc"),
]
SAME = "def same(x):\n    return x\n"


@pytest.fixture(scope="module", params=["auto", "child"])
def sandbox(request):
    return Sandbox(request.param, limits=Limits(seconds=0.5, children=3))


def files():
    return len(os.listdir("/proc/self/fd"))


def until(condition):
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_a_process_has_no_files_but_its_own_however_many_candidates_there_are(sandbox):
    source = (
        "import os\ndef is_open(number):\n    try:\n        os.fstat(number)\n        return True\n"
        "    except OSError:\n        return False\n"
        "def f():\n    return [number for number in range(400) if is_open(number)]\n"
    )
    with sandbox.load(source, "f") as candidate:
        alone = candidate()
    many = [sandbox.load(source, "f") for _ in range(12)]
    for each in many:
        each()
    for each in many[:10]:
        each.close()
    with sandbox.load(source, "f") as candidate:
        assert candidate() == alone
    for each in many:
        each.close()


def test_whoever_cancels_a_call_that_has_just_begun_leaves_nothing(sandbox):
    async def main():
        for pause in range(12):
            candidate = sandbox.load(SAME)
            task = asyncio.ensure_future(candidate.acall(1))
            await asyncio.sleep(pause * 0.0005)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    with sandbox.load(SAME) as candidate:
        candidate(1)
    asyncio.run(main())
    gc.collect()
    before = files()
    asyncio.run(main())
    gc.collect()
    assert until(lambda: files() <= before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # nor is there room to clean up
def test_a_call_that_had_no_room_to_recurse_takes_no_place_from_others():
    def call_below(depth):
        return call_below(depth - 1) if depth else candidate(1)

    with Sandbox("child", limits=Limits(children=1)).load(SAME) as candidate:
        candidate(1)
        depth = len(traceback.extract_stack())
        found = set()
        for left in range(60):
            try:
                found.add(call_below(sys.getrecursionlimit() - depth - left))
            except RecursionError:
                found.add("none")
        assert found == {1, "none"}
        assert candidate(2) == 2


def test_the_program_may_be_forked_while_a_candidate_starts(sandbox):
    candidate = sandbox.load(SAME)
    starting = threading.Event()
    start = Zygote.start

    def slow(self, *args):
        starting.set()
        time.sleep(0.2)
        return start(self, *args)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Zygote, "start", slow)
        thread = threading.Thread(target=candidate, args=(1,))
        thread.start()
        starting.wait()
        pid = os.fork()
        if not pid:
            signal.alarm(10)
            os._exit(0 if candidate(2) == 2 else 1)
        thread.join()
    assert os.waitpid(pid, 0)[1] == 0
    candidate.close()


def test_after_the_maker_of_processes_was_killed_candidates_share_a_new_one():
    sandbox = Sandbox("child", limits=Limits(seconds=5.5))
    with sandbox.load("import os\ndef f():\n    return os.getppid()\n") as candidate:
        candidate()
        os.kill(sandbox._level.zygote.process_id, signal.SIGKILL)
        assert candidate()
    makers = set()
    for _ in range(3):
        with sandbox.load(SAME) as candidate:
            candidate(1)
            makers.add(candidate._engine.newest._zygote.process_id)
            del candidate
        gc.collect()
    assert len(makers) == 1


def test_too_few_files_are_no_fault_of_the_candidate(sandbox):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with sandbox.load(SAME) as candidate:
        candidate.close()
        taken = [os.open(os.devnull, os.O_RDONLY)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 1, hard))
        try:
            with pytest.raises(IsolationError, match=r"could not be started: .*Too many open files"):
                candidate(1)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            os.close(taken[0])
        assert candidate(1) == 1


def test_too_many_processes_are_no_fault_of_the_candidate(sandbox, monkeypatch):
    with sandbox.load("import os\ndef f(code):\n    os._exit(code)\n") as candidate:
        with pytest.raises(SandboxCrashError, match="exit code 255"):
            candidate(-1)  # which is what its process may say of itself
        monkeypatch.setattr(Zygote, "end", lambda *_, **__: NOT_STARTED)
        with pytest.raises(IsolationError, match="could not be started: there are too many processes"):
            candidate(0)


def test_a_flood_of_calls_of_the_host_ends_with_the_time(sandbox):
    source = (
        "import json, os, struct, sys, threading\ndef f():\n"
        "    frame = sys._getframe()\n"
        "    while '_number' not in dir(frame.f_locals.get('self')):\n        frame = frame.f_back\n"
        "    data = {'n': frame.f_locals['self']._number, 'host': 'ask', 'args': [], 'kwargs': {}}\n"
        "    data = json.dumps(data).encode()\n"
        "    data = struct.pack('>Q', len(data)) + data\n"
        "    threading.Thread(target=lambda: [os.read(3, 1 << 20) for _ in iter(int, 1)], daemon=True).start()\n"
        "    while True:\n        os.write(3, data * 50)\n"
    )
    patient = Sandbox(sandbox.isolation, limits=sandbox.limits._replace(calls=1 << 40))
    with patient.load(source, hosts={"ask": lambda: None}) as candidate, pytest.raises(SandboxTimeoutError):
        candidate()


def test_an_exception_of_the_host_that_cannot_speak_is_the_same_in_the_end(sandbox):
    class DumbError(Exception):
        def __str__(self):
            raise ValueError

    def ask():
        raise DumbError

    with sandbox.load("def f():\n    ask()\n", hosts={"ask": ask}) as candidate, pytest.raises(DumbError):
        candidate()


def test_what_calls_of_the_host_raise_is_not_all_kept(sandbox):
    source = (
        "def f():\n    found = []\n    for number in range(300):\n        try:\n            ask(number)\n"
        "        except LookupError as error:\n            found.append(error)\n    raise found[at]\n"
    )
    alive = []

    class OddError(LookupError):
        pass

    def ask(number):
        error = OddError(number)
        alive.append(weakref.ref(error))
        raise error

    for at in (299, 0):
        text = source.replace("[at]", f"[{at}]")
        with sandbox.load(text, hosts={"ask": ask}) as candidate, pytest.raises(LookupError, match=str(at)) as caught:
            candidate()
        gc.collect()
        assert sum(ref() is not None for ref in alive[-300:]) < 150
        # The very exception, if it was one of the last.
        assert (type(caught.value) is OddError) == (at == 299)
        del caught


def test_whoever_stops_the_maker_of_processes_stops_it_for_a_while():
    sandbox = Sandbox("child", limits=Limits(seconds=6.5))
    with sandbox.load(SAME) as candidate:
        candidate(1)
        os.kill(sandbox._level.zygote.process_id, signal.SIGSTOP)
        with sandbox.load(SAME) as other:
            assert other(2) == 2
        assert sandbox._level.zygote.is_alive


WITHOUT_READERS = """
import os, select, signal, sys
from opto.sandbox import Sandbox

signal.signal(signal.SIGPIPE, signal.SIG_DFL)
sandbox = Sandbox(sys.argv[1])
later = "import os, signal\\ndef f(x):\\n    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))\\n"
later += "    signal.alarm(1)\\n"
with sandbox.load(later, imports=["signal"]) as candidate:
    candidate(1)
    select.select([candidate._engine.newest._pool._idle[0]._talk], [], [])
    try:
        candidate(2)
    except Exception as error:
        print(type(error).__name__)
with sandbox.load("def f(x):\\n    return x\\n") as candidate:
    candidate(3)
    talk = candidate._engine.newest._pool._idle[0]._talk
    os.kill(sandbox._level.zygote.process_id, signal.SIGKILL)
    select.select([talk], [], [])
    print(candidate(4))
"""


@pytest.mark.parametrize("level", ["auto", "child"])
def test_no_process_that_ends_ends_a_program_that_heeds_pipes(level):
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_READERS, level]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["SandboxCrashError", "4"], (done.returncode, done.stderr)


@pytest.mark.parametrize("closed", ["0", "1", "2", "0, 1", "0, 2", "1, 2", "0, 1, 2"])
def test_a_program_may_have_closed_its_standard_files(closed, tmp_path):
    said = tmp_path / "said"
    pid = os.fork()
    if not pid:
        for number in map(int, closed.split(", ")):
            os.close(number)
        program = (
            "from opto.sandbox import Sandbox\n"
            f"with Sandbox('child').load({SAME!r}) as c: open({str(said)!r}, 'w').write(str(c(5)))\n"
        )
        os.execve(sys.executable, [sys.executable, "-W", "ignore", "-c", program], dict(os.environ))
    os.waitpid(pid, 0)
    assert said.read_text() == "5"


UNDER_ROOT_ALONE = """
from pathlib import Path
from opto.sandbox import Sandbox

source = "def f():\\n    with open('x', 'w') as file:\\n        return file.write('written')\\n"
with Sandbox("child").load(source) as candidate:
    print(candidate())
    waiting = [candidate._engine.newest._zygote.process_id]
    while waiting:
        last = waiting.pop()
        waiting += map(int, Path(f"/proc/{last}/task/{last}/children").read_text().split())
    print(*[line for line in Path(f"/proc/{last}/status").open() if line[:6] == "CapEff"])
"""


def test_where_root_can_become_nobody_else_candidates_have_none_of_its_powers():
    unshare = shutil.which("unshare")
    command = [unshare or "", "--user", "--map-root-user", sys.executable, "-W", "ignore", "-c"]
    if unshare is None or subprocess.run([*command, ""], capture_output=True, check=False).returncode:
        pytest.skip("there are no namespaces of users here")
    done = subprocess.run([*command, UNDER_ROOT_ALONE], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["7", "CapEff:", "0" * 16], done.stderr


def test_files_without_a_name_count(sandbox):
    if sandbox.level != "landlock+seccomp":
        pytest.skip(f"the level {sandbox.level} does not hold this")
    source = (
        "import os, time\ndef f():\n    kept = []\n    while True:\n        kept.append(open('x', 'wb', 0))\n"
        "        os.unlink('x')\n        kept[-1].write(bytes(1 << 20))\n"
    )
    limits = Limits(disk=4 << 20, seconds=5)
    with Sandbox(limits=limits).load(source) as candidate, pytest.raises(SandboxMemoryError, match="4 MiB of files"):
        candidate()


@pytest.mark.parametrize("ask", [lambda: time.sleep(0.4), None], ids=["the host", "nobody"])
def test_files_count_also_while_a_candidate_is_waiting(sandbox, ask):
    source = (
        "import _thread, os\ndef write():\n    for number in range(64):\n"
        "        with open(str(number), 'wb') as file:\n            file.write(bytes(1 << 18))\n"
        "def f():\n    _thread.start_new_thread(write, ())\n    _thread._count = lambda: 0\n"
    )
    source += "    ask()\n" if ask else "    return os.getpid()\n"
    limits = Limits(disk=4 << 20, seconds=5)
    with Sandbox("auto" if sandbox.level != "child" else "child", limits=limits).load(
        source, "f", hosts={"ask": ask} if ask else (), imports=["_thread"]
    ) as candidate:
        if not ask:
            candidate()
            child = candidate._engine.newest._pool._idle[0]
            assert until(lambda: select.select([child._talk], [], [], 0)[0])  # its end of it is closed
        with pytest.raises(SandboxMemoryError, match="4 MiB of files"):
            candidate()


def test_threads_are_counted_where_the_kernel_does_not(sandbox, monkeypatch):
    if sandbox.level != "landlock+seccomp":
        pytest.skip("counted with the processes")
    monkeypatch.setattr(talk, "MOST_THREADS", 10)
    source = (
        "import threading\ndef f(count):\n    event = threading.Event()\n    for _ in range(count):\n"
        "        threading.Thread(target=event.wait, args=(0.2,), daemon=True).start()\n    event.wait(0.2)\n"
    )
    with sandbox.load(source) as candidate:
        assert candidate(5) is None
        with pytest.raises(SandboxForbiddenError, match="started too many threads"):
            candidate(20)


def test_packages_are_looked_for_past_odd_entries_of_the_path(sandbox, monkeypatch):
    monkeypatch.setattr(sys, "path", [Path("/x"), None, 5, b"/site-packages", *sys.path])
    with sandbox.load(SAME) as candidate:
        assert candidate(1) == 1


def test_an_argument_is_not_called_in_place_of_the_candidate(sandbox):
    called = []
    with sandbox.load("def f(__call, _call=1, ___item=2):\n    return [__call, _call, ___item]\n") as candidate:
        assert candidate.function(5) == [5, 1, 2]
        candidate.function(lambda *args: called.append(args))
    assert called == []


@pytest.mark.parametrize(
    "body",
    [
        "import asyncio\n    await asyncio.sleep(0)\n    return x",
        "from asyncio import sleep\n    await sleep(0)\n    return x",
        "import asyncio\n    async def g(): return x\n    return (await asyncio.gather(g(), g()))[1]",
        "from asyncio import TaskGroup, sleep, timeout\n    async with timeout(5), TaskGroup() as group:\n"  # noqa: ISC004
        "        task = group.create_task(sleep(0, x))\n    return task.result()",
        "await pause()\n    return x\nasync def pause():\n    import asyncio\n    await asyncio.sleep(0)",
        "from waiting_for import pause\n    await pause()\n    return x",
    ],
)
def test_coroutines_may_import_what_they_wait_with_when_they_run(sandbox, body, tmp_path, monkeypatch):
    (tmp_path / "waiting_for.py").write_text("import asyncio\nasync def pause():\n    await asyncio.sleep(0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "waiting_for", raising=False)
    import waiting_for  # noqa: F401 - a module of the program's

    with sandbox.load(f"async def f(x):\n    {body}\n", "f", imports=["waiting_for"]) as candidate:
        assert asyncio.run(candidate.function(3)) == 3
        assert candidate(4) == 4


def test_coroutines_that_wait_for_nothing_have_no_loop_made_for_them(sandbox):
    source = "import sys\nasync def f():\n    import json\n    return 'asyn' + 'cio' in sys.modules\n"
    with sandbox.load(source) as candidate:
        assert candidate() is False


BURN = """
import time

def burn(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
"""


class TestComputing:
    @pytest.mark.parametrize("level", ["child", "auto"])
    def test_calls_have_each_their_own_time_for_it(self, level):
        with Sandbox(level, limits=Limits(seconds=10, start=1)).load(BURN) as burn:
            for _ in range(14):
                burn(0.3)

    @pytest.mark.parametrize("level", ["child", "auto"])
    def test_it_ends_also_where_nobody_looks_at_a_clock(self, level):
        source = "import signal\ndef left():\n    return signal.getitimer(signal.ITIMER_PROF)[0]\n"
        with Sandbox(level, limits=Limits(seconds=1), imports=["signal"]).load(source) as left:
            assert [1 < left() <= 3.1 for _ in range(3)] == [True] * 3

    def test_what_ends_it_is_told_as_what_it_is(self, sandbox):
        source = "import os, signal\ndef late():\n    os.kill(os.getpid(), signal.SIGPROF)\n"
        with sandbox.load(source, imports=["signal"]) as late, pytest.raises(SandboxTimeoutError):
            late()


class TestOutput:
    @pytest.mark.parametrize(
        "end",
        [
            "while True: pass",
            "sum(iter(int, 1))",
            "os._exit(3)",
            "os.kill(os.getpid(), 11)",
            "os.abort()",
            "print('y' * 70000)",
        ],
    )
    def test_what_was_printed_before_the_end_is_there(self, sandbox, end):
        source = f"import os\ndef f(x):\n    print('x is', x, '\\ud800é')\n    {end}\n"
        with sandbox.load(source) as candidate:
            for number in range(3):
                with pytest.raises(SandboxError) as error:
                    candidate(number)
                assert error.value.output.startswith(f"x is {number} \\ud800é\n")
                assert candidate.output == error.value.output
                assert error.value.line in {4, None}

    def test_it_is_that_of_its_own_call(self, sandbox):
        source = "def f(x):\n    print(x)\n    while x > 2: pass\n"
        with sandbox.load(source) as candidate:
            for number in (1, 2):
                candidate(number)
                assert candidate.output == f"{number}\n"
            with pytest.raises(SandboxTimeoutError) as error:
                candidate(3)
            assert error.value.output == "3\n"

    def test_more_than_a_pipe_holds_takes_neither_the_line_nor_the_process(self, sandbox):
        long = Sandbox(sandbox.isolation, limits=Limits(seconds=0.5, output=1 << 30))
        with long.load("def f(x):\n    for _ in range(20000): print('é' * 50)\n    while x: pass\n") as candidate:
            candidate(False)
            assert len(candidate.output) == 20000 * 51
            with pytest.raises(SandboxTimeoutError) as error:
                candidate(True)
            assert error.value.line == 3
            assert 30_000 < len(error.value.output.encode()) <= 1 << 15


class TestLargeArguments:
    def test_reading_them_takes_no_time_of_the_candidates(self, sandbox):
        rows = [{"a": number, "b": str(number), "c": [1, 2.5]} for number in range(150_000)]
        brief = Sandbox(sandbox.isolation, limits=Limits(seconds=0.3))
        with brief.load("def f(x):\n    return len(x)\n") as candidate:
            assert candidate(rows) == len(rows)

    def test_they_give_no_time_to_code_that_goes_on(self, sandbox):
        brief = Sandbox(sandbox.isolation, limits=Limits(seconds=0.3, memory=4 << 30))
        # Reading so much may take a minute, which is not for this.
        with brief.load("def f(x):\n    while True: pass\n") as candidate, pytest.raises(SandboxTimeoutError) as error:
            candidate("x" * 120_000_000)
        assert error.value.line == 2

    @pytest.mark.parametrize("size", [30_000_000, 120_000_000])
    def test_those_that_do_not_fit_are_said_to_be_that(self, sandbox, size):
        small = Sandbox(sandbox.isolation, limits=Limits(memory=64 << 20))
        with small.load("def f(x):\n    return 1\n") as candidate:
            with pytest.raises(SandboxMemoryError, match=r"What f\(\) was given does not fit into its 64 MiB"):
                candidate(["x" * 10] * (size // 13))
            assert candidate(1) == 1


def test_a_library_for_which_there_is_no_room_is_a_limit(sandbox):
    raising = "def f():\n    raise ImportError('x.so: failed to map segment from shared object')\n"
    with sandbox.load(raising) as candidate, pytest.raises(SandboxMemoryError, match="used more than 1 GiB of memory"):
        candidate()


def test_a_candidate_sees_none_of_its_settings(sandbox):
    with sandbox.load("import sys\ndef f():\n    return sys.argv, sys.orig_argv\n") as candidate:
        assert candidate() == ([""], [""])


@pytest.mark.parametrize(
    "change",
    [
        "builtins.len = None",
        "builtins.isinstance = builtins.type = None",
        "del builtins.memoryview, builtins.len",
        "vars(builtins).clear()",
    ],
)
def test_who_breaks_the_names_of_python_is_told_so(sandbox, change):
    for result in ("1", "[1, 'text', {}]"):
        body = f"    print('so far')\n    if breaks:\n        {change}\n    return {result}\n"
        source = f"import builtins\ndef f(breaks):\n{body}"
        with sandbox.load(source) as candidate:
            with pytest.raises(SandboxForbiddenError, match=r"it changed builtins\.\w+.*, which Python itself needs"):
                candidate(True)
            assert candidate.output == "so far\n"
            assert candidate(False)
            assert candidate.output == "so far\n"


def test_names_of_python_may_mean_something_else_to_who_can_live_with_it(sandbox):
    source = "import builtins\ndef f(x):\n    builtins.print = print = lambda *_: 0\n    print(5)\n    return 1 // x\n"
    with sandbox.load(source) as candidate:
        assert candidate(1) == 1
        with pytest.raises(ZeroDivisionError):
            candidate(0)
        assert candidate.output == ""


def test_streams_stay_open_whoever_closes_them(sandbox):
    source = "import sys\ndef f():\n    sys.stdout.close()\n    sys.stderr.close()\n    print('still')\n    return 1\n"
    with sandbox.load(source) as candidate:
        for _ in range(2):
            assert candidate() == 1
            assert candidate.output == "still\n"


def test_streams_take_texts_alone(sandbox):
    source = "import sys\ndef f():\n    sys.stdout.write(b'x')\n"
    with sandbox.load(source) as candidate, pytest.raises(TypeError, match="must be str, not bytes"):
        candidate()


def test_code_is_a_text_and_takes_the_place_of_a_function(sandbox):
    with pytest.raises(SourceError, match="The code is of the type int, not a text. Give the text of a function."):
        sandbox.load(5)
    with pytest.raises(
        SourceError, match="like=5 is no function that was written in Python. Give the function itself."
    ):
        sandbox.load(SAME, like=5)


AGAIN = """
def run(depth):
    for _ in range(2):
        try:
            again(depth + 1)
        except Exception:
            pass
    return depth
"""


def test_calls_of_the_host_below_calls_of_the_host_count():
    asked = []

    def again(depth):
        asked.append(depth)
        assert len(asked) < 100, "two to the power of how deep it may go"
        return candidate(depth)

    with Sandbox(limits=Limits(calls=10)).load(AGAIN, hosts={"again": again}) as candidate:
        with pytest.raises(SandboxForbiddenError, match="more than 10 times in one call"):
            candidate(0)
        assert len(asked) == 10
        asked.clear()
        with pytest.raises(SandboxForbiddenError):
            candidate(0)
        assert len(asked) == 10  # each call that is in no other begins anew
