"""Trees of text, and Mermaid: pictures that need no program."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.nodes import TraceGraph, node, pack
from opto.trace import bundle
from tests.nodes.test_graph import PROGRAMS, run


def graph_of(program):
    return TraceGraph([run(program)[-1]])


def edges(graph):
    return {(graph.names[parent], graph.names[item]) for item in graph.nodes for parent in item.parents}


def test_what_is_shared_is_drawn_once():
    x = node(2, name="x", trainable=True)
    double = x * 2
    assert TraceGraph([double + (double - x)]).to_tree().splitlines() == [
        "add0 = multiply0 + subtract0  → 6  (output)",
        "├─ multiply0 = x * 2  → 4",
        "│  └─ x = 2  (parameter)",
        "└─ subtract0 = multiply0 - x  → 2",
        "   ├─ multiply0 (above)",
        "   └─ x (above)",
    ]


@given(PROGRAMS)
def test_a_tree_has_every_node_once_and_every_edge(program):
    graph = graph_of(program)
    lines = graph.to_tree(simple=False).splitlines()
    drawn = [found[1] for line in lines if (found := re.match(r"[│├└─ ]*(\w+) = ", line))]
    assert sorted(drawn) == sorted(graph.names.values())
    # An edge is a line below another; those at the left margin stand for themselves.
    assert sum(not re.match(r"\w", line) for line in lines) == len(edges(graph))


def test_outputs_are_trees_of_their_own_unless_they_stand_in_another():
    x = node(1, name="x")
    first = x + 1
    tree = TraceGraph([first, first * 2, node(3)]).to_tree().splitlines()
    assert tree == [
        "add0 = x0 + 1  → 2  (output)",
        "└─ x0 = 1",
        "multiply0 = add0 * 2  → 4  (output)",
        "└─ add0 (above)",
        "int0 = 3  (output)",
    ]


def test_deep_branches_go_on_at_the_margin():
    value = node(0)
    for _ in range(30):
        value = value + 1
    lines = TraceGraph([value]).to_tree().splitlines()
    assert [line for line in lines if "below" in line] == [" " * 33 + "└─ add17 (below)", " " * 33 + "└─ add5 (below)"]
    assert "add17 = add16 + 1  → 18" in lines
    assert lines[-1].endswith("└─ int0 = 0")


def test_a_tree_can_be_limited():
    total = pack([node(number) for number in range(100)])
    lines = TraceGraph([total]).to_tree(max_lines=10).splitlines()
    assert len(lines) == 10
    assert lines[-1] == "… and 92 more lines"


def test_what_only_hands_on_its_input_is_left_out():
    @bundle()
    def identity(x):
        return x

    @bundle()
    def clone(x):
        return list(x)

    x = node([1, 2], name="x", trainable=True)
    output = identity(clone(x.copy())) + [3]  # noqa: RUF005 - that would be no node
    graph = TraceGraph([identity(pack([output]))])
    assert graph.to_tree().splitlines() == [
        "identity1 = identity(x=add0)  → [[1, 2, 3]]  (output)",
        "└─ add0 = x + [3]  → [1, 2, 3]",
        "   └─ x = [1, 2]  (parameter)",
    ]
    assert len(graph.to_tree(simple=False).splitlines()) == 7
    assert graph.to_networkx().number_of_nodes() == len(graph) == 7
    source = graph.to_graphviz().source
    assert "x -> add0" in source
    assert "add0 -> identity1" in source


def test_an_operator_is_no_copy_because_of_its_name():
    @bundle()
    def copy(topic):
        return f"Buy {topic} now!"

    graph = TraceGraph([copy(node("tea", name="topic")).upper()])
    assert "copy0 = copy(topic=topic0)" in graph.to_tree()


def test_reversed_arrows_lead_to_the_inputs():
    graph = TraceGraph([node(1, name="x") + 1])
    assert "x0 -> add0" in graph.to_graphviz().source
    assert "add0 -> x0" in graph.to_graphviz(reverse=True).source
    assert "n1 -->|" in graph.to_mermaid(reverse=True)


# Mermaid.

BOX = re.compile(r'  n(\d+)(?:\(\[|\(|\{\{)"([^"]*)"(?:\]\)|\)|\}\}):::(parameter|value|result|exception)')
ARROW = re.compile(r'  n(\d+) (?:-->|-\.->)(?:\|"[^"]+"\|)? n(\d+)')
STYLE = re.compile(r"  (?:classDef \w+|style n\d+(?:,n\d+)*) [\w:#,-]+")


def read(text):
    """Return labels and edges of a Mermaid text, in which nothing else may stand."""
    first, *lines = text.split("\n")
    assert first == "flowchart TD"
    labels, found = {}, set()
    for line in lines:
        if box := BOX.fullmatch(line):
            labels[box[1]] = box[2]
        elif arrow := ARROW.fullmatch(line):
            found.add((arrow[1], arrow[2]))
        else:
            assert STYLE.fullmatch(line), line
    return labels, found


@given(PROGRAMS)
def test_mermaid_has_every_node_and_edge(program):
    graph = graph_of(program)
    labels, found = read(graph.to_mermaid(simple=False))
    names = {number: label.split("<br/>")[0].replace("#95;", "_") for number, label in labels.items()}
    assert set(names.values()) == set(graph.names.values())
    assert {(names[source], names[target]) for source, target in found} == edges(graph)


@given(st.text(), st.text(min_size=1).filter(lambda name: ":" not in name))
def test_no_value_or_name_means_anything_to_mermaid(value, name):
    labels, _ = read(TraceGraph([node(value, name=name)]).to_mermaid(max_value=200))
    for line in labels["0"].split("<br/>"):
        text = re.sub(r"#\d+;", "", line)
        assert not re.search(r"[^\w ,.()'?=+×…→-]|_", text), "all else is escaped"  # noqa: RUF001
        # A list, in the Markdown of labels.
        assert not re.match(r"[-+]|\d+[.)]", line)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ('say "hi"', "say #34;hi#34;"),
        ("%%{init: {}}%%", "#37;#37;#123;init#58; #123;#125;#125;#37;#37;"),
        ("1. one", "1#46; one"),
        ("- item", "#45; item"),
        ("end\nend", "end<br/>end"),
        ("a#35;b", "a#35;35#59;b"),
        ("<b>&amp;`$x$`", "#60;b#62;#38;amp#59;#96;#36;x#36;#96;"),
    ],
)
def test_texts_that_mermaid_would_misread(value, shown):
    labels, _ = read(TraceGraph([node(value, name="x")]).to_mermaid())
    assert labels["0"] == f"x0<br/>{shown}"


def test_half_characters_can_be_printed():
    @bundle()
    def keep(x, **more):
        return x

    graph = TraceGraph([keep(node("\ud800", trainable=True), **{"\ud800": 1})])
    for text in (graph.to_tree(), graph.to_text(), graph.to_mermaid(), graph.to_graphviz().source):
        assert text.encode()
