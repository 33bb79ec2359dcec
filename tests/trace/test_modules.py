"""Modules own parameters, by path, each once."""

import copy
import dataclasses
import functools
import pickle
import socket
import sys
import threading

import pytest

from opto.errors import GraphError, ModuleError
from opto.nodes import ParameterNode, Range, node
from opto.optimizers import LocalSearch
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


# Freezing


def frozen(module):
    return [path for path, item in module.named_parameters() if not item.trainable]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["prompt"], ["prompt"]),
        (["inner"], ["inner.weight"]),
        (["inner.weight", "steps[0]"], ["steps[0]", "inner.weight"]),
        (["steps"], ["steps[0]", "steps[1][first]", "steps[1][2][0]"]),
        (["steps[1]"], ["steps[1][first]", "steps[1][2][0]"]),
        (["steps.*"], ["steps[0]", "steps[1][first]", "steps[1][2][0]"]),
        (["steps[*][first]"], ["steps[1][first]"]),
        (["*.weight"], ["inner.weight"]),
        (["steps[?]"], ["steps[0]", "steps[1][first]", "steps[1][2][0]"]),
        (["*"], ["prompt", "steps[0]", "steps[1][first]", "steps[1][2][0]", "inner.weight"]),
        ([], ["prompt", "steps[0]", "steps[1][first]", "steps[1][2][0]", "inner.weight"]),
    ],
)
def test_freezing_by_path_and_pattern(names, expected):
    module = Nested()
    assert module.freeze(*names) == expected
    assert frozen(module) == expected
    assert module.unfreeze(*names) == expected
    assert frozen(module) == []


def test_a_shared_parameter_may_be_named_by_any_path():
    module = Nested()
    module.again, module.other = module.inner, {"x": module.prompt}
    assert module.freeze("again.weight", "other[x]") == ["prompt", "inner.weight"]


@pytest.mark.parametrize("names", [["prompt", "inner.wieght"], ["inner.wieght"], ["inn"], ["prompt["], ["steps[9]"]])
def test_unknown_names_freeze_nothing(names):
    module = Nested()
    with pytest.raises(ModuleError, match="Nested has no parameter"):
        module.freeze(*names)
    assert frozen(module) == []


def test_near_misses_are_offered():
    with pytest.raises(ModuleError, match=r"no parameter 'inner\.wieght'\. Did you mean inner\.weight\?"):
        Nested().freeze("inner.wieght")


def test_trainable_functions_can_be_frozen():
    agent = Agent()
    assert agent.freeze("act") == ["act"]
    assert not agent.act.parameter.trainable
    assert agent.act(1).data == 2


def test_optimizers_skip_what_is_frozen():
    module = Module()
    module.x = node(1.0, trainable=True, domain=Range(0, 9), name="x")
    module.y = node(1.0, trainable=True, domain=Range(0, 9), name="y")
    module.freeze("y")
    optimizer = LocalSearch(module.parameters(), seed=1)
    for _ in range(5):
        optimizer.zero_feedback()
        optimizer.backward(module.x + module.y, 1.0)
        optimizer.step()
    assert list(optimizer.variables) == ["x"]
    assert module.y.data == 1.0


# Copies


class Client:
    """As SDKs have them: it holds what cannot be copied, and says so in its own way."""

    def __init__(self):
        self.lock = threading.Lock()
        self.parts = [1, 2]


class Refuses:
    def __deepcopy__(self, memo):
        raise NotImplementedError


class Busy(Module):
    def __init__(self):
        self.client = Client()
        self.tools = {"a": [threading.Lock(), parameter("t")], "refuses": Refuses()}
        self.held = node(Client(), name="held")
        self.history = [{"seen": [1]}]
        self.prompt = parameter("p")
        self.inner = Leaf()
        self.inner.lock = threading.RLock()
        self.myself = self
        self.pair = (self.prompt, self.history)

    @bundle(trainable=True)
    def act(self, x):
        return x + 1


def test_a_deep_copy_shares_only_what_cannot_be_copied():
    busy = Busy()
    twin = copy.deepcopy(busy)
    assert twin.client is busy.client
    assert twin.tools["a"][0] is busy.tools["a"][0]
    assert twin.tools["refuses"] is busy.tools["refuses"]
    assert twin.inner.lock is busy.inner.lock
    assert twin.held.data is busy.held.data
    assert twin.myself is twin
    assert twin.history == busy.history
    assert twin.history[0]["seen"] is not busy.history[0]["seen"]
    assert twin.pair[0] is twin.prompt
    assert twin.pair[1] is twin.history
    assert paths(twin) == paths(busy)
    assert not {id(item) for item in twin.parameters()} & {id(item) for item in busy.parameters()}
    twin.act.parameter._set("def act(self, x):\n    return x + 2\n")
    assert (twin.act(1).data, busy.act(1).data) == (3, 2)


