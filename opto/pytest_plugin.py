"""The fixture ``cassette`` for pytest: tests that ask models, and need neither a key nor the network.

Pytest loads this by itself wherever opto is installed, so that it imports nothing of opto before a test wants it.
"""

import hashlib
import importlib
import re
import shlex
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from opto.llm import Cassette

__all__ = ["cassette", "cassette_path"]

#: File systems have a longest name.
_LONGEST = 100
#: How many unused replies are named.
_SHOWN = 3
_STRICT = "cassettes_strict"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("cassettes", "replies of models (opto)")
    group.addoption(
        "--cassettes",
        choices=("replay", "auto", "record"),
        default="replay",
        help="what the fixture `cassette` does: replay (the default) never asks a model, auto asks for what is not"
        " recorded, record asks for everything anew",
    )
    group.addoption(
        "--cassettes-strict",
        action="store_true",
        default=None,
        help="fail tests that leave recorded replies unused",
    )
    parser.addini(_STRICT, "Fail tests that leave recorded replies unused.", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Read the setting once, where what is wrong with it is told once."""
    try:
        config.getini(_STRICT)
    except (TypeError, ValueError, pytest.UsageError) as error:  # by the version of pytest
        raise pytest.UsageError(f"{_STRICT} is neither true nor false: {error}. Write `{_STRICT} = true`.") from error


@pytest.fixture
def cassette_path(request: pytest.FixtureRequest) -> Path:
    """Where the replies of this test are: ``cassettes/<module>/<test>.jsonl`` beside it. Override it to move them."""
    name = request.node.nodeid.partition("::")[2].replace("::", ".") or request.node.name
    return Path(request.path.parent, "cassettes", request.path.stem, f"{_file_name(name)}.jsonl")


@pytest.fixture
def cassette(request: pytest.FixtureRequest, cassette_path: Path) -> "Iterator[Cassette]":
    """The replies of this test, in force while it runs: see ``--cassettes``."""
    kind: type[Cassette] = importlib.import_module("opto.llm").Cassette
    command = f"pytest {shlex.quote(request.node.nodeid)} --cassettes"
    made = kind(
        cassette_path,
        mode=request.config.getoption("--cassettes"),
        recorded_by=f"Record what is missing with `{command}=auto`, or everything anew with `{command}=record`.",
    )
    # Also for threads that the test begins: nothing of it is to ask a model that is not meant to.
    with made.in_all_threads():
        yield made


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, None]:
    """Fail a test that passed but left replies unused, if that is wanted."""
    outcome = yield
    made: Cassette | None = getattr(item, "funcargs", {}).get("cassette")
    strict = item.config.getoption("--cassettes-strict") or item.config.getini(_STRICT)
    try:
        # A test of somebody who has a fixture of this name has other cassettes.
        unused = getattr(made, "unused", []) if strict and outcome.excinfo is None else []
    except importlib.import_module("opto.errors").OptoError as error:
        # A file that cannot be read fails this test, and not the hook.
        outcome.force_exception(error)
        return
    if made is not None and unused:
        asked = "\n".join(f"  {request!s:.200}" for request in unused[:_SHOWN])
        more = f"\n  … and {len(unused) - _SHOWN} more" if len(unused) > _SHOWN else ""
        problem = f"{len(unused)} recorded replies of {str(made.path)!r} were not asked for:\n{asked}{more}"
        command = f"pytest {shlex.quote(item.nodeid)} --cassettes=record"
        mend = f"Ask for them, or record without them: `{command}`."
        outcome.force_exception(pytest.fail.Exception(f"{problem}\n{mend}", pytrace=False))


def _file_name(test: str) -> str:
    """Return the name of a file for *test*: another one for every test, on every file system."""
    function, bracket, parameters = test.partition("[")
    parameters = parameters.removesuffix("]")
    name = re.sub(r"[^\w.-]+", "-", f"{function}-{parameters}" if bracket else function)
    is_same = name in {function, f"{function}-{parameters}"} and parameters == parameters.lower()
    if is_same and len(name) <= _LONGEST:
        return name
    return f"{name[:_LONGEST]}-{hashlib.sha256(test.encode()).hexdigest()[:8]}"
