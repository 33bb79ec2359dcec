"""JSON Schema as providers take it: each knows a part of it, and has rules of its own."""

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["ANTHROPIC", "OPENAI", "Dialect", "in_dialect"]


class Dialect(NamedTuple):
    """What a provider knows of JSON Schema.

    Args:
        keywords: Those that it takes; others are put in words.
        all_required: Whether every property must be.
    """

    keywords: frozenset[str]
    all_required: bool


_COMMON = frozenset(["type", "enum", "const", "title", "description", "properties", "required", "additionalProperties"])
_COMMON |= {"items", "minItems", "anyOf", "$ref", "$defs", "definitions", "format"}
_LIMITS = frozenset(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "maxItems", "pattern"])
OPENAI = Dialect(_COMMON | _LIMITS, all_required=True)
ANTHROPIC = Dialect(_COMMON, all_required=False)

#: Formats of text that both know.
_FORMATS = frozenset(["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"])
#: Said of no data.
_SILENT = frozenset(["default", "discriminator", "examples", "$schema", "$id", "$comment", "deprecated"])
_SILENT |= {"readOnly", "writeOnly"}
#: What no words can stand for.
_UNSAYABLE = frozenset(["patternProperties", "propertyNames", "prefixItems", "not", "if", "then", "else"])
_UNSAYABLE |= {"dependentRequired", "dependentSchemas", "unevaluatedProperties"}


class _UnsayableError(Exception):
    """The dialect has no way to say it."""


def in_dialect(schema: Mapping[str, Any], dialect: Dialect) -> dict[str, Any] | None:
    """Return *schema* as *dialect* has it; None if it cannot say that.

    What fits the result fits *schema* as well, apart from what is said in words only.

    Example:
        >>> names = {"type": "array", "items": {"type": "string"}, "maxItems": 2}
        >>> in_dialect(names, ANTHROPIC)
        {'type': 'array', 'items': {'type': 'string'}, 'description': 'maxItems: 2'}
        >>> in_dialect({"type": "object", "additionalProperties": {"type": "integer"}}, OPENAI)
    """
    try:
        return _Translation(schema, dialect).whole()
    except _UnsayableError:
        return None


class _Translation:
    """One schema, on its way into a dialect."""

    def __init__(self, root: Mapping[str, Any], dialect: Dialect) -> None:
        self._root = root
        self._dialect = dialect

    def whole(self) -> dict[str, Any]:
        root = dict(self._root)
        if "$ref" in root:
            # At the top, providers want the thing itself.
            root = {**self._target(root.pop("$ref")), **root}
        return self.of(root, frozenset())

    def of(self, part: Any, within: frozenset[str]) -> dict[str, Any]:
        if not isinstance(part, Mapping) or not _UNSAYABLE.isdisjoint(part):
            raise _UnsayableError
        part = self._plain({name: value for name, value in part.items() if name not in _SILENT}, within)
        if "$ref" in part:
            return {"$ref": part["$ref"], **self._definitions(part, within)}
        if not {"type", "enum", "const", "anyOf"} & part.keys():
            # Anything at all.
            raise _UnsayableError
        found = {name: value for name, value in part.items() if self._takes(name, value)}
        left = {name: value for name, value in part.items() if name not in found}
        if left:
            noted = ", ".join(f"{name}: {value}" for name, value in left.items())
            found["description"] = f"{found['description']} ({noted})" if "description" in found else noted
        found |= self._definitions(found, within)
        if "anyOf" in found:
            found["anyOf"] = [self.of(option, within) for option in found["anyOf"]]
        if isinstance(found.get("items"), Mapping):
            found["items"] = self.of(found["items"], within)
        elif "array" in _types(found):
            raise _UnsayableError
        return self._closed(found, within) if "object" in _types(found) else found

    def _plain(self, part: dict[str, Any], within: frozenset[str]) -> dict[str, Any]:
        """Return *part* with one way of saying things: alternatives under anyOf, and nothing beside a reference."""
        if "oneOf" in part:
            part["anyOf"] = part.pop("oneOf")
        if "allOf" in part:
            if len(part["allOf"]) != 1:
                raise _UnsayableError
            part = {**dict(part.pop("allOf")[0]), **part}
        reference = part.get("$ref")
        if reference is not None and part.keys() - {"$ref", "$defs", "definitions"}:
            if reference in within:
                return {"$ref": reference}
            target = self._target(reference)
            beside = {name: value for name, value in part.items() if name != "$ref"}
            part = self._plain({**target, **beside}, within | {reference})
        return part

    def _target(self, reference: Any) -> dict[str, Any]:
        found: Any = self._root if isinstance(reference, str) and reference.startswith("#/") else None
        for step in str(reference).split("/")[1:]:
            found = found.get(step) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping):
            raise _UnsayableError
        return {name: value for name, value in found.items() if name not in _SILENT}

    def _definitions(self, part: Mapping[str, Any], within: frozenset[str]) -> dict[str, Any]:
        return {
            name: {key: self.of(value, within) for key, value in part[name].items()}
            for name in ("$defs", "definitions")
            if name in part
        }

    def _takes(self, name: str, value: Any) -> bool:
        if name == "format":
            return value in _FORMATS
        if name == "minItems" and not self._dialect.all_required:
            return value in {0, 1}
        return name in self._dialect.keywords

    def _closed(self, part: dict[str, Any], within: frozenset[str]) -> dict[str, Any]:
        """Return an object that has the properties that it names, and no others."""
        properties = part.get("properties")
        if part.get("additionalProperties", False) is not False or not isinstance(properties, Mapping):
            raise _UnsayableError
        part["properties"] = {name: self.of(value, within) for name, value in properties.items()}
        part["additionalProperties"] = False
        if self._dialect.all_required and set(part.get("required", ())) != set(properties):
            part["required"] = list(properties)
        return part


def _types(part: Mapping[str, Any]) -> tuple[Any, ...]:
    named = part.get("type")
    return tuple(named) if isinstance(named, list) else (named,)
