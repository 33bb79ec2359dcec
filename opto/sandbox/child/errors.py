"""Exceptions as data: what they are, what they say, where they came through, and what they came from."""

import errno
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any

from .graphs import KEPT, state_of
from .guard import ForbiddenError
from .spaces import frames_of

__all__ = ["Describer"]

_LONGEST_TEXT = 4000
#: How many exceptions are told of that one came from, and how many of a group.
_DEEPEST, _MOST = 3, 20


class Describer:
    """Tells of exceptions.

    Args:
        files: File names of the candidate's code.
        key_of: Returns what both sides call a class of the user's program.
        number_of: Returns what the user's process calls an exception, if it was raised there.
        encode: Returns the form of a value.
    """

    def __init__(
        self,
        files: Collection[str],
        *,
        key_of: Callable[[type], str | None],
        number_of: Callable[[BaseException], int | None],
        encode: Callable[[Any], Any],
    ) -> None:
        self._files, self._key_of, self._number_of, self._encode = files, key_of, number_of, encode

    def describe(self, error: BaseException, depth: int = 0) -> dict[str, Any]:
        """Return *error* as data."""
        kind = type(error)
        described: dict[str, Any] = {"type": kind.__name__[:100], "kinds": self._kinds_of(kind)}
        described.update(frames=frames_of(error, self._files), text=_text_of(error))
        if isinstance(error, PermissionError) and error.errno in {errno.EPERM, errno.EACCES}:
            described["forbidden"] = error.strerror if isinstance(error, ForbiddenError) else described["text"]
        if isinstance(error, OSError) and error.errno == errno.EFBIG:
            described["large"] = True
        if _is_for_want_of_memory(error):
            described["memory"] = True
        if (number := self._number_of(error)) is not None:
            described["host"] = number
        if type(error).__module__ == "pydantic_core._pydantic_core":
            described["found"] = self._found_by_pydantic(error)
        described["args"] = self._forms({"args": error.args}).get("args")
        described["state"] = self._forms(_state_of(error))
        if depth < _DEEPEST:
            if isinstance(error, BaseExceptionGroup):
                described["message"] = str(error.message)[:_LONGEST_TEXT]
                described["inner"] = [self.describe(item, depth + 1) for item in error.exceptions[:_MOST]]
            described["is_suppressed"] = error.__suppress_context__
            for name in ("cause", "context"):
                origin = getattr(error, f"__{name}__")
                if origin is not None and (name == "cause" or not error.__suppress_context__):
                    described[name] = self.describe(origin, depth + 1)
        return described

    def _kinds_of(self, kind: type) -> list[Any]:
        """Return what *kind* and its bases are called on the other side, down to the first of Python's own."""
        kinds: list[Any] = []
        for base in kind.__mro__:
            # What has no specification is a namespace of the candidate, not a module.
            is_there = getattr(sys.modules.get(base.__module__), "__spec__", None) is not None
            kinds.append(self._key_of(base) or [base.__module__ if is_there else "", base.__qualname__[:200]])
            if base.__module__ == "builtins":
                break
        return kinds

    def _found_by_pydantic(self, error: Any) -> list[Any] | None:
        """Return what an error of validation is made of, which it keeps where nobody else can put it."""
        try:
            lines = [
                [item["type"], self._encode(item["loc"]), item["msg"], *self._inputs(item)]
                for item in error.errors(include_url=False)[:_MOST]
            ]
        except BaseException:  # another kind of error, or of pydantic
            return None
        return [error.title, lines]

    def _inputs(self, item: Mapping[str, Any]) -> list[Any]:
        forms = self._forms({"input": item["input"], "ctx": item.get("ctx", {})})
        return [forms.get("input", repr(item["input"])[:100]), forms.get("ctx", {})]

    def _forms(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the forms of those values that have one."""
        forms = {}
        for name, value in values.items():
            try:
                forms[name] = self._encode(value)
            except BaseException:  # a class of its own may do anything here  # noqa: S112
                continue
        return forms


def _is_for_want_of_memory(error: BaseException) -> bool:
    """True if the system had no memory to give, also where that kept a library from being loaded."""
    if isinstance(error, ImportError):
        origin = error.__cause__ or error.__context__
        return "failed to map segment" in _text_of(error) or (origin is not None and _is_for_want_of_memory(origin))
    return isinstance(error, OSError) and error.errno == errno.ENOMEM


def _state_of(error: BaseException) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for kind, names in KEPT:
        if isinstance(error, kind):
            state = {name: value for name in names if (value := getattr(error, name)) is not None}
    try:
        return {**state_of(error), **state}
    except BaseException:  # as above
        return {**{name: value for name, value in error.__dict__.items() if type(name) is str}, **state}


def _text_of(error: BaseException) -> str:
    try:
        return str.__str__(str(error))[:_LONGEST_TEXT]
    except BaseException:  # as above
        return ""
