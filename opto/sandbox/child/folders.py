"""Work folders, in which a candidate may have done anything."""

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import count

__all__ = ["is_over", "remove"]

_MOST_ENTRIES, _DEEPEST = 4096, 64


def is_over(folder: str, limit: int) -> bool:
    """True if there is more than *limit* bytes below *folder*, or more than can be looked through."""
    waiting, size, seen = [(folder, 0)], 0, 0
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
                        size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if size > limit or seen > _MOST_ENTRIES:
                        return True
        except FileNotFoundError:
            continue  # gone in the meantime
        except OSError as error:
            if error.errno != 13:  # a folder that it locked: what is in there stays below the limit for one file
                return True
    return False


def remove(folder: str) -> None:
    """Remove *folder*, however deep it is and whatever was done to its modes. Links are not followed."""
    names = count()
    while True:
        try:
            with os.scandir(folder) as entries:
                found = [*entries]
        except OSError:
            return
        # Not any(): every entry is to be tried.
        if found and not sum(_remove_entry(entry, folder, names) for entry in found):
            return  # nothing that is left can be removed
        if not found:
            break
    with suppress(OSError):
        os.rmdir(folder)


def _remove_entry(entry: "os.DirEntry[str]", top: str, names: Iterator[int]) -> bool:
    """Remove *entry* of *top*, or what it holds. Folders in it go to *top*, so that no path becomes too long."""
    is_changed = False
    with suppress(OSError):
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.path)
            return True
        os.chmod(entry.path, 0o700)
        with os.scandir(entry.path) as inside:
            for item in [*inside]:
                if item.is_dir(follow_symlinks=False):
                    os.chmod(item.path, 0o700)
                    os.rename(item.path, os.path.join(top, f".removed-{next(names)}"))
                else:
                    os.unlink(item.path)
                is_changed = True
        os.rmdir(entry.path)
        return True
    return is_changed
