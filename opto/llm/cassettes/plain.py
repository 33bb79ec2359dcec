"""One form in JSON for everything that a request may hold: the same for the same request, and fit to be read."""

import hashlib
import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any, get_origin

from opto.errors import CassetteError
from opto.llm.cassettes.secrets import SECRET, is_secret_name, without_secrets

__all__ = ["Plain", "as_text"]

#: From this length on, what is not for reading is told by its hash.
_LONG = 400
_BASE64 = re.compile(rf"[A-Za-z0-9+/_-]{{{_LONG},}}={{0,2}}")
_DATA_URL = re.compile(rf"(data:[\w.+/;=-]*;base64,)([A-Za-z0-9+/_-]{{{_LONG},}}={{0,2}})")
#: Whose values say all about themselves as text.
_TOLD = frozenset({"datetime", "decimal", "fractions", "ipaddress", "pathlib", "uuid"})
#: What a reader wants to see first.
_FIRST = {"role": 0, "type": 1, "name": 2}


def as_text(value: Any) -> str:
    """Return the JSON of a plain value: its keys stay in the order that `Plain` gave them."""
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Plain:
    """Makes values plain.

    Args:
        keys: What is struck out besides what looks like a secret.
        lenient: Take objects that have no form of their own by their type, rather than refuse them.
        shorten: Put hashes in the place of pictures and sounds.
    """

    keys: Collection[str] = ()
    lenient: bool = False
    shorten: bool = True

    def __call__(self, value: Any, place: str) -> Any:
        """Return *value* in JSON's terms. *place* says where it stands, for an error.

        Raises:
            CassetteError: It has no form that would be the same for the same value.
        """
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, Enum):
            return self(value.value, place)
        if isinstance(value, str):
            return without_secrets(_shortened(str(value)) if self.shorten else str(value), self.keys)
        if isinstance(value, int | float):
            return _number(value)
        if isinstance(value, Mapping):
            return self._mapping(value, place)
        if isinstance(value, list | tuple):
            return [self(item, f"{place}[{position}]") for position, item in enumerate(value)]
        if isinstance(value, set | frozenset):
            return sorted((self(item, place) for item in value), key=as_text)
        return self._other(value, place)

    def _mapping(self, value: Mapping[Any, Any], place: str) -> dict[str, Any]:
        made = {}
        # Models write the properties of a schema in its order, so that another order is another request.
        is_ordered = place.endswith(".properties")
        pairs = value.items() if is_ordered else sorted(value.items(), key=_place_in_order)
        for name, item in pairs:
            is_secret = isinstance(item, str) and is_secret_name(str(name))
            made[without_secrets(str(name), self.keys)] = SECRET if is_secret else self(item, f"{place}.{name}")
        return made

    def _other(self, value: Any, place: str) -> Any:
        if isinstance(value, bytes | bytearray | memoryview):
            return {"$bytes": _hash(bytes(value))}
        if isinstance(value, type):
            return self._class(value, place)
        if get_origin(value) is not None:
            return {"$type": str(value)}
        if is_dataclass(value):
            return self._mapping({field.name: getattr(value, field.name) for field in fields(value)}, place)
        return self._object(value, place)

    def _class(self, value: type, place: str) -> Any:
        if callable(described := getattr(value, "model_json_schema", None)):  # of pydantic
            return self(described(), place)
        annotations = getattr(value, "__annotations__", {})
        return {"$class": _path(value), **{name: _annotation(item) for name, item in annotations.items()}}

    def _object(self, value: Any, place: str) -> Any:
        if callable(dumped := getattr(value, "model_dump", None)):  # of pydantic
            return self(dumped(mode="json"), place)
        module = type(value).__module__.partition(".")[0].removeprefix("_")
        if module == "numpy":
            return self(value.tolist(), place)
        if module in _TOLD:
            return {f"${type(value).__name__}": str(value)}
        if isinstance(getattr(value, "__qualname__", None), str):
            return {"$function": _path(value)}
        if self.lenient:
            return {"$object": _path(type(value))}
        raise CassetteError(
            f"The request cannot be recorded: {place} is a {type(value).__qualname__}, which has no form in JSON.",
            mend="Give plain values, or call this model outside of the cassette.",
        )


def _place_in_order(pair: tuple[Any, Any]) -> tuple[int, str]:
    return _FIRST.get(pair[0], len(_FIRST)), str(pair[0])


def _number(value: float) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(float(value))}
    # The same number for every provider: temperature=1 and temperature=1.0.
    return int(value) if isinstance(value, int) or value.is_integer() else float(value)


def _shortened(text: str) -> str:
    """Return *text* with hashes in place of pictures and sounds."""
    if len(text) < _LONG:
        return text
    if _BASE64.fullmatch(text):
        return f"({_hash(text.encode())})"
    if ";base64," in text:
        return _DATA_URL.sub(lambda found: f"{found[1]}({_hash(found[2].encode())})", text)
    return text


def _hash(content: bytes) -> str:
    return f"sha256 {hashlib.sha256(content).hexdigest()}, {len(content)} bytes"


def _path(thing: Any) -> str:
    return f"{getattr(thing, '__module__', None) or 'builtins'}.{thing.__qualname__}"


def _annotation(item: Any) -> str:
    return item.__qualname__ if isinstance(item, type) else str(item)
