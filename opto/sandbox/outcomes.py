"""What comes of a call of a candidate, and how deep in calls of the host it is."""

from contextvars import ContextVar
from typing import Any, NamedTuple

from opto.errors import SandboxCrashError

__all__ = ["NOTHING", "Outcome", "depth", "depth_of"]


class Outcome(NamedTuple):
    """What came of a call. No exception passes through the steps: some would end them in another way."""

    value: Any
    error: BaseException | None

    def unwrap(self) -> Any:
        """Return the value, or raise the exception."""
        if self.error is not None:
            raise self.error
        return self.value


NOTHING = Outcome(None, None)

#: How many calls of hosts this thread or task is in.
depth: ContextVar[int] = ContextVar("depth", default=0)
_DEEPEST = 20


def depth_of(name: str) -> int:
    reached = depth.get()
    if reached > _DEEPEST:
        raise SandboxCrashError(
            f"{name}() calls itself by way of the host, {reached} times over.", mend="Call the function itself."
        )
    return reached
