"""Code that runs in the user's process, because the user said so: no limits, and nothing between it and the program."""

from collections.abc import Mapping
from inspect import isasyncgen, isawaitable, isgenerator
from types import FunctionType
from typing import Any

from opto.sandbox.child.definitions import defaults_of
from opto.sandbox.offering import functions_named

__all__ = ["InProcessCandidate"]


class InProcessCandidate:
    """A candidate without a sandbox.

    Attributes:
        output: Nothing: it prints where the program prints.
        content: Its text.
    """

    output = ""

    def __init__(
        self, source: str, name: str, *, file: str, like: FunctionType | None, hosts: Mapping[str, Any]
    ) -> None:
        self.content = source
        self._code = compile(source, file, "exec", dont_inherit=True)
        self._name, self._like = name, like
        self._hosts = functions_named(hosts)
        self._function: Any = None

    @property
    def _loaded(self) -> Any:
        if self._function is None:
            # A copy: its names are not the program's.
            names = {**(self._like.__globals__ if self._like is not None else {}), **self._hosts}
            exec(self._code, names)  # noqa: S102 - as the user asked for
            self._function = names[self._name]
        return self._function

    @property
    def defaults(self) -> Mapping[str, Any]:
        """The values of arguments that may be left out, by name."""
        return defaults_of(self._loaded)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        value = self._loaded(*args, **kwargs)
        return [*value] if isgenerator(value) else value

    async def acall(self, /, *args: Any, **kwargs: Any) -> Any:
        value = self(*args, **kwargs)
        if isasyncgen(value):
            return [item async for item in value]
        return await value if isawaitable(value) else value

    def close(self) -> None:
        self._function = None
