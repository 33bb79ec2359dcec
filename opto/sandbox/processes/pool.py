"""The children of one candidate: which of them is free, and who waits for one.

Garbage may be collected at any step here, and with it come, in the same thread, calls that nobody awaits any more,
which give back what they have. So a thread that holds a lock may take it again, and what was seen before something is
made may be otherwise after it.
"""

import os
import threading
import weakref
from collections import OrderedDict, deque
from contextlib import suppress
from typing import Any, Protocol

from opto.sandbox.processes.talk import Child

__all__ = ["Lease", "Pool", "TaskWaiter", "ThreadWaiter"]


class Lease:
    """Leave to use a child.

    Attributes:
        child: That child; None if there is room to start one.
        is_over: True once another call may have one in its place. Whoever has no room to give it back says so here,
            which takes no call: an exception may keep for long what was in its frames.
    """

    __slots__ = ("__weakref__", "child", "is_over")

    def __init__(self, child: Child | None) -> None:
        self.child, self.is_over = child, False


#: How often, in seconds, whoever waits looks whether others were interrupted before they could say that they end.
_PATIENCE = 1.0
#: Of all candidates together. Each costs some memory, and two descriptors of the user's process.
_MOST_IDLE = 64


class _Idle:
    """The children of all candidates that wait for a call, those that were used longest ago first."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._pools: OrderedDict[Child, weakref.ref[Pool]] = OrderedDict()

    def add(self, child: Child, pool: "Pool") -> None:
        """Let *child* wait in *pool*. If too many do, end the one that has waited longest."""
        entry, oldest = weakref.ref(pool), None
        with self._lock:
            self._pools[child] = entry
            if len(self._pools) > _MOST_IDLE:
                # Those of pools that were closed are not taken off: the garbage collector may close one right here.
                for waiting in [*self._pools]:
                    if waiting.is_ended:
                        self._pools.pop(waiting, None)
            if len(self._pools) > _MOST_IDLE:
                oldest = self._pools.popitem(last=False)
        if oldest is not None and (owner := oldest[1]()) is not None:
            owner.retire(oldest[0])

    def remove(self, child: Child) -> None:
        with self._lock:
            self._pools.pop(child, None)


_idle = _Idle()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.__init__)  # type: ignore[misc]  # that object's own


class _Waiter(Protocol):
    """Who waits for a child.

    Attributes:
        given: What it got. It is there, under the lock of the pool, before `wake` is called.
        is_gone: True once it waits no more.
    """

    given: Lease | None
    is_gone: bool

    def wake(self) -> bool:
        """Tell it that it was given something; False if there is nobody any more who could be told."""


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
        self._lock = threading.RLock()
        self._idle: list[Child] = []
        # Weakly: whoever was interrupted as it had something may not have come to give it back.
        self._out: list[weakref.ref[Lease]] = []
        self._waiting: deque[_Waiter] = deque()

    def take(self, *, waiter: _Waiter | None = None, is_inside: bool = False) -> Lease | None:
        """Return leave to use a child; None if there are too many, and remember *waiter*.

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
                return self._lend(child)
            if is_inside or self._has_room:
                return self._lend(None)
            if waiter is not None:
                self._waiting.append(waiter)
            return None

    @property
    def _has_room(self) -> bool:
        return len(self._idle) + sum([_is_lent(lent()) for lent in self._out]) < self._most

    def _lend(self, child: Child | None) -> Lease:
        lease = Lease(child)
        self._out.append(weakref.ref(lease))
        return lease

    def _take_back(self, lease: Lease) -> None:
        lease.is_over = True
        for lent in [*self._out]:
            if not _is_lent(lent()):
                with suppress(ValueError):
                    self._out.remove(lent)

    def _next_waiter(self) -> _Waiter | None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.is_gone:
                return waiter
        return None

    def forget(self, waiter: _Waiter) -> None:
        """Take *waiter* off the list; what it was given already, somebody else gets."""
        with self._lock:
            with suppress(ValueError):
                self._waiting.remove(waiter)
            lease, waiter.given = waiter.given, None
        if lease is None:
            return
        if lease.child is not None:
            self.give(lease.child, lease)
        else:
            self.drop(None, lease)

    def give(self, child: Child, lease: Lease) -> None:
        """Take back *child*, which is fit for the next call, from whoever has *lease*."""
        with self._lock:
            self._take_back(lease)
            waiter = self._next_waiter()
            if waiter is not None:
                waiter.given = self._lend(child)
            else:
                self._idle.append(child)
        if waiter is None:
            _idle.add(child, self)
        elif not waiter.wake():
            self.forget(waiter)

    def retire(self, child: Child) -> None:
        """End *child* if it is free still."""
        with self._lock:
            try:
                self._idle.remove(child)
            except ValueError:
                return
        child.end()
        self.look_again()

    def drop(self, child: Child | None, lease: Lease) -> None:
        """End *child*, if there is one, and take back *lease*."""
        try:
            if child is not None:
                child.end()
        finally:
            with self._lock:
                self._take_back(lease)
            self.look_again()

    def look_again(self) -> None:
        """Give leave to whoever waits if there is room."""
        with self._lock:
            if not self._waiting or not self._has_room:
                return
            waiter = self._next_waiter()
            if waiter is None:
                return
            waiter.given = self._lend(None)
        if not waiter.wake():
            self.forget(waiter)

    def close(self) -> None:
        """End all children that are free."""
        if self._owner != os.getpid():
            return
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.end()


class ThreadWaiter:
    """A thread that waits for a child."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.given: Lease | None = None
        self.is_gone = False

    def wake(self) -> bool:
        self._event.set()
        return True

    def result(self, pool: Pool) -> Lease:
        try:
            while not self._event.wait(_PATIENCE):
                pool.look_again()
        except BaseException:  # Ctrl-C: what comes too late is not lost
            self.is_gone = True
            pool.forget(self)
            raise
        return _received(self)


class TaskWaiter:
    """A task that waits for a child, in the event loop *loop*."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._future = loop.create_future()
        self.given: Lease | None = None
        self.is_gone = False

    def wake(self) -> bool:
        try:
            self._loop.call_soon_threadsafe(self._finish)
        except RuntimeError:
            return False  # the loop is closed
        return True

    def _finish(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    async def result(self, pool: Pool) -> Lease:
        import asyncio  # noqa: PLC0415 - whoever waits has it already

        try:
            while not self._future.done():
                await asyncio.wait([self._future], timeout=_PATIENCE)
                pool.look_again()
        except BaseException:  # cancelled: as above
            self.is_gone = True
            pool.forget(self)
            raise
        return _received(self)


def _is_lent(lease: Lease | None) -> bool:
    return lease is not None and not lease.is_over


def _received(waiter: _Waiter) -> Lease:
    lease, waiter.given = waiter.given, None
    assert lease is not None
    return lease
