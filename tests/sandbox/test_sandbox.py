"""Code that a model wrote runs in processes of its own, and whatever it does comes back as a value or an error."""

import asyncio
import gc
import math
import os
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import pytest

from opto.errors import (
    CassetteError,
    IsolationError,
    SandboxCrashError,
    SandboxError,
    SandboxForbiddenError,
    SandboxMemoryError,
    SandboxOutputError,
    SandboxTimeoutError,
    SandboxTransferError,
    SourceError,
)
from opto.sandbox import Limits, Sandbox

pytestmark = pytest.mark.filterwarnings("ignore:Code that a model wrote:RuntimeWarning")
QUICK = Limits(seconds=0.4, memory=128 << 20, output=1000, result=10_000, disk=4 << 20, children=2)


@dataclass
class Item:
    price: int


@pytest.fixture(scope="module", params=["auto", "child"])
def sandbox(request):
    return Sandbox(request.param)


@pytest.fixture(scope="module")
def quick():
    return Sandbox("auto", limits=QUICK)


def raised(candidate, *args):
    with pytest.raises(SandboxError) as caught:
        candidate(*args)
    return caught.value


def test_a_candidate_is_called_like_a_function(sandbox):
    with sandbox.load("def scale(x, *rest, by=2, **more):\n    return [x * by, rest, more]\n") as scale:
        assert scale(3) == [6, (), {}]
        assert scale(3, 4, by=5, z=1) == [15, (4,), {"z": 1}]


def test_nothing_runs_before_the_first_call(sandbox):
    candidate = sandbox.load("raise ValueError('at the top')\ndef f():\n    return 1\n")
    with candidate, pytest.raises(ValueError, match="at the top"):
        candidate()


def test_what_is_kept_between_calls_is_lost_with_the_process_and_never_meets_another(sandbox):
    source = "seen = []\ndef f(x):\n    seen.append(x)\n    return len(seen)\n"
    with sandbox.load(source) as one, sandbox.load(source) as other:
        assert [one(1), one(1), other(1)] == [1, 2, 1]
        one.close()
        assert [one(1), other(1)] == [1, 2]


def test_arguments_are_copies(sandbox):
    items = [1, 2]
    with sandbox.load("def f(items):\n    items.append(3)\n    return items\n") as candidate:
        assert candidate(items) == [1, 2, 3]
    assert items == [1, 2]


def test_an_exception_is_the_one_that_was_raised_with_the_lines_of_the_source(sandbox):
    source = "def check(x):\n    if x:\n        raise KeyError('missing', 3)\n\ndef f(x):\n    return check(x)\n"
    with sandbox.load(source) as candidate:
        with pytest.raises(KeyError) as caught:
            candidate(1)
        assert caught.value.args == ("missing", 3)
        frames = [frame for frame in traceback.extract_tb(caught.value.__traceback__) if "candidate" in frame.filename]
        lines = [(frame.name, frame.lineno, frame.line) for frame in frames if frame.filename.startswith("<f,")]
        assert lines == [("f", 6, "return check(x)"), ("check", 3, "raise KeyError('missing', 3)")]


def test_an_exception_of_its_own_class_has_its_name_its_base_and_its_text(sandbox):
    source = (
        "class Odd(ValueError):\n    def __init__(self, x, y):\n        super().__init__(x)\n"
        "    def __str__(self):\n        return 'odd!'\n\ndef f():\n    raise Odd(1, 2)\n"
    )
    with sandbox.load(source) as candidate:
        with pytest.raises(ValueError, match="odd!") as caught:
            candidate()
        assert type(caught.value).__name__ == "Odd"


