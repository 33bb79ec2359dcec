"""A source text in which changes of functions are looked for: its places, and how other pieces are put there."""

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from opto.optimizers.code_search.mutations.layout import relaid, unbroken
from opto.optimizers.code_search.mutations.pieces import ATOM, Piece, level_around, level_of
from opto.splice import Edit, Source

__all__ = ["LOOPS", "Site", "SourceText"]

T = TypeVar("T")
Function = ast.FunctionDef | ast.AsyncFunctionDef
LOOPS = (ast.For, ast.AsyncFor, ast.While)


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


class SourceText(Source):
    """A text whose functions are changed."""

    def __init__(self, text: str) -> None:
        # So that its last line is one as the others.
        self._is_open = not text.endswith(("\n", "\r"))
        super().__init__(f"{text}\n" if self._is_open else text)
        self._noted: dict[tuple[int, Any], Any] = {}

    def noted(self, part: ast.AST, found: Callable[[Any], T]) -> T:
        """Return what is *found* of *part* of the tree, which is looked for once."""
        key = id(part), found
        if key not in self._noted:
            self._noted[key] = found(part)
        result: T = self._noted[key]
        return result

    def applied(self, edits: Iterable[Edit]) -> str:
        """Return the text with all *edits*, what they leave as it was laid out before."""
        edits = list(edits)
        plain = self._closed(super().applied(edits))
        kept = self._closed(super().applied(map(self._relaid, edits)))
        # Comments and line ends may have a meaning where the brackets around them went away.
        return kept if kept == plain or _is_same(kept, plain) else plain

    def _closed(self, text: str) -> str:
        return text.removesuffix("\n") if self._is_open else text

    def _relaid(self, edit: Edit) -> Edit:
        old = self.between(edit.start, edit.end)
        if not old or old.endswith("\n") or edit.text.endswith("\n"):
            return edit  # whole lines
        return Edit(edit.start, edit.end, relaid(old, edit.text))

    def piece(self, part: ast.AST) -> Piece:
        return Piece(self.text(part), ATOM if self.is_enclosed(part) else level_of(part))

    def operand(self, part: ast.AST) -> Piece:
        """Return the operand *part* of a sign, with its brackets if they let it go over several lines."""
        piece = self.piece(part)
        return Piece(f"({piece.text})") if "\n" in piece.text and self.in_brackets(part) else piece

    def is_enclosed(self, part: ast.AST) -> bool:
        """True if *part* is a tuple whose brackets belong to it; `(a), (b)` has none."""
        if not isinstance(part, ast.Tuple) or not (text := self.text(part)).startswith("("):
            return False
        try:
            ast.parse(f"[{text[1:-1]}]")
        except SyntaxError:
            return False
        return text.endswith(")")

    def line_of(self, part: Any) -> str:
        """Return the line in which *part* begins."""
        begin = self.line(self.start(part))
        return self.between(begin, self.next_line(begin))

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
        lines = re.findall(r"[^\n]*\n|[^\n]+", self.between(*span))
        return "".join(margin + line.removeprefix(old) if line.strip() else line for line in lines)

    def inserted(self, offset: int, lines: str) -> Edit:
        """Return the edit that puts *lines* at *offset*, where a line begins."""
        return Edit(offset, offset, lines)

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
        # Whether there are brackets around it is only known when it has its place.
        text = unbroken(piece.text if self.in_brackets(site.part) else piece.within(level))
        start, end = self.span(site.part)
        # Words must not grow together: `not(x)`, `1if x else y`.
        if _is_word(text[:1].encode()) and _is_word(self._bytes[start - 1 : start]):
            text = f" {text}"
        if _is_word(text[-1:].encode()) and _is_word(self._bytes[end : end + 1]):
            text = f"{text} "
        return Edit(start, end, text)

    def sites(self) -> Iterator[Site]:
        """Yield what of the functions in the text may be changed: not names, arguments, annotations, docstrings."""
        functions = [part for part in self.tree.body if isinstance(part, Function)]
        # No recursion: a sum of a thousand parts is as deep as that.
        waiting = [site for function in reversed(functions) for site in reversed(_sites_of(function, (), ()))]
        while waiting:
            site = waiting.pop()
            if isinstance(site.part, ast.expr | ast.stmt):
                yield site
            waiting += reversed(_inside(site))


def _is_word(letters: bytes) -> bool:
    return letters.isalnum() or letters == b"_" or letters > b"\x7f"


def _is_same(text: str, other: str) -> bool:
    """True if both are the same program."""
    try:
        return ast.dump(ast.parse(text)) == ast.dump(ast.parse(other))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _sites_of(function: Function, around: tuple[Function, ...], loops: tuple[ast.AST, ...]) -> list[Site]:
    """Return what stands directly in *function* and may be changed."""
    args, inner = function.args, (*around, function)
    found = [
        # A default is computed outside.
        Site(default, args, name, position, function, around, loops)
        for name, defaults in (("defaults", args.defaults), ("kw_defaults", args.kw_defaults))
        for position, default in enumerate(defaults)
        if default is not None
    ]
    first = function.body[0]
    has_docstring = isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str)
    return found + [
        Site(statement, function, "body", position, statement, inner, loops)
        for position, statement in enumerate(function.body)
        if position or not has_docstring
    ]


#: Where other values would make no sense, or positions are not those of the text, as in f-strings before Python 3.12.
_OPAQUE = (ast.ClassDef, ast.arguments, ast.JoinedStr, ast.pattern, *filter(None, [getattr(ast, "TemplateStr", None)]))
_SCOPES = (*LOOPS, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Lambda)


def _inside(site: Site) -> list[Site]:
    """Return what stands directly in the part at *site* and may be changed."""
    part = site.part
    if isinstance(part, Function):
        return _sites_of(part, site.functions, site.loops)
    loops = (*site.loops, part) if isinstance(part, _SCOPES) else site.loops
    found = []
    for name, value in ast.iter_fields(part):
        for position, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST) and name != "annotation" and not isinstance(child, _OPAQUE):
                statement = child if isinstance(child, ast.stmt) else site.statement
                found.append(Site(child, part, name, position, statement, site.functions, loops))
    return found
