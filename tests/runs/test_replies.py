"""The replies of a run: on disk before they are used, and an answer to whoever asks the same again."""

import json
import threading
from itertools import count

import pytest

from opto.llm import LLM, Cassette, DummyLLM, ScriptedLLM, use_llm
from opto.nodes import node
from opto.optimizers import OptoPrime, OptoPrimeMulti, TextGrad
from opto.runs import Run
from opto.testing import LLMServer
from opto.trace import bundle


def answer(number):
    return f"<variable><name>x</name><value>{number}</value></variable>"


def program(folder, llm, kind=OptoPrime, steps=3, **settings):
    """An optimization as people write it; returns the values that it came by."""
    x = node(1, name="x", trainable=True)
    optimizer = kind([x], llm, run=folder, **settings)
    values = []
    for _ in range(steps):
        optimizer.zero_feedback()
        optimizer.backward(x * 3, "Larger.")
        optimizer.step()
        values.append(x.data)
    return values


def stored(folder):
    lines = Run(folder).replies.path.read_text().splitlines()
    return [json.loads(line)["reply"]["text"] for line in lines]


def test_replies_are_there_before_they_are_used(tmp_path):
    seen = []

    class Watching(OptoPrime):
        def _read(self, reply, variables):
            seen.append((reply.text, stored(tmp_path)))
            return super()._read(reply, variables)

    program(tmp_path, ScriptedLLM([answer(2), answer(3)]), Watching, steps=2)

    assert seen == [(answer(2), [answer(2)]), (answer(3), [answer(2), answer(3)])]


MULTI = {"kind": OptoPrimeMulti, "num_responses": 4, "max_workers": 4, "selection": "last"}


@pytest.mark.parametrize("settings", [{}, MULTI, {"kind": TextGrad}], ids=["OptoPrime", "OptoPrimeMulti", "TextGrad"])
@pytest.mark.parametrize("in_same_folder", [True, False])
def test_a_program_that_runs_again_pays_for_nothing(tmp_path, settings, in_same_folder):
    numbers = count(2)
    paid = program(tmp_path / "run", lambda messages: answer(next(numbers)), **settings)
    before = stored(tmp_path / "run")

    with Cassette(tmp_path / "run" / "replies.jsonl"):
        again = program(tmp_path / ("run" if in_same_folder else "other"), refuse, **settings)

    assert again == paid
    assert stored(tmp_path / "run") == before, "what came from there is not written there again"
    if not in_same_folder:
        assert sorted(stored(tmp_path / "other")) == sorted(before)


class Crossing:
    """A model whose replies come in the reverse of the order in which they are asked for, in rounds of three."""

    def __init__(self):
        self.asked = 0
        self._lock = threading.Condition()
        self._left = 3

    def __call__(self, messages):
        with self._lock:
            self.asked += 1
            number, turn = self.asked, (self.asked - 1) % 3 + 1
            assert self._lock.wait_for(lambda: self._left == turn, 60)
            self._left = 3 if turn == 1 else turn - 1
            self._lock.notify_all()
            return f"<reasoning>{number}</reasoning>{answer(1)}"


@pytest.mark.parametrize("mode", ["auto", "record"])
def test_candidates_get_their_own_replies_again(tmp_path, mode):
    model, said = Crossing(), []
    for llm in (model, None):
        x = node(1, name="x", trainable=True)
        settings = {"num_responses": 3, "max_workers": 3, "selection": "last", "temperature_range": (1, 1)}
        with Cassette(tmp_path / "replies.jsonl", mode if llm else "replay"):
            optimizer = OptoPrimeMulti([x], llm or DummyLLM(model), memory_size=0, **settings)
            for _ in range(2):  # which changes nothing, so that the same is asked twice
                optimizer.zero_feedback()
                optimizer.backward(x * 3, "Larger.")
                optimizer.step()
        assert len({json.dumps(record.messages) for record in optimizer.records}) == 1
        said.append([[item.reply for item in record.candidates] for record in optimizer.records])

    assert said[0] == said[1]
    assert model.asked == 6


def test_a_program_that_stopped_pays_for_the_rest_only(tmp_path):
    program(tmp_path, ScriptedLLM([answer(2), answer(3)]), steps=2)

    rest = ScriptedLLM([answer(4)])
    with Cassette(tmp_path / "replies.jsonl"):
        assert program(tmp_path, rest, steps=3) == [2, 3, 4]
    assert len(rest.calls) == 1


# Of the same name as the function that was asked first, so that it is the same model.
def refuse(messages):
    raise AssertionError("It was asked.")


refuse.__name__ = "<lambda>"


def test_what_the_program_asks_in_a_step_is_kept_too(tmp_path):
    judge = ScriptedLLM(["0.5"] * 9)

    def validate():
        return float(judge("How good is it?").text)

    program(tmp_path, ScriptedLLM([answer(2)]), steps=1, kind=OptoPrimeMulti, num_responses=1, validate=validate)

    assert stored(tmp_path).count("0.5") == len(judge.calls) > 0


def test_without_a_run_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with use_llm(ScriptedLLM([answer(2)])):
        program(None, None, steps=1)

    assert list(tmp_path.iterdir()) == []


def test_a_run_that_asks_nobody_has_no_replies(tmp_path):
    program(tmp_path, ScriptedLLM([]), steps=0)

    assert not Run(tmp_path).replies.path.exists()


def test_a_cassette_around_the_whole_program_holds_what_it_asks_between_steps_too(tmp_path):
    numbers = count()

    def said(messages):  # never the same twice, so that every prompt depends on the replies before
        return answer(next(numbers)) if len(messages) > 1 else f"reply {next(numbers)}"

    def whole(url, steps):
        with LLM("task", base_url=url) as task, LLM("optimizer", base_url=url) as llm:
            ask = bundle(description="[ask] Ask a model.")(lambda x: task(f"Say {x}.").text)
            x = node(1, name="x", trainable=True)
            optimizer = OptoPrime([x], llm, run=tmp_path)
            for _ in range(steps):
                optimizer.zero_feedback()
                optimizer.backward(ask(x), "Larger.")
                optimizer.step()
            return x.data

    with LLMServer(said) as server:
        values = []
        for steps, paid in ((2, 4), (2, 4), (3, 6)):
            with Cassette(tmp_path / "replies.jsonl"):
                values.append(whole(server.openai_url, steps))
            assert len(server.requests) == paid
            assert len(stored(tmp_path)) == paid, "each is there once, although the run keeps replies as well"
    assert values == [3, 3, 5]
