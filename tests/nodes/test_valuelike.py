"""A node acts like its value: every operator of Python gives what it gives untraced, and is recorded."""

import collections
import math
import operator
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import ExecutionError
from opto.nodes import MessageNode, Node, TraceGraph, node

BINARY = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "floor_divide": operator.floordiv,
    "mod": operator.mod,
    "power": operator.pow,
    "lshift": operator.lshift,
    "rshift": operator.rshift,
    "and_": operator.and_,
    "or_": operator.or_,
    "xor": operator.xor,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
UNARY = {
    "neg": operator.neg,
    "pos": operator.pos,
    "invert": operator.invert,
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "trunc": math.trunc,
    "round": round,
}
MIRRORED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}


def is_exactly(found, *expected):
    """True if *found* are these very nodes, in this order."""
    return len(found) == len(expected) and all(a is b for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", BINARY)
def test_binary_operators(name):
    compute = BINARY[name]
    x, y = node(13), node(3)
    result = compute(x, y)
    assert isinstance(result, MessageNode)
    assert (result.data, type(result.data)) == (compute(13, 3), type(compute(13, 3)))
    assert result.operator.name == name
    assert is_exactly(result.parents, x, y)


@pytest.mark.parametrize("name", BINARY)
def test_binary_operators_with_a_plain_value_on_the_right(name):
    x = node(13)
    result = BINARY[name](x, 3)
    assert result.data == BINARY[name](13, 3)
    assert is_exactly(result.parents, x)


@pytest.mark.parametrize("name", BINARY)
def test_binary_operators_with_a_plain_value_on_the_left(name):
    y = node(3)
    result = BINARY[name](13, y)
    assert result.data == BINARY[name](13, 3)
    assert is_exactly(result.parents, y)
    # Python itself turns comparisons around.
    assert result.operator.name == MIRRORED.get(name, name)
    if name not in MIRRORED:
        assert [item.data for item in result.inputs.values()] == [13, 3]


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("value", [-7, 2.5])
def test_unary_operators(name, value):
    if name == "invert" and isinstance(value, float):
        pytest.skip("Python does not invert floats")
    x = node(value)
    result = UNARY[name](x)
    assert (result.data, type(result.data)) == (UNARY[name](value), type(UNARY[name](value)))
    assert result.operator.name == name
    assert is_exactly(result.parents, x)


def test_round_with_digits():
    digits = node(1)
    result = round(node(2.468), digits)
    assert result.data == 2.5
    assert any(parent is digits for parent in result.parents)


def test_matrix_product():
    x = node(np.eye(2))
    assert (x @ np.ones(2)).data.tolist() == [1, 1]
    assert (np.ones(2) @ x).data.tolist() == [1, 1]


def test_divmod_and_modular_power_as_untraced():
    assert [part.data for part in divmod(node(13), 3)] == [4, 1]
    assert [part.data for part in divmod(13, node(3))] == [4, 1]
    assert pow(node(13), 3, 5).data == pow(13, 3, 5)


def test_augmented_assignment_makes_a_new_node_and_leaves_the_old():
    x = before = node(1)
    x += 1
    assert x is not before
    assert (before.data, x.data) == (1, 2)
    assert is_exactly(x.parents, before)


def test_augmented_assignment_of_a_list_does_not_change_recorded_values():
    x = before = node([1])
    x += [2]
    assert (before.data, x.data) == ([1], [1, 2])


def test_operators_with_containers_of_nodes():
    a, b = node(1), node(2)
    result = operator.add(node([0]), [a, b])
    assert result.data == [0, 1, 2]
    assert any(item is a for item in TraceGraph([result]))
    formatted = node("%s-%s") % (a, b)
    assert formatted.data == "1-2"
    assert any(item is b for item in TraceGraph([formatted]))


def test_comparison_chains():
    assert 0 < node(1) < 2
    assert not 0 < node(3) < 2


# Items.


@pytest.mark.parametrize(
    ("value", "index"),
    [([1, 2, 3], 0), ([1, 2, 3], -1), ((1, 2), 1), ("abc", 1), ({"a": 1}, "a"), ([1, 2, 3], slice(1, None)),
     ("abc", slice(None, None, -1))],
)  # fmt: skip
def test_indexing_and_slicing(value, index):
    x = node(value)
    result = x[index]
    assert result.data == value[index]
    assert result.operator.name == "getitem"
    assert is_exactly(result.parents, x)


def test_an_index_that_is_a_node_is_a_parent():
    x, index = node([1, 2, 3]), node(1)
    assert x[index].data == 2
    assert is_exactly(x[index].parents, x, index)


def test_the_bounds_of_a_slice_are_parents():
    x, start = node([1, 2, 3]), node(1)
    result = x[start:]
    assert result.data == [2, 3]
    assert any(item is start for item in TraceGraph([result]))


def test_an_item_of_several_indexes_that_are_nodes():
    x, row = node(np.arange(6).reshape(2, 3)), node(1)
    result = x[row, 2]
    assert result.data == 5
    assert any(item is row for item in TraceGraph([result]))


@pytest.mark.parametrize(
    "value",
    [[1, 2], (1, 2), "ab", {"a": 1, "b": 2}, {1, 2}, frozenset({1, 2}), range(2), collections.deque([1, 2]),
     np.arange(2), b"ab"],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_iteration_and_unpacking(value):
    x = node(value)
    first, second = x
    assert [first.data, second.data] == list(value)
    for item in (first, second):
        assert isinstance(item, MessageNode)
        assert is_exactly(item.parents, x)


def test_iterating_what_cannot_be_iterated_fails_as_untraced():
    with pytest.raises(TypeError, match="not iterable"):
        iter(node(3))


def test_unpacking_too_many_fails_as_untraced():
    with pytest.raises(ValueError, match="too many"):
        _, _ = node([1, 2, 3])


def test_dict_views_give_nodes():
    x = node({"a": 1, "b": 2})
    assert [key.data for key in x.keys()] == ["a", "b"]  # noqa: SIM118 - the method is tested
    assert [value.data for value in x.values()] == [1, 2]
    assert [(key.data, value.data) for key, value in x.items()] == [("a", 1), ("b", 2)]
    assert all(any(item is x for item in TraceGraph([value])) for value in x.values())
    assert x.get("c", node(3)).data == 3


# Members.


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda text: text.upper(), "upper"),
        (lambda text: text.split(), "split"),
        (lambda text: text.split(maxsplit=1), "split"),
        (lambda text: text.replace("a", "o"), "replace"),
        (lambda text: text.strip(), "strip"),
        (lambda text: text.title(), "title"),
        (lambda text: text.center(20, "*"), "center"),
        (lambda text: text.startswith("a"), "startswith"),
    ],
)
def test_methods_of_text(call, name):
    x = node("ada lovelace ")
    result = call(x)
    assert result.data == call("ada lovelace ")
    assert result.operator.name == name
    assert result.description
    assert is_exactly(result.parents, x)


