"""The function that a candidate is."""

from typing import Any

__all__ = ["Main"]


class Main:
    """The function that a candidate is.

    Attributes:
        source: Its text, with what stands beside it.
        name: Its name there.
        qualname: Its name with those of classes around it.
        file: What tracebacks call the text.
        owner: The name of the class that it is a method of, or None.
        space: The module that it belongs to.
        parameters: Names of its positional arguments.
    """

    __slots__ = ("file", "name", "owner", "parameters", "qualname", "source", "space")

    def __init__(
        self,
        source: str,
        name: str,
        *,
        qualname: str,
        file: str,
        owner: str | None,
        space: str,
        parameters: tuple[str, ...],
    ) -> None:
        self.source, self.name, self.qualname, self.file = source, name, qualname, file
        self.owner, self.space, self.parameters = owner, space, parameters

    @property
    def told(self) -> dict[str, Any]:
        """What processes are told of it."""
        names = ("source", "name", "qualname", "file", "owner", "space")
        return {name: getattr(self, name) for name in names}
