"""Requests as a server on this machine reads them."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opto.testing.wire import asked_messages

__all__ = ["NotHTTPError", "RecordedRequest", "read_request"]


@dataclass(frozen=True)
class RecordedRequest:
    """One request as it came.

    Args:
        method: ``"POST"``, for instance.
        path: Without the host.
        headers: With names in lower case. They hold the key, so they are not in the `repr`.
        body: The parsed JSON; the text of one that is no JSON; None if there is none.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: Any = None

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation, with instructions that stand apart as its first message."""
        return asked_messages(self.body if isinstance(self.body, dict) else {})


class NotHTTPError(Exception):
    """Bytes came that are no request."""


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> RecordedRequest:
    """Read one request, whose body comes in one piece or in chunks.

    Raises:
        NotHTTPError: It is none.
        EOFError, ConnectionError: The client has gone.
    """
    try:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ", 2)
        named = (line.partition(":") for line in lines[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in named}
        if headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in headers.get("transfer-encoding", "").lower():
            body = await _read_chunks(reader)
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
    except (ValueError, asyncio.LimitOverrunError) as error:
        raise NotHTTPError from error
    return RecordedRequest(method, path, headers, _parsed(body) if body else None)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    chunks = []
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        chunks.append(await reader.readexactly(size))
        await reader.readexactly(2)
    while (await reader.readuntil(b"\r\n")).strip():
        pass  # trailers
    return b"".join(chunks)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")
