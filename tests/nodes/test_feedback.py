"""Feedback is read from what people say: words, figures, both, or an error."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import BackwardError
from opto.nodes import Feedback, node

FIGURES = st.floats(allow_nan=False) | st.integers(-(10**6), 10**6)


@given(text=st.text(), score=FIGURES)
def test_words_and_figures_in_either_order(text, score):
    assert Feedback.of(text) == Feedback(text, None)
    assert Feedback.of(score) == Feedback("", score)
    assert (
        Feedback.of((score, text)) == Feedback.of((text, score)) == Feedback.of([score, text]) == Feedback(text, score)
    )


@given(text=st.text(), score=st.none() | FIGURES)
def test_feedback_is_its_own_reading(text, score):
    said = Feedback(text, score)
    assert Feedback.of(said) is said


def test_truth_is_a_passed_test():
    assert Feedback.of(True) == Feedback("correct", 1.0)
    assert Feedback.of(False) == Feedback("incorrect", 0.0)


@pytest.mark.parametrize("number", [np.float64(0.5), np.float32(0.5), Fraction(1, 2)])
def test_numbers_of_other_libraries(number):
    assert Feedback.of(number) == Feedback("", 0.5)
    assert type(Feedback.of(number).score) is float


def test_truth_of_numpy_is_a_passed_test():
    assert Feedback.of(np.bool_(True)) == Feedback("correct", 1.0)


def test_a_node_is_read_as_its_value():
    """Guides may be bundled functions, too."""
    assert Feedback.of(node("too long")) == Feedback("too long")


def test_errors_are_words():
    assert Feedback.of(ValueError("no digits")).text == "ValueError: no digits"
    assert Feedback.of(ValueError()).text == "ValueError"
    assert Feedback.of(KeyboardInterrupt()).text == "KeyboardInterrupt"


@pytest.mark.parametrize(
    "said", [None, object(), (1, 2), ("a", "b"), (1, "a", 2), {"score": 1}, [], 1j, b"x"], ids=repr
)
def test_what_is_no_feedback_is_refused_with_its_value(said):
    with pytest.raises(BackwardError, match=type(said).__name__):
        Feedback.of(said)


def test_an_unknown_score_is_left_out_not_nan():
    with pytest.raises(BackwardError, match="NaN"):
        Feedback(score=math.nan)
    with pytest.raises(BackwardError, match="NaN"):
        Feedback.of(math.nan)


def test_further_figures():
    said = Feedback("slow", 0.5, scores={"speed": 1, "cost": np.float64(2)})
    assert said.scores == {"speed": 1.0, "cost": 2.0}
    assert {type(value) for value in said.scores.values()} == {float}
    assert Feedback("slow").scores == {}


def test_as_text():
    assert str(Feedback("slow", 0.5)) == "slow"
    assert str(Feedback(score=0.5)) == "score: 0.5"
    assert str(Feedback()) == ""


def test_feedback_does_not_change():
    with pytest.raises(AttributeError, match="is a value"):
        Feedback("slow").text = "fast"
