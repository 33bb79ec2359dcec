"""What was asked in steps that are over, in the form in which Trace's optimizers keep it: made from their records."""

import re
from collections.abc import Collection
from typing import Self

from opto.optimizers.prompts.describing import describe_feedback
from opto.runs import StepRecord

__all__ = ["ShownProblem", "logged"]


class ShownProblem(str):
    """What a model was shown as the user in a step that is over.

    Attributes:
        feedback: What was said about the outputs.
    """

    __slots__ = ("feedback",)
    feedback: str

    def __new__(cls, record: StepRecord, *, without: Collection[str] = ()) -> Self:
        text = logged(record)["user_prompt"]
        for name in without:
            title = {"objective": "Instruction"}.get(name, name.capitalize())
            text = re.sub(rf"(?ms)^# {title}\n.*?(?=^# |\Z)", "", text)
        shown = super().__new__(cls, text)
        shown.feedback = "\n".join(map(describe_feedback, record.feedback))
        return shown


def logged(record: StepRecord) -> dict[str, str]:
    """Return prompt and answer of a step. What was asked again in it is in ``record.messages``."""
    first = {message["role"]: message["content"] for message in reversed(record.messages)}
    return {
        "system_prompt": first.get("system", ""),
        "user_prompt": first.get("user", ""),
        "response": record.reply,
    }
