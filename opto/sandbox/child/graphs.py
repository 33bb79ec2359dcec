"""Instances of classes that both sides know: each goes over once, whatever refers to it, itself among them."""

import builtins
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import EnumMeta, Flag
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    MemberDescriptorType,
    MethodDescriptorType,
)
from typing import Any

from .codec import CannotCrossError, Decoder, Encoder
from .words import OWN, is_asked_for, mangled

__all__ = [
    "KEPT",
    "Reader",
    "Value",
    "Writing",
    "fill",
    "is_instance",
    "is_sound",
    "named_member",
    "readers",
    "state_of",
]

#: Reads forms that are inside others.
Value = Callable[[Any], Any]
#: Reads what stands under a tag.
Reader = Callable[[str, Any, Value], Any]


def _put(made: Any, items: Any) -> None:
    for name, item in items.items():
        OrderedDict.__setitem__(made, name, item)


#: What holds items besides attributes, and how one is put into it past whatever a subclass defines.
_PARTS: dict[type, Callable[[Any, Any], None]] = {
    OrderedDict: _put,
    dict: dict.update,
    list: list.extend,
    set: set.update,
    deque: deque.extend,
}
#: What Python keeps of some exceptions besides their arguments and attributes. What it keeps of others is of types that
#: it trusts to be what they are.
KEPT: tuple[tuple[type[BaseException], tuple[str, ...]], ...] = (
    (OSError, ("filename", "filename2")),
    (ImportError, ("name", "path")),
)
_METHODS = (
    FunctionType,
    staticmethod,
    classmethod,
    BuiltinFunctionType,
    MethodDescriptorType,
    ClassMethodDescriptorType,
)
#: What the items of such an object come as.
_COME_AS: dict[type, type] = {OrderedDict: dict, dict: dict, set: set}


def state_of(value: Any) -> dict[str, Any]:
    """Return the attributes of *value*, in its ``__dict__`` and in slots."""
    state = {name: item for name, item in getattr(value, "__dict__", {}).items() if not name.startswith(OWN)}
    order = type(value).__mro__
    for kind in order:
        slots = kind.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            name = mangled(slot, kind.__name__)
            # A class below may have something else by the name of a slot, which nobody reaches then.
            is_reached = next((base for base in order if name in base.__dict__), None) is kind
            if name not in {"__dict__", "__weakref__"} and name not in state and is_reached and hasattr(value, name):
                state[name] = getattr(value, name)
    return state


def is_instance(value: Any) -> bool:
    """True if *value* is made of attributes, and of items at most."""
    kind = type(value)
    if hasattr(kind, "__del__"):
        return False
    if issubclass(kind, (*_PARTS,)):
        return True
    # Whatever else is in it that Python made, or another language, has no form.
    return kind.__new__ is not None and _holds_nothing(kind)


def _holds_nothing(kind: type) -> bool:
    try:
        object.__new__(kind)
    except TypeError:
        return False
    return True


def fill(made: Any, state: Mapping[str, Any], *, keeps_methods: bool = False) -> None:
    """Give *made* the attributes *state*, past whatever its class does about that.

    *keeps_methods*: True if none of them may stand in the place of a method.
    """
    kind = type(made)
    for name, value in state.items():
        if type(name) is not str:
            raise TypeError("an attribute whose name is no text")
        # Past properties, which would run: what comes from the other side is data.
        member = next((base.__dict__[name] for base in kind.__mro__ if name in base.__dict__), None)
        if isinstance(member, MemberDescriptorType) and _holds_anything(member):
            member.__set__(made, value)
        elif is_asked_for(name) and name != "__notes__":
            raise TypeError(f"an attribute called {name[:40]!r}")
        elif keeps_methods and isinstance(member, _METHODS) and not _is_field(kind, name):
            raise TypeError(f"an attribute in the place of the method {name[:40]}() of {kind.__name__}")
        else:
            object.__getattribute__(made, "__dict__")[name] = value


def _is_field(kind: type, name: str) -> bool:
    """True if *kind* says that its instances have *name*: what stands there in the class is what it is if left out."""
    return any(name in vars(base).get("__annotations__", ()) for base in kind.__mro__) or name in getattr(
        kind, "__dataclass_fields__", ()
    )


