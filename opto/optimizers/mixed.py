"""`Mixed`: parameters of different kinds, each with an optimizer that suits it, in one step."""

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal

from opto.errors import DomainError, ExecutionError, OptimizerError
from opto.nodes import Node, ParameterNode, Propagator, TraceGraph
from opto.optimizers.acceptance import Checked
from opto.optimizers.asking import total
from opto.optimizers.checks import same, score_of
from opto.optimizers.credit import Credit, Credits, reach
from opto.optimizers.draft import Draft
from opto.optimizers.groups import groups_of, not_taken
from opto.optimizers.optimizer import Optimizer
from opto.optimizers.prompts import by_name
from opto.optimizers.proposal import Evidence, Proposal
from opto.optimizers.search import ScoreSearch
from opto.optimizers.state import read_values, write_values
from opto.optimizers.step import Step
from opto.optimizers.suggestion import Suggestion
from opto.runs import Outcome, Run

__all__ = ["Mixed"]

Order = Literal["joint", "round_robin", "credit"]
_MEASURED = "The function given to measure()"
_ORDERS: tuple[Order, ...] = ("joint", "round_robin", "credit")


class Mixed(Optimizer):
    """Several optimizers as one: each has its parameters, and they take one step together, with one record.

    Args:
        parameters: Parameters, to each of which a fitting optimizer is given: options, bools, and numbers with both
            ends of a range go to `Sampler` (`LocalSearch` where Optuna is not installed), all else to `OptoPrime`. Or
            groups as in PyTorch: dicts with ``params``, an ``optimizer`` (a class, or any function that makes an
            optimizer of parameters; the fitting ones if it is left out), and settings for it.
        order: Which parameters change in a step: ``joint``, all; ``round_robin``, one after the other; ``credit``, the
            one that most feedback reaches and that has made the most difference so far (see `Credit`).
        propagator: How feedback passes a node.
        run: Folder that keeps every step.
        max_failures: How many steps in a row may fail: the last of them raises.
        keep_best: Go back to the best values so far after a step that did worse (see `Optimizer`).
        settings: For all groups whose optimizers take them and that set nothing else: ``llm``, ``objective``, ``seed``
            …

    Attributes:
        optimizers: Those of the groups, in their order. They propose; their own ``step`` is not for use.

    Raises:
        OptimizerError: A group cannot be used, or a parameter is in two of them.
        TypeError: No optimizer of any group takes one of the *settings*.

    Example:
        >>> from opto.llm import ScriptedLLM
        >>> from opto.nodes import Range, node
        >>> from opto.optimizers import LocalSearch
        >>> words = node("Answer.", name="words", trainable=True)
        >>> limit = node(5, name="limit", trainable=True, domain=Range(1, 9))
        >>> llm = ScriptedLLM(["<variable><name>words</name><value>Answer briefly.</value></variable>"])
        >>> groups = [{"params": [words]}, {"params": [limit], "optimizer": LocalSearch}]
        >>> optimizer = Mixed(groups, llm=llm, seed=1)
        >>> optimizer.backward(words * limit, (0.5, "Too long."))
        >>> print(optimizer.step())
        step 1 (score 0.5): updated words, limit
    """

    def __init__(
        self,
        parameters: Iterable[ParameterNode[Any] | Mapping[str, Any]] | Mapping[str, ParameterNode[Any]],
        *,
        order: Order = "joint",
        propagator: Propagator | None = None,
        run: Run | str | os.PathLike[str] | None = None,
        max_failures: int = 3,
        keep_best: bool = False,
        **settings: Any,
    ) -> None:
        if order not in _ORDERS:
            raise OptimizerError(f"There is no order {order!r}.", mend=f"Choose one of {', '.join(_ORDERS)}.")
        if isinstance(parameters, Iterable) and not isinstance(parameters, Mapping | Node | str):
            parameters = list(parameters)
        groups = groups_of(parameters)
        given: Any = parameters  # in the order of the user, unless they are in groups
        if isinstance(given, list) and isinstance(given[0], Mapping):
            given = [item for group in groups for item in group.parameters]
        super().__init__(given, propagator=propagator, run=run, max_failures=max_failures, keep_best=keep_best)
        names = {item: name for name, item in self.variables.items()}
        if unused := [name for name in settings if not any(group.takes(name) for group in groups)]:
            raise not_taken("Mixed()", unused, groups, _own_settings())
        if "context" in settings:
            settings["context"] = by_name(settings["context"], self.variables)
        self.optimizers = [group.made(names, settings) for group in groups]
        for optimizer in self.optimizers:
            # What one of them is told of the past is what happened to all.
            optimizer.records = self.records
            optimizer._recorded = self.variables  # noqa: SLF001 - of the same family
        self.sections = list(dict.fromkeys(name for optimizer in self.optimizers for name in optimizer.sections))
        self.order = order
        self._credits = Credits(self.variables)
        self._turn = ""
        self._replaced: dict[str, Any] = {}  # what was in force before the last step, of what it changed
        self._scored: tuple[float, Mapping[str, Any]] | None = None  # the last score, and the values that led to it

    def credit(self) -> dict[str, Credit]:
        """Return what is known of each variable's part in the score."""
        return {name: self._credits[name] for name in self.variables}

    def measure(self, run: Callable[[], Any]) -> dict[str, float]:
        """Return what each change of the last step is worth: the score with it, minus the score without it.

        Runs the program once as it is, and once for each variable that was changed, with the value from before. With
        operators that have ``memo=True``, only what depends on that variable runs again. The values in force are the
        same before and after. What is found counts as credit.

        Args:
            run: Runs the program with the values in force, and returns the score, or feedback that has one.

        Raises:
            OptimizerError: Nothing that the last step changed is in force, or what *run* returns has no score.

        Example:
            >>> from opto.nodes import Range, node
            >>> x, y = (node(5, name=name, trainable=True, domain=Range(0, 9)) for name in "xy")
            >>> optimizer = Mixed([x, y], seed=1)
            >>> optimizer.backward(x - y, 0.0)
            >>> step = optimizer.step()
            >>> worth = optimizer.measure(lambda: 10 * x.data + 0 * y.data)
            >>> worth["x"] == 10 * (x.data - 5), worth["y"]
            (True, 0.0)
        """
        now = self.values()
        replaced = {
            name: value
            for name, value in self._replaced.items()
            if self.variables[name].trainable and not same(value, now[name])
        }
        if not replaced:
            raise OptimizerError(
                "Nothing that the last step changed is in force.", mend="Measure after a step that changed something."
            )
        score = score_of(run(), _MEASURED)
        worth = {}
        for name, value in replaced.items():
            with self._in_force({name: value}):
                worth[name] = score - score_of(run(), _MEASURED)
            self._credits.observe([name], worth[name])
        return worth

    def backward(self, output: Any, feedback: Any = "", **settings: Any) -> Any:
        search = next((item for item in self.optimizers if isinstance(item, ScoreSearch)), None)
        if search is not None:
            # As in a search alone, what failed has the worst score. Words alone may be about what is not searched.
            try:
                feedback = search.with_scores(output, feedback)
            except OptimizerError:
                if (found := self._needs_score(output)) is not None:
                    found.with_scores(output, feedback)
                feedback = search.with_scores(output, feedback, refuse=False)
        return super().backward(output, feedback, **settings)

    def _needs_score(self, output: Any) -> ScoreSearch | None:
        """Return a search that feedback on *output* reaches, if it reaches nothing else that can use it."""
        if all(isinstance(item, ScoreSearch) for item in self.optimizers):
            reached = set(self.parameters)
        else:
            outputs = output if isinstance(output, list | tuple) else [output]
            outputs = [item.exception_node if isinstance(item, ExecutionError) else item for item in outputs]
            if not outputs or not all(isinstance(item, Node) for item in outputs):
                return None  # which is refused
            reached = set(TraceGraph(outputs).parameters)
        users = [item for item in self.optimizers if reached.intersection(item.active.values())]
        searches = [item for item in users if isinstance(item, ScoreSearch)]
        return searches[0] if searches and len(searches) == len(users) else None

    def _considered(self, evidence: Evidence) -> tuple[Proposal, Checked]:
        self._observe(evidence)
        open_to_change = self._open(evidence)
        parts: list[Proposal] = []
        found = Checked({}, [], {})
        for optimizer in self.optimizers:
            names = open_to_change.intersection(optimizer.variables)
            if not names:
                continue
            optimizer._mask = self._mask  # noqa: SLF001 - of the same family
            with optimizer.only(names):
                try:
                    proposal, part = optimizer._considered(evidence)  # noqa: SLF001 - as above
                finally:
                    self._in_progress = _together([*parts, optimizer._in_progress])  # noqa: SLF001 - as above
            parts.append(proposal)
            if proposal.error is not None:
                break  # none of them counts: all together or none
            found = Checked(
                {**found.values, **part.values}, [*found.rejected, *part.rejected], {**found.said, **part.said}
            )
        proposal = _together(parts)
        if self.order != "joint":
            why = "; ".join(f"{name}: {self._credits[name]}" for name in sorted(open_to_change))
            reasoning = "\n".join(filter(None, [f"The turn of {why}.", proposal.suggestion.reasoning]))
            proposal = replace(proposal, suggestion=Suggestion(proposal.suggestion.values, reasoning))
        return proposal, found

    def _observe(self, evidence: Evidence) -> None:
        """Learn from what differs between the values judged now and those judged before."""
        graph = (evidence.best or evidence).graph
        self._credits.reach = reach(graph, self.variables)
        if self._scored is not None and evidence.score is not None:
            score, values = self._scored
            # By whomever they were changed: a step, `update`, or `restore`.
            changed = [name for name, value in evidence.values.items() if not same(value, values[name])]
            self._credits.observe(changed, evidence.score - score)

    def _open(self, evidence: Evidence) -> set[str]:
        """Return what may be changed in this step: of what feedback reaches, all or one."""
        reached = set((evidence.best or evidence).graph.parameters)
        names = [name for name, item in self.active.items() if item in reached]
        if self.order == "joint" or not names:
            return set(names)
        if self.order == "credit":
            return {self._credits.next_of(names)}
        every = list(self.variables)
        start = every.index(self._turn) + 1 if self._turn else 0
        self._turn = next(name for name in [*every[start:], *every[:start]] if name in names)
        return {self._turn}

    def _state(self) -> dict[str, Any]:
        return {
            "turn": self._turn,
            "effects": self._credits.seen,
            "replaced": write_values(self._replaced, self.variables),
            "scored": self._scored and [self._scored[0], write_values(self._scored[1], self.variables)],
            "kinds": [type(optimizer).__name__ for optimizer in self.optimizers],
            "optimizers": [optimizer._state() for optimizer in self.optimizers],  # noqa: SLF001 - of the same family
        }

    def _set_state(self, state: Mapping[str, Any]) -> None:
        if (kinds := [type(optimizer).__name__ for optimizer in self.optimizers]) != state["kinds"]:
            raise OptimizerError(
                f"This is the state of groups of {', '.join(state['kinds'])}, and here are {', '.join(kinds)}.",
                mend='Make the same groups, each with its "optimizer"; which search is the default depends on Optuna.',
            )
        turn, replaced = state["turn"], read_values(state["replaced"], self.variables)
        scored = state["scored"] and (state["scored"][0], read_values(state["scored"][1], self.variables))
        parts = list(zip(self.optimizers, state["optimizers"], strict=True))
        before = [optimizer._state() for optimizer in self.optimizers]  # noqa: SLF001 - of the same family
        credits_before, self._credits.seen = self._credits.seen, state["effects"]
        try:
            for optimizer, own in parts:
                optimizer._set_state(own)  # noqa: SLF001 - as above
        except (OptimizerError, DomainError, KeyError, TypeError, ValueError, AttributeError):
            # All of them or none: those that came before the one that failed as well.
            self._credits.seen = credits_before
            for optimizer, own in zip(self.optimizers, before, strict=True):
                optimizer._set_state(own)  # noqa: SLF001 - as above
            raise
        self._turn, self._replaced, self._scored = turn, replaced, scored

    def _finish(
        self, draft: Draft, outcome: Outcome, reason: str, update: Mapping[str, Any] = MappingProxyType({})
    ) -> Step:
        step = super()._finish(draft, outcome, reason, update)
        if not draft.bypassing:
            self._replaced = {name: draft.before[name] for name in update}
        if step.record.score is not None:
            self._scored = step.record.score, dict(draft.before)
        return step

    def update(self, values: Mapping[ParameterNode[Any], Any]) -> None:
        before = self.values()
        super().update(values)
        self._replaced = {name: before[name] for name, value in self.values().items() if not same(value, before[name])}


