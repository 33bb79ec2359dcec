"""`bundle`: a decorator that makes a function an operator whose calls are recorded."""

from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, overload

from opto.errors import ExecutionError, GraphError, MissingInputsError
from opto.nodes import (
    SINCE,
    Node,
    ParameterNode,
    enter_scope,
    failure,
    fingerprint,
    leave_scope,
    new_scope,
    next_birth,
    pack,
    reads_in,
    record,
    unpack,
)
from opto.trace.binding import Bound
from opto.trace.definition import CodeVersions, Definition, Options, Version
from opto.trace.dependencies import SCALARS, hidden_reads, warn_of_changes
from opto.trace.memo import Memo, NotContentError, content_key
from opto.trace.ownership import ParameterOwner

__all__ = ["FunModule", "bundle"]

_new = object.__new__


class FunModule(ParameterOwner):
    """A function whose calls are recorded. Made by `bundle`; called like the function.

    Attributes:
        fun: The function as the user wrote it.
        name: Name of the operator in graphs.
        trainable: True if the source is a parameter.
        parameter: The node that holds the source, or None if the function is not trainable. A method has one
            per instance.
    """

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._owner: Any = None
        self._code = None if definition.code is None else CodeVersions(definition)
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

    @property
    def memo(self) -> Memo | None:
        """Where results are kept, with counts of hits and misses; None without ``memo=``."""
        return self._definition.options.memo

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

    def _code_of(self, instance: Any) -> CodeVersions:
        """Return the code of this method for *instance*, which owns it."""
        try:
            owned: dict[Definition, CodeVersions] = vars(instance).setdefault("_opto_code", {})
        except TypeError:
            raise GraphError(
                f"{self.name}() cannot be trainable on a {type(instance).__name__}, which has __slots__ only.",
                mend="Add '__dict__' to __slots__, so that each instance can own its code.",
            ) from None
        if self._definition not in owned:
            # All methods at once, before any of them runs: code that was born inside a call would count as its own.
            for definition in trainable_definitions(type(instance)):
                owned.setdefault(definition, CodeVersions(definition))
        code = owned.get(self._definition) or owned.setdefault(self._definition, CodeVersions(self._definition))
        code.asked = True
        return code

    def __set_name__(self, owner: type, name: str) -> None:
        self._definition.owner = owner

    def __eq__(self, other: object) -> bool:
        # As Python's methods: two that are taken from one object are equal.
        if not isinstance(other, FunModule):
            return NotImplemented
        return self._definition is other._definition and self._owner is other._owner

    def __hash__(self) -> int:
        return hash((id(self._definition), id(self._owner)))

    @property
    def __signature__(self) -> Any:
        import inspect  # noqa: PLC0415 - only for those who ask, and they have it already

        signature = inspect.signature(self._definition.function)
        skipped = 0 if self._owner is None else 1
        return signature.replace(parameters=list(signature.parameters.values())[skipped:])

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
        keys, inputs, plain, named, mutable = bind(*args, **kwargs)
        if definition.is_special:
            return self._call_specially(function, (keys, inputs, plain, named, mutable))
        before = [*map(fingerprint, plain)] if mutable else None
        # Written out, not by new_scope() and a context manager: that would cost as much as all the rest.
        scope: dict[Any, Any] = {SINCE: next_birth()}
        token = enter_scope(scope)
        try:
            try:
                value = _apply(function, plain, named) if named else function(*plain)
                if value.__class__ not in SCALARS:
                    value = unpack(value)
            finally:
                leave_scope(token)  # before a failure is recorded, which would be lost inside
        except Exception as cause:
            if self._lets_pass(cause):
                raise
            raise self._failed(keys, inputs, reads_in(scope), cause) from cause
        if before is not None:
            warn_of_changes(self.name, keys, plain, before)
        if len(scope) > 1:
            keys, inputs = self._complete(keys, inputs, reads_in(scope))
        elif code is not None:
            keys, inputs = (*keys, "__code"), (*inputs, code.parameter)
        return record(definition.operator, keys, inputs, value)

    def _call_specially(self, function: Callable[..., Any], bound: Bound) -> Any:
        match self._definition.mode:
            case "open":
                return self._call_openly(function, bound)
            case "memo":
                return self._call_once(function, bound)
            case "async":
                return self._call_async(function, bound)
            case "generator":
                return self._generate(function, bound)
            case _:
                return self._generate_async(function, bound)

    @contextmanager
    def _body(self, bound: Bound) -> Iterator[dict[Any, Any]]:
        """Do around the body of a function what `__call__` does, where its speed does not matter."""
        scope = new_scope()
        token = enter_scope(scope)
        try:
            try:
                yield scope
            finally:
                leave_scope(token)
        except Exception as cause:
            if self._lets_pass(cause):
                raise
            raise self._failed(bound[0], bound[1], reads_in(scope), cause) from cause

    def _recorded(self, bound: Bound, scope: dict[Any, Any], value: Any, *, item: int | None = None) -> Any:
        keys, inputs = self._complete(bound[0], bound[1], reads_in(scope))
        if item is not None:
            keys, inputs = (*keys, " item"), (*inputs, item)
        return record(self._definition.operator, keys, inputs, value)

    async def _call_async(self, function: Callable[..., Any], bound: Bound) -> Any:
        with self._body(bound) as scope:
            value = unpack(await _apply(function, bound[2], bound[3]))
        return self._recorded(bound, scope, value)

    def _generate(self, function: Callable[..., Any], bound: Bound) -> Generator[Any, Any, Any]:
        """Yield the items of a generator function, each as a node, when they are asked for."""
        iterator = _apply(function, bound[2], bound[3])
        sent = None
        try:
            for number in count():
                with self._body(bound) as scope:
                    try:
                        value = unpack(iterator.send(sent))
                    except StopIteration as end:
                        return end.value
                sent = yield self._recorded(bound, scope, value, item=number)
        finally:
            iterator.close()

    async def _generate_async(self, function: Callable[..., Any], bound: Bound) -> AsyncIterator[Any]:
        iterator = _apply(function, bound[2], bound[3])
        sent = None
        try:
            for number in count():
                with self._body(bound) as scope:
                    try:
                        value = unpack(await iterator.asend(sent))
                    except StopAsyncIteration:
                        return
                sent = yield self._recorded(bound, scope, value, item=number)
        finally:
            await iterator.aclose()

    def _call_once(self, function: Callable[..., Any], bound: Bound) -> Any:
        """Take the result from the memo, or compute and keep it."""
        memo = self._definition.options.memo
        assert memo is not None
        keys, _, plain, named, _ = bound
        key: str | None = None
        try:
            key = content_key(function, dict(zip(keys, plain, strict=True)))
        except (NotContentError, RecursionError):
            memo.unkeyed += 1
        if key is not None:
            found, value, reads = memo.find(key)
            if found:
                return self._recorded(bound, dict.fromkeys([None, *reads]), value)
        with self._body(bound) as scope:
            value = unpack(_apply(function, plain, named))
        result = self._recorded(bound, scope, value)
        if key is not None:
            memo.keep(key, value, reads_in(scope))
        return result

    def _call_openly(self, function: Callable[..., Any], bound: Bound) -> Any:
        """Call the function on the nodes themselves, so that what it does inside is part of the graph."""
        keys, inputs, _, named, _ = bound
        try:
            result = pack(_apply(function, inputs, named))
        except ExecutionError as error:
            # The node of the operator inside is connected to what it was computed from, but not to this call.
            raise self._failed((*keys, " inside"), (*inputs, error.exception_node), [], error) from error
        except Exception as cause:
            if self._lets_pass(cause):
                raise
            raise self._failed(keys, inputs, [], cause) from cause
        if isinstance(result, Node):
            keys, inputs = (*keys, " inside"), (*inputs, result)
        keys, inputs = self._complete(keys, inputs, [])
        return record(self._definition.operator, keys, inputs, unpack(result))

    def _updated(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Version:
        """Return the function that the source now defines, and its binder."""
        assert self._code is not None
        try:
            return self._code.current(self._definition)
        except Exception as cause:
            # Code that a domain let pass may still fail where it is defined: in a default, in an import.
            keys, inputs, *_ = self._definition.bind(*args, **kwargs)
            raise self._failed(keys, inputs, [], cause) from cause

    def _complete(
        self, keys: tuple[str, ...], inputs: tuple[Any, ...], reads: list[Any], *, strict: bool = True
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Add to the arguments what else the call depends on: its own code, and nodes that it read."""
        code = self.parameters()
        hidden = hidden_reads(reads, (*inputs, *code)) if reads else []
        if hidden and strict and not self._definition.options.allow_external_dependencies:
            names = ", ".join(repr(item.name) for item in hidden)
            raise MissingInputsError(
                f"{self.name}() read {names}, which it was not given, so feedback could not get there.",
                mend="Pass it as an argument, or use @bundle(allow_external_dependencies=True).",
            )
        keys = (*keys, *("__code" for _ in code), *(f" reads {index}" for index in range(len(hidden))))
        return keys, (*inputs, *code, *hidden)

    def _lets_pass(self, cause: Exception) -> bool:
        return not self._definition.options.catch_execution_error or isinstance(cause, MissingInputsError)

    def _failed(
        self, keys: tuple[str, ...], inputs: tuple[Any, ...], reads: list[Any], cause: Exception
    ) -> ExecutionError:
        # What it read is kept either way: an error about that would hide the error of the user's code.
        keys, inputs = self._complete(keys, inputs, reads, strict=False)
        return failure(self._definition.operator, keys, inputs, cause)


def trainable_definitions(kind: type) -> dict[Definition, str]:
    """Return the trainable methods that instances of *kind* own code for, overridden ones too, each with its path."""
    found: dict[Definition, str] = {}
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
    memo: bool | Memo = False,
    domain: Any = None,
    projections: Iterable[Callable[[Any], Any]] | None = None,
    output_name: str | None = None,
    overwrite_python_recursion: bool = False,
    _process_inputs: bool = True,
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
    memo: bool | Memo = False,
    domain: Any = None,
    projections: Iterable[Callable[[Any], Any]] | None = None,
    output_name: str | None = None,
    overwrite_python_recursion: bool = False,  # noqa: ARG001 - recursion is no special case here
    _process_inputs: bool = True,
) -> Any:
    """Make a function an operator: its calls become nodes of the trace graph. ``@bundle`` or ``@bundle(…)``.

    Inside, the function works on plain values and nothing is recorded. Coroutine functions are awaited as before;
    generators yield one node per item.

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
        memo: True to reuse results by the content of code and inputs (see `Memo`), or a `Memo`, to share it or to
            keep results in a folder.
        domain: What a new source may be, if not just any code with the same signature.
        projections: Functions that map a suggested source, one after the other, before it is checked.
        output_name: Name of the result, if not that of the function.
        overwrite_python_recursion: Accepted as in Trace: a function that calls itself runs as it does untraced.
        _process_inputs: False, as in Trace, to call the function on what it was given, nodes or not.

    Raises:
        SourceError: A trainable function has no source to be found.

    Example:
        >>> from opto.nodes import node
        >>> @bundle
        ... def double(x):
        ...     "Twice x."
        ...     return 2 * x
        >>> y = double(node(3, name="x"))
        >>> y.data, y.operator.name, y.description, [parent.stem for parent in y.parents]
        (6, 'double', 'Twice x.', ['x'])
    """
    if isinstance(function, str):
        function, description = None, function
    options = Options(
        description=description,
        trainable=trainable,
        source=source,
        catch_execution_error=catch_execution_error,
        allow_external_dependencies=allow_external_dependencies,
        traceable_code=traceable_code,
        process_inputs=_process_inputs,
        projections=tuple(projections or ()),
        domain=domain,
        memo=memo if isinstance(memo, Memo) else Memo() if memo else None,
        output_name=output_name,
    )

    def decorate(function: Any) -> Any:
        # Descriptors are bundled inside, whichever decorator was written first.
        if isinstance(function, staticmethod | classmethod):
            return type(function)(decorate(function.__func__))
        if isinstance(function, property):
            return property(decorate(function.fget), function.fset, function.fdel, function.__doc__)
        return FunModule(Definition(function, options))

    return decorate if function is None else decorate(function)
