"""300 calls of a model, 32 at once, of a server that allows 20 requests per second: what is sent, and what fails.

The server is on this machine, and the SDK is the real one; only the model is missing. Servers count in three ways: in a
window that slides, in seconds of the clock, and with a bucket that fills. One that says when to come back sends
``Retry-After``. For comparison, the SDK alone, with its own two retries.

    python benchmarks/calls.py [--fast]
"""

import argparse
import asyncio
import sys
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from opto.errors import LLMError
from opto.llm import LLM
from opto.testing import Failure, LLMServer

CALLS, AT_ONCE, PER_SECOND = 300, 32, 20
MOST_REQUESTS = 350


class Sliding:
    def __init__(self):
        self.taken = deque()

    def wait(self, now):
        """Return 0 if a request is allowed now, else the seconds until one is."""
        while self.taken and self.taken[0] <= now - 1:
            self.taken.popleft()
        if len(self.taken) < PER_SECOND:
            self.taken.append(now)
            return 0.0
        return self.taken[0] + 1 - now


class Fixed:
    def __init__(self):
        self.second, self.taken = 0, 0

    def wait(self, now):
        if int(now) != self.second:
            self.second, self.taken = int(now), 0
        self.taken += 1
        return 0.0 if self.taken <= PER_SECOND else self.second + 1 - now


class Bucket:
    def __init__(self):
        self.level, self.filled = PER_SECOND, time.monotonic()

    def wait(self, now):
        self.level = min(PER_SECOND, self.level + (now - self.filled) * PER_SECOND)
        self.filled = now
        if self.level >= 1:
            self.level -= 1
            return 0.0
        return (1 - self.level) / PER_SECOND


def server(limit, *, says_when):
    def reply(_):
        wait = limit.wait(time.monotonic())
        if not wait:
            return "ok"
        return Failure(429, "Too many requests.", headers={"retry-after-ms": f"{wait * 1000:.0f}"} if says_when else {})

    return LLMServer(reply)


def by_threads(llm):
    def call(_):
        try:
            return llm("hi").retries
        except LLMError:
            return None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(call, range(CALLS)))


def by_tasks(llm):
    async def call(places):
        async with places:
            try:
                return (await llm.acall("hi")).retries
            except LLMError:
                return None

    async def main():
        async with llm:
            places = asyncio.Semaphore(AT_ONCE)
            return await asyncio.gather(*(call(places) for _ in range(CALLS)))

    return asyncio.run(main())


def by_sdk(url):
    import openai

    with openai.OpenAI(base_url=url, api_key="none") as client, ThreadPoolExecutor(AT_ONCE) as pool:

        def call(_):
            try:
                client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
            except openai.OpenAIError:
                return None
            return 0

        return list(pool.map(call, range(CALLS)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="one kind of server only")
    fast = parser.parse_args().fast
    kept = True
    print(f"{'server':8} {'says when':10} {'client':8} {'failed':>6} {'requests':>8} {'seconds':>8}")
    for limit in (Sliding,) if fast else (Sliding, Fixed, Bucket):
        for says_when in (False, True):
            for name, run in (("threads", by_threads), ("tasks", by_tasks), ("SDK", None)):
                with server(limit(), says_when=says_when) as running:
                    begun = time.monotonic()
                    if run is None:
                        outcomes = by_sdk(running.openai_url)
                    else:
                        with LLM("m", base_url=running.openai_url) as llm:
                            outcomes = run(llm)
                    seconds = time.monotonic() - begun
                failed, sent = outcomes.count(None), len(running.requests)
                print(f"{limit.__name__:8} {says_when!s:10} {name:8} {failed:6} {sent:8} {seconds:8.1f}", flush=True)
                kept = kept and (run is None or (not failed and sent <= MOST_REQUESTS))
    print(f"none fails and at most {MOST_REQUESTS} are sent: {'yes' if kept else 'NO'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