def _together(proposals: Sequence[Proposal]) -> Proposal:
    """Return one proposal that tells of all."""
    messages: list[Any] = []
    for position, item in enumerate(proposals):
        messages += item.messages
        if item.reply and any(later.messages for later in proposals[position + 1 :]):
            messages.append({"role": "assistant", "content": item.reply})
    usage = None
    for item in proposals:
        usage = total(usage, item.usage)
    suggestions = [item.suggestion for item in proposals]
    return Proposal(
        suggestion=Suggestion(
            {name: value for item in suggestions for name, value in item.values.items()},
            "\n".join(item.reasoning for item in suggestions if item.reasoning),
        ),
        error=next((item.error for item in proposals if item.error is not None), None),
        model=", ".join(dict.fromkeys(item.model for item in proposals if item.model)) or None,
        messages=messages,
        reply=next((item.reply for item in reversed(proposals) if item.reply), ""),
        usage=usage,
        left_out=[text for item in proposals for text in item.left_out],
        reason=" ".join(item.reason for item in proposals if item.reason),
        candidates=[candidate for item in proposals for candidate in item.candidates],
    )


def _own_settings() -> list[str]:
    arguments = inspect.signature(Mixed).parameters.values()
    return [item.name for item in arguments if item.kind is item.KEYWORD_ONLY]
