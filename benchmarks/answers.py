"""How answers of models are read: ``python benchmarks/answers.py`` prints the figures, and fails if one is not 0.

- Corpus: the files in ``tests/optimizers/answers``, each an answer as models write them, and in ``expected.json`` what
  must be read from it, or why it must be refused.
- Cuts: each of them that gives values, cut at every 10th character, must give none; unless only what stands behind the
  answer is cut off (``behind`` in the file), or nothing stands around several blocks, where whole ones may be left
  (``whole``).
- Round trips: random values, written in each format, are read back.
- Fuzz: answers changed at random places give `SuggestionError` or values that the answer contains (see `contains`).
- Hostile texts of 100,000 characters: how long the slowest takes.
"""

import argparse
import contextlib
import json
import random
import re
import string
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from opto.errors import SuggestionError
from opto.optimizers.suggestion import FORMATS, Suggestion, read_answer

FOLDER = Path(__file__).parents[1] / "tests" / "optimizers" / "answers"


@dataclass(frozen=True)
class Answer:
    """One file of the corpus, and what is expected of it."""

    name: str
    text: str
    names: Sequence[str] = ()
    values: dict[str, Any] | None = None
    reasoning: str = ""
    refused: str | None = None
    behind: int = 0
    whole: Sequence[str] = ()

    def complaint(self) -> str | None:
        """Return what is wrong with how it is read; None if nothing is."""
        try:
            read = read_answer(self.text, self.names)
        except SuggestionError as error:
            if self.refused is None or not re.search(self.refused, str(error)):
                return f"{self.name}: refused: {error}"
            return None
        if self.refused is not None or not same(dict(read.values), self.values) or read.reasoning != self.reasoning:
            return f"{self.name}: read as {read}"
        return None

    def cuts(self, every: int = 10) -> Iterator[str]:
        """Yield every text that is left when the end is cut off, at every few characters."""
        return (self.text[:end] for end in range(0, len(self.text) - self.behind, every))

    def complaint_of_cut(self, text: str) -> str | None:
        try:
            read = read_answer(text, self.names)
        except SuggestionError:
            return None
        whole = {name: (self.values or {})[name] for name in self.whole}
        if all(name in whole and same(value, whole[name]) for name, value in read.values.items()):
            return None
        return f"{self.name} cut at {len(text)}: read as {read}"


def same(one: Any, other: Any) -> bool:
    """True if two values are equal and of the same types all the way down: 1 is not True, nor 1.0."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def corpus() -> list[Answer]:
    expected = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
    answers = {path.stem: path.read_bytes().decode("utf-8") for path in sorted(FOLDER.glob("*.txt"))}
    assert answers.keys() == expected.keys(), "each answer has an expectation, and each expectation an answer"
    return [Answer(name, text, **expected[name]) for name, text in answers.items()]


# What "contains" means.

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|U([0-9a-fA-F]{8})|([\"'\\/bfnrt]))")
_LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_NUMBER = re.compile(
    r"(?=(?<![0-9_.])([+-]?[0-9][0-9_]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?|[+-]?\.[0-9]+(?:[eE][+-]?[0-9]+)?))"
)


def plain(text: str) -> str:
    """Return *text* with all escapes resolved, those of strings within strings too, and without marks of CDATA."""

    def character(escape: re.Match[str]) -> str:
        digits = escape[1] or escape[2] or escape[3]
        if not digits:
            return _LETTERS.get(escape[4], escape[4])
        return chr(int(digits, 16)) if int(digits, 16) <= sys.maxunicode else escape[0]

    text = re.sub(r"\]\]><!\[CDATA\[", "", text.replace("\r\n", "\n"), flags=re.IGNORECASE)
    while (shorter := _ESCAPE.sub(character, text)) != text:
        text = shorter
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return text.replace("\\", "").replace("\r\n", "\n")


def contains(answer: str, value: Any) -> bool:
    """True if *answer* contains *value*.

    A text is contained if it is a part of the answer, when escapes are resolved in both. A number is contained if a
    number of the answer reads as this one, an int as an int; True, False and None if their words are, in Python's or
    JSON's spelling; a list or dict if all items and keys are.
    """
    text = plain(answer)
    numbers = {number[1].replace("_", "") for number in _NUMBER.finditer(text)}
    numbers |= {number[1:] for number in numbers if number[0] in "+-"}
    return _contains(text, numbers, value)


def _contains(text: str, numbers: set[str], value: Any) -> bool:
    match value:
        case str():
            return plain(value) in text
        case bool() | None:
            return any(word in text for word in (str(value), json.dumps(value)))
        case int():
            return any(number.lstrip("+-").isdecimal() and int(number) == value for number in numbers)
        case float():
            return any(not number.lstrip("+-").isdecimal() and float(number) == value for number in numbers)
        case list():
            return all(_contains(text, numbers, item) for item in value)
        case _:
            return all(_contains(text, numbers, part) for item in value.items() for part in item)


# Changes at random places.

TOKENS = [
    *("<value>", "</value>", "<variable>", "</variable>", "</value>\n</variable>", "<name>", "</name>", "<reasoning>"),
    *("</reasoning>", "<suggestion>", "</suggestion>", "<think>", "</think>", "<![CDATA[", "]]>", "```", "```json\n"),
    *(
        '{"suggestion": {',
        '"suggestion":',
        '"reasoning":',
        "{",
        "}",
        "[",
        "]",
        "(",
        ")",
        '"',
        "'",
        '"""',
        "`",
        ",",
        ":",
    ),
    *(
        "\\",
        "\\n",
        "\\u00e9",
        "\\ud83d",
        "\\d",
        "\n",
        "\r\n",
        "\ufeff",
        "\u201c",
        "\u201d",
        "//",
        "/*",
        "#",
        "TERMINATE",
    ),
    *("true", "None", "NaN", "1e999", "-7", "0.1", "\x00", "\ud800", "\N{SLIGHTLY SMILING FACE}", "&lt;", " "),
]


