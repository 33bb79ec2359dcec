"""A server on this machine that answers like OpenAI and Anthropic, and fails on request.

It is made of sockets and not of a web framework, because a framework cannot cut a connection in the middle of an
answer.
"""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Protocol, Self

from opto.errors import OptoError
from opto.llm import Reply, Usage
from opto.testing.wire import OpenAIChat, WireProtocol, asked_messages, protocol_of

__all__ = ["Action", "Cut", "Drip", "Exchange", "Failure", "LLMServer", "Raw", "RecordedRequest", "Slow"]

_NO_RETRY = {"x-should-retry": "false"}


@dataclass(frozen=True)
class RecordedRequest:
    """One request as it came.

    Args:
        method: ``"POST"``, for instance.
        path: Without the host.
        headers: With names in lower case. They hold the key, so they are not in the `repr`.
        body: The parsed JSON, or None.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: Any = None

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation, with instructions that stand apart as its first message."""
        return asked_messages(self.body if isinstance(self.body, dict) else {})


class Exchange:
    """One request that waits for its answer; what an `Action` works with."""

    def __init__(
        self, request: RecordedRequest, protocol: WireProtocol, number: int, writer: asyncio.StreamWriter
    ) -> None:
        self.request = request
        self.protocol = protocol
        self.number = number
        self.is_open = True
        self._writer = writer

    async def send(
        self, status: int, body: bytes | Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a whole response."""
        await self.write(self.response(status, body, headers))

    def response(self, status: int, body: bytes | Mapping[str, Any], headers: Mapping[str, str] | None = None) -> bytes:
        """The bytes of a response, for actions that send them in their own way."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        phrases = {known.value: known.phrase for known in HTTPStatus}
        fields = {
            "content-type": "application/json",
            "content-length": str(len(content)),
            self.protocol.request_id_header: f"req_{self.number}",
            **(headers or {}),
        }
        lines = [f"HTTP/1.1 {status} {phrases.get(status, 'Unknown')}", *(f"{k}: {v}" for k, v in fields.items())]
        return "\r\n".join([*lines, "", ""]).encode() + content

    def answer(self, reply: str | Reply) -> bytes:
        """The bytes of a successful response."""
        if isinstance(reply, str):
            body = self.request.body if isinstance(self.request.body, dict) else {}
            reply = Reply(reply, model=str(body.get("model")))
        usage = reply.usage or _words(self.request.messages, reply.text)
        return self.response(200, self.protocol.answer(reply, usage, self.number))

    async def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    def hang_up(self) -> None:
        """Close the connection after what was sent."""
        self.is_open = False
        self._writer.close()


class Action(Protocol):
    """Something that a server does with a request; derive a class to add a fault of your own."""

    async def play(self, exchange: Exchange) -> None:
        """Answer, or fail to."""


Line = str | Reply | Action


@dataclass(frozen=True)
class Failure(Action):
    """An HTTP error in the words of the protocol.

    Args:
        status: Such as 429. The SDKs try some of them again, unless told not to by the header
            ``x-should-retry: false``.
        message: What went wrong.
        code: OpenAI's ``error.code``, Anthropic's ``error.type``.
        param: The parameter at fault, which only OpenAI's protocol names.
        headers: Such as ``{"retry-after": "1"}``.
    """

    status: int
    message: str = "This failure is in the script."
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    param: str | None = None

    async def play(self, exchange: Exchange) -> None:
        body = exchange.protocol.failure(self.status, self.message, self.code, self.param)
        await exchange.send(self.status, body, self.headers)


@dataclass(frozen=True)
class Raw(Action):
    """Any body at all: HTML from a proxy, half a JSON text, an object of the wrong shape."""

    body: str | bytes
    status: int = 200
    content_type: str = "application/json"

    async def play(self, exchange: Exchange) -> None:
        body = self.body.encode() if isinstance(self.body, str) else self.body
        await exchange.send(self.status, body, {"content-type": self.content_type})


@dataclass(frozen=True)
class Cut(Action):
    """A connection that ends without an answer, or in the middle of the answer `of`."""

    of: str | Reply | None = None

    async def play(self, exchange: Exchange) -> None:
        if self.of is not None:
            response = exchange.answer(self.of)
            await exchange.write(response[: -len(response) // 4])
        exchange.hang_up()


@dataclass(frozen=True)
class Slow(Action):
    """An answer that comes after some seconds; it does not hold up the end of the server."""

    seconds: float
    then: str | Reply = "late"

    async def play(self, exchange: Exchange) -> None:
        await asyncio.sleep(self.seconds)
        await exchange.write(exchange.answer(self.then))


@dataclass(frozen=True)
class Drip(Action):
    """An answer that never ends: a byte now and then, for as long as the client stays.

    Args:
        seconds: Between two bytes.
        in_headers: Whether it already drips where the headers would be.
    """

    seconds: float = 0.005
    in_headers: bool = False

    async def play(self, exchange: Exchange) -> None:
        head, body = exchange.answer("").split(b"\r\n\r\n", 1)
        head = head.replace(b"content-length: %d" % len(body), b"content-length: 1000000000")
        await exchange.write(head + (b"\r\nx-slow: " if self.in_headers else b"\r\n\r\n"))
        while True:
            await asyncio.sleep(self.seconds)
            await exchange.write(b" ")


class LLMServer:
    """A real HTTP server at 127.0.0.1 that stands in for a provider of models.

    It speaks OpenAI's chat completions (``/v1/chat/completions``), responses (``/v1/responses``) and list of models
    (``/v1/models``), the first two under the paths of Azure as well, and Anthropic's messages (``/v1/messages``), and
    runs in a thread of its own.

    Args:
        replies: What to answer, in order: a text, a `Reply` (for its usage and finish reason), or an `Action` such as
            `Failure`. It may be endless. Or a function that takes the messages and returns one of these. After the
            last reply it answers with an error that says so. A reply without usage reports its number of words.
        models: What the server lists.

    Raises:
        Exception: Whatever a script function raised, at the end of the ``with`` block.

    Example:
        >>> from opto.llm import LLM
        >>> with LLMServer(["hello"]) as server, LLM("test", base_url=server.openai_url) as llm:
        ...     llm("Say hello.").text
        'hello'
        >>> server.requests[0].body["messages"]
        [{'role': 'user', 'content': 'Say hello.'}]
    """

    def __init__(
        self,
        replies: Iterable[Line] | Callable[[list[dict[str, Any]]], Line] = (),
        *,
        models: Iterable[str] = ("test-model",),
    ) -> None:
        if isinstance(replies, str):
            raise OptoError("The script is a single string.", mend=f"Write LLMServer([{replies!r}]).")
        self.requests: list[RecordedRequest] = []
        self._function = replies if callable(replies) else None
        self._replies: Iterator[Line] = iter(()) if callable(replies) else iter(replies)
        self._models = tuple(models)
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

    async def _serve(self, listener: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._accept, sock=listener, limit=2**24)
        self._running.set()
        async with server:
            await self._stop.wait()
            for connection in self._connections:
                connection.cancel()
            ends = await asyncio.gather(*self._connections, return_exceptions=True)
        self._failures = [end for end in ends if isinstance(end, Exception)]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: asyncio would log the end of its own as an error.
        self._connections.add(self._loop.create_task(self._converse(reader, writer)))

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection for as long as both sides keep it."""
        try:
            is_open = True
            while is_open:
                request = await _read_request(reader)
                self.requests.append(request)
                is_open = await self._respond(request, len(self.requests), writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # The client has gone, as clients do.
        except asyncio.CancelledError:
            # The server ends, and waits for nobody to take the rest of an answer.
            writer.transport.abort()
            raise
        finally:
            writer.close()

    async def _respond(self, request: RecordedRequest, number: int, writer: asyncio.StreamWriter) -> bool:
        """Answer a request, and tell whether the connection may be used again."""
        protocol = protocol_of(request.method, request.path)
        exchange = Exchange(request, protocol or OpenAIChat(), number, writer)
        if (request.method, request.path) == ("GET", "/v1/models"):
            listed = [{"id": name, "object": "model", "created": 0, "owned_by": "test"} for name in self._models]
            await exchange.send(200, {"object": "list", "data": listed})
        elif protocol is None:
            await Failure(404, f"There is no {request.method} {request.path} here.").play(exchange)
        else:
            await self._play(exchange)
        return exchange.is_open and request.headers.get("connection", "").lower() != "close"

    async def _play(self, exchange: Exchange) -> None:
        line = self._function(exchange.request.messages) if self._function else next(self._replies, None)
        if line is None:
            line = Failure(400, "The script of this LLMServer is over.", headers=_NO_RETRY)
        if isinstance(line, str | Reply):
            await exchange.write(exchange.answer(line))
        else:
            await line.play(exchange)


async def _read_request(reader: asyncio.StreamReader) -> RecordedRequest:
    """Read one request; bodies come with a content-length, as all clients of models send them."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return RecordedRequest(method, path, headers, json.loads(body) if body else None)


def _words(messages: Iterable[Mapping[str, Any]], text: str) -> Usage:
    """A stand-in for tokens that a reader of a test can count."""
    return Usage(sum(len(str(message.get("content")).split()) for message in messages), len(text.split()))
