"""Containers of nodes: lists, dicts and objects that keep their nodes apart."""

from collections.abc import Iterator, Mapping
from typing import Any, Self

from opto.nodes import CONTAINERS, Node
from opto.trace.ownership import ParameterOwner, items_of

__all__ = ["Map", "NodeContainer", "ParameterContainer", "Seq"]

#: Trace's name for what owns parameters.
ParameterContainer = ParameterOwner


class NodeContainer:
    """An object whose attributes are nodes, or containers of them: `apply_op` goes into it.

    Subclass it to mark your own classes.
    """

    __node_container__ = True


class Seq(ParameterOwner, NodeContainer, list[Any]):
    """A list that can be asked for the parameters in it.

    Example:
        >>> from opto.nodes import node
        >>> steps = Seq(node("plan", trainable=True), Seq(node("act", trainable=True), 5))
        >>> list(steps.parameters_dict()), len(steps)
        (['[0]', '[1][0]'], 2)
    """

    def __init__(self, *items: Any) -> None:
        # One sequence is the items, as in Trace. A node is an item, whatever it holds.
        only = items[0] if len(items) == 1 else None
        is_sequence = hasattr(only, "__len__") and hasattr(only, "__getitem__") and not isinstance(only, Node)
        super().__init__(only if is_sequence and only is not None else items)

    @property
    def data(self) -> Self:
        """The list itself, as programs for Trace ask for it."""
        return self

    def _members(self) -> Iterator[tuple[str, Any]]:
        return items_of(self)


class Map(ParameterOwner, NodeContainer, dict[Any, Any]):
    """A dict that can be asked for the parameters in it: among its values and its keys.

    Example:
        >>> from opto.nodes import node
        >>> prompts = Map({"plan": node("think", trainable=True), "limit": 3})
        >>> list(prompts.parameters_dict()), prompts["limit"]
        (['[plan]'], 3)
    """

    def __init__(self, mapping: Mapping[Any, Any] | None = None) -> None:
        super().__init__(mapping or {})

    @property
    def data(self) -> Self:
        """The dict itself, as programs for Trace ask for it."""
        return self

    def _members(self) -> Iterator[tuple[str, Any]]:
        yield from items_of(self)
        for index, key in enumerate(self):
            yield f".keys[{index}]", key


def _map(_: Any, items: list[Any]) -> Map:
    return Map(CONTAINERS[dict].build(None, items))


# So that operators find the nodes in them, and work on containers of the same class.
CONTAINERS[Seq] = CONTAINERS[list]._replace(build=lambda _, items: Seq(items))
CONTAINERS[Map] = CONTAINERS[dict]._replace(build=_map)
