"""What to do where the system has no more of something, such as files or processes, for those that candidates need."""

import errno
import os

from opto.errors import IsolationError

__all__ = ["mend_for", "mend_for_words", "not_started"]

#: By numbers of errors.
_MENDS = {
    (errno.EMFILE,): "Close files that the program has open, or raise its limit for them (ulimit -n).",
    (errno.ENFILE,): "Close programs that have many files open: the system has no more of them.",
    (errno.EAGAIN,): "End processes or threads of this user, or raise the limit for them (ulimit -u).",
    (errno.ENOMEM,): "End programs that use much memory, or raise the limit for it (ulimit -v).",
    (errno.ENOSPC, errno.EDQUOT): "Make room where temporary files go, or name another folder with TMPDIR.",
}


def not_started(program: str, error: OSError) -> IsolationError:
    """Return the error for *program*, which makes processes for candidates and did not start."""
    problem = "The process for candidates could not be started"
    if mend := mend_for(error):
        return IsolationError(f"{problem}: {error.strerror}.", mend=mend)
    return IsolationError(
        f"{problem} as {program!r}: {error}.", mend="Run with an ordinary Python, or use isolation='none'."
    )


def mend_for(error: OSError) -> str | None:
    """Return what to do about *error*; None if it says nothing of a shortage."""
    return next((mend for numbers, mend in _MENDS.items() if error.errno in numbers), None)


def mend_for_words(said: str) -> str | None:
    """Return the same for what another program has written of an error."""
    return next(
        (mend for numbers, mend in _MENDS.items() if any(os.strerror(number) in said for number in numbers)), None
    )
