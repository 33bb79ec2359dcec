"""OptoPrimeMulti: several candidates per step, one of which is chosen by measuring, by a model or by a vote."""

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from copy import copy
from dataclasses import replace
from inspect import iscoroutinefunction
from typing import Any

from opto.callers import user_level
from opto.errors import BadRequestError, ContextLengthError, LLMError, OptimizerError
from opto.llm import LLM, Message, Reply, Tool, as_llm, named_for
from opto.nodes import Feedback, ParameterNode, Propagator
from opto.optimizers.checks import copied, same
from opto.optimizers.multi.candidates import Drawn, Option, as_expert, distinct, fatal
from opto.optimizers.multi.choosing import Round, Score, Selected, by_selector, by_validation, by_vote, measured
from opto.optimizers.multi.judging import Judge
from opto.optimizers.multi.settings import Said, check_call, checked_number
from opto.optimizers.optoprime import OptoPrime
from opto.optimizers.prompts import Judged, Problem
from opto.optimizers.proposal import Evidence, Proposal
from opto.optimizers.suggestion import FormatName
from opto.runs import Run

__all__ = ["OptoPrimeMulti"]

Model = LLM | str | Callable[..., Any]

REFINE = """\
That is a first answer. Look for what is wrong with it and what it leaves undone, in view of the feedback, and answer \
again, better, in the same form and complete: only your new answer counts."""

ANOTHER = """\
That is one possible answer. Give another in the same form that goes about it in quite a different way, and is at \
least as good."""


