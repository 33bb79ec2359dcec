"""The command line, in processes of its own."""

import json
import os
import shlex
import subprocess
import sys

import pytest

from opto import __version__
from opto.cli import main
from opto.llm import ScriptedLLM
from opto.nodes import node
from opto.optimizers import LocalSearch, OptoPrimeMulti
from opto.optimizers.suggestion import FORMATS, Suggestion
from opto.testing import Failure, LLMServer

MODEL_VARIABLES = ("OPTO_MODEL", "OPENAI_BASE_URL", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL")


def opto(folder, *arguments, **environment):
    clean = {name: value for name, value in os.environ.items() if name not in MODEL_VARIABLES}
    return subprocess.run(
        [sys.executable, "-m", "opto", *arguments],
        cwd=folder,
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_demo_without_a_model(tmp_path):
    done = opto(tmp_path, "demo", "--steps", "8")

    assert (done.returncode, done.stderr) == (0, "")
    assert "set by LocalSearch, without a language model (none is named in the environment)" in done.stdout
    table = [line.split() for line in done.stdout.splitlines() if line[:6].strip().isdigit()]
    assert [row[0] for row in table] == [str(step) for step in range(1, 9)]
    best = [float(row[6]) for row in table]
    assert best == sorted(best, reverse=True)
    assert f"→  {best[-1]:.2f} with" in done.stdout
    (run,) = (tmp_path / "runs").iterdir()
    assert f"Every step is a line of runs/{run.name}/steps.jsonl" in done.stdout
    assert len((run / "steps.jsonl").read_text().splitlines()) == 8

    shown = opto(tmp_path, "show", f"runs/{run.name}")
    assert shown.returncode == 0
    assert shown.stdout.splitlines()[0].startswith("step 1 (score -")
    assert "8 steps: 8 updated. Best score -" in shown.stdout


def test_the_demo_with_a_model(tmp_path):
    answers = [FORMATS["tags"].write(Suggestion(values, "why")) for values in ({"ew_green": "24"}, {"ns_green": "91"})]
    with LLMServer(answers) as server:
        done = opto(tmp_path, "demo", "--steps", "2", OPENAI_BASE_URL=server.openai_url)

    assert (done.returncode, done.stderr) == (0, "")
    assert "set by OptoPrime, which asks openai:" in done.stdout
    assert "rejected: ns_green: 91 lies outside the range. Choose an integer from 15 to 90." in done.stdout
    assert "with 15 s and 15 s  →" in done.stdout
    assert "with 24 s and 15 s." in done.stdout

    (run,) = (tmp_path / "runs").iterdir()
    shown = opto(tmp_path, "show", str(run), "--step", "2")
    assert "--- system\nYou improve a program" in shown.stdout
    assert "rejected ns_green = '91': 91 lies outside the range." in shown.stdout
    first = json.loads((run / "steps.jsonl").read_text().splitlines()[0])
    assert first["usage"]["input_tokens"] > 0


def test_a_wrong_key_is_explained_in_one_line(tmp_path):
    with LLMServer([Failure(401, "invalid_api_key", "Incorrect API key provided")] * 3) as server:
        done = opto(tmp_path, "demo", OPENAI_BASE_URL=server.openai_url, OPENAI_API_KEY="sk-wrong", OPENAI_MODEL="m")

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("opto: ")
    assert "sk-wrong" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_wrong_calls_are_explained(tmp_path, capsys):
    assert main(["show", str(tmp_path)]) == 1
    assert "There are no steps in" in capsys.readouterr().err
    for wrong in (["demo", "--steps", "0"], ["demo", "--optimizer", "magic"], ["fly"], []):
        with pytest.raises(SystemExit, match="2"):
            main(wrong)
        assert "usage: opto" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"opto {__version__}\n"


def test_a_closed_pipe_is_no_error(tmp_path):
    command = f"{shlex.quote(sys.executable)} -m opto demo --steps 3 | head -1"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120)

    assert done.stdout.startswith("A traffic light")
    assert "Traceback" not in done.stderr


def test_a_step_with_candidates_is_shown_with_all_of_them(tmp_path):
    x = node(1, name="x", trainable=True)
    answers = [FORMATS["tags"].write(Suggestion({"x": str(value)}, "why")) for value in (5, 2)]
    validate = lambda: -abs(x.data - 2)
    optimizer = OptoPrimeMulti([x], ScriptedLLM(answers), num_responses=2, validate=validate, run=tmp_path / "run")
    optimizer.backward(x * 3, "The output should be 6.")
    optimizer.step()

    shown = opto(tmp_path, "show", str(tmp_path / "run"), "--step", "1").stdout

    assert "--- candidate 0 (the values in force), score -1: " in shown
    assert "--- candidate 1 (script, temperature 0), score -3: " in shown
    assert "--- candidate 2 (script, temperature 1), score 0: It scored highest" in shown
    assert "x -> 2" in shown


def test_steps_that_a_restarted_program_adds_are_told_from_those_before(tmp_path, capsys):
    def program(state=None):
        x = node(1, name="x", trainable=True, domain=range(10))
        optimizer = LocalSearch([x], run=tmp_path / "run")
        if state is not None:
            optimizer.load_state_dict(state)
        for _ in range(2):
            optimizer.zero_feedback()
            optimizer.backward(x * 3, float(x.data))
            optimizer.step()
        return optimizer.state_dict()

    program()
    assert main(["show", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "anew" not in said
    assert "\n2 steps: " in said

    state = program()
    assert main(["show", str(tmp_path / "run")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0].partition(" (")[0] for line in lines[:5]] == [
        "step 1",
        "step 2",
        "--- a program began anew, and added its steps",
        "step 3",
        "step 4",
    ]
    assert lines[-1].startswith("4 steps of 2 programs, one after the other: ")

    program(state)  # this one goes on from where it was
    assert main(["show", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert said.count("anew") == 1
    assert "\n6 steps of 2 programs" in said
