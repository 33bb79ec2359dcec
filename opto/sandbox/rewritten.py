"""Functions whose text is no longer the one in their file."""

from types import FunctionType
from typing import NamedTuple

__all__ = ["Rewritten"]


class Rewritten(NamedTuple):
    """A function of the user's program that has another text now than where it was defined.

    Attributes:
        function: As it was defined, with what is around it.
        source: The text that takes its place, without decorators.
    """

    function: FunctionType
    source: str
