"""Where Python and its packages are, and which modules a candidate may import."""

import os
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

__all__ = ["BANNED", "Imports", "harmless", "of_module", "resolve", "site_folders", "standard_folders"]

#: Modules of the standard library that reach out of the process, or into the machinery of Python. `os` and `sys` are
#: not among them: much ordinary code uses a corner of each, and the walls stand whatever is imported.
_REACHING_OUT = """
    _ctypes _multiprocessing _posixsubprocess _socket _ssl _winapi antigravity asyncore asynchat atexit bdb cgi cgitb
    code codeop ctypes curses dbm ensurepip fcntl ftplib gc http idlelib imaplib imp importlib lib2to3 marshal
    mailbox mmap msilib msvcrt multiprocessing nis nntplib nt ossaudiodev pdb pip pickletools pkgutil poplib posix
    pty readline resource runpy shelve signal site smtpd smtplib socket socketserver spwd ssl
    subprocess sunau syslog telnetlib termios this tkinter trace tracemalloc tty turtle turtledemo venv webbrowser
    winreg winsound wsgiref xmlrpc zipapp zipimport
"""
#: Modules below harmless ones that are not.
BANNED = ("urllib.request", "urllib.robotparser", "logging.handlers", "logging.config", "asyncio.subprocess")


@cache
def harmless() -> frozenset[str]:
    """Return the modules of the standard library that any candidate may import."""
    return sys.stdlib_module_names - {*_REACHING_OUT.split()}


@cache
def standard_folders() -> tuple[str, ...]:
    """Return where Python's own files are."""
    # Not by `sysconfig`, which takes longer to find out than the process takes to start.
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    library = os.path.join(sys.base_prefix, "lib")
    paths = [os.path.dirname(os.__file__), library, os.path.join(sys.base_exec_prefix, sys.platlibdir, version)]
    found = dict.fromkeys(os.path.realpath(path) for path in paths if os.path.isdir(path))
    return tuple(found)


def site_folders() -> tuple[str, ...]:
    """Return the folders into which packages are installed, of those that this program imports from."""
    return tuple(
        path
        for path in sys.path
        if isinstance(path, str)  # whatever else stands there, Python passes over, too
        and os.path.basename(path) in {"site-packages", "dist-packages"}
        and os.path.isdir(path)
    )


_Place = tuple[str | None, list[str] | None, str | None]


class Imports(NamedTuple):
    """What a child is told of modules.

    Attributes:
        names: Those that may be imported besides the harmless ones, with what is below them.
        places: Where those are that stand in no folder for modules: file, folders of what is below, and the path in an
            archive, if that is where it was found.
        readable: The files and folders that may be read for their sake.
        preload: Those that are worth being loaded once for all children.
    """

    names: tuple[str, ...]
    places: Mapping[str, "_Place"]
    readable: tuple[str, ...]
    preload: tuple[str, ...]


def of_module(names: Mapping[str, Any], own: str) -> set[str]:
    """Return the modules from which the module *own*, whose global names are *names*, has imported something."""
    found = set()
    for value in [*names.values()]:
        module = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if isinstance(module, str) and module not in {own, "__main__", "builtins"}:
            found.add(module.partition(".")[0])
    return found


def resolve(asked: Iterable[str], used: Iterable[str]) -> Imports:
    """Return what a child must know to import *asked*, of which it will certainly need *used*."""
    places: dict[str, _Place] = {}
    preload, readable = [], []
    wanted = {*asked}
    for name in sorted({item.partition(".")[0] for item in wanted} | {*used}):
        module = sys.modules.get(name)
        if name in sys.stdlib_module_names or module is None:
            continue
        spec = getattr(module, "__spec__", None)
        origin = getattr(spec, "origin", None)
        below = getattr(spec, "submodule_search_locations", None)
        where = origin or next(iter(below or ()), None)
        loader = getattr(spec, "loader", None)
        archive = getattr(loader, "archive", None)
        if isinstance(archive, str) and os.path.isfile(archive):
            archive = os.path.abspath(archive)
            places[name] = (None, None, os.path.join(archive, getattr(loader, "prefix", "")).rstrip(os.sep))
            readable.append(archive)
            continue
        if where is None or not os.path.exists(where):
            continue  # made in memory
        if any(where.startswith(folder + os.sep) for folder in site_folders()):
            if name in used:
                preload.append(name)
            continue
        folders = None if below is None else [*map(os.path.abspath, below)]
        places[name] = (origin, folders, None)
        readable += [path for path in (folders if folders is not None else [origin]) if path]
    return Imports((*sorted(wanted),), places, (*readable,), (*preload,))
