"""`bundle`: a decorator that makes a function an operator whose calls are recorded."""

import sys
from collections.abc import Callable, Iterable
from contextlib import asynccontextmanager, contextmanager
from copy import deepcopy
from functools import cached_property, partial, partialmethod, update_wrapper
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, NoReturn, Self, overload

from opto.errors import ExecutionError, GraphError, IsolationError, MissingInputsError
from opto.nodes import ExceptionNode, ParameterNode, unpack
from opto.sandbox import Isolation, Sandbox
from opto.trace.calls import Options
from opto.trace.definition import Definition
from opto.trace.dependencies import disable_external_dependencies_check
from opto.trace.memo import Memo
from opto.trace.origin import text_of
from opto.trace.ownership import ParameterOwner
from opto.trace.versions import CodeVersions

__all__ = [
    "ExceptionNode",
    "ExecutionError",
    "FunModule",
    "TraceMissingInputsError",
    "bundle",
    "disable_external_dependencies_check",
    "to_data",
]

# Trace's names for what is made elsewhere.
TraceMissingInputsError = MissingInputsError
to_data = unpack

_new = object.__new__


def _of_function(name: str) -> Any:
    return property(lambda self: getattr(self._definition.function, name))


class FunModule(ParameterOwner):
    """A function whose calls are recorded. Made by `bundle`; called like the function.

    A call works on the values of any nodes among the arguments. It raises what Python raises for arguments that do not
    fit; `ExecutionError` if the function raised, unless ``catch_execution_error=False`` lets that pass; and
    `MissingInputsError` if the function read a node that is not among the arguments.

    Attributes:
        fun: The function as the user wrote it.
        name: Name of the operator in graphs.
        trainable: True if the source is a parameter.
        parameter: The node that holds the source, or None if the function is not trainable. A method has one
            per instance.
    """

    # What a call runs stands in a slot, so that Python gets there without a function in between, which would have to
    # pack and unpack the arguments: a quarter of the time of a call.
    __slots__ = ("__call__", "_code", "_definition", "_owner")
    if TYPE_CHECKING:  # Annotations of the class would pass for those of every bundled function.
        __call__: Callable[..., Any]

    def __new__(cls, definition: Definition, **_: Any) -> Self:
        return _new(cls if isinstance(definition.function, FunctionType) else _Standing)  # type: ignore[return-value]

    def __init__(self, definition: Definition, *, owner: Any = None, code: CodeVersions | None = None) -> None:
        if isinstance(definition.function, FunctionType):
            update_wrapper(self, definition.function)
        if code is None and definition.code is not None:
            code = CodeVersions(definition)
        run = definition.runner if code is None else code.run
        self._definition, self._owner, self._code = definition, owner, code
        self.__call__ = run if owner is None else MethodType(run, owner)
        self.__wrapped__ = definition.function
        self.__name__ = getattr(definition.function, "__name__", definition.operator.name)
        self.__doc__ = getattr(definition.function, "__doc__", None)

    # What `inspect` and other decorators want to know of a function.
    __code__ = _of_function("__code__")
    __closure__ = _of_function("__closure__")
    __defaults__ = _of_function("__defaults__")
    __globals__ = _of_function("__globals__")
    __kwdefaults__ = _of_function("__kwdefaults__")

    @property
    def name(self) -> str:
        return self._definition.name

    @property
    def fun(self) -> Callable[..., Any]:
        return self._definition.function

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

    @property
    def info(self) -> dict[str, Any]:
        """What is known of the function, by the names that Trace uses."""
        function = self._definition.inner
        code = getattr(function, "__code__", None)
        return {
            "fun_name": self.name,
            "doc": getattr(function, "__doc__", None),
            "source": self._definition.source or text_of(self._definition.inner),
            "file": code and code.co_filename,
            "line_number": code and code.co_firstlineno,
        }

    def detach(self) -> "FunModule":
        """Return a copy with code of its own."""
        return deepcopy(self)

    def parameters(self) -> list[ParameterNode[Any]]:
        """Return the parameters of the function: its source, if it is trainable."""
        return [] if self._code is None else [self._code.parameter]

    def __get__(self, instance: Any, owner: type | None = None) -> "FunModule":
        if instance is None or self._owner is not None:
            return self
        definition, run, code = self._definition, self.__call__, self._code
        if code is not None and not isinstance(instance, type):
            # The code that the instance owns. Written out, as for each call of a method.
            try:
                code = instance.__dict__["_opto_code"][definition]
            except (AttributeError, KeyError):
                code = self._new_code_of(instance)
            code.asked = True
            run = code.run
        # Bound anew for each use, as Python binds methods: an instance that held its bound method would hold itself.
        bound = _new(FunModule)
        bound.__dict__ = self.__dict__
        bound._definition, bound._owner, bound._code = definition, instance, code  # noqa: SLF001 - its own class
        bound.__call__ = MethodType(run, instance)
        return bound

    def _new_code_of(self, instance: Any) -> CodeVersions:
        try:
            owned: dict[Definition, CodeVersions] = vars(instance).setdefault("_opto_code", {})
        except TypeError:
            raise GraphError(
                f"{self.name}() cannot be trainable on a {type(instance).__name__}, which has __slots__ only.",
                mend="Add '__dict__' to __slots__, so that each instance can own its code.",
            ) from None
        # All methods at once, before any of them runs: code that was born inside a call would count as its own.
        for definition in [*trainable_definitions(type(instance)), self._definition]:
            if definition not in owned:
                owned.setdefault(definition, CodeVersions(definition))  # another thread may have been faster
        return owned[self._definition]

    def __set_name__(self, owner: type, name: str) -> None:
        function = self._definition.function
        is_partial = isinstance(function, partial) and sys.version_info < (3, 14)  # from there on they are methods
        if self._owner is not None or not hasattr(function, "__get__") or isinstance(function, type) or is_partial:
            # As in Python, what is bound already, classes, builtins and other callables are no methods.
            setattr(owner, name, staticmethod(self))
        else:
            self._definition.owner = owner

    @property
    def isolation(self) -> Sandbox | None:
        """Where code of this function runs that an optimizer has changed, as the bundle said."""
        return self._definition.options.sandbox

    @isolation.setter
    def isolation(self, value: object) -> NoReturn:
        raise GraphError(
            f"isolation of {self.name}() is fixed once it is bundled.",
            mend=f"Write @bundle(trainable=True, isolation={value!r:.80}), or call it in a block of with Sandbox(…).",
        )

    @property
    def __self__(self) -> Any:
        if self._owner is None:
            raise AttributeError(f"{self.name}() is not bound.")
        return self._owner

    @property
    def __func__(self) -> "FunModule":
        if self._owner is None:
            raise AttributeError(f"{self.name}() is not bound.")
        return FunModule(self._definition)

    def __instancecheck__(self, instance: Any) -> bool:
        # `fun` may be a class; if it is none, Python says what it says of any other function.
        return isinstance(unpack(instance), self.fun)  # type: ignore[arg-type]

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


