"""What runs candidates at each level of isolation, and which level is to be had here."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from itertools import count
from types import FunctionType
from typing import Any, NamedTuple

from opto.callers import user_level
from opto.errors import IsolationError, SourceError
from opto.sandbox.candidate import ChildCandidate
from opto.sandbox.child.codes import FILES, SECCOMP
from opto.sandbox.failures import show_lines
from opto.sandbox.forwarding import Definition, positional_names
from opto.sandbox.inprocess import InProcessCandidate
from opto.sandbox.limits import Limits
from opto.sandbox.main import Main
from opto.sandbox.monty import MontyCandidate, find_monty
from opto.sandbox.printed import Streams
from opto.sandbox.processes.zygote import Variant, Zygote
from opto.sandbox.program.written import closure_of
from opto.sandbox.renewing import RenewedCandidate
from opto.sandbox.scope.scope import Scope

__all__ = ["Level", "make", "prepare"]

logger = logging.getLogger(__name__)

_STRONG = FILES | SECCOMP
_LEVELS = {0: "child", FILES: "landlock", SECCOMP: "seccomp", _STRONG: "landlock+seccomp"}
_HAS_CHILDREN = hasattr(os, "fork") and sys.platform not in {"emscripten", "wasi"}


class Level(NamedTuple):
    """What is in force.

    Attributes:
        name: In words.
        variant: What is asked of the process that makes children.
        zygote: That process, kept alive; None if there are no children.
    """

    name: str
    variant: Variant | None = None
    zygote: Zygote | None = None


def prepare(isolation: str) -> Level:
    """Find out what is to be had, and say so.

    Raises:
        IsolationError: Not what was asked for.
        MissingDependencyError: A package that it needs is not installed.
    """
    if isolation == "monty":
        find_monty()
    if isolation in {"none", "monty"}:
        return Level(isolation)
    if not _HAS_CHILDREN:
        raise IsolationError(
            f"There are no processes that could be copied on {sys.platform}.",
            mend="Use isolation='monty' (pip install 'opto-trace[monty]'), or isolation='none'.",
        )
    variant = Variant(kernel=isolation != "child", bubblewrap=_bubblewrap() if isolation == "strict" else None)
    zygote = Zygote.shared(variant)
    offered = zygote.offered
    if isolation == "strict" and offered != _STRONG:
        raise IsolationError(
            f"isolation='strict' needs Landlock and seccomp, and this machine has {_LEVELS[offered]} only.",
            mend="Use Linux 5.13 or newer, isolation='monty', or isolation='auto' for what there is.",
        )
    if isolation == "auto" and offered != _STRONG:
        _say_what_is_missing(_LEVELS[offered])
    name = ("bubblewrap+" if variant.bubblewrap else "") + _LEVELS[offered]
    logger.info("Code that a model wrote runs at level %s.", name)
    return Level(name, variant, zygote)


def make(
    source: str,
    definition: Definition,
    *,
    level: Level,
    limits: Limits,
    like: FunctionType | None,
    owner: type | None,
    file: str,
    hosts: Mapping[str, Callable[..., Any] | None],
    imports: Collection[str],
    adapt: Callable[[Any], Any] | None,
    printed: Callable[[str], object] | None,
    printed_errors: Callable[[str], object] | None,
) -> Any:
    """Return what runs the function *definition* of *source* at *level*. See `Sandbox.load` for the rest."""
    name = definition.name
    if level.name == "none":
        with _refusing_what_does_not_compile():
            return InProcessCandidate(source, name, file=file, like=like, hosts=hosts)
    if level.variant is None:
        values: Mapping[str, Any] = {**like.__globals__, **closure_of(like)} if like is not None else {}
        return MontyCandidate(source, definition, limits=limits, hosts=hosts, values=values, printed=printed)
    qualname = like.__qualname__ if like is not None else name
    main = Main(source, name, qualname, file, positional_names(definition))
    variant, births = level.variant, count()

    def made() -> ChildCandidate:
        with _refusing_what_does_not_compile():
            scope = Scope(source, name, like=like, owner=owner, hosts=hosts, adapt=adapt)
        told: Any = {"hosts": hosts, "extra": imports, "streams": Streams(printed, printed_errors)}
        return ChildCandidate(main, scope, limits=limits, variant=variant, births=births, **told)

    renewed = RenewedCandidate(made)
    show_lines(renewed, file, source)
    return renewed


@contextmanager
def _refusing_what_does_not_compile() -> Iterator[None]:
    """Raise a `SourceError` for code that parses, and has no meaning: arguments of the same name, for one."""
    try:
        yield
    except SyntaxError as error:
        raise SourceError(f"The code does not compile: {error.msg}.", mend="Give complete, valid Python.") from error
    except RecursionError as error:
        raise SourceError(
            "The code is nested too deeply.", mend="Use a loop, or a dict, in place of a long chain."
        ) from error


@cache
def _say_what_is_missing(level: str) -> None:
    warnings.warn(
        f"Code that a model wrote runs at level {level!r}: this kernel does not keep it from files and the network. "
        "See docs/security.md.",
        RuntimeWarning,
        stacklevel=user_level(),
    )


@cache
def _bubblewrap() -> str | None:
    """Return the program bubblewrap, if it is there and works."""
    import shutil  # noqa: PLC0415 - only where the strict level is asked for

    program = shutil.which("bwrap")
    if program is None:
        return None
    try:
        Zygote(Variant(bubblewrap=program)).close()
    except IsolationError:
        return None
    return program
