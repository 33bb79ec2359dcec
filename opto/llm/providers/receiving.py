"""What came over the wire, kept before an SDK makes anything of it: it was paid for."""

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

__all__ = ["Received", "Redirected", "akeep_response", "keep_response", "receiving", "usage_object"]

_received: ContextVar["Received | None"] = ContextVar("opto_llm_received", default=None)


class Received:
    """The body of the last response, as far as it came."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    @property
    def text(self) -> str:
        # Bodies are JSON, and so UTF-8, or nonsense, of which the readable part is enough.
        return b"".join(self._chunks).decode("utf-8", "replace")

    def listen(self, response: Any) -> None:
        self._chunks.clear()
        chunks = response.iter_bytes

        def iter_bytes(*args: Any) -> Iterator[bytes]:
            for chunk in chunks(*args):
                self._chunks.append(chunk)
                yield chunk

        response.iter_bytes = iter_bytes

    def alisten(self, response: Any) -> None:
        self._chunks.clear()
        chunks = response.aiter_bytes

        async def aiter_bytes(*args: Any) -> AsyncIterator[bytes]:
            async for chunk in chunks(*args):
                self._chunks.append(chunk)
                yield chunk

        response.aiter_bytes = aiter_bytes


class receiving:  # noqa: N801 - used like a function; a class, because every call goes through it
    """Keep what responses inside bring.

    Args:
        keep: Called with whatever ends the block too soon, and with what had come until then.
    """

    __slots__ = ("_keep", "_received")

    def __init__(self, keep: Callable[[BaseException, str], None]) -> None:
        self._keep = keep

    def __enter__(self) -> Received:
        self._received = Received()
        _received.set(self._received)
        return self._received

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        # Not a reset: an event loop that was left in the middle of a call ends it in another context.
        _received.set(None)
        if error is not None:
            self._keep(error, self._received.text)


class Redirected(Exception):  # noqa: N818 - what happened
    """A response points elsewhere.

    Args:
        status: 301, for instance.
        place: Scheme, host and port: the rest may hold secrets.
    """

    def __init__(self, status: int, place: str) -> None:
        super().__init__(f"{status} to {place}")
        self.status = status
        self.place = place


def _check_place(response: Any) -> None:
    """Stay with the server that was asked: the key and the prompt are for nobody else."""
    if not response.has_redirect_location:
        return
    old = response.request.url
    new = old.join(response.headers["location"])
    is_upgrade = (old.scheme, new.scheme, old.port, new.port) == ("http", "https", None, None)
    is_same = (old.scheme, old.port) == (new.scheme, new.port) or is_upgrade
    # 301 to 303 would lose the body of the request.
    if new.host != old.host or not is_same or (response.status_code not in (307, 308) and response.request.content):
        raise Redirected(response.status_code, f"{new.scheme}://{new.netloc.decode('ascii', 'replace')}")


def keep_response(response: Any) -> None:
    """Let `receiving` see a response of httpx: its hook for responses, which comes before the body does."""
    if 300 <= response.status_code < 400:
        _check_place(response)
    received = _received.get()
    if received is not None:
        received.listen(response)


async def akeep_response(response: Any) -> None:
    """Do the same for an asynchronous client."""
    if 300 <= response.status_code < 400:
        _check_place(response)
    received = _received.get()
    if received is not None:
        received.alisten(response)


def usage_object(text: str) -> Any:
    """Return the last object under the name ``usage`` in a body, whatever else is wrong with it; None if none is whole.

    Example:
        >>> usage_object('{"choices": [oops], "usage": {"prompt_tokens": 3}, "model": "m')
        {'prompt_tokens': 3}
    """
    found = None
    # In the text of a model, quotes are escaped: it cannot be mistaken for this.
    for match in re.finditer(r'(?<!\\)"usage"\s*:\s*(?=\{)', text):
        try:
            found, _ = json.JSONDecoder().raw_decode(text, match.end())
        except (ValueError, RecursionError):
            continue
    return found