def mutated(text: str, other: str, some: random.Random) -> str:
    """Return *text* with one to four changes, some of them with parts of *other*."""
    for _ in range(some.randrange(1, 5)):
        text = some.choice(_CHANGES)(text, other, some)
    return text


def _span(of: str, some: random.Random, longest: int = 40) -> slice:
    start = some.randrange(len(of) + 1)
    return slice(start, min(len(of), start + some.randrange(1, longest)))


def _without(text: str, _: str, some: random.Random) -> str:
    part = _span(text, some)
    return text[: part.start] + text[part.stop :]


def _twice(text: str, _: str, some: random.Random) -> str:
    part = _span(text, some)
    return text[: part.stop] + text[part.start :]


def _with_token(text: str, _: str, some: random.Random) -> str:
    part = _span(text, some)
    return text[: part.start] + some.choice(TOKENS) + text[some.choice([part.start, part.stop]) :]


def _in_other_case(text: str, _: str, some: random.Random) -> str:
    part = _span(text, some)
    return text[: part.start] + text[part].swapcase() + text[part.stop :]


def _with_part_of_other(text: str, other: str, some: random.Random) -> str:
    part = _span(text, some)
    return text[: part.start] + other[_span(other, some, 200)] + text[part.start :]


def _cut(text: str, _: str, some: random.Random) -> str:
    part = _span(text, some)
    return some.choice([text[: part.start], text[part.stop :]])


def _with_other_token(text: str, _: str, some: random.Random) -> str:
    there = [token for token in TOKENS if token in text] or [" "]
    return text.replace(some.choice(there), some.choice(TOKENS), some.choice([1, -1]))


def _with_lines_swapped(text: str, _: str, some: random.Random) -> str:
    lines = text.splitlines(keepends=True) or [""]
    one, two = some.randrange(len(lines)), some.randrange(len(lines))
    lines[one], lines[two] = lines[two], lines[one]
    return "".join(lines)


_CHANGES = [
    *(_without, _twice, _with_token, _with_token, _in_other_case, _with_part_of_other, _cut, _with_other_token),
    _with_lines_swapped,
]


@dataclass
class Fuzzed:
    """What became of changed answers."""

    outcomes: Counter[str]
    complaints: list[str]
    slowest: float
    total: float


def fuzz(number: int, seed: int = 0) -> Fuzzed:
    """Read *number* changed answers of the corpus."""
    some, answers = random.Random(seed), corpus()
    found = Fuzzed(Counter(), [], 0.0, 0.0)
    for count in range(number):
        answer = answers[count % len(answers)]
        text = mutated(answer.text, some.choice(answers).text, some)
        start = time.perf_counter()
        try:
            read = read_answer(text, answer.names)
        except SuggestionError:
            outcome, read = "refused", Suggestion()
        except Exception as error:
            outcome, read = "crashed", Suggestion()
            found.complaints.append(f"{type(error).__name__}: {error} in {text!r}")
        else:
            outcome = "values" if read.values else "no change"
        spent = time.perf_counter() - start
        found.slowest, found.total = max(found.slowest, spent), found.total + spent
        if read.values and not contains(text, dict(read.values)):
            found.complaints.append(f"{dict(read.values)} is not contained in {text!r}")
        found.outcomes[outcome] += 1
    return found


# Round trips.

_PIECES = [*TOKENS, *string.ascii_letters, *string.digits, "def f(x):\n    return x < 3\n", "  ", "\r", "\t", "é"]


