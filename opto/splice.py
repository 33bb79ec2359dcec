"""Source text that is read and changed where its syntax tree says, so that comments and layout stay."""

import ast
import re
from bisect import bisect_right
from collections.abc import Iterable
from typing import Any, NamedTuple

__all__ = ["Edit", "Source", "Splice", "cut", "indent"]


class Edit(NamedTuple):
    """*text* in place of the bytes from *start* to *end*."""

    start: int
    end: int
    text: str


class Source:
    """A text and its syntax tree, whose parts are found by where they stand. All places are counted in bytes.

    Attributes:
        tree: The syntax tree.
        newline: What ends its lines.

    Raises:
        SyntaxError: It is no Python.

    Example:
        >>> source = Source("x = 1  # one")
        >>> value = source.tree.body[0].value
        >>> source.applied([Edit(*source.span(value), "2")])
        'x = 2  # one'
    """

    def __init__(self, text: str) -> None:
        self.tree = ast.parse(text)
        self._bytes = text.encode()
        self.newline = "\r\n" if b"\r\n" in self._bytes else "\n"
        self._starts = [0]
        # As the parser counts lines: a lone carriage return ends one; form feeds and other separators do not.
        for line in self._bytes.replace(b"\r\n", b" \n").replace(b"\r", b"\n").split(b"\n"):
            self._starts.append(self._starts[-1] + len(line) + 1)

    def start(self, part: Any) -> int:
        """Return where *part* of the tree begins."""
        line: int = part.lineno
        return self._starts[line - 1] + int(part.col_offset)

    def end(self, part: Any) -> int:
        """Return where *part* of the tree ends."""
        line: int = part.end_lineno
        return self._starts[line - 1] + int(part.end_col_offset)

    def span(self, part: Any) -> tuple[int, int]:
        """Return where *part* of the tree begins and ends."""
        return self.start(part), self.end(part)

    def between(self, start: int, end: int) -> str:
        """Return the text from *start* to *end*."""
        return self._bytes[start:end].decode()

    def text(self, part: ast.AST) -> str:
        """Return how *part* of the tree is written."""
        return self.between(*self.span(part))

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
        return self._starts[bisect_right(self._starts, offset) - 1]

    def next_line(self, offset: int) -> int:
        """Return where the line behind that of *offset* begins; where the text ends, if there is none."""
        return min(self._starts[bisect_right(self._starts, offset)], len(self._bytes))

    def margin(self, part: Any) -> str:
        """Return the indentation of the line in which *part* begins."""
        begin = self.line(self.start(part))
        line = self.between(begin, self.next_line(begin))
        return line[: len(line) - len(line.lstrip(" \t"))]

    def applied(self, edits: Iterable[Edit]) -> str:
        """Return the text with all *edits*; those inside what another one replaces are left out."""
        done, position = [], 0
        for start, end, text in sorted(edits, key=lambda edit: edit[:2]):
            if start >= position:
                done += [self._bytes[position:start], text.encode()]
                position = end
        return b"".join([*done, self._bytes[position:]]).decode()


class Splice(Source):
    """A source text and changes to it, which are made all together.

    Example:
        >>> splice = Splice("x = node(1)  # one")
        >>> call = splice.tree.body[0].value
        >>> splice.replace(call, "1")
        >>> splice.result()
        'x = 1  # one'
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._edits: list[Edit] = []

    def replace(self, part: Any, text: str) -> None:
        """Put *text* in place of *part* of the tree."""
        self.change(*self.span(part), text)

    def change(self, start: int, end: int, text: str = "") -> None:
        """Put *text* in place of the bytes from *start* to *end*."""
        self._edits.append(Edit(start, end, text))

    def result(self) -> str:
        """Return the text with all changes."""
        return self.applied(self._edits)


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


def is_generator(definition: ast.AST) -> bool:
    """True if *definition* itself yields, not a function inside it."""
    waiting = [*ast.iter_child_nodes(definition)]
    while waiting:
        part = waiting.pop()
        if isinstance(part, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            waiting += ast.iter_child_nodes(part)
    return False
