"""The problem: a trace graph made readable, within a budget of tokens. Building and writing it are pure."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from opto.errors import OptimizerError
from opto.llm import estimate_tokens
from opto.nodes import Feedback, Operator, ParameterNode, TraceGraph, canonical_names, write_call
from opto.optimizers.prompts.describing import (
    TIMES,
    Variable,
    render_feedback,
    render_value,
    render_values,
    render_variable,
    show_value,
    summary,
    variable_of,
    written,
)
from opto.optimizers.prompts.selection import as_many_as_fit, by_importance
from opto.optimizers.prompts.template import Template

__all__ = ["SECTIONS", "TEMPLATE", "Problem"]


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
        context: Mapping[str, str] = MappingProxyType({}),
        longest_value: int = 4_000,
        shorten: Callable[[Any, int], str] | None = None,
        render: Callable[["Problem"], str] | None = None,
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
            context: What to say about variables besides their descriptions, by name.
            longest_value: Characters of a value that is not to be changed, of which no more are shown in any case.
            shorten: Returns a value as text of at most so many characters, in place of the cut in the middle.
            render: Returns the text that is to have at most *max_tokens*, in place of `render`: the whole prompt.

        Example:
            >>> from opto.nodes import node
            >>> price = node(3, name="price", trainable=True)
            >>> problem = Problem.of(TraceGraph([price * 2], [Feedback("too dear")]), {"price": price})
            >>> problem.code, dict(problem.outputs)
            (['multiply0 = price * 2'], {'multiply0': '6'})
        """
        order = by_importance(graph, set(variables.values()))
        names = canonical_names(graph.nodes, variables)
        render = render or cls.render
        described = [variable_of(name, parameter, context.get(name, "")) for name, parameter in variables.items()]
        lengths = [longest_value, *(length for length in _SHORTER if length < longest_value)]
        left = max_tokens - count(render(cls(variables=described)))
        ways = [(longest_value, True)] * show_sources + [(length, False) for length in lengths]
        for position, (max_value, with_sources) in enumerate(ways):
            writer = _Writer(
                graph, variables, described, names, max_value, with_sources=with_sources, shorten=shorten or show_value
            )
            # Most graphs fit as a whole, which costs less to find out than where to cut.
            if len(order) <= max_tokens // _LEAST_NODE:
                problem = writer.problem(order)
                text = render(problem)
                if len(text) <= max_tokens * _MOST_TOKEN and count(text) <= max_tokens:
                    return problem
            shown = writer.fitting(order, left, count)
            least = ways[-1][0] if position + 1 < len(ways) else 0
            if not writer.can_shrink(least):
                break
        # What says that something is left out takes room as well, so that sizes are known only afterwards.
        return as_many_as_fit(
            len(shown),
            lambda number: writer.problem(shown[:number]),
            lambda problem: count(render(problem)) / max_tokens,
        )

    def __str__(self) -> str:
        return self.render()

    def render(self) -> str:
        """Return the problem as text: the same problem gives the same text.

        Sections that have nothing to say are left out. A short result stands behind its call.
        """
        values = {name: text for name, text in self.others.items() if _is_short(text)}
        inline = values.keys() & {line.partition(" = ")[0] for line in self.code}
        merged = replace(
            self,
            code=[_with_value(line, values) for line in self.code],
            others={name: text for name, text in self.others.items() if name not in inline},
        )
        return TEMPLATE.fill(merged.sections())

    def sections(self) -> dict[str, str]:
        """Return each section as text, by name; "" for those that have nothing to say.

        Of several outputs, each stands in the feedback, before what was said about it.
        """
        together = len(self.outputs) > 1 and any(self.feedback.values())
        return {
            "code": "\n".join(self.code),
            "documentation": "\n".join(
                f"[{name}] {text}" for name, texts in self.documentation.items() for text in texts
            ),
            "source": "\n".join(
                render_value("code", text, of=name) for name, texts in self.sources.items() for text in texts
            ),
            "variables": "\n".join(map(render_variable, self.variables)),
            "inputs": render_values(self.inputs),
            "others": render_values(self.others),
            "outputs": "" if together else render_values(self.outputs),
            "feedback": self._render_judged()
            if together or len(self.feedback) > 1
            else "\n".join(render_feedback(said) for items in self.feedback.values() for said in items),
            "left_out": "\n".join(self.left_out),
        }

    def without(self, sections: Collection[str]) -> "Problem":
        """Return the problem with nothing to say in some *sections*; ``constraints`` are those of the variables."""
        empty = Problem()
        fields = {"source": "sources"}
        names = [fields.get(name, name) for name in SECTIONS if name in sections]
        kept = replace(self, **{name: getattr(empty, name) for name in names})
        if "constraints" not in sections:
            return kept
        return replace(kept, variables=[replace(item, constraint="") for item in kept.variables])

    def _render_judged(self) -> str:
        return "\n".join(
            "\n".join(
                [
                    render_values({name: self.outputs[name]}) if name in self.outputs else name,
                    *(f"-> {render_feedback(item)}" for item in said),
                ]
            )
            for name, said in self.feedback.items()
        )


#: The sections of a problem, by the names of their slots.
SECTIONS = ("code", "documentation", "source", "variables", "inputs", "others", "outputs", "feedback", "left_out")
#: How a problem reads as text.
TEMPLATE = Template(
    """\
# Code
{code}

# Documentation
{documentation}

# Source
{source}

# Variables
{variables}

# Inputs
{inputs}

# Others
{others}

# Outputs
{outputs}

# Feedback
{feedback}

# Left out, because it would be too long
{left_out}""",
    SECTIONS,
)


