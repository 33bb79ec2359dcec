"""Copies and pickles of modules: values are copied, what cannot be copied is shared, and functions go by their path."""

import copyreg
import importlib
import sys
from collections.abc import Iterator
from copy import Error as CopyError
from copy import deepcopy
from types import FunctionType
from typing import Any

from opto.errors import ModuleError
from opto.nodes import Node, ParameterNode
from opto.trace.bundle import FunModule
from opto.trace.definition import CodeVersions, Definition
from opto.trace.ownership import ParameterOwner

__all__ = ["check_picklable", "deep_copy", "restore"]


def _not_copied() -> tuple[type[Exception], ...]:
    """Return what objects raise that were not made to be copied: locks a TypeError, others what they like."""
    import pickle  # noqa: PLC0415 - only where something fails, or is pickled anyway

    return (TypeError, ValueError, AttributeError, RuntimeError, OSError, CopyError, pickle.PickleError, ModuleError)


def deep_copy(module: Any, memo: dict[int, Any]) -> Any:
    """Return a deep copy of *module* that shares what cannot be copied, such as locks, sockets, files and clients.

    Args:
        module: A module.
        memo: Copies that are known already, as `copy.deepcopy` keeps them.

    Example:
        >>> import copy, threading
        >>> from opto.trace import Module, node
        >>> module = Module()
        >>> module.prompt, module.lock = node("Hello", trainable=True), threading.Lock()
        >>> twin = copy.deepcopy(module)
        >>> twin.prompt is module.prompt, twin.lock is module.lock
        (False, True)
    """
    make, arguments, state, items, pairs = (*object.__reduce_ex__(module, 4), None, None, None)[:5]
    _share_uncopyable(arguments, memo, {})
    twin = make(*deepcopy(arguments, memo))
    # Before its state is looked at: what the module holds may hold the module.
    memo[id(module)] = twin
    _share_uncopyable(state, memo, {})
    restore(twin, deepcopy(state, memo))
    for item in items or ():
        twin.append(deepcopy(item, memo))
    for key, value in pairs or ():
        twin[deepcopy(key, memo)] = deepcopy(value, memo)
    return twin


def restore(twin: Any, state: Any) -> None:
    """Give *twin* its state, as `copy` and `pickle` do."""
    if hasattr(twin, "__setstate__"):
        twin.__setstate__(state)
        return
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    vars(twin).update(attributes or {})
    for name, value in (slots or {}).items():
        setattr(twin, name, value)


def _share_uncopyable(value: Any, memo: dict[int, Any], seen: dict[int, Any]) -> None:
    """Note in *memo* what in *value* cannot be copied, as its own copy.

    Lists, dicts and nodes are looked into; all else is one thing, which is copied whole or shared whole: half of a
    client is of no use.
    """
    if id(value) in memo or id(value) in seen or type(value) in _ATOMS:
        return
    seen[id(value)] = value
    if isinstance(value, list | tuple | dict):
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            _share_uncopyable(item, memo, seen)
    elif isinstance(value, Node):
        _share_uncopyable(value._data, memo, seen)  # noqa: SLF001 - copying is no part of a traced program
    elif isinstance(value, ParameterOwner) and not isinstance(value, FunModule):
        deepcopy(value, memo)  # a module, which shares by itself
    else:
        known = len(memo)
        try:
            deepcopy(value, memo)
        except _not_copied():
            # Parts that were copied before the failure belong to nothing.
            while len(memo) > known:
                memo.popitem()
            memo[id(value)] = value


_ATOMS = {type(None), bool, int, float, complex, str, bytes, type, FunctionType}


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
    except _not_copied() as error:
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
