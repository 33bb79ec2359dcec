"""What a child says of classes of the program's is read as data: none of their code runs, whatever it claims."""

import enum
import types
from typing import NamedTuple

import pytest

from opto.sandbox.child.codec import Encoder, MalformedError
from opto.sandbox.scope.values import Values

RAN = []


class Command:
    def __init__(self, *args):
        RAN.append(args)


class Other:
    pass


class Mortal:
    def __del__(self):
        RAN.append("gone")


class Pair(NamedTuple):
    one: int


class MortalPair(Pair):
    __slots__ = ()

    def __del__(self):
        RAN.append("gone")


class MadeError(Exception):
    def __new__(cls, *args):
        RAN.append(args)
        return super().__new__(cls, *args)


class MortalError(Exception):
    def __del__(self):
        RAN.append("gone")


class Items(list):
    pass


class Names(dict):
    def items(self):
        RAN.append("items")
        return super().items()

    def __iter__(self):
        RAN.append("iter")
        return super().__iter__()

    keys = __iter__


class Letters:
    def __getitem__(self, place):
        RAN.append(place)
        return "a"


class Judged(dict):
    by: object = len

    def is_good(self):
        return False

    @staticmethod
    def rule():
        return 1


class Rights(enum.IntFlag):
    READ = 1
    WRITE = 4

    @classmethod
    def _missing_(cls, value):
        RAN.append(value)
        return super()._missing_(value)


class Colour(enum.Enum):
    RED = 1


KNOWN = {
    kind.__name__: kind for kind in (Command, Other, Mortal, MortalPair, MadeError, MortalError, Items, Names, Letters)
}
KNOWN |= {"Judged": Judged, "Pair": Pair, "Rights": Rights, "Colour": Colour}


@pytest.fixture
def decode():
    values = Values(None, Encoder)
    values.known.update(KNOWN)
    values.caller = lambda: lambda *_: None
    RAN.clear()
    return values.decoder.decode


def graph(form, *rows):
    return {"!graph": [form, [*rows]]}


ONE = {"!instance": 0}


@pytest.mark.parametrize(
    "form",
    [
        {"!member": ["Command", ["rm", "-rf"]]},
        {"!member": ["Command", "x"]},
        {"!member": ["Colour", 2]},
        {"!member": ["Rights", 2]},
        {"!member": ["Rights", -1 << 70]},
        {"!member": ["Rights", 1 << 70]},
        graph(ONE, ["Colour", {"_value_": 1}]),
        graph(ONE, ["Other", {"__reduce_ex__": 1}]),
        graph(ONE, ["Other", {"__array_interface__": {}}]),
        graph(ONE, ["Other", {"__class__": 3}]),
        graph(ONE, ["Other", {"_opto_code": 5}]),
        {"!namespace": [["__array_interface__", {}]]},
        {"!namespace": [["_opto_code", 1]]},
        graph({"!namespace": [[ONE, 1]]}, ["Letters", {}]),
        {"!error": ["ValueError", [], {"__reduce__": 1}]},
        graph({"!error": ["ValueError", [], {"!dict": [[ONE, 1]]}]}, ["Letters", {}]),
        graph({"!error": ["ValueError", [], ONE]}, ["Names", {}, {}]),
        {"!error": ["Other", [], {}]},
        {"!error": ["MortalError", [], {}]},
        {"!named": ["MortalPair", [1]]},
        {"!named": ["Other", [1]]},
        {"!named": ["Pair", []]},
        {"!named": ["Pair", [1, 2]]},
        graph(ONE, ["Judged", {"is_good": True}]),
        graph(ONE, ["Judged", {"is_good": {"!inner": ["", [], "f"]}}]),
        graph(ONE, ["Judged", {"rule": 1}]),
        graph(ONE, ["Judged", {"update": 1}]),
        {"!error": ["ValueError", [], {"with_traceback": 1}]},
        {"!error": ["UnicodeDecodeError", ["ascii", {"!bytes": "AAAA"}, -(10**9), 1 - 10**9, "x"], {}]},
        graph(ONE, ["Mortal", {}]),
        graph(ONE, ["Items", {}, {"!instance": 1}], ["Names", {}, {"a": 1}]),
        graph(ONE, ["Names", {}, {"!instance": 1}], ["Names", {}, {"a": 1}]),
        graph(ONE, ["Items", {}, {"!range": [0, 5, 1]}]),
    ],
    ids=str,
)
def test_what_would_be_more_than_data_is_refused(decode, form):
    with pytest.raises(MalformedError):
        decode(form)
    assert RAN == []


def test_what_is_data_is_read_and_runs_nothing(decode):
    error = decode({"!error": ["MadeError", [1, 2], {"where": 3, "__notes__": ["n"]}]})
    assert (type(error), error.args, error.where, error.__notes__) == (MadeError, (1, 2), 3, ["n"])
    places = {"!error": ["UnicodeEncodeError", ["ascii", "\xe4", 0, 1, "no"], {"start": -(10**9)}]}
    assert str(decode(places)) == "'ascii' codec can't encode character '\\xe4' in position 0: no"
    assert decode({"!member": ["Rights", 5]}) is Rights.READ | Rights.WRITE
    assert decode({"!member": ["Colour", "RED"]}) is decode({"!member": ["Colour", 1]}) is Colour.RED
    made = decode(graph(ONE, ["Items", {"of": 1}, [1, 2]]))
    assert (type(made), list(made), made.of) == (Items, [1, 2], 1)
    assert type(decode(graph(ONE, ["Command", {"a": 1}]))) is Command
    assert decode(graph(ONE, ["Judged", {"by": 1}])).by == 1  # it says that its objects have that
    assert 5 not in RAN
    assert (1, 2) not in RAN
    assert () not in RAN


def test_flags_do_not_grow_by_what_a_child_asks_for(decode):
    before = len(Rights._value2member_map_)
    for place in range(3, 200):
        with pytest.raises(MalformedError):
            decode({"!member": ["Rights", 1 << place]})
    assert len(Rights._value2member_map_) == before


@pytest.mark.parametrize("name", ["\x1b[31mred\x1b[2J", "größe"])
def test_names_of_functions_can_be_shown(decode, name):
    found = decode({"!inner": ["", [], name]})
    assert found.__name__ == name.replace("\x1b", "\\x1b")
    assert found.__name__ in repr(found)


def test_what_the_library_notes_on_a_namespace_stays(decode):
    assert decode(Encoder().encode(types.SimpleNamespace(_opto_note=1, a=2))) == types.SimpleNamespace(a=2)
