"""Files that hold all of a text, or what they held before."""

import os
from _thread import get_ident  # what `threading` is made of, and there already
from contextlib import suppress

__all__ = ["replace_file"]


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
