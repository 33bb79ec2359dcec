"""What every optimizer must keep, whatever it is that proposes."""

import asyncio
import itertools
import random
from types import MappingProxyType

import pytest

from opto.errors import LLMError, OptoError
from opto.llm import ScriptedLLM
from opto.nodes import TraceGraph, node
from opto.optimizers import (
    OPRO,
    Candidate,
    CodeSearch,
    Evidence,
    LocalSearch,
    Mixed,
    Optimizer,
    OptoPrime,
    OptoPrimeMulti,
    OptoPrimeV2,
    Proposal,
    Sampler,
    TextGrad,
)
from opto.optimizers.acceptance import Checked
from opto.optimizers.proposal import arrived
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
    "OptoPrimeV2": lambda parameters, **more: OptoPrimeV2(parameters, answers("tags"), **more),
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


class Deaf(Fastidious):
    """An optimizer that passes no settings on."""

    def __init__(self, parameters, **settings):
        super().__init__(parameters)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"program": lambda self, parameters: parameters[0] + parameters[1]}, "program() returned a single node"),
        ({"program": lambda self, parameters: ["hi"]}, "program() returned ['hi']. Return a list of outputs"),
        ({"parameters": lambda self: [node("hi", trainable=True)]}, "Return a list of two or more"),
        ({"parameters": lambda self: [3, 4]}, "parameters() returned [3, 4]. Return a list of two or more"),
        ({"make": lambda self, parameters, **_: Fastidious(parameters)}, "Pass **settings on"),
        ({"make": lambda self, parameters, **settings: Deaf(parameters, **settings)}, "on to super().__init__()"),
        ({"make": lambda self, parameters, **settings: None}, "make() returned None. Return an optimizer"),
    ],
)
def test_what_the_contract_cannot_test_is_said_in_words(change, message):
    of_user = type("OfUser", (TestOptimizersOfUsers,), change)
    said = []
    for name in dir(of_user):
        if name.startswith("test_"):
            try:
                getattr(of_user(), name)()
            except Exception as error:
                said.append(f"{type(error).__name__}: {error}")

    assert said
    assert [text for text in said if message not in text] == []


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


def _gullible(self):
    graphs, _ = arrived(self.parameters)
    return Evidence(TraceGraph.joined(graphs), self.values(), 1.0), False


def _zealous(self):
    for graph in (graph for item in self.parameters for graphs in item.feedback.values() for graph in graphs):
        for parameter in graph.parameters:
            parameter.zero_feedback()
    Fastidious.zero_feedback(self)


def _boastful(self):
    found = Fastidious.best(self)
    return None if found is None else Candidate(self.values(), found.score, found.step, found.feedback)


def _half_hearted(self, draft, outcome, reason="", update=MappingProxyType({})):
    step = Fastidious._finish(self, draft, outcome, reason, update)
    for name in list(update)[1:]:
        self.variables[name]._set(draft.before[name])
    return step


def _restless(self, draft, outcome, reason="", update=MappingProxyType({})):
    if not update and outcome == "unchanged":
        outcome, update = "updated", dict(draft.before)
    return Fastidious._finish(self, draft, outcome, reason, update)


def _all_or_nothing_for_one(self, suggestion, evidence):
    found = Fastidious._check(self, suggestion, evidence)
    return Checked({}, found.rejected, found.said) if found.rejected else found


def _hopeful(self, step, cause):
    return step


def _careless(self, values):
    if values is not None:
        for name, value in values.values.items():
            self.variables[name]._set(value)


async def _deaf(self, **settings):
    return await asyncio.shield(asyncio.to_thread(self.step, **settings))


def _patient(self, **settings):
    try:
        return Fastidious.step(self, **settings)
    except LLMError:
        return self.records[-1]


def _amnesiac(self):
    return {**Fastidious.state_dict(self), "records": []}


def _one_too_many(self, step, cause):
    return step if len(self.records) <= self._max_failures else Fastidious._raise_if_stuck(self, step, cause)


@pytest.mark.parametrize(
    ("test", "change"),
    [
        ("what_is_not_given_to_the_optimizer_is_left_alone", {"zero_feedback": _zealous}),
        ("best_is_the_highest_score_with_the_values_that_led_to_it", {"best": _boastful}),
        ("parameters_change_within_their_domains_and_the_record_tells_it", {"_finish": _half_hearted}),
        ("values_that_are_in_force_already_are_no_update", {"_finish": _restless}),
        ("what_can_be_used_is_applied_and_what_cannot_is_named", {"_check": _all_or_nothing_for_one}),
        ("a_proposal_that_cannot_be_had_fails_and_raises_in_the_end_with_all_causes", {"_raise_if_stuck": _hopeful}),
        ("how_many_steps_may_fail_is_for_the_user_to_say", {"_raise_if_stuck": _one_too_many}),
        ("restore_puts_values_back_all_or_none", {"restore": _careless}),
        ("a_step_that_is_cancelled_changes_nothing", {"astep": _deaf}),
        ("what_will_not_go_away_by_itself_is_raised_at_once", {"step": _patient}),
        ("what_is_saved_can_be_loaded", {"state_dict": _amnesiac}),
        ("with_keep_best_a_step_that_did_worse_leads_back", {"_better_than": lambda *_: None}),
        ("only_what_is_named_changes", {"active": property(lambda self: self.variables)}),
        ("feedback_on_values_that_are_gone_is_not_booked_to_those_in_force", {"_evidence": _gullible}),
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

    with pytest.raises((AssertionError, OptoError)):
        getattr(TestBroken(), f"test_{test}")()
