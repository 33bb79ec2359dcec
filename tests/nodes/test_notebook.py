"""Nodes and graphs in a notebook: a real kernel, with Graphviz and without. No representation fails a cell."""

import os
import shutil
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from opto.nodes import TraceGraph, node, stop_tracing

NEEDS_DOT = pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz")

SETUP = """
from opto.trace import TraceGraph, bundle, node

class Unruly:
    def __repr__(self): raise ValueError("no words")
    def _repr_html_(self): raise ValueError("no page")
    def _ipython_display_(self): raise ValueError("no display")

@bundle()
def keep(value, **more): return [value]

@bundle()
def fail(value): raise KeyError(value)

price = node(3, name="price", trainable=True)
total = price * 2 + 1
large = node(0)
for _ in range(20_000): large = large + 1
knot = []
knot.append(knot)
"""
CELLS = [
    "price",
    "total",
    "TraceGraph([total])",
    "TraceGraph([total]).to_graphviz()",
    "large",
    "TraceGraph([large])",
    "node(Unruly())",
    "keep(node(Unruly()))",
    "TraceGraph([keep(node(Unruly()))])",
    "keep(node('\\x00\\ud800 <b>'))",
    "keep(node(knot))",
    "keep(price, **{'\\ud800': 1})",
]


def run_cells(path, setup=SETUP, cells=CELLS):
    """Return what each of the *cells* shows, by MIME type, in a kernel that finds programs on *path*."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in [setup, *cells]])
    client = NotebookClient(notebook, timeout=120, kernel_name="python3")
    client.create_kernel_manager()
    with client.setup_kernel(env={**os.environ, "PATH": path}):
        for number, cell in enumerate(notebook.cells):
            client.execute_cell(cell, number)
    shown = {}
    for cell in notebook.cells[1:]:
        (output,) = cell.outputs
        assert output.output_type in ("execute_result", "display_data"), output
        shown[cell.source] = output.data
    return shown


def check(shown):
    assert shown["price"] == {"text/plain": "<ParameterNode price:0 = 3>"}
    assert shown["total"]["text/plain"].splitlines() == [
        "<MessageNode add:0 = 7>",
        "add0 = multiply0 + 1  → 7  (output)",
        "└─ multiply0 = price * 2  → 6",
        "   └─ price = 3  (parameter)",
    ]
    assert shown["TraceGraph([total])"]["text/plain"].startswith("<TraceGraph: 3 nodes")
    assert "more than 10,000 nodes" in shown["large"]["text/plain"]
    assert "add (next)" in shown["TraceGraph([large])"]["text/plain"]
    assert "<Unruly>" in shown["node(Unruly())"]["text/plain"]
    assert "(output)" in shown["keep(node(Unruly()))"]["text/plain"]


def test_a_kernel_without_dot_shows_text(tmp_path):
    shown = run_cells(str(tmp_path))
    check(shown)
    assert {mime for data in shown.values() for mime in data} == {"text/plain"}
    assert "apt install graphviz" in shown["TraceGraph([total]).to_graphviz()"]["text/plain"]


@NEEDS_DOT
def test_a_kernel_with_dot_shows_pictures_as_well():
    shown = run_cells(os.environ["PATH"])
    check(shown)
    without = {source for source, data in shown.items() if "image/svg+xml" not in data}
    # Values that nothing was done with have no history, and a long one is asked for as a graph.
    assert without == {"price", "large", "node(Unruly())"}


@pytest.fixture
def broken_dot(monkeypatch, tmp_path):
    """A ``dot`` that cannot be used is not better than none."""
    program = tmp_path / "dot"
    program.write_text(f"#!{sys.executable}\nraise SystemExit('no fonts')\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("dot")


@pytest.mark.skipif(os.name == "nt", reason="needs scripts that are programs")
@pytest.mark.usefixtures("broken_dot")
def test_a_broken_dot_leaves_text():
    total = node(1) + 1
    assert list(total._repr_mimebundle_()) == ["text/plain"]
    assert list(TraceGraph([total])._repr_mimebundle_()) == ["text/plain"]
    assert list(TraceGraph([total]).to_graphviz()._repr_mimebundle_()) == ["text/plain"]


def test_trees_of_nodes_are_short():
    total = sum(node(number) for number in range(60))
    assert len(total._repr_mimebundle_(include=None, exclude=None)["text/plain"].splitlines()) == 21


def test_values_have_no_representations_in_place_of_the_node():
    class Table:
        def _repr_html_(self):
            return "<table></table>"

    table = node(Table())
    assert not hasattr(table, "_repr_html_")
    assert table.call("_repr_html_").data == "<table></table>"


def test_results_that_were_not_recorded_show_their_value():
    with stop_tracing():
        total = node(1) + 1
    assert "add0 = 2  (output)" not in total._repr_mimebundle_()["text/plain"]
    assert total._repr_mimebundle_()["text/plain"].endswith("= 2>")


def test_showing_a_node_records_nothing_and_is_no_read():
    total = node(1) + 1
    before = TraceGraph([total]).to_text()
    total._repr_mimebundle_()
    assert TraceGraph([total]).to_text() == before
    assert total.children == []