def test_arguments_of_methods_are_parents():
    template, name = node("Dear {}, {end}"), node("Ada")
    end = node("bye")
    result = template.format(name, end=end)
    assert result.data == "Dear Ada, bye"
    assert is_exactly(result.parents, template, name, end)
    joined = node(", ").join([name, "Bob"])
    assert joined.data == "Ada, Bob"
    assert any(item is name for item in TraceGraph([joined]))


def test_attributes_of_the_value_are_nodes():
    x = node(SimpleNamespace(size=3, name="inner"))
    assert x.size.data == 3
    assert is_exactly(x.size.parents, x)


def test_members_that_nodes_have_themselves_are_reached_by_name():
    x = node(SimpleNamespace(name="inner", data=4))
    assert x.getattr("name").data == "inner"
    assert x.getattr("data").data == 4
    assert node("abc").call("upper").data == "ABC"


def test_missing_attributes_are_named_with_the_type_of_the_value():
    with pytest.raises(AttributeError, match=r"holds a int has no 'nonsense'"):
        node(3).nonsense
    assert not hasattr(node(3), "nonsense")


def test_properties_of_the_value_are_asked_once():
    class Meter:
        asked = 0

        @property
        def reading(self):
            self.asked += 1
            return 7

    meter = Meter()
    assert node(meter).reading.data == 7
    assert meter.asked == 1


def test_a_property_that_fails_is_a_failed_operator():
    class Meter:
        @property
        def reading(self):
            return 1 / 0

    x = node(Meter())
    with pytest.raises(ZeroDivisionError) as caught:
        x.reading
    assert is_exactly(caught.value.exception_node.parents, x)


def test_a_node_that_holds_a_function_can_be_called():
    x = node([3, 1, 2])
    function = node(sorted)
    result = function(x, reverse=True)
    assert result.data == [3, 2, 1]
    assert is_exactly(result.parents, function, x)


def test_there_is_no_assignment_to_items():
    x = node([1])
    with pytest.raises(TypeError, match="changed copy"):
        x[0] = 2
    with pytest.raises(TypeError, match="changed copy"):
        x[0] += 2
    with pytest.raises(TypeError, match="changed copy"):
        del x[0]
    assert x == [1]


# Plain answers.


def test_plain_answers():
    assert (len(node([1, 2])), type(len(node([1, 2])))) == (2, int)
    assert 1 in node([1, 2])
    assert node(1) in node([1, 2])
    assert node(1) in [1, 2]
    assert (bool(node([])), bool(node([1]))) == (False, True)
    assert (node(1) == 1) is True
    assert (node(1) != node(1)) is False
    assert (node(1) == "text") is False
    assert node([node(1)]) == [1]
    assert f"{node('Ada')}! {node(3.14159):.2f} {node(7):>3}" == "Ada! 3.14   7"
    assert str(node([1])) == "[1]"
    assert "%d %s" % (node(3), node("a")) == "3 a"  # noqa: UP031 - the operator is tested
    assert (int(node(3.7)), float(node(3)), complex(node(3))) == (3, 3.0, 3 + 0j)
    assert [10, 20, 30][node(1)] == 20
    assert list(range(node(2))) == [0, 1]
    assert math.sqrt(node(4)) == 2.0


