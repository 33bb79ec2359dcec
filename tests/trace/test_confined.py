"""What an optimizer has changed runs in a sandbox, and what comes of it is feedback."""

import asyncio
import copy
import enum
import math
import os
import random
import re
import subprocess
import sys
import threading
import traceback
import types
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass

import numpy as np
import pytest

from opto.errors import (
    DomainError,
    ExecutionError,
    GraphError,
    IsolationError,
    MissingDependencyError,
    MissingInputsError,
    SandboxTimeoutError,
)
from opto.llm import ScriptedLLM
from opto.nodes import TraceGraph, node
from opto.optimizers import CodeSearch, OptoPrime
from opto.optimizers.prompts import describe_variables
from opto.sandbox import Limits, Sandbox
from opto.trace import Memo, Module, bundle, model

QUICK = Sandbox(limits=Limits(seconds=0.3, memory=256 << 20, output=2000, result=100_000))
WHERE = "import os\n\ndef work(x):\n    return os.getpid()\n"
COUNT = "seen = []\n\ndef work(x):\n    seen.append(x)\n    return len(seen)\n"
WRITTEN = 0


def helped(x):
    return x * 10


SERVICE = types.SimpleNamespace(ask=str.upper)


def make(**options):
    @bundle(trainable=True, **options)
    def work(x):
        return os.getpid()

    return work


def learn(function, source):
    function.parameter._set(source)
    return function


