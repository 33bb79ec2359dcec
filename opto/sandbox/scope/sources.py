"""How functions and classes of the user's are made inside: by their source, with what they hold besides."""

import ast
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from types import FunctionType
from typing import Any, Protocol

from opto.errors import SandboxTransferError
from opto.sandbox.child.codec import CannotCrossError
from opto.sandbox.child.words import in_words
from opto.sandbox.places import of_module
from opto.sandbox.program.names import Names, names_annotated, names_at_once, names_in
from opto.sandbox.program.states import is_data, state_of_class, state_of_function
from opto.sandbox.program.texts import NoTextError, Text, classes_in, kept_defaults, methods_of, name_of, text_of
from opto.sandbox.program.written import closure_of, closures_in, stand_in_for
from opto.sandbox.scope.advice import GENERAL
from opto.sandbox.scope.chains import is_own
from opto.sandbox.scope.receivers import Receivers
from opto.sandbox.scope.values import Values
from opto.sandbox.scope.watched import Watched

__all__ = ["Sources"]

_Entry = dict[str, Any]


class _Scope(Protocol):
    """What the rest of a scope does for this part."""

    name: str
    entries: list[_Entry]
    values: Values
    receivers: Receivers
    modules: set[str]
    watched: dict[tuple[str, str], Watched]
    adapt: Callable[[Any], Any]

    def importable(self, value: Any) -> dict[str, str] | None: ...
    def entry(self, name: str, value: Any, space: str, *, what: str) -> _Entry: ...
    def bring(
        self,
        names: Names,
        values: Mapping[str, Any],
        space: str,
        *,
        skip: Mapping[str, Any],
        what: str,
        needed: Collection[str] | None = None,
    ) -> None: ...


