"""Other operators, operands and orders in an expression."""

import ast
from collections.abc import Iterator, Sequence
from typing import Any

from opto.optimizers.code_search.mutations.pieces import (
    ATOM,
    COMPARE,
    OR,
    OTHER_SIGNS,
    SIGNS,
    TEST,
    TUPLE,
    Piece,
    binary,
    joined,
)
from opto.optimizers.code_search.mutations.text import SourceText

__all__ = ["arithmetic", "boolean", "comparison", "comprehension", "if_else", "sequence", "unary"]

Found = Iterator[tuple[str, float, Piece]]

_COMPARISONS: dict[type, tuple[str, dict[str, float]]] = {
    ast.Lt: ("<", {"<=": 1, ">": 1.2, ">=": 1.3, "==": 2.2, "!=": 2.2}),
    ast.LtE: ("<=", {"<": 1, ">=": 1.2, ">": 1.3, "==": 2.2, "!=": 2.2}),
    ast.Gt: (">", {">=": 1, "<": 1.2, "<=": 1.3, "!=": 2.2, "==": 2.2}),
    ast.GtE: (">=", {">": 1, "<=": 1.2, "<": 1.3, "==": 2.2, "!=": 2.2}),
    ast.Eq: ("==", {"!=": 1, "<=": 1.8, ">=": 1.8, "<": 2, ">": 2, "in": 4}),
    ast.NotEq: ("!=", {"==": 1, "<": 1.8, ">": 1.8, "<=": 2, ">=": 2, "not in": 4}),
    ast.In: ("in", {"not in": 1, "==": 4}),
    ast.NotIn: ("not in", {"in": 1, "!=": 4}),
    ast.Is: ("is", {"is not": 1, "==": 3}),
    ast.IsNot: ("is not", {"is": 1, "!=": 3}),
}
#: Signs whose operands may be exchanged.
_SYMMETRIC = {"*", "&", "|", "^"}


def comparison(text: SourceText, part: ast.Compare) -> Found:
    parts = [part.left, *part.comparators]
    signs = [_COMPARISONS[type(item)][0] for item in part.ops]
    for position, operator in enumerate(part.ops):
        for other, cost in _COMPARISONS[type(operator)][1].items():
            yield "comparison", cost, _chain(text, parts, [*signs[:position], other, *signs[position + 1 :]])
    if len(signs) > 1:
        for position, sign in enumerate(signs):
            yield "comparison", 2.5, _chain(text, parts[position : position + 2], [sign])


def _chain(text: SourceText, parts: list[Any], signs: list[str]) -> Piece:
    first, *others = (text.operand(item).within(COMPARE + 1) for item in parts)
    pairs = (f" {sign} {other}" for sign, other in zip(signs, others, strict=True))
    return Piece(first + "".join(pairs), COMPARE)


def arithmetic(text: SourceText, part: ast.BinOp, parent: ast.AST) -> Found:
    sign, left, right = SIGNS[type(part.op)], text.operand(part.left), text.operand(part.right)
    for other, cost in OTHER_SIGNS[sign].items():
        # What is compared with a small number is rather a remainder than a difference.
        is_usual = other == "%" and isinstance(parent, ast.Compare) and parent.left is part
        yield "operator", min(cost, 1.4) if is_usual else cost, binary(left, other, right)
    if sign not in _SYMMETRIC:
        yield "operands", 2.2 if sign == "+" else 1.8, binary(right, sign, left)
    yield "operands", 2.4, left
    yield "operands", 2.6, right
    # (a + b) * c as a + b * c, and the other way round.
    if isinstance(part.left, ast.BinOp):
        inner = binary(text.piece(part.left.right), sign, right)
        yield "grouping", 3, binary(text.piece(part.left.left), SIGNS[type(part.left.op)], inner)
    if isinstance(part.right, ast.BinOp):
        inner = binary(left, sign, text.piece(part.right.left))
        yield "grouping", 3, binary(inner, SIGNS[type(part.right.op)], text.piece(part.right.right))


def boolean(text: SourceText, part: ast.BoolOp) -> Found:
    pieces = [text.operand(item) for item in part.values]
    word, other = ("and", "or") if isinstance(part.op, ast.And) else ("or", "and")
    yield "and or", 1, joined(other, pieces)
    for position in range(len(pieces)):
        yield "operands", 2.4, joined(word, [*pieces[:position], *pieces[position + 1 :]])
    for position in range(1, len(pieces)) if len(pieces) > 2 else ():
        halves = joined(word, pieces[:position]), joined(word, pieces[position:])
        yield "and or", 1.8, joined(other, halves)


def unary(text: SourceText, part: ast.UnaryOp) -> Found:
    if isinstance(part.op, ast.Not):
        # People write the opposite instead, where there is one.
        yield "not", 0.8 if isinstance(part.operand, ast.BoolOp | ast.Compare) else 1, text.piece(part.operand)
    elif not isinstance(part.op, ast.UAdd):
        yield "sign", 1.4, text.piece(part.operand)


def if_else(text: SourceText, part: ast.IfExp) -> Found:
    test, body, orelse = (text.piece(item) for item in (part.test, part.body, part.orelse))
    yield "branches", 1.5, Piece(f"{orelse.within(OR)} if {test.within(OR)} else {body.within(TEST)}", TEST)
    yield "branches", 3, body
    yield "branches", 3, orelse


def comprehension(text: SourceText, part: Any, names: Sequence[str]) -> Found:
    written, (begin, _) = text.text(part).encode(), text.span(part)
    for generator in part.generators:
        for condition in generator.ifs:
            start, end = (offset - begin for offset in text.span(condition))
            keyword = written.rfind(b"if", 0, start)
            if not written[keyword + 2 : start].strip():  # else it has brackets
                yield "filter", 2.4, Piece((written[:keyword].rstrip() + written[end:]).decode())
    last = part.generators[-1]
    if not last.ifs and isinstance(last.target, ast.Name) and written[-1:] in {b"]", b")", b"}"}:
        item = last.target.id
        conditions = dict.fromkeys(("{0}", "not {0}", "{0} > 0", "{0} % 2 == 0", "{0} % 2 == 1"), 4.0)
        for name in names:
            if name != item:
                conditions |= dict.fromkeys((f"{{0}} in {name}", f"{{0}} not in {name}"), 3.4)
                conditions |= {f"{{0}} {sign} {name}": 3.9 for sign in ("<", ">", "==", "!=")}
        for condition, cost in conditions.items():
            new = f"{written[:-1].decode()} if {condition.format(item)}{written[-1:].decode()}"
            yield "filter", cost, Piece(new)


def sequence(text: SourceText, part: ast.List | ast.Tuple) -> Found:
    items = [text.text(item) for item in part.elts]
    opening, closing = "[]" if isinstance(part, ast.List) else "()" if text.is_enclosed(part) else ("", "")
    if 2 <= len(items) <= 3:
        for first in range(len(items) - 1):
            turned = [*items]
            turned[first : first + 2] = reversed(items[first : first + 2])
            yield "order", 1.9, Piece(f"{opening}{', '.join(turned)}{closing}", ATOM if opening else TUPLE)
