"""What a long run will take, by a sample of it."""

import math
from dataclasses import astuple, dataclass

from opto.errors import OptoError
from opto.llm.messages import Usage
from opto.llm.spending.records import Totals
from opto.llm.spending.table import dollars, duration, number

__all__ = ["Estimate"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a sample was, and what many times as much would take; ``print(estimate)`` shows both.

    Args:
        sample: What was measured.
        times: How often it would be done.
        at_once: How many of these at a time.
        calls: Calls in all.
        usage: Tokens in all; those of replayed calls count as if they had been made.
        cost: US dollars; None if that of some call is not known.
        known_cost: US dollars, as far as they are known.
        seconds: Wall time, if as many at a time go as fast as one does; None if replayed calls took none.
        is_wall_time: Whether the time of the sample was that of a ``with`` block; else it is that of its calls.
    """

    sample: Totals
    sample_seconds: float
    times: float
    at_once: int
    calls: int
    usage: Usage
    cost: float | None
    known_cost: float
    seconds: float | None
    is_wall_time: bool

    @classmethod
    def of(cls, sample: Totals, wall_seconds: float, *, times: float, at_once: int) -> "Estimate":
        """Estimate *times* of *sample*, during which *wall_seconds* passed; 0 if nobody looked.

        Raises:
            OptoError: There is no call in the sample, or the numbers are none.
        """
        if not sample.calls:
            raise OptoError(
                "There is nothing to estimate from: no call was counted.",
                mend="Run a sample first: with Ledger() as sample: agent(example).",
            )
        is_number = isinstance(times, int | float) and not isinstance(times, bool) and 0 < times < math.inf
        if not is_number or not isinstance(at_once, int) or at_once < 1:
            raise OptoError(
                f"An estimate cannot be for {times!r:.40} times, {at_once!r:.40} at once.",
                mend="Give numbers, such as sample.estimate(times=500, at_once=8).",
            )
        both = sample.usage + sample.saved_usage
        known = sample.known_cost + (sample.saved or 0.0)
        is_known = sample.cost is not None and sample.saved is not None
        seconds = wall_seconds or sample.seconds
        # The last ones of those that run at a time need as long as the first.
        rounds = max(1.0, times / at_once)
        return cls(
            sample=sample,
            sample_seconds=seconds,
            times=times,
            at_once=at_once,
            calls=round(sample.calls * times),
            usage=Usage(*(round(count * times) for count in astuple(both))),
            cost=known * times if is_known else None,
            known_cost=known * times,
            seconds=None if sample.replayed else seconds * rounds,
            is_wall_time=bool(wall_seconds),
        )

    def __str__(self) -> str:
        sample = self.sample
        both = sample.usage + sample.saved_usage
        cost = sample.known_cost + (sample.saved or 0.0)
        is_known = self.cost is not None
        cost_now, cost_then = (_cost(amount, is_known=is_known) for amount in (cost, self.known_cost))
        time = "time unknown" if self.seconds is None else duration(self.seconds)
        how = f"{self.times:g} times, {self.at_once} at once"
        lines = [
            f"measured   {_calls(sample.calls)}, {_tokens(both)}, {cost_now}, {duration(self.sample_seconds)}",
            f"estimated  {_calls(self.calls)}, {_tokens(self.usage)}, {cost_then}, {time}  ({how})",
        ]
        return "\n".join([*lines, *(f"- {note}" for note in self._notes())])

    def _notes(self) -> list[str]:
        sample = self.sample
        notes = []
        if sample.replayed:
            notes.append(f"{_calls(sample.replayed)} replayed: estimated as if made; how long they take is not known.")
        unknown = sample.unpriced
        if self.cost is None:
            which = f"of {_calls(unknown)}" if unknown else "of what was replayed"
            notes.append(f"The cost {which} is not known: give clients price=(input, output), per million tokens.")
        if sample.unreported:
            notes.append(f"{_calls(sample.unreported)} did not say what they used: their tokens are not in this.")
        if sample.failed:
            notes.append(f"{_calls(sample.failed)} failed; as many of each hundred are expected to.")
        if not self.is_wall_time and self.seconds is not None:
            notes.append("Time is that of the calls, one after the other: use `with ledger:` to measure all of it.")
        return notes


def _calls(count: int) -> str:
    return f"{number(count)} call{'' if count == 1 else 's'}"


def _tokens(usage: Usage) -> str:
    return f"{number(usage.input_tokens)} tokens in, {number(usage.output_tokens)} out"


def _cost(cost: float, *, is_known: bool) -> str:
    if is_known:
        return dollars(cost)
    return f"at least {dollars(cost)}" if cost else "cost unknown"
