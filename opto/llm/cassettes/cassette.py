"""A file of requests and replies, which answers in place of a model, or is there to be read."""

import logging
import threading
import warnings
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, get_args

from opto.blocks import Block
from opto.errors import CassetteError, LLMError
from opto.files import append_lines, replace_file
from opto.forks import renew_after_fork
from opto.llm.cassettes.lines import Line, is_lasting, line_of, read_lines
from opto.llm.cassettes.nearest import first_difference, nearest
from opto.llm.cassettes.request import Request
from opto.llm.messages import Reply

if TYPE_CHECKING:
    import os

__all__ = ["Cassette", "CassetteWarning", "Mode"]

Mode = Literal["auto", "replay", "record", "keep"]

logger = logging.getLogger(__name__)


class CassetteWarning(UserWarning):
    """Replies cannot be written to their file, and are kept in memory."""


class Cassette(Block):
    """A file of replies, one line for each, by what was asked.

    It holds for all calls inside its ``with`` block, and for those of a client that it is given to
    (``LLM(…, cassette=cassette)``). A reply is on disk before anybody uses it. Keys and passwords are struck out.

    The same request may be asked several times: the first time gets the first recorded reply, the second time the
    second. Which call is which among several at once says their ``rollout=``.

    Args:
        path: The file. It need not be there, except to replay.
        mode: ``replay`` answers from the file and never asks; a request that is not in it is an error. ``auto``
            answers from the file, asks for what is missing, and adds it. ``record`` always asks, and replaces the file
            when its first reply comes. ``keep`` always asks and only adds, also a copy of what others answer or keep.
        recorded_by: What an error tells the user to do to record what is missing.

    Raises:
        CassetteError: There is no such mode; later: the file cannot be read, or does not hold what is asked.

    Example:
        >>> import tempfile
        >>> path = f"{tempfile.mkdtemp()}/hello.jsonl"
        >>> request = Request("openai:m", [{"role": "user", "content": "hello"}])
        >>> Cassette(path).keep(request, Reply("hi", model="m"))
        >>> Cassette(path, mode="replay").find(request).text
        'hi'
    """

    def __init__(
        self,
        path: "str | os.PathLike[str]",
        mode: Mode = "auto",
        *,
        recorded_by: str = 'Record it with mode="auto", or the whole file anew with mode="record".',
    ) -> None:
        if mode not in get_args(Mode):
            mend = f"Choose one of {', '.join(get_args(Mode))}."
            if path in get_args(Mode):
                mend = f'The path comes first: Cassette("{mode}", mode="{path!s}").'
            raise CassetteError(f"There is no mode {mode!r} of a cassette.", mend=mend)
        self.path = Path(path).absolute()  # wherever the program goes meanwhile
        self._name = str(path)
        self.mode: Mode = mode
        self._recorded_by = recorded_by
        self._lock = threading.Lock()
        self._lines: dict[str, Line] | None = None  # by key; None until somebody asks
        self._given: set[str] = set()
        #: How often each request was asked and kept without a rollout, by the key of its first.
        self._asked: dict[str, int] = {}
        self._kept: dict[str, int] = {}
        #: Whether all in memory takes the place of the file, and whether the file was there with all in memory.
        self._replaces = mode == "record"
        self._was_there = False
        self._waiting: list[bytes] = []  # what could not be written
        self._has_warned = False
        renew_after_fork(self)

    @property
    def asks(self) -> bool:
        """False if no model is ever asked, so that none need be there, and no key."""
        return self.mode != "replay"

    def find(self, request: Request) -> Reply | None:
        """Return the reply to *request*, or None if a model is to be asked.

        Raises:
            CassetteError: Nobody is to be asked, and there is no reply; or the file cannot be read.
            LLMError: The request was refused when it was recorded.
        """
        if self.mode == "keep":
            return None
        if self.mode == "record":
            request.key  # noqa: B018 - what cannot be recorded is refused before it is paid for
            return None
        first = request.key
        with self._lock:
            lines = self._read()
            rollout = request.rollout
            if rollout is None:
                rollout = self._asked.get(first, 0)
                self._asked[first] = rollout + 1
            key = request.key_of(rollout)
            line = lines.get(key)
            if self.asks and (line is None or line.is_failure):
                return None
            if line is None:
                raise self._missing(request, rollout, lines)
            self._given.add(key)
        outcome = line.outcome()
        if isinstance(outcome, LLMError):
            raise outcome
        return outcome

    def keep(self, request: Request, outcome: Reply | LLMError) -> None:
        """Write down what came of *request*. On return it is on disk; if that cannot be, in memory, after a warning.

        Failures that are of the moment are not kept: the same request may be answered the next time.
        """
        if not self.asks or (isinstance(outcome, LLMError) and not is_lasting(outcome)):
            return
        if self.mode == "keep":  # nobody asked for it by name, so that nothing may fail for it
            request = request.leniently()
            try:
                request.key  # noqa: B018
            except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
                # What holds itself, or objects that answer to every name: there is no end to them.
                logger.warning("A reply is not kept in %s: its request has no form (%s).", self._name, error)
                return
        first = request.key
        with self._lock:
            lines = self._read()
            rollout = request.rollout
            if rollout is None:
                rollout = self._kept.get(first, 0)
                while request.key_of(rollout) in lines:
                    rollout += 1
                self._kept[first] = rollout + 1
            key, data = line_of(request, rollout, outcome)
            if self.mode != "keep":
                lines[key] = Line(len(lines) + 1, data.rstrip())
                self._given.add(key)
            if self._replaces and isinstance(outcome, LLMError):
                return  # what is there goes only when there is something to take its place
        self._write(data)

    def save(self, path: "str | os.PathLike[str]") -> None:
        """Write all that is in memory to another file: what could not be written to the first, for instance.

        Raises:
            OSError: It cannot be written.
        """
        with self._lock:
            data = b"".join(self._waiting) if self.mode == "keep" else self._whole()
        replace_file(path, data.decode())

    @property
    def requests(self) -> list[Request]:
        """What was recorded, oldest first, with secrets struck out. In mode ``keep``, nothing."""
        with self._lock:
            return [line.request for line in self._read().values()]

    @property
    def unused(self) -> list[Request]:
        """Recorded requests whose reply nobody asked for; none, if there is no file."""
        with self._lock:
            if self._lines is None and not self.path.exists():
                return []
            return [line.request for key, line in self._read().items() if key not in self._given]

    @property
    def only_model(self) -> str | None:
        """The model of all recorded requests; None if there are several, or none."""
        return self.recorded_as(None)

    def recorded_as(self, model: str | None) -> str | None:
        """Return the ``"provider:model"`` that a client meant when its requests were recorded.

        Args:
            model: What it names: perhaps without a provider, or None for whatever the environment named then.

        Returns:
            None if there is none, or if there are several.
        """
        with self._lock:
            lines = list(self._read().values())
        found: str | None = None
        for recorded in (line.content["request"]["model"] for line in lines):
            if model in {None, recorded, recorded.partition(":")[2]}:
                if found not in {None, recorded}:
                    return None
                found = recorded
        return found

    @property
    def has_tools(self) -> bool:
        """True if a model was offered a tool in one of the recorded requests."""
        with self._lock:
            lines = [line for line in self._read().values() if b'"tool": ' in line.data]
        return any("tool" in line.content["request"]["settings"] for line in lines)

    def __len__(self) -> int:
        with self._lock:
            return len(self._read())

    def __bool__(self) -> bool:
        return True  # also if it is empty

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._waiting:
            self._write(b"")  # there may be room by now

    def begin_again(self) -> None:
        """Forget what belongs to the process that this one was forked from: a lock, and what it will write itself."""
        self._lock = threading.Lock()
        self._waiting = []

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self  # a copy of a program uses the same file

    def __copy__(self) -> Self:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.path, self.mode)

    def __repr__(self) -> str:
        return f"Cassette({self._name!r}, mode={self.mode!r})"

    def _read(self) -> dict[str, Line]:
        """Return the lines by key, the newest for each."""
        if self._lines is None:
            self._lines = self._stored() if self.mode in {"auto", "replay"} else {}
        return self._lines

    def _stored(self) -> dict[str, Line]:
        try:
            lines = dict(read_lines(self.path))
        except FileNotFoundError as error:
            if self.asks:
                return {}
            raise CassetteError(f"There is no cassette {self._name!r}.", mend=self._recorded_by) from error
        except OSError as error:
            raise CassetteError(
                f"The cassette {self._name!r} cannot be read: {error.strerror or error}.",
                mend="Give another file, or make it readable.",
            ) from error
        self._was_there = True
        # What was refused once may be answered today, wherever there is somebody to ask.
        return {key: line for key, line in lines.items() if not (self.asks and line.is_failure)}

    def _whole(self) -> bytes:
        return b"".join(line.data + b"\n" for line in self._read().values())

    def _write(self, data: bytes) -> None:
        """Add a line to the file, and what could not be written before."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            data = b"".join([*waiting, data])
            if self._replaces or (self._was_there and not self.path.exists()):
                self._replace(data)
                return
        if not data:
            return  # another thread was faster
        # Outside of the lock: the system keeps lines apart, and waits for the disk once for all who wait.
        try:
            append_lines(self.path, data)
        except OSError as error:
            with self._lock:
                self._hold(data, error)
        else:
            self._was_there = self.mode != "keep"

    def _replace(self, data: bytes) -> None:
        """Write everything: in the place of what was recorded before, or of a file that has vanished."""
        try:
            replace_file(self.path, self._whole().decode())
        except OSError as error:
            self._hold(data, error)
        else:
            self._replaces, self._was_there = False, True

    def _hold(self, data: bytes, error: OSError) -> None:
        self._waiting.append(data)
        if self._has_warned:
            return
        self._has_warned = True
        message = (
            f"Replies cannot be written to {self._name!r}, and are kept in memory: {error.strerror or error}. Make"
            " room and permissions there, and the next reply writes them all; or write them elsewhere with save()."
        )
        warnings.warn(message, CassetteWarning, stacklevel=2)

    def _missing(self, request: Request, rollout: int, lines: dict[str, Line]) -> CassetteError:
        place = f"The cassette {self._name!r}"
        times = sum(request.key_of(number) in lines for number in range(rollout))
        if times:
            replies = "1 reply" if times == 1 else f"{times} replies"
            return CassetteError(
                f"{place} holds {replies} to {request!s:.200}, and rollout {rollout} is asked for (they count from 0).",
                mend=self._recorded_by,
            )
        unused = [line for key, line in lines.items() if key not in self._given]
        used = [line for key, line in lines.items() if key in self._given]
        line = nearest(request.content, [*unused, *used])
        if line is None:
            return CassetteError(f"{place} is empty.", mend=self._recorded_by)
        recorded, asked = line.content["request"], {**request.content, "rollout": rollout}
        difference = first_difference(recorded, asked) or "nothing that this version of opto can see"
        return CassetteError(
            f"{place} holds no reply to this request. The nearest one, in line {line.number}, differs first in"
            f" {difference}\n ",
            mend=self._recorded_by,
        )
