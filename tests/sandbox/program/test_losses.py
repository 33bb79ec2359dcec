"""What a function changes beside its own variables is told from its text, before a sandbox loses it."""

from collections import deque
from typing import ClassVar

import pytest

from opto.sandbox import Sandbox

TABLE = {"a": [1]}
NAMES = ["a"]
TEXT = "a"


class Settings:
    mode = "a"


class Agent:
    kinds: ClassVar = deque()

    def __init__(self):
        self.count, self.seen, self.inner, self.text = 0, [], Settings(), "a"
        self.inner.names = {1}

    @property
    def asked(self):
        raise AssertionError("nobody may ask")

    def act(self, x):
        return x


def act(self, x):
    return x


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        ("self.count = x", "self.count"),
        ("self.count += x", "self.count"),
        ("self.first, (self.second, y) = x", "self.first, self.second"),
        ("del self.count", "self.count"),
        ("for self.count in x: pass", "self.count"),
        ("self.seen[0] = x", "self.seen"),
        ("self.seen[0].x[1] = x", "self.seen"),
        ("self.seen.append(x)", "self.seen"),
        ("self.inner.names.add(x)", "self.inner.names"),
        ("self.inner.mode = x", "self.inner.mode"),
        ("self.kinds.append(x)", "self.kinds"),
        ("TABLE[x] = 1", "TABLE"),
        ("NAMES.append(x)", "NAMES"),
        ("Settings.mode = x", "Settings.mode"),
        ("global TEXT\n    TEXT = x", "TEXT"),
        ("global TEXT\n    def inner(): TABLE.update(a=1)\n    TEXT += x", "TEXT, TABLE"),
        ("self.a = self.b = self.c = self.d = self.e = 1", "self.a, self.b, self.c, self.d and more"),
    ],
)
def test_what_is_changed_is_named(body, changed):
    source = f"def act(self, x):\n    {body}\n    return x\n"
    said = Sandbox().losses(source, act, {"self": Agent(), "x": 1}, owner=Agent)
    assert said is not None
    assert said.startswith(f"act() changes {changed}, which is lost in a sandbox. Return ")


@pytest.mark.parametrize(
    "body",
    [
        "y = self.count + x",
        "NAMES = []\n    NAMES.append(x)",
        "def inner(TABLE): TABLE[x] = 1",
        "seen = [*self.seen]\n    seen.append(x)",
        "x.append(1)",
        "TEXT.append(x)",
        "self.text.pop(x)",
        "self.asked.append(x)",
        "self.seen.index(x)",
        "made = Settings()\n    made.mode = x",
        "Settings().mode = x",
        "counts = {}\n    def inner():\n        nonlocal x\n        x = 1",
    ],
)
def test_what_is_not_is_not(body):
    source = f"def act(self, x):\n    {body}\n    return x\n"
    assert Sandbox().losses(source, act, {"self": Agent(), "x": [1]}, owner=Agent) is None


def test_nothing_is_lost_where_it_is_called_outside_or_nothing_is_between():
    source = "def act(self, x):\n    self.seen.append(x)\n    return x\n"
    given = {"self": Agent(), "x": 1}
    assert Sandbox("none").losses(source, act, given, owner=Agent) is None
    assert Sandbox(hosts=["self.seen.append"]).losses(source, act, given, owner=Agent) is None
    assert Sandbox().losses(source, act, given, owner=Agent) is not None
