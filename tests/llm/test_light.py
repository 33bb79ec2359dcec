"""Importing the edge to models is quiet and light; what is missing is named, with ways to get it and to do without."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(importlib.util.find_spec("opto").origin).parent.parent
HEAVY = [
    *("openai", "anthropic", "litellm", "httpx", "httpx2", "genai_prices", "tiktoken", "pydantic", "numpy", "optuna"),
    *("asyncio", "socket", "_socket", "ssl", "http.client", "email", "multiprocessing", "concurrent", "queue"),
]


def child(code, *flags, **variables):
    """Return what a process prints that runs *code*, and has no variables but these."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT") if name in os.environ}
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"
    done = subprocess.run(
        [sys.executable, *flags, "-c", code], capture_output=True, text=True, check=True, env={**keep, **variables}
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("module", ["opto.llm", "opto.utils.llm", "opto.trace", "opto.trace.operators"])
def test_importing_loads_nothing_heavy_and_starts_nothing(module):
    said = json.loads(
        child(f"""
import json, os, threading
before = set(sys.modules), set(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else set()
import {module}
after = set(sys.modules), set(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else set()
loaded = sorted(after[0] - before[0])
print(json.dumps([loaded, len(after[1]) - len(before[1]), threading.active_count()]))
""")
    )
    loaded, opened, threads = said
    assert "opto" in loaded
    assert set(loaded) & set(HEAVY) == set()
    assert (opened, threads) == (0, 1)


def test_the_trace_does_not_load_models():
    said = child("import opto.trace; print([name for name in sys.modules if name.startswith('opto.llm')])")
    assert said.strip() == "[]"


#: Ways to ask, each as an expression.
PATHS = {
    "openai": "LLM('openai:m')('hi')",
    "responses": "LLM('openai-responses:m')('hi')",
    "anthropic": "LLM('anthropic:m')('hi')",
    "azure": "LLM('azure:m')('hi')",
    "ollama": "LLM('ollama:m')('hi')",
    "server": "LLM('m', base_url='http://127.0.0.1:9/v1')('hi')",
    "litellm": "LLM('litellm:gemini/m')('hi')",
    "environment": "LLM()('hi')",
    "optimizer": "as_llm(None, role='optimizer')('hi')",
    "block": "used('openai:m')('hi')",
    "async": "asyncio.run(LLM('openai:m').acall('hi'))",
    "operator": "call_llm('Be brief.', 'hi')",
    "trace": "TraceLLM('gpt-4o')(messages='hi')",
    "trace-other": "TraceLLM('gemini/m')(messages='hi')",
}
TELL = """
import asyncio
from opto.llm import LLM, as_llm, use_llm
from opto.trace.operators import call_llm
from opto.utils.llm import LLM as TraceLLM

def used(model):
    with use_llm(model):
        return as_llm(None)

try:
    {path}
except Exception as error:
    print(type(error.__cause__ if type(error).__name__.startswith("Execution") else error).__name__)
    print(error)
"""


@pytest.mark.parametrize("path", PATHS)
def test_a_missing_package_is_named_with_the_line_that_installs_it_and_the_way_without(path):
    variables = {
        "OPENAI_API_KEY": "k-1",
        "ANTHROPIC_API_KEY": "k-2",
        "AZURE_OPENAI_API_KEY": "k-3",
        "AZURE_OPENAI_ENDPOINT": "https://x.example",
        "OPENAI_API_VERSION": "2026-01-01",
    }
    kind, said = child(TELL.format(path=PATHS[path]), "-S", "-s", **variables).strip().split("\n", 1)
    package = {"anthropic": "anthropic", "litellm": "litellm", "trace-other": "litellm"}.get(path, "openai")
    assert kind == "MissingDependencyError"
    assert f"needs the package '{package}'" in said
    line = said.partition('pip install "')[2].partition('"')[0]
    assert package in line
    assert "opto.optimizers.LocalSearch" in said
    assert "opto.llm.ScriptedLLM" in said


@pytest.mark.parametrize(
    ("path", "variable"),
    [
        ("openai", "OPENAI_API_KEY"),
        ("responses", "OPENAI_API_KEY"),
        ("anthropic", "ANTHROPIC_API_KEY"),
        ("environment", "OPTO_MODEL"),
        ("optimizer", "OPTO_OPTIMIZER_MODEL"),
        ("block", "OPENAI_API_KEY"),
        ("async", "OPENAI_API_KEY"),
        ("operator", "OPTO_TASK_MODEL"),
        ("trace", "OPENAI_API_KEY"),
    ],
)
def test_a_missing_key_is_named_with_its_variable_and_the_way_without(path, variable, tmp_path):
    kind, said = child(TELL.format(path=PATHS[path]), HOME=str(tmp_path)).strip().split("\n", 1)
    assert kind == "AuthenticationError"
    assert variable in said
    assert "opto.optimizers.LocalSearch" in said
    assert "opto.llm.ScriptedLLM" in said


def test_what_is_named_as_the_way_without_is_there_without_packages():
    said = child(
        """
from opto.llm import ScriptedLLM
print(ScriptedLLM(["yes"])("hi").text)
""",
        "-S",
        "-s",
    )
    assert said.strip() == "yes"
