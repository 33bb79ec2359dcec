"""Blocks of tags: found and read without escapes, and marked as CDATA where a value itself holds such tags."""

import json
import re
from typing import Any, NamedTuple

from opto.errors import SuggestionError

__all__ = ["LOOKS_LIKE_STRUCTURE", "OPENS_VARIABLE", "Block", "as_cdata", "read_reasoning", "read_variable"]


class Block(NamedTuple):
    name: str
    value: Any
    end: int


def as_cdata(text: str) -> str:
    """Return *text* marked, as in XML, as holding no tags; a ``]]>`` in it is cut in two."""
    return f"<![CDATA[{text.replace(']]>', ']]]]><![CDATA[>')}]]>"


#: A block begins only where another tag follows: `<variable>` in prose does not.
OPENS_VARIABLE = r"<variable\b(?P<attributes>[^<>]*)>(?=\s*<|\s*\Z)"
_FLAGS = re.IGNORECASE | re.DOTALL
# What the problem says of a variable and a model may repeat, and what models like to add.
_ASIDE = "(?:constraint|description|type|comment|explanation|reason)"
_ASIDES = rf"(?:\s*<{_ASIDE}\s*>(?:(?!</?value|</?variable|</?{_ASIDE}).)*</{_ASIDE}\s*>)*\s*"
_NAMED = re.compile(r"""\bname\s*=\s*["'](?P<name>[^"']*)["']""", _FLAGS)
_NAME = re.compile(rf"{_ASIDES}<name\s*>(?P<name>[^<>]*)</name\s*>", _FLAGS)
_OPENS_VALUE = re.compile(rf"{_ASIDES}<value\b(?P<attributes>[^<>]*)>", _FLAGS)
_IS_JSON = re.compile(r"""\btype\s*=\s*["']json["']""", _FLAGS)
_ENDS_VALUE = re.compile(rf"</value\s*>{_ASIDES}</variable\s*>", _FLAGS)
_ENDS_REASONING = re.compile(r"</reasoning\s*>", re.IGNORECASE)
_CDATA = re.compile(r"\s*<!\[CDATA\[(.*?)\]\]>", _FLAGS)
_OPEN_CDATA = re.compile(r"<!\[CDATA\[(?!.*\]\]>)", _FLAGS)
#: Where a block ends or another begins: in a value only inside of CDATA.
_STRUCTURE = re.compile(r"</value\s*>\s*<|<variable\b[^<>]*>\s*<", _FLAGS)
#: What a value is marked for: a little more than what would be misread.
LOOKS_LIKE_STRUCTURE = re.compile(r"</?(?:value|variable|reasoning)\b|<!\[CDATA\[", _FLAGS)


def read_reasoning(text: str, start: int) -> tuple[str, int]:
    """Return the reasoning that begins at *start*, and where its block ends."""
    parts, start = _marked(text, start)
    closing = _ENDS_REASONING.search(text, start)
    if closing is None:
        raise SuggestionError("The answer ends within its reasoning.", mend="Close </reasoning> and go on.")
    # Reasoning is not applied to anything: what stands behind a mark is simply part of it.
    return "".join([*parts, text[start : closing.start()].strip() if parts else text[start : closing.start()]]).strip(
        "\n"
    ), closing.end()


def read_variable(text: str, opening: re.Match[str]) -> Block:
    """Return name and value of the block that *opening* starts, and where the block ends.

    Raises:
        SuggestionError: It is not complete, or there is doubt about where it ends.
    """
    named = _NAMED.search(opening["attributes"]) or _NAME.match(text, opening.end())
    start = opening.end() if named is None or named.re is _NAMED else named.end()
    tag = _OPENS_VALUE.match(text, start)
    if named is None or tag is None:
        raise SuggestionError(
            "A <variable> block has no <name> and <value>, or ends within them.",
            mend="Write <variable><name>…</name><value>…</value></variable>.",
        )
    name = named["name"].strip(" \t\r\n`'\"*")
    parts, start = _marked(text, tag.end())
    closing = _ENDS_VALUE.search(text, start)
    if closing is None:
        raise SuggestionError(f"The answer ends within the value of {name!r}.", mend="Give the whole answer.")
    raw = text[start : closing.start()]
    if _STRUCTURE.search(raw) or _OPEN_CDATA.search(raw) or (parts and raw.strip()):
        raise SuggestionError(
            f"The block of {name!r} is not closed, or its value holds tags of the answer.",
            mend="End each block with </value></variable>; write a value with such tags as <![CDATA[…]]>.",
        )
    value = "".join(parts) if parts else _without_layout(raw)
    return Block(name, _as_json(name, value) if _IS_JSON.search(tag["attributes"]) else value, closing.end())


def _marked(text: str, start: int) -> tuple[list[str], int]:
    """Return what is marked as CDATA from *start* on, and where that ends."""
    parts: list[str] = []
    while cdata := _CDATA.match(text, start):
        parts.append(cdata[1])
        start = cdata.end()
    return parts, start


def _without_layout(raw: str) -> str:
    """Return a value without the line breaks next to its tags: all others belong to it."""
    return re.sub(r"\n[ \t]*\Z", "", raw.partition("\n")[2]) if raw.startswith("\n") else raw


def _as_json(name: str, text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise SuggestionError(
            f"The value of {name!r} is marked as JSON, but is none: {error}.",
            mend='Leave out type="json", or write one value of JSON.',
        ) from error


def _no_number(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON")
