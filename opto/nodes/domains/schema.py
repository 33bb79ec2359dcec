"""Domains of data with a structure."""

from contextlib import suppress
from functools import lru_cache, partial
from typing import Any

from opto.errors import DomainError
from opto.nodes.domains.base import Domain
from opto.nodes.domains.reading import parsed, unfenced
from opto.nodes.frozen import Frozen
from opto.structure import check_schema, find_misfit, is_json

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
        return isinstance(self.spec, dict)

    def read(self, raw: Any) -> Any:
        if not isinstance(raw, str):
            return self._fitted(raw, raw)
        text = unfenced(raw).strip()
        try:
            value = parsed(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return self._fitted(raw, raw, "it is no JSON, and as a text: ")
        try:
            return self._fitted(value, raw)
        except DomainError as error:
            # What looks like a number or a list may be a text.
            with suppress(DomainError):
                return self._fitted(raw, raw)
            raise error from None

    def _fitted(self, value: Any, raw: Any, before: str = "") -> Any:
        """Return *value*, which *raw* was read as, as the schema has it."""
        try:
            if self._is_json:
                if misfit := find_misfit(value, self.spec):
                    raise ValueError(misfit)
                return value
            return _load(self.spec, value)
        except (ValueError, RecursionError) as error:
            raise _misfit(raw, before + _reason(error)) from error

    def check(self, value: Any) -> None:
        # Whatever an instance has been through: it counts as what it is written as.
        try:
            text = self.write(value)
            again = self._fitted(parsed(text), value)
            is_same = type(again) is type(value) and bool(again == value or self.write(again) == text)
        except DomainError:
            raise
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

        if not self._is_json:
            plain, adapter = value, _adapter(self.spec)
            value = adapter.dump_python(plain, mode="json", by_alias=True, warnings="error")
            value = _in_order(value, adapter.dump_python(plain, by_alias=True))
        return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _in_order(data: Any, value: Any) -> Any:
    """Return *data*, with what is a set in *value* in the same order in every process."""
    if isinstance(data, list) and isinstance(value, set | frozenset):
        return sorted(data, key=repr)
    if isinstance(data, dict) and isinstance(value, dict) and len(data) == len(value):
        return {name: _in_order(data[name], item) for name, item in zip(data, value.values(), strict=True)}
    if isinstance(data, list) and isinstance(value, list | tuple) and len(data) == len(value):
        return list(map(_in_order, data, value))
    return data


def _misfit(raw: Any, reason: str) -> DomainError:
    return DomainError(f"{raw!r:.200} does not fit the schema: {reason}.", mend="Give JSON that fits.")


def _reason(error: BaseException) -> str:
    """Return what *error* says in a line, without the advertisements of pydantic."""
    if not hasattr(error, "errors"):
        return (
            "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split()).rstrip(".")
        )
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
            f"{kind!r:.80} is no annotation that pydantic can check: {_first_sentence(error)}.",
            mend="Give a pydantic model, a dataclass, an annotation such as list[int], or a JSON Schema.",
        ) from error


def _first_sentence(error: Exception) -> str:
    return str(error).partition("\n")[0].split(". ")[0].rstrip(".")


def _load(kind: Any, data: Any) -> Any:
    """Return *data* as a *kind*, with everything that is in them."""
    import json  # noqa: PLC0415 - as above

    import pydantic  # noqa: PLC0415 - as above

    adapter = _adapter(kind)
    # As JSON, in which dates are text and sets are lists; unless there are instances in it, or tuples.
    validate = (
        partial(adapter.validate_json, json.dumps(data)) if is_json(data) else partial(adapter.validate_python, data)
    )
    value = validate(strict=True)
    kept = adapter.dump_python(value, mode="json", by_alias=True, warnings="error")
    try:
        validate(strict=True, extra="forbid")
    except pydantic.ValidationError as error:
        # Models may keep what they do not name; what is not kept would be lost.
        if not all(_holds(kept, each["loc"]) for each in error.errors(include_url=False)):
            raise
    if _repeats(data, kept):
        raise ValueError("an item of a set occurs twice")
    return value


def _repeats(data: Any, kept: Any) -> bool:
    """True if a list in *data* became shorter."""
    if isinstance(data, dict) and isinstance(kept, dict):
        return any(_repeats(item, kept[name]) for name, item in data.items() if name in kept)
    if isinstance(data, list) and isinstance(kept, list):
        return len(data) != len(kept) or any(map(_repeats, data, kept))
    return False


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