def test_sockets_files_and_generators_are_shared(tmp_path):
    module = Module()
    with socket.socket() as module.socket, (tmp_path / "file").open("w") as module.file:
        module.items, module.module = (item for item in "ab"), sys
        twin = copy.deepcopy(module)
        assert [twin.socket, twin.file, twin.items, twin.module] == [module.socket, module.file, module.items, sys]


def test_what_a_failed_copy_left_behind_is_not_used():
    module = Module()
    shared = [1]
    module.client, module.list = Client(), shared
    module.client.parts = shared
    twin = copy.deepcopy(module)
    assert twin.client.parts is shared
    assert twin.list == shared
    assert twin.list is not shared


def test_a_linked_copy_has_the_same_parameters_and_a_state_of_its_own():
    busy = Busy()
    twin = busy.copy()
    assert [a is b for a, b in zip(twin.parameters(), busy.parameters(), strict=True)] == [True] * 4
    assert twin.history is not busy.history
    twin.act(1).backward("too small")
    assert busy.act.parameter.feedback
    busy.act.parameter._set("def act(self, x):\n    return x + 5\n")
    assert twin.act(1).data == 6


def test_a_shallow_copy_shares_code_that_nobody_asked_for_yet():
    agent = Agent()
    twin = copy.copy(agent)
    assert twin.act.parameter is agent.act.parameter


def test_copies_keep_slots_frozen_parameters_and_state_methods():
    class Slotted(Module):
        __slots__ = ("fast",)

        def __getstate__(self):
            return {"prompt": self.prompt}, {"fast": self.fast}

    module = Slotted()
    module.fast, module.prompt, module.dropped = [1], parameter("p"), threading.Lock()
    module.freeze()
    twin = copy.deepcopy(module)
    assert twin.fast == [1]
    assert twin.fast is not module.fast
    assert frozen(twin) == ["prompt"]
    assert not hasattr(twin, "dropped")


def test_functions_in_modules_are_copied_with_their_code():
    @bundle(trainable=True)
    def tool(x):
        return x

    module = Module()
    module.tool, module.fixed = tool, bundle(len)
    twin = copy.deepcopy(module)
    twin.tool.parameter._set("def tool(x):\n    return -x\n")
    assert (twin.tool(1).data, module.tool(1).data, twin.fixed("ab").data) == (-1, 1, 2)
    assert tool.copy().parameter is tool.parameter


# Pickles


@bundle(trainable=True)
def top(x):
    return x * 10


def pickled(value):
    return pickle.loads(pickle.dumps(value))


def test_a_module_comes_back_with_what_it_learnt():
    agent = Agent("Dear")
    agent.act.parameter._set("def act(self, x):\n    return x + 100\n")
    agent.freeze("greeting")
    agent.tool, agent.steps, agent.result = top, [Leaf(), agent], agent.act(1)
    twin = pickled(agent)
    assert twin.act(1).data == 101
    assert (twin.greeting.data, twin.greeting.trainable) == ("Dear", False)
    assert twin.tool(2).data == 20
    assert twin.tool.parameter is not top.parameter
    assert twin.steps[1] is twin
    assert (twin.result.data, twin.result.parents) == (101, [])
    assert paths(twin) == paths(agent)
    twin.act.parameter._set("def act(self, x):\n    return x\n")
    assert (twin.act(1).data, agent.act(1).data) == (1, 101)


def test_what_was_not_changed_runs_as_it_was_written():
    agent = pickled(Agent())
    assert agent.act(1).data == 2
    assert agent.act._code.version.function is Agent.act.fun


def test_functions_come_back_by_their_path_with_their_source():
    original = top.parameter.data
    try:
        top.parameter._set("def top(x):\n    return x * 3\n")
        data = pickle.dumps([top, top, Agent().act])
    finally:
        top.parameter._set(original)
    twin, same, method = pickle.loads(data)
    assert twin(2).data == 6
    assert top(2).data == 20
    assert twin is same
    assert method(1).data == 2


