"""What happened to a candidate, as an exception: its own as it would have been raised here, a limit as a sentence."""

import linecache
import signal
import sys
import weakref
from collections.abc import Collection, Mapping, Sequence
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
from opto.sandbox.child.codec import Decoder
from opto.sandbox.child.codes import BROKEN, OUT_OF_MEMORY, TOO_LARGE
from opto.sandbox.limits import Limits
from opto.sandbox.scope.remaking import LONGEST_TEXT, class_of, remade, shortened, text_of, visible

__all__ = [
    "crashed",
    "frames_at",
    "late",
    "limit_passed",
    "over_disk",
    "overasked",
    "overcrowded",
    "raised",
    "shortened",
    "show_lines",
    "text_of",
    "unreadable",
    "visible",
    "with_frames",
]

#: A file, a line of it, and a function in it.
_Place = tuple[str, int, str]
_MOST_FRAMES = 40
#: How many exceptions are believed that one came from, and how many of a group.
_DEEPEST, _MOST_INNER = 3, 20


def _in(line: int | None) -> str:
    return "" if line is None else f" in line {line}"


def _size(count: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count} bytes"


def late(name: str, limits: Limits, line: int | None, *, is_load: bool, inner: Sequence[_Place] = ()) -> SandboxError:
    """Return the error for code that did not answer in time; *inner* says where it was in what it had called."""
    at = _at(line) + "".join(f", in line {number} of {called}()" for _, number, called in inner)
    if is_load:
        problem = f"The code around {name}() took longer than {limits.start:g} s to load{at}."
        return SandboxTimeoutError(problem, mend="Move what takes long into the function.", line=line)
    return SandboxTimeoutError(
        f"{name}() did not finish within {limits.seconds:g} s{at}.",
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


def over_disk(name: str, limits: Limits, line: int | None = None, *, is_one: bool = False) -> SandboxError:
    """Return the error for code that filled its work folder, or one file."""
    what = f"a file of more than {_size(limits.disk // 4)}, a quarter of what it may write{_in(line)}"
    problem = f"{name}() wrote {what if is_one else f'more than {_size(limits.disk)} of files, or too many'}."
    return SandboxMemoryError(problem, mend="Write less, or nothing.", line=line)


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
        said = _name_of(number)
        if said in _OF_TIME:
            return late(name, limits, line, is_load=False)
        if said == "SIGXFSZ":
            return over_disk(name, limits, line, is_one=True)
        how, mend = _SIGNALS.get(said, ("was ended by {}", "Send no signals; return a value, or raise an exception."))
        how = how.format(said)
    elif status >> 8 == OUT_OF_MEMORY:
        return SandboxMemoryError(_too_much(name, limits, line), mend=_USE_LESS, line=line)
    elif status >> 8 == TOO_LARGE:
        return SandboxMemoryError(
            f"What {name}() was given does not fit into its {_size(limits.memory)} of memory.",
            mend="Give it less, or allow more (Limits(memory=…)).",
        )
    elif status >> 8 == BROKEN:
        code = BROKEN
        how = f"ended Python, or left it unable to answer (exit code {code})"
        mend = "Leave builtins and Python's own modules as they are; return a value, or raise an exception."
    else:
        code = status >> 8
        how = f"ended its process with exit code {code}"
    error = SandboxCrashError(f"{name}() {how}{_in(line)}.", mend=mend, line=line)
    error.signal, error.exit_code = number, code
    return error


#: By the signals that end processes: those for time, and what is said of others.
_OF_TIME = frozenset({"SIGPROF", "SIGXCPU"})
_ALARM = "was ended by the alarm that it set ({})", "Set no timers, or say with signal.signal() what they call."
_CRASH = "crashed Python ({})", "Recurse less deeply, and leave memory and libraries in C alone."
_SIGNALS = {
    "SIGKILL": ("was killed, or closed its connection", "Return a value, or raise an exception."),
    "SIGPIPE": ("wrote to something that nobody reads any more ({})", "Leave SIGPIPE ignored, or write less."),
    **dict.fromkeys(("SIGALRM", "SIGVTALRM"), _ALARM),
    **dict.fromkeys(("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP"), _CRASH),
}


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
                mend=_PLAIN,
            )
        case _:
            return SandboxMemoryError(_too_much(name, limits, line), mend=_USE_LESS, line=line)


def unreadable(name: str, reason: str) -> SandboxError:
    """Return the error for a result that is no value here."""
    return SandboxTransferError(
        f"{name}() returned a value that cannot be read outside the sandbox ({visible(reason[:200])}).", mend=_PLAIN
    )


_PLAIN = "Return plain data: numbers, texts, lists, dicts, arrays, or what it was given."
_USE_LESS = "Work on less at once."


def _is_small(number: Any, most: int) -> bool:
    return type(number) is int and 0 <= number < most


def _too_much(name: str, limits: Limits, line: int | None) -> str:
    return f"{name}() used more than {_size(limits.memory)} of memory{_in(line)}."


