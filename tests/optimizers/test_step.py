"""What a step gives back is a dict from parameters to new values, as in Trace, and tells all that the record does."""

import copy
import json
import pickle

import pytest

from opto.errors import DomainError, OptimizerError, RunError
from opto.llm import ScriptedLLM
from opto.nodes import Range, node
from opto.optimizers import LocalSearch, Optimizer, OptoPrime, Step
from opto.optimizers.suggestion import FORMATS, Suggestion
from opto.runs import Run, StepRecord
from opto.trace import bundle


@pytest.fixture
def parameters():
    return [node(1, name="size", trainable=True, domain=Range(0, 9)), node("a", name="mode", trainable=True)]


def optimizer_of(parameters, *suggestions, **settings):
    llm = ScriptedLLM([FORMATS["tags"].write(Suggestion(values, "because")) for values in suggestions])
    return OptoPrime(parameters, llm, **settings)


def judged(optimizer):
    size, mode = optimizer.parameters
    optimizer.zero_feedback()
    optimizer.backward(mode * size, "Make it longer.")
    return optimizer


def test_a_step_maps_parameters_to_their_new_values(parameters):
    size, mode = parameters
    step = judged(optimizer_of(parameters, {"size": "3", "mode": "b"})).step()

    assert isinstance(step, dict), "programs for Trace ask"
    assert step[size] == 3
    assert [(parameter.stem, value) for parameter, value in step.items()] == [("size", 3), ("mode", "b")]
    assert list(step.values()) == [size.data, mode.data] == [3, "b"]
    assert dict(step) == {size: 3, mode: "b"} == step
    assert size in step
    assert len(step) == 2
    assert step.update == {"size": 3, "mode": "b"}
    assert str(step) == "step 1: updated size, mode"


def test_only_what_changed_is_in_it_and_nothing_is_false(parameters):
    size, mode = parameters
    optimizer = optimizer_of(parameters, {"size": "1", "mode": "b"}, {"size": "1"})

    changed, unchanged = judged(optimizer).step(), judged(optimizer).step()

    assert changed
    assert list(changed) == [mode]
    assert size not in changed
    assert changed.get(size, "as it was") == "as it was"
    assert not unchanged
    assert unchanged == {}
    assert unchanged.outcome == "unchanged"


def test_a_program_may_complete_it_and_put_it_into_force(parameters):
    """As search algorithms for Trace do with what is missing."""
    size, mode = parameters
    optimizer = judged(optimizer_of(parameters, {"mode": "b"}))
    proposed = optimizer.step(bypassing=True)
    for parameter in optimizer.parameters:
        if parameter not in proposed:
            proposed[parameter] = copy.deepcopy(parameter.data)
    candidate = copy.deepcopy(proposed) | {size: "7"}

    optimizer.update(proposed)
    assert (size.data, mode.data) == (1, "b")
    optimizer.update(candidate)
    assert (size.data, mode.data) == (7, "b")
    assert proposed.update == {"mode": "b"}, "what the step did is not what a program makes of it"
    proposed[size] = 12
    with pytest.raises(DomainError):
        optimizer.update(proposed)


def test_a_twin_of_a_parameter_is_another_key(parameters):
    step = judged(optimizer_of(parameters, {"size": "3"})).step()

    assert node(3, name="size", trainable=True) not in step
    assert parameters[0].detach() not in step


def test_values_are_those_of_the_parameter_not_their_json():
    point = node((1, 2), name="point", trainable=True)
    optimizer = optimizer_of([point], {"point": "(3, 4)"})
    optimizer.backward(point[0], "larger")

    step = optimizer.step()

    assert step[point] == (3, 4)
    assert step.update == {"point": [3, 4]}
    assert step[point] is point.data


def test_a_step_in_two_parts(parameters):
    size, mode = parameters
    optimizer = judged(optimizer_of(parameters, {"size": "3", "mode": "b"}))

    proposed = optimizer.propose()

    assert (size.data, mode.data) == (1, "a")
    assert proposed == {size: 3, mode: "b"}
    assert proposed.after == proposed.before
    mode.trainable = False
    optimizer.update(proposed)
    assert (size.data, mode.data) == (3, "a"), "frozen parameters keep their value"


def test_an_update_by_hand_is_checked_before_any_of_it_is_done(parameters):
    size, mode = parameters
    optimizer = optimizer_of(parameters)

    with pytest.raises(DomainError):
        optimizer.update({mode: "b", size: 12})
    assert (size.data, mode.data) == (1, "a")
    optimizer.update({size: "7"})
    assert size.data == 7, "read as the parameter reads a suggestion"


