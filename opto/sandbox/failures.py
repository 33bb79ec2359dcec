"""What happened to a candidate, as an exception: its own as it would have been raised here, a limit as a sentence."""

import builtins
import linecache
import signal
import sys
import weakref
from collections.abc import Collection, Mapping
from types import FrameType, TracebackType
from typing import Any

from opto.errors import (
    SandboxCrashError,
    SandboxError,
    SandboxForbiddenError,
    SandboxMemoryError,
    SandboxOutputError,
    SandboxTimeoutError,
    SandboxTransferError,
)
from opto.sandbox.child.codec import Decoder, MalformedError
from opto.sandbox.child.offers import OUT_OF_MEMORY
from opto.sandbox.limits import Limits

__all__ = ["crashed", "late", "limit_passed", "over_disk", "raised", "show_lines", "with_line"]

_MOST_FRAMES = 40


def _in(line: int | None) -> str:
    return "" if line is None else f" in line {line}"


def _size(count: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count} bytes"


def late(name: str, limits: Limits, line: int | None, *, is_load: bool) -> SandboxError:
    """Return the error for code that did not answer in time."""
    if is_load:
        problem = f"The code around {name}() took longer than {limits.start:g} s to load{_at(line)}."
        return SandboxTimeoutError(problem, mend="Move what takes long into the function.", line=line)
    return SandboxTimeoutError(
        f"{name}() did not finish within {limits.seconds:g} s{_at(line)}.",
        mend="Make it end sooner: let every loop come to an end, and wait for nothing.",
        line=line,
    )


def _at(line: int | None) -> str:
    return "" if line is None else f"; it was in line {line}"


def over_disk(name: str, limits: Limits) -> SandboxError:
    """Return the error for code that filled its work folder."""
    return SandboxMemoryError(
        f"{name}() wrote more than {_size(limits.disk)} of files, or too many.", mend="Write less, or nothing."
    )


def crashed(name: str, status: int | None, line: int | None, limits: Limits) -> SandboxError:
    """Return the error for a process that is gone.

    Args:
        name: Of the function.
        status: How it ended, in the form of `os.waitpid`; None if nobody knows.
        line: Where it was.
        limits: What it was allowed.
    """
    number = code = None
    if status is None:
        how = "ended its process"
    elif status & 0x7F:
        number = status & 0x7F
        if number == getattr(signal, "SIGXCPU", 0):
            return late(name, limits, line, is_load=False)
        how = f"crashed Python ({_name_of(number)})"
    elif status >> 8 == OUT_OF_MEMORY:
        return SandboxMemoryError(_too_much(name, limits, line), mend=_USE_LESS, line=line)
    else:
        code = status >> 8
        how = f"ended its process with exit code {code}"
    error = SandboxCrashError(f"{name}() {how}{_in(line)}.", mend="Return a value, or raise an exception.", line=line)
    error.signal, error.exit_code = number, code
    return error


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def limit_passed(name: str, reply: Mapping[str, Any], limits: Limits) -> SandboxError:
    """Return the error for a limit that the child itself saw passed."""
    line = reply.get("line") if type(reply.get("line")) is int else None
    match reply["limit"]:
        case "output":
            return SandboxOutputError(
                f"{name}() printed more than {limits.output} characters{_in(line)}.",
                mend="Print less, or nothing.",
                line=line,
            )
        case "result":
            size = f", {_size(reply['size'])}" if type(reply.get("size")) is int else ""
            return SandboxOutputError(f"{name}() returned more than {_size(limits.result)}{size}.", mend="Return less.")
        case "type":
            return SandboxTransferError(
                f"{name}() returned {str(reply.get('what'))[:200]}, which cannot leave the sandbox.",
                mend="Return plain data: numbers, texts, lists, dicts, arrays, or what it was given.",
            )
        case _:
            return SandboxMemoryError(_too_much(name, limits, line), mend=_USE_LESS, line=line)


_USE_LESS = "Work on less at once."


def _too_much(name: str, limits: Limits, line: int | None) -> str:
    return f"{name}() used more than {_size(limits.memory)} of memory{_in(line)}."


