"""Threads, tasks and processes never meet: each gets exactly what it gets alone."""

import asyncio
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

from opto.llm import ScriptedLLM
from opto.nodes import TraceGraph, node, stop_tracing
from opto.optimizers import OptoPrime
from opto.optimizers.suggestion import FORMATS, Suggestion
from opto.trace import bundle


@bundle(trainable=True)
def combine(number, step):
    """Combine two numbers."""
    return number * 3 + step


@bundle
async def settle(value, number):
    for _ in range(3):
        await asyncio.sleep(0)
    return value % (number + 7)


async def program(number):
    """Build and step a graph of its own for some rounds; return everything that there is to see of it."""
    weight = node(number, name="weight", trainable=True)
    answers = [FORMATS["tags"].write(Suggestion({"weight": str(value)}, "why")) for value in range(10, 14)]
    llm = ScriptedLLM(answers)
    optimizer = OptoPrime([weight], llm)
    seen = []
    for step in range(4):
        with stop_tracing():
            await asyncio.sleep(0)
            assert (weight + 1).parents == []
        output = await settle(combine(weight, step) + [number][0], number)
        optimizer.zero_feedback()
        optimizer.backward(output, (float(-output.data), f"{number} in step {step}"))
        seen.append(TraceGraph([output]).to_text())
        await asyncio.sleep(0)
        seen.append(optimizer.step().model_dump(exclude={"seconds", "at"}))
    seen.append([call.messages for call in llm.calls])
    return seen


async def together(numbers):
    return await asyncio.gather(*map(program, numbers))


def in_thread(numbers):
    return asyncio.run(together(numbers))


GROUPS = [range(8 * group, 8 * group + 8) for group in range(8)]


def test_eight_threads_with_eight_tasks_each_see_what_each_sees_alone():
    alone = {number: asyncio.run(program(number)) for group in GROUPS for number in group}

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(in_thread, GROUPS))

    for group, results in zip(GROUPS, found, strict=True):
        for number, seen in zip(group, results, strict=True):
            assert seen == alone[number]


def test_another_process_sees_the_same():
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        elsewhere = pool.submit(in_thread, GROUPS[0]).result()

    assert elsewhere == in_thread(GROUPS[0])
