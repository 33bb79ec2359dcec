"""What becomes of the user's program inside: data by its form, functions and classes by their source."""

import builtins
import inspect
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

from opto.errors import SandboxTransferError
from opto.sandbox.child.codec import CannotCrossError, Encoder
from opto.sandbox.child.words import in_words, is_among
from opto.sandbox.failures import show_lines
from opto.sandbox.places import of_module
from opto.sandbox.program.names import Names, names_annotated, names_at_once, names_in
from opto.sandbox.program.rewritten import Rewritten
from opto.sandbox.program.texts import (
    NoTextError,
    Text,
    classes_in,
    is_own_text,
    kept_defaults,
    methods_of,
    name_of,
    text_of,
)
from opto.sandbox.program.written import (
    closure_of,
    closures_in,
    data_of_class,
    is_installed,
    is_made_by_parts,
    wrappings,
)
from opto.sandbox.scope.advice import GENERAL, advised, not_entering
from opto.sandbox.scope.modules import Modules, Place
from opto.sandbox.scope.values import Values
from opto.sandbox.scope.watched import Data

__all__ = ["Sources"]

_Entry = dict[str, Any]
_NOTHING = object()
_CONTAINERS = frozenset({dict, list, set})


class Sources:
    """Tells how each part of the program is made inside.

    Attributes:
        name: Of the candidate.
        hosts: What is called outside, by name.
        adapt: Maps each value of the program before it is looked at.
        entries: How each part is made, in order.
        data: What of them may change.
        modules: The modules that are allowed because the user's program imports them.
        used: The modules that certainly will be imported.
        rewritten: The names of functions that have other texts than in their files, by the names that these go by.
        values: Turns values into forms, and back.
        complete: Has classes that are made by their parts have them all.
    """

    def __init__(self, name: str, hosts: Collection[str], adapt: Callable[[Any], Any], encoder: type[Encoder]) -> None:
        self.name, self.hosts, self.adapt = name, hosts, adapt
        self.modules: set[str] = set()
        self.entries: list[_Entry] = []
        self.used: set[str] = set()
        self.rewritten: dict[str, str] = {}
        self.values = Values(self, encoder)
        self.data = Data(adapt, self.values, self.entries)
        self._globals: dict[str, Mapping[str, Any]] = {}  # of modules, some of which nobody else may know
        self._modules = Modules(self.entries, self.used, self._bring_of)
        self.complete: Callable[[type], None] = lambda _: None
        self._done: set[tuple[str, str]] = set()  # spaces and names
        self._met: list[tuple[Mapping[str, Any], str, Any]] = []
        self._homes: dict[type, dict[str, str]] = {}
        self._keys: dict[Any, str] = {}
        self._open: dict[int, str] = {}  # functions in the making
        self._making: set[type] = set()
        self._unmade = 0  # how often something has spoken of a class in the making
        self._deferred: list[_Entry] = []  # which waits for that
        self._of_source: set[str] = set()  # keys of classes

    @property
    def are_current(self) -> bool:
        """True while names of functions, classes and modules stand for those that they stood for."""
        return all(values.get(name, _NOTHING) is value for values, name, value in self._met)

    def is_host(self, path: str) -> bool:
        """True if what goes by *path* is called outside, or something in it."""
        return is_among(self.hosts, path)

    def bring(self, names: Names, place: Place, *, needed: Collection[str] | None = None) -> None:
        """Add entries for the global names among *names*.

        If *needed* is given, what cannot enter and is not among it is said when it is used.
        """
        self._globals.setdefault(place.space, place.values)
        self._modules.bring(names, place)
        for name in names.free:
            is_ours = name in place.values and place.values[name] is not getattr(builtins, name, _NOTHING)
            if name not in place.free and (is_ours or self.is_host(name)):
                self._bring_name(name, place, may_stay=needed is not None and name not in needed)

    def _bring_of(self, name: str, module: ModuleType, place: Place) -> None:
        self._bring_name(name, Place(place.what, module.__name__, vars(module), {}), may_stay=False)

    def _bring_name(self, name: str, place: Place, *, may_stay: bool) -> None:
        space, values = place.space, place.values
        if (space, name) in self._done:
            return
        self._done.add((space, name))  # before: functions may call each other
        count, unmade = len(self.entries), self._unmade
        try:
            entry = self.named(name, values, space, place)
        except SandboxTransferError as error:
            self._done.discard((space, name))
            if not may_stay:
                raise
            entry = {"do": "outside", "why": error.problem}
            self._met.append((values, name, values[name]))
        entry = {**entry, "as": name, "into": space}
        is_data, is_early = entry["do"] == "value", self._unmade > unmade
        if is_data and type(values[name]) in _CONTAINERS and (is_early or len(self.entries) > count):
            # Classes in it may put themselves there as they are made: as it is in the program, it is afterwards.
            self.entries.insert(count, {**entry, "value": self.values.form(type(values[name])())})
        (self._deferred if is_data and is_early else self.entries).append(entry)
        self.data.watch((space, name), values, entry)

    def named(self, name: str, values: Mapping[str, Any], space: str, place: Place) -> _Entry:
        """Return how what *name* stands for in *values* is made, and remember what that is, unless it is data."""
        if self.is_host(name):
            return {"do": "host", "key": name}
        try:
            entry = self.entry(name, values[name], space, what=place.what)
        except SandboxTransferError as error:
            raise advised(error, place.called[name]) if name in place.called else error from None
        if entry["do"] != "value":
            self._met.append((values, name, values[name]))
        return entry

    def entry(self, name: str, value: Any, space: str, *, what: str) -> _Entry:
        """Return how *value*, which *what* calls *name*, is made over there.

        Raises:
            SandboxTransferError: It cannot enter.
        """
        given, value = value, self.adapt(value)
        text = None
        if isinstance(value, Rewritten):
            value, text = value
        if isinstance(value, ModuleType):
            return self._modules.entry(value)
        if (mark := _marks().get(id(value))) is not None:
            return {"do": "import", "module": "dataclasses", "name": mark}
        if callable(value):
            found = self.importable(value) if text is None else None
            if found is not None:
                return {"do": "import", **found}
            if isinstance(value, type):
                return self.class_(value)
            inner = value if text is None and is_own_text(value) else inspect.unwrap(value)
            if isinstance(inner, FunctionType) and not hasattr(value, "registry"):
                kept = wrappings(value) if value is not given else None
                if inner is given and inner.__name__ == inner.__code__.co_name:
                    kept = 0  # its decorators gave it back: what they have done besides is done
                return self._function((space, name), given, inner, kept=kept, text=text)
        try:
            return {"do": "value", "value": self.values.form(given)}
        except CannotCrossError as error:
            raise not_entering(what, name, error) from None

    def importable(self, value: Any) -> dict[str, str] | None:
        """Return under which name *value* can be imported from a module that a child finds."""
        module = str(getattr(value, "__module__", None) or type(value).__module__)
        name = str(getattr(value, "__qualname__", None) or getattr(value, "__name__", "<unknown>"))
        top = module.partition(".")[0]
        found: Any = sys.modules.get(module)
        if "<" in name or not is_installed(sys.modules.get(top)):
            return None
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is not value:
            return None
        self.used.add(top)
        return {"module": module, "name": name}

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
        home = (inner.__module__ or asked[0], name_of(inner))
        same = {"do": "same", "of": home[0], "name": home[1]}
        is_at_home = getattr(sys.modules.get(home[0]), home[1], None) is given
        if id(given) in self._open:  # by way of a closure variable, as functions in functions call each other
            return {"do": "later", "of": self._open[id(given)]}
        if is_at_home and home in self._done and home != asked:
            return same
        if is_at_home:
            self._done.add(home)
        number = self._open[id(given)] = f"{home[0]}.{home[1]}.{len(self._open)}.{len(self.entries)}"
        try:
            entry = self.source(inner, closure_of(inner), home[0], kept=kept, text=text)
            entry["holds"] = self.adapt(given) is not given
        finally:
            del self._open[id(given)]
        entry["id"] = number
        self.data.hold_function(given, number, {"of": number})
        if not is_at_home or home == asked:
            return entry
        self.entries.append({**entry, "as": home[1], "into": home[0]})
        return same

    def source(
        self,
        value: Any,
        free: Mapping[str, Any],
        space: str,
        *,
        kept: int | None = None,
        text: str | None = None,
    ) -> _Entry:
        """Return how a function or a class is made of its source, after what that speaks of.

        Args:
            value: What is made.
            free: Its closure variables.
            space: Its module.
            kept: How many of its decorators are kept, from the lowest on; all if None.
            text: What takes the place of its source, from its definition on.
        """
        written = self._text_of(value, kept, text)
        if text is not None:
            self.rewritten[written.file] = written.name
            show_lines(self, written.file, "\n" * (written.first - 1) + written.source)
        name, tree, is_class = written.name, written.tree, isinstance(value, type)
        module = sys.modules.get(space)
        values = value.__globals__ if not is_class else vars(module) if module else self._globals.get(space, {})
        defaults = self.defaults(value, written, space, is_rewritten=text is not None)
        self.modules |= of_module(values, space)
        needed, noted = names_at_once(tree) if is_class else None, names_annotated(tree)
        names = names_in(tree)
        names = names._replace(free=(*dict.fromkeys((*names.free, *noted)),))
        self.modules |= {module.partition(".")[0] for module in names.modules}
        place = Place(name, space, values, free)
        inner = {key: self.entry(key, item, "", what=name) for key, item in free.items() if key in names.free}
        self.bring(names, place, needed=needed)
        return {
            "do": "source",
            "source": written.source,
            "file": written.file,
            "line": max(written.first - 1, 0),
            "name": name,
            "free": inner,
            "defaults": defaults,
            "owner": None,
            "space": space,
        }

    def _text_of(self, value: Any, kept: int | None, text: str | None) -> Text:
        try:
            return text_of(value, kept, text)
        except NoTextError as error:
            raise SandboxTransferError(
                f"{self.name}() uses {error}, so it cannot enter the sandbox.", mend=GENERAL
            ) from None

    def defaults(self, value: Any, text: Text, space: str, *, is_rewritten: bool) -> dict[str, _Entry]:
        """Return the default values in *text*, by their numbers, and take them out of its tree.

        Those that cannot enter are said when they are used.
        """
        found = {}
        for slot, given in kept_defaults(value, text, is_rewritten=is_rewritten):
            try:
                entry = self.entry(slot.argument, given, space, what=value.__name__)
            except SandboxTransferError as error:
                entry = {"do": "outside", "why": error.problem}
            found[str(slot.number)] = entry
            slot.clear()
        return found

    def learn(self, kind: type, key: str, entry: _Entry, *, is_named: bool) -> None:
        """Have *entry* make what stands for a class; it is what texts mean by the class from now on, if *is_named*."""
        self.values.known[key] = kind
        if is_named and kind not in self._keys:
            self._keys[kind], self._homes[kind] = key, {"of": "", "name": key}
        self.entries.append({**entry, "key": key, "as": key, "into": ""})

    def class_(self, kind: type) -> _Entry:
        """Return where a class is found, which is told to children before it is used.

        Raises:
            SandboxTransferError: It has no source, and is more than its data.
        """
        if kind in self._keys or (is_made_by_parts(kind, self.adapt) and self.importable(kind) is None):
            self.complete(kind)
        else:
            self._bring_class(kind)
        return {"do": "same", **self._homes[kind]}

    def key_of(self, kind: type) -> str:
        """Return the key of a class, as `class_` does its place.

        Raises:
            CannotCrossError: It has no source, and is more than its data.
        """
        self._unmade += kind in self._making
        try:
            self.class_(kind)
        except SandboxTransferError as error:
            raise CannotCrossError(f"{in_words(kind)}{self._reason(error, kind.__name__)}") from None
        return self._keys[kind]

    def _bring_class(self, kind: type) -> None:
        key = f"{kind.__module__}.{kind.__qualname__}.{len(self._keys)}"
        self._keys[kind], self.values.known[key] = key, kind
        home = {"of": kind.__module__, "name": kind.__name__}
        if getattr(sys.modules.get(kind.__module__), kind.__name__, None) is not kind:
            home = {"of": "", "name": key}  # a space where nothing else can have the name
        self._homes[kind] = home
        self._done.add((home["of"], home["name"]))
        self._making.add(kind)
        try:
            parts = [*self._class_entries(kind)]
        except SandboxTransferError:
            self._done.discard((home["of"], home["name"]))
            del self._keys[kind], self.values.known[key], self._homes[kind]
            raise
        finally:
            self._making.discard(kind)
        entry, *members = parts
        self.entries.append({**entry, "key": key, "as": home["name"], "into": home["of"]})
        self.entries += [{**member, "put": key} for member in members]
        if not self._making:
            self.entries += self._deferred
            self._deferred.clear()
        if entry["do"] in {"source", "inside"}:
            self._of_source.add(key)
            self.data.hold_class(kind, key)
            for inner in classes_in(kind):
                self.class_(inner)

    def _outer_of(self, kind: type) -> str | None:
        """Return the key of the class whose source makes *kind*; None if there is none, or it is in the making."""
        path, _, name = kind.__qualname__.rpartition(".")
        outer: Any = sys.modules.get(kind.__module__)
        for part in path.split("."):
            outer = getattr(outer, part, None)
        if not isinstance(outer, type) or vars(outer).get(name) is not kind or outer in self._making:
            return None
        if is_made_by_parts(outer, self.adapt) or self.importable(outer):
            return None
        try:
            key = self.key_of(outer)
        except CannotCrossError:
            return None
        return key if key in self._of_source else None

    def _class_entries(self, kind: type) -> Iterator[_Entry]:
        """Yield how a class is made, and what of it is not made by that."""
        found = self.importable(kind)
        if found is not None:
            yield {"do": "import", **found}
            return
        outer = self._outer_of(kind)
        if outer is not None:
            yield {"do": "inside", "of": outer, "name": kind.__name__}
            return
        try:
            yield self.source(kind, closures_in(kind), kind.__module__)
        except SandboxTransferError as error:
            data = data_of_class(kind)
            if data is None:
                raise
            try:
                members = self.values.form(data[1])
            except CannotCrossError:  # a default value
                raise error from None
            yield {"do": "stand-in", "kind": data[0], "name": kind.__name__, "members": members}
            for name in (name for name, _ in methods_of(kind) if name != "__del__"):
                yield {"do": "outside", "why": f"{kind.__name__}.{name} stays outside: {error.problem}", "member": name}

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
                entry = self.entry(name, function, key, what=self.name)
            except SandboxTransferError as error:
                raise CannotCrossError(f"the function {name}{self._reason(error, name)}") from None
            self._keys[function], self.values.known[key] = key, function
            self.entries.append({**entry, "key": key})
        return key

    def key_of_mark(self, mark: object) -> str:
        """Return the key of an object that is nothing but itself."""
        if mark not in self._keys:
            key = self._keys[mark] = f"mark:{len(self._keys)}"
            self.values.known[key] = mark
            made = {"!made": ["builtins", "object", [], {}]}
            self.entries.append({"do": "value", "value": made, "key": key})
        return self._keys[mark]

    def _reason(self, error: SandboxTransferError, name: str) -> str:
        """Return why *name* cannot enter, for a sentence that says that it cannot."""
        reason = error.problem.rstrip(".")
        for end in (", so it cannot enter the sandbox", ", which cannot enter the sandbox"):
            reason = reason.removesuffix(end)
        known = f"{self.name}() uses {name}, "
        return f", {reason.removeprefix(known)}" if reason.startswith(known) else f" ({reason})"


def _marks() -> dict[int, str]:
    """Return what stands for itself in the text of a dataclass."""
    module = sys.modules.get("dataclasses")
    return {id(getattr(module, name)): name for name in ("KW_ONLY", "MISSING")} if module is not None else {}