class TestWhereCodeRuns:
    def test_as_written_here_and_changed_elsewhere(self):
        work = make()
        assert work(1).data == os.getpid()
        learn(work, WHERE)
        elsewhere = work(1).data
        assert elsewhere != os.getpid()
        assert work(2).data == elsewhere
        learn(work, work._definition.source)
        assert work(1).data == os.getpid()

    def test_as_written_is_found_out_once(self):
        work = make()
        work(1)
        version = work._code.version
        assert version.source is work.parameter._data
        work.parameter._set("".join([*work.parameter._data]))  # equal, and another text
        work(1)
        version = work._code.version
        work(1)
        assert work._code.version is version

    def test_in_this_process_if_the_user_says_so(self):
        assert learn(make(isolation="none"), WHERE)(1).data == os.getpid()

    def test_the_block_around_a_call_decides_each_time(self):
        work = learn(make(), WHERE)
        first = work(1).data
        with Sandbox("none"):
            assert work(1).data == os.getpid()
        with Sandbox("child"):
            second = work(1).data
        assert os.getpid() not in {first, second, work(1).data}
        assert first != second

    def test_first_calls_at_the_same_time_begin_with_one_candidate(self):
        @bundle(trainable=True, isolation=Sandbox("child", limits=Limits(children=1)))
        def work(x, y=1):
            return 0

        # Its default value is computed as it is loaded, which takes a while.
        learn(work, "import os\n\ndef work(x, y=2):\n    return os.getpid()\n")
        ready = threading.Barrier(8)

        def call(x):
            ready.wait()
            return work(x).data

        with ThreadPoolExecutor(8) as pool:
            assert len({*pool.map(call, range(8))}) == 1

    def test_a_block_in_a_loop_goes_on_with_the_same_candidate(self):
        work, found = learn(make(), WHERE), set()
        for _ in range(3):
            with Sandbox("child", limits=Limits(seconds=5)):
                found.add(work(1).data)
        assert len(found) == 1
        with Sandbox("child", limits=Limits(seconds=6)):
            assert work(1).data not in found

    def test_what_a_function_says_comes_before_the_block_around_it(self):
        work = learn(make(isolation="child"), WHERE)
        with Sandbox("none"):
            assert work(1).data != os.getpid()

    def test_a_sandbox_without_a_level_is_not_weaker_than_the_block_around_it(self, monkeypatch):
        elsewhere = Sandbox(limits=Limits(seconds=5))

        def level(function):
            before = function._code.version.confined
            function(1)
            assert function._code.version.confined is not before
            return function._code.version.confined._sandbox.isolation

        work = learn(make(), WHERE)
        with Sandbox("child"):
            with Sandbox(limits=Limits(seconds=6)) as inside:
                assert inside.isolation == level(work) == "child"
            with elsewhere, elsewhere:
                assert level(work) == "child"
            with Sandbox("none"), Sandbox(hosts={"ask": len}):
                assert level(work) == "auto"
            assert level(learn(make(isolation=elsewhere), WHERE)) == "child"
            assert level(learn(make(isolation="none"), WHERE)) == "none"
            assert level(learn(make(isolation=Sandbox("auto")), WHERE)) == "auto"
        with elsewhere:
            assert level(work) == "auto"
        monkeypatch.setenv("OPTO_ISOLATION", "none")
        with Sandbox("child"):
            assert level(learn(make(isolation=Sandbox(hosts={"ask": len})), WHERE)) == "child"
        own = learn(make(isolation=elsewhere), WHERE)
        assert level(own) == "auto"
        with Sandbox("child"):
            assert level(own) == "child"

    def test_it_is_fixed_once_the_function_is_bundled(self):
        work = make(isolation="child")
        assert work.isolation.isolation == "child"
        with pytest.raises(
            GraphError, match=r"isolation of work\(\) is fixed.*@bundle\(trainable=True, isolation='strict'\)"
        ):
            work.isolation = "strict"
        for name in ("limits", "isolation", "limit"):
            with pytest.raises(IsolationError, match=f"{name} of a Sandbox cannot be changed. Make another one"):
                setattr(Sandbox(), name, "x")

    def test_the_environment_decides_where_nobody_says_anything(self, monkeypatch):
        work = learn(make(), WHERE)
        monkeypatch.setenv("OPTO_ISOLATION", "none")
        assert work(1).data == os.getpid()
        monkeypatch.setenv("OPTO_ISOLATION", "child")
        assert work(1).data != os.getpid()
        monkeypatch.setenv("OPTO_ISOLATION", "chidl")
        with pytest.raises(IsolationError, match=r"OPTO_ISOLATION='chidl' is no level.*Use auto, strict"):
            work(1)

    def test_a_block_holds_in_all_threads_if_it_is_told_to(self):
        work, found = learn(make(), WHERE), []
        with Sandbox("none").in_all_threads():
            thread = threading.Thread(target=lambda: found.append(work(1).data))
            thread.start()
            thread.join()
        assert found == [os.getpid()]

    def test_a_thread_that_does_not_know_the_block_says_so(self):
        work, found = learn(make(), WHERE), []

        def call():
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                work(1)
            found.extend(str(item.message) for item in caught)

        with Sandbox("child"):
            thread = threading.Thread(target=call)
            thread.start()
            thread.join()
        assert len(found) == 1
        assert found[0].startswith("Code that an optimizer has changed runs in a thread that was begun inside")

    def test_a_run_tells_the_level(self, tmp_path):
        work = make(isolation="child")
        optimizer = CodeSearch(work.parameters(), seed=0, run=tmp_path)
        learn(work, WHERE)
        optimizer.backward(work(1), 1.0)
        assert "child" in optimizer.step().isolation
        shown = subprocess.run(
            [sys.executable, "-m", "opto", "show", str(tmp_path)], capture_output=True, text=True, check=True
        ).stdout
        assert re.search(r"Changed code ran at the level [^.]*child", shown)

    def test_a_level_that_there_is_not_is_said_at_once(self):
        with pytest.raises(IsolationError, match="isolation='strictly' is no level of isolation"):
            make(isolation="strictly")
        with pytest.raises(GraphError, match="is not trainable"):
            bundle(isolation="strict")(lambda x: x)
        for wrong in (Limits(seconds=1), Sandbox, True):
            with pytest.raises(IsolationError, match="is neither a level nor a Sandbox"):
                make(isolation=wrong)

    def test_a_level_that_is_not_to_be_had_is_said_before_anything_is_paid(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "pydantic_monty", None)
        work = make(isolation="monty")
        with pytest.raises(MissingDependencyError, match="pip install 'opto-trace.monty.'"):
            work(1)
        with pytest.raises(MissingDependencyError):
            learn(work, WHERE)(1)

    def test_whoever_writes_code_is_told(self):
        assert "Keeps no state" in describe_variables({"work": make().parameter})
        assert "Keeps no state" not in describe_variables({"work": make(isolation="none").parameter})

    def test_what_a_checkpoint_brings_is_changed_code_too(self, tmp_path):
        class Agent(Module):
            @bundle(trainable=True)
            def work(self, x):
                return os.getpid()

        agent = Agent()
        learn(agent.work, WHERE.replace("(x)", "(self, x)"))
        agent.save(tmp_path / "agent.json")
        other = Agent()
        other.load(tmp_path / "agent.json")
        assert other.work(1).data not in {os.getpid(), agent.work(1).data}


