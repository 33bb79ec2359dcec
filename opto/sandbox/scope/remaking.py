"""Exceptions of candidates, made again as instances of the classes that they are of, whose `__init__` does not run."""

import builtins
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from opto.sandbox.child.codec import Decoder, MalformedError
from opto.sandbox.child.graphs import fill, is_sound
from opto.sandbox.child.reading import look

__all__ = ["LONGEST_TEXT", "class_of", "remade", "shortened", "text_of", "visible"]

LONGEST_TEXT = 4000
_OF_SYNTAX = {str, int, float, type(None), tuple}
#: How much of what pydantic found is believed.
_MOST_FOUND = 20
#: What terminals obey instead of showing it, and what turns the direction of text, as Python would write it.
_UNSEEN = {
    number: ascii(chr(number))[1:-1]
    for number in (*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    if chr(number) not in "\n\t"
}


def text_of(error: BaseException) -> str:
    """Return what *error* says, or nothing if it cannot."""
    try:
        return str(error)[:LONGEST_TEXT]
    except Exception:  # a class of the user's may do anything here
        return ""


def visible(text: str) -> str:
    """Return *text*, which is somebody else's, so that it can be shown in terminals and sent anywhere."""
    return text.translate(_UNSEEN).encode("utf-8", "backslashreplace").decode("utf-8")


def shortened(value: Any) -> Any:
    """Return *value*, which is shown as it is if it is a text, as a text that can be shown."""
    return visible(value[:LONGEST_TEXT]) if type(value) is str else value


def class_of(kinds: Sequence[Any], decoder: Decoder) -> tuple[type[BaseException], bool]:
    """Return the first class of *kinds* that there is here, and whether it is the first of all.

    Args:
        kinds: Of an exception: its class and the bases of that, each by the key that both sides know, or by its module
            and its name there.
        decoder: Knows the keys.
    """
    for place, named in enumerate(kinds[:100]):
        found = decoder.decode({"!known": named}) if type(named) is str else _loaded(*named)
        # None that runs code when it goes.
        if issubclass(type(found), type) and issubclass(found, BaseException) and not hasattr(found, "__del__"):
            return found, place == 0
    return Exception, False


def _loaded(module: str, name: str) -> Any:
    """Return what goes by *name* in *module*, if that is loaded: who wants to catch it has loaded it."""
    if module.partition(".")[0] in {"opto", "__main__"}:
        return None  # what this library says of candidates is not for them to say, and __main__ is another one there
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        # Not by asking for an attribute, even that which says what it is: modules, classes and others may do anything.
        holder: Any = next((kind for kind in (ModuleType, type) if issubclass(type(found), kind)), None)
        found = holder.__dict__["__dict__"].__get__(found).get(part) if holder is not None else None
    return found


def remade(
    kind: type[Exception],
    described: Mapping[str, Any],
    text: str,
    decoder: Decoder,
    *,
    is_exact: bool,
    inner: Sequence[Exception] = (),
) -> Exception:
    """Return an exception as it was raised over there, as nearly as it is known here.

    Args:
        kind: Its class.
        described: What the child says of it.
        text: What it says of itself.
        decoder: Reads its arguments and attributes.
        is_exact: False if *kind* is only a base of its class.
        inner: Of a group: what it is made of.
    """
    look()
    if is_exact and described.get("found") and (made := _of_pydantic(kind, described["found"], decoder)) is not None:
        return made
    base = next(base for base in kind.__mro__ if getattr(builtins, base.__name__, None) is base)
    try:
        given = decoder.decode(described.get("args"))
    except MalformedError:
        given = None
    args = (*map(shortened, given),) if type(given) is tuple else (text,)
    if issubclass(kind, SyntaxError) and not {*map(type, args)} <= _OF_SYNTAX:
        args = (text,)  # it goes through whatever stands where its place is to stand
    if issubclass(kind, BaseExceptionGroup):
        args = (shortened(str(described.get("message", ""))), [*inner])
    if not is_exact:
        # A class of the candidate's own: its name and its text are all that matters of it.
        kind = _speaking(kind, "candidate", visible(str(described.get("type"))[:100]), text)
    error = _made(kind, base, args, text)
    _complete(error, described.get("state") or {}, decoder)
    if is_exact and kind is not base and visible(text_of(error)) != text:
        # What it says, it says of something that has not come over.
        error = _made(_speaking(kind, kind.__module__, kind.__name__, text), base, args, text)
        _complete(error, described.get("state") or {}, decoder)
    return error


def _of_pydantic(kind: Any, found: Any, decoder: Decoder) -> Exception | None:
    """Return an error of validation, if *kind* is pydantic's: that is made of what was found, and of nothing else."""
    core: Any = sys.modules.get("pydantic_core")
    if core is None or kind is not core.ValidationError:
        return None
    title, lines = found
    details = []
    for what, place, text, *forms in lines[:_MOST_FOUND]:
        given, context = map(decoder.decode, forms)
        detail = {
            "type": what,
            "loc": decoder.decode(place),
            "input": given,
            **({"ctx": context} if type(context) is dict and context else {}),
        }
        try:
            kind.from_exception_data("", [detail])
        except Exception:  # a type of error of the program's own, or of another version
            detail["type"] = core.PydanticCustomError(visible(str(what)[:100]), visible(str(text)[:LONGEST_TEXT]))
        details.append(detail)
    made: Exception = kind.from_exception_data(visible(str(title)[:LONGEST_TEXT]), details)
    return made


def _speaking(kind: type[Exception], module: str, name: str, text: str) -> type[Exception]:
    """Return a class below *kind* whose instances say *text*."""
    # Whoever notes the classes below one of theirs is not to note those that a candidate speaks of.
    is_noted = type(kind) is not type or any("__init_subclass__" in vars(base) for base in kind.__mro__[:-1])
    if is_noted:
        kind = next(base for base in kind.__mro__ if getattr(builtins, base.__name__, None) is base)
    return type(name, (kind,), {"__module__": module, "__str__": lambda _: text})


def _made(kind: type[Exception], base: Any, args: tuple[Any, ...], text: str) -> Exception:
    for each in (kind, _speaking(base, "candidate", kind.__name__, text)):
        for values in (args, (text,)):
            try:
                # Python's own, past what its class makes of them.
                error: Exception = base.__new__(each, *values)
                base.__init__(error, *values)
            except Exception:  # it wants other arguments than it keeps  # noqa: S112
                continue
            if is_sound(error):
                return error
    return Exception.__new__(_speaking(Exception, "candidate", kind.__name__, text))


def _complete(error: Exception, state: Any, decoder: Decoder) -> None:
    """Give *error* its attributes, and its notes."""
    for name, form in state.items() if type(state) is dict else ():
        try:
            value = decoder.decode(form)
            if name == "__notes__":
                notes = [shortened(note) for note in value if type(note) is str] if type(value) is list else []
                # Not by `add_note`, which sets the attribute as the class wants it.
                fill(error, {name: notes} if notes else {})
            elif name[:2] != "__":
                fill(error, {name: shortened(value)}, keeps_methods=True)
        except (MalformedError, TypeError, AttributeError, ValueError):
            continue  # it has no room for that
    if isinstance(error, SyntaxError):
        # What shows exceptions calculates with these.
        for name in ("lineno", "offset", "end_lineno", "end_offset"):
            _keep(error, name, int)
        _keep(error, "text", str)


def _keep(error: SyntaxError, name: str, kind: type) -> None:
    """Leave *error* what it has under *name* only if that is of *kind*; past what its class does about that."""
    member: Any = SyntaxError.__dict__[name]
    if type(member.__get__(error)) is not kind:
        member.__set__(error, None)
