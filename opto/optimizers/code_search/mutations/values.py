"""Other constants, names, functions, arguments and indices in an expression."""

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any

from opto.optimizers.code_search.mutations.pieces import ATOM, FACTOR, Piece, shifted
from opto.optimizers.code_search.mutations.scope import number_of
from opto.optimizers.code_search.mutations.text import Site, SourceText

__all__ = ["CONFUSED", "attribute", "call", "constant", "name", "subscript"]

Found = Iterator[tuple[str, float, Piece]]


def constant(part: Any, constants: Sequence[Any], names: Iterable[str]) -> Found:
    """Yield what may stand in place of a constant; *constants* and *names* are those of the function."""
    number = number_of(part)
    if number is not None and not _is_usual(number):
        return
    if number is not None:
        found = _numbers(number, [item for item in constants if type(item) is type(number)])
    elif isinstance(part.value, bool):
        found = {repr(not part.value): 1.0, "None": 4.5}
    elif isinstance(part.value, str):
        found = _texts(part.value, [item for item in constants if isinstance(item, str)])
    elif part.value is None:
        found = dict.fromkeys(["0", "False", "True", '""', "[]"], 4.0)
    else:
        return
    for item in names:
        found.setdefault(item, 4.0)
    for said, cost in found.items():
        yield "constant", cost, Piece(said, FACTOR if said.startswith("-") else ATOM)


