"""Tables of pandas go in and come out with their types, names and indexes."""

import pytest

from opto.errors import SandboxTransferError
from opto.sandbox import Sandbox
from opto.sandbox.child.codec import Decoder, Encoder, MalformedError
from opto.sandbox.child.tables import READERS

pandas = pytest.importorskip("pandas")
numpy = pytest.importorskip("numpy")
pytestmark = pytest.mark.filterwarnings("ignore:Code that a model wrote:RuntimeWarning")

COLUMNS = {
    "whole": [1, 2, 3],
    "part": [0.5, None, 2.5],
    "text": ["a", "b", None],
    "truth": [True, False, True],
    "mixed": [1, "a", [2, (3,)]],
    "moment": pandas.to_datetime(["2024-01-01", "2024-02-01", None]),
    "there": pandas.to_datetime(["2024-01-01", "2024-07-01", None]).tz_localize("Europe/Rome"),
    "long": pandas.to_timedelta([1, 2, 3], unit="h"),
    "kind": pandas.Categorical(["x", "y", "x"], categories=["y", "x"], ordered=True),
    "nullable": pandas.array([1, None, 3], dtype="Int64"),
    "maybe": pandas.array([True, None, False], dtype="boolean"),
    "string": pandas.array(["a", None, "b"], dtype="string"),
    "small": numpy.array([1, 2, 3], dtype="int8"),
}
TABLE = pandas.DataFrame(COLUMNS)
INDEXES = [
    pandas.Index(["a", "b", "c"], name="letter"),
    pandas.Index([3, 1, 2]),
    pandas.RangeIndex(0, 6, 2, name="even"),
    pandas.date_range("2024-01-01", periods=3, name="day")._with_freq(None),
    pandas.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["letter", None]),
    pandas.CategoricalIndex(["x", "y", "x"]),
]


def original(x):
    return x, pandas


@pytest.fixture(scope="module")
def candidate():
    source = "def original(x, work='x'):\n    return eval(work)\n"
    with Sandbox().load(source, like=original) as candidate:
        yield candidate


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_keep_their_types(candidate, name):
    pandas.testing.assert_series_equal(candidate(TABLE[name]), TABLE[name])


def test_tables_keep_their_columns(candidate):
    pandas.testing.assert_frame_equal(candidate(TABLE), TABLE)
    pandas.testing.assert_frame_equal(candidate(TABLE.iloc[:0]), TABLE.iloc[:0])
    twice = pandas.concat([TABLE[["whole"]], TABLE[["text"]].rename(columns={"text": "whole"})], axis=1)
    pandas.testing.assert_frame_equal(candidate(twice), twice)


@pytest.mark.parametrize("index", INDEXES, ids=lambda index: f"{type(index).__name__} {index.names}")
def test_indexes_are_what_they_were(candidate, index):
    pandas.testing.assert_index_equal(candidate(index), index, exact=True)
    table = TABLE.set_index(index)
    pandas.testing.assert_frame_equal(candidate(table), table)


@pytest.mark.parametrize(
    "value",
    [
        pandas.Timestamp("2024-01-01 12:00:00.123456789"),
        pandas.Timestamp("2024-07-01", tz="Europe/Rome"),
        pandas.Timedelta(hours=3),
    ],
)
def test_moments_are_what_they_were(candidate, value):
    assert candidate(value) == value
    assert type(candidate(value)) is type(value)


def test_what_is_missing_is_the_same(candidate):
    assert candidate(pandas.NA) is pandas.NA
    assert candidate([pandas.NaT])[0] is pandas.NaT


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        ("float(x['part'].fillna(0).sum())", 3.0),
        ("x.groupby('kind', observed=True)['whole'].sum().to_dict()", {"y": 2, "x": 4}),
        ("x['there'].iloc[1].hour", 0),
        ("[*x.columns][:2]", ["whole", "part"]),
    ],
)
def test_tables_are_worked_with(candidate, work, expected):
    assert candidate(TABLE, work) == expected


