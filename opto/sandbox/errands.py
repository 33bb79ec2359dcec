"""What takes long in another language, and hears no signal, done in a thread: waiting for it can be interrupted."""

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

__all__ = ["Errand"]

#: How long, in seconds, an errand that was given up may take to end.
_PATIENCE = 2.0


class Errand:
    """Something that is done in a thread for the main thread, and at once for all others: they hear no signals.

    Attributes:
        is_given_up: True once nobody waits for it any more.

    Args:
        give_up: Called where what waits is interrupted: makes it end soon.
    """

    def __init__(self, give_up: Callable[[], object]) -> None:
        self.is_given_up = False
        self._give_up = give_up
        self._said: SimpleQueue[Callable[[], Any] | None] | None = None
        self._answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

    def run(self, function: Callable[[], Any]) -> Any:
        """Return what *function* returns, or raise what it raises."""
        if threading.current_thread() is not threading.main_thread():
            return function()
        said = self._said = SimpleQueue()
        outcome: list[Any] = []

        def work() -> None:
            try:
                outcome[:] = [function(), None]
            except BaseException as error:  # whatever it is, who waits for it raises it
                outcome[:] = [None, error]
            finally:
                said.put(None)

        thread = threading.Thread(target=work, name="opto: monty", daemon=True)
        try:
            thread.start()
            while (request := said.get()) is not None:
                self._answer(request)
        except BaseException as error:  # Ctrl-C, here or in what it asked for
            self.is_given_up = True
            self._give_up()
            self._answers.put((None, error))
            with suppress(Empty):
                # A thread that was interrupted before it began is not alive, and cannot be joined.
                while thread.is_alive() and not outcome and said.get(timeout=_PATIENCE) is not None:
                    pass
            raise
        value, raised = outcome
        if raised is not None:
            raise raised
        return value

    def _answer(self, request: Callable[[], Any]) -> None:
        try:
            answer: tuple[Any, BaseException | None] = request(), None
        except Exception as error:
            answer = None, error
        self._answers.put(answer)

    def ask(self, function: Callable[[], Any]) -> Any:
        """Have *function* called by who waits for the errand: it may belong to its thread."""
        if self._said is None:
            return function()
        self._said.put(function)
        value, raised = self._answers.get()
        if raised is not None:
            raise raised
        return value
