"""Results that are computed once, and never served when they no longer hold."""

import asyncio
import enum
import functools
import os
import pickle
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import opto
from opto.errors import GraphError
from opto.llm import LLM, Adapter, Reply
from opto.nodes import node
from opto.trace import Memo, Module, bundle, rollout
from opto.trace.content import Content


def tick():
    """Count a call where the memo does not look, in a module of Python: a counter of the program would be content."""
    sys.opto_ticks += 1


@pytest.fixture(autouse=True)
def fresh_counter():
    sys.opto_ticks = 0
    yield
    del sys.opto_ticks


@bundle(memo=True)
def slow(x, *, scale=2):
    tick()
    return [x * scale]


def test_hits_and_misses_are_counted():
    slow.memo.clear()
    results = [slow(value) for value in (3, node(3), 4, 3)]

    assert [result.data for result in results] == [[6], [6], [8], [6]]
    assert (sys.opto_ticks, slow.memo.hits, slow.memo.misses) == (2, 2, 2)


def test_a_result_that_was_reused_has_its_own_edges():
    slow.memo.clear()
    slow(7)
    x = node(7, trainable=True)

    result = slow(x)
    result.backward("good")

    assert sys.opto_ticks == 1
    assert len(x.feedback) == 1


def test_a_reused_result_may_be_changed_by_whoever_got_it():
    slow.memo.clear()
    slow(1).data.append("spoilt")

    assert slow(1).data == [2]
    assert slow(1).data is not slow(1).data


def test_types_and_content_tell_inputs_apart():
    slow.memo.clear()
    for value in (1, True, 1.0, "1", (1,), [1]):
        slow(value, scale=1)

    assert sys.opto_ticks == 6


def test_a_changed_parameter_is_never_served_stale():
    factor = node(2, trainable=True)

    @bundle(memo=True, allow_external_dependencies=True)
    def scaled(x):
        tick()
        return x * factor.data

    assert [scaled(3).data, scaled(3).data] == [6, 6]
    factor._set(5)
    assert [scaled(3).data, scaled(3).data] == [15, 15]
    assert sys.opto_ticks == 2
    scaled(3).backward("good")
    assert len(factor.feedback) == 1, "what a reused result depends on is recorded, too"


def test_a_changed_source_runs_again():
    @bundle(memo=True, trainable=True)
    def work(x):
        return x + 1

    assert work(1).data == 2
    work.parameter._set("def work(x):\n    return x + 100\n")
    assert work(1).data == 101


BASE = 10


def helper(x):
    return x + BASE


@bundle(memo=True)
def uses_helper(x):
    return helper(x)


def test_what_a_function_can_reach_is_part_of_its_content(monkeypatch):
    assert uses_helper(1).data == 11
    monkeypatch.setattr(sys.modules[__name__], "BASE", 20)
    assert uses_helper(1).data == 21
    monkeypatch.setattr(sys.modules[__name__], "helper", lambda x: x)
    assert uses_helper(1).data == 1


@dataclass
class Point:
    x: int


class Colour(enum.Enum):
    RED = 1


class Slotted:
    __slots__ = ("x",)

    def __init__(self, x):
        self.x = x


@pytest.mark.parametrize(
    ("first", "equal", "other"),
    [
        (Point(1), Point(1), Point(2)),
        (Slotted(1), Slotted(1), Slotted(2)),
        (Colour.RED, Colour.RED, 1),
        (np.arange(3), np.arange(3), np.arange(3.0)),
        ({"a": [1, {2}]}, {"a": [1, {2}]}, {"a": [1, {3}]}),
        (int, int, float),
    ],
)
def test_content_of_many_kinds(first, equal, other):
    @bundle(memo=True)
    def show(value):
        return str(value)

    for value in (first, equal, other):
        show(value)
    assert (show.memo.hits, show.memo.misses) == (1, 2)


