"""One public home per name, each with a docstring; and importing costs only what is used."""

import importlib
import importlib.util
import inspect
import json
import pkgutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(importlib.util.find_spec("opto").origin).parent
PACKAGES = sorted(
    ["opto", "opto.errors"] + [found.name for found in pkgutil.walk_packages([str(ROOT)], "opto.") if found.ispkg]
)

#: Names that programs for Trace use for what has another one here.
ALIASES = {"opto.trace.Model"}

#: Every third-party package that some part of the library uses.
HEAVY = ["anthropic", "cmaes", "graphviz", "httpx", "networkx", "numpy", "openai", "optuna", "pydantic", "uxsim"]


def public(package):
    """Return the public members of *package*: neither modules nor what begins with an underscore."""
    return {
        name
        for name, member in vars(package).items()
        if not name.startswith("_") and not isinstance(member, types.ModuleType)
    }


@pytest.mark.parametrize("name", PACKAGES)
def test_all_is_what_is_public(name):
    package = importlib.import_module(name)
    if name == "opto.errors":
        declared = {member for member in public(package) if inspect.isclass(getattr(package, member))}
        assert set(package.__all__) == declared - {"Any", "ClassVar"}
        return
    listed = getattr(package, "__all__", [])
    assert set(listed) - {"__version__"} == public(package)
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_name_has_a_docstring(name):
    package = importlib.import_module(name)
    assert package.__doc__
    silent = []
    for member in getattr(package, "__all__", []):
        value = getattr(package, member)
        # A class without its own docstring shows its parent's, and a dataclass its signature.
        text = value.__dict__.get("__doc__") if inspect.isclass(value) else getattr(value, "__doc__", None)
        is_signature = bool(text) and inspect.isclass(value) and text.startswith(f"{value.__name__}(")
        if (inspect.isclass(value) or inspect.isroutine(value)) and (not text or is_signature):
            silent.append(member)
    assert not silent


@pytest.mark.parametrize("name", PACKAGES)
def test_public_names_say_where_they_live(name):
    """The same object under the same name, wherever it is exported."""
    package = importlib.import_module(name)
    for member in getattr(package, "__all__", []):
        value = getattr(package, member)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__name__ == member or f"{name}.{member}" in ALIASES
            assert value.__module__.split(".")[0] == "opto"


def loaded_by(module):
    """Return what a fresh process has loaded after importing *module*."""
    program = f"import json, sys; before = set(sys.modules); import {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True, cwd="/")
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", ["opto", "opto.errors", "opto.nodes", "opto.trace"])
def test_writing_traced_programs_loads_no_other_package(module):
    loaded = loaded_by(module)
    assert not loaded & {*HEAVY, "asyncio", "opto.llm", "opto.optimizers"}


def test_optimizers_load_packages_only_where_they_are_used():
    loaded = loaded_by("opto.optimizers")
    assert not loaded & {"openai", "anthropic", "networkx", "graphviz", "numpy", "optuna"}
    assert "opto.trace" not in loaded


def test_trace_keeps_its_promise_to_existing_programs():
    from opto import trace
    from opto.optimizers import OptoPrime

    assert callable(trace.node)
    assert callable(trace.bundle)
    assert callable(trace.model)
    assert issubclass(trace.ExecutionError, Exception)
    assert OptoPrime
