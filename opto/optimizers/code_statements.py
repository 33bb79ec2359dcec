"""Changes of whole statements: taken out, moved, put in, and what stands around them."""

import ast
import builtins
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from opto.optimizers.code_text import OTHER_SIGNS, SIGNS, Edit, Site, SourceText

__all__ = ["statement_edits"]

Found = Iterator[tuple[str, float, tuple[Edit, ...]]]
_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_BLOCKS = (*_LOOPS, ast.If, ast.With, ast.AsyncWith)
_SIMPLE = (ast.Assign, ast.AugAssign, ast.Expr, ast.Break, ast.Continue, ast.Return)


def statement_edits(text: SourceText, site: Site, names: Sequence[str]) -> Found:
    """Yield changes of the statement at *site*: their kind, cost and edits. *names* are those that it may use."""
    part = site.part
    if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    block: list[Any] = getattr(site.parent, site.name)
    yield from _removed(text, part, block)
    yield from _turned(text, site, block)
    yield from _moved(text, site, block)
    match part:
        case ast.AugAssign():
            yield from _accumulated(text, part)
        case ast.Assign(targets=[ast.Name()]):
            value = text.text(part.value)
            for cost, sign in ((2.8, "+"), (3.4, "-"), (3.6, "*")):
                yield "assignment", cost, (Edit(*text.span(part), f"{text.text(part.targets[0])} {sign}= {value}"),)
        case ast.Break() | ast.Continue():
            yield "jump", 1.5, (Edit(*text.span(part), "continue" if isinstance(part, ast.Break) else "break"),)
        case ast.Return():
            yield from _returned(text, part, names)
        case ast.If():
            yield from _branches(text, site, block)
    if part is block[-1]:
        yield from _added(text, site, names)
    yield from _copied(text, site, names)


def _is_movable(part: ast.AST) -> bool:
    """True if its lines may be indented otherwise: those of a text would change their meaning."""
    return not any(
        isinstance(item, ast.JoinedStr | ast.Constant) and item.lineno != item.end_lineno for item in ast.walk(part)
    )


def _at(text: SourceText, parts: Sequence[Any], margin: str) -> str | None:
    """Return the lines of the statements *parts* with another indentation; None if they cannot have one."""
    span = text.lines(parts[0], parts[-1])
    if span is None or not all(map(_is_movable, parts)):
        return None
    old = text.margin(parts[0])
    lines = text.between(*span).splitlines(keepends=True)
    return "".join(margin + line.removeprefix(old) if line.strip() else line for line in lines)


def _inserted(text: SourceText, offset: int, lines: str) -> Edit:
    begun = offset and text.between(offset - 1, offset) != "\n"
    return Edit(offset, offset, f"\n{lines}" if begun else lines)


def _removed(text: SourceText, part: Any, block: list[Any]) -> Found:
    cost = 2.6 if isinstance(part, ast.Return | ast.If) else 3.4 if isinstance(part, _BLOCKS) else 2.4
    if text.text(part).startswith("elif"):
        span = text.lines(part, part.body[-1])
        if span is not None:
            yield "removal", cost, (Edit(*span, ""),)
        return
    span = text.lines(part, part)
    if len(block) > 1 and span is not None:
        yield "removal", cost, (Edit(*span, ""),)
    elif not isinstance(part, ast.Pass):
        yield "removal", cost, (Edit(*text.span(part), "pass"),)


def _turned(text: SourceText, site: Site, block: list[Any]) -> Found:
    """Swap a statement with the next, or with one further on."""
    for distance in (1, 2):
        if site.position + distance >= len(block):
            return
        mine, other = text.lines(site.part, site.part), text.lines(*[block[site.position + distance]] * 2)
        if mine is None or other is None:
            return
        edits = (Edit(*mine, text.between(*other)), Edit(*other, text.between(*mine)))
        yield "order", 2 + distance * 0.4, edits


def _moved(text: SourceText, site: Site, block: list[Any]) -> Found:
    """Move the last statement of a block out of it, and the one behind a block into it."""
    part = site.part
    if part is block[-1] and len(block) > 1 and isinstance(site.parent, _BLOCKS):
        mine, behind = text.lines(part, part), text.lines(site.parent, site.parent)
        lines = _at(text, [part], text.margin(site.parent))
        if mine and behind and lines and not text.text(site.parent).startswith("elif"):
            cost = 1.8 if isinstance(part, ast.Return) else 2.4
            yield "nesting", cost, (Edit(*mine, ""), _inserted(text, behind[1], lines))
    if site.position and isinstance(block[site.position - 1], _BLOCKS):
        before = block[site.position - 1]
        mine = text.lines(part, part)
        for name in ("body", "orelse"):
            inner = getattr(before, name, None)
            if not inner or mine is None:
                continue
            end, lines = text.lines(inner[-1], inner[-1]), _at(text, [part], text.margin(inner[-1]))
            if end and lines:
                yield "nesting", 2.6, (_inserted(text, end[1], lines), Edit(*mine, ""))


