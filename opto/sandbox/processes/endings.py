"""Ends what nobody refers to any more, and stops what still runs when the program ends.

What is done where garbage is collected is done anywhere, and an exception there is lost: Python shows it and goes on.
Ctrl-C is such an exception. So only a note is taken there, and a thread does what takes time: no signal is handled in
it.
"""

import _thread
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

__all__ = ["begin_to_end", "end_later", "finish", "stay_out"]

#: How long, in seconds, it takes at most until garbage is collected, a process is ended, and the program has ended.
_SOON, _LONG, _PATIENCE = 0.002, 1.0, 10.0


class _Endings:
    """What is to be done, whether a thread is at it, and whether the program ends."""

    def __init__(self) -> None:
        self.waiting: deque[Callable[[], object]] = deque()
        self.is_worked_off = self.is_over = False


_endings = _Endings()


def _be_alone() -> None:
    """Wait until it is done: a process that is copied should have no threads that its program knows nothing of."""
    until = time.monotonic() + _LONG
    while (_endings.waiting or _endings.is_worked_off) and time.monotonic() < until:
        time.sleep(_SOON / 10)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_be_alone, after_in_child=_endings.__init__)  # type: ignore[misc]  # that object's own


def end_later(action: Callable[[], object]) -> None:
    """Have *action* called in a thread. May be called where garbage is collected."""
    try:
        _endings.waiting.append(action)
        _see_that_it_is_done()
    except KeyboardInterrupt:
        _endings.waiting.append(_interrupt_again)
        _see_that_it_is_done()


def _see_that_it_is_done() -> None:
    if not _endings.is_worked_off:
        # Without room for one, it is done with what comes next, or at the end of the program.
        with suppress(RuntimeError):
            _thread.start_new_thread(_work_off, ())


def _work_off() -> None:
    """Do what is to be done. No lock: who was interrupted here would keep it, and two threads do no harm."""
    while _endings.waiting:
        _endings.is_worked_off = True
        finish()
        _endings.is_worked_off = False


def finish() -> None:
    """Do at once what is to be done."""
    while True:
        try:
            action = _endings.waiting.popleft()
        except IndexError:
            return
        with suppress(Exception):  # there is nobody to tell
            action()


def _interrupt_again() -> None:
    """Have the main thread interrupted, once it is out of where that would be lost."""
    time.sleep(_SOON)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def begin_to_end() -> None:
    """Note that the program ends."""
    _endings.is_over = True


def stay_out() -> None:
    """Where the program ends and this is another thread than the one that ends it, wait until it has.

    Such a thread is a daemon, which Python is about to stop wherever it is.
    """
    if _endings.is_over and threading.current_thread() is not threading.main_thread():
        time.sleep(_PATIENCE)
