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

__all__ = [
    "FORMATS",
    "AnswerFormat",
    "FormatName",
    "JsonFormat",
    "Suggestion",
    "TagFormat",
    "as_cdata",
    "read_answer",
]

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


def read_answer(text: str) -> Suggestion:
    """Return the suggestion in the answer of a model, in whichever format it is written.

    Thinking aloud (``<think>…</think>``) is no part of the answer, and one Markdown fence around it does no harm.

    Raises:
        SuggestionError: It cannot be read.

    Example:
        >>> read_answer('{"reasoning": "", "suggestion": {"x": 2}}')
        Suggestion(values={'x': 2}, reasoning='')
    """
    answer = _without_wrapping(text.replace("\r\n", "\n"))
    if answer in {"", "TERMINATE"}:
        # Trace's sign for "nothing to change", if it is all that was said.
        if answer:
            return Suggestion(reasoning="The model answered that there is nothing to change.")
        raise SuggestionError("The answer is empty.", mend="Answer in the format that was asked for.")
    # Whichever begins first: braces in a value are no JSON answer, and tags in a JSON string are no tags.
    tag, brace = _TAG.search(answer), _OPENS_OBJECT.search(answer)
    if tag is not None and (brace is None or tag.start() < brace.start()):
        return FORMATS["tags"].read(answer)
    return FORMATS["json" if brace else "tags"].read(answer)


def _without_wrapping(text: str) -> str:
    text = text.strip()
    for end in reversed(list(_ENDS_THINKING.finditer(text))):
        before = text[: end.start()].lower()
        if before.count("<value") == before.count("</value"):  # not within a value
            text = text[end.end() :].strip()
            break
    if _OPENS_THINKING.match(text):
        raise SuggestionError(
            "The answer ends while the model is still thinking.", mend="Think less, and give the whole answer."
        )
    fenced = re.fullmatch(r"```[\w-]*\n(.*)\n```", text, re.DOTALL)
    return fenced[1].strip() if fenced else text


_OPENS_THINKING = re.compile(r"<think(?:ing)?\s*>", re.IGNORECASE)
_ENDS_THINKING = re.compile(r"</think(?:ing)?\s*>", re.IGNORECASE)
#: How a JSON object begins, so that braces in prose are not taken for one.
_OPENS_OBJECT = re.compile(r"\{\s*[\"}]")


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
            if _STRUCTURE.search(text):
                text = as_cdata(text)
            blocks.append(f"<variable>\n<name>{name}</name>\n<value>\n{text}\n</value>\n</variable>")
        return "\n".join(blocks)

    def read(self, text: str) -> Suggestion:
        reasoning, rest = _read_reasoning(text)
        values: dict[str, Any] = {}
        position = 0
        while (opening := _OPENS_VARIABLE.search(rest, position)) is not None:
            name, value, position = _read_variable(rest, opening)
            if name in values:
                raise SuggestionError(
                    f"The answer gives two values for {name!r}.", mend="Give one <variable> block per variable."
                )
            values[name] = value
        tail = rest[position:].strip().lower()
        if tail and "<variable>".startswith(tail):
            raise SuggestionError("The answer ends within a tag.", mend="Give the whole answer.")
        if not values and re.search(r'<variable\b[^<>]*>|<value\b|"suggestion"\s*:', rest, re.IGNORECASE):
            raise SuggestionError(
                "The answer has a change that is in no <variable> block.",
                mend="Write <variable><name>…</name><value>…</value></variable>.",
            )
        if not values and reasoning is None:
            raise SuggestionError(
                "The answer has no <variable> block and no <reasoning>.",
                mend="Answer with <reasoning> and one <variable> block per change.",
            )
        return Suggestion(values, (reasoning or "").strip("\n"))


def as_cdata(text: str) -> str:
    """Return *text* marked, as in XML, as holding no tags; a ``]]>`` in it is cut in two."""
    return f"<![CDATA[{text.replace(']]>', ']]]]><![CDATA[>')}]]>"


