"""A candidate that meets the program as it is at each call: also where a function in it was defined anew."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

from opto.forks import renew_after_fork
from opto.sandbox.candidate import ChildCandidate

__all__ = ["RenewedCandidate"]


class RenewedCandidate:
    """A candidate in children, which begin anew when functions or classes that went along are no longer the program's.

    Data is sent again without that; see `Scope.look_again`.

    Args:
        make: Returns a candidate with what its text speaks of now.

    Attributes:
        newest: What runs calls that begin now.
    """

    def __init__(self, make: Callable[[], ChildCandidate]) -> None:
        self._make = make
        self.newest = make()
        self.begin_again()
        renew_after_fork(self)

    def begin_again(self) -> None:
        """Forget who renews it: in a forked process, nobody does."""
        self._renewing = threading.RLock()

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._current()(*args, **kwargs)

    async def acall(self, /, *args: Any, **kwargs: Any) -> Any:
        return await self._current().acall(*args, **kwargs)

    def _current(self) -> ChildCandidate:
        newest = self.newest
        if newest.is_current:
            return newest
        with self._renewing:
            # Of calls at the same time, the first makes one for all.
            if not self.newest.is_current:
                # Calls in the old one go on; it ends with the last of them.
                self.newest = self._make()
            return self.newest

    @property
    def output(self) -> str:
        """What the last call printed."""
        return self.newest.output

    @property
    def content(self) -> Any:
        """What its results depend on besides the arguments."""
        return self._current().content

    @property
    def defaults(self) -> Mapping[str, Any]:
        """The values of arguments that may be left out, by name."""
        return self._current().defaults

    def close(self) -> None:
        """End its processes."""
        self.newest.close()
