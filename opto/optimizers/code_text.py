"""A source text with its syntax tree: where parts of the tree stand, and how one is put in place of another."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["ATOM", "Edit", "Piece", "Site", "SourceText", "level_of"]

Function = ast.FunctionDef | ast.AsyncFunctionDef

# How tightly an expression binds, as in Python's grammar.
TUPLE, NAMED, TEST, OR, AND, NOT, COMPARE, _BOR, _BXOR, _BAND, _SHIFT, ARITH, TERM, FACTOR, POWER, _AWAIT, ATOM = range(17)

OPERATOR_LEVELS: dict[type, int] = {
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
LEVEL_OF_SIGN = {sign: OPERATOR_LEVELS[kind] for kind, sign in SIGNS.items()}
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


class Edit(NamedTuple):
    """*text* in place of the bytes from *start* to *end*."""

    start: int
    end: int
    text: str


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
        return OPERATOR_LEVELS[type(part.op)]
    if isinstance(part, ast.UnaryOp):
        return NOT if isinstance(part.op, ast.Not) else FACTOR
    return _LEVELS.get(type(part), ATOM)


def _level_around(parent: ast.AST, name: str, position: int) -> int:
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
            return OR if name == "ifs" or name == "iter" else TUPLE
        case ast.Starred():
            return _BOR
        case ast.Assign() | ast.Return() | ast.For() | ast.AsyncFor() | ast.AugAssign() | ast.Expr():
            return TUPLE
        case ast.Subscript():
            return TUPLE
        case _:
            return TEST


@dataclass(frozen=True)
class Site:
    """An expression or statement, and where it stands.

    Attributes:
        part: The node of the tree.
        parent: The node above it, which has it in the field *name*, at *position* if that is a list.
        statement: The statement that it is in, or is.
        functions: Those around it, the innermost last.
        loops: Loops and comprehensions around it, the innermost last.
    """

    part: Any
    parent: Any
    name: str
    position: int
    statement: Any
    functions: tuple[Function, ...]
    loops: tuple[ast.AST, ...]

    @property
    def is_statement(self) -> bool:
        return isinstance(self.part, ast.stmt)


class SourceText:
    """A source and its tree, whose parts can be read and replaced by where they stand.

    Example:
        >>> text = SourceText("x = 1  # one")
        >>> value = text.tree.body[0].value
        >>> text.applied([Edit(*text.span(value), "2")])
        'x = 2  # one'
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.tree = ast.parse(source)
        self.heads = source.split("\n")
        self._bytes = source.encode()
        self._starts = [0]
        # As the parser counts lines: form feeds and other separators end none.
        for line in self._bytes.split(b"\n"):
            self._starts.append(self._starts[-1] + len(line) + 1)

    def span(self, part: Any) -> tuple[int, int]:
        """Return where *part* begins and ends, in bytes."""
        return (
            self._starts[part.lineno - 1] + part.col_offset,
            self._starts[part.end_lineno - 1] + part.end_col_offset,
        )

    def between(self, start: int, end: int) -> str:
        return self._bytes[start:end].decode()

    def text(self, part: ast.AST) -> str:
        """Return how *part* is written."""
        return self.between(*self.span(part))

    def piece(self, part: ast.AST) -> Piece:
        return Piece(self.text(part), ATOM if self.is_enclosed(part) else level_of(part))

    def is_enclosed(self, part: ast.AST) -> bool:
        """True if *part* is a tuple whose brackets belong to it; `(a), (b)` has none."""
        if not isinstance(part, ast.Tuple) or not (text := self.text(part)).startswith("("):
            return False
        try:
            ast.parse(f"[{text[1:-1]}]")
        except SyntaxError:
            return False
        return text.endswith(")")

    def margin(self, part: Any) -> str:
        """Return the indentation of the line in which *part* begins."""
        start = self._starts[part.lineno - 1]
        line = self._bytes[start : self._starts[part.lineno]].decode()
        return line[: len(line) - len(line.lstrip(" \t"))]

    def lines(self, first: Any, last: Any) -> tuple[int, int] | None:
        """Return the span of the lines of statements *first* to *last*; None if something else stands in these lines."""
        start, end = self._starts[first.lineno - 1], self._starts[last.end_lineno]
        before = self._bytes[start : self.span(first)[0]]
        behind = self._bytes[self.span(last)[1] : end].strip()
        if before.strip() or (behind and not behind.startswith(b"#")):
            return None
        return start, min(end, len(self._bytes))

    def in_brackets(self, part: ast.AST) -> bool:
        """True if *part* alone has brackets around it."""
        start, end = self.span(part)
        return self._bytes[start - 1 : start] == b"(" and self._bytes[end : end + 1] == b")"

    def replacing(self, site: Site, piece: Piece) -> Edit:
        """Return the edit that puts *piece* in place of the expression at *site*."""
        level = _level_around(site.parent, site.name, site.position)
        text = piece.text if self.in_brackets(site.part) else piece.within(level)
        start, end = self.span(site.part)
        # Words must not grow together: `not(x)`, `1if x else y`.
        if text[:1].isidentifier() and self._bytes[start - 1 : start].isalnum():
            text = f" {text}"
        if text[-1:].isalnum() and self._bytes[end : end + 1].isalpha():
            text = f"{text} "
        return Edit(start, end, text)

    def applied(self, edits: "list[Edit] | tuple[Edit, ...]") -> str:
        """Return the text with all *edits*, which do not overlap."""
        done, position = [], 0
        for start, end, text in sorted(edits):
            done += [self._bytes[position:start], text.encode()]
            position = end
        return b"".join([*done, self._bytes[position:]]).decode()

    def sites(self) -> Iterator[Site]:
        """Yield what of the functions in the text may be changed: not names, arguments, annotations, docstrings."""
        for part in self.tree.body:
            if isinstance(part, Function):
                yield from _sites_of_function(part, (), ())


def _sites_of_function(
    function: Function, functions: tuple[Function, ...], loops: tuple[ast.AST, ...]
) -> Iterator[Site]:
    around = (*functions, function)
    for position, default in enumerate(function.args.defaults):
        yield from _sites(Site(default, function.args, "defaults", position, function, around, loops))
    first = function.body[0]
    has_docstring = isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str)
    for position, statement in enumerate(function.body):
        if position or not has_docstring:
            yield from _sites(Site(statement, function, "body", position, statement, around, loops))


#: Positions inside f-strings are those of the text since Python 3.12.
_OPAQUE: tuple[type, ...] = (ast.ClassDef, ast.arguments, ast.expr_context, ast.operator, ast.boolop, ast.cmpop, ast.unaryop)
if sys.version_info < (3, 12):
    _OPAQUE = (*_OPAQUE, ast.JoinedStr)
_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def _sites(site: Site) -> Iterator[Site]:
    part = site.part
    if isinstance(part, _OPAQUE):
        return
    if isinstance(part, ast.expr | ast.stmt):
        yield site
    if isinstance(part, Function):
        yield from _sites_of_function(part, site.functions, site.loops)
        return
    loops = (*site.loops, part) if isinstance(part, (*_LOOPS, *_COMPREHENSIONS, ast.Lambda)) else site.loops
    for name, value in ast.iter_fields(part):
        if name == "annotation":
            continue
        for position, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST):
                statement = child if isinstance(child, ast.stmt) else site.statement
                yield from _sites(Site(child, part, name, position, statement, site.functions, loops))