by_birth = attrgetter("birth")
#: Tokens that a node takes at least, and characters that a token takes at most, but for rare texts.
_LEAST_NODE = 8
_MOST_TOKEN = 5
#: Characters of a value that is not to be changed, where there is no room for more.
_SHORTER = (1_000, 250, 80)


class _Writer:
    """Writes one graph as a problem, with values of at most *max_value* characters."""

    def __init__(
        self,
        graph: TraceGraph,
        variables: Mapping[str, ParameterNode[Any]],
        described: Sequence[Variable],
        names: Mapping[Any, str],
        max_value: int,
        *,
        with_sources: bool,
        shorten: Callable[[Any, int], str],
    ) -> None:
        self.with_sources = with_sources
        self.shorten = shorten
        self.described = described
        self.texts: dict[Operator, str | None] = {}
        self.graph = graph
        self.variables = variables
        self.names = names
        self.max_value = max_value
        self.taken = set(names.values())
        self.longest = 0
        self.constants: dict[str, str] = {}  # names of long plain inputs, by how they are written in full
        self.long_constants: dict[str, str] = {}
        self.said: dict[Any, list[Feedback]] = {}
        for output, feedback in zip(graph.outputs, graph.feedback, strict=True):
            self.said.setdefault(output, []).append(feedback)

    def fitting(self, order: Sequence[Any], left: int, count: Callable[[str], int]) -> list[Any]:
        """Return as many of *order*, from the first on, as there is room for in *left* tokens; one at least."""
        documented: set[Any] = set()
        valued: set[Any] = set(self.variables.values())  # whose value is counted, as an input of what is shown
        self.longest = 0
        self._forget_constants()
        for position, node in enumerate(order):
            known = len(self.long_constants)
            parts = [self._line(node), *(render_feedback(said) for said in self.said.get(node, ()))]
            for name, value in islice(reversed(self.long_constants.items()), len(self.long_constants) - known):
                self.longest = max(self.longest, len(value))
                parts.append(f"{name} = {value}")
            for item in (node, *(node.parents if node.is_recorded else ())):
                if item not in valued:
                    valued.add(item)
                    value = self._shown(item._data)  # noqa: SLF001 - as below
                    self.longest = max(self.longest, len(value))
                    # As it will be rendered.
                    is_inline = item is node and parts[0] and node not in self.said and _is_short(value)
                    parts.append(f"  # {value}" if is_inline else f"{self.names[item]} = {value}")
            if node.operator is not None and node.operator not in documented:
                documented.add(node.operator)
                parts.append(self._source(node.operator) or _documentation(node.operator))
            left -= count("\n".join(parts))
            if left < 0 and position:
                return list(order[:position])
        return list(order)

    def can_shrink(self, max_value: int) -> bool:
        """True if what `fitting` looked at would be shorter without sources, and with values of *max_value*."""
        return self.longest > max_value > 0 or any(self.texts.values())

    def problem(self, shown: Sequence[Any]) -> Problem:
        """Return the problem in which the nodes *shown* are, and the variables."""
        self._forget_constants()
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
            variables=self.described,
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
                if item.is_recorded:
                    skipped[item.operator.name] += 1
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
            source, text = self._source(operator), " ".join(_documentation(operator).split())
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
        given: list[Any] = []

        def constant(value: Any) -> str:
            text = written(value)
            if len(text) <= _SHORT and "\n" not in text:
                return text
            given.append(value)
            return f"\0{len(given) - 1}\0"

        call = write_call(item, self.names.__getitem__, constant)
        if given:
            # Only now, because not all inputs stand in the call: `self` of a method may be hidden.
            call = re.sub("\0(\\d+)\0", lambda place: self._name_of(given[int(place[1])]), call)
        return f"{self.names[item]} = {call}" if call else ""

    def _name_of(self, value: Any) -> str:
        """Return the name under which a long plain input is shown, each value once."""
        text = written(value)
        if text not in self.constants:
            name = f"{type(value).__name__}_given{len(self.constants)}"
            while name in self.taken:
                name += "_"
            self.constants[text] = name
            self.long_constants[name] = self._shown(value)
        return self.constants[text]

    def _forget_constants(self) -> None:
        self.constants.clear()
        self.long_constants.clear()

    def _shown(self, value: Any) -> str:
        text = self.shorten(value, self.max_value)
        if not isinstance(text, str):
            raise OptimizerError(f"A value was shortened to {text!r:.80}.", mend="Return a text.")
        return text


def _documentation(operator: Operator) -> str:
    """Return what *operator* does, in words; "" if it is written as an expression of Python, which says it."""
    return "" if isinstance(operator.template, str) else operator.description


def _is_short(text: str) -> bool:
    return len(text) <= _SHORT and "\n" not in text


def _with_value(line: str, values: Mapping[str, str]) -> str:
    """Return the call *line* with its result behind it, if that is among *values*."""
    value = values.get(line.partition(" = ")[0])
    return line if value is None else f"{line}  # {value}"


def _note(texts: dict[str, list[str]], name: str, text: str) -> None:
    known = texts.setdefault(name, [])
    known += [] if text in known else [text]


def _gap(skipped: Mapping[str, int]) -> list[str]:
    """Return what stands in place of calls that are left out."""
    if not skipped:
        return []
    names = ", ".join(f"{name} {TIMES}{number:,}" for name, number in Counter(skipped).most_common(5))
    more = ", …" * (len(skipped) > 5)
    total = sum(skipped.values())
    return [f"# … {total:,} call{'s' * (total > 1)} left out: {names}{more}"]


#: Characters up to which a source is shown.
_SHORT_SOURCE = 1_500
#: Characters up to which a plain input stands in the call itself.
_SHORT = 60
