"""Names that a text speaks of, wherever and however deep they stand."""

import ast

import pytest

from opto.sandbox import Sandbox
from opto.sandbox.program.names import names_at_once, names_in

pytestmark = pytest.mark.filterwarnings("ignore:Code that a model wrote:RuntimeWarning")


def chain(head, branches):
    """Return a function with as many branches as machines like to write."""
    more = "".join(f"    elif x == {number}:\n        return named({number})\n" for number in range(branches))
    return f"{head}\n    if x < 0:\n        return 0\n{more}    return -1\n"


def named(number):
    return f"number {number}"


def original(x):
    return x


class Namer:
    def named(self, number):
        return f"number {number} of {type(self).__name__}"

    def act(self, x):
        return x


@pytest.mark.parametrize("branches", [500, 2000])
def test_long_chains_of_branches_run_as_outside(branches):
    sandbox = Sandbox("child")
    with sandbox.load(chain("def original(x):", branches), like=original) as candidate:
        assert [candidate(-1), candidate(branches - 1), candidate(branches)] == [0, f"number {branches - 1}", -1]
    source = chain("def act(self, x):", branches).replace("named(", "self.named(")
    with sandbox.load(source, like=Namer.act, owner=Namer) as candidate:
        assert candidate(Namer(), branches - 1) == f"number {branches - 1} of Namer"


def test_names_in_a_text_are_those_that_it_does_not_define():
    source = """
import json
def outer(a: Annotated, b=default) -> Answer:
    c: Local = a + free
    def inner():
        nonlocal around
        around = c
        return inner, json.dumps(b)
    return [inner for item in items]
"""
    names = names_in(ast.parse(source))
    assert {*names.free} == {"default", "free", "around", "items"}
    assert names.modules == ("json",)
    assert names.paths == ("json.dumps",)


def test_names_used_at_once_are_those_outside_of_functions():
    source = """
class Kind(Base, key=option):
    field: Annotated = value
    plain: Annotated
    also = lambda item=given: later
    @decorator
    def method(self, x=standard, *, y=other):
        return later
"""
    found = names_at_once(ast.parse(source))
    assert {*found} >= {"Base", "option", "value", "decorator", "standard", "other", "given"}
    assert not {"Annotated", "later", "self"} & found
