"""What goes into a step and what comes out of it: evidence, a proposal, a candidate."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from opto.errors import LLMError, SuggestionError
from opto.llm import Message, Usage
from opto.nodes import ExceptionNode, Feedback, TraceGraph
from opto.optimizers.suggestion import Suggestion
from opto.runs import CandidateRecord

__all__ = ["Candidate", "Evidence", "Proposal", "arrived"]


@dataclass(frozen=True)
class Evidence:
    """What has arrived at the parameters since `zero_feedback`.

    Attributes:
        graph: All that led to the outputs.
        values: The parameters' values by name, which led to them. Feedback on values that are no longer in force is
            left out.
        score: Mean score of the outputs that have one; -inf if others failed and nobody gave them one; None if none
            has.
        best: With ``keep_best``, if *values* did worse than the best so far: the evidence of those. The step goes
            back to them, and they are in force while it proposes.
    """

    graph: TraceGraph
    values: Mapping[str, Any]
    score: float | None
    best: "Evidence | None" = None

    @classmethod
    def of(
        cls, graphs: Sequence[TraceGraph], parameters: Collection[Any], values: Mapping[str, Any]
    ) -> "Evidence | None":
        """Return what *graphs* tell of *values*, the present ones of *parameters*; None if all are about others."""
        mine = set(parameters)
        parts = [
            part
            for graph in graphs
            if all(item._data is value for item, value in graph.values.items() if item in mine)  # noqa: SLF001 - no read of the program
            and (part := _current(graph, mine)) is not None
        ]
        if not parts:
            return None
        graph = TraceGraph.joined(parts)
        scores = [said.score for said in graph.feedback if said.score is not None]
        mean = sum(scores) / len(scores) if scores else None
        found = cls(graph, values, None if mean is None or math.isnan(mean) else mean)
        # The mean of what is left would praise values for what they broke.
        return replace(found, score=-math.inf) if found.score is not None and found.failed else found

    @property
    def failed(self) -> bool:
        """True if an output is an exception that nobody gave a score."""
        # Of what other propagators sent, there is a graph without feedback.
        judged = zip(self.graph.outputs, self.graph.feedback, strict=False)
        return any(isinstance(output, ExceptionNode) and said.score is None for output, said in judged)

    @property
    def feedback(self) -> Sequence[Feedback]:
        """What was said, one per output."""
        return self.graph.feedback


def _current(graph: TraceGraph, mine: Collection[Any]) -> TraceGraph | None:
    """Return *graph* without outputs that were computed from values that *mine* have no more; None if none is left."""
    since = {item: item.since for item in graph.parameters if item in mine}
    newest = max(since.values(), default=-1)
    stale: set[Any] = set()
    for node in graph:  # oldest first
        if node.birth > newest and not stale:
            return graph  # as nearly always
        if node.is_recorded and any(
            parent in stale or (parent in since and node.birth < since[parent]) for parent in node.parents
        ):
            stale.add(node)
    judged = [pair for pair in zip(graph.outputs, graph.feedback, strict=True) if pair[0] not in stale]
    if len(judged) == len(graph.outputs):
        return graph
    return TraceGraph([output for output, _ in judged], [said for _, said in judged]) if judged else None


def arrived(parameters: Iterable[Any]) -> tuple[list[TraceGraph], list[Any]]:
    """Return the trace graphs at *parameters*, each once, and whatever else is there."""
    found = [item for parameter in parameters for items in parameter.feedback.values() for item in items]
    graphs = list({id(item): item for item in found if isinstance(item, TraceGraph)}.values())
    return graphs, [item for item in found if not isinstance(item, TraceGraph)]


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
        left_out: What of the trace the model was not shown, in words.
        reason: Why nothing is to be changed, if the suggestion is empty and the model did not mean it so.
        candidates: Where there were several to choose from: each with what became of it.
    """

    suggestion: Suggestion = field(default_factory=Suggestion)
    error: SuggestionError | LLMError | None = None
    model: str | None = None
    messages: Sequence[Message] = ()
    reply: str = ""
    usage: Usage | None = None
    left_out: Sequence[str] = ()
    reason: str = ""
    candidates: Sequence[CandidateRecord] = ()


@dataclass(frozen=True)
class Candidate:
    """One full assignment of the parameters, with its evidence.

    Attributes:
        values: By name, as in ``optimizer.variables``.
        score: Mean score that they led to; higher is better.
        step: Step in which they were judged, from 1.
        feedback: What was said of their outputs.
    """

    values: Mapping[str, Any]
    score: float
    step: int
    feedback: Sequence[Feedback] = ()
