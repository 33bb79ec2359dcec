"""The benchmark of `CodeSearch`: bugs that are bugs, put in by code of its own, and tests that keep their limits."""

import argparse
import ast
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SOURCE = '''\
def total(items, limit):
    """Sum up what is within the limit."""
    result = 0
    for i in range(len(items)):
        if items[i] < limit and not items[i] == 0:
            result += items[i]
    return result
'''
TESTS = """
def check(candidate):
    assert candidate([1, 2, 9], 5) == 3
    assert True, "of no use"
    assert candidate([], 5) == 0
    for _ in range(2):
        assert candidate([4, 4, 0], 5) == 8
"""


@pytest.fixture(autouse=True)
def folder(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    for name in ("repair", "injector", "judged", "environments", "tasks"):
        sys.modules.pop(name, None)


@pytest.fixture
def judge():
    import repair

    made = repair.Judge()
    yield made
    made.close()


def problem(source=SOURCE):
    import repair
    from judged import counting

    return repair.Problem("it", "total", "", source, counting(TESTS))


def test_the_injector_shares_no_code_with_the_search():
    imported = set()
    for part in ast.walk(ast.parse((FOLDER / "injector.py").read_text(encoding="utf-8"))):
        if isinstance(part, ast.Import):
            imported |= {alias.name for alias in part.names}
        elif isinstance(part, ast.ImportFrom):
            imported.add(part.module)

    assert imported == {"ast", "collections.abc", "copy", "random"}


def pieces_of(path):
    """Return the functions and tables of a module, whatever they are called."""
    parts = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    functions = [part.body for part in parts if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)]
    tables = [[part.value] for part in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(part, ast.Assign)]
    return {"".join(map(ast.dump, body)) for body in functions + tables}


def test_no_function_or_table_of_the_injector_is_one_of_the_search():
    import opto.optimizers.code_search

    searched = sorted(Path(opto.optimizers.code_search.__file__).parent.rglob("*.py"))
    of_search = set().union(*map(pieces_of, searched))

    assert len(of_search) > 100
    assert not pieces_of(FOLDER / "injector.py") & of_search


def test_every_injection_is_another_program_and_a_seed_decides_their_order():
    from injector import injected, injections

    ways = [list(injections(SOURCE, seed)) for seed in (0, 0, 1)]
    texts = [injected(SOURCE, number) for _, number in ways[0]]

    assert ways[0] == ways[1] != ways[2]
    assert len(texts) > 30
    assert len({kind for kind, _ in ways[0]}) > 8
    clean = ast.unparse(ast.parse(SOURCE))
    assert not any(text is not None and text.strip() == clean for text in texts)


def test_halves_of_the_tests_are_judged_apart(judge):
    wrong = SOURCE.replace("result = 0", "result = -len(items)")

    assert [judge(problem(), SOURCE, half, 1)["passed"] for half in (0, 1)] == [[True, True], [True, True]]
    assert judge(problem(), wrong, 1, 1)["passed"] == [True, False]
    assert judge(problem(), wrong, 0, 1)["shown"] == ["failed with [0]", "failed with [5]"]


def test_errors_tell_their_lines(judge):
    said = judge(problem(), SOURCE.replace("items[i] < limit", "items[i + 1] < limit"), 0, 1)

    assert said["errors"] == ["in total, line 5: if items[i + 1] < limit and not items[i] == 0:  <--- (IndexError)"]


def test_a_candidate_without_end_and_one_that_takes_all_memory_fail_and_the_next_is_judged(judge):
    endless = SOURCE.replace("    for i", "    while items: pass\n    for i")
    deaf = SOURCE.replace("    result = 0", "    result = sum(range(10**11))")
    greedy = SOURCE.replace("result = 0", "result = [0] * 10**10")

    assert judge(problem(), endless, 0, 0.1)["shown"] == ["ran out of time"] * 2
    assert judge(problem(), deaf, 0, 0.1)["shown"] == ["no answer"]
    assert judge(problem(), greedy, 0, 1)["shown"] == ["raised MemoryError"] * 2
    assert judge(problem(), SOURCE, 0, 1)["passed"] == [True, True]


def test_a_candidate_that_sees_no_signal_is_killed_when_its_time_is_over_and_counts_as_used(judge):
    import judged

    deaf = SOURCE.replace("    result = 0", "    result = sum(range(10**11))")
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime

    assert judge(problem(), deaf, 0, 0.1)["shown"] == ["no answer"]
    # A limit in whole seconds would let it go on until the second one ends.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 0.9
    assert judge.used == pytest.approx(0.1 + judged.GRACE)
    assert judge(problem(), SOURCE, 0, 1)["passed"] == [True, True]
    assert 0.1 + judged.GRACE < judge.used < 1


def test_a_search_ends_when_its_tests_have_used_their_time(monkeypatch):
    import repair

    monkeypatch.setattr(repair, "TESTS", -1.0)
    trial = repair.Trial(problem(), judge := repair.Judge())
    result = repair.Result("it", buggy=SOURCE.replace("<", ">"))
    repair.search(trial, result, 10, 0)
    judge.close()

    assert (result.evaluations, result.stopped) == (0, "the tests took too long")


def settings_of(tmp_path, **settings):
    return argparse.Namespace(**{"seed": 1, "evaluations": 60, "jobs": 2, "keep": tmp_path / "kept.jsonl"} | settings)


def test_what_is_kept_is_not_run_again(tmp_path, capsys, monkeypatch):
    import repair

    first = repair.all_of(1, [problem()], settings_of(tmp_path))
    assert "1/1 it: " in capsys.readouterr().err

    with (tmp_path / "kept.jsonl").open("a") as file:
        file.write('{"conditions": {"bugs"\n')

    def never(**_):
        raise AssertionError

    monkeypatch.setattr(repair, "repair", never)
    again = repair.all_of(1, [problem()], settings_of(tmp_path))
    other = repair.all_of(1, [problem()], settings_of(tmp_path, seed=2))

    assert again == first
    assert first[0].repaired
    assert other[0].stopped == "the process ended without an answer"
    assert len((tmp_path / "kept.jsonl").read_text().splitlines()) == 3


def _work(what, file):
    if what == "hang":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        file.write_text(str(child.pid))
        time.sleep(1000)
    if what == "die":
        os._exit(3)
    return what


def test_a_call_that_hangs_is_killed_with_what_it_started_and_the_others_are_done(tmp_path):
    from tasks import Tasks

    calls = {what: {"what": what, "file": tmp_path / "pid"} for what in ("hang", "die", "answer", "more")}
    found = dict(Tasks(_work, 2, 3).run(calls))

    assert found == {
        "hang": "took more than 3 s",
        "die": "ended without an answer",
        "answer": "answer",
        "more": "more",
    }
    assert not _is_running(int((tmp_path / "pid").read_text()))


def _is_running(pid):
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def test_a_process_that_ends_is_replaced(judge):
    quits = SOURCE.replace("    result = 0", "    import os; os._exit(3)")

    assert judge(problem(), quits, 0, 1)["passed"] == []
    assert judge(problem(), SOURCE, 0, 1)["passed"] == [True, True]


@pytest.mark.parametrize("bugs", [1, 2])
def test_a_small_problem_is_repaired_and_its_outcome_told(bugs):
    import repair

    result = repair.repair(problem(), bugs=bugs, evaluations=300, seed=1)

    assert len(result.kinds) == bugs
    assert result.left_out == ""
    assert result.start < 1
    assert 0 < result.evaluations <= 300
    assert result.buggy != result.found
    assert result.best >= result.start
    if bugs == 1:
        assert result.repaired
