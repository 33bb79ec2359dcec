"""How the body of a bundled function is run, and what is recorded of the call."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Generator
from contextlib import suppress
from functools import partial
from types import AsyncGeneratorType, GeneratorType, TracebackType
from typing import Any, NamedTuple, NoReturn, Self

from opto.errors import ExecutionError, GraphError, MissingInputsError
from opto.nodes import (
    SCALARS,
    Node,
    Operator,
    ParameterNode,
    births,
    enter_open_scope,
    enter_scope,
    failure,
    fingerprint,
    leave_open_scope,
    leave_scope,
    new_scope,
    pack,
    reads_in,
    record,
    unpack,
)
from opto.sandbox import Sandbox
from opto.trace.binding import Bound, apply, make_twin
from opto.trace.dependencies import hidden_reads, is_checked, warn_of_changes
from opto.trace.memo import Lookup, Memo
from opto.trace.source import CodeParameter, unwrapped

__all__ = ["Call", "Options", "make_runner"]

# Flags of code objects, as in `inspect`, which takes longer to import than all of this package.
_COROUTINE, _ITERABLE_COROUTINE, _GENERATOR, _ASYNC_GENERATOR = 0x80, 0x100, 0x20, 0x200

#: Special methods that Python itself calls, and of which it takes a value of its own types only, never a node.
_ANSWERS = re.compile(
    r"__(aiter|await|bool|bytes|complex|del|dir|float|format|fspath|getnewargs|getnewargs_ex|getstate|hash|index|init|"
    r"init_subclass|int|iter|length_hint|new|reduce|reduce_ex|repr|set_name|setstate|sizeof|str)__"
).fullmatch
#: Operators, which say NotImplemented to Python and not to the program.
_OPERATORS = re.compile(
    r"__(eq|ne|lt|le|gt|ge|[ri]?(add|sub|mul|truediv|floordiv|mod|divmod|pow|matmul|lshift|rshift|and|or|xor))__"
).fullmatch


class Options(NamedTuple):
    """What the user passed to `bundle`."""

    description: str | None = None
    trainable: bool = False
    source: str | None = None
    catch_execution_error: bool = True
    allow_external_dependencies: bool = False
    traceable_code: bool = False
    process_inputs: bool = True
    projections: tuple[Callable[[Any], Any], ...] = ()
    domain: Any = None
    memo: Memo | None = None
    output_name: str | None = None
    sandbox: Sandbox | None = None

    @property
    def is_open(self) -> bool:
        """True if the function is called on the nodes themselves."""
        return self.traceable_code or not self.process_inputs


Keys = Collection[str]
Values = tuple[Any, ...]

#: What most calls of most functions do. It is compiled for each function, because calls to helpers would cost as much
#: as all the rest. No name of Python's own in it: an argument may have any, such as `map`.
_PLAINLY = """\
__before = [*__map(__fingerprint, {plain})] if {mutable} else None
__scope = [__next(__births), __operator]
__token = __enter_scope(__scope)
try:
    try:
        __value = {call}
        if __value.__class__ not in __scalars:
            if __hasattr(__value.__class__, "__await__"):
                return __call.go_on(__value, {keys}, {inputs}, {plain})
            __value = __unpack(__value)
    finally:
        __leave_scope(__token)
except __Exception as __cause:
    __call.fail({keys}, {inputs}, __reads_in(__scope), __cause)
if __before is not None:
    __warn_of_changes(__operator.name, {keys}, {plain}, __before)
if __len(__scope) > 2:
    return __record(__operator, *__call.complete({keys}, {inputs}, __reads_in(__scope)), __value)
if __code is not None:
    return __record(__operator, {coded_keys}, {coded_inputs}, __value)
