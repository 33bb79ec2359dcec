"""Data that functions and methods hold as attributes: sent, and sent again once it is another value."""

import functools
import threading

import pytest

from opto.sandbox import Sandbox

pytestmark = pytest.mark.filterwarnings("ignore:Code that a model wrote:RuntimeWarning")


def counted(function):
    @functools.wraps(function)
    def wrapped(*args):
        wrapped.calls += 1
        with wrapped.lock:
            return function(*args)

    wrapped.calls, wrapped.lock = 0, threading.Lock()
    return wrapped


class Machine:
    @counted
    def work(self):
        return self.work.calls, Machine.scale.by

    @staticmethod
    def scale(x):
        return x * Machine.scale.by

    def act(self, x):
        return x


class Guarded:
    lock = threading.Lock()

    def use(self):
        with self.lock:
            return FACTOR


FACTOR = 2


def original(x):
    return x


@pytest.fixture(scope="module")
def sandbox():
    return Sandbox()


@pytest.mark.parametrize("kind", ["of its own class", "another one"])
def test_attributes_of_methods_are_those_of_the_program(sandbox, monkeypatch, kind):
    monkeypatch.setattr(Machine.work, "calls", 4)
    monkeypatch.setattr(Machine.scale, "by", 2, raising=False)
    source, owner, like = "def act(self, x):\n    return x.work(), Machine.scale(3)\n", Machine, Machine.act
    if kind == "another one":
        source, owner, like = "def original(y, x):\n    return x.work(), Machine.scale(3)\n", None, original
    with sandbox.load(source, like=like, owner=owner) as candidate:
        assert candidate(Machine(), Machine()) == ((5, 2), 6)
        monkeypatch.setattr(Machine.scale, "by", 10)
        assert candidate(Machine(), Machine())[1] == 30


def test_attributes_of_the_function_itself_are_those_of_the_program(sandbox, monkeypatch):
    monkeypatch.setattr(original, "scale", [3], raising=False)
    monkeypatch.setattr(original, "lock", threading.Lock(), raising=False)
    with sandbox.load("def original(x):\n    return x * original.scale[0]\n", like=original) as candidate:
        assert candidate(2) == 6
        original.scale.append(4)
        original.scale[0] = 5
        assert candidate(2) == 10
    source = "def act(self, x):\n    return self.act.limit\n"
    monkeypatch.setattr(Machine.act, "limit", 8, raising=False)
    with sandbox.load(source, like=Machine.act, owner=Machine) as candidate:
        assert candidate(Machine(), 0) == 8


def test_a_class_has_what_its_source_makes_where_that_cannot_enter(sandbox):
    with sandbox.load("def original(x):\n    return x.use()\n", like=original) as candidate:
        assert candidate(Guarded()) == 2


def test_a_name_that_is_gone_stands_for_what_it_stood_for(sandbox, monkeypatch):
    with sandbox.load("def original(x):\n    return x * FACTOR\n", like=original) as candidate:
        assert candidate(2) == 4
        monkeypatch.setitem(globals(), "FACTOR", 3)
        assert candidate(2) == 6
        monkeypatch.delitem(globals(), "FACTOR")
        assert candidate(2) == 6
