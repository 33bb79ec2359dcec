"""What every optimizer must keep, whatever it is that proposes."""

import itertools

import pytest

from opto.errors import DomainError, OptimizerError, RunError, StepsFailedError
from opto.llm import ScriptedLLM
from opto.nodes import Choices, Feedback, Range, SumPropagator, node
from opto.optimizers import OPRO, CodeSearch, LocalSearch, Optimizer, OptoPrime, OptoPrimeMulti, Sampler, TextGrad
from opto.optimizers.suggestion import FORMATS, Suggestion
from opto.runs import Run, StepRecord


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
        parameters, several(), validate=lambda: parameters[0].data, **more
    ),
    "OPRO": lambda parameters, **more: OPRO(parameters, answers("tags"), **more),
    "TextGrad": lambda parameters, **more: TextGrad(parameters, edits(), **more),
    "CodeSearch": lambda parameters, **more: CodeSearch(parameters, seed=3, **more),
    "LocalSearch": lambda parameters, **more: LocalSearch(parameters, seed=3, **more),
    "Sampler": lambda parameters, **more: Sampler(parameters, seed=3, **more),
}


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


def two_parameters():
    return [
        node(1, name="size", trainable=True, domain=Range(0, 100)),
        node("a", name="mode", trainable=True, domain=Choices("a", "b", "c")),
    ]


def run(optimizer, steps=3):
    size, mode = optimizer.parameters
    for _ in range(steps):
        output = size * 2 + (mode == "b")
        optimizer.zero_feedback()
        optimizer.backward([output, mode.upper()], [Feedback("so so", score=-abs(output.data - 9))] * 2)
        optimizer.step()
    return optimizer.records


def test_parameters_change_within_their_domains_and_the_record_tells_it(make):
    parameters = two_parameters()
    optimizer = make(parameters)

    records = run(optimizer)

    assert [record.step for record in records] == [1, 2, 3]
    assert "updated" in {record.outcome for record in records}
    for before, after in itertools.pairwise(records):
        assert after.before == before.after
    assert records[-1].after == {"size": parameters[0].data, "mode": parameters[1].data}
    assert isinstance(parameters[0].data, int)
    assert 0 <= parameters[0].data <= 100
    assert parameters[1].data in {"a", "b", "c"}


def test_what_is_not_given_to_the_optimizer_is_left_alone(make):
    parameters = two_parameters()
    bystander = node(5, name="bystander", trainable=True, domain=Range(0, 9))
    optimizer = make(parameters)

    output = parameters[0] + bystander + len(parameters[1].data)
    with pytest.warns(UserWarning, match="mode"):
        optimizer.backward(output, (-1.0, "too large"))
        optimizer.step()

    assert bystander.data == 5


def test_without_feedback_nothing_is_asked_and_nothing_changes(make):
    parameters = two_parameters()
    optimizer = make(parameters)

    with pytest.warns(UserWarning, match="No feedback has come") as warned:
        record = optimizer.step()
    assert warned[0].filename == __file__

    assert record.outcome == "unchanged"
    assert "backward" in record.reason
    assert [item.data for item in parameters] == [1, "a"]
    if hasattr(optimizer, "llm"):
        assert optimizer.llm.calls == []


def test_two_optimizers_share_nothing(make):
    first, second = make(two_parameters()), make(two_parameters())

    run(first)

    assert second.records == []
    assert [item.data for item in second.parameters] == [1, "a"]
    assert second.best() is None


def test_the_same_seed_and_answers_give_the_same_records(make):
    first, second = (run(make(two_parameters()), 6) for _ in range(2))

    def essence(records):
        return [record.model_dump(exclude={"seconds", "at"}) for record in records]

    assert essence(first) == essence(second)


def test_bypassing_changes_no_parameter_but_says_what_would_be(make):
    parameters = two_parameters()
    optimizer = make(parameters)
    optimizer.backward([parameters[0] + 1, parameters[1].upper()], [(1.0, "")] * 2)

    record = optimizer.step(bypassing=True)

    assert [item.data for item in parameters] == [1, "a"]
    assert record.outcome == "updated"
    assert record.update
    assert record.after == record.before


def test_records_survive_json_and_the_disk(make, tmp_path):
    optimizer = make(two_parameters(), run=tmp_path / "run")

    records = run(optimizer)

    assert Run(tmp_path / "run").steps() == records
    assert StepRecord.model_validate_json(records[0].model_dump_json()) == records[0]


def test_best_is_the_highest_score_with_the_values_that_led_to_it(make):
    optimizer = make(two_parameters())

    records = run(optimizer, 6)

    best = optimizer.best()
    assert best.score == max(record.score for record in records)
    assert best.values == records[best.step - 1].before