def raised(
    name: str, described: Any, limits: Limits, *, file: str, files: Collection[str], decoder: Decoder
) -> BaseException:
    """Return the exception that a candidate let out, with the lines that it came through.

    Args:
        name: Of the function.
        described: What the child says of it.
        limits: What it was allowed.
        file: File name of the candidate.
        files: Those of all code that it may have come through. Others are left out: whoever shows the lines of an
            exception would read them.
        decoder: Reads its arguments.
    """
    frames = [
        (found, line, str(where)[:100])
        for found, line, where in described.get("frames", ())[:_MOST_FRAMES]
        if type(line) is int and 0 <= line < 1_000_000 and type(found) is str and found in files
    ]
    lines = [line for found, line, _ in frames if found == file]
    line = lines[-1] if lines else None
    text = str(described.get("text", ""))[:4000]
    if described.get("type") == "MemoryError":
        error: BaseException = SandboxMemoryError(_too_much(name, limits, line), mend=_USE_LESS, line=line)
    elif "forbidden" in described:
        said = str(described["forbidden"])[:1000].rstrip(".")
        error = SandboxForbiddenError(
            f"{name}() did what it may not{_in(line)}: {said}.",
            mend="Compute the result from the arguments.",
            line=line,
        )
    else:
        base = getattr(builtins, str(described.get("base")), None)
        if not isinstance(base, type) or not issubclass(base, BaseException):
            base = Exception
        if not issubclass(base, Exception):
            # It would end the user's program, or cancel a task.
            error = SandboxCrashError(
                f"{name}() raised {str(described.get('type'))[:100]}{_in(line)}, which ends programs.",
                mend="Return a value, or raise an exception that says what is wrong.",
                line=line,
            )
        else:
            error = _remade(base, described, text, decoder)
    return with_frames(error, frames)


def _remade(base: type[Exception], described: Mapping[str, Any], text: str, decoder: Decoder) -> Exception:
    """Return an exception of a class that was raised over there, as nearly as it is known here."""
    try:
        args = decoder.decode(described.get("args"))
        args = args if isinstance(args, tuple) else (text,)
        state = decoder.decode(described.get("state") or {})
    except MalformedError:
        args, state = (text,), {}
    kind: Any = base
    name = str(described.get("type"))[:100]
    if "key" in described:
        kind = decoder.decode({"!known": described["key"]})
    elif name != base.__name__:
        # A class of the candidate's own: its name and its text are all that matters of it.
        kind = type(name, (base,), {"__module__": "candidate", "__str__": lambda _: text})
    if issubclass(kind, BaseExceptionGroup):
        kind, args = Exception, (text,)
    try:
        error: Exception = kind(*args) if kind is base else kind.__new__(kind, *args)
    except Exception:  # it wants other arguments than it keeps
        error = Exception.__new__(type(name, (Exception,), {"__str__": lambda _: text}))
    if kind is not base:
        error.args = args
    if isinstance(state, dict):
        error.__dict__.update(state)
    return error


def with_line(error: BaseException, file: str, name: str, line: int | None) -> BaseException:
    """Return *error* as if it had been raised in *line* of *file*, if that is known."""
    return with_frames(error, [] if line is None else [(file, line, name)])


def with_frames(error: BaseException, frames: "list[tuple[str, int, str]]") -> BaseException:
    """Return *error* as if it had come through *frames*, outermost first: handlers show their lines."""
    traceback = None
    for file, line, name in reversed(frames):
        traceback = TracebackType(traceback, _frame(file, name), 0, max(line, 1))
    return error.with_traceback(traceback)


def _frame(file: str, name: str) -> FrameType:
    """Return a frame of a function *name* in *file*."""
    namespace: dict[str, Any] = {"getframe": sys._getframe}  # noqa: SLF001 - there is no other way to one
    code = compile("frame = getframe()", file, "exec")
    # Places would be those in the text above, and what shows exceptions looks for the part of the line that they mean.
    table = bytes([_NO_PLACE] * (len(code.co_code) // 2))
    code = code.replace(co_name=name, co_qualname=name, co_linetable=table)
    exec(code, namespace)  # noqa: S102 - the text stands above
    frame: FrameType = namespace.pop("frame")
    return frame


#: In the table of places of a code object: one instruction, nowhere. See Objects/locations.md of CPython.
_NO_PLACE = 0x80 | 15 << 3


def show_lines(owner: Any, file: str, source: str) -> None:
    """Let tracebacks show the lines of *source* for as long as *owner* lives."""
    lines = [f"{line}\n" for line in source.removesuffix("\n").split("\n")]
    # No modification time: linecache.checkcache() then leaves the entry alone.
    linecache.cache[file] = (len(source), None, lines, file)
    weakref.finalize(owner, linecache.cache.pop, file, None)
