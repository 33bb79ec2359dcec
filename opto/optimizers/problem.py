"""The problem: a trace graph made readable. Building and writing it are pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from opto.nodes import Feedback, ParameterNode, TraceGraph, canonical_names, write_call, write_constant

__all__ = ["Problem", "Variable"]


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
        documentation: What each operator does, by name.
        variables: The parameters that may be changed.
        inputs: Values that are given, by name.
        others: Values in between, by name.
        outputs: Results that were judged, by name.
        feedback: What was said about each output, by name of the output.
    """

    code: Sequence[str] = ()
    documentation: Mapping[str, str] = field(default_factory=dict)
    variables: Sequence[Variable] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    feedback: Mapping[str, Sequence[Feedback]] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: TraceGraph, variables: Mapping[str, ParameterNode[Any]]) -> "Problem":
        """Return the problem of changing *variables* (by name), as *graph* shows it.

        Example:
            >>> from opto.nodes import node
            >>> price = node(3, name="price", trainable=True)
            >>> problem = Problem.of(TraceGraph([price * 2], [Feedback("too dear")]), {"price": price})
            >>> problem.code, dict(problem.outputs)
            (['multiply0 = price * 2'], {'multiply0': '6'})
        """
        return _Writer(graph, variables).problem()

    def render(self) -> str:
        """Return the problem as text: the same problem gives the same text.

        Sections that have nothing to say are left out.
        """
        sections = {
            "Code": "\n".join(self.code),
            "Documentation": "\n".join(f"[{name}] {text}" for name, text in self.documentation.items()),
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

    def __init__(self, graph: TraceGraph, variables: Mapping[str, ParameterNode[Any]]) -> None:
        self.graph = graph
        self.variables = variables
        self.names = canonical_names(graph.nodes, variables)
        self.long_constants: dict[str, str] = {}

    def problem(self) -> Problem:
        shown = set(self.variables.values())
        outputs = set(self.graph.outputs)
        code: list[str] = []
        documentation: dict[str, str] = {}
        inputs: dict[str, str] = {}
        others: dict[str, str] = {}
        results: dict[str, str] = {}
        for item in self.graph.nodes:
            name, value = self.names[item], _shown_value(item._data)  # noqa: SLF001 - no read of the program
            call = self._call(item)
            if call and item.operator is not None:
                code.append(f"{name} = {call}")
                # What a trainable function does stands in its source, among the variables.
                if item.operator.description and "__code" not in dict(item.raw_inputs()):
                    documentation.setdefault(item.operator.name, " ".join(item.operator.description.split()))
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
        shown = _shown_value(value)
        for name, known in self.long_constants.items():
            if known == shown:
                return name
        name = f"{type(value).__name__}_given{len(self.long_constants)}"
        self.long_constants[name] = shown
        return name

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


def _shown_value(value: Any) -> str:
    return value if isinstance(value, str) and "\n" in value else write_constant(value)


def _block(tag: str, text: str) -> str:
    return f"<{tag}>\n{text}\n</{tag}>" if "\n" in text else f"<{tag}>{text}</{tag}>"


def _render_variable(variable: Variable) -> str:
    parts = [f"<name>{variable.name}</name>", _block("value", variable.value.rstrip("\n"))]
    parts.append(_block("constraint", f"must be {variable.constraint}"))
    if variable.description:
        parts.append(_block("description", variable.description))
    return "\n".join(["<variable>", *parts, "</variable>"])


def _render_values(values: Mapping[str, str]) -> str:
    return "\n".join(
        f'<value of="{name}">\n{text}\n</value>' if "\n" in text else f"{name} = {text}"
        for name, text in values.items()
    )


def _render_feedback(name: str, said: Feedback, *, several: bool) -> str:
    figures: dict[str, float] = {} if said.score is None else {"score": said.score}
    figures |= said.scores
    parts = [", ".join(f"{key} {value:g}" for key, value in figures.items()), said.text]
    text = "\n".join(part for part in parts if part) or "(nothing was said)"
    return f"{name}: {text}" if several else text
