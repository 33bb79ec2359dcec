"""Values as JSON, with tags for what JSON has no word for. Nothing that is read back can run code or be lazy.

A value is an exact instance of a type that is listed here, or it is made one: a text whose class answers ``==`` as it
likes arrives as a text. Tags are the single keys of objects, and begin with an exclamation mark.
"""

import binascii
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from math import prod
from typing import Any

from .reading import EVERY, MOST_DIGITS, look, spread, watched, whole
from .words import OWN, in_words, is_asked_for, said

__all__ = ["CannotCrossError", "Decoder", "Encoder", "MalformedError", "dumps", "loads"]

#: Nested deeper than this is either meant badly or contains itself.
_DEEPEST = 100
_SMALL = 1 << 200
_PLAIN = frozenset({type(None), bool, str, float})
_KINDS_OF_ARRAYS = frozenset("biufcSUmM")
#: How numpy writes what stands in an array. From other texts it makes types at which it crashes.
_TYPES = re.compile(r"[<>|=](?P<kind>[biufcSUmM])\d{1,9}(\[([1-9]\d{0,8})?([YMWDhms]|[munpfa]s|generic)\])?")
_LONGEST, _WIDEST = 10_000_000, 10_000

_to_json = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode
_from_json = json.JSONDecoder().decode
_from_json_with_care = json.JSONDecoder(parse_int=whole).decode


class CannotCrossError(Exception):
    """A value has no form outside its process.

    Attributes:
        what: The value in words, such as ``a generator``.
    """

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class MalformedError(Exception):
    """What came is none of our messages."""


def dumps(message: Any) -> bytes:
    """Return *message*, whose values are encoded already, as bytes."""
    return _to_json(message).encode("ascii")


def loads(data: bytes) -> Any:
    """Return the message in *data*.

    Raises:
        MalformedError: There is none.
    """
    try:
        is_careful = 0 < sys.get_int_max_str_digits() <= 2 * MOST_DIGITS
        return (_from_json if is_careful else _from_json_with_care)(data.decode("ascii"))
    except (ValueError, RecursionError, MemoryError) as error:
        raise MalformedError(f"{type(error).__name__}: {error}"[:200]) from None


class Encoder:
    """Turns values into what JSON can say.

    Args:
        other: Asked for what is of none of the listed types, with this object, the value and its depth: returns a
            form, or raises `CannotCrossError`.
    """

    #: How many rows of a table, and objects that refer to each other, are looked at.
    most: int | None = None

    def __init__(self, other: Callable[["Encoder", Any, int], Any] | None = None) -> None:
        self._other = other

    def encode(self, value: Any, depth: int = 0) -> Any:
        """Return the form of *value*.

        Raises:
            CannotCrossError: It has none.
        """
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is int:
            return value if -_SMALL < value < _SMALL else {"!int": hex(value)}
        if depth > _DEEPEST:
            raise CannotCrossError("a value that is nested too deeply, or contains itself")
        if kind is list:
            return self._items(value, depth)
        if kind is dict:
            return self._dict(value, depth)
        if kind is tuple:
            return {"!tuple": self._items(value, depth)}
        form = _FORMS.get(f"{kind.__module__}.{kind.__qualname__}")
        if form is not None and _is_really(kind):
            return form(self, value, depth + 1)
        if self._other is not None:
            return self._other(self, value, depth + 1)
        return self.base(value, depth)

    def base(self, value: Any, depth: int) -> Any:
        """Return the form of *value*, which is of a subclass, as an instance of the listed type that it is."""
        for kind, plain in _BASES.items():
            if isinstance(value, kind):
                return self.encode(plain(value), depth)
        raise CannotCrossError(in_words(type(value)))

    def _items(self, values: Any, depth: int) -> Any:
        # At the speed of C for the lists that are long: of numbers and of texts.
        kinds = {*map(type, values)}
        if kinds <= _PLAIN or (kinds == {int} and min(values) > -_SMALL and max(values) < _SMALL):
            return values
        return [self.encode(item, depth + 1) for item in values]

    def _dict(self, value: dict[Any, Any], depth: int) -> Any:
        encode = self.encode
        if all(type(key) is str and key[:1] != "!" for key in value):
            return {key: encode(item, depth + 1) for key, item in value.items()}
        return {"!dict": self.pairs(value, depth)}

    def pairs(self, value: dict[Any, Any], depth: int) -> list[Any]:
        return [[self.encode(key, depth + 1), self.encode(item, depth + 1)] for key, item in dict.items(value)]

    def sequence(self, value: Any, depth: int) -> list[Any]:
        return [self.encode(item, depth) for item in value]