def _numbers(number: float, others: Iterable[float]) -> dict[str, float]:
    found: dict[Any, float] = {number + 1: 1.1, number - 1: 1.1, -number: 1.8, 0: 2.2, 1: 2.2}
    for cost, items in (
        (2.6, others),
        (3.0, (number + 2, number - 2, 2)),
        (3.8, (number * 2, number // 2, number * 10, _tenth(number), 10, 100)),
    ):
        for item in items:
            found.setdefault(item, cost)
    if isinstance(number, int):
        found = {int(item): cost for item, cost in found.items() if item == int(item)}
    return {repr(item): cost for item, cost in found.items() if item != number and _is_usual(item)}


def _is_usual(number: float) -> bool:
    return -1e300 < number < 1e300


def _tenth(number: float) -> float:
    # Longer ones cannot be divided as floats without a loss.
    return number // 10 if number % 10 == 0 else number / 10 if abs(number) < 1e15 else number


def _texts(value: str, others: Iterable[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for cost, items in (
        (2.4, others),
        (2.8, ("",)),
        (3.2, (" ",)),
        (4.3, (value.swapcase(), value.lower(), value.upper(), value.capitalize())),
        (4.6, (value[1:], value[:-1])),
        (5.0, (value[::-1], value.strip(), f"{value} ", ",")),
    ):
        for item in items:
            found.setdefault(item, cost)
    return {repr(item): cost for item, cost in found.items() if item != value}


#: Functions and methods that are mistaken for each other.
_ALIKE = (
    "min max",
    "any all",
    "sorted reversed list",
    "sum len",
    "int float round",
    "str repr",
    "ord chr",
    "list set tuple",
    "abs int",
    "floor ceil",
    "range enumerate",
    "sum max min",
    "append extend",
    "lower upper swapcase",
    "islower isupper",
    "isdigit isalpha isalnum isnumeric",
    "startswith endswith",
    "strip lstrip rstrip",
    "find rfind index count",
    "split splitlines",
    "keys values items",
    "add discard remove",
    "union intersection difference symmetric_difference",
    "append remove",
    "ljust rjust",
    "sin cos tan",
    "isalpha isupper islower isspace",
)


def _confused(word: str) -> list[str]:
    groups = (group.split() for group in _ALIKE)
    return list(dict.fromkeys(other for group in groups if word in group for other in group if other != word))


#: By the name of a function or method.
CONFUSED = {word: _confused(word) for group in _ALIKE for word in group.split()}


def name(site: Site, names: Sequence[str]) -> Found:
    called = isinstance(site.parent, ast.Call) and site.name == "func"
    for other in CONFUSED.get(site.part.id, ()):
        yield "function", 1.5 if called else 2, Piece(other)
    if not called or site.part.id in names:
        for position, other in enumerate(item for item in names if item != site.part.id):
            yield "name", 2 + min(position, 10) * 0.1, Piece(other)


def attribute(text: SourceText, part: ast.Attribute) -> Found:
    for other in CONFUSED.get(part.attr, ()):
        yield "function", 1.6, Piece(f"{text.piece(part.value).within(ATOM)}.{other}")


#: Functions that take a key, and whether they take an order.
_ORDERED = {"sorted": True, "sort": True, "min": False, "max": False}


def call(text: SourceText, part: ast.Call) -> Found:  # noqa: C901 - each of them is short
    function = text.piece(part.func).within(ATOM)
    args = [text.text(item) for item in part.args]
    keywords = [text.text(item) for item in part.keywords]
    if part.args and text.span(part.args[0])[1] == text.span(part)[1]:
        return  # a generator, whose brackets are those of the call

    def again(*arguments: str) -> Piece:
        return Piece(f"{function}({', '.join(arguments)})")

    for first, second in combinations(range(len(args)), 2):
        turned = [*args]
        turned[first], turned[second] = turned[second], turned[first]
        yield "arguments", 1.5, again(*turned, *keywords)
    for position in range(len(args) if len(args) + len(keywords) > 1 else 0):
        yield "arguments", 2.6, again(*args[:position], *args[position + 1 :], *keywords)
    for position in range(len(keywords)):
        yield "arguments", 2.8, again(*args, *keywords[:position], *keywords[position + 1 :])
    if isinstance(part.func, ast.Attribute):
        yield "call", 3.2, text.piece(part.func.value)
    elif len(args) == 1 and not isinstance(part.args[0], ast.Starred):
        yield "call", 2.8, text.piece(part.args[0])
    called, named = getattr(part.func, "id", getattr(part.func, "attr", "")), {item.arg for item in part.keywords}
    if called in _ORDERED:
        more: dict[str, float] = {"key=len": 4, "key=abs": 4, "key=str": 4} if "key" not in named else {}
        more |= {"reverse=True": 2.4} if _ORDERED[called] and "reverse" not in named else {}
        for keyword, cost in more.items():
            yield "arguments", cost, again(*args, *keywords, keyword)
    elif called == "range":
        yield from _range([text.piece(item) for item in part.args], again)


def _range(args: list[Piece], again: Callable[..., Piece]) -> Found:
    if len(args) == 1:
        (stop,) = args
        yield "bounds", 1.8, again("1", stop.text)
        yield "bounds", 2.4, again("1", shifted(stop, "+ 1"))
        yield "bounds", 3, again("2", stop.text)
        yield "bounds", 3, again(shifted(stop, "- 1"), "-1", "-1")
        yield "bounds", 3.2, again("2", shifted(stop, "+ 1"))
        yield "bounds", 3.4, again("0", stop.text, "2")
    elif len(args) == 2:
        start, stop = args
        yield "bounds", 2.4, again(shifted(start, "+ 1"), shifted(stop, "+ 1"))
        yield "bounds", 2.6, again("0", stop.text)
        yield "bounds", 3, again(start.text, stop.text, "-1")
        yield "bounds", 3, again(start.text, stop.text, "2")
        yield "bounds", 3.2, again(stop.text, start.text, "-1")


def subscript(text: SourceText, part: ast.Subscript, names: Sequence[str]) -> Found:
    value = text.piece(part.value)
    yield "index", 3.2, value
    if isinstance(part.slice, ast.Slice):
        yield from _slice(text, value.within(ATOM), part.slice, names)
    elif not isinstance(part.slice, ast.Tuple):
        yield from _index(text, value.within(ATOM), part.slice)


def _index(text: SourceText, value: str, part: ast.expr) -> Found:
    number, index = number_of(part), text.piece(part)
    if number is not None:
        yield "index", 2, Piece(f"{value}[{0 if number == -1 else -1}]")
    elif isinstance(part, ast.Constant):
        return  # a key
    else:
        yield "index", 3, Piece(f"{value}[-{index.within(FACTOR)}]")
    yield "index", 3.8, Piece(f"{value}[{index.text}:]")
    yield "index", 3.8, Piece(f"{value}[:{index.text}]")


def _slice(text: SourceText, value: str, part: ast.Slice, names: Sequence[str]) -> Found:
    written = ["" if item is None else text.text(item) for item in (part.lower, part.upper, part.step)]

    def bound(position: int, said: str) -> Piece:
        new = [*written]
        new[position] = said
        return Piece(f"{value}[{':'.join(new if new[2] else new[:2])}]")

    for position, said in enumerate(written):
        if said:
            yield "bounds", 2.2, bound(position, "")
    yield "bounds", 2.6, Piece(f"{value}[{written[1]}:{written[0]}]")
    if written[2]:
        return
    yield "bounds", 2.8, bound(2, "-1")
    yield "bounds", 3, bound(2, "2")
    for position, usual in ((0, "1"), (1, "-1")):
        if not written[position]:
            yield "bounds", 2.4, bound(position, usual)
            for item in names:
                yield "bounds", 2.9, bound(position, item)
                yield "bounds", 3.2, bound(position, f"{item} + 1")
                yield "bounds", 3.4, bound(position, f"-{item}")
