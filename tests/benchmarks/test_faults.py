"""The benchmark of faults, in small: every call ends, the ledger has what the server said, nothing is left open."""

import subprocess
import sys
from pathlib import Path

import pytest

from opto.llm import Ledger, Usage
from opto.llm.spending import CallRecord

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def faults(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import faults

    yield faults
    sys.modules.pop("faults", None)


def test_what_goes_wrong_is_counted_to_the_token():
    command = [sys.executable, "faults.py", "--calls", "60", "--at-once", "8", "--seed", "7", "--untimed"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    lines = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert [line.partition(":")[0] for line in lines] == [
        "openai, threads",
        "openai, tasks",
        "anthropic, threads",
        "anthropic, tasks",
        "all of it holds",
    ]
    assert not any(" 0 faults" in line for line in lines)


def test_what_is_counted_otherwise_is_told(faults):
    ledger = Ledger()
    ledger.enter(CallRecord("openai:m", usage=Usage(5, 2), wasted=Usage(1, 1), retries=1))
    said = {"input_tokens": 3, "output_tokens": 2, "cached_tokens": 0, "reasoning_tokens": 0}
    log = [{"call": "a", "usage": said}, {"call": "a", "usage": {**said, "output_tokens": 1}}]

    assert faults.difference(ledger, log) == []
    assert faults.difference(ledger, log[:1]) == [
        "requests: 2 in the ledger, 1 in the log",
        "input_tokens: 6 in the ledger, 3 in the log",
        "output_tokens: 3 in the ledger, 2 in the log",
    ]


@pytest.mark.parametrize(
    ("at_once", "own", "seconds"),
    [
        (1, 0.0, 1 + 2 + (3 + 0.5 + 1)),
        (2, 0.0, 1 + (3 + 0.5 + 1)),
        (3, 0.0, 3 + 0.5 + 1),
        (3, 10.0, 3 * 10 + 3 + 0.5 + 10 + 1),  # four requests of one interpreter
    ],
)
def test_the_ideal_keeps_all_places_busy(faults, at_once, own, seconds):
    log = [{"call": call, "delay": delay} for call, delay in [("a", 1.0), ("b", 2.0), ("c", 3.0), ("c", 1.0)]]
    waits = {"a": [], "b": [], "c": [0.5]}

    found = faults.ideal(log, waits, ["a", "b", "c"], at_once, own)

    assert found == pytest.approx(seconds)


def test_what_is_left_open_is_told(faults):
    problems = []
    with faults.nothing_left(problems):
        left = open(__file__, encoding="utf-8")  # noqa: SIM115 - on purpose
    left.close()
    assert problems == ["1 files and sockets are left"]
