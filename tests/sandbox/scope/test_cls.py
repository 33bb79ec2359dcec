"""``cls`` of class methods; what speaks of ``self``; and trainable methods, which go along as they are now."""

import asyncio
import threading
from functools import cached_property
from typing import ClassVar

import pytest

from opto.nodes import node
from opto.sandbox import Sandbox
from opto.trace import Module, bundle

pytestmark = pytest.mark.filterwarnings("ignore:Code that a model wrote:RuntimeWarning")


@pytest.fixture(scope="module")
def sandbox():
    return Sandbox()


def answer(sandbox, body, kind, *args):
    """Return what the class method `act` of *kind* answers if its body is *body*."""
    owner = next(base for base in kind.__mro__ if "act" in vars(base))
    like = vars(owner)["act"].__func__
    with sandbox.load(f"def act(cls, *args):\n    {body}\n", like=like, owner=owner) as candidate:
        return candidate(kind, *args)


class Classes:
    factor = 4
    names: ClassVar = ["a"]
    __hidden = 5

    @classmethod
    def act(cls, *args):
        return args

    @classmethod
    def scaled(cls, x):
        return cls.factor * x + cls.offset()

    @staticmethod
    def offset():
        return 1

    def method(self):
        return "method"


class Others(Classes):
    factor = 5

    @classmethod
    def act(cls, *args):
        return ["Others", *super().act(*args)]


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        (Classes, "return [cls.factor, cls.names, cls.__name__]", [4, ["a"], "Classes"]),
        (Classes, "return [cls.scaled(2), cls.offset(), Classes.factor]", [9, 1, 4]),
        (Classes, "return cls.__hidden", 5),
        (Classes, "return cls.method(None)", "method"),
        (Classes, "return args[0] if len(args) == 1 else cls.act(2)", 2),
        (Others, "return [cls.scaled(2), super().factor, super().act(1)]", [11, 4, (1,)]),
        (Others, "return issubclass(cls, Classes)", True),
    ],
)
def test_class_methods_are_given_a_class(sandbox, kind, body, expected):
    assert answer(sandbox, body, kind, *([] if "cls.act(2)" in body else [1])) == expected


def test_a_class_method_is_given_the_class_that_it_is_called_on(sandbox):
    source = "def act(cls, *args):\n    return [cls.factor, cls.__name__]\n"
    with sandbox.load(source, like=Classes.act.__func__, owner=Classes) as candidate:
        assert candidate(Classes) == [4, "Classes"]
        assert candidate(Others) == [5, "Others"]
        assert candidate(Classes) == [4, "Classes"]


class Part:
    def __init__(self, whole):
        self.whole = whole


class Tooled:
    def __init__(self):
        self.factor = 3
        self.lock = threading.Lock()
        self.tools = {"scale": self.scale}
        self.part, self.held = Part(self), Part(self.lock)

    def scale(self, x):
        return self.factor * x

    def act(self, x):
        return x


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return self.tools['scale'](x)", 6),
        (
            "return [self.part.whole is self, self.part.whole.factor, self.part.whole.part is self.part]",
            [True, 3, True],
        ),
        ("return type(self.part).__name__", "Part"),
    ],
)
def test_what_an_object_holds_may_speak_of_it(sandbox, body, expected):
    with sandbox.load(f"def act(self, x):\n    {body}\n", like=Tooled.act, owner=Tooled) as candidate:
        assert candidate(Tooled(), 2) == expected


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return self.part.whole.lock", "self.lock is a lock, which stays outside"),
        ("return self.part.whole.held", "self.held is a lock in the attribute whole of Part, which stays outside"),
    ],
)
def test_what_cannot_enter_is_said_when_that_asks_for_it(sandbox, body, said):
    with (
        sandbox.load(f"def act(self, x):\n    {body}\n", like=Tooled.act, owner=Tooled) as candidate,
        pytest.raises(AttributeError, match=said),
    ):
        candidate(Tooled(), 2)


class Trained(Module):
    start = node(3)
    first = 3

    @bundle(trainable=True)
    def act(self, x):
        return x

    @bundle
    def part(self, x):
        return x + 1

    @classmethod
    @bundle(trainable=True)
    def of(cls, x):
        return x


