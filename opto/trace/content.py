"""What identifies functions and values: bytes that are equal for equal content, in every process."""

import copyreg
import enum
import os
import sys
from collections.abc import Callable, Iterator
from copy import Error as CopyError
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any

from opto.errors import ModuleError
from opto.nodes import Node
from opto.trace.source import closure_values

__all__ = ["Content", "NotContentError", "uncopyable"]


def uncopyable() -> tuple[type[Exception], ...]:
    """Return what objects raise that were not made to be copied: locks a TypeError, others what they like."""
    import pickle  # noqa: PLC0415 - only where something fails, or is pickled anyway

    return (TypeError, ValueError, AttributeError, RuntimeError, OSError, CopyError, pickle.PickleError, ModuleError)


class NotContentError(Exception):
    """A value whose content cannot be told, such as a lock."""


class Content:
    """One walk over a function and values.

    A function is its code, and all data, functions and classes of the program that it can reach by name. Installed
    modules are known by their names only.

    Attributes:
        nodes: The nodes that were met, in order. Two walks that gave equal content met them in the same places.

    Example:
        >>> Content().of([1, {"a": 2.0}]) == Content().of([1, {"a": 2.0}])
        True
        >>> Content().of(1) == Content().of(True)
        False
    """

    def __init__(self) -> None:
        self.nodes: list[Node[Any]] = []
        # With the objects, because ids of temporary ones would be free for the next.
        self._seen: dict[int, Any] = {}

    def of(self, value: Any) -> bytes:
        """Return the content of *value*; that of a node is its value.

        Raises:
            NotContentError: It cannot be told.
        """
        kind = type(value)
        if value is None or kind in _PLAIN:
            text = f"{value:x}" if kind is int else repr(value)  # in decimal, long ones cannot be written
            return f"{kind.__name__}:{text}".encode("utf-8", "surrogatepass")
        if kind in _ITEMS:
            return kind.__name__.encode() + _joined([self.of(item) for item in _ITEMS[kind](value)])
        if kind is set or kind is frozenset:
            # Each item by a walk of its own: what was met before must not depend on their order.
            return kind.__name__.encode() + _joined(sorted(Content().of(item) for item in value))
        if isinstance(value, Node):
            self.nodes.append(value)
            return self.of(value._data)  # noqa: SLF001 - a comparison, no read of the program
        if callable(value) and not hasattr(kind, "__memo__"):
            return self._of_callable(value)
        return self._of_object(value)

    def _of_callable(self, function: Any) -> bytes:
        if isinstance(function, type):
            return self._of_class(function)
        if isinstance(function, FunctionType):
            return self._of_function(function)
        if isinstance(function, MethodType):
            return _joined([self.of(function.__func__), self.of(function.__self__)])
        if isinstance(function, BuiltinFunctionType) and not isinstance(function.__self__, ModuleType | None):
            return _joined([function.__name__.encode(), self.of(function.__self__)])
        if hasattr(function, "__wrapped__"):  # a bundled function, or what `functools` makes of one
            return _joined(
                [self.of(getattr(function, name, None)) for name in ("__wrapped__", "parameter", "__self__")]
            )
        if hasattr(function, "__qualname__"):
            return _path(function)  # a builtin is what its name says
        return self._of_object(function)

    def _of_class(self, kind: type) -> bytes:
        if _is_library(kind.__module__) or id(kind) in self._seen:
            return _path(kind)
        self._seen[id(kind)] = kind
        parts = [_path(kind), *(self._of_class(base) for base in (type(kind), *kind.__bases__))]
        if issubclass(kind, enum.Enum):
            parts += [self.of({name: item._value_ for name, item in kind.__members__.items()})]
        for name, member in list(vars(kind).items()):
            inner = getattr(member, "__func__", member)
            accessors = [getattr(member, key) for key in ("fget", "fset", "fdel", "func") if hasattr(member, key)]
            if isinstance(inner, FunctionType) or (name[:2] != "__" and accessors):
                parts += [name.encode(), *map(self.of, accessors or [inner])]
            elif not _is_machinery(kind, name, inner):
                parts += [name.encode(), self.of(inner)]
        return _joined(parts)

    def _of_function(self, function: FunctionType) -> bytes:
        closure = closure_values(function)
        home = sys.modules.get(function.__globals__.get("__name__", ""))
        # Functions that `exec` made may bear the name of a module that they are no part of.
        if home is not None and vars(home) is function.__globals__ and _is_library(home.__name__):
            if _is_library(function.__module__) or not closure:
                return _path(function)
            reachable = closure  # the wrapper that a library puts around a function of the program
        else:
            names = _names(function.__code__)
            reachable = {name: function.__globals__[name] for name in names if name in function.__globals__} | closure
        if id(function) in self._seen:
            return _path(function)
        self._seen[id(function)] = function
        parts = [_path(function), *self._code_parts(function.__code__)]
        parts += [self.of(function.__defaults__), self.of(function.__kwdefaults__)]
        for name, value in reachable.items():
            parts += [name.encode(), self._of_reachable(value, function.__code__)]
        return _joined(parts)

    def _of_reachable(self, value: Any, code: CodeType) -> bytes:
        """Return the content of *value*; of a module, that of what *code* names in it."""
        if not isinstance(value, ModuleType):
            return self.of(value)
        if _is_library(value.__name__):
            return value.__name__.encode()
        used = [(name, vars(value)[name]) for name in _names(code) if name in vars(value)]
        return _joined([part for name, item in used for part in (name.encode(), self._of_reachable(item, code))])

    def _code_parts(self, code: CodeType) -> Iterator[bytes]:
        yield code.co_code
        yield code.co_exceptiontable
        yield repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_flags)).encode()
        for constant in code.co_consts:
            yield self.of(constant)

    def _of_object(self, value: Any) -> bytes:
        kind = type(value)
        if isinstance(value, ModuleType):
            return value.__name__.encode()
        if isinstance(value, CodeType):
            return _joined(list(self._code_parts(value)))
        if isinstance(value, enum.Enum):
            return _joined([self._of_class(kind), value._name_.encode(), self.of(value._value_)])
        if hasattr(value, "dtype") and hasattr(value, "tobytes"):
            if getattr(value.dtype, "hasobject", True):
                raise NotContentError(kind.__name__)
            return _joined([_path(kind), f"{value.dtype}{value.shape}".encode(), bytes(value.tobytes())])
        if hasattr(kind, "__memo__"):
            return _joined([_path(kind), self.of(value.__memo__())])
        if _path(kind) == b"logging.Logger":  # full of locks, and no part of what is computed
            return f"logging.Logger:{value.name}".encode()
        # A class of a library that says what it is to `pickle` may keep more in its attributes, such as what it has
        # worked out so far.
        says = _is_library(kind.__module__) and any("__reduce__" in vars(base) for base in kind.__mro__[:-1])
        parts = [self._of_class(kind), b"" if says else self._attributes(value)]
        if says or _hides(kind):
            # What is written in C tells what it is to `pickle`.
            try:
                reduced = (copyreg.dispatch_table.get(kind) or _reduce)(value)
                parts += [reduced.encode()] if isinstance(reduced, str) else map(self.of, map(_listed, reduced))
            except uncopyable():
                raise NotContentError(kind.__name__) from None
        return _joined(parts)

    def _attributes(self, value: Any) -> bytes:
        names: list[str] = [name for name in copyreg._slotnames(type(value)) if hasattr(value, name)]  # type: ignore[attr-defined]  # noqa: SLF001 - as `pickle` does
        attributes = {**{name: getattr(value, name) for name in names}, **getattr(value, "__dict__", {})}
        if not names and not hasattr(value, "__dict__") and not _hides(type(value)):
            raise NotContentError(type(value).__name__)  # an `object()`, which is itself and nothing else
        # The code that an instance owns, by definition.
        for definition, code in attributes.pop("_opto_code", {}).items():
            attributes[f"{definition.function.__qualname__}()"] = code.parameter
        return self.of(attributes)


