"""What a parameter may be. Checked in code, never only asked for in words.

A `Domain` reads what a model or a search suggests, without loss or guesswork: ``"7"`` is a 7, ``"lots"`` is
not, and neither is True.
"""

import ast
import contextlib
import math
import re
import sys
from collections.abc import Callable
from numbers import Integral
from typing import Any, NoReturn, Self

from opto.errors import DomainError
from opto.nodes.frozen import Frozen

__all__ = ["Choices", "Domain", "OfType", "Range", "as_domain", "read_as", "unfenced"]


class Domain:
    """The values that a parameter may take. Subclasses override `check` and `describe`, and `read` if needed.

    Example:
        >>> class Even(Domain):
        ...     def read(self, raw):
        ...         return read_as(int, raw)
        ...     def check(self, value):
        ...         if value % 2:
        ...             raise DomainError(f"{value} is odd.", mend="Choose an even number.")
        ...     def describe(self):
        ...         return "an even integer"
        >>> Even().accept("8")
        8
    """

    def for_value(self, value: Any) -> Self:  # noqa: ARG002 - used by domains that depend on it
        """Return the domain for a parameter that starts as *value*."""
        return self

    def accept(self, raw: Any) -> Any:
        """Return *raw* as a value of this domain.

        Raises:
            DomainError: It is none, and cannot be read as one without loss.
        """
        value = self.read(raw)
        self.check(value)
        return value

    def read(self, raw: Any) -> Any:
        """Return *raw*, which may be text, in the type that the parameter has."""
        return raw

    def check(self, value: Any) -> None:
        """Raise `DomainError` if *value*, which has the right type, lies outside."""

    def describe(self) -> str:
        """Return the domain in words that fit after "must be"."""
        return "anything"

    def write(self, value: Any) -> str:
        """Return *value* as text from which `read` makes it again."""
        return value if isinstance(value, str) else repr(value)


class OfType(Frozen, Domain):
    """Any value of one type: what a parameter has if nothing else is said.

    Example:
        >>> OfType(int).accept("7"), OfType(float).accept("0.5"), OfType(list).accept("[1, 2]")
        (7, 0.5, [1, 2])
    """

    kind: type

    def __init__(self, kind: type) -> None:
        self._hold(kind=kind)

    def read(self, raw: Any) -> Any:
        return read_as(self.kind, raw)

    def describe(self) -> str:
        return _TYPE_NAMES.get(self.kind, f"a {self.kind.__name__}")


class Range(Frozen, Domain):
    """Numbers from *low* to *high*, both included.

    A parameter that starts as an int stays an int.

    Args:
        low: Smallest value.
        high: Largest value.
        step: Distance between neighbours, counted from *low*; None for any number of the type.
        log: True if a search should treat factors, not differences, as equal steps.

    Example:
        >>> from opto.nodes import node
        >>> green = node(30, trainable=True, domain=Range(15, 90))
        >>> green.domain.accept("24")
        24
        >>> green.domain.accept(91)
        Traceback (most recent call last):
        opto.errors.DomainError: 91 lies outside the range. Choose an integer from 15 to 90.
    """

    low: float
    high: float
    step: float | None
    log: bool
    kind: type

    def __init__(
        self, low: float, high: float, step: float | None = None, *, log: bool = False, kind: type = float
    ) -> None:
        self._hold(low=low, high=high, step=step, log=log, kind=kind)
        bounds = f"low={self.low!r:.40}, high={self.high!r:.40}, step={self.step!r}"
        if not (-_WIDEST <= self.low <= self.high <= _WIDEST):
            raise DomainError(f"There is no range with {bounds}.", mend="Give two finite numbers, the smaller first.")
        if self.step is not None and not 0 < self.step < math.inf:
            raise DomainError(f"There is no range with {bounds}.", mend="Give a positive step.")
        if self.log and (self.low <= 0 or self.step is not None):
            raise DomainError(f"There is no logarithmic range with {bounds}.", mend="Give a positive low and no step.")

    def for_value(self, value: Any) -> "Range":
        if isinstance(value, bool) or not isinstance(value, Integral):
            return Range(self.low, self.high, self.step, log=self.log)
        if self.step is not None and not float(self.step).is_integer():
            raise DomainError(
                f"There are no integers in steps of {self.step} from {self.low}.",
                mend="Give a whole step, or start with a float.",
            )
        low, high = math.ceil(self.low), math.floor(self.high)
        if low > high:
            raise DomainError(f"There is no integer from {self.low} to {self.high}.", mend="Give a wider range.")
        step = None if self.step is None else int(self.step)
        return Range(low, high, step, log=self.log, kind=int)

    def read(self, raw: Any) -> Any:
        return read_as(self.kind, raw)

    def check(self, value: Any) -> None:
        if not self.low <= value <= self.high:
            raise DomainError(f"{value} lies outside the range.", mend=f"Choose {self.describe()}.")
        if self.step is not None:
            # Tolerance for floats only: 0.3 is not three times 0.1, but a whole number is what it is.
            off = (value - self.low) % self.step
            if off if isinstance(off, int) else 1e-6 < off / self.step < 1 - 1e-6:
                raise DomainError(f"{value} lies between two steps.", mend=f"Choose {self.describe()}.")

    def describe(self) -> str:
        by = f" in steps of {_figure(self.step)}" if self.step is not None else ""
        scale = ", on a logarithmic scale" if self.log else ""
        return f"{_TYPE_NAMES[self.kind]} from {_figure(self.low)} to {_figure(self.high)}{by}{scale}"


