"""Containers of nodes, broadcasting, iterators and projections."""

import ast
import pickle

import pytest

from opto.errors import ExecutionError, GraphError, SourceError
from opto.nodes import node
from opto.trace import Module, NodeContainer, apply_op, bundle
from opto.trace import operators as ops
from opto.trace.broadcast import recursive_conversion
from opto.trace.containers import Map, Seq
from opto.trace.iterators import DictIterable, iterate
from opto.trace.projections import BlackCodeFormatter, DocstringProjection, Projection
from opto.trace.utils import contain, dedent


def parameter(value=0):
    return node(value, trainable=True)


# Seq and Map.


def test_a_sequence_is_its_items_and_a_node_is_one():
    assert Seq([1, 2]) == Seq(1, 2) == [1, 2]
    assert Seq() == []
    assert Seq(7) == [7]
    assert len(Seq(node([1, 2]))) == 1


@pytest.mark.parametrize("container", [Seq(1, 2), Map({"a": 1})])
def test_programs_for_trace_look_inside(container):
    assert container.data == container
    assert isinstance(container, NodeContainer)
    container.data.pop("a" if isinstance(container, Map) else 0)
    assert container in ([2], {})


def test_parameters_in_nested_containers():
    inner = Seq(3, parameter(), 5)
    assert Seq(1, 2, Seq(3)).parameters() == []
    assert list(Seq(1, parameter(), inner).parameters_dict()) == ["[1]", "[2][1]"]
    mapping = Map({"a": 1, "b": parameter(), node("key", trainable=True): 3, "c": inner})
    assert len(mapping.parameters()) == 3


def test_equal_containers_are_told_apart():
    assert len(Seq(Seq(parameter()), Seq(parameter())).parameters()) == 2


def test_parameters_of_modules_reach_into_them():
    class Steps(Module):
        def __init__(self):
            self.steps = Seq(parameter(), Map({"x": parameter()}))

    assert list(Steps().parameters_dict()) == ["steps[0]", "steps[1][x]"]


def test_operators_see_the_nodes_inside():
    x = parameter(2)

    @bundle()
    def total(items, names):
        assert type(items) is Seq
        assert type(names) is Map
        return sum(items) + sum(names.values())

    output = total(Seq(x, 3), Map({"a": x}))
    assert output.data == 7
    output.backward("too much")
    assert len(x.feedback) == 1


@pytest.mark.parametrize("container", [Seq(1, node(2)), Map({"a": node(2), "b": Seq(1)})])
def test_containers_can_be_pickled(container):
    twin = pickle.loads(pickle.dumps(container))
    assert twin == container
    assert type(twin) is type(container)


# Broadcasting.


class Pair(NodeContainer):
    def __init__(self, x, rest=()):
        self.x = node(x)
        self.rest = rest


def test_all_places_of_all_shapes():
    left = Pair("a", {"list": [node("b")], "tuple": (node("c"), 1)})
    right = Pair("A", {"list": [node("B")], "tuple": (node("C"), 1)})
    output = Pair("", {"list": [node("")], "tuple": (node(""), 1)})
    result = apply_op(ops.add, output, left, right)
    assert result is output
    assert result.x.data == "aA"
    assert contain(result.x.parents, left.x)
    assert result.rest["list"][0].data == "bB"
    assert result.rest["tuple"][0].data == "cC"
    assert result.rest["tuple"][1] == 1


def test_lists_are_changed_and_tuples_replaced():
    names, shouts = [node("a"), node("b")], [None, None]
    assert apply_op(ops.upper, shouts, names) is shouts
    assert [item.data for item in shouts] == ["A", "B"]
    assert [item.data for item in apply_op(ops.add, (None,), (node("a"),), node("!"))] == ["a!"]


def test_by_keyword_and_nodes_alone():
    output = apply_op(lambda x, y: x + y, [None], x=[node(1)], y=node(2))
    assert output[0].data == 3
    assert apply_op(ops.add, None, node(1), node(2)).data == 3


@pytest.mark.parametrize(
    ("output", "given"),
    [
        ([1], (node(1),)),
        ([1, 2], [node(1)]),
        ([1], [node(1), node(2)]),
        ({"a": 1}, {"b": node(1)}),
        (Pair("x"), Seq(1)),
        ([1], 5),
    ],
)
def test_other_shapes_are_refused(output, given):
    with pytest.raises(GraphError, match="shape"):
        apply_op(ops.neg, output, given)


