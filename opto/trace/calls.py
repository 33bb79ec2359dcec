"""How the body of a bundled function is run, and what is recorded of the call."""

from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

from opto.errors import ExecutionError, MissingInputsError
from opto.nodes import (
    Node,
    ParameterNode,
    enter_scope,
    failure,
    leave_scope,
    new_scope,
    pack,
    reads_in,
    record,
    unpack,
)
from opto.trace.binding import Bound
from opto.trace.definition import CodeVersions, Definition, Version
from opto.trace.dependencies import hidden_reads, is_checked
from opto.trace.memo import NotContentError, content_key
from opto.trace.source import Code

__all__ = ["Call", "apply"]


def apply(function: Callable[..., Any], values: Sequence[Any], named: tuple[str, ...]) -> Any:
    """Call *function* with *values*, of which the last go by the names *named*."""
    split = len(values) - len(named)
    return function(*values[:split], **dict(zip(named, values[split:], strict=True)))


class Call:
    """The ways to run a body other than the plain one, which `FunModule.__call__` writes out for speed."""

    _definition: Definition
    _code: CodeVersions | None

    def parameters(self) -> list[ParameterNode[Any]]:
        """Return the parameters of the function."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        return self._definition.operator.name

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
            value = unpack(await apply(function, bound[2], bound[3]))
        return self._recorded(bound, scope, value)

    def _generate(self, function: Callable[..., Any], bound: Bound) -> Generator[Any, Any, Any]:
        """Yield the items of a generator function, each as a node, when they are asked for."""
        iterator = apply(function, bound[2], bound[3])
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
        iterator = apply(function, bound[2], bound[3])
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
            value = unpack(apply(function, plain, named))
        result = self._recorded(bound, scope, value)
        if key is not None:
            memo.keep(key, value, reads_in(scope))
        return result

    def _call_openly(self, function: Callable[..., Any], bound: Bound) -> Any:
        """Call the function on the nodes themselves, so that what it does inside is part of the graph."""
        keys, inputs, _, named, _ = bound
        try:
            result = pack(apply(function, inputs, named))
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
        # Nobody can pass the code of a function that is called inside: it is an input in any case.
        unknown = [item for item in hidden if not _is_code(item)] if strict else []
        if unknown and is_checked() and not self._definition.options.allow_external_dependencies:
            names = ", ".join(repr(item.name) for item in unknown)
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


def _is_code(item: Any) -> bool:
    return isinstance(item, ParameterNode) and isinstance(item.domain, Code)
