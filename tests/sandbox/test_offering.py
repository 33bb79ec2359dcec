"""What is offered, limited and asked for is looked at when it is said, and not when a model has been paid."""

import types

import pytest

from opto.errors import IsolationError, SandboxForbiddenError, SandboxTransferError
from opto.sandbox import Limits, Sandbox

CLIENT = types.SimpleNamespace(ask=len)


def asks(x):
    return CLIENT.ask(x)


@pytest.mark.parametrize(
    ("hosts", "says"),
    [
        ("ask", r"hosts='ask' is no list of names. Write hosts=\['ask'\]"),
        ({"ask": 5}, "offers 5 as ask, which cannot be called. Offer a function"),
        ([len], "holds <built-in function len>, which is no name. Give names as the code uses them"),
        ({1: len}, "holds 1, which is no name"),
        (["a."], "holds 'a.', which is no name"),
        (["client.*"], "which is no name"),
        (["ask()"], "which is no name"),
        (5, "hosts=5 is no list of names"),
    ],
)
def test_hosts(hosts, says):
    with pytest.raises(IsolationError, match=says):
        Sandbox(hosts=hosts)
    with pytest.raises(IsolationError, match=says):
        Sandbox().load("def f(): pass\n", hosts=hosts)


@pytest.mark.parametrize(
    ("imports", "says"),
    [("numpy", r"imports='numpy' is no list of names. Write imports=\['numpy'\]"), ([types], "no name of a module")],
)
def test_imports(imports, says):
    with pytest.raises(IsolationError, match=says):
        Sandbox(imports=imports)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"seconds": 1}, r"limits=\{'seconds': 1\} are no Limits. Write Limits\(seconds=2\)"),
        (2, "limits=2 are no Limits"),
        (Limits(seconds=float("inf")), "seconds=inf is no finite, positive number of seconds"),
        (Limits(memory=1e9), "memory=1000000000.0 is no whole, positive number of bytes"),
        (Limits(memory=512), "memory=512 is too small. Give at least 16777216"),
        (Limits(result=1), "result=1 is too small"),
        (Limits(children=1000), "children=1000 is too large. Give at most 64"),
        (Limits(children=True), "children=True is no whole, positive number of processes"),
    ],
)
def test_limits(limits, says):
    with pytest.raises(IsolationError, match=says):
        Sandbox(limits=limits)


def test_the_smallest_limits_are_enough_to_start():
    limits = Limits(memory=16 << 20, result=1 << 8, disk=1 << 16, children=1)
    with Sandbox(limits=limits).load("def f(x):\n    return x\n") as f:
        assert f(1) == 1


def test_calls_that_may_cost_money_come_to_an_end():
    asked = []
    source = "def spends(x):\n    while True:\n        ask(x)\n"
    with Sandbox(limits=Limits(calls=25)).load(source, hosts={"ask": asked.append}) as spends:
        for count in (25, 50):
            with pytest.raises(
                SandboxForbiddenError, match=r"more than 25 times in one call; it was in line 3"
            ) as caught:
                spends(1)
            assert caught.value.line == 3
            assert len(asked) == count
    with Sandbox(limits=Limits(calls=2)).load("def f(x):\n    ask(x)\n    ask(x)\n", hosts={"ask": len}) as within:
        for _ in range(3):
            within("a")


def test_limits_that_nobody_keeps():
    with pytest.raises(IsolationError, match="Nothing keeps"):
        Sandbox("none", limits=Limits())


def test_what_is_offered_by_its_name_has_to_be_there():
    source = "def asks(x):\n    return CLIENT.ask(x) + 1\n"
    with pytest.raises(SandboxTransferError, match=r"offers CLIENT.aks to asks\(\), and there is no aks"):
        Sandbox(hosts=["CLIENT.aks"]).load(source, like=asks)
    assert Sandbox(hosts=["CLIENT.aks"]).objection(source, asks, {}) is not None
    sandbox = Sandbox(hosts=["CLIENT.ask", "of_another_function.ask"])
    assert sandbox.objection(source, asks, {}) is None
    with sandbox.load(source, like=asks) as candidate:
        assert candidate("abc") == 4


def test_a_sandbox_shows_what_it_offers():
    assert repr(Sandbox("child", imports=["numpy"], hosts=["a.b"])).endswith(", imports=('numpy',), hosts=['a.b'])")
