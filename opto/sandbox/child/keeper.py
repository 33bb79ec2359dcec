"""Whoever looks after a candidate that may start processes: where the kernel does not keep it from that."""

import os
import resource
import select
import signal
import struct
import time
from collections.abc import Collection
from contextlib import suppress
from typing import NoReturn

from . import kernel
from .codes import NOT_STARTED, OUT_OF_MEMORY

__all__ = ["Keeper", "count_tasks", "end_below"]

_STATUS = struct.Struct(">i")
_PATIENCE = 20.0
#: How often, in milliseconds, it is looked how much memory the processes of a candidate use together.
_TICK = 50


class Keeper:
    """A process between the zygote and a candidate, which is handed the candidate's orphans and ends them all.

    Made by the zygote before it forks; then each side calls its own methods.

    Args:
        user: The user as whom the candidate runs if this is root.
        memory: How many bytes all of its processes may use.
    """

    def __init__(self, user: int, memory: int) -> None:
        self._user, self._memory = user, memory
        self._order, self._hear = _pipe()
        self._tell, self._told = _pipe()

    # For the zygote.

    def close(self) -> None:
        """Give up what was made, where there is no copy."""
        for descriptor in (self._order, self._hear, self._tell, self._told):
            os.close(descriptor)

    def hold(self) -> None:
        """Keep this side of what was made."""
        os.close(self._hear)
        os.close(self._tell)

    def trace(self) -> None:
        """Have the candidate write down the lines that it is in."""
        with suppress(OSError):
            os.write(self._order, b"t")

    def release(self) -> None:
        """Have everything ended that the candidate is or has started."""
        os.close(self._order)
        self._order = -1

    def status(self) -> int | None:
        """Return how the candidate ended, or None if its keeper died before."""
        if self._order >= 0:
            os.close(self._order)
        data = os.read(self._told, _STATUS.size)
        os.close(self._told)
        return _STATUS.unpack(data)[0] if len(data) == _STATUS.size else None

    # For the copy.

    @property
    def ends(self) -> tuple[int, int]:
        """The descriptors that the copy needs."""
        return self._hear, self._tell

    @ends.setter
    def ends(self, descriptors: tuple[int, int]) -> None:
        self._hear, self._tell = descriptors

    def split(self, zygote: int) -> int:
        """Fork once more: become the keeper, and return in the candidate alone, with the number of its parent."""
        kernel.adopt_orphans()
        kernel.die_with_parent(signal.SIGKILL)
        if os.getppid() != zygote:
            os._exit(1)
        keeper = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            os.write(self._tell, _STATUS.pack(NOT_STARTED))
            os._exit(1)
        if pid:
            try:
                self._keep(pid)
            finally:
                os._exit(70)
        os.close(self._hear)
        os.close(self._tell)
        os.setsid()
        return keeper

    def _keep(self, candidate: int) -> NoReturn:
        os.dup2(os.open(os.devnull, os.O_RDWR), 3)  # the candidate's ends, which are not ours
        os.dup2(3, 4)
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        poll.register(self._hear, select.POLLIN)
        poll.register(woken, select.POLLIN)
        status: int | None = None
        while status is None:
            ready = {number for number, _ in poll.poll(_TICK)}
            if woken in ready:
                os.read(woken, 4096)
                status = _bury(candidate)
            if status is None and self._is_over(candidate):
                os.kill(candidate, signal.SIGKILL)
                os.waitpid(candidate, 0)
                status = OUT_OF_MEMORY << 8
            if self._hear in ready and status is None:
                if os.read(self._hear, 1):
                    os.kill(candidate, signal.SIGUSR2)
                else:
                    os.kill(candidate, signal.SIGKILL)
                    status = os.waitpid(candidate, 0)[1]
        self._end_all()
        os.write(self._tell, _STATUS.pack(status))
        os._exit(0)

    def _is_over(self, candidate: int) -> bool:
        """True if the processes below this one use more memory together than one may."""
        if not _has_more(os.getpid(), 1) and not _has_more(candidate, 0):
            return False  # the limit of the one process does
        return sum(map(_memory_of, _below(os.getpid()))) > self._memory

    def _end_all(self) -> None:
        """End all processes that are left: they have become children of this one, or will when their parents die."""
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return
            if os.geteuid() == 0:
                _end_all_of(self._user)
            end_below()
            time.sleep(0.002)


def _pipe() -> tuple[int, int]:
    """Return the end to write to and the end to read from."""
    reader, writer = os.pipe()
    return (writer, reader)


def _bury(candidate: int) -> int | None:
    """Reap what has died; return how the candidate did, if it has."""
    found = None
    with suppress(ChildProcessError):
        while (buried := os.waitpid(-1, os.WNOHANG))[0]:
            if buried[0] == candidate:
                found = buried[1]
    return found


def _end_all_of(user: int) -> None:
    """End all processes of *user*, at once: nothing that they fork meanwhile gets away."""
    pid = os.fork()
    if not pid:
        with suppress(BaseException):
            os.setresuid(user, user, user)
            os.kill(-1, signal.SIGKILL)
        os._exit(0)
    os.waitpid(pid, 0)


def end_below(spared: Collection[int] = ()) -> None:
    """End all processes below this one, but those in *spared* and what is below them."""
    # Stopped first: what goes on forking would be ahead of whoever counts.
    for sent in (signal.SIGSTOP, signal.SIGSTOP, signal.SIGKILL):
        for pid in _below(os.getpid(), spared):
            with suppress(OSError):
                os.kill(pid, sent)


def _has_more(pid: int, count: int) -> bool:
    """True if the process has more than *count* children, as far as the system tells."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as file:
            return len(file.read(100).split()) > count
    except OSError:
        return True


def _memory_of(pid: int) -> int:
    """Return how many bytes the process has for itself."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            fields = file.read().split()
        return (int(fields[1]) - int(fields[2])) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0


def _below(ancestor: int, spared: Collection[int] = ()) -> list[int]:
    """Return the processes below *ancestor*, as far as the system tells, without those in *spared*."""
    children: dict[int, list[int]] = {}
    with suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdigit():
                with suppress(OSError, ValueError), open(f"/proc/{name}/stat", "rb") as file:
                    # Behind the name of the program, in which anything may stand.
                    parent = int(file.read().rpartition(b")")[2].split()[1])
                    children.setdefault(parent, []).append(int(name))
    found, waiting = [], [ancestor]
    while waiting:
        below = [pid for pid in children.pop(waiting.pop(), []) if pid not in spared]
        found += below
        waiting += below
    return found


def count_tasks() -> int:
    """Return how many threads this user runs: what the limit for them is compared with."""
    user, tasks = os.geteuid(), 0
    with suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdigit():
                with suppress(OSError):
                    if os.stat(f"/proc/{name}").st_uid == user:
                        tasks += len(os.listdir(f"/proc/{name}/task"))
    return tasks
