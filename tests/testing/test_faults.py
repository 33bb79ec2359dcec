import threading
from pathlib import Path

import pytest

import opto.errors
from opto.errors import LLMError, OptoError
from opto.llm import LLM, Reply
from opto.testing import FAULTS, Cut, Failure, Fault, Faults, LLMServer

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def row(fault):
    outcome = f"`{fault.error.__name__}`" if fault.error else f"reply, `{fault.finish_reason}`"
    marks = [("yes" if mark else "") for mark in (fault.transient, fault.keeps_raw, fault.knows_usage)]
    return f"| {fault.name} | {outcome} | " + " | ".join(marks) + " |"


def test_the_page_shows_the_table():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert rows[1:] == [row(fault) for fault in FAULTS.values()]


def test_every_kind_of_error_is_in_the_table():
    kinds = {kind for kind in vars(opto.errors).values() if isinstance(kind, type) and issubclass(kind, LLMError)}
    assert {fault.error for fault in FAULTS.values()} == (kinds - {LLMError}) | {None}


def test_names_are_those_of_the_faults():
    assert all(name == fault.name for name, fault in FAULTS.items())


def drawn(faults, questions, times=1):
    return [
        getattr(faults([{"role": "user", "content": str(number)}]), "name", None)
        for number in questions
        for _ in range(times)
    ]


def test_the_same_seed_draws_the_same_whatever_the_order():
    def faults(seed=5):
        return Faults(lambda messages: "ok", rate=0.5, seed=seed)

    forward = drawn(faults(), range(50), 2)
    backward = drawn(faults(), reversed(range(50)), 2)
    pairs = [forward[place : place + 2] for place in range(0, 100, 2)]
    assert pairs == [backward[place : place + 2] for place in range(98, -1, -2)]
    assert drawn(faults(6), range(50), 2) != forward
    assert len(set(forward)) > 15
    assert any(first != second for first, second in pairs), "a second attempt has luck of its own"


@pytest.mark.parametrize("rate", [0.0, 0.1, 1.0])
def test_the_rate_is_the_part_that_goes_wrong(rate):
    names = drawn(Faults(lambda messages: "ok", rate=rate), range(2000))
    assert 2000 * rate * 0.8 <= sum(name is not None for name in names) <= 2000 * rate * 1.2


def test_none_that_stall_unless_they_are_asked_for():
    names = drawn(Faults(lambda messages: "ok", rate=1), range(2000))
    assert set(names) == {name for name, fault in FAULTS.items() if not fault.stalls}
    assert set(drawn(Faults(lambda messages: "ok", rate=1, kinds=["silence"]), range(9))) == {"silence"}


def test_faults_take_the_place_of_no_reply():
    faults = Faults(["one", "two"], rate=0.6, kinds=["server error"])
    with LLMServer(faults) as server, LLM("m", base_url=server.openai_url, retries=9) as llm:
        llm._clock.sleep = lambda seconds: None
        assert [llm("a").text, llm("b").text] == ["one", "two"]
    kinds = [exchange.fault for exchange in server.log]
    assert kinds.count(None) == 2
    assert "server error" in kinds


def test_a_script_that_is_over_says_so():
    with (
        LLMServer(Faults([], rate=0)) as server,
        LLM("m", base_url=server.openai_url) as llm,
        pytest.raises(LLMError, match="over"),
    ):
        llm("hi")


def test_a_fault_that_is_not_there_is_named():
    with pytest.raises(OptoError, match=r"no fault 'tsunami'.*server error"):
        Faults([], kinds=["tsunami"])


def test_faults_of_ones_own():
    mine = Fault("mine", Failure(418), anthropic=Cut())
    with LLMServer([mine, mine, Fault("other", Reply("hello", "m"))]) as server:
        with LLM("m", base_url=server.openai_url, retries=0) as llm, pytest.raises(LLMError) as info:
            llm("hi")
        assert info.value.status == 418
        with LLM("anthropic:m", base_url=server.anthropic_url, retries=0) as llm:
            with pytest.raises(LLMError) as info:
                llm("hi")
            assert info.value.status is None
            assert llm("hi").text == "hello"
    assert [exchange.fault for exchange in server.log] == ["mine", "mine", "other"]
    assert not [thread for thread in threading.enumerate() if thread.name == "LLMServer"]
