"""Whole statements: taken out, moved, and changed in what they do."""

import ast
from collections.abc import Iterator, Sequence
from typing import Any

from opto.optimizers.code_search.mutations.insertions import insertions
from opto.optimizers.code_search.mutations.layout import unbroken
from opto.optimizers.code_search.mutations.pieces import OTHER_SIGNS, SIGNS, binary
from opto.optimizers.code_search.mutations.text import LOOPS, Site, SourceText
from opto.splice import Edit

__all__ = ["statement_edits"]

Found = Iterator[tuple[str, float, tuple[Edit, ...]]]
_BLOCKS = (*LOOPS, ast.If, ast.With, ast.AsyncWith)
_JUMPS = (ast.Return, ast.Break, ast.Continue, ast.Raise)
_RESULTS = {"True": 3, "False": 3, "None": 3.6, "0": 3.8, "[]": 3.9, '""': 3.9, "-1": 4}


def statement_edits(text: SourceText, site: Site, names: Sequence[str]) -> Found:
    """Yield changes of the statement at *site*: their kind, cost and edits. *names* are those that it may use."""
    if isinstance(site.part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    yield from _removed(text, site)
    yield from _exchanged(text, site)
    yield from _outside(text, site)
    yield from _inside(text, site)
    if isinstance(site.part, ast.If):
        yield from _else(text, site)
        yield from _unwrapped(text, site)
        yield from _joined_to(text, site)
    else:
        yield from _rewritten(text, site.part, names)
    yield from insertions(text, site, names)


def _removed(text: SourceText, site: Site) -> Found:
    part = site.part
    cost = 2.6 if isinstance(part, ast.Return | ast.If) else 3.4 if isinstance(part, _BLOCKS) else 2.4
    if isinstance(part, _JUMPS) and isinstance(site.parent, LOOPS) and part is site.block[-1]:
        cost = 0.8  # the loop would not be one
    span = text.lines(part, part.body[-1]) if text.is_elif(part) else text.lines(part, part)
    if span is not None and (len(site.block) > 1 or text.is_elif(part)):
        yield "removal", cost, (Edit(*span, ""),)
    elif not isinstance(part, ast.Pass) and not text.is_elif(part):
        yield "removal", cost, (Edit(*text.span(part), "pass"),)


def _exchanged(text: SourceText, site: Site) -> Found:
    """Exchange a statement with the next, or the one behind that."""
    mine = text.lines(site.part, site.part)
    for distance, other in enumerate(site.block[site.position + 1 : site.position + 3], start=1):
        theirs = text.lines(other, other)
        if mine and theirs and not text.is_elif(site.part):
            edits = (Edit(*mine, text.between(*theirs)), Edit(*theirs, text.between(*mine)))
            yield "order", 2 + distance * 0.4, edits


def _outside(text: SourceText, site: Site) -> Found:
    """Move the last statement of a block behind it."""
    part, parent = site.part, site.parent
    if part is not site.block[-1] or len(site.block) == 1 or not isinstance(parent, _BLOCKS) or text.is_elif(parent):
        return
    mine, behind = text.lines(part, part), text.lines(parent, parent)
    lines = text.at([part], text.margin(parent))
    if mine and behind and lines:
        yield (
            "nesting",
            1.8 if isinstance(part, ast.Return) else 2.4,
            (Edit(*mine, ""), text.inserted(behind[1], lines)),
        )


def _inside(text: SourceText, site: Site) -> Found:
    """Move a statement into the end of the block before it."""
    before = site.block[site.position - 1] if site.position else None
    mine = text.lines(site.part, site.part)
    if mine is None or not isinstance(before, _BLOCKS):
        return
    for name in ("body", "orelse"):
        if inner := getattr(before, name, None):
            end, lines = text.lines(inner[-1], inner[-1]), text.at([site.part], text.margin(inner[-1]))
            if end and lines:
                yield "nesting", 2.6, (text.inserted(end[1], lines), Edit(*mine, ""))


def _else(text: SourceText, site: Site) -> Found:
    """Take an else away, with what is in it or without; make one of what follows."""
    part, margin = site.part, text.margin(site.part)
    if part.orelse and not text.is_elif(part.orelse[0]):
        body, other = text.lines(part.body[-1], part.body[-1]), text.lines(part.orelse[-1], part.orelse[-1])
        if body and other:
            yield "branches", 3, (Edit(body[1], other[1], ""),)
            if (lines := text.at(part.orelse, margin)) and not text.is_elif(part):
                yield "branches", 3, (Edit(body[1], other[1], lines),)
    yield from _opposite(text, site)
    following = site.block[site.position + 1 : site.position + 2]
    if following and not part.orelse and not isinstance(part.body[-1], _JUMPS):
        span, lines = text.lines(following[0], following[0]), text.at(following, text.margin(part.body[0]))
        if span and lines and text.lines(part.body[0], part.body[0]):
            yield "branches", 2.9, (Edit(*span, f"{margin}else:{text.newline}{lines}"),)


#: What is done in the one branch and undone, or done otherwise, in the other.
_OPPOSITES = {"+": "-", "-": "+", "*": "//", "//": "*"}


def _opposite(text: SourceText, site: Site) -> Found:
    """Add an else that does the opposite of the if."""
    part = site.part
    span = text.lines(part.body[0], part.body[0])
    if part.orelse or len(part.body) != 1 or span is None:
        return
    match part.body[0]:
        case ast.AugAssign(target=target, value=value, op=op) if (sign := _OPPOSITES.get(SIGNS[type(op)])) is not None:
            said = f"{text.text(target)} {sign}= {text.text(value)}"
        case ast.Assign(targets=[target], value=ast.BinOp(left=left, op=op, right=right)) if (
            sign := _OPPOSITES.get(SIGNS[type(op)])
        ) is not None:
            opposite = binary(text.piece(left), sign, text.piece(right))
            said = f"{text.text(target)} = {unbroken(opposite.text)}"
        case (
            ast.Return(value=ast.Constant(value=bool() as truth))
            | ast.Assign(value=ast.Constant(value=bool() as truth))
        ):
            said = text.text(part.body[0]).removesuffix(repr(truth)) + repr(not truth)
        case _:
            return
    lines = f"{text.margin(part)}else:{text.newline}{text.margin(part.body[0])}{said}{text.newline}"
    yield "branches", 2.9, (text.inserted(span[1], lines),)


def _unwrapped(text: SourceText, site: Site) -> Found:
    part = site.part
    span, lines = text.lines(part, part), text.at(part.body, text.margin(part))
    if span and lines and not part.orelse and not text.is_elif(part):
        yield "branches", 2.8, (Edit(*span, lines),)


def _joined_to(text: SourceText, site: Site) -> Found:
    """Make an elif of an if, and an if of an elif."""
    start, _ = text.span(site.part)
    before = site.block[site.position - 1] if site.position else None
    if text.is_elif(site.part):
        yield "branches", 2.6, (Edit(start, start + len("elif"), "if"),)
    elif isinstance(before, ast.If) and not _has_else(before):
        yield "branches", 2.6, (Edit(start, start, "el"),)


def _has_else(part: Any) -> bool:
    while part.orelse and isinstance(part.orelse[0], ast.If):
        part = part.orelse[0]
    return bool(part.orelse)


def _rewritten(text: SourceText, part: Any, names: Sequence[str]) -> Found:
    """Yield what a statement of one line may be instead."""
    found: list[tuple[str, float, str]]
    match part:
        case ast.AugAssign():
            target, value, sign = text.text(part.target), unbroken(text.text(part.value)), SIGNS[type(part.op)]
            found = [("operator", cost, f"{target} {other}= {value}") for other, cost in OTHER_SIGNS[sign].items()]
            found += [("assignment", 2, f"{target} = {value}")]
            found += [("assignment", 3.2, f"{target} = {value} {sign} {target}")]
        case ast.Assign(targets=[ast.Name(id=target)]):
            value = unbroken(text.text(part.value))
            signs = {"+": 2.8, "-": 3.4, "*": 3.6}
            found = [("assignment", cost, f"{target} {sign}= {value}") for sign, cost in signs.items()]
        case ast.Break() | ast.Continue():
            found = [("jump", 1.5, "continue" if isinstance(part, ast.Break) else "break")]
        case ast.Return(value=ast.Constant(value=bool())):
            found = [("result", 3, f"return {name}") for name in names]
        case ast.Return():
            found = [("result", cost, f"return {value}") for value, cost in _RESULTS.items()]
            if not isinstance(part.value, ast.Name):
                found += [("result", 2.8 + min(at, 9) * 0.1, f"return {name}") for at, name in enumerate(names)]
        case _:
            return
    for kind, cost, said in found:
        yield kind, cost, (Edit(*text.span(part), said),)
