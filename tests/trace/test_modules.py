"""Modules own parameters, by path, each once."""

import copy
import dataclasses

import pytest

from opto.errors import GraphError
from opto.nodes import ParameterNode, node
from opto.trace import Module, bundle, model


def paths(module):
    return [path for path, _ in module.named_parameters()]


def parameter(value=0):
    return node(value, trainable=True)


class Nested(Module):
    def __init__(self):
        self.prompt = parameter("a")
        self.plain = node(1)
        self.number = 3
        self.steps = [parameter(), {"first": parameter(), 2: (parameter(),)}]
        self.inner = Leaf()


class Leaf(Module):
    def __init__(self):
        self.weight = parameter()

    def forward(self, x):
        return self.weight + x


def test_paths_read_like_python():
    assert paths(Nested()) == ["prompt", "steps[0]", "steps[1][first]", "steps[1][2][0]", "inner.weight"]


def test_parameters_and_dict_agree_with_the_names():
    module = Nested()
    named = dict(module.named_parameters())
    assert module.parameters_dict() == named
    assert [a is b for a, b in zip(module.parameters(), named.values(), strict=True)] == [True] * 5
    assert all(isinstance(item, ParameterNode) for item in module.parameters())


def test_shared_parameters_are_listed_once_under_the_first_path():
    module = Nested()
    module.again = module.prompt
    module.inner_again = module.inner
    assert len(module.parameters()) == 5
    assert "again" not in paths(module)


def test_parameters_with_equal_values_are_all_listed():
    module = Module()
    module.first, module.second = parameter(7), parameter(7)
    module.list, module.other = [parameter(7)], [parameter(7)]
    assert paths(module) == ["first", "second", "list[0]", "other[0]"]


def test_modules_that_hold_each_other_do_not_loop():
    a, b = Leaf(), Leaf()
    a.other, b.other = b, a
    a.self = a
    circle = [parameter()]
    circle.append(circle)
    a.circle = circle
    assert paths(a) == ["weight", "other.weight", "circle[0]"]


def test_parameters_of_the_class_belong_to_every_instance():
    shared = parameter()

    class WithShared(Module):
        weight = shared

    assert [item is shared for item in WithShared().parameters()] == [True]
    assert paths(WithShared()) == ["weight"]


def test_properties_are_not_evaluated():
    class Lazy(Module):
        @property
        def expensive(self):
            raise AssertionError("evaluated")

        @bundle(trainable=True)
        def act(self, x):
            return x

    assert paths(Lazy()) == ["act"]


def test_frozen_parameters_are_listed_all_the_same():
    """`trainable` says whether an optimizer may replace it now; who owns it does not change."""
    module = Leaf()
    module.weight.trainable = False
    assert paths(module) == ["weight"]


def test_trainable_functions_in_attributes_and_lists():
    @bundle(trainable=True)
    def tool(x):
        return x

    @bundle
    def fixed(x):
        return x

    module = Module()
    module.tool, module.tools, module.fixed = tool, {"a": tool, "b": fixed}, fixed
    assert paths(module) == ["tool"]
    assert module.parameters()[0] is tool.parameter


def test_trainable_static_methods_are_found():
    class WithStatic(Module):
        @staticmethod
        @bundle(trainable=True)
        def act(x):
            return x + 1

    module = WithStatic()
    assert module.act(1).data == 2
    assert paths(module) == ["act"]


def test_trainable_class_methods_belong_to_the_class():
    class WithClass(Module):
        start = 1

        @classmethod
        @bundle(trainable=True)
        def act(cls, x):
            return cls.start + x

    assert WithClass().act(1).data == 2
    assert WithClass.act(1).data == 2


def test_calling_comes_to_forward():
    assert Leaf()(3).data == 3


def test_calling_without_forward_names_the_class():
    class Empty(Module):
        pass

    with pytest.raises(GraphError, match="Empty is called, but defines no forward"):
        Empty()(1)


def test_forward_may_be_bundled():
    class Bundled(Module):
        @bundle
        def forward(self, x, *, by=2):
            return x * by

    assert Bundled()(3, by=node(4)).data == 12


# @model


@model
class Agent:
    """Acts."""

    kind = "agent"

    def __init__(self, greeting="hi"):
        super().__init__()
        self.greeting = node(greeting, trainable=True)

    @bundle(trainable=True)
    def act(self, x):
        """Act on x."""
        return x + 1

    def forward(self, x):
        return self.greeting + " " + self.act(x).call("__str__")


def test_model_keeps_name_docs_and_identity_of_the_class():
    assert (Agent.__name__, Agent.__qualname__, Agent.__doc__, Agent.__module__) == (
        "Agent",
        "Agent",
        "Acts.",
        __name__,
    )
    assert issubclass(Agent, Module)
    assert Agent.kind == "agent"


def test_model_instances_are_modules():
    agent = Agent("Dear")
    assert paths(agent) == ["greeting", "act"]
    assert agent(1).data == "Dear 2"


def test_model_on_a_module_changes_nothing():
    assert model(Leaf) is Leaf


def test_subclasses_of_models():
    @model
    class Child(Agent):
        def __init__(self):
            super().__init__("child")
            self.more = parameter()

        @bundle(trainable=True)
        def think(self, x):
            return x

    assert paths(Child()) == ["greeting", "more", "act", "think"]
    assert issubclass(Child, Agent)


def test_an_overridden_trainable_method_is_listed_once():
    class Child(Agent):
        @bundle(trainable=True)
        def act(self, x):
            return x + 2

    child = Child()
    assert paths(child) == ["greeting", "act"]
    assert child.act(1).data == 3


def test_an_override_that_is_not_trainable_is_no_parameter():
    class Child(Agent):
        def act(self, x):
            return x

    assert paths(Child()) == ["greeting"]


def test_model_on_a_dataclass():
    @model
    @dataclasses.dataclass
    class Settings:
        prompt: object = dataclasses.field(default_factory=lambda: parameter("p"))
        size: int = 3

    assert paths(Settings()) == ["prompt"]
    assert Settings(size=4).size == 4


def test_model_on_a_generic_or_slotted_class_says_what_is_wrong():
    class Slotted:
        __slots__ = ("x",)

        @bundle(trainable=True)
        def act(self):
            return 1

    with pytest.raises(GraphError, match="__slots__"):
        Slotted().act()
    assert paths(model(Slotted)()) == ["act"], "a subclass has a __dict__"


def test_the_code_of_methods_is_listed_before_any_call():
    agent = Agent()
    listed = agent.parameters()[1]
    agent.act(1)
    assert agent.act.parameter is listed
    assert agent.parameters()[1] is listed


def test_two_instances_share_nothing():
    a, b = Agent(), Agent()
    a.act.parameter._set("def act(self, x):\n    return x + 100\n")
    assert (a.act(1).data, b.act(1).data) == (101, 2)
    assert {id(item) for item in a.parameters()} & {id(item) for item in b.parameters()} == set()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_a_copy_runs_the_code_that_was_learnt(copied):
    agent = Agent()
    agent.act.parameter._set("def act(self, x):\n    return x + 100\n")
    twin = copied(agent)
    assert twin.act(1).data == 101
    assert paths(twin) == ["greeting", "act"]
    assert twin.parameters_dict()["act"].data == agent.act.parameter.data


def test_a_deep_copy_learns_by_itself():
    agent = Agent()
    agent.act(1)
    twin = copy.deepcopy(agent)
    twin.act.parameter._set("def act(self, x):\n    return x + 100\n")
    twin.greeting._set("Dear")
    assert agent.act(1).data == 2
    assert agent.greeting.data == "hi"
