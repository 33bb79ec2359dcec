"""The process that makes children: started once, shared by all sandboxes that want the same of it."""

import atexit
import json
import os
import random
import select
import signal
import struct
import sys
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from opto.errors import IsolationError
from opto.sandbox.child import folders
from opto.sandbox.places import harmless, site_folders, standard_folders
from opto.sandbox.processes.endings import begin_to_end, end_later, finish, stay_out
from opto.sandbox.processes.shortages import mend_for_words, not_started

__all__ = ["QUIETLY", "Variant", "Zygote", "ZygoteDiedError", "quiet"]

_LENGTH = struct.Struct(">I")
_PACKAGE = str(Path(folders.__file__).parent)
#: Makes the folder of this package's `child` a package of its own: opto itself is not imported over there.
_START = (
    "import sys, types; package = types.ModuleType('opto_child'); package.__path__ = [sys.argv[1]]; "
    "sys.modules['opto_child'] = package; from opto_child.zygote import main; main()"
)
#: How long an answer may take, and after how much of that the process is woken: somebody may have stopped it.
_PATIENCE, _PAUSE = 60.0, 3.0
#: Numbers of users that nobody gives away: not to people, not to services, not to containers.
_FIRST_USER, _MOST_USERS = 0x70000000, 0x0FFF0000


class Variant(NamedTuple):
    """What is asked of a zygote.

    Attributes:
        kernel: True to use what the kernel offers.
        bubblewrap: The program that shuts all of it in, or None.
        preload: Modules of other people's that all children need.
        readable: What bubblewrap lets in besides Python and its packages: the user's own modules.
    """

    kernel: bool = True
    bubblewrap: str | None = None
    preload: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()


_GONE = "the process that makes them is gone"


class ZygoteDiedError(Exception):
    """The process that makes children is gone; the next order goes to a new one."""


