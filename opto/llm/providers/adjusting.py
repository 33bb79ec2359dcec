"""Parameters that a model does not take: renamed or left out once it has said so."""

import json
import logging
import re
import threading
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from opto.errors import BadRequestError
from opto.llm.providers.reading import dig, text_or_none

__all__ = ["Adjustments"]

#: What shapes an answer without being part of the task. Others, such as `tools`, `stop` and the format of an answer,
#: are never left out: the answer would be to another question. Of two that exclude each other the first one goes.
_OPTIONAL = (
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "repetition_penalty",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "logprobs",
    "top_logprobs",
    "parallel_tool_calls",
    "reasoning_effort",
    "verbosity",
    "service_tier",
    "store",
    "metadata",
    "user",
    "temperature",
)
#: Other names of what must not be left out.
_RENAMES = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}

_CODES = {"unsupported_parameter", "unsupported_value", "unknown_parameter", "unrecognized_parameter"}
#: How it is said that a parameter is not taken at all. A value out of its range is for the user to mend.
_UNSUPPORTED = re.compile(
    r"unsupported|not support|not allowed|not permitted|no longer|unknown|unrecogni[sz]ed|unexpected|deprecated"
    r"|extra[ _]forbidden|cannot both|not (?:available|accepted|recogni[sz]ed|compatible)",
    re.IGNORECASE,
)

_log = logging.getLogger(__name__)


class Adjustment(NamedTuple):
    """What is done to one parameter.

    Args:
        name: The parameter.
        instead: Its other name; None to leave it out.
        beside: Only where this one is sent too.
        value: Only if it has this value, as text; None for all.
    """

    name: str
    instead: str | None = None
    beside: str | None = None
    value: str | None = None

    def concerns(self, body: Mapping[str, Any]) -> bool:
        return (
            self.name in body
            and (self.beside is None or self.beside in body)
            and (self.value is None or self.value == repr(body[self.name]))
        )


class Adjustments:
    """What one client has learned about the parameters of its models."""

    def __init__(self, renames: Collection[str]) -> None:
        self._renames = renames
        self._lock = threading.Lock()
        self._by_model: dict[str, tuple[Adjustment, ...]] = {}

    def apply(self, body: dict[str, Any]) -> tuple[str, ...]:
        """Change *body*, a request, to what its model takes, and return the names of what was left out."""
        left_out = []
        for adjustment in self._by_model.get(str(body.get("model")), ()):
            if adjustment.concerns(body):
                value = body.pop(adjustment.name)
                if adjustment.instead is None:
                    left_out.append(adjustment.name)
                else:
                    body.setdefault(adjustment.instead, value)
        return tuple(left_out)

    def learn(self, error: BadRequestError, body: Mapping[str, Any], name_of_model: str) -> bool:
        """Tell whether *body* is worth sending again, changed by what *error* says about it."""
        said = _Complaint(error)
        adjustment = said.adjustment(body, self._renames)
        if adjustment is None:
            return False
        model = str(body.get("model"))
        with self._lock:
            known = self._by_model.get(model, ())
            if adjustment in known:
                return True  # another thread has learned it since this request was made
            if any(item.name == adjustment.instead for item in known):
                return False  # it takes neither name
            self._by_model[model] = (*known, adjustment)
        refused = adjustment.name if adjustment.value is None else f"{adjustment.name}={adjustment.value}"
        done = f"is sent {adjustment.instead} instead" if adjustment.instead else "is asked without"
        _log.warning("%s refuses %s and %s from now on: %s", name_of_model, refused, done, said.message)
        return True


class _Complaint:
    """What the body of an error says about a parameter."""

    def __init__(self, error: BadRequestError) -> None:
        try:
            data = json.loads(error.raw or "")
        except (ValueError, RecursionError):
            data = None
        inner = dig(data, "error") if isinstance(dig(data, "error"), Mapping) else data
        self.message = text_or_none(dig(inner, "message")) or ""
        self._parameter = dig(inner, "param")
        # Such as a temperature other than 1.
        self._is_of_value = dig(inner, "code") == "unsupported_value" or "unsupported value" in self.message.lower()
        self._is_one = dig(inner, "code") in _CODES or _UNSUPPORTED.search(self.message) is not None

    def adjustment(self, body: Mapping[str, Any], renames: Collection[str]) -> Adjustment | None:
        if not self._is_one:
            return None
        for name in renames:
            if name in body and self._names(name):
                return Adjustment(name, _RENAMES[name])
        named = [name for name in _OPTIONAL if name in body and self._names(name)]
        if not named:
            return None
        name = named[0]
        is_conflict = len(named) > 1 and "both" in self.message.lower()
        value = repr(body[name]) if self._is_of_value else None
        return Adjustment(name, beside=named[-1] if is_conflict else None, value=value)

    def _names(self, name: str) -> bool:
        if isinstance(self._parameter, str) and self._parameter:
            return self._parameter == name
        return re.search(rf"(?<!\w){name}(?!\w)", self.message) is not None
