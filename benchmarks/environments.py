"""The virtual environments, made once, and how programs run in them."""

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import venv
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[1]
PEERS = {"trace-opt": "trace-opt==0.1.3.8", "torch": "torch>=2.6"}


def source_version() -> str:
    """Return a digest of what an install of this checkout would contain."""
    sources = [CHECKOUT / "pyproject.toml", *sorted((CHECKOUT / "opto").rglob("*.py"))]
    return hashlib.sha256(b"".join(bytes(path) + path.read_bytes() for path in sources)).hexdigest()


def python_at(path: str) -> str:
    """Return the whole *path* of a Python, for options: what is none is refused before anything is measured."""
    whole = os.path.abspath(path)
    if shutil.which(whole) is None:
        raise argparse.ArgumentTypeError(
            f"There is no program {path}. Give the path of a Python, such as .venv/bin/python."
        )
    return whole


def installed(name: str, requirement: str, version: str) -> str:
    """Return the Python of environment *name*, where *requirement* is installed as of *version*.

    An ordinary install, not an editable one, so that imports cost what users pay.
    """
    folder = CHECKOUT / ".venv-benchmarks" / name
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if not stamp.exists() or stamp.read_text() != version:
        if not python.exists():
            venv.create(folder, with_pip=True)
        # pip installs a folder again even if its version number stays, and leaves its dependencies.
        subprocess.run([python, "-m", "pip", "install", "--quiet", requirement], check=True)
        stamp.write_text(version)
    return str(python)


def run(python: str, *arguments: object) -> str:
    """Return what Python prints when called in this folder with *arguments*."""
    # Python's own settings might move imports or forbid .pyc files. Without the last, trace-opt asks the network
    # for prices when it is imported, and that would be measured as well.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    command, here = [python, *map(str, arguments)], Path(__file__).parent
    return subprocess.run(command, cwd=here, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def answer(python: str, *arguments: object) -> dict[str, Any]:
    """Return what a program of this folder answers, in JSON, on its last line."""
    return json.loads(run(python, *arguments).splitlines()[-1])


def cpu_ms(python: str, statement: str) -> float:
    """Return the CPU time of a fresh process that runs *statement*."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(python, "-P", "-c", statement)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
