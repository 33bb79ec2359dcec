"""What Linux is asked to refuse a process: files (Landlock), system calls (seccomp), and what root may do.

By ctypes, because the packages that wrap these either fail here or take longer than a candidate runs.
"""

try:
    import ctypes
except ImportError:  # a Python that was built without it
    ctypes = None  # type: ignore[assignment]
import errno
import os
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress

from .syscalls import ALLOWED, CHECKED, FORBIDDEN, PRETENDED

__all__ = [
    "adopt_orphans",
    "die_with_parent",
    "drop_root",
    "filter_calls",
    "give_up_new_powers",
    "give_up_powers",
    "hide",
    "landlock_version",
    "restrict_files",
]

_IS_LINUX = sys.platform == "linux" and ctypes is not None
_MACHINE = os.uname().machine if hasattr(os, "uname") else ""
#: What the kernel calls the machine, for programs of the word size of this one.
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_IS_KNOWN = _IS_LINUX and _MACHINE in _ARCHITECTURES and sys.maxsize > 2**32

_libc = ctypes.CDLL(None, use_errno=True) if _IS_LINUX else None

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_KEEPCAPS, _PR_SET_NAME, _PR_GET_NAME = 1, 4, 8, 15, 16
_PR_SET_SECCOMP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS, _PR_SET_VMA = 22, 36, 38, 0x53564D41


