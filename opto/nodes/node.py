"""Nodes: values that take part in a trace graph. Those that were computed are in `results`."""

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, Generic, TypeVar

from opto.errors import DomainError, GraphError
from opto.nodes import valuelike
from opto.nodes.arrays import ArrayLike
from opto.nodes.domains import Domain, as_domain, unfenced
from opto.nodes.graph import TraceGraph, late
from opto.nodes.packing import unpack
from opto.nodes.picture import Kind
from opto.nodes.propagators import Propagator, backward, in_flight
from opto.nodes.scope import current_scope, note_read
from opto.nodes.valuelike import ValueLike
from opto.nodes.vertex import Vertex, births

__all__ = ["Node", "ParameterNode", "node", "restart_numbers"]

T = TypeVar("T")

#: Running numbers by stem, for names that people read; graphs number their nodes themselves.
_numbers: dict[str, "count[int]"] = {}


class Node(ValueLike, ArrayLike, Generic[T]):
    """A value in the trace graph. It acts like its value, and records what is done with it.

    Nodes are compared by value (``==``, untraced) and hashed by identity. Make them with `node`.

    Args:
        data: Any value. It is stored as it is, never copied; of a node, the value is.
        name: Stem of the name; the default is the name of the value's type.
        description: What the value means, in words for whoever optimizes.

    Example:
        >>> price = node(3, name="price")
        >>> total = price * 2 + 1
        >>> total.data, total == 7, f"{total} euro"
        (7, True, '7 euro')
    """

    __slots__ = ("_description",)

    def __init__(self, data: T, *, name: str | None = None, description: str | None = None) -> None:
        if name is not None and (not isinstance(name, str) or not name or ":" in name):
            raise GraphError(f"A node cannot be named {name!r}.", mend="Give a text without a colon.")
        self.birth = next(births)
        self._data = data._data if isinstance(data, Node) else data
        self._inputs = ()
        self._name = self._number(name or type(data).__name__)
        # Programs for Trace begin with the class, which says nothing.
        self._description = description and description.removeprefix("[Node] ").removeprefix("[ParameterNode] ")

    @staticmethod
    def _number(stem: str) -> str:
        numbers = _numbers.get(stem)
        if numbers is None:
            # setdefault, because another thread may be here as well.
            numbers = _numbers.setdefault(stem, count())
        return f"{stem}:{next(numbers)}"

    @property
    def data(self) -> T:
        """The plain value. Reading it inside a bundle of which this node is no input is reported."""
        scope = current_scope()
        if scope is not None:
            note_read(scope, self)
        return self._data  # type: ignore[no-any-return]  # a slot cannot be generic

    @property
    def name(self) -> str:
        """Stem and running number, such as ``price:0``: for people. Graphs use names of their own."""
        try:
            return self._name
        except AttributeError:  # results are named when somebody asks
            self._name = self._number(self.stem)
            return self._name

    @property
    def py_name(self) -> str:
        """The name as an identifier, such as ``price0``."""
        return self.name.replace(":", "")

    @property
    def stem(self) -> str:
        return self.name.partition(":")[0]

    @property
    def kind(self) -> Kind:
        return "value"

    @property
    def description(self) -> str | None:
        return self._description

    @property
    def type(self) -> "type[T]":
        return type(self._data)

    @property
    def op_name(self) -> str:
        """The name of the operator; of a root, the name of its class."""
        return type(self).__name__

    @property
    def info(self) -> dict[str, Any] | None:
        """What is known of the call whose result this is; None for a root."""
        return None

    @property
    def feedback(self) -> dict["Node[Any]", list[Any]]:
        """Feedback by sender. Only parameters keep what a backward pass brings; elsewhere it is there in passing."""
        return in_flight(self)

    def zero_feedback(self) -> None:
        """Forget the feedback that has arrived. Only parameters keep any."""

    @property
    def inputs(self) -> dict[str, "Node[Any]"]:
        """The inputs by name. Plain values are shown as nodes made for the occasion."""
        return {key: value if isinstance(value, Node) else Constant(value) for key, value in self.raw_inputs()}

    def backward(  # noqa: PLR0917 - Trace takes all of them by position
        self,
        feedback: Any = "",
        propagator: Propagator | None = None,
        retain_graph: bool = False,  # noqa: ARG002 - nothing is released before the output itself is
        visualize: bool = False,
        simple_visualization: bool = True,
        reverse_plot: bool = False,
        print_limit: int = 100,
    ) -> Any:
        """Send *feedback* on this node backward to the parameters it was computed from.

        Args:
            feedback: Text, a number (higher is better), ``(score, text)``, an exception, or a `Feedback`.
            propagator: How feedback passes a node; the default hands each parameter the trace graph.
            retain_graph: Accepted as in PyTorch. A graph lives as long as its output in any case.
            visualize: Return a picture of the graph (a `graphviz.Digraph`) instead of None.
            simple_visualization: Leave out of the picture what only hands on its input, such as a copy.
            reverse_plot: Draw arrows from results to their inputs, with the output on top.
            print_limit: Characters of a value that the picture shows.

        Raises:
            BackwardError: *feedback* is of no kind that the propagator knows.
        """
        nodes = backward([self], [feedback], propagator=propagator)
        if not visualize:
            return None
        return TraceGraph(nodes[-1:]).visualize(simple_visualization, reverse_plot, print_limit)

    def __reduce__(self) -> tuple[Any, ...]:
        # A deep copy, and what comes out of a pickle, is a root with a birth of its own: the value, not its history.
        return _revived_node, (self._data, self.stem, self.description)

    def __repr__(self) -> str:
        value = repr(self._data)
        return f"<{type(self).__name__} {self.name} = {value if len(value) <= 80 else value[:79] + '…'}>"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        bundle: dict[str, str] = late("notebook").of_node(self)
        return bundle


