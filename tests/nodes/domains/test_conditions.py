"""Conditions of users, and several domains at once."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.errors import DomainError
from opto.nodes import All, Check, Choices, Domain, OfType, Range, Text, as_domain, node


def even(number):
    """Whether a number is even.

    More about it.
    """
    return number % 2 == 0


@given(start=st.integers(0, 50).map(lambda n: 2 * n), raw=st.integers(-200, 200))
def test_a_function_says_what_is_allowed_and_the_type_stays(start, raw):
    parameter = node(start, trainable=True, domain=even)
    if raw % 2 == 0:
        found = parameter.accept(str(raw))
        assert (found, type(found)) == (raw, int)
        return
    with pytest.raises(DomainError) as caught:
        parameter.accept(str(raw))
    assert str(caught.value) == f"{raw} must pass even(): Whether a number is even. Choose a value that meets this."


@given(low=st.integers(-20, 20), width=st.integers(0, 20), raw=st.integers(-50, 50))
def test_all_of_several_domains_hold(low, width, raw):
    start = next((n for n in range(low, low + width + 1) if n % 2 == 0 and n % 3), None)
    if start is None:
        return
    whole = Range(low, low + width)
    not_three = Check(lambda n: n % 3, "must be no multiple of 3")
    domains = [
        [whole, even, not_three],
        whole & even & not_three,
        even & whole & not_three,
        All(whole, Check(even)) & not_three,
    ]
    for domain in (as_domain(spec, start) for spec in domains):
        fits = low <= raw <= low + width and raw % 2 == 0 and raw % 3 != 0
        try:
            assert domain.accept(f" {raw} ") == raw
            assert domain.accept(domain.write(raw)) == raw
        except DomainError:
            assert not fits
        else:
            assert fits


def test_words_for_combinations():
    domain = as_domain([Range(0, 9), Check(even, "must be even.")], 2)
    assert domain.describe() == "an integer from 0 to 9; it must be even"
    assert as_domain(even, 2).describe() == "an integer; it must pass even(): Whether a number is even"
    both = as_domain(Text(max_length=9) & Text("[a-z]*"), "abc")
    assert (
        both.describe() == "a text of at most 9 characters and a text matching the regular expression [a-z]* as a whole"
    )


def test_text_is_written_and_read_as_text():
    domain = as_domain([Text(max_length=5), Check(str.islower, "must be in lower case")], "abc")
    assert domain.accept("7a") == "7a"
    with pytest.raises(DomainError, match="'ABC' must be in lower case"):
        domain.accept("ABC")


def test_conditions_alone_keep_the_type():
    domain = as_domain([Check(even), Check(lambda n: n % 3, "must be no multiple of 3")], 2)
    assert domain.accept("4") == 4
    for raw in ("6", "3", "four", True):
        with pytest.raises(DomainError):
            domain.accept(raw)


def test_options_may_be_functions_where_no_domain_stands_beside_them():
    assert as_domain([even, len], even) == Choices(even, len)


def test_whatever_a_function_raises_is_a_reason():
    domain = as_domain(Check(lambda items: items[0] > 0, "must begin with a positive number"), [1])
    for raw, reason in ((("[]"), "IndexError"), ("['a']", "TypeError"), ("[-1]", "positive")):
        with pytest.raises(DomainError, match=reason):
            domain.accept(raw)


def test_what_a_function_returns_need_not_be_a_bool():
    import re

    domain = as_domain(Check(lambda text: re.match("Dear", text), "must begin with Dear"), "Dear Ada")
    assert domain.accept("Dear Bob") == "Dear Bob"
    with pytest.raises(DomainError, match="must begin with Dear"):
        domain.accept("Hi Bob")


def test_a_check_needs_words():
    for wrong in (lambda: as_domain(lambda n: n > 0, 1), lambda: Check(even, " "), lambda: Range(0, 9) & (lambda n: n)):
        with pytest.raises(DomainError, match="without words"):
            wrong()


@pytest.mark.parametrize("other", [3, "must be even", int])
def test_other_things_are_no_conditions(other):
    with pytest.raises(TypeError):
        Range(0, 9) & other


def test_the_start_is_checked_too():
    with pytest.raises(DomainError, match=r"Parameter 'n:\d+': 3 must pass even"):
        node(3, name="n", trainable=True, domain=even)


def test_domains_of_users_are_combined_like_ours():
    class Upper(Domain):
        def read(self, raw):
            return raw.upper()

        def describe(self):
            return "a text in capitals"

    domain = as_domain(Upper() & Text(max_length=3), "ABC")
    assert domain.accept("xyz") == "XYZ"
    assert domain.describe() == "a text in capitals and a text of at most 3 characters"


def test_parameters_with_conditions_are_copied_and_pickled():
    parameter = node(2, trainable=True, domain=Range(0, 9) & Check(even, "must be even"))
    assert copy.deepcopy(parameter).domain == parameter.domain
    assert All(OfType(int), Check(str.islower, "must be")) == pickle.loads(
        pickle.dumps(All(OfType(int), Check(str.islower, "must be")))
    )
