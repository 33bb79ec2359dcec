"""A node holds its value as it is, has a name for people, and dies with the last one who holds it."""

import copy
import gc
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from opto.errors import DomainError, GraphError
from opto.nodes import ExceptionNode, Node, ParameterNode, TraceGraph, backward, node, pack, unpack

DEEP = 100_000


@pytest.fixture
def no_collector():
    """Only reference counting frees what is freed."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_value_is_stored_as_it_is_not_copied():
    value = [1, [2]]
    assert node(value).data is value


def test_a_node_is_returned_unchanged():
    x = node(1)
    assert node(x) is x
    assert node(x, name="other") is x


def test_trainable_takes_the_value_out_of_a_node_and_makes_a_new_one():
    x = node(1)
    parameter = node(x, trainable=True)
    assert parameter is not x
    assert isinstance(parameter, ParameterNode)
    assert parameter.data == 1
    assert parameter.trainable
    assert not x.trainable


def test_name_has_a_stem_and_a_running_number():
    first, second = node(1, name="distance_of_test"), node(2, name="distance_of_test")
    assert (first.name, second.name) == ("distance_of_test:0", "distance_of_test:1")
    assert (first.py_name, second.py_name) == ("distance_of_test0", "distance_of_test1")
    assert first.stem == "distance_of_test"


def test_default_stem_is_the_type_of_the_value_or_the_operator():
    assert node([1]).stem == "list"
    assert (node(1) + 1).stem == "add"
    assert (node(1) + 1).name.startswith("add:")


def test_the_name_of_a_node_does_not_change():
    total = node(1) + 1
    assert total.name == total.name


def test_names_given_in_threads_are_all_different():
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: node(1, name="made_in_threads").name, range(2_000)))
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", ["a:b", ":", "", 3])
def test_names_that_cannot_be_are_refused_with_the_name(name):
    with pytest.raises(GraphError, match=f"{name!r}.*without a colon"):
        node(1, name=name)


def test_a_root_has_no_parents_and_no_operator():
    x = node(1)
    assert x.is_root
    assert (x.parents, x.inputs, x.operator) == ([], {}, None)


def test_parents_are_each_listed_once_and_inputs_by_key():
    x = node(2)
    square = x * x
    assert len(square.parents) == 1
    assert square.parents[0] is x
    assert list(square.inputs) == ["x", "y"]
    assert square.inputs["x"] is square.inputs["y"] is x
    assert not square.is_root


def test_plain_inputs_are_shown_as_nodes_but_are_no_parents():
    x = node(2)
    inputs = (x * 3).inputs
    assert inputs["y"].data == 3
    assert [parent is x for parent in (x * 3).parents] == [True]


def test_parents_with_equal_values_are_both_parents():
    a, b = node(1), node(1)
    total = a + b
    assert [parent is expected for parent, expected in zip(total.parents, (a, b), strict=True)] == [True, True]


def test_description_and_type():
    x = node(1, description="How many.")
    assert x.description == "How many."
    assert node(1).description is None
    assert x.type is int
    assert (x + 1).description == "Sum of numbers, or concatenation of sequences."


def test_kinds():
    assert node(1).kind == "value"
    assert node(1, trainable=True).kind == "parameter"
    assert (node(1) + 1).kind == "result"
    with pytest.raises(ZeroDivisionError) as caught:
        node(1) / 0
    assert caught.value.exception_node.kind == "exception"
    assert isinstance(caught.value.exception_node, ExceptionNode)


def test_only_parameters_keep_feedback():
    x = node(1)
    total = x + 1
    total.backward("good")
    assert x.feedback == {}
    assert total.feedback == {}


def test_repr_is_cut():
    assert repr(node("a" * 500, name="long_text")).startswith("<Node long_text:0 = 'aaa")
    assert len(repr(node("a" * 500))) < 130


def test_a_parameter_can_be_frozen_and_thawed():
    x = node(1, trainable=True)
    total = x + 1
    x.trainable = False
    total.backward("good")
    assert x.feedback == {}
    x.trainable = True
    total.backward("good")
    assert len(x.feedback) == 1


def test_zero_feedback_forgets():
    x = node(1, trainable=True)
    (x + 1).backward("good")
    x.zero_feedback()
    assert x.feedback == {}


def test_accept_changes_nothing_and_refuses_what_lies_outside():
    x = node(30, trainable=True, domain=range(15, 91))
    assert x.accept("31") == 31
    assert x.data == 30
    with pytest.raises(DomainError):
        x.accept(91)


def test_a_parameter_that_starts_outside_its_domain_is_refused_by_name():
    with pytest.raises(DomainError, match="'too_red:0'"):
        node(97, name="too_red", trainable=True, domain=range(15, 91))


@pytest.mark.parametrize(("start", "domain"), [("7", int), ("7", range(10)), ("1", [1, 2]), ("true", bool), (7, float)])
def test_a_parameter_starts_with_a_value_of_its_domain_or_not_at_all(start, domain):
    """Text is read when a model suggests it; a program would go on computing with the text."""
    try:
        parameter = node(start, trainable=True, domain=domain)
    except DomainError:
        return
    assert type(parameter.data) is type(parameter.domain.read(start))


def test_a_domain_without_a_parameter_is_refused():
    with pytest.raises(DomainError, match="trainable=True"):
        node(1, domain=int)


def test_a_value_set_on_a_parameter_is_plain():
    x = node(1, trainable=True)
    x._set(node(2))
    assert type(x.data) is int


def test_old_results_keep_the_value_they_had_when_a_parameter_changes():
    x = node(1, trainable=True)
    before = x + 1
    x._set(5)
    assert before.data == 2
    assert (x + 1).data == 6


# Containers of nodes.


def test_pack_makes_nodes_in_containers_parents():
    a, b, c = node(1), node(2), node(3)
    packed = pack({"list": [a, 0], "pair": (b, [c])})
    assert packed.data == {"list": [1, 0], "pair": (2, [3])}
    graph = TraceGraph([packed])
    assert all(any(item is known for known in graph.nodes) for item in (a, b, c))


def test_pack_and_unpack_leave_plain_containers_alone():
    for value in ([1, 2], (1,), {"a": 1}, {1, 2}, "text", None):
        assert pack(value) is value
        assert unpack(value) is value


def test_unpack_replaces_nodes_however_deep():
    assert unpack({"a": [node(1), (node(2), {node(3)})]}) == {"a": [1, (2, {3})]}


def test_unpack_replaces_nodes_that_are_keys():
    """A dict rebuilt from the items of a node has nodes for keys."""
    rebuilt = {key: value for key, value in node({"a": 1}).items()}  # noqa: C416 - as users write it
    assert unpack(rebuilt) == {"a": 1}
    assert pack(rebuilt).data == {"a": 1}


# Length, copies, life and death.


def test_a_long_chain_goes_backward_and_dies_without_recursion():
    x = node(0, trainable=True)
    total = x
    for _ in range(DEEP):
        total = total + 1
    assert total.data == DEEP
    assert len(backward([total], ["good"])) == DEEP + 1
    (graph,) = next(iter(x.feedback.values()))
    assert len(graph) == DEEP + 1
    assert graph.names[total] == f"add{DEEP - 1}"
    x.zero_feedback()
    del graph, total


def test_a_wide_graph_goes_backward_with_one_feedback_for_the_parameter():
    x = node(0, trainable=True)
    total = node(0)
    for _ in range(5_000):
        total = total + x
    total.backward("good")
    assert [len(items) for items in x.feedback.values()] == [1]


@pytest.mark.usefixtures("no_collector")
def test_a_graph_dies_with_its_output():
    x = node(1, trainable=True)
    middle = x + 1
    output = [middle * 2][0]
    alive = weakref.ref(middle), weakref.ref(output)
    del middle
    assert alive[0]() is not None
    del output
    assert [item() for item in alive] == [None, None]


@pytest.mark.usefixtures("no_collector")
def test_a_graph_that_went_backward_dies_when_feedback_is_forgotten():
    x = node(1, trainable=True)
    output = (x + 1) * 2
    output.backward("good")
    alive = weakref.ref(output)
    x.zero_feedback()
    del output
    assert alive() is None


@pytest.mark.usefixtures("no_collector")
def test_a_dropped_failure_leaves_nothing_behind():
    x = node(1)
    middle = x - 1
    alive = weakref.ref(middle)
    try:
        1 / middle
    except ZeroDivisionError as error:
        failed = weakref.ref(error.exception_node)
    del middle
    assert (alive(), failed()) == (None, None)


def test_a_copy_has_the_value_and_is_another_node():
    for copied in (copy.copy, copy.deepcopy, lambda item: pickle.loads(pickle.dumps(item))):
        x = node([1], name="origin")
        twin = copied(x)
        assert twin is not x
        assert twin.data == [1]


def test_a_copy_has_a_birth_of_its_own():
    """Two nodes of one birth have no order, so the names in a graph of both would be a matter of addresses."""
    x = node(1)
    for copied in (copy.copy, copy.deepcopy, lambda item: pickle.loads(pickle.dumps(item))):
        assert copied(x).birth != x.birth


def test_a_deep_copy_of_a_parameter_is_independent():
    x = node([1], trainable=True, domain=list)
    twin = copy.deepcopy(x)
    twin.data.append(2)
    assert x.data == [1]
    twin[0].backward("good")
    assert x.feedback == {}
    assert len(twin.feedback) == 1


def test_the_last_node_of_a_long_chain_can_be_copied():
    total = node(0)
    for _ in range(5_000):
        total = total + 1
    assert copy.deepcopy(total).data == 5_000


def test_generic_alias_is_usable_in_annotations():
    assert Node[int] is not None


def test_any_node_can_forget_feedback():
    x = node(1, trainable=True)
    y = x + node(2)
    y.backward("more")
    for item in (x, y, *y.parents):
        item.zero_feedback()
        assert not item.feedback


def test_items_cannot_be_set_and_the_error_says_what_to_write():
    with pytest.raises(TypeError, match=r"such as x\[:1\] \+ \[value\] \+ x\[2:\]"):
        node([1, 2])[0] = 3
    with pytest.raises(TypeError, match=r"such as \{\*\*x, key: value\}"):
        del node({"a": 1})["a"]
