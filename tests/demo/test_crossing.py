"""The crossing is the user's simulator: it must be repeatable, quiet, and true to its published figures."""

import dataclasses
import importlib.util
import itertools
import logging
import os
import pickle
import subprocess
import sys
import textwrap
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from opto.demo import crossing
from opto.demo.crossing import MIN_GREEN, Result, simulate
from opto.errors import DomainError, MissingDependencyError

needs_uxsim = pytest.mark.skipif(
    importlib.util.find_spec("uxsim") is None, reason="needs pip install 'opto-trace[demo]'"
)


@pytest.fixture
def unloaded():
    """The module as it is before its first simulation, and again afterwards."""
    crossing.load_simulator.cache_clear()
    yield
    crossing.load_simulator.cache_clear()


def mean_delay(result: Result, *ends: str) -> float:
    approaches = [result.approaches[end] for end in ends]
    return sum(a.vehicles * a.delay for a in approaches) / sum(a.vehicles for a in approaches)


@needs_uxsim
def test_start_and_best_are_those_of_the_published_scenario():
    start, best = simulate(MIN_GREEN, MIN_GREEN), simulate(24, 15)
    # Loose enough for another platform's random choices, tight enough to notice another scenario.
    assert start.published_delay == pytest.approx(77.2, rel=0.05)
    assert best.published_delay == pytest.approx(36.2, rel=0.05)
    assert start.delay == pytest.approx(25.1, rel=0.05)
    assert best.delay == pytest.approx(12.4, rel=0.05)


@needs_uxsim
def test_best_is_no_edge_of_its_neighbourhood():
    best = simulate(24, 15).delay
    assert all(best < simulate(*green).delay for green in [(18, 15), (30, 15), (24, 21), (90, 90)])


@needs_uxsim
def test_figures_add_up():
    result = simulate(31, 22)
    assert list(result.approaches) == ["W1", "E1", "N1", "S1"]
    assert result.vehicles == sum(a.vehicles for a in result.approaches.values()) == 1456
    assert result.finished == sum(a.finished for a in result.approaches.values())
    assert 0 < result.finished <= result.vehicles
    assert result.mean_delay == pytest.approx(mean_delay(result, "W1", "E1", "N1", "S1"))
    assert result.delay == pytest.approx(result.mean_delay + result.spread)


@needs_uxsim
def test_longer_east_west_green_moves_the_waiting_to_north_and_south():
    short, long = simulate(20, 20), simulate(40, 20)
    assert mean_delay(long, "W1", "E1") < mean_delay(short, "W1", "E1")
    assert mean_delay(long, "N1", "S1") > mean_delay(short, "N1", "S1")


@needs_uxsim
def test_a_direction_that_never_goes_is_charged_with_the_whole_time():
    result = simulate(5000, 15)
    assert result.approaches["N1"].finished == 0
    assert result.approaches["N1"].delay == 1800 - 100


@needs_uxsim
def test_result_is_plain_and_can_be_sent_to_another_process():
    result = simulate(15, 15)
    assert pickle.loads(pickle.dumps(result)) == result
    leaves = dataclasses.asdict(result)
    for approach in leaves.pop("approaches").values():
        leaves |= {f"{name}{len(leaves)}": value for name, value in approach.items()}
    assert {type(value) for value in leaves.values()} == {int, float}
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.delay = 0.0


@needs_uxsim
def test_threads_do_not_meet():
    greens = [(15, 15), (24, 15), (60, 30)] * 2
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda green: simulate(*green), greens)) == [simulate(*g) for g in greens]