class _Standing(FunModule):
    """What stands in the place of another object that can be called, and has its attributes as they are now.

    A class of its own, because attributes that are looked up in this way cost all others.
    """

    def __getattr__(self, name: str) -> Any:
        if name == "_definition" or (name[:2] == "__" and name not in _SHOWN):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._definition.function, name)


# Others, such as __deepcopy__, would be those of another object.
_SHOWN = {"__qualname__", "__module__", "__text_signature__", "__isabstractmethod__"}


def bundled_in(member: Any) -> Any:
    """Return what a member of a class calls in the end: *member*, or what stands behind properties and decorators."""
    while isinstance(member, staticmethod | classmethod | property | cached_property | FunctionType):
        inside = [getattr(member, name, None) for name in ("__func__", "fget", "func", "__wrapped__")]
        member = next((item for item in inside if item is not None), None)
    return member


def trainable_definitions(kind: type) -> dict[Definition, str]:
    """Return the trainable methods that instances of *kind* own code for, overridden ones too, each with its path."""
    found: dict[Definition, str] = {}
    seen: set[str] = set()
    for base in kind.__mro__:
        for name, member in vars(base).items():
            if isinstance(member, FunModule) and member.trainable:
                found.setdefault(member._definition, f"{base.__name__}.{name}" if name in seen else name)  # noqa: SLF001 - as above
        seen.update(vars(base))
    return found


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
    isolation: Isolation | Sandbox | None = None,
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
    isolation: Isolation | Sandbox | None = None,
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
        trainable: True if an optimizer may rewrite the function: its source, from ``def`` on, becomes a parameter.
            Decorators between ``bundle`` and ``def`` stay around whatever takes its place.
        source: The source, for functions whose text Python cannot find (made by ``exec``, for instance).
        catch_execution_error: False to let exceptions pass instead of turning them into an `ExecutionError`
            with a node that can be given feedback.
        allow_external_dependencies: True if the function may read nodes that are not its arguments. They are
            recorded as inputs all the same.
        traceable_code: True to call the function on the nodes themselves and record what it does inside.
        memo: True to reuse results by the content of code and inputs (see `Memo`), or a `Memo`, to share it or to
            keep results in a folder.
        domain: What a new source must be, besides code with the same signature (`Imports`, ``Text(max_lines=40)``, a
            function that checks it); ``str`` if it may be any text.
        projections: Functions that map a suggested source, one after the other, before it is checked.
        isolation: Where code runs that an optimizer has changed: a `Sandbox`, or a level of isolation such as
            ``"strict"``. The default is the sandbox whose block is around the call, or the environment variable
            ``OPTO_ISOLATION``, or ``"auto"``. See ``docs/security.md``.
        output_name: Name of the result, if not that of the function.
        overwrite_python_recursion: Accepted as in Trace: a function that calls itself runs as it does untraced.
        _process_inputs: False, as in Trace, to call the function on what it was given, nodes or not.

    Raises:
        SourceError: A trainable function has no source to be found.
        IsolationError: There is no such level of isolation.
        GraphError: ``isolation=`` stands with a function that nobody can change.

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
        sandbox=_sandbox_of(isolation),
    )
    if isolation is not None and not trainable:
        raise GraphError(
            "isolation= is for code that an optimizer has changed, and this function is not trainable.",
            mend="Leave it out, or say trainable=True.",
        )

    return partial(_bundled, options) if function is None else _bundled(options, function)