@pytest.mark.parametrize(
    "statement", ["raise ValueError", "raise KeyError()", "assert False", "[][1]", "1 / 0", "int('x')"]
)
def test_exceptions_of_python_are_as_they_are_in_process(sandbox, statement):
    source = f"def f():\n    {statement}\n"
    names = {}
    exec(source, names)
    with pytest.raises(Exception) as here:
        names["f"]()
    with sandbox.load(source) as candidate, pytest.raises(Exception) as there:
        candidate()
    assert (type(there.value), there.value.args, str(there.value)) == (
        type(here.value),
        here.value.args,
        str(here.value),
    )


def test_iteration_ends_as_it_does_in_process(sandbox):
    with sandbox.load("def f():\n    return next(iter([]))\n") as candidate, pytest.raises(StopIteration):
        candidate()


class TestLimits:
    def test_time(self, quick):
        with quick.load("def f(x):\n    while x:\n        x += 1\n") as candidate:
            error = raised(candidate, 1)
            assert isinstance(error, SandboxTimeoutError)
            assert error.line in {2, 3}
            assert "within 0.4 s; it was in line" in str(error)
            assert candidate(0) is None

    def test_time_spent_in_c_names_the_line_too(self, quick):
        with quick.load("def f():\n    x = 1\n    return max(iter(int, x))\n") as candidate:
            assert raised(candidate).line == 3

    def test_time_at_the_top(self):
        with Sandbox(limits=QUICK._replace(start=0.4)).load("while True: pass\ndef f(): ...\n") as candidate:
            error = raised(candidate)
        assert isinstance(error, SandboxTimeoutError)
        assert "to load" in str(error)

    def test_memory(self, quick):
        with quick.load("def f(n):\n    return len(bytearray(n))\n") as candidate:
            error = raised(candidate, 1 << 40)
            assert isinstance(error, SandboxMemoryError)
            assert error.line == 2
            assert str(error).startswith("f() used more than 128 MiB of memory in line 2.")
            assert candidate(10) == 10

    def test_memory_for_arguments_and_results(self):
        sandbox = Sandbox(limits=QUICK._replace(seconds=30, memory=48 << 20))
        with sandbox.load("def f(x, n):\n    return 'x' * n\n") as candidate:
            assert isinstance(raised(candidate, "x" * (40 << 20), 1), SandboxMemoryError)
            assert isinstance(raised(candidate, "", 40 << 20), SandboxMemoryError)
            assert candidate("", 1) == "x"

    def test_output(self, quick):
        with quick.load("def f(n):\n    print('x' * n)\n    return n\n") as candidate:
            error = raised(candidate, 2000)
            assert isinstance(error, SandboxOutputError)
            assert error.line == 2
            assert candidate(3) == 3
            assert candidate.output == "xxx\n"

    def test_result(self, quick):
        with quick.load("def f(n):\n    return 'x' * n\n") as candidate:
            assert isinstance(raised(candidate, 20_000), SandboxOutputError)
            assert candidate(3) == "xxx"

    def test_files(self, quick):
        source = (
            "def f():\n    n = 0\n    while True:\n        n += 1\n"
            "        with open(str(n), 'wb') as file: file.write(bytes(1 << 19))\n"
        )
        with quick.load(source) as candidate:
            assert isinstance(raised(candidate), SandboxMemoryError | SandboxTimeoutError)

    @pytest.mark.parametrize(
        ("statement", "signal", "code"),
        [("os.kill(os.getpid(), 9)", 9, None), ("os._exit(3)", None, 3), ("os.abort()", 6, None)],
    )
    def test_crash(self, quick, statement, signal, code):
        with quick.load(f"import os\ndef f(x):\n    if x:\n        {statement}\n    return x\n") as candidate:
            error = raised(candidate, 1)
            assert isinstance(error, SandboxCrashError)
            assert (error.signal, error.exit_code) == (signal, code)
            assert candidate(0) == 0

    def test_a_crash_in_c_names_its_line(self, quick):
        source = "import os\ndef f():\n    x = 1\n    os.abort()\n    return x\n"
        with quick.load(source) as candidate:
            error = raised(candidate)
        assert error.line == 4
        assert "crashed Python (SIGABRT) in line 4" in str(error)

    def test_modules_that_nobody_has_are_missing_as_ever(self, quick):
        with quick.load("def f():\n    import no_such_module\n") as candidate, pytest.raises(ModuleNotFoundError):
            candidate()

    @pytest.mark.parametrize("kind", ["SystemExit", "KeyboardInterrupt", "GeneratorExit"])
    def test_what_ends_programs_does_not_end_this_one(self, quick, kind):
        with quick.load(f"def f():\n    raise {kind}\n") as candidate:
            error = raised(candidate)
        assert isinstance(error, SandboxCrashError)
        assert error.line == 2

    @pytest.mark.parametrize(
        ("statement", "said"),
        [
            ("open('/etc/passwd')", "'/etc/passwd'"),
            ("import socket", "import socket is not allowed"),
            ("import urllib.request", "import urllib.request is not allowed"),
            ("from urllib import request", "import urllib.request is not allowed"),
            ("import os; os.system('true')", "start programs"),
            ("import os; os.remove('/tmp/nothing')", "'/tmp/nothing'"),
            ("import os; os.kill(1, 0)", "signals"),
        ],
    )
    def test_what_is_forbidden_is_said(self, quick, statement, said):
        with quick.load(f"def f():\n    {statement}\n") as candidate:
            error = raised(candidate)
        assert isinstance(error, SandboxForbiddenError)
        assert said in str(error)
        assert error.line == 2

    @pytest.mark.parametrize(
        "value", ["object()", "open", "iter([])", "open('x', 'w')", "map(int, [])", "type('T', (), {})()"]
    )
    def test_results_that_are_no_data_are_named(self, quick, value):
        with quick.load(f"def f():\n    return {value}\n") as candidate:
            error = raised(candidate)
        assert isinstance(error, SandboxTransferError)
        assert "cannot leave the sandbox. Return plain data" in str(error)

    def test_limits_are_positive(self):
        with pytest.raises(IsolationError, match="seconds=-1"):
            Sandbox(limits=Limits(seconds=-1))


