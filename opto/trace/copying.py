"""Copies and pickles of modules: values are copied, what cannot be copied is shared, and functions go by their path."""

import copyreg
import importlib
import sys
import weakref
from collections.abc import Generator, Iterable, Iterator
from copy import deepcopy
from itertools import chain
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any

from opto.errors import ModuleError
from opto.nodes import Node, ParameterNode, container_of
from opto.trace.bundle import FunModule
from opto.trace.content import uncopyable
from opto.trace.definition import Definition
from opto.trace.ownership import ParameterOwner
from opto.trace.versions import CodeVersions

__all__ = ["check_picklable", "deep_copy", "shallow_copy"]


def deep_copy(module: Any, memo: dict[int, Any] | None = None) -> Any:
    """Return a deep copy of *module* that shares what cannot be copied, such as locks, sockets, files and clients.

    Takes modules and lists in any depth: it does not recurse.

    Args:
        module: A module.
        memo: Copies that are known already, as `copy.deepcopy` keeps them; pydantic gives none.

    Example:
        >>> import copy, threading
        >>> from opto.trace import Module, node
        >>> module = Module()
        >>> module.prompt, module.lock = node("Hello", trainable=True), threading.Lock()
        >>> twin = copy.deepcopy(module)
        >>> twin.prompt is module.prompt, twin.lock is module.lock
        (False, True)
    """
    copier = _Copier({} if memo is None else memo)
    return _run(copier.made(module, object.__reduce_ex__(module, 4)))


def shallow_copy(module: Any) -> Any:
    """Return a copy of *module* that shares all that it holds."""
    reduced: Any = object.__reduce_ex__(module, 4)
    make, arguments, state, items, pairs = _parts(reduced)
    twin = make(*arguments)
    restore(twin, state)
    _fill(twin, items, pairs)
    return twin


def restore(twin: Any, state: Any) -> None:
    """Give *twin* its state, as `copy` and `pickle` do."""
    # Looked up on the class: a module that hands attributes on to what it holds does not hold that yet.
    set_state = getattr(type(twin), "__setstate__", None)
    if set_state is not None:
        if state is not None:
            set_state(twin, state)
        return
    attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    if attributes:
        vars(twin).update(attributes)
    for name, value in (slots or {}).items():
        object.__setattr__(twin, name, value)


def _fill(twin: Any, items: Iterable[Any], pairs: Iterable[tuple[Any, Any]]) -> None:
    for item in items:
        twin.append(item)
    for key, value in pairs:
        twin[key] = value


def _reduced(value: Any) -> Any:
    """Return how *value* is made again, as `copy` asks for it."""
    if getattr(type(value), "__deepcopy__", None) is deep_copy:
        return object.__reduce_ex__(value, 4)  # the method of modules refuses what cannot be pickled
    reduce = copyreg.dispatch_table.get(type(value))
    return value.__reduce_ex__(4) if reduce is None else reduce(value)


def _parts(reduced: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...], Any, list[Any], list[tuple[Any, Any]]]:
    make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    # In one go, because other threads may add some.
    return make, arguments, state, [*(items or ())], [*(pairs or ())]


#: A copy under way: it yields the copies that it needs first, is sent them, and returns its own.
_Copying = Generator["_Copying", Any, Any]


def _run(first: _Copying) -> Any:
    """Return what *first* returns: its calls are on a list, not on Python's stack, so that none is too deep."""
    calls = [first]
    result: Any = None
    error: Exception | None = None
    while calls:
        try:
            call = calls[-1].send(result) if error is None else calls[-1].throw(error)
            calls.append(call)
            result = error = None
        except StopIteration as done:
            calls.pop()
            result, error = done.value, None
        except uncopyable() as raised:  # all that a caller might deal with
            calls.pop()
            result, error = None, raised
    if error is not None:
        raise error
    return result


