"""Work folders, in which a candidate may have done anything."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import count

__all__ = ["is_over", "remove"]

_MOST_ENTRIES, _DEEPEST = 4096, 64


def is_over(folder: str, limit: int, process: int | None = None) -> bool:
    """True if there is more than *limit* bytes below *folder*, or more than can be looked through.

    *process*: Whose files count, too, that are open and have no name any more, if anybody may look at them.
    """
    waiting, size, seen = [(folder, 0)], _size_of_nameless(process), 0
    if size > limit:
        return True
    while waiting:
        path, depth = waiting.pop()
        if depth > _DEEPEST:
            return True
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    seen += 1
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((entry.path, depth + 1))
                    else:
                        with suppress(FileNotFoundError):  # gone in the meantime; others are there still
                            size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if size > limit or seen > _MOST_ENTRIES:
                        return True
        except FileNotFoundError:
            continue  # gone in the meantime
        except OSError as error:
            # Nobody can tell how much is in a folder that it locked. The work folder itself may be another user's.
            if depth or error.errno != errno.EACCES or _is_ours(folder):
                return True
    return False


def _is_ours(folder: str) -> bool:
    try:
        return os.stat(folder).st_uid == os.geteuid()
    except OSError:
        return False


def _size_of_nameless(process: int | None) -> int:
    size = 0
    if process is not None:
        with suppress(OSError):
            for number in os.listdir(f"/proc/{process}/fd"):
                with suppress(OSError):
                    found = os.stat(f"/proc/{process}/fd/{number}")
                    if not found.st_nlink and stat.S_ISREG(found.st_mode):
                        size += found.st_blocks * 512
    return size


def remove(folder: str) -> None:
    """Remove *folder*, however deep it is and whatever was done to its modes.

    Links are not followed, not even those that somebody puts in the place of a folder meanwhile.
    """
    own = os.urandom(8).hex()  # a name that nobody could give to something that stands in the way
    names = (f".removed-{own}-{number}" for number in count())
    with suppress(OSError):
        top = _unlocked(folder)
        try:
            # Not any(): every entry is to be tried. If there is no progress, what is left cannot be removed.
            while sum([_remove_entry(entry, top, names) for entry in _entries(top)]):
                pass
        finally:
            os.close(top)
        os.rmdir(folder)


_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def _entries(folder: int) -> "list[os.DirEntry[str]]":
    with os.scandir(folder) as entries:
        return [*entries]


def _remove_entry(entry: "os.DirEntry[str]", top: int, names: Iterator[str]) -> bool:
    """Remove *entry* of *top*, or what it holds. Folders in it go to *top*, so that no path becomes too long."""
    is_changed = False
    with suppress(OSError):
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.name, dir_fd=top)
            return True
        inside = _opened(entry.name, top)
        try:
            for item in _entries(inside):
                if item.is_dir(follow_symlinks=False):
                    os.close(_opened(item.name, inside))
                    os.rename(item.name, next(names), src_dir_fd=inside, dst_dir_fd=top)
                else:
                    os.unlink(item.name, dir_fd=inside)
                is_changed = True
        finally:
            os.close(inside)
        os.rmdir(entry.name, dir_fd=top)
        return True
    return is_changed


def _opened(name: str, folder: int) -> int:
    """Open the folder *name* in *folder*, and let its owner do anything with it."""
    opened = _unlocked(name, folder)
    os.fchmod(opened, 0o700)
    return opened


def _unlocked(name: str, folder: int | None = None) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except PermissionError:
        # As its owner, who can do no more than the candidate could. Root comes in without.
        os.chmod(name, 0o700, dir_fd=folder)
        return os.open(name, _FOLDER, dir_fd=folder)
