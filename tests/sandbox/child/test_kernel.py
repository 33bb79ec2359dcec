"""What Linux is asked to refuse: the numbers are those of its headers, and the probe tries what it says."""

import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from opto.sandbox.child import folders
from opto.sandbox.child.syscalls import ALLOWED, CHECKED, FORBIDDEN, PRETENDED

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
ALL = {**ALLOWED, **CHECKED, **FORBIDDEN, **PRETENDED}
#: Names under which the generic header has calls that depend on the size of words.
GENERIC = {"newfstatat": "fstatat"}


@pytest.mark.parametrize("machine", HEADERS)
def test_numbers_are_those_of_the_headers(machine):
    header = HEADERS[machine]
    if not header.exists():
        pytest.skip(f"{header} is not installed")
    text = header.read_text()
    found = {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)}
    # Calls newer than the header prove nothing, and old ones are there or not.
    known = {
        name: getattr(numbers, machine)
        for name, numbers in ALL.items()
        if (GENERIC.get(name, name) if machine == "aarch64" else name) in found
    }
    assert len(known) > 150
    assert known == {name: found[GENERIC.get(name, name) if machine == "aarch64" else name] for name in known}


@pytest.mark.parametrize("machine", HEADERS)
def test_every_number_stands_for_one_call(machine):
    numbers = [getattr(entry, machine) for entry in ALL.values() if getattr(entry, machine) is not None]
    assert len(numbers) == len({*numbers})
    assert len(ALL) == len(ALLOWED) + len(CHECKED) + len(FORBIDDEN) + len(PRETENDED)


RUN = """
import sys, types
package = types.ModuleType("opto_child")
package.__path__ = [sys.argv[1]]
sys.modules["opto_child"] = package
from opto_child import kernel
"""
PROBE = """
import ctypes, fcntl, os, socket
kernel.give_up_new_powers()
if "files" in sys.argv:
    kernel.restrict_files(["/usr"], [sys.argv[2]])
else:
    kernel.filter_calls()
def answer(action):
    try:
        return str(action())
    except OSError as error:
        return type(error).__name__
libc = ctypes.CDLL(None, use_errno=True)
one, two = socket.socketpair()
print(*[answer(action) for action in [
    lambda: os.listdir("/etc") and "done",
    lambda: os.path.isdir("/usr/lib") and os.listdir("/usr") and "done",
    lambda: open(sys.argv[2] + "/x", "w").close(),
    lambda: os.mkfifo(sys.argv[2] + "/y"),
    lambda: socket.socket(),
    lambda: os.kill(os.getppid(), 0),
    lambda: os.kill(os.getpid(), 0),
    lambda: os.fork(),
    lambda: os.chmod(sys.argv[2], 0),
    lambda: libc.syscall(425, 1, 0) == -1 and ctypes.get_errno(),
    lambda: fcntl.lockf(os.open("/dev/null", os.O_RDONLY), fcntl.LOCK_EX),
    lambda: [fcntl.flock(os.open("/usr", os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB) for _ in "ab"] and "done",
    lambda: one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1),
    lambda: one.send(b"x"),
    lambda: one.send(b"x", socket.MSG_OOB),
]])
"""
PACKAGE = Path(folders.__file__).parent


def probed(what, folder):
    from opto.sandbox import Sandbox

    if Sandbox("child").level and sys.platform != "linux":
        pytest.skip("Linux only")
    command = [sys.executable, "-I", "-S", "-c", RUN + PROBE, str(PACKAGE), str(folder), what]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "no Landlock" in done.stderr or "no table" in done.stderr or "Function not implemented" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.stderr == ""
    return done.stdout.split()


def test_files(tmp_path):
    etc, usr, new, pipe, *_ = probed("files", tmp_path)
    assert (etc, usr, new, pipe) == ("PermissionError", "done", "None", "PermissionError")


def test_system_calls(tmp_path):
    tmp_path.chmod(0o755)
    etc, usr, new, pipe, network, other, itself, fork, chmod, ring, *more = probed("calls", tmp_path)
    assert (etc, usr, new) == ("done", "done", "None")
    assert (pipe, network, other, itself, fork) == ("PermissionError",) * 3 + ("None", "PermissionError")
    assert chmod == "None"
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert more == ["None", "done", "PermissionError", "1", "PermissionError"]  # locks seem to work, and do nothing
    assert ring == "38"  # ENOSYS: a call that stands in none of the tables does not exist


def test_root_without_its_powers_is_hardly_root():
    program = RUN + "kernel.give_up_new_powers()\nkernel.give_up_powers()\nprint(open('/proc/self/status').read())"
    command = [sys.executable, "-I", "-S", "-c", program, str(PACKAGE)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    powers = dict(re.findall(r"^(Cap(?:Eff|Prm|Inh)):\t(\w+)$", done.stdout, re.MULTILINE))
    assert {name: int(bits, 16) for name, bits in powers.items()} == {"CapEff": 0, "CapPrm": 0, "CapInh": 0}


def test_the_program_ends_processes_that_speak_as_another_machine():
    from opto.sandbox.child import kernel

    if not kernel._IS_KNOWN:
        pytest.skip("another machine")
    steps = [kernel._STEP.unpack_from(kernel._COMPILED[0], place) for place in range(0, 32, 8)]
    assert steps[0] == (kernel._LOAD, 0, 0, 4)
    assert steps[1][:3] == (kernel._IF_EQUAL, 1, 0)
    assert steps[2] == (kernel._RETURN, 0, 0, kernel._KILL)
    assert struct.calcsize("=HBBI") == 8


def test_work_folders_are_removed_whatever_is_in_them(tmp_path):
    top = tmp_path / "top"
    deep = top
    for _ in range(300):
        deep = deep / ("d" * 20)
    import os

    os.makedirs(top)
    here = os.open(top, os.O_RDONLY)
    home = os.getcwd()
    os.chdir(top)
    for _ in range(300):
        os.mkdir("d" * 20)
        os.chdir("d" * 20)
    Path("file").write_text("x")
    os.chdir(home)
    os.close(here)
    (tmp_path / "kept").write_text("kept")
    (top / "link").symlink_to(tmp_path)
    (top / "locked").mkdir()
    (top / "locked" / "inside").mkdir()
    (top / "locked").chmod(0)
    assert folders.is_over(str(top), 1 << 40)  # too deep to be looked through
    folders.remove(str(top))
    assert not top.exists()
    assert (tmp_path / "kept").read_text() == "kept"


def test_sizes_are_counted(tmp_path):
    (tmp_path / "a").write_bytes(bytes(100_000))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_bytes(bytes(100_000))
    assert not folders.is_over(str(tmp_path), 300_000)
    assert folders.is_over(str(tmp_path), 150_000)
