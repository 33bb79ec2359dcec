"""A value that an operator changes in place is noticed; caches, services and unchanged values raise no alarm."""

import random
import threading
import warnings
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.nodes import fingerprint, node
from opto.nodes.mutation import was_changed
from opto.trace import bundle


@dataclass
class Order:
    amount: int | None = 1
    tags: list = field(default_factory=list)
    _seen: int | None = None


@dataclass(slots=True)
class Slotted:
    amount: int = 1
    tags: list = field(default_factory=list)


class Client:
    """An object with a state that it keeps for itself."""

    def __init__(self):
        self.calls = 0
        self.history = []

    def ask(self, prompt):
        self.calls += 1
        self.history.append(prompt)


@dataclass
class Model:
    """A client that is written as a dataclass."""

    name: str = "small"
    calls: int = 0
    cache: dict = field(default_factory=dict)

    def ask(self, prompt):
        self.calls += 1
        self.cache[prompt] = self.calls


class Lengths(dict):
    def __missing__(self, key):
        self[key] = len(key)
        return self[key]


@dataclass
class Numbers:
    last: int = 0

    def __next__(self):
        self.last += 1
        return self.last


def put(key, value):
    return lambda x: x.__setitem__(key, value)


def give(name, value):
    return lambda x: setattr(x, name, value)


def swap(x):
    x.pop()
    x.append([2])


CHANGES = [
    *((lambda: [2, 1], change) for change in (lambda x: x.append(3), lambda x: x.sort(), put(0, 5), put(0, "2"))),
    *((lambda: [[1], [2]], change) for change in (lambda x: x[0].append(3), swap)),
    (lambda: {"a": [{"b": [1]}]}, lambda x: x["a"][0]["b"].append(2)),
    (lambda: ([1],), lambda x: x[0].append(2)),
    *((lambda: {"a": 1}, change) for change in (put("b", 1), put("a", 2), dict.clear)),
    *((lambda: {1}, change) for change in (lambda x: x.add(2), lambda x: x.symmetric_difference_update({1, 2}))),
    (lambda: bytearray(b"ab"), put(0, 9)),
    (lambda: deque([1, 2]), lambda x: x.rotate()),
    (lambda: Counter("a"), lambda x: x.update("a")),
    (lambda: defaultdict(list), lambda x: x["touched"]),
    (lambda: OrderedDict(a=1, b=2), lambda x: x.move_to_end("a")),
    (lambda: list(range(100_000)), lambda x: x.append(1)),
    *(
        (lambda: np.arange(6.0), change)
        for change in (put(0, 9), lambda x: x.__iadd__(1), lambda x: x.resize((2, 3), refcheck=False))
    ),
    (lambda: np.arange(20).reshape(4, 5)[:, 1:3], put((0, 0), 99)),
    (lambda: np.zeros(1_000_000), lambda x: x.fill(1)),
    (lambda: np.array([[1], None], dtype=object), put(1, "new")),
    (lambda: [np.zeros(3)], lambda x: x[0].fill(1)),
    *((Order, change) for change in (give("amount", 2), lambda x: x.tags.append(1))),
    (lambda: Order(None), give("amount", 2)),
    *((Slotted, change) for change in (give("amount", 2), lambda x: x.tags.append(1))),
    (lambda: SimpleNamespace(amount=1), give("amount", 2)),
    (lambda: SimpleNamespace(amount=1), give("more", 2)),
]

NO_CHANGES = [
    *((lambda: [1, 2], change) for change in (list.sort, list.copy, put(0, 1))),
    (lambda: [1000], put(0, int("1000"))),
    (lambda: {1}, lambda x: x.add(1)),
    (lambda: np.arange(3), lambda x: x.sort()),
    (lambda: [float("nan"), object()], list.copy),
    (Order, give("_seen", 3)),
    *((kind, lambda x: x.ask("2 + 2")) for kind in (Client, Model)),
    *((lambda kind=kind: [kind()], lambda x: x[0].ask("2 + 2")) for kind in (Client, Model)),
    (lambda: SimpleNamespace(client=Client(), model=Model()), lambda x: (x.client.ask("2"), x.model.ask("2"))),
    (Lengths, lambda x: x["four"]),
    (Numbers, next),
    (lambda: random.Random(0), lambda x: x.gauss(0, 1)),
    (threading.Lock, lambda x: x.acquire()),
    (count, next),
    (lambda: warnings, give("_noticed", 1)),
]


