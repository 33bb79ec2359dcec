"""Containers in which nodes are looked for: how each class is taken apart and built again."""

from collections import ChainMap, UserDict, UserList, deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from copy import copy
from functools import lru_cache
from itertools import chain
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

from opto.nodes.operators import Operator
from opto.nodes.vertex import Vertex

__all__ = ["CONTAINERS", "SCALARS", "Container", "container_of"]


class Container(NamedTuple):
    """A class of containers, as far as nodes in them are concerned.

    Attributes:
        operator: What stands in a graph for the making of one.
        items: Its items in an order that depends on the items only. A dict's keys come before its values.
        build: A container like another one, from such a list.
        every: The same items in any order, one by one.
        names: The names of the items; None if they go by position.
    """

    operator: Operator
    items: Callable[[Any], list[Any]]
    build: Callable[[Any, list[Any]], Any]
    every: Callable[[Any], Iterable[Any]]
    names: Callable[[Any], Sequence[str]] | None = None


def _items(left: str, right: str) -> Callable[[Mapping[str, str]], str]:
    return lambda arguments: f"{left}{', '.join(arguments.values())}{right}"


def _write_tuple(arguments: Mapping[str, str]) -> str:
    comma = "," if len(arguments) == 1 else ""
    return f"({', '.join(arguments.values())}{comma})"


def _write_dict(arguments: Mapping[str, str]) -> str:
    written = list(arguments.values())
    half = len(written) // 2
    return "{" + ", ".join(f"{key}: {value}" for key, value in zip(written[:half], written[half:], strict=True)) + "}"


def _write_slice(arguments: Mapping[str, str]) -> str:
    return f"slice({', '.join(arguments.values())})"


def _in_order(items: Iterable[Any]) -> list[Any]:
    # The order of a set is that of hashes, which differ from process to process.
    return sorted(
        items,
        key=lambda item: (item.birth, "", "") if isinstance(item, Vertex) else (-1, type(item).__name__, repr(item)),
    )


def _build_dict(_: Any, items: list[Any]) -> dict[Any, Any]:
    half = len(items) // 2
    return dict(zip(items[:half], items[half:], strict=True))


def _make(name: str, words: str, template: Callable[[Mapping[str, str]], str]) -> Operator:
    return Operator(name, tuple, description=words, template=template, packs=True)


#: Classes of values that hold nothing: they need no second look.
SCALARS: frozenset[type] = frozenset({int, float, str, bool, type(None), bytes, complex})

#: Containers in which nodes are looked for, by class; `container_of` knows more.
CONTAINERS: dict[type, Container] = {
    list: Container(_make("list", "A list of the items.", _items("[", "]")), list, lambda _, items: items, iter),
    tuple: Container(_make("tuple", "A tuple of the items.", _write_tuple), list, lambda _, items: tuple(items), iter),
    set: Container(_make("set", "A set of the items.", _items("{", "}")), _in_order, lambda _, items: set(items), iter),
    dict: Container(
        _make("dict", "A dict of the items, by key.", _write_dict),
        lambda old: [*old, *old.values()],
        _build_dict,
        lambda old: chain(old, old.values()),
    ),
    slice: Container(
        _make("slice", "Positions from start to stop.", _write_slice),
        lambda old: [old.start, old.stop, old.step],
        lambda _, items: slice(*items),
        lambda old: (old.start, old.stop, old.step),
    ),
}


def container_of(kind: type) -> Container | None:
    """Return how nodes are found in objects of class *kind*; None if they are looked at as a whole.

    Besides the built-in containers: their subclasses, named tuples and deques; and what keeps its items in attributes:
    dataclasses, attrs classes, pydantic models, namespaces, `UserList`, `UserDict`, and classes that say so with
    ``__node_container__ = True``.
    """
    return CONTAINERS.get(kind) or _learnt(kind)


@lru_cache(maxsize=1024)
def _learnt(kind: Hashable) -> Container | None:
    assert isinstance(kind, type)
    words = f"A {kind.__name__} of the items."
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        fields = kind._fields
        # Past a __new__ that takes something else.
        return Container(_named(kind), list, lambda _, items: tuple.__new__(kind, items), iter, lambda _: fields)
    if issubclass(kind, frozenset):
        return Container(_make("frozenset", words, _call_of(kind)), _in_order, lambda _, items: kind(items), iter)
    if issubclass(kind, list | deque):
        return Container(_make(kind.__name__, words, _call_of(kind)), list, _refilled, iter)
    if issubclass(kind, dict | MappingProxyType):
        known = CONTAINERS[dict]
        operator = _make(kind.__name__, words, lambda arguments: f"{kind.__name__}({_write_dict(arguments)})")
        if kind is MappingProxyType:
            return known._replace(operator=operator, build=lambda old, items: kind(_build_dict(old, items)))
        return known._replace(operator=operator, build=lambda old, items: _refilled(old, _build_dict(old, items)))
    fields = next((list(found) for place in _FIELDS if isinstance(found := getattr(kind, place, None), dict)), None)
    if attributes := getattr(kind, "__attrs_attrs__", None):
        fields = [attribute.name for attribute in attributes]
    if fields is not None:
        return _of_attributes(kind, lambda old: [name for name in fields if hasattr(old, name)])
    if getattr(kind, "__node_container__", False) or issubclass(kind, _OF_ATTRIBUTES):
        slots = _slots_of(kind)
        return _of_attributes(kind, lambda old: [*(n for n in slots if hasattr(old, n)), *getattr(old, "__dict__", ())])
    return None


#: Where classes say which fields they have, by name: dataclasses, and pydantic models.
_FIELDS = ("__dataclass_fields__", "__pydantic_fields__")
_OF_ATTRIBUTES = (SimpleNamespace, UserList, UserDict, ChainMap)


def _slots_of(kind: type) -> list[str]:
    """Return the names of the attributes that objects of class *kind* keep in slots."""
    declared = [vars(base).get("__slots__", ()) for base in kind.__mro__]
    names = [name for slots in declared for name in ((slots,) if isinstance(slots, str) else slots)]
    return [name for name in names if name not in {"__dict__", "__weakref__"}]


def _named(kind: type) -> Operator:
    return Operator(kind.__name__, kind, description=f"A {kind.__name__} of the items.", packs=True)


def _call_of(kind: type) -> Callable[[Mapping[str, str]], str]:
    return lambda arguments: f"{kind.__name__}([{', '.join(arguments.values())}])"


def _refilled(old: Any, items: Any) -> Any:
    """Return a copy of *old*, with whatever else it holds, with other *items*."""
    new = copy(old)
    new.clear()
    (new.update if isinstance(new, dict) else new.extend)(items)
    return new


def _of_attributes(kind: type, names: Callable[[Any], list[str]]) -> Container:
    def items(old: Any) -> list[Any]:
        return [getattr(old, name) for name in names(old)]

    def build(old: Any, values: list[Any]) -> Any:
        new = copy(old)
        for name, value in zip(names(old), values, strict=True):
            object.__setattr__(new, name, value)  # frozen dataclasses as well: nobody has seen this one yet
        return new

    return Container(_named(kind), items, build, items, names)
