"""How much a candidate may use."""

import math
from functools import wraps
from typing import Any, NamedTuple, cast

from opto.errors import IsolationError

__all__ = ["Limits"]


class Limits(NamedTuple):
    """How much a candidate may use. Sizes are in bytes.

    Attributes:
        seconds: For one call. What the host takes for calls that it offers is not counted, nor is reading large
            arguments, for which there is a second for each 2 MB.
        start: Seconds to load the code with its imports.
        memory: Address space, besides that of Python itself. Not enforced on macOS.
        output: What one call may print, in characters.
        result: What one call may return, as JSON.
        disk: All of its files. One file may be a quarter of that.
        calls: How often one call may call what is offered to it: that may cost money, and its time is not counted.
        children: Processes for calls at the same time. Each keeps what it keeps for itself.

    Example:
        >>> Limits(seconds=2).seconds
        2
        >>> Limits(memory=0)
        Traceback (most recent call last):
        opto.errors.IsolationError: The limit memory=0 is no whole, positive number of bytes. Give one.
    """

    seconds: float = 10.0
    start: float = 30.0
    memory: int = 1 << 30
    output: int = 1 << 16
    result: int = 16 << 20
    disk: int = 64 << 20
    calls: int = 1000
    children: int = 8

    def checked(self) -> "Limits":
        """Return these limits, if they are limits: `_replace` looks at nothing.

        Raises:
            IsolationError: One is none.
        """
        for name, value in self._asdict().items():
            is_time = name in {"seconds", "start"}
            kinds: Any = (int, float) if is_time else int
            if not isinstance(value, kinds) or isinstance(value, bool) or not 0 < value < math.inf:
                kind = "finite" if is_time else "whole"
                unit = "seconds" if is_time else _UNITS.get(name, "bytes")
                raise IsolationError(
                    f"The limit {name}={value!r:.80} is no {kind}, positive number of {unit}.", mend="Give one."
                )
            least, most = _BOUNDS.get(name, (0, 1 << 62))
            if not least <= value <= most:
                raise IsolationError(
                    f"The limit {name}={value!r:.80} is too {'small' if value < least else 'large'}.",
                    mend=f"Give at least {least}." if value < least else f"Give at most {most}.",
                )
        return self


def _checking(make: Any) -> Any:
    """Return *make*, which makes limits, with a look at what it has made. A named tuple has no other place for that."""

    @wraps(make)
    def made(cls: type[Limits], /, *args: Any, **kwargs: Any) -> Limits:
        return cast("Limits", make(cls, *args, **kwargs)).checked()

    return made


_UNITS = {"children": "processes", "calls": "calls"}
#: Below these, Python itself does not start, or no answer is short enough; above, there are no more processes.
_BOUNDS = {"memory": (16 << 20, 1 << 62), "result": (1 << 8, 1 << 62), "disk": (1 << 16, 1 << 62), "children": (1, 64)}
# From here on, so that a mistake is told of where it stands.
Limits.__new__ = _checking(Limits.__new__)  # type: ignore[method-assign]  # named tuples take none in their body
