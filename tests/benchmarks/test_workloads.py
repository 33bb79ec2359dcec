"""The workloads of the benchmarks run. How fast they are is no matter of a test."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def answer(*arguments: str) -> dict[str, object]:
    done = subprocess.run([sys.executable, *arguments], cwd=FOLDER, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def test_operations_are_timed() -> None:
    assert all(time > 0 for time in answer("operations.py", "3", "1").values())


@pytest.mark.parametrize("shape", ["chain", "fan_in", "lattice", "minibatch"])
@pytest.mark.parametrize("library", ["trace", "floor"])
def test_graphs_are_timed(library, shape) -> None:
    assert answer("graphs.py", library, shape, "1000").keys() == {"build", "backward", "release", "bytes"}


@pytest.mark.parametrize("library", ["trace", "floor"])
def test_additions_are_timed(library) -> None:
    assert answer("graphs.py", library, "addition", "3")["addition"] > 0


@pytest.mark.parametrize("kind", ["search", "model"])
def test_memory_over_iterations_is_seen(kind) -> None:
    assert answer("iterations.py", kind, "20").keys() == {"bytes", "unreachable"}


def test_checkpoints_are_timed() -> None:
    assert answer("checkpoint.py", "3", "1").keys() == {"save", "load", "bytes"}
    assert answer("checkpoint.py", "3", "1", "--code").keys() == {"save", "load", "bytes"}


def test_modules_and_sockets_of_an_import_are_seen() -> None:
    seen = answer("imported.py", "import socket; socket.socket().close()")
    assert "socket" in seen["modules"]
    assert "socket.__new__" in seen["sockets"]
