"""The problem: a trace graph made readable. Building and writing it are pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from opto.nodes import Feedback, ParameterNode, TraceGraph, canonical_names, write_call, write_constant
from opto.optimizers.suggestion import as_cdata

__all__ = ["Problem", "Variable", "describe_feedback", "render_value"]


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
        code: One line per recorded call, in the order in which they ran.
        documentation: What each operator does, by name; several texts if several operators share the name.
        variables: The parameters that may be changed.
        inputs: Values that are given, by name.
        others: Values in between, by name.
        outputs: Results that were judged, by name.
        feedback: What was said about each output, by name of the output.
    """

    code: Sequence[str] = ()
    documentation: Mapping[str, Sequence[str]] = field(default_factory=dict)
    variables: Sequence[Variable] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    feedback: Mapping[str, Sequence[Feedback]] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: TraceGraph, variables: Mapping[str, ParameterNode[Any]], *, max_value: int = 4_000) -> "Problem":
        """Return the problem of changing *variables* (by name), as *graph* shows it.

        Values that are not to be changed are cut in the middle if they are longer than *max_value* characters.

        Example:
            >>> from opto.nodes import node
            >>> price = node(3, name="price", trainable=True)
            >>> problem = Problem.of(TraceGraph([price * 2], [Feedback("too dear")]), {"price": price})
            >>> problem.code, dict(problem.outputs)
            (['multiply0 = price * 2'], {'multiply0': '6'})
        """
        return _Writer(graph, variables, max_value).problem()

    def __str__(self) -> str:
        return self.render()

    def render(self) -> str:
        """Return the problem as text: the same problem gives the same text.

        Sections that have nothing to say are left out.
        """
        sections = {
            "Code": "\n".join(self.code),
            "Documentation": "\n".join(
                f"[{name}] {text}" for name, texts in self.documentation.items() for text in texts
            ),
            "Variables": "\n".join(map(_render_variable, self.variables)),
            "Inputs": _render_values(self.inputs),
            "Others": _render_values(self.others),
            "Outputs": _render_values(self.outputs),
            "Feedback": "\n".join(
                _render_feedback(name, said, several=len(self.feedback) > 1)
                for name, items in self.feedback.items()
                for said in items
            ),
        }
        return "\n\n".join(f"# {title}\n{text}" for title, text in sections.items() if text)


class _Writer:
    """Writes one graph as a problem."""

    def __init__(self, graph: TraceGraph, variables: Mapping[str, ParameterNode[Any]], max_value: int) -> None:
        self.max_value = max_value
        self.graph = graph
        self.variables = variables
        self.names = canonical_names(graph.nodes, variables)
        self.taken = set(self.names.values())
        self.constants: dict[str, str] = {}  # by name, in full, to recognise those that were seen
        self.long_constants: dict[str, str] = {}

    def problem(self) -> Problem:
        shown = set(self.variables.values())
        outputs = set(self.graph.outputs)
        code: list[str] = []
        documentation: dict[str, list[str]] = {}
        inputs: dict[str, str] = {}
        others: dict[str, str] = {}
        results: dict[str, str] = {}
        for item in self.graph.nodes:
            name, value = self.names[item], self._shown(item._data)  # noqa: SLF001 - no read of the program
            call = self._call(item)
            if call and item.operator is not None:
                code.append(f"{name} = {call}")
                # What a trainable function does stands in its source, among the variables.
                if item.operator.description and "__code" not in dict(item.raw_inputs()):
                    texts = documentation.setdefault(item.operator.name, [])
                    text = " ".join(item.operator.description.split())
                    texts += [] if text in texts else [text]
            if item in outputs:
                results[name] = value
            elif item in shown:
                continue
            elif call:
                others[name] = value
            else:
                inputs[name] = value
        return Problem(
            code=code,
            documentation=documentation,
            variables=[_variable(name, parameter) for name, parameter in self.variables.items()],
            inputs={**inputs, **self.long_constants},
            others=others,
            outputs=results,
            feedback=self._feedback(),
        )

    def _call(self, item: Any) -> str:
        return write_call(item, self.names.__getitem__, self._constant)

    def _constant(self, value: Any) -> str:
        """Return a plain input as it stands in a call: itself if short, else a name for it."""
        text = write_constant(value)
        if len(text) <= _SHORT and "\n" not in text:
            return text
        for name, known in self.constants.items():
            if known == text:
                return name
        name = f"{type(value).__name__}_given{len(self.constants)}"
        while name in self.taken:
            name += "_"
        self.constants[name] = text
        self.long_constants[name] = self._shown(value)
        return name

    def _shown(self, value: Any) -> str:
        text = value if isinstance(value, str) and "\n" in value else write_constant(value)
        if len(text) <= self.max_value:
            return text
        half = self.max_value // 2
        return f"{text[:half]}\n… ({len(text) - 2 * half} of {len(text)} characters left out) …\n{text[-half:]}"

    def _feedback(self) -> dict[str, list[Feedback]]:
        said: dict[str, list[Feedback]] = {}
        for output, feedback in zip(self.graph.outputs, self.graph.feedback, strict=True):
            said.setdefault(self.names[output], []).append(feedback)
        return said


#: Characters up to which a plain input stands in the call itself.
_SHORT = 60


def _variable(name: str, parameter: ParameterNode[Any]) -> Variable:
    value = parameter._data  # noqa: SLF001 - no read of the program
    return Variable(name, parameter.domain.write(value), parameter.domain.describe(), parameter.description or "")


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


def _render_feedback(name: str, said: Feedback, *, several: bool) -> str:
    text = describe_feedback(said)
    return f"{name}: {text}" if several else text
