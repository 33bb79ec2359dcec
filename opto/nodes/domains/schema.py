"""Domains of data with a structure."""

import ast
from functools import lru_cache
from typing import Any

from opto.errors import DomainError
from opto.nodes.domains.base import Domain
from opto.nodes.domains.jsonschema import check_schema, find_misfit, is_json
from opto.nodes.domains.reading import bare, strict_json
from opto.nodes.frozen import Frozen

__all__ = ["Schema"]


class Schema(Frozen, Domain):
    """Data of a structure: a pydantic model, a dataclass, an annotation such as ``list[int]``, or a JSON Schema.

    Text is read as JSON (or as a literal of Python), strictly: no value changes its type, no field is dropped. Text
    that is neither is a string, where a string fits. Values are what the annotation says; of a JSON Schema, plain data.

    Args:
        spec: A class or annotation that pydantic knows; or a JSON Schema as a dict.

    Raises:
        DomainError: *spec* cannot be checked.

    Example:
        >>> Schema(dict[str, list[int]]).accept('{"sizes": [1, 2]}')
        {'sizes': [1, 2]}
        >>> sizes = Schema({"type": "array", "items": {"type": "integer"}})
        >>> sizes.accept('[1, "two"]')
        Traceback (most recent call last):
        opto.errors.DomainError: '[1, "two"]' does not fit the schema: at 1, "two" is no integer. Give JSON that fits.
    """

    spec: Any

    def __init__(self, spec: Any) -> None:
        self._hold(spec=spec)
        if self._is_json:
            check_schema(spec)
        else:
            _adapter(spec)

    def __hash__(self) -> int:
        return hash((Schema, repr(self.spec)))

    @property
    def _is_json(self) -> bool:
        return isinstance(self.spec, dict | bool)

    def read(self, raw: Any) -> Any:
        reasons = []
        for read in (self._parsed, self._fitted) if isinstance(raw, str) else (self._fitted,):
            try:
                return read(raw)
            except (ValueError, RecursionError) as error:
                reasons.append(_reason(error))
        # What is wrong with it as JSON, if it is JSON; that it is no string says little.
        raise _misfit(raw, reasons[0] or reasons[-1])

    def _parsed(self, text: str) -> Any:
        """Return what *text* is as JSON, or else as a literal of Python."""
        content = bare(text)
        try:
            value = strict_json(content)
        except (ValueError, RecursionError):
            try:
                value = ast.literal_eval(content)
            except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
                raise ValueError from None
            return self._fitted(value)
        # The text itself, whose digits matter: a Decimal holds more of them than a float.
        return self._fitted(value) if self._is_json else _load(self.spec, content)

    def _fitted(self, value: Any) -> Any:
        """Return *value*, which is what it is, as the schema has it."""
        if self._is_json:
            if misfit := find_misfit(value, self.spec):
                raise ValueError(misfit)
            return value
        if is_json(value):
            import json  # noqa: PLC0415 - as in `strict_json`

            return _load(self.spec, json.dumps(value))
        return _adapter(self.spec).validate_python(value, strict=True)

    def check(self, value: Any) -> None:
        # Whatever an instance has been through: it counts as what it is written as.
        try:
            text = self.write(value)
            again = self._parsed(text)
            is_same = type(again) is type(value) and self.write(again) == text
        except (ValueError, RecursionError, TypeError) as error:
            raise _misfit(value, _reason(error)) from error
        if not is_same:
            raise _misfit(value, "it is another value when it is written and read again")

    def describe(self) -> str:
        import json  # noqa: PLC0415 - as above

        schema = self.spec
        if not self._is_json:
            try:
                schema = _without_titles(_adapter(self.spec).json_schema())
            except ValueError:  # a part that JSON Schema has no words for
                return f"JSON for {getattr(self.spec, '__name__', self.spec)}"
        return f"JSON that fits the schema {json.dumps(schema, ensure_ascii=False)}"

    def write(self, value: Any) -> str:
        import json  # noqa: PLC0415 - as above

        if self._is_json:
            return json.dumps(value, ensure_ascii=False, allow_nan=False)
        text: bytes = _adapter(self.spec).dump_json(value, by_alias=True, warnings="error")
        return text.decode()


def _misfit(raw: Any, reason: str) -> DomainError:
    return DomainError(
        f"{raw!r:.200} does not fit the schema: {reason or 'it is no JSON'}.", mend="Give JSON that fits."
    )


def _reason(error: BaseException) -> str:
    """Return what *error* says in a line, without the advertisements of pydantic."""
    if not hasattr(error, "errors"):
        return "it is nested too deeply" if isinstance(error, RecursionError) else str(error).rstrip(".")
    found = [(".".join(map(str, each["loc"])), each["msg"].rstrip(".")) for each in error.errors(include_url=False)]
    said = [f"at {place}, {message}" if place else message for place, message in found[:3]]
    return "; ".join([*said, f"and {len(found) - 3} more"] if len(found) > 3 else said)


@lru_cache(maxsize=128)
def _adapter(kind: Any) -> Any:
    import pydantic  # noqa: PLC0415 - heavy, and few parameters have structure

    try:
        return pydantic.TypeAdapter(kind)
    except (pydantic.errors.PydanticUserError, NameError, TypeError) as error:
        raise DomainError(
            f"{kind!r:.80} is no annotation that pydantic can check: {str(error).partition(chr(10))[0]}.",
            mend="Give a pydantic model, a dataclass, an annotation such as list[int], or a JSON Schema.",
        ) from error


def _load(kind: Any, text: str) -> Any:
    """Return the JSON in *text* as a *kind*, with everything that stands in it."""
    import pydantic  # noqa: PLC0415 - as above

    adapter = _adapter(kind)
    value = adapter.validate_json(text, strict=True)
    try:
        adapter.validate_json(text, strict=True, extra="forbid")
    except pydantic.ValidationError as error:
        # Models may keep what they do not name; what is not kept would be lost.
        kept = adapter.dump_python(value, mode="json", by_alias=True)
        if not all(_holds(kept, each["loc"]) for each in error.errors(include_url=False)):
            raise
    return value


def _holds(data: Any, path: tuple[Any, ...]) -> bool:
    for step in path:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _without_titles(schema: Any) -> Any:
    """Return *schema* without the titles that pydantic makes of names."""
    if isinstance(schema, dict):
        return {
            key: _without_titles(item) for key, item in schema.items() if key != "title" or not isinstance(item, str)
        }
    return list(map(_without_titles, schema)) if isinstance(schema, list) else schema
