"""The benchmark of `CodeSearch`: bugs that are bugs, put in by code of its own, and tests that keep their limits."""

import ast
import sys
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
    for name in ("repair", "injector", "judged", "environments"):
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
