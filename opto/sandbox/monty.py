"""Candidates in pydantic-monty, an interpreter of its own for a part of Python: small pure functions, on any system."""

import os
import signal
import threading
import time
import weakref
from ast import AsyncFunctionDef
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any

from opto.errors import (
    MissingDependencyError,
    SandboxCrashError,
    SandboxForbiddenError,
    SandboxTransferError,
    SourceError,
)
from opto.sandbox import failures
from opto.sandbox.child.codec import CannotCrossError, Decoder, Encoder, MalformedError, dumps, loads
from opto.sandbox.child.words import with_article
from opto.sandbox.errands import Errand
from opto.sandbox.forwarding import Definition, positional_names
from opto.sandbox.limits import Limits
from opto.sandbox.offering import functions_named
from opto.sandbox.outcomes import calls_itself, made_by, serving

__all__ = ["MontyCandidate", "find_monty"]

#: How much later, in seconds, a signal may be heard here than by another process.
_MOMENT = 0.1
#: What the second snippet of a session, the candidate, is called in its frames.
_SECOND = "<python-input-1>"

#: The first: what monty has no value for outside leaves as a text that shows it, so that it is looked for inside. The
#: names that it uses are its own, whatever the candidate gives them to.
_LOOK = """
def opto_looked_at(
    value,
    leave=frozenset(('NoneType', 'bool', 'int', 'float', 'str', 'bytes', 'complex', 'ellipsis', 'NotImplementedType',
                     'date', 'datetime', 'time', 'timedelta', 'timezone', 'Decimal', 'Fraction', 'UUID', 'PosixPath',
                     'PurePosixPath')),
    bases=(list, tuple, set, frozenset), mapping=dict, isinstance=isinstance, type=type, id=id,
):
    around, done = {}, {}
    def odd(value):
        kind = type(value).__name__
        if kind in leave:
            return None
        is_mapping = isinstance(value, mapping)
        if not (is_mapping or isinstance(value, bases) or kind == 'deque'):
            return kind
        parts = [*value, *value.values()] if is_mapping else value
        if {type(part).__name__ for part in parts} <= leave:
            return None
        me = id(value)
        if me in around:
            return ''
        if me in done:
            return None
        around[me] = True
        for part in parts:
            what = odd(part)
            if what is not None:
                return what
        around.pop(me)
        done[me] = True
        return None
    what = odd(value)
    return (value, None) if what is None else (None, what)
"""


