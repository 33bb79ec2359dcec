"""A domain takes what it describes, reads text without loss or guesswork, and refuses the rest with a reason."""

import ast
import datetime as dt
import math
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum, auto
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from opto.errors import DomainError
from opto.nodes import Choices, Domain, OfType, Range, as_domain, node, read_as

ATOMS = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.none() | st.text()
KEYS = st.booleans() | st.integers() | st.text()
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple) | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=12,
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


class Level(Enum):
    LOW = 1
    HIGH = "high"
    NONE = None


class Right(Flag):
    READ = auto()
    WRITE = auto()


OF_KIND = {
    bool: st.booleans(),
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: st.text(),
    bytes: st.binary(max_size=8),
    frozenset: st.frozensets(KEYS, max_size=4),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False),
    Fraction: st.fractions(),
    dt.date: st.dates(),
    dt.datetime: st.datetimes(timezones=st.sampled_from([None, dt.UTC])).map(lambda time: time.replace(fold=0)),
    np.float64: FLOATS.map(np.float64),
    np.float32: st.floats(allow_nan=False, allow_infinity=False, width=32).map(np.float32),
    np.int8: st.integers(-128, 127).map(np.int8),
    np.uint64: st.integers(0, 2**64 - 1).map(np.uint64),
    np.bool_: st.booleans().map(np.bool_),
    np.str_: st.text("ab7 ").map(np.str_),
    Level: st.sampled_from(Level),
    Right: st.sampled_from([Right.READ, Right.WRITE, Right.READ | Right.WRITE]),
    list: st.lists(VALUES, max_size=4),
    tuple: st.lists(VALUES, max_size=4).map(tuple),
    dict: st.dictionaries(KEYS, VALUES, max_size=4),
    set: st.sets(KEYS, max_size=4),
}
ANYTHING = st.one_of(VALUES, st.floats(), st.text(alphabet="0123456789.-+einfa TrueFals[]{},:'\" _"))


def refuses(domain, raw):
    """Return True if *domain* refuses *raw* as it should: with DomainError, and with two sentences."""
    try:
        domain.accept(raw)
    except DomainError as caught:
        sentences = [caught.problem, caught.mend]
    else:
        return False
    assert all(sentence.endswith(".") for sentence in sentences)
    return True


@pytest.mark.parametrize("kind", OF_KIND, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_what_a_type_writes_it_reads_again(kind, data):
    value = data.draw(OF_KIND[kind])
    domain = OfType(kind)
    found = read_as(kind, domain.write(value))
    assert found == value
    assert type(found) is kind
    assert repr(found) == repr(value) or "set" in kind.__name__ or kind is np.str_


@pytest.mark.parametrize("kind", OF_KIND, ids=lambda kind: kind.__name__)
@given(raw=ANYTHING)
def test_a_type_gives_its_values_or_refuses(kind, raw):
    try:
        found = read_as(kind, raw)
    except DomainError:
        return
    assert type(found) is kind
    assert not isinstance(raw, bool) or kind in {bool, np.bool_}
    if isinstance(found, float | np.floating):
        assert math.isfinite(found)
    if isinstance(raw, int | float) and isinstance(found, int | float):
        assert found == raw


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        (int, "7", 7),
        (int, " -7\n", -7),
        (int, "7.0", 7),
        (int, 7.0, 7),
        (int, "1e3", 1000),
        (float, "0.5", 0.5),
        (float, 3, 3.0),
        (float, "1e-3", 0.001),
        (bool, "True", True),
        (bool, " false", False),
        (list, "[1, 'a']", [1, "a"]),
        (list, '[1, "a", true, null]', [1, "a", True, None]),
        (tuple, "[1, 2]", (1, 2)),
        (tuple, [1, 2], (1, 2)),
        (dict, '{"a": true}', {"a": True}),
        (set, "[1, 2]", {1, 2}),
        (set, "{1, 2}", {1, 2}),
        (frozenset, "[1, 2]", frozenset({1, 2})),
        (Decimal, 0.1, Decimal("0.1")),
        (Decimal, "1e400", Decimal("1e400")),
        (Fraction, "1/3", Fraction(1, 3)),
        (np.float32, 0.1, np.float32(0.1)),
        (np.int8, "7.0", np.int8(7)),
        (dt.date, "2024-12-31", dt.date(2024, 12, 31)),
        (Level, "HIGH", Level.HIGH),
        (Level, " Level.HIGH\n", Level.HIGH),
        (Right, "Right.READ|WRITE", Right.READ | Right.WRITE),
        (str, "7", "7"),
        (str, " spaces stay ", " spaces stay "),
    ],
)
def test_text_is_read_in_the_type_of_the_parameter(kind, raw, value):
    found = read_as(kind, raw)
    assert found == value
    assert type(found) is kind


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (int, True),
        (np.int8, "300"),
        (np.uint8, -1),
        (np.float32, 1e39),
        (np.float16, "70000"),
        (np.float32, math.nan),
        (np.bool_, 1),
        (Decimal, "NaN"),
        (Decimal, "lots"),
        (Decimal, True),
        (Fraction, "1/0"),
        (dt.date, "2024-02-30"),
        (frozenset, "[1, 1]"),
        (bytes, "text"),
        (Right, "READ|NONE"),
        (float, "1e-400"),
        (float, "9007199254740993"),
        (list, "[1e-400]"),
        (list, "[1e999]"),
        (set, "{1, 1}"),
        (dict, '{"a": 1, "a": 2}'),
        (dict, "{1: 1, True: 2}"),
        (int, 2.7),
        (int, "2.7"),
        (int, "two"),
        (int, "nan"),
        (int, "1e999"),
        (int, None),
        (int, ""),
        (int, [1]),
        (float, "abc"),
        (float, "nan"),
        (float, "inf"),
        (float, math.inf),
        (float, math.nan),
        (float, True),
        (float, 2**53 + 1),
        (float, 10**400),
        (bool, 1),
        (bool, 0.0),
        (bool, "yes"),
        (bool, "1"),
        (list, "abc"),
        (list, (1, 2)),
        (list, "{1: 2}"),
        (list, "[1, 2"),
        (list, "__import__('os').getcwd()"),
        (tuple, "abc"),
        (dict, "[1]"),
        (set, "[1, 1]"),
        (set, [[1]]),
        (str, 7),
        (str, None),
    ],
)
def test_what_would_lose_or_guess_is_refused(kind, raw):
    assert refuses(OfType(kind), raw)


