"""The benchmark of prompts: its programs run, and what a prompt lacks is seen."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def folder(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    for name in ("prompted", "workflows"):
        sys.modules.pop(name, None)


def printed(*arguments):
    done = subprocess.run([sys.executable, "prompted.py", *arguments], cwd=FOLDER, stdout=subprocess.PIPE, check=True)
    return done.stdout.decode()


@pytest.mark.parametrize("option", ["trace", "opto", "v2"])
def test_a_python_that_is_not_there_is_named_before_anything_runs(option, tmp_path):
    command = [sys.executable, "prompts.py", f"--python-of-{option}", str(tmp_path / "python")]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert f"--python-of-{option}: There is no program {tmp_path / 'python'}. Give the path" in done.stderr
    assert not done.stdout


def test_prompts_of_all_workflows_have_everything():
    plain = json.loads(printed("prompts", "OptoPrime", "--no-sources"))
    with_sources = json.loads(printed("prompts", "OptoPrime"))

    assert list(plain) == ["batch", "numbers", "pipeline", "loop", "modules"]
    for name, found in plain.items():
        assert found["lost"] == found["left out"] == with_sources[name]["lost"] == []
        assert found["characters"] <= with_sources[name]["characters"]
    # Half of what OptoPrimeV2 needs for the same.
    assert all(
        found["characters"] <= most
        for found, most in zip(plain.values(), (3_035, 2_603, 2_676, 3_992, 3_152), strict=True)
    )


@pytest.mark.parametrize("shape", ["chain", "loop", "examples"])
def test_graphs_are_shown_whole_or_within_the_budget(shape):
    short, long = (json.loads(printed("graph", "OptoPrime", shape, length)) for length in ("20", "3000"))

    assert short["lost"] == short["left out"] == []
    assert long["tokens"] <= 16_000
    assert " of " in long["left out"][0]
    assert short["seconds"] > 0


def test_a_prompt_can_be_looked_at():
    assert "\n# Code\nteam0 = team(ticket=ticket0)  # 'billing'\n" in printed("show", "OptoPrime", "batch")


@pytest.mark.parametrize(
    ("workflow", "text", "other", "missing"),
    [
        ("numbers", "multiply0 = price * 9.5  # 118.75\n", "", "the call of multiply0"),
        ("numbers", "  # 118.75", "", "the value of multiply0"),
        ("numbers", "subtract1 = subtract0 - seats", "subtract1 = subtract0 - price", "the call of subtract1"),
        ("numbers", "from 5 to 40", "", "'Price of a ticket in euro, from 5 to 40' of price"),
        ("numbers", "<value>12.5</value>", "<value>1.5</value>", "'12.5' of price"),
        ("numbers", "an integer", "", "'an integer' of seats"),
        ("numbers", "Seats are dear", "", "the feedback 'The profit"),
        ("pipeline", "the lighthouse lit for", "the lamp lit for", "the value of question0"),
        ("batch", "3: billing", "", "the value of together0"),
        ("batch", "# Code\n", "# Code\nteam99 = team()\n", "team99, which was not called"),
    ],
)
def test_what_is_not_in_a_prompt_is_seen(workflow, text, other, missing):
    import prompted

    optimizer, prompt, _ = prompted.shown("OptoPrime", prompted.WORKFLOWS[workflow]())
    assert not list(prompted.lost(optimizer, prompt))
    assert text in prompt.texts[1]
    prompt.texts[1] = prompt.texts[1].replace(text, other)

    assert any(found.startswith(missing) for found in prompted.lost(optimizer, prompt))
