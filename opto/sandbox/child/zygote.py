"""The process of which all candidates are copies. It is small, so that copies are cheap, and it is not the user's.

It takes orders from one socket, each answered before the next one is read, and ends when that is closed: with it
everything that it has started, and the folder of all work folders.
"""

import faulthandler
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NoReturn

from . import folders, kernel
from .codes import OVER_DISK, SECCOMP
from .keeper import Keeper, count_tasks, end_below
from .walls import Walls, probe
from .worker import Worker

__all__ = ["main"]

_LENGTH = struct.Struct(">I")
#: Where a candidate finds its socket, and where it leaves the lines it was in when it ended.
_TALK, _TRACE = 3, 4
_PATIENCE = 25.0
#: How often, in seconds, it is looked how much candidates have written.
_TICK = 0.1


class _Zygote:
    def __init__(self, control: socket.socket, settings: Mapping[str, Any]) -> None:
        self._control = control
        self._root: str = settings["root"]
        self._site: list[str] = settings["site"]
        self._keep_reading: bool = settings["keep_reading"]
        self._harmless = frozenset(settings["harmless"])
        self._offered = probe(self._root) if settings["kernel"] else 0
        self._running: dict[int, int] = {}  # process by candidate
        self._disk: dict[int, int] = {}  # limit by candidate
        self._looked = 0.0
        self._ended: dict[int, int] = {}  # status by candidate
        self._keepers: dict[int, Keeper] = {}
        self._removers: set[int] = set()
        self._user = settings["first_user"]
        self._counted = (0.0, 0)

    def serve(self) -> None:
        """Obey until the socket is closed."""
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        poll.register(self._control.fileno(), select.POLLIN)
        poll.register(woken, select.POLLIN)
        try:
            self._answer({"offered": self._offered, "python": sys.version.split()[0]})
            while True:
                ready = {number for number, _ in poll.poll(_TICK * 1000 if self._running else None)}
                if woken in ready:
                    with suppress(BlockingIOError):
                        os.read(woken, 4096)
                    self._reap()
                self._look()
                if self._control.fileno() in ready and not self._obey():
                    return
        finally:
            self._end_all()

    def _obey(self) -> bool:
        """Carry out one order; False if there will be no more."""
        data, handed, _, _ = socket.recv_fds(self._control, _LENGTH.size, 2)
        if not data:
            return False
        (length,) = _LENGTH.unpack(data + self._read(_LENGTH.size - len(data)))
        order = json.loads(self._read(length))
        match order["do"]:
            case "start":
                self._answer(self._start(order, handed))
            case "trace":
                self._trace(order["id"])
                self._answer({})
            case "end":
                self._answer({"status": self._end(order["id"])})
        return True

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._control.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def _answer(self, message: Mapping[str, Any]) -> None:
        _tell(self._control, message)

    def _start(self, order: Mapping[str, Any], handed: list[int]) -> Mapping[str, Any]:
        number = order["id"]
        folder = os.path.join(self._root, str(number))
        keeper = None
        try:
            os.mkdir(folder, 0o700)
            walls = Walls(
                folder=folder,
                readable=[*self._site, *order["readable"]],
                memory=order["memory"],
                file_size=order["file_size"],
                offered=self._offered,
                user=self._user,
                keep_reading=self._keep_reading,
                others=None if os.geteuid() == 0 else self._count(),
            )
            self._user += 1
            # Where the kernel lets a candidate have no processes, nobody needs to look after them.
            if not self._offered & SECCOMP:
                keeper = Keeper(walls.user, order["memory"])
            pid = os.fork()
        except OSError as error:
            _close(handed)
            if keeper is not None:
                keeper.close()
            self._remove(folder)
            return {"failed": [error.errno, error.strerror]}
        if not pid:
            self._become_candidate(order, handed, walls, keeper)
        _close(handed)
        self._running[number], self._disk[number] = pid, order["disk"]
        if keeper is not None:
            keeper.hold()
            self._keepers[number] = keeper
        return {"folder": folder, "process": pid if keeper is None else None}

    def _count(self) -> int | None:
        moment, tasks = self._counted
        if time.monotonic() - moment > 5 or not moment:
            tasks = count_tasks()
            self._counted = (time.monotonic(), tasks)
        return tasks or None

    def _become_candidate(
        self, order: Mapping[str, Any], handed: list[int], walls: Walls, keeper: Keeper | None
    ) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            parent = os.getppid()
            _move(handed, keeper)
            os.setsid()
            if keeper is not None:
                parent = keeper.split(parent)
            walls.put_up(parent)
            faulthandler.enable(_TRACE)
            faulthandler.register(signal.SIGUSR2, _TRACE)
            gc.enable()
            Worker(_TALK, _TRACE, order, self._harmless).serve()
        except BaseException:  # whatever it is, it must not go on as a second zygote
            faulthandler.dump_traceback(_TRACE)
            os._exit(70)
        os._exit(0)

    def _trace(self, number: int) -> None:
        """Have a candidate write down the lines that it is in."""
        self._reap()
        if number in self._keepers:
            self._keepers[number].trace()
        elif number in self._running:
            os.kill(self._running[number], signal.SIGUSR2)

    def _end(self, number: int) -> int | None:
        """End a candidate if it has not ended; return how it did, or None if there is none."""
        self._reap()
        self._kill(number)
        status = self._ended.pop(number, None)
        self._remove(os.path.join(self._root, str(number)))
        return status

    def _kill(self, number: int) -> None:
        """Have a candidate ended with all that it has started; note how it did."""
        keeper = self._keepers.pop(number, None)
        pid = self._running.pop(number, None)
        self._disk.pop(number, None)
        if pid is not None:
            if keeper is None:
                os.kill(pid, signal.SIGKILL)
                self._ended[number] = os.waitpid(pid, 0)[1]
            else:
                keeper.release()
                self._ended[number] = _awaited(pid)
        if keeper is not None:
            told = keeper.status()
            if told is None:
                # It died before, and has left what it was to look after to this process.
                end_below({*self._running.values(), *self._removers})
            else:
                self._ended[number] = told

    def _look(self) -> None:
        """End candidates that have filled their folders, also while nobody waits for them."""
        now = time.monotonic()
        if now - self._looked < _TICK:
            return
        self._looked = now
        for number, disk in [*self._disk.items()]:
            process = None if number in self._keepers else self._running.get(number)
            if folders.is_over(os.path.join(self._root, str(number)), disk, process):
                self._kill(number)
                self._ended[number] = OVER_DISK

    def _remove(self, folder: str) -> None:
        """Remove a work folder; what is in it takes a process of its own as long as it takes."""
        with suppress(OSError):  # with the last folder of all, if there can be no more processes
            try:
                os.rmdir(folder)
            except OSError:
                pid = os.fork()
                if pid:
                    self._removers.add(pid)
                    return
                try:
                    _close_all_from(_TALK)  # or keepers wait for it
                    folders.remove(folder)
                finally:
                    os._exit(0)

    def _reap(self) -> None:
        """Take note of candidates that have ended, and bury orphans."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._removers.discard(pid)
            for number, process in [*self._running.items()]:
                if process == pid:
                    del self._running[number]
                    self._ended[number] = status

    def _end_all(self) -> None:
        for number in [*self._running]:
            with suppress(OSError):
                self._end(number)
        with suppress(ChildProcessError):
            while True:
                os.wait()  # for those that still remove folders
        folders.remove(self._root)


def _tell(control: socket.socket, message: Mapping[str, Any]) -> None:
    data = json.dumps(message).encode()
    control.sendall(_LENGTH.pack(len(data)) + data)


def _awaited(keeper: int) -> int:
    """Return how a process ended that is about to, whoever stops it meanwhile."""
    until = time.monotonic() + _PATIENCE
    while True:
        found, status = os.waitpid(keeper, os.WNOHANG)
        if found:
            return status
        os.kill(keeper, signal.SIGCONT if time.monotonic() < until else signal.SIGKILL)
        time.sleep(0.0005)


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _close_all_from(first: int) -> None:
    """Close all files that are open, from the number *first* on: more are than were ever handed over at once."""
    try:
        numbers = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:
        numbers = [*range(4096)]
    for number in numbers:
        if number >= first:
            with suppress(OSError):
                os.close(number)


def _move(handed: list[int], keeper: Keeper | None) -> None:
    """Keep what was handed over, where a candidate looks for it, and nothing else that is open."""
    kept = [os.dup(descriptor) for descriptor in (*handed, *(keeper.ends if keeper else ()))]
    high = max(*kept, _TRACE + len(kept)) + 1
    raised = [high + index for index in range(len(kept))]
    for descriptor, target in zip(kept, raised, strict=True):
        os.dup2(descriptor, target)
    for index, descriptor in enumerate(raised):
        os.dup2(descriptor, _TALK + index)
    if keeper:
        keeper.ends = (_TRACE + 1, _TRACE + 2)
    _close_all_from(_TALK + len(kept))


def _begin_with_ordinary_signals() -> None:
    """Ignore and hold back no more signals than Python does: programs leave that to what they start."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with suppress(OSError, ValueError):  # those that C keeps for itself
            if signal.getsignal(number) == signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # errors say it
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def main() -> None:
    """Serve the process that started this one, over the socket whose number is the first argument."""
    _begin_with_ordinary_signals()
    control = socket.socket(fileno=int(sys.argv[2]))
    settings = json.loads(sys.argv[3])
    sys.argv[:] = sys.orig_argv[:] = [""]  # which are none of a candidate's business
    sys.path += settings["paths"]
    sys.dont_write_bytecode = True
    for name in settings["preload"]:
        with suppress(Exception):  # whoever needs it will see why it fails
            __import__(name)
    # Its code stands for that of a program: what it warns of is shown, too, where libraries would not show it.
    warnings.filterwarnings("default", module=r"candidate(\.|\Z)")
    kernel.adopt_orphans()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        zygote = _Zygote(control, settings)
    except OSError as error:  # too many processes, for one
        _tell(control, {"failed": [error.errno, error.strerror]})
    else:
        with suppress(EOFError, OSError):
            zygote.serve()
    os._exit(0)