def raised(
    name: str,
    described: Any,
    limits: Limits,
    *,
    file: str,
    lines: Collection[tuple[str, int]],
    decoder: Decoder,
    errors: Mapping[int, Exception],
    depth: int = 0,
) -> BaseException:
    """Return the exception that a candidate let out, with the lines that it came through, and what it came from.

    Args:
        name: Of the function.
        described: What the child says of it.
        limits: What it was allowed.
        file: File name of the candidate.
        lines: Those of all code that it may have come through, with their files. Others are left out: whoever shows
            the lines of an exception would read them.
        decoder: Reads its arguments.
        errors: What functions of the user's raised in this call, by what the child calls it.
        depth: How many exceptions came from this one.
    """
    host = described.get("host")
    if type(host) is int and host in errors:
        return errors[host]  # the very exception

    def origin(other: Any) -> BaseException:
        options: Any = {"file": file, "lines": lines, "decoder": decoder, "errors": errors}
        return raised(name, other, limits, **options, depth=depth + 1)

    frames = _frames_in(described, lines)
    line = next((line for found, line, _ in reversed(frames) if found == file), None)
    text = visible(str(described.get("text", ""))[:LONGEST_TEXT])
    passed = _passed(name, described, limits, line)
    if passed is not None:
        error: BaseException = passed
    else:
        kind, is_exact = class_of(described["kinds"], decoder)
        if not issubclass(kind, Exception) or issubclass(kind, StoppingError):
            # It would end the user's program or its loop, or cancel a task.
            error = SandboxCrashError(
                f"{name}() raised {visible(str(described.get('type'))[:100])}{_in(line)}, which ends programs.",
                mend="Return a value, or raise an exception that says what is wrong.",
                line=line,
            )
        else:
            others = [origin(item) for item in described.get("inner", ())[:_MOST_INNER]] if depth < _DEEPEST else []
            inner = [item for item in others if isinstance(item, Exception)]
            error = remade(kind, described, text, decoder, is_exact=is_exact, inner=inner)
            if isinstance(error, SyntaxError):
                filename: Any = SyntaxError.__dict__["filename"]  # past what a class below it has in its place
                if all(found != filename.__get__(error) for found, _ in lines):
                    filename.__set__(error, None)  # some show its lines
    if depth < _DEEPEST:
        if "cause" in described:
            _set(error, "__cause__", origin(described["cause"]))
        if "context" in described:
            _set(error, "__context__", origin(described["context"]))
        _set(error, "__suppress_context__", described.get("is_suppressed") is True)
    return with_frames(error, frames)


def _set(error: BaseException, name: str, value: Any) -> None:
    """Set what Python keeps of *error*, past what its class does about attributes."""
    BaseException.__setattr__(error, name, value)


def _frames_in(described: Mapping[str, Any], lines: Collection[tuple[str, int]]) -> list[tuple[str, int, str]]:
    return [
        (found, line, visible(str(where)[:100]))
        for found, line, where in described.get("frames", ())[:_MOST_FRAMES]
        if type(line) is int and type(found) is str and (found, line) in lines
    ]


def _passed(name: str, described: Mapping[str, Any], limits: Limits, line: int | None) -> SandboxError | None:
    """Return the error for an exception that says that a limit was passed."""
    if described.get("type") == "MemoryError" or "memory" in described:
        return SandboxMemoryError(_too_much(name, limits, line), mend=_USE_LESS, line=line)
    if "large" in described:
        return over_disk(name, limits, line, is_one=True)
    if "forbidden" in described:
        said = visible(str(described["forbidden"])[:1000]).rstrip(".")
        return SandboxForbiddenError(
            f"{name}() did what it may not{_in(line)}: {said}.",
            mend="Compute the result from the arguments.",
            line=line,
        )
    return None


def frames_at(
    places: Sequence[tuple[str, int]], names: Mapping[str, str], file: str
) -> tuple[int | None, list[_Place]]:
    """Return the line of *file* among *places*, innermost first, and the frames of it and of what it had called."""
    line = next((line for found, line in places if found == file), None)
    if line is None:
        return None, []
    inner = [(found, number, names[found]) for found, number in places[:1] if found != file]
    return line, [(file, line, names[file]), *inner]


def with_frames(error: BaseException, frames: "list[tuple[str, int, str]]") -> BaseException:
    """Return *error* as if it had come through *frames*, outermost first: handlers show their lines."""
    traceback = None
    for file, line, name in reversed(frames):
        traceback = TracebackType(traceback, _frame(file, name, max(line, 1)), 0, max(line, 1))
    return BaseException.with_traceback(error, traceback)


def _frame(file: str, name: str, line: int) -> FrameType:
    """Return a frame of a function *name* in *file*, which is in *line*."""
    namespace: dict[str, Any] = {"getframe": sys._getframe}  # noqa: SLF001 - there is no other way to one
    code = compile("frame = getframe()", file, "exec")
    # Places would be those in the text above, and what shows exceptions looks for the part of the line that they mean.
    first, *others = [_LINE_ALONE] * (len(code.co_code) // 2)
    table = bytes([first, *_number(line - 1 << 1), *(byte for entry in others for byte in (entry, 0))])
    code = code.replace(co_name=name, co_qualname=name, co_firstlineno=1, co_linetable=table)
    exec(code, namespace)  # noqa: S102 - the text stands above
    frame: FrameType = namespace.pop("frame")
    return frame


#: In the table of places of a code object: one instruction, in a line so many below the one before, and nowhere in it.
#: See Objects/locations.md of CPython.
_LINE_ALONE = 0x80 | 13 << 3


def _number(value: int) -> list[int]:
    """Return *value* as numbers stand in that table."""
    parts = [value & 0x3F]
    while value := value >> 6:
        parts[-1] |= 0x40
        parts.append(value & 0x3F)
    return parts


def show_lines(owner: Any, file: str, source: str) -> None:
    """Let tracebacks show the lines of *source* for as long as *owner* lives."""
    lines = [f"{line}\n" for line in source.removesuffix("\n").split("\n")]
    # No modification time: linecache.checkcache() then leaves the entry alone.
    entry = linecache.cache[file] = (len(source), None, lines, file)
    weakref.finalize(owner, _forget_lines, file, entry)


def _forget_lines(file: str, entry: object) -> None:
    if linecache.cache.get(file) is entry:  # and not that of another text with the same name
        del linecache.cache[file]
