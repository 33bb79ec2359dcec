"""How long an attempt may take in all: what an SDK calls a timeout is one for each piece that it reads."""

import time
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

__all__ = ["limit_request", "run_within", "seconds_left"]

T = TypeVar("T")

_LATE = "the time for this attempt is over"
_LIMITS = ("connect", "read", "write", "pool")
#: Seconds that a socket can be told to wait: it counts milliseconds in 31 bits.
_LONGEST = 2e6
_CONNECTED = (".connect_tcp.complete", ".connect_unix_socket.complete", ".start_tls.complete")

#: When the attempt that is running must have ended, on the monotonic clock.
_until: ContextVar[float | None] = ContextVar("opto_llm_until", default=None)


def seconds_left() -> float | None:
    """Return what is left of the attempt that is running, never below 0; None if it may last for ever."""
    until = _until.get()
    return None if until is None else min(max(0.0, until - time.monotonic()), _LONGEST)


def run_within(seconds: float | None, function: Callable[..., T], *arguments: Any) -> T:
    """Call *function*, which must end after *seconds*, or sooner if something around it must.

    The limit stands in a context of its own, which is forgotten however the call ends. A limit that is set and taken
    back would stay when Ctrl-C comes between the two, and once it has passed every later call would be late.
    """
    if seconds is None:
        return function(*arguments)
    until, own = _until.get(), time.monotonic() + seconds
    context = copy_context()
    context.run(_until.set, own if until is None else min(until, own))
    return context.run(function, *arguments)


def limit_request(request: Any) -> None:
    """Hold a blocking request of httpx to `seconds_left`: its hook for requests.

    The transport tells how its connections come about, which is where their reading can be limited: a server that
    sends a byte now and then would else never be late.
    """
    left = seconds_left()
    if left == 0:
        raise TimeoutError(_LATE)
    if left is not None:
        limits = request.extensions.get("timeout") or {}
        request.extensions["timeout"] = {name: _least(limits.get(name), left) for name in _LIMITS}
    request.extensions["trace"] = _limit_connection


def _limit_connection(event: str, info: dict[str, Any]) -> None:
    if event.endswith(_CONNECTED):
        stream = info["return_value"]
        stream.read = _limited(stream.read)
    elif event.endswith(".send_request_headers.started") and info["request"].method != b"CONNECT":
        # There is a connection (if not only a tunnel is being opened): what else happens is of no interest.
        info["request"].extensions.pop("trace", None)


def _limited(read: Callable[..., bytes]) -> Callable[..., bytes]:
    def limited(max_bytes: int, timeout: float | None = None) -> bytes:
        left = seconds_left()
        if left == 0:
            raise TimeoutError(_LATE)
        return read(max_bytes, timeout if left is None else _least(timeout, left))

    return limited


def _least(timeout: float | None, left: float) -> float:
    return left if timeout is None or left < timeout else timeout
