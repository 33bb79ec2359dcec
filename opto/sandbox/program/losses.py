"""What a function changes beside its own variables, as its text tells: in a sandbox, that is lost."""

import ast
from collections import deque
from collections.abc import Iterator, Mapping
from types import FunctionType
from typing import Any

from opto.sandbox.child.graphs import state_of
from opto.sandbox.program.names import path_of
from opto.sandbox.program.uses import first_argument
from opto.sandbox.program.written import closure_of

__all__ = ["losses_in"]

_CONTAINERS = (list, dict, set, deque, bytearray)
_CHANGING = frozenset(
    {
        *("append", "appendleft", "extend", "extendleft", "insert", "pop", "popleft", "popitem", "remove", "discard"),
        *("clear", "add", "update", "setdefault", "sort", "reverse", "rotate", "move_to_end", "subtract"),
        *("difference_update", "intersection_update", "symmetric_difference_update"),
    }
)
_NOTHING: Any = object()


def losses_in(source: str, like: FunctionType, arguments: Mapping[str, Any], *, is_method: bool) -> list[str]:
    """Return what *source* changes of the object that it is called on, and of global and closure variables.

    Args:
        source: The text, in the place of *like*.
        like: The function.
        arguments: Of a call.
        is_method: True if the first of them is an object that it is called on.
    """
    tree = ast.parse(source)
    receiver = first_argument(tree, like.__name__) if is_method else None
    declared = {
        name for part in ast.walk(tree) if isinstance(part, ast.Global | ast.Nonlocal) for name in part.names
    } & {*like.__globals__, *like.__code__.co_freevars}
    around = {**like.__globals__, **closure_of(like)}
    for name in {*_bound(tree)} - declared:
        around.pop(name, None)
    if receiver is not None and receiver in arguments:
        around[receiver] = arguments[receiver]
    return [*dict.fromkeys(_changed(tree, around, declared))]


def _bound(tree: ast.AST) -> Iterator[str]:
    """Yield the names that are variables somewhere in *tree*."""
    for part in ast.walk(tree):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            yield part.id
        elif isinstance(part, ast.arg):
            yield part.arg
        elif isinstance(part, ast.alias):
            yield (part.asname or part.name).partition(".")[0]
        elif isinstance(part, ast.ExceptHandler | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and part.name:
            yield part.name


def _changed(tree: ast.AST, around: Mapping[str, Any], declared: set[str]) -> Iterator[str]:
    for part in ast.walk(tree):
        if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load):
            if part.id in declared:
                yield part.id
        elif isinstance(part, ast.Attribute | ast.Subscript) and not isinstance(part.ctx, ast.Load):
            path = _path(part)
            # Of what is made on the way, nobody knows what it is.
            if path is not None and path[0] in around:
                yield ".".join(path)
        elif isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr in _CHANGING:
            path = _path(part.func.value)
            if path is not None and isinstance(_value(path, around), _CONTAINERS):
                yield ".".join(path)


def _path(target: ast.expr) -> list[str] | None:
    """Return how *target* is looked up from a name on, up to the first item; None if in another way."""
    part = target
    while isinstance(part, ast.Attribute | ast.Subscript):
        if isinstance(part, ast.Subscript):
            target = part.value  # nobody looks into items
        part = part.value
    path = path_of(target)
    return None if path is None else path.split(".")


def _value(path: list[str], around: Mapping[str, Any]) -> Any:
    value = around.get(path[0], _NOTHING)
    for name in path[1:]:
        # No property is asked, which might do anything.
        held = vars(value) if isinstance(value, type) else state_of(value)
        value = held.get(name, next((vars(kind)[name] for kind in type(value).__mro__ if name in vars(kind)), _NOTHING))
    return value