def test_restore_puts_values_back_all_or_none(make):
    optimizer = make(two_parameters())
    run(optimizer, 4)

    optimizer.restore(optimizer.best())
    assert optimizer.values() == optimizer.best().values

    broken = type(optimizer.best())({"size": 7, "mode": "z"}, score=0.0, step=1)
    with pytest.raises(DomainError, match="'z' is none of the options"):
        optimizer.restore(broken)
    assert optimizer.values() == optimizer.best().values


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ([], "no trainable parameter"),
        ([3], "3 is no parameter"),
        ([node(3)], "is no parameter"),
        (node(3, trainable=True), "single ParameterNode"),
        (None, "single NoneType"),
    ],
)
def test_what_cannot_be_optimized_is_refused_at_once(make, parameters, message):
    with pytest.raises(OptimizerError, match=message):
        make(parameters)


def test_a_parameter_given_twice_counts_once(make):
    size, mode = two_parameters()

    assert list(make([size, mode, size]).variables) == ["size", "mode"]


def test_it_is_an_optimizer(make):
    assert isinstance(make(two_parameters()), Optimizer)


def test_feedback_on_values_that_are_gone_is_not_booked_to_those_in_force(make):
    optimizer = make(two_parameters())
    size, mode = optimizer.parameters

    optimizer.backward([size + 1, mode.upper()], [(3.0, "")] * 2)
    assert optimizer.step().outcome == "updated"
    again = optimizer.step()

    assert again.outcome == "unchanged"
    assert "no longer in force" in again.reason
    assert again.score is None
    optimizer.backward([size + 1, mode.upper()], [(7.0, "")] * 2)
    assert optimizer.step().score == 7.0
    assert optimizer.best().values == optimizer.records[-1].before


def test_frozen_parameters_stay_as_they_are(make):
    optimizer = make(two_parameters())
    size, mode = optimizer.parameters
    size.trainable = False

    for _ in range(3):
        optimizer.zero_feedback()
        optimizer.backward([size + 1, mode.upper()], [(1.0, "")] * 2)
        optimizer.step()

    assert size.data == 1
    assert list(optimizer.active) == ["mode"]


def test_whatever_goes_wrong_is_recorded_before_it_is_passed_on(make, tmp_path, monkeypatch):
    optimizer = make(two_parameters(), run=tmp_path)
    size, mode = optimizer.parameters

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(optimizer, "_propose", interrupt)
    optimizer.backward([size + 1, mode.upper()], [(1.0, "")] * 2)
    with pytest.raises(KeyboardInterrupt):
        optimizer.step()

    assert [record.outcome for record in Run(tmp_path).steps()] == ["failed"]
    assert optimizer.records[0].reason == "KeyboardInterrupt: "
    assert [item.data for item in optimizer.parameters] == [1, "a"]


def test_steps_go_on_counting_in_a_run_that_exists(make, tmp_path):
    run(make(two_parameters(), run=tmp_path), 2)
    run(make(two_parameters(), run=tmp_path), 1)

    assert [record.step for record in Run(tmp_path).steps()] == [1, 2, 3]


def test_a_record_that_cannot_be_written_changes_nothing(make, tmp_path):
    optimizer = make(two_parameters(), run=tmp_path / "run")
    (tmp_path / "run" / "steps.jsonl").mkdir()
    size, mode = optimizer.parameters
    optimizer.backward([size + 1, mode.upper()], [(1.0, "")] * 2)

    with pytest.raises(RunError):
        optimizer.step()
    assert [item.data for item in optimizer.parameters] == [1, "a"]
    assert optimizer.records[-1].outcome == "failed"
    assert optimizer.records[-1].after == optimizer.records[-1].before


def test_a_run_that_cannot_be_is_refused_before_anything_is_paid(make, tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(RunError, match="cannot be written"):
        make(two_parameters(), run=tmp_path / "file")


def test_feedback_that_reaches_nothing_fails_and_raises_in_the_end(make):
    optimizer = make(two_parameters())

    for _ in range(2):
        optimizer.zero_feedback()
        optimizer.backward(node(f"{optimizer.parameters[0]}"), (1.0, "no"))
        record = optimizer.step()
        assert record.outcome == "failed"
        assert "No feedback reaches size, mode" in record.reason
    optimizer.backward(node("again"), (1.0, "no"))
    with pytest.raises(StepsFailedError, match="f-string"):
        optimizer.step()


def test_what_a_user_changes_later_does_not_change_the_best(make):
    optimizer = make(two_parameters())
    run(optimizer, 1)
    stranger = type(optimizer.best())({"nobody": 1}, 0.0, 1)

    with pytest.raises(OptimizerError, match="There is no variable nobody"):
        optimizer.restore(stranger)
    optimizer.restore(None)


def test_settings_are_checked(make):
    with pytest.raises(OptimizerError, match="max_failures is 0"):
        make(two_parameters(), max_failures=0)
    optimizer = make(two_parameters())
    with pytest.raises(OptimizerError, match="takes no visualize"):
        optimizer.backward([optimizer.parameters[0] + 1], [(1.0, "")], visualize=True)


def test_a_propagator_that_sends_no_graphs_is_refused(make):
    optimizer = make(two_parameters(), propagator=SumPropagator())
    optimizer.backward(optimizer.parameters[0] + 1, 1.0)

    with pytest.raises(OptimizerError, match="reads trace graphs, and the propagator sent a float"):
        optimizer.step()
