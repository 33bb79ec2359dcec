"""Parts of a problem as text: variables, values, feedback."""

import difflib
import math
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from opto.errors import OptimizerError
from opto.nodes import Feedback, ParameterNode, attempt, write_constant
from opto.optimizers.suggestion import as_cdata

__all__ = [
    "TIMES",
    "Variable",
    "as_it_is",
    "by_name",
    "cut_middle",
    "describe_feedback",
    "describe_variables",
    "render_feedback",
    "render_value",
    "render_values",
    "render_variable",
    "show_value",
    "summary",
    "variable_of",
    "written",
]

TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Variable:
    """A parameter as the optimizer shows it.

    Attributes:
        name: Its name in the problem.
        value: Its value as text, in the form in which a suggestion may give it back.
        constraint: What it must be, in words; "" for anything.
        description: What it means, in words; "" if the user did not say.
    """

    name: str
    value: str
    constraint: str
    description: str = ""


def variable_of(name: str, parameter: ParameterNode[Any], context: str = "") -> Variable:
    """Return *parameter* under *name*, with *context* as a further description."""
    value, domain = parameter._data, parameter.domain  # noqa: SLF001 - no read of the program
    description = "\n".join(filter(None, [parameter.description, context]))
    return Variable(name, domain.write(value), domain.describe(), description)


def describe_variables(
    variables: Mapping[str, ParameterNode[Any]], context: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Return the values of *variables*, by name, what they must be, and what there is to say about them."""
    described = (variable_of(name, parameter, context.get(name, "")) for name, parameter in variables.items())
    return "\n".join(map(render_variable, described))


def by_name(
    context: Mapping[ParameterNode[Any] | str, str], variables: Mapping[str, ParameterNode[Any]]
) -> dict[str, str]:
    """Return what is said about *variables*, given by parameter or by name, by name.

    Raises:
        OptimizerError: Something else than a variable is spoken of, or with something else than text.
    """
    if not isinstance(context, Mapping):
        raise OptimizerError(
            f"context is {context!r:.80}.", mend="Give a text for each parameter, or use problem_context for all."
        )
    names = {parameter: name for name, parameter in variables.items()}
    found = {}
    for item, text in context.items():
        name = names.get(item) if isinstance(item, ParameterNode) else item if item in variables else None
        if name is None:
            near = difflib.get_close_matches(str(item), variables, n=1)
            others = f"Did you mean {near[0]}?" if near else f"The variables are {', '.join(variables)}."
            raise OptimizerError(f"context speaks of {item!r:.80}, which is no variable.", mend=others)
        if not isinstance(text, str):
            raise OptimizerError(f"The context of {name} is {text!r:.80}.", mend="Give a text.")
        found[name] = text
    return found


_LOOKS_LIKE_A_PART = re.compile(r"</?(?:value|variable|name)\b|<!\[CDATA\[|^# ", re.IGNORECASE | re.MULTILINE)


def as_it_is(text: str, *others: str) -> str:
    """Return *text*, marked if it could be mistaken for another part of the prompt, or has one of *others* in it."""
    return as_cdata(text) if _LOOKS_LIKE_A_PART.search(text) or any(item in text for item in others) else text


def render_value(tag: str, text: str, *, of: str = "") -> str:
    """Return *text* in a block that cannot be mistaken for another part of the prompt."""
    text = as_it_is(text, f"</{tag}")
    about = f' of="{of}"' if of else ""
    return f"<{tag}{about}>\n{text}\n</{tag}>" if "\n" in text else f"<{tag}{about}>{text}</{tag}>"


def render_variable(variable: Variable) -> str:
    """Return a line that says what *variable* must be and what it means, and its value as an answer would give it."""
    said = {"constraint": variable.constraint, "description": variable.description}
    long = {tag for tag, text in said.items() if "\n" in text or _LOOKS_LIKE_A_PART.search(text)}
    about = ". ".join(text.rstrip(".") for tag, text in said.items() if text and tag not in long)
    return "\n".join(
        [
            f"{variable.name}: {about}." if about else f"{variable.name}:",
            *(render_value(tag, said[tag]) for tag in said if tag in long),
            render_value("value", variable.value),
        ]
    )


def render_values(values: Mapping[str, str]) -> str:
    """Return texts of values by name: on a line beside the name, or in a block if they take several."""
    return "\n".join(
        render_value("value", text, of=name) if "\n" in text else f"{name} = {text}" for name, text in values.items()
    )


def written(value: Any) -> str:
    """Return *value* as in the source of a program, or its type if its own code does not say what it is."""
    return attempt(write_constant, value, fallback=f"<{type(value).__name__}>")


def show_value(value: Any, most: int) -> str:
    """Return *value* as text of about *most* characters: texts of several lines as they are, all else as `written`."""
    return cut_middle(value if isinstance(value, str) and "\n" in value else written(value), most)


def cut_middle(text: str, most: int) -> str:
    """Return *text*, or its two ends, with *most* characters together, and how much lies between them."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n… ({len(text) - 2 * half:,} of {len(text):,} characters left out) …\n{text[-half:]}"


def describe_feedback(said: Feedback) -> str:
    """Return figures and words of *said*, as a model or a person reads them."""
    figures: dict[str, float] = {} if said.score is None else {"score": said.score}
    figures |= said.scores
    parts = [", ".join(f"{key} {value:g}" for key, value in figures.items()), said.text]
    return "\n".join(part for part in parts if part) or "(nothing was said)"


def render_feedback(said: Feedback, most: int = sys.maxsize) -> str:
    """Return `describe_feedback` of *said*, cut to about *most* characters, and marked where that must be."""
    return as_it_is(cut_middle(describe_feedback(said), most))


def summary(feedback: Sequence[Feedback]) -> str:
    """Return what was said about many outputs, in a line."""
    scores = [said.score for said in feedback if said.score is not None and not math.isnan(said.score)]
    parts = []
    if scores:
        mean = math.fsum(scores) / len(scores)
        parts.append(f"scores from {min(scores):g} to {max(scores):g}, mean {mean:g}")
    texts = Counter(" ".join(said.text.split()) for said in feedback if said.text)
    parts += [f"{text[:200]!r} {TIMES}{number:,}" for text, number in texts.most_common(3)]
    return "; ".join(parts)
