"""Graphs are freed by reference counting alone, as soon as nobody holds their outputs."""

import gc

import pytest

from opto.llm import ScriptedLLM
from opto.nodes import Node, Range, TraceGraph, node
from opto.optimizers import LocalSearch, OptoPrime
from opto.trace import Module, bundle


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive():
    return sum(isinstance(item, Node | TraceGraph) for item in gc.get_objects())


class Agent(Module):
    def __init__(self):
        self.scale = node(3, name="scale", trainable=True, domain=Range(0, 100))

    @bundle(trainable=True)
    def act(self, observation):
        return observation * 2

    @bundle
    def check(self, value):
        if value < 0:
            raise ValueError(value)
        return [value, {"value": value}]

    def forward(self, observation):
        return self.check(self.act(self.scale + observation))[0]


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("kind", ["search", "model"])
def test_a_loop_of_steps_leaves_no_nodes_behind(kind):
    agent = Agent()
    if kind == "search":
        optimizer = LocalSearch([agent.scale], seed=0)
    else:
        optimizer = OptoPrime(agent.parameters(), ScriptedLLM(lambda messages: "<reasoning>fine</reasoning>"))

    def iterate(times):
        for number in range(times):
            output = agent(number)
            # All of them: feedback stays on the code of act(), which the search knows nothing of.
            agent.zero_feedback()
            optimizer.backward(output, (float(-output.data), "more"))
            optimizer.step()
        agent.zero_feedback()

    iterate(3)
    before = alive()
    iterate(300)

    assert alive() == before


@pytest.mark.usefixtures("no_collector")
def test_forward_passes_that_nobody_judges_leave_nothing_behind():
    agent = Agent()
    agent(1)
    before = alive()

    for number in range(300):
        agent(number)

    assert alive() == before


@pytest.mark.usefixtures("no_collector")
def test_failures_leave_nothing_behind():
    agent = Agent()
    agent(1)
    before = alive()

    for _ in range(100):
        with pytest.raises(ValueError, match="-"):
            agent(-1_000)

    assert alive() == before
