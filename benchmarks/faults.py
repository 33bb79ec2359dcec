"""2,000 calls of a model, 64 at once, of a server that takes 50 ms and lets a tenth of all requests go wrong.

The server is on this machine, in a process of its own; the SDKs are the real ones, and only the model is missing. What
happens to a request is drawn with a seed, of everything in `opto.testing.FAULTS`. It is checked that

- every call ends in a reply or a typed error,
- the ledger has what the server's log says that it has reported, to the token,
- it takes at most 1.25 times as long as the ideal,
- no thread, socket or file is left open.

The ideal is that of a client which keeps 64 places busy: each call needs its place for the delays that were drawn for
it, for the waits that were asked for or drawn before it tried again, and for its timeout where a server says no more.
Two are printed: that of the delays alone, and that of a client which also does what the SDK does in its own time, one
thing at a time, as one interpreter can. This time is measured beside it, with the SDK alone and no delay.

    python benchmarks/faults.py [--calls 2000] [--at-once 64] [--seed 0] [--untimed]
"""

import argparse
import asyncio
import gc
import heapq
import json
import os
import random
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict

from opto.errors import LLMError
from opto.llm import LLM, Reply, Usage
from opto.llm.pacing import Clock
from opto.testing import FAULTS, Failure, Faults, LLMServer, Slow

LATENCY, RATE, TIMEOUT = 0.05, 0.1, 3.0
MOST = 1.25
WARM = "Are you there?"

#: Those with a long Retry-After are here with a short one: what is measured is not how long a provider lets wait.
SHORT = {
    "rate limit, seconds": {"retry-after": "0.02"},
    "rate limit, milliseconds": {"retry-after-ms": "20"},
    "rate limit, date": {"date": "Sun, 22 Nov 2026 10:00:00 GMT", "retry-after": "Sun, 22 Nov 2026 10:00:00 GMT"},
}
KINDS = [
    *[fault for name, fault in FAULTS.items() if name not in SHORT],
    *[Failure(429, "Too many requests.", headers=headers) for headers in SHORT.values()],
    Slow(0.3),
    Slow(0.6, in_body=True),
]


def reply(messages):
    chance = random.Random(messages[-1]["content"])
    cached, reasoned = chance.randrange(100), chance.randrange(50)
    usage = Usage(cached + chance.randrange(1, 900), reasoned + chance.randrange(1, 200), cached, reasoned)
    return Reply("so it is " * chance.randrange(1, 40), "test", usage)


def serve(seed, latency, rate):
    """Be the server: say where, and at the end what was made of each request."""
    faults = Faults(reply, rate, KINDS, seed)
    script = lambda messages: reply(messages) if messages[-1]["content"] == WARM else faults(messages)  # noqa: E731
    with LLMServer(script, latency=latency) as server:
        print(json.dumps([server.openai_url, server.anthropic_url]), flush=True)
        sys.stdin.read()
    print(json.dumps([noted(exchange) for exchange in server.log]))


def noted(exchange):
    usage = exchange.usage
    return {
        "call": exchange.request.messages[-1]["content"],
        "fault": exchange.fault,
        "usage": None if usage is None else asdict(usage),
        # Where nothing more was said, the client was to wait for its timeout.
        "delay": TIMEOUT if exchange.left else exchange.delay,
    }


class Serving:
    """The server in its own process."""

    def __init__(self, seed, latency=LATENCY, rate=RATE):
        command = [sys.executable, __file__, "--serve", str(seed), str(latency), str(rate)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.urls = dict(zip(("openai", "anthropic"), json.loads(self.process.stdout.readline()), strict=True))

    def log(self):
        self.process.stdin.close()
        said = json.loads(self.process.stdout.readline())
        self.process.wait()
        self.process.stdout.close()
        return said


called: ContextVar[str] = ContextVar("called", default=WARM)


class Waits(Clock):
    """The real clock, which notes how long calls wait between attempts."""

    def __init__(self):
        self.drawn = defaultdict(list)

    def sleep(self, seconds):
        self.drawn[called.get()].append(seconds)
        super().sleep(seconds)

    async def asleep(self, seconds):
        self.drawn[called.get()].append(seconds)
        await super().asleep(seconds)


def by_threads(llm, calls, at_once):
    def one(call):
        called.set(call)
        try:
            return llm(call, timeout=TIMEOUT)
        except LLMError as error:
            return error

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(lambda _: llm(WARM), range(at_once)))
        begun = time.perf_counter()
        return list(pool.map(one, calls)), time.perf_counter() - begun


def by_tasks(llm, calls, at_once):
    async def one(call, places):
        async with places:
            called.set(call)
            try:
                return await llm.acall(call, timeout=TIMEOUT)
            except LLMError as error:
                return error

    async def main():
        async with llm:
            places = asyncio.Semaphore(at_once)
            await asyncio.gather(*(llm.acall(WARM) for _ in range(at_once)))
            begun = time.perf_counter()
            return await asyncio.gather(*(one(call, places) for call in calls)), time.perf_counter() - begun

    return asyncio.run(main())


