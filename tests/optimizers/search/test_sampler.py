"""Optuna's samplers by name and as objects: what each finds, and what it is told."""

import json
import math
import pickle
import random
import statistics
import sys

import optuna
import pytest

from opto.errors import ExecutionError, MissingDependencyError, OptimizerError
from opto.nodes import Choices, Range, node
from opto.optimizers import LocalSearch, Sampler
from opto.trace import bundle

NAMES = ["tpe", "cmaes", "random", "grid"]


def evaluated(optimizer, score, budget):
    """Let *optimizer* spend *budget* evaluations, and return what it tried."""
    tried = []
    while len(tried) < budget and (asked := optimizer.ask()):
        tried += asked
        optimizer.tell(asked[0], score(**asked[0]))
    return tried


def problem(kind, seed):
    """Return parameters at random places, and a score with its best, 0, somewhere else."""
    draw = random.Random(seed)
    if kind == "numbers":
        goal = [draw.uniform(-4, 4) for _ in range(3)]
        spaces = {f"x{i}": (draw.uniform(-4, 4), Range(-5.0, 5.0)) for i in range(3)}
        return spaces, lambda **at: -sum((at[f"x{i}"] - goal[i]) ** 2 for i in range(3))
    if kind == "factors":
        goal = [draw.uniform(-5, -1) for _ in range(2)]
        spaces = {f"x{i}": (1.0, Range(1e-6, 1, log=True)) for i in range(2)}
        return spaces, lambda **at: -sum(abs(math.log10(at[f"x{i}"]) - goal[i]) for i in range(2))
    if kind == "steps":
        goal = [draw.randrange(0, 40), draw.randrange(0, 20) * 0.5]
        spaces = {"n": (draw.randrange(40), Range(0, 40)), "half": (5.0, Range(0.0, 10.0, step=0.5))}
        return spaces, lambda n, half: -abs(n - goal[0]) / 4 - abs(half - goal[1])
    if kind == "options":
        goal = [draw.choice("abcde") for _ in range(3)]
        spaces = {f"c{i}": (draw.choice("abcde"), Choices(*"abcde")) for i in range(3)}
        return spaces, lambda **at: -float(sum(at[f"c{i}"] != goal[i] for i in range(3)))
    goal = draw.uniform(0, 1), draw.randrange(20), draw.choice("abc")
    spaces = {"x": (0.5, Range(0.0, 1.0)), "n": (10, Range(0, 19)), "c": ("a", Choices(*"abc"))}
    return spaces, lambda x, n, c: -abs(x - goal[0]) * 4 - abs(n - goal[1]) / 5 - (c != goal[2]) * 2


def parameters_of(spaces):
    return [node(start, name=name, trainable=True, domain=domain) for name, (start, domain) in spaces.items()]


@pytest.mark.parametrize("kind", ["numbers", "factors", "steps", "options", "mixed"])
@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_improves_on_the_start(name, kind):
    gained = []
    for seed in range(4):
        spaces, score = problem(kind, seed)
        optimizer = Sampler(parameters_of(spaces), sampler=name, seed=seed)
        tried = evaluated(optimizer, score, 60)
        gained.append(optimizer.best().score / min(score(**tried[0]), -1e-9))
        assert all(optimizer.variables[n].accept(v) == v for values in tried for n, v in values.items())

    # Of the distance that there was at the start, the better half of the seeds leaves less than half.
    assert statistics.median(gained) < 0.5