def _sandbox_of(isolation: Any) -> Sandbox | None:
    if isolation is None or isinstance(isolation, Sandbox):
        return isolation
    if isinstance(isolation, str):
        return Sandbox(isolation)  # type: ignore[arg-type] # which looks whether it is a level
    raise IsolationError(
        f"isolation={isolation!r:.80} is neither a level nor a Sandbox.",
        mend="Write isolation='strict', for instance, or isolation=Sandbox(limits=…).",
    )


def _bundled(options: Options, function: Any) -> Any:
    """Return *function* as an operator, or what it is made of: those that take a function in are bundled inside."""
    if isinstance(function, staticmethod | classmethod):
        return type(function)(_bundled(options, function.__func__))
    if isinstance(function, property):
        getter = function.fget and _bundled(options, function.fget)
        return property(getter, function.fset, function.fdel, function.__doc__)
    if isinstance(function, cached_property):
        return cached_property(_bundled(options, function.func))
    if isinstance(function, partialmethod):
        return partialmethod(_bundled(options, function.func), *function.args, **function.keywords)
    if isinstance(function, MethodType):
        return _bundled(options, function.__func__).__get__(function.__self__)
    for manage in (contextmanager, asynccontextmanager):
        if getattr(function, "__code__", None) is manage(_bundled).__code__:
            return manage(_bundled(options, function.__wrapped__))
    if not callable(function):
        raise GraphError(f"{function!r:.200} cannot be called.", mend="Bundle a function.")
    return FunModule(Definition(function, options))