class TestLimits:
    @pytest.mark.parametrize(
        ("source", "error", "says"),
        [
            (
                "def work(x):\n    while True:\n        pass\n",
                "SandboxTimeoutError",
                "did not finish within 0.3 s; it was in line [23]",
            ),
            ("def work(x):\n    import time\n    time.sleep(60)\n", "SandboxTimeoutError", "it was in line 3"),
            ("def work(x):\n    return len([0] * 10**9)\n", "SandboxMemoryError", "memory"),
            ("import os\n\ndef work(x):\n    os.abort()\n", "SandboxCrashError", "SIGABRT.*line 4"),
            ("import sys\n\ndef work(x):\n    sys.exit(3)\n", "SandboxCrashError", "raised SystemExit in line 4"),
            ("def work(x):\n    print('x' * 10**6)\n", "SandboxOutputError", "print"),
            ("def work(x):\n    return 'x' * 10**6\n", "SandboxOutputError", "return"),
            ("def work(x):\n    return open('/etc/passwd').read()\n", "SandboxForbiddenError", "line 2"),
            ("import socket\n\ndef work(x):\n    return 1\n", "SandboxForbiddenError", "import socket is not allowed"),
            ("def work(x):\n    return [(item for item in [1])]\n", "SandboxTransferError", "returned a generator"),
        ],
    )
    def test_become_feedback(self, source, error, says):
        work, x = learn(make(isolation=QUICK), source), node(1, trainable=True)
        with pytest.raises(ExecutionError, match=says) as caught:
            work(x)
        assert type(caught.value.__cause__).__name__ == error
        caught.value.exception_node.backward("mend it")
        assert len(work.parameter.feedback) == len(x.feedback) == 1
        learn(work, "def work(x):\n    return x + 1\n")
        assert work(x).data == 2

    def test_its_own_exceptions_are_what_they_are_with_its_lines(self):
        work = learn(make(), "def work(x):\n    table = {}\n    return table[x]\n")
        with pytest.raises(KeyError) as caught:
            work("here")
        assert isinstance(caught.value, ExecutionError)
        shown = "".join(traceback.format_exception(caught.value.__cause__))
        assert "line 3, in work\n    return table[x]" in shown

    def test_results_that_lie_do_no_harm(self):
        lies = "class Lie(float):\n    __eq__ = lambda *_: True\n\ndef work(x):\n    return Lie(x)\n"
        result = learn(make(), lies)(0.5).data
        assert type(result) is float
        assert result != 1.0
        assert math.isnan(learn(make(), "def work(x):\n    return float('nan')\n")(1).data)

    def test_an_optimizer_reads_them_and_goes_on(self):
        work = make(isolation=QUICK)
        answers = ["def work(x):\n    while x:\n        x += 1", "def work(x):\n    return x * 2"]
        llm = ScriptedLLM([f"<variable><name>work</name><value>{text}</value></variable>" for text in answers])
        optimizer = OptoPrime(work.parameters(), llm=llm, answer_format="tags")
        outcomes = []
        for _ in range(3):
            try:
                output = work(21)
                feedback = "not 42" if output.data != 42 else "right"
            except ExecutionError as error:
                output, feedback = error.exception_node, str(error.exception_node.data)
            outcomes.append(feedback)
            if feedback == "right":
                break
            optimizer.zero_feedback()
            optimizer.backward(output, feedback)
            optimizer.step()
        assert outcomes[0] == "not 42"
        assert "did not finish within 0.3 s" in outcomes[1]
        assert outcomes[2] == "right"
        assert "did not finish within 0.3 s" in str(llm.calls[-1])