def test_results_have_exactly_the_types_that_they_seem_to_have(sandbox):
    source = (
        "class Liar(str):\n    def __eq__(self, other): return True\n    __hash__ = str.__hash__\n"
        "class Large(float):\n    def __gt__(self, other): return True\n"
        "class Slow(list):\n    def __iter__(self):\n        while True: pass\n"
        "def f():\n    return [Liar('lie'), Large(0.5), Slow([1]), float('nan')]\n"
    )
    with sandbox.load(source) as candidate:
        text, number, items, nan = candidate()
    assert (type(text), type(number), type(items)) == (str, float, list)
    assert text != "truth"
    assert not number > 1
    assert items == [1]
    assert math.isnan(nan)


class TestFunction:
    SOURCE = (
        'def f(a, /, b, c=[1], *rest, d, e=(2,), **more):\n    """Says."""\n    return [a, b, c, rest, d, e, more]\n'
    )

    def test_has_the_signature_and_the_defaults(self, sandbox):
        with sandbox.load(self.SOURCE) as candidate:
            function = candidate.function
            assert function.__name__ == "f"
            assert function.__doc__ == "Says."
            assert function.__defaults__ == ([1],)
            assert function.__kwdefaults__ == {"e": (2,)}
            assert function(1, 2, d=3) == [1, 2, [1], (), 3, (2,), {}]
            assert function(1, b=2, c=0, d=3, z=4) == [1, 2, 0, (), 3, (2,), {"z": 4}]
            assert function(1, 2, 3, 4, 5, d=6) == [1, 2, 3, (4, 5), 6, (2,), {}]
            with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'd'"):
                function(1, 2)

    def test_defaults_that_cannot_leave_stay(self, sandbox):
        source = "def f(x, key=len, *, other=object()):\n    return [key(x), type(other).__name__]\n"
        with sandbox.load(source) as candidate:
            assert candidate.function("abc") == [3, "object"]

    def test_defaults_that_change_are_the_same_at_every_call(self, sandbox):
        with sandbox.load("def f(x, seen=[]):\n    seen.append(x)\n    return seen\n") as candidate:
            assert [candidate.function(1), candidate.function(2), candidate.function(3, [])] == [[1], [1, 2], [3]]

    def test_arguments_by_position_only_stay_so(self, sandbox):
        with sandbox.load("def f(a=1, b=object, /, c=len):\n    return [a, b is object, c('ab')]\n") as candidate:
            function = candidate.function
            assert [function(), function(5), function(1, 2)] == [[1, True, 2], [5, True, 2], [1, False, 2]]

    def test_generators_yield(self, sandbox):
        with sandbox.load("def f(n):\n    for i in range(n):\n        yield i\n") as candidate:
            assert [*candidate.function(3)] == [0, 1, 2]

    def test_coroutines_are_awaited(self, sandbox):
        with sandbox.load("async def f(n):\n    return n + 1\n") as candidate:
            assert asyncio.run(candidate.function(3)) == 4

    def test_asynchronous_generators_yield(self, sandbox):
        async def gather(function):
            return [item async for item in function(3)]

        with sandbox.load("async def f(n):\n    for i in range(n):\n        yield i\n") as candidate:
            assert asyncio.run(gather(candidate.function)) == [0, 1, 2]


