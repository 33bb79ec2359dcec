"""What tests of optimizers are written with; pytest is not needed for it."""

import tempfile
from collections.abc import Iterator, Sequence
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


def suggest(optimizer: Optimizer, values: "dict[str, Any] | BaseException") -> None:
    """Let *optimizer* propose *values*, or raise them."""

    def considered(evidence: Evidence) -> Any:
        if isinstance(values, BaseException):
            raise values
        suggestion = Suggestion(values)
        return Proposal(suggestion), optimizer._check(suggestion, evidence)  # noqa: SLF001 - as a step does

    optimizer._considered = considered  # type: ignore[method-assign]  # noqa: SLF001 - of this object only


@contextmanager
def raises(kind: type[BaseException], message: str) -> Iterator[None]:
    raised: BaseException | None = None
    try:
        yield
    except kind as error:
        raised = error
    assert raised is not None, f"{kind.__name__} was not raised"
    assert message in str(raised), f"{raised} does not say {message!r}"


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
