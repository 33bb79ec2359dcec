"""What was spent: every call once, wherever it was made, and unknown costs stay unknown."""

import asyncio
import copy
import json
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import OptoError
from opto.llm import CallRecord, Ledger, Usage
from opto.llm.spending import Totals, ledgers_in_force
from opto.llm.spending.table import dollars

PRICED = CallRecord(
    "openai:gpt-5.4-mini", "judge", "score", 3, usage=Usage(1000, 200, 400, 50, 25), cost=0.002, seconds=1.5, retries=1
)
FAILED = CallRecord("openai:gpt-5.4-mini", "task", wasted=Usage(100, 5), cost=0.0001, seconds=9, error="ServerError")
CUT = CallRecord("openai:gpt-5.4-mini", "task", seconds=60, error="LLMTimeoutError", uncertain=True)
REPLAYED = CallRecord("anthropic:claude", "task", "plan", usage=Usage(10, 20), cost=0.0, saved=0.01, replayed=True)
FREE_TEXT = CallRecord("function:f", "optimizer", step=4, usage=None, cost=None)


def ledger_of(*records, **settings):
    ledger = Ledger(**settings)
    for record in records:
        ledger.enter(record)
    return ledger


def test_a_ledger_adds_up_what_was_billed():
    ledger = ledger_of(PRICED, FAILED, REPLAYED)
    assert ledger.calls == len(ledger) == 3
    assert ledger.usage == Usage(1100, 205, 400, 50, 25), "failed attempts too, replies that were replayed not"
    assert ledger.cost == ledger.known_cost == pytest.approx(0.0021)
    totals = ledger.totals
    assert (totals.failed, totals.retries, totals.replayed, totals.seconds) == (1, 1, 1, 10.5)
    assert (totals.wasted, totals.saved, totals.saved_usage) == (Usage(100, 5), 0.01, Usage(10, 20))


@pytest.mark.parametrize("unknown", [FREE_TEXT, CUT, replace(PRICED, uncertain=True)])
def test_an_unknown_cost_is_none_and_never_zero(unknown):
    ledger = ledger_of(PRICED, unknown)
    assert ledger.cost is None
    assert ledger.unpriced == 1
    assert ledger.known_cost == pytest.approx(0.002 + (unknown.cost or 0))


def test_an_empty_ledger_cost_nothing_and_is_still_one():
    ledger = Ledger()
    assert (ledger.calls, ledger.cost, ledger.usage, bool(ledger)) == (0, 0, Usage(), True)
    assert str(ledger)


def test_totals_can_be_split_by_any_labels():
    ledger = ledger_of(PRICED, PRICED, FAILED, REPLAYED, FREE_TEXT)
    assert {key: total.calls for key, total in ledger.by("role").items()} == {"judge": 2, "task": 2, "optimizer": 1}
    assert {key: total.calls for key, total in ledger.by("step").items()} == {3: 2, None: 2, 4: 1}
    by = ledger.by("operator", "model")
    assert by["score", "openai:gpt-5.4-mini"].usage == Usage(2000, 400, 800, 100, 50)
    assert by["plan", "anthropic:claude"].cost == 0
    assert by[None, "function:f"].cost is None
    assert sum((total for total in ledger.by("role", "operator", "step", "model").values()), Totals()) == ledger.totals


@pytest.mark.parametrize("labels", [(), ("price",), ("role", "user")])
def test_unknown_labels_are_named(labels):
    with pytest.raises(OptoError, match="Choose from model, role, operator, step"):
        Ledger().by(*labels)


def test_blocks_count_what_is_inside_each_once():
    outer, inner = Ledger(), Ledger()
    with outer:
        with inner:
            assert ledgers_in_force() == (outer, inner)
        assert ledgers_in_force() == (outer,)
    assert ledgers_in_force() == ()


def test_blocks_of_tasks_do_not_see_each_other():
    async def inside(ledger, others):
        with ledger:
            await asyncio.sleep(0)
            assert ledgers_in_force() == (*others, ledger)

    async def main():
        shared = Ledger()
        with shared:
            await asyncio.gather(*(inside(Ledger(), [shared]) for _ in range(5)))

    asyncio.run(main())


def test_threads_enter_records_at_once():
    ledger = Ledger()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ledger.enter, [PRICED] * 4000))
    assert ledger.calls == 4000
    assert ledger.usage == Usage(4_000_000, 800_000, 1_600_000, 200_000, 100_000)
    assert ledger.cost == pytest.approx(8.0)


def test_a_ledger_may_keep_only_the_last_records_but_counts_all():
    ledger = Ledger(keep=10)
    for number in range(100):
        ledger.enter(replace(PRICED, step=number))
    assert [record.step for record in ledger.records] == list(range(90, 100))
    assert ledger.calls == 100
    assert len(ledger.by("step")) == 100


def test_many_records_take_little_memory():
    import tracemalloc

    tracemalloc.start()
    ledger = Ledger()
    for number in range(5000):
        ledger.enter(CallRecord("openai:m", "task", usage=Usage(1000 + number, 300), cost=number / 1e6, seconds=number))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / 5000 < 700


def test_a_copy_of_a_program_has_its_calls_counted_in_the_same_place():
    program = {"ledger": Ledger()}
    copy.deepcopy(program)["ledger"].enter(PRICED)
    assert program["ledger"].calls == 1


