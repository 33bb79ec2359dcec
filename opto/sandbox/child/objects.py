"""Objects that are more than plain data: instances of classes that both sides know, ``self``, and what hosts offer."""

import sys
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

from .codec import CannotCrossError, Encoder, in_words

__all__ = ["Host", "Objects", "Ready", "Self", "found", "stand_in", "state_of"]

_CallHost = Callable[[str, tuple[Any, ...], Mapping[str, Any]], Any]


class Host:
    """Something of the user's process that can be called from here, or that has something in it that can."""

    __slots__ = ("_call", "_offered", "_path")

    def __init__(self, path: str, offered: Collection[str], call: _CallHost) -> None:
        self._path, self._offered, self._call = path, offered, call

    def __getattr__(self, name: str) -> "Host":
        path = f"{self._path}.{name}"
        if any(item == path or item.startswith(f"{path}.") for item in self._offered):
            return Host(path, self._offered, self._call)
        raise AttributeError(f"{path} is not offered to this function; what is: {', '.join(self._offered)}.")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(self._path, args, kwargs)

    def __repr__(self) -> str:
        return f"<{self._path}, outside>"


class Ready:
    """The result of a coroutine of the host: awaiting it takes no time."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def __await__(self) -> Generator[None, None, Any]:
        return self._value
        yield  # which makes this a generator


#: What is known of the objects below. No attributes of theirs: what is set on an object is all its own.
_about: dict[int, tuple[Mapping[str, str], Mapping[str, Host]]] = {}
_written: dict[str, None] = {}


class Self:
    """What stands for the object whose method a candidate is: its plain attributes."""

    def __getattr__(self, name: str) -> Any:
        missing, hosts = _about.get(id(self), ({}, {}))
        if name in hosts:
            return hosts[name]
        if name in missing:
            raise AttributeError(f"self.{name} is {missing[name]}, which stays outside.")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        _written[name] = None


def state_of(value: Any) -> dict[str, Any]:
    """Return the attributes of *value*, in its ``__dict__`` and in slots."""
    state = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in {"__dict__", "__weakref__"} and name not in state and hasattr(value, name):
                state[name] = getattr(value, name)
    return state


class Objects:
    """The classes that the user's process has told this one about, by the keys that both sides use."""

    def __init__(self, call_host: _CallHost) -> None:
        self.offered: tuple[str, ...] = ()
        self._call_host = call_host
        self._classes: dict[str, type] = {}
        self._keys: dict[type, str] = {}

    def learn(self, key: str, kind: type) -> None:
        self._classes[key] = kind
        self._keys[kind] = key

    def key_of(self, kind: type) -> str | None:
        return self._keys.get(kind)

    def host(self, path: str) -> Host:
        return Host(path, self.offered, self._call_host)

    def begin(self) -> None:
        """Forget what was noted of the call before."""
        _about.clear()
        _written.clear()

    def written(self) -> list[str]:
        """Return the attributes of ``self`` that the call assigned."""
        return [*_written]

    def read(self, tag: str, content: Any, value: Callable[[Any], Any]) -> Any:
        """Return what *content* says under *tag*."""
        if tag == "!object":
            key, state = content
            return _filled(self._classes[key], {name: value(form) for name, form in state.items()})
        if tag == "!named":
            key, items = content
            return tuple.__new__(self._classes[key], map(value, items))
        if tag == "!member":
            key, name = content
            return self._classes[key].__members__[name]  # type: ignore[attr-defined]
        if tag == "!self":
            key, state, missing = content
            made: Any = _filled(self._classes[key], {name: value(form) for name, form in state.items()})
            _about[id(made)] = (missing, dict(self._hosts_of_self()))
            return made
        if tag == "!host":
            return self.host(content)
        if tag == "!pattern":
            pattern, flags = content
            return found("re", "compile")(value(pattern), flags)
        if tag == "!import":
            module, name = content
            return found(module, name)
        raise LookupError(tag)

    def _hosts_of_self(self) -> Iterator[tuple[str, Host]]:
        for path in self.offered:
            root, _, rest = path.partition(".")
            if root == "self" and rest:
                name = rest.partition(".")[0]
                yield name, self.host(f"self.{name}")

    def write(self, encoder: Encoder, value: Any, depth: int) -> Any:
        """Return the form of *value*, which is no plain data."""
        kind = type(value)
        key = self._keys.get(kind)
        if key is not None:
            if isinstance(value, Enum):
                return {"!member": [key, value.name]}
            if isinstance(value, tuple):
                return {"!named": [key, encoder.sequence(tuple.__iter__(value), depth)]}
            if not isinstance(value, Self):
                return {"!object": [key, {name: encoder.encode(item, depth) for name, item in state_of(value).items()}]}
        if kind.__module__ == "builtins" and not isinstance(value, type):
            raise CannotCrossError(in_words(kind))
        try:
            return encoder.base(value, depth)
        except CannotCrossError:
            where = ", a class of its own" if key is None and not isinstance(value, type) else ""
            raise CannotCrossError(in_words(kind) + where) from None


def found(module: str, name: str) -> Any:
    """Return what *module* calls *name*, which may have dots."""
    __import__(module)
    value: Any = sys.modules[module]
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _filled(kind: type, state: Mapping[str, Any]) -> Any:
    made: Any = object.__new__(kind)
    for name, value in state.items():
        object.__setattr__(made, name, value)
    return made


def stand_in(kind: str, name: str, members: Iterable[Any]) -> type:
    """Return a class with the attributes of one whose source nobody has.

    Args:
        kind: ``dataclass``, ``enum``, ``named`` or ``object``.
        name: Of the class.
        members: Names of its fields; pairs of names and values for ``enum``.
    """
    if kind == "enum":
        return Enum(name, list(members))  # type: ignore[return-value]
    if kind == "named":
        from collections import namedtuple  # noqa: PLC0415 - few functions need it

        return namedtuple(name, list(members))  # noqa: PYI024 - its fields are data
    if kind == "dataclass":
        from dataclasses import make_dataclass  # noqa: PLC0415 - the same

        return make_dataclass(name, list(members))
    return type(name, (), {})
