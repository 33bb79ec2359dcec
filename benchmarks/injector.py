"""Bugs for `repair.py`: what people get wrong, put into a syntax tree. Shares nothing with the search."""

import ast
import copy
import random
from collections.abc import Callable, Iterator

Spoil = Callable[[], None]
ORDER = [ast.Lt, ast.LtE, ast.Gt, ast.GtE]
SUMS = [ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Div, ast.Mod]
PAIRS = [
    ("min", "max"),
    ("any", "all"),
    ("lower", "upper"),
    ("islower", "isupper"),
    ("startswith", "endswith"),
    ("append", "extend"),
    ("ceil", "floor"),
    ("keys", "values"),
    ("sum", "len"),
    ("find", "rfind"),
]
SIMPLE = (ast.Assign, ast.AugAssign, ast.Expr)
LOOPS = (ast.For, ast.While)


def injections(source: str, seed: int) -> Iterator[tuple[str, int]]:
    """Yield the bugs that can be put into *source*: kinds in turn, each kind with its places by chance."""
    rng = random.Random(seed)
    by_kind: dict[str, list[int]] = {}
    for number, (kind, _) in enumerate(_spoils(ast.parse(source))):
        by_kind.setdefault(kind, []).append(number)
    for places in by_kind.values():
        rng.shuffle(places)
    while by_kind:
        for kind in rng.sample(sorted(by_kind), len(by_kind)):
            yield kind, by_kind[kind].pop()
            if not by_kind[kind]:
                del by_kind[kind]


def injected(source: str, *numbers: int) -> str | None:
    """Return *source* with the bugs of these numbers; None if they get into each other's way."""
    tree = ast.parse(source)
    spoils = [spoil for _, spoil in _spoils(tree)]
    for number in numbers:
        before = ast.dump(tree)
        try:
            spoils[number]()
            text = ast.unparse(ast.fix_missing_locations(tree))
            ast.parse(text)
        except (ValueError, IndexError, SyntaxError, AttributeError):
            return None
        if ast.dump(tree) == before:
            return None
    return f"{text}\n"