def random_value(some: random.Random, depth: int = 0) -> Any:
    kinds: list[Callable[[], Any]] = [
        lambda: "".join(some.choices(_PIECES, k=some.randrange(12))),
        lambda: some.randrange(-(10**6), 10**6) * 10 ** some.randrange(12),
        lambda: some.uniform(-1, 1) * 10.0 ** some.randrange(-30, 30),
        lambda: some.choice([True, False, None]),
        lambda: [random_value(some, depth + 1) for _ in range(some.randrange(4))],
        lambda: {str(some.choice(_PIECES)): random_value(some, depth + 1) for _ in range(some.randrange(4))},
    ]
    return some.choice(kinds[: 4 if depth > 2 else None])()


def round_trips(number: int, seed: int = 0) -> list[str]:
    """Return what is not read back as it was written."""
    some, wrong = random.Random(seed), []
    for count in range(number):
        values = {f"x{place}": random_value(some) for place in range(some.randrange(4))}
        for name, answer_format in FORMATS.items():
            reasoning = str(random_value(some)) if count % 2 else ""
            written = answer_format.write(Suggestion(values, reasoning))
            try:
                read = dict(read_answer(written).values)
            except SuggestionError as error:
                wrong.append(f"{name}: {error} for {values}")
            else:
                wrong += [] if same(read, values) else [f"{name}: {read} for {values}"]
    return wrong


# Texts made to be slow.


@cache
def hostile(size: int = 100_000) -> tuple[str, ...]:
    parts = [
        *(
            "<variable>",
            "<variable><name>x</name><value>",
            "</value></variable>",
            "<value>",
            "</value><constraint>",
            "<",
        ),
        *("<reasoning>", "<think>", "</think>", "<think></think>", "<![CDATA[", "<![CDATA[]]>", "]]>", "```\n", "<a>"),
        *(
            '{"',
            '{"a":',
            '{"a": "b"} ',
            '{"a": "\\',
            "{'a' ",
            '{"a": /*',
            '{"a": [',
            "{ ",
            "{\n",
            '"""',
            '{"a": """',
            "\\",
        ),
        *("[" * 9, " ", "\n", "TERMINATE\n", "</value>\n ", '"suggestion":', "<variable name='x'>\n<", "<|channel|>"),
    ]
    heads = ["", '{"suggestion": ', "<variable><name>x</name><value>", "</think>", "<think>"]
    return tuple(
        head + part * (size // len(part)) + tail for part in parts for head in heads for tail in ("", "</think>")
    )


def slowest(texts: Sequence[str]) -> tuple[float, str]:
    """Return the longest time for one of *texts*, and its beginning."""
    times = []
    for text in texts:
        start = time.perf_counter()
        with contextlib.suppress(SuggestionError):
            read_answer(text)
        times.append((time.perf_counter() - start, text[:60]))
    return max(times)


def main() -> None:
    parser = argparse.ArgumentParser(description="Figures on how answers of models are read.")
    parser.add_argument("--fuzz", type=int, default=10_000, help="number of changed answers (default: 10,000)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    answers = corpus()
    complaints = [complaint for answer in answers if (complaint := answer.complaint())]
    refused = sum(answer.refused is not None for answer in answers)
    print(f"corpus: {len(answers)} answers, {refused} of them to be refused; {len(complaints)} wrong")
    good = [answer for answer in answers if answer.values]
    cuts = [(answer, text) for answer in good for text in answer.cuts()]
    cut = [complaint for answer, text in cuts if (complaint := answer.complaint_of_cut(text))]
    several = sum(bool(answer.whole) for answer in good)
    print(f"cuts: {len(cuts):,} of {len(good)} answers that give values; {len(cut)} gave one")
    print(f"  (but for whole blocks left of the {several} answers with several blocks and nothing around them)")
    wrong = round_trips(options.fuzz // 5, options.seed)
    print(f"round trips: {options.fuzz // 5:,} in each of {len(FORMATS)} formats; {len(wrong)} wrong")
    found = fuzz(options.fuzz, options.seed)
    outcomes = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(found.outcomes.items()))
    print(f"fuzz: {options.fuzz:,} changed answers: {outcomes}; {len(found.complaints)} wrong")
    print(f"  {found.total / options.fuzz * 1e6:.0f} µs each, the slowest {found.slowest * 1e3:.1f} ms")
    longest, of = slowest(hostile())
    print(f"hostile: {len(hostile())} texts of 100,000 characters, the slowest {longest * 1e3:.0f} ms: {of!r}")
    complaints += cut + wrong + found.complaints
    for complaint in complaints[:20]:
        print("-", complaint[:2_000])
    sys.exit(bool(complaints))


if __name__ == "__main__":
    main()
