"""A source text with its syntax tree: where its parts stand, and how others are put in their place."""

import ast
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from opto.optimizers.mutations.pieces import ATOM, Piece, level_around, level_of

__all__ = ["LOOPS", "Edit", "Site", "SourceText"]

Function = ast.FunctionDef | ast.AsyncFunctionDef
LOOPS = (ast.For, ast.AsyncFor, ast.While)


class Edit(NamedTuple):
    """*text* in place of the bytes from *start* to *end*."""

    start: int
    end: int
    text: str


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

    @property
    def block(self) -> list[Any]:
        """The statements among which this one stands."""
        found: list[Any] = getattr(self.parent, self.name)
        return found


class SourceText:
    """A source and its tree, whose parts can be read and replaced by where they stand.

    Example:
        >>> text = SourceText("x = 1  # one")
        >>> value = text.tree.body[0].value
        >>> text.applied([Edit(*text.span(value), "2")])
        'x = 2  # one'
    """

    def __init__(self, source: str) -> None:
        self.tree = ast.parse(source)
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

    def line(self, number: int) -> str:
        return self.between(self._starts[number - 1], self._starts[number])

    def margin(self, part: Any) -> str:
        """Return the indentation of the line in which *part* begins."""
        line = self.line(part.lineno)
        return line[: len(line) - len(line.lstrip(" \t"))]

    def is_elif(self, part: ast.AST) -> bool:
        return isinstance(part, ast.If) and self.text(part).startswith("elif")

    def is_movable(self, part: ast.AST) -> bool:
        """True if the lines of *part* may be indented otherwise: those of a text would change what it says."""
        texts = (item for item in ast.walk(part) if isinstance(item, ast.JoinedStr | ast.Constant))
        return all(item.lineno == item.end_lineno for item in texts)

    def at(self, parts: Sequence[Any], margin: str) -> str | None:
        """Return the lines of the statements *parts* with another indentation; None if they cannot have one."""
        span = self.lines(parts[0], parts[-1])
        if span is None or not all(map(self.is_movable, parts)):
            return None
        old = self.margin(parts[0])
        lines = self.between(*span).splitlines(keepends=True)
        return "".join(margin + line.removeprefix(old) if line.strip() else line for line in lines)

    def inserted(self, offset: int, lines: str) -> Edit:
        """Return the edit that puts *lines* at *offset*, where a line begins or the text ends."""
        begun = offset and self._bytes[offset - 1 : offset] != b"\n"
        return Edit(offset, offset, f"\n{lines}" if begun else lines)

    def lines(self, first: Any, last: Any) -> tuple[int, int] | None:
        """Return the span of the lines of statements *first* to *last*; None if there is something else in them."""
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
        level = level_around(site.parent, site.name)
        text = piece.text if self.in_brackets(site.part) else piece.within(level)
        start, end = self.span(site.part)
        # Words must not grow together: `not(x)`, `1if x else y`.
        if text[:1].isidentifier() and self._bytes[start - 1 : start].isalnum():
            text = f" {text}"
        if text[-1:].isalnum() and self._bytes[end : end + 1].isalpha():
            text = f"{text} "
        return Edit(start, end, text)

    def applied(self, edits: Sequence[Edit]) -> str:
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
_OPAQUE = (ast.ClassDef, ast.arguments, *(() if sys.version_info >= (3, 12) else (ast.JoinedStr,)))
_SCOPES = (*LOOPS, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Lambda)


def _sites(site: Site) -> Iterator[Site]:
    part = site.part
    if isinstance(part, _OPAQUE):
        return
    if isinstance(part, ast.expr | ast.stmt):
        yield site
    if isinstance(part, Function):
        yield from _sites_of_function(part, site.functions, site.loops)
        return
    loops = (*site.loops, part) if isinstance(part, _SCOPES) else site.loops
    for name, value in ast.iter_fields(part):
        if name == "annotation":
            continue
        for position, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST):
                statement = child if isinstance(child, ast.stmt) else site.statement
                yield from _sites(Site(child, part, name, position, statement, site.functions, loops))
