"""`Mixed`: each parameter with an optimizer that suits it, one step, one record; and credit."""

import itertools
import math

import pytest

from opto import trace
from opto.errors import AuthenticationError, LLMError, OptimizerError, RateLimitError
from opto.llm import Reply, ScriptedLLM, Usage
from opto.nodes import Choices, Feedback, Range, node
from opto.optimizers import OPRO, Candidate, CodeSearch, LocalSearch, Mixed, OptoPrime, Sampler
from opto.optimizers.credit import Credit, Credits
from opto.optimizers.suggestion import Suggestion, TagFormat
from opto.runs import Run


def answer(reasoning="because", **values):
    return TagFormat().write(Suggestion(values, reasoning))


@pytest.fixture
def words():
    return node("Answer.", name="words", trainable=True)


@pytest.fixture
def limit():
    return node(5, name="limit", trainable=True, domain=Range(1, 9))


@pytest.fixture
def mode():
    return node("a", name="mode", trainable=True, domain=Choices("a", "b", "c"))


def judge(optimizer, score=-1.0, text="too long"):
    optimizer.zero_feedback()
    output = node("")
    for item in optimizer.parameters:
        output = output + item * 1 if isinstance(item.data, str) else output * item
    optimizer.backward(output, Feedback(text, score=score))
    return optimizer.step()


def endless(**values):
    return ScriptedLLM(
        {name: value.replace("#", str(n)) for name, value in values.items()}
        and answer(**{name: value.replace("#", str(n)) for name, value in values.items()})
        for n in itertools.count(1)
    )


def test_each_kind_of_parameter_gets_what_suits_it(words, limit, mode):
    flag = node(True, name="flag", trainable=True)
    open_end = node(1.0, name="open_end", trainable=True)
    optimizer = Mixed([words, limit, mode, flag, open_end], llm=ScriptedLLM([]), seed=1)

    kinds = {name: type(part) for part in optimizer.optimizers for name in part.variables}

    assert kinds == {"words": OptoPrime, "open_end": OptoPrime, "limit": Sampler, "mode": Sampler, "flag": Sampler}


def test_without_optuna_the_standard_library_searches(limit, monkeypatch):
    monkeypatch.setattr("opto.optimizers.groups.find_spec", lambda name: None)

    assert [type(part) for part in Mixed([limit]).optimizers] == [LocalSearch]


def test_all_groups_take_one_step_with_one_record(words, limit, mode, tmp_path):
    groups = [{"params": [words]}, {"params": [limit, mode], "optimizer": LocalSearch, "seed": 3}]
    optimizer = Mixed(groups, llm=endless(words="Be brief, #."), run=tmp_path)

    steps = [judge(optimizer, score) for score in (-3.0, -2.0, -1.0)]

    assert [step.step for step in steps] == [1, 2, 3]
    assert all({"words", "limit"} <= {*step.update} or "words" in step.update for step in steps)
    assert any({"words", "limit", "mode"} == {*step.update} for step in steps)
    assert steps[0].optimizer == "Mixed"
    assert steps[0].model == "script"
    assert "random start" in steps[0].reasoning
    assert "because" in steps[0].reasoning
    assert Run(tmp_path).steps() == optimizer.records
    assert optimizer.best().score == -1.0
    assert {*optimizer.best().values} == {"words", "limit", "mode"}


def test_the_memory_of_a_model_tells_of_all_variables(words, limit):
    groups = [{"params": [words]}, {"params": [limit], "optimizer": LocalSearch}]
    optimizer = Mixed(groups, llm=endless(words="Be brief, #."))
    judge(optimizer, -3.0)
    judge(optimizer, -2.0)

    prompt = optimizer.optimizers[0].llm.calls[1].messages[-1]["content"]

    assert "# Tried before, with the feedback it got\nwords = 'Answer.'\nlimit = 5\n-> score -3" in prompt


def test_two_models_stand_in_one_record(words):
    other = node("Ask.", name="other", trainable=True)
    first, second = (ScriptedLLM([Reply(answer(**{name: "new"}), name, Usage(10, 1))]) for name in ("words", "other"))
    optimizer = Mixed(
        [
            {"params": words, "optimizer": OptoPrime, "llm": first},
            {"params": other, "optimizer": OPRO, "llm": second},
        ]
    )

    step = judge(optimizer)

    assert step.update == {"words": "new", "other": "new"}
    assert step.model == "words, other"
    assert step.usage == Usage(20, 2)
    assert [item["role"] for item in step.messages] == ["system", "user", "assistant", "system", "user"]
    assert step.messages[2]["content"] == answer(words="new")
    assert step.reply == answer(other="new")


