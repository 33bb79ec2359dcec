"""Names that lack their first value, and what it may be."""

import ast
import builtins
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from opto.optimizers.code_search.mutations.text import Site, SourceText
from opto.optimizers.code_search.mutations.values import CONFUSED

__all__ = ["starts"]

_Lines = Iterator[tuple[str, float, str]]
_Place = tuple[int, int]
_STARTS = {"0": 2, "[]": 2, "1": 2.5, '""': 2.4, "{}": 2.4, "set()": 2.6, "None": 2.6}
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
#: Names without a value, and assignments that another one may be like, as far as they are looked at.
_MOST_MISSING, _MOST_ASSIGNMENTS = 4, 10
#: How arguments are often made ready.
_PREPARED = {"sorted({})": 3, "list({})": 4, "set({})": 4, "abs({})": 4, "str({})": 4, "int({})": 4}
_PREPARED |= {"{}[::-1]": 4, "{}.lower()": 4, "{}.strip()": 4, "{}.split()": 4}


def starts(text: SourceText, site: Site, names: Sequence[str]) -> _Lines:
    """Yield the lines that may be missing before the statement at *site*: first values, and arguments made ready."""
    function = site.functions[-1]
    outer = {name for item in site.functions[:-1] for name in text.noted(item, _given)}
    places = {name: place for name, place in text.noted(function, _unstarted).items() if name not in outer}
    here = [name for name, place in places.items() if _place(site.part) <= place < _end(site.part)]
    rest = [name for name, place in places.items() if place >= _end(site.part)]
    more = 0.0 if site.parent is function else 0.8
    for name in here[:_MOST_MISSING]:
        for value, cost in _STARTS.items():
            yield "start", cost + more, f"{name} = {value}"
        for other in names:
            for value, cost in _STARTS_OF.items():
                yield "start", cost + more, f"{name} = {value.format(other)}"
    for line, cost in _like_others(text, function, here[:_MOST_MISSING], rest):
        yield "start", cost + more, line
    if site.parent is function and not any(_is_statement(item) for item in function.body[: site.position]):
        for argument in function.args.args:
            for value, cost in _PREPARED.items():
                yield "start", cost, f"{argument.arg} = {value.format(argument.arg)}"


def _is_statement(part: ast.stmt) -> bool:
    """True unless it is a docstring."""
    return not isinstance(part, ast.Expr) or not isinstance(part.value, ast.Constant)


def _like_others(
    text: SourceText, function: Any, here: Sequence[str], rest: Sequence[str]
) -> Iterator[tuple[str, float]]:
    """Yield assignments like others of *function* to names that are missing *here*, and maybe to the *rest* of them."""
    if not here:
        return
    missing, arguments = [*here, *rest], [item.arg for item in function.args.args]
    others = [item for item in ast.walk(function) if isinstance(item, ast.Assign) and len(item.targets) == 1]
    for other in others[:_MOST_ASSIGNMENTS]:
        target = other.targets[0]
        count = len(target.elts) if isinstance(target, ast.Tuple) else 1
        if not isinstance(target, ast.Name | ast.Tuple) or count > len(missing):
            continue
        last = min(len(here), len(missing) - count + 1)
        targets = [", ".join(missing[at : at + count]) for at in range(last)]
        for value, cost in _variants(text, other.value, arguments):
            for said in targets:
                yield f"{said} = {value}", cost


def _variants(text: SourceText, value: ast.expr, names: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Yield how *value* is written, and that with another function, or one of *names* in place of another name."""
    begin, end = text.span(value)
    yield text.text(value), 2.8
    called = {id(item.func) for item in ast.walk(value) if isinstance(item, ast.Call)}
    for part in ast.walk(value):
        if isinstance(part, ast.Name):
            others = CONFUSED.get(part.id, ()) if id(part) in called else names
            start, stop = text.span(part)
            for name in others:
                if name != part.id:
                    yield f"{text.between(begin, start)}{name}{text.between(stop, end)}", 2.9


def _given(function: Any) -> set[str]:
    """Return the names to which *function* gives a value, at whatever place."""
    return {
        item.id if isinstance(item, ast.Name) else item.arg
        for item in ast.walk(function)
        if isinstance(item, ast.arg) or (isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store))
    }


def _end(part: Any) -> _Place:
    return part.end_lineno, part.end_col_offset


def _unstarted(function: Any) -> dict[str, _Place]:
    """Return the names that *function* reads or counts up before anything gives them a value, and where first."""
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
    found = sorted((place, name) for name, place in used.items() if name not in known)
    return {name: place for place, name in found if place < given.get(name, (sys.maxsize, 0))}


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
