"""What must not be written down: keys, passwords and tokens, wherever they stand in a text."""

import re
from collections.abc import Collection
from functools import cache

__all__ = ["SECRET", "is_secret_name", "without_secrets"]

#: What stands in the place of a secret: the same for all, so that a request is the same with another key.
SECRET = "[secret]"  # noqa: S105 - it stands for one

#: A key that is shorter is a dummy, which may be an ordinary word of a prompt.
_SHORTEST_KEY = 8
#: What is sent where no key is needed.
_NO_KEYS = frozenset({"no-key"})

_KNOWN = (
    r"""
    (?P<head>\b(?:Bearer|Basic)\s+)(?=[\w.~+/=-]*\d)[\w.~+/-]{16,}=*
    | (?P<url>://[^\s:/@"']{0,100}:)[^\s/@"']{1,200}(?=@)
    | -----BEGIN[ ][A-Z ]{0,40}PRIVATE[ ]KEY-----.*?(?:-----END[ ][A-Z ]{0,40}PRIVATE[ ]KEY-----|\Z)
    | \b(?:sk|pk|rk)[-_](?=[\w-]*\d)[\w-]{16,}       # OpenAI, Anthropic, OpenRouter, Stripe …
    | \b(?:gsk|hf|r8|pplx|npm|xai|tvly|lsv2|fw|nvapi|pypi|dop_v1)[-_](?=[\w-]*\d)[\w-]{20,}
    | \bgh[opsur]_\w{20,} | \bgithub_pat_\w{20,} | \bglpat-[\w-]{16,}
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b                  # AWS
    | \bAIza[\w-]{30,} | \bya29\.[\w-]{20,}          # Google
    | \bxox[abeoprs]-[\w-]{10,}                      # Slack
    | \beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{5,}         # JSON web tokens
    | (?P<named>(?:api[-_ ]?key|secret|token|passw(?:or)?d|authorization|(?:access|account)[-_ ]?key|signature)
        \w*["']?\s{0,3}[:=]\s{0,3}["']?)
      (?P<value>(?=(?:[A-Za-z+/_-]*\d){2})[A-Za-z0-9+/_-]{24,}={0,2}(?![\w(.\[]))
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)

_NAME = (
    r"""(?:.*[-_])?(?:
        api[-_]?key | (?:access|private|secret|account)[-_]?key | authorization | passw(?:or)?d | secret | credentials?
        | (?:access|api|auth|bearer|client|id|refresh|session)[-_]?token
    ) | token""",
    re.VERBOSE | re.IGNORECASE,
)


def without_secrets(text: str, keys: Collection[str] = ()) -> str:
    """Return *text* with `SECRET` in place of *keys* and of whatever looks like one.

    Example:
        >>> without_secrets("Use sk-proj-0123456789abcdef, and hurry.")
        'Use [secret], and hurry.'
    """
    for key in keys:
        if len(key) >= _SHORTEST_KEY and key not in _NO_KEYS:
            text = text.replace(key, SECRET)
    return _pattern(*_KNOWN).sub(_struck, text)


def is_secret_name(name: str) -> bool:
    """Return True if a text under this name is a secret whatever it looks like, as in ``{"api_key": …}``."""
    return _pattern(*_NAME).fullmatch(name) is not None


@cache
def _pattern(expression: str, flags: re.RegexFlag) -> re.Pattern[str]:
    return re.compile(expression, flags)  # which takes its time, and is not wanted by all who import this


def _struck(found: re.Match[str]) -> str:
    value = found["value"]
    if value and "_" in value and value in {value.lower(), value.upper()}:
        return found[0]  # a name in a program: requests that differ in it must stay different
    kept = found["head"] or found["url"] or found["named"] or ""
    return f"{kept}{SECRET}"
