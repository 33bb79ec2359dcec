"""Searches without a model: they find optima from scores, and say what they cannot do."""

import math
import sys
from decimal import Decimal
from enum import Enum
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import BackwardError, MissingDependencyError, OptimizerError
from opto.nodes import Check, Choices, Feedback, Range, Text, node
from opto.optimizers import LocalSearch, Sampler
from opto.optimizers.search import from_unit, to_unit
from opto.trace import bundle

SEARCHES = [LocalSearch, Sampler]


@bundle
def job(*values):
    return values


def minimize(optimizer, loss, steps):
    for _ in range(steps):
        output = job(*optimizer.parameters)
        optimizer.zero_feedback()
        optimizer.backward(output, -loss(**optimizer.values()))
        optimizer.step()
    return optimizer.best()


def numbers(**domains):
    return [node(start, name=name, trainable=True, domain=domain) for name, (start, domain) in domains.items()]


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("seed", range(3))
def test_numbers_end_near_the_optimum(search, seed):
    parameters = numbers(x=(5.0, Range(-5, 5)), n=(0, Range(0, 40)))
    best = minimize(search(parameters, seed=seed), lambda x, n: (x - 1) ** 2 + ((n - 30) / 10) ** 2, 60)

    assert best.score > -0.6
    assert best.step > 1


@pytest.mark.parametrize("search", SEARCHES)
def test_choices_and_flags_are_searched_too(search):
    kind = node("a", name="kind", trainable=True, domain=Choices("a", "b", ("c", 1)))
    fast = node(False, name="fast", trainable=True)
    optimizer = search([kind, fast], seed=0)
    tried = set()

    def loss(kind, fast):
        tried.add((kind, fast))
        return -2.0 * (kind == ("c", 1)) - fast

    minimize(optimizer, loss, 25)

    assert optimizer.best().values == {"kind": ("c", 1), "fast": True}
    assert len(tried) == 6


@pytest.mark.parametrize("search", SEARCHES)
def test_the_start_is_evidence(search):
    parameters = numbers(x=(3, Range(0, 9)))
    optimizer = search(parameters, seed=0)
    best = minimize(optimizer, lambda x: abs(x - 3), 4)

    assert best.values == {"x": 3}
    assert best.step == 1


@pytest.mark.parametrize("search", SEARCHES)
def test_an_output_that_was_forgotten_or_swapped_with_the_feedback_is_named(search):
    (x,) = numbers(x=(3, Range(0, 9)))
    optimizer = search([x])

    with pytest.raises(BackwardError, match=r"No output was given, only 0\.4\. Write backward\(output, score\)"):
        optimizer.backward(0.4)
    for output, feedback in (("bad", x + 1), (0.4, x + 1), ([0.4], [x + 1])):
        with pytest.raises(BackwardError, match="it seems that they are swapped"):
            optimizer.backward(output, feedback)
    assert not x.feedback
    optimizer.backward(x + 1, x * 0.5)  # a score may be a node


@pytest.mark.parametrize("search", SEARCHES)
def test_feedback_without_a_score_is_refused_when_it_is_given(search):
    (x,) = numbers(x=(3, Range(0, 9)))
    optimizer = search([x])

    with pytest.raises(OptimizerError, match="'too large' has no score"):
        optimizer.backward(x + 1, "too large")
    (x + 1).backward("too large")
    with pytest.raises(OptimizerError, match="no score"):
        optimizer.step()
    assert x.data == 3


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize(
    ("start", "domain"),
    [
        (3, Range(low=0)),
        (3, Range(high=9)),
        (3.0, Range(low=1, log=True)),
        ("{q}", Text(placeholders=["q"])),
        ([1], list[int]),
        (2, Check(lambda n: n % 2 == 0, "must be even")),
        (2, Range(0, 9) & Check(lambda n: n % 2 == 0, "must be even")),
    ],
    ids=str,
)
def test_domains_without_a_space_are_refused_in_their_own_words(search, start, domain):
    parameter = node(start, name="p", trainable=True, domain=domain)
    with pytest.raises(OptimizerError) as caught:
        search([parameter])
    assert f"cannot search p, which may be {parameter.domain.describe()}." in caught.value.problem
    assert "both ends" in caught.value.mend


class Color(Enum):
    RED = 1
    BLUE = "b"


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize(
    ("start", "domain"),
    [
        (1, Range(1, 1024, log=True)),
        (1.0, Range(1e-5, 1, log=True)),
        (np.float32(0.1), Range(0.1, 0.9)),
        (np.float64(0.1), Range(0.1, 0.9, step=0.2)),
        (np.int8(0), Range(0, 100, step=5)),
        (Decimal("0.1"), Range(0.1, 0.9, step=0.1)),
        (Decimal("0.1"), Range(0.1, 1, log=True)),
        (Color.RED, None),
        ("a", Literal["a", 1]),
    ],
    ids=str,
)
def test_what_is_searched_stays_in_its_domain_and_type(search, start, domain):
    parameter = node(start, name="p", trainable=True, domain=domain)
    optimizer = search([parameter], seed=3)
    tried = []
    minimize(optimizer, lambda p: tried.append(p) or 0, 12)

    assert all(record.outcome in {"updated", "unchanged"} for record in optimizer.records)
    assert len(set(map(repr, tried))) > (1 if isinstance(parameter.domain, Choices) else 4)
    assert all(type(value) is type(start) for value in tried) or domain == Literal["a", 1]
    if search is Sampler:
        # Its own proposals come back to it as such.
        assert all(trial.state.name == "COMPLETE" for trial in optimizer.study.trials[:-1])


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("value", ["some prompt", 3, 2.5, [1]])
def test_what_has_no_space_is_refused_at_once(search, value):
    with pytest.raises(OptimizerError, match=f"{search.__name__} cannot search p, which may be"):
        search([node(value, name="p", trainable=True)])


