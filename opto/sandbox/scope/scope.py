"""What a candidate needs of the user's program, as text and plain data: resolved once, and sent to each child."""

import ast
import builtins
import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from logging import Logger
from types import FunctionType, ModuleType
from typing import Any

from opto.errors import SandboxTransferError
from opto.sandbox.child.codec import CannotCrossError, Encoder
from opto.sandbox.child.definitions import without_decorators
from opto.sandbox.places import of_module
from opto.sandbox.program.names import Names, called_in, names_in
from opto.sandbox.program.rewritten import Rewritten
from opto.sandbox.program.texts import is_own_text
from opto.sandbox.program.written import depth_of, is_installed
from opto.sandbox.scope.advice import GENERAL, advised
from opto.sandbox.scope.receivers import Receivers
from opto.sandbox.scope.sources import Sources
from opto.sandbox.scope.values import Values
from opto.sandbox.scope.watched import GONE, Watched

__all__ = ["Scope"]

_Entry = dict[str, Any]
_NOTHING = object()
#: Kinds of data that is found by names which stand nowhere.
_PLAIN = frozenset({str, int, float, bool, list, dict, tuple, set, frozenset})
_SLOW = frozenset({"numpy", "pandas"})


class Scope:
    """What a candidate may use of the user's program.

    Attributes:
        entries: How each part is made, in order. More are added when arguments bring more classes.
        watched: The plain data among them, by space and name.
        modules: The modules that are allowed because the user's program imports them.
        used: The modules that certainly will be imported.
        names: What the source speaks of.
        defaults: How its default values are made that are those of the function whose place it takes, by their numbers.
        values: Turns arguments into forms, and forms of results into values.
        receivers: What it may be called on.

    Args:
        source: The text.
        name: The function in it.
        values: What global names stand for there.
        space: The module that they belong to.
        hosts: What is called outside, by name.
        like: The function whose place it takes.
        owner: The class that it is a method of.
        adapt: Maps each value of the program before it is looked at.
        looks_up: True if plain data is found by names that stand nowhere in the text, too.
        encoder: The class that turns arguments into forms.
    """

    def __init__(
        self,
        source: str,
        name: str,
        *,
        values: Mapping[str, Any],
        free: Mapping[str, Any],
        space: str,
        hosts: Collection[str],
        like: FunctionType | None = None,
        owner: type | None = None,
        adapt: Callable[[Any], Any] | None = None,
        looks_up: bool = False,
        encoder: type[Encoder] = Encoder,
    ) -> None:
        self.entries: list[_Entry] = []
        self.name = name
        self.values = Values(self, encoder)
        self.adapt = adapt or (lambda value: value)
        self.hosts, self._values, self._free = hosts, values, free
        self.sources = Sources(self)
        self.key_of, self.key_of_function = self.sources.key_of, self.sources.key_of_function
        self.key_of_mark = self.sources.key_of_mark
        self.modules = of_module(values, space)
        tree = ast.parse(source)
        without_decorators(tree, name)
        self._called = called_in(tree)
        self.used: set[str] = set()
        self.free: dict[str, _Entry] = {}
        self._met: list[tuple[Mapping[str, Any], str, Any]] = []
        self._below: set[str] = set()  # modules inside others
        self.watched: dict[tuple[str, str], Watched] = {}
        self.receivers = Receivers(self, owner, tree, lambda item: free.get(item, values.get(item)))
        self.defaults = {} if like is None else self.sources.defaults(like, source, tree, space)
        self.names = names_in(tree)
        self.used |= {module.partition(".")[0] for module in self.names.modules}
        for free_name in free:
            if self.is_host(free_name):
                self.free[free_name] = {"do": "host", "key": free_name}
            elif free_name in self.names.free and free_name != "__class__":
                try:
                    entry = self.free[free_name] = self.entry(free_name, free[free_name], "", what=name)
                except SandboxTransferError as error:
                    raise self._advised(error, free_name) from None
                self._note(entry, free, free_name)
                if entry["do"] == "value":
                    change = {"do": "cell", "name": free_name, "value": entry["value"]}
                    self.watched["", free_name] = Watched(free, free_name, (entry, change))
        self.bring(self.names, values, space, skip=free, what=name)
        if looks_up:
            plain = [key for key, value in values.items() if type(value) in _PLAIN and key[:2] != "__"]
            self.bring(self.names._replace(free=(*plain,)), values, space, skip=free, what=name, needed=())
        self.sources.settle()
        self._known = len(self.entries)

    @property
    def is_current(self) -> bool:
        """True while names of functions, classes and modules stand for those that they stood for."""
        return all(values.get(name, GONE) is value for values, name, value in self._met)

    def bring(
        self,
        names: Names,
        values: Mapping[str, Any],
        space: str,
        *,
        skip: Mapping[str, Any],
        what: str,
        needed: Collection[str] | None = None,
    ) -> None:
        """Add entries for what *names* speak of, but for the names in *skip*.

        If *needed* is given, what cannot enter and is not among it is said when it is used.
        """
        self._bring_modules(names.paths, values, skip)
        for name in names.free:
            if name in skip:
                continue
            is_host = self.is_host(name)
            if not is_host and (name not in values or values[name] is getattr(builtins, name, _NOTHING)):
                continue
            if (space, name) not in self.sources.done:
                self.sources.done.add((space, name))  # before: functions may call each other
                try:
                    entry: _Entry = {"do": "host", "key": name}
                    if not is_host:
                        entry = self.entry(name, values[name], space, what=what)
                except SandboxTransferError as error:
                    self.sources.done.discard((space, name))
                    if needed is None or name in needed:
                        raise self._advised(error, name) if names is self.names else error from None
                    entry = {"do": "outside", "why": error.problem}
                self._note(entry, values, name)
                entry = {**entry, "as": name, "into": space}
                self.entries.append(entry)
                if entry["do"] == "value":
                    self.watched[space, name] = Watched(values, name, (entry,))

    def _bring_modules(self, paths: Iterable[str], values: Mapping[str, Any], free: Mapping[str, Any]) -> None:
        """Add entries for modules inside others that *paths* look up there, and that the program has loaded."""
        for path in paths:
            name, *rest = path.split(".")
            module: Any = free.get(name, values.get(name))
            for part in rest:
                if not isinstance(module, ModuleType):
                    break
                inner = sys.modules.get(f"{module.__name__}.{part}")
                if inner is None or vars(module).get(part) is not inner:
                    break
                module = inner
                if module.__name__ not in self._below:
                    self._below.add(module.__name__)
                    self.entries.append({"do": "import", "module": module.__name__, "name": None})

    def _note(self, entry: _Entry, values: Mapping[str, Any], name: str) -> None:
        """Remember what *name* stands for in *values*, if that goes along as source or by its own name."""
        if entry["do"] not in {"value", "host"}:
            self._met.append((values, name, values[name]))

    def _advised(self, error: SandboxTransferError, name: str) -> SandboxTransferError:
        """Return *error* with the advice to offer what the candidate calls by *name*."""
        return advised(error, self._called[name]) if name in self._called else error

    def expect(self, values: Iterable[Any]) -> None:
        """Note that *values* will come, before there is a process: what takes long to import is then there already."""
        self.used |= _SLOW & {type(value).__module__.partition(".")[0] for value in values}

    def value_of(self, name: str) -> Any:
        """Return what the program calls *name* now.

        Raises:
            KeyError: Nothing.
        """
        return self._free[name] if name in self._free else self._values[name]

    @property
    def content(self) -> Any:
        """What the source speaks of, as it was looked at last. Classes that arguments brought are not among it."""
        return [self.entries[: self._known], self.free, self.defaults]

    def look_again(self) -> None:
        """Note which of the data that the candidate uses has another value now.

        Raises:
            SandboxTransferError: One of them cannot enter any more.
        """
        for item in [*self.watched.values()]:
            given = item.current()
            value = self.adapt(given)
            if value is not GONE and item.may_differ(value):
                try:
                    form = self.values.form(given)
                except CannotCrossError as error:
                    if not item.is_optional:
                        raise self._refusal(self.name, item.name, error) from None
                    form = {"!outside": f"{item.name} is {error.what}, which stays outside."}
                item.note(value, form)
        self.sources.settle()

    @staticmethod
    def _refusal(what: str, name: str, error: CannotCrossError) -> SandboxTransferError:
        return SandboxTransferError(
            f"{what}() uses {name}, {error.what}, which cannot enter the sandbox.", mend=GENERAL
        )

    def entry(self, name: str, value: Any, space: str, *, what: str) -> _Entry:
        """Return how *value*, which *what* calls *name*, is made over there."""
        given, value = value, self.adapt(value)
        text = None
        if isinstance(value, Rewritten):
            value, text = value
        if isinstance(value, ModuleType):
            self.used.add(value.__name__.partition(".")[0])
            return {"do": "import", "module": value.__name__, "name": None}
        if isinstance(value, Logger):
            return {"do": "logger", "name": value.name}
        if callable(value):
            found = self.importable(value) if text is None else None
            if found is not None:
                return {"do": "import", **found}
            if isinstance(value, type):
                return self.sources.class_(value)
            inner = value if text is None and is_own_text(value) else inspect.unwrap(value)
            if isinstance(inner, FunctionType) and not hasattr(value, "registry"):
                kept = depth_of(value) if value is not given else None
                if inner is given and inner.__name__ == inner.__code__.co_name:
                    kept = 0  # its decorators gave it back: what they have done besides is done
                return self.sources.function((space, name), given, inner, kept=kept, text=text)
        try:
            return {"do": "value", "value": self.values.form(given)}
        except CannotCrossError as error:
            raise self._refusal(what, name, error) from None

    def importable(self, value: Any) -> dict[str, str] | None:
        """Return under which name *value* can be imported from a module that a child finds."""
        module = str(getattr(value, "__module__", None) or type(value).__module__)
        name = str(getattr(value, "__qualname__", None) or getattr(value, "__name__", "<unknown>"))
        top = module.partition(".")[0]
        found: Any = sys.modules.get(module)
        if found is None or "<" in name or not is_installed(sys.modules.get(top)):
            return None
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is not value:
            return None
        self.used.add(top)
        return {"module": module, "name": name}

    def member(self, name: str, value: Any, space: str) -> _Entry:
        """Return how *value* is made, which the candidate calls *name*."""
        return self.entry(name, value, space, what=self.name)

    def is_host(self, path: str) -> bool:
        """True if what goes by *path* is called outside, or something in it."""
        return any(host == path or host.startswith(f"{path}.") for host in self.hosts)

    def encode_result(self, name: str, value: Any) -> Any:
        """Return the form of what the host's function *name* returned.

        Raises:
            SandboxTransferError: It has none.
        """
        try:
            form = self.values.form(value)
        except CannotCrossError as error:
            raise SandboxTransferError(
                f"{name}() returned {error.what}, which cannot enter the sandbox.",
                mend="Offer a function that returns plain data.",
            ) from None
        self.sources.settle()
        return form

    def encode(self, name: str, value: Any) -> Any:
        """Return the form of the argument *name*.

        Raises:
            SandboxTransferError: It has none.
        """
        try:
            if name == self.receivers.argument and self.receivers.takes(value):
                form = self.receivers.form(value)
            else:
                form = self._host_form(name, value) if self.is_host(name) else self.values.form(value)
        except CannotCrossError as error:
            raise SandboxTransferError(
                f"The argument {name} of {self.name}() is or holds {error.what}, which cannot enter the sandbox.",
                mend=GENERAL,
            ) from None
        self.sources.settle()
        return form

    def _host_form(self, name: str, value: Any) -> Any:
        """Return the form of an argument that has something to be called outside, unless it is plain data."""
        try:
            return Encoder().encode(value)
        except CannotCrossError:
            return {"!host": name}
