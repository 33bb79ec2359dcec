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

#: Tokens by how they begin, and how they go on. Numbers of repetitions are bounded: a text must not take long.
_TOKENS = {
    # OpenAI, Anthropic, OpenRouter, Stripe …
    **dict.fromkeys(("sk", "pk", "rk"), r"[-_](?=[\w-]{0,200}\d)[\w-]{16,}"),
    **dict.fromkeys(
        ("gsk", "hf", "r8", "pplx", "npm", "xai", "tvly", "lsv2", "fw", "nvapi", "pypi", "dop_v1"),
        r"[-_](?=[\w-]{0,200}\d)[\w-]{20,}",
    ),
    # GitHub and GitLab, AWS, Google, Slack
    "gh": r"[opsur]_\w{20,}",
    "github_pat_": r"\w{20,}",
    "glpat-": r"[\w-]{16,}",
    **dict.fromkeys(("AKIA", "ASIA"), r"[A-Z0-9]{16}\b"),
    "AIza": r"[\w-]{30,}",
    "ya29.": r"[\w-]{20,}",
    "xox": r"[abeoprs]-[\w-]{10,}",
    # JSON web tokens
    "eyJ": r"[\w-]{10,2000}\.[\w-]{10,9000}\.[\w-]{5,}",
}

#: Other forms; ``kept`` stays, and ``named`` is a secret only if what stands before it says so.
_FORMS = (
    # What stands behind the name must not begin in the middle of a word, so that the regular expression is a fast one.
    *(rf"{re.escape(start)}(?<!\w{re.escape(start)}){rest}" for start, rest in _TOKENS.items()),
    r"(?P<kept>[Bb](?:earer|EARER|asic|ASIC)\s{1,3})(?=[\w.~+/=-]{0,200}\d)[\w.~+/-]{16,}=*",
    r"""(?P<kept>://[^\s:/@"']{0,100}:)[^\s/@"']{1,200}(?=@)""",
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?s:.)*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)",
    r"""(?P<kept>[:=]\s{0,3}\\{0,3}["']?)(?P<named>(?=(?:[A-Za-z+/_-]{0,100}\d){2})[A-Za-z0-9+/_-]{24,}={0,2}(?![\w(.\[]))""",
)
#: How far back a name is looked for.
_NEAR = 50
_NAMED = (
    r"(?i:api[-_ ]?key|secret|token|passw(?:or)?d|authorization|(?:access|account)[-_ ]?key|signature)"
    r"""\w*\\{0,3}["']?\s{0,3}\Z"""  # in JSON in JSON, quotes are escaped
)

_TELLING = (
    r"(?i:(?:.*[-_])?(?:api[-_]?key|(?:access|private|secret|account)[-_]?key|authorization|passw(?:or)?d|secret"
    r"|credentials?|(?:access|api|auth|bearer|client|id|refresh|session)[-_]?token)|token)"
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
    for form in _FORMS:
        text = _pattern(form).sub(_struck, text)
    return text


def is_secret_name(name: str) -> bool:
    """Return True if a text under this name is a secret whatever it looks like, as in ``{"api_key": …}``."""
    return _pattern(_TELLING).fullmatch(name) is not None


@cache
def _pattern(expression: str) -> re.Pattern[str]:
    return re.compile(expression)  # which takes its time, and is not wanted by all who import this


def _struck(found: re.Match[str]) -> str:
    parts = found.groupdict()
    value = parts.get("named")
    if value is not None:
        before = found.string[max(0, found.start() - _NEAR) : found.start()]
        # Names in a program, such as `token = encode_with_vocabulary_32k`: requests that differ in one stay different.
        is_name = "_" in value and value in {value.lower(), value.upper()}
        if is_name or _pattern(_NAMED).search(before) is None:
            return found[0]
    return f"{parts.get('kept', '')}{SECRET}"
