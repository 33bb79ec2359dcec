"""What is put around a candidate's process before any of its code runs."""

import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from . import kernel
from .codes import FILES, SECCOMP

__all__ = ["Walls", "probe"]

#: What code in C reads to load libraries, to know the time and the zone, and to be random.
_OF_THE_SYSTEM = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/dev/urandom",
    "/dev/random",
    "/dev/zero",
)
_MOST_TASKS, _MOST_FILES = 64, 128


class Walls(NamedTuple):
    """What one candidate may do.

    Attributes:
        folder: Its work folder.
        readable: Files and folders that it may read: Python's own, and modules.
        memory: Bytes that it may use, besides those that Python has already.
        file_size: The size of a file that it may write, in bytes.
        offered: What the kernel helps with: `FILES`, `SECCOMP`, both or nothing.
        user: The user to become if this is root.
        keep_reading: True if that user could not read Python.
        others: How many processes the user has; None where nobody knows.
    """

    folder: str
    readable: Sequence[str]
    memory: int
    file_size: int
    offered: int
    user: int
    keep_reading: bool
    others: int | None

    def put_up(self, parent: int) -> None:
        """Close this process, a child of *parent*, in. There is no way back."""
        os.chdir(self.folder)
        os.environ["TMPDIR"] = os.environ["HOME"] = self.folder
        if sys.platform == "linux" and os.geteuid() == 0:
            with suppress(OSError):  # inside namespaces that know no other users
                os.chown(self.folder, self.user, self.user)
        dropped = kernel.drop_root(self.user, keep_reading=self.keep_reading)
        if sys.platform == "linux" and not dropped and os.geteuid() == 0:
            with suppress(OSError):
                os.chown(self.folder, 0, 0)
            with suppress(OSError):
                kernel.give_up_powers()
        self._set_limits(_MOST_TASKS if dropped else self.others and self.others + _MOST_TASKS)
        kernel.die_with_parent(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        if sys.platform == "linux":
            kernel.give_up_new_powers()
            if self.offered != FILES | SECCOMP:
                # Where it cannot reach others of its kind, whoever looks after it may see what files it has open.
                kernel.hide()
        if self.offered & FILES:
            kernel.restrict_files([*self.readable, *_OF_THE_SYSTEM], [self.folder, "/dev/null"])
        if self.offered & SECCOMP:
            kernel.filter_calls()

    def _set_limits(self, tasks: int | None) -> None:
        limits: Mapping[str, int | None] = {
            "RLIMIT_CORE": 1,  # no more than no bytes, and programs that take care of crashes heed it
            "RLIMIT_MEMLOCK": 0,
            "RLIMIT_MSGQUEUE": 0,
            "RLIMIT_FSIZE": self.file_size,
            "RLIMIT_NOFILE": _MOST_FILES,
            "RLIMIT_NPROC": tasks,
            "RLIMIT_AS": _address_space() + self.memory,
        }
        for name, value in limits.items():
            which = getattr(resource, name, None)
            if which is not None and value is not None:
                hard = resource.getrlimit(which)[1]
                most = value if hard == resource.RLIM_INFINITY else min(value, hard)
                with suppress(ValueError, OSError):  # macOS knows limits that it does not set
                    resource.setrlimit(which, (most, most))


def _address_space() -> int:
    """Return how much address space this process has already."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except (OSError, ValueError):
        return 256 << 20


def probe(folder: str) -> int:
    """Return what the kernel refuses a child of this process: not what it says that it would."""
    found = 0
    for measure in (FILES, SECCOMP):
        pid = os.fork()
        if not pid:
            status = 1
            with suppress(BaseException):
                status = 0 if _holds(measure, folder) else 1
            os._exit(status)
        if os.waitpid(pid, 0)[1] == 0:
            found |= measure
    return found


def _holds(measure: int, folder: str) -> bool:
    kernel.give_up_new_powers()
    if measure == FILES:
        kernel.restrict_files([], [folder])
        return _is_refused(lambda: os.listdir("/")) and os.listdir(folder) is not None
    kernel.filter_calls()
    return _is_refused(lambda: os.kill(os.getppid(), 0)) and _is_refused(os.fork)


def _is_refused(action: Any) -> bool:
    try:
        made = action()
    except PermissionError:
        return True
    if made == 0:
        os._exit(1)  # the child of a fork that was not refused
    return False