def _accumulated(text: SourceText, part: ast.AugAssign) -> Found:
    target, value = text.text(part.target), text.text(part.value)
    sign = SIGNS[type(part.op)]
    for other, cost in OTHER_SIGNS[sign].items():
        yield "operator", cost, (Edit(*text.span(part), f"{target} {other}= {value}"),)
    yield "assignment", 2, (Edit(*text.span(part), f"{target} = {value}"),)
    yield "assignment", 3.2, (Edit(*text.span(part), f"{target} = {value} {sign} {target}"),)


def _returned(text: SourceText, part: ast.Return, names: Sequence[str]) -> Found:
    written = "" if part.value is None else text.text(part.value)
    for position, name in enumerate(names):
        if not isinstance(part.value, ast.Name):
            yield "result", 2.8 + min(position, 9) * 0.1, (Edit(*text.span(part), f"return {name}"),)
    truth = isinstance(part.value, ast.Constant) and isinstance(part.value.value, bool)
    for cost, value in ((3, "True"), (3, "False"), (3.6, "None"), (3.8, "0"), (3.9, "[]"), (3.9, '""'), (4, "-1")):
        if value != written and not truth:
            yield "result", cost, (Edit(*text.span(part), f"return {value}"),)


def _branches(text: SourceText, site: Site, block: list[Any]) -> Found:
    part = site.part
    is_elif = text.text(part).startswith("elif")
    margin = text.margin(part)
    whole = text.lines(part, part)
    if is_elif:
        start, _ = text.span(part)
        yield "branches", 2.6, (Edit(start, start + 4, "if"),)
    elif site.position and isinstance(block[site.position - 1], ast.If) and not _has_else(block[site.position - 1]):
        start, _ = text.span(part)
        yield "branches", 2.6, (Edit(start, start, "el"),)
    if part.orelse and not text.text(part.orelse[0]).startswith("elif"):
        body_end, end = text.lines(part.body[-1], part.body[-1]), text.lines(part.orelse[-1], part.orelse[-1])
        if body_end and end:
            yield "branches", 3, (Edit(body_end[1], end[1], ""),)
            lines = None if is_elif else _at(text, part.orelse, margin)
            if lines:
                yield "branches", 3, (Edit(body_end[1], end[1], lines),)
    if not part.orelse and not is_elif and whole and (lines := _at(text, part.body, margin)):
        yield "branches", 2.8, (Edit(*whole, lines),)
    if part.orelse or whole is None:
        return
    inner = text.lines(part.body[0], part.body[-1])
    following = block[site.position + 1] if site.position + 1 < len(block) else None
    if inner and following is not None and not isinstance(part.body[-1], ast.Return | ast.Continue | ast.Break):
        span, lines = text.lines(following, following), _at(text, [following], text.margin(part.body[0]))
        if span and lines:
            yield "branches", 2.9, (Edit(*span, f"{margin}else:\n{lines}"),)


def _has_else(part: ast.If) -> bool:
    while part.orelse:
        if not isinstance(part.orelse[0], ast.If):
            return True
        part = part.orelse[0]
    return False


