"""Objects that are more than plain data: instances of classes that both sides know, ``self``, and what hosts offer."""

import sys
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from enum import Enum
from typing import Any

from .codec import CannotCrossError, Decoder, Encoder, in_words

__all__ = ["Host", "Objects", "Outside", "Ready", "Self", "found", "stand_in", "state_of"]

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


class Outside:
    """What stands in a class for a part of it that stayed in the user's process."""

    __slots__ = ("words",)

    def __init__(self, what: str) -> None:
        self.words = f"{what} stays outside."

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        raise AttributeError(self.words)


#: What objects that a call was given do not have, by id. No attributes of theirs: what is set on them is all their own.
_given: dict[int, Mapping[str, str]] = {}
_written: dict[str, None] = {}


class _Noting(type):
    """The type of classes that note what is assigned to them: it stays in this process."""

    def __setattr__(cls, name: str, value: Any) -> None:
        type.__setattr__(cls, name, value)
        _written[f"{cls.__name__}.{name}"] = None


class Self(metaclass=_Noting):
    """What the classes are made of that stand for those of the object whose method a candidate is."""

    def __getattr__(self, name: str) -> Any:
        missing = _given.get(id(self), {})
        if name in missing:
            raise AttributeError(f"self.{name} is {missing[name]}, which stays outside.")
        members = (vars(base).get(name) for base in type(self).__mro__)
        words = next((member.words for member in members if isinstance(member, Outside)), None)
        raise AttributeError(words or f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if id(self) in _given:
            _written[f"self.{name}"] = None


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

    def class_of(self, key: str) -> type:
        return self._classes[key]

    def host(self, path: str) -> Host:
        return Host(path, self.offered, self._call_host)

    def begin(self) -> None:
        """Forget what was noted of the call before."""
        _given.clear()
        _written.clear()

    def written(self) -> list[str]:
        """Return what the call assigned of ``self`` and its classes."""
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
            key, state, missing, plain = content
            made = _filled(self._classes[key], {name: value(form) for name, form in state.items()}, value(plain))
            _given[id(made)] = missing
            return made
        if tag == "!class":
            return self._classes[content]
        if tag == "!host":
            return self.host(content)
        if tag == "!pattern":
            pattern, flags = content
            return found("re", "compile")(value(pattern), flags)
        if tag == "!import":
            module, name = content
            return found(module, name)
        raise LookupError(tag)

    def class_for(self, entry: Mapping[str, Any], module: str, decoder: Decoder) -> type:
        """Return an empty class in the place of one of the user's, below those that stand for its bases."""
        bases = [self._classes[base] if base in self._classes else found("builtins", base) for base in entry["bases"]]
        if not any(issubclass(base, Self) for base in bases):
            bases = [Self, *bases]
        names = {"__module__": module, "__qualname__": entry["qualname"]}
        options, fields = entry["fields"] or (None, ())
        names["__annotations__"] = {name: object for name, _ in fields}
        made = _Noting(entry["name"], tuple(bases), names)
        if options is None:
            return made
        noted = {**_written}
        for name, settings in fields:
            setattr(made, name, found("dataclasses", "field")(**decoder.decode(settings)))
        found("dataclasses", "dataclass")(**options)(made)
        _written.clear()
        _written.update(noted)
        return made

    def put(self, key: str, name: str, value: Any) -> None:
        """Make *value* what the class *key* has under *name*."""
        kind = self._classes[key]
        type.__setattr__(kind, name, value)
        if hasattr(type(value), "__set_name__"):
            value.__set_name__(kind, name)

    def write(self, encoder: Encoder, value: Any, depth: int) -> Any:
        """Return the form of *value*, which is no plain data."""
        kind = type(value)
        key = self._keys.get(kind)
        if key is not None:
            if isinstance(value, Enum):
                return {"!member": [key, value.name]}
            if isinstance(value, tuple):
                return {"!named": [key, encoder.sequence(tuple.__iter__(value), depth)]}
            if id(value) not in _given:
                return {"!object": [key, {name: encoder.encode(item, depth) for name, item in state_of(value).items()}]}
        if kind.__module__ == "builtins" and not isinstance(value, type):
            raise CannotCrossError(in_words(kind))
        try:
            return encoder.base(value, depth)
        except CannotCrossError:
            where = ", a class of its own" if key is None and not isinstance(value, type) else ""
            raise CannotCrossError(in_words(kind) + where) from None


def found(module: str, name: str | None) -> Any:
    """Return what *module* calls *name*, which may have dots; the module itself if there is no name."""
    __import__(module)
    value: Any = sys.modules[module]
    for part in () if name is None else name.split("."):
        value = getattr(value, part)
    return value


def _filled(kind: type, state: Mapping[str, Any], plain: Any = None) -> Any:
    """Return an instance of *kind* with the attributes *state*, and the items of *plain* if it is a container."""
    if plain is None:
        made: Any = object.__new__(kind)
    else:
        base: Any = type(plain)
        made = base.__new__(kind, plain)
        if base in {list, dict, set, bytearray}:
            base.__init__(made, plain)
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
