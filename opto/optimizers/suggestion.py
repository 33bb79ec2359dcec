"""Suggestions: how a model is asked to write them, and how they are read.

A format has two sides that belong together: ``read(write(suggestion))`` gives the suggestion back, whatever the
values hold. Reading is pure; what cannot be read is a `SuggestionError`, never a guess.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from opto.errors import SuggestionError

__all__ = ["FORMATS", "AnswerFormat", "FormatName", "JsonFormat", "Suggestion", "TagFormat", "read_answer"]

FormatName = Literal["tags", "json"]


@dataclass(frozen=True)
class Suggestion:
    """Values that a model or a search proposes, unchecked.

    Attributes:
        values: By name of the variable. Text, if the format knows nothing else.
        reasoning: Why.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    reasoning: str = ""


class AnswerFormat(Protocol):
    """A way to write suggestions as text."""

    #: How to answer, in words for the model, followed by an example.
    instructions: str

    def write(self, suggestion: Suggestion) -> str:
        """Return *suggestion* as text."""

    def read(self, text: str) -> Suggestion:
        """Return the suggestion in *text*.

        Raises:
            SuggestionError: There is none, or it is not complete.
        """


def read_answer(text: str, expected: AnswerFormat) -> Suggestion:
    """Return the suggestion in the answer of a model, in whichever format it is written.

    Thinking aloud (``<think>…</think>``) is no part of the answer, and one Markdown fence around it does no harm.

    Raises:
        SuggestionError: It cannot be read. The reason speaks of the *expected* format if it is in none.

    Example:
        >>> read_answer('{"reasoning": "", "suggestion": {"x": 2}}', TagFormat())
        Suggestion(values={'x': 2}, reasoning='')
    """
    answer = _without_wrapping(text)
    if answer in {"", "TERMINATE"}:
        # Trace's sign for "nothing to change", if it is all that was said.
        if answer:
            return Suggestion(reasoning="The model answered that there is nothing to change.")
        raise SuggestionError("The answer is empty.", mend="Answer in the format that was asked for.")
    # Whichever begins first: braces in a value are no JSON answer, and tags in a JSON string are no tags.
    tag, brace = _TAG.search(answer), answer.find("{")
    if tag is not None and (brace < 0 or tag.start() < brace):
        return FORMATS["tags"].read(answer)
    return (FORMATS["json"] if brace >= 0 else expected).read(answer)


def _without_wrapping(text: str) -> str:
    text = text.strip()
    if text.startswith("<think>"):
        _, closed, answer = text.partition("</think>")
        if not closed:
            raise SuggestionError(
                "The answer ends while the model is still thinking.", mend="Think less, and give the whole answer."
            )
        text = answer.strip()
    fenced = re.fullmatch(r"```[\w-]*\n(.*)\n```", text, re.DOTALL)
    return fenced[1].strip() if fenced else text


class TagFormat:
    """Tags as in XML, without escapes: code and prose stand in them as they are.

    Example:
        >>> print(TagFormat().write(Suggestion({"x": "2"}, "Larger is better.")))
        <reasoning>
        Larger is better.
        </reasoning>
        <variable>
        <name>x</name>
        <value>
        2
        </value>
        </variable>
    """

    instructions = """\
Answer in this form, and say nothing after it:
<reasoning>
Why the outputs got this feedback, and which change would help.
</reasoning>
<variable>
<name>name of a variable to change</name>
<value>
its complete new value, as it is: no quotes around text, no escapes
</value>
</variable>
Give one <variable> block for each variable that you change. Give none if nothing should change."""

    def write(self, suggestion: Suggestion) -> str:
        blocks = [f"<reasoning>\n{suggestion.reasoning}\n</reasoning>"]
        for name, value in suggestion.values.items():
            text = value if isinstance(value, str) else json.dumps(value)
            if _ENDS_VALUE.search(text) or text.startswith("<![CDATA["):
                # A value that holds the closing tag says so, as in XML; a "]]>" in it is cut in two.
                text = f"<![CDATA[{text.replace(']]>', ']]]]><![CDATA[>')}]]>"
            blocks.append(f"<variable>\n<name>{name}</name>\n<value>\n{text}\n</value>\n</variable>")
        return "\n".join(blocks)

    def read(self, text: str) -> Suggestion:
        reasoning, rest = _read_reasoning(text)
        values: dict[str, Any] = {}
        position = 0
        while (opening := _OPENS_VARIABLE.search(rest, position)) is not None:
            name, value, position = _read_variable(rest, opening.end())
            if name in values:
                raise SuggestionError(
                    f"The answer gives two values for {name!r}.", mend="Give one <variable> block per variable."
                )
            values[name] = value
        tail = rest[position:].strip().lower()
        if tail and "<variable>".startswith(tail):
            raise SuggestionError("The answer ends within a tag.", mend="Give the whole answer.")
        if not values and reasoning is None:
            raise SuggestionError(
                "The answer has no <variable> block and no <reasoning>.",
                mend="Answer with <reasoning> and one <variable> block per change.",
            )
        return Suggestion(values, (reasoning or "").strip("\n"))