def _added(text: SourceText, site: Site, names: Sequence[str]) -> Found:
    """Put the likeliest statements in at the end of a block."""
    part, function = site.part, site.functions[-1]
    span = text.lines(part, part)
    if span is None:
        return
    margin = text.margin(part)

    def add(line: str) -> tuple[Edit, ...]:
        return (_inserted(text, span[1], f"{margin}{line}\n"),)

    in_loop = any(isinstance(loop, _LOOPS) for loop in site.loops)
    ends = isinstance(part, ast.Return | ast.Break | ast.Continue | ast.Raise)
    if ends:
        return
    if site.parent is function:
        for name in names:
            yield "result", 2.2, add(f"return {name}")
        for value in ("True", "False", "None"):
            yield "result", 2.6, add(f"return {value}")
    stores, starts = _stores(function)
    for name in stores if in_loop else ():
        cost = 3 if isinstance(site.parent, _LOOPS) else 3.4
        yield "counting", cost, add(f"{name} += 1")
        yield "counting", cost + 0.4, add(f"{name} -= 1")
        if name in starts:
            for item in names:
                if item != name:
                    yield "counting", cost + 0.2, add(f"{name}.append({item})")
                    yield "counting", cost + 0.8, add(f"{name} += {item}")
        else:
            for item in names:
                if item != name:
                    yield "assignment", cost + 0.6, add(f"{name} = {item}")
                    yield "counting", cost + 0.6, add(f"{name} += {item}")
    if in_loop and isinstance(site.parent, ast.If):
        yield "jump", 3, add("break")
        yield "jump", 3, add("continue")
    if isinstance(site.parent, ast.If):
        for name in names:
            yield "result", 3.8, add(f"return {name}")
        for value in ("True", "False", "None"):
            yield "result", 3.8, add(f"return {value}")


def _stores(function: ast.AST) -> tuple[list[str], set[str]]:
    """Return the names that are assigned in *function*, and those of them that start as lists."""
    found: dict[str, None] = {}
    lists: set[str] = set()
    for part in ast.walk(function):
        if isinstance(part, ast.Assign | ast.AugAssign):
            for target in part.targets if isinstance(part, ast.Assign) else [part.target]:
                if isinstance(target, ast.Name):
                    found[target.id] = None
                    if isinstance(part.value, ast.List):
                        lists.add(target.id)
    return list(found), lists


def _copied(text: SourceText, site: Site, names: Sequence[str]) -> Found:
    """Put a copy of another simple statement before this one, or behind it at the end of a block."""
    part, function = site.part, site.functions[-1]
    span = text.lines(part, part)
    if span is None or text.text(part).startswith("elif"):
        return
    margin = text.margin(part)
    if site.parent is function and site.position <= 1:
        for name in _unstarted(function):
            for cost, value in ((2, "0"), (2, "[]"), (2.2, "1"), (2.4, '""'), (2.4, "{}"), (2.6, "set()"), (2.6, "None")):
                yield "start", cost, (_inserted(text, span[0], f"{margin}{name} = {value}\n"),)
            for item in names:
                yield "start", 2.4, (_inserted(text, span[0], f"{margin}{name} = {item}\n"),)
                for cost, call in ((2.6, "len"), (2.8, "list"), (2.8, "sorted"), (3, "int"), (3, "float"), (3, "str")):
                    yield "start", cost, (_inserted(text, span[0], f"{margin}{name} = {call}({item})\n"),)
    near = set(map(id, getattr(site.parent, site.name)))
    is_last = part is getattr(site.parent, site.name)[-1]
    for other in ast.walk(function):
        if not isinstance(other, _SIMPLE) or isinstance(getattr(other, "value", None), ast.Constant):
            continue
        if isinstance(other, ast.Break | ast.Continue) and not any(isinstance(item, _LOOPS) for item in site.loops):
            continue
        if not _is_movable(other):
            continue
        copy, cost = f"{margin}{text.text(other)}\n", 3.8 if id(other) in near else 4.1
        yield "copy", cost, (_inserted(text, span[0], copy),)
        if is_last and not isinstance(part, ast.Return | ast.Break | ast.Continue):
            yield "copy", cost, (_inserted(text, span[1], copy),)


def _unstarted(function: Any) -> list[str]:
    """Return the names that *function* reads or counts up in a line before any that gives them a value."""
    known = {item.arg for item in ast.walk(function) if isinstance(item, ast.arg)} | set(dir(builtins))
    given: dict[str, int] = {}
    used: dict[str, int] = {}
    passed_over: set[int] = set()
    for part in ast.walk(function):  # what is above comes before what is inside
        match part:
            case ast.AugAssign(target=ast.Name() as target):
                used[target.id] = min(part.lineno, used.get(target.id, part.lineno))
                passed_over.add(id(target))
            case ast.Call(func=ast.Name() as outside) | ast.Attribute(value=ast.Name() as outside) if (
                isinstance(part, ast.Call) or outside.id in sys.stdlib_module_names
            ):
                passed_over.add(id(outside))  # helpers and modules come from outside
            case ast.Name() if id(part) not in passed_over:
                lines = used if isinstance(part.ctx, ast.Load) else given
                lines[part.id] = min(part.lineno, lines.get(part.id, part.lineno))
    return [name for name, line in used.items() if name not in known and line < given.get(name, line + 1)]