def test_what_has_no_content_is_run_each_time():
    @bundle(memo=True)
    def work(lock):
        tick()
        return 1

    lock = threading.Lock()
    assert [work(lock).data, work(lock).data] == [1, 1]
    loop = []
    loop.append(loop)
    work(loop)
    assert (sys.opto_ticks, work.memo.unkeyed) == (3, 3)


def test_chance_is_drawn_once_per_rollout():
    @bundle(memo=True)
    def draw(limit):
        return random.random() * limit

    def at(index):
        with rollout(index):
            return draw(100).data

    assert at(1) == at(1)
    assert at(1) != at(2)
    assert draw(100).data == draw(100).data


def test_errors_are_not_kept():
    @bundle(memo=True)
    def fail(x):
        tick()
        raise ValueError(x)

    for _ in range(2):
        with pytest.raises(ValueError, match="1"):
            fail(1)
    assert sys.opto_ticks == 2


PROGRAM = """
import sys
from opto.trace import Memo, bundle
memo = Memo(sys.argv[1])
@bundle(memo=memo)
def work(x):
    return {"x": x, "t": (1, None)}
print(work(sys.argv[2]).data, memo.hits)
"""


def test_a_folder_keeps_results_for_other_processes(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    def run(argument):
        command = [sys.executable, str(program), str(tmp_path / "memo"), argument]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert run("a") == "{'x': 'a', 't': (1, None)} 0\n"
    assert run("a") == "{'x': 'a', 't': (1, None)} 1\n"
    assert run("b") == "{'x': 'b', 't': (1, None)} 0\n"

    for file in (tmp_path / "memo").rglob("*.txt"):
        file.write_text("torn")
    assert run("a").endswith(" 0\n")


def test_values_that_no_text_gives_back_stay_in_memory(tmp_path):
    memo = Memo(tmp_path / "memo")

    @bundle(memo=memo)
    def make(x):
        return Point(x)

    assert make(1).data == make(1).data
    assert memo.hits == 1
    assert not (tmp_path / "memo").exists()


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(GraphError, match="cannot be kept in"):
        bundle(memo=Memo(tmp_path / "file"))(abs)(1)


def test_the_oldest_unused_results_go_first():
    memo = Memo(limit=2)
    work = bundle(memo=memo)(abs)

    for value in (1, 2, 1, 3, 1):
        work(value)
    assert memo.hits == 2
    work(2)
    assert memo.hits == 2


def test_threads_share_it():
    slow.memo.clear()
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda number: slow(number % 5).data, range(200)))

    assert results == [[2 * (number % 5)] for number in range(200)]
    assert slow.memo.hits + slow.memo.misses == 200
    assert slow.memo.misses <= 5 * 8


HELPERS = """
FACTOR = {factor}
class Scale:
    def apply(self, x):
        return x * {method}
def times(x):
    return x * FACTOR
"""
USER = """
import sys
import helpers
from helpers import Scale
from opto.trace import Memo, bundle
memo = Memo("memo")
@bundle(memo=memo)
def work(x):
    return [helpers.times(x), Scale().apply(x), sum([x])]
print(work(2).data, memo.hits)
"""


def test_a_folder_notices_changed_helpers_in_other_files(tmp_path):
    (tmp_path / "program.py").write_text(USER)

    def run(factor, method):
        (tmp_path / "helpers.py").write_text(HELPERS.format(factor=factor, method=method))
        command = [sys.executable, "-B", "program.py"]
        environment = {**os.environ, "PYTHONPATH": str(Path(opto.__file__).parent.parent), "PYTHONHASHSEED": "random"}
        return subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
        ).stdout.strip()

    assert run(3, 4) == "[6, 8, 2] 0"
    assert run(3, 4) == "[6, 8, 2] 1"
    assert run(5, 4) == "[10, 8, 2] 0"
    assert run(5, 7) == "[10, 14, 2] 0"
    assert run(3, 4) == "[6, 8, 2] 1"


