"""Search for better code from scores: what it repairs, in which order, and what it leaves alone."""

import ast

import pytest

from opto.errors import DomainError, OptimizerError
from opto.nodes import Choices, Domain, Range, node
from opto.optimizers import CodeSearch
from opto.trace import bundle

CASES = [([3, 1, 2], 3), ([5], 5), ([-2, -7], -2), ([], None), ([1, 9, 4, 9], 9)]


def largest_of(*, start="items[0]", sign=">", empty="not items"):
    """Return a trainable function that is right with these settings."""
    source = f'''\
def largest(items):
    """Return the largest of the items; None if there is none."""
    if {empty}:
        return None  # nothing to compare
    best = {start}
    for item in items:
        if item {sign} best:
            best = item
    return best
'''
    exec(source, space := {})
    return bundle(trainable=True, source=source)(space["largest"])


def score_of(source, cases=CASES):
    exec(source, space := {})
    passed = 0
    for items, wanted in cases:
        try:
            passed += space["largest"](items) == wanted
        except (TypeError, ValueError, IndexError, NameError, AttributeError):
            continue
    return passed / len(cases)


@bundle
def judged(code):
    return score_of(code)


@bundle
def always_the_same(code):
    return 0


def searched(function, steps, *, cases=CASES, **settings):
    (code,) = function.parameters()
    optimizer = CodeSearch([code], **settings)
    for _ in range(steps):
        output = judged(code)
        optimizer.zero_feedback()
        optimizer.backward(output, score_of(code.data, cases))
        optimizer.step()
        if optimizer.best().score == 1:
            break
    optimizer.restore(optimizer.best())
    return optimizer


@pytest.mark.parametrize("wrong", [{"sign": "<"}, {"start": "items[1]"}, {"empty": "items"}, {"start": "0"}])
def test_one_bug_is_repaired_by_one_change(wrong):
    optimizer = searched(largest_of(**wrong), 120, seed=1)

    found = next(iter(optimizer.values().values()))
    assert score_of(found) == 1
    assert '"""Return the largest of the items; None if there is none."""' in found
    assert "# nothing to compare" in found


def test_two_bugs_are_repaired_one_after_the_other():
    optimizer = searched(largest_of(sign="<", empty="items"), 400, seed=0)

    assert score_of(next(iter(optimizer.values().values()))) == 1


def test_no_text_is_tried_twice_and_all_of_them_keep_the_signature():
    optimizer = searched(largest_of(sign="<"), 150, cases=[([1], "never")], seed=2)

    tried = [text for record in optimizer.records for text in record.update.values()]
    assert len(tried) == len(optimizer.records) == 150
    assert len({ast.dump(ast.parse(text)) for text in tried}) == 150
    assert all(text.startswith("def largest(items):\n") for text in tried)
    assert not any(record.rejected for record in optimizer.records)


def test_a_seed_decides_and_another_one_goes_another_way():
    ways = [[r.update for r in searched(largest_of(sign="<"), 12, cases=[([1], 0)], seed=s).records] for s in (4, 4, 5)]

    assert ways[0] == ways[1] != ways[2]


def test_lines_that_an_error_came_through_are_changed_first():
    @bundle(trainable=True)
    def total(numbers):
        result = 1
        count = 2
        offset = 3
        result = result + numbers[count + offset]
        return result - offset

    optimizer = CodeSearch(total.parameters(), seed=0)
    for _ in range(8):
        with pytest.raises(IndexError) as caught:
            total([1])
        optimizer.zero_feedback()
        optimizer.backward(caught.value, 0.0)
        optimizer.step(bypassing=True)

    reasons = [record.reasoning for record in optimizer.records]
    assert sum("in line 5 of total" in reason for reason in reasons) >= 6


def test_only_code_that_feedback_reaches_is_changed():
    used, unused = largest_of(sign="<"), largest_of(sign="<")
    used_code, unused_code = *used.parameters(), *unused.parameters()
    optimizer = CodeSearch([used_code, unused_code], seed=0)
    before = unused_code.data

    with pytest.warns(UserWarning, match="No feedback"):
        for _ in range(10):
            optimizer.zero_feedback()
            optimizer.backward(judged(used_code), score_of(used_code.data))
            optimizer.step()

    assert unused_code.data == before
    assert {name for record in optimizer.records for name in record.update} == {next(iter(optimizer.variables))}


def test_numbers_and_options_are_searched_beside_code():
    (code,) = largest_of(sign="<").parameters()
    size = node(4, name="size", trainable=True, domain=Range(0, 8))
    mode = node("a", name="mode", trainable=True, domain=Choices("a", "b"))
    optimizer = CodeSearch([code, size, mode], seed=0)

    def score():
        return score_of(code.data) - abs(size.data - 7) / 7 + (mode.data == "b")

    @bundle
    def all_of(code, size, mode):
        return score()

    for _ in range(200):
        optimizer.zero_feedback()
        optimizer.backward(all_of(code, size, mode), score())
        optimizer.step()

    optimizer.restore(optimizer.best())
    assert (score_of(code.data), size.data, mode.data) == (1, 7, "b")


def test_what_a_domain_refuses_is_never_proposed():
    class Short(Domain):
        def check(self, value):
            if "<=" in value or "!=" in value:
                raise DomainError("No such signs.", mend="Use others.")

    code = node("def f(a, b):\n    return a < b\n", name="code", trainable=True, domain=Short())
    optimizer = CodeSearch([code], seed=0)
    for _ in range(60):
        optimizer.zero_feedback()
        optimizer.backward(code + "", 0.0)
        optimizer.step()

    texts = [text for record in optimizer.records for text in record.update.values()]
    assert len(texts) > 20
    assert not any("<=" in text or "!=" in text for text in texts)
    assert not any(record.rejected for record in optimizer.records)


