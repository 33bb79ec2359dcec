"""What tests of adapters are written with; pytest is not needed for it."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from opto.errors import LLMError
from opto.llm import LLM, Reply
from opto.testing.actions import Action, Exchange

__all__ = [
    "LONG",
    "WAYS",
    "Ask",
    "Endless",
    "Together",
    "come_true",
    "failing",
    "in_bounds",
    "nothing_left",
    "together",
]

#: Seconds after which something does not end, on a machine however busy.
LONG = 30.0

T = TypeVar("T")


class Ask(Protocol):
    """One of the ways in which a client is asked."""

    def __call__(self, llm: LLM, messages: str | Sequence[Mapping[str, Any]] = "hi", **settings: Any) -> Reply: ...


def _in_turn(llm: LLM, messages: str | Sequence[Mapping[str, Any]] = "hi", **settings: Any) -> Reply:
    return in_bounds(lambda: llm(messages, **settings))


def _awaited(llm: LLM, messages: str | Sequence[Mapping[str, Any]] = "hi", **settings: Any) -> Reply:
    return in_bounds(lambda: asyncio.run(llm.acall(messages, **settings)))


WAYS: tuple[Ask, ...] = (_in_turn, _awaited)


def in_bounds(function: Callable[[], T]) -> T:
    """Return what *function* does, which must end."""
    return together([function])[0]


def together(functions: Sequence[Callable[[], T]]) -> list[T]:
    """Return what *functions* do, each in a thread of its own and all at once."""
    barrier, found, errors = threading.Barrier(len(functions)), dict[int, T](), dict[int, BaseException]()

    def run(number: int, function: Callable[[], T]) -> None:
        barrier.wait()
        try:
            found[number] = function()
        except BaseException as error:
            errors[number] = error

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in enumerate(functions)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + LONG
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    for error in errors.values():
        raise error
    assert not any(thread.is_alive() for thread in threads), f"A call did not end within {LONG:.0f} s."
    return [found[number] for number in range(len(functions))]


def failing(ask: Ask, llm: LLM, **settings: Any) -> LLMError:
    """Return the error that a call raises, which must be a typed one."""
    try:
        reply = ask(llm, **settings)
    except LLMError as error:
        return error
    raise AssertionError(f"Nothing was raised, and this came back: {reply!r:.200}")


def come_true(condition: Callable[[], object], said: str) -> None:
    """Wait until *condition* holds, which must happen."""
    until = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < until, said
        time.sleep(0.002)


@contextmanager
def nothing_left() -> Iterator[None]:
    """Expect no more threads after the block than before."""
    before = set(threading.enumerate())
    yield
    come_true(
        lambda: set(threading.enumerate()) <= before,
        f"Threads are left: {[thread.name for thread in set(threading.enumerate()) - before]}",
    )


class Together(Action):
    """Answers when as many requests wait for it as are to come."""

    def __init__(self, count: int) -> None:
        self._missing = count
        self._all = asyncio.Event()

    async def play(self, exchange: Exchange) -> None:
        self._missing -= 1
        if not self._missing:
            self._all.set()
        await self._all.wait()
        await exchange.write(exchange.answer(str(exchange.request.messages[-1]["content"])))


class Endless(Action):
    """Does not answer, and tells when it was asked."""

    def __init__(self) -> None:
        self.begun = threading.Event()

    async def play(self, exchange: Exchange) -> None:
        self.begun.set()
        await exchange.wait(3600)
