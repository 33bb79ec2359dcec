"""Functions that a candidate returns: where their code is, and what they hold of their surroundings."""

import binascii
import builtins
import sys
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, CellType, CodeType, FunctionType
from typing import Any, NamedTuple

from .codec import CannotCrossError

__all__ = ["HARMLESS", "Functions", "is_set", "key_of_source"]

_BUILTINS = """
    abs all any ascii bin bool bytes callable chr complex dict divmod enumerate filter float format frozenset hash hex
    id int isinstance issubclass iter len list map max min next oct ord pow range repr reversed round set slice sorted
    str sum tuple zip
"""
#: Functions that only compute, by module: they may be called on anything, so any process may be told of them.
HARMLESS: Mapping[str, frozenset[str]] = {
    "builtins": frozenset(
        [
            *_BUILTINS.split(),
            *(name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, Exception)),
        ]
    ),
    "math": frozenset({"*"}),
    "cmath": frozenset({"*"}),
}


def key_of_source(source: str) -> str:
    """Return what all processes call the code of *source* by."""
    return f"{binascii.crc32(source.encode('utf-8', 'surrogatepass')):08x}{len(source):x}"


class _Root(NamedTuple):
    """What became of a text: its code, the globals that it was run for, and the names that it made."""

    code: CodeType
    space: dict[str, Any]
    names: Mapping[str, Any]


_NOTHING: Any = object()


class Functions:
    """The code of a candidate, and functions made of parts of it."""

    def __init__(self) -> None:
        self._roots: dict[str, _Root] = {}

    def add(self, source: str, code: CodeType, space: dict[str, Any], names: Mapping[str, Any]) -> None:
        """Note that *source* was compiled to *code*, and run for *space*, where it made *names*."""
        self._roots[key_of_source(source)] = _Root(code, space, names)

    def write(self, value: Any, form: Callable[[Any], Any]) -> Any:
        """Return the form of a function.

        Raises:
            CannotCrossError: It is none of the candidate's own, and none of those that only compute.
        """
        if isinstance(value, BuiltinFunctionType | type):
            module, name = str(value.__module__), value.__name__
            names = HARMLESS.get(module, frozenset())
            if (name in names or "*" in names) and getattr(sys.modules.get(module), name, None) is value:
                return {"!harmless": [module, name]}
            raise CannotCrossError(f"the {'class' if isinstance(value, type) else 'function'} {name}")
        for key, root in self._roots.items():
            path = _path_to(value.__code__, root.code) if value.__globals__ is root.space else None
            if path is not None:
                return {"!inner": [key, path, value.__name__, *self._held(value, root, form)]}
        raise CannotCrossError(f"the function {value.__name__}")

    def _held(self, value: FunctionType, root: "_Root", form: Callable[[Any], Any]) -> Iterator[Any]:
        cells = dict(zip(value.__code__.co_freevars, value.__closure__ or (), strict=True))
        held = {name: cell.cell_contents for name, cell in cells.items() if is_set(cell)}
        # What stands beside it in the text, such as an import, stands there in any process.
        beside = {name for name, item in held.items() if root.names.get(name, _NOTHING) is item}
        yield {name: {"!beside": name} if name in beside else form(item) for name, item in held.items()}
        yield None if value.__defaults__ is None else [form(item) for item in value.__defaults__]
        yield {name: form(item) for name, item in (value.__kwdefaults__ or {}).items()}

    def read(self, content: Any, value: Callable[[Any], Any]) -> FunctionType:
        """Return the function of which *content* is the form."""
        key, path, name, cells, defaults, named = content
        code, space, beside = self._roots[key]
        for index in path:
            code = code.co_consts[index]
        held = {name: beside[name] if form == {"!beside": name} else value(form) for name, form in cells.items()}
        closure = tuple(CellType(held[free]) if free in held else CellType() for free in code.co_freevars)
        given = None if defaults is None else tuple(map(value, defaults))
        made = FunctionType(code, space, name, given, closure)
        made.__kwdefaults__ = {name: value(form) for name, form in named.items()} or None
        return made


def _path_to(code: CodeType, root: CodeType) -> list[int] | None:
    for index, item in enumerate(root.co_consts):
        if item is code:
            return [index]
        if isinstance(item, CodeType) and (path := _path_to(code, item)) is not None:
            return [index, *path]
    return None


def is_set(cell: CellType) -> bool:
    """True if a closure variable has a value."""
    try:
        cell.cell_contents  # noqa: B018 - it raises if there is nothing
    except ValueError:
        return False
    return True
