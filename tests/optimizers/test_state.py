"""`Optimizer.save` and `load`: what goes on after a pause goes on as if there had been none."""

import decimal
import enum
import json
import stat
import sys

import pytest

from opto.errors import DomainError, OptimizerError
from opto.llm import ScriptedLLM
from opto.nodes import Choices, Feedback, Range, node
from opto.optimizers import OPRO, LocalSearch, Mixed, OptoPrime, Sampler
from opto.optimizers.suggestion import Suggestion, TagFormat


def answer(**values):
    return TagFormat().write(Suggestion(values, "because"))


def parameters():
    return [
        node(1, name="size", trainable=True, domain=Range(0, 100)),
        node("a", name="mode", trainable=True, domain=Choices("a", "b", "c")),
    ]


def run(optimizer, steps):
    size, mode = optimizer.parameters
    for _ in range(steps):
        output = size * 2 + mode.count("b")
        optimizer.zero_feedback()
        optimizer.backward(output, Feedback("so so", score=-abs(output.data - 91)))
        optimizer.step()
    return [record.model_dump(exclude={"seconds", "at"}) for record in optimizer.records]


SCRIPT = [answer(size=str(n * 7 % 90), mode="abc"[n % 3]) for n in range(40)]


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "random", "grid"])
def test_a_sampler_goes_on_with_what_it_has_seen(sampler, tmp_path):
    first = Sampler(parameters(), sampler=sampler, seed=1)
    run(first, 30)
    first.save(tmp_path / "state.json")
    second = Sampler(parameters(), sampler=sampler, seed=1)
    second.load(tmp_path / "state.json")

    records = run(second, 30)

    tried = [(record["before"]["size"], record["before"]["mode"]) for record in records]
    assert len(set(tried)) == len(tried) == 60
    trials = [(trial.params, trial.value) for trial in first.study.trials if trial.value is not None]
    assert [(trial.params, trial.value) for trial in second.study.trials][: len(trials)] == trials


@pytest.mark.parametrize(
    "make",
    [
        lambda taken, **more: OptoPrime(parameters(), ScriptedLLM(SCRIPT[taken:]), max_repairs=0, **more),
        lambda taken, **more: OPRO(parameters(), ScriptedLLM(SCRIPT[taken:]), max_repairs=0, **more),
        lambda taken, **more: LocalSearch(parameters(), seed=5, **more),
        lambda taken, **more: Mixed(
            [{"params": item, "optimizer": LocalSearch, "seed": 5} for item in parameters()], order="credit", **more
        ),
        lambda taken, **more: Mixed(
            [{"params": item, "optimizer": LocalSearch, "seed": 5} for item in parameters()],
            order="round_robin",
            **more,
        ),
    ],
    ids=["OptoPrime", "OPRO", "LocalSearch", "credit", "round_robin"],
)
def test_a_pause_makes_no_difference(make, tmp_path):
    whole = make(0)
    expected = run(whole, 20)
    first = make(0)
    run(first, 9)
    first.save(tmp_path / "state.json")
    second = make(9)

    second.load(tmp_path / "state.json")

    assert run(second, 11) == expected
    assert second.values() == whole.values()
    assert second.best() == whole.best()


def test_the_best_of_a_loaded_state_is_gone_back_to(tmp_path):
    optimizer = OptoPrime(parameters(), ScriptedLLM([answer(size="5")]), keep_best=True)
    run(optimizer, 1)
    optimizer.save(tmp_path / "state.json")
    again = OptoPrime(parameters(), ScriptedLLM([answer(size="7")]), keep_best=True)
    again.load(tmp_path / "state.json")
    assert again.values()["size"] == 5

    def judge(score):
        again.zero_feedback()
        again.backward(again.parameters[0] * 2, score)
        return again.step()

    with pytest.warns(UserWarning, match="mode"):
        back = judge(-500.0)

    # What led to the best is not in the file: it has to run again first.
    assert (back.update, back.back_to) == ({"size": 1}, 1)
    assert again.llm.calls == []
    assert judge(-50.0).update == {"size": 7}


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@pytest.mark.parametrize(
    ("value", "domain"),
    [
        ('two\nlines, \u00fc \U0001f600 and "quotes"', None),
        (True, None),
        (2.5e-300, None),
        (decimal.Decimal("1.10"), None),
        ([1, "a", {"b": None}], None),
        (Colour.BLUE, Colour),
        ("def f(x):\n    return x", None),
    ],
)
def test_values_come_back_as_they_were(value, domain, tmp_path):
    settings = {} if domain is None else {"domain": domain}
    optimizer = OptoPrime([node(value, name="it", trainable=True, **settings)], ScriptedLLM([]))
    optimizer.save(tmp_path / "state.json")
    start = {"domain": domain} if domain else {}
    other = next(iter(Colour)) if domain else value
    again = OptoPrime([node(other, name="it", trainable=True, **start)], ScriptedLLM([]))

    again.load(tmp_path / "state.json")

    assert again.values() == {"it": value}
    assert type(again.values()["it"]) is type(value)


