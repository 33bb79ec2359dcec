"""What the user offers to candidates: functions of the program, by name, and modules."""

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
        raise IsolationError(f"hosts={hosts!r:.80} is no list of names.", mend=f"Write hosts=[{hosts!r:.80}].")
    found = dict(hosts) if isinstance(hosts, Mapping) else dict.fromkeys(hosts)
    for name, function in found.items():
        if not _is_path(name):
            raise IsolationError(
                f"hosts= holds {name!r:.80}, which is no name.",
                mend="Give names as the code uses them, such as 'client.ask', or functions by name: {'ask': ask}.",
            )
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
        raise IsolationError(f"imports={imports!r:.80} is no list of names.", mend=f"Write imports=[{imports!r:.80}].")
    for name in imports:
        if not _is_path(name):
            raise IsolationError(
                f"imports= holds {name!r:.80}, which is no name of a module.", mend="Give names, such as 'numpy'."
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


def _is_path(name: Any) -> bool:
    return isinstance(name, str) and all(part.isidentifier() and not iskeyword(part) for part in name.split("."))
