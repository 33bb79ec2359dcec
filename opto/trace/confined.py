"""Code that an optimizer has changed, and the sandbox that it runs in."""

import ast
import sys
import warnings
from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from functools import cached_property
from operator import eq
from types import FunctionType
from typing import Any
from weakref import WeakValueDictionary

from opto.callers import user_level
from opto.errors import DomainError, SourceError
from opto.nodes import Node, ParameterNode, enter_scope, leave_scope, new_scope
from opto.sandbox import Owned, Rewritten, Sandbox, current_sandbox
from opto.trace.asking import asking_functions, unheard
from opto.trace.binding import argument_names
from opto.trace.definition import Definition
from opto.trace.ownership import ParameterOwner
from opto.trace.source import closure_values, compile_source, keep_defaults, version_name

__all__ = ["Confined", "sandbox_for", "warn_of_borders"]


class Confined:
    """A changed source, inside the limits of a sandbox. At the level ``none`` it is a function like any other.

    Attributes:
        function: Has the signature of the candidate, and runs it.
        used: What holds the sources of other trainable functions that went along: the call depends on them.

    Args:
        source: The text.
        definition: Of the function that it takes the place of.
        sandbox: Where it runs.
        args: Of the call: the first is the object, if it is a method.
    """

    function: Any

    def __init__(self, source: str, definition: Definition, sandbox: Sandbox, args: tuple[Any, ...]) -> None:
        self._source, self._sandbox, self._surroundings = source, sandbox, _Surroundings(definition, args)
        self._definition = definition
        self.used = self._surroundings.used

    def load(self, args: tuple[Any, ...]) -> None:
        """Make the function, for a call with *args*.

        Raises:
            SourceError: The text does not define it, or one that it uses has such a text.
            SandboxError: It cannot enter the sandbox, or does not load there.
            Exception: Whatever statements beside the function raise.
        """
        source, definition, sandbox = self._source, self._definition, self._sandbox
        assert definition.source is not None
        like, owner = definition.inner, _owner_of(definition, args)
        if sandbox.isolation == "none":
            sandbox.enter_into_use()
            self.function = compile_source(source, like, owner, written=definition.source)
            return
        file, adapt = version_name(like.__name__), self._surroundings.shown
        asking = asking_functions(definition.source, like)
        hosts = {path: function for path, function in asking.items() if not sandbox.offers(path)}
        with _unread():
            told: Any = {"file": file, "hosts": hosts, "adapt": adapt, **_STREAMS}
            candidate = sandbox.load(source, like=like, owner=owner, **told)
            self.function = candidate.function
        keep_defaults(self.function, like, source, definition.source)

    def is_current(self, source: str, sandbox: Sandbox, args: tuple[Any, ...]) -> bool:
        """True if a call of *source* in *sandbox* with *args* would meet what is in here."""
        return source == self._source and sandbox.is_like(self._sandbox) and self._surroundings.are_still_so(args)

    def reads_anew(self, nodes: list[Any], keys: Iterable[str], inputs: Iterable[Any]) -> list[str] | None:
        """Return what the text calls *nodes*; None if the function as the user wrote it comes to one of them, too."""
        assert self._definition.source is not None
        written = _names_in(self._definition.source)
        places = _places_of(self._definition.inner, dict(zip(keys, inputs, strict=False)))
        found = {id(node): path for path, value in places for node in _nodes_in(value)}
        paths = [found.get(id(node)) for node in nodes]
        is_direct = any(path is not None and path.rpartition(".")[2] in written for path in paths)
        if is_direct or _names_in(self._source) <= written:  # by a function that both call
            return None
        return [*dict.fromkeys(path or repr(node.name) for path, node in zip(paths, nodes, strict=True))]


def _names_in(source: str) -> set[Any]:
    return {getattr(part, "attr", getattr(part, "id", None)) for part in ast.walk(ast.parse(source))}


