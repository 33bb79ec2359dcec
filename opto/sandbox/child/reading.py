"""How long it may take to read what the other side says: its size does not tell."""

import _thread
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

__all__ = ["EVERY", "MOST_DIGITS", "limited", "look", "spread", "watched", "whole"]

#: After how many steps it is looked what time it is.
EVERY = 64
#: How many digits of a number are read, whatever the program allows itself: that takes their square.
MOST_DIGITS = 4300
#: How many values with the same hash may stand in a set, or in a dict as keys.
_MOST_ALIKE = 200

_clock = _thread._local()  # noqa: SLF001 - as `threading` has it, whose import takes long


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Let this thread compute for *seconds* while it reads; `look` raises once that is over."""
    before = getattr(_clock, "until", None)
    _clock.until, _clock.seconds = time.thread_time() + seconds, seconds
    try:
        yield
    finally:
        _clock.until = before


def look() -> None:
    """Look what time it is.

    Raises:
        ValueError: What is read takes longer than it may.
    """
    until = getattr(_clock, "until", None)
    if until is not None and time.thread_time() > until:
        raise ValueError(f"reading it takes longer than {_clock.seconds:g} s")


def watched(items: list[Any]) -> Iterable[Any]:
    """Return *items* for what looks them up by their hashes: different ones can be made to meet at the same places."""
    return items if len(items) <= EVERY else chain.from_iterable(_parts(items))


def _parts(items: list[Any]) -> Iterator[list[Any]]:
    for place in range(0, len(items), EVERY):
        look()
        yield items[place : place + EVERY]


def spread(values: Collection[Any]) -> None:
    """See that not so many of *values* have the same hash that it takes long to look one up.

    Raises:
        ValueError: They do.
    """
    hashes = [*map(hash, values)]
    if len(hashes) > _MOST_ALIKE and len(hashes) - len({*watched(hashes)}) >= _MOST_ALIKE:
        counts: dict[int, int] = {}
        for number in watched(hashes):
            counts[number] = counts.get(number, 0) + 1
        if max(counts.values()) > _MOST_ALIKE:
            raise ValueError("the keys collide")


def whole(digits: str) -> int:
    """Return the number that is written in *digits*.

    Raises:
        ValueError: They are too many.
    """
    if len(digits) > MOST_DIGITS:
        raise ValueError("a number of too many digits")
    return int(digits)