class TestState:
    def test_dies_with_the_candidate_and_is_met_by_no_other(self):
        work = learn(make(), COUNT)
        assert [work(1).data, work(1).data] == [1, 2]
        learn(work, COUNT + "\n")
        assert work(1).data == 1
        assert learn(make(), COUNT)(1).data == 1

    def test_copies_are_candidates_of_their_own(self):
        class Agent(Module):
            @bundle(trainable=True)
            def work(self, x):
                return 0

        agent = Agent()
        learn(agent.work, COUNT.replace("(x):", "(self, x):"))
        assert agent.work(1).data == 1
        twin = copy.deepcopy(agent)
        assert [twin.work(1).data, agent.work(1).data] == [1, 2]

    def test_names_of_the_program_are_never_written(self):
        @bundle(trainable=True)
        def work(x):
            global WRITTEN
            WRITTEN += 0
            return WRITTEN

        learn(work, "def work(x):\n    global WRITTEN\n    WRITTEN += 10\n    return WRITTEN\n")
        assert work(1).data == 10
        assert WRITTEN == 0

    def test_arguments_stay_as_they_were(self):
        items = [1, 2]
        work = learn(make(), "def work(x):\n    x.append(3)\n    return x\n")
        assert work(items).data == [1, 2, 3]
        assert items == [1, 2]


class Pair(Module):
    def __init__(self):
        self.factor = node(3, trainable=True)

    @bundle(trainable=True, allow_external_dependencies=True)
    def outer(self, x):
        return self.inner(x)

    @bundle(trainable=True)
    def inner(self, x):
        return x

    @bundle(trainable=True, allow_external_dependencies=True)
    def scaled(self, x):
        return x * self.factor