#: How a value of a subclass becomes one of its base, past whatever the subclass defines.
_BASES: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    list: lambda value: [*list.__iter__(value)],
    dict: lambda value: dict(dict.items(value)),
    tuple: lambda value: (*tuple.__iter__(value),),
    set: lambda value: {*set.__iter__(value)},
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    bytearray: lambda value: bytearray.__getitem__(value, slice(None)),
    complex: lambda value: complex(value.real, value.imag),
}


def _is_really(kind: type) -> bool:
    """True if *kind* is what its module knows by its name, and not a class that calls itself so."""
    found: Any = sys.modules.get(kind.__module__)
    for part in kind.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is kind or kind.__module__ in {"builtins", "pathlib", "zoneinfo", "pathlib._local"}


def _text(data: Any) -> str:
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def _bytes(text: str) -> bytes:
    return binascii.a2b_base64(text)


def _array(encoder: Encoder, value: Any, depth: int) -> Any:
    if value.dtype.kind == "O":
        return {"!objects": [[*value.shape], encoder.sequence(value.ravel().tolist(), depth)]}
    if value.dtype.kind not in _KINDS_OF_ARRAYS:
        raise CannotCrossError(f"a numpy array of {str(value.dtype)[:80]}")
    return {"!array": [value.dtype.str, [*value.shape], _text(value.tobytes())]}


def _number_of_numpy(encoder: Encoder, value: Any, depth: int) -> Any:
    return {"!numpy": _array(encoder, value, depth)["!array"]}


def _factory(value: Any) -> str | None:
    factory = value.default_factory
    known = factory in {int, float, str, bool, list, dict, set, tuple}
    if factory is not None and not known:
        raise CannotCrossError("a defaultdict with a function of its own")
    return factory.__name__ if known else None


_Form = Callable[[Encoder, Any, int], Any]
_FORMS: dict[str, _Form] = {
    "builtins.set": lambda encoder, value, depth: {"!set": encoder.sequence(value, depth)},
    "builtins.frozenset": lambda encoder, value, depth: {"!frozenset": encoder.sequence(value, depth)},
    "builtins.bytes": lambda _, value, __: {"!bytes": _text(value)},
    "builtins.bytearray": lambda _, value, __: {"!bytearray": _text(value)},
    "builtins.complex": lambda _, value, __: {"!complex": [value.real, value.imag]},
    "builtins.range": lambda encoder, value, depth: {
        "!range": [encoder.encode(part, depth) for part in (value.start, value.stop, value.step)]
    },
    "builtins.slice": lambda encoder, value, depth: {
        "!slice": [encoder.encode(part, depth) for part in (value.start, value.stop, value.step)]
    },
    "builtins.ellipsis": lambda *_: {"!ellipsis": None},
    "builtins.NotImplementedType": lambda *_: {"!not-implemented": None},
    "collections.deque": lambda encoder, value, depth: {"!deque": [encoder.sequence(value, depth), value.maxlen]},
    "collections.OrderedDict": lambda encoder, value, depth: {"!ordered": encoder.pairs(value, depth)},
    "collections.Counter": lambda encoder, value, depth: {"!counter": encoder.pairs(value, depth)},
    "collections.defaultdict": lambda encoder, value, depth: {
        "!default": [_factory(value), encoder.pairs(value, depth)]
    },
    "datetime.datetime": lambda encoder, value, depth: {
        "!datetime": [value.replace(tzinfo=None).isoformat(), value.fold, encoder.encode(value.tzinfo, depth)]
    },
    "datetime.date": lambda _, value, __: {"!date": value.isoformat()},
    "datetime.time": lambda encoder, value, depth: {
        "!time": [value.replace(tzinfo=None).isoformat(), value.fold, encoder.encode(value.tzinfo, depth)]
    },
    "datetime.timedelta": lambda _, value, __: {"!timedelta": [value.days, value.seconds, value.microseconds]},
    "datetime.timezone": lambda encoder, value, depth: {"!timezone": encoder.encode(value.utcoffset(None), depth)},
    "zoneinfo.ZoneInfo": lambda encoder, value, depth: {"!zone": encoder.encode(value.key, depth)},
    "decimal.Decimal": lambda _, value, __: {"!decimal": str(value)},
    "fractions.Fraction": lambda encoder, value, depth: {
        "!fraction": [encoder.encode(value.numerator, depth), encoder.encode(value.denominator, depth)]
    },
    "types.SimpleNamespace": lambda encoder, value, depth: {
        "!namespace": encoder.pairs({name: item for name, item in vars(value).items() if str(name)[:6] != OWN}, depth)
    },
    "uuid.UUID": lambda _, value, __: {"!uuid": value.hex},
    "numpy.ndarray": _array,
}
for _module in ("pathlib", "pathlib._local"):
    for _name in ("PurePath", "PurePosixPath", "PureWindowsPath", "Path", "PosixPath", "WindowsPath"):
        _FORMS[f"{_module}.{_name}"] = lambda _, value, __, _name=_name: {  # type: ignore[misc]  # mypy guesses no type for `_name`
            "!path": [_name if _name.startswith("Pure") else "Path", str(value)]
        }
