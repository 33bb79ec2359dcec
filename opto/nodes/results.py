"""Results, and `record`: the one function that makes the edges of every graph."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Self, TypeVar

from opto.errors import ExecutionError, StoppingError
from opto.nodes import valuelike
from opto.nodes.constants import attempt
from opto.nodes.containers import Container, container_of
from opto.nodes.failures import annotated_traceback, as_execution_error, in_words, message, original
from opto.nodes.node import Node
from opto.nodes.operators import Operator
from opto.nodes.packing import holds_node, rebuilt, unpack
from opto.nodes.picture import Kind
from opto.nodes.scope import current_scope, note_read
from opto.nodes.vertex import births

__all__ = ["ExceptionNode", "MessageNode", "Numbered", "failure", "pack", "record"]

T = TypeVar("T")


class MessageNode(Node[T]):
    """The result of an operator: of bundled functions and of operators on nodes, or of what was done elsewhere.

    Args:
        value: The result, plain.
        inputs: What it was computed from, by name, or as a list.
        description: What was done, after the operator's name in square brackets.
        name: Name of the operator, if the description does not begin with it.

    Example:
        >>> from opto.nodes import node
        >>> query = node("opto")
        >>> hits = MessageNode(3, inputs={"query": query}, description="[search] Counts the pages found.")
        >>> hits.op_name, hits.description, hits.parents[0] is query
        ('search', 'Counts the pages found.', True)
    """

    __slots__ = ("_keys", "_operator")
    _keys: Collection[str]
    _operator: Operator

    def __new__(
        cls, value: T, *, inputs: Mapping[str, Any] | Iterable[Any], description: str = "", name: str | None = None
    ) -> Self:
        operator = Operator.described(description, name or type(value).__name__)
        if not isinstance(inputs, Mapping):
            inputs = {f"args_{index}": item for index, item in enumerate(inputs)}
        return record(operator, tuple(inputs), tuple(inputs.values()), unpack(value), cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        """Do nothing: `record` has made the node already."""

    @property
    def stem(self) -> str:
        return self._operator.name

    @property
    def op_name(self) -> str:
        return self._operator.name

    @property
    def info(self) -> dict[str, Any]:
        inputs = self.inputs
        given = {key: item for key, item in inputs.items() if key[0] != " " and key != "__code"}
        named = {key.split("[")[1][:-1]: item for key, item in given.items() if key.startswith("**")}
        return {
            "fun_name": self.op_name,
            "doc": self.description or "",
            "inputs": {"args": [item for key, item in given.items() if not key.startswith("**")], "kwargs": named},
            # What ran inside, where that is part of the graph; else the plain result.
            "output": inputs.get(" inside", self._data),
            "external_dependencies": [item for key, item in inputs.items() if key.startswith(" reads ")],
        }

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

    Args:
        value: The exception, or what to say of it.
        inputs: What the operator was given, by name, or as a list.
        description: What it does, after its name in square brackets.
        name: Its name, if the description does not begin with it.

    Example:
        >>> from opto.nodes import node
        >>> move = node("left", trainable=True)
        >>> broken = ExceptionNode(ValueError("a wall"), inputs={"move": move}, description="[step] Moves the robot.")
        >>> broken.data, broken.op_name, broken.parents[0] is move
        ('(ValueError) a wall', 'step', True)
    """

    __slots__ = ("traceback",)
    #: The lines of user code that the error came through.
    traceback: str

    def __new__(
        cls,
        value: BaseException | str,
        *,
        inputs: Mapping[str, Any] | Iterable[Any],
        description: str = "",
        name: str | None = None,
    ) -> Self:
        raised = original(value) if isinstance(value, BaseException) else None
        said = str(value) if raised is None else in_words(raised)
        made = super().__new__(cls, said, inputs=inputs, description=description, name=name or "exception")
        made.traceback = said if raised is None else annotated_traceback(raised, _PACKAGE)
        return made

    @property
    def kind(self) -> Kind:
        return "exception"

    @property
    def info(self) -> dict[str, Any]:
        return {**super().info, "error_comment": self.traceback, "traceback": self.traceback}

    def create_feedback(self, style: str = "simple") -> str:
        """Return the error as feedback: one line (``simple``), or with the lines of code (``full``)."""
        return self.traceback if style == "full" else self._data

    def __reduce__(self) -> tuple[Any, ...]:
        return _revived_exception, (self._data, self.stem, self.traceback)


def _revived_exception(data: str, stem: str, traceback: str) -> ExceptionNode:
    revived = record(Operator(stem, str), (), (), data, ExceptionNode)
    revived.traceback = traceback
    return revived


_new = object.__new__
N = TypeVar("N", bound=MessageNode[Any])


def record(
    operator: Operator,
    keys: Collection[str],
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
    result.birth = next(births)
    result._operator = operator
    result._keys = keys
    result._inputs = inputs
    return result


class Numbered(Collection[str]):
    """Names of inputs that go by number, made when somebody asks: a million texts would take as much as the nodes.

    Example:
        >>> list(Numbered(2, form="*items[{}]", first=("x",), last=("y",)))
        ['x', '*items[0]', '*items[1]', 'y']
    """

    __slots__ = ("_count", "_first", "_form", "_last")

    def __init__(
        self, count: int, *, form: str = "{}", first: tuple[str, ...] = (), last: tuple[str, ...] = ()
    ) -> None:
        self._count, self._form, self._first, self._last = count, form, first, last

    def __iter__(self) -> Iterator[str]:
        return chain(self._first, map(self._form.format, range(self._count)), self._last)

    def __len__(self) -> int:
        return len(self._first) + self._count + len(self._last)

    def __contains__(self, key: object) -> bool:
        return any(key == own for own in self)


def pack(value: Any) -> Any:
    """Return *value* as an input to record: a container with nodes in it becomes a node of its own.

    So the nodes inside are parents, and feedback reaches them.

    Example:
        >>> from opto.nodes import node
        >>> a = node(1, name="a")
        >>> packed = pack([a, 2])
        >>> packed.data, packed.parents == [a], pack([1, 2])
        ([1, 2], True, [1, 2])
    """
    kind: type = type(value)
    return value if container_of(kind) is None or not holds_node(value) else rebuilt(value, _packed)


def _packed(container: Container, old: Any, parts: list[Any]) -> MessageNode[Any]:
    keys = Numbered(len(parts)) if container.names is None else tuple(container.names(old))
    plain = [part._data if isinstance(part, Node) else part for part in parts]
    return record(container.operator, keys, tuple(parts), attempt(container.build, old, plain, fallback=old))


def failure(operator: Operator, keys: Collection[str], inputs: tuple[Any, ...], cause: Exception) -> ExecutionError:
    """Return the error to raise when *operator* raised *cause*, with a recorded `ExceptionNode` in it.

    Raises:
        StoppingError: That is the cause: it is no failure of the operator.
    """
    if isinstance(cause, StoppingError):
        raise cause
    raised = original(cause)
    exception_node = record(operator, keys, inputs, in_words(raised), ExceptionNode)
    # Text, not the exception itself: its traceback would keep every local variable alive.
    exception_node.traceback = annotated_traceback(raised, _PACKAGE)
    return as_execution_error(
        cause,
        f"{operator.name} raised {type(raised).__name__}: {message(raised)}".rstrip(": .") + ".",
        mend="Mend the code, or catch ExecutionError and give feedback to its exception_node.",
        exception_node=exception_node,
    )


_PACKAGE = __file__.rpartition("nodes")[0]

# Below `Node`, operators need to know how results are recorded; here is how.
valuelike.record, valuelike.pack, valuelike.failure = record, pack, failure
