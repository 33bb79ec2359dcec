"""Modules, as a candidate sees them: of each of the user's there is one, which has what is used of it."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

from opto.errors import SandboxTransferError
from opto.sandbox.program.names import Names
from opto.sandbox.program.written import is_installed

__all__ = ["Modules", "Place"]

_Entry = dict[str, Any]
#: What a module is told of itself, and has inside already, or does without.
_OF_ITSELF = frozenset(
    f"__{name}__" for name in ("name", "package", "path", "spec", "loader", "file", "cached", "builtins", "getattr")
)


class Place(NamedTuple):
    """Where a text stands, and what its names stand for there.

    Attributes:
        what: The function or class in it, for sentences.
        space: Its module.
        values: The global names of that.
        free: Its closure variables.
        called: How it calls what it finds by a name, if that could be offered to it.
    """

    what: str
    space: str
    values: Mapping[str, Any]
    free: Mapping[str, Any]
    called: Mapping[str, str] = MappingProxyType({})


class Modules:
    """Tells how modules are made inside.

    A module of the user's is not imported again, which would make second classes and forget what the program has set:
    what texts use of it is brought into a module of that name, as what they use of their own is. What cannot be
    brought, or is looked up in ways that no text tells, is found by importing it inside after all.

    Args:
        entries: How each part of the program is made, in order.
        used: The modules that certainly will be imported.
        bring: Brings what is used: a name in a module, for the text at a place.
    """

    def __init__(self, entries: list[_Entry], used: set[str], bring: Callable[[str, ModuleType, Place], None]) -> None:
        self._entries, self._used, self._bring = entries, used, bring
        self._known: set[str] = set()

    def entry(self, module: ModuleType) -> _Entry:
        """Return how *module* is made."""
        if not _is_own(module):
            self._used.add(module.__name__.partition(".")[0])
            return {"do": "import", "module": module.__name__, "name": None}
        return {"do": "module", "module": module.__name__, "path": [*getattr(module, "__path__", ())] or None}

    def bring(self, names: Names, place: Place) -> None:
        """Add entries for what a text at *place* uses of modules, and for modules inside others that it looks up."""
        imported = dict(self._imported(names, place))

        def stands_for(name: str) -> Any:
            return imported.get(name, place.free.get(name, place.values.get(name)))

        for name in names.bare:
            module = stands_for(name)
            if isinstance(module, ModuleType) and _is_own(module):
                for item in [*vars(module)]:
                    self._use(item, module, place)
        for path in names.paths:
            name, *rest = path.split(".")
            module = stands_for(name)
            for part in rest:
                if not isinstance(module, ModuleType):
                    break
                inner = vars(module).get(part)
                if _is_own(module):
                    self._use(part, module, place)
                elif not isinstance(inner, ModuleType) or sys.modules.get(f"{module.__name__}.{part}") is not inner:
                    break
                else:
                    self._know(inner)
                module = inner

    def _imported(self, names: Names, place: Place) -> Iterator[tuple[str, ModuleType]]:
        """Yield what import statements inside a text make names stand for, and bring that."""
        package = getattr(sys.modules.get(place.space), "__package__", None) or ""
        for written, name, alias in names.imported:
            path = _resolved(written, package)
            module = sys.modules.get(path)
            if module is None or not _is_own(module):
                continue
            above, _, last = path.rpartition(".")
            if above in sys.modules:
                self._use(last, sys.modules[above], place)
            self._know(module)
            if name is None:
                yield alias, module if "." in alias or alias != path.partition(".")[0] else sys.modules[alias]
                continue
            self._use(name, module, place)
            if isinstance(inner := vars(module).get(name), ModuleType):
                yield alias, inner

    def _use(self, name: str, module: ModuleType, place: Place) -> None:
        if name in vars(module) and name not in _OF_ITSELF:
            self._know(module)
            with suppress(SandboxTransferError):  # it is there once the module has been imported
                self._bring(name, module, place)

    def _know(self, module: ModuleType) -> None:
        """Have *module* be there whoever imports it."""
        if module.__name__ not in self._known:
            self._known.add(module.__name__)
            self._entries.append(self.entry(module))


def _resolved(path: str, package: str) -> str:
    """Return the whole name of a module that a text in *package* calls *path*."""
    name = path.lstrip(".")
    level = len(path) - len(name)
    if not level:
        return path
    above = package.rsplit(".", level - 1)[0]
    return f"{above}.{name}" if name else above


def _is_own(module: ModuleType) -> bool:
    """True if *module* is one of the program's that any part of it would import by its name."""
    name = module.__name__
    return (
        name != "__main__"
        and sys.modules.get(name) is module
        and not is_installed(sys.modules.get(name.partition(".")[0]))
    )
