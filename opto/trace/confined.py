"""Code that an optimizer has changed, and the sandbox that it runs in."""

import warnings
from collections.abc import Mapping
from types import FunctionType
from typing import Any

from opto.nodes import Node, ParameterNode, enter_scope, leave_scope, new_scope
from opto.sandbox import Rewritten, Sandbox, current_sandbox
from opto.trace.binding import make_binder
from opto.trace.definition import Definition
from opto.trace.dependencies import user_level
from opto.trace.ownership import ParameterOwner
from opto.trace.source import compile_source, keep_defaults, version_name

__all__ = ["Confined", "sandbox_for", "warn_of_borders"]


class Confined:
    """A changed source, inside the limits of a sandbox. At the level ``none`` it is a function like any other.

    Attributes:
        function: Has the signature of the candidate, and runs it.
        used: What holds the sources of other trainable functions that went along: the call depends on them.

    Args:
        source: The text.
        definition: Of the function that it takes the place of.
        sandbox: Where it runs.
        args: Of the call: the first is the object, if it is a method.

    Raises:
        SourceError: The text does not define the function.
        SandboxError: It cannot enter the sandbox, or does not load there.
        Exception: Whatever statements beside the function raise.
    """

    function: Any

    def __init__(self, source: str, definition: Definition, sandbox: Sandbox, args: tuple[Any, ...]) -> None:
        self._source, self._sandbox = source, sandbox
        self._definition, self._codes = definition, _codes_of(definition, args)
        owner = _owner_of(definition, args)
        self._texts: dict[int, str] = {}
        self.used: list[ParameterNode[str]] = []
        if sandbox.isolation == "none":
            self.function = compile_source(source, definition.inner, owner, written=definition.source)
            return
        token = enter_scope(new_scope())  # what is read here counts when it is called
        try:
            like: FunctionType = definition.inner
            candidate = sandbox.load(source, like=like, owner=owner, file=version_name(like.__name__), adapt=self._seen)
            self.function = candidate.function
            assert definition.source is not None
            keep_defaults(self.function, like, source, definition.source)
        finally:
            leave_scope(token)

    def is_current(self, source: str, sandbox: Sandbox, args: tuple[Any, ...]) -> bool:
        """True if a call of *source* in *sandbox* with *args* would meet what is in here."""
        return (
            source == self._source
            and sandbox is self._sandbox
            and all(item._data == self._texts[id(item)] for item in self.used)  # noqa: SLF001 - as in `CodeVersions.run`
            and (not self._codes or _are_same(self._codes, _codes_of(self._definition, args)))
        )

    def _seen(self, value: Any) -> Any:
        """Return *value* as a candidate sees it, and remember whose text that is."""
        shown, code = seen(value, self._codes)
        if code is not None and id(code) not in self._texts:
            self._texts[id(code)] = code._data  # noqa: SLF001 - as above
            self.used.append(code)
        return shown


def _owner_of(definition: Definition, args: tuple[Any, ...]) -> type | None:
    """Return the class in whose body a function stands. Class methods do not know it: it is looked up."""
    if definition.owner is not None or not args or not isinstance(args[0], type):
        return definition.owner
    for base in args[0].__mro__:
        for member in vars(base).values():
            if isinstance(member, classmethod) and getattr(member.__func__, "_definition", None) is definition:
                return base
    return None


_Codes = Mapping[Definition, ParameterNode[str]]


def _codes_of(definition: Definition, args: tuple[Any, ...]) -> _Codes:
    """Return what holds the code that the object of a method owns."""
    if definition.owner is None or not args:
        return {}
    # Not the code itself, which has this in it: an object would hold itself.
    owned = getattr(args[0], "__dict__", {}).get("_opto_code", {})
    return {other: code.parameter for other, code in owned.items()}


def _are_same(some: _Codes, others: _Codes) -> bool:
    return all(others.get(key) is code for key, code in some.items())


def seen(value: Any, codes: _Codes) -> tuple[Any, ParameterNode[str] | None]:
    """Return *value* as a candidate sees it: a node's value, a bundled function as it runs now; and the code of that.

    *codes*: those that an object owns, and not its class.
    """
    if isinstance(value, Node):
        return value.data, None
    if not isinstance(value, ParameterOwner) or not isinstance(getattr(value, "_definition", None), Definition):
        return value, None
    function: Any = value
    definition: Definition = function._definition  # noqa: SLF001 - part of it
    code = codes.get(definition, function.parameter)
    if getattr(function, "_owner", None) is not None or not isinstance(definition.inner, FunctionType):
        return value, None
    if code is None:
        return definition.function, None
    source = code._data  # noqa: SLF001 - it is noted, not read
    if source == definition.source and definition.options.source is None:
        return definition.function, code
    return Rewritten(function.fun, source), code


def sandbox_for(definition: Definition) -> Sandbox:
    """Return where changed code of a function runs: as its bundle says, or the block around the call, or as always."""
    return definition.options.sandbox or current_sandbox()


def warn_of_borders(definition: Definition, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Say what of a function, and of the arguments that it is called with, could not enter a sandbox.

    Before an optimizer changes it: then it is too late for those who pay for each step.
    """
    codes = _codes_of(definition, args)
    token = enter_scope(new_scope())
    try:
        keys, inputs, *_ = make_binder(definition.function)(*args, **kwargs)
        assert definition.source is not None
        objection = sandbox_for(definition).objection(
            definition.source,
            definition.inner,
            dict(zip(keys, inputs, strict=True)),
            owner=definition.owner,
            adapt=lambda value: seen(value, codes)[0],
        )
    finally:
        leave_scope(token)
    if objection is not None:
        warnings.warn(
            f"{objection} It runs as you wrote it; once an optimizer has changed it, its calls will fail.",
            RuntimeWarning,
            stacklevel=user_level(),
        )