@given(number=st.integers(min_value=2**53, max_value=2**70))
def test_long_integers_are_read_to_the_last_digit(number):
    for text in (str(number), f"{number}.0"):
        try:
            assert read_as(int, text) == number
        except DomainError:
            continue


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [(float, np.float64(0.5), 0.5), (float, np.float32(0.5), 0.5), (int, np.int64(5), 5), (bool, np.bool_(True), True)],
)
def test_numbers_of_numpy_are_numbers(kind, raw, value):
    """Searches suggest them, and nothing is lost."""
    found = read_as(kind, raw)
    assert (found, type(found)) == (value, kind)


def test_a_parameter_that_starts_as_a_number_of_numpy_can_be_set_by_text():
    assert node(np.float64(0.5), trainable=True).accept("0.75") == 0.75


@pytest.mark.parametrize("raw", ["[1, 2]", [1, 2], 3, None])
def test_a_parameter_that_starts_as_an_array_takes_arrays_only(raw):
    """As ndarray([1, 2]) would be an array of that shape, filled with whatever was there."""
    parameter = node(np.ones(2), trainable=True)
    assert refuses(parameter.domain, raw)
    assert parameter.accept(np.zeros(3)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("kind", [int, float, bool, str, list])
def test_arrays_are_no_numbers(kind):
    assert refuses(OfType(kind), np.array([1, 2]))
    assert refuses(Range(0, 9), np.array([1, 2]))


def test_a_parameter_that_starts_as_none_takes_anything():
    domain = OfType(type(None))
    assert domain.accept(3) == 3
    assert domain.accept("text") == "text"
    assert domain.accept(None) is None


def test_other_types_take_their_instances_only():
    domain = OfType(complex)
    assert domain.accept(1j) == 1j
    assert refuses(domain, "1j")
    assert domain.describe() == "a complex"


# Range.


@given(
    low=st.integers(-(10**6), 10**6),
    width=st.integers(0, 10**6),
    value=st.integers(-(10**7), 10**7),
    whole=st.booleans(),
)
def test_a_range_takes_what_lies_in_it_and_nothing_else(low, width, value, whole):
    domain = Range(low, low + width).for_value(low if whole else float(low))
    value = value if whole else float(value)
    inside = low <= value <= low + width
    assert refuses(domain, value) is not inside
    assert refuses(domain, repr(value)) is not inside
    if inside:
        assert type(domain.accept(repr(value))) is (int if whole else float)


@given(
    low=st.integers(-(10**9), 10**9),
    step=st.integers(1, 1000),
    count=st.integers(0, 10**10),
    offset=st.integers(0, 999),
)
def test_steps_are_counted_from_low(low, step, count, offset):
    assume(offset < step)
    domain = Range(low, low + step * 10**11, step=step).for_value(low)
    assert refuses(domain, low + step * count + offset) is (offset > 0)


@given(step=st.integers(0, 1000))
def test_steps_of_a_tenth_in_floating_point(step):
    domain = Range(0.0, 100.0, step=0.1)
    assert domain.accept(step * 0.1) == step * 0.1
    if step < 1000:
        assert refuses(domain, step * 0.1 + 0.05)


@given(low=st.integers(-(10**9), 10**9), high=st.integers(-(10**9), 10**9))
def test_the_words_for_a_range_name_its_very_bounds(low, high):
    """Who suggests a value goes by the words: 1.23457e+06 for 1234567 would lead outside."""
    assume(low <= high)
    words = Range(low, high).for_value(low).describe().split()
    assert words[:3] == ["an", "integer", "from"]
    assert [float(words[3]), float(words[5])] == [low, high]


@given(low=st.none() | st.integers(-50, 50), high=st.none() | st.integers(-50, 50), raw=st.integers(-99, 99))
def test_an_open_end_lets_everything_in(low, high, raw):
    assume(low is None or high is None or low <= high)
    domain = Range(low, high).for_value(raw)
    assert refuses(domain, raw) is not ((low is None or low <= raw) and (high is None or raw <= high))
    assert domain.kind is int


def test_steps_of_an_open_range():
    assert Range(1, step=3).for_value(1).accept(10) == 10
    assert refuses(Range(1, step=3).for_value(1), 9)
    assert Range(high=1, step=0.5).accept(-2.5) == -2.5
    assert refuses(Range(high=1, step=0.5), 0.25)


@pytest.mark.parametrize(
    "start", [np.float64(0.1), np.float32(0.1), np.float16(0.1), Decimal("0.1"), Fraction(1, 10)], ids=repr
)
def test_numbers_keep_their_type_and_reach_the_very_bounds(start):
    domain = node(start, trainable=True, domain=Range(0.1, 0.9, step=0.2)).domain
    for raw in ("0.1", 0.3, "0.9", "0.7"):
        found = domain.accept(raw)
        assert type(found) is type(start)
        assert domain.accept(domain.write(found)) == found
    for raw in ("0.0999", 0.2, 1.1, "nan", True, "some"):
        assert refuses(domain, raw)


def test_integers_of_numpy_keep_their_type():
    domain = node(np.int8(0), trainable=True, domain=Range(-128, 200, step=2)).domain
    assert [type(domain.accept(raw)) for raw in ("-128", 126, 4.0)] == [np.int8] * 3
    for raw in ("3", 200, 130, "x"):
        assert refuses(domain, raw)


@pytest.mark.parametrize(
    ("start", "spec", "kind", "words"),
    [
        (1, Range(0, 2), int, "an integer from 0 to 2"),
        (1, Range(0.0, 2.0), float, "a number from 0 to 2"),
        (1, Range(0.2, 1.8), float, "a number from 0.2 to 1.8"),
        (1, Range(1e-5, 1, log=True), float, "a number from 1e-05 to 1, on a logarithmic scale"),
        (1, Range(0, 2, step=0.5), float, "a number from 0 to 2 in steps of 0.5"),
        (1, Range(high=2.5), float, "a number of at most 2.5"),
        (1, Range(low=0), int, "an integer of at least 0"),
        (1, Range(), int, "an integer"),
        (1.5, Range(0, 2), float, "a number from 0 to 2"),
        (5, Range(1, 1e6, kind=int), int, "an integer from 1 to 1000000"),
        (0, Range(0, 2, kind=float), float, "a number from 0 to 2"),
        (3.0, Range(1, 9, kind=int), int, "an integer from 1 to 9"),
        (3.0, range(1, 10), int, "an integer from 1 to 9"),
        (np.int64(3), Range(0.0, 9.0), np.int64, "an integer from 0 to 9"),
        (np.float32(0.5), Range(0, 9), np.float32, "a number from 0 to 9"),
        (Decimal("0.5"), Range(0, 9), Decimal, "a decimal number from 0 to 9"),
    ],
)
def test_the_value_and_the_bounds_say_of_what_type_the_numbers_are(start, spec, kind, words):
    parameter = node(start, trainable=True, domain=spec)
    assert type(parameter.data) is kind
    assert parameter.data == start
    assert parameter.domain.describe() == words
    assert type(parameter.accept("1")) is kind


@pytest.mark.parametrize(
    ("start", "spec", "words"),
    [
        (3.5, range(1, 10), r"3\.5 is not an integer\. Choose an integer from 1 to 9\."),
        (3.5, Range(1, 9, kind=int), r"3\.5 is not an integer\. Choose an integer from 1 to 9\."),
        (0, Range(0.2, 1.8), r"0\.0 lies outside the range\. Choose a number from 0\.2 to 1\.8\."),
        (12, range(1, 10), r"12 lies outside the range\."),
        (4, range(1, 10, 2), r"4 lies between two steps\."),
        ("3", range(1, 10), None),
        ("many", Range(0, 1), r"'many' is not a number\. Choose a number from 0 to 1\."),
        (None, Range(0, 1), r"None is not a number\."),
        (True, Range(0, 1), r"True is not a number\."),
        (True, range(2), r"True is not an integer\."),
        (np.int64(1), Range(0.2, 1.8), r"no range of integers with low=0\.2, high=1\.8, step=None\. Give whole bounds"),
        (1, Range(0.5, 9.5, kind=int), r"no range of integers with low=0\.5"),
        (1, Range(0, 9, step=1.5, kind=int), r"no range of integers with low=0, high=9, step=1\.5"),
        (7j, Range(0, 1), r"7j is not a number\."),
        (math.nan, Range(0, 1), r"nan is not a number\."),
        ("a", ["b", "c"], r"'a' is none of the options\."),
        (1, [True, False], r"1 is none of the options\."),
        (7, str, r"7 is not a text\."),
    ],
)
def test_what_a_parameter_starts_as_lies_in_its_domain(start, spec, words):
    if words is None:  # what is read without loss
        assert node(start, trainable=True, domain=spec).data == 3
        return
    with pytest.raises(DomainError, match=rf"^Parameter 'p:\d+': {words}" if words[0] != "n" else words) as caught:
        node(start, name="p", trainable=True, domain=spec)
    assert caught.value.problem.endswith(".")
    assert caught.value.mend.endswith(".")


def test_words_for_ranges():
    assert Range(0).describe() == "a number of at least 0"
    assert Range(high=3).for_value(1).describe() == "an integer of at most 3"
    assert Range().describe() == "a number"
    assert Range(step=0.5).describe() == "a number in steps of 0.5 from 0"
    assert Range(0, 1).describe() == "a number from 0 to 1"
    assert Range(0, 1, step=0.25).describe() == "a number from 0 to 1 in steps of 0.25"
    assert Range(1e-3, 1, log=True).describe() == "a number from 0.001 to 1, on a logarithmic scale"


@pytest.mark.parametrize(
    "settings",
    [
        {"low": 2, "high": 1},
        {"low": math.nan, "high": 1},
        {"low": math.inf, "high": math.inf},
        {"low": 0, "high": 1e308},
        {"low": 0, "high": 1, "step": 0},
        {"low": 0, "high": 1, "step": -1},
        {"low": 0, "high": 1, "step": math.nan},
        {"low": 0, "high": 1, "log": True},
        {"low": 1, "high": 2, "step": 1, "log": True},
    ],
    ids=str,
)
def test_ranges_that_cannot_be(settings):
    with pytest.raises(DomainError):
        Range(**settings)


def test_a_range_does_not_take_truth():
    assert refuses(Range(0, 1).for_value(0), True)
    with pytest.raises(DomainError):
        node(True, trainable=True, domain=Range(0, 1))


# Choices.


@pytest.mark.parametrize(
    "options", [(1, True, 1.0), (True, "yes"), (1, "1"), (None, "None"), ("a", "'a'"), ("a", " a")]
)
def test_choices_are_told_apart_or_refused(options):
    """What a search proposes are the options themselves: it gets the very one, or no such Choices."""
    try:
        domain = Choices(*options)
    except DomainError:
        assert len({str(option).strip("' ") for option in options}) < len(options)
        return
    for option in options:
        found = domain.accept(option)
        assert (found, type(found)) == (option, type(option))


def test_choices_from_text():
    domain = Choices("fast", "slow", None, 3)
    assert [domain.accept(raw) for raw in ("slow", " slow ", "'slow'", "None", "3")] == [
        "slow",
        "slow",
        "slow",
        None,
        3,
    ]
    for raw in ("Slow", "medium", "", 3.0, True, ["slow"]):
        assert refuses(domain, raw)


@given(options=st.lists(st.integers(-3, 3) | st.booleans() | st.sampled_from(["1", "0", "True", "a"]) | st.none(),
                        min_size=1, max_size=5))  # fmt: skip
def test_what_choices_write_they_read_again(options):
    try:
        domain = Choices(*options)
    except DomainError:
        assert len(set(map(str, options))) < len({(type(option), option) for option in options})
        return
    for option in options:
        found = domain.read(domain.write(option))
        assert (found, type(found)) == (option, type(option))


class Mode(StrEnum):
    FAST = "fast"
    SLOW = "slow"


class Size(IntEnum):
    S = 1
    L = 2


class Swapped(str, Enum):  # noqa: UP042 - many programs have such ones
    A = "b"
    B = "A"


@pytest.mark.parametrize("kind", [Level, Mode, Size, Swapped])
def test_members_of_an_enum_are_options_and_stay_members(kind):
    domain = as_domain(None, next(iter(kind)))
    assert domain == as_domain(kind, next(iter(kind))) == Choices(*kind)
    for member in kind:
        for raw in (member, member.name, f"{kind.__name__}.{member.name}", domain.write(member)):
            assert domain.accept(raw) is member
    assert refuses(domain, "MEDIUM")
    assert refuses(domain, True)
    assert refuses(domain, 1.0)


@pytest.mark.parametrize(
    ("kind", "raw", "member"),
    [(Mode, "fast", Mode.FAST), (Size, 2, Size.L), (Size, "2", Size.L), (Level, "high", Level.HIGH),
     (Level, None, Level.NONE), (Swapped, "A", Swapped.A)],
)  # fmt: skip
def test_members_go_by_their_values_where_no_name_says_otherwise(kind, raw, member):
    assert as_domain(kind, member).accept(raw) is member


def test_words_for_enums():
    assert as_domain(Mode, Mode.FAST).describe() == "one of Mode.FAST, Mode.SLOW"


def test_flags_can_be_joined():
    both = Right.READ | Right.WRITE
    domain = node(both, trainable=True).domain
    assert domain.accept(domain.write(both)) == both
    assert refuses(domain, "EXECUTE")


def test_choices_need_options():
    with pytest.raises(DomainError, match="no options"):
        Choices()


def test_the_words_for_choices_can_be_read_again():
    options = ["a", 1, None, "it's"]
    words = Choices(*options).describe().removeprefix("one of ")
    assert list(ast.literal_eval(f"[{words}]")) == options


# What users write as domain=.


def test_domains_as_users_write_them():
    assert as_domain(None, 3) == OfType(int)
    assert as_domain(str, "a") == OfType(str)
    assert as_domain(["a", "b"], "a") == Choices("a", "b")
    assert as_domain(range(15, 91), 30) == Range(15, 90, kind=int)
    assert as_domain(Range(0, 1), 0.5) == Range(0, 1, kind=float)
    assert as_domain(Range(0, 9), 5) == Range(0, 9, kind=int)


@given(start=st.integers(-50, 50), stop=st.integers(-50, 50), step=st.integers(-7, 7))
def test_a_python_range_takes_its_own_integers(start, stop, step):
    assume(step != 0)
    numbers = range(start, stop, step)
    assume(numbers)
    domain = as_domain(numbers, numbers[0])
    for value in range(-60, 60):
        assert refuses(domain, value) is (value not in numbers)


@pytest.mark.parametrize("spec", ["text", 3, range(0), {"a": 1}, ("a", "b")], ids=repr)
def test_what_is_no_domain_is_refused(spec):
    with pytest.raises(DomainError, match="A domain cannot be"):
        as_domain(spec, 1)


def test_domains_of_users():
    class Even(Domain):
        def read(self, raw):
            return read_as(int, raw)

        def check(self, value):
            if value % 2:
                raise DomainError(f"{value} is odd.", mend="Choose an even number.")

    parameter = node(2, trainable=True, domain=Even())
    assert parameter.accept("8") == 8
    assert refuses(parameter.domain, "7")
    with pytest.raises(DomainError, match="odd"):
        node(3, trainable=True, domain=Even())
