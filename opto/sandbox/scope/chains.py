"""The classes of an object, as a candidate sees them: in the order of the user's, with what is used of them."""

import ast
import builtins
import inspect
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType
from typing import Any, NamedTuple

from opto.errors import SandboxTransferError
from opto.sandbox.child.codec import CannotCrossError
from opto.sandbox.child.words import mangled
from opto.sandbox.program.rewritten import Owned, Rewritten
from opto.sandbox.program.uses import Attributes, Uses, first_argument, merged, uses_in
from opto.sandbox.program.written import closure_of, function_in, is_installed, made_by, wrappings
from opto.sandbox.scope.advice import advised
from opto.sandbox.scope.sources import Sources

__all__ = ["Chain", "Needs", "weakly"]

_Entry = dict[str, Any]
_Values = Mapping[str, Any]

#: Of a class, what stays outside: how objects are made, found and kept, and what Python notes of the class itself.
_NEVER = frozenset(
    f"__{name}__"
    for name in (
        *("new", "del", "init_subclass", "class_getitem", "set_name", "copy", "deepcopy", "dict", "weakref"),
        *("getattr", "getattribute", "setattr", "delattr", "reduce", "reduce_ex", "getstate", "setstate"),
        *("module", "qualname", "slots", "annotations", "annotate", "annotate_func", "annotations_cache"),
        *("type_params", "orig_bases", "parameters", "abstractmethods", "firstlineno", "static_attributes"),
        *("dataclass_fields", "dataclass_params", "match_args"),
    )
)
#: What is needed only where instances are made.
_MAKING = frozenset({"__init__", "__post_init__"})


class _Placed(NamedTuple):
    """A part of a class, as it stands in the child.

    Attributes:
        speaks: What its text uses of the object: one item for each function in it.
        problem: Why it stays outside.
    """

    speaks: tuple[Uses, ...] = ()
    problem: SandboxTransferError | None = None


class Needs(NamedTuple):
    """What a candidate needs of the instances of a class.

    Attributes:
        names: The attributes that it certainly looks up.
        asked: Those among them that no class of the user's defines.
        is_whole: True if it may look up any attribute.
    """

    names: Attributes
    asked: frozenset[str]
    is_whole: bool


