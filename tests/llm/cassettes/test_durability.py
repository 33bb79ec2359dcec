"""Whatever happens to the process, the disk or the file: no reply that was paid for is lost."""

import json
import logging
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from opto.llm import Cassette, CassetteWarning
from tests.llm.cassettes.made import asking, said

RECORDER = """
    import sys
    from opto.llm import Cassette, Reply
    from opto.llm.cassettes import Request
    cassette, worker = Cassette(sys.argv[1], mode=sys.argv[3]), sys.argv[2]

    def record(number):
        request = Request("openai:m", [{"role": "user", "content": f"{worker}-{number}" + "x " * 2500}])
        cassette.keep(request, Reply(f"{worker}-{number}", model="m"))
"""


def recorder(path, worker, rest, mode="auto"):
    program = textwrap.dedent(RECORDER) + textwrap.dedent(rest)
    return subprocess.Popen([sys.executable, "-c", program, path, worker, mode], stdout=subprocess.PIPE, text=True)


def replies(path):
    return [json.loads(line)["reply"]["text"] for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("mode", ["auto", "keep"])
def test_processes_and_threads_share_a_file(path, mode):
    rest = """
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(record, range(50)))
    """
    processes = [recorder(path, worker, rest, mode) for worker in "abc"]
    for process in processes:
        with process:
            process.communicate()
        assert process.returncode == 0

    assert sorted(replies(path)) == sorted(f"{worker}-{number}" for worker in "abc" for number in range(50))
    assert len(Cassette(path)) == 150


def test_what_was_acknowledged_survives_kill_9(path):
    chance = random.Random(0)
    acknowledged = []
    for worker in range(20):
        rest = """
            number = 0
            while True:
                record(number)
                print(number, flush=True)
                number += 1
        """
        with recorder(path, f"{worker}", rest) as process:
            process.stdout.readline()
            time.sleep(chance.uniform(0, 0.03))
            process.send_signal(signal.SIGKILL)
            numbers = [0, *(int(line) for line in process.stdout.read().split("\n")[:-1])]
        acknowledged += [f"{worker}-{number}" for number in numbers]
        assert process.returncode == -signal.SIGKILL

    cassette = Cassette(path, mode="replay")
    found = {cassette.find(request).text for request in cassette.requests}
    assert found >= set(acknowledged)
    assert len(acknowledged) >= 20


def one_warning(caught):
    return [str(item.message) for item in caught if item.category is CassetteWarning]


@pytest.fixture
def caught():
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield found


@pytest.fixture
def read_only():
    """A folder that may not be written, with a cassette in it that may not be either; root gives up its powers."""
    folder = Path(tempfile.mkdtemp())  # not below pytest's, which is for one user only
    path = folder / "replies.jsonl"
    Cassette(path).keep(asking("there"), said("there"))
    path.chmod(0o444)
    folder.chmod(0o555)
    powers = os.geteuid()
    if powers == 0:
        os.seteuid(65534)
    yield path
    os.seteuid(powers)
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("mode", ["auto", "record", "keep"])
def test_a_read_only_folder_costs_one_warning_and_no_reply(read_only, mode, caught, tmp_path):
    check_memory(read_only, caught, mode)
    assert Cassette(read_only).find(asking("there")).text == "there"


@pytest.mark.parametrize("mode", ["auto", "record", "keep"])
def test_a_full_disk_costs_one_warning_and_no_reply(mode, caught, caplog, tmp_path):
    with caplog.at_level(logging.WARNING):
        check_memory("/dev/full", caught, mode, tmp_path)
    assert caplog.text.count("cannot be written to '/dev/full'") == 1


def test_a_file_in_the_place_of_the_folder_costs_one_warning_and_no_reply(tmp_path, caught):
    (tmp_path / "file").touch()
    check_memory(tmp_path / "file" / "replies.jsonl", caught, "record")


def check_memory(path, caught, mode="auto", elsewhere=None):
    cassette = Cassette(path, mode=mode)
    with cassette:
        for text in ("a", "b", "c"):
            cassette.keep(asking(text), said(text))

    (message,) = one_warning(caught)
    assert "are kept in memory" in message
    if mode == "auto":
        assert [Cassette.find(cassette, asking(text, rollout=0)).text for text in ("a", "b", "c")] == ["a", "b", "c"]
    if elsewhere is not None:
        cassette.save(elsewhere / "saved.jsonl")
        assert replies(elsewhere / "saved.jsonl") == ["a", "b", "c"]


@pytest.mark.parametrize("mode", ["auto", "record", "keep"])
def test_what_could_not_be_written_is_written_when_there_is_room(path, mode, caught):
    path.mkdir()
    cassette = Cassette(path, mode=mode)
    if mode == "auto":
        path.rmdir()
        assert cassette.find(asking("a")) is None
        path.mkdir()
    cassette.keep(asking("a"), said("a"))
    path.rmdir()
    cassette.keep(asking("b"), said("b"))

    assert len(one_warning(caught)) == 1
    assert replies(path) == ["a", "b"]


def test_a_disk_that_runs_full_in_the_middle_of_a_line(path):
    """A child whose files may not grow beyond a limit, which is raised later."""
    program = """
        import resource, signal, warnings
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            record(0)
            resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, most))
            for number in range(1, 4):
                record(number)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            with cassette:
                pass
        print([item.category.__name__ for item in caught])
    """
    with recorder(path, "a", program) as process:
        printed, _ = process.communicate()

    assert printed.strip() == "['CassetteWarning']"
    cassette = Cassette(path, mode="replay")
    assert {cassette.find(request).text for request in cassette.requests} == {f"a-{number}" for number in range(4)}
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY, "of the child only"


@pytest.mark.parametrize("mode", ["auto", "record"])
def test_a_file_that_vanished_is_made_again_with_everything(tmp_path, mode, caught):
    path = tmp_path / "folder" / "replies.jsonl"
    cassette = Cassette(path, mode=mode)
    cassette.keep(asking("a"), said("a"))
    shutil.rmtree(path.parent)
    cassette.keep(asking("b"), said("b"))

    assert replies(path) == ["a", "b"]
    assert not one_warning(caught)


def test_many_threads_begin_a_file_together(path):
    cassette = Cassette(path, mode="record")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: cassette.keep(asking(f"{number}"), said(f"{number}")), range(64)))

    assert sorted(replies(path), key=int) == [f"{number}" for number in range(64)]


def test_a_file_that_cannot_be_read_is_an_error(path):
    path.mkdir()
    for mode in ("auto", "replay"):
        with pytest.raises(Exception, match=r"cannot be read: Is a directory\. Give another file"):
            Cassette(path, mode=mode).find(asking())


def test_a_reply_is_on_disk_when_it_is_acknowledged(path, monkeypatch):
    synced = []

    def sync(file):
        synced.append(os.pread(file, 10_000, 0).count(b"\n"))
        os.fsync(file)

    monkeypatch.setattr(os, "fdatasync", sync)
    cassette = Cassette(path)
    for number in range(3):
        cassette.keep(asking(f"{number}"), said("x"))
        assert synced == list(range(1, number + 2))


def test_a_forked_process_goes_on_by_itself(path):
    rest = """
        import os, signal
        record(0)
        with cassette._lock:  # as another thread would hold it in this moment
            child = os.fork()
            signal.alarm(60)  # or both would wait for ever
            if not child:
                record(1)
                os._exit(0)
        os.waitpid(child, 0)
    """
    with recorder(path, "a", rest) as process:
        process.communicate()

    assert replies(path) == ["a-0", "a-1"]
