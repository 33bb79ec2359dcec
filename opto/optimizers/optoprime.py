"""OptoPrime: a language model is shown the trace and the feedback, and proposes better values."""

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from opto.errors import LLMError, OptimizerError, SuggestionError
from opto.llm import LLM, Message, Reply, Usage, as_llm, estimate_tokens
from opto.nodes import ParameterNode, Propagator
from opto.optimizers.function_feedback import FunctionFeedback, node_to_function_feedback
from opto.optimizers.optimizer import Optimizer
from opto.optimizers.problem import Problem, describe_feedback, render_value, summary
from opto.optimizers.proposal import Evidence, Proposal
from opto.optimizers.suggestion import FORMATS, FormatName, Suggestion, read_answer
from opto.runs import Rejection, Run, StepRecord, as_json

__all__ = ["FunctionFeedback", "OptoPrime", "node_to_function_feedback"]

#: Below this many tokens, a prompt has no room for a problem.
_LEAST_PROMPT = 1_000
#: For rounding, where parts are counted one by one.
_SLACK = 10
#: What was said about more outputs than this is summed up when it is shown again.
_MOST_FEEDBACK = 5
OBJECTIVE = "Change the values of the variables so that the outputs improve, as judged by the feedback."

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


#: What Trace's OptoPrime takes besides: see docs/compatibility.md.
_OF_TRACE = frozenset(
    {
        *("config_list", "filter_dict", "highlight_variables", "ignore_extraction_error", "include_example"),
        *("json_keys", "log", "prompt_symbols", "use_json_object_format"),
    }
)


