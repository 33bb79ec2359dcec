"""The object whose method a candidate is, as the candidate sees it: plain attributes, and the methods that it uses."""

import ast
import inspect
import weakref
from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple, Protocol

from opto.errors import SandboxTransferError
from opto.sandbox.child.codec import CannotCrossError, in_words
from opto.sandbox.child.graphs import Writing, state_of
from opto.sandbox.names import Attributes, Names, merged, names_in
from opto.sandbox.rewritten import Owned, Rewritten
from opto.sandbox.values import Values
from opto.sandbox.written import PROPERTIES, depth_of, mangled, members_of, plain_members_of
from opto.splice import indent

__all__ = ["Receivers", "is_own"]

#: Special methods that a class here has no use for, or that would get in the way of making one.
_UNUSED = frozenset(
    f"__{name}__"
    for name in (
        *("init", "new", "del", "init_subclass", "class_getitem", "set_name", "copy", "deepcopy"),
        *("getattribute", "getattr", "setattr", "delattr", "reduce", "reduce_ex", "getstate", "setstate"),
    )
)


class _Scope(Protocol):
    """What the rest of a scope does for this part."""

    name: str
    names: Names
    entries: list[dict[str, Any]]
    values: Values

    def adapt(self, value: Any, /) -> Any: ...
    def is_host(self, path: str, /) -> bool: ...
    def method(self, value: FunctionType, space: str, *, kept: int | None, text: str | None) -> str: ...


class _Seen(NamedTuple):
    """A class as a candidate sees it.

    Attributes:
        key: Of the class.
        used: The attributes that are used; None if that cannot be told.
        owner: Returns the object whose methods were looked at.
    """

    key: str
    used: Attributes | None
    owner: Callable[[], Any]


