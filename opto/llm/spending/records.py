"""What is kept of a call, and what many calls add up to."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from opto.llm.messages import Usage

__all__ = ["CallRecord", "Sum", "Totals"]


_NO_USAGE = Usage()
_PARTS = frozenset(item.name for item in fields(Usage))


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call of a client, however many attempts it took.

    Args:
        model: ``"provider:model"``.
        role: For whom it was: ``optimizer``, ``judge`` or ``task``.
        operator: The bundled function whose body made it, if any.
        step: Number of the optimizer's step, if any.
        usage: Tokens of the reply; None if there is none, or it does not say.
        wasted: Tokens of attempts that failed, as far as their errors say.
        cost: US dollars, as far as they are known; None if nothing is known of them.
        saved: What a replayed call would have cost; 0 for others, None if that is not known.
        seconds: From the asking to the end, waits and failed attempts included.
        retries: Attempts after the first.
        replayed: True if a cassette answered, which costs nothing.
        error: Class of what ended it, if that was no reply.
        uncertain: True if an attempt was cut off: it may have been billed, and nobody said what it cost.
        at: When it ended.
    """

    model: str
    role: str | None = None
    operator: str | None = None
    step: int | None = None
    usage: Usage | None = None
    wasted: Usage | None = None
    cost: float | None = None
    saved: float | None = 0.0
    seconds: float = 0.0
    retries: int = 0
    replayed: bool = False
    error: str | None = None
    uncertain: bool = False
    at: datetime = field(default_factory=_now)

    @property
    def is_priced(self) -> bool:
        """Whether `cost` is all that there is."""
        return self.cost is not None and not self.uncertain

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for a line of JSON."""
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        for name in ("usage", "wasted"):
            found[name] = None if found[name] is None else _usage_dict(found[name])
        return {**found, "at": self.at.isoformat()}

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> "CallRecord":
        """Read what `to_dict` gave; what a later version added is left out.

        Raises:
            ValueError: It is something else.
        """
        known = {item.name for item in fields(cls)}
        values = {name: value for name, value in said.items() if name in known}
        try:
            for name in ("usage", "wasted"):
                if values.get(name) is not None:
                    values[name] = Usage(**{part: values[name][part] for part in values[name] if part in _PARTS})
            if "at" in values:
                values["at"] = datetime.fromisoformat(values["at"])
            return cls(**values)
        except (TypeError, AttributeError) as error:
            raise ValueError(str(error)) from error

    def to_row(self) -> dict[str, Any]:
        """Return plain values side by side, for a table."""
        row = {item.name: getattr(self, item.name) for item in fields(self)}
        usage, wasted = row.pop("usage"), row.pop("wasted")
        row |= {item.name: None if usage is None else getattr(usage, item.name) for item in fields(Usage)}
        row |= {f"wasted_{item.name}": 0 if wasted is None else getattr(wasted, item.name) for item in fields(Usage)}
        return row


def _usage_dict(usage: Usage) -> dict[str, int]:
    return {item.name: getattr(usage, item.name) for item in fields(usage)}


@dataclass(frozen=True, slots=True)
class Totals:
    """What calls add up to; ``+`` adds more.

    Args:
        calls: All of them, replayed and failed ones included.
        usage: Tokens that were billed, as far as anybody said: replies and failed attempts, nothing that was replayed.
        wasted: The part of `usage` that failed attempts took.
        known_cost: US dollars, as far as they are known.
        unpriced: Calls of which at least a part of the cost is not known.
        unreported: Calls with a reply that did not say what it used.
        saved_usage: Tokens of replayed replies.
        saved: What they would have cost; None if that is not known.
        seconds: Sum over all calls, as if they had been made one after the other.
        retries: Attempts after the first.
        replayed: Calls that a cassette answered.
        failed: Calls that ended without a reply.
        uncertain: Calls that may have cost more than anybody said.
    """

    calls: int = 0
    usage: Usage = _NO_USAGE
    wasted: Usage = _NO_USAGE
    known_cost: float = 0.0
    unpriced: int = 0
    unreported: int = 0
    saved_usage: Usage = _NO_USAGE
    saved: float | None = 0.0
    seconds: float = 0.0
    retries: int = 0
    replayed: int = 0
    failed: int = 0
    uncertain: int = 0

    @property
    def cost(self) -> float | None:
        """US dollars in all; None if that of some call is not known."""
        return None if self.unpriced else self.known_cost

    def __add__(self, other: "Totals") -> "Totals":
        if not isinstance(other, Totals):
            return NotImplemented
        return Totals(
            self.calls + other.calls,
            self.usage + other.usage,
            self.wasted + other.wasted,
            self.known_cost + other.known_cost,
            self.unpriced + other.unpriced,
            self.unreported + other.unreported,
            self.saved_usage + other.saved_usage,
            None if self.saved is None or other.saved is None else self.saved + other.saved,
            self.seconds + other.seconds,
            self.retries + other.retries,
            self.replayed + other.replayed,
            self.failed + other.failed,
            self.uncertain + other.uncertain,
        )


class Sum:
    """Totals that grow: adding a call to them makes no new objects."""

    __slots__ = ("_counts", "_known_cost", "_saved", "_saved_usage", "_seconds", "_usage", "_wasted")

    def __init__(self) -> None:
        self._usage, self._wasted, self._saved_usage = [0] * 5, [0] * 5, [0] * 5
        self._counts = [0] * len(_COUNTS)
        self._known_cost = self._seconds = 0.0
        self._saved: float | None = 0.0

    def add(self, record: CallRecord) -> None:
        """Count a call."""
        if record.usage is not None:
            _add(self._saved_usage if record.replayed else self._usage, record.usage)
        if record.wasted is not None:
            _add(self._usage, record.wasted)
            _add(self._wasted, record.wasted)
        self._known_cost += record.cost or 0.0
        self._saved = None if self._saved is None or record.saved is None else self._saved + record.saved
        self._seconds += record.seconds
        counts, has_failed = self._counts, record.error is not None
        counts[0] += 1
        counts[1] += not record.is_priced
        counts[2] += record.usage is None and not has_failed
        counts[3] += record.retries
        counts[4] += record.replayed
        counts[5] += has_failed
        counts[6] += record.uncertain

    def totals(self) -> Totals:
        """Return what it adds up to now."""
        return Totals(
            usage=Usage(*self._usage),
            wasted=Usage(*self._wasted),
            saved_usage=Usage(*self._saved_usage),
            known_cost=self._known_cost,
            saved=self._saved,
            seconds=self._seconds,
            **dict(zip(_COUNTS, self._counts, strict=True)),
        )


_COUNTS = ("calls", "unpriced", "unreported", "retries", "replayed", "failed", "uncertain")


def _add(counts: list[int], usage: Usage) -> None:
    counts[0] += usage.input_tokens
    counts[1] += usage.output_tokens
    counts[2] += usage.cached_tokens
    counts[3] += usage.reasoning_tokens
    counts[4] += usage.cache_write_tokens
