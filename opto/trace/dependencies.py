"""What a call depended on besides its arguments, and whether it left those as they were."""

from collections.abc import Iterable
from typing import Any

from opto.nodes import CONTAINERS, MessageNode, warn_if_changed

__all__ = ["SCALARS", "hidden_reads", "warn_of_changes"]


def warn_of_changes(name: str, keys: Iterable[str], values: Iterable[Any], before: Iterable[Any]) -> None:
    """Warn of each of *values* that is no longer what its fingerprint in *before* says."""
    for key, value, was in zip(keys, values, before, strict=True):
        warn_if_changed(name, key, value, was, stacklevel=4)


def hidden_reads(reads: list[Any], given: Iterable[Any]) -> list[Any]:
    """Return those of *reads* that were not given, directly or in a container."""
    known: set[int] = set()
    waiting = list(given)
    while waiting:
        item = waiting.pop()
        known.add(id(item))
        if isinstance(item, MessageNode) and item.operator in _PACKERS:
            waiting += item._inputs  # noqa: SLF001 - a container's items
    return [item for item in reads if id(item) not in known]


#: Results that hold no node and are no container: they need no second look.
SCALARS = frozenset({int, float, str, bool, type(None), bytes, complex})
_PACKERS = {container.operator for container in CONTAINERS.values()}
