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
from types import BuiltinFunctionType, FunctionType, MemberDescriptorType, ModuleType
from typing import Any

from opto.errors import SandboxTransferError
from opto.sandbox.child.codec import CannotCrossError, Decoder, Encoder
from opto.sandbox.child.objects import state_of
from opto.sandbox.names import Names, names_in, without_decorators
from opto.sandbox.places import of_module
from opto.sandbox.watched import GONE, Watched
from opto.sandbox.written import (
    PROPERTIES,
    closure_of,
    depth_of,
    is_installed,
    lines_above,
    mangled,
    members_of,
    plain_members_of,
    stand_in_for,
)

__all__ = ["Scope"]

_Entry = dict[str, Any]
_NOTHING = object()
_MEND = "Pass it as plain data, offer it with hosts=, or use isolation='none'."


class Scope:
    """What a candidate may use of the user's program.

    Attributes:
        entries: How each part is made, in order. More are added when arguments bring more classes.
        watched: The plain data among them, by space and name.
        modules: The modules that are allowed because the user's program imports them.
        used: The modules that certainly will be imported.
        names: What the source speaks of.
        encoder: Turns arguments into forms.
        decoder: Turns forms of results into values.

    Args:
        source: The text.
        name: The function in it.
        values: What global names stand for there.
        space: The module that they belong to.
        hosts: What is called outside, by name.
        has_owner: True if it is a method.
        adapt: Maps each value of the program before it is looked at.
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
        has_owner: bool = False,
        adapt: Callable[[Any], Any] | None = None,
    ) -> None:
        self.entries: list[_Entry] = []
        self.name = name
        self.encoder = Encoder(self._write)
        self.decoder = Decoder(self._read)
        self._hosts = hosts
        self._adapt = adapt or (lambda value: value)
        self._done: set[tuple[str, str]] = set()  # spaces and names
        self._homes: dict[type, dict[str, str]] = {}
        self._classes: dict[str, type] = {}
        self._keys: dict[type, str] = {}
        self._selves: dict[type, tuple[str, tuple[str, ...] | None]] = {}
        self.modules = of_module(values, space)
        tree = ast.parse(source)
        without_decorators(tree, name)
        self.names = names_in(tree)
        if "super" in self.names.free and has_owner:
            raise SandboxTransferError(
                f"{name}() uses super(), and the classes above stay outside.",
                mend="Call no method of the classes above, or use isolation='none'.",
            )
        self.used = {module.partition(".")[0] for module in self.names.modules}
        self.free: dict[str, _Entry] = {}
        self.watched: dict[tuple[str, str], Watched] = {}
        for free_name in free:
            if free_name in self.names.free and not self._is_host(free_name):
                entry = self.free[free_name] = self._entry(free_name, free[free_name], space, what=name)
                if entry["do"] == "value":
                    change = {"do": "cell", "name": free_name, "value": entry["value"]}
                    self.watched["", free_name] = Watched(free, free_name, (entry, change))
        self._bring(self.names, values, space, skip=free, what=name)

    def _bring(self, names: Names, values: Mapping[str, Any], space: str, *, skip: Collection[str], what: str) -> None:
        """Add entries for what *names* speak of, but for the names in *skip*."""
        for name in names.free:
            if name in skip:
                continue
            is_host = self._is_host(name)
            if not is_host and (name not in values or values[name] is getattr(builtins, name, _NOTHING)):
                continue
            if (space, name) not in self._done:
                self._done.add((space, name))  # before: functions may call each other
                entry = {"do": "host", "path": name} if is_host else self._entry(name, values[name], space, what=what)
                entry = {**entry, "as": name, "into": space}
                self.entries.append(entry)
                if entry["do"] == "value":
                    self.watched[space, name] = Watched(values, name, (entry,))

    def look_again(self) -> None:
        """Note which of the data that the candidate uses has another value now.

        Raises:
            SandboxTransferError: One of them cannot enter any more.
        """
        for item in self.watched.values():
            value = self._adapt(item.current())
            if value is not GONE and item.may_differ(value):
                item.note(value, self._entry(item.name, value, "", what=self.name).get("value"))

    def _entry(self, name: str, value: Any, space: str, *, what: str) -> _Entry:
        """Return how *value*, which *what* calls *name*, is made over there."""
        given, value = value, self._adapt(value)
        if isinstance(value, ModuleType):
            self.used.add(value.__name__.partition(".")[0])
            return {"do": "module", "module": value.__name__}
        if isinstance(value, Logger):
            return {"do": "logger", "name": value.name}
        if callable(value):
            found = self._importable(value)
            if found is not None:
                return {"do": "import", **found}
            if isinstance(value, type):
                self._key_of(value)
                return {"do": "same", **self._homes[value]}
            inner = inspect.unwrap(value)
            if isinstance(inner, FunctionType):
                return self._function((space, name), given, inner, kept=depth_of(value) if value is not given else None)
        try:
            return {"do": "value", "value": self.encoder.encode(value)}
        except CannotCrossError as error:
            raise SandboxTransferError(
                f"{what}() uses {name}, {error.what}, which cannot enter the sandbox.", mend=_MEND
            ) from None

    def _function(self, asked: tuple[str, str], given: Any, inner: FunctionType, *, kept: int | None) -> _Entry:
        """Return how a function is made: in the module that it stands in, which others import it from.

        Args:
            asked: Where it is spoken of: space and name.
            given: What stands there, around *inner*.
            inner: What has a source.
            kept: How many of its decorators are kept, from the lowest on; all if None.
        """
        home = (inner.__module__ or asked[0], inner.__name__)
        is_at_home = getattr(sys.modules.get(home[0]), home[1], None) is given
        if is_at_home and home in self._done and home != asked:
            return {"do": "same", "of": home[0], "name": home[1]}
        self._done.add(home)
        entry = self._by_source(inner, inner.__globals__, closure_of(inner), home[0], kept=kept)
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

    def _by_source(
        self, value: Any, values: Mapping[str, Any], free: Mapping[str, Any], space: str, *, kept: int | None = None
    ) -> _Entry:
        """Return how a function or a class is made of its source, after what that speaks of.

        *kept*: How many of its decorators are kept, from the lowest on; all if None.
        """
        name = value.__name__
        try:
            lines, first = inspect.getsourcelines(value)
            source = textwrap.dedent("".join(lines))
            tree = ast.parse(source)
            if kept is not None:
                above = lines_above(tree, name, kept)
                source, first = "".join(source.splitlines(keepends=True)[above:]), first + above
                tree = ast.parse(source)
        except (OSError, TypeError, SyntaxError, IndexError):
            raise SandboxTransferError(
                f"{self.name}() uses {name}, whose source cannot be found, so it cannot enter the sandbox.", mend=_MEND
            ) from None
        if not any(getattr(item, "name", None) == name for item in tree.body):
            raise SandboxTransferError(
                f"{self.name}() uses {name}, which has no def statement of its own, so it cannot enter the sandbox.",
                mend=_MEND,
            )
        self.modules |= of_module(values, space)
        names = names_in(tree)
        self.modules |= {module.partition(".")[0] for module in names.modules}
        inner = {key: self._entry(key, item, space, what=name) for key, item in free.items() if key != name}
        self._bring(names, values, space, skip=free, what=name)
        file = inspect.getsourcefile(value) or "<unknown>"
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
                entry = self._by_source(kind, vars(module) if module else {}, {}, kind.__module__)
            except SandboxTransferError:
                entry = stand_in_for(kind, self.encoder)
        self.entries.append({**entry, "key": key, "as": home["name"], "into": home["of"]})
        return key

    def _write(self, encoder: Encoder, value: Any, depth: int) -> Any:
        """Return the form of what is no plain data, on the way in."""
        kind = type(value)
        if (adapted := self._adapt(value)) is not value:
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
                    # Past properties, which would run: what comes from there is data.
                    member = inspect.getattr_static(made, name, None)
                    if isinstance(member, MemberDescriptorType):
                        member.__set__(made, value(form))
                    else:
                        object.__getattribute__(made, "__dict__")[name] = value(form)
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

    def encode_self(self, receiver: Any) -> Any:
        """Return the form of the object whose method the candidate is: its plain attributes.

        Raises:
            SandboxTransferError: The candidate uses an attribute that is no plain data.
        """
        kind = type(receiver)
        if kind not in self._selves:
            self._selves[kind] = self._stand_for(kind)
        key, used = self._selves[kind]
        state, missing = state_of(receiver), {}
        forms = {}
        for name in {**plain_members_of(kind), **state} if used is None else used:
            if self._is_host(f"self.{name}"):
                continue
            if name not in state:
                if name not in plain_members_of(kind):
                    continue
                state[name] = members_of(kind)[name]
            try:
                forms[name] = self.encoder.encode(self._adapt(state[name]))
            except CannotCrossError as error:
                if used is not None:
                    raise SandboxTransferError(
                        f"{self.name}() uses self.{name}, {error.what}, which cannot enter the sandbox.",
                        mend=f"Offer what it calls there with hosts=['self.{name}'], or use isolation='none'.",
                    ) from None
                missing[name] = error.what
        return {"!self": [key, forms, missing]}

    def _is_host(self, path: str) -> bool:
        """True if what goes by *path* is called outside, or something in it."""
        return any(host == path or host.startswith(f"{path}.") for host in self._hosts)

    def _stand_for(self, kind: type) -> tuple[str, tuple[str, ...] | None]:
        """Add a class with the methods of *kind* that the candidate uses; return its key, and all attributes used."""
        wanted = None if self.names.attributes is None else mangled(self.names.attributes, kind)
        waiting, texts, seen = [*(wanted if wanted is not None else members_of(kind))], [], set()
        while waiting:
            name = waiting.pop()
            if name in seen or self._is_host(f"self.{name}"):
                continue
            seen.add(name)
            text, names = self._method(kind, name)
            if text is None:
                continue
            texts.append(text)
            if names is not None and names.attributes is None:
                wanted = None
                waiting += members_of(kind)
            elif names is not None:
                waiting += mangled(names.attributes or (), kind)
        body = textwrap.indent("\n".join(texts) or "pass", "    ")
        key = f"self:{kind.__qualname__}.{len(self._selves)}"
        entry = {
            "do": "source",
            "source": f"class {kind.__name__}(__Self__):\n{body}\n",
            "file": f"<methods of {kind.__name__}>",
            "line": 0,
            "name": kind.__name__,
            "free": {},
            "owner": None,
            "space": kind.__module__,
        }
        self.entries.append({**entry, "key": key})
        return key, None if wanted is None else (*sorted(seen),)

    def _method(self, kind: type, name: str) -> tuple[str | None, Names | None]:
        """Return how the method *name* of a class is written, and what that speaks of; None if it is no method."""
        member = members_of(kind).get(name)
        if member is None or name == self.name or (name[:2] == "__" and name[-2:] == "__"):
            return None, None
        how = PROPERTIES.get(type(member))
        given = member.fget if how == "property" else member.__func__ if how else member
        function = self._adapt(given)
        if not isinstance(function, FunctionType):
            return None, None
        inner = inspect.unwrap(function)
        kept = None if function is given else depth_of(function)
        text = self._by_source(inner, inner.__globals__, {}, kind.__module__, kept=kept)["source"]
        return (f"@{how}\n" if how and kept is not None else "") + text, names_in(ast.parse(text))

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
        try:
            return self.encoder.encode(value)
        except CannotCrossError as error:
            if name == "self":
                return self.encode_self(value)
            if self._is_host(name):
                return {"!host": name}
            raise SandboxTransferError(
                f"The argument {name} of {self.name}() is or holds {error.what}, which cannot enter the sandbox.",
                mend=_MEND,
            ) from None
