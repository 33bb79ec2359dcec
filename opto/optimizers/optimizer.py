"""`Optimizer`: one step, from feedback to a recorded update. What differs between optimizers is how they propose."""

import logging
import math
import os
import time
import warnings
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from opto.errors import ExecutionError, LLMError, OptimizerError, StepsFailedError
from opto.llm import in_thread, labelled, raise_if_cancelled
from opto.nodes import (
    Feedback,
    GraphPropagator,
    Node,
    ParameterNode,
    Propagator,
    TraceGraph,
    backward,
    canonical_names,
)
from opto.optimizers.acceptance import Checked, check
from opto.optimizers.checks import copied, same
from opto.optimizers.draft import Draft, one_at_a_time
from opto.optimizers.prompts import masked, tried_in
from opto.optimizers.proposal import Candidate, Evidence, Proposal, arrived
from opto.optimizers.state import OptimizerState
from opto.optimizers.step import Step
from opto.optimizers.suggestion import Suggestion
from opto.runs import Outcome, Run

__all__ = ["Optimizer"]

logger = logging.getLogger(__name__)


#: Each has a whole prompt: ten thousand steps must not fill the memory.
_MOST_RECORDS = 1_000
_STALE = "All feedback is on values that are no longer in force: run the program again, and call backward()."
_NOTHING = "No feedback has come: call backward() with an output of the parameters and what there is to say about it."
_UNTRACED = "Back to the best values: they have to run again before there is something to go on from."
_TOLD = "These values were judged elsewhere, and told."


