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
    file = os.open(file_name, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
    try:
        is_new = os.fstat(file).st_size == 0
        if not _stand_alone(file, lines):
            _stand_alone(file, b"\n" + lines)
        getattr(os, "fdatasync", os.fsync)(file)
    finally:
        os.close(file)
    if is_new:
        # Else a power cut could take the name of a new file.
        with suppress(OSError):  # not every system syncs folders
            entries = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(entries)
            finally:
                os.close(entries)


def _stand_alone(file: int, lines: bytes) -> bool:
    """Write *lines* and return False if they came to stand behind the beginning of a line, or something among them.

    To look before would not do: what looks torn may be a line that another process is about to finish.
    """
    written = os.write(file, lines)  # in one piece, unless a disk runs full: it takes a part first, and fails then
    start = os.lseek(file, 0, os.SEEK_CUR) - written
    while written < len(lines):
        written += os.write(file, memoryview(lines)[written:])
    if os.lseek(file, 0, os.SEEK_CUR) - start != written:
        return False
    if start <= 0 or lines.startswith(b"\n"):
        return True
    os.lseek(file, start - 1, os.SEEK_SET)  # has no say in where O_APPEND writes
    return os.read(file, 1) == b"\n"