def test_when_all_has_been_tried_a_step_says_so():
    class Fixed(Domain):
        def check(self, value):
            if "<" not in value or len(value) > 30:
                raise DomainError("Too far away.", mend="Stay near.")

    code = node("def f(a, b):\n    return a < b\n", name="code", trainable=True, domain=Fixed())
    optimizer = CodeSearch([code], seed=0)
    for _ in range(100):
        optimizer.zero_feedback()
        optimizer.backward(always_the_same(code), 0.0)
        step = optimizer.step()
        if step.outcome != "updated":
            break

    assert 2 < len(optimizer.records) < 100
    assert step.outcome == "unchanged"
    assert "tried" in step.reasoning


def test_when_all_has_been_tried_it_goes_back_to_the_best():
    code = node("def f(a, b):\n    return a < b\n", name="code", trainable=True, domain=NearTo())
    optimizer = CodeSearch([code], seed=0)
    outcomes = []
    for _ in range(100):
        optimizer.zero_feedback()
        optimizer.backward(always_the_same(code), float("<=" in code.data))
        outcomes.append(optimizer.step().outcome)

    assert code.data == optimizer.best().values["code"]
    assert "<=" in code.data
    assert outcomes[-10:] == ["unchanged"] * 10
    assert any("back to the best" in record.reasoning for record in optimizer.records)


class NearTo(Domain):
    def check(self, value):
        if len(value) > 31 or "return a " not in value:
            raise LookupError(value)


def test_proposals_may_be_judged_later_and_in_any_order():
    code = node("def f(a, b):\n    return a < b\n", name="code", trainable=True)
    optimizer = CodeSearch([code], seed=0)
    found = []
    for _ in range(5):
        optimizer.zero_feedback()
        optimizer.backward(always_the_same(code), 0.0)
        found.append(optimizer.propose())
    assert len({step[code] for step in found}) == 5
    assert code.data == "def f(a, b):\n    return a < b\n"

    for step in reversed(found):
        optimizer.update(step)
        optimizer.zero_feedback()
        optimizer.backward(always_the_same(code), float("<=" in code.data))
        following = optimizer.propose()
        assert following[code] not in {item[code] for item in found}
    assert optimizer.best().score == float(any("<=" in item[code] for item in found))


def steps_of(optimizer, code, size, number):
    @bundle
    def run(code, size):
        return score_of(code)

    found = []
    for _ in range(number):
        optimizer.zero_feedback()
        optimizer.backward(run(code, size), score_of(code.data, CASES[:4]) - size.data / 100)
        optimizer.step()
        found.append((code.data, size.data))
    return found


def searched_with_size():
    (code,) = largest_of(sign="<", empty="items", start="0").parameters()
    size = node(4, name="size", trainable=True, domain=Range(0, 8))
    return CodeSearch([code, size], seed=3), code, size


def test_a_search_that_is_loaded_goes_on_as_it_would_have(tmp_path):
    whole = steps_of(*searched_with_size(), 60)
    optimizer, code, size = searched_with_size()
    assert steps_of(optimizer, code, size, 25) == whole[:25]
    code._set(by_hand := largest_of(sign=">=", start="0").parameters()[0].data)
    more = steps_of(optimizer, code, size, 10)
    optimizer.save(tmp_path / "state.json")
    wanted = steps_of(optimizer, code, size, 20)

    again, code, size = searched_with_size()
    again.load(tmp_path / "state.json")

    assert (code.data, size.data) == more[-1]
    assert by_hand in (tmp_path / "state.json").read_text().replace("\\n", "\n").replace('\\"', '"')
    assert steps_of(again, code, size, 20) == wanted
    assert again.state_dict()["state"] == optimizer.state_dict()["state"]


def test_a_state_that_cannot_be_read_changes_nothing():
    optimizer, code, size = searched_with_size()
    steps_of(optimizer, code, size, 5)
    state, before = optimizer.state_dict(), optimizer.state_dict()
    state["state"] = {"seed": 3, "history": [{"open": [], "values": None}]}

    with pytest.raises(OptimizerError, match="cannot be read"):
        optimizer.load_state_dict(state)
    assert optimizer.state_dict() == before
    assert len({text for text, _ in steps_of(optimizer, code, size, 20)}) > 10


def test_feedback_without_a_score_is_refused():
    (code,) = largest_of().parameters()
    optimizer = CodeSearch([code])

    with pytest.raises(OptimizerError, match="has no score"):
        optimizer.backward(judged(code), "not quite")


def test_code_put_in_by_hand_is_searched_from_as_well():
    function = largest_of(sign="<", empty="items", start="0")
    optimizer = searched(function, 3, seed=0)
    (code,) = function.parameters()
    code._set(largest_of(sign=">=", empty="items").parameters()[0].data)
    for _ in range(80):
        optimizer.zero_feedback()
        optimizer.backward(judged(code), score_of(code.data))
        optimizer.step()

    assert optimizer.best().score == 1


def test_code_that_does_not_parse_is_left_behind():
    code = node("def f(a, b):\n    return a < b\n", name="code", trainable=True)
    optimizer = CodeSearch([code], seed=0)
    for text in (code.data, "def f(", code.data):
        code._set(text)
        optimizer.zero_feedback()
        optimizer.backward(code + "", 0.0)
        optimizer.step()

    assert optimizer.records[-1].outcome == "updated"


@pytest.mark.parametrize("value", ["some prompt", "x = 1", 3, [1]])
def test_what_is_no_code_and_has_no_space_is_refused(value):
    with pytest.raises(OptimizerError, match="CodeSearch cannot search p"):
        CodeSearch([node(value, name="p", trainable=True)])
