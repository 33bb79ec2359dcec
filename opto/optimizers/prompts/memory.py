"""What was tried before, as a model is shown it again."""

import math
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from opto.llm import estimate_tokens
from opto.nodes import Feedback
from opto.optimizers.prompts.describing import render_feedback, render_values, show_value, summary
from opto.optimizers.proposal import Evidence
from opto.runs import Rejection, StepRecord

__all__ = [
    "Judged",
    "describe_rejected",
    "judged_before",
    "most_relevant",
    "render_rejected",
    "render_tried",
    "tried_in",
]

#: Of older steps than so many, only the best is remembered.
_MOST_LOOKED_AT = 200
#: What was said about more outputs than this is summed up when it is shown again.
_MOST_FEEDBACK = 5
#: Characters of the parts of what must be shown again, where there is no room for more.
_SHORTER = (4_000, 1_000, 250, 80)


class Judged(NamedTuple):
    """Values of all variables, and what was said about the outputs that they led to.

    Attributes:
        values: By name, as JSON.
        feedback: One per output.
        score: Mean score; None if there was none.
        step: Step in which they were judged; 0 for that which is under way.
    """

    values: Mapping[str, Any]
    feedback: Sequence[Feedback]
    score: float | None
    step: int = 0

    @property
    def rank(self) -> float:
        return -math.inf if self.score is None or math.isnan(self.score) else self.score

    def __str__(self) -> str:
        return self.render()

    def render(self, most: int = sys.maxsize) -> str:
        """Return values and feedback as text, in which what has more than *most* characters is cut in the middle."""
        shown = "\n".join(_render_value(name, value, most) for name, value in self.values.items())
        if len(self.feedback) > _MOST_FEEDBACK:
            return f"{shown}\n-> {summary(self.feedback)}"
        several = f"mean score {self.score:g}\n" if self.score is not None and len(self.feedback) > 1 else ""
        return f"{shown}\n-> {several}" + "\n".join(render_feedback(said, most) for said in self.feedback)


def judged_before(
    records: Sequence[StepRecord], evidence: Evidence, recorded: Callable[[Mapping[str, Any]], dict[str, Any]]
) -> list[Judged]:
    """Return what was judged besides the values that a step starts from, each values and feedback once.

    If the step goes back to the best values, what did worse than they is the last of these.
    """
    # What is long past is rarely of use, but for the best.
    best = max((item for item in records if item.score is not None), key=lambda item: item.score or 0.0, default=None)
    looked_at = [item for item in records[:-_MOST_LOOKED_AT] if item is best] + [*records[-_MOST_LOOKED_AT:]]
    found = [Judged(item.before, item.feedback, item.score, item.step) for item in looked_at if item.feedback]
    if evidence.best is not None:
        found.append(Judged(recorded(evidence.values), evidence.feedback, evidence.score))
    now = recorded((evidence.best or evidence).values)
    # Steps that changed nothing have nothing new to tell.
    return list({repr(item[:2]): item for item in found if item.values != now}.values())


def most_relevant(
    judged: Sequence[Judged], size: int, *, now: Mapping[str, Any], asked: Collection[str]
) -> list[Judged]:
    """Return at most *size* of *judged*, in order of time: always the best and the latest, then what tells most.

    Values that differ from those in force in the variables that are asked about, and in few others, tell what a change
    of these does; what differs in everything tells least. Among equals, what came later.

    Args:
        judged: In order of time.
        size: How many to return.
        now: The values in force, by name, as they are recorded.
        asked: The variables that are to be changed.

    Example:
        >>> tried = [Judged({"x": 1, "y": 5}, [], -4.0, 1), Judged({"x": 2, "y": 9}, [], -3.0, 2)]
        >>> tried += [Judged({"x": 7, "y": 8}, [], -9.0, 3), Judged({"x": 3, "y": 9}, [], -8.0, 4)]
        >>> [item.step for item in most_relevant(tried, 3, now={"x": 4, "y": 5}, asked=["x"])]
        [1, 2, 4]
    """
    best = _best(judged)

    def irrelevance(position: int) -> tuple[bool, bool, bool, int, int]:
        item = judged[position]
        differing = {name for name, value in item.values.items() if now.get(name) != value}
        others = len(differing.difference(asked))
        latest = position == len(judged) - 1
        return item is not best, not latest, not differing.intersection(asked), others, -position

    return [judged[position] for position in sorted(sorted(range(len(judged)), key=irrelevance)[:size])]


def tried_in(records: Sequence[StepRecord], values: Mapping[str, Any]) -> StepRecord | None:
    """Return the last of *records* in which just these *values*, as they are recorded, were judged."""
    return next((item for item in reversed(records) if item.feedback and item.before == values), None)


def render_tried(judged: Sequence[Judged], max_tokens: int) -> str:
    """Return *judged*, in order of time, as text: all that there is room for, the best and the latest first of all.

    Of the first of these, long values are cut if there is no room for them.
    """
    best = _best(judged)
    kept: dict[int, str] = {}
    for position, item in sorted(enumerate(judged), key=lambda pair: (pair[1] is not best, -pair[0])):
        for most in (sys.maxsize,) if kept else (sys.maxsize, *_SHORTER):
            block = item.render(most)
            if (tokens := estimate_tokens(block)) <= max_tokens:
                max_tokens -= tokens
                kept[position] = block
                break
    if not kept:
        return ""
    left_out = [f"({len(judged) - len(kept)} more were tried.)"] if len(kept) < len(judged) else []
    blocks = [kept[position] for position in sorted(kept)]
    return "\n\n".join(left_out + blocks)


def render_rejected(records: Sequence[StepRecord], variables: Collection[str]) -> str:
    """Return what was not accepted of the last answer that there was: a step that failed has nothing to add.

    What is known to be about other variables than *variables* is left out.
    """
    last = next((record for record in reversed(records) if record.reply), None)
    found = [] if last is None else last.rejected
    rejected = [item for item in found if item.name in variables or (last and item.name not in last.before)]
    return describe_rejected(rejected)


def describe_rejected(rejected: Sequence[Rejection]) -> str:
    """Return values that were not accepted, each with its reason."""
    return "\n".join(f"{_render_value(item.name, item.suggested)}\n-> {item.reason}" for item in rejected)


def _best(judged: Sequence[Judged]) -> Judged | None:
    # The first with the highest score, as `Optimizer.best`.
    return max((item for item in judged if item.rank > -math.inf), key=lambda item: item.rank, default=None)


def _render_value(name: str, value: Any, most: int = sys.maxsize) -> str:
    return render_values({name: show_value(value, most)})
