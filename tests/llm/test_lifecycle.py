"""Clients come late and go in time: what is left open is a warning, and warnings are errors in these tests."""

import asyncio
import copy
import gc
import subprocess
import sys
import threading

import pytest

from opto.llm import LLM
from opto.testing import LLMServer


@pytest.fixture(params=["openai", "anthropic"])
def forget(request):
    """Make a client that only the test holds."""
    with LLMServer(lambda messages: "ok") as server:
        url = server.openai_url if request.param == "openai" else server.anthropic_url
        yield lambda: LLM(f"{request.param}:m", base_url=url)
    # Inside the scope of the test, so that what is left behind is blamed on it.
    gc.collect()


def only_async_client(llm):
    (entry,) = llm._adapter._clients._by_loop.values()
    return entry.client


async def closing(connections):
    while not connections.is_closed():  # noqa: ASYNC110 - the SDK has no event for it
        await asyncio.sleep(0)


def test_a_forgotten_client_closes_its_connections(forget):
    llm = forget()
    assert llm("hi").text == "ok"
    connections = llm._adapter._clients._blocking.client
    del llm
    assert connections.is_closed()


def test_a_client_forgotten_after_its_event_loop(forget):
    llm = forget()
    assert asyncio.run(llm.acall("hi")).text == "ok"
    connections = only_async_client(llm)
    assert connections.is_closed()
    del llm


def test_a_client_forgotten_in_a_running_loop(forget):
    kept = []

    async def use():
        llm = forget()
        await llm.acall("hi")
        connections = only_async_client(llm)
        kept.append(connections)

    asyncio.run(use())
    assert kept[0].is_closed()


def test_a_client_forgotten_in_a_loop_that_goes_on(forget):
    async def use():
        llm = forget()
        await llm.acall("hi")
        connections = only_async_client(llm)
        del llm
        await asyncio.wait_for(closing(connections), 30)

    asyncio.run(use())


@pytest.mark.parametrize("close", ["close", "aclose"])
def test_closing_in_a_running_loop(forget, close):
    async def use():
        llm = forget()
        await llm.acall("hi")
        llm("hi")
        connections = only_async_client(llm)
        if close == "aclose":
            await llm.aclose()
            assert connections.is_closed()
        else:
            llm.close()
        assert (await llm.acall("hi")).text == "ok"
        return connections

    assert asyncio.run(use()).is_closed()


def test_closing_from_another_thread_while_a_loop_runs(forget):
    llm = forget()

    async def use():
        await llm.acall("hi")
        connections = only_async_client(llm)
        await asyncio.to_thread(llm.close)
        await asyncio.wait_for(closing(connections), 30)

    asyncio.run(use())


def test_loops_in_several_threads_each_have_their_own(forget):
    llm, texts = forget(), []

    def run():
        texts.extend(asyncio.run(llm.acall("hi")).text for _ in range(3))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == ["ok"] * 12
    # Loops that are gone are forgotten, the last ones at the next call.
    asyncio.run(llm.acall("hi"))
    assert len(llm._adapter._clients._by_loop) == 1


def test_one_client_is_built_for_all_threads(forget):
    llm = forget()
    barrier, seen = threading.Barrier(8), set()

    def run():
        barrier.wait()
        seen.add(id(llm._adapter._clients.take()))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 1
    llm.close()


def test_a_deep_copy_of_a_program_shares_its_client(forget):
    program = {"llm": forget(), "prompt": ["a"]}
    twin = copy.deepcopy(program)
    assert twin["llm"] is program["llm"]
    assert twin["prompt"] is not program["prompt"]


def test_making_a_client_opens_nothing(forget):
    before = threading.active_count()
    llm = forget()
    assert llm._adapter._clients._blocking is None
    assert threading.active_count() == before


def test_importing_loads_nothing_heavy():
    heavy = ["openai", "anthropic", "httpx", "httpx2", "pydantic", "asyncio"]
    code = f"import sys, opto.llm, opto.utils.llm; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_process_ends_quietly_with_clients_in_use():
    # On a busy machine anything takes long, which asyncio's debug mode would tell.
    code = """
import asyncio, logging
logging.getLogger("asyncio").setLevel(logging.ERROR)
from opto.llm import LLM
from opto.testing import LLMServer
server = LLMServer(lambda messages: "ok").__enter__()
for provider, url in (("openai", server.openai_url), ("anthropic", server.anthropic_url)):
    llm = LLM(f"{provider}:m", base_url=url)
    print(llm("hi").text, asyncio.run(llm.acall("hi")).text)
    globals()[provider] = llm
server.__exit__(None, None, None)
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-W", "ignore::DeprecationWarning", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok ok\nok ok\n", "")


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_client_closed_in_one_event_loop_is_closed_by_the_others(forget, goes_on):
    llm, asked, left, kept = forget(), threading.Event(), threading.Event(), []

    async def other():
        await llm.acall("hi")
        kept.append(only_async_client(llm))
        asked.set()
        await asyncio.to_thread(left.wait)
        if goes_on:
            await asyncio.wait_for(closing(kept[0]), 30)

    async def main():
        await llm.acall("hi")
        await llm.aclose()

    thread = threading.Thread(target=asyncio.run, args=(other(),))
    thread.start()
    assert asked.wait(30)
    asyncio.run(main())
    left.set()
    thread.join(30)
    assert kept[0].is_closed()