class TestWhatItUses:
    def test_methods_that_were_changed_go_along_as_they_are_now(self):
        pair = Pair()
        learn(pair.outer, "def outer(self, x):\n    return self.inner(x) + 100\n")
        assert pair.outer(1).data == 101
        learn(pair.inner, "def inner(self, x):\n    return x + 10\n")
        assert pair.outer(1).data == 111
        learn(pair.inner, "def inner(self, x):\n    return x + 20\n")
        assert pair.outer(1).data == 121
        assert Pair().outer(1).data == 1

    def test_functions_that_were_changed_go_along_as_they_are_now(self):
        helper = make()
        learn(helper, "import math\n\ndef work(x):\n    return math.floor(x)\n")

        @bundle(trainable=True)
        def outer(x):
            return helper(x)

        learn(outer, "def outer(x):\n    return helper(x) + 1\n")
        assert outer(1.5).data == 2
        learn(helper, "def work(x):\n    return 10 * x\n")
        assert outer(1.5).data == 16

    def test_functions_that_were_defined_anew_are_the_new_ones(self, monkeypatch):
        """As in a notebook, whose cells are run again, and under `mock.patch`."""

        def outer(x):
            return helped(x)

        outer = learn(bundle(trainable=True)(outer), "def outer(x):\n    return helped(x) + 1\n")
        assert outer(1).data == 11
        with monkeypatch.context() as patch:
            patch.setitem(globals(), "helped", lambda x: x * 100)
            assert outer(1).data == 101
        assert outer(1).data == 11

    def test_their_code_gets_feedback(self):
        pair = Pair()
        learn(pair.outer, "def outer(self, x):\n    return self.inner(x) + 100\n")
        for _ in range(2):
            pair.outer(1).backward("good")
        assert {path: len(item.feedback) for path, item in pair.named_parameters()} == {
            "factor": 0,
            "outer": 2,
            "inner": 2,
            "scaled": 0,
        }

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("def inner(self, x):\n    return ((\n", "the code does not parse in line 2"),
            ("def inmost(self, x):\n    return x\n", "the code does not define inner"),
            ("def inner(self, x, y):\n    return x\n", r"the arguments of inner\(\) are \(self, x, y\)"),
        ],
    )
    def test_their_code_is_told_from_its_own_where_it_cannot_be_run(self, text, says):
        pair = Pair()
        learn(pair.outer, "def outer(self, x):\n    return self.inner(x) + 100\n")
        learn(pair.inner, text)
        with pytest.raises(ExecutionError, match=rf"outer\(\) uses inner\(\), which cannot be run: {says}") as caught:
            pair.outer(1)
        caught.value.exception_node.backward("mend it")
        assert len(pair.inner.parameter.feedback) == 1
        learn(pair.inner, "def inner(self, x):\n    return x\n")
        assert pair.outer(1).data == 101

    def test_their_lines_are_told_from_its_own(self):
        pair = Pair()
        learn(pair.outer, "def outer(self, x):\n    y = self.inner(x)\n    return y\n")
        learn(pair.inner, "def inner(self, x):\n    y = 0\n    while x:\n        x += 1\n    return 1 / y\n")
        shown = "in outer, line 2: y = self.inner(x)\nin inner, line {}: {}  <--- "
        with Sandbox(limits=Limits(seconds=0.3)):
            with pytest.raises(ExecutionError, match=r"it was in line 2, in line [34] of inner\(\)\.") as caught:
                pair.outer(1)
            lines = (shown.format(3, "while x:"), shown.format(4, "x += 1"))
            assert caught.value.exception_node.traceback.startswith(lines)
            with pytest.raises(ZeroDivisionError) as caught:
                pair.outer(0)
            assert caught.value.exception_node.traceback.startswith(shown.format(5, "return 1 / y"))

    def test_nodes_that_it_reads_are_inputs(self):
        pair = Pair()
        learn(pair.scaled, "def scaled(self, x):\n    return x * self.factor + 1\n")
        for _ in range(2):
            result = pair.scaled(2)
            assert result.data == 7
            assert pair.factor in [*TraceGraph([result]).parameters]
        pair.factor._set(5)
        assert pair.scaled(2).data == 11

    @pytest.mark.parametrize("isolation", ["auto", "none"])
    @pytest.mark.parametrize("body", ["return x * self.weight", "return x * vars(self)['weight']", "return x * WEIGHT"])
    def test_nodes_that_only_new_code_reads_are_its_failure(self, body, isolation, monkeypatch):
        weight = node(3, trainable=True)
        monkeypatch.setitem(globals(), "WEIGHT", node(4, trainable=True))

        class Agent(Module):
            def __init__(self):
                self.weight = weight

            @bundle(trainable=True, isolation=isolation)
            def area(self, x):
                return x

        @bundle()
        def around(agent, x):
            return agent.area(x).data

        agent = Agent()
        learn(agent.area, f"def area(self, x):\n    {body}\n")
        name = "WEIGHT" if "WEIGHT" in body else "self.weight"
        for call in (lambda: agent.area(2), lambda: around(agent, 2)):
            says = rf"area\(\) reads {name}, which it was not given, .*do not read {name}\."
            with pytest.raises(ExecutionError, match=says) as caught:
                call()
            assert isinstance(caught.value, MissingInputsError)
        assert "allow_external_dependencies" in caught.value.__notes__[0]
        caught.value.exception_node.backward("mend it")
        assert len(agent.area.parameter.feedback) == 1
        assert not weight.feedback
        learn(agent.area, "def area(self, x):\n    return x * 2\n")
        assert agent.area(2).data == 4

    def test_nodes_that_the_program_reads_as_well_are_the_users(self):
        class Agent(Module):
            def __init__(self):
                self.weight = node(3, trainable=True)

            def weighted(self, x):
                return x * self.weight.data

            @bundle(trainable=True)
            def direct(self, x):
                return self.weight * x if x > 1 else x

            @bundle(trainable=True)
            def indirect(self, x):
                return self.weighted(x) if x > 1 else x

        agent = Agent()
        learn(agent.direct, "def direct(self, x):\n    y = self.weight\n    return x * y\n")
        learn(agent.indirect, "def indirect(self, x):\n    return self.weighted(x) + 1\n")
        for method in (agent.direct, agent.indirect):
            with pytest.raises(MissingInputsError, match="allow_external_dependencies") as caught:
                method(2)
            assert not isinstance(caught.value, ExecutionError)

    @pytest.mark.parametrize(
        "value", ["Be", 2, 2.5, True, False, None, (1, "a"), [1, [2]], {"a": 1}, {1}, b"x", np.arange(3), 1j]
    )
    def test_nodes_have_their_values_under_data(self, value):
        agent, table = Pair(), {"key": node(value)}
        agent.factor = node(value)

        @bundle(trainable=True, allow_external_dependencies=True)
        def whole(agent):
            return [table["key"].data, agent.factor.data, bool(np.all(agent.factor.data == table["key"].data))]

        def told(result):
            return [(type(item), repr(item)) for item in result.data]

        own = told(whole(agent))
        learn(whole, whole.parameter.data.replace("agent.factor.data, ", "agent.factor, "))
        assert told(whole(agent)) == own

    def test_all_attributes_of_a_module_can_be_looked_through(self):
        class Agent(Module):
            def __init__(self):
                self.table, self.count = {"a": 1}, 2

            @bundle(trainable=True)
            def act(self, x):
                return x

        agent = Agent()
        for body in ("vars(self)", "self.__dict__", "{**vars(self)}"):
            learn(agent.act, f"def act(self, x):\n    return {body}\n")
            assert agent.act(1).data == {"table": {"a": 1}, "count": 2}

    def test_classes_in_the_class_of_self_are_the_same_in_default_values(self):
        class Agent(Module):
            class Mode(enum.Enum):
                A = 1
                B = 2

            def __init__(self):
                self.mode = self.Mode.A

            def helper(self, mode=Mode.B):
                return [mode.name, self.mode is self.Mode.A]

            @bundle(trainable=True)
            def act(self, x):
                return self.helper()

        agent = Agent()
        learn(agent.act, "def act(self, x):\n    return [*self.helper(), self.mode is self.Mode.A]\n")
        assert agent.act(1).data == ["B", True, True]

    def test_containers_in_nodes_are_the_same_object_at_each_look(self):
        memory = node([1])

        @bundle(trainable=True, allow_external_dependencies=True)
        def noted(x):
            return memory

        learn(noted, "def noted(x):\n    memory.data.append(x)\n    return memory.data + [str(memory), len(memory)]\n")
        assert noted(2).data == [1, 2, "[1, 2]", 2]


