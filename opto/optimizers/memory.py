"""What was tried before, as a model is shown it again."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from opto.llm import estimate_tokens
from opto.nodes import Feedback
from opto.optimizers.problem import describe_feedback, render_value, summary
from opto.runs import Rejection, StepRecord, as_json

__all__ = ["describe_tried", "judged_before", "render_rejected", "render_tried", "with_best"]

#: What was said about more outputs than this is summed up when it is shown again.
_MOST_FEEDBACK = 5


def judged_before(records: Sequence[StepRecord], now: Mapping[str, Any]) -> list[StepRecord]:
    """Return the steps that judged other values than those in force *now*, each values and feedback once."""
    values = {name: as_json(value) for name, value in now.items()}
    # Steps that changed nothing have nothing new to tell.
    told = {
        repr((record.before, record.feedback)): record
        for record in records
        if record.feedback and record.before != values
    }
    return list(told.values())


def with_best(judged: Sequence[StepRecord], size: int) -> list[StepRecord]:
    """Return the latest *size* of *judged*, and always the one with the highest score among them."""
    recent = list(judged[-size:]) if size else []
    best = _best(judged)
    if not size or best is None or best in recent:
        return recent
    return [best, *recent[len(recent) == size :]]


def render_tried(records: Sequence[StepRecord], max_tokens: int) -> str:
    """Return *records* as text: all that there is room for, the best and the latest first of all."""
    best = _best(records)
    kept: dict[int, str] = {}
    for record in sorted(records, key=lambda record: (record is not best, -record.step)):
        block = describe_tried(record.before, record.feedback, record.score)
        max_tokens -= estimate_tokens(block)
        if max_tokens < 0:
            break
        kept[record.step] = block
    if not kept:
        return ""
    left_out = [f"({len(records) - len(kept)} more were tried.)"] if len(kept) < len(records) else []
    blocks = [kept[step] for step in sorted(kept)]
    return "# Tried before, with the feedback it got\n" + "\n\n".join(left_out + blocks)


def render_rejected(records: Sequence[StepRecord]) -> str:
    """Return what was not accepted of the last answer that there was: a step that failed has nothing to add."""
    rejected: Sequence[Rejection] = next((record.rejected for record in reversed(records) if record.reply), [])
    lines = [f"{_render_value(item.name, item.suggested)}\n-> {item.reason}" for item in rejected]
    return "# Rejected in the step before\n" + "\n".join(lines) if lines else ""


def _best(records: Sequence[StepRecord]) -> StepRecord | None:
    scored = [record for record in records if record.score is not None and not math.isnan(record.score)]
    # The first with the highest score, as `Optimizer.best`.
    return max(scored, key=lambda record: record.score or 0.0, default=None)


def describe_tried(values: Mapping[str, Any], feedback: Sequence[Feedback], score: float | None) -> str:
    """Return *values* by name, and what was said about the outputs that they led to."""
    shown = "\n".join(_render_value(name, value) for name, value in values.items())
    if len(feedback) > _MOST_FEEDBACK:
        return f"{shown}\n-> {summary(feedback)}"
    several = f"mean score {score:g}\n" if score is not None and len(feedback) > 1 else ""
    return f"{shown}\n-> {several}" + "\n".join(map(describe_feedback, feedback))


def _render_value(name: str, value: Any) -> str:
    if isinstance(value, str) and "\n" in value:
        return render_value("value", value, of=name)
    return f"{name} = {value!r}"