def _prctl(option: int, value: int = 0, pointer: object = None) -> None:
    assert _libc is not None
    if _libc.prctl(option, ctypes.c_ulong(value), pointer or ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _syscall(number: int, *arguments: object) -> int:
    assert _libc is not None
    result: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def adopt_orphans() -> None:
    """Become the parent of all processes below this one whose parents die, as far as the system knows of such."""
    if _IS_LINUX:
        with suppress(OSError):
            _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(signal: int) -> None:
    """Have *signal* sent to this process when the thread that forked it ends."""
    if _IS_LINUX:
        _prctl(_PR_SET_PDEATHSIG, signal)


def hide() -> None:
    """Keep the memory of this process from others of the same user, and from dumps."""
    _prctl(_PR_SET_DUMPABLE, 0)


def give_up_new_powers() -> None:
    """Let no program that is run from now on give this process more than it has."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


# Landlock, whose numbers are the same on all machines.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_WRITE_FILE, _READ_FILE, _READ_DIRECTORY = 1 << 1, 1 << 2, 1 << 3
_OF_FILES = 1 << 0 | _WRITE_FILE | _READ_FILE | 1 << 14 | 1 << 15
#: How many rights over files each version knows, from the first on.
_RIGHTS = (13, 14, 15, 15, 16)
#: Neither nodes of devices nor sockets and pipes with a name, also in the work folder.
_NEVER = 1 << 0 | 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11


def landlock_version() -> int:
    """Return the version of Landlock that this kernel offers; 0 if there is none."""
    if not _IS_KNOWN:
        return 0
    try:
        return _syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    except OSError:
        return 0


def restrict_files(readable: Iterable[str], writable: Iterable[str]) -> None:
    """Leave this process only files below *readable*, and those below *writable* to do with as it likes.

    Where the kernel knows how, also no TCP, no abstract Unix sockets and no signals to processes outside.

    Raises:
        OSError: The kernel does not do it.
    """
    version = landlock_version()
    if not version:
        raise OSError(errno.ENOSYS, "This kernel has no Landlock.")
    files = (1 << _RIGHTS[min(version, len(_RIGHTS)) - 1]) - 1
    attributes = struct.pack("=QQQ", files, 3, 3)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = _syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    try:
        for path in readable:
            _allow(ruleset, path, _READ_FILE | _READ_DIRECTORY)
        for path in writable:
            _allow(ruleset, path, files & ~_NEVER)
        _syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there needs no rule
    try:
        if not os.path.isdir(path):
            rights &= _OF_FILES
        rule = struct.pack("=Qi", rights, opened)
        _syscall(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(1), rule, ctypes.c_uint32(0))
    finally:
        os.close(opened)


# Programs for seccomp: what to load, what to compare, where to go on.
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_IF_EQUAL, _IF_ANY_BIT = 0x15, 0x45
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_Step = tuple[int, int, int, int]
_GOOD: _Step = (_RETURN, 0, 0, _ALLOW)


def _answer(number: int) -> _Step:
    """Return the step that fails with the error *number*; 0 succeeds without doing anything."""
    return (_RETURN, 0, 0, _ERRNO | number)


_NO = _answer(errno.EPERM)


def _argument(index: int, *, high: bool = False) -> _Step:
    return (_LOAD, 0, 0, 16 + 8 * index + 4 * high)


def _one_of(index: int, values: Iterable[int], otherwise: _Step = _NO) -> list[_Step]:
    """Let calls pass whose argument *index* is one of *values*."""
    steps = [_argument(index)]
    for value in values:
        steps += [(_IF_EQUAL, 0, 1, value), _GOOD]
    return [*steps, otherwise]


def _checks(pid: int) -> dict[str, list[_Step]]:
    """Return what is asked of the arguments of each call in `CHECKED`."""
    return {
        # Threads, but no processes, and no namespaces for either.
        "clone": [
            _argument(0),
            (_IF_ANY_BIT, 0, 1, 0x7E020080),
            _NO,
            (_IF_ANY_BIT, 0, 1, 0x00010000),
            _GOOD,
            _NO,
        ],
        "kill": _one_of(0, [pid]),
        "tgkill": _one_of(0, [pid]),
        "prlimit64": _one_of(0, [0, pid]),
        # Copies and flags; no signals to owners of files, no leases. Locks are pretended, as those by flock(): nobody
        # else is in the work folder, and the kernel has room for any number of them.
        "fcntl": [
            _argument(1),
            *(step for lock in (6, 7, 37, 38) for step in ((_IF_EQUAL, 0, 1, lock), _answer(0))),
            *_one_of(1, [0, 1, 2, 3, 4, 5, 1030, 36]),
        ],
        # Inheritance and blocking. Nothing is a terminal.
        "ioctl": _one_of(1, [0x5450, 0x5451, 0x5421], _answer(errno.ENOTTY)),
        # Streams of the Unix family: datagrams could be sent on to sockets with a name.
        "socketpair": [
            _argument(0),
            (_IF_EQUAL, 1, 0, 1),
            _NO,
            _argument(1),
            (_AND, 0, 0, 0xF),
            (_IF_EQUAL, 0, 1, 1),
            _GOOD,
            _NO,
        ],
        # Without an address, and not past what was sent before, by which the kernel has been broken into.
        "sendto": [
            _argument(3),
            (_IF_ANY_BIT, 0, 1, 1),
            _NO,
            _argument(4),
            (_IF_EQUAL, 1, 0, 0),
            _NO,
            _argument(4, high=True),
            (_IF_EQUAL, 0, 1, 0),
            _GOOD,
            _NO,
        ],
        "prctl": _one_of(0, [_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA]),
    }


def _program(pid: int) -> list[_Step]:
    steps: list[_Step] = [
        (_LOAD, 0, 0, 4),
        (_IF_EQUAL, 1, 0, _ARCHITECTURES[_MACHINE]),  # or it speaks as another machine, with other numbers
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
    ]
    bodies: dict[str, list[_Step]] = {
        **{name: [_GOOD] for name in ALLOWED},
        **_checks(pid),
        **{name: [_answer(0)] for name in PRETENDED},
        **{name: [_NO] for name in FORBIDDEN},
    }
    for name, numbers in {**ALLOWED, **CHECKED, **PRETENDED, **FORBIDDEN}.items():
        number = getattr(numbers, _MACHINE)
        if number is not None:
            steps += [(_IF_EQUAL, 0, len(bodies[name]), number), *bodies[name]]
    return [*steps, _answer(errno.ENOSYS)]


_STEP = struct.Struct("=HBBI")
_SELF = 0x7FFFFFF0  # no process has this number


def _compiled() -> tuple[bytes, list[int]]:
    """Return the program, and where in it the number of the process belongs."""
    steps = _program(_SELF)
    places = [index * _STEP.size + 4 for index, step in enumerate(steps) if step[0] == _IF_EQUAL and step[3] == _SELF]
    return b"".join(_STEP.pack(*step) for step in steps), places


#: Made once, for all children.
_COMPILED = _compiled() if _IS_KNOWN else (b"", [])


def filter_calls() -> None:
    """Leave this process only the system calls in `ALLOWED`, and those in `CHECKED` with harmless arguments.

    Raises:
        OSError: The kernel does not do it.
    """
    if not _IS_KNOWN:
        raise OSError(errno.ENOSYS, f"There is no table of system calls for {_MACHINE or sys.platform}.")
    text, places = _COMPILED
    packed = ctypes.create_string_buffer(text, len(text))
    for place in places:
        struct.pack_into("=I", packed, place, os.getpid())
    # struct sock_fprog, padded as C pads it.
    program = ctypes.create_string_buffer(struct.pack("@HP", len(text) // _STEP.size, ctypes.addressof(packed)))
    _prctl(_PR_SET_SECCOMP, 2, program)


# Dropping root.
_CAPSET = {"x86_64": 126, "aarch64": 91}
_READ_EVERYTHING = 1 << 2


def drop_root(user: int, *, keep_reading: bool) -> bool:
    """Become *user*, who need not exist, if this process is root; return whether it did.

    Root's processes are counted by no limit, and may signal all others.

    Args:
        user: Number of the user, and of the group.
        keep_reading: True to be allowed to read what root may: where other users could not read Python itself.
    """
    if not _IS_LINUX or os.geteuid() != 0:
        return False
    try:
        if keep_reading:
            _prctl(_PR_SET_KEEPCAPS, 1)
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        if keep_reading:
            give_up_powers(but=_READ_EVERYTHING)
    except OSError:  # as in a container whose users are few
        return False
    return True


def give_up_powers(*, but: int = 0) -> None:
    """Give up what root may do and others may not, except for *but*. Files of root remain root's."""
    if _MACHINE in _CAPSET:
        header = struct.pack("=Ii", 0x20080522, 0)
        _syscall(_CAPSET[_MACHINE], header, struct.pack("=IIIIII", but, but, 0, 0, 0, 0))
