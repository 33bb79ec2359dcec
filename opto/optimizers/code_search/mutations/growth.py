"""What may be missing around an expression."""

import ast
from collections.abc import Iterator, Sequence

from opto.optimizers.code_search.mutations.pieces import (
    ARITH,
    ATOM,
    COMPARE,
    FACTOR,
    NOT,
    POWER,
    TERM,
    TEST,
    Piece,
    binary,
    joined,
    shifted,
)
from opto.optimizers.code_search.mutations.scope import Scope, is_condition, is_value
from opto.optimizers.code_search.mutations.text import Site, SourceText

__all__ = ["grown"]

Found = Iterator[tuple[str, float, Piece]]
_CUTS = {"[::-1]": 3.2, "[1:]": 3.4, "[:-1]": 3.4, "[0]": 3.8, "[-1]": 3.8}
_CALLS = {"abs": 3.6, "len": 3.6, "sorted": 3.6, "int": 3.8, "str": 3.8, "set": 3.8, "sum": 3.8, "list": 4.2}
_CALLS |= {"max": 4.4, "min": 4.4, "round": 4.4}
_METHODS = ("lower()", "upper()", "strip()", "split()")
_MOST_CONSTANTS = 12
_WITH_NAMES = {"+": 3.7, "-": 3.7, "*": 3.9, "//": 4.4, "%": 4.4, "/": 4.6}
_WITH_NUMBERS = {"* 2": 3.8, "// 2": 3.9, "% 2": 4, "/ 2": 4.2, "% 10": 4.4, "// 10": 4.4}


def grown(text: SourceText, scope: Scope, site: Site, names: Sequence[str]) -> Found:
    """Yield the expression at *site* with something around it that may be missing."""
    part = site.part
    if isinstance(part, ast.GeneratorExp | ast.Starred | ast.Slice | ast.JoinedStr):
        return
    piece = text.piece(part)
    if is_condition(site):
        yield from _condition(scope, site, piece, names)
        return
    yield from _off_by_one(site, piece)
    if is_value(site) or isinstance(site.parent, ast.Compare):
        yield from _wrapped(site, piece)
        yield from _computed(site, piece, names)
        yield from _with_constants(scope, site, piece)
        for other in scope.values(site):
            if other.text != piece.text:
                yield "expression", 4.1, other


def _condition(scope: Scope, site: Site, piece: Piece, names: Sequence[str]) -> Found:
    if not isinstance(site.part, ast.UnaryOp):
        yield "not", 2.2 if isinstance(site.part, ast.Compare) else 1.2, Piece(f"not {piece.within(NOT)}", NOT)
    others = [other for other in scope.conditions(site) if other.text != piece.text]
    for other in others:
        yield "condition", 3.4, other
    if isinstance(site.parent, ast.BoolOp):
        return
    yield "condition", 3, Piece("True")
    yield "condition", 3, Piece("False")
    more = [(3.9, other) for other in others]
    for name in names:
        more += [(4.2, Piece(name)), (4.3, Piece(f"not {name}", NOT))]
        more += [(4.4, Piece(f"{name} > 0", COMPARE)), (4.6, Piece(f"{name} > 1", COMPARE))]
    for cost, other in more:
        yield "condition", cost, joined("and", (piece, other))
        yield "condition", cost + 0.1, joined("or", (piece, other))


def _off_by_one(site: Site, piece: Piece) -> Found:
    if not isinstance(site.part, ast.Name | ast.BinOp | ast.Call | ast.Attribute | ast.Subscript):
        return
    match site.parent:
        case ast.Slice():
            cost = 1.7
        case ast.Subscript() if site.name == "slice":
            cost = 1.7
        case ast.Call(func=ast.Name(id="range")) if site.name == "args":
            cost = 1.7
        case ast.Compare():
            cost = 2.6
        case ast.BinOp():
            cost = 3
        case _ if is_value(site):
            cost = 3
        case _:
            return
    yield "off by one", cost, Piece(shifted(piece, "+ 1"), ARITH)
    yield "off by one", cost, Piece(shifted(piece, "- 1"), ARITH)


def _wrapped(site: Site, piece: Piece) -> Found:
    part, parent = site.part, site.parent
    if isinstance(part, ast.Constant):
        return
    if not isinstance(parent, ast.For | ast.comprehension):
        yield "sign", 3.4, Piece(f"-{piece.within(FACTOR)}", FACTOR)
        if not isinstance(parent, ast.Compare | ast.AugAssign):
            cost = 1.6 if isinstance(part, ast.Compare | ast.BoolOp) else 3
            yield "not", cost, Piece(f"not {piece.within(NOT)}", NOT)
    if isinstance(part, ast.Name | ast.Subscript | ast.Call):
        for cut, cost in _CUTS.items():
            yield "cut", cost + isinstance(parent, ast.Call) * 0.2, Piece(f"{piece.within(ATOM)}{cut}")
    for function, cost in _CALLS.items():
        yield "call", cost, Piece(f"{function}({piece.within(TEST)})")
    for method in _METHODS:
        yield "call", 4.6, Piece(f"{piece.within(ATOM)}.{method}")


def _computed(site: Site, piece: Piece, names: Sequence[str]) -> Found:
    if not isinstance(site.part, ast.Name | ast.BinOp | ast.Call | ast.Subscript | ast.Constant):
        return
    for name in names:
        if name != piece.text:
            for sign, cost in _WITH_NAMES.items():
                yield "operands", cost, binary(piece, sign, Piece(name))
            yield "operands", 4.2, binary(Piece(name), "+", piece)
            yield "operands", 4.2, binary(Piece(name), "-", piece)
    for more, cost in _WITH_NUMBERS.items():
        yield "operands", cost, Piece(f"{piece.within(TERM)} {more}", TERM)
    yield "operands", 4, Piece(f"{piece.within(POWER + 1)} ** 2", POWER)


def _with_constants(scope: Scope, site: Site, piece: Piece) -> Found:
    """Yield the expression with one of the constants of the function at its begin or end."""
    if isinstance(site.part, ast.Constant) or not isinstance(site.part, ast.expr):
        return
    for constant in scope.constants[:_MOST_CONSTANTS]:
        if isinstance(constant, str) and 0 < len(constant) <= 20:
            yield "operands", 4.1, binary(piece, "+", Piece(repr(constant)))
            yield "operands", 4.2, binary(Piece(repr(constant)), "+", piece)
        elif type(constant) in {int, float} and constant not in {0, 1, 2}:
            for sign in ("+", "-", "*"):
                yield "operands", 4.4, binary(piece, sign, Piece(repr(constant)))
