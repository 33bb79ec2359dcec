"""Objects that are more than plain data: instances of classes that both sides know, ``self``, and what hosts offer."""

import sys
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from enum import Enum
from types import BuiltinFunctionType, FunctionType
from typing import Any

from .codec import CannotCrossError, Decoder, Encoder
from .functions import Functions
from .graphs import Value, Writing, is_instance, named_member, readers
from .held import held, plain_of
from .receivers import Noting, Outside, Self, complete, forget, is_given, lost, receive, started
from .tables import READERS, write_table
from .words import in_full, in_words, is_among

__all__ = ["Host", "Objects", "Outside", "found", "ready", "stand_in"]

_Reader = Callable[[Any, Value], Any]
_CallHost = Callable[[str, tuple[Any, ...], Mapping[str, Any]], Any]


class Host:
    """Something of the user's process that can be called from here, or that has something in it that can."""

    __slots__ = ("_call", "_offered", "_path")

    def __init__(self, path: str, offered: Collection[str], call: _CallHost) -> None:
        self._path, self._offered, self._call = path, offered, call

    def __getattr__(self, name: str) -> "Host":
        path = f"{self._path}.{name}"
        if is_among(self._offered, path):
            return Host(path, self._offered, self._call)
        raise AttributeError(f"{path} is not offered to this function; what is: {', '.join(self._offered)}.")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(self._path, args, kwargs)

    def __repr__(self) -> str:
        return f"<{self._path}, outside>"


def ready(path: str, value: Any) -> Coroutine[None, None, Any]:
    """Return *value*, which a coroutine of the host has come to, as a coroutine that takes no time."""

    async def result() -> Any:
        return value

    result.__name__ = result.__qualname__ = path
    return result()


class Objects:
    """The classes and functions that the user's process has told this one about, by the keys that both sides use."""

    def __init__(self, call_host: _CallHost) -> None:
        self.offered: tuple[str, ...] = ()
        self.functions = Functions()
        self._call_host = call_host
        self._receiver: Any = None
        self.known: dict[str, Any] = {}
        self._keys: dict[Any, str] = {}
        classes = self.known
        self._readers: dict[str, _Reader] = {
            **readers(classes, self.read),
            "!self": self._read_self,
            "!receiver": self._read_receiver,
            "!class": lambda content, _: classes[content],
            "!held": lambda content, value: held(value(content)),
            "!outside": lambda content, _: Outside(content),
            "!host": lambda content, _: self.host(content),
            "!bound": lambda content, value: getattr(value(content[0]), content[1]),
            "!made": _read_made,
            "!random": _read_random,
            "!dispatch": _read_dispatch,
            "!pattern": lambda content, value: found("re", "compile")(value(content[0]), content[1]),
            "!inner": self.functions.read,
            **READERS,
            "!import": lambda content, _: found(*content),
        }

    def learn(self, key: str, value: Any) -> None:
        """Note that both sides call *value*, a class or a function, by *key*."""
        self.known[key] = value
        self._keys[value] = key

    def key_of(self, kind: type) -> str | None:
        return self._keys.get(kind)

    def host(self, path: str) -> Host:
        return Host(path, self.offered, self._call_host)

    def begin(self) -> None:
        """Forget what was noted of the call before."""
        self._receiver = None
        forget()

    def lost(self) -> list[str]:
        """Return the attributes of ``self`` that the call has changed, which is to no avail."""
        return lost(self.form)

    def read(self, tag: str, content: Any, value: Value) -> Any:
        """Return what *content* says under *tag*."""
        reader = self._readers.get(tag)
        if reader is None:
            raise LookupError(tag)
        return reader(content, value)

    def _read_self(self, content: Any, value: Value) -> Self:
        key, state, missing, path, fixed, items = content
        made = self._receiver if "." not in path else started(self.known[key], value(fixed))
        if items is not None:
            plain = value(items)
            type(plain).__init__(made, plain)
        values = {name: value(form) for name, form in state.items()}
        return receive(made, values, path=path, missing=missing, form=self.form)

    def _read_receiver(self, content: Any, value: Value) -> Any:
        """Return what the call is made on; nothing in *content* says that this is spoken of in the middle of it."""
        if content is not None:
            key, fixed, form = content
            self._receiver = started(self.known[key], value(fixed))  # before what it holds, which may speak of it
            value(form)
        return self._receiver

    def class_for(self, entry: Mapping[str, Any], module: str, decoder: Decoder) -> type:
        """Return an empty class in the place of one of the user's, below those that stand for its bases."""
        bases = [self.known[base] if base in self.known else found("builtins", base) for base in entry["bases"]]
        if not any(issubclass(base, Self) for base in bases):
            bases = [Self, *bases]
        names = {"__module__": module, "__qualname__": entry["qualname"]}
        options, fields = entry["fields"] or (None, ())
        names["__annotations__"] = {name: object for name, _ in fields}
        made = Noting(entry["name"], tuple(bases), names)
        if options is not None:
            for name, settings in fields:
                type.__setattr__(made, name, found("dataclasses", "field")(**decoder.decode(settings)))
            found("dataclasses", "dataclass")(**options)(made)
        complete.add(made)
        return made

    def put(self, key: str, name: str, value: Any) -> None:
        """Make *value* what the class *key* has under *name*."""
        kind = self.known[key]
        type.__setattr__(kind, name, value)
        if hasattr(type(value), "__set_name__"):
            value.__set_name__(kind, name)

    def form(self, value: Any) -> Any:
        """Return the form of *value*.

        Raises:
            CannotCrossError: It has none.
        """
        return Writing(self._write).form(value)

    def _write(self, writing: Writing, encoder: Encoder, value: Any, depth: int) -> Any:
        """Return the form of *value*, which is no plain data."""
        if (plain := plain_of(value)) is not value:
            return encoder.encode(plain, depth)
        kind = type(value)
        if (kind is object or isinstance(value, type | FunctionType)) and value in self._keys:
            return {"!known": self._keys[value]}
        key = self._keys.get(kind)
        if key is not None:
            if isinstance(value, Enum):
                return named_member(key, value)
            if isinstance(value, tuple):
                return {"!named": [key, encoder.sequence(tuple.__iter__(value), depth)]}
            if not is_given(value) and is_instance(value):
                return writing.instance(key, value)
        if isinstance(value, type | FunctionType | BuiltinFunctionType):
            return self.functions.write(value, lambda item: encoder.encode(item, depth))
        return self._other(encoder, value, depth, key)

    def _other(self, encoder: Encoder, value: Any, depth: int, key: str | None) -> Any:
        kind = type(value)
        if isinstance(value, Exception) and (key is not None or kind.__module__ == "builtins"):
            state = encoder.encode(vars(value), depth)
            return {"!error": [key or kind.__name__, encoder.sequence(value.args, depth), state]}
        if (table := write_table(encoder, value, depth)) is not None:
            return table
        if kind.__module__ == "builtins":
            raise CannotCrossError(in_words(kind))
        try:
            return encoder.base(value, depth)
        except CannotCrossError:
            if str(kind.__module__).partition(".")[0] != "candidate":
                raise CannotCrossError(in_full(kind)) from None
            raise CannotCrossError(in_words(kind) + (", a class of its own" if key is None else "")) from None


