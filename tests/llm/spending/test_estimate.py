"""What a long run takes, by a sample of it."""

import pytest

from opto.errors import OptoError
from opto.llm import CallRecord, Ledger, Usage
from opto.llm.pacing import Clock


class Steps(Clock):
    def __init__(self):
        self.time = 0.0

    def now(self):
        return self.time


def sample(*records, seconds=None):
    ledger = Ledger()
    ledger._clock = clock = Steps()
    if seconds is None:
        for record in records:
            ledger.enter(record)
        return ledger
    with ledger:
        for record in records:
            ledger.enter(record)
        clock.time += seconds
    return ledger


def call(**changes):
    return CallRecord("openai:m", **{"usage": Usage(1000, 100, 200, 50), "cost": 0.01, "seconds": 2.0, **changes})


def test_a_long_run_takes_so_many_times_the_sample():
    estimate = sample(call(), call(wasted=Usage(500, 0), cost=0.02), seconds=10.0).estimate(times=500, at_once=8)
    assert estimate.calls == 1000
    assert estimate.usage == Usage(1_250_000, 100_000, 200_000, 50_000), "failures are to be expected again"
    assert estimate.cost == estimate.known_cost == pytest.approx(15.0)
    assert estimate.seconds == pytest.approx(10.0 * 500 / 8)
    assert str(estimate) == (
        "measured   2 calls, 2,500 tokens in, 200 out, $0.03, 10.0 s\n"
        "estimated  1,000 calls, 1,250,000 tokens in, 100,000 out, $15.00, 10.4 min  (500 times, 8 at once)"
    )


def test_nothing_takes_less_time_than_once():
    assert sample(call(), seconds=10.0).estimate(times=4, at_once=64).seconds == 10.0


def test_time_inside_a_block_counts_once_while_it_is_open():
    ledger = Ledger()
    ledger._clock = clock = Steps()
    with ledger:
        clock.time += 3
        with ledger:
            clock.time += 4
            assert ledger.seconds == 7
        clock.time += 1
    clock.time += 100
    assert ledger.seconds == 8
    with ledger:
        clock.time += 2
    assert ledger.seconds == 10


def test_without_a_block_time_is_that_of_the_calls_and_it_says_so():
    estimate = sample(call(), call()).estimate(times=10)
    assert estimate.seconds == 40
    assert "Time is that of the calls" in str(estimate)


def test_an_unknown_cost_stays_unknown():
    estimate = sample(call(), call(usage=None, cost=None), seconds=1.0).estimate(times=10)
    assert estimate.cost is None
    assert estimate.known_cost == pytest.approx(0.1)
    text = str(estimate)
    assert "at least $0.10" in text
    assert "The cost of 1 call is not known" in text
    assert "1 call did not say what they used" in text
    assert "cost unknown" in str(sample(call(cost=None), seconds=1.0).estimate(times=10))


def test_replayed_calls_are_estimated_as_if_they_were_made():
    replayed = {"replayed": True, "cost": 0.0, "seconds": 0.0}
    estimate = sample(call(saved=0.03, **replayed), call(), seconds=1.0).estimate(times=100)
    assert estimate.cost == pytest.approx(4.0)
    assert estimate.usage.input_tokens == 200_000
    assert estimate.seconds is None
    assert "1 call replayed" in str(estimate)
    assert "time unknown" in str(estimate)
    unknown = sample(call(saved=None, **replayed), seconds=1.0).estimate(times=100)
    assert unknown.cost is None
    assert "The cost of what was replayed is not known" in str(unknown)


def test_failures_are_pointed_out():
    assert "1 call failed" in str(sample(call(error="ServerError"), seconds=1.0).estimate())


def test_nothing_cannot_be_estimated_from():
    with pytest.raises(OptoError, match="no call was counted"):
        Ledger().estimate(times=3)


@pytest.mark.parametrize(
    "given", [{"times": 0}, {"times": "all"}, {"times": float("nan")}, {"at_once": 0}, {"at_once": 1.5}]
)
def test_numbers_are_checked(given):
    with pytest.raises(OptoError, match="Give numbers"):
        sample(call()).estimate(**given)
