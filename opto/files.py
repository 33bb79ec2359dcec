"""Files that hold all of a text, or what they held before; and files that grow by whole lines."""

import os
from _thread import get_ident  # what `threading` is made of, and there already
from contextlib import suppress

__all__ = ["append_lines", "replace_file"]


def replace_file(file_name: "str | os.PathLike[str]", text: str) -> None:
    """Write *text* to a file, which then holds all of it, or what it held before.

    Raises:
        OSError: It cannot be written.
        ValueError: That is no name of a file.
    """
    # Through links to the file that is meant, and beside it: only within one file system is replacing atomic.
    target = os.path.realpath(file_name)
    folder, name = os.path.split(target)
    # Names have a longest length, too.
    draft = os.path.join(folder, f".{name[:40]}.{os.getpid()}-{get_ident()}")
    os.makedirs(folder, exist_ok=True)
    if os.path.exists(target) and not os.path.isfile(target):
        # A pipe or a device: what is written to it is gone, but it must stay what it is.
        with open(target, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        return
    try:
        with open(draft, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            os.chmod(draft, os.stat(target).st_mode)
        os.replace(draft, target)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(draft)


def append_lines(file_name: "str | os.PathLike[str]", lines: bytes) -> None:
    """Add *lines*, with their newlines, to a file, which is made with its folder if need be.

    They are on disk on return. A killed process leaves whole lines or a torn last one, which the next writer ends;
    threads and processes that share the file never mix their lines.

    Raises:
        OSError: They cannot be written, or only a part of them.
        ValueError: That is no name of a file.
    """
    folder = os.path.dirname(os.path.abspath(file_name))
    os.makedirs(folder, exist_ok=True)
    file = os.open(file_name, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(file).st_size
        is_torn = size > 0 and _last_byte(file, size) != b"\n"
        # One write to a file opened for appending; a disk that runs full takes a part first, and fails then.
        rest = memoryview(b"\n" + lines if is_torn else lines)
        while rest:
            rest = rest[os.write(file, rest) :]
        getattr(os, "fdatasync", os.fsync)(file)
    finally:
        os.close(file)
    if not size:
        # Else a power cut could take the name of a new file.
        with suppress(OSError):  # not every system syncs folders
            entries = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(entries)
            finally:
                os.close(entries)


def _last_byte(file: int, size: int) -> bytes:
    os.lseek(file, size - 1, os.SEEK_SET)  # has no say in where O_APPEND writes
    return os.read(file, 1)