def test_what_cannot_be_pickled_is_named_by_its_path():
    busy = Busy()
    with pytest.raises(ModuleError, match=r"Busy cannot be pickled because of its attribute 'client': cannot pickle"):
        pickle.dumps(busy)
    busy.client = None
    with pytest.raises(ModuleError, match=r"Busy .* 'tools\[a\]\[0\]': cannot pickle '_thread.lock'"):
        pickle.dumps(busy)
    del busy.tools
    with pytest.raises(ModuleError, match=r"Busy .* 'held'"):
        pickle.dumps(busy)
    del busy.held
    with pytest.raises(ModuleError, match=r"Leaf .* 'lock'"):
        pickle.dumps(busy)
    del busy.inner.lock
    assert pickled(busy).act(1).data == 2


def test_functions_without_a_path_cannot_be_pickled():
    @bundle(trainable=True)
    def local(x):
        return x

    module = Leaf()
    module.local = local
    with pytest.raises(ModuleError, match=r"'local': .*local\(\) cannot be pickled"):
        pickle.dumps(module)


class Drops(Module):
    def __init__(self):
        self.lock, self.weight = threading.Lock(), parameter(3)

    def __getstate__(self):
        return {"weight": self.weight}

    def __setstate__(self, state):
        vars(self).update(state, lock=threading.Lock())


def test_modules_may_drop_and_make_again_what_cannot_be_pickled():
    twin = pickled(Drops())
    assert twin.weight.data == 3
    assert twin.lock is not None


# Looking


def test_a_module_shows_itself_as_a_tree():
    module = Nested()
    module.agent, module.again, module.empty = Agent("x" * 100), module.prompt, [1, 2]
    module.freeze("inner")
    assert repr(module) == (
        "Nested\n"
        "├─ prompt = 'a'\n"
        "├─ steps: list\n"
        "│  ├─ [0] = 0\n"
        "│  └─ [1]: dict\n"
        "│     ├─ [first] = 0\n"
        "│     └─ [2]: tuple\n"
        "│        └─ [0] = 0\n"
        "├─ inner: Leaf\n"
        "│  └─ weight = 0  (frozen)\n"
        "└─ agent: Agent\n"
        f"   ├─ greeting = '{'x' * 78}…\n"
        "   └─ act = def act(self, x): … (3 lines)"
    )


def test_a_module_shows_itself_in_notebooks():
    agent = Agent("a < b")
    shown = agent._repr_mimebundle_()
    assert shown["text/plain"] == repr(agent)
    assert "<pre>a &lt; b</pre>" in shown["text/html"]
    assert "<pre>def act(self, x):\n" in shown["text/html"]
    assert repr(Module()) == "Module"


def test_modules_that_hold_each_other_are_shown():
    a, b = Leaf(), Leaf()
    a.other, b.other = b, a
    assert repr(a) == "Leaf\n├─ weight = 0\n└─ other: Leaf\n   └─ weight = 0"


def test_methods_that_are_bound_for_the_occasion_are_not_taken_for_each_other():
    """Their ids are free again at once: a walk that remembers ids alone skips some of them, now and then."""
    members = {}
    for index in range(50):
        source = f"def work{index}(self, x):\n    return x"
        namespace = {}
        exec(source, namespace)
        members[f"work{index}"] = bundle(trainable=True, source=source)(namespace[f"work{index}"])
    many = type("Many", (Module,), members)()

    assert len(many.parameters()) == 50
    assert len({id(parameter) for parameter in many.parameters()}) == 50


def test_trainable_functions_behind_properties_and_decorators_are_parameters():
    def passing_on(function):
        @functools.wraps(function)
        def wrapper(*args):
            return function(*args)

        return wrapper

    class Agent(Module):
        @property
        @bundle(trainable=True)
        def tone(self):
            return "kind"

        @functools.cached_property
        @bundle(trainable=True)
        def size(self):
            return 1

        @passing_on
        @bundle(trainable=True)
        def act(self, x):
            return x

    agent = Agent()
    assert list(agent.parameters_dict()) == ["tone", "size", "act"]
    for result, path in ((agent.tone, "tone"), (agent.size, "size"), (agent.act(1), "act")):
        result.backward("no")
        assert len(agent.parameters_dict()[path].feedback) == 1
    agent.parameters_dict()["act"]._set("def act(self, x):\n    return self.tone + '!'")
    assert agent.act(1).data == "kind!"


def test_a_class_with_a_metaclass_that_makes_objects_its_own_way():
    class Naming(type):
        def __call__(cls, *args, **kwargs):
            made = super().__call__(*args, **kwargs)
            made.tag = cls.__name__
            return made

    @model
    class Agent(metaclass=Naming):
        def __init__(self, prompt):
            self.prompt = node(prompt, trainable=True)

    agent = Agent("hi")
    assert isinstance(agent, Module)
    assert (agent.tag, type(Agent), list(agent.parameters_dict())) == ("Agent", Naming, ["prompt"])