class ParameterNode(Node[T]):
    """A node that an optimizer may replace. Make it with ``node(value, trainable=True)``.

    Attributes:
        domain: What the value may be.
        projections: Functions that map a suggested value, one after the other, before it is checked.
        feedback: ``{sender: [feedback, …]}``, filled by backward passes until `zero_feedback`.
        since: Birth of the value: nodes born before were computed from another one.
    """

    __slots__ = ("_feedback", "_trainable", "domain", "projections", "since")

    def __init__(
        self,
        data: T,
        *,
        name: str | None = None,
        description: str | None = None,
        trainable: bool = True,
        domain: Any = None,
        projections: Iterable[Callable[[Any], Any]] | None = None,
    ) -> None:
        super().__init__(data, name=name, description=description)
        self._trainable = trainable
        self.projections = tuple(projections or ())
        try:
            self.domain: Domain = as_domain(domain, data)
            # As the domain reads it: a parameter with domain=float that starts as 7 is 7.0.
            self._data = data if domain is None else self.domain.accept(data)
        except DomainError as error:
            raise DomainError(f"Parameter {self.name!r}: {error.problem}", mend=error.mend) from None
        self._feedback: dict[Node[Any], list[Any]] = {}
        self.since = self.birth

    def __reduce__(self) -> tuple[Any, ...]:
        return _revived_parameter, (
            *(type(self), self._data, self.stem, self._description, self._trainable, self.domain, self.projections),
        )

    @property
    def data(self) -> T:
        """The plain value. Setting it checks the new one as if it had been suggested."""
        scope = current_scope()
        if scope is not None:
            note_read(scope, self)
        return self._data  # type: ignore[no-any-return]  # a slot cannot be generic

    @data.setter
    def data(self, value: Any) -> None:
        self._set(self.accept(value))

    @property
    def trainable(self) -> bool:
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = value

    @property
    def kind(self) -> Kind:
        return "parameter"

    @property
    def feedback(self) -> dict[Node[Any], list[Any]]:
        return self._feedback

    def receive(self, sender: Vertex, feedback: Any) -> None:
        assert isinstance(sender, Node)
        self._feedback.setdefault(sender, []).append(feedback)

    def zero_feedback(self) -> None:
        """Forget all feedback, and with it the graphs that it came through."""
        self._feedback = {}

    def accept(self, raw: Any) -> T:
        """Return *raw* as a value that this parameter may take; nothing is changed.

        Raises:
            DomainError: It may not.
        """
        if isinstance(raw, str) and isinstance(self._data, str) and unfenced(self._data) == self._data:
            raw = unfenced(raw)  # a habit of models; texts that are fenced themselves keep their fence
        value = self.domain.read(raw)
        for project in self.projections:
            value = project(value)
        self.domain.check(value)
        return value  # type: ignore[no-any-return]

    def _set(self, value: Any) -> None:
        """Replace the value as it is, unchecked (`Optimizer.step` checks before)."""
        self._data = unpack(value)
        self.since = next(births)


class Constant(Node[T]):
    """A plain input of an operator, shown as a node. It is part of no graph; feedback for it goes nowhere."""

    __slots__ = ()


def _revived_node(data: Any, stem: str, description: str | None) -> "Node[Any]":
    return Node(data, name=stem, description=description)


def _revived_parameter(  # noqa: PLR0917 - called by pickle only
    kind: Any, data: Any, stem: str, description: str | None, trainable: bool, domain: Domain, projections: Any
) -> Any:
    return kind(data, name=stem, description=description, trainable=trainable, domain=domain, projections=projections)


def restart_numbers() -> None:
    """Number new nodes from 0 again. Names are for people: that living nodes have the same ones changes nothing."""
    _numbers.clear()


def node(
    data: Any,
    name: str | None = None,
    trainable: bool = False,
    description: str | None = None,
    constraint: str | None = None,
    *,
    domain: Any = None,
    projections: Iterable[Callable[[Any], Any]] | None = None,
) -> Any:
    """Return *data* as a node of a trace graph.

    Args:
        data: Any value; stored as it is, never copied. A node is returned unchanged, unless *trainable*. A container
            with nodes in it is computed from them.
        name: Stem of the node's name; the default is the name of the value's type.
        trainable: True for a parameter: a node that an optimizer may replace.
        description: What the value means, in words for whoever optimizes.
        constraint: What the value must be, in words: joined to the description. *domain* says it so that it is checked.
        domain: What a parameter may be: a `Domain` such as ``Range(15, 90)``, a `range`, a list of options, a type,
            or what else `as_domain` takes. The default is the type of *data*.
        projections: Functions that map a suggested value, one after the other, before it is checked.

    Raises:
        DomainError: *data* lies outside *domain*, or a domain is given for what is no parameter.

    Example:
        >>> green = node(30, name="green_seconds", trainable=True, domain=range(15, 91))
        >>> green
        <ParameterNode green_seconds:0 = 30>
        >>> node(97, name="red_seconds", trainable=True, domain=range(15, 91))
        Traceback (most recent call last):
        opto.errors.DomainError: Parameter 'red_seconds:0': 97 lies outside the range. Choose an integer from 15 to 90.
    """
    if constraint:
        description = f"{description} {constraint}" if description else constraint
    if trainable:
        name = name or (data.stem if isinstance(data, Node) else None)
        return ParameterNode(unpack(data), name=name, description=description, domain=domain, projections=projections)
    if domain is not None or projections:
        raise DomainError("A domain was given for a node that is no parameter.", mend="Add trainable=True.")
    data = valuelike.pack(data)
    return data if isinstance(data, Node) else Node(data, name=name, description=description)
