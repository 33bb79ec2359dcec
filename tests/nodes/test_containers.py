"""Nodes are found in containers of every kind: among arguments, in results, and in what objects give away."""

from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, defaultdict, deque
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import pytest

from opto.nodes import node, unpack
from opto.nodes.containers import CONTAINERS, container_of
from opto.trace import NodeContainer, bundle
from opto.trace.containers import Map, Seq


@dataclass
class Open:
    item: Any
    rest: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    item: Any
    rest: Any = None


class Named(NamedTuple):
    item: Any
    rest: Any = None


class Shown:
    __slots__ = ()

    def __repr__(self):
        return f"{type(self).__name__}({self.item!r})"


class Owner(Shown, NodeContainer):
    def __init__(self, item):
        self.item = item


class SlottedOwner(Shown, NodeContainer):
    __slots__ = ("item", "unset")

    def __init__(self, item):
        self.item = item


class Model(Shown):
    """As pydantic keeps its fields: by name at the class, and in the attributes of the object."""

    __pydantic_fields__ = {"item": None}  # noqa: RUF012 - as it is there

    def __init__(self, item):
        self.item = item


class Field(NamedTuple):
    name: str


class Defined(Shown):
    """As attrs keeps them."""

    __attrs_attrs__ = (Field("item"),)

    def __init__(self, item):
        self.item = item


class MyList(list):
    pass


class MyDict(dict):
    pass


MAKERS = {
    "list": lambda item: [item, 1],
    "tuple": lambda item: (item, 1),
    "set": lambda item: {item, 8},  # not a text: their order differs from process to process
    "frozenset": lambda item: frozenset({item}),
    "dict": lambda item: {"key": item},
    "key": lambda item: {item: 1},
    "slice": lambda item: slice(item, None),
    "deque": lambda item: deque([item], maxlen=3),
    "OrderedDict": lambda item: OrderedDict(key=item),
    "defaultdict": lambda item: defaultdict(list, key=item),
    "Counter": lambda item: Counter({"key": item}),
    "ChainMap": lambda item: ChainMap({}, {"key": item}),
    "MappingProxyType": lambda item: MappingProxyType({"key": item}),
    "UserList": lambda item: UserList([item]),
    "UserDict": lambda item: UserDict(key=item),
    "SimpleNamespace": lambda item: SimpleNamespace(item=item),
    "list subclass": lambda item: MyList([item]),
    "dict subclass": lambda item: MyDict(key=item),
    "dataclass": Open,
    "frozen dataclass": lambda item: Closed(item=item),
    "named tuple": Named,
    "NodeContainer": Owner,
    "NodeContainer with slots": SlottedOwner,
    "pydantic": Model,
    "attrs": Defined,
    "Seq": lambda item: Seq(item, 1),
    "Map": lambda item: Map({"key": item}),
}
NO_KEYS = {"set", "frozenset", "key", "slice", "Counter"}


@pytest.fixture
def x():
    return node(7, trainable=True, name="x")


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("around", ["nothing", *(kind for kind in MAKERS if kind not in NO_KEYS)])
def test_nodes_among_arguments(x, kind, around):
    def make(item):
        inside = MAKERS[kind](item)
        return inside if around == "nothing" else MAKERS[around](inside)

    given = make(x)

    @bundle
    def take(value, *more, key):
        # Plain values only: reading a node in here would be an error.
        assert repr(value) == repr(more[0]) == repr(key) == repr(make(7))
        return 1

    take(given, given, key=given).backward("feedback")
    assert len(x.feedback) == 1
    x.zero_feedback()
    node(given).backward("feedback")
    assert len(x.feedback) == 1
    assert unpack(given) is not given


@pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind != "slice"])
def test_nodes_in_results(x, kind):
    make = MAKERS[kind]

    @bundle(allow_external_dependencies=True)
    def give():
        return make(x)

    output = give()
    assert repr(output.data) == repr(make(7))
    output.backward("feedback")
    assert len(x.feedback) == 1


USES = {
    "method": lambda holder: holder.method(),
    "property": lambda holder: holder.held,
    "item": lambda holder: holder[0],
    "iteration": lambda holder: next(iter(holder)),
    "reversed": lambda holder: next(reversed(holder)),
    "next": next,
    "call": lambda holder: holder(),
    "operator": lambda holder: holder + 1,
    "reflected": lambda holder: 1 + holder,
    "unary": lambda holder: -holder,
    "round": round,
    "comparison": lambda holder: holder < 1,
    "equality": lambda holder: holder.eq(1),
    "with": lambda holder: holder.__enter__(),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", [None, "list", "dict", "frozen dataclass"])
def test_nodes_that_an_object_gives_away(x, use, kind):
    """What is no container may hold nodes as well: they are found when they come out."""
    found = x if kind is None else MAKERS[kind](x)

    class Holder:
        held = property(lambda self: found)
        __hash__ = None

        def method(self, *_):
            return found

        __getitem__ = __next__ = __call__ = __add__ = __radd__ = __neg__ = __round__ = __lt__ = __eq__ = method
        __enter__ = method

        def __iter__(self):
            yield found

        __reversed__ = __iter__

        def __exit__(self, *_):
            pass

    output = USES[use](node(Holder()))
    assert repr(output.data) == repr(7 if kind is None else MAKERS[kind](7))
    output.backward("feedback")
    assert len(x.feedback) == 1


def test_what_a_container_holds_besides_its_items_is_kept(x):
    assert unpack(deque([x], maxlen=3)).maxlen == 3
    assert unpack(defaultdict(list, key=x)).default_factory is list
    kept = MyList([x])
    kept.note = "kept"
    assert unpack(kept).note == "kept"
    assert kept[0] is x


@pytest.mark.parametrize("kind", MAKERS)
def test_containers_without_nodes_are_not_copied(kind):
    plain = MAKERS[kind](7)
    assert unpack(plain) is plain


def test_the_table_and_what_is_learnt_from_it_do_not_overlap():
    assert all(container_of(kind) is known for kind, known in CONTAINERS.items())
    assert container_of(int) is container_of(object) is container_of(type) is None
