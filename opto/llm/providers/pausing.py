"""What the headers of a response say about trying again."""

import math
import time
from datetime import UTC
from typing import Any

__all__ = ["retry_after", "should_retry"]

_SHOULD_RETRY = {"true": True, "false": False}


def should_retry(headers: Any) -> bool | None:
    """Return what a response says itself; None if it says nothing."""
    return _SHOULD_RETRY.get((headers.get("x-should-retry") or "").strip().lower())


def retry_after(headers: Any) -> float | None:
    """Return the seconds to wait that a response asks for; it may also name the moment. None if there are none left."""
    milliseconds = _seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    wanted = headers.get("retry-after")
    seconds = _seconds(wanted)
    moment = None if seconds is not None else _moment(wanted)
    if moment is not None:
        sent = _moment(headers.get("date"))
        # Clocks differ: how long it is from the sending is the server's own word.
        seconds = moment - (time.time() if sent is None else sent)
    return seconds if seconds is not None and seconds > 0 else None


def _seconds(value: Any) -> float | None:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return None
    # A server that says 0 does not mean that all may come at once, again and again.
    return seconds if seconds > 0 and math.isfinite(seconds) else None


def _moment(value: Any) -> float | None:
    if not value:
        return None
    # Loads sockets, which importing opto must not.
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - only where a connection was open

    try:
        moment = parsedate_to_datetime(value)
        # Without a zone it is of the zone of the web, not of this machine.
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
