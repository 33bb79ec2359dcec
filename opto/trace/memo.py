"""Results that are computed once: reused by the content of operator and inputs."""

import enum
import os
import sys
from _thread import allocate_lock, get_ident  # what `threading` is made of, and there already
from ast import literal_eval
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from opto.errors import GraphError
from opto.nodes import Node
from opto.trace.source import closure_values

__all__ = ["Memo", "NotContentError", "content_key", "rollout"]

_rollout: ContextVar[int] = ContextVar("opto_rollout", default=0)


@contextmanager
def rollout(index: int) -> Iterator[None]:
    """Say that this block is the *index*-th repetition: functions with chance in them are sampled anew for each.

    Example:
        >>> import random
        >>> from opto.trace import bundle
        >>> @bundle(memo=True)
        ... def draw(limit):
        ...     return random.randrange(limit)
        >>> def two_draws(first, second):
        ...     with rollout(first):
        ...         a = draw(10**9).data
        ...     with rollout(second):
        ...         return a == draw(10**9).data
        >>> two_draws(1, 1), two_draws(1, 2)
        (True, False)
    """
    token = _rollout.set(index)
    try:
        yield
    finally:
        _rollout.reset(token)


class NotContentError(Exception):
    """A value whose content cannot be told, such as a lock: calls with it are never reused."""


class _Entry(NamedTuple):
    value: Any
    # Nodes that were read though they were no arguments, each with the content that it had.
    reads: tuple[tuple[Any, bytes], ...]


class Memo:
    """Where results are kept: in memory and, if a folder is given, there as well, for other processes and later days.

    A result is found again by the code of the function (and of functions it calls), the content of its inputs, and
    the index of the `rollout`. So a changed parameter re-runs what depends on it, and nothing else. Installed packages
    are known by their names only: clear the folder after an upgrade that matters.

    Args:
        folder: For results that JSON or a Python literal can hold; others stay in memory. None keeps none on disk.
        limit: Results kept in memory; the one used longest ago goes first.

    Attributes:
        hits, misses: How many calls were answered, and how many were run.
        unkeyed: How many were run because their content cannot be told.

    Example:
        >>> from opto.trace import bundle
        >>> memo = Memo()
        >>> @bundle(memo=memo)
        ... def slow(x):
        ...     return x * x
        >>> [slow(number).data for number in (3, 3, 4)], memo.hits, memo.misses
        ([9, 9, 16], 1, 2)
    """

    def __init__(self, folder: "str | os.PathLike[str] | None" = None, *, limit: int = 10_000) -> None:
        self.folder = None if folder is None else os.fspath(folder)
        self.hits = self.misses = self.unkeyed = 0
        self._limit = limit
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._lock = allocate_lock()

    def find(self, key: str) -> tuple[bool, Any, list[Any]]:
        """Return whether there is a result under *key* that still holds, the result, and what it read; and count."""
        with self._lock:
            entry = self._entries.get(key)
        if entry is None:
            entry = self._load(key)
        fresh = entry is not None and all(_same_content(node, content) for node, content in entry.reads)
        with self._lock:
            if not fresh:
                self.misses += 1
            else:
                self.hits += 1
                self._entries[key] = entry  # type: ignore[assignment]  # not None, if it is fresh
                self._entries.move_to_end(key)
        # A copy, because whoever gets it may change it.
        if entry is None or not fresh:
            return False, None, []
        return True, deepcopy(entry.value), [node for node, _ in entry.reads]

    def keep(self, key: str, value: Any, reads: list[Any]) -> None:
        """Keep *value* under *key*; it depends on the nodes *reads* besides the inputs."""
        try:
            entry = _Entry(deepcopy(value), tuple((node, _content(node._data)) for node in reads))  # noqa: SLF001
        except (NotContentError, TypeError):
            return  # cannot be copied, or depends on something whose change would not be seen
        with self._lock:
            self._entries[key] = entry
            self._entries.move_to_end(key)
            while len(self._entries) > self._limit:
                self._entries.popitem(last=False)
        if self.folder is not None and not reads:
            self._store(key, value)

    def clear(self) -> None:
        """Forget what is in memory, and the counts. Files stay."""
        with self._lock:
            self._entries.clear()
            self.hits = self.misses = self.unkeyed = 0

    def _file(self, key: str) -> str:
        assert self.folder is not None
        return os.path.join(self.folder, key[:2], f"{key[2:]}.txt")

    def _store(self, key: str, value: Any) -> None:
        text = repr(value)
        try:
            if type(value) is not type(literal_eval(text)) or literal_eval(text) != value:
                return
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return  # a value that no text gives back
        file = self._file(key)
        fresh = f"{file}.{os.getpid()}-{get_ident()}"
        try:
            os.makedirs(os.path.dirname(file), exist_ok=True)
            with open(fresh, "w", encoding="utf-8") as out:
                out.write(f"{text}\n{_END}")
            os.replace(fresh, file)
        except OSError as error:
            raise GraphError(
                f"Results cannot be kept in {self.folder!r}: {error.strerror or error}.",
                mend="Choose another folder for Memo, or leave it out.",
            ) from error

    def _load(self, key: str) -> _Entry | None:
        if self.folder is None:
            return None
        try:
            with open(self._file(key), encoding="utf-8") as file:
                text, _, end = file.read().rpartition("\n")
            return _Entry(literal_eval(text), ()) if end == _END else None
        except (OSError, ValueError, SyntaxError):
            return None  # not there, or torn: it is computed again


#: The last line of a file that was written to its end.
_END = "# end"


def _same_content(node: Any, content: bytes) -> bool:
    try:
        return _content(node._data) == content  # noqa: SLF001 - a comparison, no read of the program
    except NotContentError:
        return False


