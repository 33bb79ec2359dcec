"""The reader of answers: whatever stands around an answer is passed over, and what is no whole answer is refused."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from opto.errors import SuggestionError
from opto.optimizers.suggestion.tags import OPENS_VARIABLE, read_reasoning, read_variable
from opto.optimizers.suggestion.thinking import MENTIONS_SUGGESTION, OPENS_THINKING, still_thinking, without_thinking
from opto.optimizers.suggestion.values import Suggestion
from opto.structure import OPENS_OBJECT, UnreadableObjectError, read_object

__all__ = ["read_answer"]


def read_answer(text: str, names: Collection[str] = ()) -> Suggestion:
    """Return the suggestion in the answer of a model, in whichever format it is written.

    Read are blocks of tags and objects, as `FORMATS` ask for them and as Trace's optimizers do, with text, Markdown
    fences and thinking aloud (``<think>…</think>``) around them. An answer that was cut, that gives two values for a
    name, or that leaves doubt about where a value ends, is refused as a whole.

    Args:
        text: What the model said.
        names: The variables. An object that has them as keys, and no key ``suggestion``, is an answer too.

    Raises:
        SuggestionError: It cannot be read.

    Example:
        >>> read_answer('{"reasoning": "", "suggestion": {"x": 2}}')
        Suggestion(values={'x': 2}, reasoning='')
        >>> read_answer("{'x': 2,}", names=["x"]).values
        {'x': 2}
    """
    answer = without_thinking(text.replace("\r\n", "\n").lstrip("\ufeff").strip())
    if not answer:
        raise SuggestionError("The answer is empty.", mend="Answer in the format that was asked for.")
    if answer.startswith('"') and (inner := _text_in_json(answer)) is not None:
        return read_answer(inner, names)
    return _Reading(answer, names).suggestion()


def _text_in_json(text: str) -> str | None:
    """Return the text that *text* is as a string of JSON, as some servers send answers; None if it is none."""
    try:
        inner = json.loads(text)
    except ValueError:
        return None
    return inner if isinstance(inner, str) else None


_UNIT = re.compile(
    rf"(?P<reasoning><reasoning\s*>)|(?P<variable>{OPENS_VARIABLE})|(?P<object>{OPENS_OBJECT})", re.IGNORECASE
)
_VARIABLE_TAG = re.compile(r"<variable\b[^<>]*>", re.IGNORECASE)
_VALUE_TAG = re.compile(r"</?value\b", re.IGNORECASE)
_CUT_TAG = re.compile(r"<(?:[/a-z]*|!\[?C?D?A?T?A?\[?|/?[a-z]+\s[^<>]*)\Z", re.IGNORECASE)
#: Tags around all of an answer: behind them no other block belongs to it.
_ROOTS = frozenset({"suggestion", "answer", "response"})
_ROOT = re.compile(r"<suggestion\s*>", re.IGNORECASE)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)


class _Reading:
    """One answer that is being read: its parts in order, and what stands between them."""

    def __init__(self, text: str, names: Collection[str]) -> None:
        self.text = text
        self.names = {name.casefold() for name in names}
        self.values: dict[str, Any] = {}
        self.reasoning: list[str] = []
        self.objects: list[Mapping[Any, Any]] = []
        #: Those that stand on lines of their own, as answers do and examples in a sentence do not.
        self.apart: list[Mapping[Any, Any]] = []
        self.broken: UnreadableObjectError | None = None
        self.gaps: list[str] = []
        #: Names of the tags around blocks that are open, and have to be closed in the end.
        self.around: list[str] = []
        self.is_closed = False
        #: How many gaps lie before the first block, and before the end of the last one.
        self.before_blocks = self.within_blocks = 0

    def suggestion(self) -> Suggestion:
        position, tagged = 0, False
        while opening := _UNIT.search(self.text, position):
            self._pass_over(position, opening.start())
            if opening["object"]:
                position = self._take_object(opening.start())
                continue
            if not tagged:
                tagged = True
                self.before_blocks = len(self.gaps)
            self._look_around(self.gaps[-1])
            position = self._take_reasoning(opening) if opening["reasoning"] else self._take_variable(opening)
            self.within_blocks = len(self.gaps)
        self.gaps.append(self.text[position:])
        if tagged:
            self._check_end()
        return self._result(tagged)

    def _pass_over(self, start: int, end: int) -> None:
        gap = self.text[start:end]
        if OPENS_THINKING.search(gap):
            raise still_thinking()
        self.gaps.append(gap)

    def _look_around(self, gap: str) -> None:
        """Note which tags are opened and closed before a block."""
        self._close(gap)
        before = gap.rstrip()
        while before.endswith(">") and len(self.around) < _MOST_AROUND:
            opens = before.rfind("<")
            tag = re.fullmatch(r"<([A-Za-z_][\w-]*)(?:\s[^<>]*)?>", before[opens:]) if opens >= 0 else None
            if tag is None:
                break
            self.around.append(tag[1].lower())
            before = before[:opens].rstrip()
        # The one that was asked for may have words behind it.
        if _ROOT.search(before) and not _closes("suggestion", before):
            self.around.append("suggestion")

    def _close(self, gap: str) -> None:
        closed = {name for name in self.around if _closes(name, gap)}
        self.around = [name for name in self.around if name not in closed]
        self.is_closed = self.is_closed or bool(_ROOTS & closed)

    def _check_end(self) -> None:
        if _CUT_TAG.search(self.gaps[-1]):
            raise SuggestionError("The answer ends within a tag.", mend="Give the whole answer.")
        rest = "\n".join(self.gaps[self.within_blocks :])
        self._close(rest)
        if self.around:
            name = self.around[0]
            raise SuggestionError(f"The answer ends before </{name}>.", mend=f"Give the whole answer, up to </{name}>.")
        fences = sum(len(_FENCE.findall(gap)) for gap in self.gaps[: self.within_blocks])
        if fences % 2 and not _FENCE.search(rest):
            raise SuggestionError("The answer ends within its code block.", mend="Give the whole answer.")

    def _take_reasoning(self, opening: re.Match[str]) -> int:
        reasoning, end = read_reasoning(self.text, opening.end())
        self.reasoning.append(reasoning)
        return end

    def _take_variable(self, opening: re.Match[str]) -> int:
        if self.is_closed:
            raise _two_suggestions()
        block = read_variable(self.text, opening)
        if block.name in self.values:
            raise SuggestionError(
                f"The answer gives two values for {block.name!r}.", mend="Give one <variable> block per variable."
            )
        self.values[block.name] = block.value
        return block.end

    def _take_object(self, start: int) -> int:
        try:
            content, end = read_object(self.text, start)
        except UnreadableObjectError as error:
            if error.ended or MENTIONS_SUGGESTION.search(self.text, start, error.position):
                raise _broken(error) from error
            # Braces in prose and code.
            self.broken = self.broken or error
            return max(error.position, start + 1)
        if re.match(r"""\s*,\s*["'\u201c\u201d]""", self.text[end : end + 40]):
            raise SuggestionError("The JSON object is closed before its end.", mend="Answer with one JSON object.")
        self.objects.append(content)
        begins = self.text[:start].rpartition("\n")[2]
        if not (begins + self.text[end:].partition("\n")[0]).strip():
            self.apart.append(content)
        return end

    def _result(self, tagged: bool) -> Suggestion:
        reasoning = "\n".join(self.reasoning)
        answers = [found for content in self.objects for found in _answers(content)]
        if len(answers) > 1 or (answers and self.values):
            raise _two_suggestions()
        if self.broken is not None and any(map(MENTIONS_SUGGESTION.search, self.gaps)):
            raise _broken(self.broken)
        if answers:
            said = _get(answers[0], "reasoning")
            return Suggestion(_changes(_get(answers[0], "suggestion", "suggestions")), reasoning or _as_text(said))
        if self.values:
            if any(map(_VALUE_TAG.search, self.gaps[self.before_blocks :])):
                raise SuggestionError(
                    "The answer has a value that is in no <variable> block, or one that holds tags of the answer.",
                    mend="End each block with </value></variable>; write a value with such tags as <![CDATA[…]]>.",
                )
            return Suggestion(self.values, reasoning)
        return self._without_blocks(reasoning, tagged)

    def _without_blocks(self, reasoning: str, tagged: bool) -> Suggestion:
        """Return what an answer says that has neither blocks nor a key ``suggestion``."""
        known = [item for item in self.objects if self.names & set(map(_fold, item))]
        if len(known) == 1 and known[0] in self.apart and self.broken is None:
            said = _get(known[0], "reasoning")
            is_variable = "reasoning" in self.names
            values = {key: value for key, value in known[0].items() if is_variable or _fold(key) not in _ASIDES}
            if self.names.issuperset(map(_fold, values)):
                return Suggestion(values, reasoning or ("" if is_variable else _as_text(said)))
        if any(tag.search(gap) for tag in (_VALUE_TAG, _VARIABLE_TAG) for gap in self.gaps):
            raise SuggestionError(
                "The answer has a change that is in no <variable> block.",
                mend="Write <variable><name>…</name><value>…</value></variable>.",
            )
        if (said := _said_before_terminate(self.text)) is not None:
            return Suggestion({}, reasoning or said or "The model answered that there is nothing to change.")
        if self.broken is not None:
            raise _broken(self.broken)
        if tagged and not self.objects:
            return Suggestion({}, reasoning)
        if len(self.objects) == 1 and not tagged:
            only = self.objects[0]
            if (not only and self.text == "{}") or (_get(only, "reasoning") and _ASIDES.issuperset(map(_fold, only))):
                return Suggestion({}, _as_text(_get(only, "reasoning")))
        if self.objects:
            raise SuggestionError(
                "The JSON object has no object under 'suggestion'.",
                mend='Answer with {"reasoning": …, "suggestion": {…}}.',
            )
        raise SuggestionError(
            "The answer has no <variable> block and no <reasoning>, and no JSON object.",
            mend="Answer in the format that was asked for.",
        )


