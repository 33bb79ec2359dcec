"""Domains of numbers."""

import math
from numbers import Integral
from typing import Any

from opto.errors import DomainError
from opto.nodes.domains.base import Domain
from opto.nodes.domains.reading import is_exact, numpy_scalar, read_as, type_name
from opto.nodes.frozen import Frozen

__all__ = ["Range"]


class Range(Frozen, Domain):
    """Numbers from *low* to *high*, both included.

    A parameter that starts as an int stays an int if the bounds are ints too: ``Range(0, 2)`` with 1 is three integers,
    ``Range(0.0, 2.0)`` all numbers between. One that starts as a number of numpy, a Decimal or a Fraction stays that.

    Args:
        low: Smallest value; None if there is none.
        high: Largest value; None if there is none.
        step: Distance between neighbours, counted from *low* (from 0 if there is none); None for any number of
            the type.
        log: True if a search should treat factors, not differences, as equal steps.
        kind: Type of the numbers. The default is what the bounds and the value that a parameter starts as say.

    Attributes:
        low: Smallest value, ``-math.inf`` if there is none.
        high: Largest value, ``math.inf`` if there is none.

    Example:
        >>> from opto.nodes import node
        >>> green = node(30, trainable=True, domain=Range(15, 90))
        >>> green.domain.accept("24")
        24
        >>> green.domain.accept(91)
        Traceback (most recent call last):
        opto.errors.DomainError: 91 lies outside the range. Choose an integer from 15 to 90.
        >>> Range(low=0).describe(), Range(1e-5, 1, log=True).describe()
        ('a number of at least 0', 'a number from 1e-05 to 1, on a logarithmic scale')
    """

    low: float
    high: float
    step: float | None
    log: bool
    kind: type
    chosen: bool

    def __init__(
        self,
        low: float | None = None,
        high: float | None = None,
        step: float | None = None,
        *,
        log: bool = False,
        kind: type | None = None,
    ) -> None:
        low, high = -math.inf if low is None else low, math.inf if high is None else high
        self._hold(low=low, high=high, step=step, log=log, kind=kind or float, chosen=kind is not None)
        if not (_is_bound(low, -math.inf) and _is_bound(high, math.inf) and low <= high):
            raise DomainError(
                f"There is no range with {self._bounds}.",
                mend="Give two numbers, the smaller first, or None for an open end.",
            )
        if step is not None and not 0 < step < math.inf:
            raise DomainError(f"There is no range with {self._bounds}.", mend="Give a positive step.")
        if log and (low <= 0 or step is not None):
            raise DomainError(
                f"There is no logarithmic range with {self._bounds}.", mend="Give a positive low and no step."
            )

    @property
    def _bounds(self) -> str:
        return f"low={self.low!r:.40}, high={self.high!r:.40}, step={self.step!r}"

    @property
    def is_whole(self) -> bool:
        """True if the numbers are integers of some type."""
        return issubclass(self.kind, Integral)

    @property
    def is_open(self) -> bool:
        """True if an end is missing, so that there is no middle."""
        return math.isinf(self.low) or math.isinf(self.high)

    def for_value(self, value: Any) -> "Range":
        kind = self.kind if self.chosen else self._kind_of(value)
        if not issubclass(kind, Integral):
            return Range(self.low, self.high, self.step, log=self.log, kind=kind)
        # Whole ones that are written as floats, such as 1e6, are ints all the same.
        bounds = [
            bound if bound is None or math.isinf(bound) else int(bound) for bound in (self.low, self.high, self.step)
        ]
        if bounds != [self.low, self.high, self.step]:
            raise DomainError(
                f"There is no range of integers with {self._bounds}.",
                mend="Give whole bounds and a whole step, or start with a float.",
            )
        return Range(*bounds, log=self.log, kind=kind)

    def _kind_of(self, value: Any) -> type:
        kind = type(value)
        if numpy_scalar(kind) or is_exact(kind):
            return kind
        given = [end for end in (self.low, self.high, self.step) if end is not None and not math.isinf(end)]
        is_int = isinstance(value, Integral) and not isinstance(value, bool)
        return int if is_int and all(isinstance(end, Integral) for end in given) else float

    def read(self, raw: Any) -> Any:
        try:
            return read_as(self.kind, raw)
        except DomainError as error:
            raise DomainError(error.problem, mend=f"Choose {self.describe()}.") from None

    def check(self, value: Any) -> None:
        # In the type of the value: 0.1 as a Decimal is less than the float that is written so.
        low, high = (
            read_as(self.kind, end) if is_exact(self.kind) and not math.isinf(end) else end
            for end in (self.low, self.high)
        )
        if not low <= value <= high:
            raise DomainError(f"{value!s} lies outside the range.", mend=f"Choose {self.describe()}.")
        if self.step is not None:
            start = 0 if math.isinf(self.low) else self.low
            # Plain, as differences of small integers of numpy do not fit into their type; and by the digits that
            # it shows, as 100.1 in single precision is some 100.0999985.
            plain = int(value) if self.is_whole else float(str(value)) if numpy_scalar(self.kind) else float(value)
            # Tolerance for floats only: 0.3 is not three times 0.1, but a whole number is what it is.
            off = (plain - start) % self.step
            if off if isinstance(off, int) else 1e-6 < off / self.step < 1 - 1e-6:
                raise DomainError(f"{value!s} lies between two steps.", mend=f"Choose {self.describe()}.")

    def describe(self) -> str:
        kind = "an integer" if self.is_whole else "a number" if numpy_scalar(self.kind) else type_name(self.kind)
        if not self.is_open:
            ends = f" from {_figure(self.low)} to {_figure(self.high)}"
        elif not math.isinf(self.low):
            ends = f" of at least {_figure(self.low)}"
        else:
            ends = "" if math.isinf(self.high) else f" of at most {_figure(self.high)}"
        start = " from 0" if self.step is not None and math.isinf(self.low) else ""
        by = f" in steps of {_figure(self.step)}{start}" if self.step is not None else ""
        scale = ", on a logarithmic scale" if self.log else ""
        return f"{kind}{ends}{by}{scale}"


#: Beyond this, differences of floats are not finite.
_WIDEST = 1e307


def _is_bound(end: float, opened: float) -> bool:
    return end == opened or -_WIDEST <= end <= _WIDEST


def _figure(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)