def test_what_was_changed_comes_out_and_the_original_stays(candidate):
    given = TABLE[["whole"]].copy()
    result = candidate(given, "x.assign(double=2 * x['whole'])")
    assert result["double"].tolist() == [2, 4, 6]
    assert [*given.columns] == ["whole"]


def test_other_things_of_pandas_are_named(candidate):
    with pytest.raises(SandboxTransferError, match=r"a pandas\.DataFrameGroupBy"):
        candidate(TABLE, "x.groupby('whole')")
    with pytest.raises(SandboxTransferError, match="a column of period"):
        candidate(pandas.Series(pandas.period_range("2024-01", periods=2, freq="M")))


def test_a_first_look_is_a_short_one():
    class Counting:
        looks = 0

        def __getattribute__(self, name):
            Counting.looks += name == "__dict__"
            return object.__getattribute__(self, name)

    table = pandas.DataFrame({"a": [Counting() for _ in range(1000)]})
    source = "def original(x):\n    return x\n"
    for value in (table, table["a"]):
        assert Sandbox().objection(source, original, {"x": value}) is None
    assert 0 < Counting.looks <= 600


@pytest.mark.parametrize(
    ("tag", "content"),
    [
        ("!range-index", [0, 10**12, 1, [None]]),
        ("!moment", ["Timestamp", 0, "dateutil//etc/passwd"]),
        ("!column", ["zone", numpy.array([0], "M8[ns]"), "dateutil//etc/passwd"]),
        ("!column", ["geometry", []]),
    ],
)
def test_what_is_no_honest_form_is_refused(tag, content):
    with pytest.raises((ValueError, TypeError, LookupError)):
        READERS[tag](content, lambda form: form)


class Asked:
    """What would be asked for its values, in the program."""

    ndim = 1

    def __array__(self, *_, **__):
        raise AssertionError

    __len__ = __iter__ = __float__ = __array__


ASKED = Asked()
ROWS = pandas.RangeIndex(10)


@pytest.mark.parametrize(
    ("tag", "content"),
    [
        ("!frame", [pandas.RangeIndex(1), ROWS, [["array", 5]]]),
        ("!series", [ROWS, None, ["array", numpy.array(5)]]),
        ("!column", ["array", ASKED]),
        ("!column", ["object", ASKED]),
        ("!column", ["Int64", ASKED]),
        ("!column", ["Int64", [ASKED]]),
        ("!column", ["zone", ASKED, "UTC"]),
        ("!column", ["category", [[0], ASKED], False]),
        ("!column", ["category", [ASKED, ROWS], False]),
        ("!frame", [ASKED, ROWS[:0], []]),
        ("!series", [ASKED, None, ["object", [1]]]),
    ],
)
def test_a_table_asks_nothing_of_what_it_is_made_of(tag, content):
    with pytest.raises(TypeError):
        READERS[tag](content, lambda form: form)


def test_what_takes_long_to_import_is_there_before_the_call():
    source = "import sys\n\nSEEN = 'pandas' in sys.modules\n\ndef f(x):\n    return SEEN\n"
    with Sandbox().load(source) as seeing:
        assert seeing(TABLE["whole"]) is True
    with Sandbox().load(source) as seeing:
        assert seeing(1) is False


def meeting(count):
    """Return numbers that pandas looks for at the same places."""
    above = numpy.arange(1, count + 1, dtype="u8")
    below = above.copy()
    for _ in range(4):
        below = (above ^ below << numpy.uint64(11)) & numpy.uint64(0xFFFFFFFF)
    return (above << numpy.uint64(33) | below).view("i8")


@pytest.mark.parametrize("is_multiple", [False, True])
def test_labels_that_all_meet_are_refused(is_multiple):
    def read(numbers):
        column = ["array", Encoder().encode(numpy.asarray(numbers, dtype="i8"))]
        return decoder.decode({"!index": [is_multiple, [None], [column]]})

    decoder = Decoder(lambda tag, content, value: READERS[tag](content, value))
    with pytest.raises(MalformedError, match="collide"):
        read(meeting(70_000))
    assert len(read(range(70_000))) == 70_000