@pytest.mark.parametrize("kind", ["numbers", "factors", "mixed"])
def test_what_learns_is_better_than_chance(kind):
    def median(name):
        found = []
        for seed in range(7):
            spaces, score = problem(kind, seed)
            optimizer = Sampler(parameters_of(spaces), sampler=name, seed=seed)
            evaluated(optimizer, score, 80)
            found.append(optimizer.best().score)
        return statistics.median(found)

    by_chance = median("random")
    assert median("tpe") > by_chance
    assert median("cmaes") > by_chance


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides(name):
    spaces, score = problem("mixed", 3)
    first, again, other = (
        evaluated(Sampler(parameters_of(spaces), sampler=name, seed=seed), score, 25) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_names_are_objects_of_optuna():
    for name, kind in (("tpe", "TPESampler"), ("cmaes", "CmaEsSampler"), ("random", "RandomSampler")):
        optimizer = Sampler(parameters_of(problem("mixed", 0)[0]), sampler=name, seed=3)
        assert type(optimizer.study.sampler).__name__ == kind
    named = Sampler(parameters_of(problem("numbers", 0)[0]), sampler="tpe", seed=5)
    given = Sampler(parameters_of(problem("numbers", 0)[0]), sampler=optuna.samplers.TPESampler(seed=5))
    assert evaluated(named, problem("numbers", 0)[1], 20) == evaluated(given, problem("numbers", 0)[1], 20)


@pytest.mark.parametrize(("wrong", "words"), [
    ("cma-es", r"no sampler 'cma-es'\. Did you mean 'cmaes'\? Give one of tpe, cmaes, random, grid"),
    ("bayes", r"no sampler 'bayes'\. Give one of"),
    (optuna.samplers.TPESampler, "no sampler <class"),
    (None, "no sampler None"),
])  # fmt: skip
def test_other_samplers_are_refused(wrong, words):
    with pytest.raises(OptimizerError, match=words):
        Sampler(parameters_of(problem("mixed", 0)[0]), sampler=wrong)


def test_what_cmaes_needs_is_named_at_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "cmaes", None)
    with pytest.raises(MissingDependencyError, match=r"'cmaes' needs .* pip install 'opto-trace\[search\]'"):
        Sampler(parameters_of(problem("mixed", 0)[0]), sampler="cmaes")


def test_what_an_object_needs_is_named_when_it_is_missed(monkeypatch):
    class Wanting(optuna.samplers.RandomSampler):
        def infer_relative_search_space(self, study, trial):
            import surely_not_installed.part  # noqa: F401

    optimizer = Sampler(parameters_of(problem("mixed", 0)[0]), sampler=Wanting())
    with pytest.raises(MissingDependencyError, match="Wanting needs .* pip install surely_not_installed"):
        optimizer.ask(2)


def test_nothing_is_printed_and_nobody_is_warned(capfd):
    for name in NAMES:
        spaces, score = problem("mixed", 0)
        optimizer = Sampler(parameters_of(spaces), sampler=name)
        for frozen in (0, 1, 2, None):
            for position, parameter in enumerate(optimizer.parameters):
                parameter.trainable = position != frozen
            evaluated(optimizer, score, 15)
    assert capfd.readouterr() == ("", "")


def test_cmaes_chooses_options_by_score_too():
    spaces = {"x": (4.0, Range(-5.0, 5.0)), "y": (4.0, Range(-5.0, 5.0)), "c": ("a", Choices(*"abcdef"))}
    last = []
    for seed in range(5):
        optimizer = Sampler(parameters_of(spaces), sampler="cmaes", seed=seed)
        tried = evaluated(optimizer, lambda x, y, c: -x * x - y * y - 20 * (c != "e"), 70)
        last += [values["c"] for values in tried[-20:]]
    assert last.count("e") > len(last) / 2  # a sixth of them by chance


def test_a_grid_is_gone_through_once_with_both_ends():
    spaces = {"x": (0.3, Range(0.0, 1.0)), "rate": (0.1, Range(0.01, 1, log=True)), "c": ("a", Choices("a", "b"))}
    optimizer = Sampler(parameters_of(spaces), sampler="grid", points=3)
    tried = evaluated(optimizer, lambda **_: 0, 100)

    assert tried[0] == {"x": 0.3, "rate": 0.1, "c": "a"}
    assert len(tried) == 1 + 3 * 3 * 2
    assert {values["x"] for values in tried[1:]} == {0.0, 0.5, 1.0}
    assert sorted({values["rate"] for values in tried[1:]}) == pytest.approx([0.01, 0.1, 1])
    assert len(optimizer.study.trials) == 19