class Sources:
    """Makes the entries of functions and classes.

    Attributes:
        done: What has been brought: spaces and names.

    Args:
        scope: That they become a part of.
    """

    def __init__(self, scope: _Scope) -> None:
        self.done: set[tuple[str, str]] = set()
        self._scope = scope
        self._homes: dict[type, dict[str, str]] = {}
        self._keys: dict[Any, str] = {}
        self._open: dict[int, str] = {}  # functions in the making
        self._making: set[type] = set()
        self._of_source: set[str] = set()  # keys of classes
        self._states: list[tuple[_Entry, Mapping[str, Any], str]] = []

    def function(
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
        is_at_home = getattr(sys.modules.get(home[0]), home[1], None) is given
        if id(given) in self._open:  # by way of a closure variable, as functions in functions call each other
            return {"do": "later", "of": self._open[id(given)]}
        if is_at_home and home in self.done and home != asked:
            return {"do": "same", "of": home[0], "name": home[1]}
        if is_at_home or home == asked:
            self.done.add(home)
        number = self._open[id(given)] = f"{home[0]}.{home[1]}.{len(self._open)}.{len(self._scope.entries)}"
        try:
            entry = self._by_source(inner, inner.__globals__, closure_of(inner), home[0], kept=kept, text=text)
        finally:
            del self._open[id(given)]
        entry["id"] = number
        self._note_state({"do": "state", "of": number}, getattr(given, "__dict__", {}), state_of_function(given))
        if not is_at_home or home == asked:
            return entry
        self._scope.entries.append({**entry, "as": home[1], "into": home[0]})
        return {"do": "same", "of": home[0], "name": home[1]}

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
        scope = self._scope
        written = self._text_of(value, kept, text)
        name, tree = name_of(value).replace("<lambda>", "lambda_"), written.tree
        defaults = self._defaults(value, written, space, is_rewritten=text is not None)
        scope.modules |= of_module(values, space)
        needed = names_at_once(tree) if isinstance(value, type) else None
        noted = names_annotated(tree)
        names = names_in(tree)
        names = names._replace(free=(*dict.fromkeys((*names.free, *noted)),))
        scope.modules |= {module.partition(".")[0] for module in names.modules}
        inner = {key: scope.entry(key, item, "", what=name) for key, item in free.items() if key in names.free}
        scope.bring(names, values, space, skip=free, what=name, needed=needed)
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
        name = name_of(value)
        try:
            written = text_of(value, kept, text)
        except NoTextError as error:
            raise SandboxTransferError(
                f"{self._scope.name}() uses {error}, whose source cannot be found, so it cannot enter the sandbox.",
                mend=GENERAL,
            ) from None
        if name != "<lambda>" and not any(getattr(item, "name", None) == name for item in written.tree.body):
            raise SandboxTransferError(
                f"{self._scope.name}() uses {name}, which has no def statement of its own, so it cannot enter the "
                "sandbox.",
                mend=GENERAL,
            )
        return written

    def defaults(self, function: FunctionType, source: str, tree: ast.Module, space: str) -> dict[str, _Entry]:
        """Return the default values of *function* that *source*, in its place, has as well. See `_defaults`."""
        return self._defaults(function, Text(source, tree, 1, ""), space, is_rewritten=True)

    def _defaults(self, value: Any, text: Text, space: str, *, is_rewritten: bool) -> dict[str, _Entry]:
        """Return the default values in *text*, by their numbers, and take them out of its tree.

        Those that cannot enter are said when they are used.
        """
        found = {}
        for slot, given in kept_defaults(value, text, is_rewritten=is_rewritten):
            try:
                entry = self._scope.entry(slot.argument, given, space, what=value.__name__)
            except SandboxTransferError as error:
                entry = {"do": "outside", "why": error.problem}
            found[str(slot.number)] = entry
            slot.clear()
        return found

    def method(
        self, value: FunctionType, free: Mapping[str, Any], space: str, *, kept: int | None, text: str | None
    ) -> _Entry:
        """Return how a method is made, after what it speaks of. See `_by_source` for the rest."""
        return self._by_source(value, value.__globals__, free, space, kept=kept, text=text)

    def learn(self, kind: type, key: str, entry: _Entry, *, is_named: bool) -> None:
        """Have *entry* make what stands for a class; it is what texts mean by the class from now on, if *is_named*."""
        self._scope.values.known[key] = kind
        if is_named and kind not in self._keys:
            self._keys[kind], self._homes[kind] = key, {"of": "", "name": key}
        self._scope.entries.append({**entry, "key": key, "as": key, "into": ""})

    def class_(self, kind: type) -> _Entry:
        """Return where a class is found, which is told to children before it is used.

        Raises:
            SandboxTransferError: It has no source, and is more than its data.
        """
        if kind in self._keys or (is_own(kind, self._scope.adapt) and self._scope.importable(kind) is None):
            self._scope.receivers.complete(kind)
        else:
            self._bring_class(kind)
        return {"do": "same", **self._homes[kind]}

    def key_of(self, kind: type) -> str:
        """Return the key of a class, as `class_` does its place.

        Raises:
            CannotCrossError: It has no source, and is more than its data.
        """
        try:
            self.class_(kind)
        except SandboxTransferError as error:
            raise CannotCrossError(f"{in_words(kind)}{self._reason(error, kind.__name__)}") from None
        return self._keys[kind]

    def _bring_class(self, kind: type) -> None:
        scope = self._scope
        key = f"{kind.__module__}.{kind.__qualname__}.{len(self._keys)}"
        self._keys[kind], scope.values.known[key] = key, kind
        home = {"of": kind.__module__, "name": kind.__name__}
        module = sys.modules.get(kind.__module__)
        if getattr(module, kind.__name__, None) is not kind:
            home = {"of": "", "name": key}  # a space where nothing else can have the name
        self._homes[kind] = home
        self.done.add((home["of"], home["name"]))
        self._making.add(kind)
        try:
            parts = [*self._class_entries(kind, vars(module) if module else {})]
        except SandboxTransferError:
            self.done.discard((home["of"], home["name"]))
            del self._keys[kind], scope.values.known[key], self._homes[kind]
            raise
        finally:
            self._making.discard(kind)
        entry, *members = parts
        scope.entries.append({**entry, "key": key, "as": home["name"], "into": home["of"]})
        scope.entries += [{**member, "put": key} for member in members]
        if entry["do"] in {"source", "inside"}:
            self._of_source.add(key)
            self._note_state({"do": "value", "put": key}, vars(kind), state_of_class(kind))
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
        if is_own(outer, self._scope.adapt) or self._scope.importable(outer):
            return None
        try:
            key = self.key_of(outer)
        except CannotCrossError:
            return None
        return key if key in self._of_source else None

    def _class_entries(self, kind: type, values: Mapping[str, Any]) -> Iterator[_Entry]:
        """Yield how a class is made, and what of it is not made by that."""
        found = self._scope.importable(kind)
        if found is not None:
            yield {"do": "import", **found}
            return
        outer = self._outer_of(kind)
        if outer is not None:
            yield {"do": "inside", "of": outer, "name": kind.__name__}
            return
        try:
            yield self._by_source(kind, values, closures_in(kind), kind.__module__)
        except SandboxTransferError as error:
            try:
                stand_in = stand_in_for(kind, self._scope.values)
            except CannotCrossError:  # a default value
                raise error from None
            if stand_in is None:
                raise
            yield stand_in
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
                entry = self._scope.entry(name, function, key, what=self._scope.name)
            except SandboxTransferError as error:
                raise CannotCrossError(f"the function {name}{self._reason(error, name)}") from None
            self._keys[function], self._scope.values.known[key] = key, function
            self._scope.entries.append({**entry, "key": key})
        return key

    def key_of_mark(self, mark: object) -> str:
        """Return the key of an object that is nothing but itself."""
        if mark not in self._keys:
            key = self._keys[mark] = f"mark:{len(self._keys)}"
            self._scope.values.known[key] = mark
            made = {"!made": ["builtins", "object", [], {}]}
            self._scope.entries.append({"do": "value", "value": made, "key": key})
        return self._keys[mark]

    def _reason(self, error: SandboxTransferError, name: str) -> str:
        """Return why *name* cannot enter, for a sentence that says that it cannot."""
        reason = error.problem.rstrip(".")
        for end in (", so it cannot enter the sandbox", ", which cannot enter the sandbox"):
            reason = reason.removesuffix(end)
        known = f"{self._scope.name}() uses {name}, "
        return f", {reason.removeprefix(known)}" if reason.startswith(known) else f" ({reason})"

    def _note_state(self, entry: _Entry, values: Mapping[str, Any], names: Collection[str]) -> None:
        self._states += [({**entry, "member": name}, values, name) for name in names]

    def settle(self) -> None:
        """Add the data that functions and classes hold. It may speak of any of them, so this comes after them all."""
        scope = self._scope
        while self._states:
            entry, values, name = self._states.pop(0)
            value = values.get(name)
            if not is_data(scope.adapt(value)):
                continue
            count = len(scope.entries)
            try:
                form = scope.values.form(value)
            except (CannotCrossError, SandboxTransferError) as error:
                if entry["do"] == "value":
                    continue  # a class has what its source makes
                form = {"!outside": f"{name} is {getattr(error, 'what', error)}, which stays outside."}
            for brought in scope.entries[count:]:
                brought["is_optional"] = True
            entry = {**entry, "value": form}
            scope.entries.append(entry)
            key = f"{entry.get('put') or entry['of']}"
            scope.watched[key, name] = Watched(values, name, (entry,), is_optional=True)
