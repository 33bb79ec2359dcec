"""Blocks that hold inside: cassettes, budgets and ledgers for calls of models, sandboxes for code."""

import warnings
from _thread import RLock  # what `threading` is made of, which not every program needs
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self
from weakref import WeakSet

from opto.callers import user_level
from opto.forks import renew_after_fork

if TYPE_CHECKING:
    from threading import Thread

__all__ = ["Block", "Blocks", "UnknowingThreadWarning", "without_last"]


class UnknowingThreadWarning(UserWarning):
    """A thread that was begun inside a block, and does not know it, does what the block is about."""


class Blocks:
    """The blocks of one kind.

    Args:
        name: That of the class.
        unknowing: What a warning says of a thread that does not know them: what it does, and what mends it.
    """

    def __init__(self, name: str, unknowing: tuple[str, str]) -> None:
        self._name, self._unknowing = name, unknowing
        self._around: ContextVar[tuple[Any, ...]] = ContextVar(f"opto_{name.lower()}", default=())
        #: Those that hold wherever no other one does.
        self._everywhere: tuple[Block, ...] = ()
        #: Those that are open anywhere, with the threads that were there when they began; None once one was told of.
        self._open: list[tuple[Block, WeakSet[Thread] | None]] = []
        self.begin_again()
        renew_after_fork(self)

    def begin_again(self) -> None:
        """Forget a lock of the process that this one was forked from."""
        self._lock = RLock()

    def around(self) -> tuple[Any, ...]:
        """Return those that hold here, outermost first."""
        found = self._around.get() or self._everywhere
        if self._open and not found:
            self._warn_if_unknowing()
        return found

    def enter(self, item: "Block") -> None:
        import threading  # noqa: PLC0415 - see above

        with self._lock:
            self._open.append((item, WeakSet(threading.enumerate()) if item.warns_threads else None))
        self._around.set((*self._around.get(), item))

    def leave(self, item: "Block") -> None:
        # Blocks of tasks may end in any order, and one that another task entered is not there.
        self._around.set(without_last(self._around.get(), item))
        with self._lock:
            places = [place for place, (other, _) in enumerate(self._open) if other is item]
            if places:
                del self._open[places[-1]]

    def begin_everywhere(self, item: "Block") -> None:
        with self._lock:
            self._everywhere = (*self._everywhere, item)

    def end_everywhere(self, item: "Block") -> None:
        with self._lock:
            self._everywhere = without_last(self._everywhere, item)

    def _warn_if_unknowing(self) -> None:
        import threading  # noqa: PLC0415 - see above

        thread, is_unknowing = threading.current_thread(), False
        with self._lock:
            for place, (item, knowing) in enumerate(self._open):
                if knowing is not None and thread not in knowing:
                    self._open[place], is_unknowing = (item, None), True
        if is_unknowing:
            name, (does, mend) = self._name, self._unknowing
            warnings.warn(
                f"{does} in a thread that was begun inside a block of {name} and does not know it."
                f" Open the block with {name}(…).in_all_threads(), {mend}, or begin what runs in the thread with"
                " contextvars.copy_context().run.",
                UnknowingThreadWarning,
                stacklevel=user_level(),
            )


class Block:
    """Something that holds inside its ``with`` block.

    It holds for the thread or task that entered it, and for tasks begun inside. A thread begins with an empty context
    and knows no blocks (see `contextvars`): that one which was begun inside asks for them is told of by a warning.
    """

    #: Those of the same kind: of this class, and of subclasses of it.
    blocks: ClassVar[Blocks]
    #: What threads do that ask for blocks, and what mends that besides `in_all_threads`; with the name of the class.
    unknowing: ClassVar[tuple[str, str]] = (
        "A model is asked",
        "give the {} to the client (LLM(…, {}=…))",
    )
    #: False for one that nobody opened by name, so that nobody could do anything about a warning.
    warns_threads = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if Block in cls.__bases__:
            does, mend = cls.unknowing
            cls.blocks = Blocks(cls.__name__, (does, mend.replace("{}", cls.__name__.lower())))

    def __enter__(self) -> Self:
        self.blocks.enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.blocks.leave(self)

    @contextmanager
    def in_all_threads(self) -> Iterator[Self]:
        """Hold in all threads of the process until the end of the block, wherever no other one holds.

        For scripts and tests, in which all that runs is meant; in a service it would hold for other requests as well.

        Example:
            >>> from concurrent.futures import ThreadPoolExecutor
            >>> from opto.llm import Ledger, ScriptedLLM
            >>> llm = ScriptedLLM(["one", "two"])
            >>> with Ledger().in_all_threads() as ledger, ThreadPoolExecutor(2) as pool:
            ...     replies = list(pool.map(llm, ["first", "second"]))
            >>> ledger.calls
            2
        """
        with self:
            self.blocks.begin_everywhere(self)
            try:
                yield self
            finally:
                self.blocks.end_everywhere(self)


def without_last(things: tuple[Any, ...], last: Any) -> tuple[Any, ...]:
    """Return *things* without the last one that is *last*."""
    for place in range(len(things) - 1, -1, -1):
        if things[place] is last:
            return (*things[:place], *things[place + 1 :])
    return things