@pytest.mark.parametrize(("spaces", "points", "words"), [
    ({f"x{i}": (0.5, Range(0.0, 1.0)) for i in range(8)}, 5, r"390,625 points: 5 of x0 times 5 of x1"),
    ({"n": (1, Range(0, 10**9))}, None, r"1,000,000,001 points: 1,000,000,001 of n"),
    ({"x": (0.5, Range(0.0, 1.0))}, 0, "no grid with 0 points"),
])  # fmt: skip
def test_grids_that_cannot_be(spaces, points, words):
    with pytest.raises(OptimizerError, match=words):
        Sampler(parameters_of(spaces), sampler="grid", points=points)


def test_the_known_score_is_told_to_the_study_and_another_is_asked():
    optimizer = Sampler(parameters_of({"n": (0, Range(0, 5))}), sampler="tpe", seed=0)
    tried = evaluated(optimizer, lambda n: -abs(n - 4), 50)

    assert sorted(values["n"] for values in tried) == [0, 1, 2, 3, 4, 5]
    trials = optimizer.study.trials
    assert len(trials) >= 6
    assert all(trial.value == -abs(trial.params["n"] - 4) for trial in trials)


@pytest.mark.parametrize("name", NAMES)
def test_noisy_scores_may_be_asked_for_again(name):
    noise = random.Random(0)
    optimizer = Sampler(parameters_of({"n": (0, Range(0, 3))}), sampler=name, seed=1, repeats=True)
    tried = evaluated(optimizer, lambda n: -abs(n - 2) + noise.gauss(0, 1), 24)

    assert len(tried) == 24
    assert {2} < {values["n"] for values in tried}
    scores = {trial.value for trial in optimizer.study.trials if trial.value is not None}
    assert scores == {record.score for record in optimizer.records}, "each evaluation is evidence of its own"


def test_repeats_under_way_are_told_one_by_one():
    optimizer = Sampler(parameters_of({"n": (0, Range(0, 1))}), sampler="random", seed=1, repeats=True)
    asked = optimizer.ask(12)
    for score, values in enumerate(asked):
        optimizer.tell(values, score)
    assert sorted(trial.value for trial in optimizer.study.trials) == list(range(12))


def test_a_grid_of_optuna_itself_ends_too():
    for repeats in (False, True):
        n = node(0, name="n", trainable=True, domain=range(4))
        grid = optuna.samplers.GridSampler({"n": [0, 1, 2]}, seed=0)
        optimizer = Sampler([n], sampler=grid, repeats=repeats)
        tried = evaluated(optimizer, lambda n: -abs(n - 2), 10)
        assert {values["n"] for values in tried} == {0, 1, 2}
        assert len(tried) == (10 if repeats else 3)


def test_what_was_put_in_by_hand_frees_what_was_proposed():
    n = node(0, name="n", trainable=True, domain=range(4))
    optimizer = Sampler([n], seed=0)
    tried = []
    for turn in range(8):
        tried.append(n.data)
        optimizer.zero_feedback()
        optimizer.backward(n + 0, n.data)
        optimizer.step()
        if turn == 0:
            n._set(99)  # outside of its range: no evidence for Optuna
    assert set(tried) == {0, 1, 2, 3, 99}
    assert sum(trial.state.name == "FAIL" for trial in optimizer.study.trials) == 1


