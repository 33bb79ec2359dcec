"""Synchronous code in a thread, whose calls of models run in the event loop of whoever waits for it."""

import threading
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    import asyncio
    from asyncio import AbstractEventLoop
    from concurrent.futures import Future

__all__ = ["bridge_of_thread", "in_loose_thread", "in_thread", "raise_if_cancelled"]

#: How often a thread looks whether the event loop that it waits for is still there, in seconds.
_LOOK = 1.0

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
        from concurrent.futures import CancelledError, wait  # noqa: PLC0415 - as above

        with self._lock:
            if self._ended or self._loop.is_closed():
                call.close()
                raise asyncio.CancelledError
            future = asyncio.run_coroutine_threadsafe(_without_bridge(call), self._loop)
            self._calls.add(future)
        try:
            while not wait([future], _LOOK).done:
                if self._loop.is_closed():  # in the middle of the call, which never ends now
                    raise asyncio.CancelledError
            return future.result()
        except CancelledError:
            # Of another kind: an error that anybody may catch. That nobody waits any more is none.
            raise asyncio.CancelledError from None
        finally:
            self._calls.discard(future)

    @property
    def has_ended(self) -> bool:
        return self._ended or self._loop.is_closed()

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


def raise_if_cancelled() -> None:
    """Raise `asyncio.CancelledError` if what waited for this thread was cancelled: what it was to do is not wanted."""
    bridge = _bridge.get()
    if bridge is not None and bridge.has_ended:
        import asyncio  # noqa: PLC0415 - runs already

        raise asyncio.CancelledError


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run *function* in a thread without blocking the event loop; clients that it calls are awaited in this loop.

    When this is cancelled, so are the calls of models that *function* waits for, and any that it begins after that; and
    it has ended when the cancellation is passed on, however often it is cancelled.
    """
    import asyncio  # noqa: PLC0415 - runs already
    from contextlib import suppress  # noqa: PLC0415 - as above

    bridge, work = _begun(function, *args, **kwargs)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        bridge.end()
        while not work.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        work.exception()  # how it ended is the affair of the function; nobody asks for it any more
        raise


async def in_loose_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do the same; but a cancellation is passed on at once, and *function* ends when it likes."""
    import asyncio  # noqa: PLC0415 - runs already

    bridge, work = _begun(function, *args, **kwargs)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        bridge.end()
        work.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody asks for it any more
        raise


def _begun(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "tuple[Bridge, asyncio.Future[T]]":
    """Let *function* run in a thread of its own."""
    import asyncio  # noqa: PLC0415 - runs already
    from concurrent.futures import Future  # noqa: PLC0415 - as above

    bridge, context = Bridge(asyncio.get_running_loop()), copy_context()
    context.run(_bridge.set, bridge)
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(context.run(function, *args, **kwargs))
        except StopIteration as error:
            # A future cannot hold it: whoever waits would wait for ever.
            wrapped = RuntimeError(f"{getattr(function, '__qualname__', function)} raised StopIteration")
            wrapped.__cause__ = error
            outcome.set_exception(wrapped)
        except BaseException as error:
            outcome.set_exception(error)

    # A thread of its own: the loop's are for what is waited for, and many that wait would leave it none. A program
    # whose loop was left in the middle can end all the same.
    threading.Thread(target=run, name="opto", daemon=True).start()
    return bridge, asyncio.wrap_future(outcome)