def test_groups_may_have_parameters_of_the_same_name():
    first, second = (node(5, name="x", trainable=True, domain=Range(0, 9)) for _ in range(2))
    optimizer = Mixed([{"params": [first], "optimizer": LocalSearch}, {"params": [second], "optimizer": LocalSearch}])

    optimizer.backward(first * second, 1.0)
    step = optimizer.step()

    assert [{*part.variables} for part in optimizer.optimizers] == [{"x0"}, {"x1"}]
    assert step[first] == first.data == step.update["x0"]
    assert step[second] == second.data == step.update["x1"]


def test_code_without_a_model_beside_numbers(limit):
    @trace.bundle(trainable=True)
    def clipped(x, limit):
        """Return x, at most limit."""
        return max(x, limit)

    optimizer = Mixed(
        [
            {"params": clipped.parameters(), "optimizer": CodeSearch},
            {"params": [limit], "optimizer": Sampler},
        ],
        seed=4,
    )

    for _ in range(120):
        outputs, scores = [], []
        for x in (1, 5, 20):
            try:
                outputs.append(clipped(x, limit))
                found = outputs[-1].data
                scores.append(-float(abs(found - min(x, 7))) if isinstance(found, int) else -50.0)
            except trace.ExecutionError as error:
                outputs.append(error.exception_node)
                scores.append(-100.0)
        optimizer.zero_feedback()
        optimizer.backward(outputs, scores)
        optimizer.step()

    assert optimizer.best().score > -0.5
    assert "min(x, limit" in optimizer.best().values["clipped"]


@pytest.mark.parametrize("error", [RateLimitError("slow", mend="wait"), AuthenticationError("no", mend="Set one.")])
def test_if_one_group_fails_none_changes(words, limit, error):
    groups = [{"params": [limit], "optimizer": LocalSearch}, {"params": [words]}]
    optimizer = Mixed(groups, llm=ScriptedLLM([error, answer(words="new")]))

    if error.transient:
        assert judge(optimizer).outcome == "failed"
    else:
        with pytest.raises(AuthenticationError):
            judge(optimizer)

    assert optimizer.values() == {"limit": 5, "words": "Answer."}
    assert judge(optimizer).update["words"] == "new"


