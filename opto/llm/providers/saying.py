"""Finds the words for people in what a server sends, whatever it is."""

import json
import re
from typing import Any

from opto.llm.providers.reading import dig, text_or_none

__all__ = ["message_in", "on_one_line"]

_LONGEST = 400
#: Where servers put what they have to say.
_PATHS: tuple[tuple[str | int, ...], ...] = (
    ("error", "message"),
    ("message",),
    ("error",),
    ("detail",),
    ("detail", 0, "msg"),
    ("errors", 0, "message"),
    ("errors", 0),
    ("title",),
)
_PAGE = re.compile(r"\s*(?:<!doctype html|<html|<head|<body)", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
#: Nobody needs to see the value, which may be a key.
_HEADER = re.compile(r"(header value) .*", re.IGNORECASE | re.DOTALL)


def message_in(body: Any) -> str | None:
    """Return what a body says, parsed or not; None if it says nothing.

    Example:
        >>> message_in({"error": {"message": "Too long."}}), message_in('{"detail": "Not Found"}')
        ('Too long.', 'Not Found')
        >>> message_in("<html><head><title>502 Bad Gateway</title></head></html>")
        'a page with the title "502 Bad Gateway"'
    """
    if isinstance(body, str):
        try:
            parsed = json.loads(body)
        except (ValueError, RecursionError):
            return _readable(body)
        return text_or_none(parsed) or message_in(parsed) or _readable(body)
    if isinstance(body, list):
        return message_in(body[0]) if body else None
    found = (text_or_none(dig(body, *path)) for path in _PATHS)
    return next((text for text in found if text is not None), None)


def on_one_line(text: str) -> str:
    """Return a sentence that is not too long."""
    text = _HEADER.sub(r"\1", _readable(text) or "")
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in text[: 2 * _LONGEST]).split())
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}…"
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _readable(text: str) -> str | None:
    if not _PAGE.match(text):
        return text.strip() or None
    title = _TITLE.search(text)
    return f'a page with the title "{title[1].strip()}"' if title else "a page without a title"
