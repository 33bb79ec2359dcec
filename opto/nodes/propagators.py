"""Rules that carry feedback from a result to its inputs.

A propagator sees one backward pass as a whole. `GraphPropagator`, the default, hands every parameter the
trace graph behind the outputs; a `Propagator` with local rules works node by node, like a chain rule.
"""

from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from typing import Any

from opto.errors import BackwardError, ExecutionError
from opto.nodes.graph import TraceGraph
from opto.nodes.vertex import Vertex, ancestors

__all__ = ["GraphPropagator", "Propagator", "SumPropagator", "backward", "in_flight"]

#: What a local rule gives: feedback by input.
Rule = Callable[[Any], dict[Any, Any]]

#: What has arrived at the node whose rule is running, by sender: the pass owns it, so it is gone with the pass.
_arriving: ContextVar[tuple[Vertex, dict[Any, list[Any]]] | None] = ContextVar("opto_arriving", default=None)


def in_flight(vertex: Vertex) -> dict[Any, list[Any]]:
    """Return the feedback by sender that the rule for *vertex* is being asked to carry on; {} if none is."""
    arriving = _arriving.get()
    return arriving[1] if arriving is not None and arriving[0] is vertex else {}


class Propagator:
    """Feedback by local rules: one call per node, from outputs to roots, in reverse order of birth.

    Override `init_feedback`, `propagate` and `aggregate`, or `register` a rule per operator. The feedback may
    be any object: a number makes this the chain rule, a text makes it textual gradients. Programs for Trace
    override `_propagate` instead, which finds what arrived in ``child.feedback``.

    Example:
        >>> from opto.nodes import node
        >>> class Slope(Propagator):
        ...     def init_feedback(self, output, feedback):
        ...         return float(feedback)
        ...     def propagate(self, child, feedback):
        ...         x, y = child.inputs.values()
        ...         return {x: feedback * y.data, y: feedback * x.data}
        ...     def aggregate(self, node, items):
        ...         return sum(items)
        >>> x = node(3.0, trainable=True)
        >>> product = x * 5.0
        >>> product.backward(1.0, propagator=Slope())
        >>> list(x.feedback.values())
        [[5.0]]
    """

    def __init__(self) -> None:
        self._rules: dict[str, Rule] = {}

    def register(self, operator_name: str, rule: Rule) -> None:
        """Use ``rule(child) -> {input: feedback}`` for results of the operator called *operator_name*.

        The rule finds what arrived at *child* in ``child.feedback``: a list by sender.
        """
        self._rules[operator_name] = rule

    def init_feedback(self, output: Any, feedback: Any) -> Any:  # noqa: ARG002 - for overriding
        """Return what travels from *output*, given what was said about it."""
        return feedback

    def aggregate(self, node: Any, items: list[Any]) -> Any:  # noqa: ARG002 - for overriding
        """Return one feedback for *node* from those of all its children, in order of arrival."""
        return items[0] if len(items) == 1 else items

    def propagate(self, child: Any, feedback: Any) -> dict[Any, Any]:
        """Return ``{input: feedback}`` for a result that received *feedback*."""
        raise NotImplementedError(f"{type(self).__name__} has no rule for {child.name!r}: override propagate().")

    def _propagate(self, child: Any) -> dict[Any, Any]:
        """Return ``{input: feedback}`` for *child*, where ``child.feedback`` has arrived."""
        return self.propagate(child, self.aggregate(child, [item for sent in child.feedback.values() for item in sent]))

    def run(self, outputs: Sequence[Vertex], feedback: Sequence[Any]) -> list[Vertex]:
        """Carry *feedback* (one per output) backward and deliver it; return all nodes passed, oldest first."""
        said = [self.init_feedback(output, item) for output, item in zip(outputs, feedback, strict=True)]
        return self._walk(outputs, said)

    def _walk(self, outputs: Sequence[Vertex], feedback: Sequence[Any]) -> list[Vertex]:
        nodes = ancestors(outputs)
        arrived: dict[Vertex, list[tuple[Vertex, Any]]] = {}
        for output, said in zip(outputs, feedback, strict=True):
            arrived.setdefault(output, []).append((output, said))
        for child in reversed(nodes):
            items = arrived.pop(child, None)
            if items is None:
                continue
            for sender, item in items:
                child.receive(sender, item)
            if child._inputs:
                for parent, item in self._apply(child, items).items():
                    if self._is_input(parent, child):
                        arrived.setdefault(parent, []).append((child, item))
        return nodes

    def _apply(self, child: Any, items: list[tuple[Vertex, Any]]) -> dict[Any, Any]:
        by_sender: dict[Any, list[Any]] = {}
        for sender, item in items:
            by_sender.setdefault(sender, []).append(item)
        token = _arriving.set((child, by_sender))
        try:
            return self._rules.get(child.stem, self._propagate)(child)
        finally:
            _arriving.reset(token)

    @staticmethod
    def _is_input(parent: Any, child: Any) -> bool:
        """True if *parent* is a recorded node; False if it stands for a plain input, which keeps no feedback."""
        if any(parent is item for item in child._inputs):
            return True
        if isinstance(parent, Vertex) and parent._inputs == () and not parent.trainable:
            return False
        raise BackwardError(
            f"A rule for {child.name!r} sends feedback to {parent!r:.60}, which is not one of its inputs.",
            mend="Return a dict whose keys are values of child.inputs.",
        )