class _Copier:
    """One deep copy.

    Modules, nodes, containers and dataclasses are looked into. All else is one thing, which is copied whole or shared
    whole: half of a client is of no use.

    Args:
        memo: Copies by the id of the original, as `copy.deepcopy` keeps them.
    """

    def __init__(self, memo: dict[int, Any]) -> None:
        self.memo = memo
        #: Originals: an id means nothing once its object is gone.
        self.kept: list[Any] = memo.setdefault(id(memo), [])
        #: Parts of things that can be copied as a whole, by id.
        self.copyable: dict[int, Any] = {}

    def copy(self, value: Any) -> _Copying:
        kind = type(value)
        if id(value) in self.memo:
            return self.memo[id(value)]
        if kind in _ATOMS or isinstance(value, type):
            return value
        if kind is MethodType:
            return MethodType(value.__func__, (yield self.copy(value.__self__)))
        if kind is tuple:
            return (yield self._tuple(value))
        own = getattr(kind, "__deepcopy__", None)
        if own is deep_copy or (own is None and _is_looked_into(value)) or id(value) in self.copyable:
            return (yield self.made(value, None if own not in (None, deep_copy) else _reduced(value)))
        if isinstance(value, ParameterOwner):
            # A module with a copy method of its own fails as it likes.
            return deepcopy(value, self.memo)
        return (yield self._whole(value))

    def made(self, value: Any, reduced: Any) -> _Copying:
        """Make *value* again from what it was *reduced* to; None if it copies itself."""
        self.kept.append(value)
        if reduced is None or isinstance(reduced, str):
            return value if reduced else deepcopy(value, self.memo)
        make, arguments, state, items, pairs = _parts(reduced)
        twin = make(*(arguments if _is_plain(arguments) else (yield self._list(arguments))))
        # Before its state is looked at: what a module holds may hold the module.
        self.memo[id(value)] = twin
        if state is not None:
            self.kept.append(state)
            restore(twin, (yield self.copy(state)))
        if items:
            _fill(twin, (yield self._list(items)), [])
        for key, item in pairs:
            if type(key) not in _ATOMS:
                key = yield self.copy(key)  # noqa: PLW2901 - in place of it
            twin[key] = item if type(item) in _ATOMS else (yield self.copy(item))
        return twin

    def _list(self, items: Iterable[Any]) -> _Copying:
        copies = []
        for item in items:
            twin = item if type(item) in _ATOMS else (yield self.copy(item))
            copies.append(twin)
        return copies

    def _tuple(self, value: tuple[Any, ...]) -> _Copying:
        copies = yield self._list(value)
        # What holds itself is known by now.
        if id(value) in self.memo:
            return self.memo[id(value)]
        self.kept.append(value)
        is_same = all(old is new for old, new in zip(value, copies, strict=True))
        twin = self.memo[id(value)] = value if is_same else tuple(copies)
        return twin

    def _whole(self, value: Any) -> _Copying:
        """Copy something with all that is in it, or share it."""
        self.kept.append(value)
        known = len(self.memo)
        # Not just tried: clients that are thrown away half made complain when they are deleted.
        if self._is_copyable(value):
            try:
                return (yield self.copy(value))
            except RecursionError:
                raise
            except uncopyable():
                # Parts that were copied before the failure belong to nothing.
                while len(self.memo) > known:
                    self.memo.popitem()
        self.memo[id(value)] = value
        return value

    def _is_copyable(self, value: Any) -> bool:
        """True if all parts of *value* say how they are made again; none is made."""
        found: dict[int, Any] = {}
        waiting = [value]
        while waiting:
            item = waiting.pop()
            kind = type(item)
            if kind in _ATOMS or isinstance(item, type) or id(item) in self.memo or id(item) in found:
                continue
            if isinstance(item, ParameterOwner) and not isinstance(item, FunModule):
                continue  # a module, which shares by itself
            found[id(item)] = item
            if kind is MethodType:
                waiting.append(item.__self__)
            elif not hasattr(kind, "__deepcopy__"):
                try:
                    reduced = _reduced(item)
                except uncopyable():
                    return False
                if not isinstance(reduced, str):
                    _, arguments, state, items, pairs = _parts(reduced)
                    waiting += [*arguments, state, *items, *chain.from_iterable(pairs)]
        self.copyable |= found
        return True


def _is_plain(items: Iterable[Any]) -> bool:
    return all(type(item) in _ATOMS or isinstance(item, type) for item in items)


def _is_looked_into(value: Any) -> bool:
    return isinstance(value, Node | ParameterOwner) or container_of(type(value)) is not None


_ATOMS = {
    *(type(None), bool, int, float, complex, str, bytes, type, range, property, type(...), type(NotImplemented)),
    *(CodeType, FunctionType, BuiltinFunctionType, weakref.ref),
}


