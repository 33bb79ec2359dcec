"""What optimizers have in common that ask a language model: the client, prompt and answer, asking again."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, get_args

from opto.errors import BadRequestError, ContextLengthError, LLMError, OptimizerError, SuggestionError
from opto.llm import LLM, Message, Reply, Role, Tool, Usage, as_llm, labelled
from opto.nodes import Choices, ParameterNode, Propagator
from opto.optimizers.optimizer import Optimizer
from opto.optimizers.prompts import (
    Judged,
    PromptTemplate,
    ShownProblem,
    by_name,
    describe_rejected,
    logged,
    render_rejected,
    tried_in,
)
from opto.optimizers.proposal import Evidence, Proposal
from opto.optimizers.suggestion import FORMATS, FormatName, Suggestion, read_reply
from opto.runs import Run

__all__ = ["AskingOptimizer", "Prompt", "total"]

#: Below this many tokens, a prompt has no room for a problem.
LEAST_PROMPT = 1_000
#: What programs written for Trace set besides: see docs/compatibility.md.
_OF_TRACE = frozenset(
    {
        *("config_list", "filter_dict", "ignore_extraction_error", "json_keys", "prompt_symbols"),
        "use_json_object_format",
    }
)


class Prompt(NamedTuple):
    """What a model is to be shown, and what of the trace is left out of it, in words."""

    messages: Sequence[Message]
    left_out: Sequence[str] = ()


class AskingOptimizer(Optimizer):
    """An optimizer that asks a language model. A subclass defines `prompt`, as a rule by templates and `filled`.

    Args:
        parameters: What may be changed.
        llm: The model: an `LLM`, ``"provider:model"``, a function from messages to text, or None for the one of
            `use_llm` or else the environment (see `LLM`).
        objective: The instruction at the head of the prompt.
        memory_size: Past values and their feedback that the model is shown again; 0 for none. The default is 5.
        max_tokens: Limit for an answer; None leaves it to the provider.
        max_prompt_tokens: Tokens that the prompt may have, by an estimate that is rather too high (see
            `estimate_tokens`).
        answer_format: ``tags`` (code and prose stand as they are), ``json``, or ``tool``: the call of a tool, and
            ``json`` where the provider refuses tools. ``auto``: tools for numbers and options where the model is known
            to call them, else tags. Answers are read in any of them.
        propagator: How feedback passes a node.
        run: Folder that keeps every step: prompt, reply, what came of it, and its cost.
        max_failures: How many steps in a row may fail: the last of them raises.
        keep_best: Go back to the best values so far after a step that did worse (see `Optimizer`).
        max_repairs: How often an answer that cannot be read or used is sent back, with the reasons, within one step.
        system_prompt: A text of your own, with slots (see `Template`) from ``slots``; "" for none.
        user_prompt: The same for what the model is told as the user.
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
    """

    #: What the model is asked as.
    role: ClassVar[Role] = "optimizer"
    #: The templates, if the user gives none; "" where an optimizer has none.
    default_system_prompt = ""
    default_user_prompt = ""
    #: The slots of templates; and of which groups one must be there.
    slots: Collection[str] = ()
    required_slots: Sequence[Collection[str]] = ()
    #: What is asked for if the user does not say.
    default_objective = "Change the variables so that the feedback improves."
    #: How many past values are shown if the user does not say.
    default_memory_size = 5

    def __init__(
        self,
        parameters: Iterable[ParameterNode[Any]],
        llm: LLM | str | Callable[..., Any] | None = None,
        *,
        objective: str | None = None,
        memory_size: int | None = None,
        max_tokens: int | None = None,
        max_prompt_tokens: int = 16_000,
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
        given = {"system_prompt": system_prompt, "user_prompt": user_prompt}
        own = [name for name, text in given.items() if text is not None and not self.slots]
        if unknown := [*own, *(name for name in trace_settings if name not in _OF_TRACE)]:
            raise TypeError(f"{type(self).__name__}() got an unexpected keyword argument {unknown[0]!r}")
        super().__init__(parameters, propagator=propagator, run=run, max_failures=max_failures, keep_best=keep_best)
        memory_size = self.default_memory_size if memory_size is None else memory_size
        if answer_format not in get_args(FormatName):
            raise OptimizerError(
                f"There is no answer format {answer_format!r}.",
                mend=f"Choose one of {', '.join(get_args(FormatName))}.",
            )
        for name, text in (("objective", objective), ("problem_context", problem_context)):
            if text is not None and not isinstance(text, str):
                raise OptimizerError(f"{name} is {text!r:.80}.", mend="Give a text.")
        for name, value, least in (
            ("memory_size", memory_size, 0),
            ("max_prompt_tokens", max_prompt_tokens, LEAST_PROMPT),
            ("max_repairs", max_repairs, 0),
            ("max_tokens", 1 if max_tokens is None else max_tokens, 1),
        ):
            if not isinstance(value, int) or value < least:
                raise OptimizerError(f"{name} is {value!r}.", mend=f"Give a number from {least} on.")
        self.llm = as_llm(llm, role=self.role)
        self.objective = objective or self.default_objective
        self.memory_size = memory_size
        self.max_prompt_tokens = max_prompt_tokens
        self._format = FORMATS[self._suitable_format() if answer_format == "auto" else answer_format]
        self._settings = {} if max_tokens is None else {"max_tokens": max_tokens}
        self._max_repairs = max_repairs
        self._takes_tools = True
        self._template = PromptTemplate(
            self.default_system_prompt if system_prompt is None else system_prompt,
            self.default_user_prompt if user_prompt is None else user_prompt,
            self.slots,
            required=[*self.required_slots, *([["example"]] if include_example and self.slots else [])],
        )
        self.context = by_name(context or {}, self.variables)
        self.problem_context = problem_context or ""
        self._includes_example = include_example
        self._highlights_variables = highlight_variables
        self._logs = log

    @property
    def log(self) -> list[dict[str, str]] | None:
        """What the model was shown in each of `records`, and what it answered last, as Trace keeps it."""
        return [logged(record) for record in self.records if record.messages] if self._logs else None

    @property
    def summary_log(self) -> list[dict[str, Any]] | None:
        """The problem of each of `records` as text, and the record, under the names of Trace."""
        if not self._logs:
            return None
        return [
            {"problem_instance": ShownProblem(record), "summary": record} for record in self.records if record.messages
        ]

    def example(self) -> str:
        """Return an example of a problem and an answer to it."""
        return ""

    def filled(self, asked: Iterable[str], /, **parts: str) -> list[Message]:
        """Return the prompt that asks for some variables: the templates with *parts* and what else is known."""
        names = ", ".join(asked) if self._highlights_variables else "the variables"
        values = {
            "objective": self.objective,
            "context": self.problem_context,
            "answer_format": self._format.instructions,
            "example": self.example() if self._includes_example else "",
            "rejected": render_rejected(self.records, self.variables),
            "request": f"What should become of {names}?",
            **parts,
        }
        return self._template.fill({name: text for name, text in values.items() if name not in self._mask})

    def _suitable_format(self) -> FormatName:
        # In arguments of tools, models write code and prose with escapes, and worse.
        texts = (isinstance(item._data, str) and not isinstance(item.domain, Choices) for item in self.parameters)  # noqa: SLF001 - no read of the program
        return "tool" if self.llm.takes_tools and not any(texts) else "tags"

    def prompt(self, evidence: Evidence) -> Prompt:
        """Return what to ask for *evidence*: the same evidence and history give the same prompt."""
        raise NotImplementedError(f"{type(self).__name__} must define prompt(evidence).")

    def variables_for(self, evidence: Evidence) -> Mapping[str, ParameterNode[Any]]:
        """Return the variables that the feedback is about: a model can say nothing sensible about others."""
        reached = set((evidence.best or evidence).graph.parameters)
        return {name: item for name, item in self.active.items() if item in reached}

    def _propose(self, evidence: Evidence) -> Proposal:
        prompt = self.prompt(evidence)
        return self._asked(Proposal(messages=prompt.messages, left_out=prompt.left_out), evidence)

    def _asked(
        self, proposal: Proposal, evidence: Evidence, variables: Mapping[str, ParameterNode[Any]] | None = None
    ) -> Proposal:
        """Return what the model answers to the messages of *proposal*.

        It is asked again, at most ``max_repairs`` times, about an answer that cannot be read or used.

        Args:
            proposal: What to ask.
            evidence: What it is about.
            variables: Those to ask for; all that the evidence is about if left out.
        """
        variables = self.variables_for(evidence) if variables is None else variables
        answer = self._ask(proposal, variables)
        for _ in range(self._max_repairs):
            objection = self._objection(answer, evidence)
            if not objection:
                break
            # Some providers take no empty message.
            said: Message = {"role": "assistant", "content": answer.reply if answer.reply.strip() else "(no answer)"}
            messages = [*answer.messages, said, Message(role="user", content=objection)]
            again = self._ask(replace(answer, messages=messages), variables)
            answer = self._merged(answer, again, evidence)
        return answer

    def _objection(self, answer: Proposal, evidence: Evidence) -> str:
        """Return what to say to a model about an answer that cannot be used as it is; "" if it can."""
        if isinstance(answer.error, SuggestionError):
            return f"That answer cannot be used. {answer.error}"
        if answer.error is not None:
            return ""
        found = self._check(answer.suggestion, evidence)
        if found.rejected:
            kept = f" Accepted: {', '.join(found.values)}." if found.values else ""
            return (
                f"Not all of that can be used.{kept}\n{describe_rejected(found.rejected)}\nGive other values for these."
            )
        now = evidence.best or evidence
        wanted = self.recorded({**now.values, **found.values})
        if wanted == self.recorded(now.values):
            return ""  # judged just now, whatever was said of them in other steps
        before = tried_in(self.records, wanted)
        if before is None or before.score is None or now.score is None or before.score >= now.score:
            return ""
        # Without scores, or to what did better, going back may be what the feedback asks for.
        return (
            f"These values were tried before, in step {before.step}, and did worse:\n"
            f"{Judged({}, before.feedback, before.score)}\n"
            "Suggest others, unless you expect them to do better now."
        )

    def _merged(self, first: Proposal, again: Proposal, evidence: Evidence) -> Proposal:
        """Return *again*, with what it leaves as it was in *first*."""
        if first.error is not None:
            return again
        known = self._check(first.suggestion, evidence)
        if not known.rejected and again.error is None and not again.suggestion.values:
            return again  # nothing rather than what did worse before
        new = self._check(again.suggestion, evidence)
        values = {name: raw for name, raw in known.said.items() if name not in new.said} | {**again.suggestion.values}
        reasoning = again.suggestion.reasoning or first.suggestion.reasoning
        # If asking again failed, there is the first answer still. What stays wrong will fail the next step.
        return replace(again, suggestion=Suggestion(values, reasoning), error=None)

    def _ask(self, asked: Proposal, variables: Mapping[str, ParameterNode[Any]]) -> Proposal:
        """Ask the model the messages of *asked*, which holds what was spent so far."""
        # For the record, should a function in place of a model raise what it likes.
        asked = self._in_progress = replace(asked, model=self.llm.model, suggestion=Suggestion(), error=None)
        try:
            reply = self._reply(asked.messages, self._format.tool(variables))
        except LLMError as error:
            return replace(asked, error=error)
        said = reply.text if reply.arguments is None else reply.arguments
        usage = total(asked.usage, reply.usage)
        answer = self._in_progress = replace(asked, model=reply.model, reply=said, usage=usage)
        try:
            return replace(answer, suggestion=self._read(reply, variables))
        except SuggestionError as error:
            return replace(answer, error=error)

    def _reply(self, messages: Sequence[Message], tool: Tool | None) -> Reply:
        """Return the reply of the model, without the tool if its provider takes none."""
        if tool is None or not self._takes_tools:
            return self._call(messages)
        try:
            return self._call(messages, tool=tool)
        except ContextLengthError:
            raise
        except BadRequestError:
            reply = self._call(messages)
            # Only now is it known that the tool was at fault.
            self._takes_tools = False
            return reply

    def _call(self, messages: Sequence[Message], **settings: Any) -> Reply:
        with labelled(role=self.role):
            return self.llm(messages, **self._settings, **settings)

    def _state(self) -> dict[str, Any]:
        return {"takes_tools": self._takes_tools}

    def _set_state(self, state: Mapping[str, Any]) -> None:
        self._takes_tools = bool(state["takes_tools"])

    def _read(self, reply: Reply, variables: Mapping[str, ParameterNode[Any]]) -> Suggestion:
        if reply.finish_reason in {"length", "max_tokens"}:  # the second in words of functions in place of a model
            # What is left of a cut answer may well read as a whole one, with half a prompt in it.
            raise SuggestionError("The answer was cut off at the limit of tokens.", mend="Give a shorter answer.")
        if reply.finish_reason == "refusal":
            raise SuggestionError("The model refused to answer.", mend="Answer with a suggestion.")
        return read_reply(reply, variables)


def total(spent: Usage | None, more: Usage | None) -> Usage | None:
    return spent + more if spent is not None and more is not None else spent or more
