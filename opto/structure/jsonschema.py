"""JSON Schema, as far as it says what data are: every keyword that is taken is checked, others are refused.

The keywords are those of draft 2020-12 (https://json-schema.org/draft/2020-12). One thing is stricter: 1.0 is no
integer, because it is none in Python.
"""

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from opto.errors import DomainError

__all__ = ["check_schema", "find_misfit", "is_json"]

Path = tuple[str | int, ...]
Misfits = Iterator[tuple[Path, str]]


def find_misfit(value: Any, schema: Any) -> str | None:
    """Return why *value* does not fit *schema*, and where; None if it does."""
    if not is_json(value):
        return "it is no data of JSON"
    for path, reason in _Walk(schema).misfits(value, schema, ()):
        return f"at {'.'.join(map(str, path))}, {reason}" if path else reason
    return None


def is_json(value: Any) -> bool:
    """True if *value* comes back from JSON as it is: text, numbers, bools, None, and lists and dicts of these."""
    kind = type(value)
    if kind is dict:
        return all(type(key) is str and is_json(item) for key, item in value.items())
    if kind is list:
        return all(map(is_json, value))
    return kind in {str, bool, int, type(None)} or (kind is float and math.isfinite(value))


def check_schema(schema: Any) -> None:
    """Refuse a schema that says what would not be checked.

    Raises:
        DomainError: It has unknown keywords, or arguments that make no sense.
    """
    if not is_json(schema):
        raise DomainError(f"{schema!r:.80} is no JSON Schema.", mend="Give a dict of JSON data.")
    for part in _schemas(schema):
        if isinstance(part, bool):
            continue
        if not isinstance(part, dict):
            raise DomainError(f"{part!r:.80} is no JSON Schema.", mend="Give a dict.")
        for keyword, argument in part.items():
            if keyword not in _RULES and keyword not in _SILENT and not keyword.startswith("x-"):
                raise DomainError(
                    f"The keyword {keyword!r} of JSON Schema is not checked here.",
                    mend="Leave it out, and add a Check(function, 'must …') if it matters.",
                )
            if keyword in _RULES and not _makes_sense(keyword, argument, schema):
                raise DomainError(
                    f"The schema says {keyword!r}: {argument!r:.80}, which makes no sense.", mend="Correct the schema."
                )


def _schemas(schema: Any) -> Iterator[Any]:
    """Yield *schema* and all schemas in it."""
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        yield part
        if isinstance(part, dict):
            for keyword, argument in part.items():
                if keyword in _ONE:
                    waiting.append(argument)
                elif keyword in _SEVERAL and isinstance(argument, list):
                    waiting.extend(argument)
                elif keyword in _NAMED and isinstance(argument, dict):
                    waiting.extend(argument.values())


def _makes_sense(keyword: str, argument: Any, root: Any) -> bool:
    if keyword in _LIMITS:
        return _is_number(argument) and (keyword != "multipleOf" or argument > 0)
    if keyword in _SEVERAL | {"enum", "required"}:
        return isinstance(argument, list) and (keyword != "required" or all(isinstance(item, str) for item in argument))
    if keyword in _NAMED:
        return isinstance(argument, dict) and (keyword != "patternProperties" or all(map(_compiles, argument)))
    if keyword == "type":
        return all(isinstance(name, str) and name in _TYPES for name in _listed(argument))
    if keyword == "pattern":
        return _compiles(argument)
    if keyword == "$ref":
        return isinstance(argument, str) and _target(root, argument) is not None
    return True


def _compiles(pattern: Any) -> bool:
    try:
        re.compile(pattern)
    except (re.error, TypeError):
        return False
    return True


def _target(root: Any, reference: str) -> Any:
    """Return what *reference* means in *root*, such as ``#/$defs/item``; None if there is nothing."""
    found = root if reference.partition("/")[0] == "#" else None
    for step in reference.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _listed(argument: Any) -> list[Any]:
    return argument if isinstance(argument, list) else [argument]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(one: Any, other: Any) -> bool:
    # As JSON tells values apart: true is not 1, but 1 is 1.0.
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(item, other[key]) for key, item in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def _shown(value: Any) -> str:
    import json  # noqa: PLC0415 - as where JSON is read

    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"