class SumPropagator(Propagator):
    """Pass feedback on unchanged, and add up what arrives from several children: numbers, or text.

    Example:
        >>> from opto.nodes import node
        >>> x = node(1, trainable=True)
        >>> (x + x).backward("too small", propagator=SumPropagator())
        >>> list(x.feedback.values())
        [['too small']]
    """

    def propagate(self, child: Any, feedback: Any) -> dict[Any, Any]:
        return dict.fromkeys(child.parents, feedback)

    def aggregate(self, node: Any, items: list[Any]) -> Any:  # noqa: ARG002 - for overriding
        total = items[0]
        for item in items[1:]:
            total = total + item
        return total


class GraphPropagator(Propagator):
    """Hand every parameter the trace graph behind the outputs (Trace, arXiv 2406.16218, section 3.2).

    All parameters share one `TraceGraph`, so a pass costs one walk however many there are. With rules of its own
    (`register`, or a subclass that defines `propagate`) the graph goes from node to node, and where a rule does not
    send it, it does not come.

    Example:
        >>> from opto.nodes import node
        >>> x, y = node(1, trainable=True), node(2, trainable=True)
        >>> left_only = GraphPropagator()
        >>> left_only.register("add", lambda child: {x: child.feedback[child][0]})
        >>> (x + y).backward("too small", propagator=left_only)
        >>> len(x.feedback), len(y.feedback)
        (1, 0)
    """

    def propagate(self, child: Any, feedback: Any) -> dict[Any, Any]:
        return dict.fromkeys(child.parents, feedback)

    def aggregate(self, node: Any, items: list[Any]) -> Any:
        distinct = list({id(item): item for item in items}.values())
        if all(isinstance(item, TraceGraph) for item in distinct):
            return TraceGraph.joined(distinct)
        return super().aggregate(node, distinct)

    def run(self, outputs: Sequence[Vertex], feedback: Sequence[Any]) -> list[Vertex]:
        said = [self.init_feedback(output, item) for output, item in zip(outputs, feedback, strict=True)]
        graph = TraceGraph(outputs, said)
        # What the feedback is about: the parameters may have changed by the time somebody reads it.
        graph.values = {parameter: parameter._data for parameter in graph.parameters}
        if self._has_rules():
            return self._walk(outputs, [graph] * len(outputs))
        for parameter in graph.parameters:
            parameter.receive(graph.outputs[0], graph)
        return list(graph.nodes)

    def _has_rules(self) -> bool:
        kind = type(self)
        ours = kind.propagate is GraphPropagator.propagate and kind._propagate is Propagator._propagate
        return bool(self._rules) or not ours


def backward(outputs: Any, feedback: Any = "", *, propagator: Propagator | None = None) -> list[Vertex]:
    """Send *feedback* backward from *outputs*, all in one pass.

    Parameters that it reaches hold it in ``parameter.feedback`` until `zero_feedback`. Linear in nodes and
    edges.

    Args:
        outputs: A node, a caught `ExecutionError`, or several of these.
        feedback: A list with one feedback per output, or what is said of each of them.
        propagator: How feedback passes a node; the default hands each parameter the trace graph.

    Returns:
        All nodes of the pass, oldest first.

    Raises:
        BackwardError: No output, or not one feedback per output, or feedback of an unknown kind.

    Example:
        >>> from opto.nodes import node
        >>> price = node(3, name="price", trainable=True)
        >>> _ = backward([price * 2, price + 1], ["too dear", "fine"])
        >>> [[graph]] = price.feedback.values()
        >>> [said.text for said in graph.feedback]
        ['too dear', 'fine']
    """
    given = (
        outputs
        if isinstance(outputs, Iterable) and not isinstance(outputs, Vertex | ExecutionError | str)
        else [outputs]
    )
    # A caught error stands for the node that it carries.
    found = [item.exception_node if isinstance(item, ExecutionError) else item for item in given]
    said = feedback if isinstance(feedback, list) else [feedback] * len(found)
    if not found or len(found) != len(said):
        raise BackwardError(
            f"There are {len(found)} outputs and {len(said)} feedbacks.",
            mend="Give one feedback for each output, and at least one output.",
        )
    for output in found:
        if not isinstance(output, Vertex):
            raise BackwardError(
                f"The output is a plain {type(output).__name__} ({output!r:.60}), so nothing was recorded of it.",
                mend="Compute it with bundled functions or operators on nodes, and do not take .data out on the way.",
            )
    return (GraphPropagator() if propagator is None else propagator).run(found, said)