def test_what_was_paid_for_is_recorded_though_a_group_raises(words, mode, monkeypatch):
    groups = [{"params": [words]}, {"params": [mode], "optimizer": LocalSearch}]
    optimizer = Mixed(groups, llm=ScriptedLLM([Reply(answer(words="new"), "m", Usage(10, 1))]))
    monkeypatch.setattr(optimizer.optimizers[1], "_next", lambda *_: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        judge(optimizer)

    assert optimizer.records[0].usage == Usage(10, 1)
    assert optimizer.records[0].reply == answer(words="new")


def test_a_search_among_them_needs_scores(words, limit):
    optimizer = Mixed([{"params": [words]}, {"params": [limit], "optimizer": LocalSearch}], llm=endless(words="#"))

    optimizer.backward(words * limit, "too long")
    with pytest.raises(OptimizerError, match="LocalSearch, which searches limit .as group 1 says., reads nothing else"):
        optimizer.step()


def test_words_that_none_of_them_can_use_are_refused_when_they_are_given(words, limit, mode):
    groups = [{"params": [mode], "optimizer": LocalSearch}, {"params": [words]}, {"params": [limit]}]
    optimizer = Mixed(groups, llm=endless(words="#"))

    with pytest.raises(OptimizerError, match="'too long' has no score, and Sampler, which searches limit .chosen by"):
        optimizer.backward(limit + 1, "too long")
    with pytest.raises(OptimizerError, match="'too long' has no score"):
        Mixed([limit, mode]).backward(limit + 1, "too long")

    assert not limit.feedback
    optimizer.backward([limit + 1], [0.5])
    optimizer.backward(words * limit, "too long")
    assert limit.feedback


def test_one_after_the_other(words, limit, mode):
    optimizer = Mixed([words, limit, mode], llm=endless(words="#"), order="round_robin", seed=2)

    changed = [set(judge(optimizer, -float(n)).update) for n in range(6)]

    assert all(changed[n] <= {name} for n, name in enumerate(["words", "limit", "mode"] * 2))
    mode.trainable = False
    assert [set(judge(optimizer, -float(n)).update) <= {name} for n, name in enumerate(["words", "limit"] * 2)]
    assert "mode" not in {name for record in optimizer.records[-4:] for name in record.update}


def test_only_what_feedback_reaches_has_a_turn(words, limit):
    optimizer = Mixed([words, limit], llm=endless(words="#"), order="round_robin")

    with pytest.warns(UserWarning, match="limit"):
        for _ in range(3):
            optimizer.zero_feedback()
            optimizer.backward(words + "", -1.0)
            assert list(optimizer.step().update) == ["words"]


def test_what_matters_is_changed_more_often():
    important, idle, little = (
        node(50, name=name, trainable=True, domain=Range(0, 100)) for name in ("important", "idle", "little")
    )
    optimizer = Mixed([important, idle, little], order="credit", seed=1)

    for _ in range(60):
        output = important + idle + little
        score = -abs(important.data - 83) - abs(little.data - 20) / 50
        optimizer.zero_feedback()
        optimizer.backward(output, score)
        optimizer.step()

    credit = optimizer.credit()
    changes = {name: item.changes for name, item in credit.items()}
    assert changes["important"] > 2 * changes["idle"] > 0
    assert credit["idle"].effect == 0
    assert credit["important"].effect > credit["little"].effect > 0
    assert all(len(record.update) <= 1 for record in optimizer.records)
    assert optimizer.best().score > -6


def test_what_more_feedback_reaches_comes_first():
    always, once = (node(5, name=name, trainable=True, domain=Range(0, 9)) for name in ("always", "once"))
    optimizer = Mixed([once, always], order="credit", seed=1)

    optimizer.backward([always + 1, always + once, always * 2], [1.0, 0.5, 0.0])

    assert list(optimizer.step().update) == ["always"]
    assert optimizer.credit()["always"].reach == 1.0
    assert optimizer.credit()["once"].reach == pytest.approx(1.5 / 4.5)


def test_the_worth_of_each_change_is_measured_and_memo_makes_it_cheap(capsys):
    x, y = (node(5, name=name, trainable=True, domain=Range(0, 9)) for name in "xy")

    @trace.bundle(memo=True)
    def left(value):
        print("left")
        return 10 * value

    @trace.bundle(memo=True)
    def right(value):
        print("right")
        return value

    def run():
        return (left(x) - right(y)).data

    optimizer = Mixed([{"params": [item], "optimizer": LocalSearch} for item in (x, y)], seed=3)
    optimizer.backward(left(x) - right(y), float(run()))
    optimizer.step()
    now = optimizer.values()
    capsys.readouterr()

    worth = optimizer.measure(run)

    assert worth == {"x": 10 * (now["x"] - 5), "y": -(now["y"] - 5)}
    assert optimizer.values() == now
    # The new values once each; what was put back had run before.
    assert sorted(capsys.readouterr().out.split()) == ["left", "right"]
    assert optimizer.credit()["x"].effect == abs(worth["x"])


def test_values_are_put_back_though_the_program_fails():
    x = node(5, name="x", trainable=True, domain=Range(0, 9))
    optimizer = Mixed([{"params": [x], "optimizer": LocalSearch}], seed=3)
    with pytest.raises(OptimizerError, match="Nothing that the last step changed"):
        optimizer.measure(lambda: 1.0)
    optimizer.backward(x + 1, 1.0)
    optimizer.step()
    now = x.data
    scores = iter([1.0])

    with pytest.raises(StopIteration):
        optimizer.measure(lambda: next(scores))
    assert x.data == now
    with pytest.raises(OptimizerError, match=r"given to measure\(\) gave no score, but 'fine'"):
        optimizer.measure(lambda: "fine")
    with pytest.raises(OptimizerError, match=r"given to measure\(\) returned None\. Return a number"):
        optimizer.measure(lambda: None)


def test_it_goes_back_to_the_best(words, limit):
    groups = [{"params": [words]}, {"params": [limit], "optimizer": LocalSearch}]
    optimizer = Mixed(groups, llm=ScriptedLLM([answer(words="worse"), answer(words="third")]), keep_best=True)
    judge(optimizer, -1.0)

    step = judge(optimizer, -5.0)

    assert step.back_to == 1
    assert words.data == "third"
    assert "<value>Answer.</value>" in optimizer.optimizers[0].llm.calls[1].messages[-1]["content"]


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        (lambda x, y: [{"params": [x]}, y], OptimizerError, "Some of the parameters are in groups"),
        (lambda x, y: [{"param": [x]}], OptimizerError, "Group 0 has no 'params'"),
        (lambda x, y: [{"params": [x]}, {"params": [y, x]}], OptimizerError, "in two groups"),
        (lambda x, y: [{"params": [x], "run": "runs"}], OptimizerError, "Group 0 sets run"),
        (lambda x, y: [{"params": [x], "optimizer": "adam"}], OptimizerError, "is 'adam'"),
        (lambda x, y: [{"params": [x], "optimizer": lambda params: 3}], OptimizerError, "is a int"),
        (lambda x, y: [{"params": [x], "colour": 3}], TypeError, "colour"),
        (lambda x, y: [{"params": [x], "optimizer": LocalSearch, "colour": 3}], TypeError, "colour"),
        (
            lambda x, y: [{"params": [y]}, {"params": [x], "optimizer": LocalSearch, "sed": 3}],
            TypeError,
            r"Group 1 \(limit\) sets 'sed', unknown to LocalSearch\. Did you mean seed\?",
        ),
        (lambda x, y: {"params": [x]}, OptimizerError, "a single group. Put it into a list"),
        (lambda x, y: {"params": x, "optimizer": LocalSearch}, OptimizerError, "a single group. Put it into a list"),
        (lambda x, y: [{"params": [3]}], OptimizerError, "3 is no parameter"),
        (lambda x, y: [], OptimizerError, "no trainable parameter"),
        (lambda x, y: x, OptimizerError, "single ParameterNode"),
    ],
)
def test_groups_that_cannot_be_used_are_refused(groups, error, message, limit, mode):
    with pytest.raises(error, match=message):
        Mixed(groups(limit, mode))


