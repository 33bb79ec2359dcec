"""Modules and functions show themselves, in a real kernel too, and whatever they hold."""

import os

import pytest

from opto.trace import Module, bundle, node
from opto.trace.containers import Map, Seq
from tests.nodes.test_notebook import run_cells

SETUP = """
from opto.trace import Module, bundle, node

class Unruly:
    def __repr__(self): raise ValueError("no words")

@bundle(trainable=True)
def act(x):
    return x < 1

@bundle
def plain(x):
    return x

module = Module()
module.prompt = node("<script>alert(1)</script>\\n\\x00\\ud800\\u202e", trainable=True)
module.tools = {"<b>": node("x", trainable=True), "s\\ud800": node("y", trainable=True)}
module.odd = node(Unruly(), trainable=True)
module.act = act
empty = Module()
"""


def test_a_kernel_shows_modules_and_functions():
    shown = run_cells(os.environ["PATH"], SETUP, ["module", "act", "plain", "empty"])
    page = shown["module"]["text/html"]
    assert shown["module"]["text/plain"].startswith("Module\n├─ prompt = '<script>")
    assert "<script>" not in page
    assert "<pre>&lt;script&gt;alert(1)&lt;/script&gt;\n" in page
    assert "\\ud800" in page
    assert "<code>tools[&lt;b&gt;]</code>" in page
    assert "odd</code>: &lt;Unruly&gt;" in page
    assert "<pre>def act(x):\n    return x &lt; 1</pre>" in shown["act"]["text/html"]
    assert shown["plain"] == {"text/plain": "<FunModule __main__.plain>"}
    assert shown["empty"] == {"text/plain": "Module"}


@pytest.mark.parametrize("make", [Module, Seq, Map, lambda: bundle(trainable=True)(test_showing_is_no_read)])
def test_everything_that_owns_parameters_shows_itself(make):
    owner = make()
    assert owner._repr_mimebundle_()["text/plain"] == repr(owner)


def test_showing_is_no_read():
    module = Module()
    module.prompt = node("p", trainable=True)

    @bundle
    def look(x):
        return repr(module), module._repr_mimebundle_()

    (text, page) = look(1).data
    assert (text, list(page)) == ("Module\n└─ prompt = 'p'", ["text/plain", "text/html"])
