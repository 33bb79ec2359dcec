"""What happened in one step of an optimizer."""

import json
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from opto.llm import Usage

__all__ = ["Outcome", "Rejection", "StepRecord", "as_json"]

Outcome = Literal["updated", "unchanged", "rejected", "failed"]


def as_json(value: Any) -> Any:
    """Return *value* as JSON can hold it; what JSON does not know becomes its ``repr``.

    Example:
        >>> as_json({"a": (1, 2)}), as_json(3 + 4j)
        ({'a': [1, 2]}, '(3+4j)')
    """
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        return repr(value)


class Rejection(BaseModel):
    """A suggested value that was not accepted.

    Attributes:
        name: The variable, as the suggestion called it.
        suggested: The value, as suggested.
        reason: Why not, and what to do instead.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    suggested: Any = None
    reason: str


class StepRecord(BaseModel):
    """What happened in one step: one line of a run's file.

    Attributes:
        step: Number of the step, from 1.
        outcome: ``updated``; ``unchanged`` (nothing to change, see *reason*); ``rejected`` (no suggestion was
            acceptable); ``failed`` (no suggestion could be had).
        reason: Why the outcome is not ``updated``; "" if it is.
        optimizer: Class of the optimizer.
        model: Name of the language model, or None if none was asked.
        score: Mean score of the outputs that were judged, which the values in *before* led to; higher is
            better; None if there was none.
        feedback: What was said, one text per output.
        before: All parameters by name when the step began, as JSON.
        after: All parameters by name when the step ended, as JSON.
        rejected: Suggested values that were not accepted, each with its reason.
        reasoning: What the model gave as its reasons.
        messages: What the model was shown, in full; [] if none was asked.
        reply: What it answered last, in full.
        usage: Tokens of all calls of this step; None if no model was asked.
        seconds: Duration of the step, including the calls.
        at: When the step ended, in UTC.
    """

    model_config = ConfigDict(frozen=True)

    step: int
    outcome: Outcome
    reason: str = ""
    optimizer: str
    model: str | None = None
    score: float | None = None
    feedback: list[str] = Field(default_factory=list)
    before: dict[str, Any]
    after: dict[str, Any]
    rejected: list[Rejection] = Field(default_factory=list)
    reasoning: str = ""
    messages: list[dict[str, Any]] = Field(default_factory=list)
    reply: str = ""
    usage: Usage | None = None
    seconds: float
    at: datetime

    @property
    def changed(self) -> dict[str, Any]:
        """The parameters that have another value than before, with the new one."""
        return {name: value for name, value in self.after.items() if value != self.before.get(name)}

    def __str__(self) -> str:
        score = "" if self.score is None else f" (score {self.score:g})"
        if self.outcome == "updated":
            return f"step {self.step}{score}: updated {', '.join(self.changed)}"
        return f"step {self.step}{score}: {self.outcome}: {self.reason}"
