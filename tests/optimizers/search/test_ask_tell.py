"""Asked for many proposals at once, a search proposes what differs; told what came of them, it records and learns."""

import copy
import math
import pickle
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from opto.errors import DomainError, OptimizerError
from opto.nodes import Choices, Feedback, Range, node
from opto.optimizers import LocalSearch, Sampler
from opto.runs import Run
from opto.trace import bundle

SEARCHES = {
    "local": LocalSearch,
    **{
        name: lambda parameters, name=name, **more: Sampler(parameters, sampler=name, **more)
        for name in ("tpe", "cmaes", "random", "grid")
    },
}


@bundle
def job(*values):
    return values


@pytest.fixture(params=SEARCHES)
def search(request):
    return SEARCHES[request.param]


def mixed():
    return [
        node(0.5, name="x", trainable=True, domain=Range(0.0, 1.0)),
        node(3, name="n", trainable=True, domain=Range(0, 9)),
        node("a", name="kind", trainable=True, domain=Choices("a", "b", ("c", 1))),
    ]


def loss(values):
    return (values["x"] - 0.25) ** 2 + abs(values["n"] - 6) + (values["kind"] != ("c", 1))


def test_what_is_asked_at_once_differs_and_lies_in_the_domains(search):
    parameters = mixed()
    optimizer = search(parameters, seed=4)

    asked = optimizer.ask(12)

    assert len({repr(values) for values in asked}) == 12
    for values in asked:
        assert all(optimizer.variables[name].accept(value) == value for name, value in values.items())
    assert asked[0] == optimizer.values() == {"x": 0.5, "n": 3, "kind": "a"}, "the start comes first, and stays"
    assert optimizer.records == []


def test_the_order_of_the_answers_does_not_matter_to_what_is_known(search):
    optimizer = search(mixed(), seed=1)
    shuffled = random.Random(5)
    for _ in range(10):
        asked = optimizer.ask(4)
        shuffled.shuffle(asked)
        for values in asked:
            optimizer.tell(values, -loss(values))

    best = max(optimizer.records, key=lambda record: record.score)
    assert len(optimizer.records) == 40
    assert optimizer.best().score == best.score == -loss(optimizer.best().values)
    optimizer.restore(optimizer.best())
    assert optimizer.values() == optimizer.best().values


def test_what_is_told_is_recorded_as_a_step_that_changes_nothing(search, tmp_path):
    optimizer = search(mixed(), seed=1, run=tmp_path / "run")
    for values in optimizer.ask(3):
        step = optimizer.tell(values, (-loss(values), "so far off"))

    assert optimizer.values() == {"x": 0.5, "n": 3, "kind": "a"}
    assert not step
    assert [record.step for record in Run(tmp_path / "run").steps()] == [1, 2, 3]
    record = Run(tmp_path / "run").steps()[-1]
    assert (record.outcome, record.score) == ("unchanged", -loss(values))
    assert record.before["n"] == values["n"]
    assert record.feedback[0].text == "so far off"
    assert record.unreached == []


def test_steps_and_answers_go_together(search):
    """A loop of `step` goes on from what others were told."""
    parameters = mixed()
    optimizer = search(parameters, seed=2)
    asked = optimizer.ask(6)
    for values in asked[:4]:
        optimizer.tell(values, -loss(values))
    seen = [repr(values) for values in asked]
    for _ in range(4):
        optimizer.zero_feedback()
        optimizer.backward(job(*parameters), -loss(optimizer.values()))
        optimizer.step()
        assert repr(optimizer.values()) not in seen
        seen.append(repr(optimizer.values()))
    for values in asked[4:]:
        optimizer.tell(values, -loss(values))
    assert [record.step for record in optimizer.records] == list(range(1, 11))


def test_the_same_seed_and_scores_give_the_same_proposals(search):
    def proposals():
        optimizer = search(mixed(), seed=7)
        asked = []
        for _ in range(6):
            asked.append(optimizer.ask(3))
            for values in asked[-1]:
                optimizer.tell(values, -loss(values))
        return asked

    first = proposals()
    assert first == proposals()
    assert first != [SEARCHES["random"](mixed(), seed=8).ask(3) for _ in range(6)]


def test_a_small_space_is_tried_once_and_in_full(search):
    optimizer = search([node(2, name="n", trainable=True, domain=range(7)), node(False, name="b", trainable=True)])
    tried = []
    while asked := optimizer.ask(3):
        for values in asked:
            tried.append((values["n"], values["b"]))
            optimizer.tell(values, -abs(values["n"] - 5))

    assert sorted(tried) == [(n, b) for n in range(7) for b in (False, True)]
    assert optimizer.ask() == []


def test_what_is_under_way_is_not_proposed_again(search):
    optimizer = search([node(0, name="n", trainable=True, domain=range(5))])

    asked = optimizer.ask(99)

    assert sorted(values["n"] for values in asked) == [0, 1, 2, 3, 4]
    assert optimizer.ask(1) == []
    for values in asked:
        optimizer.tell(values, values["n"])
    assert optimizer.best().values == {"n": 4}


