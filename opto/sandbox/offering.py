"""What the user offers to candidates: functions of the program, by name, and modules."""

import sys
from collections.abc import Callable, Collection, Mapping
from keyword import iskeyword
from typing import Any

from opto.errors import IsolationError, SandboxTransferError

__all__ = ["Hosts", "check_found", "checked_hosts", "checked_imports", "functions_named"]

Hosts = Mapping[str, Callable[..., Any] | None] | Collection[str]


def checked_hosts(hosts: Hosts) -> dict[str, Callable[..., Any] | None]:
    """Return *hosts* as functions by name; without a function where the name alone is given.

    Raises:
        IsolationError: Something in it is no name, or no function.
    """
    if isinstance(hosts, str) or not isinstance(hosts, Collection):
        raise IsolationError(f"hosts={hosts!r:.80} is no list of names.", mend=_advice("hosts", hosts))
    found = dict(hosts) if isinstance(hosts, Mapping) else dict.fromkeys(hosts)
    for name, function in found.items():
        if not _is_path(name):
            raise IsolationError(f"hosts= holds {name!r:.80}, which is no name.", mend=_advice("hosts", name))
        if function is not None and not callable(function):
            raise IsolationError(
                f"hosts= offers {function!r:.80} as {name}, which cannot be called.", mend="Offer a function."
            )
    return found


def checked_imports(imports: Collection[str]) -> tuple[str, ...]:
    """Return the names of modules in *imports*.

    Raises:
        IsolationError: Something in it is no name of a module.
    """
    if isinstance(imports, str) or not isinstance(imports, Collection):
        raise IsolationError(f"imports={imports!r:.80} is no list of names.", mend=_advice("imports", imports))
    for name in imports:
        if not _is_path(name):
            raise IsolationError(
                f"imports= holds {name!r:.80}, which is no name of a module.", mend=_advice("imports", name)
            )
        if not _is_there(name.partition(".")[0]):
            raise IsolationError(
                f"imports= names {name}, and there is no such module.", mend="Install it, or correct the name."
            )
    return tuple(imports)


def check_found(hosts: Mapping[str, Callable[..., Any] | None], names: Mapping[str, Any], function: str) -> None:
    """Look whether what is offered by its name alone is there, as far as the name begins with one of *names*.

    Raises:
        SandboxTransferError: It is not.
    """
    for path, given in hosts.items():
        root, *parts = path.split(".")
        if given is not None or root not in names:
            continue
        value = names[root]
        for part in parts:
            if not hasattr(value, part):
                raise SandboxTransferError(
                    f"hosts= offers {path} to {function}(), and there is no {part}.", mend="Correct the name."
                )
            value = getattr(value, part)


def functions_named(hosts: Mapping[str, Callable[..., Any] | None]) -> dict[str, Callable[..., Any]]:
    """Return the functions in *hosts* that go by one name: what else there is takes an object to be found in."""
    return {path: function for path, function in hosts.items() if function is not None and "." not in path}


def _advice(option: str, given: Any) -> str:
    """Return what to write in place of *given*: something that is taken."""
    if given is None:
        return f"Leave {option}= out if there is none."
    name = given if isinstance(given, str) else getattr(given, "__name__", None)
    if option == "imports":
        return f"Write imports=[{name!r}]." if _is_path(name) else "Give names, such as imports=['numpy']."
    if _is_path(name) and isinstance(given, str):
        return f"Write hosts=[{name!r}]."
    if _is_path(name) and callable(given):
        return f"Write hosts={{{name!r}: {name}}}."
    return "Give names as the code uses them, hosts=['client.ask'], or functions by name: hosts={'ask': ask}."


def _is_there(name: str) -> bool:
    """True if there is a module *name*, which is not loaded for this; on whichever system, if it is one of Python's."""
    if name in sys.modules or name in sys.stdlib_module_names:
        return True
    from importlib.util import find_spec  # noqa: PLC0415 - few programs name any

    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _is_path(name: Any) -> bool:
    return isinstance(name, str) and all(part.isidentifier() and not iskeyword(part) for part in name.split("."))
