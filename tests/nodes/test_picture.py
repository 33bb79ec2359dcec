"""Pictures: `.source` and text need no program; without ``dot`` nothing fails but drawing itself."""

import re
import shutil

import graphviz
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.nodes import TraceGraph, node, stop_tracing
from opto.nodes.picture import write_constant
from opto.trace import bundle


@pytest.fixture
def graph():
    price = node(3, name="price", trainable=True, description="In euros.")
    return TraceGraph([price * 2 + node(1)])


@pytest.fixture
def without_dot(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("dot") is None


def test_source_has_every_node_and_edge(graph):
    source = graph.to_graphviz().source
    assert set(re.findall(r"^\t(\w+) -> (\w+)", source, re.MULTILINE)) == {
        ("price", "multiply0"),
        ("multiply0", "add0"),
        ("int0", "add0"),
    }
    assert set(re.findall(r"^\t(\w+) \[label", source, re.MULTILINE)) == {"price", "int0", "multiply0", "add0"}


def test_kinds_have_shapes_and_outputs_a_thick_line(graph):
    source = graph.to_graphviz().source
    assert re.search(r"price \[[^]]*#ffe7ba[^]]*shape=box", source)
    assert re.search(r"add0 \[[^]]*penwidth=2[^]]*shape=ellipse", source)
    assert "In euros." in source


def test_exceptions_have_a_shape_of_their_own():
    with pytest.raises(ZeroDivisionError) as caught:
        node(1) / 0
    graph = TraceGraph([caught.value.exception_node])
    assert "octagon" in graph.to_graphviz().source
    assert graph.to_text().splitlines()[-1] == (
        "divide0 = int0 / 0  → '(ZeroDivisionError) division by zero'  (exception, output)"
    )


def test_several_uses_of_one_input_are_one_edge():
    x = node(2, name="x")
    source = TraceGraph([x * x]).to_graphviz().source
    assert source.count("->") == 1
    assert '" x, y"' in source


@pytest.mark.usefixtures("without_dot")
def test_a_notebook_without_dot_shows_text(graph):
    bundle = graph.to_graphviz()._repr_mimebundle_()
    assert list(bundle) == ["text/plain"]
    assert bundle["text/plain"].startswith(graph.to_tree())
    assert "apt install graphviz" in bundle["text/plain"]


@pytest.mark.usefixtures("without_dot")
def test_drawing_without_dot_says_what_is_missing(graph, tmp_path):
    with pytest.raises(graphviz.ExecutableNotFound, match=r"dot.*Graphviz executables"):
        graph.to_graphviz().render(tmp_path / "picture")
    with pytest.raises(graphviz.ExecutableNotFound):
        graph.to_graphviz().pipe(format="svg")


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz")
def test_drawing_with_dot(graph):
    assert b"<svg" in graph.to_graphviz().pipe(format="svg")


@given(st.text())
def test_any_value_can_be_drawn_and_does_not_become_layout(value):
    source = TraceGraph([node(value, name="x")]).to_graphviz().source
    (label,) = re.findall(r'x0 \[label=("(?:[^"\\]|\\.)*"|\w+)', source, re.DOTALL)
    # Behind a backslash only another one, or a quote: \l, \n, \G and their like would be commands.
    assert re.fullmatch(r'"?(?:[^\\]|\\\\|\\")*"?', label, re.DOTALL)


def test_labels_that_look_like_html_are_text():
    source = TraceGraph([node("<b>bold</b>", name="<i>")]).to_graphviz().source
    assert "label=<" not in source


def test_long_values_are_cut_and_the_limit_can_be_set():
    graph = TraceGraph([node("a" * 1000)])
    assert len(graph.to_graphviz().source) < 500
    assert "a" * 900 in graph.to_graphviz(max_value=900 + 10).source


@pytest.mark.parametrize(
    ("start", "make"),
    [
        (3, lambda x: x + 1),
        (3, lambda x: -x),
        (3, lambda x: round(x)),
        ("ada", lambda x: x[0]),
        ("ada", lambda x: x.upper()),
        ("ada", lambda x: x.call("center", 9)),
        ("ada", lambda x: next(iter(x))),
        ("ada", lambda x: bundle(len)(x)),
        (len, lambda x: x("ada")),
        ({"a": 1}, lambda x: next(iter(x))),
    ],
)
def test_results_that_were_not_recorded_can_be_shown(start, make):
    """They have an operator, but no inputs to write it with."""
    x = node(start)
    with stop_tracing():
        result = make(x)
    graph = TraceGraph([result])
    assert repr(result.data) in graph.to_text()
    assert str(result.data) in graph.to_graphviz().source
    assert graph.to_networkx().number_of_nodes() == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "'a'"),
        (None, "None"),
        ([1, ("a",), {"k": {3, 1, 2}}], "[1, ('a',), {'k': {1, 2, 3}}]"),
        (object(), "<object>"),
        (len, "len"),
    ],
)
def test_constants_are_written_as_in_source_and_without_addresses(value, text):
    assert write_constant(value) == text