class MontyCandidate:
    """A candidate in a session of monty. One call at a time.

    Attributes:
        output: What the last call printed.
    """

    def __init__(
        self,
        source: str,
        definition: Definition,
        *,
        limits: Limits,
        hosts: Mapping[str, Any],
        values: Mapping[str, Any],
        printed: Callable[[str], object] | None = None,
    ) -> None:
        self._printed = printed
        self._monty = find_monty()
        self.output = ""
        self._source, self._definition, self._limits = source, definition, limits
        self._file = f"<{definition.name}, monty>"
        self._known = {name: value for name, value in values.items() if _crosses(value)}
        self._hosts = functions_named(hosts)
        self._served = 0
        self._lock = threading.Lock()
        self._open: list[Any] = []  # the pool and the session
        self._worker: int | None = None
        self._errand = Errand(self._kill)
        weakref.finalize(self, _leave, self._open)
        failures.show_lines(self, self._file, source)

    @property
    def content(self) -> Any:
        """Its text, and what that may use of the program."""
        return [self._source, self._known, self._hosts]

    @property
    def defaults(self) -> Mapping[str, Any]:
        """None that leave the session: all that may be left out are left out."""
        return {}

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run the function, and return its result.

        Raises:
            SandboxError: It passed a limit, or something cannot enter or leave.
            Exception: Whatever the function raised.
        """
        names = [*positional_names(self._definition), *["*args"] * len(args)]
        for name, value in (*zip(names, args, strict=False), *kwargs.items()):
            _check(self._definition.name, name, value)
        prefix = "await " if isinstance(self._definition, AsyncFunctionDef) else ""
        call = f"opto_looked_at({prefix}{self._definition.name}(*opto_args, **opto_kwargs))"
        if made_by(self) is not None:
            raise calls_itself(self._definition.name)  # which has one session
        with self._lock:
            try:
                value = self._run(call, {"opto_args": [*args], "opto_kwargs": kwargs})
            except self._monty.MontyError as error:
                if isinstance(error, self._monty.MontyCrashedError):
                    _leave(self._open)
                    time.sleep(_MOMENT)  # Ctrl-C in a terminal ends it as well, and may be heard here a little later
                self._look_at_calls()
                raise self._failure(error) from None
            except BaseException:  # also Ctrl-C: nobody knows what it is at
                _leave(self._open)
                raise
        self._look_at_calls()
        return self._plain(value)

    def _run(self, call: str, inputs: dict[str, Any]) -> Any:
        """Feed *call* to the session, which is begun if there is none. Whoever waits for it can be interrupted."""
        entered = self._open
        errand = self._errand = Errand(self._kill)

        def run() -> Any:
            try:
                if not entered and not errand.is_given_up:
                    self._begin(entered)
                return None if errand.is_given_up else self._feed(entered, call, inputs)
            finally:
                if errand.is_given_up:
                    _leave(entered)

        return errand.run(run)

    def _kill(self) -> None:
        """End the process of the session, which does not look up from what it does."""
        if self._worker is not None:
            with suppress(OSError):
                os.kill(self._worker, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
            self._worker = None
        # Whatever is still on its way is none of the next call.
        self._open = []
        weakref.finalize(self, _leave, self._open)

    def _look_at_calls(self) -> None:
        if self._served > self._limits.calls:
            raise failures.overasked(self._definition.name, self._limits, None)

    async def acall(self, /, *args: Any, **kwargs: Any) -> Any:
        """Do as a call does, in another thread."""
        import asyncio  # noqa: PLC0415 - whoever calls this has it already

        return await asyncio.to_thread(self, *args, **kwargs)

    def close(self) -> None:
        """End the session."""
        with self._lock:
            _leave(self._open)

    def _begin(self, entered: list[Any]) -> None:
        try:
            pool = self._monty.Monty(max_processes=1).__enter__()
        except FileNotFoundError as error:
            raise _missing(error) from error
        entered.append(pool)
        session = pool.checkout(
            limits={
                "max_feed_duration_secs": self._limits.seconds,
                "max_memory": self._limits.memory,
                "max_suspensions": 1_000_000,
                "max_total_sleep_secs": self._limits.seconds,
            }
        )
        entered.append(session.__enter__())
        self._worker = session.worker_pid
        self._feed(entered, _LOOK, {})
        self._feed(entered, self._source, {})

    def _feed(self, entered: list[Any], text: str, inputs: dict[str, Any]) -> Any:
        printed = self._monty.CollectString(max_bytes=self._limits.output)
        self._served = 0
        is_too_much = False
        known = {**self._known, **{path: self._counted(function) for path, function in self._hosts.items()}}
        try:
            return entered[-1].feed_run(text, inputs=inputs, external_lookup=known, print_callback=printed)
        except self._monty.MontyError as error:
            is_too_much = self._is_too_much(error.exception())
            raise
        finally:
            self.output = failures.visible(printed.output)
            if self.output and self._printed is not None and not is_too_much:
                self._printed(self.output)

    def _is_too_much(self, inner: BaseException) -> bool:
        """True if *inner* says that more was printed than may be."""
        return isinstance(inner, MemoryError) and f"> {self._limits.output} bytes" in str(inner)

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return *function* for as many calls as one call may make."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            self._served += 1
            if self._served > self._limits.calls:
                raise RuntimeError("There are no more calls.")
            return self._errand.ask(partial(served, *args, **kwargs))

        def served(*args: Any, **kwargs: Any) -> Any:
            with serving(self, [self._served]):
                return function(*args, **kwargs)

        return counted

    def _plain(self, answer: Any) -> Any:
        """Return the value in *answer* as plain data of a size that is allowed."""
        name = self._definition.name
        try:
            value, what = answer
            if what is not None:
                raise CannotCrossError(_in_words(what))
            form = dumps(Encoder().encode(value))
            if len(form) <= self._limits.result:
                return Decoder().decode(loads(form))
        except (CannotCrossError, MalformedError, ValueError, TypeError) as error:
            reply: dict[str, Any] = {"limit": "type", "what": str(error)}
        else:
            reply = {"limit": "result", "size": len(form)}
        raise failures.limit_passed(name, reply, self._limits)

    def _failure(self, error: Any) -> BaseException:
        """Return what happened in our words; a session that passed a limit is over."""
        monty, name, limits = self._monty, self._definition.name, self._limits
        inner = error.exception()
        inner.args = (*map(failures.shortened, inner.args),)
        is_raised = isinstance(error, monty.MontyRuntimeError)
        is_unknown = isinstance(inner, NotImplementedError) and "monty" in str(inner)
        if not is_raised or is_unknown or isinstance(inner, TimeoutError | MemoryError):
            _leave(self._open)
        if is_unknown or isinstance(error, monty.MontySyntaxError):
            return SourceError(
                f"{name}() cannot be run by monty: {inner}.", mend="Use less of Python, or another level."
            )
        if isinstance(error, monty.MontyCrashedError):
            if error.timed_out:
                return failures.late(name, limits, None, is_load=False)
            return SandboxCrashError(f"{name}() ended its process.", mend="Return a value, or raise an exception.")
        if not is_raised:
            return SandboxTransferError(
                f"{name}() was given what monty does not know: {error}.", mend="Pass plain data."
            )
        frames = [
            (self._file, frame.line, frame.function_name or "<module>")
            for frame in error.traceback()
            if frame.filename == _SECOND
        ]
        return failures.with_frames(self._raised(inner, frames[-1][1] if frames else None), frames)

    def _raised(self, error: BaseException, line: int | None) -> BaseException:
        """Return *error*, which the candidate let out, unless it says that a limit was passed."""
        name, limits = self._definition.name, self._limits
        if isinstance(error, TimeoutError):
            return failures.late(name, limits, line, is_load=False)
        if isinstance(error, MemoryError):
            limit = "output" if self._is_too_much(error) else "memory"
            return failures.limit_passed(name, {"limit": limit, "line": line}, limits)
        if isinstance(error, PermissionError):
            return SandboxForbiddenError(
                f"{name}() did what it may not: {error}.", mend="Compute the result from the arguments.", line=line
            )
        if not isinstance(error, Exception):
            return SandboxCrashError(
                f"{name}() raised {type(error).__name__}, which ends programs.", mend="Return a value."
            )
        return error


def find_monty() -> Any:
    """Return the package.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        return import_module("pydantic_monty")
    except ImportError as error:
        raise _missing(error) from error


def _missing(error: Exception) -> MissingDependencyError:
    return MissingDependencyError(
        f"The package pydantic-monty is not installed ({error}).", mend="Run: pip install 'opto-trace[monty]'"
    )


def _in_words(kind: Any) -> str:
    """Return what an object of *kind*, as it is called inside, is called outside."""
    return with_article(str(kind)[:80]) if kind else "a value that contains itself"


def _leave(entered: list[Any]) -> None:
    """Leave the session and the pool, in this order."""
    while entered:
        entered.pop().__exit__(None, None, None)


def _crosses(value: Any) -> bool:
    try:
        Encoder().encode(value)
    except CannotCrossError:
        return False
    return not isinstance(value, Collection) or len(value) < 1_000_000


def _check(function: str, name: str, value: Any) -> None:
    try:
        Encoder().encode(value)
    except CannotCrossError as error:
        raise SandboxTransferError(
            f"The argument {name} of {function}() is or holds {error.what}, which cannot enter monty.",
            mend="Pass plain data, or use another level.",
        ) from None
