"""The main job: the same traced program under a search and under a model."""

import pytest

from opto.demo import traffic
from opto.errors import DomainError
from opto.llm import ScriptedLLM
from opto.optimizers import LocalSearch, OptoPrime, Sampler
from opto.optimizers.suggestion import FORMATS, Suggestion
from opto.runs import Run


def answer(**values):
    return FORMATS["tags"].write(Suggestion(values, "The queue from east is the longest."))


@pytest.mark.parametrize(("method", "kind"), [("local", LocalSearch), ("optuna", Sampler)])
def test_a_search_makes_it_better_and_leaves_the_best_in_place(method, kind, tmp_path):
    crossing = traffic.Crossing()
    optimizer = traffic.new_optimizer(crossing, method, run=Run(tmp_path), seed=0)
    assert isinstance(optimizer, kind)

    progress = list(traffic.optimize(crossing, optimizer, steps=30))

    assert (progress[0].ew_green, progress[0].ns_green) == (15, 15)
    assert progress[-1].best == max(item.score for item in progress) > progress[0].score + 20
    assert [item.best for item in progress] == sorted(item.best for item in progress)
    assert crossing.parameters()[0].data == optimizer.best().values["ew_green"]
    assert traffic.judge(crossing().data).score == optimizer.best().score
    assert len(Run(tmp_path).steps()) == 30


def test_a_model_sees_the_program_and_how_long_each_direction_waited(tmp_path):
    crossing = traffic.Crossing()
    llm = ScriptedLLM([answer(ew_green="24"), answer(ns_green="120"), answer()])
    optimizer = OptoPrime(crossing.parameters(), llm, objective=traffic.OBJECTIVE, run=tmp_path, max_repairs=0)

    progress = list(traffic.optimize(crossing, optimizer, steps=3))

    prompt = llm.calls[0].messages[-1]["content"]
    assert "simulate_half_hour0 = simulate_half_hour(ew_green=ew_green, ns_green=ns_green)" in prompt
    assert ": an integer from 15 to 90." in prompt
    assert "Vehicles from N lost " in prompt
    assert [item.record.outcome for item in progress] == ["updated", "rejected", "unchanged"]
    assert progress[1].score > progress[0].score
    assert (crossing.ew_green.data, crossing.ns_green.data) == (24, 15)


def test_the_method_follows_the_environment(monkeypatch):
    for name in ("OPTO_MODEL", "OPENAI_BASE_URL", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    assert traffic.choose_method() == "local"

    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    assert traffic.choose_method() == "llm"


def test_green_times_keep_to_their_domain():
    with pytest.raises(DomainError, match="14 lies outside the range"):
        traffic.Crossing().ew_green.accept(14)
