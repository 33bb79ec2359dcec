"""The data that classes and functions of the user's hold as attributes."""

import ast
from abc import ABCMeta
from collections.abc import Iterator
from enum import EnumMeta
from types import FunctionType, ModuleType
from typing import Any

from opto.sandbox.program.texts import NoTextError, text_of

__all__ = ["is_data", "state_of_class", "state_of_function"]


def is_data(value: Any) -> bool:
    """True if *value* does nothing as an attribute but to be there."""
    return not (callable(value) or isinstance(value, ModuleType) or hasattr(type(value), "__get__"))


def state_of_function(function: Any) -> list[str]:
    """Return the names of the attributes that somebody gave *function*, and that are data."""
    if not isinstance(function, FunctionType):
        return []
    return [name for name, value in vars(function).items() if name[:2] != "__" and is_data(value)]


def state_of_class(kind: type) -> list[str]:
    """Return the names of the attributes in *kind* that are data, but for what made the class put there."""
    if isinstance(kind, EnumMeta):
        return []
    is_ordinary = type(kind) in {type, ABCMeta} and not hasattr(kind, "_fields")
    own = None if is_ordinary else {*_assigned_in(kind)}
    return [
        name
        for name, value in vars(kind).items()
        if not (name[:2] == "__" and name[-2:] == "__") and name != "_abc_impl" and (own is None or name in own)
        if is_data(value)
    ]


def _assigned_in(kind: type) -> Iterator[str]:
    """Yield the names that the body of *kind* assigns to."""
    try:
        tree = text_of(kind).tree
    except NoTextError:
        return
    for item in ast.walk(tree):
        if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store):
            yield item.id
