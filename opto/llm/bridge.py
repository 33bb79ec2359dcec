"""Synchronous code in a thread, whose calls of models run in the event loop of whoever waits for it."""

import threading
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from concurrent.futures import Future

__all__ = ["bridge_of_thread", "in_thread"]

P = ParamSpec("P")
T = TypeVar("T")


class Bridge:
    """Carries calls from threads into an event loop, and ends them when nobody waits any more."""

    def __init__(self, loop: "AbstractEventLoop") -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._calls: set[Future[Any]] = set()
        self._ended = False

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Run *call* in the event loop, and wait for what it gives."""
        # Importing opto must not load asyncio.
        import asyncio  # noqa: PLC0415 - runs already
        from concurrent.futures import CancelledError  # noqa: PLC0415 - as above

        with self._lock:
            if self._ended:
                call.close()
                raise asyncio.CancelledError
            future = asyncio.run_coroutine_threadsafe(_without_bridge(call), self._loop)
            self._calls.add(future)
        try:
            return future.result()
        except CancelledError:
            # Of another kind: an error that anybody may catch. That nobody waits any more is none.
            raise asyncio.CancelledError from None
        finally:
            self._calls.discard(future)

    def end(self) -> None:
        with self._lock:
            self._ended = True
            calls = list(self._calls)
        for call in calls:
            call.cancel()


_bridge: ContextVar[Bridge | None] = ContextVar("opto_bridge", default=None)


def bridge_of_thread() -> Bridge | None:
    """Return the way into the event loop that waits for this thread; None if none does."""
    return _bridge.get()


async def _without_bridge(call: Coroutine[Any, Any, T]) -> T:
    # In the loop itself, a call that waited for the loop would wait for ever.
    _bridge.set(None)
    return await call


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run *function* in a thread without blocking the event loop; clients that it calls are awaited in this loop.

    When this is cancelled, so are the calls of models that *function* waits for, and any that it begins after that; and
    it has ended when the cancellation is passed on.
    """
    import asyncio  # noqa: PLC0415 - runs already
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - as above

    loop = asyncio.get_running_loop()
    bridge, context = Bridge(loop), copy_context()
    context.run(_bridge.set, bridge)
    # A thread of its own: the loop's are for what is waited for, and many that wait would leave it none.
    threads = ThreadPoolExecutor(1, thread_name_prefix="opto")
    work = loop.run_in_executor(threads, lambda: context.run(function, *args, **kwargs))
    threads.shutdown(wait=False)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        bridge.end()
        await asyncio.wait([work])
        work.exception()  # how it ended is the affair of the function; nobody asks for it any more
        raise
