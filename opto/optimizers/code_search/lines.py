"""Sources as programs, and the lines of them that errors came through."""

import ast
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["compiles", "failed_lines", "loops_around", "parses", "program"]

_NO_SOURCE = "(source not available)"
_FRAME = re.compile(r"\bin (\w+), line (\d+): (.*?)(?:  <--- .*)?$", re.MULTILINE)


def parses(text: Any) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return False
    return True


def compiles(text: str) -> bool:
    try:
        compile(text, "<proposal>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def program(text: Any) -> str:
    """Return what is equal for sources that differ in layout only."""
    try:
        return ast.dump(ast.parse(text))
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return repr(text)


def failed_lines(tracebacks: str, sources: Mapping[str, str]) -> dict[str, set[int]]:
    r"""Return the lines of each of *sources* that errors came through.

    Args:
        tracebacks: As `opto.nodes.ExceptionNode` has them.
        sources: By whatever name.

    Example:
        >>> failed_lines("in f, line 7: return 1 / x  <--- (ZeroDivisionError)", {"f": "def f(x):\n    return 1 / x\n"})
        {'f': {2}}
    """
    frames = dict.fromkeys(_FRAME.findall(tracebacks))
    found: dict[str, set[int]] = {name: set() for name in sources}
    for name, source in sources.items() if frames else ():
        lines, functions = ["", *source.split("\n")], _functions(source)
        for function, number, said in frames:
            for span in functions.get(function, ()):
                if said == _NO_SOURCE:
                    found[name] |= {int(number)} & set(span)
                    continue
                # By what it says: a function that still is what the user wrote counts the lines of its file.
                same = {position for position in span if lines[position].strip() == said.strip()}
                found[name] |= same & {int(number)} or same
    return found


def _functions(source: str) -> dict[str, list[range]]:
    """Return the lines of the functions of *source*, by name."""
    found: dict[str, list[range]] = {}
    for part in ast.walk(ast.parse(source)) if parses(source) else ():
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            found.setdefault(part.name, []).append(range(part.lineno, (part.end_lineno or part.lineno) + 1))
    return found


def loops_around(source: str, lines: set[int]) -> set[int]:
    """Return the lines where loops begin that *lines* of *source* are in."""
    if not lines or not parses(source):
        return set()
    loops = [part for part in ast.walk(ast.parse(source)) if isinstance(part, ast.For | ast.AsyncFor | ast.While)]
    return {part.lineno for part in loops if not lines.isdisjoint(range(part.lineno, (part.end_lineno or 0) + 1))}
