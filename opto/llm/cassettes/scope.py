"""Which cassettes a call goes through: the one that may answer it, and those that keep a copy of its reply."""

from dataclasses import dataclass
from typing import Protocol

from opto.errors import LLMError
from opto.llm.cassettes.cassette import Cassette
from opto.llm.cassettes.request import Request
from opto.llm.messages import Reply

__all__ = ["Tape", "cassette_in_force"]


class Tape(Protocol):
    """What a call asks before its model, and tells what came of it."""

    @property
    def asks(self) -> bool:
        """False if no model is ever asked."""

    def recorded_as(self, model: str | None) -> str | None:
        """Return the ``"provider:model"`` that a client meant when its requests were recorded."""

    @property
    def has_tools(self) -> bool:
        """True if a model was offered a tool in one of the recorded requests."""

    def find(self, request: Request) -> Reply | None:
        """Return the reply to *request*, or None if a model is to be asked."""

    def keep(self, request: Request, outcome: Reply | LLMError) -> None:
        """Write down what came of *request*."""


@dataclass(frozen=True, slots=True)
class _Copied(Tape):
    """A cassette, and others in mode ``keep`` that get a copy of every reply, whoever gave it."""

    tape: Cassette
    copies: tuple[Cassette, ...]

    @property
    def asks(self) -> bool:
        return self.tape.asks

    def recorded_as(self, model: str | None) -> str | None:
        return self.tape.recorded_as(model)

    @property
    def has_tools(self) -> bool:
        return self.tape.has_tools

    def find(self, request: Request) -> Reply | None:
        try:
            reply = self.tape.find(request)
        except LLMError as error:
            self._copy(request, error)
            raise
        if reply is not None:
            self._copy(request, reply)
        return reply

    def keep(self, request: Request, outcome: Reply | LLMError) -> None:
        self.tape.keep(request, outcome)
        self._copy(request, outcome)

    def _copy(self, request: Request, outcome: Reply | LLMError) -> None:
        for copy in self.copies:
            copy.keep(request, outcome)


def cassette_in_force(own: Cassette | None = None) -> Tape | None:
    """Return what a call has to go through, in this thread or task; None if there is nothing.

    That is *own*, the cassette of a client, or that of the innermost ``with`` block. Those in mode ``keep`` stand in
    nobody's way: they get a copy of what another one answers or keeps.
    """
    around: tuple[Cassette, ...] = Cassette.blocks.around()
    if not around:
        return own
    keeping = [cassette for cassette in dict.fromkeys(around) if cassette.mode == "keep" and cassette is not own]
    answering = own or next((cassette for cassette in reversed(around) if cassette.mode != "keep"), None)
    tape = answering or keeping.pop()
    # In the same file, a copy would only be the same line again.
    copies = tuple(cassette for cassette in keeping if cassette.path.resolve() != tape.path.resolve())
    return _Copied(tape, copies) if copies else tape
