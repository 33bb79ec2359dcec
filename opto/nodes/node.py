"""Nodes, and `record`: the one function that makes the edges of every graph."""

from itertools import count
from typing import Any, Generic, TypeVar

from opto.errors import DomainError, ExecutionError, GraphError
from opto.nodes.domains import Domain, as_domain
from opto.nodes.failures import annotated_traceback, as_execution_error, in_words, message, original
from opto.nodes.graph import TraceGraph
from opto.nodes.operators import CONTAINERS, Operator
from opto.nodes.picture import Kind
from opto.nodes.propagators import Propagator, backward
from opto.nodes.scope import current_scope, note_read
from opto.nodes.valuelike import ValueLike, unpack
from opto.nodes.vertex import Vertex, next_birth

__all__ = [
    "ExceptionNode",
    "MessageNode",
    "Node",
    "ParameterNode",
    "failure",
    "node",
    "pack",
    "record",
]

T = TypeVar("T")

#: Running numbers by stem, for names that people read; graphs number their nodes themselves.
_numbers: dict[str, "count[int]"] = {}


class Node(ValueLike, Generic[T]):
    """A value in the trace graph. It acts like its value, and records what is done with it.

    Nodes are compared by value (``==``, untraced) and hashed by identity. Make them with `node`.

    Args:
        data: Any value. It is stored as it is, never copied.
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
        self.birth = next_birth()
        self._data = data
        self._inputs = ()
        self._name = self._number(name or type(data).__name__)
        self._description = description

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
        if self._name is None:
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
    def feedback(self) -> dict["Node[Any]", list[Any]]:
        """Feedback by sender: only parameters keep what a backward pass brings."""
        return {}

    @property
    def parents(self) -> list["Node[Any]"]:
        """The nodes this one was computed from, each once; empty for a root."""
        return list(dict.fromkeys(item for item in self._inputs if isinstance(item, Node)))

    @property
    def inputs(self) -> dict[str, "Node[Any]"]:
        """The inputs by name. Plain values are shown as nodes made for the occasion."""
        return {key: value if isinstance(value, Node) else Constant(value) for key, value in self.raw_inputs()}

    @property
    def is_root(self) -> bool:
        return not self._inputs

    def backward(
        self,
        feedback: Any = "",
        propagator: Propagator | None = None,
        *,
        retain_graph: bool = False,  # noqa: ARG002 - nothing is released before the output itself is
        visualize: bool = False,
        print_limit: int = 100,
    ) -> Any:
        """Send *feedback* on this node backward to the parameters it was computed from.

        Args:
            feedback: Text, a number (higher is better), ``(score, text)``, an exception, or a `Feedback`.
            propagator: How feedback passes a node; the default hands each parameter the trace graph.
            retain_graph: Accepted as in PyTorch. A graph lives as long as its output in any case.
            visualize: Return a picture of the graph (a `graphviz.Digraph`) instead of None.
            print_limit: Characters of a value that the picture shows.

        Raises:
            BackwardError: *feedback* is of no kind that the propagator knows.
        """
        nodes = backward([self], [feedback], propagator=propagator)
        if not visualize:
            return None
        return TraceGraph(nodes[-1:]).to_graphviz(max_value=print_limit)

    def __reduce__(self) -> tuple[Any, ...]:
        # A deep copy, and what comes out of a pickle, is a root with a birth of its own: the value, not its history.
        return _revived_node, (self._data, self.stem, self.description)

    def __repr__(self) -> str:
        value = repr(self._data)
        return f"<{type(self).__name__} {self.name} = {value if len(value) <= 80 else value[:79] + '…'}>"


class ParameterNode(Node[T]):
    """A node that an optimizer may replace. Make it with ``node(value, trainable=True)``.

    Attributes:
        domain: What the value may be.
        feedback: ``{sender: [feedback, …]}``, filled by backward passes until `zero_feedback`.
    """

    __slots__ = ("_feedback", "_trainable", "domain")

    def __init__(
        self,
        data: T,
        *,
        name: str | None = None,
        description: str | None = None,
        trainable: bool = True,
        domain: Any = None,
    ) -> None:
        super().__init__(data, name=name, description=description)
        self._trainable = trainable
        try:
            self.domain: Domain = as_domain(domain, data)
            # As the domain reads it: a parameter with domain=float that starts as 7 is 7.0.
            self._data = data if domain is None else self.domain.accept(data)
        except DomainError as error:
            raise DomainError(f"Parameter {self.name!r}: {error.problem}", mend=error.mend) from None
        self._feedback: dict[Node[Any], list[Any]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _revived_parameter, (self._data, self.stem, self._description, self._trainable, self.domain)

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
        return self.domain.accept(raw)  # type: ignore[no-any-return]

    def _set(self, value: Any) -> None:
        """Replace the value as it is, unchecked (`Optimizer.step` checks before)."""
        self._data = unpack(value)


class Constant(Node[T]):
    """A plain input of an operator, shown as a node. It is part of no graph; feedback for it goes nowhere."""

    __slots__ = ()


class MessageNode(Node[T]):
    """The result of an operator. Made by `record` only."""

    __slots__ = ("_keys", "_operator")
    _keys: tuple[str, ...]
    _operator: Operator

    def __init__(self, *_: Any, **__: Any) -> None:
        raise GraphError("A MessageNode is not made by hand.", mend="Call a bundled function or an operator.")

    @property
    def stem(self) -> str:
        return self._operator.name

    @property
    def kind(self) -> Kind:
        return "result"

    @property
    def operator(self) -> Operator:
        return self._operator

    @property
    def description(self) -> str | None:
        return self._operator.description

    @property
    def is_recorded(self) -> bool:
        return len(self._inputs) == len(self._keys)

    def raw_inputs(self) -> list[tuple[str, Any]]:
        return list(zip(self._keys, self._inputs, strict=False))


class ExceptionNode(MessageNode[str]):
    """What stands in the graph where an operator raised. It can be given feedback like any result.

    Its value is the error in one line, such as ``(ZeroDivisionError) division by zero``.
    """

    __slots__ = ("traceback",)
    #: The lines of user code that the error came through.
    traceback: str

    @property
    def kind(self) -> Kind:
        return "exception"

    def create_feedback(self, style: str = "simple") -> str:
        """Return the error as feedback: one line (``simple``), or with the lines of code (``full``)."""
        return self.traceback if style == "full" else self._data

    def __reduce__(self) -> tuple[Any, ...]:
        return _revived_exception, (self._data, self.stem, self.traceback)


def _revived_node(data: Any, stem: str, description: str | None) -> "Node[Any]":
    return Node(data, name=stem, description=description)


def _revived_parameter(data: Any, stem: str, description: str | None, trainable: bool, domain: Domain) -> Any:
    return ParameterNode(data, name=stem, description=description, trainable=trainable, domain=domain)


def _revived_exception(data: str, stem: str, traceback: str) -> ExceptionNode:
    revived = record(Operator(stem, str), (), (), data, ExceptionNode)
    revived.traceback = traceback
    return revived


_new = object.__new__
N = TypeVar("N", bound=MessageNode[Any])


def record(
    operator: Operator,
    keys: tuple[str, ...],
    inputs: tuple[Any, ...],
    value: Any,
    kind: type[N] = MessageNode,  # type: ignore[assignment]  # a default cannot be generic
) -> N:
    """Return *value* as the result of *operator* on *inputs*. Every edge of every graph is made here.

    Args:
        operator: What was called.
        keys: Names of the inputs, in order.
        inputs: Nodes and plain values. Plain values are kept as they are: they have no parents to find.
        value: The result, plain.
        kind: Class of the node.
    """
    scope = current_scope()
    if scope is not None:
        for item in inputs:
            if isinstance(item, Node):
                note_read(scope, item)
        inputs = ()
    # Attributes are set from here, not in __init__: a traced operator is as fast as making its node.
    result = _new(kind)
    result._data = value
    result._name = None
    result.birth = next_birth()
    result._operator = operator
    result._keys = keys
    result._inputs = inputs
    return result


def node(
    data: Any,
    name: str | None = None,
    trainable: bool = False,
    description: str | None = None,
    *,
    domain: Any = None,
) -> Any:
    """Return *data* as a node of a trace graph.

    Args:
        data: Any value; stored as it is, never copied. A node is returned unchanged, unless *trainable*.
        name: Stem of the node's name; the default is the name of the value's type.
        trainable: True for a parameter: a node that an optimizer may replace.
        description: What the value means, in words for whoever optimizes.
        domain: What a parameter may be: a `Domain` such as ``Range(15, 90)``, a `range`, a list of options, or
            a type. The default is the type of *data*.

    Raises:
        DomainError: *data* lies outside *domain*, or a domain is given for what is no parameter.

    Example:
        >>> green = node(30, name="green", trainable=True, domain=range(15, 91))
        >>> green
        <ParameterNode green:0 = 30>
        >>> node(97, name="red", trainable=True, domain=range(15, 91))
        Traceback (most recent call last):
        opto.errors.DomainError: Parameter 'red:0': 97 lies outside the range. Choose an integer from 15 to 90.
    """
    if trainable:
        return ParameterNode(unpack(data), name=name, description=description, domain=domain)
    if domain is not None:
        raise DomainError("A domain was given for a node that is no parameter.", mend="Add trainable=True.")
    return data if isinstance(data, Node) else Node(data, name=name, description=description)


def pack(value: Any) -> Any:
    """Return *value* as an input to record: a container with nodes in it becomes a node of its own.

    So the nodes inside are parents, and feedback reaches them.

    Example:
        >>> a = node(1, name="a")
        >>> packed = pack([a, 2])
        >>> packed.data, packed.parents == [a], pack([1, 2])
        ([1, 2], True, [1, 2])
    """
    container = CONTAINERS.get(type(value))
    if container is None:
        return value
    items = container.items(value)
    inputs = tuple(map(pack, items))
    if not any(isinstance(item, Node) for item in inputs):
        return value
    plain = [unpack(item) for item in items]
    return record(container.operator, tuple(map(str, range(len(inputs)))), inputs, container.build(plain))


def failure(operator: Operator, keys: tuple[str, ...], inputs: tuple[Any, ...], cause: Exception) -> ExecutionError:
    """Return the error to raise when *operator* raised *cause*, with a recorded `ExceptionNode` in it."""
    raised = original(cause)
    exception_node = record(operator, keys, inputs, in_words(raised), ExceptionNode)
    # Text, not the exception itself: its traceback would keep every local variable alive.
    exception_node.traceback = annotated_traceback(raised, _PACKAGE)
    return as_execution_error(
        cause,
        f"{operator.name} raised {type(raised).__name__}: {message(raised)}".rstrip(": ") + ".",
        mend="Mend the code, or catch ExecutionError and give feedback to its exception_node.",
        exception_node=exception_node,
    )


_PACKAGE = __file__.rpartition("nodes")[0]

# Below `Node`, operators need to know how results are recorded; here is how.
ValueLike._record = staticmethod(record)
ValueLike._pack = staticmethod(pack)
ValueLike._failure = staticmethod(failure)
