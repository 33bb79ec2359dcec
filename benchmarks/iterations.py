"""Print how the memory of a process grows over forward / backward / step, as JSON: bytes per iteration.

The garbage collector is off: what is not freed by counting references stays, and shows. The first fifth of the
iterations is not counted, while the allocator and the caches fill.
"""

import gc
import json
import sys

from graphs import resident_bytes

from opto.optimizers import LocalSearch, OptoPrime
from opto.trace import bundle, model, node


@model
class Agent:
    def __init__(self):
        self.scale = node(3, name="scale", trainable=True, domain=range(100))
        self.prompt = node("Be brief.", name="prompt", trainable=True)

    @bundle(trainable=True)
    def weigh(self, question):
        return len(question) * 2

    @bundle()
    def answer(self, prompt, question, weight):
        if weight > 900:
            raise ValueError(weight)
        return {"question": f"{prompt} {question}", "weights": [weight, weight + 1]}

    def forward(self, question):
        answer = self.answer(self.prompt, question, self.weigh(question) + self.scale)
        return answer["weights"][0] + answer["question"].count("e")


def reply(number):
    """Answer as a model does, always with another prompt."""
    return (
        "<reasoning>Another one.</reasoning>"
        f"<variable><name>prompt</name><value>Be brief, {number % 7}.</value></variable>"
    )


def main(kind: str, iterations: int) -> None:
    agent = Agent()
    numbers = iter(range(2 * iterations))
    if kind == "search":
        optimizer = LocalSearch([agent.scale], seed=0)
    else:
        optimizer = OptoPrime(agent.parameters(), lambda _: reply(next(numbers)))
    gc.collect()
    gc.disable()
    for number in range(iterations):
        if number == iterations // 5:
            before = resident_bytes()
        output = agent(f"What is {number % 10}?")
        agent.zero_feedback()
        optimizer.backward(output, (-float(output.data), "more"))
        optimizer.step()
    grown = (resident_bytes() - before) / (iterations - iterations // 5)
    # What only the collector could find: nothing, if graphs are no circles.
    print(json.dumps({"bytes": grown, "unreachable": gc.collect()}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
