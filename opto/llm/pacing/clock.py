"""Time, and chance."""

import random
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

__all__ = ["Clock"]


class Clock:
    """What a test replaces to see waits without waiting."""

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        # Importing opto must not load asyncio.
        from asyncio import sleep  # noqa: PLC0415 - runs already

        await sleep(seconds)

    def wait(self, event: threading.Event, seconds: float) -> None:
        """Wait until the event is set, or for so long."""
        event.wait(seconds)

    async def await_event(self, event: "asyncio.Event", seconds: float) -> None:
        from asyncio import timeout  # noqa: PLC0415 - as above

        with suppress(TimeoutError):
            async with timeout(seconds):
                await event.wait()

    def chance(self) -> float:
        """Return a number in [0, 1)."""
        return random.random()  # noqa: S311 - no secret
