"""One child process and the talk with it, as steps that whoever waits carries out: a thread, or an event loop."""

import os
import re
import select
import struct
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import suppress
from inspect import isawaitable
from typing import Any, NamedTuple

from opto.errors import SandboxTransferError
from opto.sandbox.child.codec import MalformedError, dumps, loads
from opto.sandbox.child.codes import ERRORS_BEGIN, ERRORS_END, MOST_COPIED, seconds_to_read
from opto.sandbox.child.folders import is_over
from opto.sandbox.limits import Limits
from opto.sandbox.printed import Printed
from opto.sandbox.processes.endings import end_later
from opto.sandbox.processes.zygote import QUIETLY, Zygote, quiet

__all__ = [
    "MOST_THREADS",
    "Child",
    "Do",
    "Ended",
    "HostCall",
    "Late",
    "Misbehaved",
    "OverDisk",
    "Overasked",
    "Overcrowded",
    "Steps",
    "Wait",
    "run",
    "run_async",
]

_LENGTH = struct.Struct(">Q")
#: How long nobody looks how much there is in the work folder.
_TICK = 0.02
#: How long the lines that a child writes down are read.
_PATIENCE = 0.5
#: How what begins that Python writes as it crashes.
_CRASH = b"Fatal Python error: "
#: How many exceptions of the host are kept in a call: what was held back that long ago comes back as a copy.
_MOST_ERRORS = 100
#: More than the kernel lets those have whom it counts.
MOST_THREADS = 100


class Wait(NamedTuple):
    """Wait until *descriptor* can be read, or written, or *seconds* are over; answer with True if it can."""

    descriptor: int
    is_write: bool
    seconds: float


class HostCall(NamedTuple):
    """Call *action*, which the host offers; answer with what it returns, and whether that had to be awaited."""

    action: Callable[[], Any]


class Do(NamedTuple):
    """Carry out *action*, which takes some time; answer with what it returns."""

    action: Callable[[], Any]


Steps = Generator[Wait | HostCall | Do, Any, Any]


class Late(Exception):  # noqa: N818 - these six are no errors yet
    """The child did not answer in time."""


class Ended(Exception):  # noqa: N818 - as above
    """The child is gone."""


class Overasked(Exception):  # noqa: N818 - as above
    """The child has called what is offered to it more often than it may."""


class OverDisk(Exception):  # noqa: N818 - as above
    """The child has filled its work folder."""


class Overcrowded(Exception):  # noqa: N818 - as above
    """The child has started many threads: where root runs it as root, the kernel does not keep it from that."""


class Misbehaved(Exception):  # noqa: N818 - as above
    """What the child says is none of our messages."""


