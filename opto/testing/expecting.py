"""What tests of optimizers are written with; pytest is not needed for it."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opto.optimizers import Evidence, Optimizer, Proposal, Suggestion
from opto.runs import StepRecord

__all__ = ["essence", "folder", "raises", "refuse_to_propose", "suggest"]


def essence(records: Sequence[StepRecord]) -> list[dict[str, Any]]:
    """Return what two equal runs have in common."""
    return [record.model_dump(exclude={"seconds", "at"}) for record in records]


def refuse_to_propose(optimizer: Optimizer) -> list[Evidence]:
    """Let *optimizer* fail to propose; return a list to which what it was to propose of is added."""
    asked: list[Evidence] = []

    def considered(evidence: Evidence) -> Any:
        asked.append(evidence)
        raise AssertionError("This was not the time to propose.")

    optimizer._considered = considered  # type: ignore[method-assign]  # noqa: SLF001 - of this object only
    return asked


def suggest(optimizer: Optimizer, what: "dict[str, Any] | BaseException | Callable[[], Proposal]") -> None:
    """Let *optimizer* propose values, raise an error, or do what a function says."""

    def considered(evidence: Evidence) -> Any:
        if isinstance(what, BaseException):
            raise what
        proposal = Proposal(Suggestion(what)) if isinstance(what, dict) else what()
        return proposal, optimizer._check(proposal.suggestion, evidence)  # noqa: SLF001 - as a step does

    optimizer._considered = considered  # type: ignore[method-assign]  # noqa: SLF001 - of this object only


@contextmanager
def raises(kind: type[BaseException], message: str) -> Iterator[list[BaseException]]:
    """Expect an error of this kind that says *message*; it is in the list that the block gets, when that has ended."""
    raised: list[BaseException] = []
    try:
        yield raised
    except kind as error:
        raised.append(error)
    assert raised, f"{kind.__name__} was not raised"
    assert message in str(raised[0]), f"{raised[0]} does not say {message!r}"


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