class TestBorders:
    def test_are_told_of_at_the_first_call(self):
        lock = threading.Lock()

        @bundle(trainable=True)
        def work(x):
            with lock:
                return x

        with pytest.warns(
            RuntimeWarning, match=r"work\(\) uses lock, a lock, which cannot enter the sandbox.*as you wrote it"
        ) as caught:
            assert work(1).data == 1
        assert caught[0].filename == __file__
        assert work(1).data == 1
        learn(work, "def work(x):\n    with lock:\n        return x + 1\n")
        with pytest.raises(ExecutionError, match=r"uses lock.*hosts=\[.*isolation='none'"):
            work(1)

    def test_so_is_what_will_be_lost(self):
        class Agent(Module):
            def __init__(self):
                self.count, self.seen = 0, []

            @bundle(trainable=True)
            def act(self, x):
                self.count += 1
                self.seen.append(x)
                return x

        agent = Agent()
        with pytest.warns(
            RuntimeWarning,
            match=r"act\(\) changes self.count, self.seen, which is lost.*each call begins with what the",
        ) as caught:
            agent.act(1)
        assert caught[0].filename == __file__
        assert agent.act(2).data == 2
        assert (agent.count, agent.seen) == (2, [1, 2])

    def test_nothing_is_lost_without_a_sandbox(self):
        calls = []

        @bundle(trainable=True, isolation="none")
        def work(x):
            calls.append(x)
            return x

        work(1)
        assert calls == [1]

    def test_of_arguments_too(self):
        work = make()
        with pytest.warns(RuntimeWarning, match=r"The argument x of work\(\) is or holds a lock"):
            work([threading.Lock()])

    def test_are_none_where_there_is_no_sandbox(self):
        lock = threading.Lock()

        @bundle(trainable=True, isolation="none")
        def work(x):
            with lock:
                return x

        learn(work, "def work(x):\n    with lock:\n        return x + 1\n")
        assert work(1).data == 2

    def test_hosts_are_called_outside(self):
        class Client:
            def ask(self, question):
                return f"{question} {os.getpid()}"

        client = Client()

        @bundle(trainable=True, isolation=Sandbox(hosts=["client.ask"]))
        def work(x, client):
            return client.ask(x)

        assert work("a", client).data == f"a {os.getpid()}"
        learn(work, "def work(x, client):\n    return client.ask(x + x)\n")
        assert work("a", client).data == f"aa {os.getpid()}"

    def test_hosts_are_found_where_the_function_stands(self, monkeypatch):
        @bundle(trainable=True, isolation=Sandbox(hosts=["SERVICE.ask"]))
        def work(x):
            return SERVICE.ask(x)

        learn(work, "def work(x):\n    return SERVICE.ask(x) + '!'\n")
        assert work("a").data == "A!"
        monkeypatch.setitem(globals(), "SERVICE", types.SimpleNamespace(ask=lambda text: text * 2))
        assert work("a").data == "aa!"


