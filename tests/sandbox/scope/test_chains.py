"""Classes that stand for those of the user's: whose they are, what of them is found, how their members are made."""

import functools
import linecache
import sys
import types

import pytest

from opto.errors import SandboxTransferError
from opto.sandbox import Sandbox

pytestmark = pytest.mark.filterwarnings("ignore:Code that a model wrote:RuntimeWarning")


@pytest.fixture(scope="module")
def sandbox():
    return Sandbox("child")


def answer(sandbox, body, like, receiver, owner, **options):
    with sandbox.load(f"def act(self):\n    return {body}\n", like=like, owner=owner, **options) as candidate:
        return candidate(receiver)


class Box:
    """Stands around a function, as what the caller of a sandbox puts there and takes off."""

    def __init__(self, function):
        self.function = function


def twice(function):
    @functools.wraps(function)
    def wrapped(self):
        return 2 * function(self)

    return wrapped


def registered(function):
    with open(__file__) as file:  # as nothing inside may
        file.read(1)
    return function


class Base:
    def name(self):
        return "base"


class Kind(Base):
    def act(self):
        return 0

    def name(self):
        return "kind"

    @property
    @twice
    def size(self):
        return 2

    @registered
    def number(self):
        return 3

    @twice
    def weight(self):
        return 4

    @Box
    @twice
    def boxed(self):
        return 5


class Below(Kind):
    def name(self):
        return "below"

    def act(self):
        return 0


MODULE = """
class Kind:
    def helper(self):
        return type(self).__name__

    def act(self):
        return 0
"""


@pytest.mark.parametrize(
    ("body", "expected"), [("self.size", 4), ("self.number()", 3), ("self.weight()", 8), ("super().name()", "base")]
)
def test_members_are_made_as_they_were(sandbox, body, expected):
    assert answer(sandbox, body, Kind.act, Kind(), Kind) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [("super().name()", "kind"), ("super(Kind, self).name()", "base"), ("Base.name(self)", "base")],
)
def test_names_are_found_from_where_the_search_begins(sandbox, body, expected):
    assert answer(sandbox, body, Below.act, Below(), Below) == expected


def test_decorators_below_what_was_taken_off_are_kept(sandbox):
    def adapt(value):
        return value.function if isinstance(value, Box) else value

    assert answer(sandbox, "self.boxed()", Kind.act, Kind(), Kind, adapt=adapt) == 10


def test_what_nobody_above_has_is_missing_there_as_outside(sandbox):
    with pytest.raises(AttributeError, match="'super' object has no attribute 'nothing'"):
        answer(sandbox, "super().nothing()", Kind.act, Kind(), Kind)


def test_a_function_in_no_class_has_nothing_above_it(sandbox):
    def act(self):
        return 0

    with pytest.raises((RuntimeError, TypeError), match=r"super\("):
        answer(sandbox, "super().name()", act, Kind(), None)


def test_classes_of_a_program_without_a_name_are_the_user_s(sandbox, monkeypatch):
    monkeypatch.setitem(linecache.cache, "<cell 3>", (len(MODULE), None, MODULE.splitlines(keepends=True), "<cell 3>"))
    space = {}
    exec(compile(MODULE, "<cell 3>", "exec"), space)
    kind = space["Kind"]
    assert kind.__module__ == "builtins"
    assert answer(sandbox, "[self][0].helper()", kind.act, kind(), kind) == "Kind"


def test_classes_of_an_installed_package_are_the_user_s_if_the_function_is_of_it(sandbox, monkeypatch, tmp_path):
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "installed_kinds.py").write_text(MODULE)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "installed_kinds", raising=False)
    import installed_kinds

    kind = installed_kinds.Kind
    assert answer(sandbox, "self.helper()", kind.act, kind(), kind) == "Kind"


@pytest.mark.parametrize("body", ["self.helper()", "[self] and self.helps()"])
def test_methods_without_a_file_say_so(sandbox, body):
    module = types.ModuleType("nowhere")
    exec(MODULE, vars(module))

    class Somewhere(module.Kind):
        def helps(self):
            return self.helper()

        def act(self):
            return 0

    with pytest.raises(SandboxTransferError, match="uses helper, whose source cannot be found"):
        answer(sandbox, body, Somewhere.act, Somewhere(), Somewhere)
