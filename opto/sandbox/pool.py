"""The children of one candidate: which of them is free, and who waits for one."""

import os
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, Protocol

from opto.sandbox.talk import Child

__all__ = ["PLACE", "Pool", "TaskWaiter", "ThreadWaiter"]


class _Place:
    """Leave to start one more child."""


PLACE = _Place()
_Given = Child | _Place


#: Of all candidates together. Each costs some memory, and two descriptors of the user's process.
_MOST_IDLE = 64


class _Idle:
    """The children of all candidates that wait for a call, those that were used longest ago first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pools: OrderedDict[Child, weakref.ref[Pool]] = OrderedDict()

    def add(self, child: Child, pool: "Pool") -> None:
        """Let *child* wait in *pool*. If too many do, end the one that has waited longest."""
        entry, oldest = weakref.ref(pool), None
        with self._lock:
            self._pools[child] = entry
            if len(self._pools) > _MOST_IDLE:
                # Those of pools that were closed are not taken off: the garbage collector may close one right here.
                for ended in [item for item in self._pools if item.is_ended]:
                    del self._pools[ended]
            if len(self._pools) > _MOST_IDLE:
                oldest = self._pools.popitem(last=False)
        if oldest is not None and (owner := oldest[1]()) is not None:
            owner.retire(oldest[0])

    def remove(self, child: Child) -> None:
        with self._lock:
            self._pools.pop(child, None)


_idle = _Idle()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.__init__)  # type: ignore[misc]


class _Waiter(Protocol):
    def give(self, given: _Given) -> None: ...


class Pool:
    """At most so many children, each used by one call at a time.

    Whoever took one gives it back or drops it. The one that was used last is taken first: calls one after the other
    meet the same child.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._reset()

    def _reset(self) -> None:
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._idle: list[Child] = []
        self._count = 0
        self._waiting: deque[_Waiter] = deque()

    def take(self, *, waiter: _Waiter | None = None, is_inside: bool = False) -> _Given | None:
        """Return a child, or leave to start one; None if there are too many, and remember *waiter*.

        Args:
            waiter: Who gets the next one that is free.
            is_inside: True if the caller has one already, which waits for the caller.
        """
        if self._owner != os.getpid():
            # In a copy of the process: the children are the original's.
            for child in self._idle:
                child.end()
            self._reset()
        with self._lock:
            if self._idle:
                child = self._idle.pop()
                _idle.remove(child)
                return child
            if is_inside or self._count < self._most:
                self._count += 1
                return PLACE
            if waiter is not None:
                self._waiting.append(waiter)
            return None

    def forget(self, waiter: _Waiter) -> bool:
        """Take *waiter* off the list; False if it has been given something already."""
        with self._lock:
            if waiter not in self._waiting:
                return False
            self._waiting.remove(waiter)
            return True

    def give(self, child: Child) -> None:
        """Take back *child*, which is fit for the next call."""
        with self._lock:
            waiter = self._waiting.popleft() if self._waiting else None
            if waiter is None:
                self._idle.append(child)
        if waiter is not None:
            waiter.give(child)
        else:
            _idle.add(child, self)

    def retire(self, child: Child) -> None:
        """End *child* if it is free still."""
        with self._lock:
            if child not in self._idle:
                return
            self._idle.remove(child)
        self.drop(child)

    def drop(self, child: Child | None) -> None:
        """End *child*, or take back the leave to start one."""
        if child is not None:
            child.end()
        with self._lock:
            self._count -= 1
            if not self._waiting or self._count >= self._most:
                return
            self._count += 1
            waiter = self._waiting.popleft()
        waiter.give(PLACE)

    def close(self, *, is_last: bool = False) -> None:
        """End all children that are free. *is_last*: from wherever the garbage is collected, so without waiting."""
        if self._owner != os.getpid():
            return
        with self._lock:
            idle, self._idle = self._idle, []
            self._count -= len(idle)
        for child in idle:
            child.end(may_wait=not is_last)


class ThreadWaiter:
    """A thread that waits for a child."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._given: Any = None

    def give(self, given: _Given) -> None:
        self._given = given
        self._event.set()

    def result(self, pool: Pool) -> _Given:
        try:
            self._event.wait()
        except BaseException:  # Ctrl-C: what comes too late is not lost
            _hand_on(pool, self, lambda: self._given)
            raise
        given: _Given = self._given
        return given


class TaskWaiter:
    """A task that waits for a child, in the event loop *loop*."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._future = loop.create_future()
        self._given: Any = None

    def give(self, given: _Given) -> None:
        self._given = given
        self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    async def result(self, pool: Pool) -> _Given:
        try:
            await self._future
        except BaseException:  # cancelled: as above
            _hand_on(pool, self, lambda: self._given)
            raise
        given: _Given = self._given
        return given


def _hand_on(pool: Pool, waiter: Any, given: Callable[[], Any]) -> None:
    """Give back what *waiter* has no use for any more."""
    if not pool.forget(waiter):
        child = given()
        if isinstance(child, Child):
            pool.give(child)
        else:
            pool.drop(None)