def test_conversion_of_what_is_inside():
    convert = recursive_conversion(lambda item: item.data, lambda item: item)
    pair = Pair(1, (node(2), {"a": [node(3), 4]}))
    plain = convert(pair)
    assert (plain.x, plain.rest) == (1, (2, {"a": [3, 4]}))
    assert pair.x.data == 1
    assert convert({node(5)}) == {5}


# Iterators.


@pytest.mark.parametrize("value", [[1, 2], (1, 2), "ab", {"a": 1, "b": 2}, range(2)])
def test_iterating_gives_nodes(value):
    x = node(value)
    assert [item.data for item in iterate(x)] == list(value)
    twice = iterate(x)
    assert len(list(twice)) == len(list(twice)) == 2


def test_items_of_sets_and_dicts():
    assert sorted(item.data for item in iterate({1, 2})) == [1, 2]
    x = node({"a": 1})
    ((key, value),) = DictIterable(x)
    assert (key.data, value.data) == ("a", 1)
    assert contain(value.parents, x)


def test_items_one_by_one():
    items = iterate(node([1, 2]))
    assert (next(items), next(items)) == (1, 2)
    with pytest.raises(StopIteration):
        next(items)
    assert [item.data for item in items] == [1, 2]
    key, value = next(DictIterable(node({"a": 1})))
    assert (key, value) == ("a", 1)


def test_what_has_no_items():
    with pytest.raises(TypeError, match="not iterable"):
        iterate(3)
    x = node(3, trainable=True)
    with pytest.raises(ExecutionError) as caught:
        iterate(x)
    caught.value.exception_node.backward("a list is needed")
    assert len(x.feedback) == 1


# Projections.


def test_projections_say_what_they_do():
    with pytest.raises(NotImplementedError, match="project"):
        Projection()(1)


CODE = 'import math\n\n\ndef area(r):\n    """Old."""  # π\n    return math.pi * r**2\n'


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (CODE, CODE.replace('"""Old."""', '"""New."""')),
        ("def f():\n    return 1\n", 'def f():\n    """New."""\n    return 1\n'),
        ("def f(): return 1\n", 'def f(): """New."""; return 1\n'),
        ("def f():\n\tif 1:\n\t\treturn 1\n", 'def f():\n\t"""New."""\n\tif 1:\n\t\treturn 1\n'),
        ("def f():\r\n  return 1\r\n", 'def f():\r\n  """New."""\r\n  return 1\r\n'),
        ('x = "\u2028"\ndef f(): "a"; return 1\n', 'x = "\u2028"\ndef f(): """New."""; return 1\n'),
        (
            "def f():\n    @ d(1)\n    @e\n    def g(): pass\n",
            'def f():\n    """New."""\n    @ d(1)\n    @e\n    def g(): pass\n',
        ),
        ("async def f():\n    'a'\n    'b'\n", 'async def f():\n    """New."""\n    \'b\'\n'),
        ("def f(:\n", "def f(:\n"),
    ],
)
def test_docstrings_are_replaced(code, expected):
    found = DocstringProjection("New.")(code)

    assert found == expected
    if code != found:
        assert ast.get_docstring(ast.parse(found).body[-1]) == "New."


@pytest.mark.parametrize("text", ['He said """x""".', 'ends with "', "back\\slash", "two\nlines"])
def test_docstrings_hold_any_text(text):
    namespace = {}
    exec(DocstringProjection(text)("def f():\n    return 1\n"), namespace)
    assert namespace["f"].__doc__ == text


def test_code_without_a_function_has_no_place_for_a_docstring():
    with pytest.raises(SourceError, match="defines no function"):
        DocstringProjection("New.")("x = 1")


def test_black_formats_what_parses():
    black = pytest.importorskip("black")
    assert BlackCodeFormatter()("x=1") == black.format_str("x=1", mode=black.Mode())
    assert BlackCodeFormatter()("x=") == "x="


def test_dedent_keeps_what_is_indented_further():
    assert dedent("  if x:\n      pass\n") == "if x:\n    pass\n"
