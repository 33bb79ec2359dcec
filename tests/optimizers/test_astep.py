"""`Optimizer.astep`: steps of programs that are asynchronous themselves."""

import asyncio
import gc
import subprocess
import sys
import threading

import pytest

from opto import trace
from opto.llm import LLM, DummyLLM, in_thread
from opto.nodes import Range, node
from opto.optimizers import LocalSearch, Optimizer, OptoPrime, Proposal
from opto.optimizers.suggestion import Suggestion, TagFormat
from opto.testing import Action, LLMServer


def answer(**values):
    return TagFormat().write(Suggestion(values, "because"))


def judged(llm, value=1, **settings):
    x = node(value, name="x", trainable=True, domain=Range(0, 1000))
    optimizer = OptoPrime([x], llm, **settings)
    optimizer.backward(x * 2, "more")
    return optimizer


def test_a_function_in_place_of_a_model_may_be_asynchronous():
    loops = []

    async def model(messages):
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return answer(x="7")

    async def main():
        optimizer = judged(model)
        step = await optimizer.astep()
        assert loops == [asyncio.get_running_loop()]
        return step

    step = asyncio.run(main())

    assert step.update == {"x": 7}
    assert step.optimizer == "OptoPrime"


def test_an_asynchronous_agent_is_optimized_by_what_its_tasks_return():
    @trace.bundle(trainable=True)
    async def greet(name):
        """Greet."""
        await asyncio.sleep(0)
        return f"hi {name}"

    async def model(messages):
        return answer(greet='async def greet(name):\n    """Greet."""\n    return f"Dear {name}"')

    async def main():
        optimizer = OptoPrime(greet.parameters(), model)
        outputs = await asyncio.gather(greet("Ada"), greet("Bob"))
        optimizer.backward(outputs, "too casual")
        await optimizer.astep()
        return (await greet("Eve")).data

    assert asyncio.run(main()) == "Dear Eve"


def test_the_event_loop_goes_on_while_a_step_waits():
    async def main():
        told = asyncio.Event()

        async def model(messages):
            await told.wait()  # for ever, if the step held up the loop
            return answer(x="7")

        step = asyncio.create_task(judged(model).astep())
        await asyncio.sleep(0)
        told.set()
        return await step

    assert asyncio.run(main()).update == {"x": 7}


@pytest.mark.parametrize("is_async", [True, False])
def test_many_steps_at_once_do_not_wait_for_each_other(is_async):
    number = 80

    async def asynchronous(messages):
        await asyncio.sleep(0)
        return answer(x="7")

    def plain(messages):
        return answer(x="7")

    async def main():
        return await asyncio.gather(
            *(judged(asynchronous if is_async else plain, value=n % 5).astep() for n in range(number))
        )

    assert [step.update for step in asyncio.run(main())] == [{"x": 7}] * number


def test_a_function_that_calls_another_client_itself_is_not_caught_in_the_loop():
    inner = DummyLLM(lambda messages: answer(x="7"))

    async def model(messages):
        return inner(messages).text

    assert asyncio.run(judged(model).astep()).update == {"x": 7}


class UntilGone(Action):
    """Answers byte by byte without an end, until the client has gone."""

    def __init__(self):
        self.begun, self.gone = threading.Event(), threading.Event()

    async def play(self, exchange):
        await exchange.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n")
        self.begun.set()
        try:
            while True:
                await exchange.write(b" ")
                await asyncio.sleep(0.002)
        finally:
            self.gone.set()


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_cancelled_step_closes_its_connection_is_recorded_and_changes_nothing(provider, tmp_path):
    endless = UntilGone()

    async def main(server):
        url = server.openai_url if provider == "openai" else server.anthropic_url
        async with LLM(f"{provider}:m", base_url=url, api_key="none") as llm:
            optimizer = judged(llm, run=tmp_path / "run")
            step = asyncio.create_task(optimizer.astep())
            await asyncio.to_thread(endless.begun.wait)
            step.cancel()
            with pytest.raises(asyncio.CancelledError):
                await step
            assert await asyncio.to_thread(endless.gone.wait, 30)
        return optimizer

    with LLMServer([endless]) as server:
        optimizer = asyncio.run(main(server))

    assert [record.outcome for record in optimizer.records] == ["failed"]
    assert "CancelledError" in optimizer.records[0].reason
    assert optimizer.records[0].messages
    assert optimizer.run.steps() == optimizer.records
    assert optimizer.values() == {"x": 1}


def test_a_timeout_ends_a_step():
    async def model(messages):
        await asyncio.sleep(3600)

    async def main():
        optimizer = judged(model)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(optimizer.astep(), 0.05)
        return optimizer

    assert asyncio.run(main()).records[0].outcome == "failed"