class TestWhatTheProgramNotices:
    def test_prints_are_printed_without_what_steers_terminals(self, capsys):
        work = learn(make(), "def work(x):\n    print('hello', x, chr(27) + '[2J')\n    return x / 0\n")
        with pytest.raises(ZeroDivisionError):
            work(1)
        assert capsys.readouterr().out == "hello 1 \\x1b[2J\n"

    @pytest.mark.parametrize(
        "source",
        [
            "import random\n\ndef work(x):\n    return [random.random() for _ in range(x)]\n",
            "def work(x):\n    import numpy\n    return [float(item) for item in numpy.random.rand(x)]\n",
        ],
    )
    def test_chance_follows_the_seeds_of_the_program(self, source):
        def drawn(seed):
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002 - what programs do
            work = learn(make(), source)
            return work(3).data + work(3).data

        first, again, other = drawn(0), drawn(0), drawn(1)
        assert first == again
        assert first != other
        assert len({*first, *other}) == 12
        with ThreadPoolExecutor(4) as pool:
            work = learn(make(), source.replace("return", "import time; time.sleep(0.1); return"))
            together = [*pool.map(work, [3] * 4)]
        assert len({number for result in together for number in result.data}) == 12
        random.seed(0)
        expected = random.random()
        random.seed(0)
        learn(make(), source)(3)
        assert random.random() == expected


@dataclass
class KeywordsOnly:
    a: int
    _: KW_ONLY
    b: int = 2


TOOLS = {}


def tool(kind):
    TOOLS[kind.__name__] = kind
    return kind


@tool
class Adder:
    def run(self, x):
        return x + 1


@bundle(trainable=True)
def increased(x):
    return x + 1


@bundle(trainable=True)
async def increased_later(x):
    return x + 1


