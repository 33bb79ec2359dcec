"""Small helpers under the names that programs for Trace use."""

from collections.abc import Callable, Iterable
from functools import reduce
from operator import add
from textwrap import dedent
from typing import Any, TypeVar

from opto.errors import MissingDependencyError
from opto.nodes import Node, TraceGraph

__all__ = ["contain", "dedent", "for_all_methods", "render_opt_step", "sum_feedback"]

C = TypeVar("C", bound=type)


def contain(container_of_nodes: Iterable[Any], node: Any) -> bool:
    """True if *node* itself is in the container: ``in`` would compare values.

    Example:
        >>> from opto.nodes import node
        >>> one, other = node(1), node(1)
        >>> contain([one], one), contain([one], other), other in [one]
        (True, False, True)
    """
    return any(item is node for item in container_of_nodes)


def sum_feedback(nodes: Iterable[Node[Any]]) -> Any:
    """Return all feedback at *nodes* as one: trace graphs as one graph, anything else added up.

    Example:
        >>> from opto.nodes import node
        >>> x = node(1, trainable=True)
        >>> _ = (x + 1).backward("too small"), (x + 2).backward("too big")
        >>> [said.text for said in sum_feedback([x]).feedback]
        ['too small', 'too big']
    """
    items = [item for node in nodes for sent in node.feedback.values() for item in sent]
    graphs = list({id(item): item for item in items if isinstance(item, TraceGraph)}.values())
    if not graphs:
        return reduce(add, items) if items else 0
    return TraceGraph.joined(graphs)


def for_all_methods(decorator: Callable[[Any], Any]) -> Callable[[C], C]:
    """Return a decorator of classes that applies *decorator* to all methods but those that begin with ``__``."""

    def decorate(cls: C) -> C:
        for name, member in list(vars(cls).items()):
            if callable(member) and not name.startswith("__"):
                setattr(cls, name, decorator(member))
        return cls

    return decorate


def render_opt_step(step_idx: int, optimizer: Any, no_trace_graph: bool = False, no_improvement: bool = False) -> None:
    """Show a step in a notebook: what the model saw, the feedback, its reasons, and what changed.

    Args:
        step_idx: Position in ``optimizer.records``.
        optimizer: Any optimizer of opto.
        no_trace_graph: True to leave out what the model saw.
        no_improvement: True to leave out what changed.

    Raises:
        MissingDependencyError: IPython is not installed.
    """
    from html import escape  # noqa: PLC0415 - only in notebooks

    try:
        from IPython.display import HTML, display  # noqa: PLC0415 - notebooks only
    except ImportError as error:
        raise MissingDependencyError(
            "Showing a step in a notebook needs IPython.", mend="Install it: pip install ipython."
        ) from error
    record = optimizer.records[step_idx]
    seen = record.messages[-1]["content"] if record.messages else ""
    changed = "\n".join(f"{name} = {value}" for name, value in record.update.items())
    parts = {
        "Trace graph": "" if no_trace_graph else seen,
        "Feedback": "\n".join(map(str, record.feedback)),
        "Reasoning": record.reasoning,
        "Improvement": "" if no_improvement else changed or str(record),
    }
    shown = [f"<h4>{title}</h4><pre>{escape(text)}</pre>" for title, text in parts.items() if text]
    page = HTML(f"<div><b>Step {record.step}</b>{''.join(shown)}</div>")  # type: ignore[no-untyped-call]
    display(page)  # type: ignore[no-untyped-call]
