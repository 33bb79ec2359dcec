"""Objects as models write them: JSON, and what looks like it and leaves no doubt about what is meant.

Read beyond JSON: quotes of Python and of word processors, strings over several lines, ``True`` and ``None``, names
without quotes, commas at the end, comments. Not read is whatever could mean two things: quotes inside of strings that
are not escaped, unknown escapes, repeated names.
"""

import math
import re
from functools import cache
from typing import Any, NamedTuple, NoReturn

__all__ = ["ENDS_THINKING", "OPENS_OBJECT", "UnreadableObjectError", "read_object"]

#: How an object begins, so that braces in prose are not taken for one.
OPENS_OBJECT = r"""\{(?=\s*(?:["'\u201c\u201d\u2018\u2019}]|[A-Za-z_]\w*\s*:|//|/\*))"""

#: How models mark the end of thinking aloud, as most of them do, and in brackets and signs of some.
ENDS_THINKING = r"</(?:think|thinking|thought|thoughts|scratchpad|seed:think)\s*>|\[/THINK\]|\u25c1/think\u25b7"


class UnreadableObjectError(Exception):
    """What stands at *position* is no part of an object.

    Attributes:
        position: Where it was noticed.
        ended: True if the text ends there: it was cut.
    """

    def __init__(self, reason: str, position: int, *, ended: bool) -> None:
        super().__init__(reason)
        self.position = position
        self.ended = ended


class Read(NamedTuple):
    value: Any
    end: int


def read_object(text: str, start: int) -> Read:
    """Return the object or list that begins at *start*, where its bracket stands, and where it ends.

    Raises:
        UnreadableObjectError: It is none, or is not complete.

    Example:
        >>> read_object("{'a': [1, True,], }", 0)
        Read(value={'a': [1, True]}, end=19)
    """
    return _value(text, start, 0)


#: Deeper data is no value of a variable, and Python could not read it back.
_DEEPEST = 100
_SPACE = re.compile(r"(?:\s+|//[^\n]*|#[^\n]*|/\*.*?(?:\*/|\Z))*", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_]\w*")
_WORDS = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:_[0-9]+)*(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.])")
_CLOSERS = {"{": "}", "[": "]", "(": ")"}
_CURLY_DOUBLE, _CURLY_SINGLE = r"[^\u201c\u201d\\]", r"[^\u2018\u2019\\]"


@cache
def _strings() -> dict[str, re.Pattern[str]]:
    # Opening quote, and what its string is made of: each character in one way only, so that nothing is tried twice, and
    # without possessive quantifiers, which Python 3.11.2 gets wrong. Behind three quotes and in backticks, nobody knows
    # who reads a backslash; quotes of word processors come in pairs, or all the same.
    # Compiled when the first object is read.
    return {
        opening: re.compile(rf"{opening}({body}){closing}", re.DOTALL)
        for opening, body, closing in (
            ('"""', r'[^"\\]*(?:"(?!"")[^"\\]*)*', '"""'),
            ("'''", r"[^'\\]*(?:'(?!'')[^'\\]*)*", "'''"),
            ('"', r'[^"\\]*(?:\\.[^"\\]*)*', '"'),
            ("'", r"[^'\\]*(?:\\.[^'\\]*)*", "'"),
            ("`", r"[^`\\]*", "`"),
            ("\u201c", rf"{_CURLY_DOUBLE}*(?:\\.{_CURLY_DOUBLE}*)*", "\u201d"),
            ("\u201d", rf"{_CURLY_DOUBLE}*(?:\\.{_CURLY_DOUBLE}*)*", "\u201d"),
            ("\u2018", rf"{_CURLY_SINGLE}*(?:\\.{_CURLY_SINGLE}*)*", "\u2019"),
            ("\u2019", rf"{_CURLY_SINGLE}*(?:\\.{_CURLY_SINGLE}*)*", "\u2019"),
        )
    }


_ESCAPE = re.compile(
    r"\\(?:u(?P<u>[0-9a-fA-F]{4})|x(?P<x>[0-9a-fA-F]{2})|U(?P<U>000[0-9a-fA-F]{5}|0010[0-9a-fA-F]{4})|(?P<one>.))",
    re.DOTALL,
)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", **{letter: letter for letter in "\"'/\\"}}


def _fail(reason: str, text: str, position: int) -> NoReturn:
    raise UnreadableObjectError(reason, position, ended=position >= len(text))


def _skip(text: str, position: int) -> int:
    space = _SPACE.match(text, position)
    assert space is not None
    return space.end()


