"""What was spent: one record for each call, and what they add up to."""

import json
import logging
import os
import threading
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NoReturn, Self

from opto.blocks import Block
from opto.errors import OptoError
from opto.files import append_lines, replace_file
from opto.forks import renew_after_fork
from opto.llm.pacing import Clock
from opto.llm.spending.estimate import Estimate
from opto.llm.spending.records import CallRecord, Sum, Totals
from opto.llm.spending.table import ledger_table

__all__ = ["Ledger", "ledgers_in_force"]

_log = logging.getLogger(__name__)

#: What totals can be split by, in the order in which they are kept.
_LABELS = ("model", "role", "operator", "step")


def ledgers_in_force() -> tuple["Ledger", ...]:
    """Return the ledgers whose blocks are around here, outermost first."""
    return Ledger.blocks.around()


class Ledger(Block):
    """Counts calls of models: those made inside its block, and those of clients that it is given to.

    Any number of threads and event loops may use it at once; blocks may stand inside each other, and each counts.

    Args:
        file: Each call is also added to this file, as one line of JSON; `load` reads it.
        keep: Keep the records of only so many calls, the last ones. Totals are of all calls.

    Example:
        >>> from opto.llm import DummyLLM, Usage, Reply
        >>> ledger = Ledger()
        >>> ledger.enter(CallRecord("openai:gpt-5.4-mini", role="judge", usage=Usage(1200, 90), cost=0.0013))
        >>> ledger.enter(CallRecord("openai:gpt-5.4-mini", role="task", usage=Usage(300, 40), cost=0.0004))
        >>> ledger.calls, ledger.usage.total_tokens, round(ledger.cost, 6)
        (2, 1630, 0.0017)
        >>> {role: total.calls for role, total in ledger.by("role").items()}
        {'judge': 1, 'task': 1}
    """

    def __init__(self, file: "str | os.PathLike[str] | None" = None, *, keep: int | None = None) -> None:
        self.begin_again()
        renew_after_fork(self)
        self._records: deque[CallRecord] = deque(maxlen=keep)
        self._sums: dict[tuple[Any, ...], Sum] = {}
        self._file = None if file is None else os.fspath(file)
        self._clock = Clock()
        # Wall time inside its blocks; several may be open at once.
        self._inside_of, self._opened, self._inside = 0, 0.0, 0.0

    def begin_again(self) -> None:
        """Forget a lock that somebody may hold in the process that this one was forked from."""
        self._lock = threading.Lock()

    def enter(self, record: CallRecord) -> None:
        """Count a call."""
        key = record.model, record.role, record.operator, record.step
        with self._lock:
            self._records.append(record)
            if key not in self._sums:
                self._sums[key] = Sum()
            self._sums[key].add(record)
            file = self._file
        if file is not None:
            self._write(file, record)

    @property
    def records(self) -> tuple[CallRecord, ...]:
        """The calls, oldest first."""
        with self._lock:
            return tuple(self._records)

    @property
    def totals(self) -> Totals:
        """All calls added up."""
        return sum(self._totals().values(), _NOTHING)

    @property
    def calls(self) -> int:
        """How many calls there were, replayed and failed ones included."""
        return self.totals.calls

    @property
    def usage(self) -> Any:
        """Tokens that were billed, as far as anybody said: a `Usage`."""
        return self.totals.usage

    @property
    def cost(self) -> float | None:
        """US dollars; None if the cost of some call is not known. `known_cost` is that of the others."""
        return self.totals.cost

    @property
    def known_cost(self) -> float:
        """US dollars, as far as they are known; `unpriced` calls may have cost more."""
        return self.totals.known_cost

    @property
    def unpriced(self) -> int:
        """Of how many calls at least a part of the cost is not known."""
        return self.totals.unpriced

    @property
    def seconds(self) -> float:
        """Wall time inside the blocks of this ledger."""
        with self._lock:
            return self._inside + (self._clock.now() - self._opened if self._inside_of else 0.0)

    def by(self, *labels: str) -> Mapping[Any, Totals]:
        """Return totals by ``"model"``, ``"role"``, ``"operator"``, ``"step"``, or several of these.

        The keys are tuples if there are several labels; labels that a call does not have are None.

        Raises:
            OptoError: There is no such label.
        """
        unknown = [label for label in labels if label not in _LABELS]
        if unknown or not labels:
            raise OptoError(
                f"A ledger cannot be split by {', '.join(map(repr, unknown)) or 'nothing'}.",
                mend=f"Choose from {', '.join(_LABELS)}.",
            )
        places = [_LABELS.index(label) for label in labels]
        split: dict[Any, Totals] = {}
        for key, total in self._totals().items():
            picked = tuple(key[place] for place in places)
            part = picked if len(picked) > 1 else picked[0]
            split[part] = split.get(part, _NOTHING) + total
        return split

    def estimate(self, times: float = 1, *, at_once: int = 1) -> Estimate:
        """Return what it would take to do *times* what was counted here, so many *at_once*.

        For a sample before a long run. Replayed calls are estimated as if they were made.

        Example:
            ::

                with Ledger() as sample:
                    agent(examples[0])
                print(sample.estimate(times=500, at_once=8))
        """
        return Estimate.of(self.totals, self.seconds, times=times, at_once=at_once)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one flat row for each call: ``pandas.DataFrame(ledger.to_dicts())``."""
        return [record.to_row() for record in self.records]

    def save(self, file: "str | os.PathLike[str]") -> None:
        """Write all records to a file, one line of JSON each; what was in it is replaced."""
        replace_file(file, "".join(f"{_line(record)}\n" for record in self.records))

    @classmethod
    def load(cls, file: "str | os.PathLike[str]") -> Self:
        """Read what `save` wrote, or what ``Ledger(file)`` added. A line that was torn by a killed process is left out.

        Raises:
            OptoError: It cannot be read, or a line is whole but no record.
        """
        try:
            with open(file, encoding="utf-8") as opened:
                lines = opened.read().split("\n")
        except (OSError, UnicodeError) as error:
            raise OptoError(
                f"The ledger {os.fspath(file)!r} cannot be read: {error}.", mend="Check the path."
            ) from error
        ledger = cls()
        for number, line in enumerate(lines, start=1):
            try:
                said = json.loads(line) if line else None
            except ValueError:
                _log.warning("Line %d of %s cannot be read and is left out.", number, file)
                continue
            if said is None:
                continue
            try:
                ledger.enter(CallRecord.from_dict(said))
            except (ValueError, AttributeError) as error:
                raise OptoError(
                    f"Line {number} of {os.fspath(file)!r} is no record of a call: {error}.",
                    mend="Remove the line, or read the file with the version of opto that wrote it.",
                ) from error
        return ledger

    def __enter__(self) -> Self:
        with self._lock:
            if not self._inside_of:
                self._opened = self._clock.now()
            self._inside_of += 1
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        with self._lock:
            self._inside_of -= 1
            if not self._inside_of:
                self._inside += self._clock.now() - self._opened

    def __len__(self) -> int:
        return self.calls

    def __bool__(self) -> bool:
        return True  # also without calls

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # A copy of a program has its calls counted in the same place.
        return self

    def __copy__(self) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        # Calls of another process would be counted there, and nobody would see it.
        raise TypeError(f"{self!r} counts calls of this process: let each process write its Ledger(file)")

    def __str__(self) -> str:
        return ledger_table(self.by("model", "role"), self.totals)

    def __repr__(self) -> str:
        return f"<Ledger of {self.calls} calls>"

    def _totals(self) -> dict[tuple[Any, ...], Totals]:
        with self._lock:
            return {key: found.totals() for key, found in self._sums.items()}

    def _write(self, file: str, record: CallRecord) -> None:
        # What was paid for matters more than its bill: nothing here may fail.
        try:
            line = f"{_line(record)}\n".encode()
        except (TypeError, ValueError) as error:
            _log.warning("A call is not written to %s: %s", file, error)
            return
        try:
            append_lines(file, line)
        except (OSError, ValueError) as error:
            self._file = None
            _log.warning("Calls are no longer written to %s: %s", file, error)


_NOTHING = Totals()


def _line(record: CallRecord) -> str:
    return json.dumps(record.to_dict())