#: Beyond this, differences of floats are not finite.
_WIDEST = 1e307


def _figure(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)


class Choices(Frozen, Domain):
    """One of some options.

    Example:
        >>> Choices("fast", "slow").accept("slow")
        'slow'
        >>> Choices(1, 2, 4).accept("4")
        4
    """

    options: tuple[Any, ...]

    def __init__(self, *options: Any) -> None:
        if not options:
            raise DomainError("There are no options to choose from.", mend="Give at least one: Choices('a', 'b').")
        # By type and value: True == 1 and 1 == 1.0, but they are different options.
        different: list[Any] = []
        for option in options:
            if not any(type(option) is type(known) and option == known for known in different):
                different.append(option)
        self._hold(options=tuple(different))
        alike = [option for option in different if len(self._fitting(str(option))) > 1]
        if alike:
            raise DomainError(
                f"The options {', '.join(map(repr, alike))} cannot be told apart when they are written as text.",
                mend="Choose options whose texts differ.",
            )

    def _fitting(self, text: str) -> list[Any]:
        return [option for option in self.options if text.strip() in {str(option).strip(), repr(option)}]

    def _reading(self, text: str) -> list[Any]:
        """Return the options that *text* is if it is read as their type: ``true``, ``0.10``, ``["b"]``."""
        fitting = []
        for option in self.options:
            with contextlib.suppress(DomainError):
                if not isinstance(option, str) and read_as(type(option), text) == option:
                    fitting.append(option)
        return fitting

    def read(self, raw: Any) -> Any:
        for option in self.options:
            if type(option) is type(raw) and option == raw:
                return option
        fitting = (
            self._fitting(str(raw)) or (isinstance(raw, str) and (self._fitting(bare(raw)) or self._reading(raw))) or []
        )
        if len(fitting) != 1:
            raise DomainError(f"{raw!r:.200} is none of the options.", mend=f"Choose {self.describe()}.")
        return fitting[0]

    def describe(self) -> str:
        return "one of " + ", ".join(map(repr, self.options))

    def write(self, value: Any) -> str:
        return str(value)


def as_domain(spec: Any, value: Any) -> Domain:
    """Return what the user wrote as ``domain=`` as a `Domain` for a parameter that starts as *value*.

    A `range` stands for integers, a list for options, a type for itself, None for the type of *value*.

    Raises:
        DomainError: *spec* is none of these.

    Example:
        >>> as_domain(range(15, 91), 30).describe(), as_domain(["a", "b"], "a").describe()
        ('an integer from 15 to 90', "one of 'a', 'b'")
    """
    domain: Domain
    match spec:
        case None:
            return OfType(type(value))
        case Domain():
            domain = spec
        case range() if len(spec) > 0:
            ascending = spec if spec.step > 0 else spec[::-1]
            step = None if ascending.step == 1 else ascending.step
            domain = Range(ascending[0], ascending[-1], step=step)
        case list():
            domain = Choices(*spec)
        case type():
            domain = OfType(spec)
        case _:
            raise DomainError(
                f"A domain cannot be {spec!r:.80}.",
                mend="Give Range(low, high), Choices(a, b), a range, a list of options, a type, or your own Domain.",
            )
    return domain.for_value(value)


_TYPE_NAMES: dict[type, str] = {
    bool: "True or False",
    int: "an integer",
    float: "a number",
    str: "a text",
    list: "a list",
    tuple: "a tuple",
    dict: "a dict",
    set: "a set",
    type(None): "anything",
}


