"""Copies of modules: deep, linked and shallow, whatever they hold and however deep it lies."""

import asyncio
import collections
import copy
import dataclasses
import functools
import gc
import itertools
import threading
import warnings

import pytest

from opto.trace import Module, bundle, node


def module_with(**attributes):
    module = Module()
    vars(module).update(attributes)
    return module


def copies(module):
    return [copy.deepcopy(module), module.copy()]


class Complains:
    """As clients of models do when one is deleted that was never finished."""

    def __init__(self):
        self.lock = threading.RLock()
        self.state = "open"

    def __del__(self):
        assert self.state


def test_what_is_shared_is_not_tried_first(monkeypatch):
    complaints = []
    monkeypatch.setattr("sys.unraisablehook", complaints.append)
    client = Complains()
    for twin in copies(module_with(client=client, more=[client, {"k": client}], held=node(client))):
        assert twin.client is twin.more[0] is twin.more[1]["k"] is twin.held.data is client
    gc.collect()
    assert not complaints


@pytest.mark.parametrize(
    ("package", "name"), [("openai", "OpenAI"), ("openai", "AsyncOpenAI"), ("anthropic", "Anthropic")]
)
def test_clients_of_models_are_shared_in_silence(package, name, monkeypatch):
    complaints = []
    monkeypatch.setattr("sys.unraisablehook", complaints.append)
    client = getattr(pytest.importorskip(package), name)(api_key="x")
    module = module_with(prompt=node("p", trainable=True), llm=client)
    for twin in copies(module):
        assert twin.llm is client
    assert copy.copy(module).llm is client
    gc.collect()
    assert not complaints


def test_an_event_loop_is_shared_in_silence(monkeypatch):
    complaints = []
    monkeypatch.setattr("sys.unraisablehook", complaints.append)
    loop = asyncio.new_event_loop()
    try:
        assert copy.deepcopy(module_with(loop=loop)).loop is loop
        gc.collect()
        assert not complaints
    finally:
        loop.close()


@dataclasses.dataclass
class Held:
    lock: object
    values: list


@pytest.mark.parametrize(
    "hold",
    [
        lambda lock, values: [lock, values],
        lambda lock, values: (lock, values),
        lambda lock, values: {"lock": lock, "values": values},
        lambda lock, values: {lock: values},
        lambda lock, values: collections.OrderedDict(lock=lock, values=values),
        lambda lock, values: collections.defaultdict(list, lock=lock, values=values),
        lambda lock, values: collections.deque([lock, values], maxlen=5),
        lambda lock, values: Held(lock, values),
        lambda lock, values: node([lock, values]),
    ],
)
def test_what_lies_beside_a_lock_is_copied(hold):
    lock, values = threading.Lock(), [1]
    twin = copy.deepcopy(module_with(held=hold(lock, values), values=values))
    parts = twin.held._data if hasattr(twin.held, "_data") else twin.held
    parts = vars(parts).values() if isinstance(parts, Held) else parts
    parts = [*parts, *parts.values()] if isinstance(parts, dict) else list(parts)
    assert any(part is lock for part in parts)
    assert any(part is twin.values for part in parts)
    assert twin.values is not values


def test_sets_are_copied_and_their_locks_shared():
    lock = threading.Lock()
    module = module_with(open={lock, 1}, closed=frozenset([lock]))
    twin = copy.deepcopy(module)
    assert (twin.open, twin.closed) == (module.open, module.closed)
    assert twin.open is not module.open


class Chain:
    """A list of things, each of which holds the next."""

    def __init__(self, rest):
        self.rest = rest


def test_depth_is_no_limit_to_copies():
    root = module = Module()
    things, lists = None, []
    for number in range(5_000):
        module.prompt, module.inner = node(number, trainable=True), Module()
        module = module.inner
        things, lists = Chain(things), [lists]
    root.things, root.lists = things, lists
    for twin in copies(root):
        assert [item.data for item in twin.parameters()] == list(range(5_000))
        assert twin.inner.inner is not root.inner.inner
        assert twin.things.rest.rest is not root.things.rest.rest
        assert twin.lists[0][0] is not root.lists[0][0]


def test_ten_thousand_modules_have_their_copies():
    root = module_with(steps=[module_with(prompt=node(number, trainable=True)) for number in range(10_000)])
    twin = copy.deepcopy(root)
    assert [item.data for item in twin.parameters()] == list(range(10_000))
    assert not {id(item) for item in twin.parameters()} & {id(item) for item in root.parameters()}


def test_a_long_history_stays_with_the_original():
    total = weight = node(0, trainable=True)
    for _ in range(100_000):
        total = total + 1
    twin = copy.deepcopy(module_with(weight=weight, total=total))
    assert (twin.total.data, twin.total.parents) == (100_000, [])


@pytest.mark.filterwarnings("ignore:Pickle, copy, and deepcopy support will be removed from itertools")
def test_counters_iterators_and_bound_methods_go_on_for_themselves():
    inner = module_with(prompt=node("p", trainable=True))
    module = module_with(inner=inner, numbers=itertools.count(), items=iter([1, 2]), listed=inner.parameters)
    twin = copy.deepcopy(module)
    assert (next(twin.numbers), next(twin.numbers), next(twin.items)) == (0, 1, 1)
    assert (next(module.numbers), next(module.items)) == (0, 1)
    assert twin.listed()[0] is twin.inner.prompt


class Hands(Module):
    """Hands attributes on that it does not have."""

    def __init__(self):
        self.inner = Module()
        self.inner.prompt = node("p", trainable=True)

    def __getattr__(self, name):
        return getattr(self.inner, name)


def test_attributes_that_are_handed_on_do_not_get_in_the_way():
    hands = Hands()
    twin = copy.deepcopy(hands)
    assert twin.prompt is twin.inner.prompt is not hands.prompt
    assert copy.copy(hands).prompt is hands.prompt


def test_modules_that_are_lists_or_dicts_keep_their_items():
    class Steps(Module, list):
        pass

    class Prompts(Module, dict):
        pass

    steps, prompts = Steps([node("a", trainable=True)]), Prompts(b=node("b", trainable=True))
    assert copy.copy(steps)[0] is steps[0]
    assert copy.copy(prompts)["b"] is prompts["b"]
    assert [item.data for item in copy.deepcopy(steps).parameters()] == ["a"]
    assert copy.deepcopy(prompts)["b"] is not prompts["b"]


def test_copies_in_threads_while_the_original_is_used():
    class Agent(Module):
        @bundle(trainable=True)
        def act(self, x):
            return x

    module = module_with(agents=[Agent() for _ in range(20)], lock=threading.Lock())
    errors = []

    def work():
        try:
            for _ in range(20):
                copy.deepcopy(module)
                module.copy().agents[0].act(1)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_an_error_of_a_module_that_copies_itself_is_not_hidden():
    class Odd(Module):
        def __deepcopy__(self, memo):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), warnings.catch_warnings():
        copy.deepcopy(module_with(inner=Odd()))


def test_a_copy_that_never_ends_is_no_reason_to_share():
    class Endless:
        def __deepcopy__(self, memo):
            return copy.deepcopy(self)

    with pytest.raises(RecursionError):
        copy.deepcopy(module_with(held=Endless()))


def test_what_stands_in_the_place_of_other_callables_is_copied_with_its_attributes():
    power = copy.deepcopy(bundle(functools.partial(pow, 2)))
    assert (power(5).data, power.args) == (32, (2,))
