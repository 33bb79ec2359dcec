"""What every optimizer must keep, whatever it is that proposes."""

import itertools
import random
from types import MappingProxyType

import pytest

from opto.errors import StepsFailedError
from opto.llm import ScriptedLLM
from opto.nodes import node
from opto.optimizers import (
    OPRO,
    Candidate,
    CodeSearch,
    LocalSearch,
    Mixed,
    Optimizer,
    OptoPrime,
    OptoPrimeMulti,
    Proposal,
    Sampler,
    TextGrad,
)
from opto.optimizers.acceptance import Checked
from opto.optimizers.suggestion import FORMATS, Suggestion
from opto.testing import OptimizerContract


def answers(format_name):
    """A model that proposes other values at each call, all within the domains."""
    values = ({"size": 2 + call, "mode": ["b", "c"][call % 2]} for call in range(50))
    return ScriptedLLM([FORMATS[format_name].write(Suggestion(item, "because")) for item in values])


def edits():
    """A model that answers TextGrad: with words about inputs, and with a new value for each variable in turn."""
    numbers = itertools.count(2)

    def reply(messages):
        asked = messages[-1]["content"].splitlines()[-1]
        if asked.startswith("How should"):
            return "It should be more."
        value = next(numbers)
        suggested = {"size": value} if "size" in asked else {"mode": ["b", "c"][value % 2]}
        return FORMATS["tags"].write(Suggestion(suggested, "because"))

    return ScriptedLLM(reply)


def several():
    """A model that gives other values at each call, all within the domains, and chooses the second candidate."""
    numbers = itertools.count(2)

    def reply(messages):
        if messages[-1]["content"].splitlines()[-1].startswith("Which candidate"):
            return FORMATS["tags"].write(Suggestion({"choice": 2}, "because"))
        value = next(numbers)
        return FORMATS["tags"].write(Suggestion({"size": value, "mode": ["b", "c"][value % 2]}, "because"))

    return ScriptedLLM(reply)


MAKERS = {
    "OptoPrime-tags": lambda parameters, **more: OptoPrime(parameters, answers("tags"), **more),
    "OptoPrime-json": lambda parameters, **more: OptoPrime(parameters, answers("json"), answer_format="json", **more),
    "OptoPrime-tool": lambda parameters, **more: OptoPrime(parameters, answers("tool"), answer_format="tool", **more),
    "OptoPrimeMulti-judge": lambda parameters, **more: OptoPrimeMulti(parameters, several(), num_responses=2, **more),
    "OptoPrimeMulti-majority": lambda parameters, **more: OptoPrimeMulti(
        parameters, several(), selection="majority", generation="refinement", **more
    ),
    "OptoPrimeMulti-validation": lambda parameters, **more: OptoPrimeMulti(
        parameters, several(), validate=itertools.count().__next__, **more
    ),
    "OPRO": lambda parameters, **more: OPRO(parameters, answers("tags"), **more),
    "TextGrad": lambda parameters, **more: TextGrad(parameters, edits(), **more),
    "CodeSearch": lambda parameters, **more: CodeSearch(parameters, seed=3, **more),
    "Mixed": lambda parameters, **more: Mixed(parameters, seed=3, **more),
    "LocalSearch": lambda parameters, **more: LocalSearch(parameters, seed=3, **more),
    "Sampler": lambda parameters, **more: Sampler(parameters, seed=3, **more),
}


class TestOptimizers(OptimizerContract):
    @pytest.fixture(autouse=True, params=MAKERS)
    def which(self, request):
        self.maker = MAKERS[request.param]

    def make(self, parameters, **settings):
        return self.maker(parameters, **settings)


class Fastidious(Optimizer):
    """An optimizer as a user may write it."""

    def _propose(self, evidence):
        return Proposal(Suggestion({name: value + "!" for name, value in evidence.values.items()}, "louder"))


class TestOptimizersOfUsers(OptimizerContract):
    def make(self, parameters, **settings):
        return Fastidious(parameters, **settings)

    def parameters(self):
        return [node("hi", name="greeting", trainable=True), node("bye", name="farewell", trainable=True)]

    def program(self, parameters):
        greeting, farewell = parameters
        return [greeting + farewell, farewell.upper()]


class OfTrace(Optimizer):
    """An optimizer as those written for Trace: it has a `_step`, and returns values by parameter."""

    def _step(self, *_, **__):
        return {
            item: item.data + 1 for item in self.parameters if item.trainable and item.feedback and self.is_open(item)
        }

    def is_open(self, item):
        return item in self.active.values()


class TestOptimizersOfTrace(TestOptimizersOfUsers):
    def make(self, parameters, **settings):
        return OfTrace(parameters, **settings)

    def parameters(self):
        return [node(1, name="left", trainable=True), node(2, name="right", trainable=True)]

    def program(self, parameters):
        left, right = parameters
        return [left + right, right * 2]

    def test_a_propagator_that_sends_no_graphs_is_refused(self):
        """It reads what it likes."""


def broken(change):
    """A kind of optimizer that breaks its contract in one way."""
    return type("Broken", (Fastidious,), {"__name__": "Broken", **change})


def _bystanders(self, evidence):
    node_of_others = [item for item in evidence.graph if item.trainable and item not in self.parameters]
    for item in node_of_others:
        item._set("gone")
    return Fastidious._propose(self, evidence)


def _by_chance(self, evidence):
    return Proposal(Suggestion({name: f"{value}{random.random()}" for name, value in evidence.values.items()}))


def _impatient(self, evidence):
    for item in self.parameters:
        item._set(item._data + "!")
    return Proposal(Suggestion())


def _trusting(self, suggestion, evidence):
    return Checked(suggestion.values, [], {})


def _forgetful(self, draft, outcome, reason="", update=MappingProxyType({})):
    step = Fastidious._finish(self, draft, outcome, reason, update)
    self.records[-1] = self.records[-1].model_copy(update={"reasoning": "other than on disk"})
    return step


@pytest.mark.parametrize(
    ("test", "change"),
    [
        ("what_is_not_given_to_the_optimizer_is_left_alone", {"_propose": _bystanders}),
        ("the_same_seed_and_answers_give_the_same_records", {"_propose": _by_chance}),
        ("bypassing_changes_no_parameter_but_says_what_would_be", {"_propose": _impatient}),
        ("a_value_outside_of_its_domain_is_never_applied", {"_check": _trusting}),
        ("frozen_parameters_stay_as_they_are", {"active": property(lambda self: self.variables)}),
        ("two_optimizers_share_nothing", {"_best": Candidate({}, 0.0, 1), "best": lambda self: type(self)._best}),
        ("records_survive_json_and_the_disk", {"_finish": _forgetful}),
        ("without_feedback_nothing_is_asked_and_nothing_changes", {"step": lambda self, **_: self._considered(None)}),
    ],
)
def test_it_would_notice(test, change):
    class TestBroken(TestOptimizersOfUsers):
        def make(self, parameters, **settings):
            return broken(change)(parameters, **settings)

    with pytest.raises((AssertionError, StepsFailedError)):
        getattr(TestBroken(), f"test_{test}")()