_NUMBERS_OF_NUMPY = """
    bool bool_ str_ bytes_ datetime64 timedelta64 complex64 complex128 int8 int16 int32 int64 uint8 uint16 uint32 uint64
    float16 float32 float64
"""
for _name in _NUMBERS_OF_NUMPY.split():
    _FORMS[f"numpy.{_name}"] = _number_of_numpy


class Decoder:
    """Turns what came as JSON into values.

    Args:
        other: Asked for tags that are not listed here, with the tag, its content, and what reads forms inside that.
    """

    def __init__(self, other: Callable[[str, Any, Callable[[Any], Any]], Any] | None = None) -> None:
        self._other, self._left = other, 0

    def decode(self, form: Any) -> Any:
        """Return the value of which *form* is the form.

        Raises:
            MalformedError: It is the form of nothing.
        """
        try:
            return self.value(form)
        except MalformedError:
            raise
        except Exception as error:  # libraries, and __hash__ of the user's classes, raise whatever they like
            raise MalformedError(said(error)[:200]) from None

    def value(self, form: Any) -> Any:
        kind = type(form)
        if kind is list:
            return form if {*map(type, form)} <= _ATOMS else [*map(self.value, form)]
        if kind is not dict:
            return form
        if len(form) == 1:
            tag, content = next(iter(form.items()))
            if tag[:1] == "!":
                self._left -= 1
                if self._left < 0:
                    self._left = EVERY
                    look()
                reader = _READERS.get(tag)
                if reader is not None:
                    return reader(self, content)
                if self._other is not None:
                    return self._other(tag, content, self.value)
                raise MalformedError(f"There is no tag {tag[:40]!r}.")
        return {key: self.value(item) for key, item in form.items()}

    def items(self, content: Any) -> "Iterator[Any]":
        return map(self.value, _checked(content, list))

    def hashed(self, content: Any) -> Iterable[Any]:
        """Return values that will be looked up by their hashes, unless so many are the same that this takes long."""
        values = [*self.items(content)]
        spread(values)
        return watched(values)

    def mapping(self, content: Any) -> Iterable[tuple[Any, Any]]:
        keys = [self.value(key) for key, _ in _checked(content, list)]
        spread(keys)
        return watched([*zip(keys, [self.value(item) for _, item in content], strict=True)])

    def whole(self, content: Any) -> Any:
        """Return an optional whole number."""
        value = self.value(content)
        return value if value is None else _checked(value, int)


_ATOMS = frozenset({type(None), bool, str, float, int})


