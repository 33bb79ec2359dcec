"""Which recorded request is most like one that is not there, and where the two part."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from opto.llm.cassettes.lines import Line
from opto.llm.cassettes.plain import as_text

__all__ = ["first_difference", "nearest"]

#: How many recorded requests are looked at, and how many bytes of them.
_MOST, _MOST_BYTES = 1_000, 20_000_000
#: Characters that are shown on either side of the first difference.
_AROUND = 40
_NOTHING = object()


def nearest(wanted: Mapping[str, Any], lines: Iterable[Line]) -> Line | None:
    """Return the line whose request is most like *wanted*, of the first thousand or so; None if there is none."""
    text = as_text(wanted)
    best, likeness, left = None, -1, _MOST_BYTES
    for line in islice(lines, _MOST):
        left -= len(line.data)
        if left < 0 and best is not None:
            break
        found = line.content["request"]
        other = as_text({name: found.get(name) for name in wanted})
        same = _common(text, other) + _common(text[::-1], other[::-1])
        if same > likeness:
            best, likeness = line, same
    return best


def first_difference(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> str | None:
    """Return where two requests part, and both sides of it; None if they do not.

    Example:
        >>> print(first_difference({"settings": {"seed": 1}}, {"settings": {"seed": 2}}))
        settings.seed
          recorded: 1
          asked:    2
    """
    return next(_differences("", dict(recorded), dict(asked)), None)


def _differences(place: str, recorded: Any, asked: Any) -> Iterator[str]:
    if isinstance(recorded, dict) and isinstance(asked, dict):
        for name in dict.fromkeys([*asked, *recorded]):
            below = f"{place}.{name}" if place else str(name)
            yield from _differences(below, recorded.get(name, _NOTHING), asked.get(name, _NOTHING))
        if list(recorded) != list(asked) and recorded == asked:
            yield _shown(f"{place}, by order", list(recorded), list(asked))
    elif isinstance(recorded, list) and isinstance(asked, list):
        for position, (one, other) in enumerate(zip(recorded, asked, strict=False)):
            yield from _differences(f"{place}[{position}]", one, other)
        if len(recorded) != len(asked):
            position = min(len(recorded), len(asked))
            sides = [side[position] if len(side) > position else _NOTHING for side in (recorded, asked)]
            yield _shown(f"{place}[{position}]", *sides)
    elif isinstance(recorded, str) and isinstance(asked, str):
        if recorded != asked:
            at = _common(recorded, asked)
            yield _shown(f"{place}, at character {at}", _window(recorded, at), _window(asked, at))
    elif recorded is not asked and (type(recorded), recorded) != (type(asked), asked):
        yield _shown(place, recorded, asked)


def _shown(place: str, recorded: Any, asked: Any) -> str:
    return f"{place}\n  recorded: {_side(recorded)}\n  asked:    {_side(asked)}"


def _side(value: Any) -> str:
    if value is _NOTHING:
        return "(nothing)"
    text = as_text(value)
    return text if len(text) <= 3 * _AROUND else f"{text[: 3 * _AROUND]}…"


def _window(text: str, at: int) -> str:
    start, end = max(0, at - _AROUND), at + _AROUND
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"


def _common(one: str, other: str) -> int:
    """Return how many characters two texts have in common at their beginning."""
    least, most = 0, min(len(one), len(other))
    while least < most:
        # By slices, which are compared at once: texts are long.
        middle = (least + most + 1) // 2
        if one[least:middle] == other[least:middle]:
            least = middle
        else:
            most = middle - 1
    return least