class Optimizer(OptimizerState):
    """Changes parameters so that the feedback gets better: ``zero_feedback``, ``backward``, ``step``.

    A subclass defines `_propose`; reading, checking, applying and recording are done here, the same for all.

    Args:
        parameters: What may be changed, as a list, or as a dict with the names under which they are shown. Frozen ones
            are left out; one given twice counts once.
        propagator: How feedback passes a node in `backward`; the default suits all optimizers of opto.
        run: A folder, or a `Run`, to which every step is written as one line of JSON. None writes nothing.
        max_failures: How many steps in a row may end ``rejected`` or ``failed``: the last of them raises.
        keep_best: Go back to the best values so far after a step that did worse, and propose from there. For scores
            that can be compared: the same inputs in each step.

    Raises:
        OptimizerError: There is nothing to optimize, or something that is no parameter.
    """

    #: What of a prompt a step can leave out.
    sections: Collection[str] = ()

    def __init__(
        self,
        parameters: Iterable[ParameterNode[Any]] | Mapping[str, ParameterNode[Any]],
        *,
        propagator: Propagator | None = None,
        run: "Run | str | os.PathLike[str] | None" = None,
        max_failures: int = 3,
        keep_best: bool = False,
    ) -> None:
        super().__init__(parameters)
        if run is not None and not isinstance(run, Run) and (not isinstance(run, str | os.PathLike) or not str(run)):
            raise OptimizerError(f"A run cannot be {run!r:.80}.", mend="Give the path of a folder, or a Run.")
        self.run = Run(run) if isinstance(run, str | os.PathLike) else run
        self._propagator = propagator if propagator is not None else self.default_propagator()
        if not isinstance(max_failures, int) or max_failures < 1:
            raise OptimizerError(f"max_failures is {max_failures!r:.80}.", mend="Give a number from 1 on.")
        self._max_failures = max_failures
        self._keep_best = keep_best
        # Of the best values: where a step goes back to. Held only if steps do.
        self._best_evidence: Evidence | None = None
        self._warned = False
        # What the next step is about, to look for what got lost; of many outputs, the last ones tell enough.
        self._judged: deque[Node[Any]] = deque(maxlen=20)
        self._in_progress = Proposal()
        self._mask: frozenset[str] = frozenset()
        if self.run is not None:
            self.run.prepare()
        self._steps_before = self.run.last_step() if self.run is not None else 0

    @property
    def propagator(self) -> Propagator:
        """How feedback passes a node in `backward`."""
        return self._propagator or GraphPropagator()

    @property
    def trace_graph(self) -> TraceGraph | None:
        """All trace graphs that have arrived at the parameters, as one; None if there is none."""
        graphs, _ = arrived(self.parameters)
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

    @one_at_a_time
    def step(
        self,
        *,
        bypassing: bool = False,
        verbose: bool | str = False,  # noqa: ARG002 - see below
        mask: Collection[str] | None = None,
    ) -> Step:
        """Propose new values from the feedback, check them, and put them into the parameters.

        Always says what happened: see `StepRecord.outcome`. Values are applied all together, after all of them
        have been checked; what is rejected changes nothing.

        Args:
            bypassing: True to change no parameter: the step says what would have been done, and `update` does it.
            verbose: Accepted as in Trace. What happened is logged by ``logging.getLogger("opto.optimizers")``, and is
                in the record.
            mask: Sections that the model is not shown in this step, such as ``["#Code"]``.

        Raises:
            OptimizerError: *mask* names a section that is not there, or another step of this optimizer is under way.
            StepsFailedError: ``max_failures`` steps in a row were rejected or failed.
            LLMError: A call failed for a reason that will not go away by itself, such as a wrong key.
        """
        self._mask = masked(mask or (), self.sections, type(self).__name__)
        draft = self._draft(self.values(), bypassing)
        draft.evidence, stale = self._evidence()
        if draft.evidence is None:
            if stale or not self._judged:
                if not stale:
                    # Most likely backward() was forgotten, and nobody may look at what step() returns.
                    warnings.warn(_NOTHING, stacklevel=3)
                return self._finish(draft, "unchanged", _STALE if stale else _NOTHING)
            # Nothing will ever come of it: as bad as an answer that cannot be used.
            reason = self._where_lost(self.active or self.variables, TraceGraph(list(self._judged)))
            return self._raise_if_stuck(self._finish(draft, "failed", reason), None)
        self._warn_of_unreached(draft.evidence)
        self._remember_best(draft)
        if len(self._unreached(draft.evidence)) == len(self.active):
            return self._finish(draft, "unchanged", "Nothing that feedback reaches may be changed now.")
        back = self._consider(draft, draft.evidence)
        if (failure := draft.proposal.error) is not None:
            step = self._finish(draft, "failed", f"{type(failure).__name__}: {failure}")
            if isinstance(failure, LLMError) and not failure.transient:
                raise failure
            return self._raise_if_stuck(step, failure)
        wanted = {name: copied(value) for name, value in back.items()} | {**draft.checked.values}
        update = {name: value for name, value in wanted.items() if not same(value, draft.before[name])}
        if update:
            return self._finish(draft, "updated", "", update)
        if draft.checked.rejected:
            reasons = "; ".join(f"{item.name}: {item.reason}" for item in draft.checked.rejected)
            return self._raise_if_stuck(self._finish(draft, "rejected", reasons), None)
        reason = "The suggested values are those already in force." if wanted else "No change was suggested."
        return self._finish(draft, "unchanged", draft.proposal.reason or reason)

    async def astep(
        self, *, bypassing: bool = False, verbose: bool | str = False, mask: Collection[str] | None = None
    ) -> Step:
        """Do what `step` does, without blocking the event loop: for programs that are asynchronous themselves.

        Models are awaited in the running loop; a function in place of one may be asynchronous. A step that is cancelled
        closes the connection of the call under way, is recorded as ``failed``, and changes nothing; if that comes too
        late, the record says what it did.

        Example:
            >>> import asyncio
            >>> from opto.nodes import node
            >>> from opto.optimizers import OptoPrime
            >>> x = node(1, name="x", trainable=True)
            >>> async def model(messages):
            ...     return "<variable><name>x</name><value>2</value></variable>"
            >>> optimizer = OptoPrime([x], model)
            >>> optimizer.backward(x * 3, "The output should be 6.")
            >>> print(asyncio.run(optimizer.astep()), "to", x.data)
            step 1: updated x to 2
        """
        return await in_thread(self.step, bypassing=bypassing, verbose=verbose, mask=mask)

    def propose(self, **settings: Any) -> Step:
        """Return what `step` would do, without doing it: see `update`."""
        return self.step(bypassing=True, **settings)

    def _draft(self, values: Mapping[str, Any], bypassing: bool) -> Draft:
        number = self._steps_before + len(self.records) + 1
        return Draft(number, time.perf_counter(), values, bypassing, anew=not self.records and number > 1)

    def _consider(self, draft: Draft, evidence: Evidence) -> Mapping[str, Any]:
        """Put into *draft* what is proposed; return the values that the step goes back to, if it does."""
        self._in_progress = Proposal()
        draft.back_to = self._better_than(evidence)
        back = self._back_to(draft.back_to) if draft.back_to is not None else {}
        try:
            replies = nullcontext() if self.run is None else self.run.replies
            with labelled(step=draft.step), draft.ledger, replies, self._in_force(back):
                # Of the best values of a state that was loaded, nothing is known from which to go on.
                if not back or evidence.best is not None:
                    draft.proposal, draft.checked = self._considered(evidence)
                else:
                    draft.proposal = Proposal(Suggestion({}, _UNTRACED))
            raise_if_cancelled()
        except BaseException as error:
            # Whatever it is, somebody may have paid for it: recorded first, and passed on.
            draft.proposal = self._in_progress
            self._finish(draft, "failed", f"{type(error).__name__}: {error}")
            raise
        # The program may have frozen some meanwhile.
        return {name: value for name, value in back.items() if name in self.active}

    def _considered(self, evidence: Evidence) -> tuple[Proposal, Checked]:
        """Return what is proposed, and what of it can be used."""
        trace_step: Callable[[], Mapping[Any, Any]] | None = getattr(self, "_step", None)
        if trace_step is None:
            proposal = self._propose(evidence)
        else:
            # An optimizer written for Trace: it looks at its parameters' feedback itself, and returns values by
            # parameter.
            names = {parameter: name for name, parameter in self.variables.items()}
            with labelled(role="optimizer"):
                said = trace_step()
            if not isinstance(said, Mapping) or not all(isinstance(item, Node) and item in names for item in said):
                raise OptimizerError(
                    f"{type(self).__name__}._step() returned {said!r:.80}.",
                    mend="Return a dict from parameters of the optimizer to new values.",
                )
            proposal = Proposal(Suggestion({names[parameter]: value for parameter, value in said.items()}))
        if not isinstance(proposal, Proposal):
            raise OptimizerError(
                f"{type(self).__name__}._propose() returned {proposal!r:.80}.",
                mend="Return Proposal(Suggestion({name: value, …})).",
            )
        self._in_progress = proposal
        return proposal, self._check(proposal.suggestion, evidence)

    def _check(self, suggestion: Suggestion, evidence: Evidence) -> Checked:
        variables = self.variables_for(evidence)
        taken = set(canonical_names((evidence.best or evidence).graph.nodes, variables).values())
        return check(suggestion, variables, taken=taken, closed=set(self.variables).difference(variables))

    def _go_on(self) -> None:
        self._best_evidence = None
        self._warned = False
        # A run that has gone on since keeps its count.
        last = max(self.records[-1].step if self.records else 0, self.run.last_step() if self.run is not None else 0)
        self._steps_before = last - len(self.records)

    def _record_told(self, values: Mapping[str, Any], said: Feedback) -> Step:
        """Record what was said of *values* that were judged elsewhere, as a step that changes no parameter."""
        draft = self._draft(values, bypassing=True)
        # How they were used, nobody knows.
        draft.evidence = Evidence(TraceGraph(self.parameters, [said]), values, said.score)
        self._remember_best(draft)
        return self._finish(draft, "unchanged", _TOLD)

    def _evidence(self) -> tuple[Evidence | None, bool]:
        """Return all that has arrived about the values in force, as one graph; else None, and True if some is stale."""
        graphs, others = arrived(self.parameters)
        if others and not graphs and hasattr(self, "_step"):
            return Evidence(TraceGraph(self.parameters), self.values(), None), False
        if others and not graphs:
            raise OptimizerError(
                f"{type(self).__name__} reads trace graphs, and the propagator sent a {type(others[0]).__name__}.",
                mend="Leave propagator= out, or write an optimizer for what yours sends.",
            )
        evidence = Evidence.of(graphs, self.parameters, self.values())
        if evidence is None:
            return None, bool(graphs)
        best = self._better_than(evidence)
        if best is None or self._best_evidence is None:
            return evidence, False
        # Frozen variables stay as they are, whatever the best values of the others go with.
        values = {**evidence.values, **self._back_to(best)}
        return replace(evidence, best=replace(self._best_evidence, values=values)), False

    def _back_to(self, best: Candidate) -> dict[str, Any]:
        """Return the values that going back to *best* puts into force."""
        return {name: best.values[name] for name in self.active}

    def _better_than(self, evidence: Evidence) -> Candidate | None:
        """Return the best values so far if a step is to go back to them: None if these did no worse."""
        # Where there are scores, what failed did worse than what has one.
        score = -math.inf if evidence.score is None and evidence.failed else evidence.score
        best = self._best
        if not self._keep_best or best is None or score is None or score >= best.score:
            return None
        # The best values themselves, judged again by somebody less content: there is nowhere to go back to.
        there = all(same(best.values[name], evidence.values[name]) for name in self.active)
        return None if there else best

    def _unreached(self, evidence: Evidence) -> list[str]:
        reached = set(evidence.graph.parameters)
        return [name for name, item in self.active.items() if item not in reached]

    def _warn_of_unreached(self, evidence: Evidence) -> None:
        """Name, once, parameters that no feedback reaches: nothing will change them."""
        unreached = self._unreached(evidence)
        if unreached and not self._warned:
            warnings.warn(self._where_lost(unreached, evidence.graph), stacklevel=4)
        self._warned = True

    def _where_lost(self, names: Iterable[str], graph: TraceGraph) -> str:
        return graph.where_lost({name: self.variables[name] for name in names}, known=set(self.parameters))

    def _remember_best(self, draft: Draft) -> None:
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
        self, draft: Draft, outcome: Outcome, reason: str, update: Mapping[str, Any] = MappingProxyType({})
    ) -> Step:
        """Record the step, and apply *update*, all together."""
        found = tried_in(self.records, self.recorded({**draft.before, **update})) if update else None
        record = draft.record(
            type(self).__name__,
            outcome,
            reason,
            update,
            now=self.values(),  # others may have changed some since the step began
            recorded=self.recorded,
            repeats=None if found is None else found.step,
            unreached=self._unreached(draft.evidence) if draft.evidence else [],
        )
        # Written before it is applied: what a step puts into a parameter is known to the run.
        if self.run is not None:
            try:
                self.run.append(record)
            except BaseException as error:
                reason = f"{type(error).__name__}: {error}"
                after = record.before if draft.bypassing else self.recorded(self.values())
                undone = {"outcome": "failed", "reason": reason, "after": after, "update": {}}
                self.records.append(record.model_copy(update=undone))
                raise
        self.records.append(record)
        if len(self.records) > _MOST_RECORDS:
            del self.records[0]
            self._steps_before += 1
        self._judged.clear()
        self._mask = frozenset()  # of this step only
        if not draft.bypassing:
            for name, value in update.items():
                self.variables[name]._set(value)  # noqa: SLF001 - the one place that changes parameters
        logger.info("%s", record)
        return Step({self.variables[name]: value for name, value in update.items()}, record)

    def _raise_if_stuck(self, step: Step, cause: Exception | None) -> Step:
        recent = self.records[-self._max_failures :]
        if len(recent) == self._max_failures and all(item.outcome in {"failed", "rejected"} for item in recent):
            # Equal reasons are said once.
            reasons = dict.fromkeys(f"{item.outcome}: {item.reason}" for item in recent)
            causes = " ".join(reasons)
            raise StepsFailedError(
                f"The last {f'{len(recent)} steps' if len(recent) > 1 else 'step'} changed nothing. {causes}",
                mend="Look at the replies in optimizer.records, or allow more with max_failures=.",
            ) from cause
        return step