def test_nodes_are_hashed_by_identity():
    a, b = node(1), node(1)
    assert a == b
    assert len({a, b}) == 2
    assert {a: "first"}.get(b) is None


def test_sorting_and_summing():
    a, b = node(2), node(1)
    assert is_exactly(sorted([a, b]), b, a)
    total = sum([a, b])
    assert total.data == 3
    assert any(item is b for item in TraceGraph([total]))


# numpy.


def test_arrays_on_either_side_give_one_node():
    x = node(1.0)
    for result in (np.ones(2) + x, x + np.ones(2)):
        assert isinstance(result, MessageNode)
        assert isinstance(result.data, np.ndarray)
        assert result.data.tolist() == [2, 2]
        assert is_exactly(result.parents, x)


def test_arrays_in_nodes():
    x = node(np.arange(6).reshape(2, 3))
    assert x[1:, 0].data.tolist() == [3]
    assert (x * x).data.sum() == 55
    assert x.mean().data == 2.5
    assert x.shape.data == (2, 3)
    assert x.T.data.shape == (3, 2)
    assert len(x) == 2


def test_arrays_do_not_disturb_the_graph():
    """Their == gives an array, so a graph that compares values anywhere fails here."""
    x = node(np.ones(2), trainable=True)
    y = x + x
    z = y * np.ones(2) + y
    z.backward("good")
    assert len(x.feedback) == 1


# Failures.


def test_a_failing_operator_keeps_its_inputs():
    x = node(1)
    with pytest.raises(ZeroDivisionError) as caught:
        x / 0
    assert isinstance(caught.value, ExecutionError)
    assert caught.value.exception_node.data == "(ZeroDivisionError) division by zero"
    assert is_exactly(caught.value.exception_node.parents, x)


@pytest.mark.parametrize(
    ("fail", "kind"),
    [
        (lambda: node([1])[5], IndexError),
        (lambda: node({})["a"], KeyError),
        (lambda: node("a") + 1, TypeError),
        (lambda: 1 + node("a"), TypeError),
        (lambda: -node("a"), TypeError),
        (lambda: node("a").index("b"), ValueError),
        (lambda: node(3)(), TypeError),
    ],
)
def test_failures_are_also_what_python_raises(fail, kind):
    with pytest.raises(kind) as caught:
        fail()
    assert caught.value.exception_node.is_root is False


# Laws.

INFIX = st.sampled_from([operator.add, operator.sub, operator.mul, operator.lt, operator.and_, operator.xor, max])
PROGRAMS = st.lists(st.tuples(INFIX, st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=25)
STARTS = st.lists(st.integers(-5, 5), min_size=1, max_size=4)


def run(program, values):
    values = list(values)
    for compute, left, right in program:
        values.append(compute(values[left % len(values)], values[right % len(values)]))
    return values


@given(program=PROGRAMS, starts=STARTS, traced=st.lists(st.booleans(), min_size=4, max_size=4))
def test_random_programs_give_the_same_values_traced_and_untraced(program, starts, traced):
    expected = run(program, starts)
    mixed = [node(value) if flag else value for value, flag in zip(starts, traced, strict=False)]
    found = run(program, mixed)
    plain = [item.data if isinstance(item, Node) else item for item in found]
    assert plain == expected
    assert [type(item) for item in plain] == [type(item) for item in expected]


@given(program=PROGRAMS, starts=STARTS)
def test_random_programs_record_what_was_computed_from_what(program, starts):
    """Replaying the recorded operators on the recorded inputs gives the recorded values."""
    for item in run(program, [node(value) for value in starts]):
        if item.operator is not None:
            assert item.operator.function(*(value.data for value in item.inputs.values())) == item.data


TEXT = st.text(max_size=12)


@given(text=TEXT, other=TEXT, start=st.integers(-15, 15), stop=st.integers(-15, 15))
def test_text_programs_give_the_same_values_traced_and_untraced(text, other, start, stop):
    def program(x, y):
        return [x + y, x[start:stop], x.replace("a", y), y.join([x, x]), x * 2, x.upper().split(), x < y, x.find(y)]

    assert [item.data for item in program(node(text), node(other))] == program(text, other)


def test_arguments_may_be_called_like_inputs_of_operators():
    template = node("{x} and {name}")
    result = template.format(x=node("this"), name="that")
    assert result.data == "this and that"
    assert len(result.parents) == 2
    assert node(dict)(x=1).data == {"x": 1}