class _Walk:
    """One comparison of data with a schema."""

    def __init__(self, root: Any) -> None:
        self.root = root

    def misfits(self, value: Any, schema: Any, path: Path) -> Misfits:
        if schema is False:
            yield path, "nothing may stand here"
        elif schema is not True:
            for keyword, argument in schema.items():
                if rule := _RULES.get(keyword):
                    yield from rule(self, value, argument, schema, path)

    def fits(self, value: Any, schema: Any) -> bool:
        return next(self.misfits(value, schema, ()), None) is None

    def type(self, value: Any, argument: Any, _: Any, path: Path) -> Misfits:
        if not any(_TYPES[name](value) for name in _listed(argument)):
            yield path, f"{_shown(value)} is no {' or '.join(_listed(argument))}"

    def enum(self, value: Any, argument: Any, _: Any, path: Path) -> Misfits:
        if not any(_equal(value, option) for option in argument):
            yield path, f"{_shown(value)} is none of {', '.join(map(_shown, argument))}"

    def const(self, value: Any, argument: Any, _: Any, path: Path) -> Misfits:
        if not _equal(value, argument):
            yield path, f"{_shown(value)} is not {_shown(argument)}"

    def reference(self, value: Any, argument: Any, _: Any, path: Path) -> Misfits:
        yield from self.misfits(value, _target(self.root, argument), path)

    def all_of(self, value: Any, argument: Any, _: Any, path: Path) -> Misfits:
        for schema in argument:
            yield from self.misfits(value, schema, path)

    def any_of(self, value: Any, argument: Any, _: Any, path: Path) -> Misfits:
        if not any(self.fits(value, schema) for schema in argument):
            yield path, f"{_shown(value)} fits none of the alternatives"

    def one_of(self, value: Any, argument: Any, _: Any, path: Path) -> Misfits:
        if (number := sum(self.fits(value, schema) for schema in argument)) != 1:
            yield path, f"{_shown(value)} fits {number or 'none'} of the alternatives, of which one must fit"

    def not_(self, value: Any, argument: Any, _: Any, path: Path) -> Misfits:
        if self.fits(value, argument):
            yield path, f"{_shown(value)} is what must not be"

    def pattern(self, value: Any, argument: Any, _: Any, path: Path) -> Misfits:
        # As the specification has it: a pattern is found anywhere.
        if isinstance(value, str) and not re.search(argument, value):
            yield path, f"{_shown(value)} does not match {argument}"

    def properties(self, value: Any, argument: Any, _: Any, path: Path) -> Misfits:
        if isinstance(value, dict):
            for name, schema in argument.items():
                if name in value:
                    yield from self.misfits(value[name], schema, (*path, name))

    def pattern_properties(self, value: Any, argument: Any, _: Any, path: Path) -> Misfits:
        if isinstance(value, dict):
            for pattern, schema in argument.items():
                for name, item in value.items():
                    if re.search(pattern, name):
                        yield from self.misfits(item, schema, (*path, name))

    def additional_properties(self, value: Any, argument: Any, schema: Any, path: Path) -> Misfits:
        if isinstance(value, dict):
            for name, item in value.items():
                patterns = schema.get("patternProperties", {})
                if name not in schema.get("properties", {}) and not any(re.search(each, name) for each in patterns):
                    yield from self.misfits(item, argument, (*path, name))

    def property_names(self, value: Any, argument: Any, _: Any, path: Path) -> Misfits:
        for name in value if isinstance(value, dict) else ():
            yield from self.misfits(name, argument, (*path, name))

    def required(self, value: Any, argument: Any, _: Any, path: Path) -> Misfits:
        if isinstance(value, dict) and (missing := [name for name in argument if name not in value]):
            yield path, f"{', '.join(map(repr, missing))} is missing"

    def prefix_items(self, value: Any, argument: Any, _: Any, path: Path) -> Misfits:
        for index, (item, schema) in enumerate(zip(value if isinstance(value, list) else [], argument, strict=False)):
            yield from self.misfits(item, schema, (*path, index))

    def items(self, value: Any, argument: Any, schema: Any, path: Path) -> Misfits:
        start = len(schema.get("prefixItems", []))
        for index, item in enumerate(value[start:] if isinstance(value, list) else [], start):
            yield from self.misfits(item, argument, (*path, index))

    def contains(self, value: Any, argument: Any, _: Any, path: Path) -> Misfits:
        if isinstance(value, list) and not any(self.fits(item, argument) for item in value):
            yield path, "no item is as one must be"

    def unique_items(self, value: Any, argument: Any, _: Any, path: Path) -> Misfits:
        if argument and isinstance(value, list):
            for index, item in enumerate(value):
                if any(_equal(item, other) for other in value[:index]):
                    yield (*path, index), f"{_shown(item)} occurs twice"


