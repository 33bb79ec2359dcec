"""Nodes inside containers of every kind are inputs, and the function gets plain values."""

from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest

from opto.nodes import TraceGraph, node, pack, unpack
from opto.trace import NodeContainer, bundle


class Pair(NamedTuple):
    left: object
    right: object


@dataclass
class Point:
    x: object
    y: object = 1
    made: list = field(default_factory=list, repr=False)

    def __post_init__(self):
        self.made.append("made")


@dataclass(frozen=True, slots=True)
class Fixed:
    x: object


class Bag(NodeContainer):
    def __init__(self, item):
        self.item = item
        self.label = "bag"


class Many(list):
    pass


@bundle
def show(thing):
    return thing


def of(make):
    weight = node(2, name="weight", trainable=True)
    return weight, make(weight)


MAKERS = {
    "list": lambda item: [item, 1],
    "nested": lambda item: {"a": [(item,), {item}]},
    "namedtuple": lambda item: Pair(item, 1),
    "dataclass": Point,
    "frozen": Fixed,
    "container": Bag,
    "ordered": lambda item: OrderedDict(a=item),
    "default": lambda item: defaultdict(list, a=item),
    "deque": lambda item: deque([item], maxlen=3),
    "frozenset": lambda item: frozenset([item]),
    "subclass": lambda item: Many([item]),
    "deep": lambda item: Point([Pair(Fixed(item), 1)]),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_feedback_reaches_what_is_inside(make):
    weight, thing = of(make)

    result = show(thing)
    result.backward("good")

    assert len(weight.feedback) == 1
    assert type(result.data) is type(thing)
    assert TraceGraph([result]).parameters == (weight,)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_the_container_that_was_given_is_left_alone(make):
    _, thing = of(make)
    before = repr(thing)

    pack(thing)

    assert repr(thing) == before


def test_values_inside_are_plain_and_the_rest_is_kept():
    weight, thing = of(lambda item: Point(item, [item]))
    plain = unpack(thing)

    assert (plain.x, plain.y) == (2, [2])
    assert plain.made == ["made"], "nothing is made anew"
    assert unpack(defaultdict(list, a=weight)).default_factory is list
    assert unpack(deque([weight], maxlen=3)).maxlen == 3
    assert unpack(Bag(weight)).label == "bag"


def test_calls_are_written_as_python():
    weight = node(2, name="weight", trainable=True)

    def text(thing):
        return TraceGraph([pack(thing)]).to_text().splitlines()[-1].partition("  ")[0]

    assert text(Pair(weight, 1)) == "Pair0 = Pair(left=weight, right=1)"
    assert text(deque([weight])) == "deque0 = deque([weight])"
    assert text(OrderedDict(a=weight)) == "OrderedDict0 = OrderedDict({'a': weight})"


@pytest.mark.parametrize("plain", [Point(1), Pair(1, 2), Many([1]), Bag(1), OrderedDict(a=1), object()])
def test_what_holds_no_node_is_passed_as_it_is(plain):
    assert pack(plain) is plain
    assert unpack(plain) is plain
    assert show(plain).data is plain


def test_results_are_plain_inside():
    weight = node(2, trainable=True)

    @bundle(allow_external_dependencies=True)
    def make():
        return Point(weight)

    result = make()

    assert result.data.x == 2
    result.backward("good")
    assert len(weight.feedback) == 1


def test_what_is_shared_stays_shared():
    weight = node(2, name="weight", trainable=True)
    point = Point(weight)

    @bundle
    def are_one(items):
        return items[0] is items[1]

    result = are_one([point, point])
    assert result.data is True
    assert len(result.parents[0].parents) == 1


def test_trees_whose_branches_know_their_parents():
    weight = node(2, name="weight", trainable=True)
    root = Point(weight, y=[])
    root.y.append(Point(node(3), y=root))

    @bundle
    def total(tree):
        return tree.x + tree.y[0].x + tree.y[0].y.x

    result = total(root)
    assert result == 7
    assert result.parameter_dependencies == {weight}
    assert unpack(root).y[0].x == 3


@pytest.mark.parametrize("wrap", [lambda item: [item], Fixed, lambda item: {"a": item}])
def test_no_depth_is_too_deep(wrap):
    weight = thing = node(2, name="weight", trainable=True)
    for _ in range(5_000):
        thing = wrap(thing)
    packed = pack(thing)
    assert packed.parameter_dependencies == {weight}
    depth, value = 0, unpack(thing)
    while value != 2:
        value = value[0] if isinstance(value, list) else value["a"] if isinstance(value, dict) else value.x
        depth += 1
    assert depth == 5_000


def test_shared_branches_are_gone_through_once():
    weight = thing = node(2, name="weight", trainable=True)
    for _ in range(60):
        thing = [thing, thing]

    @bundle
    def use(items):
        return items is not thing and weight.data

    assert use(thing) == 2


class Offline(list):
    def __iter__(self):
        raise RuntimeError("not now")


class Unset:
    __node_container__ = True

    @property
    def __dict__(self):
        raise RuntimeError("nothing behind this proxy")


@pytest.mark.parametrize("value", [Offline([1]), Unset()])
def test_what_cannot_be_gone_through_is_a_value_like_any_other(value):
    assert pack(value) is unpack(value) is value
    weight = node(2, trainable=True)
    assert pack([weight, value]).data[1] is value


def test_what_cannot_be_built_again_is_given_as_it_is():
    class Uncopyable(Many):
        def __copy__(self):
            raise TypeError("there is one of these only")

    weight = node(2, trainable=True)
    value = Uncopyable([weight])

    @bundle
    def first(items):
        return items[0] + 1

    result = first(value)
    assert result == 3
    assert result.parameter_dependencies == {weight}


def test_named_tuples_that_are_made_of_something_else():
    class Twice(Pair):
        def __new__(cls, item):
            return super().__new__(cls, item, item)

    weight = node(2, trainable=True)
    assert pack(Twice(weight)).data == (2, 2)
    assert type(unpack(Twice(weight))) is Twice


def test_dicts_that_others_fill_while_they_are_gone_through():
    class Filling:
        """Does what other threads do, at the worst time."""

        @property
        def __class__(self):
            shared[len(shared)] = None
            return Filling

    shared = {0: Filling(), 1: Filling()}
    assert pack(shared) is shared
    assert len(shared) > 2