def _places_of(like: FunctionType, arguments: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what *like* finds by a name, or by an attribute of an argument, with how it is written."""
    yield from like.__globals__.items()
    yield from closure_values(like).items()
    for key, given in arguments.items():
        value = given._data if isinstance(given, Node) else given  # noqa: SLF001 - only looked through
        yield from ((f"{key}.{name}", item) for name, item in getattr(value, "__dict__", {}).items())


def _nodes_in(value: Any) -> Iterator[Node[Any]]:
    if isinstance(value, Node):
        yield value
    elif type(value) in {list, tuple, dict}:
        items = value.values() if type(value) is dict else value
        yield from (item for item in items if isinstance(item, Node))


def _owner_of(definition: Definition, args: tuple[Any, ...]) -> type | None:
    """Return the class in whose body a function stands. It is looked up for what is inside a property or the like."""
    if definition.owner is not None or not args:
        return definition.owner
    for base in (args[0] if isinstance(args[0], type) else type(args[0])).__mro__:
        for member in vars(base).values():
            if isinstance(member, classmethod | property | cached_property):
                inside = (getattr(member, name, None) for name in ("__func__", "fget", "func"))
                if any(getattr(item, "_definition", None) is definition for item in inside):
                    return base
    return None


class _Surroundings:
    """What a candidate meets of the program: nodes as their values, bundled functions as what they run now.

    Attributes:
        used: The code of those that were met.
    """

    def __init__(self, definition: Definition, args: tuple[Any, ...]) -> None:
        self.used: list[ParameterNode[str]] = []
        self._texts: list[str] = []
        self._definition = definition
        self._owned = self._owned_by(args)

    def shown(self, value: Any) -> Any:
        """Return *value* as a candidate sees it, and remember whose text that is."""
        if isinstance(value, Node):
            return value.data
        code: ParameterNode[str] | None = None
        if isinstance(value, Owned):
            value, owner = value
            if isinstance(value, ParameterOwner):
                bound: Any = value
                # The object's own code, which is made when it is asked for.
                code = bound.__get__(owner, type(owner)).parameter
        definition = getattr(value, "_definition", None) if isinstance(value, ParameterOwner) else None
        if not isinstance(definition, Definition) or getattr(value, "_owner", None) is not None:
            return value
        if code is None:
            code = self._owned.get(definition, value.parameter)
        if code is None:
            return definition.function
        source = code._data  # noqa: SLF001 - its text is noted, not read
        if not any(item is code for item in self.used):
            self.used.append(code)
            self._texts.append(source)
        if source == definition.source and definition.options.source is None:
            return definition.function
        if code.domain is definition.code:
            self._check(source, definition)
        return Rewritten(value.fun, source)

    def _check(self, source: str, of: Definition) -> None:
        """Say whose text it is that cannot be run: here it is a part of another one."""
        assert of.code is not None
        try:
            of.code.check(source)
        except DomainError as error:
            problem = f"{error.problem[:1].lower()}{error.problem[1:]}"
            raise SourceError(
                f"{self._definition.name}() uses {of.name}(), which cannot be run: {problem}", mend=error.mend
            ) from error

    def are_still_so(self, args: tuple[Any, ...]) -> bool:
        """True if nothing that was met has another text now, for a call with *args*."""
        # Texts are compared by identity first, as Python does.
        now = (item._data for item in self.used)  # noqa: SLF001 - as above
        owned = self._owned_by(args) if self._owned else {}
        return all(map(eq, now, self._texts)) and all(owned.get(key) is code for key, code in self._owned.items())

    def _owned_by(self, args: tuple[Any, ...]) -> MutableMapping[Definition, ParameterNode[str]]:
        """Return what holds the code that the object of a method owns; weakly, or an object would hold itself."""
        is_method = self._definition.owner is not None and bool(args)
        owned = getattr(args[0], "__dict__", {}).get("_opto_code", {}) if is_method else {}
        return WeakValueDictionary({definition: code.parameter for definition, code in owned.items()})


@contextmanager
def _unread() -> Iterator[None]:
    """Let nodes be looked at that count as read only when the code is called."""
    token = enter_scope(new_scope())
    try:
        yield
    finally:
        leave_scope(token)


def _print(text: str) -> None:
    """Print what a candidate printed, where the program prints."""
    if sys.stdout is not None:  # where there is nothing to print to, `print` does nothing, either
        sys.stdout.write(text)


def _print_error(text: str) -> None:
    if sys.stderr is not None:  # as above
        sys.stderr.write(text)


_STREAMS: Any = {"printed": _print, "printed_errors": _print_error}


def sandbox_for(definition: Definition) -> Sandbox:
    """Return where changed code of a function runs: as its bundle says, or the block around the call, or as always."""
    own = definition.options.sandbox
    return current_sandbox() if own is None else own.at_level_around()


def note_of_borders(definition: Definition) -> str | None:
    """Return what whoever writes a new text of a function has to know of where it will run."""
    sandbox = definition.options.sandbox
    return None if sandbox is not None and sandbox.isolation == "none" else _NOTE


_NOTE = "Keeps no state"


def warn_of_borders(definition: Definition, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Say what of a function, and of the arguments that it is called with, could not enter a sandbox.

    Before an optimizer changes it: then it is too late for those who pay for each step.
    """
    assert definition.source is not None
    sandbox = sandbox_for(definition)
    if sandbox.isolation in {"strict", "monty"}:
        sandbox.prepare()  # whoever asks for a level by name wants to know now whether it is to be had
    source, inner, owner = definition.source, definition.inner, _owner_of(definition, args)
    arguments = {**dict(zip(argument_names(definition.function), args, strict=False)), **kwargs}
    with _unread():
        shown = _Surroundings(definition, args).shown
        objection = sandbox.objection(source, inner, arguments, owner=owner, adapt=shown)
        losses = sandbox.losses(source, inner, arguments, owner=owner) if objection is None else None
    against = str(objection) if objection is not None else None
    if against is None and sandbox.isolation != "none":
        against = unheard(source, inner, sandbox.offers)
    if against is not None:
        said = f"{against} It runs as you wrote it; once an optimizer has changed it, its calls will fail."
    elif losses is not None:
        said = (
            f"{losses} It runs as you wrote it; once an optimizer has changed it, each call begins with what the "
            "program has."
        )
    else:
        return
    warnings.warn(said, RuntimeWarning, stacklevel=user_level())
