"""Data of the user's program that a candidate uses: copies are sent again when it has another value."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from opto.sandbox.child.codec import CannotCrossError, dumps
from opto.sandbox.child.receivers import LARGE, SCALARS
from opto.sandbox.program.states import state_of_class, state_of_function
from opto.sandbox.scope.advice import not_entering
from opto.sandbox.scope.values import Values

__all__ = ["Data", "Watched"]

_Entry = dict[str, Any]
_GONE: Any = object()


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
        self, values: Mapping[str, Any], name: str, entries: tuple[_Entry, ...], *, is_optional: bool = False
    ) -> None:
        self.is_optional = is_optional
        self._values, self.name, self._entries, self.entry = values, name, entries, entries[-1]
        self._value = values[name]
        self._text = dumps(self.entry["value"])
        self.version = 0

    def current(self) -> Any:
        """Return the value that it has now; `_GONE` if it has none."""
        return self._values.get(self.name, _GONE)

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


class Data:
    """The data that names stand for, and that functions and classes hold.

    Attributes:
        watched: Each by the space or the class that it is in, and its name.

    Args:
        adapt: Maps each value of the program before it is looked at.
        values: Turns values into forms.
        entries: How each part of the program is made.
    """

    def __init__(self, adapt: Callable[[Any], Any], values: Values, entries: list[_Entry]) -> None:
        self.watched: dict[tuple[str, str], Watched] = {}
        self._adapt, self._values, self._entries = adapt, values, entries
        self._states: list[tuple[_Entry, Mapping[str, Any], tuple[str, str]]] = []

    def watch(self, key: tuple[str, str], values: Mapping[str, Any], *entries: _Entry) -> None:
        """Look at each call what *values* have under the name in *key*, if that is data, which *entries* hold."""
        if entries[0]["do"] == "value":
            self.watched[key] = Watched(values, key[1], entries)

    def hold_class(self, kind: type, key: str) -> None:
        """Have the data among the attributes of a class, which has *key*, sent after all else."""
        self._hold(vars(kind), state_of_class(kind), key, {"put": key}, "member")
        for name in vars(kind):
            self.hold_method(kind, name, key)

    def hold_method(self, kind: type, name: str, key: str) -> None:
        """Have the attributes of the method *name* of a class sent after all else."""
        member = vars(kind)[name]
        self.hold_function(getattr(member, "__func__", member), f"{key}.{name}", {"put": key, "member": name})

    def hold_function(self, function: Any, key: str, entry: _Entry) -> None:
        """Have the attributes of a function sent after all else, by entries like *entry*."""
        self._hold(getattr(function, "__dict__", {}), state_of_function(function), key, entry, "attribute")

    def _hold(self, values: Mapping[str, Any], names: Collection[str], key: str, entry: _Entry, what: str) -> None:
        self._states += [({"do": "value", **entry, what: name}, values, (key, name)) for name in names]

    def settle(self) -> None:
        """Add the data that functions and classes hold. It may speak of any of them, so this comes after them all."""
        while self._states:
            entry, values, key = self._states.pop(0)
            name = key[1]
            value = values.get(name)
            count = len(self._entries)
            try:
                form = self._values.form(value)
            except CannotCrossError as error:
                if "attribute" not in entry:
                    continue  # a class has what its source makes
                form = _outside(name, error)
            for brought in self._entries[count:]:
                brought["is_optional"] = True
            entry = {**entry, "value": form}
            self._entries.append(entry)
            self.watched[key] = Watched(values, name, (entry,), is_optional=True)

    def look_again(self, what: str) -> None:
        """Note which of them have another value now. *what* uses them.

        Raises:
            SandboxTransferError: One of them cannot enter any more.
        """
        for item in [*self.watched.values()]:
            given = item.current()
            value = self._adapt(given)
            if value is not _GONE and item.may_differ(value):
                try:
                    form = self._values.form(given)
                except CannotCrossError as error:
                    if not item.is_optional:
                        raise not_entering(what, item.name, error) from None
                    form = _outside(item.name, error)
                item.note(value, form)
        self.settle()


def _outside(name: str, error: CannotCrossError) -> Any:
    return {"!outside": f"{name} is {error.what}, which stays outside."}