class Zygote:
    """The process that makes children. Closed when nobody refers to it any more, and when the program ends.

    Attributes:
        offered: What the kernel was seen to refuse, as bits (see `child.walls`).
        is_alive: False once it did not answer.
        is_open: False once it makes no more children.
        root: The folder of the work folders.
        process_id: Its number.
    """

    def __init__(self, variant: Variant) -> None:
        import socket  # noqa: PLC0415 - only where a candidate runs
        import subprocess  # noqa: PLC0415 - the same

        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._unwanted: list[int] = []
        self._asking: int | None = None  # the thread
        self._first_user = _FIRST_USER + random.SystemRandom().randrange(_MOST_USERS)
        try:
            ours, theirs = quiet(_above_the_standard_ones(socket.socketpair()))
        except OSError as error:
            raise not_started(_program(variant), error) from error
        root = _make_root()
        try:
            command = _command(variant, root, theirs.fileno(), self._first_user)
            said = os.path.join(root, "stderr")
            os.chmod(root, 0o711)  # noqa: S103 - candidates of root are somebody else, and go through it
            with open(said, "wb") as errors:
                process = subprocess.Popen(  # noqa: S603 - this very Python
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    cwd="/",
                    env=_environment(),
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
        except BaseException as error:  # also Ctrl-C
            for each in (ours, theirs):
                each.close()  # first: where there are too few files, a folder takes as many
            folders.remove(root)
            if isinstance(error, OSError):
                raise not_started(_program(variant), error) from error
            raise
        finally:
            theirs.close()
        self._socket, self.root, self.process_id = ours, root, process.pid
        self._process, self._has_namespaces = process, variant.bubblewrap is not None
        self._closing = weakref.finalize(self, end_later, partial(_close, os.getpid(), process, ours, root))
        self._closing.atexit = False
        _sharing.all.add(self)
        ours.settimeout(_PAUSE)
        self.is_alive = self.is_open = True
        try:
            answer = self._read()
        except (OSError, EOFError, ValueError):
            last = Path(said).read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
            self.close()
            raise IsolationError(
                f"The process for candidates did not start with {_program(variant)} ({last[:300]}).",
                mend=mend_for_words(last) or "See whether this Python runs with -I -S, or use isolation='none'.",
            ) from None
        if "failed" in answer:
            self.close()
            raise not_started(_program(variant), OSError(*answer["failed"]))
        self.offered: int = answer["offered"]

    @classmethod
    def shared(cls, variant: Variant) -> "Zygote":
        """Return the zygote of this process that is as asked for; start it if there is none."""
        stay_out()
        with _sharing.lock:
            zygote = _sharing.zygotes.get(variant)
            if zygote is not None and not zygote.is_open:
                # Whoever holds it goes on holding it, and nobody would hold the new one between two candidates.
                zygote = _sharing.zygotes[variant] = _sharing.successors[variant] = cls(variant)
            elif zygote is None:
                zygote = _sharing.zygotes[variant] = cls(variant)
            return zygote

    def start(self, order: Mapping[str, Any], handed: Sequence[int]) -> tuple[int, str, int | None]:
        """Make a child; return its number here, its work folder, and its process, if anybody here can know that.

        Raises:
            ZygoteDiedError: It did not answer.
            OSError: It could not.
        """
        number = next(self._numbers)
        answer = self._ask({"do": "start", "id": number, **order}, handed)
        if "failed" in answer:
            if not os.path.isdir(self.root):
                # Whoever clears up temporary files took it away. Its other children need no folder, and go on.
                self.is_open = False
                raise ZygoteDiedError("its folder is gone")
            raise OSError(*answer["failed"])
        process: int | None = answer["process"]
        if process is not None and self._has_namespaces:
            process = _seen_from_here(self.process_id, process)
        return number, answer["folder"], process

    @property
    def is_there(self) -> bool:
        """True as long as its process has not ended."""
        try:
            # What it has open is closed first, then its children are ended, and then whoever asks is told that it is.
            poll = select.poll()
            poll.register(self._socket, 0)
            return self.is_alive and self._process.poll() is None and not poll.poll(0)
        except (OSError, ValueError):
            return False  # closed meanwhile

    def trace(self, number: int) -> None:
        """Have a child write down the lines that it is in."""
        with suppress(ZygoteDiedError):
            self._ask({"do": "trace", "id": number})

    def end(self, number: int) -> int | None:
        """End a child and all that it has started; return how it ended, in the form of `os.waitpid`.

        In the middle of an order, where garbage may be collected, it is done with the next.
        """
        if self._asking == threading.get_ident():
            self._unwanted.append(number)
            return None
        try:
            status: int | None = self._ask({"do": "end", "id": number})["status"]
        except ZygoteDiedError:
            return None  # and its children died with it
        return status

    def is_user_of_candidates(self, user: int) -> bool:
        """True if *user* is one as whom candidates of this zygote run when this process is root."""
        return self._first_user <= user < self._first_user + 0x10000

    def close(self) -> None:
        """End all children."""
        self.is_alive = self.is_open = False
        if parts := self._closing.detach():
            parts[2][0]()

    def abandon(self) -> None:
        """Leave it to the process that this one was forked from."""
        self.is_alive = self.is_open = False
        if self._closing.detach():
            self._process.returncode = 0  # or Python warns that nobody waited for it
        self._socket.close()

    def _ask(self, order: Mapping[str, Any], handed: Sequence[int] = ()) -> Any:
        with self._lock:
            if not self.is_alive:
                raise ZygoteDiedError(_GONE)
            self._asking = threading.get_ident()
            try:
                while self._unwanted:
                    self._exchange({"do": "end", "id": self._unwanted.pop()})
                return self._exchange(order, handed)
            except (OSError, EOFError, ValueError) as error:
                self.close()
                raise ZygoteDiedError(_GONE) from error
            except BaseException:  # also Ctrl-C
                # In the middle of an answer: the next one would be taken for it.
                self.close()
                raise
            finally:
                self._asking = None

    def _exchange(self, order: Mapping[str, Any], handed: Sequence[int] = ()) -> Any:
        import socket  # noqa: PLC0415 - as above

        data = json.dumps(order).encode()
        data = _LENGTH.pack(len(data)) + data
        sent = socket.send_fds(self._socket, [data], [*handed], QUIETLY) if handed else 0
        self._socket.sendall(data[sent:], QUIETLY)
        return self._read()

    def _read(self) -> Any:
        return json.loads(self._receive(_LENGTH.unpack(self._receive(_LENGTH.size))[0]))

    def _receive(self, size: int) -> bytes:
        data, until = b"", time.monotonic() + _PATIENCE
        while len(data) < size:
            try:
                more = self._socket.recv(size - len(data))
            except TimeoutError:
                if time.monotonic() > until:
                    raise
                with suppress(OSError):
                    os.kill(self.process_id, signal.SIGCONT)
                continue
            if not more:
                raise EOFError
            data += more
        return data


#: For what is sent: if nobody reads it any more, that is an error, and no signal, which might end the program. Linux
#: has a flag for it, and macOS an option of sockets.
QUIETLY = 0x4000 if sys.platform == "linux" else 0
_NO_SIGNAL = 0x1022


def quiet(pair: Any) -> Any:
    """Return *pair*, sockets that wait as long as it takes, and send no signal when nobody reads what is written."""
    for each in pair:
        each.setblocking(True)  # they begin as the program wants its own ones: socket.setdefaulttimeout()
        if sys.platform == "darwin":
            each.setsockopt(0xFFFF, _NO_SIGNAL, 1)
    return pair


def _above_the_standard_ones(pair: Any) -> Any:
    """Return a pair of sockets whose numbers are not those of input, output and errors, which may be closed."""
    if all(each.fileno() > _ERRORS for each in pair):
        return pair
    import fcntl  # noqa: PLC0415 - few programs close those
    import socket  # noqa: PLC0415 - as above

    moved = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, _ERRORS + 1) for each in pair]
    for each in pair:
        each.close()
    return [socket.socket(fileno=number) for number in moved]


_ERRORS = 2


