"""What users write as ``domain=``."""

import re
import typing
from enum import Enum, Flag
from typing import Any

from opto.errors import DomainError
from opto.nodes.domains.base import All, Check, Domain, OfType
from opto.nodes.domains.choices import Choices
from opto.nodes.domains.ranges import Range
from opto.nodes.domains.schema import Schema
from opto.nodes.domains.text import Text

__all__ = ["as_domain"]


def as_domain(spec: Any, value: Any) -> Domain:
    """Return what the user wrote as ``domain=`` as a `Domain` for a parameter that starts as *value*.

    A `range` stands for integers, a list for options (of domains: for all of them at once), an enum for its members, a
    type for itself, a pydantic model, a dataclass or an annotation for data of its structure, a compiled regular
    expression for text that matches it, a function for what it says yes to, None for the type of *value*.

    Raises:
        DomainError: *spec* is none of these.

    Example:
        >>> as_domain(range(15, 91), 30).describe(), as_domain(["a", "b"], "a").describe()
        ('an integer from 15 to 90', "one of 'a', 'b'")
        >>> as_domain([Range(0, 9), lambda n: n != 3], 1)
        Traceback (most recent call last):
        opto.errors.DomainError: A check without words tells nobody what to suggest. Write Check(function, 'must …').
    """
    if spec is None:
        # Nobody means to leave a prompt out: what starts as a text is none that is blank.
        return Text().for_value(value) if type(value) is str else _members(type(value)) or OfType(type(value))
    return _domain(spec).for_value(value)


def _domain(spec: Any) -> Domain:
    domain: Domain
    match spec:
        case Domain():
            domain = spec
        case range() if len(spec) > 0:
            ascending = spec if spec.step > 0 else spec[::-1]
            step = None if ascending.step == 1 else ascending.step
            domain = Range(ascending[0], ascending[-1], step=step, kind=int)
        case list() if any(isinstance(item, Domain) for item in spec):
            domain = All(*map(_domain, spec))
        case list():
            domain = Choices(*spec)
        case re.Pattern():
            domain = Text(spec)
        case _ if (origin := typing.get_origin(spec)) is not None:
            domain = Choices(*typing.get_args(spec)) if origin is typing.Literal else Schema(spec)
        case type():
            is_data = any(hasattr(spec, name) for name in _OF_DATA) or typing.is_typeddict(spec)
            domain = Schema(spec) if is_data else _members(spec) or OfType(spec)
        case _ if callable(spec):
            domain = Check(spec)
        case _:
            raise DomainError(
                f"A domain cannot be {spec!r:.80}.",
                mend="Give Range(low, high), Choices(a, b), Text(…), Schema(…), Check(function, 'must …'), a range, a "
                "list of options, a type, or your own Domain.",
            )
    return domain


#: By which dataclasses and the models of pydantic are told, without either.
_OF_DATA = ("__dataclass_fields__", "__pydantic_core_schema__")


def _members(kind: type) -> Choices | None:
    """Return the members of an enum as options. Flags can be joined, so their members are not all that there is."""
    return Choices(*kind) if issubclass(kind, Enum) and not issubclass(kind, Flag) and len(kind) else None
