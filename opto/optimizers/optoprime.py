"""OptoPrime: a language model is shown the trace and the feedback, and proposes better values."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from opto.errors import OptimizerError
from opto.llm import LLM, Message, estimate_tokens
from opto.nodes import ParameterNode, Propagator
from opto.optimizers.asking import LEAST_PROMPT, AskingOptimizer, Prompt
from opto.optimizers.function_feedback import FunctionFeedback, node_to_function_feedback
from opto.optimizers.memory import Judged, judged_before, most_relevant, render_rejected, render_tried
from opto.optimizers.problem import Problem
from opto.optimizers.proposal import Evidence
from opto.optimizers.suggestion import FormatName
from opto.runs import Run

__all__ = ["FunctionFeedback", "OptoPrime", "node_to_function_feedback"]

#: For rounding, where parts are counted one by one.
_SLACK = 10

SYSTEM = """\
You improve a program by changing some of its variables. You see one run of the program in these sections; \
those with nothing to say are left out:
- Code: the calls that were made, in order, as lines of Python.
- Documentation: what the called functions do.
- Source: how some of them do it.
- Variables: what you may change, with its current value and what it must be.
- Inputs: values that are given and cannot be changed.
- Others: values between the variables and the outputs.
- Outputs: the results.
- Feedback: what was said about the results. A score is better the higher it is.

{instructions}
A value that breaks its constraint is not used. Code must be complete, and keep its name and arguments."""


class OptoPrime(AskingOptimizer):
    """Optimize with a language model that reads the trace (OptoPrime; Trace, arXiv 2406.16218, section 4).

    Args:
        parameters: What may be changed.
        llm: The model: an `LLM`, ``"provider:model"``, a function from messages to text, or None for the one of
            `use_llm` or else the environment (see `LLM`).
        objective: The instruction at the head of the problem.
        memory_size: Past values and their feedback that the model is shown again; 0 for none.
        max_tokens: Limit for an answer; None leaves it to the provider.
        max_prompt_tokens: Tokens that the prompt may have, by an estimate that is rather too high (see
            `estimate_tokens`). What is left out of a trace that is too long is said in the prompt and in the record.
        show_sources: Show the model the source of functions that are called, where it is short and there is room.
        answer_format: ``tags`` (code and prose stand as they are), ``json``, or ``tool``: the call of a tool, and
            ``json`` where the provider refuses tools. Answers are read in any of them.
        propagator: How feedback passes a node.
        run: Folder that keeps every step: prompt, reply, what came of it, and its cost.
        max_failures: How many steps in a row may fail: the last of them raises.
        keep_best: Go back to the best values so far after a step that did worse (see `Optimizer`).
        max_repairs: How often an answer that cannot be read or used is sent back, with the reasons, within one step.
        trace_settings: Settings of Trace that mean nothing here: its sections, its JSON and its log. They are taken
            so that its programs run.

    Raises:
        AuthenticationError: No model is given, and the environment names none.

    Example:
        >>> from opto.llm import ScriptedLLM
        >>> from opto.nodes import node
        >>> x = node(1, name="x", trainable=True)
        >>> llm = ScriptedLLM(["<variable><name>x</name><value>2</value></variable>"])
        >>> optimizer = OptoPrime([x], llm=llm)
        >>> optimizer.backward(x * 3, "The output should be 6.")
        >>> print(optimizer.step(), "to", x.data)
        step 1: updated x to 2
    """

    def __init__(
        self,
        parameters: Iterable[ParameterNode[Any]],
        llm: LLM | str | Callable[..., Any] | None = None,
        *,
        objective: str | None = None,
        memory_size: int | None = None,
        max_tokens: int | None = None,
        max_prompt_tokens: int = 16_000,
        show_sources: bool = True,
        answer_format: FormatName = "tags",
        propagator: Propagator | None = None,
        run: Run | str | os.PathLike[str] | None = None,
        max_failures: int = 3,
        keep_best: bool = False,
        max_repairs: int = 1,
        **trace_settings: Any,
    ) -> None:
        super().__init__(
            parameters,
            llm,
            objective=objective,
            memory_size=memory_size,
            max_tokens=max_tokens,
            max_prompt_tokens=max_prompt_tokens,
            answer_format=answer_format,
            propagator=propagator,
            run=run,
            max_failures=max_failures,
            keep_best=keep_best,
            max_repairs=max_repairs,
            **trace_settings,
        )
        self.show_sources = show_sources

    def prompt(self, evidence: Evidence) -> Prompt:
        problem, now = self.problem(evidence), (evidence.best or evidence).values
        asked = self.variables_for(evidence)
        tried = most_relevant(judged_before(self.records, evidence), self.memory_size, now=now, asked=asked)
        return Prompt(self.messages(problem, tried), problem.left_out)

    def problem(self, evidence: Evidence) -> Problem:
        """Return what the model is shown of *evidence*."""
        variables = self.variables_for(evidence)
        # What else is in the prompt comes first: it is short, but for the memory, which has a share of its own.
        around = [message["content"] for message in self.messages(Problem())]
        around_it = estimate_tokens("\n\n".join([*around, ", ".join(variables)]))
        left = max(self.max_prompt_tokens - around_it - _SLACK, LEAST_PROMPT // 2)
        graph = (evidence.best or evidence).graph
        return Problem.of(graph, variables, max_tokens=left, show_sources=self.show_sources)

    def summarize(self) -> Evidence:
        """Return what has arrived at the parameters, as Trace's method of that name does.

        Raises:
            OptimizerError: Nothing has arrived.
        """
        evidence, _ = self._evidence()
        if evidence is None:
            raise OptimizerError("No feedback has come.", mend="Call backward() first.")
        return evidence

    def problem_instance(self, summary: Evidence) -> Problem:
        """Return `problem`, under Trace's name; as text, it is what the model is shown."""
        return self.problem(summary)

    def messages(self, problem: Problem, tried: Sequence[Judged] = ()) -> list[Message]:
        """Return the prompt for *problem*, after *tried*. The same problem and history give the same messages."""
        parts = [
            f"# Instruction\n{self.objective}",
            problem.render(),
            render_tried(tried, self.max_prompt_tokens // 4),
            render_rejected(self.records, self.variables),
            f"What should become of {', '.join(item.name for item in problem.variables)}?",
        ]
        system = SYSTEM.format(instructions=self._format.instructions)
        return [
            {"role": "system", "content": system},
            {"role": "user", "content": "\n\n".join(part for part in parts if part)},
        ]
