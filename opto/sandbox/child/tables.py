"""Tables of pandas, for programs that have it: columns as arrays, with their names, types and indexes."""

import re
import sys
import time
from collections.abc import Callable
from typing import Any

from .codec import CannotCrossError, Encoder
from .reading import look
from .words import in_full

__all__ = ["READERS", "write_table"]

#: Types of columns that numpy does not have, by how pandas calls them.
_TYPES = re.compile(r"(U?Int(8|16|32|64)|Float(32|64)|boolean|string|str)")
_KINDS_OF_ARRAYS = frozenset("biufcmM")
_MOST_ROWS = 10_000_000


def write_table(encoder: Encoder, value: Any, depth: int) -> Any:
    """Return the form of *value* if it is of pandas, and None if not.

    Raises:
        CannotCrossError: It has none, though it is.
    """
    pandas = sys.modules.get("pandas")
    if pandas is None or type(value).__module__.partition(".")[0] != "pandas":
        return None
    if encoder.most is not None and isinstance(value, pandas.DataFrame | pandas.Series | pandas.Index):
        value = value[: encoder.most]
    if isinstance(value, pandas.DataFrame):
        columns = [_column(encoder, value.iloc[:, place].array, depth) for place in range(value.shape[1])]
        return {"!frame": [encoder.encode(part, depth) for part in (value.columns, value.index)] + [columns]}
    if isinstance(value, pandas.Series):
        index, name = encoder.encode(value.index, depth), encoder.encode(value.name, depth)
        return {"!series": [index, name, _column(encoder, value.array, depth)]}
    if isinstance(value, pandas.Index):
        return _index(encoder, value, depth)
    if value is pandas.NaT or value is pandas.NA:
        return {"!missing": "NaT" if value is pandas.NaT else "NA"}
    if isinstance(value, pandas.Timestamp | pandas.Timedelta):
        zone = getattr(value, "tz", None)
        return {"!moment": [type(value).__name__, int(value.value), None if zone is None else _name_of(zone)]}
    if isinstance(value, pandas.Categorical):
        return {"!column": _column(encoder, value, depth)}
    raise CannotCrossError(in_full(type(value)))


def _index(encoder: Encoder, value: Any, depth: int) -> Any:
    pandas = sys.modules["pandas"]
    names = [encoder.encode(name, depth) for name in value.names]
    if isinstance(value, pandas.RangeIndex):
        return {"!range-index": [value.start, value.stop, value.step, names]}
    levels = range(value.nlevels) if isinstance(value, pandas.MultiIndex) else None
    parts = [value] if levels is None else [value.get_level_values(level) for level in levels]
    return {"!index": [levels is not None, names, [_column(encoder, part.array, depth) for part in parts]]}


def _column(encoder: Encoder, array: Any, depth: int) -> Any:
    """Return the form of the values of a column: its type, and what they are."""
    pandas, kind = sys.modules["pandas"], str(array.dtype)
    if isinstance(array, pandas.Categorical):
        return ["category", encoder.encode([array.codes, array.categories], depth), bool(array.ordered)]
    if (zone := getattr(array.dtype, "tz", None)) is not None:
        plain = pandas.Series(array).dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
        return ["zone", encoder.encode(plain, depth), _name_of(zone)]
    if getattr(array.dtype, "kind", "O") in _KINDS_OF_ARRAYS and not _TYPES.fullmatch(kind):
        return ["array", encoder.encode(sys.modules["numpy"].asarray(array), depth)]
    if kind != "object" and not _TYPES.fullmatch(kind):
        raise CannotCrossError(f"a column of {kind[:80]}")
    return [kind, encoder.encode([None if item is pandas.NA else item for item in array], depth)]


def _name_of(zone: Any) -> str:
    name = getattr(zone, "key", None) or getattr(zone, "zone", None) or str(zone)
    if name != "UTC" and not hasattr(zone, "key") and not hasattr(zone, "zone"):
        raise CannotCrossError(f"a moment in the zone {name[:80]}")
    return str(name)


def _zone(name: Any) -> Any:
    # Not by pandas, which would read any file that the name speaks of.
    if name == "UTC":
        return sys.modules["datetime"].timezone.utc
    __import__("zoneinfo")
    return sys.modules["zoneinfo"].ZoneInfo(name)


def _read_column(form: Any, value: Callable[[Any], Any]) -> Any:
    made = _column_of(form, value)
    if made.ndim != 1:
        raise TypeError("a column that is no row of values")  # one value would be repeated for all of an index
    return made


