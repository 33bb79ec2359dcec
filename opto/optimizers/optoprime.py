"""OptoPrime: a language model is shown the trace and the feedback, and proposes better values."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, overload

from opto.errors import OptimizerError
from opto.llm import LLM, Message, estimate_tokens
from opto.nodes import Feedback, ParameterNode, Propagator
from opto.optimizers.asking import LEAST_PROMPT, AskingOptimizer, Prompt
from opto.optimizers.function_feedback import FunctionFeedback, node_to_function_feedback
from opto.optimizers.prompts import (
    SECTIONS,
    Judged,
    Problem,
    ShownProblem,
    Variable,
    judged_before,
    masked,
    most_relevant,
    render_tried,
)
from opto.optimizers.proposal import Evidence
from opto.optimizers.suggestion import FormatName, Suggestion
from opto.runs import Run, StepRecord

__all__ = ["FunctionFeedback", "OptoPrime", "node_to_function_feedback"]

#: For rounding, where parts are counted one by one.
_SLACK = 10


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
            ``json`` where the provider refuses tools. ``auto``: tools for numbers and options where the model is known
            to call them, else tags. Answers are read in any of them.
        propagator: How feedback passes a node.
        run: Folder that keeps every step: prompt, reply, what came of it, and its cost.
        max_failures: How many steps in a row may fail: the last of them raises.
        keep_best: Go back to the best values so far after a step that did worse (see `Optimizer`).
        max_repairs: How often an answer that cannot be read or used is sent back, with the reasons, within one step.
        system_prompt: A text of your own, with slots in braces, such as ``{answer_format}`` (see `slots`); "" for none.
        user_prompt: The same for what the model is told as the user, such as ``{objective}`` and ``{problem}``.
        context: What to say beside a variable: a text by parameter, or by name.
        problem_context: What to say about the whole problem.
        include_example: Show an example of a problem and an answer to it.
        highlight_variables: Name the variables at the end of the prompt.
        log: False to have no ``log`` and no ``summary_log``, as in Trace.
        trace_settings: Settings of Trace that mean nothing here, such as its JSON. They are taken so that its programs
            run.

    Raises:
        AuthenticationError: No model is given, and the environment names none.
        OptimizerError: A setting makes no sense: the message names it.

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

    default_system_prompt = """\
You improve a program by changing its variables. You see a run of it, with short results behind the calls. Higher \
scores are better.

{answer_format}
Values that are not what their line says are not used. Code must be whole and keep its signature.

# Example
{example}"""
    default_user_prompt = """\
# Instruction
{objective}

# Context
{context}

{problem}

# Tried before, with the feedback it got
{tried}

# Rejected in the step before
{rejected}

