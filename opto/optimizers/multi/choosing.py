"""Which of several candidates to go on with: by what the user measures, by a vote, or by a function of the user's."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from opto.errors import LLMError, OptimizerError, StoppingError
from opto.llm import Usage
from opto.nodes import Feedback
from opto.optimizers.asking import total
from opto.optimizers.checks import score_of
from opto.optimizers.multi.candidates import Drawn, Option, fatal
from opto.optimizers.prompts import Judged
from opto.optimizers.proposal import Proposal
from opto.optimizers.suggestion import Suggestion
from opto.runs import CandidateRecord

__all__ = ["Round", "Score", "Selected", "by_selector", "by_validation", "by_vote", "measured"]


class Score(NamedTuple):
    """What validation said.

    Attributes:
        value: Higher is better; None if there is none.
        error: Why there is none.
    """

    value: float | None = None
    error: Exception | None = None

    @property
    def failure(self) -> str:
        return "" if self.error is None else f"{type(self.error).__name__}: {self.error}"


class Selected(NamedTuple):
    """What came of a choice.

    Attributes:
        option: What was chosen; None for nothing.
        why: Why, in words.
        error: Why there was no choice, if the step is to fail for it.
        in_force: The score of the values in force, if they were measured.
        usage: Tokens that the choice took.
    """

    option: Option | None
    why: str = ""
    error: LLMError | None = None
    in_force: Score | None = None
    usage: Usage | None = None


@dataclass
class Round:
    """The candidates of one step, and what has become of them so far.

    Attributes:
        drawn: All that were to be asked for.
        options: Those that can be used, equal ones together; None before all have been asked for.
        selected: What was chosen among them.
    """

    drawn: Sequence[Drawn]
    options: Sequence[Option] | None = None
    selected: Selected = field(default_factory=lambda: Selected(None, "The step ended before there was a choice."))

    @property
    def failed(self) -> Proposal | None:
        """What to go on with if there is nothing to choose from, or nothing that matters any more; None if there is."""
        asked = [item.proposal for item in self.drawn if item.proposal is not None and item.finished]
        if (found := fatal(self.drawn)) is not None or self.options != []:
            return found
        # Values that were rejected tell a model more than a call that did not come through.
        return next((item for item in asked if item.error is None), asked[0])

    def outdone(self) -> list[Judged]:
        """Return what validation spoke against, in words for the model that is asked next."""
        option, _, _, in_force, _ = self.selected
        known = None if in_force is None else in_force.value
        least, what = (known, "the values in force") if option is None else (option.score, "what was chosen instead")
        against = "" if least is None else f", and {what} scored {least:g}"
        said = [
            (item, item.note if item.score is None else f"In validation it scored {item.score:g}{against}.")
            for item in self.options or ()
            if item is not option and item.update and (item.note or item.score is not None)
        ]
        return [Judged(item.members[0].recorded, [Feedback(text)], None) for item, text in said]

    def proposal(self, asked: Proposal) -> Proposal:
        """Return what comes of it, for a step that began with *asked*."""
        usage = self.selected.usage
        for item in self.drawn:
            usage = total(usage, None if item.proposal is None else item.proposal.usage)
        found = self._found(asked)
        return replace(found, usage=usage, candidates=self._records(found))

    def _found(self, asked: Proposal) -> Proposal:
        option, why, error, *_ = self.selected
        if (failed := self.failed) is not None:
            return failed
        if error is not None:
            return replace(asked, model=self.drawn[0].source.llm.model, error=error)
        shown = [option] if option is not None else self.options or ()
        members = [member.proposal for item in shown for member in item.members if member.proposal is not None]
        if option is not None:
            return members[0]
        under_way = [item.proposal for item in self.drawn if item.proposal is not None and not item.finished]
        return replace([*under_way, *members, asked][0], suggestion=Suggestion(reasoning=why), error=None, reason=why)

    def _records(self, found: Proposal) -> list[CandidateRecord]:
        records = [item.record(*self._fate(item), found.messages) for item in self.drawn]
        if (score := self.selected.in_force) is not None:
            stay = self.selected.option is None and self.selected.error is None
            reason = score.failure or ("Nothing scored as high." if stay else "")
            source = "the values in force"
            records.insert(0, CandidateRecord(number=0, source=source, score=score.value, chosen=stay, reason=reason))
        return records

    def _fate(self, item: Drawn) -> tuple[Option | None, bool, str]:
        """Return with which others *item* counts as one, whether it was chosen, and why, or why not."""
        option = next((option for option in self.options or () if item in option.members), None)
        chosen, why = self.selected.option, self.selected.why
        if option is None:
            return None, False, item.failure or why
        if item is not option.members[0]:
            return option, False, f"It has the values of candidate {option.number}."
        if option is chosen:
            return option, True, why
        return option, False, option.note or (why if chosen is None else f"Candidate {chosen.number} was chosen.")


def measured(validate: Callable[[], Any]) -> Score:
    """Return what *validate* says of the values in force, or why it cannot: a program may well fail with them.

    Raises:
        LLMError: A call that the program made failed for a reason that will not go away by itself.
        StoppingError: The program may make no more calls.

    Example:
        >>> measured(lambda: (0.5, "half of them")).value
        0.5
        >>> measured(lambda: 1 / 0).failure
        'ZeroDivisionError: division by zero'
    """
    try:
        return Score(score_of(validate(), "validate"))
    except LLMError as error:
        if not error.transient:
            raise
        return Score(error=error)
    except StoppingError:
        raise
    except Exception as error:
        return Score(error=error)


def by_validation(
    options: Sequence[Option], measure: Callable[[Mapping[str, Any]], Score], *, allow_worse: bool = False
) -> Selected:
    """Choose the option with the highest score; the one with more votes, then the first, of several that have it.

    The values in force compete: what does worse than they is not chosen.

    Args:
        options: What to choose from; their scores and notes are set.
        measure: Returns the score with some values changed.
        allow_worse: True to choose the best even if it is worse than what there is, which is then not measured.

    Raises:
        Exception: What was raised with each of the options and with the values in force as well.
    """
    changing = [option for option in options if option.update]
    if not changing:
        return Selected(options[0], "All who can be used want to change nothing.")
    in_force = None if allow_worse and len(changing) == len(options) else measure({})
    if in_force is not None and isinstance(in_force.error, LLMError):
        return _unmeasurable(in_force)
    for option in options:
        score = measure(option.update) if option.update else in_force
        assert score is not None
        option.score = score.value
        option.note = f"It could not be scored: {score.failure}" if score.value is None else ""
    found = max(options, key=_rank)
    if found.score is None:
        in_force = measure({}) if in_force is None else in_force
        if isinstance(in_force.error, LLMError):
            return _unmeasurable(in_force)
        if in_force.error is not None:
            # Not for anything that was suggested: most likely the function itself is wrong.
            raise in_force.error
        return Selected(None, f"No candidate could be scored. Candidate {found.number}: {found.note}", None, in_force)
    least = None if allow_worse or in_force is None else in_force.value
    if least is not None and found.score < least:
        why = f"No candidate scored as high as the values in force, {least:g}: the best of them scored {found.score:g}."
        return Selected(None, why, None, in_force)
    against = ""
    if least is not None:
        tied = found.score == least
        against = ", the same as the values in force" if tied else f", against {least:g} of the values in force"
    return Selected(found, f"It scored highest, {found.score:g}{against}.", None, in_force)


def _unmeasurable(in_force: Score) -> Selected:
    error = in_force.error if isinstance(in_force.error, LLMError) else None
    return Selected(None, f"The values in force could not be scored: {in_force.failure}", error, in_force)


def _rank(option: Option) -> tuple[bool, float, int]:
    return option.score is not None, option.score or 0.0, option.votes


def by_vote(options: Sequence[Option]) -> Selected:
    """Choose what most candidates say; the first of several that are said equally often."""
    found = max(options, key=lambda option: option.votes)
    all_votes = sum(option.votes for option in options)
    if len(options) == 1:
        return Selected(found, "All that can be used have these values." if all_votes > 1 else "No other can be used.")
    tied = any(option.votes == found.votes for option in options if option is not found)
    return Selected(found, f"{found.votes} of {all_votes} have these values{', and it came first' * tied}.")


def by_selector(
    options: Sequence[Option], shown: Sequence[Mapping[Any, Any]], selector: Callable[..., Any]
) -> Selected:
    """Let a function of the user's choose one of *shown*, which stand for *options*.

    Raises:
        OptimizerError: It returned something else.
    """
    wanted = selector(list(shown))
    for option, item in zip(options, shown, strict=True):
        if item is wanted:
            return Selected(option, "The selector chose it.")
    raise OptimizerError(
        f"The selector returned {wanted!r:.80}, which is none of the {len(options)} candidates.",
        mend="Return one of the dicts in the list that it was given.",
    )
