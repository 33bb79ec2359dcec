"""Plain values as TOML that people can read and `git diff` can compare; every value comes back with its exact type.

What TOML cannot say is a table with one key: ``{ "$tuple" = [1, 2] }``, ``{ "$none" = true }``.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["UnwritableError", "read_toml", "read_value", "write_table"]

#: More levels than people read, and fewer than the parser of Python's standard library can take.
_DEEPEST = 40


class UnwritableError(Exception):
    """A value that has no text; the message says which."""


def write_table(values: Mapping[str, Any], table: str, refuse: Callable[[str, str], Exception]) -> str:
    r"""Return *values* as the TOML table *table*, each under its name.

    Args:
        values: Plain values by name.
        table: Name of the table.
        refuse: Makes the error to raise, from the name of a value that has no text and the reason.

    Example:
        >>> print(write_table({"size": 3, "pair": (1, None), "text": "a\nb"}, "parameters", ValueError))
        [parameters]
        size = 3
        <BLANKLINE>
        pair = { "$tuple" = [
          1,
          { "$none" = true },
        ] }
        <BLANKLINE>
        text = '''
        a
        b'''
        <BLANKLINE>
    """
    lines, tables = [f"[{table}]"], []
    for name, value in values.items():
        try:
            key = _write_key(name)
            if type(value) is dict and value and _has_plain_keys(value):
                # A table of its own: one line per item.
                items = [f"{_write_key(item)} = {_write(held, 1)}" for item, held in value.items()]
                tables.append("\n".join([f"[{table}.{key}]", *items, ""]))
            else:
                lines += [f"{key} = {_write(value, 0)}", ""]
        except UnwritableError as error:
            raise refuse(name, str(error)) from None
    return "\n".join([*lines, *tables]).rstrip("\n") + "\n"


def _write(value: Any, depth: int) -> str:
    if depth > _DEEPEST:
        raise UnwritableError(f"is nested more than {_DEEPEST} levels deep, or contains itself")
    writer = _WRITERS.get(type(value))
    if writer is None:
        raise UnwritableError(f"holds a {type(value).__qualname__}, for which there is no text")
    return writer(value, depth)


def _write_int(value: int, _: int) -> str:
    # TOML promises 64 bits. Hexadecimal, because Python limits how many decimal digits it reads.
    return str(value) if -(2**63) <= value < 2**63 else f'{{ "$int" = "{value:#x}" }}'


def _write_list(value: Any, depth: int) -> str:
    items = [_write(item, depth + 1) for item in value]
    if depth or not items:
        return f"[{', '.join(items)}]"
    # The outermost list has one line per item, so that a comparison shows which one changed.
    return "".join(["[\n", *(f"  {item},\n" for item in items), "]"])


def _write_set(value: Any, depth: int) -> str:
    items = sorted(value, key=lambda item: _write(item, depth + 1))  # the order of a set differs between processes
    return _write_list(items, depth)


def _write_dict(value: dict[Any, Any], depth: int) -> str:
    if _has_plain_keys(value):
        items = [f"{_write_key(key)} = {_write(item, depth + 1)}" for key, item in value.items()]
        return f"{{ {', '.join(items)} }}" if items else "{}"
    return f'{{ "$dict" = {_write_list([[key, item] for key, item in value.items()], depth)} }}'


def _tagged(tag: str, write: Callable[[Any, int], str]) -> Callable[[Any, int], str]:
    return lambda value, depth: f'{{ "${tag}" = {write(value, depth)} }}'


_WRITERS: dict[type, Callable[[Any, int], str]] = {
    str: lambda value, _: _write_text(value),
    bool: lambda value, _: "true" if value else "false",
    int: _write_int,
    float: lambda value, _: repr(value),
    type(None): _tagged("none", lambda *_: "true"),
    bytes: _tagged("bytes", lambda value, _: f'"{value.hex()}"'),
    list: _write_list,
    tuple: _tagged("tuple", _write_list),
    set: _tagged("set", _write_set),
    frozenset: _tagged("frozenset", _write_set),
    dict: _write_dict,
}

# What TOML forbids in literal strings, and what people cannot see: other controls, line separators, marks of
# byte order, and marks that let a text be shown in another order. Line feeds and tabs may stand as they are.
_HIDDEN = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff"
# Patterns, not compiled ones: `re` keeps what it has compiled, and importing this module compiles nothing.
_NO_LITERAL_LINES = f"[{_HIDDEN}]|'''|'\\Z"
_NO_LITERAL_LINE = f"[{_HIDDEN}\n']"
_ESCAPED = f'[{_HIDDEN}"\\\\\n\t]'
_ESCAPED_LINES = f'[{_HIDDEN}\\\\]|"(?=\\Z)|(?<="")"'
_SURROGATES = "[\ud800-\udfff]"
_SHORT = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def _escape(found: re.Match[str]) -> str:
    return _SHORT.get(found[0]) or f"\\u{ord(found[0]):04x}"


def _write_text(text: str) -> str:
    if re.search(_SURROGATES, text):
        # Half a character has no UTF-8, so no TOML either.
        return f'{{ "$text" = {_write_text(text.encode("unicode_escape").decode())} }}'
    if "\n" not in text:
        if ('"' in text or "\\" in text) and not re.search(_NO_LITERAL_LINE, text):
            return f"'{text}'"
        return f'"{re.sub(_ESCAPED, _escape, text)}"'
    # A line break right behind the quotes is not part of the text.
    if not re.search(_NO_LITERAL_LINES, text):
        return f"'''\n{text}'''"
    return f'"""\n{re.sub(_ESCAPED_LINES, _escape, text)}"""'


def _write_key(name: str) -> str:
    if re.search(_SURROGATES, name):
        raise UnwritableError("has a name with half a character in it")
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{re.sub(_ESCAPED, _escape, name)}"'


def _has_plain_keys(value: dict[Any, Any]) -> bool:
    return all(type(key) is str and not key.startswith("$") and not re.search(_SURROGATES, key) for key in value)


def read_toml(text: str) -> dict[str, Any]:
    """Return the document as dicts, lists and plain values.

    Raises:
        ValueError: It is no TOML; the message says where.
    """
    import tomllib  # noqa: PLC0415 - takes longer to import than most programs need to run without it

    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_value(raw: Any) -> Any:
    """Return the value that was written as *raw*.

    Raises:
        ValueError: It is none that `write_table` writes.

    Example:
        >>> read_value({"$tuple": [1, {"$none": True}]})
        (1, None)
    """
    if isinstance(raw, list):
        return [read_value(item) for item in raw]
    if not isinstance(raw, dict):
        return raw
    tags = [key for key in raw if key.startswith("$")]
    if not tags:
        return {key: read_value(item) for key, item in raw.items()}
    if len(raw) > 1 or tags[0] not in _READERS:
        raise ValueError(f"there is no value {', '.join(tags)}")
    try:
        return _READERS[tags[0]](read_value(raw[tags[0]]))
    except (TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"{tags[0]} holds something else: {error}") from None


_READERS: dict[str, Callable[[Any], Any]] = {
    "$int": lambda raw: int(raw, 0),
    "$none": lambda _: None,
    "$bytes": bytes.fromhex,
    "$tuple": tuple,
    "$set": set,
    "$frozenset": frozenset,
    "$dict": dict,
    "$text": lambda raw: raw.encode().decode("unicode_escape"),
}