{request}"""
    slots = (
        *("objective", "context", "problem", *SECTIONS, "tried", "rejected"),
        *("request", "answer_format", "example"),
    )
    sections = ("objective", "context", *SECTIONS, "constraints", "tried", "rejected")
    required_slots = (("variables", "problem"), ("feedback", "problem"), ("answer_format",))
    #: Characters of a value that is not to be changed, of which no more are shown in any case.
    longest_value = 4_000
    #: How a value becomes a text of at most so many characters; None for its head and its tail.
    shorten: Callable[[Any, int], str] | None = None

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
        answer_format: FormatName = "auto",
        propagator: Propagator | None = None,
        run: Run | str | os.PathLike[str] | None = None,
        max_failures: int = 3,
        keep_best: bool = False,
        max_repairs: int = 1,
        system_prompt: str | None = None,
        user_prompt: str | None = None,
        context: Mapping[ParameterNode[Any] | str, str] | None = None,
        problem_context: str | None = None,
        include_example: bool = False,
        highlight_variables: bool = True,
        log: bool = True,
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
            system_prompt=system_prompt,
            user_prompt=user_prompt,
            context=context,
            problem_context=problem_context,
            include_example=include_example,
            highlight_variables=highlight_variables,
            log=log,
            **trace_settings,
        )
        self.show_sources = show_sources

    def prompt(self, evidence: Evidence) -> Prompt:
        tried = self._tried(evidence)
        problem = self._fitting(evidence, tried)
        return Prompt(self.messages(problem, tried), problem.left_out)

    def problem(self, evidence: Evidence) -> Problem:
        """Return what the model is shown of *evidence*."""
        return self._fitting(evidence, self._tried(evidence))

    def _tried(self, evidence: Evidence) -> list[Judged]:
        now = self.recorded((evidence.best or evidence).values)
        judged = judged_before(self.records, evidence, self.recorded)
        return most_relevant(judged, self.memory_size, now=now, asked=self.variables_for(evidence))

    def _fitting(self, evidence: Evidence, tried: Sequence[Judged]) -> Problem:
        """Return the problem for which there is room beside *tried* and all else."""
        variables = self.variables_for(evidence)

        def prompt(problem: Problem) -> str:
            return "\n\n".join(message["content"] for message in self.messages(problem, tried))

        around = estimate_tokens("\n\n".join([prompt(Problem()), ", ".join(variables)]))
        # However much else there is, something of the problem must be shown.
        return self._within(evidence, max(self.max_prompt_tokens - _SLACK, around + LEAST_PROMPT // 2), prompt)

    def _within(self, evidence: Evidence, max_tokens: int, render: Callable[[Problem], str] | None = None) -> Problem:
        """Return the problem of *evidence*, which *render* makes a text of at most so many tokens."""
        return Problem.of(
            (evidence.best or evidence).graph,
            self.variables_for(evidence),
            max_tokens=max_tokens,
            show_sources=self.show_sources,
            context=self.context,
            longest_value=self.longest_value,
            shorten=self.shorten,
            render=render,
        )

    def summarize(self) -> Evidence:
        """Return what has arrived at the parameters, as Trace's method of that name does.

        Raises:
            OptimizerError: Nothing has arrived.
        """
        evidence, _ = self._evidence()
        if evidence is None:
            raise OptimizerError("No feedback has come.", mend="Call backward() first.")
        return evidence

    @overload
    def problem_instance(self, summary: Evidence, mask: Collection[str] | None = None) -> Problem: ...

    @overload
    def problem_instance(self, summary: StepRecord, mask: Collection[str] | None = None) -> ShownProblem: ...

    def problem_instance(
        self, summary: Evidence | StepRecord, mask: Collection[str] | None = None
    ) -> Problem | ShownProblem:
        """Return what the model is shown, as text or in sections, under Trace's name.

        Args:
            summary: From `summarize`; or from ``summary_log``, for what it was shown.
            mask: Sections to leave out, such as ``["#Code"]``.
        """
        hidden = masked(mask or (), self.sections, type(self).__name__)
        if isinstance(summary, StepRecord):
            return ShownProblem(summary, without=hidden, template=self._template.user.text)
        return self.problem(summary).without(hidden)

    def messages(self, problem: Problem, tried: Sequence[Judged] = ()) -> list[Message]:
        """Return the prompt for *problem*, after *tried*. The same problem and history give the same messages."""
        slots = self._template.slots
        names = [item.name for item in problem.variables]
        problem = problem.without(self._mask)
        parts = problem.sections() if slots.keys() & set(SECTIONS) else {}
        if "problem" in slots:
            parts["problem"] = problem.render()
        parts["tried"] = render_tried(tried, self.max_prompt_tokens // 4)
        return self.filled(names, **parts)

    def example(self) -> str:
        problem = Problem(
            code=["greet0 = greet(tone=tone, name='Ada')"],
            variables=[Variable("tone", "casual", "a text")],
            outputs={"greet0": "'hi Ada'"},
            feedback={"greet0": [Feedback("Too casual for a letter.")]},
        )
        answer = Suggestion({"tone": "formal"}, "A letter should begin formally, and greet follows the tone.")
        return f"{problem}\n\nAn answer:\n{self._format.write(answer)}"
