"""The problem: a trace graph made readable, within a budget of tokens. Building and writing it are pure."""

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from opto.llm import estimate_tokens
from opto.nodes import Feedback, Operator, ParameterNode, TraceGraph, canonical_names, write_call, write_constant
from opto.optimizers.selection import by_importance
from opto.optimizers.suggestion import as_cdata

__all__ = ["Problem", "Variable", "cut_middle", "describe_feedback", "describe_variables", "render_value", "summary"]


@dataclass(frozen=True)
class Variable:
    """A parameter as the optimizer shows it.

    Attributes:
        name: Its name in the problem.
        value: Its value as text, in the form in which a suggestion may give it back.
        constraint: What it must be, in words.
        description: What it means, in words; "" if the user did not say.
    """

    name: str
    value: str
    constraint: str
    description: str = ""


@dataclass(frozen=True)
class Problem:
    """What an optimizer is shown: how outputs came about, and what was said about them.

    Sections are those of OptoPrime (Trace, arXiv 2406.16218, section 4), with calls written as plain Python.

    Attributes:
        code: One line per recorded call, in the order in which they ran, and where some are left out, how many.
        documentation: What each operator does, by name; several texts if several operators share the name.
        sources: The source of functions of the user's own, by name. Documentation that stands in it is not repeated.
        variables: The parameters that may be changed.
        inputs: Values that are given, by name.
        others: Values in between, by name.
        outputs: Results that were judged, by name.
        feedback: What was said about each output, by name of the output.
        left_out: What is not shown, in words; empty if all is.
    """

    code: Sequence[str] = ()
    documentation: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sources: Mapping[str, Sequence[str]] = field(default_factory=dict)
    variables: Sequence[Variable] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    feedback: Mapping[str, Sequence[Feedback]] = field(default_factory=dict)
    left_out: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        graph: TraceGraph,
        variables: Mapping[str, ParameterNode[Any]],
        *,
        max_tokens: int = 16_000,
        count: Callable[[str], int] = estimate_tokens,
        show_sources: bool = True,
    ) -> "Problem":
        """Return the problem of changing *variables* (by name), as *graph* shows it, in at most *max_tokens*.

        What is long is cut in the middle first; then calls are left out, from those that matter least (see
        `by_importance`). The variables, one output with its feedback, and the ends of a path between them always stay,
        even if they take more.

        Args:
            graph: What led to the outputs, with the feedback.
            variables: The parameters that may be changed.
            max_tokens: Tokens that the text may have.
            count: Returns the number of tokens of a text.
            show_sources: Show the source of functions that are called, if it is short and all of the graph fits.

        Example:
            >>> from opto.nodes import node
            >>> price = node(3, name="price", trainable=True)
            >>> problem = Problem.of(TraceGraph([price * 2], [Feedback("too dear")]), {"price": price})
            >>> problem.code, dict(problem.outputs)
            (['multiply0 = price * 2'], {'multiply0': '6'})
        """
        order = by_importance(graph, set(variables.values()))
        names = canonical_names(graph.nodes, variables)
        longest = _VALUE_LENGTHS[0]
        for max_value, with_sources in ((longest, show_sources), *((length, False) for length in _VALUE_LENGTHS)):
            writer = _Writer(graph, variables, names, max_value, with_sources=with_sources)
            shown = writer.fitting(order, max_tokens, count)
            if len(shown) == len(order):
                break
        problem = writer.problem(shown)
        # What says that something is left out takes room as well.
        while len(shown) > 1 and (spent := count(problem.render())) > max_tokens:
            shown = shown[: max(min(len(shown) - 1, len(shown) * max_tokens // spent), 1)]
            problem = writer.problem(shown)
        return problem

    def __str__(self) -> str:
        return self.render()

    def render(self) -> str:
        """Return the problem as text: the same problem gives the same text.

        Sections that have nothing to say are left out. Feedback stands behind the output that it is about.
        """
        several = len(self.outputs) > 1
        sections = {
            "Code": "\n".join(self.code),
            "Documentation": "\n".join(
                f"[{name}] {text}" for name, texts in self.documentation.items() for text in texts
            ),
            "Source": "\n".join(
                render_value("code", text, of=name) for name, texts in self.sources.items() for text in texts
            ),
            "Variables": "\n".join(map(_render_variable, self.variables)),
            "Inputs": _render_values(self.inputs),
            "Others": _render_values(self.others),
            "Outputs": "" if several else _render_values(self.outputs),
            "Outputs, each with its feedback": self._render_judged() if several else "",
            "Feedback": ""
            if several
            else "\n".join(describe_feedback(said) for items in self.feedback.values() for said in items),
            "Left out, because it would be too long": "\n".join(self.left_out),
        }
        return "\n\n".join(f"# {title}\n{text}" for title, text in sections.items() if text)

    def _render_judged(self) -> str:
        return "\n".join(
            "\n".join(
                [
                    _render_values({name: text}),
                    *(f"-> {describe_feedback(said)}" for said in self.feedback.get(name, ())),
                ]
            )
            for name, text in self.outputs.items()
        )


by_birth = attrgetter("birth")
#: Characters of a value that is not to be changed, from generous to scarce.
_VALUE_LENGTHS = (4_000, 1_000, 250, 80)


class _Writer:
    """Writes one graph as a problem, with values of at most *max_value* characters."""

    def __init__(
        self,
        graph: TraceGraph,
        variables: Mapping[str, ParameterNode[Any]],
        names: Mapping[Any, str],
        max_value: int,
        *,
        with_sources: bool,
    ) -> None:
        self.with_sources = with_sources
        self.texts: dict[Operator, str | None] = {}
        self.graph = graph
        self.variables = variables
        self.names = names
        self.max_value = max_value
        self.taken = set(names.values())
        self.constants: dict[str, str] = {}  # names of long plain inputs, by how they are written in full
        self.long_constants: dict[str, str] = {}
        self.said: dict[Any, list[Feedback]] = {}
        for output, feedback in zip(graph.outputs, graph.feedback, strict=True):
            self.said.setdefault(output, []).append(feedback)

    def fitting(self, order: Sequence[Any], max_tokens: int, count: Callable[[str], int]) -> list[Any]:
        """Return as many of *order*, from the first on, as there is room for; one at least."""
        left = max_tokens - count(describe_variables(self.variables))
        documented: set[Any] = set()
        for position, node in enumerate(order):
            parts = [self._line(node), f"{self.names[node]} = {self._shown(node._data)}"]  # noqa: SLF001 - as below
            parts += [describe_feedback(said) for said in self.said.get(node, ())]
            if node.operator is not None and node.operator not in documented:
                documented.add(node.operator)
                parts.append(self._source(node.operator) or node.operator.description)
            left -= count("\n".join(parts))
            if left < 0 and position:
                return list(order[:position])
        return list(order)

    def problem(self, shown: Sequence[Any]) -> Problem:
        """Return the problem in which the nodes *shown* are, and the variables."""
        self.constants.clear()
        self.long_constants.clear()
        kept, variables = set(shown), set(self.variables.values())
        judged = {item: said for item, said in self.said.items() if item in kept or item in variables}
        calls = [item for item in self.graph if item in kept and item.is_recorded]
        code = list(self._code(kept | variables))
        documentation, sources = self._documents(calls)
        # Where a value comes from that was computed by a call left out: as an input of what is shown.
        visible = kept.union(*(item.parents for item in calls)) - judged.keys() - variables
        inputs: dict[str, str] = {}
        others: dict[str, str] = {}
        for item in sorted(visible, key=by_birth):
            (others if item.is_recorded else inputs)[self.names[item]] = self._shown(item._data)  # noqa: SLF001 - no read of the program
        return Problem(
            code=code,
            documentation=documentation,
            sources=sources,
            variables=[_variable(name, parameter) for name, parameter in self.variables.items()],
            inputs={**inputs, **self.long_constants},
            others=others,
            outputs={self.names[item]: self._shown(item._data) for item in judged},  # noqa: SLF001 - as above
            feedback={self.names[item]: said for item, said in judged.items()},
            left_out=list(self._left_out(kept | variables, judged)),
        )

    def _code(self, kept: set[Any]) -> Iterator[str]:
        """Yield the calls in order, and where some are not *kept*, which."""
        skipped: Counter[str] = Counter()
        for item in self.graph:
            if item not in kept:
                skipped.update([item.operator.name] if item.is_recorded else [])
            elif line := self._line(item):
                yield from _gap(skipped)
                skipped.clear()
                yield line
        yield from _gap(skipped)

    def _documents(self, calls: Sequence[Any]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """Return documentation and sources of the operators of *calls*, by name, each once."""
        documentation: dict[str, list[str]] = {}
        sources: dict[str, list[str]] = {}
        # What a trainable function does stands in its source, among the variables.
        for operator in dict.fromkeys(item.operator for item in calls if "__code" not in dict(item.raw_inputs())):
            source, text = self._source(operator), " ".join(operator.description.split())
            if source is not None:
                _note(sources, operator.name, source)
            # A docstring stands in the source as well.
            if text and text not in " ".join((source or "").split()):
                _note(documentation, operator.name, text)
        return documentation, sources

    def _left_out(self, kept: set[Any], judged: Collection[Any]) -> Iterator[str]:
        calls = [item for item in self.graph if item.is_recorded]
        if missing := sum(item not in kept for item in calls):
            yield f"{missing:,} of {len(calls):,} calls"
        if others := [said for item, items in self.said.items() if item not in judged for said in items]:
            missing = len(self.said) - len(judged)
            yield f"{missing:,} of {len(self.said):,} outputs: {summary(others) or 'nothing was said'}"

    def _source(self, operator: Operator) -> str | None:
        """Return the source of *operator* as it is to be shown, if it is."""
        if not self.with_sources:
            return None
        if operator not in self.texts:
            text = operator.source()
            self.texts[operator] = text.rstrip() if text is not None and len(text) <= _SHORT_SOURCE else None
        return self.texts[operator]

    def _line(self, item: Any) -> str:
        call = write_call(item, self.names.__getitem__, self._constant)
        return f"{self.names[item]} = {call}" if call else ""

    def _constant(self, value: Any) -> str:
        """Return a plain input as it stands in a call: itself if short, else a name for it."""
        text = write_constant(value)
        if len(text) <= _SHORT and "\n" not in text:
            return text
        if text not in self.constants:
            name = f"{type(value).__name__}_given{len(self.constants)}"
            while name in self.taken:
                name += "_"
            self.constants[text] = name
            self.long_constants[name] = self._shown(value)
        return self.constants[text]

    def _shown(self, value: Any) -> str:
        text = value if isinstance(value, str) and "\n" in value else write_constant(value)
        return cut_middle(text, self.max_value)


def cut_middle(text: str, most: int) -> str:
    """Return *text*, or its two ends, with *most* characters together, and how much lies between them."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n… ({len(text) - 2 * half:,} of {len(text):,} characters left out) …\n{text[-half:]}"


def _note(texts: dict[str, list[str]], name: str, text: str) -> None:
    known = texts.setdefault(name, [])
    known += [] if text in known else [text]


def _gap(skipped: Mapping[str, int]) -> list[str]:
    """Return what stands in place of calls that are left out."""
    if not skipped:
        return []
    names = ", ".join(f"{name} {_TIMES}{number:,}" for name, number in Counter(skipped).most_common(5))
    more = ", …" * (len(skipped) > 5)
    total = sum(skipped.values())
    return [f"# … {total:,} call{'s' * (total > 1)} left out: {names}{more}"]


_TIMES = "\N{MULTIPLICATION SIGN}"


def summary(feedback: Sequence[Feedback]) -> str:
    """Return what was said about many outputs, in a line."""
    scores = [said.score for said in feedback if said.score is not None and not math.isnan(said.score)]
    parts = []
    if scores:
        mean = math.fsum(scores) / len(scores)
        parts.append(f"scores from {min(scores):g} to {max(scores):g}, mean {mean:g}")
    texts = Counter(" ".join(said.text.split()) for said in feedback if said.text)
    parts += [f"{text[:200]!r} {_TIMES}{number:,}" for text, number in texts.most_common(3)]
    return "; ".join(parts)


#: Characters up to which a source is shown.
_SHORT_SOURCE = 1_500
#: Characters up to which a plain input stands in the call itself.
_SHORT = 60


def _variable(name: str, parameter: ParameterNode[Any]) -> Variable:
    value = parameter._data  # noqa: SLF001 - no read of the program
    return Variable(name, parameter.domain.write(value), parameter.domain.describe(), parameter.description or "")


def describe_variables(variables: Mapping[str, ParameterNode[Any]]) -> str:
    """Return the values of *variables*, by name, and what they must be."""
    return "\n".join(_render_variable(_variable(*item)) for item in variables.items())


def render_value(tag: str, text: str, *, of: str = "") -> str:
    """Return *text* in a block that cannot be mistaken for another part of the prompt."""
    if re.search(r"</?(?:value|variable|name)\b|<!\[CDATA\[|^# ", text, re.IGNORECASE | re.MULTILINE):
        text = as_cdata(text)
    about = f' of="{of}"' if of else ""
    return f"<{tag}{about}>\n{text}\n</{tag}>" if "\n" in text else f"<{tag}{about}>{text}</{tag}>"


def _render_variable(variable: Variable) -> str:
    parts = [f"<name>{variable.name}</name>", render_value("value", variable.value)]
    parts.append(render_value("constraint", f"must be {variable.constraint}"))
    if variable.description:
        parts.append(render_value("description", variable.description))
    return "\n".join(["<variable>", *parts, "</variable>"])


def _render_values(values: Mapping[str, str]) -> str:
    return "\n".join(
        render_value("value", text, of=name) if "\n" in text else f"{name} = {text}" for name, text in values.items()
    )


def describe_feedback(said: Feedback) -> str:
    """Return figures and words of *said*, as a model or a person reads them."""
    figures: dict[str, float] = {} if said.score is None else {"score": said.score}
    figures |= said.scores
    parts = [", ".join(f"{key} {value:g}" for key, value in figures.items()), said.text]
    return "\n".join(part for part in parts if part) or "(nothing was said)"