class OptoPrimeMulti(OptoPrime):
    """Optimize with a language model that gives several candidates, of which one is chosen.

    Each candidate is read and checked as `OptoPrime` does it before there is a choice: what cannot be read or is
    rejected never wins, and candidates with the same values count as one. Calls that fail for a reason that may go away
    leave the choice to the others. ``step().candidates`` tells of each where it came from, what validation said of it,
    how many had the same values, and why it was chosen or not.

    Args:
        parameters: What may be changed.
        llm: The model, which also judges; the first of *llms* if left out.
        num_responses: How many candidates; by default one for each of *llms* or *experts*, else 3.
        temperature_range: The temperatures of the first and the last candidate; the others lie between. By default 0
            to 1, if nothing else makes candidates differ. A provider that refuses one is asked without.
        llms: Models that are asked for candidates in turn, in place of *llm*.
        llm_weights: How often each of *llms* is asked, in proportion; equally often if left out.
        experts: As whom the model is to answer, in turn: ``"a physician"``.
        generation: ``independent``: all are asked the same. ``refinement``: the model is shown its last answer that can
            be used, and improves on it. ``alternatives``: it is shown all of them, and is to find another.
        validate: Called with no arguments while the values of a candidate are in force; returns a score, higher is
            better (a number, or whatever `Feedback.of` reads a score from). The values are put back in any case.
        selection: Who chooses among those that can be used. ``validation``: the highest score; the default if there is
            *validate*. ``judge``: a model that is shown the problem and the candidates, and names one; the default
            otherwise. ``majority``: the most frequent values. ``last``: the last one.
        judge: The model that judges; if left out, the one that is named for this role in particular (see `use_llm`),
            else *llm*.
        selector: A function of your own that chooses: it gets the candidates, each a dict from parameter to new value,
            and returns one of them.
        allow_worse: False to keep the values in force if they score higher than what was chosen: where there is
            *validate*, they are scored as well, and so is what somebody else has chosen. True to go on regardless.
        max_workers: How many independent candidates are asked for at the same time. What comes of a step does not
            depend on which is ready first.
        objective: The instruction at the head of the problem.
        memory_size: Past values and their feedback that the model is shown again; 0 for none.
        max_tokens: Limit for an answer; None leaves it to the provider.
        max_prompt_tokens: Tokens that the prompt may have; other candidates that the model is shown come on top.
        show_sources: Show the model the source of functions that are called.
        answer_format: ``auto``, ``tags``, ``json`` or ``tool`` (see `OptoPrime`).
        propagator: How feedback passes a node.
        run: Folder that keeps every step.
        max_failures: How many steps in a row may fail: the last of them raises.
        keep_best: Go back to the best values so far after a step that did worse.
        max_repairs: How often an answer that cannot be read or used is sent back, for each candidate.
        system_prompt: A text of your own for what asks for candidates (see `OptoPrime`); the judge has its own.
        user_prompt: The same for what the model is told as the user.
        context: What to say beside a variable: a text by parameter, or by name.
        problem_context: What to say about the whole problem.
        include_example: Show an example of a problem and an answer to it.
        highlight_variables: Name the variables at the end of the prompt.
        log: False to have no ``log`` and no ``summary_log``, as in Trace.
        trace_settings: Trace's names of the above (see docs/compatibility.md), and what `OptoPrime` takes of them.

    Attributes:
        candidates: What could be used in the last step: dicts from parameter to new value.
        selected_candidate: The one that was chosen; None if none was.

    Raises:
        OptimizerError: A setting makes no sense.

    Example:
        >>> from opto.llm import ScriptedLLM
        >>> from opto.nodes import node
        >>> x = node(1, name="x", trainable=True)
        >>> llm = ScriptedLLM([f"<variable><name>x</name><value>{n}</value></variable>" for n in (5, 2, 9)])
        >>> optimizer = OptoPrimeMulti([x], llm, validate=lambda: -abs(x.data * 3 - 6))
        >>> optimizer.backward(x * 3, "The output should be 6.")
        >>> print(optimizer.step(), "to", x.data)
        step 1: updated x to 2
    """

    def __init__(
        self,
        parameters: Iterable[ParameterNode[Any]],
        llm: Model | None = None,
        *,
        num_responses: int | None = None,
        temperature_range: Sequence[float] | None = None,
        llms: Sequence[Model] | None = None,
        llm_weights: Sequence[float] | None = None,
        experts: Sequence[str] | None = None,
        generation: str | None = None,
        validate: Callable[[], Any] | None = None,
        selection: str | None = None,
        judge: Model | None = None,
        selector: Callable[..., Any] | None = None,
        allow_worse: bool = False,
        max_workers: int = 1,
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
        said = Said(num_responses, temperature_range, llms, llm_weights, experts, generation, selection)
        said, trace_settings = said.with_those_of_trace(trace_settings)
        if said.llms is not None and (isinstance(said.llms, str) or not isinstance(said.llms, Iterable)):
            raise OptimizerError(f"llms is {said.llms!r:.80}.", mend="Give a list of models, or llm= for a single one.")
        models = [as_llm(item, role="optimizer") for item in said.llms or ()]
        super().__init__(
            parameters,
            llm if llm is not None or not models else models[0],
            objective=objective,
            memory_size=memory_size,
            max_tokens=max_tokens,
            max_prompt_tokens=max_prompt_tokens,
            show_sources=show_sources,
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
        if validate is None and said.selection == "validation":
            raise OptimizerError("selection='validation' has nothing to go by.", mend="Give validate=, a function.")
        if judge is not None and (selector is not None or said.selection not in {None, "judge"}):
            raise OptimizerError("There is a judge, and something else that chooses.", mend="Leave one of them out.")
        for name, function in (("validate", validate), ("selector", selector)):
            if function is not None and (not callable(function) or iscoroutinefunction(function)):
                kind = "asynchronous" if callable(function) else repr(function)[:80]
                raise OptimizerError(f"{name} is {kind}.", mend="Give a function; it may call asyncio.run().")
        check_call("validate", validate, [], "no arguments, while the values of a candidate are in force")
        check_call("selector", selector, [[]], "one argument, the list of the candidates")
        self._sources = said.sources(models or [self.llm])
        self.num_responses = len(self._sources)
        self.max_workers = checked_number("max_workers", max_workers)
        self.candidates: list[dict[ParameterNode[Any], Any]] = []
        self.selected_candidate: dict[ParameterNode[Any], Any] | None = None
        self._generation = said.generation or "independent"
        self._selection = said.selection or ("judge" if validate is None or judge is not None else "validation")
        self._validate = validate
        self._selector = selector
        self._allow_worse = allow_worse
        named = named_for("judge") if judge is None and self._selection == "judge" else None
        self._judge = Judge(
            as_llm(judge, role="judge") if judge is not None else named or self.llm,
            max_tokens=max_tokens,
            max_prompt_tokens=max_prompt_tokens,
            answer_format=answer_format,
            max_repairs=max_repairs,
        )
        # What validation said of candidates of the last step that were not chosen.
        self._outdone: Sequence[Judged] = ()
        # What providers have refused, to ask them for it once only.
        self._refused: set[tuple[LLM, float]] = set()
        self._without_tools: set[LLM] = set()
        self._warned_of: set[LLM] = set()

    def messages(self, problem: Problem, tried: Sequence[Judged] = ()) -> list[Message]:
        """Return the prompt for *problem*, after *tried*, and after what validation spoke against in the last step."""
        return super().messages(problem, [*tried, *self._outdone[: self.memory_size]])

    def _state(self) -> dict[str, Any]:
        outdone = [{"values": dict(item.values), "said": item.feedback[0].text} for item in self._outdone]
        return {**super()._state(), "outdone": outdone}

    def _set_state(self, state: Mapping[str, Any]) -> None:
        outdone = [Judged(dict(item["values"]), [Feedback(item["said"])], None) for item in state["outdone"]]
        super()._set_state(state)
        self._outdone = outdone

    def _propose(self, evidence: Evidence) -> Proposal:
        prompt = self.prompt(evidence)
        asked = Proposal(messages=prompt.messages, left_out=prompt.left_out)
        found = Round([Drawn(number, source) for number, source in enumerate(self._sources, start=1)])
        self.candidates, self.selected_candidate = [], None
        try:
            self._draw(found.drawn, asked, evidence)
            found.options = distinct(found.drawn)
            shown = [self._by_parameter(option) for option in found.options]
            self.candidates = list(shown)
            if found.failed is None:
                preferred = self._preferred(found.options, shown, evidence)
                found.selected = found.selected._replace(usage=preferred.usage)
                found.selected = self._tested(preferred)
                self._outdone = found.outdone()
        finally:
            # Whatever goes wrong, what was paid for is told.
            proposal = self._in_progress = found.proposal(asked)
        if (chosen := found.selected.option) is not None:
            self.selected_candidate = shown[found.options.index(chosen)]
        self._warn_of_refusals(found.drawn)
        return proposal

    def _by_parameter(self, option: Option) -> dict[ParameterNode[Any], Any]:
        return {self.variables[name]: value for name, value in option.update.items()}

    def _draw(self, drawn: Sequence[Drawn], asked: Proposal, evidence: Evidence) -> None:
        """Ask for each of *drawn*; for several at the same time, if none of them needs another."""
        if self._generation == "independent" and min(self.max_workers, len(drawn)) > 1:
            with ThreadPoolExecutor(self.max_workers) as pool:
                waiting = [
                    pool.submit(copy_context().run, copy(self)._ask_for, item, asked, evidence)  # noqa: SLF001 - of this class
                    for item in drawn
                ]
                try:
                    for future in waiting:  # in their order, and not in that in which they get ready
                        future.result()
                finally:
                    pool.shutdown(cancel_futures=True)
            return
        for item in drawn:
            before = [other for other in drawn if other.usable]
            # In all but whom it asks, and how, an optimizer like this one.
            copy(self)._ask_for(item, self._continued(asked, item, before), evidence)  # noqa: SLF001 - of this class
            if fatal([item]) is not None:
                break

    def _continued(self, asked: Proposal, item: Drawn, before: Sequence[Drawn]) -> Proposal:
        """Return *asked*, with those of the candidates *before* that the model is to see."""
        if not before or self._generation == "independent":
            return asked
        refines = self._generation == "refinement"
        shown = before[-1:] if refines else before
        numbers = " and ".join(str(other.number) for other in shown)
        item.basis = f"{'improves on' if refines else 'other than'} {numbers}"
        messages = list(asked.messages)
        for other in shown:
            messages.append({"role": "assistant", "content": other.answer(self._format)})
            messages.append({"role": "user", "content": REFINE if refines else ANOTHER})
        return replace(asked, messages=messages)

    def _ask_for(self, item: Drawn, asked: Proposal, evidence: Evidence) -> None:
        """Ask for a candidate, and check it. This changes the optimizer: it is for a copy that is used once."""
        source = item.source
        self.llm = source.llm
        self._takes_tools = source.llm not in self._without_tools
        settings: dict[str, Any] = dict(self._settings)
        if source.temperature is not None:
            settings["temperature"] = source.temperature
        if self._generation == "independent":
            # Which of several alike this is, for cassettes: they come in any order. Steps are counted as this optimizer
            # has taken them, so that a program that runs again in the folder of its run asks for the same.
            settings["rollout"] = len(self.records) * len(self._sources) + item.number - 1
        self._settings = settings
        messages = as_expert(asked.messages, source.expert)
        item.shown = len(messages)
        try:
            item.proposal = self._asked(replace(asked, messages=messages), evidence)
            item.checked = self._check(item.proposal.suggestion, evidence)
            now = self.values()
            item.update = {name: value for name, value in item.checked.values.items() if not same(value, now[name])}
            item.recorded = self.recorded(item.update)
            item.finished = True
        finally:
            item.proposal = item.proposal or self._in_progress
            item.refused = (source.llm, source.temperature) in self._refused
            if not self._takes_tools:
                self._without_tools.add(source.llm)

    def _reply(self, messages: Sequence[Message], tool: Tool | None) -> Reply:
        """Return the reply of the model, without a temperature if its provider takes none, or not this one."""
        temperature = self._settings.get("temperature")
        if temperature is None:
            return super()._reply(messages, tool)
        known = (self.llm, temperature)
        if known not in self._refused:
            try:
                reply = super()._reply(messages, tool)
            except ContextLengthError:
                raise
            except BadRequestError:
                reply = self._without_temperature(messages, tool)
                # Only now is it known that the temperature was at fault.
                self._refused.add(known)
                return reply
            if "temperature" in reply.left_out:  # the client has asked without it itself
                self._refused.add(known)
            return reply
        return self._without_temperature(messages, tool)

    def _without_temperature(self, messages: Sequence[Message], tool: Tool | None) -> Reply:
        self._settings = {name: value for name, value in self._settings.items() if name != "temperature"}
        return super()._reply(messages, tool)

    def _warn_of_refusals(self, drawn: Sequence[Drawn]) -> None:
        """Say, once for each model, that candidates were asked for without the temperature that they were to have."""
        for item in drawn:
            if item.refused and item.source.llm not in self._warned_of:
                self._warned_of.add(item.source.llm)
                model, temperature = item.source.llm.model, item.source.temperature
                warnings.warn(
                    f"{model} refuses the temperature {temperature:g}: it is asked without.",
                    stacklevel=user_level(),
                )

    def _preferred(
        self, options: Sequence[Option], shown: Sequence[Mapping[ParameterNode[Any], Any]], evidence: Evidence
    ) -> Selected:
        """Choose among *options*, of which there is one at least."""
        if self._selector is not None:
            return by_selector(options, shown, self._selector)
        if self._selection == "validation":
            return by_validation(options, self._measured, allow_worse=self._allow_worse)
        if self._selection == "majority" or len(options) == 1:
            return by_vote(options)
        if self._selection == "last":
            latest = max(options, key=lambda option: option.members[-1].number)
            return Selected(latest, "It is the last that can be used.")
        return self._by_judge(options, evidence)

    def _tested(self, preferred: Selected) -> Selected:
        """Return what was chosen, unless validation, where there is one, was not asked and speaks against it."""
        option = preferred.option
        if self._validate is None or option is None or option.score is not None or not option.update:
            return preferred
        tested = by_validation([option], self._measured, allow_worse=self._allow_worse)
        return tested._replace(why=f"{preferred.why} {tested.why}", usage=preferred.usage)

    def _measured(self, update: Mapping[str, Any]) -> Score:
        """Return what validation says of the values in force, with *update* in place of some."""
        assert self._validate is not None
        # Of copies: a program that changes values in place changes none that it is given later.
        with self._in_force({name: copied(value) for name, value in {**self.values(), **update}.items()}):
            return measured(self._validate)

    def _by_judge(self, options: Sequence[Option], evidence: Evidence) -> Selected:
        """Let a model choose; go by votes if it cannot."""
        variables = self.variables_for(evidence)
        # Programs change them between steps.
        self._judge.objective, self._judge.problem_context = self.objective, self.problem_context
        answer = self._judge.choose(
            options, variables, evidence, lambda most: self._within(evidence, most).without(self._mask)
        )
        if (failure := answer.error) is None:
            number = answer.suggestion.values["choice"]
            chosen = next(option for option in options if option.number == number)
            return Selected(chosen, f"The judge chose it. {answer.suggestion.reasoning}".rstrip(), usage=answer.usage)
        if isinstance(failure, LLMError) and not failure.transient:
            return Selected(None, "The judge could not be asked.", failure, usage=answer.usage)
        voted = by_vote(options)
        why = f"The judge chose none ({type(failure).__name__}: {failure}) By votes: {voted.why}"
        return voted._replace(why=why, usage=answer.usage)
