"""A function with the signature of a candidate's, which looks like it from outside and runs it in the sandbox."""

import ast
import copy
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, Protocol

from opto.splice import is_generator

__all__ = ["KEPT", "Engine", "find_definition", "forwarding", "positional_names"]

Definition = ast.FunctionDef | ast.AsyncFunctionDef


class _Kept:
    """Stands for a default value that stays in the child."""

    def __repr__(self) -> str:
        return "..."


KEPT: Any = _Kept()


def find_definition(tree: ast.Module, name: str | None) -> Definition | None:
    """Return the function *name* at the top of *tree*; the last function if there is no name."""
    found = [item for item in tree.body if isinstance(item, Definition) and name in {None, item.name}]
    return found[-1] if found else None


def positional_names(definition: Definition) -> tuple[str, ...]:
    """Return the names of the positional arguments."""
    return tuple(item.arg for item in (*definition.args.posonlyargs, *definition.args.args))


class Engine(Protocol):
    """What runs a candidate."""

    output: str

    @property
    def content(self) -> Any:
        """What its results depend on besides the arguments, as plain data."""

    @property
    def defaults(self) -> Mapping[str, Any]: ...
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any: ...
    async def acall(self, /, *args: Any, **kwargs: Any) -> Any: ...
    def close(self) -> None: ...


def forwarding(definition: Definition, engine: Engine, defaults: Mapping[str, Any]) -> FunctionType:
    """Return a function that passes its arguments on to *engine*; to its `acall` if it is to be awaited.

    Generator functions yield the items of a list: a candidate has run to its end by then.

    Args:
        definition: Of the candidate.
        engine: Takes the arguments.
        defaults: Values of arguments that may be left out. Those that are `KEPT` are left out.
    """
    args = definition.args
    leading, only = [*positional_names(definition)], [item.arg for item in args.kwonlyargs]
    named = [*(f"{name!r}: {name}" for name in only), *([f"**{args.kwarg.arg}"] if args.kwarg else [])]
    passed = f"[{', '.join(leading)}], {args.vararg.arg if args.vararg else '()'}, {{{', '.join(named)}}}"
    is_async = isinstance(definition, ast.AsyncFunctionDef)
    own = "_"
    names = {definition.name, *(item.arg for item in ast.walk(args) if isinstance(item, ast.arg))}
    while any(name.startswith(own) for name in names):
        own += "_"  # an argument is not called in place of the candidate
    body = f"{'await ' if is_async else ''}{own}call({passed})"
    body = f"for {own}item in {body}: yield {own}item" if is_generator(definition) else f"return {body}"
    text = f"{'async ' * is_async}def {definition.name}({_signature(args)}):\n    {body}\n"
    space: dict[str, Any] = {
        f"{own}call": _Passing(engine, engine.acall if is_async else engine.__call__, leading, defaults)
    }
    # In the folder of this file, so that tracebacks for users leave it out.
    exec(compile(text, f"{__file__} (generated)", "exec"), space)  # noqa: S102 - only names of arguments go in
    made: FunctionType = space.pop(definition.name)  # or it would hold itself, and its process would outlive it
    optional = leading[len(leading) - len(args.defaults) :]
    made.__defaults__ = tuple(defaults.get(name, KEPT) for name in optional) or None
    given = zip(only, args.kw_defaults, strict=True)
    made.__kwdefaults__ = {name: defaults.get(name, KEPT) for name, default in given if default is not None} or None
    return made


def _signature(args: ast.arguments) -> str:
    """Return *args* as they are written, with nothing that is computed."""
    bare = copy.deepcopy(args)
    bare.defaults = [ast.Constant(None) for _ in bare.defaults]
    bare.kw_defaults = [default and ast.Constant(None) for default in bare.kw_defaults]
    for part in ast.walk(bare):
        if isinstance(part, ast.arg):
            part.annotation = None
    return ast.unparse(bare)


class _Passing:
    """Calls for arguments as they were bound, without those that are the default values of the child."""

    __slots__ = ("_call", "_defaults", "_engine", "_names")

    def __init__(self, engine: Engine, call: Callable[..., Any], names: list[str], defaults: Mapping[str, Any]) -> None:
        self._engine, self._call, self._names, self._defaults = engine, call, names, defaults

    def __call__(self, leading: list[Any], rest: tuple[Any, ...], named: dict[str, Any]) -> Any:
        is_default, names = self._is_default, self._names
        named = {name: value for name, value in named.items() if not is_default(name, value)}
        if rest:
            return self._call(*leading, *rest, **named)
        last = len(leading)
        while last and is_default(names[last - 1], leading[last - 1]):
            last -= 1
        first = next((index for index in range(last) if leading[index] is KEPT), last)
        later = zip(names[first:last], leading[first:last], strict=True)
        return self._call(*leading[:first], **{name: value for name, value in later if value is not KEPT}, **named)

    def _is_default(self, name: str, value: Any) -> bool:
        # The very object: whoever gives one that is equal means that one.
        return value is KEPT or (name in self._defaults and value is self._defaults[name])

    def __memo__(self) -> Any:
        # For whoever keeps results by what they were computed from.
        return self._engine.content
