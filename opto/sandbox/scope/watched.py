"""Plain data of the user's program that a candidate uses: copies are sent again when it has another value."""

from collections.abc import Mapping
from typing import Any

from opto.sandbox.child.codec import dumps
from opto.sandbox.child.receivers import LARGE, SCALARS

__all__ = ["GONE", "Watched"]

GONE: Any = object()


class Watched:
    """One name and its value.

    Attributes:
        name: In *values*.
        entry: How a child is told that it has changed.
        version: How often it has.
        is_optional: True if nobody knows whether it is used: it may become what cannot enter.

    Args:
        values: Where the value is found under *name*.
        name: Of it.
        entries: What holds its form; the last one is sent when that changes.
        is_optional: As above.
    """

    __slots__ = ("_entries", "_text", "_value", "_values", "entry", "is_optional", "name", "version")

    def __init__(
        self, values: Mapping[str, Any], name: str, entries: tuple[dict[str, Any], ...], *, is_optional: bool = False
    ) -> None:
        self.is_optional = is_optional
        self._values, self.name, self._entries, self.entry = values, name, entries, entries[-1]
        self._value = values[name]
        self._text = dumps(self.entry["value"])
        self.version = 0

    def current(self) -> Any:
        """Return the value that it has now; `GONE` if it has none."""
        return self._values.get(self.name, GONE)

    def may_differ(self, value: Any) -> bool:
        """False if *value* is certainly what it was, or so large that nobody looks whether it was changed in place."""
        return value is not self._value or (type(value) not in SCALARS and len(self._text) <= LARGE)

    def note(self, value: Any, form: Any) -> None:
        """Take note that *value* is what it is now, with *form*."""
        self._value = value
        text = dumps(form)
        if text != self._text:
            self._text = text
            self.version += 1
            for entry in self._entries:
                entry["value"] = form
