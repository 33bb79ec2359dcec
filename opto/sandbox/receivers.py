"""The object whose method a candidate is, as the candidate sees it: plain attributes, and the methods that it uses."""

import ast
import inspect
import weakref
from collections.abc import Callable, Iterable, Sequence
from types import FunctionType
from typing import Any, NamedTuple, Protocol

from opto.errors import SandboxTransferError
from opto.sandbox.child.codec import CannotCrossError, in_words
from opto.sandbox.child.graphs import Writing, state_of
from opto.sandbox.names import Attributes, Names, merged, names_in
from opto.sandbox.rewritten import Owned, Rewritten
from opto.sandbox.values import Values
from opto.sandbox.written import PROPERTIES, classes_of, depth_of, is_of_library, mangled, members_of, plain_members_of
from opto.splice import indent

__all__ = ["Receivers", "is_own", "refusal"]

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
    owner: type | None
    entries: list[dict[str, Any]]
    keys: dict[Any, str]
    values: Values

    def adapt(self, value: Any, /) -> Any: ...
    def is_host(self, path: str, /) -> bool: ...
    def method(self, value: FunctionType, space: str, *, kept: int | None, text: str | None) -> str: ...


class _Seen(NamedTuple):
    """A class as a candidate sees it.

    Attributes:
        key: Of the class.
        used: The attributes that are used; None if that cannot be told.
        missing: Methods that cannot enter, in words.
        owner: Returns the object whose methods were looked at.
    """

    key: str
    used: Attributes | None
    missing: dict[str, str]
    owner: Callable[[], Any]


def refusal(problem: str, *paths: str) -> SandboxTransferError:
    """Return the error for something that the candidate finds by *paths*, and that can be called outside."""
    mend = f"Offer what it calls there with Sandbox(hosts={[*paths]}), or use isolation='none'."
    return SandboxTransferError(problem, mend=mend)


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
        form = self._written(receiver, self._scope.names.attributes, "self", writing)
        try:
            return writing.whole(form)
        except CannotCrossError:  # in an object that several attributes may lead to
            for name, value in state_of(receiver).items():
                if name in form["!self"][1]:
                    self._look_at(value, f"self.{name}", (self._scope.names.attributes or {}).get(name))
            raise

    def _look_at(self, value: Any, path: str, used: frozenset[str] | None) -> None:
        """Refuse *value* if it cannot enter."""
        try:
            self._scope.values.form(value)
        except CannotCrossError as error:
            raise self._refusal(path, error.what, used) from None

    def _refusal(self, path: str, what: str, used: frozenset[str] | None) -> SandboxTransferError:
        paths = [f"{path}.{name}" for name in sorted(used)] if used else [path]
        return refusal(f"{self._scope.name}() uses {path}, {what}, which cannot enter the sandbox.", *paths)

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
        missing = dict(seen.missing)
        for name in {**plain, **state} if seen.used is None else seen.used:
            if scope.is_host(f"{path}.{name}") or (name not in state and name not in plain):
                continue
            value = state[name] if name in state else plain[name]
            try:
                if seen.used is None:
                    forms[name] = scope.values.form(value)  # by itself: the others may enter if it cannot
                else:
                    forms[name] = self._attribute(value, seen.used.get(name), f"{path}.{name}", writing)
            except CannotCrossError as error:
                if seen.used is not None:
                    raise self._refusal(f"{path}.{name}", error.what, seen.used.get(name)) from None
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
        """Add classes with the methods of *receiver* that are used."""
        kind, scope = type(receiver), self._scope
        methods = _Methods(scope, kind, receiver, path)
        methods.want(wanted)
        owner = scope.owner if path == "self" and scope.owner in kind.__mro__ else None
        if owner is not None:
            methods.want_above(owner, scope.names.above)
        members = self._members(kind) if wanted is None or methods.needs_class else ([], {})
        key, keys = self._add(kind, methods, owner, members)
        for base in methods.chain:
            if (known := scope.keys.get(base)) is not None:  # the candidate speaks of it
                scope.entries.append({"do": "stands", "key": key, "for": known})
                break
        if owner is not None:
            how = PROPERTIES.get(type(vars(owner).get(scope.name)))
            scope.entries.append({"do": "main", "key": key, "owner": keys[owner], "how": how})
        return _Seen(key, None if wanted is None else methods.used, methods.missing, _weakly(receiver))

    def _add(
        self, kind: type, methods: "_Methods", owner: type | None, members: tuple[list[str], dict[str, Any]]
    ) -> tuple[str, dict[type, str]]:
        """Add the classes that *kind* is made of, as far as there is something in them; return their keys."""
        key, keys = "", {}
        for base in reversed(methods.chain):
            texts, (more, free) = methods.texts.get(base, []), members if base is kind else ([], {})
            if texts or base in {kind, owner}:
                above, key = key, f"{base.__module__}.{base.__qualname__}, seen {len(self._scope.entries)}"
                keys[base] = key
                entry = _class_of(base, [*more, *texts], above)
                self._scope.entries.append({**entry, "free": {**entry["free"], **free}, "key": key})
        return key, keys

    def whole(self, kind: type) -> dict[str, Any]:
        """Return how a class is made of all of its methods and its plain members."""
        methods = _Methods(self._scope, kind, None, "")
        methods.want(None)
        self._add(kind, methods, None, self._members(kind))
        return self._scope.entries.pop()

    def _members(self, kind: type) -> tuple[list[str], dict[str, Any]]:
        """Return how the plain members of a class are written, and what that speaks of."""
        free: dict[str, Any] = {}
        texts = []
        for name, value in plain_members_of(kind).items():
            try:
                form = self._scope.values.form(value)
            except CannotCrossError:
                continue
            texts.append(f"{name} = member{len(free)}_\n")
            free[f"member{len(free)}_"] = {"do": "value", "value": form}
        return texts, free


