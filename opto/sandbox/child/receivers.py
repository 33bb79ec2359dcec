"""What stands for the object whose method a candidate is, and for objects like it in there: plain attributes."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .codec import CannotCrossError, dumps
from .graphs import fill

__all__ = [
    "LARGE",
    "SCALARS",
    "Noting",
    "Outside",
    "Self",
    "complete",
    "forget",
    "is_given",
    "lost",
    "receive",
    "started",
]

_Form = Callable[[Any], Any]
#: What is larger as JSON is not looked through for changes.
LARGE = 20_000
#: Types of what nobody can change in place.
SCALARS = frozenset({type(None), bool, int, float, complex, str, bytes})


class _Note(NamedTuple):
    """What is known of one of them.

    Attributes:
        path: How the candidate's method speaks of it.
        missing: What stayed outside, in words.
        before: What its attributes were when it came, as far as they can be changed in place.
    """

    path: str
    missing: Mapping[str, str]
    before: Mapping[str, bytes]


#: No attributes of theirs: what is set on an object is all its own.
_notes: dict[int, tuple[Any, _Note]] = {}
_assigned: dict[str, None] = {}
complete: set[type] = set()


class Outside:
    """Something of the user's that could not come along. It stands where nobody may need it."""

    __slots__ = ("why",)

    def __init__(self, why: str) -> None:
        self.why = why

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(self.why)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        raise AttributeError(self.why)

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeError(self.why)

    __call__ = __enter__ = __exit__ = __iter__ = __len__ = __bool__ = __contains__ = _refuse
    __getitem__ = __setitem__ = __add__ = __sub__ = __mul__ = __truediv__ = __lt__ = __gt__ = _refuse


class Noting(type):
    """The type of classes that note what is assigned to them, from when all is in them that the program has there."""

    def __setattr__(cls, name: str, value: Any) -> None:
        type.__setattr__(cls, name, value)
        if cls in complete:
            _assigned[f"{cls.__name__}.{name}"] = None


class Self(metaclass=Noting):
    """Has the attributes of the object that it stands for; classes with the methods that are used are made of it."""

    def __getattr__(self, name: str) -> Any:
        _, note = _notes.get(id(self), (None, None))
        if note is not None and name in note.missing:
            raise AttributeError(f"{note.path}.{name} is {note.missing[name]}, which stays outside.")
        # This is also called in place of what says in the class why it is outside.
        members = (vars(base).get(name) for base in type(self).__mro__)
        why = next((member.why for member in members if isinstance(member, Outside)), None)
        raise AttributeError(why or f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        _, note = _notes.get(id(self), (None, None))
        if note is not None:
            _assigned[f"{note.path}.{name}"] = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


def receive(
    made: Self,
    state: Mapping[str, Any],
    *,
    path: str,
    missing: Mapping[str, str],
    form: _Form,
) -> Self:
    """Return what stands for an object, once it has what that has.

    Args:
        made: What stands for it.
        state: Its attributes.
        path: How the candidate's method speaks of it.
        missing: The attributes that stayed outside, and what they are.
        form: Turns values into forms.
    """
    fill(made, state)
    before = {name: _fingerprint(value, form) for name, value in state.items() if type(value) not in SCALARS}
    _notes[id(made)] = (made, _Note(path, missing, {name: text for name, text in before.items() if text}))
    return made


def started(kind: type, fixed: Any) -> Any:
    """Return an instance of *kind* without attributes and items, made of *fixed* if that is a text or a number."""
    if fixed is not None:
        return type(fixed).__new__(kind, fixed)
    base: Any = next((base for base in (list, dict, set, bytearray) if issubclass(kind, base)), object)
    return base.__new__(kind)


def is_given(value: Any) -> bool:
    """True if *value* stands for an object that the call was given."""
    return id(value) in _notes


def _fingerprint(value: Any, form: _Form) -> bytes:
    try:
        text = dumps(form(value))
    except (CannotCrossError, ValueError, TypeError):
        return b""
    return text if len(text) <= LARGE else b""


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