def _value(text: str, position: int, depth: int) -> Read:
    opening = text[position : position + 1]
    if opening in _CLOSERS and depth > _DEEPEST:
        _fail("it is nested too deep", text, position)
    if opening == "{":
        return _mapping(text, position, depth)
    if opening and opening in _CLOSERS:
        return _list(text, position, depth)
    if string := _string(text, position):
        return string
    if number := _NUMBER.match(text, position):
        return Read(_number(number[0], text, position), number.end())
    word = _WORD.match(text, position)
    if word is not None and word[0] in _WORDS:
        return Read(_WORDS[word[0]], word.end())
    if word is not None and word[0] in {"NaN", "nan", "Infinity", "inf"}:
        _fail(f"{word[0]} is no number of JSON", text, position)
    _fail(f"a value is expected instead of {text[position : position + 20]!r}", text, position)


def _mapping(text: str, position: int, depth: int) -> Read:
    found: dict[Any, Any] = {}
    position = _skip(text, position + 1)
    while not text.startswith("}", position):
        key, end = _key(text, position)
        if key in found:
            _fail(f"{key!r} occurs twice", text, position)
        position = _skip(text, end)
        if not text.startswith(":", position):
            _fail(f"a colon is expected behind {key!r:.40}", text, position)
        found[key], end = _value(text, _skip(text, position + 1), depth + 1)
        position = _next(text, end, "}")
    return Read(found, position + 1)


def _key(text: str, position: int) -> Read:
    if string := _string(text, position):
        return string
    if number := _NUMBER.match(text, position):
        return Read(_number(number[0], text, position), number.end())
    word = _WORD.match(text, position)
    if word is None:
        _fail(f"a name is expected instead of {text[position : position + 20]!r}", text, position)
    return Read(word[0], word.end())


def _list(text: str, position: int, depth: int) -> Read:
    closer, items, start = _CLOSERS[text[position]], [], position
    position = _skip(text, position + 1)
    commas = 0
    while not text.startswith(closer, position):
        item, end = _value(text, position, depth + 1)
        items.append(item)
        position = _next(text, end, closer)
        commas += text.rfind(",", end, position) >= 0
    if closer == ")" and not commas and len(items) == 1:
        _fail("brackets stand around a single value", text, start)
    return Read(items, position + 1)


def _next(text: str, position: int, closer: str) -> int:
    """Return where the next item begins, or *closer* stands."""
    position = _skip(text, position)
    if text.startswith(",", position):
        return _skip(text, position + 1)
    if not text.startswith(closer, position):
        _fail(f"a comma or {closer!r} is expected instead of {text[position : position + 20]!r}", text, position)
    return position


def _string(text: str, position: int) -> Read | None:
    opening = text[position : position + 3]
    # Two quotes are an empty string, unless a third follows.
    strings = _strings()
    opening = opening if opening in strings else opening[:1]
    if not opening or opening not in strings:
        return None
    string = strings[opening].match(text, position)
    if string is None:
        broken = re.compile(r"[^\\]*").match(text, position) if opening in {'"""', "'''", "`"} else None
        stop = broken.end() if broken is not None else len(text)
        _fail("a string does not end, or a backslash stands where it could mean two things", text, stop)
    return Read(_unescaped(string[1], text, position), string.end())


def _unescaped(raw: str, text: str, position: int) -> str:
    if "\\" not in raw:
        return raw

    def character(escape: re.Match[str]) -> str:
        digits = escape["u"] or escape["x"] or escape["U"]
        if digits:
            return chr(int(digits, 16))
        if escape["one"] not in _ESCAPED:
            _fail(f"the escape \\{escape['one']} is none of JSON", text, position)
        return _ESCAPED[escape["one"]]

    whole = _ESCAPE.sub(character, raw)
    if any("\ud800" <= letter <= "\udfff" for letter in whole):
        # Two escapes of JSON make one character beyond the first 65,536.
        return whole.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return whole


def _number(digits: str, text: str, position: int) -> float:
    is_whole = re.fullmatch(r"[+-]?[0-9_]+", digits) is not None
    if is_whole and re.match(r"[+-]?0[0-9_]", digits):
        _fail(f"{digits:.20} begins with a zero", text, position)
    if len(digits) > _LONGEST_NUMBER:
        _fail("a number is too long", text, position)
    number = int(digits) if is_whole else float(digits)
    if not is_whole and not math.isfinite(number):
        _fail(f"{digits:.20} is no finite number", text, position)
    return number


#: Python refuses to read longer ones.
_LONGEST_NUMBER = 4_000
