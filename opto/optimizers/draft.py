"""A step while it runs, and the record that becomes of it."""

import functools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from opto.errors import OptimizerError
from opto.llm import Ledger
from opto.optimizers.acceptance import Checked
from opto.optimizers.proposal import Candidate, Evidence, Proposal
from opto.runs import Outcome, StepRecord
from opto.sandbox import levels_in_use

__all__ = ["Draft", "one_at_a_time"]

StepMethod = TypeVar("StepMethod", bound=Callable[..., Any])
#: The optimizers, by identity, that take a step now.
_stepping: set[int] = set()
_stepping_lock = threading.Lock()


def _quiet_ledger() -> Ledger:
    ledger = Ledger()
    ledger.warns_threads = False
    return ledger


@dataclass
class Draft:
    """What is known of a step while it runs."""

    step: int
    started: float
    before: Mapping[str, Any]
    bypassing: bool
    anew: bool = False
    evidence: Evidence | None = None
    back_to: Candidate | None = None
    proposal: Proposal = field(default_factory=Proposal)
    checked: Checked = field(default_factory=lambda: Checked({}, [], {}))
    #: Calls of models that the step makes.
    ledger: Ledger = field(default_factory=_quiet_ledger)

    def record(
        self,
        optimizer: str,
        outcome: Outcome,
        reason: str,
        update: Mapping[str, Any],
        *,
        now: Mapping[str, Any],
        recorded: Callable[[Mapping[str, Any]], dict[str, Any]],
        repeats: int | None,
        unreached: Sequence[str],
    ) -> StepRecord:
        """Return the record of the step, which ends now, with the values *now* in force and *update* to come."""
        after = self.before if self.bypassing else {**now, **update}
        proposal = self.proposal
        return StepRecord(
            step=self.step,
            anew=self.anew,
            outcome=outcome,
            reason=reason,
            optimizer=optimizer,
            model=proposal.model,
            score=self.evidence.score if self.evidence else None,
            feedback=list(self.evidence.feedback) if self.evidence else [],
            before=recorded(self.before),
            after=recorded(after),
            update=recorded(update),
            rejected=self.checked.rejected,
            back_to=self.back_to.step if self.back_to is not None and update else None,
            repeats=repeats,
            candidates=list(proposal.candidates),
            unreached=list(unreached),
            reasoning=proposal.suggestion.reasoning,
            left_out=list(proposal.left_out),
            messages=[dict(message) for message in proposal.messages],
            reply=proposal.reply,
            usage=proposal.usage,
            isolation=[*levels_in_use()],
            cost=self.ledger.cost if self.ledger.calls else None,
            seconds=time.perf_counter() - self.started,
            at=datetime.now(UTC),
        )


def one_at_a_time(step: StepMethod) -> StepMethod:
    """Refuse a step while another of the same optimizer is under way: both would be paid for, for the same feedback."""

    @functools.wraps(step)
    def alone(self: Any, **settings: Any) -> Any:
        with _stepping_lock:
            if id(self) in _stepping:
                raise OptimizerError(
                    "Another step of this optimizer is under way.", mend="Wait for its end, and give feedback again."
                )
            _stepping.add(id(self))
        try:
            return step(self, **settings)
        finally:
            _stepping.discard(id(self))

    return alone  # type: ignore[return-value]  # takes what *step* does
