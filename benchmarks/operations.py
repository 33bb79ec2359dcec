"""Print the CPU time of traced operations in µs, as JSON. The same text runs with trace-opt and with opto."""

import json
import sys
import time
import timeit

from opto.trace import bundle, model, node


@bundle()
def one(a):
    return a


@bundle()
def five(a, b, c, d, e):  # noqa: ARG001 - what is measured is the call
    return e


@bundle()
def defaults(a, b=2, *, c=3):  # noqa: ARG001 - as above
    return c


@bundle(trainable=True)
def learned(a):
    return a


@model
class Agent:
    @bundle()
    def act(self, a):
        return a

    @bundle(trainable=True)
    def learn(self, a):
        return a


STATEMENTS = {
    "x + y": "x + y",
    "items[0]": "items[0]",
    "iterating ten items": "for _ in items: pass",
    "bundle, one argument": "one(x)",
    "bundle, five arguments": "five(x, y, z, v, w)",
    "bundle, defaults": "defaults(x, c=y)",
    "trainable bundle": "learned(x)",
    "method of a model": "agent.act(x)",
    "trainable method": "agent.learn(x)",
}


x, y, z, v, w = map(node, range(5))
agent, items = Agent(), node(list(range(10)))


def main(calls: int, repeats: int) -> None:
    best = {}
    for figure, statement in STATEMENTS.items():
        # The garbage collector stays on, as in the programs of users; timeit would turn it off.
        timer = timeit.Timer(statement, "import gc; gc.enable()", timer=time.process_time, globals=globals())
        best[figure] = 1e6 * min(timer.repeat(repeats, calls)) / calls
    print(json.dumps(best))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