_MOST_AROUND = 5
#: Keys that stand beside a suggestion.
_ASIDES = frozenset({"reasoning", "answer", "thought", "explanation", "confidence"})
#: Keys under which an answer is wrapped, calls of tools written as text among them.
_WRAPS = frozenset({"arguments", "parameters", "input", "answer", "response", "result", "output"})


def _said_before_terminate(text: str) -> str | None:
    """Return what stands before Trace's sign for "nothing to change", if that is the last line; else None."""
    before, _, last = text.strip(_ORNAMENTS).rpartition("\n")
    return before.strip() if last.strip(_ORNAMENTS) == "TERMINATE" else None


_ORNAMENTS = " \t\n`*_\"'."


def _fold(key: Any) -> str:
    return str(key).casefold()


def _closes(name: str, gap: str) -> bool:
    return re.search(rf"</{re.escape(name)}\s*>", gap, re.IGNORECASE) is not None


def _two_suggestions() -> SuggestionError:
    return SuggestionError("The answer holds two suggestions.", mend="Give one answer, with one value per variable.")


def _broken(error: UnreadableObjectError) -> SuggestionError:
    return SuggestionError(
        f"The answer is no complete JSON object: {error}.",
        mend="Close every bracket and quote, and escape quotes and backslashes in strings.",
    )