class Retrained(Trained):
    @bundle(trainable=True, allow_external_dependencies=True)
    def act(self, x):
        return super().act(x)


class Looked(Trained):
    @property
    @bundle(trainable=True)
    def size(self):
        return 1

    @cached_property
    @bundle(trainable=True)
    def costly(self):
        return 2

    @bundle(trainable=True)
    async def later(self, x):
        return x


class More(Looked):
    @property
    @bundle(trainable=True)
    def size(self):
        return 10

    @bundle(trainable=True)
    async def later(self, x):
        return x + 1


class Holder(Module):
    def __init__(self):
        self.inner = Retrained()

    @bundle(trainable=True, allow_external_dependencies=True)
    def act(self, x):
        return self.inner.act(x)


def learn(module, path, source):
    module.parameters_dict()[path]._set(source)


class TestTrainable:
    def test_methods_above_go_along_as_they_are_now_and_count(self):
        one, other = Retrained(), Retrained()
        one.act(1)
        learn(one, "act", "def act(self, x):\n    return super().act(x) + 100\n")
        above = one.parameters_dict()["Trained.act"]
        first = one.act(1)
        assert first.data == 101
        assert above in first.parents
        above._set("def act(self, x):\n    return self.part(x) * 2 + self.start\n")
        assert one.act(1).data == 107
        assert other.act(1).data == 1

    def test_methods_above_that_new_text_calls_are_owned_from_then_on(self):
        class Child(Trained):
            @bundle(trainable=True, allow_external_dependencies=True)
            def act(self, x):
                return x

        child = Child()
        assert child.act(1).data == 1
        assert "Trained.act" not in child.parameters_dict()
        learn(child, "act", "def act(self, x):\n    return (lambda it: it.part(x))(self)\n")
        assert child.act(1).data == 2
        assert "Trained.act" not in child.parameters_dict()
        learn(child, "act", "def act(self, x):\n    return super().act(x)\n")
        result = child.act(1)
        assert child.parameters_dict()["Trained.act"] in result.parents

    def test_methods_of_objects_in_self_have_classes_above_as_well(self):
        holder = Holder()
        assert holder.act(1).data == 1
        learn(holder, "act", "def act(self, x):\n    return self.inner.act(x) + 10\n")
        assert holder.act(1).data == 11
        learn(holder.inner, "Trained.act", "def act(self, x):\n    return x * 5\n")
        assert holder.act(1).data == 15
        learn(holder.inner, "act", "def act(self, x):\n    return super(__class__, self).act(x) + 1\n")
        assert holder.act(1).data == 16

    def test_properties(self):
        more = More()
        assert [more.size.data, more.costly.data] == [10, 2]
        More.size.fget.parameter._set("def size(self):\n    return super().size + self.costly\n")
        Looked.costly.func.parameter._set("def costly(self):\n    return len(type(self).__name__)\n")
        try:
            assert More().size.data == 1 + len("More")
        finally:
            More.size.fget.parameter._set("def size(self):\n    return 10\n")
            Looked.costly.func.parameter._set("def costly(self):\n    return 2\n")

    def test_coroutines(self):
        more = More()
        learn(more, "later", "async def later(self, x):\n    return await super().later(x) + 5\n")
        assert asyncio.run(more.later(1)).data == 6

    def test_class_methods(self):
        Trained.of.parameter._set("def of(cls, x):\n    return cls.first + x\n")
        try:
            assert [Trained.of(1).data, Retrained().of(2).data] == [4, 5]
        finally:
            Trained.of.parameter._set("def of(cls, x):\n    return x\n")

    def test_private_names_and_super_in_class_methods(self):
        class Child(Trained):
            __hidden = 7

            @classmethod
            @bundle(trainable=True, allow_external_dependencies=True)
            def of(cls, x):
                return x

        Child.of.parameter._set("def of(cls, x):\n    return super().of(x) + cls.__hidden\n")
        assert [Child.of(1).data, Child().of(2).data] == [8, 9]
