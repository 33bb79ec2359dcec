"""What both sides call by number: what a kernel may help with, and how a child ends."""

__all__ = [
    "BROKEN",
    "ERRORS_BEGIN",
    "ERRORS_END",
    "FILES",
    "LARGE",
    "MOST_COPIED",
    "NOT_STARTED",
    "OUT_OF_MEMORY",
    "OVER_DISK",
    "SECCOMP",
    "TOO_LARGE",
    "seconds_to_read",
]

#: As bits: it keeps a process from files, by Landlock; from system calls, by seccomp.
FILES, SECCOMP = 1, 2
#: The exit code of a child that could not go on.
BROKEN = 70
#: The exit code of a child that ran out of memory outside the candidate's code.
OUT_OF_MEMORY = 71
#: The exit code of a child that had no room for what it was sent.
TOO_LARGE = 72
#: How large a message is that takes time, and how many bytes of it a child reads in a second at least.
LARGE, _SLOWEST = 1 << 18, 2_000_000
#: How many bytes of what is printed can be read where no answer comes: they must fit into a pipe, beside a traceback.
MOST_COPIED = 1 << 15
#: Around what went to `sys.stderr`, there: bytes that no text has in it.
ERRORS_BEGIN, ERRORS_END = b"\xff", b"\xfe"
#: In place of how a child ended: there could be none; it was ended for what it wrote. None can say so of itself.
NOT_STARTED, OVER_DISK = -1, -2


def seconds_to_read(size: int) -> float:
    """Return how long it may take to read *size* bytes."""
    return size / _SLOWEST if size > LARGE else 0