class _Methods:
    """Those methods of an object that are used, and what they use of it.

    Attributes:
        chain: The classes that are looked at, in the order of resolution.
        texts: The texts of methods, by class.
        missing: Those that cannot enter and may not be needed, in words.
        needs_class: True if some of them may look at the class itself.
    """

    def __init__(self, scope: _Scope, kind: type, receiver: Any, path: str) -> None:
        self._scope, self._kind, self._receiver, self._path = scope, kind, receiver, path
        self.chain = classes_of(kind)
        self.texts: dict[type, list[str]] = {}
        self.missing: dict[str, str] = {}
        self._seen: set[tuple[type, str]] = set()
        self._used: list[Attributes] = []
        self._is_all, self.needs_class = False, False

    @property
    def used(self) -> Attributes | None:
        """The attributes that are used; None if that cannot be told."""
        return None if self._is_all else merged(self._used)

    def want(self, attributes: Attributes | None) -> None:
        """Add the methods among *attributes*, and those that they use; if it is None, those that can enter."""
        if attributes is None:
            self._is_all = True
        given = dict.fromkeys(members_of(self._kind)) if attributes is None else attributes
        spelt = {name: inner for key, inner in given.items() for name in mangled(key, self._kind)}
        self._used.append(spelt)
        self.needs_class = self.needs_class or "__class__" in spelt
        for name in spelt:
            if not self._scope.is_host(f"{self._path}.{name}"):
                self._want(name, self.chain, is_needed=attributes is not None)

    def want_above(self, kind: type, names: Iterable[str] | None) -> None:
        """Add the methods *names*, or any if it is None, of the classes behind *kind*."""
        above = self.chain[self.chain.index(kind) + 1 :]
        for name in dict.fromkeys(name for base in above for name in vars(base)) if names is None else names:
            self._want(name, above, is_needed=names is not None)

    def _want(self, name: str, among: Sequence[type], *, is_needed: bool) -> None:
        base = next((base for base in among if name in vars(base)), None)
        if base is None or (base, name) in self._seen or name in _UNUSED:
            return
        self._seen.add((base, name))
        if self._path == "self" and (base, name) == (self._scope.owner, self._scope.name):
            return  # the candidate takes this place itself
        try:
            text = self._text(base, name)
        except SandboxTransferError as error:
            if is_needed:
                raise refusal(error.problem, f"{self._path}.{name}") from None
            self.missing[name] = f"a method that stays outside ({error.problem.rstrip('.')})"
            return
        if text is None:
            return
        self.texts.setdefault(base, []).append(text)
        self.needs_class = self.needs_class or isinstance(vars(base)[name], classmethod)
        names = names_in(ast.parse(text))
        self.want(names.attributes)
        self.want_above(base, names.above)

    def _text(self, kind: type, name: str) -> str | None:
        """Return how the method *name* of a class is written; None if it is none."""
        member = vars(kind)[name]
        how = PROPERTIES.get(type(member))
        given = member.fget if how == "property" else member.__func__ if how else member
        function, text = self._scope.adapt(Owned(given, self._receiver)), None
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


def _class_of(kind: type, texts: list[str], above: str) -> dict[str, Any]:
    body = indent("\n".join(texts) or "pass\n", "    ")
    return {
        "do": "source",
        "source": f"class {kind.__name__}({'__Above__' if above else '__Self__'}):\n{body}\n",
        "file": f"<methods of {kind.__name__}>",
        "line": 0,
        "name": kind.__name__,
        "free": {"__Above__": {"do": "known", "key": above}} if above else {},
        "owner": None,
        "space": kind.__module__,
    }


def is_own(kind: type, adapt: Callable[[Any], Any]) -> bool:
    """True if a class cannot be made of its source, because something in it is wrapped by what stays outside."""
    if issubclass(kind, BaseException):
        return False
    if any(map(is_of_library, kind.__mro__)):
        return True
    for member in vars(kind).values():
        function = getattr(member, "fget", None) or getattr(member, "__func__", None) or member
        if callable(function) and adapt(function) is not function:
            return True
    return False
