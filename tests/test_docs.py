"""What readers are shown runs: the README, the pages of docs/, and the notebook in a real kernel."""

import re
import runpy
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from opto.llm import ScriptedLLM, use_llm
from opto.optimizers.suggestion import FORMATS, Suggestion
from opto.testing import LLMServer

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
POLITE = 'def greet(name):\n    """Greet politely in one sentence."""\n    return f"Dear {name}, welcome."\n'
REPLIES = [
    FORMATS["tags"].write(Suggestion({"greet": POLITE}, "A formal address.")),
    *[FORMATS["tags"].write(Suggestion({}, "It is good."))] * 4,
]


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples = list(Sybil([PythonCodeBlockParser()]).parse(page).examples())

    assert len(examples) == len(blocks(page))
    with use_llm(ScriptedLLM(REPLIES)):
        for example in examples:
            example.evaluate()


def first_loop(folder, capsys):
    """Run the loop at the head of the README, as it is written there, and return what it printed."""
    program = folder / "first_loop.py"
    program.write_text(blocks(ROOT / "README.md")[0])
    runpy.run_path(str(program))
    return capsys.readouterr().out


EXPECTED = (
    "step 1: updated greet\n"
    + "".join(f"step {step}: unchanged: No change was suggested.\n" for step in range(2, 6))
    + f"{POLITE}\n"
)


@pytest.fixture
def no_model(monkeypatch):
    for name in ("OPTO_MODEL", "OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_model")
def test_the_loop_of_the_readme_runs_with_a_script(tmp_path, capsys):
    with use_llm(ScriptedLLM(REPLIES)):
        printed = first_loop(tmp_path, capsys)

    assert printed == EXPECTED


@pytest.mark.usefixtures("no_model")
def test_the_agent_of_the_readme_prints_what_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("agent.py").write_text(blocks(ROOT / "README.md")[1])
    runpy.run_path("agent.py")

    printed = capsys.readouterr().out.splitlines()
    assert printed == ["step 1: updated route", "accounts, Be brief.: My bill is wrong"]
    assert all(f"`{line}`" in (ROOT / "README.md").read_text() for line in printed)
    assert "tone" in Path("desk.toml").read_text()


@pytest.mark.usefixtures("no_model")
def test_the_loop_of_the_readme_runs_through_the_openai_sdk(tmp_path, capsys, monkeypatch):
    with LLMServer(REPLIES) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.openai_url)
        printed = first_loop(tmp_path, capsys)

    assert printed == EXPECTED
    asked = [request for request in server.requests if request.path == "/v1/chat/completions"]
    assert len(asked) == 5
    assert "too casual" in asked[0].messages[-1]["content"]
    assert set(asked[0].body) == {"model", "messages"}


@pytest.mark.usefixtures("no_model")
def test_the_loop_of_the_readme_runs_through_the_anthropic_sdk(tmp_path, capsys, monkeypatch):
    with LLMServer(REPLIES) as server:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.anthropic_url)
        printed = first_loop(tmp_path, capsys)

    assert printed == EXPECTED
    asked = [request for request in server.requests if request.path == "/v1/messages"]
    assert len(asked) == 5
    assert set(asked[0].body) == {"model", "messages", "system", "max_tokens"}


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize("notebook", sorted((ROOT / "examples").rglob("*.ipynb")), ids=lambda path: path.name)
def test_notebooks_run_in_a_kernel(notebook, tmp_path):
    content = nbformat.read(notebook, as_version=4)
    assert all(not cell.get("outputs") for cell in content.cells), "outputs are made by running, not kept"

    NotebookClient(content, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()

    printed = "".join(
        output.get("text", "") + "".join(output.get("data", {}).get("text/plain", ""))
        for cell in content.cells
        for output in cell.get("outputs", [])
    )
    assert "'hi Ada': too casual. step 1: updated greet" in printed
    assert "Dear {name}, it is a pleasure" in printed
    assert "Candidate(values={'batch': " in printed
    assert "rejected - 'a million' is not an integer" in printed