def sdk_seconds(provider, at_once, calls=400):
    """Return what a call takes of the interpreter's time, with the SDK alone and a server that does not wait."""
    serving = Serving(0, latency=0.0, rate=0.0)
    sdk = __import__(provider)
    client = (sdk.OpenAI if provider == "openai" else sdk.Anthropic)(
        base_url=serving.urls[provider], api_key="none", max_retries=0
    )
    create = client.chat.completions.create if provider == "openai" else client.messages.create
    more = {} if provider == "openai" else {"max_tokens": 8192}

    def one(call):
        create(model="test", messages=[{"role": "user", "content": call}], **more)

    with client, ThreadPoolExecutor(at_once) as pool:
        list(pool.map(one, [WARM] * at_once))
        begun = time.process_time()
        list(pool.map(one, [f"question {number}" for number in range(calls)]))
        seconds = (time.process_time() - begun) / calls
    serving.log()
    return seconds


def ideal(log, waits, calls, at_once, own=0.0):
    """Return the seconds that a client needs with so many places and *own* seconds of its time for each request."""
    parts = defaultdict(list)
    for exchange in log:
        parts[exchange["call"]].append(exchange["delay"])
    waiting = list(reversed(calls))
    # When something is to be done, for which call, and with what still to come: pairs of a delay and the wait after it.
    due = []
    for place in range(min(at_once, len(calls))):
        heapq.heappush(due, (0.0, place, None))
    free_at = end = 0.0
    while due:
        now, place, rest = heapq.heappop(due)
        if not rest:
            end = max(end, now)
            if not waiting:
                continue
            call = waiting.pop()
            rest = list(zip(parts[call], [*waits[call], 0.0], strict=True))
        free_at = max(now, free_at) + own
        (delay, wait), *rest = rest
        heapq.heappush(due, (free_at + delay + wait, place, rest))
    return end


def difference(ledger, log):
    """Return what the ledger counts otherwise than the server has reported."""
    said = sum((Usage(**exchange["usage"]) for exchange in log if exchange["usage"]), Usage())
    requests = sum(record.retries + 1 for record in ledger.records)
    both = [
        ("requests", requests, len(log)),
        *((name, asdict(ledger.usage)[name], asdict(said)[name]) for name in asdict(said)),
    ]
    return [f"{name}: {ours} in the ledger, {theirs} in the log" for name, ours, theirs in both if ours != theirs]


@contextmanager
def nothing_left(problems):
    """Add to *problems* what is open after the block and was not before."""
    gc.collect()
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    problems += [f"warning: {item.message}" for item in warned if issubclass(item.category, ResourceWarning)]
    for name, before, after in (
        ("threads", threads, threading.active_count()),
        ("files and sockets", files, len(os.listdir("/proc/self/fd"))),
    ):
        if after > before:
            problems.append(f"{after - before} {name} are left")


def play(provider, run, options):
    """Make the calls; return the log of the server, the outcomes, the waits, the seconds and the problems."""
    calls = [f"question {number}" for number in range(options.calls)]
    problems, waits = [], Waits()
    with nothing_left(problems):
        serving = Serving(options.seed)
        with LLM(f"{provider}:test", base_url=serving.urls[provider], api_key="none") as llm:
            llm._clock = waits
            outcomes, seconds = run(llm, calls, options.at_once)
            ledger = llm.ledger
        log = serving.log()
    problems += difference(ledger, log)
    strange = [outcome for outcome in outcomes if not isinstance(outcome, Reply | LLMError)]
    problems += [f"{len(strange)} calls ended otherwise: {strange[0]!r}"] if strange else []
    log = [exchange for exchange in log if exchange["call"] != WARM]
    bare = ideal(log, waits.drawn, calls, options.at_once)
    return log, outcomes, seconds, bare, lambda own: ideal(log, waits.drawn, calls, options.at_once, own), problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--untimed", action="store_true", help="check everything but the time")
    parser.add_argument("--serve", nargs=3, type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    if options.serve:
        serve(int(options.serve[0]), *options.serve[1:])
        return 0
    kept = True
    for provider in ("openai", "anthropic"):
        own = 0.0 if options.untimed else sdk_seconds(provider, options.at_once)
        for run in (by_threads, by_tasks):
            log, outcomes, seconds, bare, with_own, problems = play(provider, run, options)
            ended = Counter(type(outcome).__name__ for outcome in outcomes)
            faults = sum(exchange["fault"] is not None for exchange in log)
            print(f"{provider}, {run.__name__[3:]}: {len(log)} requests, {faults} faults; {dict(ended)}")
            ratio = seconds / with_own(own)
            print(
                f"  {seconds:.2f} s; delays alone {bare:.2f} s ({seconds / bare:.2f} x); "
                f"with the SDK's {own * 1000:.2f} ms for each request {with_own(own):.2f} s ({ratio:.2f} x)"
            )
            problems += [f"it took {ratio:.2f} times the ideal"] if ratio > MOST and not options.untimed else []
            for problem in problems:
                print(f"  NO: {problem}")
            kept = kept and not problems
    print(f"all of it holds: {'yes' if kept else 'NO'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
