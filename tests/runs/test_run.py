"""Runs: what was acknowledged is there afterwards, whatever happened to the process."""

import os
import signal
import stat
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import RunError
from opto.nodes import Feedback
from opto.runs import Run, StepRecord, as_json


def record(step, **more):
    settings = {"outcome": "updated", "optimizer": "Test", "before": {"x": 1}, "after": {"x": 2}, "seconds": 0.5}
    return StepRecord(step=step, at=datetime.now(UTC), **(settings | more))


def test_steps_come_back_as_they_were_written(tmp_path):
    run = Run(tmp_path / "new" / "run")
    written = [record(1, reply="a\nb é \x00"), record(2, outcome="failed", reason="no")]

    for item in written:
        run.append(item)

    assert Run(tmp_path / "new" / "run").steps() == written
    assert run.steps_file.read_bytes().count(b"\n") == 2


def test_a_torn_line_is_left_out_and_ended_by_the_next_writer(tmp_path):
    run = Run(tmp_path)
    run.append(record(1))
    with run.steps_file.open("ab") as file:
        file.write(b'{"step": 2, "outc')

    assert [item.step for item in run.steps()] == [1]
    run.append(record(3))
    assert [item.step for item in run.steps()] == [1, 3]


def test_a_whole_line_that_is_no_step_is_an_error(tmp_path):
    Run(tmp_path).append(record(1))
    with Run(tmp_path).steps_file.open("a") as file:
        file.write('{"hello": 1}\n')

    with pytest.raises(RunError, match="Line 2 of .* is no step"):
        Run(tmp_path).steps()


def test_what_was_acknowledged_survives_kill_9(tmp_path):
    program = textwrap.dedent(
        """
        import sys
        from datetime import UTC, datetime
        from opto.runs import Run, StepRecord
        run = Run(sys.argv[1])
        for step in range(1, 10_000):
            run.append(StepRecord(step=step, outcome="updated", optimizer="T", before={}, after={},
                                  reply="x" * 5000, seconds=0, at=datetime.now(UTC)))
            print(step, flush=True)
        """
    )
    child = subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True)
    acknowledged = [int(child.stdout.readline()) for _ in range(20)][-1]
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read().split()
    child.wait()
    child.stdout.close()

    steps = [item.step for item in Run(tmp_path).steps()]
    assert steps[: acknowledged + len(rest)] == list(range(1, acknowledged + len(rest) + 1))


def test_writers_that_share_a_run_do_not_mix_their_lines(tmp_path):
    run = Run(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda step: run.append(record(step, reply="x" * 10_000)), range(100)))

    assert sorted(item.step for item in run.steps()) == list(range(100))


def test_new_runs_never_share_a_folder(tmp_path):
    folders = {Run.new(tmp_path, "job").folder for _ in range(5)}

    assert len(folders) == 5
    assert all(folder.name.startswith("job-") for folder in folders)


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(RunError, match="cannot be written: .*Choose another folder"):
        Run(tmp_path / "file" / "run").append(record(1))
    with pytest.raises(RunError, match="cannot be written"):
        Run.new(tmp_path / "file", "job")


def test_a_missing_run_is_a_clear_error(tmp_path):
    with pytest.raises(RunError, match="There are no steps in"):
        Run(tmp_path).steps()
    assert Run(tmp_path).last_step() == 0


def test_files_can_be_read_by_others(tmp_path):
    Run(tmp_path).append(record(1))

    assert stat.S_IMODE(os.stat(Run(tmp_path).steps_file).st_mode) & 0o600 == 0o600


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.tuples(inner)
    )
)
def test_as_json_can_always_be_written(value):
    assert record(1, before={"x": as_json(value)}).model_dump_json()
    assert as_json(as_json(value)) == as_json(value)


def test_as_json_of_what_json_does_not_know():
    loop = []
    loop.append(loop)

    assert as_json(float("nan")) == "nan"
    assert as_json({1, 2}) == "{1, 2}"
    assert as_json(loop) == "[[...]]"


def test_a_record_says_itself_in_a_line():
    assert str(record(3, score=-1.5, update={"x": 2})) == "step 3 (score -1.5): updated x"
    assert str(record(4, outcome="rejected", reason="x: no")) == "step 4: rejected: x: no"


def test_infinite_scores_and_texts_that_are_no_unicode_survive(tmp_path):
    run = Run(tmp_path)
    written = record(1, score=float("-inf"), reply="bad \ud800", feedback=[Feedback("x \ud800", scores={"speed": 3})])

    run.append(written)

    assert run.steps() == [written]


def test_arrays_are_lists_and_names_that_are_no_text_do_not_meet():
    assert as_json(np.array([[1.0, 2.0]])) == [[1.0, 2.0]]
    assert as_json({1: "x", "1": "y"}) == "{1: 'x', '1': 'y'}"
    assert as_json([{1: 2}]) == "[{1: 2}]"

    class Mute:
        def __repr__(self):
            raise RuntimeError

    assert as_json(Mute()) == "<Mute without repr: RuntimeError>"


def test_a_disk_that_runs_full_is_an_error(tmp_path):
    program = textwrap.dedent(
        """
        import resource, signal, sys
        from datetime import UTC, datetime
        from opto.errors import RunError
        from opto.runs import Run, StepRecord
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
        try:
            Run(sys.argv[1]).append(StepRecord(step=1, outcome="updated", optimizer="T", before={}, after={},
                                               reply="x" * 5000, seconds=0, at=datetime.now(UTC)))
        except RunError as error:
            print(error)
        """
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)

    assert "cannot be written" in done.stdout
    assert Run(tmp_path).steps() == []
