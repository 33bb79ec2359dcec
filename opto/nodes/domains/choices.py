"""Domains of a few options."""

import contextlib
from enum import Enum
from typing import Any

from opto.errors import DomainError
from opto.nodes.domains.base import Domain
from opto.nodes.domains.reading import bare, read_as
from opto.nodes.frozen import Frozen

__all__ = ["Choices"]


class Choices(Frozen, Domain):
    """One of some options. Members of an enum go by their names, or by their values if these tell them apart.

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
        alike = [option for option in different if len(self._fitting(self.write(option))) > 1]
        if alike:
            raise DomainError(
                f"The options {', '.join(map(repr, alike))} cannot be told apart when they are written as text.",
                mend="Choose options whose texts differ.",
            )

    def _fitting(self, text: str) -> list[Any]:
        return [option for option in self.options if text.strip() in _names(option)]

    def _reading(self, text: str) -> list[Any]:
        """Return the options that *text* is if it is read as their type: ``true``, ``0.10``, ``["b"]``."""
        fitting = []
        for option in self.options:
            with contextlib.suppress(DomainError):
                value = option.value if isinstance(option, Enum) else option
                is_text = isinstance(value, str)
                if value == text if is_text else read_as(type(value), text) == value:
                    fitting.append(option)
        return fitting

    def read(self, raw: Any) -> Any:
        for option in self.options:
            if type(option) is type(raw) and option == raw:
                return option
        if isinstance(raw, str):
            fitting = self._fitting(raw) or self._fitting(bare(raw)) or self._reading(raw) or self._reading(bare(raw))
        else:
            # The value of a member of an enum, by type as well. Other values are read as they would be written.
            fitting = [option for option in self.options if isinstance(option, Enum) and _alike(option.value, raw)]
            fitting = fitting or self._fitting(str(raw))
        if len(fitting) != 1:
            raise DomainError(f"{raw!r:.200} is none of the options.", mend=f"Choose {self.describe()}.")
        return fitting[0]

    def check(self, value: Any) -> None:
        if not any(_alike(option, value) for option in self.options):
            raise DomainError(f"{value!r:.200} is none of the options.", mend=f"Choose {self.describe()}.")

    def describe(self) -> str:
        return "one of " + ", ".join(
            self.write(item) if isinstance(item, Enum) else repr(item) for item in self.options
        )

    def write(self, value: Any) -> str:
        return f"{type(value).__name__}.{value.name}" if isinstance(value, Enum) else str(value)


def _alike(option: Any, value: Any) -> bool:
    return type(option) is type(value) and bool(option == value)


def _names(option: Any) -> set[str]:
    """Return the texts that mean *option* and nothing else."""
    if isinstance(option, Enum):
        return {option.name, f"{type(option).__name__}.{option.name}"}
    return {str(option).strip(), repr(option)}
