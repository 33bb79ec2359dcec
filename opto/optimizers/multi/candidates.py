"""Several candidates for one step: whom they are asked of, how they are asked for, and which of them are the same."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from opto.llm import LLM, Message
from opto.optimizers.acceptance import Checked
from opto.optimizers.checks import same
from opto.optimizers.proposal import Proposal
from opto.optimizers.suggestion import AnswerFormat, Suggestion
from opto.runs import CandidateRecord, as_json

__all__ = ["Drawn", "Option", "Source", "as_expert", "distinct", "fatal"]


@dataclass(frozen=True)
class Source:
    """What makes a candidate differ from the others.

    Attributes:
        llm: The model that is asked.
        temperature: At which it is asked; None leaves it to the provider.
        expert: As whom it is to answer.
    """

    llm: LLM
    temperature: float | None = None
    expert: str | None = None


@dataclass(eq=False)
class Drawn:
    """A candidate on its way: asked for, then checked.

    Attributes:
        number: From 1.
        source: Whom it is asked of.
        basis: Which candidates the model was shown, in words.
        shown: How many messages the model was shown at first.
        proposal: What came of it; None before.
        checked: What of it can be used.
        update: What it would change of the values in force.
        recorded: The same as records hold it.
        refused: True if the provider refused the temperature, and was asked without.
        finished: True if there is an answer, or an error in its place.
    """

    number: int
    source: Source
    basis: str = ""
    shown: int = 0
    proposal: Proposal | None = None
    checked: Checked = field(default_factory=lambda: Checked({}, [], {}))
    update: dict[str, Any] = field(default_factory=dict)
    recorded: dict[str, Any] = field(default_factory=dict)
    refused: bool = False
    finished: bool = False

    @property
    def usable(self) -> bool:
        """True if it says what to change, or that nothing should change, and not only what may not be."""
        answered = self.finished and self.proposal is not None and self.proposal.error is None
        return answered and bool(self.update or not self.checked.rejected)

    @property
    def failure(self) -> str:
        """Why it cannot be used, in words; "" if it can."""
        if self.usable:
            return ""
        if self.proposal is None:
            return "It was not asked for any more."
        if not self.finished:
            return "The step ended before it was there."
        if self.proposal.error is not None:
            return f"{type(self.proposal.error).__name__}: {self.proposal.error}"
        return "; ".join(f"{item.name}: {item.reason}" for item in self.checked.rejected)

    def answer(self, form: AnswerFormat) -> str:
        """Return what the model said; what it said in several answers, as one in *form*."""
        assert self.proposal is not None
        if len(self.proposal.messages) == self.shown:
            return self.proposal.reply
        said = self.proposal.suggestion
        return form.write(Suggestion({name: as_json(raw) for name, raw in said.values.items()}, said.reasoning))

    def record(self, option: "Option | None", chosen: bool, reason: str, shown: Sequence[Message]) -> CandidateRecord:
        """Return what is kept of it.

        Args:
            option: With what it counts as one, if it can be used.
            chosen: Whether it was.
            reason: Why, or why not.
            shown: The messages that the record of the step holds anyway.
        """
        proposal, temperature = self.proposal or Proposal(), self.source.temperature
        heat = "" if temperature is None else f"temperature {temperature:g}{' was refused' * self.refused}"
        expert = "" if self.source.expert is None else f"as {self.source.expert}"
        return CandidateRecord(
            number=self.number,
            source=", ".join(part for part in (heat, expert, self.basis) if part),
            model=proposal.model or self.source.llm.model,
            temperature=None if self.refused else temperature,
            update=self.recorded,
            rejected=self.checked.rejected,
            score=None if option is None else option.score,
            votes=0 if option is None else option.votes,
            chosen=chosen,
            reason=reason,
            reasoning=proposal.suggestion.reasoning,
            messages=[dict(message) for message in _differing(proposal.messages, shown)],
            reply=proposal.reply,
            usage=proposal.usage,
        )


@dataclass(eq=False)
class Option:
    """Candidates with the same values, which count as one.

    Attributes:
        members: One or more, the first of them in front.
        score: What validation said of them; None if it did not.
        note: Why they cannot win.
    """

    members: list[Drawn]
    score: float | None = None
    note: str = ""

    @property
    def update(self) -> dict[str, Any]:
        return self.members[0].update

    @property
    def number(self) -> int:
        return self.members[0].number

    @property
    def votes(self) -> int:
        return len(self.members)


def distinct(drawn: Sequence[Drawn]) -> list[Option]:
    """Return those of *drawn* that can be used, with equal ones together, in the order of the first of each."""
    options: list[Option] = []
    for item in drawn:
        if item.usable:
            known = next((option for option in options if _agree(option.update, item.update)), None)
            if known is None:
                options.append(Option([item]))
            else:
                known.members.append(item)
    return options


def _agree(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())


def fatal(drawn: Collection[Drawn]) -> Proposal | None:
    """Return the first proposal that failed for a reason that will not go away by itself."""
    proposals = [item.proposal for item in drawn if item.proposal is not None]
    return next((item for item in proposals if getattr(item.error, "transient", None) is False), None)


def as_expert(messages: Sequence[Message], expert: str | None) -> list[Message]:
    """Return *messages*, with the wish that somebody in particular may answer."""
    if expert is None:
        return list(messages)
    # At the end, so that a provider's cache of what is in front of it serves all experts.
    *before, last = messages
    return [*before, {**last, "content": f"{last['content']}\n\nAnswer as {expert}."}]


def _differing(messages: Sequence[Message], shown: Sequence[Message]) -> Sequence[Message]:
    """Return *messages* from the first on that differs from the one of *shown* in its place."""
    start = 0
    while start < min(len(messages), len(shown)) and messages[start] == shown[start]:
        start += 1
    return messages[start:]
