"""Texts of expressions, and where they need brackets."""

import ast
from collections.abc import Sequence
from typing import NamedTuple

__all__ = [
    "AND",
    "ARITH",
    "ATOM",
    "COMPARE",
    "FACTOR",
    "LEVEL_OF_SIGN",
    "NOT",
    "OR",
    "OTHER_SIGNS",
    "POWER",
    "SIGNS",
    "TERM",
    "TEST",
    "TUPLE",
    "Piece",
    "binary",
    "joined",
    "level_around",
    "level_of",
    "shifted",
]

# How tightly an expression binds, as in Python's grammar.
TUPLE, TEST, OR, AND, NOT, COMPARE, _BOR, _BXOR, _BAND, _SHIFT, ARITH, TERM, FACTOR, POWER, _AWAIT, ATOM = range(16)

_OPERATOR_LEVELS: dict[type, int] = {
    ast.BitOr: _BOR,
    ast.BitXor: _BXOR,
    ast.BitAnd: _BAND,
    ast.LShift: _SHIFT,
    ast.RShift: _SHIFT,
    ast.Add: ARITH,
    ast.Sub: ARITH,
    ast.Mult: TERM,
    ast.MatMult: TERM,
    ast.Div: TERM,
    ast.FloorDiv: TERM,
    ast.Mod: TERM,
    ast.Pow: POWER,
    ast.And: AND,
    ast.Or: OR,
}
_LEVELS: dict[type, int] = {
    ast.Tuple: TUPLE,
    ast.Yield: TUPLE,
    ast.YieldFrom: TUPLE,
    ast.NamedExpr: TUPLE,
    ast.Starred: TUPLE,
    ast.IfExp: TEST,
    ast.Lambda: TEST,
    ast.Compare: COMPARE,
    ast.Await: _AWAIT,
}
#: How binary operators are written.
SIGNS: dict[type, str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.LShift: "<<",
    ast.RShift: ">>",
    ast.MatMult: "@",
}
LEVEL_OF_SIGN = {sign: _OPERATOR_LEVELS[kind] for kind, sign in SIGNS.items()}
#: What each sign is mistaken for.
OTHER_SIGNS: dict[str, dict[str, float]] = {
    "+": {"-": 1, "*": 1.4, "//": 2.6, "%": 2.8, "/": 2.8, "**": 3},
    "-": {"+": 1, "*": 1.8, "//": 2.6, "/": 2.6, "%": 2.4, "**": 3.2},
    "*": {"+": 1.2, "**": 1.6, "-": 1.6, "//": 1.6, "/": 1.6, "%": 2.4},
    "/": {"//": 1, "*": 1.2, "%": 2, "-": 2.4, "+": 2.6, "**": 3.2},
    "//": {"/": 1.2, "%": 1.2, "*": 1.4, "-": 2, "+": 2.2, "**": 3.2},
    "%": {"//": 1.2, "/": 1.6, "*": 1.6, "-": 2, "+": 2, "**": 3},
    "**": {"*": 1.2, "+": 2.2, "//": 2.6, "-": 2.6, "/": 2.6, "%": 3},
    "&": {"|": 1, "^": 1.2},
    "|": {"&": 1, "^": 1.2},
    "^": {"|": 1.2, "&": 1.2},
    "<<": {">>": 1},
    ">>": {"<<": 1},
    "@": {"*": 1},
}


class Piece(NamedTuple):
    """The text of an expression, and how tightly it binds."""

    text: str
    level: int = ATOM

    def within(self, level: int) -> str:
        """Return the text, in brackets where something that binds as tightly as *level* stands around it."""
        return self.text if self.level >= level else f"({self.text})"


def level_of(part: ast.AST) -> int:
    """Return how tightly the expression *part* binds."""
    if isinstance(part, ast.BinOp | ast.BoolOp):
        return _OPERATOR_LEVELS[type(part.op)]
    if isinstance(part, ast.UnaryOp):
        return NOT if isinstance(part.op, ast.Not) else FACTOR
    return _LEVELS.get(type(part), ATOM)


def level_around(parent: ast.AST, name: str) -> int:  # noqa: C901, PLR0911 - a table
    """Return how tightly a child of *parent* must bind to need no brackets."""
    match parent:
        case ast.BinOp(op=ast.Pow()):
            return POWER + 1 if name == "left" else FACTOR
        case ast.BinOp():
            return level_of(parent) + (name == "right")
        case ast.BoolOp() | ast.Compare():
            return level_of(parent) + 1
        case ast.UnaryOp():
            return level_of(parent)
        case ast.Attribute() | ast.Await():
            return ATOM
        case ast.Subscript() | ast.Call() if name in {"value", "func"}:
            return ATOM
        case ast.IfExp():
            return TEST + (name != "orelse")
        case ast.comprehension():
            return TUPLE if name == "target" else OR
        case ast.Starred():
            return _BOR
        case ast.Assign() | ast.Return() | ast.For() | ast.AsyncFor() | ast.AugAssign() | ast.Expr():
            return TUPLE
        case ast.Subscript():
            return TUPLE
        case _:
            return TEST


def binary(left: Piece, sign: str, right: Piece) -> Piece:
    """Return two operands with *sign* between them."""
    level = LEVEL_OF_SIGN[sign]
    if sign == "**":
        return Piece(f"{left.within(level + 1)} ** {right.within(FACTOR)}", level)
    return Piece(f"{left.within(level)} {sign} {right.within(level + 1)}", level)


def joined(word: str, pieces: Sequence[Piece]) -> Piece:
    """Return conditions with *word*, ``and`` or ``or``, between them."""
    if len(pieces) == 1:
        return pieces[0]
    level = AND if word == "and" else OR
    return Piece(f" {word} ".join(piece.within(level + 1) for piece in pieces), level)


def shifted(piece: Piece, by: str) -> str:
    """Return *piece* plus or minus something; "n - 1" plus 1 is "n"."""
    undone = "- 1" if by == "+ 1" else "+ 1"
    if piece.text.endswith(f" {undone}") and piece.level >= ARITH:
        return piece.text.removesuffix(f" {undone}")
    return f"{piece.within(ARITH)} {by}"