def _checked(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{in_words(type(value))} is no {kind.__name__}")
    return value


def _of(module: str, name: str) -> Any:
    __import__(module)
    return getattr(sys.modules[module], name)


def _read_int(_: Decoder, content: Any) -> int:
    if len(_checked(content, str)) > 2_000_000:
        raise ValueError("a number of more than a million digits")
    return int(content, 16)  # which takes no longer than the text is long


def _read_decimal(_: Decoder, content: Any) -> Any:
    made = _of("decimal", "Decimal")(_checked(content, str))
    if made.is_finite() and abs(made.adjusted()) > 1_000_000:  # as far as it computes by itself
        raise ValueError("a number of more than a million places")
    return made


def _read_range(decoder: Decoder, content: Any) -> range:
    made = range(*(_checked(decoder.value(part), int) for part in content))
    if len(made) > _LONGEST:
        raise ValueError("a range of more than ten million numbers")
    return made


def _read_array(_: Decoder, content: Any) -> Any:
    dtype, shape, data = content
    match = _TYPES.fullmatch(_checked(dtype, str))
    if match is None:
        raise TypeError(f"arrays of {dtype[:40]}")
    content = bytearray(_bytes(data))
    if match["kind"] == "U" and content:
        # Or each look at them would fail.
        letters = _of("numpy", "frombuffer")(content, f"{dtype[0]}u4")
        if letters.max() > sys.maxunicode:
            raise ValueError("an array of what are no characters")
    return _shaped(_of("numpy", "frombuffer")(content, dtype), shape)


def _shaped(array: Any, shape: Any) -> Any:
    # Whoever goes through an array of nothing goes through its rows, and whatever is put into it takes all of the room.
    if not array.size:
        if prod(_checked(size, int) or 1 for size in shape) > _LONGEST:
            raise ValueError("an array of more than ten million rows of nothing")
        if array.itemsize > _WIDEST:
            raise ValueError("an array of nothing that is too wide")
    return array.reshape([_checked(size, int) for size in shape])


def _read_objects(decoder: Decoder, content: Any) -> Any:
    shape, items = content
    values = [*decoder.items(items)]
    made = _of("numpy", "empty")(len(values), dtype=object)
    for place, item in enumerate(values):
        made[place] = item
    return _shaped(made, shape)


def _read_deque(decoder: Decoder, content: Any) -> Any:
    items, longest = content
    return _of("collections", "deque")(decoder.items(items), decoder.whole(longest))


def _read_default(decoder: Decoder, content: Any) -> Any:
    factory, pairs = content
    known = {kind.__name__: kind for kind in (int, float, str, bool, list, dict, set, tuple)}
    return _of("collections", "defaultdict")(None if factory is None else known[factory], decoder.mapping(pairs))


def _read_moment(name: str) -> "_Reader":
    def read(decoder: Decoder, content: Any) -> Any:
        text, fold, zone = content
        return _of("datetime", name).fromisoformat(text).replace(tzinfo=decoder.value(zone), fold=fold)

    return read


def _read_fraction(decoder: Decoder, content: Any) -> Any:
    parts = [_checked(decoder.value(part), int) for part in content]
    if any(part.bit_length() > 10_000 for part in parts):
        raise ValueError("a fraction of numbers so long that it cannot be reduced")
    return _of("fractions", "Fraction")(*parts)


def _named(pairs: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if any(type(name) is not str or is_asked_for(name) for name in named):
        raise ValueError("attributes that are none of data")
    return named


def _read_path(_: Decoder, content: Any) -> Any:
    name, text = content
    if name not in {"PurePath", "PurePosixPath", "PureWindowsPath", "Path"}:
        raise TypeError(f"a path of kind {name!r:.40}")
    return _of("pathlib", name)(text)


_Reader = Callable[[Decoder, Any], Any]
_READERS: dict[str, _Reader] = {
    "!int": _read_int,
    "!tuple": lambda decoder, content: tuple(decoder.items(content)),
    "!dict": lambda decoder, content: dict(decoder.mapping(content)),
    "!set": lambda decoder, content: set(decoder.hashed(content)),
    "!frozenset": lambda decoder, content: frozenset(decoder.hashed(content)),
    "!bytes": lambda _, content: _bytes(content),
    "!bytearray": lambda _, content: bytearray(_bytes(content)),
    "!complex": lambda _, content: complex(*(_checked(part, float) for part in content)),
    "!range": _read_range,
    "!slice": lambda decoder, content: slice(*decoder.items(content)),
    "!ellipsis": lambda *_: ...,
    "!not-implemented": lambda *_: NotImplemented,
    "!deque": _read_deque,
    "!ordered": lambda decoder, content: _of("collections", "OrderedDict")(decoder.mapping(content)),
    "!counter": lambda decoder, content: _of("collections", "Counter")(dict(decoder.mapping(content))),
    "!default": _read_default,
    "!datetime": _read_moment("datetime"),
    "!date": lambda _, content: _of("datetime", "date").fromisoformat(content),
    "!time": _read_moment("time"),
    "!timedelta": lambda _, content: _of("datetime", "timedelta")(*(_checked(part, int) for part in content)),
    "!timezone": lambda decoder, content: _of("datetime", "timezone")(decoder.value(content)),
    "!zone": lambda _, content: _of("zoneinfo", "ZoneInfo")(content),
    "!decimal": _read_decimal,
    "!fraction": _read_fraction,
    "!namespace": lambda decoder, content: _of("types", "SimpleNamespace")(**_named(decoder.mapping(content))),
    "!uuid": lambda _, content: _of("uuid", "UUID")(hex=content),
    "!path": _read_path,
    "!array": _read_array,
    "!objects": _read_objects,
    "!numpy": lambda decoder, content: _read_array(decoder, content)[()],
}
