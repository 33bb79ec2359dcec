"""What a candidate needs of the user's program, as text and plain data: resolved once, and sent to each child."""

import ast
import builtins
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Collection, Mapping
from enum import Enum
from logging import Logger
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from opto.errors import SandboxTransferError
from opto.sandbox.child.codec import CannotCrossError, Decoder, Encoder
from opto.sandbox.child.objects import state_of
from opto.sandbox.names import Names, names_in, without_decorators
from opto.sandbox.places import of_module
from opto.sandbox.receivers import Receivers
from opto.sandbox.rewritten import Rewritten
from opto.sandbox.watched import GONE, Watched
from opto.sandbox.written import closure_of, depth_of, is_installed, lines_above, stand_in_for

__all__ = ["Scope"]

_Entry = dict[str, Any]
_NOTHING = object()
_MEND = "Pass it as plain data, offer what is called there with Sandbox(hosts=[…]), or use isolation='none'."


class Scope:
    """What a candidate may use of the user's program.

    Attributes:
        entries: How each part is made, in order. More are added when arguments bring more classes.
        watched: The plain data among them, by space and name.
        modules: The modules that are allowed because the user's program imports them.
        used: The modules that certainly will be imported.
        names: What the source speaks of.
        receivers: What it may be called on.
        encoder: Turns arguments into forms.
        decoder: Turns forms of results into values.

    Args:
        source: The text.
        name: The function in it.
        values: What global names stand for there.
        space: The module that they belong to.
        hosts: What is called outside, by name.
        owner: The class that it is a method of.
        adapt: Maps each value of the program before it is looked at.
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
        encoder: type[Encoder] = Encoder,
    ) -> None:
        self.entries: list[_Entry] = []
        self.name = name
        self.encoder = encoder(self._write)
        self.decoder = Decoder(self._read)
        self.hosts, self._values, self._free = hosts, values, free
        self.adapt = adapt or (lambda value: value)
        self._done: set[tuple[str, str]] = set()  # spaces and names
        self._homes: dict[type, dict[str, str]] = {}
        self._classes: dict[str, type] = {}
        self._keys: dict[type, str] = {}
        self.modules = of_module(values, space)
        tree = ast.parse(source)
        without_decorators(tree, name)
        self.names = names_in(tree)
        self.used = {module.partition(".")[0] for module in self.names.modules}
        self.free: dict[str, _Entry] = {}
        self.watched: dict[tuple[str, str], Watched] = {}
        self.receivers = Receivers(self, owner, tree, lambda item: free.get(item, values.get(item)))
        for free_name in free:
            if free_name in self.names.free and free_name != "__class__" and not self.is_host(free_name):
                entry = self.free[free_name] = self._entry(free_name, free[free_name], space, what=name)
                if entry["do"] == "value":
                    change = {"do": "cell", "name": free_name, "value": entry["value"]}
                    self.watched["", free_name] = Watched(free, free_name, (entry, change))
        self._bring(self.names, values, space, skip=free, what=name)
        self._known = len(self.entries)

    def _bring(self, names: Names, values: Mapping[str, Any], space: str, *, skip: Collection[str], what: str) -> None:
        """Add entries for what *names* speak of, but for the names in *skip*."""
        for name in names.free:
            if name in skip:
                continue
            is_host = self.is_host(name)
            if not is_host and (name not in values or values[name] is getattr(builtins, name, _NOTHING)):
                continue
            if (space, name) not in self._done:
                self._done.add((space, name))  # before: functions may call each other
                try:
                    entry = {"do": "host", "path": name}
                    entry = entry if is_host else self._entry(name, values[name], space, what=what)
                except SandboxTransferError:
                    self._done.discard((space, name))
                    raise
                entry = {**entry, "as": name, "into": space}
                self.entries.append(entry)
                if entry["do"] == "value":
                    self.watched[space, name] = Watched(values, name, (entry,))

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

    def entry(self, name: str, value: Any, space: str) -> _Entry:
        """Return how *value*, which the candidate calls *name*, is made over there."""
        return self._entry(name, value, space, what=self.name)

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
            found = self._importable(value) if text is None else None
            if found is not None:
                return {"do": "import", **found}
            if isinstance(value, type):
                if value not in self._keys:
                    self._key_of(value)
                return {"do": "same", **self._homes[value]}
            inner = inspect.unwrap(value)
            if isinstance(inner, FunctionType):
                kept = depth_of(value) if value is not given else None
                return self._function((space, name), given, inner, kept=kept, text=text)
        try:
            return {"do": "value", "value": self.encoder.encode(value)}
        except CannotCrossError as error:
            raise SandboxTransferError(
                f"{what}() uses {name}, {error.what}, which cannot enter the sandbox.", mend=_MEND
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
        entry = self.by_source(inner, closure_of(inner), home[0], kept=kept, text=text)
        if not is_at_home or home == asked:
            return entry
        self.entries.append({**entry, "as": home[1], "into": home[0]})
        return {"do": "same", "of": home[0], "name": home[1]}

    def _importable(self, value: Any) -> dict[str, str] | None:
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

    def by_source(
        self,
        value: Any,
        free: Mapping[str, Any],
        space: str,
        *,
        values: Mapping[str, Any] | None = None,
        kept: int | None = None,
        text: str | None = None,
    ) -> _Entry:
        """Return how a function or a class is made of its source, after what that speaks of.

        Args:
            value: What is made.
            free: Its closure variables.
            space: Its module.
            values: What global names stand for there, if it is no function, which knows that.
            kept: How many of its decorators are kept, from the lowest on; all if None.
            text: What takes the place of its source, from its definition on.
        """
        name = value.__name__
        try:
            if text is None or kept:
                lines, first = inspect.getsourcelines(value)
                source = textwrap.dedent("".join(lines))
                tree = ast.parse(source)
                if kept is not None:
                    above, below = lines_above(tree, name, kept), lines_above(tree, name, 0)
                    rows = source.splitlines(keepends=True)
                    kept_rows = rows[above:] if text is None else [*rows[above:below], text]
                    source, first = "".join(kept_rows), first + above
                    tree = ast.parse(source)
            else:
                source, first, tree = text, 1, ast.parse(text)
        except (OSError, TypeError, SyntaxError, IndexError):
            raise SandboxTransferError(
                f"{self.name}() uses {name}, whose source cannot be found, so it cannot enter the sandbox.", mend=_MEND
            ) from None
        if not any(getattr(item, "name", None) == name for item in tree.body):
            raise SandboxTransferError(
                f"{self.name}() uses {name}, which has no def statement of its own, so it cannot enter the sandbox.",
                mend=_MEND,
            )
        values = value.__globals__ if values is None else values
        self.modules |= of_module(values, space)
        names = names_in(tree)
        self.modules |= {module.partition(".")[0] for module in names.modules}
        inner = {key: self._entry(key, item, space, what=name) for key, item in free.items() if key != name}
        self._bring(names, values, space, skip=free, what=name)
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

    def _key_of(self, kind: type) -> str:
        """Return the key of a class of the user's, which is told to children before it is used."""
        if kind in self._keys:
            self.receivers.complete(kind)
            return self._keys[kind]
        key = f"{kind.__module__}.{kind.__qualname__}.{len(self._keys)}"
        self._keys[kind], self._classes[key] = key, kind
        home = {"of": kind.__module__, "name": kind.__name__}
        module = sys.modules.get(kind.__module__)
        if getattr(module, kind.__name__, None) is not kind:
            home = {"of": "", "name": key}  # a space where nothing else can have the name
        self._homes[kind] = home
        self._done.add((home["of"], home["name"]))
        found = self._importable(kind)
        if found is not None:
            entry: _Entry = {"do": "import", **found}
        else:
            try:
                entry = self.by_source(kind, {}, kind.__module__, values=vars(module) if module else {})
            except SandboxTransferError:
                entry = stand_in_for(kind, self.encoder)
        self.entries.append({**entry, "key": key, "as": home["name"], "into": home["of"]})
        return key

    def learn(self, kind: type, key: str, entry: _Entry) -> None:
        """Have *entry* make what stands for a class, by which values and texts mean that class from now on."""
        if kind not in self._keys:
            self._keys[kind], self._homes[kind] = key, {"of": "", "name": key}
        self._classes[key] = kind
        self.entries.append({**entry, "key": key, "as": key, "into": ""})

    def _write(self, encoder: Encoder, value: Any, depth: int) -> Any:
        """Return the form of what is no plain data, on the way in."""
        kind = type(value)
        if (adapted := self.adapt(value)) is not value:
            return encoder.encode(adapted, depth)
        if isinstance(value, type | FunctionType | BuiltinFunctionType):
            found = self._importable(value)
            if found is None:
                raise CannotCrossError(f"the {'class' if isinstance(value, type) else 'function'} {value.__name__}")
            return {"!import": [found["module"], found["name"]]}
        if isinstance(value, re.Pattern):
            return {"!pattern": [encoder.encode(value.pattern), value.flags]}
        if isinstance(value, Enum):
            return {"!member": [self._key_of(kind), value.name]}
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            return {"!named": [self._key_of(kind), encoder.sequence(value, depth)]}
        if hasattr(kind, "__dataclass_fields__"):
            state = {name: encoder.encode(item, depth) for name, item in state_of(value).items()}
            return {"!object": [self._key_of(kind), state]}
        return encoder.base(value, depth)

    def _read(self, tag: str, content: Any, value: Callable[[Any], Any]) -> Any:
        """Return the value of a form that only both sides together understand, on the way out."""
        match tag:
            case "!object":
                key, state = content
                made: Any = object.__new__(self._classes[key])
                for name, form in state.items():
                    object.__setattr__(made, name, value(form))
                return made
            case "!named":
                key, items = content
                return tuple.__new__(self._classes[key], map(value, items))
            case "!member":
                key, name = content
                return self._classes[key].__members__[name]  # type: ignore[attr-defined]
            case "!class":
                return self._classes[content]
        raise LookupError(tag)

    def is_host(self, path: str) -> bool:
        """True if what goes by *path* is called outside, or something in it."""
        return any(host == path or host.startswith(f"{path}.") for host in self.hosts)

    def encode_result(self, name: str, value: Any) -> Any:
        """Return the form of what the host's function *name* returned.

        Raises:
            SandboxTransferError: It has none.
        """
        try:
            return self.encoder.encode(value)
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
        if name == self.receivers.argument and self.receivers.takes(value):
            return self.receivers.encode(value)
        try:
            return self.encoder.encode(value)
        except CannotCrossError as error:
            if self.is_host(name):
                return {"!host": name}
            raise SandboxTransferError(
                f"The argument {name} of {self.name}() is or holds {error.what}, which cannot enter the sandbox.",
                mend=_MEND,
            ) from None
