"""What a candidate is told not to do, in words, where nothing stronger says it: imports and audited actions.

This is a seat belt. It turns a careless line into a sentence that says what is wrong; code that means harm can get
around it, and meets the walls.
"""

import builtins
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["ForbiddenError", "guard_actions", "guarded_builtins"]


class ForbiddenError(PermissionError):
    """A candidate did what it may not."""

    def __init__(self, text: str) -> None:
        super().__init__(13, text)

    def __str__(self) -> str:
        return str(self.strerror)


def guarded_builtins(allowed: frozenset[str], refused: frozenset[str]) -> dict[str, Any]:
    """Return Python's builtins with an import statement that takes modules of *allowed* alone.

    Args:
        allowed: Names of modules; those below them are meant, too.
        refused: Names of modules below those that are not.
    """
    original = builtins.__import__

    def guarded_import(
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - as Python calls it
        locals: Mapping[str, Any] | None = None,  # noqa: A002 - the same
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        if not level:
            for full in (name, *(f"{name}.{item}" for item in fromlist or ())):
                _check(full, allowed, refused)
        return original(name, globals, locals, fromlist or (), level)

    return {**vars(builtins), "__import__": guarded_import}


_MOST_NAMED = 12
#: Modules that are about the network, other processes and libraries: nothing of that is to be had here.
_OUTWARD = """
    _ctypes _posixsubprocess _socket _ssl aiohttp anthropic boto3 botocore cffi cohere ctypes ftplib google groq
    grpc http.client http.server httpcore httpx huggingface_hub imaplib litellm mistralai multiprocessing ollama
    openai paramiko pexpect poplib psutil psycopg psycopg2 pty pymongo redis requests selenium smtplib socket
    socketserver ssl subprocess telnetlib urllib.request urllib3 webbrowser websocket websockets xmlrpc
"""


def _check(name: str, allowed: frozenset[str], refused: frozenset[str]) -> None:
    parts = name.split(".")
    above = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
    if above & refused or (not above & allowed and _exists(parts[0])):
        others = sorted({item.partition(".")[0] for item in allowed} - {*sys.stdlib_module_names, "opto"})[:_MOST_NAMED]
        besides = f" and {', '.join(others)}" if others else ""
        more = f"allows more with Sandbox(imports=[{parts[0]!r}])"
        if above & {*_OUTWARD.split()}:  # it would be let in, and come to nothing
            more = "can offer a function of its own that reaches out, with Sandbox(hosts={'fetch': fetch})"
        raise ForbiddenError(
            f"import {name} is not allowed here; what is, is the harmless part of the standard library{besides} "
            f"(the program {more})"
        )


def _exists(name: str) -> bool:
    """True if there is a module *name*: if not, Python itself says so."""
    try:
        return name in sys.modules or importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return True


class Locations:
    """Finds modules that stand in no folder for modules, by the places that the user's program found them in."""

    def __init__(self, places: Mapping[str, Sequence[Any]]) -> None:
        self._places = places

    def find_spec(
        self,
        name: str,
        path: Any = None,  # noqa: ARG002 - as Python calls it
        target: Any = None,  # noqa: ARG002 - the same
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in self._places:
            return None
        origin, below, archive = self._places[name]
        if archive is not None:
            return importlib.machinery.PathFinder.find_spec(name, [archive])
        if origin is None:
            spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = list(below)
            return spec
        return importlib.util.spec_from_file_location(name, origin, submodule_search_locations=below)


#: What goes out of the process or to others in it, by audit event.
_REFUSED = {
    "os.fork": "start processes",
    "os.forkpty": "start processes",
    "os.exec": "start programs",
    "os.posix_spawn": "start programs",
    "os.spawn": "start programs",
    "os.system": "start programs",
    "subprocess.Popen": "start programs",
    "pty.spawn": "start programs",
    "os.killpg": "send signals to other processes",
    "socket.connect": "use the network",
    "socket.bind": "use the network",
    "socket.sendto": "use the network",
    "socket.sendmsg": "use the network",
    "socket.getaddrinfo": "use the network",
    "socket.gethostbyname": "use the network",
    "socket.gethostbyaddr": "use the network",
    "ctypes.dlopen": "load libraries",
    "ctypes.dlsym": "call functions of libraries",
    "ctypes.string_at": "read memory",
    "ctypes.cdata": "read memory",
    "resource.setrlimit": "change its limits",
    "resource.prlimit": "change limits",
    "sys.addaudithook": "watch itself",
    "syslog.syslog": "write to the system's log",
    "webbrowser.open": "open a browser",
}
#: What is done to the path that is the first argument, and to the second one if it is a path as well.
_PATHS = {
    "os.remove": 1,
    "os.rmdir": 1,
    "os.mkdir": 1,
    "os.chmod": 1,
    "os.chown": 1,
    "os.utime": 1,
    "os.truncate": 1,
    "os.setxattr": 1,
    "os.removexattr": 1,
    "os.listdir": 1,
    "os.scandir": 1,
    "os.rename": 2,
    "os.link": 2,
    "os.symlink": 2,
    "shutil.rmtree": 1,
    "shutil.move": 2,
    "sqlite3.connect": 1,
}
_READ_ONLY = frozenset({"os.listdir", "os.scandir"})


def guard_actions(folder: str, readable: Sequence[str]) -> Callable[[], None]:
    """Refuse what a careless line may do outside *folder*; return what begins it, from when on it never ends.

    Args:
        folder: What may be read and written.
        readable: What may be read.
    """
    state = {"on": False}
    writable, pid, busy = (os.path.realpath(folder),), os.getpid(), [False]
    places = (*writable, *(os.path.realpath(path) for path in readable), "/dev/null", "/usr/share/zoneinfo")

    def check_paths(event: str, paths: Sequence[Any], allowed: Sequence[str]) -> None:
        busy[0] = True  # finding out about a path may raise events of its own
        try:
            for path in paths:
                _check_path(path, allowed, event.partition(".")[2])
        finally:
            busy[0] = False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not state["on"] or busy[0]:
            return
        if event == "open":
            is_write = bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
            check_paths("open.write" if is_write else "open.read", arguments[:1], writable if is_write else places)
        elif event in _PATHS:
            check_paths(event, arguments[: _PATHS[event]], places if event in _READ_ONLY else writable)
        elif event == "os.kill" and arguments[0] != pid:
            raise ForbiddenError("may not send signals to other processes")
        # Importing ctypes itself, as numpy does, opens the program that is running.
        elif event in _REFUSED and (event != "ctypes.dlopen" or arguments[0] is not None):
            raise ForbiddenError(f"may not {_REFUSED[event]}")

    def begin() -> None:
        sys.addaudithook(hook)
        state["on"] = True

    return begin


def _check_path(path: Any, allowed: Sequence[str], verb: str) -> None:
    if isinstance(path, int) or path in (None, os.devnull, ":memory:"):
        return
    text = os.fsdecode(path)
    whole = os.path.realpath(text)
    if not any(whole == place or whole.startswith(place + os.sep) for place in allowed):
        raise ForbiddenError(f"may not {verb} {text[:200]!r}: only files in its work folder")
