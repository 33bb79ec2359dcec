"""Statements that may be missing."""

import ast
import builtins
import sys
from collections.abc import Iterator, Sequence
from heapq import nsmallest
from typing import Any

from opto.optimizers.mutations.text import LOOPS, Site, SourceText
from opto.splice import Edit

__all__ = ["insertions"]

Found = Iterator[tuple[str, float, tuple[Edit, ...]]]
#: In long functions, those nearby.
_MOST_COPIES = 40
_SIMPLE = (ast.Assign, ast.AugAssign, ast.Expr, ast.Break, ast.Continue, ast.Return)
_JUMPS = (ast.Return, ast.Break, ast.Continue, ast.Raise)
_STARTS = {"0": 2, "[]": 2, "1": 2.2, '""': 2.4, "{}": 2.4, "set()": 2.6, "None": 2.6}
_STARTS_OF = {
    "{}": 2.4,
    "len({})": 2.6,
    "{}.split()": 2.8,
    "list({})": 2.8,
    "sorted({})": 2.8,
    "int({})": 3,
    "float({})": 3,
    "str({})": 3,
}
#: How arguments are often made ready.
_PREPARED = {"sorted({})": 3, "list({})": 4, "set({})": 4, "abs({})": 4, "str({})": 4, "int({})": 4}
_PREPARED |= {"{}[::-1]": 4, "{}.lower()": 4, "{}.strip()": 4, "{}.split()": 4}
_TRUTHS = ("True", "False", "None")


def insertions(text: SourceText, site: Site, names: Sequence[str]) -> Found:
    """Yield what may be missing before the statement at *site*, or behind it if it is the last of its block."""
    span, margin = text.lines(site.part, site.part), text.margin(site.part)
    if span is None or text.is_elif(site.part):
        return
    before: list[tuple[str, float, str]] = []
    behind: list[tuple[str, float, str]] = []
    if site.parent is site.functions[-1] and site.position <= 1:
        before += _starts(site.parent, names)
    copies = list(_copies(text, site))
    before += copies
    if site.part is site.block[-1] and not isinstance(site.part, _JUMPS):
        behind = [*_endings(site, names), *_countings(site, names), *copies]
    for offset, found in ((span[0], before), (span[1], behind)):
        for kind, cost, line in found:
            yield kind, cost, (text.inserted(offset, f"{margin}{line}{text.newline}"),)


_Lines = Iterator[tuple[str, float, str]]


def _starts(function: Any, names: Sequence[str]) -> _Lines:
    for missing in _unstarted(function):
        for value, cost in _STARTS.items():
            yield "start", cost, f"{missing} = {value}"
        for name in names:
            for value, cost in _STARTS_OF.items():
                yield "start", cost, f"{missing} = {value.format(name)}"
    for argument in function.args.args:
        for value, cost in _PREPARED.items():
            yield "start", cost, f"{argument.arg} = {value.format(argument.arg)}"


def _unstarted(function: Any) -> list[str]:
    """Return the names that *function* reads or counts up before anything gives them a value, as the text goes."""
    known = {item.arg for item in ast.walk(function) if isinstance(item, ast.arg)} | set(dir(builtins))
    given: dict[str, _Place] = {}
    used: dict[str, _Place] = {}
    outside: set[int] = set()
    ends: dict[int, _Place] = {}
    for part in ast.walk(function):  # what is above comes before what is inside
        match part:
            case ast.Call(func=ast.Name() as name):
                outside.add(id(name))  # a helper, as far as can be seen
            case ast.Attribute(value=ast.Name() as name) if name.id in sys.stdlib_module_names:
                outside.add(id(name))
            case ast.AugAssign(target=ast.Name() as name):
                used[name.id] = min(_place(part), used.get(name.id, _place(part)))
                outside.add(id(name))
            case ast.Assign() | ast.AnnAssign():
                # The value is read first: `n = n + 1`.
                end = (part.end_lineno or 0, part.end_col_offset or 0)
                ends |= {id(item): end for item in ast.walk(part) if isinstance(item, ast.Name)}
            case ast.comprehension():
                known |= {item.id for item in ast.walk(part.target) if isinstance(item, ast.Name)}
            case ast.Name() if id(part) not in outside:
                is_read = isinstance(part.ctx, ast.Load)
                places, place = (used, _place(part)) if is_read else (given, ends.get(id(part), _place(part)))
                places[part.id] = min(place, places.get(part.id, place))
            case _:
                known |= _named(part)
    return [name for name, place in used.items() if name not in known and place < given.get(name, (sys.maxsize, 0))]


_Place = tuple[int, int]


def _place(part: Any) -> _Place:
    return part.lineno, part.col_offset


def _named(part: ast.AST) -> set[str]:
    """Return the names to which *part* itself gives a value, other than by assigning."""
    match part:
        case ast.alias():
            return {(part.asname or part.name).partition(".")[0]}
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return {part.name}
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            return {name}
        case ast.MatchMapping(rest=str(name)):
            return {name}
        case ast.Global() | ast.Nonlocal():
            return {*part.names}
    return set()


def _copies(text: SourceText, site: Site) -> _Lines:
    """Yield the other simple statements of the function."""
    in_loop = any(isinstance(item, LOOPS) for item in site.loops)
    others = [item for item in ast.walk(site.functions[-1]) if isinstance(item, _SIMPLE)]
    if len(others) > _MOST_COPIES:
        others = nsmallest(_MOST_COPIES, others, key=lambda item: abs(item.lineno - site.part.lineno))
    for other in others:
        if isinstance(getattr(other, "value", None), ast.Constant):
            continue
        if text.is_movable(other) and (in_loop or not isinstance(other, ast.Break | ast.Continue)):
            yield "copy", 3.8 if any(other is item for item in site.block) else 4.1, text.text(other)


def _endings(site: Site, names: Sequence[str]) -> _Lines:
    """Yield how a function or branch may go on: with a result, or out of the loop."""
    if site.parent is site.functions[-1]:
        cost = 2.2
    elif isinstance(site.parent, ast.If):
        cost = 3.8
    else:
        return
    for value in (*names, *_TRUTHS):
        yield "result", cost, f"return {value}"
    if cost > 3 and any(isinstance(item, LOOPS) for item in site.loops):
        yield "jump", 3, "break"
        yield "jump", 3, "continue"


def _countings(site: Site, names: Sequence[str]) -> _Lines:
    """Yield what a loop may collect, in names that the function assigns."""
    if not any(isinstance(item, LOOPS) for item in site.loops):
        return
    cost = 3 if isinstance(site.parent, LOOPS) else 3.4
    for target, is_list in _assigned(site.functions[-1]).items():
        yield "counting", cost, f"{target} += 1"
        yield "counting", cost + 0.4, f"{target} -= 1"
        for name in names:
            if name != target and is_list:
                yield "counting", cost + 0.2, f"{target}.append({name})"
            elif name != target:
                yield "assignment", cost + 0.6, f"{target} = {name}"
                yield "counting", cost + 0.6, f"{target} += {name}"


def _assigned(function: ast.AST) -> dict[str, bool]:
    """Return the names that are assigned in *function*, and whether they start as lists."""
    found: dict[str, bool] = {}
    for part in ast.walk(function):
        match part:
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AugAssign(target=ast.Name(id=name)):
                found[name] = found.get(name, False) or isinstance(part.value, ast.List)
    return found