_PLAIN = frozenset({type(...), type(NotImplemented), bool, int, float, complex, str, bytes})
_ITEMS: dict[type, Callable[[Any], Any]] = {
    list: iter,
    tuple: iter,
    dict: lambda value: [part for item in value.items() for part in item],
}


def _reduce(value: Any) -> Any:
    return value.__reduce_ex__(4)


def _listed(part: Any) -> Any:
    # Items of lists and dicts come as iterators.
    return [*part] if isinstance(part, Iterator) else part


def _hides(kind: type) -> bool:
    """True if objects of *kind* hold more than attributes: by their size, as `pickle` judges it."""
    pointers = len(copyreg._slotnames(kind)) + (kind.__dictoffset__ > 0) + (kind.__weakrefoffset__ > 0)  # type: ignore[attr-defined]  # noqa: SLF001 - as `pickle` does
    return kind.__itemsize__ != 0 or kind.__basicsize__ > object.__basicsize__ + pointers * _POINTER


_POINTER = sys.getsizeof((None,)) - sys.getsizeof(())


def _is_machinery(kind: type, name: str, member: Any) -> bool:
    """True for what Python and its libraries keep in classes, besides what the program wrote there."""
    is_private = name[:2] == "__" or (name[:1] == "_" and name[-1:] == "_") or name == "_abc_impl"
    is_member = issubclass(kind, enum.Enum) and name in kind.__members__  # which tell their own values
    return is_private or is_member or isinstance(member, MemberDescriptorType | GetSetDescriptorType)


def _is_library(module: str) -> bool:
    """True for modules that are installed: those are known by their names."""
    if module.partition(".")[0] in {"opto", "__main__"}:
        return module != "__main__"  # which may be the program, whatever runs it
    found = sys.modules.get(module)
    file = getattr(found, "__file__", None)
    if file is None:
        return getattr(found, "__spec__", None) is not None
    return "site-packages" in file or "dist-packages" in file or file.startswith(_STANDARD)


# Not `sys.prefix`: below /usr there may be programs, too.
_STANDARD = os.path.dirname(os.__file__) + os.sep


def _names(code: CodeType) -> dict[str, None]:
    found = dict.fromkeys(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names(constant)
    return found


def _path(value: Any) -> bytes:
    return f"{getattr(value, '__module__', None)}.{value.__qualname__}".encode()


def _joined(parts: list[bytes]) -> bytes:
    # By length, so that no part can pass for two.
    return b"[" + b"".join(str(len(part)).encode() + b"," + part for part in parts) + b"]"
