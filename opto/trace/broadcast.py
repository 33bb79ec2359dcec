"""Applying one operator to all nodes in containers of the same shape."""

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from typing import Any

from opto.errors import GraphError
from opto.nodes import Node
from opto.trace.containers import NodeContainer, ParameterContainer

__all__ = ["apply_op", "recursive_conversion"]


def apply_op(op: Callable[..., Any], output: Any, *args: Any, **kwargs: Any) -> Any:
    """Apply *op* to the nodes that stand in the same place in each of the containers given.

    A node among the arguments meets every node of the containers. What is no node in *output* stays as it is.

    Args:
        op: Takes nodes, such as those in `opto.trace.operators`.
        output: A container to put the results into: a list, a tuple, a dict, or a `NodeContainer`, nested or not.
            All but tuples are changed in place.
        args: Containers of that shape, or nodes.
        kwargs: The same, by name.

    Returns:
        *output*, or for a tuple a new one.

    Raises:
        GraphError: A container has another type or size than *output*.

    Example:
        >>> from opto.nodes import node
        >>> hello, names = node("hi "), [node("Ada"), node("Alan")]
        >>> [item.data for item in apply_op(lambda x, y: x + y, [None, None], hello, names)]
        ['hi Ada', 'hi Alan']
    """
    given = (*args, *kwargs.values())
    if all(isinstance(item, Node) for item in given):
        return op(*args, **kwargs)
    for item in given:
        if not isinstance(item, Node) and type(item) is not type(output):
            raise GraphError(
                f"A {type(item).__name__} stands where the output has a {type(output).__name__}.",
                mend="Give nodes, or containers of the same shape as the output.",
            )

    def at(place: Any, look: Callable[[Any, Any], Any]) -> Any:
        here = [item if isinstance(item, Node) else look(item, place) for item in args]
        named = {name: item if isinstance(item, Node) else look(item, place) for name, item in kwargs.items()}
        return apply_op(op, look(output, place), *here, **named)

    if isinstance(output, list | tuple):
        _check_places(range(len(output)), given, lambda item: range(len(item)), exactly=True)
        results = [at(index, _item) for index in range(len(output))]
        if isinstance(output, tuple):
            return tuple(results)
        output[:] = results
    elif isinstance(output, dict):
        _check_places(output, given, lambda item: item)
        output.update({key: at(key, _item) for key in output})
    elif isinstance(output, NodeContainer | ParameterContainer):
        _check_places(vars(output), given, vars)
        vars(output).update({name: at(name, getattr) for name in vars(output)})
    return output


def _item(container: Any, place: Any) -> Any:
    return container[place]


def _check_places(
    wanted: Iterable[Any], given: Sequence[Any], places: Callable[[Any], Iterable[Any]], *, exactly: bool = False
) -> None:
    for item in given:
        if isinstance(item, Node):
            continue
        missing = [place for place in wanted if place not in set(places(item))]
        spare = [place for place in places(item) if exactly and place not in set(wanted)]
        if missing or spare:
            what = "nothing" if missing else "something"
            raise GraphError(
                f"An argument of apply_op has {what} at {(missing or spare)[0]!r}, unlike the output.",
                mend="Give containers of the same shape as the output.",
            )


def recursive_conversion(true_func: Callable[[Any], Any], false_func: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that applies *true_func* to the nodes in a container, and *false_func* to what is none.

    Example:
        >>> from opto.nodes import node
        >>> recursive_conversion(lambda x: x.data, str)([node(1), (2, {"a": node(3)})])
        [1, ('2', {'a': 3})]
    """

    def convert(value: Any) -> Any:
        if isinstance(value, Node):
            return true_func(value)
        if isinstance(value, tuple | list | set):
            return type(value)(map(convert, value))
        if isinstance(value, dict):
            return {key: convert(item) for key, item in value.items()}
        if isinstance(value, NodeContainer | ParameterContainer):
            converted = copy(value)
            vars(converted).update({name: convert(item) for name, item in vars(value).items()})
            return converted
        return false_func(value)

    return convert