@needs_uxsim
def test_fresh_machine_is_silent_and_repeatable_and_left_as_it_was(tmp_path):
    program = """
        import logging, sys, warnings
        before = warnings.filters[:], warnings.formatwarning, logging.getLogger("matplotlib").level
        from opto.demo.crossing import simulate
        assert "uxsim" not in sys.modules and "numpy" not in sys.modules
        result = simulate(24, 15)
        assert before == (warnings.filters[:], warnings.formatwarning, logging.getLogger("matplotlib").level)
        import matplotlib
        assert matplotlib.rcParams["font.family"] == matplotlib.rcParamsDefault["font.family"]
        sys.stdout.write(repr(result))
    """
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    root = Path(crossing.__file__).parents[2]
    kept = {key: os.environ[key] for key in ("PATH", "SYSTEMROOT") if key in os.environ}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        cwd=work,
        env=kept | {"HOME": str(home), "PYTHONPATH": str(root), "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == repr(simulate(24, 15))
    assert list(work.iterdir()) == []
    files = {path.name.split("-")[0] for path in home.rglob("*") if path.is_file()}
    assert files <= {"fontlist"}  # matplotlib's own


@needs_uxsim
def test_every_later_call_is_silent_too(capfd, recwarn, caplog, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.DEBUG, logger="opto"):
        simulate(15, 15)
    assert capfd.readouterr() == ("", "")
    assert (list(recwarn), caplog.records, list(tmp_path.iterdir())) == ([], [], [])


@needs_uxsim
def test_python_engine_steps_in_and_says_so(unloaded, monkeypatch, caplog):
    cpp = simulate(24, 15)
    crossing.load_simulator.cache_clear()
    monkeypatch.setitem(sys.modules, "uxsim.uxsim_cpp_wrapper", None)
    python = simulate(24, 15)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "C++ engine cannot be loaded" in caplog.text
    assert python.vehicles == cpp.vehicles
    assert python.delay == pytest.approx(cpp.delay, rel=0.05)


@pytest.mark.parametrize("missing", ["uxsim", "dill"])
def test_missing_module_is_named_with_the_line_that_installs_it(unloaded, monkeypatch, missing):
    if missing != "uxsim" and importlib.util.find_spec("uxsim") is None:
        pytest.skip("uxsim is missing too")
    for name in list(sys.modules):
        if name.partition(".")[0] in {"uxsim", missing}:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    before = warnings.filters[:], warnings.formatwarning, logging.getLogger("matplotlib").level
    with pytest.raises(MissingDependencyError) as caught:
        simulate(15, 15)
    assert str(caught.value) == (
        f"The traffic simulation needs the module '{missing}', which is not installed. "
        "Install it with: pip install 'opto-trace[demo]'"
    )
    assert before == (warnings.filters[:], warnings.formatwarning, logging.getLogger("matplotlib").level)


@pytest.mark.parametrize("bad", [0, -3, 15.5, 20.0, "20", None, True, float("nan")])
def test_bad_green_time_is_refused_before_anything_is_loaded(monkeypatch, bad):
    monkeypatch.setitem(sys.modules, "uxsim", None)
    for direction, greens in (("east-west", (bad, 20)), ("north-south", (20, bad))):
        with pytest.raises(DomainError) as caught:
            simulate(*greens)
        assert str(caught.value) == (
            f"The {direction} green time is {bad!r}, which is not a positive whole number. "
            "Give it in whole seconds, 1 or more."
        )


def test_score_by_hand():
    pairs = list(itertools.permutations(["W1", "E1", "N1", "S1"], 2))
    travel_times = {pair: [100.0] * 20 for pair in pairs}
    travel_times["W1", "E1"] = [110.0] * 10 + [130.0] * 9 + [None]  # 100 + 270 + 31 s lost
    result = crossing._measure(travel_times)
    lost = 100 + 270 + 31
    mean = lost / 240
    spread = ((20 * (lost / 20 - mean) ** 2 + 220 * mean**2) / 240) ** 0.5
    assert (result.vehicles, result.finished) == (240, 239)
    assert result.mean_delay == pytest.approx(mean)
    assert result.spread == pytest.approx(spread)
    assert result.approaches["W1"].delay == pytest.approx(lost / 60)
    assert result.approaches["E1"].delay == 0
    # As published, each pair is charged for 20 - 12 missing arrivals: of 31 s here, of 1 s elsewhere.
    losses = [100 + 270 + 8 * 31] + [8 * 1] * 11
    mean = sum(losses) / 240
    spread = (sum(20 * (loss / 20 - mean) ** 2 for loss in losses) / 240) ** 0.5
    assert result.published_delay == pytest.approx(mean + spread)