def test_the_table_can_be_read():
    lines = str(ledger_of(PRICED, PRICED, FAILED, CUT, REPLAYED, FREE_TEXT)).splitlines()
    cells = [" ".join(line.split()) for line in lines]
    assert cells[0] == "model role calls failed retries replayed in cached out reasoning cost seconds"
    assert cells[1] == "openai:gpt-5.4-mini judge 2 0 2 0 2,000 800 400 100 $0.004 3.0"
    assert cells[2] == "openai:gpt-5.4-mini task 2 2 0 0 100 0 5 0 $0.0001? 69.0"
    assert cells[5] == "all 6 2 2 1 2,100 800 405 100 $0.0041? 72.0"
    assert lines[6] == "? not all is known: of 2 of 6 calls, the cost is not."
    assert lines[1].index("judge") == lines[2].index("task") == lines[0].index("role")


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "$0.00"),
        (0.5, "$0.50"),
        (1234.5, "$1,234.50"),
        (0.0123456, "$0.0123"),
        (3e-7, "$0.0000003"),
        (0.999, "$0.999"),
    ],
)
def test_small_amounts_keep_their_digits(amount, text):
    assert dollars(amount) == text


# Kept in files.


usages = st.none() | st.builds(Usage, *[st.integers(0, 10**9)] * 5)
records = st.builds(
    CallRecord,
    model=st.text(),
    role=st.none() | st.text(),
    operator=st.none() | st.text(),
    step=st.none() | st.integers(),
    usage=usages,
    wasted=usages,
    cost=st.none() | st.floats(0, 1e6),
    saved=st.none() | st.floats(0, 1e6),
    seconds=st.floats(0, 1e6),
    retries=st.integers(0, 9),
    replayed=st.booleans(),
    error=st.none() | st.text(),
    uncertain=st.booleans(),
)


@given(record=records)
def test_a_record_survives_a_line_of_json(record):
    assert CallRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_a_ledger_survives_a_file(tmp_path):
    ledger = ledger_of(PRICED, FAILED, CUT, REPLAYED, FREE_TEXT)
    ledger.save(tmp_path / "spent.jsonl")
    assert len((tmp_path / "spent.jsonl").read_text().splitlines()) == 5
    again = Ledger.load(tmp_path / "spent.jsonl")
    assert again.records == ledger.records
    assert again.totals == ledger.totals


def test_calls_are_added_to_a_file_as_they_are_made(tmp_path):
    file = tmp_path / "spent.jsonl"
    ledger_of(PRICED, file=file)
    with file.open("a") as opened:
        opened.write('{"model": "torn')
    ledger_of(FAILED, file=file)
    assert Ledger.load(file).records == (PRICED, FAILED)


def test_lines_of_a_later_version_and_torn_ones_are_read_as_far_as_they_go(tmp_path, caplog):
    file = tmp_path / "spent.jsonl"
    file.write_text(f'{json.dumps({**PRICED.to_dict(), "colour": "blue"})}\n\n{{"model": "m"')
    with caplog.at_level(logging.WARNING):
        assert Ledger.load(file).records == (PRICED,)
    assert "Line 3" in caplog.text


@pytest.mark.parametrize(
    "line", ['{"role": "task"}', "[1]", '{"model": "m", "usage": 3}', '{"model": "m", "at": "now"}']
)
def test_lines_that_are_something_else_are_named(tmp_path, line):
    file = tmp_path / "spent.jsonl"
    file.write_text(f"{line}\n")
    with pytest.raises(OptoError, match="Line 1 of .* is no record"):
        Ledger.load(file)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OptoError, match="cannot be read"):
        Ledger.load(tmp_path / "nothing.jsonl")


def test_a_disk_that_refuses_loses_no_call(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        (tmp_path / "file").touch()
        ledger = ledger_of(PRICED, FAILED, file=tmp_path / "file" / "ledger.jsonl")
    assert ledger.calls == 2
    assert len(caplog.records) == 1, "said once"


def test_lines_of_several_threads_and_ledgers_do_not_mix(tmp_path):
    file = tmp_path / "spent.jsonl"
    one, two = Ledger(file), Ledger(file)
    threads = [
        threading.Thread(target=lambda own=own: [own.enter(PRICED) for _ in range(50)]) for own in (one, two) * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert Ledger.load(file).calls == 400
    assert os.listdir(tmp_path) == ["spent.jsonl"]


def test_rows_are_plain_and_flat():
    row = ledger_of(PRICED).to_dicts()[0]
    assert (row["input_tokens"], row["cached_tokens"], row["wasted_output_tokens"], row["cost"]) == (
        1000,
        400,
        0,
        0.002,
    )
    assert not any(isinstance(value, dict | Usage) for value in row.values())
    assert list(row) == list(ledger_of(FREE_TEXT).to_dicts()[0]), "every row has the same columns"
    assert ledger_of(FREE_TEXT).to_dicts()[0]["input_tokens"] is None


def test_a_folder_that_is_missing_is_made(tmp_path):
    ledger_of(PRICED, file=tmp_path / "no" / "such" / "ledger.jsonl")
    assert Ledger.load(tmp_path / "no" / "such" / "ledger.jsonl").calls == 1


def test_a_call_that_cannot_be_written_is_counted_and_others_are_written(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        ledger = ledger_of(PRICED, replace(PRICED, step=object()), PRICED, file=tmp_path / "ledger.jsonl")
    assert ledger.calls == 3
    assert "not written" in caplog.text
    assert Ledger.load(tmp_path / "ledger.jsonl").calls == 2


def test_what_a_later_version_says_of_usage_is_left_out():
    said = PRICED.to_dict()
    assert CallRecord.from_dict({**said, "usage": {**said["usage"], "later": 1}}) == PRICED
