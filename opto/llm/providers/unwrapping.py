"""Finds what happened in the exceptions of LiteLLM, which gives status codes to failures that nobody answered."""

import json
import re

from opto.llm.providers.reading import dig

__all__ = ["PACKAGES", "explanation", "has_answer", "is_of_litellm", "lacks_key", "original", "variable_in"]

#: Whose exceptions are known.
PACKAGES = frozenset({"openai", "anthropic", "httpx", "httpx2", "litellm"})

_LONGEST_CHAIN = 10
#: Names of classes in front of a message: "litellm.APIError: AzureException APIError - ".
_NAMES = re.compile(r"(?:[\w.]*(?:Error|Exception)\b[\s:-]+)+")
#: What follows a message: where LiteLLM was, and advice to its own callers.
_REST = re.compile(r"\s*(?:Traceback \(most recent call last\)|Handle with `).*", re.DOTALL)
_KEY = r"(?:api[ _-]?key|credentials)"
_LACKS = r"(?:missing|unable to locate|not set|not provided|not found|no key|required|must be set)"
_LACKING = re.compile(rf"\b{_LACKS}\b.*\b{_KEY}\b|\b{_KEY}\b.*\b{_LACKS}\b", re.IGNORECASE)
_VARIABLE = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*_(?:KEY|TOKEN)\b")


def is_of_litellm(error: BaseException | None) -> bool:
    """Return True if LiteLLM made this exception."""
    return type(error).__module__.partition(".")[0] == "litellm"


def has_answer(error: Exception) -> bool:
    """Return False if the status of *error* is one that LiteLLM made up: a response that came has headers."""
    return not is_of_litellm(error) or bool(dig(error, "response", "headers"))


def original(error: Exception) -> Exception:
    """Return the exception from which LiteLLM made *error*, which says more and has the response; else itself."""
    if not is_of_litellm(error):
        return error
    chain: list[Exception] = []
    seen = error.__context__
    while isinstance(seen, Exception) and len(chain) < _LONGEST_CHAIN:
        chain.append(seen)
        seen = seen.__context__
    for found in chain:
        package = type(found).__module__.partition(".")[0]
        if package in PACKAGES - {"litellm"} or isinstance(found, json.JSONDecodeError | ImportError):
            return found
    if type(error).__name__ == "APIConnectionError":
        # Its word for everything that it does not know, such as objections of its own.
        return next((found for found in chain if type(found) in (ValueError, TypeError)), error)
    return error


def explanation(error: Exception) -> str:
    """Return what LiteLLM says, without the names of classes before it and the traceback behind it.

    Example:
        >>> explanation(Exception("litellm.APIError: AzureException APIError - No such region. Handle with `it`."))
        'No such region.'
    """
    said = str(error)
    names = _NAMES.match(said)
    return _REST.sub("", said[names.end() :] if names else said)


def lacks_key(said: str) -> bool:
    """Return True if *said* is that there is no key.

    Example:
        >>> lacks_key("Missing credentials. Please pass an `api_key`."), lacks_key("No such model.")
        (True, False)
    """
    return bool(_LACKING.search(said))


def variable_in(said: str) -> str | None:
    """Return the variable that a message says should hold the key.

    Example:
        >>> variable_in("Set the GEMINI_API_KEY or GOOGLE_API_KEY environment variable.")
        'GEMINI_API_KEY'
    """
    found = _VARIABLE.search(said)
    return None if found is None else found[0]