def _seen_from_here(ancestor: int, number: int) -> int | None:
    """Return what the process that calls itself *number*, in namespaces below *ancestor*, is called here."""
    waiting = [ancestor]
    with suppress(OSError, ValueError):
        while waiting:
            process = waiting.pop()
            status = Path(f"/proc/{process}/status").read_text(encoding="utf-8", errors="replace")
            numbers = status.partition("NSpid:")[2].partition("\n")[0].split()
            if len(numbers) > 1 and int(numbers[-1]) == number:
                return process
            waiting += map(int, Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split())
    return None


def _program(variant: Variant) -> str:
    return variant.bubblewrap or sys.executable


def _make_root() -> str:
    """Make a folder for work folders where temporary files go, and return its path.

    As `tempfile` does, whose import takes as long as all else here.
    """
    name = f"opto-sandbox-{os.urandom(8).hex()}"
    places = [os.environ.get("TMPDIR"), os.environ.get("TEMP"), os.environ.get("TMP"), "/tmp", "/var/tmp"]  # noqa: S108 - for a random name
    for place in filter(None, places):
        with suppress(OSError):
            root = os.path.join(os.path.abspath(place), name)  # of which there is none if the current folder is gone
            try:
                os.mkdir(root, 0o700)
                return root  # noqa: TRY300 - nothing may come in between
            except KeyboardInterrupt:
                os.rmdir(root)
                raise
    raise IsolationError(
        "There is no folder for temporary files that can be written to.",
        mend="Name one with TMPDIR in the environment.",
    )


def _command(variant: Variant, root: str, control: int, first_user: int) -> list[str]:
    """Return the command that starts a zygote: Python by itself, without packages and without opto."""
    site = [*site_folders(), *standard_folders()]
    settings = {
        "root": root,
        "paths": site_folders(),
        "site": site,
        "keep_reading": not _is_readable_by_all([root, *site]),
        "kernel": variant.kernel,
        "preload": variant.preload,
        "harmless": [*harmless()],
        "first_user": first_user,
    }
    # Behind bubblewrap, links to it lead nowhere.
    program = sys.executable if variant.bubblewrap is None else os.path.realpath(sys.executable)
    python = [program or "", "-I", "-S", "-B", "-X", "utf8", "-c", _START, _PACKAGE]
    return [*_wrapping(variant, root), *python, str(control), json.dumps(settings)]


def _close(owner: int, process: Any, control: Any, root: str) -> None:
    control.close()
    if os.getpid() == owner:
        _bury(process, root)


def _bury(process: Any, root: str) -> None:
    try:
        process.wait(5)
    except BaseException as error:  # also Ctrl-C: it is not left behind
        process.kill()
        process.wait()
        if not isinstance(error, Exception):
            raise
    finally:
        folders.remove(root)


class _Sharing:
    """The zygotes of this process: those that are shared, and all."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.zygotes: weakref.WeakValueDictionary[Variant, Zygote] = weakref.WeakValueDictionary()
        self.successors: dict[Variant, Zygote] = {}
        self.all: weakref.WeakSet[Zygote] = weakref.WeakSet()

    def begin_anew(self) -> None:
        """In a copy of the process: leave them to the original."""
        for zygote in [*self.all]:
            zygote.abandon()
        self.__init__()  # type: ignore[misc] # another thread may have held the lock


_sharing = _Sharing()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_sharing.begin_anew)


@atexit.register
def _end_all() -> None:
    begin_to_end()
    for zygote in [*_sharing.all]:
        zygote.close()
    finish()


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TZ") if name in os.environ}
    # One thread for each library: a process with threads cannot be copied.
    # Each further place that C takes memory from would use up 64 MiB of the address space that is limited.
    kept["MALLOC_ARENA_MAX"] = "2"
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
    return {"LC_ALL": "C.UTF-8", "PATH": os.defpath, **threads, **kept}


def _is_readable_by_all(paths: Sequence[str]) -> bool:
    above = {str(folder) for path in paths for folder in (Path(path), *Path(path).parents)}
    return all(os.stat(folder).st_mode & 0o001 for folder in above)


def _wrapping(variant: Variant, root: str) -> list[str]:
    """Return the beginning of a command that shuts the rest in by namespaces."""
    if variant.bubblewrap is None:
        return []
    # Inside, the folder of the work folders is a mount, which only somebody outside can remove: also when whoever asked
    # for all of this is gone without a word.
    around = ["/bin/sh", "-c", '"$@"; rmdir -- "$0" 2> /dev/null', root]
    command = [*around, variant.bubblewrap, "--die-with-parent", "--unshare-all", "--new-session", "--cap-drop", "ALL"]
    for path in ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/localtime"):
        command += ["--ro-bind-try", path, path]
    for path in (*standard_folders(), *site_folders(), _PACKAGE, sys.prefix, os.path.realpath(sys.executable)):
        command += ["--ro-bind", path, path]
    command += ["--dev", "/dev", "--proc", "/proc"]
    for path in variant.readable:  # which may be anywhere, so after all else
        command += ["--ro-bind-try", path, path]
    return [*command, "--bind", root, root, "--"]