def _limit(words: str, kind: Any, measure: Callable[[Any], float], holds: Callable[[Any, Any], bool]) -> Any:
    """Return the rule that what *measure* says of a value of *kind* *holds* against the argument."""

    def rule(_walk: _Walk, value: Any, argument: Any, _: Any, path: Path) -> Misfits:
        if isinstance(value, kind) and not isinstance(value, bool) and not holds(measure(value), argument):
            yield path, f"{_shown(value)} {words} {argument}"

    return rule


def _is_multiple(value: float, of: float) -> bool:
    if isinstance(value, int) and isinstance(of, int):
        return value % of == 0
    # Tolerance for floats only: 0.3 is not three times 0.1.
    return math.isclose(value, round(value / of) * of, rel_tol=1e-9)


def _itself(value: float) -> float:
    return value


def _least(value: Any, argument: Any) -> bool:
    return bool(value >= argument)


def _most(value: Any, argument: Any) -> bool:
    return bool(value <= argument)


_NUMBER = (int, float)
_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": _is_number,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
_LIMITS: dict[str, Any] = {
    "minimum": _limit("is less than", _NUMBER, _itself, _least),
    "maximum": _limit("is more than", _NUMBER, _itself, _most),
    "exclusiveMinimum": _limit("is not more than", _NUMBER, _itself, lambda value, least: value > least),
    "exclusiveMaximum": _limit("is not less than", _NUMBER, _itself, lambda value, most: value < most),
    "multipleOf": _limit("is no multiple of", _NUMBER, _itself, _is_multiple),
    "minLength": _limit("has fewer characters than", str, len, _least),
    "maxLength": _limit("has more characters than", str, len, _most),
    "minItems": _limit("has fewer items than", list, len, _least),
    "maxItems": _limit("has more items than", list, len, _most),
    "minProperties": _limit("has fewer properties than", dict, len, _least),
    "maxProperties": _limit("has more properties than", dict, len, _most),
}
_RULES: dict[str, Any] = {
    **_LIMITS,
    "type": _Walk.type,
    "enum": _Walk.enum,
    "const": _Walk.const,
    "$ref": _Walk.reference,
    "allOf": _Walk.all_of,
    "anyOf": _Walk.any_of,
    "oneOf": _Walk.one_of,
    "not": _Walk.not_,
    "pattern": _Walk.pattern,
    "properties": _Walk.properties,
    "patternProperties": _Walk.pattern_properties,
    "additionalProperties": _Walk.additional_properties,
    "propertyNames": _Walk.property_names,
    "required": _Walk.required,
    "prefixItems": _Walk.prefix_items,
    "items": _Walk.items,
    "contains": _Walk.contains,
    "uniqueItems": _Walk.unique_items,
}
#: Keywords that say nothing about the data.
_SILENT = frozenset(["$comment", "$defs", "$id", "$schema", "default", "definitions", "deprecated", "description"])
_SILENT |= {"examples", "readOnly", "title", "writeOnly"}
#: Where schemas stand in a schema: alone, in a list, by name.
_ONE = frozenset(["not", "additionalProperties", "propertyNames", "items", "contains"])
_SEVERAL = frozenset(["allOf", "anyOf", "oneOf", "prefixItems"])
_NAMED = frozenset(["properties", "patternProperties", "$defs", "definitions"])
