"""Reading values from text or from other types, without loss or guesswork; and writing them as text."""

import ast
import math
import re
import sys
from collections.abc import Callable
from enum import Enum, Flag
from functools import partial, reduce
from operator import or_
from typing import Any, NoReturn

from opto.errors import DomainError
from opto.nodes.constants import write_constant

__all__ = [
    "bare",
    "is_exact",
    "numpy_scalar",
    "parsed",
    "read_as",
    "type_name",
    "unfenced",
    "write_value",
]

_TYPE_NAMES: dict[type, str] = {
    bool: "True or False",
    int: "an integer",
    float: "a number",
    str: "a text",
    list: "a list",
    tuple: "a tuple",
    dict: "a dict",
    set: "a set",
    frozenset: "a frozen set",
    bytes: "bytes, as in b'…'",
    type(None): "anything",
}
#: Of types that are not imported here.
_NAMES_BY_NAME = {
    "Decimal": "a decimal number",
    "Fraction": "a fraction",
    "date": "a date, as in 2024-12-31",
    "datetime": "a time, as in 2024-12-31T23:59:00",
}
_CONTAINERS = (list, tuple, dict, set, frozenset)
_SETS = (set, frozenset)


def type_name(kind: type) -> str:
    """Return what a value of *kind* is called."""
    if numpy_scalar(kind) and (plain := _TYPE_NAMES.get(type(kind().item()))):
        return f"{plain} ({kind.__name__})"
    article = "an" if kind.__name__[0] in "AEIOUaeiou" else "a"
    return _TYPE_NAMES.get(kind) or _NAMES_BY_NAME.get(kind.__name__, f"{article} {kind.__name__}")


def read_as(kind: type, raw: Any) -> Any:
    """Return *raw* as a *kind*, if nothing is lost by it.

    Raises:
        DomainError: *raw* is not of the kind and does not read as one.

    Example:
        >>> read_as(int, "7.0"), read_as(bool, "false"), read_as(tuple, [1, 2])
        (7, False, (1, 2))
        >>> read_as(int, True)
        Traceback (most recent call last):
        opto.errors.DomainError: True is not an integer. Suggest an integer.
    """
    if kind is type(None):
        return None if isinstance(raw, str) and raw.strip() in {"None", "null"} else raw
    if type(raw) is kind:
        return raw if _is_finite(raw) else _refuse(kind, raw)
    if numpy_scalar(type(raw)):
        raw = raw.item()
    reader = _reader(kind)
    if reader is not None:
        return raw if type(raw) is kind and kind is not float else reader(raw)
    if isinstance(raw, kind) and not isinstance(raw, bool):
        return raw
    return _refuse(kind, raw)


def _reader(kind: type) -> Callable[[Any], Any] | None:
    if numpy_scalar(kind):
        return partial(_read_numpy, kind)
    if is_exact(kind):
        return partial(_read_exact, kind)
    if issubclass(kind, Enum):
        return partial(_read_member, kind)
    return partial(_read_iso, kind) if hasattr(kind, "fromisoformat") else _READERS.get(kind)


def write_value(value: Any) -> str:
    """Return *value* as text from which `read_as` makes it again; the same text in every process.

    Example:
        >>> write_value("7"), write_value({"b", "a"}), write_value(0.5)
        ('7', "{'a', 'b'}", '0.5')
    """
    kind = type(value)
    if isinstance(value, Enum):
        # None of the flags has no name.
        return f"{kind.__name__}.{value.name}" if value.name else repr(value)
    if numpy_scalar(kind) or is_exact(kind) or isinstance(value, str):
        return str(value)
    if hasattr(kind, "fromisoformat"):
        text: str = value.isoformat()
        return text
    try:
        # Text knows sets, but no frozen ones.
        return write_constant(set(value) if kind is frozenset else value) if kind in _CONTAINERS else repr(value)
    except RecursionError:  # a list that holds itself
        return repr(value)


def numpy_scalar(kind: type) -> bool:
    """True for numpy's numbers and bools, but not for its arrays. Found by name: numpy itself is not needed."""
    return any(base.__module__ == "numpy" and base.__name__ == "generic" for base in kind.__mro__)


