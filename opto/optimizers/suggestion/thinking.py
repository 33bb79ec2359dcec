"""Thinking aloud: what models write before their answer, drafts included, and how it is told from the answer."""

import re

from opto.errors import SuggestionError
from opto.optimizers.suggestion.tags import OPENS_VARIABLE, read_reasoning, read_variable
from opto.structure import ENDS_THINKING, OPENS_OBJECT, UnreadableObjectError, read_object

__all__ = ["MENTIONS_SUGGESTION", "OPENS_THINKING", "still_thinking", "without_thinking"]

#: The key that makes an object an answer, however it is quoted.
MENTIONS_SUGGESTION = re.compile(
    r"""(?:["'\u201c\u201d\u2018\u2019]suggestions?["'\u201c\u201d\u2018\u2019]|[{,]\s*suggestions?)\s*:""",
    re.IGNORECASE,
)

_WORDS = r"(?:think|thinking|thought|thoughts|scratchpad|seed:think)"
#: As most models mark it, and in brackets and signs of some.
OPENS_THINKING = re.compile(rf"<{_WORDS}\s*>|\[THINK\]|\u25c1think\u25b7", re.IGNORECASE)
_ENDS_THINKING = re.compile(ENDS_THINKING, re.IGNORECASE)
_ENDS_ALONE = re.compile(rf"^[ \t]*(?:{ENDS_THINKING})[ \t]*$", re.IGNORECASE | re.MULTILINE)
_STOP = re.compile(
    rf"(?P<ends>{ENDS_THINKING})|(?P<reasoning><reasoning\s*>)|(?P<variable>{OPENS_VARIABLE})|(?P<object>{OPENS_OBJECT})",
    re.IGNORECASE,
)
_ENDS_REASONING = re.compile(r"</reasoning\s*>", re.IGNORECASE)
_CHANNEL = re.compile(r"<\|(?:start|channel)\|>")
_FINAL_CHANNEL = re.compile(r"<\|channel\|>\s*final\b[^<]*<\|message\|>")


def still_thinking() -> SuggestionError:
    return SuggestionError(
        "The answer ends while the model is still thinking.", mend="Think less, and give the whole answer."
    )


def without_thinking(text: str) -> str:
    """Return *text* from where thinking aloud ends.

    The opening tag may be missing, as it often stands in the prompt. A tag within a value is no end of thinking.

    Raises:
        SuggestionError: The text begins with thinking that does not end.
    """
    if _CHANNEL.match(text):
        final = _FINAL_CHANNEL.search(text)
        if final is None:
            raise still_thinking()
        text = text[final.end() :].strip()
    if _ENDS_THINKING.search(text):
        text = text[_end_of_thinking(text) :].strip()
    if OPENS_THINKING.match(text):
        raise still_thinking()
    return text


def _end_of_thinking(text: str) -> int:
    """Return where the last tag ends that ends thinking and is in no part of an answer; 0 if there is none."""
    end = position = 0
    if opening := OPENS_THINKING.match(text):
        closing = _ENDS_THINKING.search(text, opening.end())
        assert closing is not None
        end = position = closing.end()
    last_reasoning = max((item.start() for item in _ENDS_REASONING.finditer(text)), default=-1)
    while stop := _STOP.search(text, position):
        if stop["ends"]:
            end = position = stop.end()
            continue
        # One search tells that none of many blocks ends.
        behind = stop.end() if stop["reasoning"] and stop.end() > last_reasoning else _behind(text, stop)
        if behind is None:
            # Nobody knows where this ends, so what follows may be a part of it. A draft is left by a closing tag on a
            # line of its own; if an opening one stands before it, both are in a value.
            alone = _ENDS_ALONE.search(text, stop.end())
            if alone is None or OPENS_THINKING.search(text, stop.end(), alone.start()):
                break
            end = behind = alone.end()
        position = behind
    return end


def _behind(text: str, opening: re.Match[str]) -> int | None:
    """Return where the part of an answer that begins with *opening* ends, drafts included; None if it does not."""
    try:
        if opening["reasoning"]:
            return read_reasoning(text, opening.end())[1]
        if opening["variable"]:
            return read_variable(text, opening).end
        return read_object(text, opening.start()).end
    except SuggestionError:
        return None
    except UnreadableObjectError as error:
        is_answer = MENTIONS_SUGGESTION.search(text, opening.start(), error.position)
        return None if error.ended or is_answer else max(error.position, opening.end())
