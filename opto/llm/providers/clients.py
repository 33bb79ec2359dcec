"""Clients of SDKs: built late, closed in time, and never while somebody uses them."""

import threading
import weakref
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

from opto.errors import MissingDependencyError
from opto.forks import renew_after_fork
from opto.llm.environment import WITHOUT_A_MODEL, Endpoint
from opto.llm.pacing.deadlines import limit_request
from opto.llm.providers.failures import sdk_errors
from opto.llm.providers.receiving import akeep_response, keep_response

__all__ = ["Clients"]


class Clients:
    """The SDK's clients of one adapter: one for all threads, and one for each event loop.

    Connections of an event loop can be closed in that loop only. So each of its clients lives in an async
    generator that closes it at the end, and asyncio ends such generators itself: when the generator is
    dropped, and when the loop shuts down.
    """

    def __init__(
        self, endpoint: Endpoint, package: str, requirement: str, names: tuple[str, str], address: Mapping[str, Any]
    ) -> None:
        self._endpoint = endpoint
        self._address = address
        self._package = package
        self._requirement = requirement
        self._names = names
        self._lock = threading.RLock()
        self._blocking: Shared | None = None
        self._by_loop: dict[Any, Shared] = {}
        #: Those that their loops are to close. Held, because one that is dropped while its loop ends is never closed.
        self._ending: dict[Shared, Any] = {}
        renew_after_fork(self)

    def begin_again(self) -> None:
        """Leave the connections to the process that opened them: answers would go to either."""
        if self._blocking is not None:
            self._blocking.at_end.detach()
        self._lock = threading.RLock()
        self._blocking = None

    @property
    def is_built(self) -> bool:
        """Whether there is a client for threads already."""
        return self._blocking is not None

    def is_built_here(self) -> bool:
        """Tell whether there is one for the running event loop."""
        from asyncio import get_running_loop  # noqa: PLC0415 - runs already: importing opto must not load it

        return get_running_loop() in self._by_loop

    def lent(self) -> "Lent":
        """Lend the client of all threads, for as long as the block takes."""
        return Lent(self)

    def alent(self) -> "AsyncLent":
        """Lend the client of the running event loop."""
        return AsyncLent(self)

    def take(self) -> "Shared":
        with self._lock:
            if self._blocking is None:
                client = self._build(self._names[0])
                # The client is part of reference cycles: left to the garbage collector, its sockets may go
                # first.
                self._blocking = Shared(client, weakref.finalize(self, client.close))
            self._blocking.users += 1
            return self._blocking

    def give_back(self, shared: "Shared") -> None:
        with self._lock:
            shared.users -= 1
            is_over = shared.is_left and not shared.users
        if is_over:
            shared.at_end()

    async def atake(self) -> "Shared":
        from asyncio import get_running_loop  # noqa: PLC0415 - as above

        loop = get_running_loop()
        shared = self._by_loop.get(loop)
        if shared is None:
            client = self._build(self._names[1])
            shared = Shared(client, _life(client))
            # Runs to the first yield without giving way to other tasks, so no second client is built meanwhile.
            await anext(shared.at_end)
            with self._lock:
                self._by_loop = {old: entry for old, entry in self._by_loop.items() if not old.is_closed()}
                self._by_loop[loop] = shared
        shared.users += 1
        return shared

    def close(self) -> None:
        with self._lock:
            left, self._blocking = self._blocking, None
            if left is not None:
                left.is_left = True
            is_over = left is not None and not left.users
            elsewhere, self._by_loop = self._by_loop, {}
            self._ending = {shared: loop for shared, loop in self._ending.items() if not loop.is_closed()}
            self._ending |= {shared: loop for loop, shared in elsewhere.items()}
        if left is not None and is_over:
            left.at_end()
        for loop, shared in elsewhere.items():
            shared.is_left = True
            with suppress(RuntimeError):  # a loop that is closed
                loop.call_soon_threadsafe(_close_unused, loop, shared)

    async def aclose(self) -> None:
        from asyncio import get_running_loop  # noqa: PLC0415 - as above

        with self._lock:
            left = self._by_loop.pop(get_running_loop(), None)
        if left is not None:
            left.is_left = True
            if not left.users:
                await left.at_end.aclose()
        self.close()

    def _imported(self) -> Any:
        try:
            return import_module(self._package)
        except ImportError as error:
            raise MissingDependencyError(
                f"{self._endpoint} needs the package {self._package!r}, which cannot be imported: {error}.",
                mend=f'Install it: pip install "{self._requirement}". {WITHOUT_A_MODEL}',
            ) from error

    def _build(self, name: str) -> Any:
        sdk = self._imported()
        with sdk_errors(self._endpoint):
            # A task can be cancelled when its time is over; a thread must see to it itself.
            if name == self._names[1]:
                http = sdk.DefaultAsyncHttpxClient(event_hooks={"response": [akeep_response]})
            else:
                http = sdk.DefaultHttpxClient(event_hooks={"request": [limit_request], "response": [keep_response]})
            return getattr(sdk, name)(
                api_key=self._endpoint.api_key,
                http_client=http,
                max_retries=0,  # tried again in one place only
                **self._address,
            )


class Shared:
    """A client in use.

    Args:
        client: Of the SDK.
        at_end: What closes it.
    """

    __slots__ = ("at_end", "client", "closing", "is_left", "users")

    def __init__(self, client: Any, at_end: Any) -> None:
        self.client = client
        self.at_end = at_end
        self.users = 0
        #: Whether the last of its users is to close it.
        self.is_left = False
        #: What closes it in its loop, held until it has.
        self.closing: Any = None


def _close_unused(loop: Any, shared: Shared) -> None:
    # Else the last of its users does.
    if not shared.users:
        shared.closing = loop.create_task(shared.at_end.aclose())


class Lent:
    """A block in which the client of all threads is in use."""

    __slots__ = ("_clients", "_shared")

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def __enter__(self) -> Any:
        self._shared = self._clients.take()
        return self._shared.client

    def __exit__(self, *_: object) -> None:
        self._clients.give_back(self._shared)


class AsyncLent:
    """A block in which the client of an event loop is in use."""

    __slots__ = ("_clients", "_shared")

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def __aenter__(self) -> Any:
        self._shared = await self._clients.atake()
        return self._shared.client

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        shared = self._shared
        shared.users -= 1
        # Of a loop that was left in the middle, nothing can be awaited any more.
        if shared.is_left and not shared.users and kind is not GeneratorExit:
            await shared.at_end.aclose()


async def _life(client: Any) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        await client.close()
