"""How the body of a bundled function is run, and what is recorded of the call."""

from collections.abc import AsyncIterator, Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple, NoReturn

from opto.errors import ExecutionError, MissingInputsError
from opto.nodes import (
    SINCE,
    Node,
    Operator,
    ParameterNode,
    births,
    enter_scope,
    failure,
    fingerprint,
    leave_scope,
    new_scope,
    pack,
    reads_in,
    record,
    unpack,
)
from opto.trace.binding import apply, make_twin
from opto.trace.dependencies import hidden_reads, is_checked, warn_of_changes
from opto.trace.memo import Memo, NotContentError, content_key
from opto.trace.source import Code

__all__ = ["Call", "Options", "make_runner"]

# Flags of code objects, as in `inspect`, which takes longer to import than all of this package.
_COROUTINE, _GENERATOR, _ASYNC_GENERATOR = 0x80, 0x20, 0x200


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

    @property
    def is_open(self) -> bool:
        """True if the function is called on the nodes themselves."""
        return self.traceable_code or not self.process_inputs


Keys = Collection[str]
Values = tuple[Any, ...]

#: What most calls of most functions do. It is compiled for each function, because calls to helpers would cost as much
#: as all the rest.
_PLAINLY = """\
__before = [*map(__fingerprint, {plain})] if {mutable} else None
__scope = {{__SINCE: next(__births)}}
__token = __enter_scope(__scope)
try:
    try:
        __value = {call}
        if __value.__class__ not in __scalars:
            __value = __unpack(__value)
    finally:
        __leave_scope(__token)
except Exception as __cause:
    __call.fail({keys}, {inputs}, __reads_in(__scope), __cause)
if __before is not None:
    __warn_of_changes(__operator.name, {keys}, {plain}, __before)
if len(__scope) > 1:
    return __record(__operator, *__call.complete({keys}, {inputs}, __reads_in(__scope)), __value)
if __code is not None:
    return __record(__operator, (*{keys}, "__code"), (*{inputs}, __code), __value)
return __record(__operator, {keys}, {inputs}, __value)
"""
_PLAINLY_NAMES: dict[str, Any] = {
    "__fingerprint": fingerprint,
    "__SINCE": SINCE,
    "__births": births,
    "__enter_scope": enter_scope,
    "__leave_scope": leave_scope,
    "__unpack": unpack,
    "__reads_in": reads_in,
    "__warn_of_changes": warn_of_changes,
    "__record": record,
}
#: The other ways are methods of `Call`.
_SPECIALLY = "return __run({keys}, {inputs}, {plain}, {named})"


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
        mode: How its body is run: ``plain``, ``open`` (on the nodes themselves), ``memo``, ``async``, ``generator`` or
            ``async generator``.
    """

    __slots__ = ("function", "mode", "operator", "options", "parameter")

    def __init__(
        self,
        function: Callable[..., Any],
        operator: Operator,
        options: Options,
        parameter: ParameterNode[str] | None = None,
    ) -> None:
        self.function, self.operator, self.options, self.parameter = function, operator, options, parameter
        self.mode = _mode(function, options)

    @property
    def names(self) -> dict[str, Any]:
        """What the code that `make_runner` generates needs to know of the call."""
        if self.mode == "plain":
            own = {"__call": self, "__function": self.function, "__operator": self.operator, "__code": self.parameter}
            return {**_PLAINLY_NAMES, **own}
        ways = {
            "open": self.run_openly,
            "memo": self.run_once,
            "async": self.run_async,
            "generator": self.generate,
            "async generator": self.generate_async,
        }
        return {"__run": ways[self.mode]}

    @contextmanager
    def _body(self, keys: Keys, inputs: Values) -> Iterator[dict[Any, Any]]:
        """Do around the body of a function what is generated for plain ones, where speed does not matter."""
        scope = new_scope()
        token = enter_scope(scope)
        try:
            try:
                yield scope
            finally:
                leave_scope(token)
        except Exception as cause:
            self.fail(keys, inputs, reads_in(scope), cause)

    def _recorded(
        self, keys: Keys, inputs: Values, scope: dict[Any, Any], value: Any, *, item: int | None = None
    ) -> Any:
        keys, inputs = self.complete(keys, inputs, reads_in(scope))
        if item is not None:
            keys, inputs = (*keys, " item"), (*inputs, item)
        return record(self.operator, keys, inputs, value)

    async def run_async(self, keys: Keys, inputs: Values, plain: Values, named: tuple[str, ...]) -> Any:
        with self._body(keys, inputs) as scope:
            value = unpack(await apply(self.function, plain, named))
        return self._recorded(keys, inputs, scope, value)

    def generate(self, keys: Keys, inputs: Values, plain: Values, named: tuple[str, ...]) -> Generator[Any, Any, Any]:
        """Yield the items of a generator function, each as a node, when they are asked for."""
        iterator = apply(self.function, plain, named)
        sent = None
        try:
            for number in count():
                with self._body(keys, inputs) as scope:
                    try:
                        value = unpack(iterator.send(sent))
                    except StopIteration as end:
                        return end.value
                sent = yield self._recorded(keys, inputs, scope, value, item=number)
        finally:
            iterator.close()

    async def generate_async(
        self, keys: Keys, inputs: Values, plain: Values, named: tuple[str, ...]
    ) -> AsyncIterator[Any]:
        iterator = apply(self.function, plain, named)
        sent = None
        try:
            for number in count():
                with self._body(keys, inputs) as scope:
                    try:
                        value = unpack(await iterator.asend(sent))
                    except StopAsyncIteration:
                        return
                sent = yield self._recorded(keys, inputs, scope, value, item=number)
        finally:
            await iterator.aclose()

    def run_once(self, keys: Keys, inputs: Values, plain: Values, named: tuple[str, ...]) -> Any:
        """Take the result from the memo, or compute and keep it."""
        memo = self.options.memo
        assert memo is not None
        key: str | None = None
        try:
            key = content_key(self.function, dict(zip(keys, plain, strict=True)))
        except (NotContentError, RecursionError):
            memo.unkeyed += 1
        if key is not None:
            found, value, reads = memo.find(key)
            if found:
                return self._recorded(keys, inputs, dict.fromkeys([None, *reads]), value)
        with self._body(keys, inputs) as scope:
            value = unpack(apply(self.function, plain, named))
        result = self._recorded(keys, inputs, scope, value)
        if key is not None:
            memo.keep(key, value, reads_in(scope))
        return result

    def run_openly(self, keys: Keys, inputs: Values, _: Values, named: tuple[str, ...]) -> Any:
        """Call the function on the nodes themselves, so that what it does inside is part of the graph."""
        try:
            result = pack(apply(self.function, inputs, named))
        except ExecutionError as error:
            # The node of the operator inside is connected to what it was computed from, but not to this call.
            raise self.failed((*keys, " inside"), (*inputs, error.exception_node), [], error) from error
        except Exception as cause:
            self.fail(keys, inputs, [], cause)
        if isinstance(result, Node):
            keys, inputs = (*keys, " inside"), (*inputs, result)
        keys, inputs = self.complete(keys, inputs, [])
        return record(self.operator, keys, inputs, unpack(result))

    def complete(self, keys: Keys, inputs: Values, reads: list[Any], *, strict: bool = True) -> tuple[Keys, Values]:
        """Add to the arguments what else the call depends on: its own code, and nodes that it read."""
        code = () if self.parameter is None else (self.parameter,)
        hidden = hidden_reads(reads, (*inputs, *code)) if reads else []
        # Nobody can pass the code of a function that is called inside: it is an input in any case.
        unknown = [item for item in hidden if not _is_code(item)] if strict else []
        if unknown and is_checked() and not self.options.allow_external_dependencies:
            names = ", ".join(repr(item.name) for item in unknown)
            raise MissingInputsError(
                f"{self.operator.name}() read {names}, which it was not given, so feedback could not get there.",
                mend="Pass it as an argument, or use @bundle(allow_external_dependencies=True).",
            )
        keys = (*keys, *("__code" for _ in code), *(f" reads {index}" for index in range(len(hidden))))
        return keys, (*inputs, *code, *hidden)

    def fail(self, keys: Keys, inputs: Values, reads: list[Any], cause: Exception) -> NoReturn:
        """Raise what users see when the function raised *cause*, or *cause* itself if they want that."""
        if not self.options.catch_execution_error or isinstance(cause, MissingInputsError):
            raise cause
        raise self.failed(keys, inputs, reads, cause) from cause

    def failed(self, keys: Keys, inputs: Values, reads: list[Any], cause: Exception) -> ExecutionError:
        """Return the error for *cause*, with a node in the graph."""
        # What it read is kept either way: an error about that would hide the error of the user's code.
        keys, inputs = self.complete(keys, inputs, reads, strict=False)
        return failure(self.operator, keys, inputs, cause)


def _mode(function: Callable[..., Any], options: Options) -> str:
    flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
    if options.is_open:
        return "open"
    for flag, mode in ((_COROUTINE, "async"), (_ASYNC_GENERATOR, "async generator"), (_GENERATOR, "generator")):
        if flags & flag:
            return mode
    return "plain" if options.memo is None else "memo"


def _is_code(item: Any) -> bool:
    return isinstance(item, ParameterNode) and isinstance(item.domain, Code)
