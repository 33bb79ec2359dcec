"""Values as literals, and Python text that is spread."""

import ast
import math
import re
from typing import Any

from opto.nodes import unpack
from opto.splice import Splice

__all__ = ["NoLiteralError", "global_names", "literal", "spread"]


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
