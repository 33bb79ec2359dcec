"""What the edge to models asks of the trace without knowing it: answered by `opto.nodes` once that is imported."""

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Running", "hooks"]


class Running(NamedTuple):
    """An operator whose body is running.

    Args:
        name: That of the operator in graphs.
        number: What runs within something else has the higher one.
    """

    name: str
    number: int


class _Hooks:
    """The questions.

    Attributes:
        running: Which operator runs here, in this thread or task; None outside of operators.
        plain: A value without nodes: what they hold in their place, and read as far as operators are concerned.
    """

    __slots__ = ("plain", "running")
    running: Callable[[], Running | None]
    plain: Callable[[Any], Any]


hooks = _Hooks()
hooks.running = lambda: None
hooks.plain = lambda value: value