def cycle():
    items = []
    items.append(items)
    return items


@pytest.mark.parametrize(("make", "change"), CHANGES)
def test_changes_are_noticed(make, change):
    value = make()
    before = fingerprint(value)
    assert not was_changed(before)
    change(value)
    assert was_changed(before)


@pytest.mark.parametrize(("make", "change"), NO_CHANGES)
def test_caches_services_and_what_is_the_same_raise_no_alarm(make, change):
    value = make()
    before = fingerprint(value)
    change(value)
    assert not was_changed(before)


def test_a_container_that_contains_itself():
    items = cycle()
    before = fingerprint(items)
    assert not was_changed(before)
    items.append(1)
    assert was_changed(before)


@given(items=st.lists(st.lists(st.integers(-2, 2), max_size=3), max_size=5), position=st.integers(0, 4))
def test_nothing_is_copied_and_nothing_of_the_user_is_compared(items, position):
    class Strict(list):
        def __eq__(self, other):
            raise AssertionError("compared")

        __hash__ = None

        def __copy__(self):
            raise AssertionError("copied")

        __deepcopy__ = __reduce_ex__ = __copy__

    value = Strict(map(Strict, items))
    before = fingerprint(value)
    assert not was_changed(before)
    if position < len(value):
        value[position].append(0)
        assert was_changed(before)


def test_the_cost_of_looking_does_not_grow_with_the_value():
    class Counted(list):
        seen = 0

        def __iter__(self):
            for item in super().__iter__():
                type(self).seen += 1
                yield item

    fingerprint(Counted(range(50_000)))
    assert Counted.seen < 5_000


@pytest.mark.parametrize("make", [list, dict, set, bytearray, deque, Counter, OrderedDict])
@pytest.mark.parametrize("wrap", [node, lambda value: value])
def test_a_bundle_says_which_input_it_changed(make, wrap):
    @bundle
    def grow(size, items):
        items.update("a") if hasattr(items, "update") else items.extend(b"a")

    # An OrderedDict takes pairs only.
    if make in {dict, OrderedDict}:
        grow = bundle(lambda size, items: items.update(a=size), description="[grow] More.")
    with pytest.warns(UserWarning, match=r"grow\(\) changed its input items in place"):
        grow(1, wrap(make()))


@pytest.mark.parametrize(("make", "change"), CHANGES)
@pytest.mark.parametrize("wrap", [node, lambda value: value])
def test_bundles_notice_all_of_it(make, change, wrap):
    @bundle
    def spoil(value):
        change(value)

    @bundle
    def spoil_named(*, value):
        change(value)

    with pytest.warns(UserWarning, match=r"spoil\(\) changed its input value"):
        spoil(wrap(make()))
    with pytest.warns(UserWarning, match=r"spoil_named\(\) changed its input value"):
        spoil_named(value=wrap(make()))


@pytest.mark.parametrize(("make", "change"), NO_CHANGES)
def test_bundles_raise_no_alarm(make, change):
    bundle(lambda value: change(value) and None)(make())


def test_a_method_may_change_its_own_object():
    class Memory:
        def __init__(self):
            self.count = 0

        @bundle
        def note(self, items):
            self.count += 1
            return len(items)

    memory = Memory()
    assert memory.note([1, 2]) == 2
    assert memory.count == 1


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda: node([1]).append(2), "append"),
        (lambda: node([1]).call("append", 2), "append"),
        (lambda: node(np.array([2, 1])).sort(), "sort"),
        (lambda: node(lambda items: items.append(1))([1]), "call"),
        (lambda: np.put(node(np.zeros(3)), 0, 1), "put"),
        (lambda: np.add(node(1.0), 1, out=np.zeros(())), "add"),
        (lambda: np.zeros(2).__iadd__(node(1.0)), "add"),
    ],
)
def test_operators_on_nodes_say_so_where_they_are_called(change, where):
    with pytest.warns(UserWarning, match=rf"{where}\(\) changed its input") as caught:
        change()
    assert caught[0].filename == __file__


class Absent:
    """A proxy of something that is not there."""

    @property
    def __dict__(self):
        raise RuntimeError("nothing behind this proxy")


class Endless(list):
    def __iter__(self):
        raise RuntimeError("not now")


@pytest.mark.parametrize("value", [Absent(), Endless([1]), [Absent()], {"key": Endless()}])
def test_values_that_refuse_to_be_looked_at_are_trusted(value):
    assert not was_changed(fingerprint(value))
