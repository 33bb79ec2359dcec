"""A trace graph: what an output was computed from, under names that depend on the program alone."""

import ast
import gc
import os
import random
import subprocess
import sys
import textwrap
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import GraphError
from opto.nodes import Feedback, TraceGraph, node, pack
from opto.nodes.graph import identifier
from opto.nodes.vertex import ancestors

PROGRAMS = st.lists(st.tuples(st.sampled_from("+-*p"), st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=30)


def run(program, starts=3):
    """Return all nodes of *program*, in the order in which they were made."""
    values = [node(number, name="start", trainable=number == 0) for number in range(starts)]
    made = list(values)
    for symbol, left, right in program:
        x, y = values[left % len(values)], values[right % len(values)]
        if symbol == "p":
            packed = pack([x, 1, {"y": y}])
            made.append(packed)
            values.append(packed[0])
        else:
            values.append({"+": x.__add__, "-": x.__sub__, "*": x.__mul__}[symbol](y))
        made.append(values[-1])
    return made


def reachable(output):
    """By another way than the library's: recursion over ids."""
    found = {}

    def visit(item):
        if id(item) not in found:
            found[id(item)] = item
            for parent in item.parents:
                visit(parent)

    visit(output)
    return found


def edges(nodes):
    return {(id(parent), id(item)) for item in nodes for parent in item.parents}


@given(PROGRAMS)
def test_ancestors_are_all_and_in_topological_order(program):
    made = run(program)
    for outputs in ([made[-1]], made[-2:], [made[0], made[-1]]):
        found = ancestors(outputs)
        expected = {}
        for output in outputs:
            expected |= reachable(output)
        assert {id(item) for item in found} == set(expected)
        assert len(found) == len(expected)
        place = {id(item): number for number, item in enumerate(found)}
        assert all(place[parent] < place[child] for parent, child in edges(found))


@given(PROGRAMS)
def test_networkx_has_exactly_the_recorded_edges(program):
    graph = TraceGraph([run(program)[-1]])
    drawn = graph.to_networkx()
    names = {id(item): name for item, name in graph.names.items()}
    assert set(drawn.edges) == {(names[parent], names[child]) for parent, child in edges(graph.nodes)}
    assert set(drawn.nodes) == set(names.values())
    assert len(names) == len(graph)
    for item in graph.nodes:
        attributes = drawn.nodes[names[id(item)]]
        assert attributes["value"] == item.data
        assert attributes["kind"] == item.kind
        assert attributes["operator"] == (item.operator.name if item.operator else None)
        assert attributes["output"] is (item is graph.outputs[0])
        for parent in item.parents:
            keys = drawn.edges[names[id(parent)], names[id(item)]]["keys"]
            assert keys == [key for key, value in item.inputs.items() if value is parent]


@given(PROGRAMS)
def test_the_same_program_gives_the_same_names_and_text(program):
    first = TraceGraph([run(program)[-1]])
    node(1, name="start") + node(2)
    second = TraceGraph([run(program)[-1]])
    assert list(first.names.values()) == list(second.names.values())
    assert first.to_text() == second.to_text()
    assert first.to_graphviz().source == second.to_graphviz().source


def test_names_do_not_depend_on_what_other_threads_do():
    program = [(random.Random(7).choice("+-*p"), number, number // 2) for number in range(60)]
    expected = TraceGraph([run(program)[-1]]).to_text()
    found, barrier = [], threading.Barrier(6)

    def work():
        barrier.wait()
        found.extend(TraceGraph([run(program)[-1]]).to_text() for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(6)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert found == [expected] * 30


def fresh_process(program, seed):
    """Return what *program* prints in a process whose hashes of text are those of *seed*."""
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize(
    "expression",
    [
        "(node(1) + 2) * node('a')",
        "pack({'k': [node(1), node('b')]})",
        "node({'alpha', 'beta', 'gamma', 'delta'}) | {'epsilon'}",
        "pack({node('alpha'), node('beta'), node('gamma'), node('delta')})",
    ],
)
def test_text_is_the_same_in_every_process(expression):
    program = f"from opto.nodes import *; print(TraceGraph([{expression}]).to_text())"
    assert fresh_process(program, "1") == fresh_process(program, "2")


def test_a_set_of_nodes_is_recorded_in_the_same_order_every_time():
    """Nodes are hashed by identity, so the set itself has the order of addresses."""

    def text(padding):
        held = [object() for _ in range(padding)]
        nodes = [node(number) for number in range(6)]
        del held
        return TraceGraph([pack(set(nodes))]).to_text()

    assert len({text(padding) for padding in range(0, 200, 7)}) == 1


def test_names_are_stems_with_numbers_in_order_of_birth():
    price, rate = node(3, name="price"), node(2, name="rate")
    total = price * rate + price * 2
    assert list(TraceGraph([total]).names.values()) == ["price0", "rate0", "multiply0", "multiply1", "add0"]


@given(st.lists(st.text(min_size=1).filter(lambda stem: ":" not in stem), min_size=1, max_size=12))
def test_names_are_identifiers_and_no_two_are_equal(stems):
    made = [node(0, name=stem) for stem in stems]
    names = list(TraceGraph(made).names.values())
    assert len(set(names)) == len(stems)
    for name in names:
        assert name.isidentifier()


def test_names_of_stems_that_end_in_digits_do_not_meet_others():
    made = [node(0, name=stem) for stem in ["x", "x1", "x1_", "x"] + ["x"] * 20]
    assert len(set(TraceGraph(made).names.values())) == len(made)
    assert identifier("x1") == "x1_"


def test_nodes_with_equal_values_stay_apart():
    twins = [node(1, name="twin") for _ in range(3)]
    total = twins[2] + twins[0] + twins[1] + twins[0]
    assert TraceGraph([total]).to_text().splitlines() == [
        "twin0 = 1",
        "twin1 = 1",
        "twin2 = 1",
        "add0 = twin2 + twin0  → 2",
        "add1 = add0 + twin1  → 3",
        "add2 = add1 + twin0  → 4  (output)",
    ]


def test_parameters_outputs_and_length():
    a, b = node(1, trainable=True), node(2)
    total = a + b
    graph = TraceGraph([total], [Feedback("good")])
    assert graph.parameters[0] is a
    assert len(graph.parameters) == 1
    assert len(graph) == 3
    assert [item.data for item in graph] == [1, 2, 3]
    assert repr(graph) == "<TraceGraph: 3 nodes, 1 parameter, 1 output>"


def test_what_is_not_behind_the_output_is_not_in_the_graph():
    x = node(1)
    x + 1
    used = x + 2
    used * 2
    assert len(TraceGraph([used])) == 2


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda x: x + 1, "x0 + 1"),
        (lambda x: 1 - x, "1 - x0"),
        (lambda x: x**2, "x0 ** 2"),
        (lambda x: -x, "-x0"),
        (abs, "abs(x0)"),
        (round, "round(x0)"),
        (lambda x: round(x, 1), "round(x0, 1)"),
        (lambda x: x > 2, "x0 > 2"),
        (lambda x: x < 2, "x0 < 2"),
        (lambda x: x.bit_length(), "x0.bit_length()"),
        (lambda x: x.to_bytes(2, byteorder="big"), "x0.to_bytes(2, byteorder='big')"),
        (lambda x: x.real, "x0.real"),
        (lambda x: pack([x, 1]), "[x0, 1]"),
        (lambda x: pack((x,)), "(x0,)"),
        (lambda x: pack({"a": x}), "{'a': x0}"),
        (lambda x: pack({x}), "{x0}"),
        (lambda x: node([1, 2, 3, 4], name="x")[1::2], "x0[1::2]"),
        (lambda x: node({"k": 1}, name="x")["k"], "x0['k']"),
        (lambda x: node(sorted, name="x")([2], reverse=True), "x0([2], reverse=True)"),
    ],
)
def test_calls_are_written_as_python(make, line):
    text = TraceGraph([make(node(3, name="x"))]).to_text().splitlines()[-1]
    expression = text.split(" = ", 1)[1].split("  →")[0]
    ast.parse(expression, mode="eval")
    # getattr and round have two spellings; any that is Python and means the same will do.
    spellings = {expression, expression.replace("getattr(x0, 'real')", "x0.real").replace(", None)", ")")}
    assert line in spellings


def test_an_index_of_several_slices_is_written_as_python():
    import numpy as np

    text = TraceGraph([node(np.eye(3), name="x")[1:, 0]]).to_text().splitlines()[-1]
    assert "x0[1:, 0]" in text


def test_long_values_are_cut():
    text = TraceGraph([node("a" * 1000)]).to_text(max_value=20)
    assert len(text) < 60


def test_making_graphs_leaves_no_cycles():
    gc.collect()
    gc.disable()
    try:
        graph = TraceGraph([node(1) + 2])
        graph.to_text(), graph.names, graph.parameters
        del graph
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("outputs", [3, None, "a", [], [3]])
def test_there_is_no_graph_of_what_was_not_computed(outputs):
    with pytest.raises(GraphError, match=r"There is no graph of .* Give one or more nodes"):
        TraceGraph(outputs)
