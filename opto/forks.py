"""Locks and connections that a forked process must not take over: somebody else holds them."""

import os
import weakref
from typing import Protocol

__all__ = ["renew_after_fork"]


class Renewable(Protocol):
    def begin_again(self) -> None:
        """Forget what belongs to the process that this one was forked from."""


_renewable: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renew_after_fork(thing: Renewable) -> None:
    """Let *thing* begin again in every process that is forked from this one."""
    _renewable.add(thing)


def _renew() -> None:
    for thing in list(_renewable):
        thing.begin_again()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
