"""What a candidate needs of the user's program, as text and plain data: resolved once, and sent to each child."""

import ast
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType
from typing import Any

from opto.errors import SandboxTransferError
from opto.sandbox.child.codec import CannotCrossError, Encoder
from opto.sandbox.child.definitions import without_decorators
from opto.sandbox.offering import check_found
from opto.sandbox.places import of_module
from opto.sandbox.program.names import called_in, imported_by, names_in
from opto.sandbox.program.texts import Text
from opto.sandbox.program.written import closure_of, looks_up
from opto.sandbox.scope.advice import GENERAL
from opto.sandbox.scope.modules import Place
from opto.sandbox.scope.receivers import Receivers
from opto.sandbox.scope.sources import Sources

__all__ = ["Scope"]

#: Kinds of data that is found by names which stand nowhere.
_PLAIN = frozenset({str, int, float, bool, list, dict, tuple, set, frozenset})
_SLOW = frozenset({"numpy", "pandas"})
_OFFER_ANOTHER = (
    "Offer a function of yours in its place that returns plain data, such as a text: Sandbox(hosts={'ask': ask})."
)


class Scope:
    """What a candidate may use of the user's program.

    Attributes:
        entries: How each part is made, in order. More are added when arguments bring more classes.
        watched: The plain data among them, by space and name.
        modules: The modules that are allowed because the user's program imports them.
        used: The modules that certainly will be imported.
        rewritten: The names of functions that have other texts than in their files, by the names that these go by.
        main: What processes are told of the candidate itself, besides its text.
        values: Turns arguments into forms, and forms of results into values.

    Args:
        source: The text.
        name: The function in it.
        hosts: What is called outside, by name.
        like: The function whose place it takes: names stand for what they stand for there.
        owner: The class that it is a method of.
        adapt: Maps each value of the program before it is looked at.
        encoder: The class that turns arguments into forms.

    Raises:
        SandboxTransferError: Something of it cannot enter.
    """

    def __init__(
        self,
        source: str,
        name: str,
        *,
        hosts: Mapping[str, Callable[..., Any] | None],
        like: FunctionType | None,
        owner: type | None,
        adapt: Callable[[Any], Any] | None,
        encoder: type[Encoder] = Encoder,
    ) -> None:
        values: Mapping[str, Any] = like.__globals__ if like is not None else {}
        free: Mapping[str, Any] = closure_of(like) if like is not None else {}
        space = (like.__module__ if like is not None else None) or "candidate"
        check_found(hosts, {**values, **free}, name)
        tree = ast.parse(source)
        without_decorators(tree, name)
        called = called_in(tree)
        sources = self._sources = Sources(name, hosts, adapt or (lambda value: value), encoder)
        self.entries, self.values, self.watched = sources.entries, sources.values, sources.data.watched
        self.modules, self.used, self.rewritten = sources.modules, sources.used, sources.rewritten
        self.modules |= of_module(values, space) | (imported_by(like.__code__) if like is not None else set())
        self._name, self._values, self._free = name, values, free
        self._receivers = Receivers(sources, owner, tree, lambda item: free.get(item, values.get(item)))
        defaults = {} if like is None else sources.defaults(like, Text(source, tree, name), space, is_rewritten=True)
        names = names_in(tree)
        self.used |= {module.partition(".")[0] for module in names.modules}
        place = Place(name, space, values, free, called)
        inner = {}
        for item in names.free:
            if item in free and item != "__class__":
                entry = inner[item] = sources.named(item, free, "", place)
                change = {"do": "value", "cell": item, "value": entry.get("value")}
                sources.data.watch(("", item), free, entry, change)
        sources.bring(names, place)
        # Only if the user's own code does so: otherwise a candidate would find what nobody meant it to see.
        if like is not None and looks_up(like.__code__):
            plain = [key for key, value in values.items() if type(value) in _PLAIN and key[:2] != "__"]
            sources.bring(names._replace(free=(*plain,)), place, needed=())
        if like is not None:
            sources.data.hold_function(like, "!main", {"of": "!main"})
        sources.data.settle()
        self._known = len(self.entries)
        self.main: dict[str, Any] = {"space": space, "free": inner, "defaults": defaults, **self._receivers.main}

    @property
    def is_current(self) -> bool:
        """True while names of functions, classes and modules stand for those that they stood for."""
        return self._sources.are_current

    @property
    def content(self) -> Any:
        """What the source speaks of, as it was looked at last. Classes that arguments brought are not among it."""
        return [self.entries[: self._known], self.main["free"], self.main["defaults"]]

    def look_again(self) -> None:
        """Note which of the data that the candidate uses has another value now.

        Raises:
            SandboxTransferError: One of them cannot enter any more.
        """
        self._sources.data.look_again(self._name)

    def expect(self, values: Iterable[Any]) -> None:
        """Note that *values* will come, before there is a process: what takes long to import is then there already."""
        self.used |= _SLOW & {type(value).__module__.partition(".")[0] for value in values}

    def value_of(self, name: str) -> Any:
        """Return what the program calls *name* now.

        Raises:
            KeyError: Nothing.
        """
        return self._free[name] if name in self._free else self._values[name]

    def encode_result(self, name: str, value: Any) -> Any:
        """Return the form of what the host's function *name* returned.

        Raises:
            SandboxTransferError: It has none.
        """
        return self._settled(lambda: self.values.form(value), f"{name}() returned", _OFFER_ANOTHER)

    def encode(self, name: str, value: Any) -> Any:
        """Return the form of the argument *name*.

        Raises:
            SandboxTransferError: It has none.
        """
        return self._settled(
            lambda: self._argument(name, value), f"The argument {name} of {self._name}() is or holds", GENERAL
        )

    def _argument(self, name: str, value: Any) -> Any:
        if name == self._receivers.argument and self._receivers.takes(value):
            return self._receivers.form(value)
        if self._sources.is_host(name):
            try:
                return Encoder().encode(value)
            except CannotCrossError:  # what is offered of it is called outside
                return {"!host": name}
        return self.values.form(value)

    def _settled(self, make: Callable[[], Any], what: str, mend: str) -> Any:
        """Return the form that *make* returns, once all that it speaks of is among the entries."""
        try:
            form = make()
        except CannotCrossError as error:
            raise SandboxTransferError(f"{what} {error.what}, which cannot enter the sandbox.", mend=mend) from None
        self._sources.data.settle()
        return form
