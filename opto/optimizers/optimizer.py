"""`Optimizer`: one step, from feedback to a recorded update. What differs between optimizers is how they propose."""

import logging
import math
import os
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from opto.errors import ExecutionError, LLMError, OptimizerError, RunError, StepsFailedError
from opto.nodes import (
    GraphPropagator,
    Node,
    ParameterNode,
    Propagator,
    TraceGraph,
    backward,
    parameter_names,
)
from opto.optimizers.acceptance import Checked, check
from opto.optimizers.checks import checked, copied, same
from opto.optimizers.memory import tried_in
from opto.optimizers.proposal import Candidate, Evidence, Proposal
from opto.optimizers.step import Step
from opto.optimizers.suggestion import Suggestion
from opto.runs import Outcome, Run, StepRecord, as_json

__all__ = ["Optimizer"]

logger = logging.getLogger(__name__)

#: Each has a whole prompt: ten thousand steps must not fill the memory.
_MOST_RECORDS = 1_000
_STALE = "All feedback is on values that are no longer in force: run the program again, and call backward()."
_NOTHING = "No feedback has come: call backward() with an output of the parameters and what there is to say about it."


@dataclass
class _Draft:
    """What is known of a step while it runs."""

    step: int
    started: float
    before: Mapping[str, Any]
    bypassing: bool
    evidence: Evidence | None = None
    proposal: Proposal = field(default_factory=Proposal)
    checked: Checked = field(default_factory=lambda: Checked({}, [], {}))


