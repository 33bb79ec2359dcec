"""What a candidate is called on, ``self`` or ``cls``, and objects like it in there: by what is used of them."""

import ast
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from types import MethodType
from typing import Any

from opto.sandbox.child.codec import CannotCrossError
from opto.sandbox.child.graphs import Writing, state_of
from opto.sandbox.child.words import in_words
from opto.sandbox.program.uses import Attributes, Uses, first_argument, uses_in
from opto.sandbox.program.written import is_made_by_parts, made_by
from opto.sandbox.scope.advice import refusal
from opto.sandbox.scope.chains import Chain, Needs, weakly
from opto.sandbox.scope.sources import Sources

__all__ = ["Receivers"]

_CONTAINERS = (list, dict, set, bytearray)
_FIXED = (frozenset, tuple, str, bytes, int, float, complex)
_DEEPEST = 8
_NOTHING: Any = object()


class Receivers:
    """What stands for objects by their attributes and methods, and not by the source of their class.

    Attributes:
        argument: The name of the candidate's first argument, if that is ``self`` or ``cls``.
        main: The class around the candidate, its key, and what makes the candidate more than a function there.

    Args:
        sources: What they become a part of.
        owner: The class in whose body the candidate takes the place of a method.
        tree: The candidate.
        look_up: Returns what a name stands for in it.
    """

    def __init__(self, sources: Sources, owner: type | None, tree: ast.Module, look_up: Callable[[str], Any]) -> None:
        self._sources, self._owner, self._tree, self._look_up = sources, owner, tree, look_up
        self._needs: dict[type, Needs] = {}
        self._inside: dict[Any, tuple[Callable[[], Any], Chain, Needs]] = {}
        first, how = first_argument(tree, sources.name), None
        self.main: dict[str, Any] = {"owner": None, "class": None, "put_as": None}
        if owner is not None:
            how = made_by(vars(owner).get(sources.name))
        is_method = first in {"self", "cls"} or (owner is not None and how != "staticmethod")
        self.argument = first if is_method else None
        self._chain = Chain(sources, self.argument or "self", is_named=True)
        if owner is not None:
            self._chain.look_at(owner, None)
            self._chain.leave_out(owner, sources.name)
            if _is_plain(owner):
                sources.class_(owner)  # which says why, if it cannot enter
                key = sources.key_of(owner)
            else:
                key = self._chain.class_for(owner)
            self.main = {"owner": owner.__name__, "class": key, "put_as": how}
        sources.complete = self._complete

    def takes(self, value: Any) -> bool:
        """True if *value* is an object or a class that becomes one of those here, and no plain data."""
        kind = value if isinstance(value, type) else type(value)
        return not (_is_plain(kind) or self._chain.is_outside(kind))

    def form(self, receiver: Any) -> Any:
        """Return the form of what the candidate is called on.

        Raises:
            SandboxTransferError: The candidate uses something of it that cannot enter.
        """
        is_class = isinstance(receiver, type)
        kind = receiver if is_class else type(receiver)
        needs = self._needs.get(kind)
        if needs is None:
            self._chain.look_at(kind, receiver)
            self._chain.class_for(kind)
            uses = uses_in(self._tree, self.argument, self._chain.class_named(self._look_up))
            state = {"__call__": None} if is_class else state_of(receiver)
            needs = self._needs[kind] = self._chain.reach(kind, state, [(self._owner, uses, True)])
            self._chain.put_hosts(kind)
        if is_class:
            return {"!class": self._chain.class_for(kind)}
        writing = self._sources.values.writing()
        writing.receiver = receiver
        try:
            form = self._written(receiver, self._chain, needs, writing)
        finally:
            writing.receiver = None
        if writing.has_met_receiver and not needs.is_whole:
            # By another way than `self`: nobody can tell what is looked up on it.
            found = self._chain.reach(kind, state_of(receiver), [(None, Uses(is_whole=True), False)])
            self._needs[kind] = needs._replace(asked=needs.asked | found.asked, is_whole=True)
            return self.form(receiver)
        key, *_, fixed, _ = form["!self"]
        return {"!receiver": [key, fixed, writing.whole(form)]}

    def _complete(self, kind: type) -> None:
        """Bring all of *kind*, of which the candidate is given instances that it is not called on, or makes some."""
        if is_made_by_parts(kind, self._sources.adapt):
            self._chain.class_for(kind)
        self._chain.complete(kind)

    def _written(self, receiver: Any, chain: Chain, needs: Needs, writing: Writing) -> Any:
        """Return the form of an object by what is used of it."""
        state, path = state_of(receiver), chain.path
        forms: dict[str, Any] = {}
        missing: dict[str, str] = {}
        named = [id(state[name]) for name in needs.names if name in state]
        for name in dict.fromkeys((*needs.names, *(state if needs.is_whole else ()))):
            if self._sources.is_host(f"{path}.{name}"):
                continue
            value = state.get(name, _NOTHING)
            if value is _NOTHING and name in needs.asked and name != "__dict__":  # it has one of its own inside
                value = _asked(receiver, name)
            if value is _NOTHING:
                continue
            try:
                if isinstance(value, MethodType) and value.__self__ is receiver and name not in state:
                    raise CannotCrossError("a method that stays outside with its class")
                is_shared = named.count(id(value)) > 1
                forms[name] = self._attribute(
                    value, needs.names.get(name), f"{path}.{name}", writing, is_shared=is_shared
                )
            except CannotCrossError as error:
                if name in needs.names:
                    used = sorted(needs.names[name] or ())
                    raise refusal(
                        f"{self._sources.name}() uses {path}.{name}, {error.what}, which cannot enter the sandbox.",
                        *([f"{path}.{name}.{item}" for item in used] or [f"{path}.{name}"]),
                    ) from None
                missing[name] = error.what
        is_filled = isinstance(receiver, _CONTAINERS)
        plain = writing.encoder.base(receiver, 0) if is_filled or isinstance(receiver, _FIXED) else None
        fixed, items = (None, plain) if is_filled else (plain, None)
        return {"!self": [chain.class_for(type(receiver)), forms, missing, path, fixed, items]}

    def _attribute(
        self, value: Any, used: frozenset[str] | None, path: str, writing: Writing, *, is_shared: bool
    ) -> Any:
        """Return the form of what goes by *path*, of which the attributes *used* are used."""
        adapt = self._sources.adapt
        if used is None or not is_made_by_parts(type(value), adapt) or adapt(value) is not value:
            return writing.attempt(value)
        if is_shared:
            with suppress(CannotCrossError):  # as a whole it is one; by its parts, each name would have its own
                return writing.attempt(value)
        if path.count(".") > _DEEPEST:
            raise CannotCrossError(f"{in_words(type(value))} that is in itself")
        chain, needs = self._chain_of(value, dict.fromkeys(used), path)
        return self._written(value, chain, needs, writing)

    def _chain_of(self, value: Any, used: Attributes, path: str) -> tuple[Chain, Needs]:
        """Return classes for an object in another one. They have the texts that its methods have now."""
        kind = type(value)
        key = (kind, path, frozenset(used))
        known = self._inside.get(key)
        if known is None or known[0]() is not value:
            chain = Chain(self._sources, path, is_named=False)
            chain.look_at(kind, value)
            chain.class_for(kind)
            needs = chain.reach(kind, state_of(value), [(None, Uses(own=used), True)])
            chain.put_hosts(kind)
            known = self._inside[key] = weakly(value), chain, needs
        return known[1:]


def _is_plain(kind: type) -> bool:
    """True for classes whose instances are data, and made of their source."""
    return issubclass(kind, Enum) or (issubclass(kind, tuple) and hasattr(kind, "_fields"))


def _asked(receiver: Any, name: str) -> Any:
    """Return the attribute *name*, wherever it comes from."""
    try:
        return getattr(receiver, name)
    except Exception:  # whatever code of the user's raises, it would inside
        return _NOTHING