class Receivers:
    """What stands for objects by their attributes and methods, and not by the source of their class.

    Args:
        scope: That they belong to.
    """

    def __init__(self, scope: _Scope) -> None:
        self._scope = scope
        self._seen: dict[Any, _Seen] = {}

    def form(self, receiver: Any) -> Any:
        """Return the form of the object whose method the candidate is.

        Raises:
            CannotCrossError: It has none.
            SandboxTransferError: The candidate uses an attribute that is no plain data.
        """
        kind, scope = type(receiver), self._scope
        if not hasattr(receiver, "__dict__") or hasattr(kind, "__dataclass_fields__"):
            try:
                return scope.values.form(receiver)
            except CannotCrossError:
                if not state_of(receiver):
                    raise
        writing = scope.values.writing()
        return writing.whole(self._written(receiver, self._scope.names.attributes, "self", writing))

    def _written(self, receiver: Any, wanted: Attributes | None, path: str, writing: Writing) -> Any:
        """Return the form of an object by what is used of it."""
        kind, scope = type(receiver), self._scope
        key = (kind, path, None if wanted is None else frozenset(wanted.items()))
        seen = self._seen.get(key)
        # The texts of the first object's methods are watched from without; those of objects in it as long as they stay.
        if seen is None or (path != "self" and seen.owner() is not receiver):
            seen = self._seen[key] = self._see(receiver, wanted, path)
        state, plain = state_of(receiver), plain_members_of(kind)
        forms: dict[str, Any] = {}
        missing: dict[str, str] = {}
        for name in {**plain, **state} if seen.used is None else seen.used:
            if scope.is_host(f"{path}.{name}") or (name not in state and name not in plain):
                continue
            inner = None if seen.used is None else seen.used.get(name)
            try:
                forms[name] = self._attribute(
                    state[name] if name in state else plain[name], inner, f"{path}.{name}", writing
                )
            except CannotCrossError as error:
                if seen.used is not None:
                    raise SandboxTransferError(
                        f"{scope.name}() uses {path}.{name}, {error.what}, which cannot enter the sandbox.",
                        mend=f"Offer what it calls there with Sandbox(hosts=['{path}.{name}']), "
                        "or use isolation='none'.",
                    ) from None
                missing[name] = error.what
        return {"!self": [seen.key, forms, missing, path]}

    def _attribute(self, value: Any, used: frozenset[str] | None, path: str, writing: Writing) -> Any:
        """Return the form of what goes by *path*, of which the attributes *used* are used."""
        if used is None or not is_own(type(value), self._scope.adapt) or self._scope.adapt(value) is not value:
            return writing.encoder.encode(value)
        if path.count(".") > _DEEPEST:
            raise CannotCrossError(f"{in_words(type(value))} that is in itself")
        return self._written(value, dict.fromkeys(used), path, writing)

    def _see(self, receiver: Any, wanted: Attributes | None, path: str) -> _Seen:
        """Add a class with the methods of *receiver* that are used."""
        kind, but = type(receiver), self._scope.name if path == "self" else None
        all_of_it = dict.fromkeys(members_of(kind))
        texts, used = self._methods(kind, all_of_it if wanted is None else wanted, path, receiver, but=but)
        key = f"{path}:{kind.__qualname__}.{len(self._scope.entries)}"
        self._scope.entries.append({**_class_of(kind, texts), "key": key})
        return _Seen(key, None if wanted is None else used, _weakly(receiver))

    def whole(self, kind: type) -> dict[str, Any]:
        """Return how a class is made of all of its methods and its plain members."""
        texts, _ = self._methods(kind, dict.fromkeys(members_of(kind)), "", None, but=None)
        free: dict[str, Any] = {}
        for name, value in plain_members_of(kind).items():
            try:
                free[f"_{name}"] = {"do": "value", "value": self._scope.values.form(value)}
            except CannotCrossError:
                continue
            texts.append(f"{name} = _{name}")
        return {**_class_of(kind, texts), "free": free}

    def _methods(
        self, kind: type, wanted: Attributes, path: str, owner: Any, *, but: str | None
    ) -> tuple[list[str], Attributes | None]:
        """Return the texts of the methods among *wanted* and of those that they use, and all attributes used."""
        waiting, texts, seen = [wanted], [], set()
        used: list[Attributes] = []
        is_all = False
        while waiting:
            names = waiting.pop()
            spelt = {name: inner for given, inner in names.items() for name in mangled(given, kind)}
            used.append(spelt)
            for name in spelt:
                if name in seen or name == but or self._scope.is_host(f"{path}.{name}"):
                    continue
                seen.add(name)
                text = self._method(kind, name, owner)
                if text is None:
                    continue
                texts.append(text)
                more = names_in(ast.parse(text)).attributes
                is_all = is_all or more is None
                waiting.append(dict.fromkeys(members_of(kind)) if more is None else more)
        return texts, None if is_all else merged(used)

    def _method(self, kind: type, name: str, owner: Any) -> str | None:
        """Return how the method *name* of a class is written; None if it is none, or one that is of no use."""
        member = members_of(kind).get(name)
        if member is None or name in _UNUSED:
            return None
        how = PROPERTIES.get(type(member))
        given = member.fget if how == "property" else member.__func__ if how else member
        function, text = self._scope.adapt(Owned(given, owner)), None
        if isinstance(function, Owned):  # of which nobody knows more
            function = self._scope.adapt(given)
        if isinstance(function, Rewritten):
            function, text = function
        if not isinstance(function, FunctionType):
            return None
        inner = inspect.unwrap(function)
        kept = None if function is given else depth_of(function)
        made = self._scope.method(inner, kind.__module__, kept=kept, text=text)
        return (f"@{how}\n" if how and kept is not None else "") + made


_DEEPEST = 8


def _weakly(value: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: None


def _class_of(kind: type, texts: list[str]) -> dict[str, Any]:
    body = indent("\n".join(texts) or "pass", "    ")
    return {
        "do": "source",
        "source": f"class {kind.__name__}(__Self__):\n{body}\n",
        "file": f"<methods of {kind.__name__}>",
        "line": 0,
        "name": kind.__name__,
        "free": {},
        "owner": None,
        "space": kind.__module__,
    }


def is_own(kind: type, adapt: Callable[[Any], Any]) -> bool:
    """True if a class cannot be made of its source, because something in it is wrapped by what stays outside."""
    if issubclass(kind, BaseException):
        return False
    if any(base.__module__.partition(".")[0] == __name__.partition(".")[0] for base in kind.__mro__):
        return True
    for member in vars(kind).values():
        function = getattr(member, "fget", None) or getattr(member, "__func__", None) or member
        if callable(function) and adapt(function) is not function:
            return True
    return False
