"""For whom a model is asked: the role, the operator whose body runs, and the step."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest

from opto.errors import BadRequestError, ExecutionError
from opto.llm import Labels, ScriptedLLM, as_llm, labelled, labels, use_llm
from opto.nodes import node, stop_tracing
from opto.trace import Module, bundle, model


class Said:
    """A model that remembers for whom it was asked."""

    def __init__(self):
        self.labels = []
        self.llm = ScriptedLLM(self._answer)

    def __call__(self):
        return self.llm("hello").text

    def _answer(self, messages):
        self.labels.append(labels(self.llm.role))
        return "hello"

    @property
    def operators(self):
        return [item.operator for item in self.labels]


@pytest.fixture
def ask():
    return Said()


def test_outside_of_everything_it_is_the_programs_own_call(ask):
    ask()
    assert ask.labels == [Labels("task", None, None)]


def test_a_call_in_the_body_of_a_bundle_is_its_operators(ask):
    @bundle("[greet] Greets.")
    def function(name):
        return f"{ask()}, {name}"

    assert function(node("Ada")).data == "hello, Ada"
    ask()
    assert ask.labels == [Labels("task", "greet", None), Labels()]


def test_the_innermost_operator_counts_and_the_outer_one_again_after_it(ask):
    @bundle
    def inner(x):
        ask()
        return x

    @bundle
    def outer(x):
        ask()
        y = inner(x)
        ask()
        return y

    outer(1)
    assert ask.operators == ["outer", "inner", "outer"]


def test_every_kind_of_bundle_has_its_name(ask):
    @bundle(trainable=True, isolation="none")
    def trainable(x):
        ask()
        return x

    @bundle(allow_external_dependencies=True)
    def reads(x):
        ask()
        return x + hidden.data + len(ask())

    @bundle(memo=True)
    def remembered(x):
        ask()
        return x

    @bundle(traceable_code=True)
    def opened(x):
        ask()
        return x + 1

    @bundle(catch_execution_error=False)
    def loud(x):
        ask()
        return x

    @model
    class Agent(Module):
        @bundle
        def method(self, x):
            ask()
            return x

        @bundle(trainable=True, isolation="none")
        def learned(self, x):
            ask()
            return x

    hidden = node(3)
    agent = Agent()
    for function in (trainable, remembered, opened, loud, agent.method, agent.learned):
        function(node(1))
    assert reads(node(1)).parents[-1] is hidden
    names = ["trainable", "remembered", "opened", "loud", "method", "learned", "reads", "reads"]
    assert ask.operators == names
    ask()
    assert ask.operators[-1] is None


def test_what_runs_in_an_open_bundle_has_its_own_name_meanwhile(ask):
    @bundle
    def plain(x):
        ask()
        return x

    @bundle(traceable_code=True)
    def opened(x):
        ask()
        y = plain(x)
        ask()
        return y

    @bundle
    def around(x):
        ask()
        return opened(x)

    opened(node(1))
    assert ask.operators == ["opened", "plain", "opened"]
    around(node(1))
    assert ask.operators[3:] == ["around", "opened", "plain", "opened"]


def test_a_bundle_that_raises_leaves_its_name_behind(ask):
    @bundle
    def fails(x):
        ask()
        raise ValueError(x)

    with pytest.raises(ExecutionError):
        fails(1)
    ask()
    assert ask.operators == ["fails", None]


def test_a_block_without_recording_belongs_to_the_operator_around_it(ask):
    with stop_tracing():
        ask()

    @bundle
    def quiet(x):
        with stop_tracing(), stop_tracing():
            ask()
        return x

    quiet(1)
    assert ask.operators == [None, "quiet"]


def test_generators_have_their_name_while_they_run_only(ask):
    @bundle
    def items(count):
        for number in range(count):
            ask()
            yield number

    for _ in items(2):
        ask()
    assert ask.operators == ["items", None, "items", None]


def test_tasks_do_not_take_each_others_names():
    async def answer(messages):
        seen.append((messages[-1]["content"], labels().operator))
        return "yes"

    seen, llm = [], as_llm(answer)

    @bundle
    async def first(x):
        both.set()
        await llm.acall("first")
        await asyncio.sleep(0)
        await asyncio.gather(llm.acall("first"), asyncio.create_task(llm.acall("first")))
        return x

    @bundle
    async def second(x):
        await both.wait()
        await llm.acall("second")
        await asyncio.sleep(0)
        return await llm.acall("second") and x

    async def program():
        await asyncio.gather(first(1), second(2), llm.acall("None"))

    both = asyncio.Event()
    asyncio.run(program())
    assert len(seen) == 6
    assert all(said == str(operator) for said, operator in seen)


def test_async_generators_have_their_name(ask):
    @bundle
    async def items(count):
        for number in range(count):
            ask()
            yield number

    async def program():
        async for _ in items(2):
            ask()

    asyncio.run(program())
    assert ask.operators == ["items", None, "items", None]


def test_threads_have_names_of_their_own(ask):
    inside, outside = threading.Event(), threading.Event()

    @bundle
    def slow(x):
        inside.set()
        assert outside.wait(10)
        ask()
        return x

    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(slow, 1)
        assert inside.wait(10)
        pool.submit(ask).result()
        outside.set()
        running.result()
    assert ask.operators == [None, "slow"]


def test_a_thread_that_a_bundle_starts_with_its_context_asks_for_it(ask):
    @bundle
    def spread(x):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(copy_context().run, ask).result()
        return asyncio.run(asyncio.to_thread(ask)) and x

    spread(1)
    assert ask.operators == ["spread", "spread"]


def test_blocks_say_what_they_say_and_leave_the_rest():
    with labelled(role="judge", step=4):
        with labelled(operator="rank"):
            assert labels() == Labels("judge", "rank", 4)
        with labelled(step=5):
            assert labels() == Labels("judge", None, 5)
        assert labels() == Labels("judge", None, 4)
    assert labels() == Labels()


def test_of_a_named_block_and_an_operator_the_inner_one_counts(ask):
    @bundle
    def body(x):
        ask()
        with labelled(operator="named", role="judge"):
            ask()
            if x:
                body(x - 1)
            with stop_tracing():
                ask()
        return x

    with labelled(operator="around"):
        ask()
        body(1)
    assert ask.operators == ["around", "body", "named", "body", "named", "named", "named"]
    # A role that was said holds for whatever runs in the block.
    assert [item.role for item in ask.labels] == ["task", "task", *["judge"] * 5]


def test_a_clients_role_holds_unless_a_block_says_another(ask):
    ask.llm = ScriptedLLM(ask._answer, role="judge")
    ask()
    with labelled(role="optimizer"):
        ask()
    assert [item.role for item in ask.labels] == ["judge", "optimizer"]


def test_an_unknown_role_is_named():
    with pytest.raises(BadRequestError, match=r"There is no role 'critic'. Choose one of optimizer, judge, task\."):
        labelled(role="critic").__enter__()
    with pytest.raises(BadRequestError, match="There is no role 'critic'"):
        ScriptedLLM([], role="critic")
    assert labels() == Labels()


def test_a_generator_that_is_left_in_the_middle_ends_in_any_thread():
    def ask_on():
        with labelled(role="judge"), use_llm(ScriptedLLM([])):
            yield

    asking = ask_on()
    copy_context().run(next, asking)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asking.close).result(30)
        assert pool.submit(labels).result(30) == Labels("task", None, None)


@pytest.mark.parametrize("said", [{"step": [3]}, {"step": "3"}, {"operator": 3}])
def test_a_label_is_what_calls_can_be_counted_by(said):
    with pytest.raises(BadRequestError, match="Give its"), labelled(**said):
        pass


def test_the_number_of_a_step_may_be_one_of_numpy():
    numpy = pytest.importorskip("numpy")
    with labelled(step=numpy.int64(3)):
        assert type(labels().step) is int