class Chain:
    """Classes that stand for those of the user's.

    Attributes:
        path: What the candidate calls the object.
        is_named: True if texts that speak of one of the classes mean the one that stands for it here.

    Args:
        sources: What they become a part of.
        path: As above.
        is_named: As above.
    """

    def __init__(self, sources: Sources, path: str, *, is_named: bool) -> None:
        self.path, self.is_named = path, is_named
        self._sources = sources
        self._keys: dict[type, str] = {}
        self._placed: dict[tuple[type, str], _Placed] = {}
        self._whole: set[type] = set()
        self._packages: set[str] = set()
        self._object = weakly(None)
        self._is_asking = not is_named

    def look_at(self, kind: type, receiver: Any) -> None:
        """Have methods the texts that *receiver* has for them, and count the package of *kind* among the user's."""
        self._packages.add(_package(kind))
        self._object = weakly(receiver)

    def leave_out(self, base: type, name: str) -> None:
        """Take note that the child itself puts what *base* has under *name* in its place."""
        self._placed[base, name] = _Placed()

    def complete(self, kind: type) -> None:
        """Bring all of *kind*, if it is one of the classes here: another instance of it is used, or it makes one."""
        if kind in self._keys and kind not in self._whole:
            self._whole.add(kind)
            self.reach(kind, {}, [(kind, Uses(is_whole=True, makes=True), False)])

    def put_hosts(self, kind: type) -> None:
        """Put what is called outside into the class that stands for *kind*."""
        start = f"{self.path}."
        for path in self._sources.hosts:
            if path.startswith(start):
                name = path[len(start) :].partition(".")[0]
                self._put(kind, name, {"do": "host", "key": start + name})

    def reach(self, kind: type, state: _Values, waiting: list[tuple[type | None, Uses, bool]]) -> Needs:
        """Put what is used into the classes of *kind*, and what that uses.

        Args:
            kind: The class of the object.
            state: What the object itself has.
            waiting: Texts: the class around each, what it uses, and True if that is certainly looked up.
        """
        names: Attributes = {}
        asked: set[str] = set()
        seen: dict[tuple[type, str], bool] = {}
        is_whole = False
        while waiting:
            around, uses, is_certain = waiting.pop()
            is_whole |= uses.is_whole or "__dict__" in uses.own
            if is_certain:
                names = merged((names, {_mangled(name, around): inner for name, inner in uses.own.items()}))
            for base, name, is_needed in self._found(kind, around, uses, is_certain):
                if base is None:
                    asked.add(name)
                    continue
                must = is_needed and name not in state and not self._is_host(name)
                if (base, name) not in seen or (must and not seen[base, name]):
                    seen[base, name] = must
                    waiting += [(base, used, must) for used in self._place(base, name, is_needed=must).speaks]
        return Needs(names, frozenset(asked), is_whole)

    def _found(
        self, kind: type, around: type | None, uses: Uses, is_certain: bool
    ) -> Iterator[tuple[type | None, str, bool]]:
        """Yield where each attribute is found: class, name, and whether it must be. No class: in none of the user's."""
        order = kind.__mro__
        for name in uses.own:
            spelt = _mangled(name, around)
            found = _first(order, spelt)
            if found is None or not _is_builtin(found):
                yield None if found is None or self.is_outside(found) else found, spelt, is_certain
        after = [(start or around, name) for start, name in uses.above]
        beyond = [(order[order.index(start) + 1 :], name) for start, name in after if start in order]
        for bases, name in (*beyond, *((base.__mro__, name) for base, name in uses.of)):
            spelt = _mangled(name, around)
            found = _first(bases, spelt)
            if found is not None and not _is_builtin(found):
                yield found, spelt, is_certain
        for base in order:
            if not self.is_outside(base):
                names = [name for name in vars(base) if (uses.makes if name in _MAKING else uses.is_whole)]
                yield from ((base, name, False) for name in names)

    def _place(self, base: type, name: str, *, is_needed: bool) -> _Placed:
        """Put what *base* has under *name* into the class that stands for it.

        Raises:
            SandboxTransferError: It is needed, and cannot enter.
        """
        placed = self._placed.get((base, name))
        if placed is None:
            self._placed[base, name] = _Placed()  # before: methods may call each other
            entries = self._sources.entries
            count = len(entries)
            # Whoever asks an object for code of its own, owns up to running it.
            self._is_asking = made_by(vars(base)[name]) is None and (is_needed or not self.is_named)
            try:
                placed = self._brought(base, name)
            except SandboxTransferError as problem:
                placed = _Placed(problem=problem)
                self._put(base, name, {"do": "outside", "why": problem.problem})
            if not is_needed:
                for entry in entries[count:]:
                    entry["is_optional"] = True
            self._placed[base, name] = placed
        if placed.problem is not None and is_needed:
            raise advised(placed.problem, f"{self.path}.{name}")
        return placed

    def _brought(self, base: type, name: str) -> _Placed:
        member = vars(base)[name]
        if self.is_outside(base):
            raise SandboxTransferError(
                f"{self._sources.name}() uses {base.__name__}.{name}, which stays outside with the package "
                f"{_package(base)}.",
                mend="Do without it, or use isolation='none'.",
            )
        if _is_of_dataclass(base, member):
            return _Placed((Uses(own=dict.fromkeys(vars(base)["__dataclass_fields__"])),))
        if name in _NEVER or isinstance(member, MemberDescriptorType | GetSetDescriptorType):
            return _Placed()
        how = made_by(member)
        if how == "property":
            parts = {"get": member.fget, "set": member.fset, "delete": member.fdel}
            made = {part: function and self._function(base, function, "") for part, function in parts.items()}
            self._put(base, name, {"do": "property", **{part: item and item[0] for part, item in made.items()}})
            return _Placed(tuple(item[1] for item in made.values() if item))
        inside = function_in(member) if how else member
        if not isinstance(inspect.unwrap(self._adapted(inside)), FunctionType):
            called = f"{self.path}.{name}"
            entry = self._sources.entry(called, self._adapted(member), base.__module__, what=self._sources.name)
            self._put(base, name, entry)
            return _Placed()
        entry, uses = self._function(base, inside, how)
        self._put(base, name, entry)
        self._sources.data.hold_method(base, name, self.class_for(base))
        return _Placed((uses,))

    def _adapted(self, value: Any) -> Any:
        value = self._shown(value)
        return value.function if isinstance(value, Rewritten) else value

    def _shown(self, value: Any) -> Any:
        shown = self._sources.adapt(Owned(value, self._object())) if self._is_asking else value
        # What knows nothing of objects gives it back.
        return self._sources.adapt(value) if isinstance(shown, Owned) or shown is value else shown

    def _function(self, base: type, given: Any, how: str | None) -> tuple[_Entry, Uses]:
        """Return how a function in the body of *base* is made, and what it uses.

        Args:
            base: The class.
            given: What stands there.
            how: What makes more than a function of it; an empty text if that is done elsewhere.
        """
        function, text = self._shown(given), None
        if isinstance(function, Rewritten):
            function, text = function
        inner: FunctionType = inspect.unwrap(function)
        depth = wrappings(function)
        # Which of its decorators made what is around it cannot be told, unless all above were unwrapped.
        kept = None if function is given and depth and how != "" else depth
        free = {name: value for name, value in closure_of(inner).items() if name != "__class__"}
        entry: _Entry = self._sources.source(inner, free, base.__module__, kept=kept, text=text)
        entry["class"], entry["owner"] = self.class_for(base), base.__name__
        entry["holds"] = function is not given
        entry["how"] = None if kept is None else how or None
        receiver = None if how == "staticmethod" else first_argument(ast.parse(entry["source"]), inner.__name__)
        values = {**inner.__globals__, **free}
        return entry, uses_in(ast.parse(entry["source"]), receiver, self.class_named(values.get))

    def class_named(self, look_up: Callable[[str], Any]) -> Callable[[str], type | None]:
        def named(name: str) -> type | None:
            value = look_up(name)
            return value if isinstance(value, type) and value in self._keys else None

        return named

    def _put(self, base: type, name: str, entry: _Entry) -> None:
        """Make *entry* what the class that stands for *base* has under *name*."""
        key = self.class_for(base)
        entry = {**entry, "member": name, "put": key}
        self._sources.entries.append(entry)
        self._sources.data.watch((key, name), vars(base), entry)

    def class_for(self, kind: type) -> str:
        """Return the key of the class that stands for *kind*."""
        if _is_builtin(kind):
            return kind.__name__
        if kind in self._keys:
            return self._keys[kind]
        bases = [self.class_for(base) for base in kind.__bases__]
        key = self._keys[kind] = f"{self.path}:{kind.__qualname__}.{len(self._sources.entries)}"
        entry = {
            "do": "class",
            "name": kind.__name__,
            "qualname": kind.__qualname__,
            "bases": bases,
            "fields": None if self.is_outside(kind) else self._fields(kind),
            "space": kind.__module__,
        }
        self._sources.learn(kind, key, entry, is_named=self.is_named and not self.is_outside(kind))
        return key

    def _fields(self, kind: type) -> Any:
        """Return what a dataclass is made with: its options, and its fields with their settings."""
        options = vars(kind).get("__dataclass_params__")
        if options is None:
            return None
        fields = []
        for name, field in vars(kind)["__dataclass_fields__"].items():
            if getattr(field._field_type, "name", "_FIELD") != "_FIELD":  # noqa: SLF001 - nothing else tells
                continue
            settings = {part: getattr(field, part) for part in ("init", "repr", "compare", "hash", "kw_only")}
            for part in ("default", "default_factory"):
                value = getattr(field, part)
                if type(value).__name__ != "_MISSING_TYPE":
                    settings[part] = self._sources.adapt(value)
            fields.append([name, self._settings(settings)])
        names = ("init", "repr", "eq", "order", "unsafe_hash", "frozen")
        return [{name: getattr(options, name) for name in names}, fields]

    def _settings(self, settings: dict[str, Any]) -> Any:
        try:
            return self._sources.values.form(settings)
        except CannotCrossError:
            del settings["default" if "default" in settings else "default_factory"]
            return self._sources.values.form({**settings, "default": None})

    def _is_host(self, name: str) -> bool:
        return self._sources.is_host(f"{self.path}.{name}")

    def is_outside(self, kind: type) -> bool:
        """True if *kind* is of an installed package, or of this one; unless the candidate itself is."""
        package = _package(kind)
        if package == "builtins":  # which a program that has no name calls its own classes, too
            return _is_builtin(kind)
        return package not in self._packages and is_installed(sys.modules.get(package))


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _is_builtin(kind: type) -> bool:
    return vars(builtins).get(kind.__name__) is kind


def _mangled(name: str, around: type | None) -> str:
    return name if around is None else mangled(name, around.__name__)


def _first(order: tuple[type, ...], name: str) -> type | None:
    return next((base for base in order if name in vars(base)), None)


def _is_of_dataclass(kind: type, member: Any) -> bool:
    """True for a method that `dataclass` has made, as it does there."""
    code = getattr(inspect.unwrap(member) if callable(member) else member, "__code__", None)
    return "__dataclass_params__" in vars(kind) and getattr(code, "co_filename", "") == "<string>"


def weakly(value: Any) -> Callable[[], Any]:
    """Return what returns *value* as long as others hold it."""
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: None