_FLAGS = re.IGNORECASE | re.DOTALL
_TAG = re.compile(r"<(reasoning)\s*>|<variable\b[^<>]*>\s*<", _FLAGS)
_OPENS_VARIABLE = re.compile(r"<variable\b(?P<attributes>[^<>]*)>(?=\s*<|\s*\Z)", _FLAGS)
# What the problem says of a variable, and a model may repeat.
_ECHO = (
    r"\s*(?:<(?:constraint|description)\s*>"
    r"(?:(?!<value|<variable|</?constraint|</?description).)*"
    r"</(?:constraint|description)\s*>\s*)*"
)
_NAMED = re.compile(r"""\bname\s*=\s*["'](?P<name>[^"']*)["']""", _FLAGS)
_NAME = re.compile(rf"{_ECHO}<name\s*>(?P<name>[^<>]*)</name\s*>", _FLAGS)
_OPENS_VALUE = re.compile(rf"{_ECHO}<value\b[^<>]*>", _FLAGS)
_ENDS_VALUE = re.compile(rf"</value\s*>{_ECHO}</variable\s*>", _FLAGS)
_CDATA = re.compile(r"\s*<!\[CDATA\[(.*?)\]\]>", _FLAGS)
#: Where a block ends or another begins: in a value only inside of CDATA.
_STRUCTURE = re.compile(r"</value\s*>\s*<|<variable\b[^<>]*>\s*<|<!\[CDATA\[", _FLAGS)


def _read_reasoning(text: str) -> tuple[str | None, str]:
    """Return the reasoning, None if there is no block of it, and the text behind it."""
    opening = _TAG.search(text)
    if opening is None or not opening[1]:
        return None, text
    closing = re.compile(r"</reasoning\s*>", re.IGNORECASE).search(text, opening.end())
    if closing is None:
        raise SuggestionError("The answer ends within its reasoning.", mend="Close </reasoning> and go on.")
    return text[opening.end() : closing.start()], text[closing.end() :]


def _read_variable(text: str, opening: re.Match[str]) -> tuple[str, str, int]:
    """Return name and value of the block that *opening* starts, and where the block ends."""
    named = _NAMED.search(opening["attributes"]) or _NAME.match(text, opening.end())
    start = opening.end() if named is None or named.re is _NAMED else named.end()
    value = _OPENS_VALUE.match(text, start)
    if named is None or value is None:
        raise SuggestionError(
            "A <variable> block has no <name> and <value>, or ends within them.",
            mend="Write <variable><name>…</name><value>…</value></variable>.",
        )
    name, start, parts = named["name"].strip(" \t\r\n`'\""), value.end(), []
    while cdata := _CDATA.match(text, start):
        parts.append(cdata[1])
        start = cdata.end()
    closing = _ENDS_VALUE.search(text, start)
    if closing is None:
        raise SuggestionError(f"The answer ends within the value of {name!r}.", mend="Give the whole answer.")
    raw = text[start : closing.start()]
    if _STRUCTURE.search(raw) or (parts and raw.strip()):
        raise SuggestionError(
            f"The block of {name!r} is not closed, or its value holds tags of the answer.",
            mend="End each block with </value></variable>; write a value with such tags as <![CDATA[…]]>.",
        )
    if parts:
        return name, "".join(parts), closing.end()
    if raw.startswith(("\n", "\r\n")):
        # The line breaks next to the tags are layout; all others belong to the value.
        raw = re.sub(r"\r?\n[ \t]*\Z", "", raw.partition("\n")[2])
    return name, raw, closing.end()


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
        found = _OPENS_OBJECT.search(text)
        # strict=False allows line breaks inside strings, which models like to write in code.
        decoder = json.JSONDecoder(strict=False, object_pairs_hook=_unique, parse_constant=_no_number)
        contents: list[dict[str, Any]] = []
        while found is not None:
            try:
                content, end = decoder.raw_decode(text, found.start())
            except (ValueError, RecursionError) as error:
                raise SuggestionError(
                    f"The answer is no complete JSON object: {error}.",
                    mend="Close every bracket and quote, and escape quotes in strings.",
                ) from error
            contents.append(content)
            found = _OPENS_OBJECT.search(text, end)
        if not contents:
            raise SuggestionError("The answer holds no JSON object.", mend="Answer with one JSON object.")
        # Objects in prose before or behind the answer are no answer; two answers are none either.
        answers = [content for content in contents if "suggestion" in content]
        if len(answers) > 1:
            raise SuggestionError("The answer holds two suggestions.", mend="Answer with one JSON object.")
        content = answers[0] if answers else contents[0]
        suggestion = content.get("suggestion")
        if not isinstance(suggestion, dict):
            raise SuggestionError(
                "The JSON object has no object under 'suggestion'.",
                mend='Answer with {"reasoning": …, "suggestion": {…}}.',
            )
        reasoning = content.get("reasoning") or ""
        return Suggestion(suggestion, reasoning if isinstance(reasoning, str) else json.dumps(reasoning))


def _no_number(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} occurs twice")
    return found


#: By the name that users give.
FORMATS: dict[FormatName, AnswerFormat] = {"tags": TagFormat(), "json": JsonFormat()}
