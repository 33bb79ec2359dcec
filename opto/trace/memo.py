"""Results that are computed once: reused by the content of operator and inputs."""

import os
from _thread import allocate_lock, get_ident  # what `threading` is made of, and there already
from ast import literal_eval
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy
from typing import Any, NamedTuple

from opto.errors import GraphError
from opto.trace.content import Content, NotContentError, uncopyable

__all__ = ["Lookup", "Memo", "rollout"]

_rollout: ContextVar[int] = ContextVar("opto_rollout", default=0)

#: True while content is told: methods of the program may run meanwhile.
_asking: ContextVar[bool] = ContextVar("opto_content_asked", default=False)


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


class _Entry(NamedTuple):
    value: Any
    # Which of the nodes that the call could reach were read though they were no arguments: their places in the walk.
    reads: tuple[int, ...]


class Memo:
    """Where results are kept: in memory and, if a folder is given, there as well, for other processes and later days.

    A result is found again by the code of the function (and of functions it calls), the content of its inputs, and
    the index of the `rollout`. So a changed parameter re-runs what depends on it, and nothing else. Installed packages
    are known by their names only: clear the folder after an upgrade that matters.

    What an object holds is its content, also where the function does not look at it: give a function the prompt that it
    needs, not the agent that has ten, and only that one makes it run again. Objects such as clients, which hold locks
    and connections, have no content; calls that can reach one are run each time, unless its class says what it stands
    for in a method ``__memo__``, which returns a plain value. Generators and open code (``traceable_code=True``) have
    no one result to reuse: `bundle` refuses a memo for them.

    Args:
        folder: For results that a Python literal can hold; others stay in memory. None keeps none on disk.
        limit: Results kept in memory; the one used longest ago goes first.

    Attributes:
        hits, misses: How many calls were answered, and how many were run.
        unkeyed: How many were run because their content cannot be told.

    Nothing is kept of a call that changes what it was computed from, such as its arguments or a counter in its class.

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

    def find(self, key: str | None) -> _Entry | None:
        """Return what is kept under *key*, if anything is; and count. Without a key, nothing is."""
        with self._lock:
            entry = self._entries.get(key) if key is not None else None
        if entry is None and key is not None:
            entry = self._load(key)
        with self._lock:
            if key is None:
                self.unkeyed += 1
                return None
            if entry is None:
                self.misses += 1
                return None
            self.hits += 1
            self._put(key, entry)
        # A copy, because whoever gets it may change it.
        return entry._replace(value=deepcopy(entry.value))

    def keep(self, key: str, value: Any, reads: tuple[int, ...]) -> None:
        """Keep *value* under *key*, with the places of the nodes that it depends on besides the inputs."""
        try:
            entry = _Entry(deepcopy(value), reads)
        except uncopyable():
            return
        with self._lock:
            self._put(key, entry)
        if self.folder is not None:
            self._store(key, entry)

    def _put(self, key: str, entry: _Entry) -> None:
        self._entries[key] = entry
        self._entries.move_to_end(key)
        while len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forget what is in memory, and the counts. Files stay."""
        with self._lock:
            self._entries.clear()
            self.hits = self.misses = self.unkeyed = 0

    def _file(self, key: str) -> str:
        assert self.folder is not None
        return os.path.join(self.folder, key[:2], f"{key[2:]}.txt")

    def _store(self, key: str, entry: _Entry) -> None:
        try:
            text = repr(entry.value)
            if Content().of(literal_eval(text)) != Content().of(entry.value):
                return
        except (NotContentError, ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return  # a value that no text gives back
        file = self._file(key)
        fresh = f"{file}.{os.getpid()}-{get_ident()}"
        try:
            os.makedirs(os.path.dirname(file), exist_ok=True)
            with open(fresh, "w", encoding="utf-8") as out:
                out.write(f"{text}\n{entry.reads}\n{_END}")
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
                value, reads, end = file.read().split("\n")
            return _Entry(literal_eval(value), literal_eval(reads)) if end == _END else None
        except (OSError, ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return None  # not there, or torn: it is computed again


#: The last line of a file that was written to its end.
_END = "# end of result and reads"


class Lookup:
    """One call of a function with a memo: looked up when it is made, kept when it has run.

    Attributes:
        is_found: True if there is a result: *value*, which was computed from the nodes *reads* besides the inputs.
    """

    def __init__(self, memo: Memo, function: Callable[..., Any], inputs: Mapping[str, Any]) -> None:
        self._memo, self._function, self._inputs = memo, function, inputs
        self._key, nodes = self._content()
        found = memo.find(self._key)
        self.is_found = found is not None and all(place < len(nodes) for place in found.reads)
        self.value = found and found.value
        self.reads = [nodes[place] for place in found.reads] if found is not None and self.is_found else []

    def keep(self, value: Any, reads: list[Any]) -> None:
        """Keep *value*, which was computed from the nodes *reads* besides the inputs."""
        if self._key is None:
            return
        key, nodes = self._content()
        places = {id(node): place for place, node in reversed([*enumerate(nodes)])}
        # A function that changed what it was computed from would do so again; its result alone is not all of it.
        # What it read from somewhere out of sight might have changed unseen.
        if key == self._key and all(id(node) in places for node in reads):
            self._memo.keep(key, value, tuple(places[id(node)] for node in reads))

    def _content(self) -> tuple[str | None, list[Any]]:
        """Return what identifies the call, if that can be told, and the nodes that it can reach."""
        from hashlib import sha256  # noqa: PLC0415 - for those who use a memo

        content = Content()
        if _asking.get():  # a bundled method of the value, such as __getattr__, whose content would ask for itself
            return None, []
        token = _asking.set(True)
        try:
            parts = [content.of(self._function), str(_rollout.get()).encode()]
            for name, value in self._inputs.items():
                parts += [name.encode(), content.of(value)]
        except (NotContentError, RecursionError):
            return None, []
        finally:
            _asking.reset(token)
        return sha256(b"\0".join(sha256(part).digest() for part in parts)).hexdigest(), content.nodes
