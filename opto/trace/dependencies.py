"""What a call depended on besides its arguments, and whether it left those as they were."""

from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

from opto.callers import user_level
from opto.nodes import MessageNode, warn_if_changed

__all__ = ["disable_external_dependencies_check", "hidden_reads", "is_checked", "warn_of_changes"]

_checked: ContextVar[bool] = ContextVar("opto_external_dependencies_checked", default=True)
is_checked = _checked.get


def disable_external_dependencies_check(disabled: bool = True) -> None:
    """Let bundles read nodes that are not their arguments, or (with False) report them again.

    As in Trace, but for the thread or task that says so only. The reads are recorded as inputs either way.
    """
    _checked.set(not disabled)


def warn_of_changes(name: str, keys: Iterable[str], _: Iterable[Any], before: Iterable[Any]) -> None:
    """Warn of each input that is no longer what its fingerprint in *before* says."""
    for key, was in zip(keys, before, strict=True):
        if key != "self":  # a method may change its object: that is what objects are for
            warn_if_changed(name, key, was, stacklevel=user_level())


def hidden_reads(reads: list[Any], given: Iterable[Any]) -> list[Any]:
    """Return those of *reads* that were not given, directly or in a container."""
    known: set[int] = set()
    waiting = list(given)
    while waiting:
        item = waiting.pop()
        if id(item) in known:
            continue
        known.add(id(item))
        if isinstance(item, MessageNode) and item.operator.packs:
            waiting += item._inputs  # noqa: SLF001 - a container's items
    return [item for item in reads if id(item) not in known]