class Child:
    """One process that runs one candidate.

    Attributes:
        owner: The process that may talk to it.
        known: How many parts of the candidate's scope it was told.
        versions: Which of the values there.
        is_loaded: True once it has the candidate.
        is_busy: True from a message to the answer.
        served: How many calls of the host it has asked for in this call, the one item of a list.
        errors: What calls of the host raised in this call, by what the child calls it; the last of them.
    """

    _talk = -1

    def __init__(self, zygote: Zygote, limits: Limits, order: Mapping[str, Any]) -> None:
        import socket  # noqa: PLC0415 - only where a candidate runs

        self.owner = os.getpid()
        self.served = [0]
        self.known = 0
        self.versions: dict[tuple[str, str], int] = {}
        self.is_loaded = self.is_busy = False
        self.errors: dict[int, Exception] = {}
        self._noted = 0
        self._has_asked = False
        self._zygote, self._limits = zygote, limits
        self._socket, theirs = quiet(socket.socketpair())
        with theirs:
            reader, writer = os.pipe()
            try:
                self._socket.setblocking(False)
                os.set_blocking(reader, False)
                os.set_blocking(writer, False)  # nobody reads it as long as all goes well
                self._number, self._folder, self._process = zygote.start(order, [theirs.fileno(), writer])
            except BaseException:  # also Ctrl-C: nobody else knows of them
                self._socket.close()
                os.close(reader)
                raise
            finally:
                os.close(writer)
            self._talk, self._trace = self._socket.fileno(), reader
        # Refers to it from outside: in a circle, Python might find it open before it finds this object.
        self._close = weakref.finalize(self, self._socket.close)
        self._close.atexit = False  # where the program ends, what makes it is closed first
        self._seen = time.monotonic()
        self._rest = b""

    def __del__(self) -> None:
        # Whoever waited for it was cancelled as it came.
        if not self.is_ended:
            end_later(self.end)

    def note(self, error: Exception) -> int:
        """Remember what a call of the host raised; return what the child calls it."""
        self._noted += 1
        self.errors[self._noted] = error
        self.errors.pop(self._noted - _MOST_ERRORS, None)
        return self._noted

    @property
    def is_orphan(self) -> bool:
        """True if what made it is gone, and it with that, before it did anything that could be seen outside."""
        return not self._has_asked and not self._zygote.is_there

    def exchange(
        self, message: Mapping[str, Any], seconds: float, serve: Callable[[Mapping[str, Any]], Steps]
    ) -> Steps:
        """Send *message*, serve what the child asks of the host, and return its answer.

        Args:
            message: What is to be done.
            seconds: How long the child may take, besides what it takes to read what it is sent.
            serve: Returns the answer to what it asks.

        Raises:
            Late: It took longer than that, not counting what the host took.
            Ended: The child is gone.
            OverDisk: It has filled its folder.
            Overcrowded: It has started many threads.
            Misbehaved: Its answer is none.
        """
        number = int.from_bytes(os.urandom(6), "big")
        data = dumps({**message, "n": number, "seconds": seconds})
        until = time.monotonic() + seconds + seconds_to_read(len(data))
        self.is_busy, self._has_asked = True, False
        yield from self._write(data, until)
        while True:
            # Where answers are always there already, nobody waits, which is where time is looked at otherwise.
            self._look(until)
            reply = yield from self._read(until)
            if type(reply) is not dict or reply.get("n") != number:
                raise Misbehaved("an answer to something else")
            if "has_read" in reply:
                until = min(until, time.monotonic() + seconds)
                continue
            if "host" not in reply:
                self.is_busy = False
                if "out" in reply:
                    self.printed()  # which is the same, and must not be taken for what a later call prints
                return reply
            self._has_asked = True
            answer, taken = yield from _timed(serve(reply))
            until += taken  # what is read counts, on both sides: it can ask for more again and again
            yield from self._write(dumps(answer), until)

    def _write(self, data: bytes, until: float) -> Steps:
        rest = memoryview(_LENGTH.pack(len(data)) + data)
        while True:
            try:
                rest = rest[self._socket.send(rest, QUIETLY) :]
            except BlockingIOError:
                pass
            except OSError:
                raise Ended from None
            if not rest:
                return
            yield from self._wait(until, is_write=True)

    def _read(self, until: float) -> Steps:
        data = yield from self._receive(_LENGTH.size, until)
        (size,) = _LENGTH.unpack(data)
        if size > self._limits.result:
            raise Misbehaved("an answer that is larger than it may be")
        data = yield from self._receive(size, until)
        try:
            return loads(data)
        except MalformedError as error:
            raise Misbehaved(str(error)) from None

    def _receive(self, size: int, until: float) -> Generator[Wait | HostCall | Do, Any, bytes]:
        parts, left = [self._rest[:size]], size - len(self._rest)
        self._rest = self._rest[size:]
        while left > 0:
            try:
                # With the length comes most often all of the message.
                data = os.read(self._talk, max(left, 65536) if size == _LENGTH.size else min(left, 1 << 20))
            except BlockingIOError:
                data = None
            except OSError:
                data = b""
            if data is None:  # not up there, or Ctrl-C would be told as what happened while another error was handled
                yield from self._wait(until, is_write=False)
                continue
            if not data:
                raise Ended
            parts.append(data[:left])
            self._rest = data[left:]
            left -= len(data)
        return b"".join(parts)

    def _look(self, until: float) -> float:
        """Raise what there is to raise about time and disk; return what time it is."""
        now = time.monotonic()
        if now - self._seen > _TICK:
            self._seen = now
            if is_over(self._folder, self._limits.disk, self._process):
                raise OverDisk
            if self._process is not None and _threads_of(self._process) > MOST_THREADS:
                raise Overcrowded
        if now >= until:
            raise Late
        return now

    def _wait(self, until: float, *, is_write: bool) -> Steps:
        while True:
            now = self._look(until)
            if (yield Wait(self._talk, is_write, min(until - now, _TICK))):
                return

    def printed(self) -> Printed:
        """Return the beginning of what was printed since this was asked last, for where no answer tells of it."""
        return self._last_words()[0]

    def end_of(self, files: Iterable[str]) -> tuple[Printed, list[tuple[str, int]]]:
        """Return what was printed, and the lines of *files* that the child is in, or crashed in, innermost first."""
        printed, trace = self._last_words()
        with suppress(OSError):
            self._zygote.trace(self._number)
            poll = select.poll()
            poll.register(self._trace, select.POLLIN)
            size, until = 0, time.monotonic() + _PATIENCE
            # It may go on writing there for as long as it lives.
            while size < 1 << 16 and time.monotonic() < until and poll.poll(30):
                more = os.read(self._trace, 1 << 16)
                if not more:
                    break
                trace += more
                size += len(more)
        # Of what it wrote, which is anything, only a number is believed.
        # The main thread comes last; it is whose line is asked for.
        last = trace.rpartition(b"(most recent call first):")[2]
        written = {file.encode("ascii", "backslashreplace"): file for file in files}
        names = b"|".join(map(re.escape, written))
        places = re.findall(rb'File "(' + names + rb')", line (\d{1,6}) in', last)
        return printed, [(written[name], int(line)) for name, line in places]

    def _last_words(self) -> tuple[Printed, bytes]:
        """Return what was printed, and what a crash has added to it."""
        data = b""
        with suppress(OSError):
            for _ in range(4):  # as above
                part = os.read(self._trace, 1 << 16)
                if not part:
                    break
                data += part
        printed, crash, trace = data.partition(_CRASH)
        return Printed.copied(printed[: MOST_COPIED + len(ERRORS_BEGIN + ERRORS_END)]), crash + trace

    @property
    def is_ended(self) -> bool:
        return self._talk < 0

    def end(self) -> int | None:
        """End the process and all that it has started; return how it ended, in the form of `os.waitpid`.

        May be called more than once.
        """
        if self.is_ended:
            return None
        self._talk = -1
        self._close()
        os.close(self._trace)
        if self.owner != os.getpid():
            return None
        return self._zygote.end(self._number)