def is_exact(kind: type) -> bool:
    """True for `decimal.Decimal` and `fractions.Fraction`, which need not be imported for it."""
    return (kind.__module__, kind.__name__) in {("decimal", "Decimal"), ("fractions", "Fraction")}


def _read_numpy(kind: type, raw: Any) -> Any:
    same = type(kind().item())
    if same not in _READERS:
        # Times, and floats that are longer than those of Python: what Python has nothing for, numpy reads itself.
        return _made(kind, raw, kind, bare(raw).strip()) if isinstance(raw, str) else _refuse(kind, raw)
    plain = read_as(same, raw)
    if isinstance(plain, float) and abs(plain) >= _overflow(kind):
        _refuse(kind, raw)
    value = _made(kind, raw, kind, plain)
    # A float takes the nearest that it knows, as from text; an integer is what it is.
    return value if isinstance(plain, float) or value == plain else _refuse(kind, raw)


def _overflow(kind: type) -> float:
    """Return from where on the float *kind* rounds to infinity. By its layout: numpy's finfo would need numpy."""
    layouts = {2: (15, 10), 4: (127, 23)}
    if (size := kind().itemsize) not in layouts:
        return math.inf
    exponent, bits = layouts[size]
    return float((2 - 2.0 ** -(bits + 1)) * 2.0**exponent)


def _read_exact(kind: type, raw: Any) -> Any:
    if isinstance(raw, str):
        value = _made(kind, raw, kind, bare(raw).strip())
    elif isinstance(raw, int | float) and not isinstance(raw, bool | Enum):
        # The digits that whoever gave the number saw: 0.1 is a tenth.
        value = _made(kind, raw, kind, repr(raw) if isinstance(raw, float) else raw)
    else:
        _refuse(kind, raw)
    return value if _is_finite(value) else _refuse(kind, raw)


def _read_member(kind: Any, raw: Any) -> Any:
    text = bare(raw).strip().removeprefix(f"{kind.__name__}.") if isinstance(raw, str) else ""
    # Flags are joined: A|B.
    names = [name.strip() for name in text.split("|")]
    if not set(names) <= set(kind.__members__) or (len(names) > 1 and not issubclass(kind, Flag)):
        _refuse(kind, raw)
    return reduce(or_, (kind[name] for name in names))


def _read_iso(kind: Any, raw: Any) -> Any:
    return _made(kind, raw, kind.fromisoformat, bare(raw).strip()) if isinstance(raw, str) else _refuse(kind, raw)


def _made(kind: type, raw: Any, make: Callable[[Any], Any], source: Any) -> Any:
    try:
        return make(source)
    except (ValueError, ArithmeticError, TypeError):
        _refuse(kind, raw)


def _refuse(kind: type, raw: Any) -> NoReturn:
    words = type_name(kind)
    if issubclass(kind, Enum):
        how = "some" if issubclass(kind, Flag) else "one"
        words = f"{how} of {', '.join(f'{kind.__name__}.{name}' for name in kind.__members__)}"
    raise DomainError(f"{raw!r:.200} is not {words}.", mend=f"Suggest {words}.")


def _is_finite(value: Any) -> bool:
    """True for whatever is not infinite, and is a number if its type says so."""
    if isinstance(value, float):
        return math.isfinite(value)
    if hasattr(value, "is_finite"):  # a Decimal, which floats need not have room for
        return bool(value.is_finite())
    is_of_numpy = any(base.__name__ == "floating" for base in type(value).__mro__)
    return bool(value - value == 0) if is_of_numpy else True


def _finite(value: float) -> float:
    if not math.isfinite(value):
        _refuse(float, value)
    return value


def bare(text: str) -> str:
    r"""Return *text* without a Markdown fence, quotes or backticks around all of it.

    Example:
        >>> bare("```json\n[2]\n```"), bare("`fast`")
        ('[2]', 'fast')
    """
    text = unfenced(text).strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`" else text


def unfenced(text: str) -> str:
    """Return what stands in the Markdown fence around *text*; *text* itself if there is none around all of it."""
    fenced = re.fullmatch(r"\s*```[\w+-]*[ \t]*\n(.*?)\n?[ \t]*```\s*", text, re.DOTALL)
    return text if fenced is None or "\n```" in fenced[1] else fenced[1]


