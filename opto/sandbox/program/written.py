"""How functions and classes of the user's are written, and what they hold."""

import ast
import sys
from collections.abc import Callable, Iterator, Mapping
from enum import EnumMeta
from functools import cached_property
from types import CodeType, FunctionType, ModuleType
from typing import Any

from opto.sandbox.child.functions import is_set

__all__ = [
    "closure_of",
    "closures_in",
    "data_of_class",
    "function_in",
    "is_installed",
    "is_made_by_parts",
    "is_of_program",
    "lines_above",
    "looks_up",
    "made_by",
    "wrappings",
]

_LIBRARY = __name__.partition(".")[0]
#: Of a type: it was made by a class statement, or as one is made.
_MADE_BY_PYTHON = 1 << 9
_LOOK_UP = frozenset({"eval", "exec", "globals"})
_PROPERTIES = {property: "property", staticmethod: "staticmethod", classmethod: "classmethod"}


def wrappings(value: Any) -> int:
    """Return how many decorators say that they are around the function that *value* is in the end."""
    depth = 0
    while hasattr(value, "__wrapped__"):
        value, depth = value.__wrapped__, depth + 1
    return depth


def lines_above(tree: ast.Module, name: str, kept: int) -> int:
    """Return how many lines stand above the definition of *name*, or above the last *kept* of its decorators."""
    item: Any = next(item for item in tree.body if getattr(item, "name", None) == name)
    decorators = item.decorator_list[len(item.decorator_list) - kept :] if kept else []
    first: int = decorators[0].lineno if decorators else item.lineno
    return first - 1


def is_installed(module: ModuleType | None) -> bool:
    """True if a child finds *module* where Python's own are, or those of packages."""
    if module is None or module.__name__ == "__main__":
        return False
    if module.__name__ in sys.stdlib_module_names or module.__name__ == _LIBRARY:
        return True
    where = getattr(module, "__file__", None) or ""
    return "site-packages" in where or "dist-packages" in where


def is_of_program(kind: type) -> bool:
    """True if *kind* is a class that somebody wrote for this program, or for another that it is made of."""
    module = sys.modules.get(kind.__module__.partition(".")[0])
    return bool(kind.__flags__ & _MADE_BY_PYTHON) and not is_installed(module)


def looks_up(code: CodeType) -> bool:
    """True if *code* speaks of what finds names that stand nowhere in the text."""
    inner = (item for item in code.co_consts if isinstance(item, CodeType))
    return not _LOOK_UP.isdisjoint(code.co_names) or any(map(looks_up, inner))


class _Closure(Mapping[str, Any]):
    def __init__(self, function: FunctionType) -> None:
        self._cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))

    def __getitem__(self, name: str) -> Any:
        try:
            return self._cells[name].cell_contents
        except ValueError:  # not assigned yet
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return (name for name, cell in self._cells.items() if is_set(cell))

    def __len__(self) -> int:
        return len([*self])


def closure_of(function: FunctionType) -> Mapping[str, Any]:
    """Return the closure variables of *function* that have a value, by name, as they are whenever one looks."""
    return _Closure(function)


def closures_in(kind: type) -> dict[str, Any]:
    """Return what the methods of a class that stands in a function use of that function."""
    found: dict[str, Any] = {}
    for member in vars(kind).values():
        if isinstance(function := function_in(member), FunctionType):
            found.update(closure_of(function))
    return {name: value for name, value in found.items() if name != "__class__" and value is not kind}


def function_in(member: Any) -> Any:
    """Return what stands in the body of a class: *member*, or what a property or the like was made of."""
    parts = (getattr(member, name, None) for name in ("fget", "func", "__func__"))
    return next(filter(None, parts), member)


def made_by(member: Any) -> str | None:
    """Return the name of what has made *member* of a function in the body of a class; None if nothing has."""
    return "cached_property" if isinstance(member, cached_property) else _PROPERTIES.get(type(member))


def is_made_by_parts(kind: type, adapt: Callable[[Any], Any]) -> bool:
    """True if a class cannot be made of its source, because something in it is wrapped by what stays outside."""
    if issubclass(kind, BaseException):
        return False
    if any(base.__module__.partition(".")[0] == _LIBRARY for base in kind.__mro__):
        return True
    functions = map(function_in, vars(kind).values())
    return any(callable(function) and adapt(function) is not function for function in functions)


def data_of_class(kind: type) -> tuple[str, list[Any]] | None:
    """Return what kind of data the instances of a class are, and of what members; None if they are more than that."""
    if isinstance(kind, EnumMeta):
        named: Mapping[str, Any] = kind.__members__
        return "enum", [(name, member.value) for name, member in named.items()]
    if hasattr(kind, "_fields"):
        given = getattr(kind, "_field_defaults", {})
        return "named", [[name, *([given[name]] if name in given else [])] for name in kind._fields]
    if hasattr(kind, "__dataclass_fields__"):
        members: list[Any] = []
        for name, field in kind.__dataclass_fields__.items():
            given = {part: getattr(field, part) for part in ("default", "default_factory")}
            members.append([name, {part: x for part, x in given.items() if type(x).__name__ != "_MISSING_TYPE"}])
        return "dataclass", members
    return None
