"""What of all that was tried a model is shown again."""

from hypothesis import given
from hypothesis import strategies as st

from opto.llm import estimate_tokens
from opto.nodes import Feedback
from opto.optimizers.prompts.memory import Judged, most_relevant, render_tried

SCORES = st.one_of(st.none(), st.floats(-5, 5))
VALUES = st.fixed_dictionaries({"x": st.integers(0, 3), "y": st.integers(0, 3)})
HISTORIES = st.lists(st.tuples(VALUES, SCORES), max_size=12).map(
    lambda items: [Judged(values, [Feedback("so so", score)], score, n) for n, (values, score) in enumerate(items, 1)]
)


@given(HISTORIES, st.integers(0, 12), VALUES)
def test_it_is_bounded_in_order_of_time_and_has_the_best_and_the_latest(history, size, now):
    kept = most_relevant(history, size, now=now, asked=["x"])

    assert len(kept) == min(size, len(history))
    assert [item.step for item in kept] == sorted(item.step for item in kept)
    best = max((item for item in history if item.rank > float("-inf")), key=lambda item: item.rank, default=None)
    if size and best is not None:
        assert any(item is best for item in kept)
    if size > 1 and history:
        assert any(item is history[-1] for item in kept)


def test_what_differs_only_in_what_is_asked_about_comes_before_what_differs_in_all():
    history = [
        Judged({"prompt": "old", "size": 1}, [Feedback("short")], None, 1),
        Judged({"prompt": "other", "size": 7}, [Feedback("no")], None, 2),
        Judged({"prompt": "third", "size": 8}, [Feedback("no")], None, 3),
        Judged({"prompt": "third", "size": 9}, [Feedback("no")], None, 4),
    ]

    kept = most_relevant(history, 2, now={"prompt": "new", "size": 1}, asked=["prompt"])

    assert [item.step for item in kept] == [1, 4]


def test_of_the_best_what_is_too_long_is_cut():
    history = [
        Judged({"x": "long " * 900, "y": 2}, [Feedback("fine\n" + "because " * 900, 1.0)], 1.0, 1),
        Judged({"x": "short", "y": 1}, [Feedback("so so", 0.5)], 0.5, 2),
    ]

    text = render_tried(history, 300)

    assert text.count("characters left out") == 2
    assert "y = 2\n-> score 1\nfine" in text
    assert text.endswith("x = 'short'\ny = 1\n-> score 0.5\nso so")
    assert estimate_tokens(text) <= 300


def test_what_is_too_long_leaves_its_room_to_others():
    history = [
        Judged({"x": "long " * 900}, [Feedback("bad", 0.1)], 0.1, 1),
        Judged({"x": "short"}, [Feedback("so so", 0.5)], 0.5, 2),
    ]

    text = render_tried(history, 200)

    assert "x = 'short'" in text
    assert "(1 more were tried.)" in text


def test_where_there_is_no_room_the_best_stays_and_the_others_are_counted():
    history = [Judged({"x": n}, [Feedback("word " * 50, -abs(n - 2.0))], -abs(n - 2.0), n) for n in range(1, 9)]

    text = render_tried(history, 200)

    assert "x = 2" in text
    assert "x = 8" in text
    assert "x = 4" not in text
    assert "more were tried" in text