def check_picklable(owner: str, state: Any) -> None:
    """Raise an error that names the attribute of *owner* that cannot be pickled, if there is one.

    Python's own error names the type only: "cannot pickle '_thread.lock' object".

    Raises:
        ModuleError: Part of *state*, which is to be pickled, cannot be.
    """
    attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    for part in (attributes, slots):
        if isinstance(part, dict):
            held = dict(part)
            for definition, code in held.pop("_opto_code", {}).items():
                held[definition.function.__name__] = [definition, code.parameter]
            for path, leaf in _leaves(held, "", {}):
                _check_leaf(owner, path, leaf)


def _leaves(value: Any, path: str, seen: dict[int, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what lists, dicts and nodes in *value* hold, each with its path. Modules check themselves."""
    if id(value) in seen or type(value) in _ATOMS:
        return
    seen[id(value)] = value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}[{key}]" if path else str(key), seen)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]", seen)
    elif isinstance(value, Node):
        rules = (value.domain, value.projections) if isinstance(value, ParameterNode) else ()
        for part in (value._data, *rules):  # noqa: SLF001 - as above
            yield from _leaves(part, path, seen)
    elif not isinstance(value, ParameterOwner) or isinstance(value, FunModule):
        yield path, value


def _check_leaf(owner: str, path: str, leaf: Any) -> None:
    import io  # noqa: PLC0415 - only where something is pickled
    import pickle  # noqa: PLC0415 - the same

    class Nowhere(io.RawIOBase):
        def write(self, data: Any) -> int:
            return len(data)

    class Trial(pickle.Pickler):
        """Writes nothing, and stops at modules: they check themselves."""

        def persistent_id(self, value: Any) -> str | None:
            return "module" if isinstance(value, ParameterOwner) and not isinstance(value, FunModule) else None

    try:
        Trial(Nowhere(), protocol=4).dump(leaf)
    except uncopyable() as error:
        raise ModuleError(
            f"{owner} cannot be pickled because of its attribute {path!r}: {str(error).rstrip('.')}.",
            mend="Leave the attribute out in __getstate__ and make it again in __setstate__; "
            "or save() the parameters, which needs no pickle.",
        ) from error


# Functions are pickled by the path of their definition, and trainable ones with their current source. Not by a method
# of theirs: `bundle` needs none of this.


def _reduce_definition(definition: Definition) -> tuple[Any, ...]:
    function = definition.function
    module, path = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    for candidate in (path, *_names_of(definition, module)):
        if _definition_at(module, candidate) is definition:
            return _find_definition, (module, candidate)
    raise ModuleError(
        f"{path}() cannot be pickled: {module}.{path} is not the bundled function.",
        mend="Define it at the top of a module, under its own name, where another process can import it.",
    )


def _names_of(definition: Definition, module: str | None) -> list[str]:
    """Return the names in *module* of functions with this definition, as in ``tool = bundle(function)``."""
    found = vars(sys.modules[module]) if module in sys.modules else {}
    return [
        name
        for name, value in list(found.items())
        if isinstance(value, FunModule) and value._definition is definition  # noqa: SLF001 - what `bundle` made
    ]


def _definition_at(module: str | None, path: str) -> Definition | None:
    found: Any = sys.modules.get(module or "")
    for step in path.split("."):
        found = getattr(found, step, None)
    return found._definition if isinstance(found, FunModule) else None  # noqa: SLF001 - as above


def _find_definition(module: str, path: str) -> Definition:
    importlib.import_module(module)
    definition = _definition_at(module, path)
    if definition is None:
        raise ModuleError(
            f"There is no bundled function {module}.{path} any more.",
            mend="Give it back its name, or load the pickle with the version of the program that wrote it.",
        )
    return definition


def _reduce_code(code: CodeVersions) -> tuple[Any, ...]:
    return _revived_code, (code.definition, code.parameter, code.asked)


def _revived_code(definition: Definition, parameter: Any, asked: bool) -> CodeVersions:
    # The first call compiles the source, or takes the function as it stands in the program.
    return CodeVersions.revived(definition, parameter, asked=asked)


def _reduce_function(function: FunModule) -> tuple[Any, ...]:
    return _revived_function, (function._definition, function._owner, function._code)  # noqa: SLF001 - as above


def _revived_function(definition: Definition, owner: Any, code: CodeVersions | None) -> FunModule:
    return FunModule(definition, owner=owner, code=code)


copyreg.pickle(Definition, _reduce_definition)
copyreg.pickle(CodeVersions, _reduce_code)
copyreg.pickle(FunModule, _reduce_function)
for _kind in FunModule.__subclasses__():
    copyreg.pickle(_kind, _reduce_function)
