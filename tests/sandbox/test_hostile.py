"""The functions that `benchmarks/hostile.py` tries are held here, too, and ordinary ones run."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import hostile

sys.path.pop(0)

pytestmark = [
    pytest.mark.filterwarnings("ignore:Code that a model wrote:RuntimeWarning"),
    pytest.mark.skipif(sys.platform != "linux", reason="its victims are looked for in /proc"),
]
LIMITS = hostile.LIMITS._replace(seconds=0.6, start=0.6)
#: What a process of its own holds without the kernel's help.
HELD_BY_ANY = {"hang", "crash", "bomb", "protocol", "lie", "state"}


@pytest.fixture(scope="module", params=["auto", "child"])
def sandbox(request):
    return hostile.Sandbox(request.param, limits=LIMITS)


@pytest.mark.parametrize("attack", hostile.attacks(), ids=lambda attack: f"{attack.kind}: {attack.name}")
def test_hostile_functions_are_held(sandbox, attack):
    if attack.kind not in HELD_BY_ANY and sandbox.level != "landlock+seccomp":
        pytest.skip(f"the level {sandbox.level} does not hold this")
    assert hostile.tried(sandbox, attack) == "held"


@pytest.mark.parametrize("function", hostile.ordinary(), ids=lambda function: function.name)
def test_ordinary_functions_run(sandbox, function):
    assert hostile.ran(sandbox, function) == "held"


def test_packages_that_are_missing_are_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pydantic_monty", None)
    hostile.serve("monty", None, 0)
    said = json.loads(capsys.readouterr().out)
    assert said["level"] is None
    assert "pip install 'opto-trace[monty]'" in said["why"]
    monkeypatch.setitem(sys.modules, "numpy", None)
    numpy = next(function for function in hostile.ordinary() if "numpy" in function.source)
    untried = hostile.ran(hostile.Sandbox("none"), numpy)
    assert "pip install numpy" in hostile.summary({len(hostile.attacks()): untried})
    assert hostile.summary({}) == "nothing was tried"


def test_there_are_enough_of_them():
    assert len(hostile.attacks()) >= 100
    assert len(hostile.ordinary()) >= 40
    assert {attack.harm for attack in hostile.attacks()} == {None, *hostile.HARM}


def test_the_seat_belt_is_really_taken_off():
    loosened = f"{hostile.LOOSEN}\ndef f():\n    return len(os.listdir('/'))\n"
    with hostile.Sandbox("child", limits=LIMITS).load(loosened, imports=sys.stdlib_module_names) as candidate:
        assert candidate() > 3