def test_a_proposed_value_is_not_projected_twice():
    x = node(1, name="x", trainable=True, projections=[lambda value: value + 1])
    optimizer = optimizer_of([x], {"x": "5"})
    optimizer.backward(x * 2, "larger")

    optimizer.update(optimizer.propose())

    assert x.data == 6


def test_the_record_has_no_nodes(parameters, tmp_path):
    optimizer = judged(optimizer_of(parameters, {"size": "3"}, run=tmp_path))
    step = optimizer.step()

    (written,) = Run(tmp_path).steps()
    assert type(step.record) is StepRecord
    assert optimizer.records == [step.record] == [written]
    assert json.loads(step.model_dump_json()) == written.model_dump(mode="json")
    assert step.seconds == written.seconds


def test_copies_are_about_the_same_parameters(parameters):
    size, _ = parameters
    step = judged(optimizer_of(parameters, {"size": "3"})).step()

    for twin in (copy.copy(step), step.copy(), copy.deepcopy(step)):
        assert type(twin) is Step
        assert twin == step
        assert twin[size] == 3
        twin[size] = 4
        assert step[size] == 3

    there = pickle.loads(pickle.dumps(step))
    assert there == step
    assert [(item.stem, value) for item, value in there.items()] == [("size", 3)]
    assert size not in there, "in another process, it is another node"


def test_steps_are_compared_as_records_and_with_dicts_as_dicts(parameters):
    size, _ = parameters
    step = judged(optimizer_of(parameters, {"size": "3"})).step()

    assert step == step.record
    assert step.record == step
    assert step != step.record.model_copy(update={"reason": "another"})
    assert step == {size: 3}
    assert step != {size: 4}
    assert step != "step 1"
    assert repr(step) == "<step 1: updated size>"
    with pytest.raises(AttributeError, match="nonsense"):
        step.nonsense


def test_a_step_that_could_not_be_kept_is_recorded_as_failed(parameters, tmp_path):
    optimizer = judged(optimizer_of(parameters, {"size": "3"}, run=tmp_path / "run"))
    (tmp_path / "run").rmdir()
    (tmp_path / "run").write_text("in the way")

    with pytest.raises(RunError):
        optimizer.step()

    assert optimizer.records[-1].outcome == "failed"
    assert optimizer.records[-1].update == {}
    assert parameters[0].data == 1


def test_the_last_thousand_records_are_kept_and_steps_are_counted_on():
    x = node(1, name="x", trainable=True, domain=range(10))
    optimizer = LocalSearch([x], seed=0)
    for _ in range(1_003):
        optimizer.zero_feedback()
        optimizer.backward(x + 0, 1.0)
        optimizer.step()

    assert len(optimizer.records) == 1_000
    assert [record.step for record in optimizer.records] == list(range(4, 1_004))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda x: {"x y": x}, r"'x y' is no name for a variable"),
        (lambda x: {"class": x}, r"'class' is no name for a variable"),
        (lambda x: {"x": 3}, r"3 is no parameter. Make it one"),
        (lambda x: [("x", x)], r"but holds some. Give a flat list"),
        (lambda x: [[x]], r"but holds some. Give a flat list"),
        (lambda x: "x", r"a single str. Give a list"),
        (lambda x: bundle(lambda y: y).parameters, r"a single method. Call it"),
        (lambda x: [3], r"3 is no parameter. Make it one"),
    ],
)
def test_parameters_of_the_wrong_kind_are_refused_with_what_to_do(given, words):
    with pytest.raises(OptimizerError, match=words):
        LocalSearch(given(node(1, name="x", trainable=True)))


@pytest.mark.parametrize("said", ["size", "size0", "size:0", "Size", "SIZE:0"])
def test_a_variable_is_known_by_its_names_in_trace_and_in_other_case(parameters, said):
    assert judged(optimizer_of(parameters, {said: "3"})).step().update == {"size": 3}


def test_a_name_that_fits_two_variables_in_other_case_is_none(parameters):
    capital = node(1, name="Size", trainable=True)
    optimizer = optimizer_of([*parameters, capital], {"SIZE": "3"}, max_repairs=0)
    optimizer.backward(parameters[1] * parameters[0] * capital, "Make it longer.")

    step = optimizer.step()

    assert step.outcome == "rejected"
    assert "There is no variable 'SIZE'" in step.rejected[0].reason


