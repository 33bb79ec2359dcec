"""`bundle`: a decorator that makes a function an operator whose calls are recorded."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from types import FunctionType
from typing import Any, NamedTuple, overload

from opto.errors import ExecutionError, GraphError, MissingInputsError, SourceError
from opto.nodes import (
    CONTAINERS,
    MessageNode,
    Node,
    Operator,
    ParameterNode,
    enter_scope,
    failure,
    leave_scope,
    new_scope,
    node,
    pack,
    reads_in,
    record,
    unpack,
    write_arguments,
)
from opto.trace.binding import Bound, argument_names, make_binder
from opto.trace.source import Code, compile_source, source_of

__all__ = ["FunModule", "bundle"]


_COROUTINE = 0x80  # inspect.CO_COROUTINE, without importing inspect


class _Definition:
    """What all calls and all bound copies of one bundled function share. Never changed after decoration."""

    __slots__ = (
        *("allow_external", "bind", "calls_specially", "catch", "code", "function", "is_async", "operator", "owner"),
        "source",
    )

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        description: str | None,
        trainable: bool,
        source: str | None,
        catch_execution_error: bool,
        allow_external_dependencies: bool,
        traceable_code: bool,
    ) -> None:
        self.function = function
        self.bind = make_binder(function)
        self.catch = catch_execution_error
        self.allow_external = allow_external_dependencies
        self.is_async = bool(getattr(getattr(function, "__code__", None), "co_flags", 0) & _COROUTINE)
        self.calls_specially = traceable_code or self.is_async
        self.owner: type | None = None  # the class in whose body the function stands
        name = getattr(function, "__name__", type(function).__name__)
        if description is None:
            description = (getattr(function, "__doc__", None) or "").strip()
        elif prefix := re.match(r"\s*\[([^\[\]]+)\]\s*", description):
            # Trace's notation: "[name] what it does".
            name, description = prefix[1], description[prefix.end() :]
        is_method = argument_names(function)[:1] == ("self",)
        self.operator = Operator(name, function, description=description, template=_writer(name, is_method=is_method))
        self.source: str | None = None
        self.code: Code | None = None
        if trainable:
            if not isinstance(function, FunctionType) or function.__name__ == "<lambda>":
                raise SourceError(
                    f"{name} cannot be trainable, because it has no def statement.",
                    mend="Write it as a def, or leave trainable=True out.",
                )
            self.source = source if source is not None else source_of(function)
            self.code = Code.of(self.source, function.__name__, function.__code__.co_freevars)

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Definition":
        return self

    def new_parameter(self) -> ParameterNode[str]:
        """Return a parameter that holds the source, as the user wrote it."""
        assert self.code is not None
        parameter: ParameterNode[str] = node(self.source, name=self.operator.name, trainable=True, domain=self.code)
        return parameter


def _writer(name: str, *, is_method: bool) -> Callable[[Mapping[str, str]], str]:
    """Return how a call is written: a method on ``self``, and what is no argument as a comment or not at all."""

    def write(arguments: Mapping[str, str]) -> str:
        shown = {
            key: value
            for key, value in arguments.items()
            if not key.startswith("reads ") and key != "__code" and not (is_method and key == "self")
        }
        also = [value for key, value in arguments.items() if key.startswith("reads ")]
        comment = f"  # also reads {', '.join(also)}" if also else ""
        # Trainable functions go by the name of their code: two instances may run two versions.
        called = arguments.get("__code", name)
        return f"{'self.' * is_method}{called}({write_arguments(shown)}){comment}"

    return write


_new = object.__new__


class _Version(NamedTuple):
    """A source and what it was compiled to."""

    source: str | None
    function: Callable[..., Any]
    bind: Callable[..., Bound]


class _Code:
    """The code that a trainable function runs: a parameter, and the newest version of it, compiled.

    Attributes:
        asked: True once somebody has looked the function up on the instance that owns this code.
    """

    __slots__ = ("asked", "parameter", "version")

    def __init__(self, definition: _Definition) -> None:
        self.parameter = definition.new_parameter()
        # What the user wrote runs as it is, the very function object; only what was changed is compiled.
        self.version = _Version(self.parameter._data, definition.function, definition.bind)  # noqa: SLF001
        self.asked = False

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Code":
        twin = _new(_Code)
        twin.parameter, twin.version, twin.asked = deepcopy(self.parameter, memo), self.version, self.asked
        return twin

    def is_current(self) -> bool:
        """True if the newest version is compiled: by identity, which is all that a call needs to know."""
        return self.parameter._data is self.version.source  # noqa: SLF001 - the caller records it as an input

    def current(self, definition: _Definition) -> _Version:
        """Return the version of the source as it is now."""
        source = self.parameter._data  # noqa: SLF001 - as above
        if source != self.version.source:
            function = compile_source(source, definition.function, definition.owner)  # type: ignore[arg-type]
            self.version = _Version(source, function, make_binder(function))
        return self.version


class FunModule:
    """A function whose calls are recorded. Made by `bundle`; called like the function.

    Attributes:
        fun: The function as the user wrote it.
        name: Name of the operator in graphs.
        trainable: True if the source is a parameter.
        parameter: The node that holds the source, or None if the function is not trainable. A method has one
            per instance.
    """

    def __init__(self, definition: _Definition) -> None:
        self._definition = definition
        self._owner: Any = None
        self._code = None if definition.code is None else _Code(definition)
        self.__wrapped__ = definition.function
        self.__name__ = getattr(definition.function, "__name__", definition.operator.name)
        self.__doc__ = getattr(definition.function, "__doc__", None)

    @property
    def fun(self) -> Callable[..., Any]:
        return self._definition.function

    @property
    def name(self) -> str:
        return self._definition.operator.name

    @property
    def trainable(self) -> bool:
        return self._definition.code is not None

    @property
    def parameter(self) -> ParameterNode[str] | None:
        return None if self._code is None else self._code.parameter

    def parameters(self) -> list[ParameterNode[Any]]:
        """Return the parameters of the function: its source, if it is trainable."""
        return [] if self._code is None else [self._code.parameter]

    def __get__(self, instance: Any, owner: type | None = None) -> "FunModule":
        # Bound anew for each use, as Python binds methods: an instance that held its bound method would
        # hold itself.
        if instance is None:
            return self
        bound = _new(FunModule)
        code = self._code if self._code is None or isinstance(instance, type) else self._code_of(instance)
        bound._definition, bound._owner, bound._code = self._definition, instance, code  # noqa: SLF001 - its own class
        bound.__wrapped__, bound.__name__, bound.__doc__ = self.__wrapped__, self.__name__, self.__doc__
        return bound

    def _code_of(self, instance: Any) -> _Code:
        """Return the code of this method for *instance*, which owns it."""
        try:
            owned: dict[_Definition, _Code] = vars(instance).setdefault("_opto_code", {})
        except TypeError:
            raise GraphError(
                f"{self.name}() cannot be trainable on a {type(instance).__name__}, which has __slots__ only.",
                mend="Add '__dict__' to __slots__, so that each instance can own its code.",
            ) from None
        if self._definition not in owned:
            # All methods at once, before any of them runs: code that was born inside a call would count as its own.
            for definition in trainable_definitions(type(instance)):
                owned.setdefault(definition, _Code(definition))
        code = owned.get(self._definition) or owned.setdefault(self._definition, _Code(self._definition))
        code.asked = True
        return code

    def __set_name__(self, owner: type, name: str) -> None:
        self._definition.owner = owner

    def __repr__(self) -> str:
        return f"<FunModule {self.__wrapped__.__module__}.{getattr(self.fun, '__qualname__', self.name)}>"

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function on the values of any nodes among the arguments, and record the call.

        Raises:
            TypeError: The arguments do not fit the signature.
            ExecutionError: The function raised; unless ``catch_execution_error=False``, which lets it pass.
            MissingInputsError: The function read a node that is not among the arguments.
        """
        definition = self._definition
        if self._owner is not None:
            args = (self._owner, *args)
        function, bind, code = definition.function, definition.bind, self._code
        if code is not None:
            _, function, bind = code.version if code.is_current() else self._updated(args, kwargs)
        keys, inputs, plain, named = bind(*args, **kwargs)
        if definition.calls_specially:
            return self._call_specially(function, (keys, inputs, plain, named))
        # Written out, not a context manager: it would cost as much as all the rest.
        scope = new_scope()
        token = enter_scope(scope)
        try:
            try:
                value = function(*plain) if not named else _apply(function, plain, named)
                if value.__class__ not in _SCALARS:
                    value = unpack(value)
            finally:
                leave_scope(token)  # before a failure is recorded, which would be lost inside
        except Exception as cause:
            if self._lets_pass(cause):
                raise
            raise self._failed(keys, inputs, reads_in(scope), cause) from cause
        if len(scope) > 1:
            keys, inputs = self._complete(keys, inputs, reads_in(scope))
        elif code is not None:
            keys, inputs = (*keys, "__code"), (*inputs, code.parameter)
        return record(definition.operator, keys, inputs, value)

    def _call_specially(self, function: Callable[..., Any], bound: Bound) -> Any:
        if self._definition.is_async:
            return self._call_async(function, bound)
        return self._call_openly(function, bound)

    async def _call_async(self, function: Callable[..., Any], bound: Bound) -> Any:
        """Do for a coroutine function what `__call__` does for others."""
        keys, inputs, plain, named = bound
        scope = new_scope()
        token = enter_scope(scope)
        try:
            try:
                value = unpack(await _apply(function, plain, named))
            finally:
                leave_scope(token)
        except Exception as cause:
            if self._lets_pass(cause):
                raise
            raise self._failed(keys, inputs, reads_in(scope), cause) from cause
        keys, inputs = self._complete(keys, inputs, reads_in(scope))
        return record(self._definition.operator, keys, inputs, value)

    def _call_openly(self, function: Callable[..., Any], bound: Bound) -> Any:
        """Call the function on the nodes themselves, so that what it does inside is part of the graph."""
        keys, inputs, _, named = bound
        try:
            result = pack(_apply(function, inputs, named))
        except ExecutionError as error:
            if self._code is None:
                raise
            # The node of the operator inside is connected to what it was computed from, but not to this code.
            raise self._failed(("result",), (error.exception_node,), [], error) from error
        except Exception as cause:
            if self._lets_pass(cause):
                raise
            raise self._failed(keys, inputs, [], cause) from cause
        if isinstance(result, Node) and self._code is None:
            return result
        keys, inputs = self._complete(("result",), (result,), [])
        return record(self._definition.operator, keys, inputs, unpack(result))

    def _updated(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Version:
        """Return the function that the source now defines, and its binder."""
        assert self._code is not None
        try:
            return self._code.current(self._definition)
        except Exception as cause:
            # Code that a domain let pass may still fail where it is defined: in a default, in an import.
            keys, inputs, _, _ = self._definition.bind(*args, **kwargs)
            raise self._failed(keys, inputs, [], cause) from cause

    def _complete(
        self, keys: tuple[str, ...], inputs: tuple[Any, ...], reads: list[Any], *, strict: bool = True
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Add to the arguments what else the call depends on: its own code, and nodes that it read."""
        code = self.parameters()
        hidden = _hidden(reads, (*inputs, *code)) if reads else []
        if hidden and strict and not self._definition.allow_external:
            names = ", ".join(repr(item.name) for item in hidden)
            raise MissingInputsError(
                f"{self.name}() read {names}, which it was not given, so feedback could not get there.",
                mend="Pass it as an argument, or use @bundle(allow_external_dependencies=True).",
            )
        keys = (*keys, *("__code" for _ in code), *(f"reads {index}" for index in range(len(hidden))))
        return keys, (*inputs, *code, *hidden)

    def _lets_pass(self, cause: Exception) -> bool:
        return not self._definition.catch or isinstance(cause, MissingInputsError)

    def _failed(
        self, keys: tuple[str, ...], inputs: tuple[Any, ...], reads: list[Any], cause: Exception
    ) -> ExecutionError:
        # What it read is kept either way: an error about that would hide the error of the user's code.
        keys, inputs = self._complete(keys, inputs, reads, strict=False)
        return failure(self._definition.operator, keys, inputs, cause)


def _hidden(reads: list[Any], given: Iterable[Any]) -> list[Any]:
    """Return those of *reads* that were not given, directly or in a container."""
    known: set[int] = set()
    waiting = list(given)
    while waiting:
        item = waiting.pop()
        known.add(id(item))
        if isinstance(item, MessageNode) and item.operator in _PACKERS:
            waiting += item._inputs  # noqa: SLF001 - a container's items
    return [item for item in reads if id(item) not in known]


#: Results that hold no node and are no container: they need no second look.
_SCALARS = frozenset({int, float, str, bool, type(None), bytes, complex})
_PACKERS = {container.operator for container in CONTAINERS.values()}


def trainable_definitions(kind: type) -> dict[_Definition, str]:
    """Return the trainable methods that instances of *kind* own code for, overridden ones too, each with its path."""
    found: dict[_Definition, str] = {}
    seen: set[str] = set()
    for base in kind.__mro__:
        for name, member in vars(base).items():
            if isinstance(member, FunModule) and member.trainable:
                found.setdefault(member._definition, f"{base.__name__}.{name}" if name in seen else name)  # noqa: SLF001
        seen.update(vars(base))
    return found


def _apply(function: Callable[..., Any], values: Sequence[Any], named: tuple[str, ...]) -> Any:
    """Call *function* with *values*, of which the last go by the names *named*."""
    split = len(values) - len(named)
    return function(*values[:split], **dict(zip(named, values[split:], strict=True)))


@overload
def bundle(function: Callable[..., Any], /) -> FunModule: ...


@overload
def bundle(
    function: str | None = None,
    /,
    *,
    description: str | None = None,
    trainable: bool = False,
    source: str | None = None,
    catch_execution_error: bool = True,
    allow_external_dependencies: bool = False,
    traceable_code: bool = False,
) -> Callable[[Callable[..., Any]], FunModule]: ...


def bundle(
    function: Callable[..., Any] | str | None = None,
    /,
    *,
    description: str | None = None,
    trainable: bool = False,
    source: str | None = None,
    catch_execution_error: bool = True,
    allow_external_dependencies: bool = False,
    traceable_code: bool = False,
) -> Any:
    """Make a function an operator: its calls become nodes of the trace graph. ``@bundle`` or ``@bundle(…)``.

    Inside, the function works on plain values and nothing is recorded.

    Args:
        function: The function, or its description.
        description: What it does, in words for whoever optimizes; the default is the docstring. A name in
            square brackets at the start becomes the operator's name: ``"[sum] Adds up the items."``
        trainable: True if an optimizer may rewrite the function: its source becomes a parameter.
        source: The source, for functions whose text Python cannot find (made by ``exec``, for instance).
        catch_execution_error: False to let exceptions pass instead of turning them into an `ExecutionError`
            with a node that can be given feedback.
        allow_external_dependencies: True if the function may read nodes that are not its arguments. They are
            recorded as inputs all the same.
        traceable_code: True to call the function on the nodes themselves and record what it does inside.

    Raises:
        SourceError: A trainable function has no source to be found.

    Example:
        >>> @bundle
        ... def double(x):
        ...     "Twice x."
        ...     return 2 * x
        >>> y = double(node(3, name="x"))
        >>> y.data, y.operator.name, y.description, [parent.py_name[0] for parent in y.parents]
        (6, 'double', 'Twice x.', ['x'])
    """
    if isinstance(function, str):
        function, description = None, function

    def decorate(function: Callable[..., Any]) -> FunModule:
        definition = _Definition(
            function,
            description=description,
            trainable=trainable,
            source=source,
            catch_execution_error=catch_execution_error,
            allow_external_dependencies=allow_external_dependencies,
            traceable_code=traceable_code,
        )
        return FunModule(definition)

    return decorate if function is None else decorate(function)
