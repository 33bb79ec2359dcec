"""A server on this machine that answers like OpenAI and Anthropic, and fails on request.

It is made of sockets and not of a web framework, because a framework cannot cut a connection in the middle of an
answer.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from opto.errors import OptoError
from opto.llm import Reply
from opto.testing.actions import Exchange, Failure, Line
from opto.testing.incoming import NotHTTPError, RecordedRequest, read_request
from opto.testing.wire import OpenAIChat, protocol_of

__all__ = ["LLMServer"]

_NO_RETRY = {"x-should-retry": "false"}
_GONE = (ConnectionError, EOFError)


class LLMServer:
    """A real HTTP server at 127.0.0.1 that stands in for a provider of models.

    It speaks OpenAI's chat completions (``/v1/chat/completions``), responses (``/v1/responses``) and list of models
    (``/v1/models``), the first two under the paths of Azure as well, and Anthropic's messages (``/v1/messages``), and
    runs in a thread of its own. Use it in a ``with`` block, or ``async with``.

    Args:
        replies: What to answer, in order: a text, a `Reply` (for its usage and finish reason), or an `Action` such as
            `Failure` or one of `FAULTS`. It may be endless. Or a function that takes the messages and returns one of
            these, such as `Faults`. After the last reply it answers with an error that says so. A reply without usage
            reports its number of words.
        models: What the server lists.
        latency: Seconds before each answer, or a function that takes the `RecordedRequest` and returns them.

    Attributes:
        requests: All that came, in order.
        log: What was made of those that ask a model, as an `Exchange` for each.

    Raises:
        Exception: Whatever a script function raised, at the end of the ``with`` block.

    Example:
        >>> from opto.llm import LLM
        >>> with LLMServer(["hello"]) as server, LLM("test", base_url=server.openai_url) as llm:
        ...     llm("Say hello.").text
        'hello'
        >>> server.requests[0].body["messages"]
        [{'role': 'user', 'content': 'Say hello.'}]
        >>> server.log[0].status, server.log[0].usage.total_tokens
        (200, 3)
    """

    def __init__(
        self,
        replies: Iterable[Line] | Callable[[list[dict[str, Any]]], Line] = (),
        *,
        models: Iterable[str] = ("test-model",),
        latency: float | Callable[[RecordedRequest], float] = 0.0,
    ) -> None:
        if isinstance(replies, str):
            raise OptoError("The script is a single string.", mend=f"Write LLMServer([{replies!r}]).")
        self.requests: list[RecordedRequest] = []
        self.log: list[Exchange] = []
        self._function = replies if callable(replies) else None
        self._replies: Iterator[Line] = iter(()) if callable(replies) else iter(replies)
        self._models = tuple(models)
        self._latency = latency
        self._port = 0
        self._connections: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []
        self._running = threading.Event()

    @property
    def openai_url(self) -> str:
        """The ``base_url`` for OpenAI's protocol."""
        return f"{self.anthropic_url}/v1"

    @property
    def anthropic_url(self) -> str:
        """The ``base_url`` for Anthropic's protocol."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def __enter__(self) -> Self:
        # Opened here, so that the port is known and a failure is raised in the thread of the caller.
        listener = socket.create_server(("127.0.0.1", 0))
        self._port = listener.getsockname()[1]
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(listener)), name="LLMServer", daemon=True
        )
        self._thread.start()
        self._running.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if kind is None and self._failures:
            raise self._failures[0]

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, trace)

    async def _serve(self, listener: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._accept, sock=listener, limit=2**24, backlog=1024)
        self._running.set()
        async with server:
            await self._stop.wait()
            server.close()
            for _ in range(3):
                await asyncio.sleep(0)  # until those who were let in last are among the connections
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: asyncio would log the end of its own as an error.
        connection = self._loop.create_task(self._converse(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(lambda _: self._forget(connection, writer))

    def _forget(self, connection: "asyncio.Task[None]", writer: asyncio.StreamWriter) -> None:
        self._connections.discard(connection)
        writer.transport.abort()  # of one that was to end before it began, too
        error = None if connection.cancelled() else connection.exception()
        if error is not None:
            self._failures.append(error)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection for as long as both sides keep it."""
        # Read ahead: that tells in the middle of an answer that the client has gone.
        coming = asyncio.create_task(read_request(reader, writer))
        try:
            is_open = True
            while is_open:
                request = await coming
                coming = asyncio.create_task(read_request(reader, writer))
                is_open = await self._respond(request, coming, writer)
        except _GONE:
            pass
        except NotHTTPError:
            with suppress(*_GONE):
                request = RecordedRequest("", "", {})
                await Failure(400, "This is no HTTP.").play(Exchange(request, OpenAIChat(), 0, writer))
        except asyncio.CancelledError:
            # The server ends, and waits for nobody to take the rest of an answer.
            writer.transport.abort()
            raise
        finally:
            await _ended(coming)
            writer.close()
            with suppress(*_GONE):
                await writer.wait_closed()

    async def _respond(
        self, request: RecordedRequest, coming: "asyncio.Task[RecordedRequest]", writer: asyncio.StreamWriter
    ) -> bool:
        """Answer a request, and tell whether the connection may be used again."""
        self.requests.append(request)
        protocol = protocol_of(request.method, request.path)
        exchange = Exchange(request, protocol or OpenAIChat(), len(self.requests), writer)
        if protocol is not None:
            self.log.append(exchange)
        answering = asyncio.create_task(self._answer(exchange, is_known=protocol is not None))
        try:
            await asyncio.wait({answering, coming}, return_when=asyncio.FIRST_COMPLETED)
            # Not yet, if it was the next request that came.
            if not answering.done() and coming.exception() is None:
                await asyncio.wait({answering})
            if answering.done():
                answering.result()
            else:
                exchange.left = True
        except _GONE:
            exchange.left = True
        finally:
            await _ended(answering)
            exchange.end()
        return exchange.is_open and not exchange.left and request.headers.get("connection", "").lower() != "close"

    async def _answer(self, exchange: Exchange, *, is_known: bool) -> None:
        request = exchange.request
        if (request.method, request.path) == ("GET", "/v1/models"):
            listed = [{"id": name, "object": "model", "created": 0, "owned_by": "test"} for name in self._models]
            await exchange.send(200, {"object": "list", "data": listed})
        elif not is_known:
            await Failure(404, f"There is no {request.method} {request.path} here.").play(exchange)
        elif isinstance(request.body, str):
            await Failure(400, "The body is no JSON.").play(exchange)
        else:
            await self._play(exchange)

    async def _play(self, exchange: Exchange) -> None:
        line = self._function(exchange.request.messages) if self._function else next(self._replies, None)
        latency = self._latency(exchange.request) if callable(self._latency) else self._latency
        if latency:
            await exchange.wait(latency)
        if line is None:
            line = Failure(400, "The script of this LLMServer is over.", headers=_NO_RETRY)
        if isinstance(line, str | Reply):
            await exchange.write(exchange.answer(line))
        else:
            exchange.fault = getattr(line, "name", type(line).__name__)
            await line.play(exchange)


async def _ended(task: "asyncio.Task[Any]") -> None:
    """Cancel *task*, and wait for its end, whatever that is."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