def _spoils(tree: ast.Module) -> Iterator[tuple[str, Spoil]]:
    """Yield each bug with its kind and what puts it into *tree*, always in the same order."""
    function = next(item for item in reversed(tree.body) if isinstance(item, ast.FunctionDef))
    is_doc = ast.get_docstring(function) is not None
    body = function.body[is_doc:]
    nodes = [node for statement in body for node in ast.walk(statement)]
    names = sorted(
        {item.arg for item in function.args.args}
        | {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    )
    for node in nodes:
        yield from _in_expression(node, names)
        yield from _in_statement(node)
    for node in [function, *nodes]:
        for field in ("body", "orelse"):
            block = getattr(node, field, None)
            if isinstance(block, list):
                yield from _in_block(block, is_doc and node is function)


def _put(owner: object, field: str, value: object) -> Spoil:
    return lambda: setattr(owner, field, value)


def _item(items: list, position: int, value: object) -> Spoil:
    return lambda: items.__setitem__(position, value)


def _in_expression(  # noqa: C901, PLR0912, PLR0915 - one case for each kind
    node: ast.AST, names: list[str]
) -> Iterator[tuple[str, Spoil]]:
    match node:
        case ast.Compare():
            for position, sign in enumerate(node.ops):
                others = ORDER if type(sign) in ORDER else [ast.NotEq] if isinstance(sign, ast.Eq) else []
                others = [ast.Eq] if isinstance(sign, ast.NotEq) else others
                others = (
                    [ast.NotIn] if isinstance(sign, ast.In) else [ast.In] if isinstance(sign, ast.NotIn) else others
                )
                for other in others:
                    if other is not type(sign):
                        yield "wrong comparison", _item(node.ops, position, other())
        case ast.BinOp() if type(node.op) in SUMS:
            for other in SUMS:
                if other is not type(node.op):
                    yield "wrong arithmetic", _put(node, "op", other())
            yield "operands swapped", lambda: vars(node).update(left=node.right, right=node.left)
        case ast.BoolOp():
            yield "and for or", _put(node, "op", ast.Or() if isinstance(node.op, ast.And) else ast.And())
            for position in range(len(node.values)):
                rest = node.values[:position] + node.values[position + 1 :]
                if len(rest) > 1:
                    yield "condition forgotten", _put(node, "values", rest)
        case ast.Constant(value=bool()):
            yield "wrong truth", _put(node, "value", not node.value)
        case ast.Constant(value=int()):
            for other in {node.value + 1, node.value - 1, node.value + 2, node.value * 2} - {node.value}:
                if other >= 0:
                    yield "wrong number", _put(node, "value", other)
        case ast.Name(ctx=ast.Load()) if node.id in names:
            for other in names:
                if other != node.id:
                    yield "wrong variable", _put(node, "id", other)
        case ast.Call():
            for first in range(len(node.args) - 1):
                turned = [*node.args]
                turned[first], turned[first + 1] = turned[first + 1], turned[first]
                yield "arguments swapped", _put(node, "args", turned)
            field = "id" if isinstance(node.func, ast.Name) else "attr"
            for pair in PAIRS:
                if getattr(node.func, field, None) in pair:
                    other = pair[getattr(node.func, field) == pair[0]]
                    yield "wrong function", _put(node.func, field, other)
            if isinstance(node.func, ast.Name) and node.func.id == "range":
                last = 0 if len(node.args) == 1 else 1
                for by in (ast.Add, ast.Sub):
                    moved = ast.BinOp(node.args[last], by(), ast.Constant(1))
                    yield "loop bound", _item(node.args, last, moved)
                if last and not isinstance(node.args[0], ast.Constant):
                    yield "loop bound", _item(node.args, 0, ast.BinOp(node.args[0], ast.Add(), ast.Constant(1)))
            for keyword in node.keywords:
                if keyword.arg in {"reverse", "key"}:
                    yield "argument forgotten", _put(node, "keywords", [k for k in node.keywords if k is not keyword])
        case ast.Subscript(ctx=ast.Load(), slice=ast.Slice()):
            for field in ("lower", "upper"):
                bound = getattr(node.slice, field)
                if bound is not None:
                    yield "bound of a slice", _put(node.slice, field, ast.BinOp(bound, ast.Add(), ast.Constant(1)))
                    yield "bound of a slice", _put(node.slice, field, ast.BinOp(bound, ast.Sub(), ast.Constant(1)))
                    yield "bound of a slice", _put(node.slice, field, None)
        case ast.Subscript(ctx=ast.Load()) if not isinstance(node.slice, ast.Constant | ast.UnaryOp):
            for by in (ast.Add, ast.Sub):
                yield "index off by one", _put(node, "slice", ast.BinOp(node.slice, by(), ast.Constant(1)))
        case ast.IfExp():
            yield "branches swapped", lambda: vars(node).update(body=node.orelse, orelse=node.body)
        case ast.ListComp() | ast.GeneratorExp() | ast.SetComp():
            for part in node.generators:
                if part.ifs:
                    yield "condition forgotten", _put(part, "ifs", [])


def _in_statement(node: ast.AST) -> Iterator[tuple[str, Spoil]]:
    match node:
        case ast.If() | ast.While() | ast.IfExp():
            if isinstance(node.test, ast.UnaryOp) and isinstance(node.test.op, ast.Not):
                yield "not forgotten", _put(node, "test", node.test.operand)
            else:
                yield "condition negated", _put(node, "test", ast.UnaryOp(ast.Not(), node.test))
        case ast.AugAssign(op=ast.Add() | ast.Sub()):
            yield "wrong arithmetic", _put(node, "op", ast.Sub() if isinstance(node.op, ast.Add) else ast.Add())
        case ast.AugAssign(op=ast.Mult()):
            yield "wrong arithmetic", _put(node, "op", ast.Add())
        case ast.Return() if isinstance(node.value, ast.Compare | ast.BoolOp):
            yield "condition negated", _put(node, "value", ast.UnaryOp(ast.Not(), node.value))
        case ast.Return() if isinstance(node.value, ast.BinOp) and isinstance(node.value.op, ast.Add | ast.Sub):
            yield "part of the result forgotten", _put(node, "value", node.value.left)
    if isinstance(node, ast.If) and node.orelse:
        yield "branches swapped", lambda: vars(node).update(body=node.orelse, orelse=node.body)
        if not isinstance(node.orelse[0], ast.If):
            yield "else forgotten", _put(node, "orelse", [])


def _in_block(block: list[ast.stmt], is_doc: bool) -> Iterator[tuple[str, Spoil]]:
    first = 1 if is_doc else 0
    for position in range(first, len(block)):
        part = block[position]
        if isinstance(part, SIMPLE) and len(block) > 1 + first:
            yield "statement forgotten", lambda part=part: block.remove(part)
        if isinstance(part, ast.Break | ast.Continue):
            other = ast.Continue() if isinstance(part, ast.Break) else ast.Break()
            yield "break for continue", _item(block, position, other)
        if position + 1 < len(block) and isinstance(part, SIMPLE) and isinstance(block[position + 1], SIMPLE):
            pair = [block[position + 1], part]
            yield "statements swapped", lambda at=position, pair=pair: block.__setitem__(slice(at, at + 2), pair)
        if position and isinstance(part, ast.Return) and isinstance(block[position - 1], LOOPS):
            yield "returned too early", lambda part=part, at=position: block[at - 1].body.append(copy.deepcopy(part))
