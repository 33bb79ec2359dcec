"""How parameters are found, whatever holds them, and how they are named."""

import collections
import copy
import dataclasses
import functools
import threading
from typing import Any, Generic, NamedTuple, TypeVar

import pytest

from opto.errors import GraphError, ModuleError
from opto.trace import Module, bundle, model, node
from opto.trace.containers import Map


def parameter(value="p"):
    return node(value, trainable=True)


def module_with(**attributes):
    module = Module()
    vars(module).update(attributes)
    return module


def paths(module):
    return [path for path, _ in module.named_parameters()]


class Slotted(Module):
    __slots__ = ("__hidden", "prompt", "unset")

    def __init__(self):
        self.prompt, self.__hidden, self.more = parameter(), parameter(), parameter()


@pytest.mark.parametrize("made", [lambda: model(Slotted)(), Slotted])
def test_slots_are_attributes(made):
    module = made()
    assert paths(module) == ["_Slotted__hidden", "prompt", "more"]
    assert paths(copy.deepcopy(module)) == paths(module)
    assert copy.copy(module).prompt is module.prompt


@pytest.mark.parametrize("options", [{}, {"frozen": True}, {"slots": True}, {"slots": True, "frozen": True}])
def test_dataclasses_below_and_above_model(options):
    @model
    @dataclasses.dataclass(**options)
    class Below:
        prompt: Any
        size: int = 3

    assert paths(Below(parameter())) == ["prompt"]
    assert paths(copy.deepcopy(Below(parameter()))) == ["prompt"]
    if "slots" in options:
        return

    @dataclasses.dataclass(**options)
    @model
    class Above:
        prompt: Any = dataclasses.field(default_factory=parameter)
        size: int = 3

    assert paths(Above()) == ["prompt"]
    assert Above(size=4).size == 4
    assert Above.__annotations__ == {"prompt": Any, "size": int}


T = TypeVar("T")


def test_generic_models_take_their_arguments():
    @model
    class Box(Generic[T]):
        def __init__(self, value: T):
            self.value = node(value, trainable=True)

    assert paths(Box[int](3)) == ["value"]
    assert issubclass(Box, Module)


def test_a_class_whose_subclasses_need_arguments_says_so():
    class Registered:
        def __init_subclass__(cls, *, label):
            cls.label = label

    class Tool(Registered, label="tool"):
        pass

    with pytest.raises(GraphError, match="is no class"):
        model(print)
    with pytest.raises(GraphError, match=r"No model can be made of Tool: .*label.*class Tool\(…, Module\)"):
        model(Tool)


def test_fields_and_private_attributes_of_pydantic():
    pydantic = pytest.importorskip("pydantic")

    @model
    class Settings(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(arbitrary_types_allowed=True, extra="allow")
        prompt: Any
        _hidden: Any = pydantic.PrivateAttr(default_factory=parameter)

    settings = Settings(prompt=parameter(), more=parameter())
    assert paths(settings) == ["more", "_hidden", "prompt"]
    settings._hidden = [settings._hidden, lock := threading.Lock()]
    twin = copy.deepcopy(settings)
    assert paths(twin) == paths(settings) == ["more", "_hidden[0]", "prompt"]
    assert twin.prompt is not settings.prompt
    assert twin._hidden[1] is lock
    assert settings.model_copy(deep=True).prompt is not settings.prompt


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass
class Holder:
    prompt: Any
    size: int = 3


@pytest.mark.parametrize(
    ("hold", "path"),
    [
        (lambda item: [1, item], "[1]"),
        (lambda item: Pair(1, item), "[1]"),
        (lambda item: {"k": item}, "[k]"),
        (lambda item: collections.deque([item]), "[0]"),
        (lambda item: {item}, "[0]"),
        (lambda item: frozenset([item]), "[0]"),
        (Holder, ".prompt"),
        (lambda item: functools.partial(print, item, sep=item), ".args[0]"),
        (lambda item: functools.partial(print, sep=item), ".keywords[sep]"),
    ],
)
def test_containers_in_attributes(hold, path):
    assert paths(module_with(held=hold(parameter()))) == [f"held{path}"]
    assert paths(module_with(held=hold(module_with(prompt=parameter())))) == [f"held{path}.prompt"]


def test_sets_have_one_order():
    items = [parameter(number) for number in range(20)]
    module = module_with(held=set(items))
    assert [item.data for item in module.parameters()] == list(range(20))


def test_trainable_functions_in_partial_ones():
    @bundle(trainable=True)
    def add(x, y):
        return x + y

    module = module_with(increment=functools.partial(add, 1))
    assert module.parameters_dict() == {"increment": add.parameter}
    assert module.increment(2).data == 3


def test_modules_that_are_lists_or_dicts():
    class Steps(Module, list):
        pass

    class Prompts(Module, dict):
        pass

    steps, prompts = Steps([parameter()]), Prompts(a=parameter())
    steps.last = parameter()
    assert (paths(steps), paths(prompts)) == (["last", "[0]"], ["[a]"])


def test_keys_that_read_the_same_have_two_names():
    held = {1: parameter("number"), "1": parameter("text"), "a]b": parameter(), "a.b": parameter(), (1, 2): parameter()}
    module = module_with(held=held)
    assert paths(Map(held)) == [path.removeprefix("held") for path in paths(module)]
    assert paths(module) == ["held[1]", "held['1']", "held['a]b']", "held[a.b]", "held[(1, 2)]"]
    assert module.parameters_dict()["held['1']"].data == "text"
    for name in paths(module):
        assert module.freeze(name) == [name]
    with pytest.raises(ModuleError, match="Did you mean"):
        module.freeze("held[2]")


def test_depth_is_no_limit():
    root = module = Module()
    for number in range(2_000):
        module.prompt, module.rest = parameter(number), [Module()]
        module = module.rest[0]
    assert [item.data for item in root.parameters()] == list(range(2_000))
    assert repr(root).count("\n") == 200


def test_large_modules_are_shown_in_part():
    module = module_with(steps=[module_with(prompt=parameter(number)) for number in range(10_000)])
    lines = repr(module).splitlines()
    assert lines[:4] == ["Module", "└─ steps: list", "   ├─ [0]: Module", "   │  └─ prompt = 0"]
    assert (len(lines), lines[-1]) == (201, "… (10,000 parameters in all)")
    assert "10,000 parameters in all" in module._repr_mimebundle_()["text/html"]