def test_settings_that_cannot_be_used_are_refused(limit):
    with pytest.raises(TypeError, match="'colour'"):
        Mixed([limit], colour=3)
    with pytest.raises(OptimizerError, match="no order 'random'. Choose one of joint"):
        Mixed([limit], order="random")
    with pytest.raises(TypeError, match=r"'llm', 'kepp_best', unknown to Sampler\. Did you mean keep_best\?"):
        Mixed([limit], llm=endless(), kepp_best=True)


def test_what_a_group_refuses_itself_is_told_with_its_group(words):
    with pytest.raises(TypeError, match="colour") as caught:
        Mixed([{"params": [words], "optimizer": OptoPrime, "llm": endless(words="#"), "colour": 3}])

    assert caught.value.__notes__ == ["It is the OptoPrime for words, as group 0 says."]


def test_without_a_model_the_error_names_what_to_set(words, monkeypatch):
    for name in ("OPTO_MODEL", "OPENAI_BASE_URL", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(LLMError, match="OPENAI_API_KEY"):
        Mixed([words])


def test_what_a_program_puts_into_force_itself_is_measured_and_counts():
    x, y = (node(5, name=name, trainable=True, domain=Range(0, 9)) for name in "xy")
    optimizer = Mixed([{"params": [item], "optimizer": LocalSearch} for item in (x, y)], seed=3)

    def judge_both():
        optimizer.zero_feedback()
        optimizer.backward(x - y, float(10 * x.data))

    judge_both()
    optimizer.step()
    judge_both()
    proposed = optimizer.propose()
    before = optimizer.values()
    optimizer.update(proposed)

    worth = optimizer.measure(lambda: 10.0 * x.data)

    assert worth == {name: 10 * (value - before[name]) * (name == "x") for name, value in proposed.update.items()}
    optimizer.restore(Candidate(before, 0.0, 1))
    with pytest.raises(OptimizerError, match="Nothing that the last step changed is in force"):
        optimizer.measure(lambda: 1.0)


def test_credit_is_for_what_differs_between_two_scores_whoever_changed_it():
    x, y = (node(5, name=name, trainable=True, domain=Range(0, 9)) for name in "xy")
    optimizer = Mixed([{"params": [item], "optimizer": LocalSearch} for item in (x, y)], seed=3)

    def judged_step(score):
        optimizer.zero_feedback()
        optimizer.backward(x - y, score)
        with optimizer.only(["y"]):
            return optimizer.step()

    assert list(judged_step(1.0).update) == ["y"]
    optimizer.update({y: 5, x: 7})

    judged_step(4.0)

    assert optimizer.credit()["x"].effect == 3.0
    assert optimizer.credit()["y"].changes == 0


def test_a_failure_is_the_worst_in_a_mixture_as_in_a_search_alone():
    @trace.bundle()
    def inverse(value):
        return 1 / value

    x = node(5, name="x", trainable=True, domain=Range(0, 9))
    optimizer = Mixed([{"params": [x], "optimizer": LocalSearch}], seed=3)
    optimizer.backward(inverse(x), ValueError("no"))
    assert optimizer.step().score == -math.inf

    x._set(0)
    optimizer.zero_feedback()
    with pytest.raises(trace.ExecutionError) as error:
        inverse(x)
    optimizer.backward([error.value, x * 2], ["crashed", 0.9])

    assert optimizer.step().score == -math.inf


def test_words_are_enough_where_what_is_searched_is_not_reached(words, limit):
    optimizer = Mixed([{"params": [words]}, {"params": [limit], "optimizer": LocalSearch}], llm=endless(words="#"))
    optimizer.backward(words + "", "too long")

    with pytest.warns(UserWarning, match="limit"):
        assert list(optimizer.step().update) == ["words"]


def test_what_is_known_of_effects_does_not_grow():
    known = Credits(["x", "y"])
    size = len(repr(known.seen))
    for _ in range(1_000):
        known.observe(["x", "y"], 2.0)

    assert len(repr(known.seen)) < size + 20
    assert known["x"] == Credit(0.0, 1.0, 1_000)