def _column_of(form: Any, value: Callable[[Any], Any]) -> Any:
    pandas, numpy, kind = _pandas(), sys.modules["numpy"], form[0]
    if kind == "category":
        codes, categories = value(form[1])
        _check(codes, numpy.ndarray)
        _check(categories, pandas.Index)
        return pandas.Categorical.from_codes(codes, categories=categories, ordered=bool(form[2]))
    given = value(form[1])
    if kind in {"zone", "array"}:
        _check(given, numpy.ndarray)
        return (
            given if kind == "array" else pandas.Series(given).dt.tz_localize("UTC").dt.tz_convert(_zone(form[2])).array
        )
    if kind != "object" and not _TYPES.fullmatch(kind):
        raise TypeError(f"a column of {kind!r:.40}")
    _check(given, list)
    if kind == "object":
        return _objects(given)
    for item in given:
        _check(item, str, int, float, bool, type(None), numpy.generic)
    return pandas.array(given, dtype=kind)


def _check(value: Any, *kinds: type) -> None:
    # What else there is would be asked by pandas how long it is, and what it is as an array.
    if not issubclass(type(value), kinds):
        raise TypeError(f"{in_full(type(value))} in a table")


def _objects(values: list[Any]) -> Any:
    numpy = sys.modules["numpy"]
    made = numpy.empty(len(values), dtype=object)
    for place, item in enumerate(values):
        made[place] = item
    return made


def _read_frame(content: Any, value: Callable[[Any], Any]) -> Any:
    columns, index, arrays = content
    pandas, rows, names = _pandas(), value(index), value(columns)
    for part in (rows, names):
        _check(part, pandas.Index)
    series = dict(enumerate(pandas.Series(_read_column(array, value), index=rows) for array in arrays))
    made = pandas.DataFrame(series, index=rows)
    made.columns = names
    return made


def _read_series(content: Any, value: Callable[[Any], Any]) -> Any:
    index, name, array = content
    pandas, rows = _pandas(), value(index)
    _check(rows, pandas.Index)
    return pandas.Series(_read_column(array, value), index=rows, name=value(name))


def _read_index(content: Any, value: Callable[[Any], Any]) -> Any:
    is_multiple, names, arrays = content
    pandas, names = _pandas(), [value(name) for name in names]
    columns = [_read_column(array, value) for array in arrays]
    for column in columns:
        _spread(column)
    if is_multiple:
        return pandas.MultiIndex.from_arrays(columns, names=names)
    return pandas.Index(columns[0], name=names[0])


def _spread(labels: Any) -> None:
    """See that pandas looks *labels* up as fast as others: different ones can be made to meet at the same places."""
    pandas, size = _pandas(), 4096
    # Nobody can know which of them are looked at: if a part is looked up in time, all are.
    places = sys.modules["numpy"].random.default_rng().permutation(len(labels))
    while size < len(labels):
        look()
        started = time.thread_time()
        try:
            pandas.factorize(labels.take(places[:size]))
        except TypeError:
            return  # what has no hash is not looked up
        if time.thread_time() - started > 0.1 + size * 2e-6:
            raise ValueError("labels that collide")
        size *= 4


def _read_range(content: Any, value: Callable[[Any], Any]) -> Any:
    start, stop, step, names = content
    numbers = range(int(start), int(stop), int(step))
    if len(numbers) > _MOST_ROWS:
        raise ValueError("an index of more than ten million rows")
    return _pandas().RangeIndex(numbers, name=value(names[0]))


def _read_moment(content: Any, _: Callable[[Any], Any]) -> Any:
    kind, count, zone = content
    pandas = _pandas()
    if kind == "Timedelta":
        return pandas.Timedelta(int(count))
    return pandas.Timestamp(int(count), tz=None if zone is None else _zone(zone))


def _read_missing(content: Any, _: Callable[[Any], Any]) -> Any:
    return _pandas().NaT if content == "NaT" else _pandas().NA


def _pandas() -> Any:
    __import__("pandas")
    return sys.modules["pandas"]


READERS: dict[str, Callable[[Any, Callable[[Any], Any]], Any]] = {
    "!frame": _read_frame,
    "!series": _read_series,
    "!index": _read_index,
    "!range-index": _read_range,
    "!moment": _read_moment,
    "!missing": _read_missing,
    "!column": _read_column,
}