def test_names_may_be_given(parameters):
    size, mode = parameters
    optimizer = optimizer_of({"length": size, "letter": mode}, {"length": "3"})

    step = judged(optimizer).step()

    assert step.update == {"length": 3}
    assert "# Variables\nlength: " in optimizer.llm.calls[0].messages[-1]["content"]


def test_only_what_is_named_changes_for_as_long_as_the_block_runs(parameters):
    optimizer = optimizer_of(parameters, {"mode": "b"}, {"mode": "b", "size": "4"}, max_repairs=0)
    with optimizer.only(["mode"]):
        assert judged(optimizer).step().update == {"mode": "b"}
        assert "\nsize: " not in optimizer.llm.calls[0].messages[-1]["content"]
    assert judged(optimizer).step().update == {"size": 4}
    with pytest.raises(OptimizerError, match="There is no variable colour. The variables are size, mode"):
        optimizer.only(["colour"]).__enter__()


def test_what_is_reached_but_frozen_is_not_asked_about(parameters):
    optimizer = optimizer_of(parameters)
    judged(optimizer)
    for item in parameters:
        item.trainable = False

    step = optimizer.step()

    assert (step.outcome, step.reason) == ("unchanged", "Nothing that feedback reaches may be changed now.")
    assert optimizer.llm.calls == []


@pytest.mark.parametrize("names", ["size", {"size"}, iter(["size"])], ids=["text", "set", "iterator"])
def test_names_for_only_may_come_in_any_form(parameters, names):
    optimizer = optimizer_of([*parameters, node("b", name="siz", trainable=True)])

    with optimizer.only(names):
        assert list(optimizer.active) == ["size"]


@pytest.mark.parametrize("returned", [None, {"x": 2}, Suggestion({"x": 2})])
def test_an_optimizer_that_returns_no_proposal_is_told_so(returned):
    class Odd(Optimizer):
        def _propose(self, evidence):
            return returned

    x = node(1, name="x", trainable=True)
    optimizer = Odd([x])
    optimizer.backward(x * 2, "more")

    with pytest.raises(OptimizerError, match=r"Odd\._propose\(\) returned .*\. Return Proposal\("):
        optimizer.step()
    assert optimizer.records[0].outcome == "failed"


@pytest.mark.parametrize("returned", [None, {"x": 2}, [1], {node(1): 2}])
def test_an_optimizer_of_trace_that_returns_no_values_by_parameter_is_told_so(returned):
    class Odd(Optimizer):
        def _step(self):
            return returned

    x = node(1, name="x", trainable=True)
    optimizer = Odd([x])
    optimizer.backward(x * 2, "more")

    with pytest.raises(OptimizerError, match=r"Odd\._step\(\) returned .*\. Return a dict from parameters"):
        optimizer.step()


def test_an_interrupt_while_a_record_is_written_changes_nothing_and_is_counted(parameters, tmp_path):
    class Interrupted(Run):
        def append(self, record):
            super().append(record)
            raise KeyboardInterrupt

    optimizer = judged(optimizer_of(parameters, {"size": "3"}, run=Interrupted(tmp_path)))

    with pytest.raises(KeyboardInterrupt):
        optimizer.step()

    (record,) = optimizer.records
    assert (record.step, record.outcome, record.after) == (1, "failed", record.before)
    assert parameters[0].data == 1


def test_warnings_point_to_the_line_that_steps(parameters):
    optimizer = optimizer_of(parameters, {"size": "3"})

    with pytest.warns(UserWarning, match="No feedback has come") as nothing:
        optimizer.step()
    optimizer.backward(parameters[0] * 2, "more")
    with pytest.warns(UserWarning, match="mode") as unreached:
        optimizer.step()

    assert {item.filename for item in (*nothing, *unreached)} == {__file__}


def test_infinite_scores_survive_the_disk(tmp_path):
    x = node(1, name="x", trainable=True, domain=Range(0, 9))
    optimizer = LocalSearch([x], seed=1, run=tmp_path)
    optimizer.backward(x * 2, ValueError("no"))

    record = optimizer.step().record

    assert record.score == record.feedback[0].score == float("-inf")
    assert Run(tmp_path).steps() == [record]
    assert StepRecord.model_validate_json(record.model_dump_json()) == record


def test_values_that_are_not_by_parameter_are_refused(parameters):
    with pytest.raises(OptimizerError, match=r"'size' is no parameter\. Give new values by parameter"):
        optimizer_of(parameters).update({"size": 3})


@pytest.mark.parametrize("number", [0, "3", 1.5, None])
def test_how_many_steps_may_fail_is_a_number(parameters, number):
    with pytest.raises(OptimizerError, match="max_failures is"):
        optimizer_of(parameters, max_failures=number)


