"""What stands for the object whose method a candidate is, and for objects like it in there: plain attributes."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .codec import CannotCrossError, dumps
from .graphs import filled

__all__ = ["Self", "forget", "lost", "receive"]

_Form = Callable[[Any], Any]
#: What is larger as JSON is not looked through for changes.
_LARGE = 20_000
_SCALARS = frozenset({type(None), bool, int, float, complex, str, bytes})


class _Note(NamedTuple):
    """What is known of one of them.

    Attributes:
        path: How the candidate's method speaks of it.
        missing: What stayed outside, in words.
        hosts: What is called outside.
        before: What its attributes were when it came, as far as they can be changed in place.
    """

    path: str
    missing: Mapping[str, str]
    hosts: Mapping[str, Any]
    before: Mapping[str, bytes]


#: No attributes of theirs: what is set on an object is all its own.
_notes: dict[int, tuple[Any, _Note]] = {}
_assigned: dict[str, None] = {}


class Self:
    """Has the attributes of the object that it stands for; a class with the methods that are used is made of it."""

    def __getattr__(self, name: str) -> Any:
        _, note = _notes.get(id(self), (None, None))
        if note is not None and name in note.hosts:
            return note.hosts[name]
        if note is not None and name in note.missing:
            raise AttributeError(f"{note.path}.{name} is {note.missing[name]}, which stays outside.")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        _, note = _notes.get(id(self), (None, None))
        if note is not None:
            _assigned[f"{note.path}.{name}"] = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


def receive(
    kind: type,
    state: Mapping[str, Any],
    *,
    path: str,
    missing: Mapping[str, str],
    hosts: Mapping[str, Any],
    form: _Form,
) -> Self:
    """Return what stands for an object.

    Args:
        kind: Its class.
        state: Its attributes.
        path: How the candidate's method speaks of it.
        missing: The attributes that stayed outside, and what they are.
        hosts: Those that are called outside.
        form: Turns values into forms.
    """
    made: Self = filled(kind, state)
    before = {name: _fingerprint(value, form) for name, value in state.items() if type(value) not in _SCALARS}
    _notes[id(made)] = (made, _Note(path, missing, hosts, {name: text for name, text in before.items() if text}))
    return made


def _fingerprint(value: Any, form: _Form) -> bytes:
    try:
        text = dumps(form(value))
    except (CannotCrossError, ValueError, TypeError):
        return b""
    return text if len(text) <= _LARGE else b""


def forget() -> None:
    """Forget what was noted of the call before."""
    _notes.clear()
    _assigned.clear()


def lost(form: _Form) -> list[str]:
    """Return the attributes that the call has changed, which is to no avail."""
    found = dict(_assigned)
    for made, note in _notes.values():
        state = vars(made)
        for name, before in note.before.items():
            if name in state and _fingerprint(state[name], form) != before:
                found[f"{note.path}.{name}"] = None
    return [*found]
