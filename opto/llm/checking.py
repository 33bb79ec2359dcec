"""What a user gives to a client and to its calls, looked at before any of it is used or sent."""

import difflib
import inspect
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from opto.errors import BadRequestError, kind_of

__all__ = ["check_names", "check_settings", "check_tape", "did_you_mean"]

#: What a call may have besides what its client may have, and what means the same for every provider.
_OF_CALLS = frozenset(("rollout", "timeout", "schema", "tool", "max_tokens"))
#: What a call may have of its own, of all that a client has by a name.
_OF_BOTH = frozenset(("model", "retries", "deadline"))
#: Names that providers and servers have, and that look like ours.
_OF_PROVIDERS = frozenset(("functions", "max_new_tokens", "min_tokens", "models", "tools"))
#: How alike two names must be for one to be taken for a slip of the other: "retrys" is, "max_output_tokens" is not.
_ALIKE = 0.76


def check_names(settings: Iterable[str], client: type, *, for_call: bool) -> None:
    """Refuse settings that would be sent to the provider, and are meant for a client.

    Args:
        settings: Their names.
        client: The class, whose arguments have names of their own.
        for_call: Whether they are given to one call only.

    Raises:
        BadRequestError: One belongs to the client, or is nearly spelled like one of our own.
    """
    for name in settings:
        problem = _problem_of(name, client, for_call)
        if problem is not None:
            raise BadRequestError(problem[0], mend=problem[1])


@lru_cache(maxsize=512)
def _problem_of(name: str, client: type, for_call: bool) -> tuple[str, str] | None:
    """Return what is wrong with a name, and what to do; the value, which may be a key, is not looked at."""
    arguments = _arguments(client)
    if name in _OF_CALLS | _OF_BOTH:
        return None
    if name in arguments:
        # A client itself is given these by name, so that they are no settings.
        mend = f"Give it where the client is made: LLM({name}=…)."
        return (f"{name} belongs to the client, and cannot be given to a call.", mend) if for_call else None
    if name in _OF_PROVIDERS:
        return None
    meant = _near(name, arguments | _OF_CALLS)
    if meant is None:
        return None
    return f"{name} is no setting that opto knows.", (
        f"Did you mean {meant}? If it is one of the provider's, give it in extra_body={{{name!r}: …}}."
    )


@lru_cache(maxsize=64)
def _arguments(client: type) -> frozenset[str]:
    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    return frozenset(
        parameter.name
        for base in client.__mro__
        if base is not object and "__init__" in vars(base)
        for parameter in inspect.signature(vars(base)["__init__"]).parameters.values()
        if parameter.kind in kinds and parameter.name != "self"
    )


def _near(name: str, known: Iterable[str]) -> str | None:
    near = difflib.get_close_matches(name.lower(), sorted(known), n=1, cutoff=_ALIKE)
    return near[0] if near else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question to begin a mend with, or an empty text if nothing known is like *name*."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {near[0]!r}? " if near else ""


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse values that no provider can take.

    Raises:
        BadRequestError: One of them is none.
    """
    limit = settings.get("max_tokens")
    # A client may hold a node, which is read when a call is made.
    if isinstance(limit, str | int | float) and (isinstance(limit, bool | str | float) or limit < 1):
        raise BadRequestError(f"max_tokens is {limit!r:.80}.", mend="Give a whole number from 1 on.")


def check_tape(name: str, given: Any, kind: type) -> None:
    """Refuse what is no ledger, or no cassette, such as the path of its file.

    Raises:
        BadRequestError: It is none.
    """
    if given is not None and not isinstance(given, kind):
        path = repr(given) if isinstance(given, str) else "…"
        raise BadRequestError(
            f"The {name} is {kind_of(given)}: {given!r:.80}.", mend=f"Write {name}={kind.__name__}({path})."
        )