def test_searches_have_it_as_well():
    x = node(1, name="x", trainable=True, domain=Range(0, 1000))
    optimizer = LocalSearch([x], seed=1)
    optimizer.backward(x * 2, 1.0)

    assert asyncio.run(optimizer.astep(bypassing=True)).outcome == "updated"
    assert x.data == 1


def test_one_optimizer_takes_one_step_at_a_time():
    asked = []

    async def model(messages):
        asked.append(messages)
        await asyncio.sleep(0.01)
        return answer(x="7")

    async def main():
        optimizer = judged(model)
        return optimizer, await asyncio.gather(optimizer.astep(), optimizer.astep(), return_exceptions=True)

    optimizer, (first, second) = asyncio.run(main())

    assert sorted(type(item).__name__ for item in (first, second)) == ["OptimizerError", "Step"]
    assert len(asked) == 1, "the same feedback is paid for once"
    assert [record.step for record in optimizer.records] == [1]
    optimizer.backward(optimizer.parameters[0] * 2, "more")
    assert asyncio.run(optimizer.astep()).step == 2


class Searching(Optimizer):
    """Proposes without a model, and takes its time."""

    def __init__(self, parameters, begun, go):
        super().__init__(parameters)
        self.begun, self.go = begun, go

    def _propose(self, evidence):
        self.begun.set()
        assert self.go.wait(30)
        return Proposal(Suggestion({"x": 7}))


@pytest.mark.parametrize("times", [1, 2, 5])
def test_however_often_a_step_is_cancelled_it_has_ended_then_and_changed_nothing(times):
    x = node(1, name="x", trainable=True)
    begun, go = threading.Event(), threading.Event()
    optimizer = Searching([x], begun, go)
    optimizer.backward(x * 2, "more")

    async def main():
        step = asyncio.create_task(optimizer.astep())
        await asyncio.to_thread(begun.wait)
        for _ in range(times):
            step.cancel()
            await asyncio.sleep(0)
        assert not step.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await step
        assert [record.outcome for record in optimizer.records] == ["failed"]

    asyncio.run(main())
    assert x.data == 1


@pytest.mark.parametrize("turns", range(12))
def test_whenever_a_step_is_cancelled_its_record_is_true(turns):
    async def model(messages):
        for _ in range(3):
            await asyncio.sleep(0)
        return answer(x="7")

    async def main():
        optimizer = judged(model)
        step = asyncio.create_task(optimizer.astep())
        for _ in range(turns):
            await asyncio.sleep(0.0005)
        step.cancel()
        await asyncio.wait([step])
        return optimizer

    optimizer = asyncio.run(main())

    for record in optimizer.records:
        assert record.after == optimizer.values()
        assert (record.outcome == "updated") == (record.after == {"x": 7})
    assert optimizer.records or optimizer.values() == {"x": 1}


def test_a_function_that_has_no_further_answer_does_not_hang():
    def model(messages):
        return next(iter(()))

    optimizer = judged(model)

    with pytest.raises(RuntimeError, match="model raised StopIteration"):
        asyncio.run(asyncio.wait_for(optimizer.astep(), 30))
    assert optimizer.records[0].outcome == "failed"


def test_what_ends_an_iteration_ends_no_step():
    async def main():
        await asyncio.wait_for(in_thread(next, iter(())), 30)

    with pytest.raises(RuntimeError, match="next raised StopIteration"):
        asyncio.run(main())


def test_a_loop_that_is_closed_in_the_middle_of_a_step_ends_it():
    begun = []

    async def model(messages):
        begun.append(messages)
        await asyncio.sleep(3600)

    optimizer = judged(model)
    loop = asyncio.new_event_loop()
    step = loop.create_task(optimizer.astep())
    while not begun:
        loop.run_until_complete(asyncio.sleep(0))
    (thread,) = [item for item in threading.enumerate() if item.name == "opto"]

    loop.close()
    thread.join(30)

    assert not thread.is_alive()
    assert [record.outcome for record in optimizer.records] == ["failed"]
    assert not step.done()
    step._log_destroy_pending = False
    del step
    gc.collect()


def test_a_program_that_leaves_its_loop_in_the_middle_of_a_step_can_end():
    program = """
import asyncio
from opto.nodes import node
from opto.optimizers import OptoPrime

async def model(messages):
    begun.append(messages)
    await asyncio.sleep(3600)

begun, x = [], node(1, name="x", trainable=True)
optimizer = OptoPrime([x], model)
optimizer.backward(x * 2, "more")
loop = asyncio.new_event_loop()
step = loop.create_task(optimizer.astep())
while not begun:
    loop.run_until_complete(asyncio.sleep(0))
print("left")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "left\n"
