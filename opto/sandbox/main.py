"""The function that a candidate is."""

from typing import Any, NamedTuple

__all__ = ["Main"]


class Main(NamedTuple):
    """The function that a candidate is.

    Attributes:
        source: Its text, with what stands beside it.
        name: Its name there.
        qualname: Its name with those of classes around it.
        file: What tracebacks call the text.
        parameters: Names of its positional arguments.
    """

    source: str
    name: str
    qualname: str
    file: str
    parameters: tuple[str, ...]

    @property
    def told(self) -> dict[str, Any]:
        """What processes are told of it."""
        told = self._asdict()
        del told["parameters"]
        return told