def _get(content: Mapping[Any, Any], *keys: str) -> Any:
    """Return what stands under one of *keys*, however they are spelt; None if nothing does."""
    found = [value for key, value in content.items() if _fold(key) in keys]
    if len(found) > 1:
        raise _two_suggestions()
    return found[0] if found else None


def _answers(content: Mapping[Any, Any]) -> Iterator[Mapping[Any, Any]]:
    """Yield the object with a key ``suggestion`` that *content* is, or wraps."""
    if {"suggestion", "suggestions"} & set(map(_fold, content)):
        yield content
        return
    for key, inner in content.items():
        if _fold(key) in _WRAPS:
            wrapped = _object_in_json(inner) if isinstance(inner, str) else inner
            if isinstance(wrapped, Mapping) and {"suggestion", "suggestions"} & set(map(_fold, wrapped)):
                yield wrapped


def _object_in_json(text: str) -> Mapping[Any, Any] | None:
    start = len(text) - len(text.lstrip())
    if text[start : start + 1] != "{":
        return None
    try:
        content, end = read_object(text, start)
    except UnreadableObjectError:
        return None
    return content if not text[end:].strip() else None


def _changes(said: Any) -> Mapping[str, Any]:
    """Return the values in what stands under ``suggestion``: an object, a list of names and values, or nothing."""
    if said in (None, []) or (isinstance(said, str) and said.strip().upper() in {"", "TERMINATE"}):
        return {}
    if isinstance(said, str):
        said = _object_in_json(said)
    if isinstance(said, list):
        said = _joined(said)
    if not isinstance(said, Mapping):
        raise SuggestionError(
            "The JSON object has no object under 'suggestion'.", mend='Answer with {"reasoning": …, "suggestion": {…}}.'
        )
    changes = {str(name): value for name, value in said.items()}
    if len(changes) < len(said):
        raise SuggestionError("The answer gives two values for a name.", mend="Give one value per variable.")
    return changes


def _joined(items: list[Any]) -> Mapping[Any, Any] | None:
    """Return a list of ``{"name": …, "value": …}`` as one mapping; None if it is something else."""
    found: dict[Any, Any] = {}
    for item in items:
        if not isinstance(item, Mapping) or not {"value"} < set(item) <= {"name", "variable", "value"} or len(item) > 2:
            return None
        name = item.get("name", item.get("variable"))
        if not isinstance(name, str):
            return None
        if name in found:
            raise SuggestionError(f"The answer gives two values for {name!r}.", mend="Give one value per variable.")
        found[name] = item["value"]
    return found


def _as_text(said: Any) -> str:
    return said if isinstance(said, str) else "" if said is None else json.dumps(said)