class TestTheSameText:
    """A function whose text got no more than a comment does what it did."""

    def same(self, function, *args):
        before = function(*args).data
        learn(function, f"{function.parameter.data}    # the same\n")
        assert function(*args).data == before
        return before

    def test_asks_results_of_bundled_functions_for_their_data(self):
        @bundle(trainable=True)
        def work(x):
            return increased(x).data * 2, isinstance(increased(x).data, int), increased(x) + 1

        assert self.same(work, 1) == (4, True, 3)

    def test_asks_those_of_methods(self):
        @model
        class Agent:
            @bundle(trainable=True)
            def plan(self, x):
                return [x]

            @bundle(trainable=True)
            def act(self, x):
                return self.plan(x).data[0] + len(self.plan(x))

        assert self.same(Agent().act, 1) == 2

    def test_asks_those_of_coroutines(self):
        @bundle(trainable=True)
        async def work(x):
            return (await increased_later(x)).data * 2

        learn(work, f"{work.parameter.data}    # the same\n")
        assert asyncio.run(work(1)).data == 4

    def test_makes_dataclasses_with_keywords_only(self):
        @bundle(trainable=True)
        def work(x):
            return KeywordsOnly(x, b=3).b, KeywordsOnly(x).b

        assert self.same(work, 1) == (3, 2)

    def test_finds_classes_that_put_themselves_into_a_table(self):
        @bundle(trainable=True)
        def named(name, x):
            return TOOLS[name]().run(x), len(TOOLS)

        @bundle(trainable=True)
        def made(x):
            return Adder().run(x), type(Adder()) is TOOLS["Adder"]

        @bundle(trainable=True)
        def given(adder, x):
            return adder.run(x)

        assert self.same(named, "Adder", 1) == (2, 1)
        assert self.same(made, 1) == (2, True)
        assert self.same(given, Adder(), 1) == 2

    def test_imports_packages(self):
        @bundle(trainable=True)
        def work(x):
            import numpy as np

            return float(np.sum([x, 2]))

        assert self.same(work, 1) == 3.0


class TestKindsOfFunctions:
    def test_coroutines(self):
        @bundle(trainable=True)
        async def work(x):
            return x

        learn(work, "import asyncio\n\nasync def work(x):\n    await asyncio.sleep(0)\n    return x + 1\n")

        async def main():
            return [item.data for item in await asyncio.gather(work(1), work(2))]

        assert asyncio.run(main()) == [2, 3]

    def test_neither_becomes_a_generator_nor_stops_being_one(self):
        work, source = make(), "def work(x):\n    yield x\n"
        with pytest.raises(DomainError, match=r"work\(\) yields, and the original does not. Return one value"):
            work.parameter.domain.accept(source)
        with pytest.raises(ExecutionError, match=r"work\(\) yields"):
            learn(work, source)(1)

        @bundle(trainable=True)
        def items(x):
            yield x

        with pytest.raises(DomainError, match=r"items\(\) returns a value, and the original does not. Yield items"):
            items.parameter.domain.accept("def items(x):\n    return [x]\n")

    def test_generators(self):
        @bundle(trainable=True)
        def work(x):
            yield x

        learn(work, "def work(x):\n    for index in range(x):\n        yield index\n")
        assert [item.data for item in work(3)] == [0, 1, 2]

    def test_open_code(self):
        @bundle(trainable=True, traceable_code=True)
        def work(x):
            return x + 1

        learn(work, "def work(x):\n    return x * 5\n")
        x = node(2, trainable=True)
        result = work(x)
        assert result.data == 10
        result.backward("good")
        assert len(x.feedback) == len(work.parameter.feedback) == 1

    def test_results_are_reused_by_the_text_that_made_them(self):
        memo = Memo()
        work = make(memo=memo)
        learn(work, "def work(x):\n    return x + 1\n")
        assert [work(1).data, work(1).data, memo.hits, memo.misses] == [2, 2, 1, 1]
        learn(work, "def work(x):\n    return x + 2\n")
        assert [work(1).data, memo.hits, memo.misses] == [3, 1, 2]

    def test_an_error_of_the_sandbox_can_be_caught_as_what_it_is(self):
        work = learn(make(isolation=QUICK, catch_execution_error=False), "def work(x):\n    while True: pass\n")
        with pytest.raises(SandboxTimeoutError) as caught:
            work(1)
        assert caught.value.line == 2
