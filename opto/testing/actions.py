"""What a server does with a request: answer, or fail in one of the ways in which servers fail."""

import asyncio
import json
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol

from opto.llm import Reply, Usage
from opto.testing.incoming import RecordedRequest
from opto.testing.wire import WireProtocol

__all__ = ["Action", "Altered", "Cut", "Drip", "Exchange", "Failure", "Line", "Raw", "Slow"]


class Exchange:
    """One request and what is made of it: what an `Action` works with, and what is in the log of the server.

    Attributes:
        request: As it came.
        number: Of the request, beginning with 1.
        fault: What was played instead of an answer, such as ``"Cut"`` or a name of `FAULTS`; None for an answer.
        delay: Seconds that the server has waited on purpose.
        seconds: From the request to the end of its exchange; None while it goes on.
        left: True if the client was gone before the end.
    """

    def __init__(
        self, request: RecordedRequest, protocol: WireProtocol, number: int, writer: asyncio.StreamWriter
    ) -> None:
        self.request = request
        self.protocol = protocol
        self.number = number
        self.is_open = True
        self.fault: str | None = None
        self.delay = 0.0
        self.seconds: float | None = None
        self.left = False
        self._writer = writer
        self._begun = time.monotonic()
        self._sent = bytearray()
        self._usages: list[tuple[bytes, Usage]] = []

    @property
    def status(self) -> int | None:
        """The status that was sent."""
        return int(self._sent[9:12]) if len(self._sent) >= 12 else None

    @property
    def whole(self) -> bool:
        """True if all was sent that the headers promise."""
        head, end, content = bytes(self._sent).partition(b"\r\n\r\n")
        promised = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0")
        return bool(end) and (self.request.method == "HEAD" or len(content) >= int(promised.partition(b":")[2]))

    @property
    def usage(self) -> Usage | None:
        """What an answer said that it cost, if that part of it was sent."""
        return next((usage for said, usage in self._usages if said in self._sent), None)

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
        return "\r\n".join([*lines, "", ""]).encode() + (b"" if self.request.method == "HEAD" else content)

    def body(self, reply: str | Reply) -> dict[str, Any]:
        """The body of a successful response."""
        if isinstance(reply, str):
            asked = self.request.body if isinstance(self.request.body, dict) else {}
            reply = Reply(reply, model=str(asked.get("model")))
        usage = reply.usage or _words(self.request.messages, reply.text)
        body = self.protocol.answer(reply, usage, self.number)
        self._usages.append((json.dumps(body.get("usage")).encode(), usage))
        return body

    def answer(self, reply: str | Reply) -> bytes:
        """The bytes of a successful response."""
        return self.response(200, self.body(reply))

    async def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._sent += data
        self._writer.write(data)
        await self._writer.drain()

    async def wait(self, seconds: float) -> None:
        """Let the client wait."""
        self.delay += seconds
        await asyncio.sleep(seconds)

    def hang_up(self, *, reset: bool = False) -> None:
        """Close the connection after what was sent; with *reset*, at once and as if the machine had lost it."""
        self.is_open = False
        if reset:
            connection = self._writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._writer.transport.abort()
        self._writer.close()

    def end(self) -> None:
        """Note that it is over."""
        self.seconds = time.monotonic() - self._begun


class Action(Protocol):
    """Something that a server does with a request; derive a class to add a fault of your own."""

    async def play(self, exchange: Exchange) -> None:
        """Answer, or fail to. It is cancelled when the client has gone."""


Line = str | Reply | Action


@dataclass(frozen=True)
class Failure(Action):
    """An HTTP error in the words of the protocol.

    Args:
        status: Such as 429. With 200, the error is in the body only.
        message: What went wrong.
        code: OpenAI's ``error.code``, Anthropic's ``error.type``.
        param: The parameter at fault, which only OpenAI's protocol names.
        headers: Such as ``{"retry-after": "1"}``, or ``{"x-should-retry": "false"}``, which SDKs keep to.
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
    headers: Mapping[str, str] = field(default_factory=dict)

    async def play(self, exchange: Exchange) -> None:
        body = self.body.encode() if isinstance(self.body, str) else self.body
        await exchange.send(self.status, body, {"content-type": self.content_type, **self.headers})


@dataclass(frozen=True)
class Altered(Action):
    """An answer with its body changed: what is paid for, and cannot be read.

    Args:
        change: Takes the body, and returns what is sent in its place, as an object or as bytes.
        of: The answer.
    """

    change: Callable[[dict[str, Any]], bytes | Mapping[str, Any]]
    of: str | Reply = "hello"

    async def play(self, exchange: Exchange) -> None:
        await exchange.send(200, self.change(exchange.body(self.of)))


@dataclass(frozen=True)
class Cut(Action):
    """A connection that ends without an answer, or in the middle of the answer `of`.

    Args:
        of: What comes before; three quarters of it are sent.
        reset: Whether the end is that of a machine that has lost the connection (RST), and not an orderly one.
    """

    of: str | Reply | None = None
    reset: bool = False

    async def play(self, exchange: Exchange) -> None:
        if self.of is not None:
            response = exchange.answer(self.of)
            await exchange.write(response[: -len(response) // 4])
        exchange.hang_up(reset=self.reset)


@dataclass(frozen=True)
class Slow(Action):
    """An answer that comes after some seconds; it does not hold up the end of the server.

    Args:
        seconds: To wait.
        then: The answer.
        in_body: Whether it waits between headers and body, and not before both.
    """

    seconds: float
    then: str | Reply = "late"
    in_body: bool = False

    async def play(self, exchange: Exchange) -> None:
        response = exchange.answer(self.then)
        first = response.index(b"\r\n\r\n") + 4 if self.in_body else 0
        if first:
            await exchange.write(response[:first])
        await exchange.wait(self.seconds)
        await exchange.write(response[first:])


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
            await exchange.wait(self.seconds)
            await exchange.write(b" ")


def _words(messages: Iterable[Mapping[str, Any]], text: str) -> Usage:
    """A stand-in for tokens that a reader of a test can count."""
    return Usage(sum(len(str(message.get("content")).split()) for message in messages), len(text.split()))
