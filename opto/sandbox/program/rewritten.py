"""Functions of the user's program, as they are told to what unwraps them, and as it tells of them."""

from types import FunctionType
from typing import Any, NamedTuple

__all__ = ["Owned", "Rewritten"]


class Rewritten(NamedTuple):
    """A function of the user's program that has another text now than where it was defined.

    Attributes:
        function: As it was defined, with what is around it.
        source: The text that takes its place, without decorators.
    """

    function: FunctionType
    source: str


class Owned(NamedTuple):
    """What stands for a method in a class, and an object of that class, which may have a text of its own for it."""

    function: Any
    owner: Any
