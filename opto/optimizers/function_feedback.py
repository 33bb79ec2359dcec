"""Trace's view of a trace graph as one function, for programs that look at it."""

from dataclasses import dataclass, field
from typing import Any

from opto.nodes import TraceGraph, write_call, write_constant

__all__ = ["FunctionFeedback", "node_to_function_feedback"]


@dataclass
class FunctionFeedback:
    """A trace graph as calls and values: what Trace's OptoPrime makes a problem of. opto's own makes a `Problem`.

    Attributes:
        graph: The calls, each with its level, in an order in which they can run.
        documentation: What the operators do, by name.
        others: Values in between by name, each with its description.
        roots: Values that were not computed.
        output: The values that were judged.
        user_feedback: What was said about them.
    """

    graph: list[tuple[int, str]] = field(default_factory=list)
    documentation: dict[str, str | None] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)
    roots: dict[str, Any] = field(default_factory=dict)
    output: dict[str, Any] = field(default_factory=dict)
    user_feedback: Any = None


def node_to_function_feedback(node_feedback: TraceGraph) -> FunctionFeedback:
    """Return a trace graph, as it arrives at parameters, as one function.

    Example:
        >>> from opto.nodes import node
        >>> x = node(3, name="x", trainable=True)
        >>> (x * 2 + 1).backward("too small")
        >>> [[graph]] = x.feedback.values()
        >>> function = node_to_function_feedback(graph)
        >>> function.graph, function.roots, list(function.others), list(function.output)
        ([(1, 'multiply0 = x * 2'), (2, 'add0 = multiply0 + 1')], {'x': (3, None)}, ['multiply0'], ['add0'])
    """
    names, outputs = node_feedback.names, set(node_feedback.outputs)
    found = FunctionFeedback(user_feedback=node_feedback.user_feedback)
    for level, item in node_feedback.graph:
        call = write_call(item, names.__getitem__, write_constant)
        value = (item._data, item.description)  # noqa: SLF001 - no read of the program
        if call:
            found.graph.append((level, f"{names[item]} = {call}"))
            found.documentation[item.op_name] = item.description
        group = found.output if item in outputs else found.others if call else found.roots
        group[names[item]] = value
    return found