def read_as(kind: type, raw: Any) -> Any:
    """Return *raw* as a *kind*, if nothing is lost by it.

    Raises:
        DomainError: *raw* is not of the kind and does not read as one.

    Example:
        >>> read_as(int, "7.0"), read_as(bool, "false"), read_as(tuple, [1, 2])
        (7, False, (1, 2))
        >>> read_as(int, True)
        Traceback (most recent call last):
        opto.errors.DomainError: True is not an integer. Suggest an integer.
    """
    if kind is type(None):
        return None if isinstance(raw, str) and raw.strip() in {"None", "null"} else raw
    if type(raw) is kind:
        return _finite(raw) if isinstance(raw, float) else raw
    if _is_of_numpy(type(raw)):
        raw = raw.item()
    reader = _READERS.get(kind)
    if reader is not None:
        return raw if type(raw) is kind and kind is not float else reader(raw)
    if _is_of_numpy(kind):
        return kind(read_as(type(kind().item()), raw))
    if isinstance(raw, kind) and not isinstance(raw, bool):
        return raw
    return _refuse(kind, raw)


def _is_of_numpy(kind: type) -> bool:
    """True for numpy's numbers and bools, but not for its arrays. Found by name: numpy itself is not needed."""
    return any(base.__module__ == "numpy" and base.__name__ == "generic" for base in kind.__mro__)


def _refuse(kind: type, raw: Any) -> NoReturn:
    words = _TYPE_NAMES.get(kind, f"a {kind.__name__}")
    raise DomainError(f"{raw!r:.200} is not {words}.", mend=f"Suggest {words}.")


def _finite(value: float) -> float:
    if not math.isfinite(value):
        _refuse(float, value)
    return value


def bare(text: str) -> str:
    r"""Return *text* without a Markdown fence, quotes or backticks around all of it.

    Example:
        >>> bare("```json\n[2]\n```"), bare("`fast`")
        ('[2]', 'fast')
    """
    text = unfenced(text).strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`" else text


def unfenced(text: str) -> str:
    """Return what stands in the Markdown fence around *text*; *text* itself if there is none around all of it."""
    fenced = re.fullmatch(r"\s*```[\w+-]*[ \t]*\n(.*?)\n?[ \t]*```\s*", text, re.DOTALL)
    return text if fenced is None or "\n```" in fenced[1] else fenced[1]


def _read_bool(raw: Any) -> bool:
    text = bare(raw).lower() if isinstance(raw, str) else None
    if text in {"true", "false"}:
        return text == "true"
    _refuse(bool, raw)


def _read_int(raw: Any) -> int:
    text = bare(raw) if isinstance(raw, str) else ""
    # Longer ones Python itself refuses to read.
    if whole := re.fullmatch(r"([+-]?[0-9]{1,4000})(?:\.0*)?", text):
        return int(whole[1])
    number = _number(int, text) if text else raw
    # Beyond 2**53 a float is one of several integers, and nobody knows which.
    if isinstance(number, float) and number.is_integer() and abs(number) <= 2**53:
        return int(number)
    _refuse(int, raw)


def _read_float(raw: Any) -> float:
    if isinstance(raw, str):
        return _finite(_number(float, raw))
    if isinstance(raw, float):
        return _finite(float(raw))
    if isinstance(raw, int) and not isinstance(raw, bool) and abs(raw) <= sys.float_info.max and int(float(raw)) == raw:
        return float(raw)
    _refuse(float, raw)


def _number(kind: type, raw: str) -> float:
    try:
        return float(bare(raw))
    except ValueError:
        _refuse(kind, raw)


def _read_container(kind: type) -> Callable[[Any], Any]:
    def read(raw: Any) -> Any:
        value = _literal(kind, raw) if isinstance(raw, str) else raw
        if type(value) is kind:
            return value
        # JSON knows neither tuples nor sets; a list with repeated items is no set.
        if isinstance(value, list) and (kind is tuple or (kind is set and len(_hashed(kind, value)) == len(value))):
            return kind(value)
        _refuse(kind, raw)

    return read


def _hashed(kind: type, items: list[Any]) -> set[Any]:
    try:
        return set(items)
    except TypeError:
        _refuse(kind, items)


def _literal(kind: type, text: str) -> Any:
    for parse in (_strict_json, ast.literal_eval):
        try:
            return parse(bare(text))
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    _refuse(kind, text)


def _strict_json(text: str) -> Any:
    """Read JSON without losing anything: no repeated names, no numbers that a float cannot hold."""
    import json  # noqa: PLC0415 - a tenth of the time that importing opto.trace takes

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a name occurs twice")
        return found

    def finite(number: str) -> float:
        return _finite(float(number))

    return json.loads(text, object_pairs_hook=unique, parse_float=finite, parse_constant=finite)


_READERS: dict[type, Callable[[Any], Any]] = {
    bool: _read_bool,
    int: _read_int,
    float: _read_float,
    str: lambda raw: _refuse(str, raw),
    **{kind: _read_container(kind) for kind in (list, tuple, dict, set)},
}