@pytest.mark.parametrize("search", [LocalSearch, Sampler])
def test_failed_runs_of_a_program_are_the_worst_and_the_search_goes_on(search):
    @bundle
    def divide(x):
        if x > 4:
            raise ValueError("too large")
        return 1 / (5 - x)

    x = node(4.9, name="x", trainable=True, domain=Range(0.0, 10.0))
    optimizer = search([x], seed=0)
    failed = 0
    for turn in range(30):
        optimizer.zero_feedback()
        try:
            output = divide(x)
        except ExecutionError as error:
            failed += 1
            # As programs for Trace write it, and as others do.
            optimizer.backward(error.exception_node if turn % 2 else error, "It failed." if turn % 3 else error)
        else:
            optimizer.backward(output, math.nan if output.data > 0.98 else output.data)
        optimizer.step()

    assert failed
    assert all(record.score == -math.inf for record in optimizer.records if record.before["x"] > 4)
    assert 0.5 < optimizer.best().score < 0.98


@pytest.mark.parametrize("search", [LocalSearch, Sampler])
def test_one_failure_among_several_outputs_counts(search):
    """Else whatever fails where it would have been bad would seem good."""
    x = node(1.0, name="x", trainable=True, domain=Range(0.0, 10.0))
    optimizer = search([x], seed=0)
    optimizer.backward([x + 1, x + 2, x + 3], [1.0, ValueError("no"), math.inf])
    assert optimizer.step().outcome == "updated"
    optimizer.zero_feedback()
    optimizer.backward([x + 1, x + 2], [math.inf, -math.inf])
    assert optimizer.step().outcome == "updated"


def test_the_study_is_left_as_loud_as_it_was(monkeypatch):
    before = optuna.logging.get_verbosity()
    Sampler(parameters_of(problem("mixed", 0)[0]))
    assert optuna.logging.get_verbosity() == before


def test_nothing_that_is_saved_is_a_pickle_and_none_is_opened(monkeypatch):
    """CMA-ES keeps itself as one in its trials."""
    spaces, score = problem("numbers", 1)
    first = Sampler(parameters_of(spaces), sampler="cmaes", seed=1)
    evaluated(first, score, 60)
    assert any("optimizer" in name for trial in first.study.trials for name in trial.system_attrs)
    state = json.loads(json.dumps(first.state_dict()))
    assert "optimizer:" not in json.dumps(state["state"])

    state["state"]["trials"][-1]["attributes"]["cma:optimizer:0"] = pickle.dumps(Opened()).hex()
    again = Sampler(parameters_of(spaces), sampler="cmaes", seed=1)
    again.load_state_dict(state)
    evaluated(again, score, 60)

    assert not Opened.times
    assert again.best().score > first.best().score
    late = [trial.value for trial in again.study.trials[-15:]]
    early = [trial.value for trial in again.study.trials[:15]]
    assert statistics.median(late) > statistics.median(early), "it has not begun anew"


class Opened:
    times = 0

    def __reduce__(self):
        return setattr, (Opened, "times", 1)


@pytest.mark.parametrize(
    ("start", "domain", "points", "values"),
    [
        (3, Range(0, 10), None, list(range(11))),
        (3, Range(0, 10), 3, [0, 3, 5, 10]),
        (3, Range(0, 10), 1, [3, 5]),
        (3, Range(0, 10), 99, list(range(11))),
        (1.0, Range(0.0, 1.0, step=0.25), None, [0, 0.25, 0.5, 0.75, 1]),
        (1.0, Range(0.0, 2.0), None, [0, 0.5, 1, 1.5, 2]),
        (2, Range(1, 1024, log=True), 3, [1, 2, 32, 1024]),
        (2, Range(1, 4, log=True), 4, [1, 2, 3, 4]),
        ("a", Choices(*"abc"), 2, ["a", "b", "c"]),
        (True, None, 1, [False, True]),
    ],
    ids=str,
)
def test_points_of_a_grid(start, domain, points, values):
    optimizer = Sampler([node(start, name="p", trainable=True, domain=domain)], sampler="grid", points=points)
    assert sorted(values["p"] for values in evaluated(optimizer, lambda p: 0, 100)) == values
