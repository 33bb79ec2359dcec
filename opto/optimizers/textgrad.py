"""TextGrad: feedback goes backward call by call, in words, and each variable is edited by what arrives at it."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from opto.errors import LLMError, OptimizerError
from opto.llm import LLM, Message
from opto.nodes import ParameterNode, Propagator, TraceGraph, brief, canonical_names, write_call
from opto.optimizers.asking import AskingOptimizer, total
from opto.optimizers.prompts import (
    as_it_is,
    describe_variables,
    distances,
    render_feedback,
    render_rejected,
    render_values,
    show_value,
)
from opto.optimizers.proposal import Evidence, Proposal
from opto.optimizers.suggestion import FormatName, Suggestion
from opto.runs import Run

__all__ = ["TextGrad"]

BACKWARD = """\
A program is improved from the feedback on its results, going backward from call to call. You see one call, the \
values of its inputs, its result and the feedback on the result. Say how the input that is asked about should change \
so that the feedback would be better: what is wrong with it, and what it should do instead. Do not write the new \
value. If the input is not to blame, say so. Answer in at most five sentences of plain text."""

EDIT = """\
You improve one variable of a program. You see its value, what it must be, and what was said about it by those who \
traced the feedback on the results back to it.

{instructions}
Values that are not what their line says are not used. Code must be whole and keep its signature."""

#: Characters of an input or a result that are shown with a call.
_MOST_VALUE = 4_000


class TextGrad(AskingOptimizer):
    """Optimize with textual gradients (TextGrad, arXiv 2406.07496, section 2).

    A step asks the model once for each input of each call between the outputs and the variables, how that input should
    change; and then once for each variable, for a new value in view of all that was said about it. That makes many
    calls: `OptoPrime` shows the whole trace in one. Inputs that no variable is behind are not asked about.

    Takes what `AskingOptimizer` takes, but remembers nothing between steps, and:

    Args:
        parameters: What may be changed.
        llm: The model.
        max_calls: Calls of the model that a step may make; a graph that needs more is refused before the first one.
        objective: What the outputs are for, shown with each question.
        max_tokens: Limit for an answer; None leaves it to the provider.
        answer_format: ``auto``, ``tags``, ``json`` or ``tool`` (see `OptoPrime`), for new values.
        propagator: How feedback passes a node.
        run: Folder that keeps every step.
        max_failures: How many steps in a row may fail: the last of them raises.
        keep_best: Go back to the best values so far after a step that did worse (see `Optimizer`).
        max_repairs: How often an answer that cannot be read or used is sent back, with the reasons, within one step.
        trace_settings: Settings of Trace that mean nothing here.

    Raises:
        OptimizerError: In `step`: the graph needs more calls than ``max_calls``.

    Example:
        >>> from opto.llm import ScriptedLLM
        >>> from opto.nodes import node
        >>> x = node(1, name="x", trainable=True)
        >>> said = "x is too small."
        >>> new = "<variable><name>x</name><value>2</value></variable>"
        >>> optimizer = TextGrad([x], ScriptedLLM([said, new]))
        >>> optimizer.backward(x * 3, "The output should be 6.")
        >>> print(optimizer.step(), "to", x.data)
        step 1: updated x to 2
    """

    default_objective = "The outputs should be as good as the feedback wants them."

    def __init__(
        self,
        parameters: Iterable[ParameterNode[Any]],
        llm: LLM | str | Callable[..., Any] | None = None,
        *,
        max_calls: int = 100,
        objective: str | None = None,
        max_tokens: int | None = None,
        answer_format: FormatName = "auto",
        propagator: Propagator | None = None,
        run: Run | str | os.PathLike[str] | None = None,
        max_failures: int = 3,
        keep_best: bool = False,
        max_repairs: int = 1,
        **trace_settings: Any,
    ) -> None:
        if not isinstance(max_calls, int) or max_calls < 1:
            raise OptimizerError(f"max_calls is {max_calls!r:.80}.", mend="Give a number from 1 on.")
        if trace_settings.pop("memory_size", None):
            raise OptimizerError("TextGrad remembers nothing between steps.", mend="Leave memory_size out.")
        super().__init__(
            parameters,
            llm,
            objective=objective,
            memory_size=0,
            max_tokens=max_tokens,
            answer_format=answer_format,
            propagator=propagator,
            run=run,
            max_failures=max_failures,
            keep_best=keep_best,
            max_repairs=max_repairs,
            **trace_settings,
        )
        self.max_calls = max_calls

    def _propose(self, evidence: Evidence) -> Proposal:
        variables = self.variables_for(evidence)
        graph = (evidence.best or evidence).graph
        edges = _edges(graph, variables)
        if (needed := len(edges) + len(variables)) > self.max_calls:
            raise OptimizerError(
                f"TextGrad would ask the model {needed:,} times in this step.",
                mend=f"Raise max_calls, which is {self.max_calls:,}, or use OptoPrime, which asks once.",
            )
        self._in_progress = Proposal(model=self.llm.model)
        try:
            gradients = self._gradients(graph, edges, canonical_names(graph.nodes, variables))
        except LLMError as error:
            return replace(self._in_progress, error=error)
        proposal = self._in_progress
        values: dict[str, Any] = {}
        reasons: list[str] = []
        for name, variable in variables.items():
            if not gradients.get(variable):
                continue  # from nothing said, no better value follows
            messages = self._edit(name, variable, gradients[variable])
            proposal = self._asked(replace(proposal, messages=messages), evidence, {name: variable})
            if proposal.error is not None:
                return proposal
            values |= proposal.suggestion.values
            reasons.append(proposal.suggestion.reasoning)
        reason = "" if reasons else "The model said nothing about the variables."
        return replace(proposal, suggestion=Suggestion(values, "\n".join(filter(None, reasons))), reason=reason)

    def _gradients(
        self, graph: TraceGraph, edges: Mapping[tuple[Any, Any], None], names: Mapping[Any, str]
    ) -> Mapping[Any, Sequence[str]]:
        """Return what is said about each node between outputs and variables."""
        said: dict[Any, list[str]] = {}
        for output, feedback in zip(graph.outputs, graph.feedback, strict=True):
            said.setdefault(output, []).append(render_feedback(feedback))
        for node in reversed([*graph]):
            for parent in node.parents if said.get(node) else ():
                if (node, parent) in edges:
                    text = self._gradient(self._question(names, node, parent, said[node]))
                    said.setdefault(parent, []).extend([text] if text else [])
                elif node.operator.packs:  # nothing was computed: what is said of a list is said of what is in it
                    said.setdefault(parent, []).extend(said[node])
        return said

    def _gradient(self, messages: Sequence[Message]) -> str:
        """Return what the model answers to *messages*; "" if it does not."""
        # For the record, should the call fail or be interrupted.
        self._in_progress = replace(self._in_progress, messages=messages, reply="")
        reply = self._call(messages)
        usage = total(self._in_progress.usage, reply.usage)
        self._in_progress = replace(self._in_progress, model=reply.model, reply=reply.text, usage=usage)
        return "" if reply.finish_reason == "refusal" else as_it_is(reply.text.strip())

    def _question(self, names: Mapping[Any, str], node: Any, parent: Any, said: Sequence[str]) -> list[Message]:
        items = [*node.parents, node]
        most = min(_MOST_VALUE, 2 * self.max_prompt_tokens // len(items))
        values = render_values({names[item]: show_value(item._data, most) for item in items})  # noqa: SLF001 - no read of the program
        call = write_call(node, names.__getitem__, lambda value: brief(value, most))
        described = f"\n[{node.operator.name}] {node.operator.description}" if node.operator.description else ""
        parts = [
            self._head(),
            f"# Call\n{names[node]} = {call}{described}",
            f"# Values\n{values}",
            f"# Feedback on {names[node]}\n" + "\n".join(said),
            f"How should {names[parent]} change?",
        ]
        return [{"role": "system", "content": BACKWARD}, {"role": "user", "content": "\n\n".join(parts)}]

    def _head(self) -> str:
        context = f"\n\n# Context\n{self.problem_context}" if self.problem_context else ""
        return f"# Objective\n{self.objective}{context}"

    def _edit(self, name: str, variable: ParameterNode[Any], gradients: Sequence[str]) -> list[Message]:
        parts = [
            self._head(),
            f"# Variable\n{describe_variables({name: variable}, self.context)}",
            f"# What was said about {name}\n" + ("\n".join(f"- {text}" for text in gradients) or "(nothing)"),
            f"# Rejected in the step before\n{rejected}"
            if (rejected := render_rejected(self.records, self.variables))
            else "",
            f"What should become of {name}?",
        ]
        system = EDIT.format(instructions=self._format.instructions)
        user = "\n\n".join(part for part in parts if part)
        return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def _edges(graph: TraceGraph, variables: Mapping[str, ParameterNode[Any]]) -> dict[tuple[Any, Any], None]:
    """Return the edges, as result and input, on which a gradient is asked for: those with a variable behind them."""
    reached = distances(graph, set(variables.values()))
    return {
        (node, parent): None
        for node in graph
        if node.is_recorded and not node.operator.packs
        for parent in node.parents
        if parent in reached
    }