def test_the_record_tells_what_is_in_force_though_others_changed_it_meanwhile(parameters):
    size, mode = parameters

    def model(messages):
        mode._set("from elsewhere")
        return FORMATS["tags"].write(Suggestion({"size": "3"}, "because"))

    step = judged(OptoPrime(parameters, model)).step()

    assert step.before == {"size": 1, "mode": "a"}
    assert step.after == {"size": 3, "mode": "from elsewhere"} == {"size": size.data, "mode": mode.data}


def test_what_is_frozen_while_the_model_thinks_stays_and_is_called_what_it_is(parameters):
    size, _ = parameters

    def model(messages):
        size.trainable = False
        return FORMATS["tags"].write(Suggestion({"size": "3"}, "because"))

    step = judged(OptoPrime(parameters, model, max_repairs=0)).step()

    assert size.data == 1
    assert step.rejected[0].reason == "size is not to be changed now. Leave it as it is."


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, Step.copy, lambda step: step | {}],
    ids=["copy", "deepcopy", "method", "union"],
)
def test_what_a_program_puts_into_a_step_is_checked_in_its_copies_as_well(parameters, copied):
    size, _ = parameters
    optimizer = judged(optimizer_of(parameters, {"size": "3"}))
    proposed = optimizer.propose()
    proposed[size] = 12

    with pytest.raises(DomainError):
        optimizer.update(copied(proposed))
    assert size.data == 1


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda step: step | {}], ids=["copy", "deepcopy", "union"]
)
def test_a_proposed_value_is_not_projected_twice_in_copies_either(copied):
    x = node((1,), name="x", trainable=True, projections=[lambda value: (*value, 0)])
    optimizer = optimizer_of([x], {"x": "(5,)"})
    optimizer.backward(x[0] * 2, "larger")

    optimizer.update(copied(optimizer.propose()))

    assert x.data == (5, 0)


def test_a_step_keeps_apart_what_was_accepted_in_another_process(parameters):
    proposed = judged(optimizer_of(parameters, {"size": "3", "mode": "b"})).propose()
    proposed[parameters[1]] = "other"

    there = pickle.loads(pickle.dumps(proposed))

    assert [there.has_accepted(item, value) for item, value in there.items()] == [True, False]


def test_a_set_is_the_same_in_whatever_order_it_shows_itself():
    first, second = {0, 8}, {8, 0}
    assert repr(first) != repr(second)
    it = node(first, name="it", trainable=True)
    optimizer = OptoPrime([it], ScriptedLLM(["<variable><name>it</name><value>{8, 0}</value></variable>"]))
    optimizer.backward(it | {1}, "no")

    assert optimizer.step().outcome == "unchanged"


def test_feedback_on_outputs_of_old_values_is_not_booked_to_new_ones(parameters):
    size, mode = parameters
    optimizer = optimizer_of(parameters, {"size": "3"}, {"size": "4"})
    first, late = mode * size, mode * size * 2
    optimizer.backward(first, 1.0)
    assert optimizer.step().outcome == "updated"

    optimizer.zero_feedback()
    optimizer.backward(late, 9.0)
    step = optimizer.step()

    assert (step.outcome, step.score) == ("unchanged", None)
    assert "no longer in force" in step.reason
    assert optimizer.best().score == 1.0


def test_of_old_and_new_outputs_the_new_ones_count(parameters):
    size, mode = parameters
    optimizer = optimizer_of(parameters, {"size": "3"}, {"size": "4"})
    first, late = mode * size, mode * size * 2
    optimizer.backward(first, 1.0)
    optimizer.step()

    optimizer.zero_feedback()
    optimizer.backward([late, mode * size, mode.upper()], [7.0, 2.0, 4.0])
    step = optimizer.step()

    assert step.score == 3.0
    assert [said.score for said in step.feedback] == [2.0, 4.0]
    assert step.before == {"size": 3, "mode": "a"}


def test_values_that_were_only_put_in_to_try_make_no_output_old(parameters):
    size, mode = parameters
    optimizer = optimizer_of(parameters, {"size": "3"})
    output = mode * size
    with optimizer._in_force({"size": 7}):
        assert size.data == 7
    optimizer.backward(output, 1.0)

    assert optimizer.step().outcome == "updated"


def test_a_parameter_is_set_by_hand_and_checked(parameters):
    size, _ = parameters
    size.data = "5"
    assert size.data == 5
    with pytest.raises(DomainError):
        size.data = "many"
    assert size.data == 5