def _read_made(content: Any, value: Value) -> Any:
    module, name, args, kwargs = content
    return found(module, name)(*map(value, args), **{key: value(form) for key, form in kwargs.items()})


def _read_random(content: Any, value: Value) -> Any:
    module, name, state = content
    if module == "random":
        made = found(module, name)()
        made.setstate(value(state))
        return made
    bits = found(module, name)()
    bits.state = value(state)
    return found("numpy.random", "Generator")(bits)


def _read_dispatch(content: Any, value: Value) -> Any:
    base, others = content
    made = found("functools", "singledispatch")(value(base))
    for kind, function in others:
        made.register(value(kind), value(function))
    return made


def found(module: str, name: str | None) -> Any:
    """Return what *module* calls *name*, which may have dots; the module itself if there is no name."""
    __import__(module)
    value: Any = sys.modules[module]
    for part in () if name is None else name.split("."):
        value = getattr(value, part)
    return value


def stand_in(kind: str, name: str, members: Iterable[Any]) -> type:
    """Return a class with the attributes of one whose source nobody has.

    Args:
        kind: ``dataclass``, ``enum``, ``named`` or ``object``.
        name: Of the class.
        members: Of its fields, the names, each with what it is if it is left out; of an ``enum``, names and values.
    """
    if kind == "enum":
        return Enum(name, list(members))  # type: ignore[return-value]  # made by a call
    if kind == "named":
        from collections import namedtuple  # noqa: PLC0415 - few functions need it

        names, defaults = [item[0] for item in members], [item[1] for item in members if len(item) > 1]
        return namedtuple(name, names, defaults=defaults)  # noqa: PYI024 - its fields are data
    if kind == "dataclass":
        from dataclasses import field, make_dataclass  # noqa: PLC0415 - the same

        return make_dataclass(name, [(item, object, field(**given)) for item, given in members])
    return type(name, (), {})