def _holds_anything(member: Any) -> bool:
    """True if *member* is a slot of a class in Python, or one of `KEPT`; others are memory that code in C reads."""
    owner, name = member.__objclass__, member.__name__
    return "__slots__" in vars(owner) or any(owner is kind and name in names for kind, names in KEPT)


def _part_of(kind: type) -> type | None:
    return next((part for part in _PARTS if issubclass(kind, part)), None)


class Writing:
    """The way of one value over to the other side.

    Attributes:
        receiver: What the other side will call a method on.
        has_met_receiver: True if the value speaks of that.
        left_out: Attributes of objects that stay here.

    Args:
        other: Asked for what is no plain data, with this object, the encoder, the value and its depth: returns a form,
            `instance` for one, or raises `CannotCrossError`.
        encoder: The class that turns the rest into forms.
    """

    def __init__(self, other: "Callable[[Writing, Encoder, Any, int], Any]", encoder: type[Encoder] = Encoder) -> None:
        self.encoder = encoder(lambda encoder, value, depth: other(self, encoder, value, depth))
        self.receiver: Any = None
        self.left_out: tuple[str, ...] = ()
        self.has_met_receiver = False
        self._instances: list[tuple[str, Any]] = []
        self._rows: list[Any] = []
        self._numbers: dict[int, int] = {}

    def form(self, value: Any) -> Any:
        """Return the form of *value*.

        Raises:
            CannotCrossError: It has none.
        """
        return self.whole(self.encoder.encode(value))

    def instance(self, key: str, value: Any) -> Any:
        """Return the form of *value*, an instance of the class that both sides know by *key*."""
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self._instances)
            self._instances.append((key, value))
        return {"!instance": number}

    def whole(self, form: Any) -> Any:
        """Return *form* with the instances that it speaks of, and hold them no longer."""
        self._write_rows()
        self._instances.clear()  # they would live as long as this does, which the encoder refers to
        if not self._rows:
            return form
        return {"!graph": [form, self._rows]}

    def attempt(self, value: Any) -> Any:
        """Return the form of *value*, which is a part of something: if it has none, nothing of it stays here.

        Raises:
            CannotCrossError: It has none.
        """
        count = len(self._instances)
        try:
            form = self.encoder.encode(value)
            self._write_rows()
        except CannotCrossError:
            for _, instance in self._instances[count:]:
                del self._numbers[id(instance)]
            del self._instances[count:], self._rows[count:]
            raise
        return form

    def _write_rows(self) -> None:
        # More are met on the way. One after the other, so that a long chain is not nested deeply.
        while len(self._rows) < min(len(self._instances), self.encoder.most or sys.maxsize):
            self._rows.append(self._row(*self._instances[len(self._rows)]))

    def _row(self, key: str, value: Any) -> list[Any]:
        kind, encode = type(value), self.encoder.encode
        state = {name: item for name, item in state_of(value).items() if name not in self.left_out}
        row = [key, {name: self._attribute(name, item, kind) for name, item in state.items()}]
        part = _part_of(kind)
        if part is not None:
            row.append(self.encoder.base(value, 0) if part is not deque else encode([*deque.__iter__(value)]))
        return row

    def _attribute(self, name: str, value: Any, kind: type) -> Any:
        try:
            return self.encoder.encode(value)
        except CannotCrossError as error:
            whose = "" if " in the " in error.what else f" in the attribute {name} of {kind.__name__}"
            raise CannotCrossError(f"{error.what}{whose}") from None


def readers(
    classes: Mapping[str, Any], other: Reader, *, keep_methods: bool = False
) -> "dict[str, Callable[[Any, Value], Any]]":
    """Return what reads the forms of objects, by tag.

    Args:
        classes: What both sides know, by key.
        other: Asked for other tags, as by `Decoder`.
        keep_methods: True if no attribute of an object may stand in the place of a method.
    """
    return {
        "!graph": lambda content, _: _read_graph(content, classes, other, keep_methods),
        "!named": lambda content, value: _read_named(classes[content[0]], [*map(value, content[1])]),
        "!member": lambda content, _: _read_member(classes[content[0]], content[1]),
        "!error": lambda content, value: _read_error(content, classes, value, keep_methods),
        "!known": lambda content, _: classes[content],
    }