# What a call depends on besides its arguments.


def ran(function, *args):
    """Return how many times `tick` was called in a call, and the result."""
    before = sys.opto_ticks
    result = function(*args).data
    return sys.opto_ticks - before, result


class Agent(Module):
    rate = 1

    def __init__(self):
        self.prompt = node("hi ", trainable=True)

    @bundle(memo=True, allow_external_dependencies=True)
    def greet(self, name):
        tick()
        return self.prompt.data + name * self.rate

    @bundle(trainable=True)
    def shout(self, name):
        return name + "!"

    @bundle(memo=True, allow_external_dependencies=True)
    def call(self, name):
        tick()
        return self.shout(name).data


def test_a_changed_parameter_runs_again_only_what_is_computed_from_it():
    first, second = node(1, trainable=True), node(2, trainable=True)

    @bundle(memo=True)
    def add(weight, x):
        tick()
        return x + weight

    def program():
        return add(second, add(first, 10))

    runs = [ran(program)]
    for weight, value in ((second, 5), (first, 3), (first, 1)):
        weight._set(value)
        runs.append(ran(program))
    assert runs == [(2, 13), (1, 16), (2, 18), (0, 16)]


def test_what_an_instance_and_its_class_hold_is_noticed(monkeypatch):
    agent = Agent()
    runs = [ran(agent.greet, "Ada"), ran(agent.greet, "Ada")]
    agent.prompt._set("yo ")
    runs.append(ran(agent.greet, "Ada"))
    monkeypatch.setattr(Agent, "rate", 2)
    runs.append(ran(agent.greet, "Ada"))
    assert runs == [(1, "hi Ada"), (0, "hi Ada"), (1, "yo Ada"), (1, "yo AdaAda")]


def test_instances_with_equal_content_share_results_and_keep_their_edges():
    agents = [Agent(), Agent()]
    Agent.greet.memo.clear()
    results = [agent.greet("Eve") for agent in agents]

    assert (Agent.greet.memo.hits, Agent.greet.memo.misses) == (1, 1)
    for agent, other, result in zip(agents, reversed(agents), results, strict=True):
        assert any(parent is agent.prompt for parent in result.parents)
        assert not any(parent is other.prompt for parent in result.parents)


def test_the_code_that_an_instance_owns_is_part_of_it():
    changed, other = Agent(), Agent()
    changed.shout.parameter._set("def shout(self, name):\n    return name + '?'\n")
    assert [agent.call("Bo").data for agent in (other, changed, other)] == ["Bo!", "Bo?", "Bo!"]
    assert any(parent is changed.shout.parameter for parent in changed.call("Bo").parents)


def test_nothing_is_kept_of_a_call_that_changes_what_it_was_computed_from():
    @bundle(memo=True)
    def push(items):
        items.append(len(items))
        return items[-1]

    with pytest.warns(UserWarning, match="changed its input"):
        lists = [[], [], [0]]
        assert [push(items).data for items in lists] == [0, 0, 1]
    assert lists == [[0], [0], [0, 1]]


def test_partials_with_other_arguments_are_other_functions():
    def scale(by, x):
        return by * x

    memo = Memo()
    double, triple = (bundle(memo=memo)(functools.partial(scale, by)) for by in (2, 3))
    assert [double(5).data, triple(5).data] == [10, 15]


def test_coroutine_functions_have_a_memo_too():
    @bundle(memo=True)
    async def answer(question):
        tick()
        await asyncio.sleep(0)
        return question.upper()

    async def main():
        return [(await answer(node(question))).data for question in ("a", "a", "b")]

    assert asyncio.run(main()) == ["A", "A", "B"]
    assert (sys.opto_ticks, answer.memo.hits) == (2, 1)


