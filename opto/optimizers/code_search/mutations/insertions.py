"""Statements that may be missing."""

import ast
from collections.abc import Iterator, Sequence
from heapq import nsmallest

from opto.optimizers.code_search.mutations.starts import starts
from opto.optimizers.code_search.mutations.text import LOOPS, Site, SourceText
from opto.splice import Edit

__all__ = ["insertions"]

Found = Iterator[tuple[str, float, tuple[Edit, ...]]]
#: In long functions, those nearby.
_MOST_COPIES = 40
_SIMPLE = (ast.Assign, ast.AugAssign, ast.Expr, ast.Break, ast.Continue, ast.Return)
_JUMPS = (ast.Return, ast.Break, ast.Continue, ast.Raise)
_TRUTHS = ("True", "False", "None")


def insertions(text: SourceText, site: Site, names: Sequence[str]) -> Found:
    """Yield what may be missing before the statement at *site*, or behind it if it is the last of its block."""
    span, margin = text.lines(site.part, site.part), text.margin(site.part)
    if span is None or text.is_elif(site.part):
        return
    copies = list(_copies(text, site))
    before: list[tuple[str, float, str]] = [*starts(text, site, names), *copies]
    behind: list[tuple[str, float, str]] = []
    if site.part is site.block[-1] and not isinstance(site.part, _JUMPS):
        behind = [*_endings(site, names), *_countings(site, names), *copies]
    for offset, found in ((span[0], before), (span[1], behind)):
        for kind, cost, line in found:
            yield kind, cost, (text.inserted(offset, f"{margin}{line}{text.newline}"),)


_Lines = Iterator[tuple[str, float, str]]


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
