"""Source text that is changed where its syntax tree says, so that comments and layout stay; and values as literals."""

import ast
import math
import re
from collections.abc import Iterable
from typing import Any

from opto.nodes import unpack

__all__ = ["NoLiteralError", "Splice", "cut", "global_names", "indent", "literal", "spread"]


class NoLiteralError(Exception):
    """A value that no literal gives back; the message names its type."""


def literal(value: Any, margin: str = "") -> str:
    r"""Return *value*, in which nodes count as their values, as Python writes it; texts of several lines line by line.

    Args:
        value: A value of built-in types.
        margin: Indentation of the line in which it will stand.

    Raises:
        NoLiteralError: There is no literal of it.

    Example:
        >>> print("x =", literal("a\nb"))
        x = (
            "a\n"
            "b"
        )
    """
    value = unpack(value)
    kind = type(value)
    if kind is str and "\n" in value:
        lines = [f"{margin}    {_quoted(line)}\n" for line in re.findall(r"[^\n]*\n|[^\n]+", value)]
        return f"(\n{''.join(lines)}{margin})"
    if kind is str:
        return _quoted(value)
    if kind is float and not math.isfinite(value):
        return f'float("{value}")'
    if kind in (bool, int, float, complex, bytes, type(None)):
        return repr(value)
    brackets = _BRACKETS.get(kind)
    if kind is frozenset or (kind is set and not value):
        return f"{kind.__name__}({literal(sorted(value, key=literal), margin) if value else ''})"
    if brackets is None:
        raise NoLiteralError(f"a {kind.__qualname__}")
    inner = f"{margin}    "
    if kind is dict:
        items = [f"{literal(key, inner)}: {literal(item, inner)}" for key, item in value.items()]
    else:
        items = [literal(item, inner) for item in value]
    items = sorted(items) if kind is set else items
    if any("\n" in item for item in items):
        return "".join([f"{brackets[0]}\n", *(f"{inner}{item},\n" for item in items), f"{margin}{brackets[1]}"])
    return f"{brackets[0]}{', '.join(items)}{',' * (kind is tuple and len(items) == 1)}{brackets[1]}"


_BRACKETS: dict[type, str] = {list: "[]", tuple: "()", set: "{}", dict: "{}"}


def _quoted(text: str) -> str:
    # Double quotes, as most people write them, where that needs no more backslashes.
    written = repr(text)
    if written[0] == "'" and '"' not in text:
        written = f'"{written[1:-1]}"'
    return written


def cut(lines: list[str], first: int, last: int) -> str:
    """Return the lines *first* to *last*, counted from 1, without their common indentation.

    Lines inside a text that spans several of them stay as they are.
    """
    block = lines[first - 1 : last]
    margin = len(block[0]) - len(block[0].lstrip())
    head = "if True:\n" if margin else "\n"
    fixed = _text_lines(ast.parse(head + "\n".join(block) + "\n"))
    return (
        "\n".join(
            line if number in fixed else line[min(margin, len(line) - len(line.lstrip())) :]
            for number, line in enumerate(block, start=2)
        ).rstrip()
        + "\n"
    )


def indent(text: str, margin: str) -> str:
    """Return *text*, which is Python, with *margin* before each line that is not inside a text of several lines."""
    fixed = _text_lines(ast.parse(text))
    return "".join(
        line if number in fixed or not line.strip() else f"{margin}{line}"
        for number, line in enumerate(re.findall(r"[^\n]*\n|[^\n]+", text), start=1)
    )