class OptoPrime(Optimizer):
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
        answer_format: ``tags`` (code and prose stand as they are) or ``json``. Answers are read in either.
        propagator: How feedback passes a node.
        run: Folder that keeps every step: prompt, reply, what came of it, and its cost.
        max_failures: How many steps in a row may fail: the last of them raises.
        max_repairs: How often an unreadable answer is sent back, with the reason, within one step.
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

    #: What is asked for if the user does not say.
    default_objective = OBJECTIVE

    def __init__(
        self,
        parameters: Iterable[ParameterNode[Any]],
        llm: LLM | str | Callable[..., Any] | None = None,
        *,
        objective: str | None = None,
        memory_size: int = 5,
        max_tokens: int | None = None,
        max_prompt_tokens: int = 16_000,
        show_sources: bool = True,
        answer_format: FormatName = "tags",
        propagator: Propagator | None = None,
        run: Run | str | os.PathLike[str] | None = None,
        max_failures: int = 3,
        max_repairs: int = 1,
        **trace_settings: Any,
    ) -> None:
        if unknown := [name for name in trace_settings if name not in _OF_TRACE]:
            raise TypeError(f"OptoPrime() got an unexpected keyword argument {unknown[0]!r}")
        super().__init__(parameters, propagator=propagator, run=run, max_failures=max_failures)
        if answer_format not in FORMATS:
            raise OptimizerError(
                f"There is no answer format {answer_format!r}.", mend=f"Choose one of {', '.join(FORMATS)}."
            )
        if not isinstance(memory_size, int) or memory_size < 0:
            raise OptimizerError(f"memory_size is {memory_size!r}.", mend="Give a number from 0 on.")
        self.llm = as_llm(llm)
        self.objective = objective or self.default_objective
        self.memory_size = memory_size
        if not isinstance(max_prompt_tokens, int) or max_prompt_tokens < _LEAST_PROMPT:
            raise OptimizerError(
                f"max_prompt_tokens is {max_prompt_tokens!r}.", mend=f"Give a number from {_LEAST_PROMPT} on."
            )
        self.max_prompt_tokens = max_prompt_tokens
        self.show_sources = show_sources
        self._format = FORMATS[answer_format]
        self._settings = {} if max_tokens is None else {"max_tokens": max_tokens}
        self._max_repairs = max_repairs

    def problem(self, evidence: Evidence) -> Problem:
        """Return what the model is shown of *evidence*."""
        variables = self.variables_for(evidence)
        # What else is in the prompt comes first: it is short, but for the memory, which has a share of its own.
        around = [message["content"] for message in self.messages(Problem())]
        around_it = estimate_tokens("\n\n".join([*around, ", ".join(variables)]))
        left = max(self.max_prompt_tokens - around_it - _SLACK, _LEAST_PROMPT // 2)
        return Problem.of(evidence.graph, variables, max_tokens=left, show_sources=self.show_sources)

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

    def variables_for(self, evidence: Evidence) -> Mapping[str, ParameterNode[Any]]:
        """Return the variables that the feedback is about: a model can say nothing sensible about others."""
        reached = set(evidence.graph.parameters)
        return {name: item for name, item in self.active.items() if item in reached}

    def messages(self, problem: Problem) -> list[Message]:
        """Return the prompt for *problem*. The same problem and history give the same messages."""
        # Of the last answer that there was: a step that failed has nothing to add.
        before = next((record.rejected for record in reversed(self.records) if record.reply), [])
        parts = [
            f"# Instruction\n{self.objective}",
            problem.render(),
            _render_memory(self._memory(), self.max_prompt_tokens // 4),
            _render_rejected(before),
            f"What should become of {', '.join(item.name for item in problem.variables)}?",
        ]
        system = SYSTEM.format(instructions=self._format.instructions)
        return [
            {"role": "system", "content": system},
            {"role": "user", "content": "\n\n".join(part for part in parts if part)},
        ]

    def _memory(self) -> Sequence[StepRecord]:
        """Return the past steps worth showing: the latest, and always the best."""
        if not self.memory_size:
            return []
        # Once each, and not what is judged right now: steps that changed nothing have nothing new to tell.
        now = {name: as_json(value) for name, value in self.values().items()}
        told = {
            repr((record.before, record.feedback)): record
            for record in self.records
            if record.feedback and record.before != now
        }
        judged = list(told.values())
        recent = judged[-self.memory_size :]
        best = self.best()
        if best is not None:
            # The step under way is judged, but has no record yet.
            found = [record for record in judged if record.step == best.step and record not in recent]
            recent = [*found, *recent[len(found) :]] if len(recent) == self.memory_size else [*found, *recent]
        return recent

    def _propose(self, evidence: Evidence) -> Proposal:
        problem = self.problem(evidence)
        proposal = Proposal(messages=self.messages(problem), left_out=problem.left_out)
        for _ in range(self._max_repairs + 1):
            proposal = self._ask(proposal)
            if not isinstance(proposal.error, SuggestionError):
                break
        return proposal

    def _ask(self, before: Proposal) -> Proposal:
        """Ask the model, once more if *before* holds an answer that could not be read."""
        messages = list(before.messages)
        if before.error is not None:
            messages.append({"role": "assistant", "content": before.reply})
            messages.append({"role": "user", "content": f"That answer cannot be used. {before.error}"})
        # For the record, should a function in place of a model raise what it likes.
        self._in_progress = replace(before, messages=messages, model=self.llm.model)
        try:
            reply = self.llm(messages, **self._settings)
        except LLMError as error:
            return replace(before, messages=messages, model=self.llm.model, error=error)
        asked = replace(
            before, model=reply.model, messages=messages, reply=reply.text, usage=_total(before.usage, reply.usage)
        )
        try:
            return replace(asked, suggestion=self._read(reply), error=None)
        except SuggestionError as error:
            return replace(asked, error=error)

    def _read(self, reply: Reply) -> Suggestion:
        if reply.finish_reason in {"length", "max_tokens"}:  # the second in words of functions in place of a model
            # What is left of a cut answer may well read as a whole one, with half a prompt in it.
            raise SuggestionError("The answer was cut off at the limit of tokens.", mend="Give a shorter answer.")
        if reply.finish_reason == "refusal":
            raise SuggestionError("The model refused to answer.", mend="Answer with a suggestion.")
        return read_answer(reply.text)


def _total(spent: Usage | None, more: Usage | None) -> Usage | None:
    return spent + more if spent is not None and more is not None else spent or more


def _render_memory(records: Sequence[StepRecord], max_tokens: int) -> str:
    """Return *records* as text: all that there is room for, the best and the latest first of all."""
    best = max(records, key=lambda record: -math.inf if record.score is None else record.score, default=None)
    kept: dict[int, str] = {}
    for record in sorted(records, key=lambda record: (record is not best, -record.step)):
        block = _render_tried(record)
        max_tokens -= estimate_tokens(block)
        if max_tokens < 0:
            break
        kept[record.step] = block
    if not kept:
        return ""
    left_out = [f"({len(records) - len(kept)} more were tried.)"] if len(kept) < len(records) else []
    blocks = [kept[step] for step in sorted(kept)]
    return "# Tried before, with the feedback it got\n" + "\n\n".join(left_out + blocks)


def _render_tried(record: StepRecord) -> str:
    values = "\n".join(_render_past(name, value) for name, value in record.before.items())
    if len(record.feedback) > _MOST_FEEDBACK:
        return f"{values}\n-> {summary(record.feedback)}"
    several = f"mean score {record.score:g}\n" if record.score is not None and len(record.feedback) > 1 else ""
    return f"{values}\n-> {several}" + "\n".join(map(describe_feedback, record.feedback))


def _render_past(name: str, value: Any) -> str:
    if isinstance(value, str) and "\n" in value:
        return render_value("value", value, of=name)
    return f"{name} = {value!r}"


def _render_rejected(rejected: Sequence[Rejection]) -> str:
    lines = [f"{_render_past(item.name, item.suggested)}\n-> {item.reason}" for item in rejected]
    return "# Rejected in the step before\n" + "\n".join(lines) if lines else ""
