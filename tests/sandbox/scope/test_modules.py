"""A module of the program is the same inside, however code comes by it: its classes, and what was set in it."""

import importlib.util
import sys

import pytest

from opto.sandbox import Sandbox

pytestmark = pytest.mark.filterwarnings("ignore:Code that a model wrote:RuntimeWarning")

SHOP = """
from dataclasses import dataclass
from enum import Enum
import threading

LIMIT = 5
LOCK = threading.Lock()

class Prio(Enum):
    LOW = 1
    HIGH = 2

@dataclass
class Item:
    price: int
    prio: Prio = Prio.LOW

class SoldOutError(ValueError):
    pass

def limit():
    return LIMIT

def fail():
    raise SoldOutError("gone")

def locked(x):
    with LOCK:
        return x
"""
FRONT = "import shop_of_tests.things\nimport shop_of_tests.things as t\nfrom shop_of_tests import things\n"


@pytest.fixture(scope="module", params=["auto", "child"])
def sandbox(request):
    return Sandbox(request.param)


@pytest.fixture
def front(tmp_path, monkeypatch):
    """A module of a program that imports others in several ways, and one function of it."""
    package = tmp_path / "shop_of_tests"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "things.py").write_text(SHOP)
    (tmp_path / "front_of_tests.py").write_text(FRONT + "def original(x):\n    return x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("front_of_tests")
    for name in ("front_of_tests", "shop_of_tests", "shop_of_tests.things"):
        sys.modules.pop(name, None)


WAYS = {
    "by its path": ("", "shop_of_tests.things"),
    "by another name": ("", "t"),
    "out of its package": ("", "things"),
    "imported inside": ("import shop_of_tests.things", "shop_of_tests.things"),
    "imported inside as": ("import shop_of_tests.things as own", "own"),
    "taken inside": ("from shop_of_tests import things as own", "own"),
    "held by a variable": ("own = t", "own"),
}
USES = {
    "x is {m}.Prio.LOW": True,
    "{{{m}.Prio.LOW: 'found'}}[x]": "found",
    "isinstance({m}.Item(1), {m}.Item) and {m}.Item(1).prio is x": True,
    "{m}.limit(), {m}.LIMIT": (50, 50),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("use", USES)
def test_it_has_the_classes_and_values_that_the_program_has(sandbox, front, way, use):
    statement, name = WAYS[way]
    front.t.LIMIT = 50
    source = f"def original(x):\n    {statement or 'pass'}\n    return {use.format(m=name)}\n"
    with sandbox.load(source, like=front.original) as candidate:
        assert candidate(front.t.Prio.LOW) == USES[use]


def test_names_can_be_taken_from_it_inside(sandbox, front):
    source = "def original(x):\n    from shop_of_tests.things import Prio as P, Item\n"
    source += "    return Item(3, P.HIGH), x is P.LOW\n"
    with sandbox.load(source, like=front.original) as candidate:
        assert candidate(front.t.Prio.LOW) == (front.t.Item(3, front.t.Prio.HIGH), True)


@pytest.mark.parametrize(
    ("statement", "use"),
    [
        ("from .things import LIMIT, Prio", "LIMIT, Prio.LOW is x"),
        ("from . import things as own", "own.LIMIT, own.Prio.LOW is x"),
        ("from .things import limit, Prio as P", "limit(), P.LOW is x"),
    ],
)
def test_names_can_be_taken_from_it_by_where_it_is(sandbox, front, statement, use):
    package = sys.modules["shop_of_tests"]
    exec(f"def original(x):\n    {statement}\n    return {use}\n", vars(package))
    package.things.LIMIT = 50
    original = package.original
    with sandbox.load(f"def original(x):\n    {statement}\n    return {use}\n", like=original) as candidate:
        assert candidate(front.t.Prio.LOW) == original(front.t.Prio.LOW) == (50, True)


def test_packages_that_the_original_imports_may_be_imported(sandbox):
    def original(x):
        import numpy as np

        return float(np.sum([x, 2]))

    with sandbox.load(
        "def original(x):\n    import numpy\n    return float(numpy.sum([x, 3]))\n", like=original
    ) as found:
        assert found(1) == 4.0


def test_what_its_functions_raise_is_of_its_classes(sandbox, front):
    catching = (
        "def original(x):\n    try:\n        t.fail()\n    except t.SoldOutError as error:\n        return str(error)\n"
    )
    with sandbox.load(catching, like=front.original) as candidate:
        assert candidate(1) == "gone"
    failing = sandbox.load("def original(x):\n    t.fail()\n", like=front.original)
    with failing, pytest.raises(front.t.SoldOutError, match="gone"):
        failing(1)


def test_what_is_set_in_it_later_is_there_at_the_next_call(sandbox, front):
    with sandbox.load("def original(x):\n    return t.LIMIT, t.limit()\n", like=front.original) as candidate:
        assert candidate(1) == (5, 5)
        front.t.LIMIT = 7
        assert candidate(1) == (7, 7)
        front.t.limit = lambda: 70
        assert candidate(1) == (7, 70)


def test_what_cannot_enter_is_loaded_from_its_file(sandbox, front):
    with sandbox.load("def original(x):\n    return t.locked(x), t.LOCK.locked()\n", like=front.original) as candidate:
        assert candidate(1) == (1, False)
    with sandbox.load("def original(x):\n    return getattr(t, 'LIM' + 'IT')\n", like=front.original) as candidate:
        assert candidate(1) == 5


def test_it_need_not_be_among_those_that_python_knows(sandbox, tmp_path):
    file = tmp_path / "plugin_of_tests.py"
    file.write_text(
        "from dataclasses import dataclass\n@dataclass\nclass Item:\n    price: int\ndef original(x):\n    return x\n"
    )
    spec = importlib.util.spec_from_file_location("plugin_of_tests", file)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:  # which dataclasses want to see
        patch.setitem(sys.modules, "plugin_of_tests", module)
        spec.loader.exec_module(module)
    with sandbox.load("def original(x):\n    return Item(x.price + 1)\n", like=module.original) as candidate:
        assert candidate(module.Item(1)) == module.Item(2)


def test_what_it_does_not_have_is_said_as_ever(sandbox, front):
    candidate = sandbox.load("def original(x):\n    return t.nothing\n", like=front.original)
    with candidate, pytest.raises(AttributeError, match="nothing"):
        candidate(1)
