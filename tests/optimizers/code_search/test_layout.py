"""The layout of an expression stays where a new one has the same words."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.optimizers.code_search.mutations.layout import relaid, unbroken


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("a<b", "a <= b", "a<=b"),
        ("a<b", "a in b", "a in b"),
        ("f(x,y)", "f(z, y)", "f(z,y)"),
        ("xs[ i ]", "xs[i + 1]", "xs[ i + 1 ]"),
        ("a - b + 1", "(a - b) * 1", "(a - b) * 1"),
        ("x and \\\n  y", "x or y", "x or \\\n  y"),
        ("(a  # first\n and b)", "(a or b)", "(a  # first\n or b)"),
        ("(a\n + b # sum\n)", "(a\n - b)", "(a\n - b # sum\n)"),
        ("f(\n    a,  # first\n    b,  # last\n)", "f(a, b)", "f(\n    a,  # first\n    b  # last\n)"),
        ("a", "b", "b"),
        ("a + b", "'# no comment'", "'# no comment'"),
        ("a )", "b", "b"),
    ],
)
def test_blanks_line_ends_and_comments_stay_between_the_same_words(old, new, wanted):
    assert relaid(old, new) == wanted


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("f(\n  a,  # one\n  b,  # two\n)", "f(b, a)"),
        ("f(\n  a,  # one\n  b,  # two\n)", "f(b)"),
        ("(a +  # one\n b * # two\n c)", "(b * c + a)"),
        ("[a, # one\n b, # two\n]", "[b, a]"),
    ],
)
def test_comments_stay_if_their_words_move(old, new):
    text = relaid(old, new)

    assert "# one" in text
    assert "# two" in text
    assert ast.dump(ast.parse(text)) == ast.dump(ast.parse(new))


def test_comments_between_words_that_go_stay_where_there_is_room():
    text = relaid("a +  # first\n b", "b + a")

    assert "# first" in text
    assert ast.dump(ast.parse(f"({text})")) == ast.dump(ast.parse("b + a"))
    assert relaid("a +  # first\n b", "b") == "b"


words = st.sampled_from(["a", "b", "1", "'t'", "+", "-", "**", "not", "and", "in", ",", ".", "(", ")", "[", "]", ":"])
gaps = st.sampled_from([" ", "", "  ", "\n ", " # why\n", "\\\n"])


@given(st.lists(st.tuples(words, gaps), max_size=12), st.lists(words, max_size=12))
def test_the_words_are_always_those_of_the_new_text_where_they_do_not_grow_together(old, new):
    text = "".join(word + gap for word, gap in old).strip().removesuffix("\\")
    wanted = " ".join(new)

    found = relaid(text, wanted)

    without = [line.partition("#")[0].removesuffix("\\") for line in found.split("\n")]
    assert "".join("".join(without).split()) == "".join(new)


def test_lines_end_only_inside_brackets():
    assert unbroken("a +  # first\n b") == "a + b"
    assert unbroken("f(a,\n  b) +\n [1,\n 2]") == "f(a,\n  b) + [1,\n 2]"
    assert unbroken("a + b") == "a + b"
    assert unbroken('"""a\nb""" + \\\n c') == '"""a\nb""" + c'
