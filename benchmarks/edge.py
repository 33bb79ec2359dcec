"""What a call costs beyond the SDK's own: CPU time of `LLM(...)(messages)` beside that of the bare SDK.

Both send the same request over loopback to the same server, which runs in a process of its own and answers at once.
CPU time of this process, one call of each in turn; the figure compares the medians.

    python benchmarks/edge.py [--fast] [--only openai-call]
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import threading
import time

from opto.llm import LLM
from opto.testing import LLMServer

#: The part of the SDK's own time that a call may cost on top.
MOST = 0.15
PAIRS, WARM_UP = 2000, 50
MESSAGES = [{"role": "system", "content": "Answer in one word."}, {"role": "user", "content": "Say hello."}]
PROVIDERS = ("openai", "anthropic")


def serve():
    """Answer until standard input ends."""
    with LLMServer(lambda _: "hello") as server:
        threading.Thread(target=_forget, args=[server], daemon=True).start()
        print(json.dumps({"openai": server.openai_url, "anthropic": server.anthropic_url}), flush=True)
        sys.stdin.read()


def _forget(server):
    while True:
        time.sleep(1)
        server.requests.clear()


def bare(provider, url, *, is_async):
    """Return the SDK's client, and a function that makes with it the request that opto makes."""
    if provider == "openai":
        import openai

        client = (openai.AsyncOpenAI if is_async else openai.OpenAI)(base_url=url, api_key="none")
        create = client.chat.completions.create
        return client, lambda: create(model="m", messages=MESSAGES)
    import anthropic

    client = (anthropic.AsyncAnthropic if is_async else anthropic.Anthropic)(base_url=url, api_key="none")
    create, (system, *turns) = client.messages.create, MESSAGES
    return client, lambda: create(model="m", max_tokens=8192, system=system["content"], messages=turns)


def by_call(provider, url, pairs):
    client, sdk = bare(provider, url, is_async=False)
    with client, LLM(f"{provider}:m", base_url=url, api_key="none") as llm:
        return [_turns(sdk, lambda: llm(MESSAGES), number) for number in range(-WARM_UP, pairs)][WARM_UP:]


def _turns(sdk, ours, number):
    """Return the CPU times of a call of each; each goes first as often as the other."""
    first, second = (sdk, ours) if number % 2 else (ours, sdk)
    begun = time.process_time_ns()
    first()
    between = time.process_time_ns()
    second()
    times = between - begun, time.process_time_ns() - between
    return times if number % 2 else times[::-1]


def by_acall(provider, url, pairs):
    async def turns(sdk, ours, number):
        first, second = (sdk, ours) if number % 2 else (ours, sdk)
        begun = time.process_time_ns()
        await first()
        between = time.process_time_ns()
        await second()
        times = between - begun, time.process_time_ns() - between
        return times if number % 2 else times[::-1]

    async def main():
        client, sdk = bare(provider, url, is_async=True)
        async with client, LLM(f"{provider}:m", base_url=url, api_key="none") as llm:
            both = [await turns(sdk, lambda: llm.acall(MESSAGES), number) for number in range(-WARM_UP, pairs)]
        return both[WARM_UP:]

    return asyncio.run(main())


def beyond(both):
    """Return how much longer ours take, and the medians of both in milliseconds."""
    sdk, ours = (statistics.median(times) / 1e6 for times in zip(*both, strict=True))
    return ours / sdk - 1, sdk, ours


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="a fifth of the calls")
    parser.add_argument("--only", help="such as anthropic-acall")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve()
    pairs = PAIRS // 5 if arguments.fast else PAIRS
    command = [sys.executable, __file__, "--serve"]
    kept = True
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        urls = json.loads(server.stdout.readline())
        print(f"load {os.getloadavg()[0]:.1f}; {pairs} pairs of calls")
        print(f"{'call':16} {'SDK, ms':>8} {'opto, ms':>8} {'beyond':>7}   of each fifth of the pairs")
        for provider in PROVIDERS:
            for name, run in (("call", by_call), ("acall", by_acall)):
                if arguments.only not in (None, f"{provider}-{name}"):
                    continue
                both = run(provider, urls[provider], pairs)
                part, sdk, ours = beyond(both)
                fifths = [beyond(both[begin : begin + pairs // 5])[0] for begin in range(0, pairs, pairs // 5)]
                shown = " ".join(f"{fifth:.1%}" for fifth in fifths)
                print(f"{f'{provider} {name}':16} {sdk:8.3f} {ours:8.3f} {part:7.1%}   {shown}", flush=True)
                kept = kept and part <= MOST
        server.stdin.close()
    print(f"at most {MOST:.0%} beyond the SDK's own: {'yes' if kept else 'NO'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
