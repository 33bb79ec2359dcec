"""Nodes inside containers: whether there are any, and the containers with something else in their place.

Values are gone through without recursion, because they may be as deep as a program likes, and may contain themselves.
"""

from collections.abc import Callable
from typing import Any

from opto.nodes.constants import attempt
from opto.nodes.containers import CONTAINERS, SCALARS, Container, container_of
from opto.nodes.vertex import Vertex

__all__ = ["holds_node", "rebuilt", "unpack"]


def unpack(value: Any) -> Any:
    """Return *value* with every node in it (itself, or inside containers) replaced by its plain value.

    A container without nodes is returned as it is, not copied.
    """
    if isinstance(value, Vertex):
        return value.data  # type: ignore[attr-defined]  # every vertex is a node, and to take it out is to read it
    kind: type = type(value)
    return value if container_of(kind) is None or not holds_node(value) else rebuilt(value, _plain)


def _plain(container: Container, old: Any, parts: list[Any]) -> Any:
    plain = [part.data if isinstance(part, Vertex) else part for part in parts]  # type: ignore[attr-defined]
    return attempt(container.build, old, plain, fallback=old)


def holds_node(value: Any) -> bool:
    """True if there is a node in *value* at any depth."""
    waiting, seen = [value], {}
    while waiting:
        item = waiting.pop()
        kind: type = type(item)
        container = container_of(kind)
        if container is None or id(item) in seen:
            continue
        seen[id(item)] = item  # kept, so that no other object takes its place in memory
        # Listed, because other threads may change it meanwhile; with care only where code of users may run.
        listed = list(container.every(item)) if kind in CONTAINERS else attempt(_listed, container, item, fallback=[])
        for part in listed:
            if part.__class__ not in SCALARS:
                if isinstance(part, Vertex):
                    return True
                waiting.append(part)
    return False


def _listed(container: Container, item: Any) -> list[Any]:
    return list(container.every(item))


def rebuilt(value: Any, make: Callable[[Container, Any, list[Any]], Any]) -> Any:
    """Return *value* with each container in it that holds nodes replaced by ``make(container, old, parts)``.

    The innermost come first, and each once, however often it occurs: what was the same object is so still. What
    contains itself finds itself in its parts as it was; what cannot be gone through is a value like any other.
    """
    entered: dict[int, Any] = {}
    made: dict[int, Any] = {}
    # Containers wait twice: to be taken apart and, behind their parts, to be put together again.
    waiting: list[tuple[Any, Container | None, list[Any]]] = [(value, None, [])]
    while waiting:
        item, container, parts = waiting.pop()
        if container is not None:
            if any(isinstance(part, Vertex) or id(part) in made for part in parts):
                made[id(item)] = make(container, item, [made.get(id(part), part) for part in parts])
            continue
        kind: type = type(item)
        container = container_of(kind)
        # Sets take long to be put in order.
        if container is None or id(item) in entered or (isinstance(item, set | frozenset) and not holds_node(item)):
            continue
        entered[id(item)] = item
        parts = attempt(container.items, item, fallback=[])
        waiting.append((item, container, parts))
        waiting += [(part, None, []) for part in reversed(parts) if part.__class__ not in SCALARS]
    return made.get(id(value), value)