@pytest.mark.parametrize("options", [{}, {"traceable_code": True}])
def test_where_there_is_no_one_result_a_memo_is_refused(options):
    def items(limit):
        if options:
            return limit
        yield limit

    with pytest.raises(GraphError, match="no one result to reuse"):
        bundle(memo=True, **options)(items)


class Shouting(Adapter):
    model = "local:shout"

    def complete(self, messages, settings):
        tick()
        return Reply(f"{messages[-1]['content'].upper()} {settings.get('temperature')}", model=self.model)


def test_replies_are_reused_while_the_model_and_its_settings_are_the_same():
    memo = Memo()

    def asking(**settings):
        llm = LLM(adapter=Shouting(), **settings)
        return bundle(memo=memo)(lambda prompt: llm(prompt).text)

    cold, warm = asking(temperature=0), asking(temperature=1)
    assert [ran(ask, "hi") for ask in (cold, cold, warm)] == [(1, "HI 0"), (0, "HI 0"), (1, "HI 1")]


@pytest.mark.parametrize(
    "left", [b"", b"\xff\xfe", b"[1]\n()\n# en", b"[1]\n# end", b"{[]: 1}\n()\n# end of result and reads"]
)
def test_files_that_were_torn_or_written_by_others_are_computed_again(tmp_path, left):
    @bundle(memo=Memo(tmp_path))
    def boxed(x):
        tick()
        return [x]

    boxed(1)
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    boxed.memo._entries.clear()
    file.write_bytes(left)
    assert ran(boxed, 1) == (1, [1])
    boxed.memo._entries.clear()
    assert ran(boxed, 1) == (0, [1])


class Name(str):
    __slots__ = ()


@pytest.mark.parametrize("value", [[Name("a")], [float("nan")], [10**5000], "\ud800", [-0.0], ..., {1: (None, {2})}])
def test_a_folder_gives_back_what_was_put_in_or_nothing(tmp_path, value):
    @bundle(memo=Memo(tmp_path))
    def give():
        return value

    give()
    give.memo._entries.clear()
    again = give().data
    assert Content().of(again) == Content().of(value)


@pytest.mark.parametrize("error", [RuntimeError, pickle.PicklingError])
def test_results_that_cannot_be_copied_are_not_kept(error):
    class Unwilling:
        def __reduce_ex__(self, protocol):
            raise error("no copies")

    @bundle(memo=True)
    def make(x):
        tick()
        return Unwilling()

    make(1), make(1)
    assert sys.opto_ticks == 2


def test_methods_that_run_while_content_is_told_do_not_ask_for_theirs():
    class Open:
        @bundle(memo=True)
        def __getattr__(self, name):
            return name.upper()

        def __call__(self):
            return self.size

    @bundle(memo=True)
    def size(item):
        tick()
        return item()

    assert [size(Open()).data, size(Open()).data, Open().size.data] == ["SIZE"] * 3
    assert sys.opto_ticks == 1


def test_results_from_the_folder_count_towards_the_limit(tmp_path):
    work = bundle(memo=Memo(tmp_path))(abs)
    for value in range(5):
        work(value)
    memo = Memo(tmp_path, limit=2)
    again = bundle(memo=memo)(abs)
    assert [again(value).data for value in range(5)] == [*range(5)]
    assert memo.hits == 5
    assert len(memo._entries) == 2


WRITER = """
import sys
from opto.trace import Memo, bundle

@bundle(memo=Memo(sys.argv[1]))
def long_text(x):
    return str(x) * 200_000

for number in range(1_000_000):
    long_text(number)
"""


def test_two_processes_and_a_sudden_death_leave_nothing_torn(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(opto.__file__).parents[1])}
    processes = [subprocess.Popen(command, env=environment) for _ in range(2)]
    try:
        while len(files := list(tmp_path.rglob("*.txt"))) < 50:
            assert all(process.poll() is None for process in processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert all(file.read_text(encoding="utf-8").endswith("# end of result and reads") for file in files)
