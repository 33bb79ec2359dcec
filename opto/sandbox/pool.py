"""The children of one candidate: which of them is free, and who waits for one."""

import os
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, Protocol

from opto.sandbox.talk import Child

__all__ = ["Pool", "TaskWaiter", "ThreadWaiter"]


class _Place:
    """Leave to start one more child."""


_Given = Child | _Place


#: How often, in seconds, a thread that waits looks whether others were interrupted before they could say that they end.
_PATIENCE = 1.0
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
        # Weakly: whoever was interrupted as it had something may not have come to give it back.
        self._out: list[weakref.ref[_Given]] = []
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
                self._out.append(weakref.ref(child))
                return child
            if is_inside or self._has_room:
                return self._place()
            if waiter is not None:
                self._waiting.append(waiter)
            return None

    @property
    def _has_room(self) -> bool:
        return len(self._idle) + sum([lent() is not None for lent in self._out]) < self._most

    def _place(self) -> _Place:
        place = _Place()
        self._out.append(weakref.ref(place))
        return place

    def _take_back(self, given: _Given) -> None:
        self._out = [lent for lent in self._out if lent() not in (None, given)]

    def forget(self, waiter: _Waiter) -> bool:
        """Take *waiter* off the list; False if it has been given something already."""
        with self._lock:
            if waiter not in self._waiting:
                return False
            self._waiting.remove(waiter)
            return True

    def give(self, child: Child, given: _Given) -> None:
        """Take back *child*, which is fit for the next call, from whoever was given *given*."""
        with self._lock:
            self._take_back(given)
            waiter = self._waiting.popleft() if self._waiting else None
            if waiter is not None:
                self._out.append(weakref.ref(child))
            else:
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
        child.end()
        self.look_again()

    def drop(self, child: Child | None, given: _Given) -> None:
        """End *child*, if there is one, and take back *given*."""
        try:
            if child is not None:
                child.end()
        finally:
            with self._lock:
                self._take_back(given)
            self.look_again()

    def look_again(self) -> None:
        """Give leave to whoever waits if there is room."""
        with self._lock:
            if not self._waiting or not self._has_room:
                return
            place = self._place()
            waiter = self._waiting.popleft()
        waiter.give(place)

    def close(self, *, is_last: bool = False) -> None:
        """End all children that are free. *is_last*: from wherever the garbage is collected, so without waiting."""
        if self._owner != os.getpid():
            return
        with self._lock:
            idle, self._idle = self._idle, []
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
            while not self._event.wait(_PATIENCE):
                pool.look_again()
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
        found = given()
        if isinstance(found, Child):
            pool.give(found, found)
        else:
            pool.drop(None, found)
