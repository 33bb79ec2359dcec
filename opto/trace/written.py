"""Where functions, classes and constants are written, and what the names in them stand for."""

import ast
import linecache
import math
import sys
from collections.abc import Iterator
from copy import copy, deepcopy
from types import FunctionType, ModuleType
from typing import Any

from opto.errors import ModuleError, SourceError
from opto.splice import cut
from opto.trace.bundle import FunModule
from opto.trace.origin import first_line, source_of
from opto.trace.source import closure_values

__all__ = [
    "NAMES_OF_OPERATORS",
    "class_text",
    "function_text",
    "has_path",
    "names_of",
    "names_of_class",
    "source_now",
    "statement_of",
    "written_class",
]


#: What the names stand for with which Python's own operators are written.
NAMES_OF_OPERATORS: dict[str, Any] = {"copy": copy, "deepcopy": deepcopy, "math": math}


def source_now(function: FunModule) -> str | None:
    """Return the source that a trainable function runs now."""
    return None if function.parameter is None else function.parameter._data  # noqa: SLF001 - no read of the program


def names_of(function: FunctionType) -> dict[str, Any]:
    """Return what names in *function* stand for: closure variables before global ones."""
    return {**function.__globals__, **closure_values(function)}


def _functions_of(kind: type) -> list[FunctionType]:
    """Return the functions that stand in the body of a class."""
    found = [getattr(member, "__func__", member) for member in vars(kind).values()]
    found = [member.fget if isinstance(member, property) else member for member in found]
    found = [member.fun if isinstance(member, FunModule) else member for member in found]
    return [member for member in found if isinstance(member, FunctionType) and member.__module__ == kind.__module__]


def names_of_class(kind: type) -> dict[str, Any]:
    names = dict(vars(sys.modules[kind.__module__])) if kind.__module__ in sys.modules else {}
    for function in _functions_of(kind):
        names |= {name: value for name, value in names_of(function).items() if name not in names or name != "__class__"}
    return names


def written_class(kind: type) -> type:
    """Return the class that the user wrote: `model` makes a subclass of it, under the same name."""
    for base in kind.__mro__:
        if base is not kind and base.__qualname__ == kind.__qualname__ and base.__module__ == kind.__module__:
            return base
    return kind


def _tree_of(filename: str, names: dict[str, Any] | None = None) -> tuple[list[str], ast.Module] | None:
    lines = [line.rstrip("\n") for line in linecache.getlines(filename, names)]
    try:
        return (lines, ast.parse("\n".join(lines))) if lines else None
    except SyntaxError:
        return None


def function_text(function: FunctionType) -> str:
    """Return the source of *function* with its decorators."""
    code = function.__code__
    found = _tree_of(code.co_filename, function.__globals__)
    if found is not None:
        lines, tree = found
        for part in ast.walk(tree):
            if not isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if part.name == code.co_name and first_line(part) == code.co_firstlineno:
                return cut(lines, first_line(part), part.end_lineno or part.lineno)
    try:
        return source_of(function)
    except SourceError as error:
        raise ModuleError(error.problem, mend=error.mend) from error


def class_text(kind: type) -> str:
    """Return the source of the class *kind* with its decorators."""
    places = [(function.__code__.co_filename, function.__globals__) for function in _functions_of(kind)]
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    for filename, names in [*places, *([(file, None)] if file else [])]:
        found = _tree_of(filename, names)
        if found is None:
            continue
        lines, tree = found
        for part in _classes_in(tree, ""):
            if part[0] == kind.__qualname__:
                return cut(lines, first_line(part[1]), part[1].end_lineno or part[1].lineno)
    raise ModuleError(
        f"The source of the class {kind.__qualname__} is not to be found.", mend="Define it in a file or a notebook."
    )


def _classes_in(tree: ast.AST, prefix: str) -> Iterator[tuple[str, ast.ClassDef]]:
    for part in ast.iter_child_nodes(tree):
        if isinstance(part, ast.ClassDef):
            yield f"{prefix}{part.name}", part
            yield from _classes_in(part, f"{prefix}{part.name}.")
        elif isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _classes_in(part, f"{prefix}{part.name}.<locals>.")
        else:
            yield from _classes_in(part, prefix)


def statement_of(module: ModuleType, name: str) -> str | None:
    """Return the statement at the top of *module* that gives *name* its value."""
    file = getattr(module, "__file__", None)
    found = _tree_of(file, vars(module)) if file else None
    if found is None:
        return None
    lines, tree = found
    for part in reversed(tree.body):
        targets = (
            part.targets if isinstance(part, ast.Assign) else [part.target] if isinstance(part, ast.AnnAssign) else []
        )
        if any(isinstance(item, ast.Name) and item.id == name for target in targets for item in ast.walk(target)):
            return cut(lines, part.lineno, part.end_lineno or part.lineno)
    return None


def has_path(value: Any) -> bool:
    """True for classes and functions that stand at the top of a module, under their name."""
    name = getattr(value, "__name__", "")
    return (
        bool(getattr(value, "__module__", None)) and getattr(value, "__qualname__", "") == name and name.isidentifier()
    )