_TAG = re.compile(r"<(?:reasoning|variable)>", re.IGNORECASE)
_OPENS_VARIABLE = re.compile(r"<variable>", re.IGNORECASE)
_NAME = re.compile(r"\s*<name>(.*?)</name>\s*<value>", re.IGNORECASE | re.DOTALL)
_ENDS_VALUE = re.compile(r"</value>\s*</variable>", re.IGNORECASE)
_CDATA = re.compile(r"\n?\s*((?:<!\[CDATA\[.*?\]\]>)+)\s*</value>\s*</variable>", re.IGNORECASE | re.DOTALL)


def _read_reasoning(text: str) -> tuple[str | None, str]:
    """Return the reasoning, None if there is no block of it, and the text behind it."""
    opening = _TAG.search(text)
    if opening is None or opening[0].lower() != "<reasoning>":
        return None, text
    closing = re.compile("</reasoning>", re.IGNORECASE).search(text, opening.end())
    if closing is None:
        raise SuggestionError("The answer ends within its reasoning.", mend="Close </reasoning> and go on.")
    return text[opening.end() : closing.start()], text[closing.end() :]


def _read_variable(text: str, start: int) -> tuple[str, str, int]:
    """Return name and value of the block whose opening tag ends at *start*, and where the block ends."""
    head = _NAME.match(text, start)
    if head is None:
        raise SuggestionError(
            "A <variable> block has no <name> and <value>, or ends within them.",
            mend="Write <variable><name>…</name><value>…</value></variable>.",
        )
    name = head[1].strip()
    if cdata := _CDATA.match(text, head.end()):
        parts = re.findall(r"<!\[CDATA\[(.*?)\]\]>", cdata[1], re.DOTALL)
        return name, "".join(parts), cdata.end()
    closing = _ENDS_VALUE.search(text, head.end())
    if closing is None:
        raise SuggestionError(f"The answer ends within the value of {name!r}.", mend="Give the whole answer.")
    value = text[head.end() : closing.start()]
    if value.startswith(("\n", "\r\n")):
        # The line breaks next to the tags are layout; all others belong to the value.
        value = re.sub(r"\r?\n[ \t]*\Z", "", value.partition("\n")[2])
    return name, value, closing.end()


class JsonFormat:
    """One JSON object, as OptoPrime of the Trace paper asks for it (arXiv 2406.16218, appendix).

    Example:
        >>> print(JsonFormat().write(Suggestion({"x": 2}, "Larger is better.")))
        {"reasoning": "Larger is better.", "suggestion": {"x": 2}}
    """

    instructions = """\
Answer with one JSON object and nothing else:
{"reasoning": "why the outputs got this feedback, and which change would help",
 "suggestion": {"name of a variable to change": its complete new value}}
Text and code are JSON strings. Leave out variables that stay as they are; {} changes nothing."""

    def write(self, suggestion: Suggestion) -> str:
        return json.dumps({"reasoning": suggestion.reasoning, "suggestion": dict(suggestion.values)})

    def read(self, text: str) -> Suggestion:
        start = text.find("{")
        if start < 0:
            raise SuggestionError("The answer holds no JSON object.", mend="Answer with one JSON object.")
        try:
            # strict=False allows line breaks inside strings, which models like to write in code.
            content, _ = json.JSONDecoder(strict=False, object_pairs_hook=_unique).raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            raise SuggestionError(
                f"The answer is no complete JSON object: {error}.",
                mend="Close every bracket and quote, and escape quotes in strings.",
            ) from error
        suggestion = content.get("suggestion")
        if not isinstance(suggestion, dict):
            raise SuggestionError(
                "The JSON object has no object under 'suggestion'.",
                mend='Answer with {"reasoning": …, "suggestion": {…}}.',
            )
        reasoning = content.get("reasoning") or ""
        return Suggestion(suggestion, reasoning if isinstance(reasoning, str) else json.dumps(reasoning))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} occurs twice")
    return found


#: By the name that users give.
FORMATS: dict[FormatName, AnswerFormat] = {"tags": TagFormat(), "json": JsonFormat()}