class TestAtTheSameTime:
    def test_the_event_loop_goes_on(self, quick):
        async def main():
            ticks = 0

            async def tick():
                nonlocal ticks
                while True:
                    ticks += 1
                    await asyncio.sleep(0)

            ticking = asyncio.create_task(tick())
            result = await candidate.acall(0.2)
            ticking.cancel()
            return result, ticks

        with quick.load("import time\ndef f(s):\n    time.sleep(s)\n    return s\n") as candidate:
            candidate(0)
            result, ticks = asyncio.run(main())
        assert result == 0.2
        assert ticks > 10

    def test_limits_hold_for_tasks_as_well(self, quick):
        with quick.load("def f():\n    while True: pass\n") as candidate, pytest.raises(SandboxTimeoutError):
            asyncio.run(candidate.acall())

    def test_a_cancelled_call_ends_its_process(self, quick):
        async def main():
            task = asyncio.create_task(candidate.acall(0.35))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await candidate.acall(0)

        with quick.load(
            "import time\nseen = []\ndef f(s):\n    seen.append(s)\n    time.sleep(s)\n    return seen\n"
        ) as candidate:
            assert candidate(0) == [0]
            assert asyncio.run(main()) == [0]

    def test_more_calls_than_processes(self, quick):
        async def main():
            return await asyncio.gather(*(candidate.acall(i) for i in range(8)))

        with quick.load("import os\ndef f(i):\n    return [i, os.getpid()]\n") as candidate:
            found = asyncio.run(main())
        assert [i for i, _ in found] == [*range(8)]
        assert len({process for _, process in found}) <= 2

    def test_threads(self, quick):
        found = []
        with quick.load("def f(i):\n    return i * i\n") as candidate:
            threads = [threading.Thread(target=lambda i=i: found.append(candidate(i))) for i in range(12)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert sorted(found) == [i * i for i in range(12)]


class TestHosts:
    def test_calls_go_out_and_come_back(self, sandbox):
        asked = []

        def ask(question, *, times=1):
            asked.append(question)
            return {"answer": question * times}

        with sandbox.load("def f(x):\n    return ask(x, times=2)['answer']\n", hosts={"ask": ask}) as candidate:
            assert candidate("ab") == "abab"
        assert asked == ["ab"]

    def test_what_they_raise_can_be_caught_and_is_the_very_exception_otherwise(self, sandbox):
        class EmptyError(Exception):
            """No credit."""

        error = EmptyError("no credit")

        def ask():
            raise error

        with sandbox.load("def f():\n    return ask()\n", hosts={"ask": ask}) as candidate:
            with pytest.raises(EmptyError) as caught:
                candidate()
            assert caught.value is error
        source = "def f():\n    try:\n        ask()\n    except Exception as error:\n        return str(error)\n"
        with sandbox.load(source, hosts={"ask": ask}) as candidate:
            assert candidate() == "no credit"

    def test_what_is_to_end_the_program_is_not_held_back(self, sandbox):
        def ask():
            raise CassetteError("No reply.", mend="Record one.")

        source = "def f():\n    try:\n        return ask()\n    except BaseException:\n        return 'went on'\n"
        with sandbox.load(source, hosts={"ask": ask}) as candidate, pytest.raises(CassetteError):
            candidate()

    def test_what_they_return_can_be_refused_and_the_candidate_goes_on(self, sandbox):
        source = "def f(x):\n    return ask(x)\n"
        with sandbox.load(source, hosts={"ask": lambda x: iter([]) if x else Item(5)}) as candidate:
            with pytest.raises(SandboxTransferError, match=r"ask\(\) returned a list_iterator"):
                candidate(1)
            assert candidate(0) == Item(5)

    def test_their_time_is_not_counted(self, quick):
        with quick.load("def f():\n    return ask()\n", hosts={"ask": lambda: time.sleep(0.6)}) as candidate:
            assert candidate() is None

    def test_parts_of_arguments(self, sandbox):
        class Agent:
            name = "Ada"

            def __init__(self):
                self.llm = self

            def ask(self, question):
                return question.upper()

        source = "def f(self, score):\n    return [self.llm.ask(self.name), score(1)]\n"
        with sandbox.load(source, hosts=["self.llm.ask", "score"]) as candidate:
            assert candidate(Agent(), lambda x: x + 1) == ["ADA", 2]

    def test_coroutine_functions(self, sandbox):
        async def ask(x):
            await asyncio.sleep(0)
            return x + 1

        with sandbox.load("async def f(x):\n    return await ask(x)\n", hosts={"ask": ask}) as candidate:
            assert asyncio.run(candidate.acall(1)) == 2
            with pytest.raises(SandboxTransferError, match="acall"):
                candidate(1)

    @pytest.mark.parametrize(
        "body",
        [
            "return await asyncio.gather(ask(1), ask(2))",
            "return [await task for task in [asyncio.create_task(ask(x)) for x in (1, 2)]]",
            (
                "async with asyncio.TaskGroup() as g:\n        tasks = [g.create_task(ask(x)) for x in (1, 2)]\n"
                "    return [task.result() for task in tasks]"
            ),
        ],
    )
    def test_coroutines_of_the_host_are_those_of_tasks(self, sandbox, body):
        async def ask(x):
            await asyncio.sleep(0)
            return x + 1

        source = f"import asyncio\nasync def f():\n    {body}\n"
        with sandbox.load(source, hosts={"ask": ask}) as candidate:
            assert asyncio.run(candidate.acall()) == [2, 3]

    def test_a_forgotten_await_is_told_with_the_name_of_what_was_called(self, sandbox):
        async def ask(x):
            return x

        source = "async def f():\n    ask(1)\n"
        with sandbox.load(source, hosts={"ask": ask}) as candidate:
            asyncio.run(candidate.acall())
            assert "coroutine 'ask' was never awaited" in candidate.output

    def test_what_is_not_offered_is_not_called(self, sandbox):
        class Client:
            def ask(self):
                return 1

            def delete(self):
                raise AssertionError

        source = "def f(client, what):\n    return getattr(client, what)()\n"
        with sandbox.load(source, hosts=["client.ask"]) as candidate:
            assert candidate(Client(), "ask") == 1
            with pytest.raises(AttributeError, match=r"client.delete is not offered"):
                candidate(Client(), "delete")

    def test_calls_of_the_candidate_from_inside(self, quick):
        holder = []
        source = "def f(n):\n    return 1 if n < 2 else n * again(n - 1)\n"
        with quick.load(source, hosts={"again": lambda n: holder[0](n)}) as candidate:
            holder.append(candidate)
            assert candidate(6) == 720


class TestLevels:
    def test_the_variable_chooses_unless_the_program_does(self, monkeypatch):
        monkeypatch.setenv("OPTO_ISOLATION", "none")
        assert Sandbox().level == "none"
        assert Sandbox("child").level == "child"
        monkeypatch.setenv("OPTO_ISOLATION", "fort")
        with pytest.raises(IsolationError, match="OPTO_ISOLATION='fort' is no level of isolation. Use auto, strict"):
            Sandbox()

    def test_none_runs_here(self):
        with Sandbox("none").load("import os\ndef f():\n    return os.getpid()\n") as candidate:
            assert candidate() == os.getpid()

    def test_strict_refuses_what_is_less(self, monkeypatch):
        from opto.sandbox import engines as module

        class Less:
            offered = 0

        monkeypatch.setattr(module.Zygote, "shared", lambda variant: Less())
        monkeypatch.setattr(module, "_bubblewrap", lambda: None)
        with pytest.raises(IsolationError, match="needs Landlock and seccomp, and this machine has child only"):
            Sandbox("strict").level

    def test_auto_says_once_what_is_missing(self, monkeypatch):
        from opto.sandbox import engines as module

        class Less:
            offered = 2

        monkeypatch.setattr(module.Zygote, "shared", lambda variant: Less())
        module._say_what_is_missing.cache_clear()
        with pytest.warns(RuntimeWarning, match="runs at level 'seccomp'") as said:
            assert [Sandbox().level, Sandbox().level] == ["seccomp", "seccomp"]
        module._say_what_is_missing.cache_clear()
        assert len(said) == 1


class TestSource:
    @pytest.mark.parametrize("source", ["def f(:", "x = 1", "def g(): ..."])
    def test_what_is_no_function_is_refused(self, source):
        with pytest.raises(SourceError):
            Sandbox().load(source, "f")

    @pytest.mark.parametrize("level", ["child", "none"])
    @pytest.mark.parametrize("source", ["def f(x, x): ...", "def f():\n    return [x := 1 for x in [1]]\n"])
    def test_what_parses_and_does_not_compile_is_refused(self, source, level):
        with pytest.raises(SourceError, match=r"does not compile: .*x"):
            Sandbox(level).load(source, "f")

    def test_what_is_nested_too_deeply_is_refused(self):
        with pytest.raises(SourceError, match="nested too deeply"):
            Sandbox("child").load(f"def f(x):\n    return {' + '.join('x' * 2500)}\n", "f")


PROGRAM = """
import os, sys
from opto.sandbox import Sandbox
sandbox = Sandbox()
candidate = sandbox.load("import os\\ndef f():\\n    return os.getpid()\\n")
candidate()
print(sandbox._level.zygote.process_id, sandbox._level.zygote.root, flush=True)
"""


def runs(number):
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition):
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_exceptions_can_be_shown_by_what_looks_at_each_instruction():
    """IPython does, and went round and round at an instruction that there is not."""
    script = """
from IPython.core.ultratb import VerboseTB
from opto.sandbox import Limits, Sandbox
for source in ("def f(x):\\n    y = 1\\n    return y / x\\n", "def f(x):\\n    while True:\\n        x += 1\\n"):
    try:
        Sandbox(limits=Limits(seconds=0.2)).load(source)(0)
    except Exception as error:
        shown = VerboseTB(theme_name="nocolor").text(type(error), error, error.__traceback__)
        assert "return y / x" in shown or "x += 1" in shown or "while True" in shown, shown
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


class TestNothingIsLeft:
    @pytest.mark.parametrize("isolation", ["auto", "strict"])
    @pytest.mark.parametrize(
        "end", ["", "raise SystemExit(3)", "os.kill(os.getpid(), 9)", "os.kill(os.getpid(), 15)", "os._exit(0)"]
    )
    def test_when_the_program_ends(self, end, isolation):
        if isolation == "strict":
            try:
                Sandbox("strict").prepare()
            except IsolationError:
                pytest.skip("this kernel does not offer it")
        environment = {**os.environ, "PYTHONWARNINGS": "ignore", "OPTO_ISOLATION": isolation}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM + end], capture_output=True, text=True, env=environment, check=False
        )
        number, root = done.stdout.split()
        assert until(lambda: not runs(number))
        assert until(lambda: not Path(root).exists())
        assert done.stderr == ""

    def test_when_a_call_is_interrupted(self):
        program = PROGRAM + (
            "import signal, threading\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # which shells have their background ignore
            "spin = sandbox.load('def f():\\n    while True: pass\\n')\n"
            "threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n"
            "try:\n    spin()\nexcept KeyboardInterrupt as error:\n"
            "    print('interrupted', candidate(), error.__context__, flush=True)\n"
        )
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False
        )
        number, root, said, _, context = done.stdout.split()
        assert (said, context) == ("interrupted", "None")
        assert until(lambda: not runs(number))
        assert not Path(root).exists()

    def test_when_a_candidate_is_forgotten(self):
        sandbox = Sandbox()
        before = len(os.listdir("/proc/self/fd"))
        candidate = sandbox.load("import os\ndef f():\n    return os.getpid()\n")
        candidate()
        zygote, child = sandbox._level.zygote, candidate._engine.newest._pool._idle[0]._folder
        assert Path(child).exists()
        before = before if len(os.listdir("/proc/self/fd")) == before + 2 else len(os.listdir("/proc/self/fd")) - 2
        candidate.function
        gc.disable()
        try:
            del candidate
            assert until(lambda: not Path(child).exists())
        finally:
            gc.enable()
        assert len(os.listdir("/proc/self/fd")) == before
        assert zygote.is_alive

    def test_when_very_many_candidates_wait(self):
        sandbox = Sandbox()
        source = "import os\nseen = []\ndef f():\n    seen.append(1)\n    return os.getpid(), len(seen)\n"
        candidates = [sandbox.load(source) for _ in range(70)]
        first = [candidate() for candidate in candidates]
        assert until(lambda: sum(Path(f"/proc/{pid}").exists() for pid, _ in first) == 64)
        assert not Path(f"/proc/{first[0][0]}").exists()
        assert candidates[-1]() == (first[-1][0], 2)
        again = candidates[0]()
        assert again[0] != first[0][0]
        assert again[1] == 1
        for candidate in candidates:
            candidate.close()

    def test_when_a_limit_was_passed(self, quick):
        gc.collect()
        before = set(os.listdir(quick._level.zygote.root))  # other tests may have candidates yet
        with quick.load("import time\ndef f():\n    time.sleep(9)\n") as candidate:
            for _ in range(2):
                raised(candidate)
            assert set(os.listdir(quick._level.zygote.root)) <= before

    def test_copies_of_the_process_have_children_of_their_own(self, quick):
        with quick.load("seen = []\ndef f():\n    seen.append(1)\n    return len(seen)\n") as candidate:
            assert candidate() == 1
            reader, writer = os.pipe()
            pid = os.fork()
            if not pid:
                try:
                    os.write(writer, bytes([candidate()]))
                finally:
                    os._exit(0)
            os.close(writer)
            assert os.read(reader, 1) == b"\x01"
            os.waitpid(pid, 0)
            os.close(reader)
            assert candidate() == 2

    def test_a_zygote_that_was_killed_is_replaced(self, quick):
        with quick.load("import os\ndef f():\n    return os.getpid()\n") as candidate:
            child = candidate()
            os.kill(quick._level.zygote.process_id, 9)
            assert until(lambda: not runs(child))
            assert candidate() != child