@pytest.mark.parametrize("search", SEARCHES)
def test_values_put_in_by_hand_are_evidence_too(search):
    (x,) = numbers(x=(0, Range(0, 9)))
    optimizer = search([x], seed=1)
    minimize(optimizer, lambda x: abs(x - 7), 3)

    x._set(7)
    optimizer.zero_feedback()
    optimizer.backward(x + 0, Feedback(score=0))
    optimizer.step()

    assert optimizer.best().values == {"x": 7}


def test_local_search_does_not_repeat_itself_while_there_is_something_new():
    optimizer = LocalSearch(numbers(x=(0, Range(0, 19))), seed=2)
    tried = []

    minimize(optimizer, lambda x: tried.append(x) or abs(x - 4), 20)

    assert len(set(tried)) >= 18


def test_the_study_of_a_sampler_is_optunas_own():
    import optuna

    parameters = numbers(x=(1.0, Range(0.1, 10, log=True)))
    optimizer = Sampler(parameters, sampler=optuna.samplers.RandomSampler(seed=1))
    minimize(optimizer, lambda x: abs(math.log(x)), 4)

    finished = [trial for trial in optimizer.study.trials if trial.value is not None]
    assert [trial.value for trial in finished] == [record.score for record in optimizer.records]
    assert finished[0].params == {"x": 1.0}


def test_without_optuna_the_error_names_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)

    with pytest.raises(MissingDependencyError, match=r"pip install 'opto-trace\[search\]'"):
        Sampler(numbers(x=(1, Range(0, 9))))


ranges = st.builds(
    lambda low, width, step, log, whole: Range(
        math.floor(low) if whole else low,
        (math.floor(low) if whole else low) + (math.ceil(width) if whole else width),
        step=None if log else (None if step is None else (math.ceil(step) if whole else step)),
        log=log,
        kind=int if whole else float,
    ),
    st.floats(1, 1e3),
    st.floats(0, 1e3),
    st.none() | st.floats(0.1, 50),
    st.booleans(),
    st.booleans(),
)


@given(ranges, st.floats(0, 1))
def test_every_part_of_a_range_is_a_legal_value(space, part):
    value = from_unit(space, part)

    assert space.accept(value) == value
    assert type(value) is space.kind


@given(st.sampled_from([np.float32, np.float64, Decimal]), st.floats(0, 1), st.none() | st.just(0.2))
def test_parts_of_a_range_have_the_type_of_the_parameter(kind, part, step):
    space = Range(0.1, 0.9, step).for_value(kind("0.1"))
    value = from_unit(space, part)

    assert type(value) is kind
    assert space.accept(value) == value


@given(ranges, st.floats(0, 1))
def test_a_value_keeps_its_place(space, part):
    value = from_unit(space, part)

    assert from_unit(space, to_unit(space, value)) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("search", SEARCHES)
def test_failures_may_be_scored_as_infinitely_bad(search):
    optimizer = search(numbers(x=(1.0, Range(0, 9))), seed=1)

    minimize(optimizer, lambda x: math.inf, 12)

    assert len(optimizer.records) == 12


@pytest.mark.parametrize("search", SEARCHES)
def test_options_may_be_anything(search):
    parameter = node([1], name="p", trainable=True, domain=Choices([1], [2], True, 1))
    optimizer = search([parameter], seed=1)
    best = minimize(optimizer, lambda p: 0 if p is True else 1, 20)

    assert best.values["p"] is True


@pytest.mark.parametrize("search", SEARCHES)
def test_steps_and_wide_logarithmic_ranges_are_searched(search):
    parameters = numbers(
        a=(0, Range(0, 10, step=3)), b=(0.0, Range(0, 1, step=0.3)), c=(1.0, Range(1e-300, 1e300, log=True))
    )
    optimizer = search(parameters, seed=0)
    tried = set()
    minimize(optimizer, lambda a, b, c: tried.add(round(math.log10(c))) or abs(a - 6), 15)

    assert len(tried) > 8
    assert all(record.outcome == "updated" for record in optimizer.records)


def test_a_finite_space_can_be_tried_in_full():
    import optuna

    optimizer = Sampler(numbers(x=(0, Range(0, 3))), sampler=optuna.samplers.GridSampler({"x": [0, 1, 2, 3]}, seed=0))
    best = minimize(optimizer, lambda x: abs(x - 2), 8)

    assert best.values == {"x": 2}


def test_many_dimensions_leave_the_random_starts_soon():
    parameters = numbers(**{f"x{index}": (3.0, Range(-5, 5)) for index in range(20)})
    best = minimize(LocalSearch(parameters, seed=0), lambda **values: sum(x * x for x in values.values()), 60)

    assert best.score > -130