def content_key(function: Callable[..., Any], inputs: Mapping[str, Any]) -> str:
    """Return what identifies a call: code, plain *inputs* by name, and the index of the rollout.

    Raises:
        NotContentError: The content of an input, or of something the function uses, cannot be told.
    """
    from hashlib import sha256  # noqa: PLC0415 - for those who use a memo

    parts = [_code_of(function, set()), str(_rollout.get()).encode()]
    parts += [name.encode() + b"=" + _content(value) for name, value in inputs.items()]
    return sha256(b"\0".join(sha256(part).digest() for part in parts)).hexdigest()


def _code_of(function: Any, seen: set[int]) -> bytes:
    """Return the content of *function*: its code, and all data, functions and classes that it can reach by name."""
    function = getattr(function, "__wrapped__", function)
    name = f"{getattr(function, '__module__', None)}.{getattr(function, '__qualname__', None)}".encode()
    if isinstance(function, type):
        # A class is its methods, a base class by base class.
        if _is_library(function.__module__) or id(function) in seen:
            return name
        seen.add(id(function))
        members = [getattr(member, "__func__", member) for member in vars(function).values()]
        bodies = [_code_of(member, seen) for member in members if isinstance(member, FunctionType)]
        return b"\1".join([name, *(_code_of(base, seen) for base in function.__bases__), *bodies])
    if not isinstance(function, FunctionType):
        # A builtin is what its name says; a callable object is its content.
        return name if hasattr(function, "__qualname__") else _content(function)
    if _is_library(function.__module__) or id(function) in seen:
        return name
    seen.add(id(function))
    names = list(_names(function.__code__))
    reachable = {name: function.__globals__[name] for name in names if name in function.__globals__}
    reachable |= closure_values(function)
    parts = [name, *_code_parts(function.__code__), _content_of_value(function.__defaults__, names, seen)]
    parts += [key.encode() + b"=" + _content_of_value(value, names, seen) for key, value in reachable.items()]
    return b"\1".join(parts)


def _content_of_value(value: Any, names: list[str], seen: set[int]) -> bytes:
    """Return the content of a value that code with these *names* in it can reach."""
    if isinstance(value, ModuleType):
        if _is_library(value.__name__):
            return value.__name__.encode()
        used = {name: vars(value)[name] for name in names if name in vars(value)}
        return _joined([name.encode() + b"=" + _content_of_value(item, names, seen) for name, item in used.items()])
    if isinstance(value, Node):
        return b""  # a read, which is noted when it happens
    if callable(value):
        return _code_of(value, seen)
    return _content(value)


def _is_library(module: str) -> bool:
    """True for modules that are installed: those are known by their names."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return module != "__main__"
    return "site-packages" in file or file.startswith((os.path.dirname(os.__file__), sys.prefix, sys.base_prefix))


def _code_parts(code: CodeType) -> Iterator[bytes]:
    yield code.co_code
    yield repr(code.co_names).encode()
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code_parts(constant)
        else:
            yield repr(constant).encode()


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _class_name(kind: type) -> bytes:
    return f"{kind.__module__}.{kind.__qualname__}".encode()


def _content(value: Any) -> bytes:
    """Return bytes that are equal for equal content of equal type, in every process.

    Raises:
        NotContentError: There are none.
    """
    kind = type(value)
    if value is None or kind in _PLAIN:
        return f"{kind.__name__}:{value!r}".encode("utf-8", "surrogatepass")
    if kind in _ITEMS:
        return kind.__name__.encode() + _joined(_ITEMS[kind](value))
    if isinstance(value, Node):
        return _content(value._data)  # noqa: SLF001 - as an input: its value
    if isinstance(value, enum.Enum):
        return _class_name(kind) + b"." + value.name.encode()
    if isinstance(value, type) or (callable(value) and hasattr(value, "__code__")):
        return _code_of(value, set())
    return _code_of(kind, set()) + (_array(value) if hasattr(value, "tobytes") else _attributes(value))


_PLAIN = frozenset({bool, int, float, complex, str, bytes})
_ITEMS: dict[type, Callable[[Any], list[bytes]]] = {
    list: lambda value: [_content(item) for item in value],
    tuple: lambda value: [_content(item) for item in value],
    dict: lambda value: [_content(key) + b":" + _content(item) for key, item in value.items()],
    set: lambda value: sorted(_content(item) for item in value),
    frozenset: lambda value: sorted(_content(item) for item in value),
}


def _array(value: Any) -> bytes:
    if getattr(getattr(value, "dtype", None), "hasobject", True):
        raise NotContentError(type(value).__name__)
    return f"{value.dtype}{value.shape}".encode() + bytes(value.tobytes())


def _attributes(value: Any) -> bytes:
    """Return the content of an object of a class written in Python. One of C may hide anything."""
    kind = type(value)
    state = getattr(value, "__dict__", None)
    slots = [name for base in kind.__mro__ for name in _slots(base) if hasattr(value, name)]
    if (state is None and not slots) or kind.__module__ in {"builtins", "_thread", "_io", "_socket"}:
        raise NotContentError(kind.__name__)
    attributes = {**(state or {}), **{name: getattr(value, name) for name in slots}}
    return _content({name: item for name, item in attributes.items() if name != "_opto_code"})


def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    return tuple(name for name in ((slots,) if isinstance(slots, str) else slots) if not name.startswith("__"))


def _joined(parts: list[bytes]) -> bytes:
    # By length, so that no part can pass for two.
    return b"[" + b"".join(str(len(part)).encode() + b"," + part for part in parts) + b"]"
