"""The same few operations in each library, so that graphs of one shape can be built with all of them."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Library(NamedTuple):
    """What building and walking a graph takes.

    Attributes:
        parameter: A number as a parameter.
        total: The sum of many results, as one operation with all of them as inputs.
        backward: Feedback, or a gradient, from a result back to the parameters.
        arrived: True if a parameter was reached.
    """

    parameter: Callable[[float], Any]
    total: Callable[..., Any]
    backward: Callable[[Any], None]
    arrived: Callable[[Any], bool]


def trace() -> Library:
    """Return opto or trace-opt, whichever is installed."""
    from opto.trace import bundle, node

    @bundle()
    def total(*items):
        return sum(items)

    def arrived(parameter):
        return any(parameter.feedback.values())

    return Library(
        lambda value: node(value, trainable=True), total, lambda result: result.backward("Too large."), arrived
    )


def torch() -> Library:
    import torch

    torch.set_num_threads(1)  # CPU time would count all of them
    return Library(
        lambda value: torch.tensor(value, requires_grad=True),
        lambda *items: torch.stack(items).sum(),
        lambda result: result.backward(),
        lambda parameter: parameter.grad is not None,
    )


class Slotted:
    """The least that a traced value can be: a slotted object with a value and a tuple of parents."""

    __slots__ = ("parents", "value")

    def __init__(self, value, parents=()):
        self.value = value
        self.parents = parents

    def __add__(self, other):
        if isinstance(other, Slotted):
            return Slotted(self.value + other.value, (self, other))
        return Slotted(self.value + other, (self,))


def floor() -> Library:
    reached = set()

    def backward(result):
        reached.add(id(result))
        waiting = [result]
        while waiting:
            for parent in waiting.pop().parents:
                if id(parent) not in reached:
                    reached.add(id(parent))
                    waiting.append(parent)

    return Library(
        Slotted,
        lambda *items: Slotted(sum(item.value for item in items), items),
        backward,
        lambda parameter: id(parameter) in reached,
    )


LIBRARIES = {"trace": trace, "torch": torch, "floor": floor}