def _timed(steps: Steps) -> Generator[Wait | HostCall | Do, Any, tuple[Any, float]]:
    """Take *steps*; return what they come to, and how many seconds passed in what was called for them."""
    taken, answer = 0.0, None
    error: BaseException | None = None
    while True:
        try:
            step = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as end:
            return end.value, taken
        answer = error = None
        started = time.monotonic()
        try:
            answer = yield step
        except BaseException as raised:  # also what ends the program, which they tidy up for
            error = raised
        taken += time.monotonic() - started


def _threads_of(process: int) -> int:
    try:
        return os.stat(f"/proc/{process}/task").st_nlink - 2
    except OSError:
        return 0


def poll_until(wait: Wait) -> bool:
    """Carry *wait* out in this thread."""
    poll = select.poll()
    poll.register(wait.descriptor, select.POLLOUT if wait.is_write else select.POLLIN)
    return bool(poll.poll(wait.seconds * 1000 + 1))


def run(steps: Steps) -> Any:
    """Carry *steps* out in this thread; return what they come to."""
    answer: Any = None
    error: BaseException | None = None
    while True:
        try:
            step = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as end:
            return end.value
        answer = error = None
        try:
            if type(step) is Wait:
                answer = poll_until(step)
            elif isinstance(step, Do):
                answer = step.action()
            else:
                assert isinstance(step, HostCall)
                answer = _called(step), False
        except BaseException as raised:  # also Ctrl-C: the child must not go on
            error = raised


def _called(step: HostCall) -> Any:
    value = step.action()
    if isawaitable(value):
        if hasattr(value, "close"):
            value.close()  # or Python warns that nobody awaited it
        raise SandboxTransferError(
            "A function that the host offers has to be awaited, but nobody here can.", mend="Use acall()."
        )
    return value


async def run_async(steps: Steps) -> Any:
    """Carry *steps* out in the event loop that runs, which goes on meanwhile."""
    import asyncio  # noqa: PLC0415 - whoever calls this has it already

    answer: Any = None
    error: BaseException | None = None
    while True:
        try:
            step = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as end:
            return end.value
        answer = error = None
        try:
            if type(step) is Wait:
                answer = await _wait_async(asyncio.get_running_loop(), step)
            elif type(step) is Do:
                answer = await asyncio.to_thread(step.action)
            else:
                assert isinstance(step, HostCall)
                value = step.action()
                answer = (await value, True) if isawaitable(value) else (value, False)
        except BaseException as raised:  # also cancellation: the child must not go on
            error = raised


async def _wait_async(loop: Any, wait: Wait) -> bool:
    future = loop.create_future()

    def finish(is_ready: bool) -> None:
        if not future.done():
            future.set_result(is_ready)

    add, remove = (loop.add_writer, loop.remove_writer) if wait.is_write else (loop.add_reader, loop.remove_reader)
    add(wait.descriptor, finish, True)
    timer = loop.call_later(wait.seconds, finish, False)
    try:
        is_ready: bool = await future
    finally:
        timer.cancel()
        remove(wait.descriptor)
    return is_ready