def test_a_loop_of_steps_ends_with_the_best_of_a_small_space(search):
    n = node(0, name="n", trainable=True, domain=range(6))
    optimizer = search([n], seed=3)
    tried = []
    for _ in range(9):
        tried.append(n.data)
        optimizer.zero_feedback()
        optimizer.backward(n + 0, -abs(n.data - 4))
        optimizer.step()

    assert sorted(tried[:6]) == [0, 1, 2, 3, 4, 5]
    assert tried[6:] == [4, 4, 4]
    assert "Everything has been tried" in optimizer.records[-1].reasoning


def test_values_that_nobody_asked_for_are_evidence(search):
    optimizer = search(mixed(), seed=1)
    good = {"x": 0.25, "n": 6, "kind": ("c", 1)}
    optimizer.tell(good, 0)

    assert optimizer.best().values == good
    assert good not in optimizer.ask(5)


def test_frozen_parameters_keep_their_value_in_all_that_is_asked(search):
    parameters = mixed()
    optimizer = search(parameters, seed=1)
    parameters[1].trainable = False

    for _ in range(5):
        for values in optimizer.ask(4):
            assert values["n"] == 3
            optimizer.tell(values, -loss(values))

    assert len({repr(record.before) for record in optimizer.records}) == 20 or optimizer.ask() == []
    for parameter in parameters:
        parameter.trainable = False
    assert search(mixed()).ask(2)[1] != {}
    assert optimizer.ask(4) == []


@pytest.mark.parametrize("failure", [math.nan, -math.inf, ValueError("no solution"), (math.nan, "odd")], ids=repr)
def test_what_fails_is_the_worst_and_the_search_goes_on(search, failure):
    """A region that fails is left, as one with the worst scores is."""
    optimizer = search([node(0.9, name="x", trainable=True, domain=Range(0.0, 1.0)), *mixed()[1:2]], seed=0)
    for _ in range(20):
        for values in optimizer.ask(2):
            # The best lies beside what fails.
            optimizer.tell(values, failure if values["x"] > 0.5 else values["x"] - abs(values["n"] - 6))

    assert optimizer.best().values["x"] <= 0.5
    assert optimizer.best().score > -3
    assert {record.score for record in optimizer.records if record.before["x"] > 0.5} == {-math.inf}
    assert optimizer.records[0].score == -math.inf


def test_if_everything_fails_there_is_still_something_to_try(search):
    optimizer = search(mixed(), seed=0)
    for _ in range(30):
        for values in optimizer.ask():
            optimizer.tell(values, RuntimeError("down"))

    assert len({repr(record.before) for record in optimizer.records}) == 30
    assert optimizer.records[3].feedback[0].text == "RuntimeError: down"


def test_infinitely_good_is_good(search):
    optimizer = search(mixed(), seed=0)
    for _ in range(15):
        for values in optimizer.ask(2):
            optimizer.tell(values, math.inf if values["n"] == 6 else 0)
    assert optimizer.best().values["n"] == 6


@pytest.mark.parametrize(
    ("values", "feedback", "error", "words"),
    [
        ({"x": 0.5, "n": 3}, 1.0, OptimizerError, "Give one for each of x, n, kind"),
        ({"x": 0.5, "n": 3, "kind": "a", "y": 1}, 1.0, OptimizerError, "Give one for each of x, n, kind"),
        ({"x": 0.5, "n": 10, "kind": "a"}, 1.0, DomainError, "10 lies outside the range"),
        ({"x": 0.5, "n": 3, "kind": "z"}, 1.0, DomainError, "none of the options"),
        ({"x": 0.5, "n": 3, "kind": "a"}, "too long", OptimizerError, "'too long' has no score"),
        ({"x": 0.5, "n": 3, "kind": "a"}, Feedback("too long"), OptimizerError, "'too long' has no score"),
    ],
)
def test_what_cannot_be_told(search, values, feedback, error, words):
    optimizer = search(mixed())
    with pytest.raises(error, match=words):
        optimizer.tell(values, feedback)
    assert optimizer.records == []
    assert optimizer.best() is None


def test_less_than_one_cannot_be_asked_for(search):
    with pytest.raises(OptimizerError, match="no 0 assignments"):
        search(mixed()).ask(0)


def test_what_is_asked_belongs_to_whoever_asks(search):
    """Changing it changes nothing here: not the parameter, and not the options."""
    option = ["a"]
    optimizer = search([node(option, name="p", trainable=True, domain=Choices(["a"], ["b"]))])
    (first,) = optimizer.ask()
    first["p"].append("x")

    assert optimizer.values() == {"p": ["a"]}
    assert optimizer.ask(5) == [{"p": ["b"]}]


def test_workers_may_ask_and_tell_for_themselves(search):
    optimizer = search(mixed(), seed=1)
    barrier = threading.Barrier(4)

    def work(_):
        barrier.wait()
        for _ in range(8):
            for values in optimizer.ask():
                optimizer.tell(values, -loss(values))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))

    assert [record.step for record in optimizer.records] == list(range(1, 33))
    assert len({repr(record.before) for record in optimizer.records}) == 32


def test_what_is_asked_goes_to_other_processes():
    for make in SEARCHES.values():
        asked = make(mixed()).ask(3)
        assert pickle.loads(pickle.dumps(asked)) == asked


def test_a_search_can_be_copied_while_it_runs():
    optimizer = LocalSearch(mixed(), seed=1)
    for values in optimizer.ask(8):
        optimizer.tell(values, -loss(values))
    twin = copy.deepcopy(optimizer)

    assert twin.ask(3) == optimizer.ask(3)
    assert len(twin.records) == 8
