"""What is offered, limited and asked for is looked at when it is said, and not when a model has been paid."""

import copy
import inspect
import pickle
import types

import pytest

from opto.errors import IsolationError, SandboxForbiddenError, SandboxTransferError, SourceError
from opto.sandbox import Limits, Sandbox

CLIENT = types.SimpleNamespace(ask=len)


def asks(x):
    return CLIENT.ask(x)


@pytest.mark.parametrize(
    ("hosts", "says"),
    [
        ("ask", r"hosts='ask' is no list of names. Write hosts=\['ask'\]"),
        ({"ask": 5}, "offers 5 as ask, which cannot be called. Offer a function"),
        ([len], r"holds <built-in function len>, which is no name. Write hosts=\{'len': len\}"),
        (len, r"hosts=<built-in function len> is no list of names. Write hosts=\{'len': len\}"),
        (None, "hosts=None is no list of names. Leave hosts= out"),
        ("a b", r"hosts='a b' is no list of names. Give names as the code uses them"),
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
    [
        ("numpy", r"imports='numpy' is no list of names. Write imports=\['numpy'\]"),
        ([types], r"no name of a module. Write imports=\['types'\]"),
        (types, r"is no list of names. Write imports=\['types'\]"),
        (None, "imports=None is no list of names. Leave imports= out"),
        ([None], "imports= holds None, which is no name of a module. Leave imports= out"),
        (5, r"Give names, such as imports=\['numpy'\]"),
        (["nowhere_at_all.part"], "imports= names nowhere_at_all.part, and there is no such module. Install it"),
    ],
)
def test_imports(imports, says):
    with pytest.raises(IsolationError, match=says):
        Sandbox(imports=imports)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"seconds": 1}, r"limits=\{'seconds': 1\} are no Limits. Write Limits\(seconds=2\)"),
        (2, "limits=2 are no Limits"),
        (Limits()._replace(seconds=0), "seconds=0 is no finite, positive number of seconds"),
    ],
)
def test_limits_of_a_sandbox(limits, says):
    with pytest.raises(IsolationError, match=says):
        Sandbox(limits=limits)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"seconds": 0}, "seconds=0 is no finite, positive number of seconds"),
        ({"seconds": float("inf")}, "seconds=inf is no finite, positive number of seconds"),
        ({"seconds": float("nan")}, "seconds=nan is no finite, positive number of seconds"),
        ({"seconds": "1"}, "seconds='1' is no finite, positive number of seconds"),
        ({"memory": 1e9}, "memory=1000000000.0 is no whole, positive number of bytes"),
        ({"memory": 512}, "memory=512 is too small. Give at least 16777216"),
        ({"memory": 10**20}, "memory=100000000000000000000 is too large. Give at most"),
        ({"seconds": 10**400}, "is too large"),
        ({"result": 1}, "result=1 is too small"),
        ({"children": 1000}, "children=1000 is too large. Give at most 64"),
        ({"children": True}, "children=True is no whole, positive number of processes"),
    ],
)
def test_limits(limits, says):
    with pytest.raises(IsolationError, match=says):
        Limits(**limits)


def test_limits_are_values():
    limits = Limits(2, memory=64 << 20)
    assert limits == copy.deepcopy(limits) == pickle.loads(pickle.dumps(limits))
    assert limits._replace(seconds=3) == Limits(seconds=3, memory=64 << 20)
    assert [*inspect.signature(Limits).parameters][:2] == ["seconds", "start"]
    with pytest.raises(TypeError, match="second"):
        Limits(second=1)


def test_the_function_that_is_missing_is_named():
    with pytest.raises(
        SourceError, match=r"does not define asks\(\). Keep the function and its name, asks, or give anoth"
    ):
        Sandbox().load("def other(x): return x\n", like=asks)
    with pytest.raises(SourceError, match=r"does not define what\(\). Keep the function and its name, what\."):
        Sandbox().load("def other(x): return x\n", "what")
    with pytest.raises(
        SourceError, match=r"does not define <lambda>\(\). Give the name of the function: load\(source, name"
    ):
        Sandbox().load("def other(x): return x\n", like=lambda x: x)
    with pytest.raises(SourceError, match=r"does not define a function. Write a def statement"):
        Sandbox().load("x = 1\n")


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
