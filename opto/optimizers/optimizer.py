"""`Optimizer`: one step, from feedback to a recorded update. What differs between optimizers is how they propose."""

import difflib
import logging
import os
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from opto.errors import DomainError, LLMError, OptimizerError, StepsFailedError, SuggestionError
from opto.llm import Message, Usage
from opto.nodes import Feedback, Node, ParameterNode, Propagator, TraceGraph, backward, parameter_names
from opto.optimizers.suggestion import Suggestion
from opto.runs import Outcome, Rejection, Run, StepRecord, as_json

__all__ = ["Candidate", "Evidence", "Optimizer", "Proposal"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evidence:
    """What has arrived at the parameters since `zero_feedback`.

    Attributes:
        graph: All that led to the outputs.
        values: The parameters' values by name, which led to them.
        score: Mean score of the outputs that have one; None if none has.
    """

    graph: TraceGraph
    values: Mapping[str, Any]
    score: float | None

    @property
    def feedback(self) -> Sequence[Feedback]:
        """What was said, one per output."""
        return self.graph.feedback


@dataclass(frozen=True)
class Proposal:
    """A suggestion, and how it came about (for the record).

    Attributes:
        suggestion: What to try; empty if *error* is set.
        error: Why there is no suggestion: a call that failed, or an answer that cannot be read.
        model: Name of the language model that was asked.
        messages: What it was shown last.
        reply: What it answered last.
        usage: Tokens of all calls.
    """

    suggestion: Suggestion = field(default_factory=Suggestion)
    error: SuggestionError | LLMError | None = None
    model: str | None = None
    messages: Sequence[Message] = ()
    reply: str = ""
    usage: Usage | None = None


@dataclass(frozen=True)
class Candidate:
    """One full assignment of the parameters, with its evidence.

    Attributes:
        values: By name, as in ``optimizer.variables``.
        score: Mean score that they led to; higher is better.
        step: Step in which they were judged, from 1.
    """

    values: Mapping[str, Any]
    score: float
    step: int


@dataclass
class _Draft:
    """What is known of a step while it runs."""

    step: int
    started: float
    before: Mapping[str, Any]
    evidence: Evidence | None = None
    proposal: Proposal | None = None
    rejected: list[Rejection] = field(default_factory=list)


class Optimizer(ABC):
    """Changes parameters so that the feedback gets better: ``zero_feedback``, ``backward``, ``step``.

    A subclass defines `_propose`; reading, checking, applying and recording are done here, the same for all.

    Args:
        parameters: What may be changed. Each must be trainable; one given twice counts once.
        propagator: How feedback passes a node in `backward`; the default suits all optimizers of opto.
        run: A folder, or a `Run`, to which every step is written as one line of JSON. None writes nothing.
        max_failures: Steps in a row that may end ``rejected`` or ``failed`` before `step` raises.

    Attributes:
        variables: The parameters by the names under which problems and records show them.
        records: What happened, one `StepRecord` per step.

    Raises:
        OptimizerError: There is nothing to optimize, or something that is no parameter.
    """

    def __init__(
        self,
        parameters: Iterable[ParameterNode[Any]],
        *,
        propagator: Propagator | None = None,
        run: "Run | str | os.PathLike[str] | None" = None,
        max_failures: int = 3,
    ) -> None:
        self.parameters = _checked(parameters)
        self.variables = parameter_names(self.parameters)
        self.records: list[StepRecord] = []
        self.run = Run(run) if isinstance(run, str | os.PathLike) else run
        self._propagator = propagator
        self._max_failures = max_failures
        self._best: Candidate | None = None
        self._reached: set[str] = set()

    @abstractmethod
    def _propose(self, evidence: Evidence) -> Proposal:
        """Return what to try next; `Proposal.error` says why there is nothing to try."""

    def zero_feedback(self) -> None:
        """Forget the feedback on all parameters."""
        for parameter in self.parameters:
            parameter.zero_feedback()

    def backward(self, output: Any, feedback: Any = "", **settings: Any) -> Any:
        """Send *feedback* on *output* backward to the parameters.

        Args:
            output: A node, or a list of nodes with one feedback each.
            feedback: Text, a number (higher is better), ``(score, text)``, an exception, or a `Feedback`.
            settings: Passed on to `Node.backward`, such as ``visualize=True``.

        Raises:
            BackwardError: *output* is no node, or *feedback* of an unknown kind.
        """
        if isinstance(output, Node):
            settings.setdefault("propagator", self._propagator)
            return output.backward(feedback, **settings)
        outputs = output if isinstance(output, list | tuple) else [output]
        feedbacks = feedback if isinstance(feedback, list) else [feedback] * len(outputs)
        return backward(outputs, feedbacks, propagator=self._propagator)

    def step(self, *, bypassing: bool = False) -> StepRecord:
        """Propose new values from the feedback, check them, and put them into the parameters.

        Always says what happened: see `StepRecord.outcome`. Values are applied all together, after all of them
        have been checked; what is rejected changes nothing.

        Args:
            bypassing: True to change no parameter: the record says what would have been done.

        Raises:
            StepsFailedError: ``max_failures`` steps in a row were rejected or failed.
            LLMError: A call failed for a reason that will not go away by itself, such as a wrong key.
        """
        draft = _Draft(len(self.records) + 1, time.perf_counter(), self.values())
        draft.evidence = self._evidence()
        if draft.evidence is None:
            reason = "No feedback has reached a parameter: call backward() with an output that depends on one."
            return self._finish(draft, "unchanged", reason, {}, bypassing=bypassing)
        self._warn_of_unreached(draft.evidence)
        self._remember_best(draft)
        draft.proposal = self._propose(draft.evidence)
        if (error := draft.proposal.error) is not None:
            record = self._finish(draft, "failed", f"{type(error).__name__}: {error}", {}, bypassing=bypassing)
            if isinstance(error, LLMError) and not error.transient:
                raise error
            return self._raise_if_stuck(record, error)
        accepted = self._accepted(draft)
        update = {name: value for name, value in accepted.items() if not _same(value, draft.before[name])}
        if update:
            return self._finish(draft, "updated", "", update, bypassing=bypassing)
        if draft.rejected:
            reasons = "; ".join(f"{item.name}: {item.reason}" for item in draft.rejected)
            return self._raise_if_stuck(self._finish(draft, "rejected", reasons, {}, bypassing=bypassing), None)
        reason = "The suggested values are those already in force." if accepted else "No change was suggested."
        return self._finish(draft, "unchanged", reason, {}, bypassing=bypassing)

    def values(self) -> dict[str, Any]:
        """Return the current value of each parameter, by name."""
        return {name: parameter._data for name, parameter in self.variables.items()}  # noqa: SLF001

    def best(self) -> Candidate | None:
        """Return the values with the highest score so far; None if no feedback had a score."""
        return self._best

    def restore(self, candidate: Candidate | None) -> None:
        """Put the values of *candidate*, such as `best`, back into the parameters; None changes nothing.

        Raises:
            DomainError: A value lies outside its parameter's domain; then nothing is changed.
        """
        values = {} if candidate is None else candidate.values
        accepted = {name: self.variables[name].accept(value) for name, value in values.items()}
        for name, value in accepted.items():
            self.variables[name]._set(value)  # noqa: SLF001 - checked just before

    def _evidence(self) -> Evidence | None:
        """Return all that has arrived, as one graph; None if nothing has."""
        graphs: dict[int, TraceGraph] = {}
        for parameter in self.parameters:
            for items in parameter.feedback.values():
                graphs |= {id(item): item for item in items if isinstance(item, TraceGraph)}
        if not graphs:
            return None
        parts = list(graphs.values())
        outputs = [output for part in parts for output in part.outputs]
        feedback = [said for part in parts for said in part.feedback]
        graph = parts[0] if len(parts) == 1 else TraceGraph(outputs, feedback)
        scores = [said.score for said in feedback if said.score is not None]
        return Evidence(graph, self.values(), sum(scores) / len(scores) if scores else None)

    def _warn_of_unreached(self, evidence: Evidence) -> None:
        """Name parameters that no feedback has ever reached: nothing will change them."""
        reached = set(evidence.graph.parameters)
        unreached = [name for name, item in self.variables.items() if item not in reached and name not in self._reached]
        self._reached.update(self.variables)
        if unreached:
            warnings.warn(
                f"No feedback reaches {', '.join(unreached)}: no output depends on it as recorded. "
                "Look for .data or text formatting that takes a value out of its node on the way.",
                stacklevel=3,
            )

    def _remember_best(self, draft: _Draft) -> None:
        assert draft.evidence is not None
        score = draft.evidence.score
        if score is not None and (self._best is None or score > self._best.score):
            self._best = Candidate(dict(draft.before), score, draft.step)

    def _accepted(self, draft: _Draft) -> dict[str, Any]:
        """Return the suggested values that may be applied, and note why the others may not."""
        assert draft.proposal is not None
        accepted: dict[str, Any] = {}
        for said, raw in draft.proposal.suggestion.values.items():
            name = self._name_of(said)
            if name is None:
                near = difflib.get_close_matches(said, self.variables, n=1)
                hint = f"Did you mean {near[0]}?" if near else f"The variables are {', '.join(self.variables)}."
                draft.rejected.append(_rejection(said, raw, f"There is no variable {said!r}. {hint}"))
                continue
            try:
                accepted[name] = self.variables[name].accept(raw)
            except DomainError as error:
                draft.rejected.append(_rejection(name, raw, str(error)))
        return accepted

    def _name_of(self, said: str) -> str | None:
        """Return the variable that a suggestion calls *said*: its name, or the names that Trace would use."""
        if said in self.variables:
            return said
        for name, parameter in self.variables.items():
            if said in {parameter.py_name, parameter.name, f"{name}0"}:
                return name
        return None

    def _finish(
        self, draft: _Draft, outcome: Outcome, reason: str, update: Mapping[str, Any], *, bypassing: bool
    ) -> StepRecord:
        """Apply *update*, all together, and record the step."""
        after = {**draft.before, **update}
        proposal = draft.proposal or Proposal()
        record = StepRecord(
            step=draft.step,
            outcome=outcome,
            reason=reason,
            optimizer=type(self).__name__,
            model=proposal.model,
            score=draft.evidence.score if draft.evidence else None,
            feedback=[str(said) for said in draft.evidence.feedback] if draft.evidence else [],
            before={name: as_json(value) for name, value in draft.before.items()},
            after={name: as_json(value) for name, value in after.items()},
            rejected=draft.rejected,
            reasoning=proposal.suggestion.reasoning,
            messages=[dict(message) for message in proposal.messages],
            reply=proposal.reply,
            usage=proposal.usage,
            seconds=time.perf_counter() - draft.started,
            at=datetime.now(UTC),
        )
        # Written before it is applied: a parameter never holds a value that the run does not know of.
        if self.run is not None:
            if draft.step == 1:
                self.run.describe(optimizer=type(self).__name__, variables=self._about_variables())
            self.run.append(record)
        if not bypassing:
            for name, value in update.items():
                self.variables[name]._set(value)  # noqa: SLF001 - the one place that changes parameters
        self.records.append(record)
        logger.info("%s", record)
        return record

    def _about_variables(self) -> dict[str, Any]:
        return {
            name: {"constraint": item.domain.describe(), "description": item.description or ""}
            for name, item in self.variables.items()
        }

    def _raise_if_stuck(self, record: StepRecord, cause: Exception | None) -> StepRecord:
        recent = self.records[-self._max_failures :]
        if len(recent) == self._max_failures and all(item.outcome in {"failed", "rejected"} for item in recent):
            causes = " ".join(f"[step {item.step}] {item.outcome}: {item.reason}" for item in recent)
            raise StepsFailedError(
                f"The last {len(recent)} steps changed nothing. {causes}",
                mend="Look at the replies in optimizer.records, or allow more with max_failures=.",
            ) from cause
        return record


def _checked(parameters: Iterable[Any]) -> list[ParameterNode[Any]]:
    if isinstance(parameters, Node) or not isinstance(parameters, Iterable):
        raise OptimizerError(
            f"The parameters are a single {type(parameters).__name__}.", mend="Give a list: Optimizer([parameter])."
        )
    found: dict[ParameterNode[Any], None] = {}
    for item in parameters:
        if not isinstance(item, ParameterNode):
            raise OptimizerError(f"{item!r:.80} is no parameter.", mend="Make it one with node(value, trainable=True).")
        if item.trainable:
            found[item] = None
    if not found:
        raise OptimizerError(
            "There is no trainable parameter to optimize.",
            mend="Give node(value, trainable=True), or .parameters() of a trainable bundle or a module.",
        )
    return list(found)


def _rejection(name: str, raw: Any, reason: str) -> Rejection:
    return Rejection(name=name, suggested=as_json(raw), reason=reason)


def _same(new: Any, old: Any) -> bool:
    """True if a value is the one in force. Arrays and the like do not compare to one bool: they count as new."""
    try:
        return type(new) is type(old) and bool(new == old)
    except (TypeError, ValueError):
        return False
