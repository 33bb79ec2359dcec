"""Domains as such: what they all can, any value of a type, conditions of users, and several at once."""

from collections.abc import Callable
from typing import Any, Self

from opto.errors import DomainError
from opto.nodes.domains.reading import read_as, type_name, write_value
from opto.nodes.frozen import Frozen

__all__ = ["All", "Check", "Domain", "OfType"]


class Domain:
    """The values that a parameter may take. Subclasses override `check` and `describe`, and `read` if needed.

    ``a & b`` is the domain of what lies in both; either may be a function that says True or False (see `Check`).

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

    def for_value(self, value: Any) -> "Domain":  # noqa: ARG002 - used by domains that depend on it
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
        return write_value(value)

    def __and__(self, other: Any) -> "All":
        if isinstance(other, Domain):
            return All(self, other)
        if callable(other) and not isinstance(other, type):
            return All(self, Check(other))
        return NotImplemented

    def __rand__(self, other: Any) -> "All":
        if callable(other) and not isinstance(other, type):
            return All(Check(other), self)
        return NotImplemented


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
        return type_name(self.kind)


class Check(Frozen, Domain):
    """Values for which a function of yours says yes; of the type that the parameter starts with.

    Args:
        function: Takes a value; what is true means yes. A value for which it raises is refused with the reason.
        message: What the value must do, in words for whoever suggests one: "must be even". The default is made of
            the name and the first line of the docstring.

    Example:
        >>> from opto.nodes import Range, node
        >>> size = node(8, trainable=True, domain=Range(1, 64) & Check(lambda size: size % 8 == 0, "must fill bytes"))
        >>> size.accept("24"), size.domain.describe()
        (24, 'an integer from 1 to 64; it must fill bytes')
        >>> size.accept(9)
        Traceback (most recent call last):
        opto.errors.DomainError: 9 must fill bytes. Choose a value that meets this.
    """

    function: Callable[[Any], Any]
    message: str

    def __init__(self, function: Callable[[Any], Any], message: str | None = None) -> None:
        message = _about(function) if message is None else message
        self._hold(function=function, message=message.strip().rstrip("."))
        if not self.message:
            raise DomainError(
                "A check without words tells nobody what to suggest.", mend="Write Check(function, 'must …')."
            )

    def for_value(self, value: Any) -> Domain:
        return All(OfType(type(value)), self)

    def check(self, value: Any) -> None:
        try:
            fits, reason = bool(self.function(value)), ""
        except Exception as error:
            # Code of users on values of models: whatever goes wrong is a reason not to take the value.
            fits, reason = False, f" ({type(error).__name__}: {error})"
        if not fits:
            raise DomainError(f"{value!r:.200} {self.message}{reason}.", mend="Choose a value that meets this.")

    def describe(self) -> str:
        return f"a value that {self.message}"


def _about(function: Any) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    if name == "<lambda>":
        return ""
    about = (getattr(function, "__doc__", None) or "").strip().partition("\n")[0]
    return f"must pass {name}(): {about}" if about else f"must pass {name}()"


class All(Frozen, Domain):
    """What lies in every one of some domains. Written ``a & b``, or as a list of them.

    The first that is more than a condition says how values are written; each reads what the one before it read.

    Example:
        >>> from opto.nodes import Range
        >>> All(Range(0, 10, kind=int), Check(lambda n: n != 3, "must not be 3")).accept("4")
        4
    """

    parts: tuple[Domain, ...]

    def __init__(self, *parts: Domain) -> None:
        flat: list[Domain] = []
        for part in parts:
            flat.extend(part.parts if isinstance(part, All) else (part,))
        self._hold(parts=tuple(flat))
        if not flat:
            raise DomainError("There are no domains to combine.", mend="Give at least one.")

    def for_value(self, value: Any) -> Self:
        conditions = all(isinstance(part, Check) for part in self.parts)
        typed: list[Domain] = [OfType(type(value))] if conditions else []
        # A condition holds for itself: the type is said once, by it or by another part.
        fitted = (part if isinstance(part, Check) else part.for_value(value) for part in self.parts)
        return type(self)(*typed, *fitted)

    def read(self, raw: Any) -> Any:
        for part in self.parts:
            raw = part.read(raw)
        return raw

    def check(self, value: Any) -> None:
        for part in self.parts:
            part.check(value)

    def describe(self) -> str:
        said = [part.describe() for part in self.parts if not isinstance(part, Check)]
        must = [f"it {part.message}" for part in self.parts if isinstance(part, Check)]
        return "; ".join([" and ".join(said) or "anything", *must])

    def write(self, value: Any) -> str:
        return next((part for part in self.parts if not isinstance(part, Check)), self.parts[0]).write(value)
