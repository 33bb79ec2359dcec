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
    StoppingError,
)
from opto.sandbox.child.codec import Decoder, MalformedError
from opto.sandbox.child.offers import OUT_OF_MEMORY
from opto.sandbox.limits import Limits

__all__ = [
    "crashed",
    "late",
    "limit_passed",
    "over_disk",
    "overasked",
    "overcrowded",
    "raised",
    "shortened",
    "show_lines",
    "text_of",
    "visible",
    "with_line",
]

_MOST_FRAMES = 40
_LONGEST_TEXT = 4000
#: What terminals obey instead of showing it, and what turns the direction of text, as Python would write it.
_UNSEEN = {
    number: ascii(chr(number))[1:-1]
    for number in (*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    if chr(number) not in "\n\t"
}


def text_of(error: BaseException) -> str:
    """Return what *error* says, or nothing if it cannot."""
    try:
        return str(error)[:_LONGEST_TEXT]
    except Exception:  # a class of the user's may do anything here
        return ""


def visible(text: str) -> str:
    """Return *text*, which is somebody else's, so that it can be shown in terminals and sent anywhere."""
    return text.translate(_UNSEEN).encode("utf-8", "backslashreplace").decode("utf-8")


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


def overasked(name: str, limits: Limits, line: int | None) -> SandboxError:
    """Return the error for code that called what is offered to it too often."""
    return SandboxForbiddenError(
        f"{name}() called what it is offered more than {limits.calls} times in one call{_at(line)}.",
        mend="Call it less often, and let every loop come to an end.",
        line=line,
    )


def over_disk(name: str, limits: Limits) -> SandboxError:
    """Return the error for code that filled its work folder."""
    return SandboxMemoryError(
        f"{name}() wrote more than {_size(limits.disk)} of files, or too many.", mend="Write less, or nothing."
    )


def overcrowded(name: str) -> SandboxError:
    """Return the error for code that started many threads."""
    return SandboxForbiddenError(f"{name}() started too many threads.", mend="Start few, or none.")


def crashed(name: str, status: int | None, line: int | None, limits: Limits) -> SandboxError:
    """Return the error for a process that is gone.

    Args:
        name: Of the function.
        status: How it ended, in the form of `os.waitpid`; None if nobody knows.
        line: Where it was.
        limits: What it was allowed.
    """
    number = code = None
    mend = "Return a value, or raise an exception."
    if status is None:
        how = "ended its process"
    elif status & 0x7F:
        number = status & 0x7F
        if number == getattr(signal, "SIGXCPU", 0):
            return late(name, limits, line, is_load=False)
        if number == signal.SIGKILL:
            how = "was killed, or closed its connection"
        else:
            how = f"crashed Python ({_name_of(number)})"
            mend = "Recurse less deeply, and leave memory and libraries in C alone."
    elif status >> 8 == OUT_OF_MEMORY:
        return SandboxMemoryError(_too_much(name, limits, line), mend=_USE_LESS, line=line)
    else:
        code = status >> 8
        how = f"ended its process with exit code {code}"
    error = SandboxCrashError(f"{name}() {how}{_in(line)}.", mend=mend, line=line)
    error.signal, error.exit_code = number, code
    return error


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def limit_passed(name: str, reply: Mapping[str, Any], limits: Limits) -> SandboxError:
    """Return the error for a limit that the child itself saw passed."""
    line = reply["line"] if _is_small(reply.get("line"), 1_000_000) else None
    match reply["limit"]:
        case "output":
            return SandboxOutputError(
                f"{name}() printed more than {limits.output} characters{_in(line)}.",
                mend="Print less, or nothing.",
                line=line,
            )
        case "result":
            size = f", {_size(reply['size'])}" if _is_small(reply.get("size"), 1 << 60) else ""
            return SandboxOutputError(f"{name}() returned more than {_size(limits.result)}{size}.", mend="Return less.")
        case "type":
            return SandboxTransferError(
                f"{name}() returned {visible(str(reply.get('what'))[:200])}, which cannot leave the sandbox.",
                mend="Return plain data: numbers, texts, lists, dicts, arrays, or what it was given.",
            )
        case _:
            return SandboxMemoryError(_too_much(name, limits, line), mend=_USE_LESS, line=line)


_USE_LESS = "Work on less at once."


def _is_small(number: Any, most: int) -> bool:
    return type(number) is int and 0 <= number < most


def _too_much(name: str, limits: Limits, line: int | None) -> str:
    return f"{name}() used more than {_size(limits.memory)} of memory{_in(line)}."


def raised(
    name: str, described: Any, limits: Limits, *, file: str, lines: Collection[tuple[str, int]], decoder: Decoder
) -> BaseException:
    """Return the exception that a candidate let out, with the lines that it came through.

    Args:
        name: Of the function.
        described: What the child says of it.
        limits: What it was allowed.
        file: File name of the candidate.
        lines: Those of all code that it may have come through, with their files. Others are left out: whoever shows
            the lines of an exception would read them.
        decoder: Reads its arguments.
    """
    frames = [
        (found, line, visible(str(where)[:100]))
        for found, line, where in described.get("frames", ())[:_MOST_FRAMES]
        if type(line) is int and type(found) is str and (found, line) in lines
    ]
    reached = [line for found, line, _ in frames if found == file]
    line = reached[-1] if reached else None
    text = visible(str(described.get("text", ""))[:_LONGEST_TEXT])
    if described.get("type") == "MemoryError":
        error: BaseException = SandboxMemoryError(_too_much(name, limits, line), mend=_USE_LESS, line=line)
    elif "forbidden" in described:
        said = visible(str(described["forbidden"])[:1000]).rstrip(".")
        error = SandboxForbiddenError(
            f"{name}() did what it may not{_in(line)}: {said}.",
            mend="Compute the result from the arguments.",
            line=line,
        )
    else:
        base = getattr(builtins, str(described.get("base")), None)
        if not isinstance(base, type) or not issubclass(base, BaseException):
            base = Exception
        kind = decoder.decode({"!known": described["key"]}) if "key" in described else base
        if not issubclass(base, Exception) or not issubclass(kind, Exception) or issubclass(kind, StoppingError):
            # It would end the user's program or its loop, or cancel a task.
            error = SandboxCrashError(
                f"{name}() raised {visible(str(described.get('type'))[:100])}{_in(line)}, which ends programs.",
                mend="Return a value, or raise an exception that says what is wrong.",
                line=line,
            )
        else:
            error = _remade(base, kind, described, text, decoder)
            if isinstance(error, SyntaxError) and all(found != error.filename for found, _ in lines):
                error.filename = None  # some show its lines
    return with_frames(error, frames)


def _remade(base: type[Exception], kind: Any, described: Mapping[str, Any], text: str, decoder: Decoder) -> Exception:
    """Return an exception of a class that was raised over there, as nearly as it is known here."""
    try:
        args = decoder.decode(described.get("args"))
        args = (*map(shortened, args),) if isinstance(args, tuple) else (text,)
        state = decoder.decode(described.get("state") or {})
    except MalformedError:
        args, state = (text,), {}
    name = visible(str(described.get("type"))[:100])
    if "key" not in described and name != base.__name__:
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
        notes = state.pop("__notes__", None)
        error.__dict__.update({name: item for name, item in state.items() if type(name) is str and name[:2] != "__"})
        for note in notes if isinstance(notes, list) else ():
            error.add_note(shortened(str(note)))
    return error


def shortened(value: Any) -> Any:
    """Return *value*, which is shown as it is if it is a text, as a text that can be shown."""
    return visible(value[:_LONGEST_TEXT]) if type(value) is str else value


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