class Optimizer:
    """Changes parameters so that the feedback gets better: ``zero_feedback``, ``backward``, ``step``.

    A subclass defines `_propose`; reading, checking, applying and recording are done here, the same for all.

    Args:
        parameters: What may be changed. Frozen ones are left out; one given twice counts once.
        propagator: How feedback passes a node in `backward`; the default suits all optimizers of opto.
        run: A folder, or a `Run`, to which every step is written as one line of JSON. None writes nothing.
        max_failures: How many steps in a row may end ``rejected`` or ``failed``: the last of them raises.
        keep_best: Go back to the best values so far after a step that did worse, and propose from there. For scores
            that can be compared: the same inputs in each step.

    Attributes:
        variables: The parameters by the names under which problems and records show them.
        records: What happened in the last thousand steps, one `StepRecord` each. A run keeps all of them.

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
        keep_best: bool = False,
    ) -> None:
        self.parameters = checked(parameters)
        self.variables = parameter_names(self.parameters)
        self.records: list[StepRecord] = []
        if run is not None and not isinstance(run, Run) and (not isinstance(run, str | os.PathLike) or not str(run)):
            raise OptimizerError(f"A run cannot be {run!r:.80}.", mend="Give the path of a folder, or a Run.")
        self.run = Run(run) if isinstance(run, str | os.PathLike) else run
        self._propagator = propagator if propagator is not None else self.default_propagator()
        if max_failures < 1:
            raise OptimizerError(f"max_failures is {max_failures}.", mend="Give a number from 1 on.")
        self._max_failures = max_failures
        self._keep_best = keep_best
        self._best: Candidate | None = None
        # Of those values: where a step goes back to. Held only if steps do.
        self._best_evidence: Evidence | None = None
        self._warned = False
        # What the next step is about, to look for what got lost; of many outputs, the last ones tell enough.
        self._judged: deque[Node[Any]] = deque(maxlen=20)
        self._in_progress = Proposal()
        if self.run is not None:
            self.run.prepare()
        self._steps_before = self.run.last_step() if self.run is not None else 0

    @property
    def active(self) -> dict[str, ParameterNode[Any]]:
        """The variables that may be changed now: those that nobody has frozen since."""
        return {name: parameter for name, parameter in self.variables.items() if parameter.trainable}

    @property
    def propagator(self) -> Propagator:
        """How feedback passes a node in `backward`."""
        return self._propagator or GraphPropagator()

    @property
    def trace_graph(self) -> TraceGraph | None:
        """All trace graphs that have arrived at the parameters, as one; None if there is none."""
        graphs, _ = self._arrived()
        return TraceGraph.joined(graphs) if graphs else None

    def _propose(self, evidence: Evidence) -> Proposal:
        """Return what to try next; `Proposal.error` says why there is nothing to try. Subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__} must define _propose(evidence), or Trace's _step().")

    def default_propagator(self) -> Propagator | None:
        """Return how feedback passes a node if the user does not say: None for trace graphs."""
        return None

    def zero_feedback(self) -> None:
        """Forget the feedback on the parameters of this optimizer; those of others keep theirs."""
        self._judged.clear()
        for parameter in self.parameters:
            parameter.zero_feedback()

    def backward(self, output: Any, feedback: Any = "", **settings: Any) -> Any:
        """Send *feedback* on *output* backward to the parameters.

        Args:
            output: A node, a caught `ExecutionError`, or a list of these.
            feedback: Text, a number (higher is better), ``(score, text)``, an exception, or a `Feedback`; for several
                outputs, a list with one for each, or what is said of each of them.
            settings: For a single node: passed on to `Node.backward`, such as ``visualize=True``.

        Raises:
            BackwardError: *output* is no node, or *feedback* of an unknown kind.
        """
        outputs = output if isinstance(output, list | tuple) else [output]
        outputs = [item.exception_node if isinstance(item, ExecutionError) else item for item in outputs]
        self._judged.extend(item for item in outputs if isinstance(item, Node))
        if not isinstance(output, list | tuple) and isinstance(output := outputs[0], Node):
            settings.setdefault("propagator", self._propagator)
            return output.backward(feedback, **settings)
        if settings:
            raise OptimizerError(
                f"backward() takes no {', '.join(settings)} for several outputs.", mend="Leave it out."
            )
        return backward(outputs, feedback, propagator=self._propagator)

    def step(self, *, bypassing: bool = False, verbose: bool | str = False) -> Step:  # noqa: ARG002 - see below
        """Propose new values from the feedback, check them, and put them into the parameters.

        Always says what happened: see `StepRecord.outcome`. Values are applied all together, after all of them
        have been checked; what is rejected changes nothing.

        Args:
            bypassing: True to change no parameter: the step says what would have been done, and `update` does it.
            verbose: Accepted as in Trace. What happened is logged by ``logging.getLogger("opto.optimizers")``, and is
                in the record.

        Raises:
            StepsFailedError: ``max_failures`` steps in a row were rejected or failed.
            LLMError: A call failed for a reason that will not go away by itself, such as a wrong key.
        """
        number = self._steps_before + len(self.records) + 1
        draft = _Draft(number, time.perf_counter(), self.values(), bypassing)
        draft.evidence, stale = self._evidence()
        if draft.evidence is None:
            if stale or not self._judged:
                if not stale:
                    # Most likely backward() was forgotten, and nobody may look at what step() returns.
                    warnings.warn(_NOTHING, stacklevel=2)
                return self._finish(draft, "unchanged", _STALE if stale else _NOTHING)
            # Nothing will ever come of it: as bad as an answer that cannot be used.
            reason = self._where_lost(self.active or self.variables, TraceGraph(list(self._judged)))
            return self._raise_if_stuck(self._finish(draft, "failed", reason), None)
        self._warn_of_unreached(draft.evidence)
        self._remember_best(draft)
        self._in_progress = Proposal()
        back = self._best.values if draft.evidence.best is not None and self._best is not None else {}
        try:
            with self._in_force(back):
                draft.proposal, draft.checked = self._considered(draft.evidence)
        except BaseException as error:
            # Whatever it is, somebody may have paid for it: recorded first, and passed on.
            draft.proposal = self._in_progress
            self._finish(draft, "failed", f"{type(error).__name__}: {error}")
            raise
        if (failure := draft.proposal.error) is not None:
            step = self._finish(draft, "failed", f"{type(failure).__name__}: {failure}")
            if isinstance(failure, LLMError) and not failure.transient:
                raise failure
            return self._raise_if_stuck(step, failure)
        wanted = {name: copied(back[name]) for name in self.active if name in back} | {**draft.checked.values}
        update = {name: value for name, value in wanted.items() if not same(value, draft.before[name])}
        if update:
            return self._finish(draft, "updated", "", update)
        if draft.checked.rejected:
            reasons = "; ".join(f"{item.name}: {item.reason}" for item in draft.checked.rejected)
            return self._raise_if_stuck(self._finish(draft, "rejected", reasons), None)
        reason = "The suggested values are those already in force." if wanted else "No change was suggested."
        return self._finish(draft, "unchanged", draft.proposal.reason or reason)

    def propose(self, **settings: Any) -> Step:
        """Return what `step` would do, without doing it: see `update`."""
        return self.step(bypassing=True, **settings)

    def update(self, values: Mapping[ParameterNode[Any], Any]) -> None:
        """Put *values*, such as those of a step, into their parameters, all together. Frozen ones keep theirs.

        Raises:
            DomainError: A value lies outside its parameter's domain; then nothing is changed.

        Example:
            >>> from opto.nodes import node
            >>> from opto.optimizers import LocalSearch
            >>> x = node(1, name="x", trainable=True, domain=range(10))
            >>> optimizer = LocalSearch([x], seed=0)
            >>> optimizer.backward(x * 2, 2.0)
            >>> step = optimizer.propose()
            >>> x.data
            1
            >>> optimizer.update(step)
            >>> x.data == step[x]
            True
        """
        accepted = {
            item: value if isinstance(values, Step) and values.has_accepted(item, value) else item.accept(value)
            for item, value in values.items()
            if item.trainable
        }
        for item, value in accepted.items():
            item._set(value)  # noqa: SLF001 - checked just before

    def _considered(self, evidence: Evidence) -> tuple[Proposal, Checked]:
        """Return what is proposed, and what of it can be used."""
        trace_step: Callable[[], Mapping[Any, Any]] | None = getattr(self, "_step", None)
        if trace_step is None:
            proposal = self._propose(evidence)
        else:
            # An optimizer written for Trace: it looks at its parameters' feedback itself, and returns values by
            # parameter.
            names = {parameter: name for name, parameter in self.variables.items()}
            said = {names[parameter]: value for parameter, value in trace_step().items()}
            proposal = Proposal(Suggestion(said))
        self._in_progress = proposal
        return proposal, self._check(proposal.suggestion, evidence)

    def _check(self, suggestion: Suggestion, evidence: Evidence) -> Checked:
        taken = set((evidence.best or evidence).graph.names.values())
        return check(suggestion, self.variables_for(evidence), taken=taken)

    @contextmanager
    def _in_force(self, values: Mapping[str, Any]) -> Iterator[None]:
        """Let the parameters have *values* for as long as the block runs."""
        before = {name: self.variables[name]._data for name in values}  # noqa: SLF001 - no read of the program
        try:
            for name, value in values.items():
                self.variables[name]._set(value)  # noqa: SLF001 - were in force before
            yield
        finally:
            for name, value in before.items():
                self.variables[name]._set(value)  # noqa: SLF001 - as above

    def values(self) -> dict[str, Any]:
        """Return the current value of each parameter, by name."""
        return {name: parameter._data for name, parameter in self.variables.items()}  # noqa: SLF001 - no read of the program

    def best(self) -> Candidate | None:
        """Return the values with the highest score so far; None if no feedback had a score."""
        return self._best

    def restore(self, candidate: Candidate | None) -> None:
        """Put the values of *candidate*, such as `best`, back into the parameters; None changes nothing.

        Raises:
            DomainError: A value lies outside its parameter's domain; then nothing is changed.
            OptimizerError: *candidate* has values for variables that are not there.
        """
        if candidate is None:
            return
        if unknown := [name for name in candidate.values if name not in self.variables]:
            raise OptimizerError(
                f"There is no variable {', '.join(unknown)}.", mend=f"The variables are {', '.join(self.variables)}."
            )
        values = dict(candidate.values)
        if candidate is not self._best:  # which was in force, whatever the domain says of it
            values = {name: self.variables[name].accept(value) for name, value in values.items()}
        for name, value in values.items():
            self.variables[name]._set(copied(value))  # noqa: SLF001 - checked just before

    def _evidence(self) -> tuple[Evidence | None, bool]:
        """Return all that has arrived about the values in force, as one graph; else None, and True if some is stale."""
        graphs, others = self._arrived()
        if others and not graphs and hasattr(self, "_step"):
            return Evidence(TraceGraph(self.parameters), self.values(), None), False
        if others and not graphs:
            raise OptimizerError(
                f"{type(self).__name__} reads trace graphs, and the propagator sent a {type(others[0]).__name__}.",
                mend="Leave propagator= out, or write an optimizer for what yours sends.",
            )
        mine = set(self.parameters)
        parts = [
            graph
            for graph in graphs
            if all(item._data is value for item, value in graph.values.items() if item in mine)  # noqa: SLF001 - no read of the program
        ]
        if not parts:
            return None, bool(graphs)
        graph = TraceGraph.joined(parts)
        scores = [said.score for said in graph.feedback if said.score is not None]
        mean = sum(scores) / len(scores) if scores else None
        score = None if mean is None or math.isnan(mean) else mean
        worse = self._best is not None and score is not None and score < self._best.score
        return Evidence(graph, self.values(), score, self._best_evidence if worse else None), False

    def _arrived(self) -> tuple[list[TraceGraph], list[Any]]:
        """Return the trace graphs at the parameters, each once, and whatever else is there."""
        arrived = [item for node in self.parameters for items in node.feedback.values() for item in items]
        graphs = list({id(item): item for item in arrived if isinstance(item, TraceGraph)}.values())
        return graphs, [item for item in arrived if not isinstance(item, TraceGraph)]

    def _unreached(self, evidence: Evidence) -> list[str]:
        reached = set(evidence.graph.parameters)
        return [name for name, item in self.active.items() if item not in reached]

    def _warn_of_unreached(self, evidence: Evidence) -> None:
        """Name, once, parameters that no feedback reaches: nothing will change them."""
        unreached = self._unreached(evidence)
        if unreached and not self._warned:
            warnings.warn(self._where_lost(unreached, evidence.graph), stacklevel=3)
        self._warned = True

    def _where_lost(self, names: Iterable[str], graph: TraceGraph) -> str:
        return graph.where_lost({name: self.variables[name] for name in names}, known=set(self.parameters))

    def _remember_best(self, draft: _Draft) -> None:
        assert draft.evidence is not None
        score = draft.evidence.score
        if score is not None and (self._best is None or score > self._best.score):
            values = {name: copied(value) for name, value in draft.before.items()}
            self._best = Candidate(values, score, draft.step, draft.evidence.feedback)
            self._best_evidence = replace(draft.evidence, best=None) if self._keep_best else None

    def variables_for(self, evidence: Evidence) -> Mapping[str, ParameterNode[Any]]:  # noqa: ARG002 - for overriding
        """Return the variables that may be changed because of *evidence*: all that are not frozen."""
        return self.active

    def _finish(
        self, draft: _Draft, outcome: Outcome, reason: str, update: Mapping[str, Any] = MappingProxyType({})
    ) -> Step:
        """Record the step, and apply *update*, all together."""
        after = draft.before if draft.bypassing else {**draft.before, **update}
        proposal = draft.proposal
        record = StepRecord(
            step=draft.step,
            outcome=outcome,
            reason=reason,
            optimizer=type(self).__name__,
            model=proposal.model,
            score=draft.evidence.score if draft.evidence else None,
            feedback=list(draft.evidence.feedback) if draft.evidence else [],
            before={name: as_json(value) for name, value in draft.before.items()},
            after={name: as_json(value) for name, value in after.items()},
            update={name: as_json(value) for name, value in update.items()},
            rejected=draft.checked.rejected,
            back_to=self._best.step if draft.evidence and draft.evidence.best and self._best and update else None,
            repeats=self._repeated(draft, update),
            candidates=list(proposal.candidates),
            unreached=self._unreached(draft.evidence) if draft.evidence else [],
            reasoning=proposal.suggestion.reasoning,
            left_out=list(proposal.left_out),
            messages=[dict(message) for message in proposal.messages],
            reply=proposal.reply,
            usage=proposal.usage,
            seconds=time.perf_counter() - draft.started,
            at=datetime.now(UTC),
        )
        # Written before it is applied: what a step puts into a parameter is known to the run.
        if self.run is not None:
            try:
                self.run.append(record)
            except RunError as error:
                undone = {"outcome": "failed", "reason": f"RunError: {error}", "after": record.before, "update": {}}
                self.records.append(record.model_copy(update=undone))
                raise
        self.records.append(record)
        if len(self.records) > _MOST_RECORDS:
            del self.records[0]
            self._steps_before += 1
        self._judged.clear()
        if not draft.bypassing:
            for name, value in update.items():
                self.variables[name]._set(value)  # noqa: SLF001 - the one place that changes parameters
        logger.info("%s", record)
        return Step({self.variables[name]: value for name, value in update.items()}, record)

    def _repeated(self, draft: _Draft, update: Mapping[str, Any]) -> int | None:
        """Return the step in which the values after *update* were judged already."""
        found = tried_in(self.records, {**draft.before, **update}) if update else None
        return None if found is None else found.step

    def _raise_if_stuck(self, step: Step, cause: Exception | None) -> Step:
        recent = self.records[-self._max_failures :]
        if len(recent) == self._max_failures and all(item.outcome in {"failed", "rejected"} for item in recent):
            # Equal reasons are said once.
            reasons = dict.fromkeys(f"{item.outcome}: {item.reason}" for item in recent)
            causes = " ".join(reasons)
            raise StepsFailedError(
                f"The last {len(recent)} steps changed nothing. {causes}",
                mend="Look at the replies in optimizer.records, or allow more with max_failures=.",
            ) from cause
        return step
