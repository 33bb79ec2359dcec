"""Results that are computed once, and never served when they no longer hold."""

import enum
import os
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
from opto.nodes import node
from opto.trace import Memo, bundle, rollout


class Counter:
    """Counts calls of a function without being reachable from it."""

    count = 0


def tick():
    Counter.count += 1


@pytest.fixture(autouse=True)
def fresh_counter():
    Counter.count = 0


@bundle(memo=True)
def slow(x, *, scale=2):
    tick()
    return [x * scale]


def test_hits_and_misses_are_counted():
    slow.memo.clear()
    results = [slow(value) for value in (3, node(3), 4, 3)]

    assert [result.data for result in results] == [[6], [6], [8], [6]]
    assert (Counter.count, slow.memo.hits, slow.memo.misses) == (2, 2, 2)


def test_a_result_that_was_reused_has_its_own_edges():
    slow.memo.clear()
    slow(7)
    x = node(7, trainable=True)

    result = slow(x)
    result.backward("good")

    assert Counter.count == 1
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

    assert Counter.count == 6


def test_a_changed_parameter_is_never_served_stale():
    factor = node(2, trainable=True)

    @bundle(memo=True, allow_external_dependencies=True)
    def scaled(x):
        tick()
        return x * factor.data

    assert [scaled(3).data, scaled(3).data] == [6, 6]
    factor._set(5)
    assert [scaled(3).data, scaled(3).data] == [15, 15]
    assert Counter.count == 2
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
    assert (Counter.count, work.memo.unkeyed) == (3, 3)


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
    assert Counter.count == 2


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
