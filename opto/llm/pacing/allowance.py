"""How much may be asked of one endpoint, learned from what it refuses: numbers only, no clock and no thread."""

import math
from collections import deque

__all__ = ["Allowance", "Entry", "Window"]

#: What is left of a pace after a refusal, and how much of that comes back in each second without one.
_CUT, _RECOVERY = 0.7, 0.05
#: By how much that grows in each second.
_HURRY = 0.3
#: The part of requests that may be refused, of a second or of so many: a server that refuses one now and then has not
#: too much to do. What chance adds to it is allowed for.
_TOLERATED, _SAMPLE = 0.03, 50
#: By how much one refusal lowers what may run at once: half of it has gone when all that run are refused.
_STEP = 0.5
#: Requests per second that are never paced: whoever asks no faster is held back by waits between attempts.
_SLOWEST = 4.0
#: Seconds that a request may be behind its pace, and be caught up with: nobody comes to the moment.
_LAG = 0.05
#: Seconds over which a pace is measured.
_MEASURED = 1.0
#: Seconds after which somebody tries again in any case: that of one refusal must not close an endpoint for good.
_LONGEST_PAUSE = 600.0
_MINUTE = 60.0


class Entry:
    """A part of a window."""

    __slots__ = ("amount", "moment")

    def __init__(self, moment: float, amount: float) -> None:
        self.moment = moment
        self.amount = amount


#: What is used while nothing limits it.
_NOT_COUNTED = Entry(-math.inf, 0.0)


class Window:
    """An amount that may be used up within any minute."""

    def __init__(self) -> None:
        self.limit = math.inf
        self._seconds = _MINUTE
        self._used: deque[Entry] = deque()
        self._total = 0.0

    def restrict(self, limit: float) -> None:
        """Allow no more than this, if it was more; of less than one, one in more than a minute."""
        if limit * self._seconds < self.limit * _MINUTE:
            self.limit, self._seconds = max(1.0, limit), _MINUTE / min(1.0, limit)

    def delay(self, amount: float, now: float) -> float:
        """Return the seconds until *amount* may be used; one that is too large for any minute gets one of its own."""
        if self.limit == math.inf:
            return 0.0
        while self._used and self._used[0].moment <= now - self._seconds:
            gone = self._used.popleft()
            self._total -= gone.amount
            gone.moment = -math.inf
        excess = self._total + amount - self.limit
        free = now
        for entry in self._used:
            if excess <= 0:
                break
            excess -= entry.amount
            free = entry.moment + self._seconds
        return free - now

    def use(self, amount: float, now: float) -> Entry:
        if self.limit == math.inf:
            return _NOT_COUNTED
        entry = Entry(now, amount)
        self._used.append(entry)
        self._total += amount
        return entry

    def correct(self, entry: Entry, amount: float) -> None:
        """Set right what was used; after a minute it does not matter any more."""
        if self.limit < math.inf and entry.moment > -math.inf:
            self._total += amount - entry.amount
            entry.amount = amount


class Allowance:
    """Concurrency and pace of an endpoint: both fall when it is overloaded, and recover while it is not."""

    def __init__(self) -> None:
        self.requests, self.tokens = Window(), Window()
        self.running = 0
        self.concurrency = math.inf
        self.pace = math.inf
        self._starts: deque[float] = deque()
        self._refusals: deque[float] = deque()
        self._most = 0
        self._due = -math.inf
        self._closed_until = -math.inf
        self._grown_at = self._cut_at = -math.inf
        self._recovery = 0.0

    def delay(self, tokens: float, now: float, *, stuck: int = 0) -> float | None:
        """Return the seconds until a request may start; None if one that is running must end first.

        Args:
            tokens: What it may use.
            now: On the clock by which all moments are told.
            stuck: How many of those that are running cannot end before this one.
        """
        running = self.running - stuck
        if running >= 1 and running + 1 > self.concurrency:
            return None
        if self.pace == self.requests.limit == self.tokens.limit == math.inf and self._closed_until <= now:
            return 0.0  # as nearly always
        timed = max(self._closed_until, self._due) - now
        return max(0.0, timed, self.requests.delay(1, now), self.tokens.delay(tokens, now))

    @property
    def places(self) -> int:
        """How many requests may start at once; 1 if that is not known."""
        if self.pace < math.inf or self.running + 1 > self.concurrency:
            return 1
        return int(min(self.concurrency - self.running, 1e6))

    def start(self, tokens: float, now: float) -> Entry:
        """Count a request; its tokens may still be set right."""
        self.running += 1
        self._most = max(self._most, self.running)
        self._due = max(self._due, now - _LAG) + 1 / self.pace
        self._starts.append(now)
        while self._starts[0] < now - _MEASURED and len(self._starts) > _SAMPLE:
            self._starts.popleft()
        self.requests.use(1, now)
        return self.tokens.use(tokens, now)

    def end(self) -> None:
        self.running -= 1

    def succeeded(self, now: float) -> None:
        """Recover a little."""
        self.concurrency += 1 / self.concurrency
        if self.pace < math.inf:
            seconds = max(0.0, now - self._grown_at)
            self.pace += self._recovery * seconds
            # Faster and faster: the pace that was measured may have been that of a lull.
            self._recovery *= 1 + _HURRY * seconds
        self._grown_at = max(now, self._grown_at)

    def overloaded(self, started: float, pause: float, now: float, *, wanted: float = 0.0) -> None:
        """Fall a little, after the refusal of a request that was *started* then.

        If they are many, fall by much, and begin none for *pause* seconds; in any case begin none for those that the
        endpoint has *wanted*. So an endpoint that is at its limit is left alone, and one that refuses at random is used
        all the same: each of its refusals would else halve what the last one left.
        """
        self._closed_until = max(self._closed_until, now + min(wanted, _LONGEST_PAUSE))
        # Not of what runs now: after a pause, that is little.
        self.concurrency = max(1.0, min(self.concurrency, self._most) - _STEP)
        pause = min(pause, _LONGEST_PAUSE)
        if started <= self._cut_at:  # of the same crowd as the refusal that was answered already
            self._closed_until = max(self._closed_until, now + pause)
            return
        self._refusals.append(now)
        since = max(self._starts[0], self._cut_at) if self._starts else now
        while self._refusals[0] < since:
            self._refusals.popleft()
        tolerated = _TOLERATED * sum(moment >= since for moment in self._starts)
        if len(self._refusals) <= tolerated + 1.5 * math.sqrt(tolerated):
            return
        self._closed_until = max(self._closed_until, now + pause)
        self._cut_at = now
        self._refusals.clear()
        recent = sum(moment >= now - _MEASURED for moment in self._starts) / _MEASURED
        self.pace = max(_SLOWEST, min(self.pace, recent) * _CUT)
        self._recovery, self._grown_at = self.pace * _RECOVERY, self._closed_until
        self._due = (self._starts[-1] if self._starts else now) + 1 / self.pace