def _read_bool(raw: Any) -> bool:
    text = bare(raw).lower() if isinstance(raw, str) else None
    if text in {"true", "false"}:
        return text == "true"
    _refuse(bool, raw)


def _read_int(raw: Any) -> int:
    text = bare(raw) if isinstance(raw, str) else ""
    # Longer ones Python itself refuses to read.
    if whole := re.fullmatch(r"([+-]?[0-9]{1,4000})(?:\.0*)?", text):
        return int(whole[1])
    number = _number(int, text) if text else raw
    # Beyond 2**53 a float is one of several integers, and nobody knows which.
    if isinstance(number, float) and number.is_integer() and abs(number) <= 2**53:
        return int(number)
    _refuse(int, raw)


def _read_float(raw: Any) -> float:
    if isinstance(raw, str):
        text = bare(raw)
        number = _decimals(text, _number(float, raw))
        # An integer that a float cannot hold.
        whole = re.fullmatch(r"\s*[+-]?[0-9]{1,400}\s*", text)
        return _refuse(float, raw) if whole and int(number) != int(text) else number
    if isinstance(raw, float):
        return _finite(float(raw))
    is_number = isinstance(raw, int) and not isinstance(raw, bool | Enum)
    if is_number and abs(raw) <= sys.float_info.max and int(float(raw)) == raw:
        return float(raw)
    _refuse(float, raw)


def _decimals(text: str, number: float) -> float:
    """Return the *number* that *text* was read as, if there is something left of it."""
    vanished = not number and re.search(r"[1-9]", re.split("[eE]", text)[0])
    return _refuse(float, text) if vanished else _finite(number)


def _number(kind: type, raw: str) -> float:
    try:
        return float(bare(raw))
    except ValueError:
        _refuse(kind, raw)


def _read_container(kind: type) -> Callable[[Any], Any]:
    def read(raw: Any) -> Any:
        value = _literal(kind, raw) if isinstance(raw, str) else raw
        if type(value) is kind:
            return value
        # JSON knows neither tuples nor sets; a list with repeated items is no set.
        if isinstance(value, list) and (kind is tuple or (kind in _SETS and len(_hashed(kind, value)) == len(value))):
            return kind(value)
        if isinstance(value, set) and kind is frozenset:
            return kind(value)
        _refuse(kind, raw)

    return read


def _hashed(kind: type, items: list[Any]) -> set[Any]:
    try:
        return set(items)
    except TypeError:
        _refuse(kind, items)


def _literal(kind: type, text: str) -> Any:
    try:
        return parsed(bare(text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        _refuse(kind, text)


def parsed(text: str) -> Any:
    """Return the JSON, or else the literal of Python, that *text* is, if nothing is lost by it.

    Raises:
        ValueError: It is neither, or names or numbers in it would be lost. `ast.literal_eval` raises more.
    """
    try:
        return _strict_json(text)
    except (ValueError, RecursionError):
        content = text.lstrip(" \t")
        tree = ast.parse(content, mode="eval")
        for part in ast.walk(tree):
            items = part.keys if isinstance(part, ast.Dict) else part.elts if isinstance(part, ast.Set) else ()
            values = [ast.literal_eval(item) for item in items if item is not None]
            if len(set(values)) < len(values):
                raise ValueError("something occurs twice") from None
            if isinstance(part, ast.Constant) and isinstance(part.value, float):
                _decimals(ast.get_source_segment(content, part) or "", part.value)
        return ast.literal_eval(tree)


def _strict_json(text: str) -> Any:
    """Read JSON without losing anything: no repeated names, no numbers that a float cannot hold."""
    import json  # noqa: PLC0415 - a tenth of the time that importing opto.trace takes

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a name occurs twice")
        return found

    def finite(number: str) -> float:
        return _decimals(number, float(number))

    return json.loads(text, object_pairs_hook=unique, parse_float=finite, parse_constant=finite)


_READERS: dict[type, Callable[[Any], Any]] = {
    bool: _read_bool,
    int: _read_int,
    float: _read_float,
    str: lambda raw: _refuse(str, raw),
    **{kind: _read_container(kind) for kind in (*_CONTAINERS, bytes)},
}