def test_what_cannot_be_written_is_refused(tmp_path):
    class Opaque:
        pass

    optimizer = OptoPrime([node(Opaque(), name="it", trainable=True)], ScriptedLLM([]))

    with pytest.raises(OptimizerError, match="The value of it, a Opaque, cannot be saved"):
        optimizer.save(tmp_path / "state.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"format": 1}', "\udcff"])
def test_files_that_are_no_state_are_refused(text, tmp_path):
    file = tmp_path / "state.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    optimizer = LocalSearch(parameters(), seed=1)

    with pytest.raises(OptimizerError):
        optimizer.load(file)
    with pytest.raises(OptimizerError, match=r"cannot be read: No such file"):
        optimizer.load(tmp_path / "nothing")


def test_a_value_that_the_domain_does_not_take_any_more_is_refused(tmp_path):
    optimizer = LocalSearch(parameters(), seed=1)
    run(optimizer, 5)
    optimizer.parameters[0]._set(50)
    optimizer.save(tmp_path / "state.json")
    narrower = [node(1, name="size", trainable=True, domain=Range(0, 9)), parameters()[1]]
    again = LocalSearch(narrower, seed=1)

    with pytest.raises(DomainError):
        again.load(tmp_path / "state.json")
    assert again.values() == {"size": 1, "mode": "a"}
    assert again.records == []


def test_a_run_keeps_its_count_if_it_has_gone_on_since(tmp_path):
    optimizer = LocalSearch(parameters(), seed=1, run=tmp_path / "run")
    run(optimizer, 2)
    optimizer.save(tmp_path / "state.json")
    run(optimizer, 2)
    again = LocalSearch(parameters(), seed=1, run=tmp_path / "run")
    again.load(tmp_path / "state.json")

    run(again, 1)

    assert [record.step for record in again.run.steps()] == [1, 2, 3, 4, 5]


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are other ones there")
def test_a_file_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    optimizer = LocalSearch(parameters(), seed=1)

    with pytest.raises(OptimizerError, match="cannot be written"):
        optimizer.save(tmp_path / "file" / "state.json")
    optimizer.save(tmp_path / "deep" / "state.json")
    assert stat.S_ISREG((tmp_path / "deep" / "state.json").stat().st_mode)
    assert json.loads((tmp_path / "deep" / "state.json").read_text())["optimizer"] == "LocalSearch"


def test_what_was_best_once_is_restored_as_it_was():
    x = node(1, name="x", trainable=True, projections=[lambda value: value + 1])
    optimizer = OptoPrime([x], ScriptedLLM([answer(x="5"), answer(x="8"), answer(x="9")]))
    found = []
    for score in (1.0, 2.0, 3.0):
        optimizer.zero_feedback()
        optimizer.backward(x * 2, score)
        optimizer.step()
        found.append(optimizer.best())
    once = found[1]

    optimizer.restore(once)

    assert once.values == {"x": 6}
    assert x.data == 6, "projected once, when it was suggested"


def test_a_state_of_several_that_one_of_them_cannot_read_changes_none():
    def make():
        return Mixed([{"params": item, "optimizer": LocalSearch, "seed": 5} for item in parameters()])

    optimizer, again = make(), make()
    run(optimizer, 5)
    state = optimizer.state_dict()
    before = again.state_dict()

    for broken in ([state["state"]["optimizers"][0], {}], state["state"]["optimizers"][:1]):
        with pytest.raises(OptimizerError, match="cannot be read"):
            again.load_state_dict({**state, "state": {**state["state"], "optimizers": broken}})
        assert again.state_dict() == before


@pytest.mark.parametrize("make", [LocalSearch, Sampler, lambda items, **more: Sampler(items, sampler="grid", **more)])
def test_what_nobody_told_of_is_asked_for_again(make, tmp_path):
    def letter():
        return [node("a", name="letter", trainable=True, domain=list("abcd"))]

    first = make(letter(), seed=0)
    assert len(first.ask(2)) == 2
    first.save(tmp_path / "state.json")  # and whoever evaluates them is gone
    again = make(letter(), seed=0)
    again.load(tmp_path / "state.json")

    seen = []
    while asked := again.ask(3):
        for values in asked:
            seen.append(values["letter"])
            again.tell(values, float(values["letter"] == "a"))

    assert sorted(seen) == list("abcd")
    assert again.best().values == {"letter": "a"}


def test_the_state_of_other_groups_is_refused_with_what_is_different(tmp_path):
    size, mode = parameters()
    first = Mixed([{"params": [size, mode], "optimizer": LocalSearch}])
    state = first.state_dict()
    second = Mixed([{"params": parameters(), "optimizer": Sampler}])

    with pytest.raises(OptimizerError, match="groups of LocalSearch, and here are Sampler. Make the same groups"):
        second.load_state_dict(state)
