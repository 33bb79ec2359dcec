"""What the text of a method uses of its object, told apart: attributes, what ``super()`` finds, classes, anything."""

import ast

import pytest

from opto.sandbox.program.uses import Uses, first_argument, uses_in


class Base:
    pass


class Agent(Base):
    pass


KINDS = {"Base": Base, "Agent": Agent}


def uses(body, receiver="self"):
    return uses_in(ast.parse(body), receiver, KINDS.get)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("self.a + self.b.c(self.b.d)", {"own": {"a": None, "b": frozenset({"c", "d"})}}),
        ("self.b.c(self.b)", {"own": {"b": None}}),
        ("self.a = 1", {"own": {"a": None}}),
        ("type(self).a + self.__class__.b + __class__.c", {"own": {"a": None, "b": None, "c": None}}),
        ("getattr(self, 'a', 0)", {"own": {"a": None}}),
        ("getattr(self, name)", {"is_whole": True}),
        ("len(self) + self[0]", {"own": {"__len__": None, "__getitem__": None}}),
        ("super().a(x)", {"above": {(None, "a")}}),
        ("super(__class__, self).a", {"above": {(None, "a")}}),
        ("super(Agent, self).a", {"above": {(Agent, "a")}}),
        ("it = super()", {"is_whole": True}),
        ("Base.act(self, x)", {"of": {(Base, "act")}}),
        ("Base.act(other, self)", {"of": {(Base, "act")}, "is_whole": True}),
        ("json.dumps(self)", {"is_whole": True}),
        ("isinstance(self, Base) and issubclass(kind, Agent)", {}),
        ("[Base, x]", {}),
        ("Agent(1)", {"makes": True}),
        ("type(self)(1)", {"makes": True}),
        ("self(1)", {"own": {"__call__": None}, "makes": True}),
        ("print(other)", {}),
    ],
)
def test_uses(body, expected):
    wanted = {key: frozenset(value) if isinstance(value, set) else value for key, value in expected.items()}
    assert uses(body) == Uses(**wanted)


def test_the_object_may_have_any_name():
    assert uses("this.a + self.b", "this").own == {"a": None}
    assert uses("this.a", None) == Uses()


def test_first_argument():
    tree = ast.parse("def f(a, /, b): ...\nasync def g(*args): ...\nh = lambda x: x\n")
    assert [first_argument(tree, name) for name in ("f", "g", "<lambda>", "other")] == ["a", None, "x", None]