def _read_graph(content: Any, classes: Mapping[str, Any], other: Reader, keep_methods: bool) -> Any:
    form, table = content
    made = [_empty(classes[row[0]]) for row in table]

    def read(tag: str, content: Any, value: Value) -> Any:
        return made[content] if tag == "!instance" else other(tag, content, value)

    value = Decoder(read).value
    # From the last one on: what is a key somewhere has its hash by then.
    for instance, (_, state, *items) in zip(reversed(made), reversed(table), strict=True):
        fill(instance, {name: value(item) for name, item in state.items()}, keeps_methods=keep_methods)
        for item in items:
            _add(instance, value(item))
    return value(form)


def _read_named(kind: Any, items: list[Any]) -> Any:
    if len(items) != len(getattr(kind, "_fields", items)):
        raise TypeError("a named tuple with more or fewer items than names")
    return tuple.__new__(_harmless(kind), items)


def named_member(key: str, value: Any) -> Any:
    """Return the form of a member of an enum: by its name, or by its value if it is made of several."""
    return {"!member": [key, value.name if value.name in type(value).__members__ else value.value]}


def _read_member(kind: Any, which: Any) -> Any:
    """Return a member of an enum: by its name, or by its value if it is made of several."""
    if not isinstance(kind, EnumMeta):
        raise TypeError("a member of what is no enum")  # whose code would run
    if type(which) is str and which in kind.__members__:
        return kind.__members__[which]
    given: Any = kind
    known = given._value2member_map_
    if which in known:
        return known[which]
    if not (type(which) is int and issubclass(kind, Flag)) or which & ~given._flag_mask_:
        raise ValueError("no member of an enum")  # of flags, each other number would be kept for ever
    missing: Any = Flag.__dict__["_missing_"]
    return missing.__func__(_harmless(kind), which)  # past what its class makes of them


def _read_error(content: Any, classes: Mapping[str, Any], value: Value, keep_methods: bool) -> BaseException:
    """Return an exception that is a value."""
    name, args, state = content
    kind: Any = classes.get(name) or getattr(builtins, name)
    if not issubclass(_harmless(kind), Exception):
        raise TypeError(f"an exception of kind {name!r:.40}")
    base: Any = next(base for base in kind.__mro__ if getattr(builtins, base.__name__, None) is base)
    given = [*map(value, args)]
    made: BaseException = base.__new__(kind, *given)  # past what its class makes of them
    if base in _OF_PLACES:
        with suppress(TypeError):  # others than Python wants
            base.__init__(made, *given)
        if not is_sound(made):
            raise ValueError("a place outside of a text")
    state = value(state)
    if type(state) is not dict:
        raise TypeError("attributes that are no dict")
    fill(made, state, keeps_methods=keep_methods)
    return made


def is_sound(error: BaseException) -> bool:
    """False if what *error* speaks of is no part of the text that it has: Python would look for it in memory."""
    kind = next((kind for kind in _OF_PLACES if isinstance(error, kind)), None)
    if kind is None:
        return True
    start, end, text = (vars(kind)[name].__get__(error) for name in ("start", "end", "object"))
    return text is None or bool(0 <= start <= end <= len(text))


_OF_PLACES = (UnicodeDecodeError, UnicodeEncodeError, UnicodeTranslateError)


def _harmless(kind: Any) -> Any:
    if hasattr(kind, "__del__"):
        raise TypeError("what runs code when it goes")
    return kind


def _empty(kind: type) -> Any:
    if isinstance(kind, EnumMeta):
        raise TypeError("an enum's member that is none")
    part: Any = _part_of(kind) or object
    return part.__new__(_harmless(kind))


def _add(made: Any, items: Any) -> None:
    part = _part_of(type(made))
    if part is not None:
        if type(items) is not _COME_AS.get(part, list):
            raise TypeError("items that are no plain ones")  # but an object that would be asked for them
        _PARTS[part](made, items)
