"""What happened in one step of an optimizer."""

import json
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator

from opto.llm import Usage
from opto.nodes import Feedback

__all__ = ["CandidateRecord", "Outcome", "Rejection", "StepRecord", "as_json"]

Outcome = Literal["updated", "unchanged", "rejected", "failed"]


def as_json(value: Any) -> Any:
    """Return *value* as JSON can hold it; what JSON does not know becomes its ``repr``.

    Example:
        >>> as_json({"a": (1, 2)}), as_json(3 + 4j), as_json({1: 2})
        ({'a': [1, 2]}, '(3+4j)', '{1: 2}')
    """
    if hasattr(value, "tolist"):
        value = value.tolist()  # of numpy
    try:
        text = json.dumps(value, default=_refuse, allow_nan=False)
        # Names that are no text would become text, and could then meet.
        return json.loads(text) if _has_text_names(value) else _safe_repr(value)
    except (TypeError, ValueError, RecursionError):
        return _safe_repr(value)


def _refuse(value: Any) -> Any:
    raise TypeError(type(value).__name__)


def _has_text_names(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _has_text_names(item) for key, item in value.items())
    return all(map(_has_text_names, value)) if isinstance(value, list | tuple) else True


def _safe_repr(value: Any) -> str:
    """Return ``repr(value)``, or what there is to say of a value that has none."""
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__} without repr: {type(error).__name__}>"


def _read_feedback(value: Any) -> Feedback:
    return value if isinstance(value, Feedback) else Feedback(**value)


#: Feedback as a record holds it: pydantic knows dataclasses and models, and this is neither.
_Feedback = Annotated[Feedback, PlainValidator(_read_feedback), PlainSerializer(lambda said: dict(vars(said)))]


#: Infinite scores are scores, as failures have them: without this, pydantic writes null.
_JSON = ConfigDict(frozen=True, ser_json_inf_nan="constants")


class Rejection(BaseModel):
    """A suggested value that was not accepted.

    Attributes:
        name: The variable, as the suggestion called it.
        suggested: The value, as suggested.
        reason: Why not, and what to do instead.
    """

    model_config = _JSON

    name: str
    suggested: Any = None
    reason: str


class CandidateRecord(BaseModel):
    """One of several candidates of a step, and why it was chosen or not.

    Attributes:
        number: From 1, in the order in which they were asked for; 0 for the values in force, where they competed.
        source: What made it differ from the others, in words.
        model: Name of the language model that was asked.
        temperature: At which it was asked; None if that was left to the provider.
        update: What it would change: the accepted new values by name, as JSON.
        rejected: Suggested values that were not accepted, each with its reason.
        score: What validation said of it; higher is better; None if it was not asked.
        votes: How many candidates have the same values; 0 for one that could not be used.
        chosen: True for the one that the step goes on with.
        reason: Why it was chosen, or why not.
        reasoning: What the model gave as its reasons.
        messages: What the model was shown, from the first message on in which that differs from the record's.
        reply: What it answered last, in full.
        usage: Tokens of all calls for it; None if the provider did not say.
    """

    model_config = _JSON

    number: int
    source: str = ""
    model: str | None = None
    temperature: float | None = None
    update: dict[str, Any] = Field(default_factory=dict)
    rejected: list[Rejection] = Field(default_factory=list)
    score: float | None = None
    votes: int = 0
    chosen: bool = False
    reason: str = ""
    reasoning: str = ""
    messages: list[dict[str, Any]] = Field(default_factory=list)
    reply: str = ""
    usage: Usage | None = None


class StepRecord(BaseModel):
    """What happened in one step: one line of a run's file.

    Attributes:
        step: Number of the step, from 1.
        anew: True if an optimizer that knows nothing of the steps before begins here: its run's folder had some, and it
            adds its own.
        outcome: ``updated``; ``unchanged`` (nothing to change, see *reason*); ``rejected`` (no suggestion was
            acceptable); ``failed`` (no suggestion could be had).
        reason: Why the outcome is not ``updated``; "" if it is.
        optimizer: Class of the optimizer.
        model: Name of the language model, or None if none was asked.
        score: Mean score of the outputs that were judged, which the values in *before* led to; higher is better; -inf
            if others failed without a score; None if there was none.
        feedback: What was said, one per output.
        before: All parameters by name when the step began, as JSON from which their domains make the values again:
            ``optimizer.restore(record.before)`` puts them back. What no domain can read stands as its ``repr``.
        after: All parameters by name when the step ended, as JSON.
        update: The accepted new values by name, as JSON. With ``bypassing=True`` they are only here, not in *after*.
        rejected: Suggested values that were not accepted, each with its reason.
        back_to: Step whose values, the best so far, the update starts from, because those that were judged did worse.
        repeats: Step in which the new values, all of them together, were judged before: what comes of them is known.
        candidates: Where there were several: each with what became of it.
        unreached: Variables that no feedback of this step is about.
        reasoning: What the model gave as its reasons.
        left_out: What of the trace the model was not shown, because the prompt would have been too long.
        messages: What the model was shown, in full; [] if none was asked.
        reply: What it answered last, in full.
        usage: Tokens of all calls of this step; None if no model was asked.
        cost: US dollars for all calls of models that the step made, failed attempts and those of its validation
            included; None if no model was asked, or what it costs is not known.
        isolation: The levels at which code that an optimizer has changed has run in this process so far, such as
            ``landlock+seccomp``: see ``docs/security.md``.
        seconds: Duration of the step, including the calls.
        at: When the step ended, in UTC.
    """

    model_config = _JSON

    step: int
    anew: bool = False
    outcome: Outcome
    reason: str = ""
    optimizer: str
    model: str | None = None
    score: float | None = None
    feedback: list[_Feedback] = Field(default_factory=list)
    before: dict[str, Any]
    after: dict[str, Any]
    update: dict[str, Any] = Field(default_factory=dict)
    rejected: list[Rejection] = Field(default_factory=list)
    back_to: int | None = None
    repeats: int | None = None
    candidates: list[CandidateRecord] = Field(default_factory=list)
    unreached: list[str] = Field(default_factory=list)
    reasoning: str = ""
    left_out: list[str] = Field(default_factory=list)
    messages: list[dict[str, Any]] = Field(default_factory=list)
    reply: str = ""
    usage: Usage | None = None
    cost: float | None = None
    isolation: list[str] = Field(default_factory=list)
    seconds: float
    at: datetime

    def __str__(self) -> str:
        score = "" if self.score is None else f" (score {self.score:g})"
        if self.outcome == "updated":
            refused = "".join(f"; rejected {item.name}: {item.reason}" for item in self.rejected)
            back = "" if self.back_to is None else f", from the values of step {self.back_to}"
            again = "" if self.repeats is None else f", as in step {self.repeats}"
            return f"step {self.step}{score}: updated {', '.join(self.update)}{back}{again}{refused}"
        return f"step {self.step}{score}: {self.outcome}: {self.reason}"
