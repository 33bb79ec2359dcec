"""The loop of a candidate's process: it reads source text and calls, and answers with values and errors as JSON."""

import _thread
import builtins
import gc
import io
import mmap
import os
import signal
import struct
import sys
import warnings
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, NoReturn

from .codec import CannotCrossError, Decoder, MalformedError, dumps, loads
from .codes import ERRORS_BEGIN, ERRORS_END, LARGE, MOST_COPIED, OUT_OF_MEMORY, TOO_LARGE, seconds_to_read
from .definitions import defaults_of
from .errors import Describer
from .guard import ForbiddenError, guard_actions
from .objects import Objects, ready
from .spaces import Spaces, find_line

__all__ = ["Worker"]

_LENGTH = struct.Struct(">Q")
_RESERVE = 4 << 20
_LONGEST_TEXT = 4000
_GRACE = 2.0


class Worker:
    """One candidate, and the socket over which it is told what to do.

    Args:
        talk: Number of the socket.
        trace: Number of a pipe that is read when it cannot answer any more.
        order: What the zygote was told about it.
        harmless: Modules that all candidates may import.
    """

    def __init__(self, talk: int, trace: int, order: Mapping[str, Any], harmless: frozenset[str]) -> None:
        self._talk = talk
        self._most: int = order["result"]
        self._output = _Output(order["output"], trace, self._say_too_much)
        self._names = vars(builtins)
        self._saved = {**self._names}
        self._objects = Objects(self._call_host)
        self._spaces = Spaces(self._objects, harmless)
        self._decoder = Decoder(self._objects.read)
        self._encode = self._objects.form
        self._begin = guard_actions(os.getcwd(), order["guarded"]) if order["guard"] else None
        self._number = self._size = 0
        self._is_reading = True
        self._talking = _thread.RLock()
        self._of_hosts: dict[int, tuple[int, BaseException]] = {}
        self._errors = Describer(
            self._spaces.files,
            key_of=self._objects.key_of,
            number_of=lambda error: self._of_hosts.get(id(error), (None,))[0],
            encode=self._encode,
        )
        # Address space, which is what is limited; not memory, which would take time.
        self._spare = mmap.mmap(-1, _RESERVE)

    def serve(self) -> NoReturn:
        """Answer until the other side goes away."""
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)  # which whoever started the program may have ignored
        sys.stdout = sys.__stdout__ = _Stream(self._output, is_error=False)  # type: ignore[misc,assignment]
        sys.stderr = sys.__stderr__ = _Stream(self._output, is_error=True)  # type: ignore[misc,assignment]
        try:
            while True:
                self._is_reading = True
                message = self._receive()
                self._number = message["n"]
                try:
                    self._send(self._answer(message))
                except:  # noqa: E722 - without any name, whose meaning may be lost
                    lost = self._mend_names()
                    if not lost:
                        raise
                    said = {"n": self._number, "out": self._output.text()}
                    self._send({**said, "error": self._errors.describe(_broken(lost))})
        except MemoryError:  # arguments or a result that are too large to be read or written
            os._exit(TOO_LARGE if self._is_reading else OUT_OF_MEMORY)

    def _answer(self, message: Mapping[str, Any]) -> dict[str, Any]:
        self._output.begin()
        _limit_time(message["seconds"] + seconds_to_read(self._size))
        try:
            answer = self._load(message) if message["do"] == "load" else self._call(message)
        except BaseException as error:  # anything may come out of code that somebody else wrote
            lost = self._mend_names()
            if isinstance(error, MemoryError):
                if self._is_reading:
                    raise
                self._spare.close()
            answer = {"error": self._errors.describe(error)}
            if lost and not answer["error"]["frames"]:  # it is nothing of the candidate's that failed
                answer = {"error": self._errors.describe(_broken(lost))}
            else:
                self._names.update(lost)
        answer["n"] = message["n"]
        if text := self._output.text():
            answer["out"] = text
            if self._output.errors:
                answer["err"] = self._output.errors
        # Threads would go on without a limit for their time.
        if _thread._count():  # noqa: SLF001 - what `threading` does not know of is counted, too
            answer["threads"] = True
        return answer

    def _load(self, message: Mapping[str, Any]) -> dict[str, Any]:
        self._is_reading = False
        _hear_warnings(message["warnings"])
        function = self._spaces.load(message["scope"], self._begin)
        forms = {}
        for name, value in defaults_of(function).items():
            try:
                forms[name] = self._encode(value)
            except CannotCrossError as error:
                forms[name] = {"!cannot": error.what}
        return {"ok": None, "defaults": forms, "doc": str(function.__doc__ or "")[:_LONGEST_TEXT]}

    def _call(self, message: Mapping[str, Any]) -> dict[str, Any]:
        self._spaces.define(message.get("classes", ()))
        self._objects.begin()
        self._of_hosts.clear()
        decode = self._decoder.value
        with _Uncollected(self._size):
            arguments = [decode(form) for form in message["args"]]
            named = {name: decode(form) for name, form in message["kwargs"].items()}
        function = decode(message["of"]) if "of" in message else self._spaces.function
        self._is_reading = False
        if self._size > LARGE:
            # Only what follows takes of its time.
            self._send({"n": self._number, "has_read": True})
            _limit_time(message["seconds"])
        value = _settled(function(*arguments, **named), needs_loop=self._spaces.needs_loop)
        try:
            answer = {"ok": self._encode(value)}
        except CannotCrossError as error:
            return {"limit": "type", "what": error.what}
        if lost := self._objects.lost():
            answer["lost"] = lost
        return answer

    def _call_host(self, path: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Have the user's process call what it offers as *path*."""
        with self._talking:
            encode = self._encode
            try:
                forms = [encode(value) for value in args], {name: encode(value) for name, value in kwargs.items()}
            except CannotCrossError as refused:
                raise TypeError(
                    f"{path}() was given {refused.what}, which cannot leave the sandbox: give it plain data"
                ) from None
            self._send({"n": self._number, "host": path, "args": forms[0], "kwargs": forms[1]})
            reply = self._receive()
            self._spaces.define(reply.get("classes", ()))
        if "error" in reply:
            kind = getattr(builtins, reply["error"]["type"], RuntimeError)
            try:
                error: BaseException = kind(reply["error"]["text"])
            except TypeError:  # it wants more than a text
                error = RuntimeError(reply["error"]["text"])
            self._of_hosts[id(error)] = (reply["error"]["id"], error)
            raise error
        value = self._decoder.value(reply["ok"])
        return ready(path, value) if reply.get("awaited") else value

    def _mend_names(self) -> dict[str, Any]:
        """Have Python's own names mean again what they did, without any of them; return those that did not."""
        names, lost = self._names, {}
        for name, value in self._saved.items():
            if (found := names.get(name)) is not value and name != "_":
                names[name], lost[name] = value, found
        return lost

    def _say_too_much(self) -> NoReturn:
        line = find_line(sys._getframe(), self._spaces.files)  # noqa: SLF001 - there is no other way to it
        self._send({"n": self._number, "limit": "output", "line": line})
        os._exit(0)

    def _send(self, message: dict[str, Any]) -> None:
        try:
            data = dumps(message)
        except (ValueError, TypeError) as error:  # a number that is too long to be written
            data = dumps({"n": message.get("n"), "limit": "type", "what": f"a value that cannot be written ({error})"})
        if len(data) > self._most:
            data = dumps({"n": message.get("n"), "limit": "result", "size": len(data)})
        rest = memoryview(_LENGTH.pack(len(data)) + data)
        while rest:
            rest = rest[os.write(self._talk, rest) :]

    def _receive(self) -> Any:
        # With the length comes most often all of the message, and never any of another one: each waits for an answer.
        data = os.read(self._talk, 1 << 16)
        if len(data) < _LENGTH.size:
            data += self._read(_LENGTH.size - len(data))
        (self._size,) = _LENGTH.unpack_from(data)
        data = data[_LENGTH.size :]
        if len(data) < self._size:
            data += self._read(self._size - len(data))
        try:
            with _Uncollected(self._size):
                return loads(data)
        except MalformedError:  # what comes is well-formed: there was no room
            raise MemoryError from None

    def _read(self, size: int) -> bytes:
        parts, left = [], size
        while left:
            data = os.read(self._talk, min(left, 1 << 20))
            if not data:
                os._exit(0)
            parts.append(data)
            left -= len(data)
        return b"".join(parts)


def _broken(names: Mapping[str, Any]) -> ForbiddenError:
    return ForbiddenError(f"it changed builtins.{', builtins.'.join([*names][:3])}, which Python itself needs")


def _limit_time(seconds: float) -> None:
    """Let this process compute for *seconds* from now on, and a little longer: who waits for it looks at a clock."""
    # No limit of resources: that is one for all calls together, and `guard` lets nobody raise it.
    signal.setitimer(signal.ITIMER_PROF, seconds + _GRACE)


class _Uncollected:
    """Around what makes many objects from *size* bytes, none of which is garbage: nobody looks for any meanwhile."""

    def __init__(self, size: int) -> None:
        self._is_worth_it = size > LARGE and gc.isenabled()

    def __enter__(self) -> None:
        if self._is_worth_it:
            gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._is_worth_it:
            gc.enable()


class _Output:
    """What a candidate prints, up to a limit.

    The beginning of it is also written to *copy*, for those who end this process without an answer.

    Attributes:
        errors: Where in it that begins and ends what went to `sys.stderr`.
    """

    def __init__(self, limit: int, copy: int, is_over: Callable[[], NoReturn]) -> None:
        self._limit, self._copy, self._is_over = limit, copy, is_over
        self._parts: list[str] = []
        self.errors: list[list[int]] = []
        self._size = self._copied = 0

    def begin(self) -> None:
        if self._size:
            self._parts, self.errors = [], []
            self._size = self._copied = 0

    def text(self) -> str:
        return "".join(self._parts) if self._size else ""

    def add(self, text: str, *, is_error: bool) -> None:
        begin = self._size
        self._size += len(text)
        if is_error and text:
            if self.errors and self.errors[-1][1] == begin:
                self.errors[-1][1] = self._size
            else:
                self.errors.append([begin, self._size])
        if self._copied < MOST_COPIED:
            data = text[:MOST_COPIED].encode("utf-8", "backslashreplace")[: MOST_COPIED - self._copied]
            if is_error:
                data = ERRORS_BEGIN + data + ERRORS_END
            self._copied += len(data)
            with suppress(OSError):  # it is full of something that nobody has read
                os.write(self._copy, data)
        if self._size > self._limit:
            self._is_over()
        self._parts.append(text)


class _Stream(io.TextIOBase):
    """`sys.stdout` or `sys.stderr`."""

    encoding, errors = "utf-8", "backslashreplace"

    def __init__(self, output: _Output, *, is_error: bool) -> None:
        self._output, self._is_error = output, is_error

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._output.add(text, is_error=self._is_error)
        return len(text)

    def close(self) -> None:
        """Stay open: whatever prints after that is none of whoever closed it."""


def _hear_warnings(filters: list[Any]) -> None:
    """Do about warnings what the program does."""
    warnings.resetwarnings()
    for action, text, (module, name), where, line in filters:
        category = getattr(sys.modules.get(module), name, None)
        if isinstance(category, type) and issubclass(category, Warning):  # others nobody can give here
            warnings.filterwarnings(action, text, category, where, line, append=True)


def _settled(value: Any, *, needs_loop: bool) -> Any:
    """Return what comes of *value* in the end, if it is still to be run."""
    if isinstance(value, CoroutineType):
        return _awaited(value, needs_loop=needs_loop)
    if isinstance(value, GeneratorType):
        return [*value]
    if isinstance(value, AsyncGeneratorType):

        async def gathered() -> list[Any]:
            return [item async for item in value]

        return _awaited(gathered(), needs_loop=needs_loop)
    return value


def _awaited(coroutine: "Coroutine[Any, Any, Any]", *, needs_loop: bool) -> Any:
    # Most await nothing but calls of hosts, which are over when they return; an event loop takes long to import.
    if needs_loop or "asyncio" in sys.modules:
        import asyncio  # noqa: PLC0415 - as just said

        return asyncio.run(coroutine)
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("It awaits something, but nothing that it imports could wake it up again.")
