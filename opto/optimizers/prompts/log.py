"""What was asked in steps that are over, in the form in which Trace's optimizers keep it: made from their records."""

import re
from collections.abc import Collection
from typing import Self

from opto.optimizers.prompts.describing import describe_feedback
from opto.optimizers.prompts.problem import TEMPLATE
from opto.runs import StepRecord

__all__ = ["ShownProblem", "logged"]

_TITLED = re.compile(r"^(?P<title>#+ .+)\n\{(?P<slot>\w+)\}", re.MULTILINE)
#: In what stands between these, nothing is a title.
_MARKED = re.compile(r"(<!\[CDATA\[.*?\]\]>)", re.DOTALL)


class ShownProblem(str):
    """What a model was shown as the user in a step that is over.

    Attributes:
        feedback: What was said about the outputs.
    """

    __slots__ = ("feedback",)
    feedback: str

    def __new__(cls, record: StepRecord, *, without: Collection[str] = (), template: str = "") -> Self:
        text = logged(record)["user_prompt"]
        shown = super().__new__(cls, _without(text, without, template) if without else text)
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


def _without(text: str, sections: Collection[str], template: str) -> str:
    """Return *text* without some *sections*, which it has under the titles of the *template* that it was made by."""
    titles = {match["title"]: match["slot"] for match in _TITLED.finditer(f"{template}\n\n{TEMPLATE.text}")}
    text, _, request = text.rpartition("\n\n") if template.endswith("{request}") else (text, "", "")
    kept, is_hidden = [], False
    for part in _MARKED.split(text):
        for line in [part] if _MARKED.fullmatch(part) else part.splitlines(keepends=True):
            if line.rstrip("\n") in titles:
                is_hidden = titles[line.rstrip("\n")] in sections
            kept += [] if is_hidden else [line]
    return "\n\n".join(filter(None, ["".join(kept).rstrip("\n"), request]))
