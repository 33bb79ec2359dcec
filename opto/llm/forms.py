"""Answers in a form: what ``schema=`` asks for, and how it is read out of what a model said."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from opto.errors import BadRequestError
from opto.llm.dialects import OPENAI, in_dialect
from opto.structure import ENDS_THINKING, UnreadableObjectError, find_misfit, is_json, read_object

__all__ = ["Form", "MisfitError", "chat_format", "form_of", "read_form"]


class MisfitError(Exception):
    """Why a text does not hold what was asked for."""


@dataclass(frozen=True, slots=True)
class Form:
    """What an answer is to look like: ``llm(messages, schema=…)``.

    Args:
        spec: As the user gave it: a class or an annotation that pydantic knows, or a JSON schema.
        name: For providers that want one.
        schema: The JSON schema of *spec*.
    """

    spec: Any
    name: str
    schema: Mapping[str, Any] = field(repr=False)

    @property
    def is_own(self) -> bool:
        """True if the user wrote the JSON schema, in which nothing may be changed."""
        return isinstance(self.spec, Mapping)

    def check(self, data: Any) -> Any:
        """Return *data* as what was asked for; `MisfitError` says why they are not."""
        return _checked_by_schema(self.schema, data) if self.is_own else _checked_by_pydantic(self.spec, data)


def form_of(spec: Any) -> Form:
    """Return the form that *spec* asks for.

    Raises:
        BadRequestError: It is none.
    """
    if isinstance(spec, Form):
        return spec
    if isinstance(spec, Mapping):
        schema = dict(spec)
        if not is_json(schema):
            raise _no_schema(spec, "it is no data of JSON")
        title = schema.get("title")
        return Form(spec, _name(title if isinstance(title, str) else ""), schema)
    try:
        return _form_of_class(spec)
    except TypeError as error:  # which cannot be a key
        if isinstance(spec, list | set | bytearray):
            raise _no_schema(spec, f"it is a {type(spec).__name__}") from error
        return _form_of_class.__wrapped__(spec)


@lru_cache(maxsize=128)
def _form_of_class(spec: Any) -> Form:
    import pydantic  # noqa: PLC0415 - heavy, and few calls ask for a form

    if isinstance(spec, str | bytes | int | float):
        raise _no_schema(spec, f"it is a {type(spec).__name__}")
    try:
        schema = _adapter(spec).json_schema()
    except (pydantic.errors.PydanticUserError, NameError) as error:
        raise _no_schema(spec, str(error).partition("\n")[0].rstrip(".")) from error
    return Form(spec, _name(getattr(spec, "__name__", "")), schema)


@lru_cache(maxsize=128)
def _adapter(spec: Any) -> Any:
    import pydantic  # noqa: PLC0415 - as above

    return pydantic.TypeAdapter(spec)


def _no_schema(spec: Any, reason: str) -> BadRequestError:
    return BadRequestError(
        f"The schema {spec!r:.80} is none: {reason}.",
        mend="Give a pydantic model, a dataclass, a TypedDict, or a JSON schema as a dict.",
    )


def _name(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_-]+", "_", name)[:64].strip("_") or "answer"


def chat_format(form: Form) -> dict[str, Any]:
    """Return what OpenAI's protocols call a format of type ``json_schema``; strict where it can be."""
    strict = in_dialect(form.schema, OPENAI)
    if strict is None or strict.get("type") != "object" or (form.is_own and strict != form.schema):
        return {"name": form.name, "schema": dict(form.schema)}
    return {"name": form.name, "schema": strict, "strict": True}


def read_form(text: str, form: Form | None) -> Any:
    """Return what *text* holds in *form*: the first that fits it, whatever stands around; without a form, any JSON.

    Raises:
        MisfitError: There is nothing of it.
    """
    misfit: MisfitError | None = None
    for data in _candidates(text):
        try:
            return data if form is None else form.check(data)
        except MisfitError as error:
            misfit = misfit or error
    raise misfit or MisfitError(_why_nothing(text))


_FENCED = re.compile(r"^[ \t]*(```+|~~~+)[^\n`]*\n(.*?)\n?^[ \t]*\1", re.DOTALL | re.MULTILINE)
_BEGINS = re.compile(r"[{\[]")


def _candidates(text: str) -> Iterator[Any]:
    """Yield what may be meant: all of the text, what stands in fences, and each object or list within it."""
    answer = re.split(ENDS_THINKING, text, flags=re.IGNORECASE)[-1]
    for whole in dict.fromkeys([text, answer, *(found[2] for found in _FENCED.finditer(answer))]):
        data = _json(whole)
        if data is not _NOTHING:
            yield data
        if isinstance(data, str) and (inner := _json(data)) is not _NOTHING:
            # As some servers send answers.
            yield inner
    position = 0
    while begins := _BEGINS.search(answer, position):
        try:
            data, position = read_object(answer, begins.start())
        except UnreadableObjectError as error:
            # Brackets of prose and code.
            position = max(error.position, begins.end())
        else:
            yield data


_NOTHING = object()


def _json(text: str) -> Any:
    import json  # noqa: PLC0415 - not at the import of opto

    try:
        data = json.loads(text.lstrip("\ufeff"), strict=False)
    except (ValueError, RecursionError):
        return _NOTHING
    # Such as NaN.
    return data if is_json(data) else _NOTHING


def _why_nothing(text: str) -> str:
    answer = re.split(ENDS_THINKING, text, flags=re.IGNORECASE)[-1]
    begins = _BEGINS.search(answer)
    if not answer.strip():
        return "it is empty"
    if begins is None:
        return "it holds no JSON"
    try:
        read_object(answer, begins.start())
    except UnreadableObjectError as error:
        return "its JSON ends in the middle" if error.ended else f"its JSON is broken: {error}"
    return "it holds no JSON"


def _checked_by_schema(schema: Mapping[str, Any], data: Any) -> Any:
    try:
        misfit = find_misfit(data, schema)
    except (AttributeError, KeyError, TypeError, ValueError, re.error, RecursionError):
        # What the schema says makes no sense here; the provider has not minded.
        return data
    if misfit is not None:
        raise MisfitError(misfit)
    return data


def _checked_by_pydantic(spec: Any, data: Any) -> Any:
    import json  # noqa: PLC0415 - as above

    import pydantic  # noqa: PLC0415 - as above

    try:
        adapter = _adapter(spec)
    except TypeError:  # which cannot be a key
        adapter = pydantic.TypeAdapter(spec)
    try:
        # As JSON, in which dates are text and sets are lists.
        return adapter.validate_json(json.dumps(data))
    except pydantic.ValidationError as error:
        found = [(".".join(map(str, each["loc"])), each["msg"]) for each in error.errors(include_url=False)]
        said = [f"at {place}, {message}" if place else message for place, message in found[:_MOST_SAID]]
        more = [f"and {len(found) - _MOST_SAID} more"] if len(found) > _MOST_SAID else []
        raise MisfitError("; ".join([*said, *more])) from error


_MOST_SAID = 3
