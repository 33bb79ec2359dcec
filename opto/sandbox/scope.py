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
from opto.sandbox.advice import GENERAL, advised
from opto.sandbox.chains import is_own
from opto.sandbox.child.codec import CannotCrossError, Encoder, in_words
from opto.sandbox.names import Names, called_in, names_annotated, names_at_once, names_in, without_decorators
from opto.sandbox.places import of_module
from opto.sandbox.receivers import Receivers
from opto.sandbox.rewritten import Rewritten
from opto.sandbox.values import Values
from opto.sandbox.watched import GONE, Watched
from opto.sandbox.written import (
    closure_of,
    closures_in,
    depth_of,
    is_installed,
    lambda_text,
    lines_above,
    stand_in_for,
)
from opto.splice import cut

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
        values: Turns arguments into forms, and forms of results into values.
        receivers: What it may be called on.

    Args:
        source: The text.
        name: The function in it.
        values: What global names stand for there.
        space: The module that they belong to.
        hosts: What is called outside, by name.
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
        self._done: set[tuple[str, str]] = set()  # spaces and names
        self._homes: dict[type, dict[str, str]] = {}
        self._keys: dict[Any, str] = {}
        self.modules = of_module(values, space)
        tree = ast.parse(source)
        without_decorators(tree, name)
        self._called = called_in(tree)
        self.names = names_in(tree)
        self.used = {module.partition(".")[0] for module in self.names.modules}
        self.free: dict[str, _Entry] = {}
        self._met: list[tuple[Mapping[str, Any], str, Any]] = []
        self.watched: dict[tuple[str, str], Watched] = {}
        self.receivers = Receivers(self, owner, tree, lambda item: free.get(item, values.get(item)))
        for free_name in free:
            if self.is_host(free_name):
                self.free[free_name] = {"do": "host", "key": free_name}
            elif free_name in self.names.free and free_name != "__class__":
                try:
                    entry = self.free[free_name] = self._entry(free_name, free[free_name], space, what=name)
                except SandboxTransferError as error:
                    raise self._advised(error, free_name) from None
                self._note(entry, free, free_name)
                if entry["do"] == "value":
                    change = {"do": "cell", "name": free_name, "value": entry["value"]}
                    self.watched["", free_name] = Watched(free, free_name, (entry, change))
        self._bring(self.names, values, space, skip=free, what=name)
        if looks_up:
            plain = [key for key, value in values.items() if type(value) in _PLAIN and key[:2] != "__"]
            self._bring(self.names._replace(free=(*plain,)), values, space, skip=free, what=name, needed=())
        self._known = len(self.entries)

    @property
    def is_current(self) -> bool:
        """True while names of functions, classes and modules stand for those that they stood for."""
        return all(values.get(name, GONE) is value for values, name, value in self._met)

    def _bring(
        self,
        names: Names,
        values: Mapping[str, Any],
        space: str,
        *,
        skip: Collection[str],
        what: str,
        needed: Collection[str] | None = None,
    ) -> None:
        """Add entries for what *names* speak of, but for the names in *skip*.

        If *needed* is given, what cannot enter and is not among it is said when it is used.
        """
        for name in names.free:
            if name in skip:
                continue
            is_host = self.is_host(name)
            if not is_host and (name not in values or values[name] is getattr(builtins, name, _NOTHING)):
                continue
            if (space, name) not in self._done:
                self._done.add((space, name))  # before: functions may call each other
                try:
                    entry: _Entry = {"do": "host", "key": name}
                    if not is_host:
                        entry = self._entry(name, values[name], space, what=what)
                except SandboxTransferError as error:
                    self._done.discard((space, name))
                    if needed is None or name in needed:
                        raise self._advised(error, name) if names is self.names else error from None
                    entry = {"do": "outside", "why": error.problem}
                self._note(entry, values, name)
                entry = {**entry, "as": name, "into": space}
                self.entries.append(entry)
                if entry["do"] == "value":
                    self.watched[space, name] = Watched(values, name, (entry,))

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
        return [self.entries[: self._known], self.free]

    def look_again(self) -> None:
        """Note which of the data that the candidate uses has another value now.

        Raises:
            SandboxTransferError: One of them cannot enter any more.
        """
        for item in self.watched.values():
            value = self.adapt(item.current())
            if value is not GONE and item.may_differ(value):
                item.note(value, self._entry(item.name, value, "", what=self.name).get("value"))

    def _entry(self, name: str, value: Any, space: str, *, what: str) -> _Entry:
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
                return self._class(name, value, what)
            inner = inspect.unwrap(value)
            if isinstance(inner, FunctionType) and not hasattr(value, "registry"):
                kept = depth_of(value) if value is not given else None
                if inner is given and inner.__name__ == inner.__code__.co_name:
                    kept = 0  # its decorators gave it back: what they have done besides is done
                return self._function((space, name), given, inner, kept=kept, text=text)
        try:
            return {"do": "value", "value": self.values.form(given)}
        except CannotCrossError as error:
            raise SandboxTransferError(
                f"{what}() uses {name}, {error.what}, which cannot enter the sandbox.", mend=GENERAL
            ) from None

    def _function(
        self, asked: tuple[str, str], given: Any, inner: FunctionType, *, kept: int | None, text: str | None
    ) -> _Entry:
        """Return how a function is made: in the module that it stands in, which others import it from.

        Args:
            asked: Where it is spoken of: space and name.
            given: What stands there, around *inner*.
            inner: What has a source.
            kept: How many of its decorators are kept, from the lowest on; all if None.
            text: What takes the place of its source.
        """
        home = (inner.__module__ or asked[0], inner.__name__)
        is_at_home = getattr(sys.modules.get(home[0]), home[1], None) is given
        if is_at_home and home in self._done and home != asked:
            return {"do": "same", "of": home[0], "name": home[1]}
        self._done.add(home)
        entry = self._by_source(inner, inner.__globals__, closure_of(inner), home[0], kept=kept, text=text)
        if not is_at_home or home == asked:
            return entry
        self.entries.append({**entry, "as": home[1], "into": home[0]})
        return {"do": "same", "of": home[0], "name": home[1]}

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

    def _by_source(
        self,
        value: Any,
        values: Mapping[str, Any],
        free: Mapping[str, Any],
        space: str,
        *,
        kept: int | None = None,
        text: str | None = None,
    ) -> _Entry:
        """Return how a function or a class is made of its source, after what that speaks of.

        Args:
            value: What is made.
            values: What global names stand for in its module.
            free: Its closure variables.
            space: Its module.
            kept: How many of its decorators are kept, from the lowest on; all if None.
            text: What takes the place of its source, from its definition on.
        """
        name = value.__name__
        source, tree, first = self._text_of(value, kept, text)
        if name == "<lambda>":
            name = "lambda_"
        self.modules |= of_module(values, space)
        needed = names_at_once(tree) if isinstance(value, type) else None
        noted = names_annotated(tree)
        names = names_in(tree)
        names = names._replace(free=(*dict.fromkeys((*names.free, *noted)),))
        self.modules |= {module.partition(".")[0] for module in names.modules}
        inner = {key: self._entry(key, item, space, what=name) for key, item in free.items() if key in names.free}
        self._bring(names, values, space, skip=free, what=name, needed=needed)
        file = f"<{name}, rewritten>" if text is not None else inspect.getsourcefile(value) or "<unknown>"
        return {
            "do": "source",
            "source": source,
            "file": file,
            "line": max(first - 1, 0),
            "name": name,
            "free": inner,
            "owner": None,
            "space": space,
        }

    def _text_of(self, value: Any, kept: int | None, text: str | None) -> tuple[str, ast.Module, int]:
        """Return the source of a function or a class, as text and as a tree, and the line that it begins in."""
        name = value.__name__
        if name == "<lambda>":
            if (found := lambda_text(value)) is None:
                raise self._sourceless("a lambda function")
            return f"lambda_ = {found}\n", ast.parse(f"lambda_ = {found}\n"), value.__code__.co_firstlineno
        try:
            if text is not None and not kept:
                return text, ast.parse(text), 1
            lines, first = inspect.getsourcelines(value)
            source = cut([line.rstrip("\r\n") for line in lines], 1, len(lines))
            tree = ast.parse(source)
            if kept is not None:
                above, below = lines_above(tree, name, kept), lines_above(tree, name, 0)
                rows = source.splitlines(keepends=True)
                source = "".join(rows[above:] if text is None else [*rows[above:below], text])
                tree, first = ast.parse(source), first + above
        except (OSError, TypeError, SyntaxError, IndexError, StopIteration):
            raise self._sourceless(name) from None
        if not any(getattr(item, "name", None) == name for item in tree.body):
            raise SandboxTransferError(
                f"{self.name}() uses {name}, which has no def statement of its own, so it cannot enter the sandbox.",
                mend=GENERAL,
            )
        return source, tree, first

    def _sourceless(self, name: str) -> SandboxTransferError:
        return SandboxTransferError(
            f"{self.name}() uses {name}, whose source cannot be found, so it cannot enter the sandbox.", mend=GENERAL
        )

    def method(
        self, value: FunctionType, free: Mapping[str, Any], space: str, *, kept: int | None, text: str | None
    ) -> _Entry:
        """Return how a method is made, after what it speaks of. See `_by_source` for the rest."""
        return self._by_source(value, value.__globals__, free, space, kept=kept, text=text)

    def member(self, name: str, value: Any, space: str) -> _Entry:
        """Return how *value* is made, which the candidate calls *name*."""
        return self._entry(name, value, space, what=self.name)

    def learn(self, kind: type, key: str, entry: _Entry, *, is_named: bool) -> None:
        """Have *entry* make what stands for a class; it is what texts mean by the class from now on, if *is_named*."""
        self.values.known[key] = kind
        if is_named and kind not in self._keys:
            self._keys[kind], self._homes[kind] = key, {"of": "", "name": key}
        self.entries.append({**entry, "key": key, "as": key, "into": ""})

    def _class(self, name: str, kind: type, what: str) -> _Entry:
        try:
            if kind not in self._keys:
                self.key_of(kind)
        except CannotCrossError as error:
            raise SandboxTransferError(
                f"{what}() uses {name}, {error.what}, which cannot enter the sandbox.", mend=GENERAL
            ) from None
        return {"do": "same", **self._homes[kind]}

    def key_of(self, kind: type) -> str:
        """Return the key of a class of the user's, which is told to children before it is used.

        Raises:
            CannotCrossError: It has no source, and is more than its data.
        """
        if kind in self._keys or (is_own(kind, self.adapt) and self.importable(kind) is None):
            self.receivers.complete(kind)
            return self._keys[kind]
        key = f"{kind.__module__}.{kind.__qualname__}.{len(self._keys)}"
        self._keys[kind], self.values.known[key] = key, kind
        home = {"of": kind.__module__, "name": kind.__name__}
        module = sys.modules.get(kind.__module__)
        if getattr(module, kind.__name__, None) is not kind:
            home = {"of": "", "name": key}  # a space where nothing else can have the name
        self._homes[kind] = home
        self._done.add((home["of"], home["name"]))
        try:
            entry = self._class_entry(kind, vars(module) if module else {})
        except SandboxTransferError as error:
            self._done.discard((home["of"], home["name"]))
            del self._keys[kind], self.values.known[key], self._homes[kind]
            raise CannotCrossError(f"{in_words(kind)} ({error.problem.rstrip('.')})") from None
        self.entries.append({**entry, "key": key, "as": home["name"], "into": home["of"]})
        return key

    def _class_entry(self, kind: type, values: Mapping[str, Any]) -> _Entry:
        found = self.importable(kind)
        if found is not None:
            return {"do": "import", **found}
        try:
            return self._by_source(kind, values, closures_in(kind), kind.__module__)
        except SandboxTransferError:
            stand_in = stand_in_for(kind, self.values)
            if stand_in is None:
                raise
            return stand_in

    def key_of_function(self, function: Any) -> str:
        """Return the key of a function of the user's, which is told to children before it is used.

        Raises:
            CannotCrossError: It has no source, or speaks of what cannot enter.
        """
        key = self._keys.get(function)
        if key is None:
            name = getattr(function, "__name__", "function")
            key = f"function:{name}.{len(self._keys)}"
            try:
                entry = self._entry(name, function, key, what=self.name)
            except SandboxTransferError as error:
                raise CannotCrossError(f"the function {name} ({error.problem.rstrip('.')})") from None
            self._keys[function], self.values.known[key] = key, function
            self.entries.append({**entry, "key": key})
        return key

    def is_host(self, path: str) -> bool:
        """True if what goes by *path* is called outside, or something in it."""
        return any(host == path or host.startswith(f"{path}.") for host in self.hosts)

    def encode_result(self, name: str, value: Any) -> Any:
        """Return the form of what the host's function *name* returned.

        Raises:
            SandboxTransferError: It has none.
        """
        try:
            return self.values.form(value)
        except CannotCrossError as error:
            raise SandboxTransferError(
                f"{name}() returned {error.what}, which cannot enter the sandbox.",
                mend="Offer a function that returns plain data.",
            ) from None

    def encode(self, name: str, value: Any) -> Any:
        """Return the form of the argument *name*.

        Raises:
            SandboxTransferError: It has none.
        """
        try:
            if name == self.receivers.argument and self.receivers.takes(value):
                return self.receivers.form(value)
            return self._host_form(name, value) if self.is_host(name) else self.values.form(value)
        except CannotCrossError as error:
            raise SandboxTransferError(
                f"The argument {name} of {self.name}() is or holds {error.what}, which cannot enter the sandbox.",
                mend=GENERAL,
            ) from None

    def _host_form(self, name: str, value: Any) -> Any:
        """Return the form of an argument that has something to be called outside, unless it is plain data."""
        try:
            return Encoder().encode(value)
        except CannotCrossError:
            return {"!host": name}