def _text_lines(tree: ast.AST) -> set[int]:
    """Return the numbers of lines that begin inside a text; those of docstrings are layout, also to Python."""
    docstrings = {
        id(owner.body[0].value)
        for owner in ast.walk(tree)
        if isinstance(owner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and isinstance(owner.body[0], ast.Expr)
    }
    return {
        number
        for part in ast.walk(tree)
        if isinstance(part, ast.JoinedStr) or (isinstance(part, ast.Constant) and isinstance(part.value, str | bytes))
        if id(part) not in docstrings
        for number in range(part.lineno + 1, (part.end_lineno or part.lineno) + 1)
    }


def global_names(text: str) -> list[str]:
    """Return the names that *text*, which is Python, takes from outside, in the order of their letters.

    Example:
        >>> global_names("def f(x): return len(x + Y)")
        ['Y', 'len']
    """
    import symtable  # noqa: PLC0415 - only for exports

    found: set[str] = set()
    top = symtable.symtable(text, "<export>", "exec")
    waiting = [top]
    while waiting:
        table = waiting.pop()
        waiting += table.get_children()
        found |= {
            symbol.get_name()
            for symbol in table.get_symbols()
            if symbol.is_referenced() and (table is top or symbol.is_global())
        }
    made = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    return sorted(found - made)


def spread(text: str) -> str:
    r"""Return the class *text* with its body, and those of its functions, below their headers.

    Example:
        >>> print(spread("class A:\n    def f(self): self.x = 1; self.y = 2"))
        class A:
            def f(self):
                self.x = 1; self.y = 2
    """
    splice = Splice(text)
    definition = splice.tree.body[0]
    assert isinstance(definition, ast.ClassDef)
    functions = [part for part in definition.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)]
    for part in (definition, *functions):
        begin = splice.start(part.body[0])
        if splice.has_text_before(begin):
            splice.change(splice.rstrip(begin), begin, f"\n{splice.margin(part)}    ")
    return splice.result()


class Splice:
    """A source text and changes to it, which are made all together.

    Example:
        >>> splice = Splice("x = node(1)  # one")
        >>> call = splice.tree.body[0].value
        >>> splice.replace(call, "1")
        >>> splice.result()
        'x = 1  # one'
    """

    def __init__(self, text: str) -> None:
        self.tree = ast.parse(text)
        self._bytes = text.encode()
        self._starts = [0]
        # As the parser counts lines: form feeds and other separators end none.
        for line in self._bytes.split(b"\n"):
            self._starts.append(self._starts[-1] + len(line) + 1)
        self._edits: list[tuple[int, int, str]] = []

    def start(self, part: Any) -> int:
        """Return where *part* of the tree begins, in bytes."""
        line: int = part.lineno
        return self._starts[line - 1] + int(part.col_offset)

    def end(self, part: Any) -> int:
        """Return where *part* of the tree ends, in bytes."""
        line: int = part.end_lineno
        return self._starts[line - 1] + int(part.end_col_offset)

    def find(self, text: str, start: int) -> int:
        """Return where *text* begins, at *start* or behind it."""
        return self._bytes.index(text.encode(), start)

    def rfind(self, text: str, end: int) -> int:
        """Return where *text* begins, before *end*."""
        return self._bytes.rindex(text.encode(), 0, end)

    def rstrip(self, end: int) -> int:
        """Return where the blanks begin that stand before *end*."""
        return len(self._bytes[:end].rstrip(b" \t"))

    def has_text_before(self, offset: int) -> bool:
        """True if there is more than blanks before *offset* in its line."""
        return bool(self._bytes[self.line(offset) : offset].strip())

    def line(self, offset: int) -> int:
        """Return where the line of *offset* begins."""
        return self._bytes.rfind(b"\n", 0, offset) + 1

    def next_line(self, offset: int) -> int:
        """Return where the line behind that of *offset* begins."""
        found = self._bytes.find(b"\n", offset)
        return len(self._bytes) if found < 0 else found + 1

    def margin(self, part: Any) -> str:
        """Return the indentation of the line in which *part* begins."""
        line = self._bytes[self.line(self.start(part)) :].decode(errors="replace")
        return line[: len(line) - len(line.lstrip(" \t"))]

    def replace(self, part: Any, text: str) -> None:
        """Put *text* in place of *part* of the tree."""
        self.change(self.start(part), self.end(part), text)

    def change(self, start: int, end: int, text: str = "") -> None:
        """Put *text* in place of the bytes from *start* to *end*."""
        self._edits.append((start, end, text))

    def result(self) -> str:
        """Return the text with all changes; those inside a part that is replaced are left out."""
        done, position = [], 0
        for start, end, text in _outermost(self._edits):
            done += [self._bytes[position:start], text.encode()]
            position = end
        return b"".join([*done, self._bytes[position:]]).decode()


def _outermost(edits: Iterable[tuple[int, int, str]]) -> Iterable[tuple[int, int, str]]:
    position = 0
    for start, end, text in sorted(edits, key=lambda edit: edit[:2]):
        if start >= position:
            yield start, end, text
            position = end