return __record(__operator, {keys}, {inputs}, __value)
"""
_PLAINLY_NAMES: dict[str, Any] = {
    "__fingerprint": fingerprint,
    "__births": births,
    "__enter_scope": enter_scope,
    "__leave_scope": leave_scope,
    "__unpack": unpack,
    "__reads_in": reads_in,
    "__warn_of_changes": warn_of_changes,
    "__record": record,
    "__hasattr": hasattr,
    "__map": map,
    "__next": next,
    "__len": len,
    "__Exception": Exception,
}
#: The other ways are taken by `Call.run`.
_SPECIALLY = "return __run({keys}, {inputs}, {plain}, {named}, {mutable})"


def make_runner(call: "Call") -> Callable[..., Any]:
    """Return a function with the signature of *call*'s that runs it and records what happened.

    With other names (`Call.names`), a copy of it serves another owner of the same function.
    """
    return make_twin(call.function, _PLAINLY if call.mode == "plain" else _SPECIALLY, **call.names)


class Call:
    """What calls of one version of a bundled function have in common.

    Attributes:
        function: The version.
        operator: What is recorded of it.
        options: Those of the bundle.
        parameter: Holds its code; None if it is not trainable.
        confined: What its text runs in, if an optimizer has changed it. It has the sources of other functions that go
            along without being read (`used`), and tells what of its reads is new (`reads_anew`).
        mode: How its body is run: ``plain``, ``slow`` (with more to it than a call), ``async``, ``generator`` or
            ``async generator``.
        answers: True for special methods of which Python takes no node.
    """

    __slots__ = ("answers", "confined", "function", "mode", "operator", "options", "parameter")

    def __init__(
        self,
        function: Callable[..., Any],
        operator: Operator,
        options: Options,
        parameter: ParameterNode[str] | None = None,
        confined: Any = None,
    ) -> None:
        self.function, self.operator, self.options, self.parameter = function, operator, options, parameter
        self.confined = confined
        self.mode = _mode(function)
        name = getattr(function, "__name__", "")
        self.answers = bool(_ANSWERS(name))
        is_special = options.is_open or options.memo or self.answers or _OPERATORS(name) or confined is not None
        if self.mode == "plain" and is_special:
            self.mode = "slow"
        if options.memo is not None and (options.is_open or "generator" in self.mode):
            raise GraphError(
                f"{operator.name}() is {'open' if options.is_open else f'a {self.mode}'}, so there is no one result to "
                "reuse.",
                mend="Leave memo= out, and give it to what is called inside.",
            )

    @property
    def names(self) -> dict[str, Any]:
        """What the code that `make_runner` generates needs to know of the call."""
        if self.mode == "plain":
            own = {"__call": self, "__function": self.function, "__operator": self.operator, "__code": self.parameter}
            return {**_PLAINLY_NAMES, **own}
        return {"__run": self.run}

    def run(self, *bound: Any) -> Any:
        """Run the function in another way than the plain one, which is generated."""
        # Open code works on the nodes themselves, all else on their values.
        start = partial(apply, self.function, bound[1] if self.options.is_open else bound[2], bound[3])
        match self.mode:
            case "async":
                return self._named(self._run_async(start, bound, self._lookup(bound)))
            case "generator":
                return self._named(self._generate(start, bound))
            case "async generator":
                return self._named(self._generate_async(start, bound))
            case _:
                return self._run_slowly(start, bound, self._lookup(bound))

    def go_on(self, value: Any, *bound: Any) -> Any:
        """Return what to give to the caller of a plain function that has returned *value*, which can be awaited."""
        return self._named(self._run_async(lambda: value, (*bound, (), False)))

    def _lookup(self, bound: Bound) -> Lookup | None:
        memo = self.options.memo
        return None if memo is None else Lookup(memo, self.function, dict(zip(bound[0], bound[2], strict=True)))

    def _named(self, started: Any) -> Any:
        """Give a coroutine or a generator the name of the function: warnings, tasks and debuggers show it."""
        started.__name__ = getattr(self.function, "__name__", self.operator.name)
        started.__qualname__ = getattr(self.function, "__qualname__", self.operator.name)
        return started

    def _run_slowly(self, start: Callable[[], Any], bound: Bound, lookup: Lookup | None) -> Any:
        if lookup is not None and lookup.is_found:
            value, reads = lookup.value, lookup.reads
        else:
            with _Body(self, bound, watches=True) as body:
                value = start()
                later = self._later(value)
                value = value if later else body.settle(value)
            if later:
                return self._named(later(lambda: value, bound))
            reads = body.reads
            if lookup is not None:
                lookup.keep(value, reads)
        result = self._recorded(bound, reads, value)
        # Where Python itself calls, it may take nothing but a plain answer.
        value = result._data  # noqa: SLF001 - made here, not read
        return value if self.answers or value is NotImplemented else result

    def _later(self, value: Any) -> Callable[..., Any] | None:
        """Return how to go on, if *value* has still to be run: what a coroutine or generator function gave.

        The function itself may be none: a wrapper of one, a partial, an object that is called.
        """
        if value.__class__ in SCALARS or isinstance(value, Node):
            return None
        if isinstance(value, GeneratorType):
            return self._run_async if value.gi_code.co_flags & _ITERABLE_COROUTINE else self._generate
        if isinstance(value, AsyncGeneratorType):
            return self._generate_async
        return self._run_async if isinstance(value, Awaitable) else None

    async def _run_async(self, start: Callable[[], Any], bound: Bound, lookup: Lookup | None = None) -> Any:
        if lookup is not None and lookup.is_found:
            return self._recorded(bound, lookup.reads, lookup.value)
        with _Body(self, bound) as body:
            value = body.settle(await start())
        if lookup is not None:
            lookup.keep(value, body.reads)
        return self._recorded(bound, body.reads, value)

    def _generate(self, start: Callable[[], Any], bound: Bound) -> Generator[Any, Any, Any]:
        """Yield the items of a generator, each as a node, when they are asked for."""
        steps, iterator = _Steps(self, bound), None
        while True:
            with steps.next() as body:
                try:
                    iterator = iterator or start()
                    item = body.settle(steps.resume(iterator.send, iterator.throw))
                except StopIteration as end:
                    result = body.settle(end.value)
                    break
            try:
                steps.send((yield steps.recorded(body, item)))
            except BaseException as error:  # which the function handles, or raises again
                steps.throw(error)
        return result if result is None else self._recorded(steps.bound, body.reads, result)

    async def _generate_async(self, start: Callable[[], Any], bound: Bound) -> AsyncIterator[Any]:
        steps, iterator = _Steps(self, bound), None
        while True:
            with steps.next() as body:
                try:
                    iterator = iterator or start()
                    item = body.settle(await steps.resume(iterator.asend, iterator.athrow))
                except StopAsyncIteration:
                    return
            try:
                steps.send((yield steps.recorded(body, item)))
            except BaseException as error:  # as above
                steps.throw(error)

    def _recorded(self, bound: Bound, reads: list[Any], value: Any, *, item: int | None = None) -> Any:
        keys, inputs = bound[:2]
        if item is not None:
            keys, inputs = (*keys, " item"), (*inputs, item)
        if self.options.is_open and isinstance(value, Node):
            keys, inputs = (*keys, " inside"), (*inputs, value)
        keys, inputs = self.complete(keys, inputs, reads)
        return record(self.operator, keys, inputs, unpack(value))

    def complete(self, keys: Keys, inputs: Values, reads: list[Any], *, strict: bool = True) -> tuple[Keys, Values]:
        """Add to the arguments what else the call depends on: its own code, and nodes that it read."""
        code = () if self.parameter is None else (self.parameter,)
        reads = [*reads, *self.confined.used] if self.confined is not None else reads
        hidden = hidden_reads(reads, (*inputs, *code)) if reads else []
        # Nobody can pass the code of a function that is called inside: it is an input in any case.
        unknown = [item for item in hidden if not isinstance(item, CodeParameter)] if strict else []
        if unknown and is_checked() and not self.options.allow_external_dependencies:
            self._refuse(keys, inputs, unknown)
        keys = (*keys, *("__code" for _ in code), *(f" reads {index}" for index in range(len(hidden))))
        return keys, (*inputs, *code, *hidden)

    def _refuse(self, keys: Keys, inputs: Values, unknown: list[Any]) -> NoReturn:
        """Raise what users see when the function read nodes that it was not given."""
        name = self.operator.name
        paths = self.confined.reads_anew(unknown, keys, inputs) if self.confined is not None else None
        if paths is None:
            names = ", ".join(repr(item.name) for item in unknown)
            raise MissingInputsError(
                f"{name}() read {names}, which it was not given, so feedback could not get there.",
                mend="Pass it as an argument, or use @bundle(allow_external_dependencies=True).",
            )
        # The new text did what the function as the user wrote it does not: a failure of that text.
        cause = MissingInputsError(
            f"{name}() reads {', '.join(paths)}, which it was not given, so feedback could not get there.",
            mend=f"Compute the result from the arguments, and do not read {' or '.join(paths)}.",
        )
        cause.add_note("To let new code read it, write @bundle(trainable=True, allow_external_dependencies=True).")
        if not self.options.catch_execution_error:
            raise cause
        keys, inputs = self.complete(keys, inputs, [])
        raise failure(self.operator, keys, inputs, cause) from cause

    def fail(self, keys: Keys, inputs: Values, reads: list[Any], cause: Exception) -> NoReturn:
        """Raise what users see when the function raised *cause*, or *cause* itself if they want that."""
        if self.options.is_open and isinstance(cause, ExecutionError):
            # The node of the operator inside is connected to what it was computed from, but not to this call.
            keys, inputs = (*keys, " inside"), (*inputs, cause.exception_node)
        elif not self.options.catch_execution_error or type(cause) is MissingInputsError:
            raise cause
        # What it read is kept either way: an error about that would hide the error of the user's code.
        keys, inputs = self.complete(keys, inputs, reads, strict=False)
        raise failure(self.operator, keys, inputs, cause) from cause


class _Body:
    """Around the body of a function what is generated for plain ones, where speed does not matter.

    Args:
        call: The call.
        bound: Its arguments.
        reads: Nodes that were read by parts of the body that ran before.
        passing: An exception that the caller threw in: it is no failure of the function if it comes out again.
        watches: True to warn of arguments that are changed in place.
    """

    def __init__(
        self,
        call: Call,
        bound: Bound,
        *,
        reads: list[Any] | None = None,
        passing: BaseException | None = None,
        watches: bool = False,
    ) -> None:
        self._call, self._bound, self._passing = call, bound, passing
        self._is_open = call.options.is_open
        self._before = [*map(fingerprint, bound[2])] if watches and bound[4] and not self._is_open else None
        self._scope = new_scope(call.operator)
        self._known = reads or []
        self._token: Any = None

    @property
    def reads(self) -> list[Any]:
        """The nodes that were read, without those that were given."""
        return list(dict.fromkeys([*self._known, *reads_in(self._scope)]))

    def settle(self, value: Any) -> Any:
        """Return *value* as it is to be recorded; inside the body, because to take it out of a node is to read that."""
        return pack(value) if self._is_open else unpack(value)

    def __enter__(self) -> Self:
        self._token = (enter_open_scope if self._is_open else enter_scope)(self._scope)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, cause: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A coroutine may be closed by somebody else than who ran it, who has nothing to leave.
        with suppress(ValueError):
            (leave_open_scope if self._is_open else leave_scope)(self._token)
        passing, self._passing = self._passing, None
        if isinstance(cause, Exception) and cause is not passing:
            self._call.fail(self._bound[0], self._bound[1], self.reads, cause)
        elif cause is None and self._before is not None:
            warn_of_changes(self._call.operator.name, self._bound[0], self._bound[2], self._before)


class _Steps:
    """What the items of one generator have in common: how it is resumed, and what they depend on.

    Attributes:
        bound: The arguments of the call and the nodes that were sent since.
    """

    def __init__(self, call: Call, bound: Bound) -> None:
        self.bound = bound
        self._call = call
        self._sent: Any = None
        self._thrown: BaseException | None = None
        self._count = 0
        self._reads: list[Any] = []

    def send(self, value: Any) -> None:
        if not self._call.options.is_open:
            packed = pack(value)
            if isinstance(packed, Node):
                keys, inputs, *rest = self.bound
                self.bound = ((*keys, f" sent {self._count}"), (*inputs, packed), *rest)  # type: ignore[assignment]
                value = packed._data  # noqa: SLF001 - given, not read
        self._sent = value

    def throw(self, error: BaseException) -> None:
        self._thrown = error

    def next(self) -> _Body:
        return _Body(self._call, self.bound, reads=self._reads, passing=self._thrown)

    def resume(self, send: Callable[[Any], Any], throw: Callable[[BaseException], Any]) -> Any:
        sent, self._sent = self._sent, None
        thrown, self._thrown = self._thrown, None
        try:
            return send(sent) if thrown is None else throw(thrown)
        finally:
            del thrown  # whose traceback will hold this frame

    def recorded(self, body: _Body, item: Any) -> Any:
        self._reads = body.reads
        number, self._count = self._count, self._count + 1
        return self._call._recorded(self.bound, self._reads, item, item=number)  # noqa: SLF001 - part of it


def _mode(function: Any) -> str:
    direct = function
    while isinstance(direct, partial):
        direct = direct.func
    if not hasattr(direct, "__code__") and not isinstance(direct, type):
        direct = getattr(direct, "__call__", None)  # noqa: B004 - its code, if it is written in Python
    mode = _mode_of_code(direct)
    if mode == "plain" and hasattr(function, "__wrapped__"):
        # A wrapper may pass on what a coroutine function gave it, or run it.
        return "plain" if _mode_of_code(unwrapped(direct)) == "plain" else "slow"
    return mode


def _mode_of_code(function: Any) -> str:
    flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
    for flag, mode in (
        (_COROUTINE | _ITERABLE_COROUTINE, "async"),
        (_ASYNC_GENERATOR, "async generator"),
        (_GENERATOR, "generator"),
    ):
        if flags & flag:
            return mode
    return "plain"
