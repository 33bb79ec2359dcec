"""Where code runs that nobody has read yet: the levels of isolation, and how candidates are loaded."""

import ast
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from importlib import import_module
from itertools import count
from types import FunctionType
from typing import Any, ClassVar, Literal, Self, cast, get_args

from opto.blocks import Block
from opto.errors import IsolationError, SandboxTransferError, SourceError
from opto.sandbox.forwarding import Definition, Engine, find_definition, forwarding
from opto.sandbox.limits import Limits
from opto.sandbox.offering import Hosts, checked_hosts, checked_imports

__all__ = ["Candidate", "Hosts", "Isolation", "Sandbox", "current_sandbox", "levels_in_use"]

Isolation = Literal["auto", "strict", "child", "monty", "none"]
_ISOLATIONS: tuple[str, ...] = get_args(Isolation)
_VARIABLE = "OPTO_ISOLATION"
_version = count(1).__next__
#: In order of first use; a fact about the process.
_levels_in_use: dict[str, None] = {}


class Candidate:
    """A function that somebody proposed, inside its limits.

    It may be called from several threads and tasks at once. Calls one after the other meet the same process, and what
    the code keeps there; calls at the same time meet others, and a call after one that passed a limit a new one.

    Attributes:
        source: Its text.
        name: Its name.

    Example:
        >>> candidate = Sandbox().load("def double(x): return 2 * x")
        >>> candidate(21)
        42
        >>> candidate.close()
    """

    def __init__(self, source: str, definition: Definition, engine: Engine, like: FunctionType | None = None) -> None:
        self.source, self.name = source, definition.name
        self._definition, self._engine, self._like = definition, engine, like
        self._function: FunctionType | None = None

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run it on *args* and *kwargs*, and return its result.

        Raises:
            SandboxError: It passed a limit, or something cannot enter or leave.
            Exception: Whatever it raised, with the lines of its source as the traceback.
        """
        return self._engine(*args, **kwargs)

    async def acall(self, /, *args: Any, **kwargs: Any) -> Any:
        """Do as a call does, while the event loop goes on. Functions in `hosts` may be coroutine functions."""
        return await self._engine.acall(*args, **kwargs)

    @property
    def function(self) -> FunctionType:
        """A function of the same kind, with the same name, signature and default values, that runs it.

        Default values are computed inside: the first look at this loads the code if there are any.
        """
        if self._function is None:
            args = self._definition.args
            has_defaults = bool(args.defaults) or any(args.kw_defaults)
            defaults = self._engine.defaults if has_defaults else {}
            made = forwarding(self._definition, self._engine, defaults)
            made.__doc__ = ast.get_docstring(self._definition, clean=False)
            if self._like is not None:
                made.__module__, made.__qualname__ = self._like.__module__, self._like.__qualname__
            self._function = made
        return self._function

    @property
    def output(self) -> str:
        """What the last call printed."""
        return self._engine.output

    def close(self) -> None:
        """End its processes, and lose what they keep. A later call begins with a new one."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<candidate {self.name}>"


class Sandbox(Block):
    r"""Where code runs that nobody has read yet. See ``docs/security.md`` for what each level holds.

    Functions made trainable with ``@bundle(trainable=True)`` run there once an optimizer has changed them: each in the
    sandbox of its ``isolation=``, or in the one whose block is around the call, or in one with the settings below.

    Args:
        isolation: ``auto``: a process of its own, and whatever the kernel helps with. ``strict``: the same, and an
            error if the kernel does not help; bubblewrap around it where that works. ``child``: the process alone.
            ``monty``: the interpreter pydantic-monty, for small pure functions. ``none``: no limits. The default is
            that of the block around unless it is ``none``, then the environment variable ``OPTO_ISOLATION``, then
            ``auto``.
        limits: How much one candidate may use.
        imports: Modules that candidates may import besides the harmless ones of the standard library and those that the
            module of the original function imports.
        hosts: What candidates may call outside: functions by the names that the code uses for them (``{"ask": ask}``).
            Without a function, it is what goes by that name at the time of the call: ``"client.ask"``, or by way of an
            argument, ``"self.llm.ask"``.

    Raises:
        IsolationError: There is no such level, no such limit, or what is offered has no name.

    Example:
        >>> from opto.trace import bundle
        >>> @bundle(trainable=True)
        ... def grow(x):
        ...     return x + 1
        >>> _ = grow.parameter._set("def grow(x):\n    while x > 0:\n        x += 1\n    return x\n")
        >>> with Sandbox(limits=Limits(seconds=0.2)):
        ...     grow(1)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        opto.nodes.failures.ExecutionError[SandboxTimeoutError]: grow raised SandboxTimeoutError: grow() did not ...
    """

    isolation: Isolation
    limits: Limits

    unknowing: ClassVar[tuple[str, str]] = (
        "Code that an optimizer has changed runs",
        "give it to the function (@bundle(trainable=True, isolation=Sandbox(…)))",
    )

    def __init__(
        self,
        isolation: Isolation | None = None,
        *,
        limits: Limits | None = None,
        imports: Collection[str] = (),
        hosts: Hosts = (),
    ) -> None:
        # Or whoever only names other limits would lower the level without a word.
        around = _level_around(self.blocks.around()) if isolation is None else None
        asked = isolation if isolation is not None else around or os.environ.get(_VARIABLE) or "auto"
        if asked not in _ISOLATIONS:
            where = "isolation" if isolation is not None else _VARIABLE
            raise IsolationError(
                f"{where}={asked!r:.80} is no level of isolation.", mend=f"Use {', '.join(_ISOLATIONS)}."
            )
        if limits is not None and not isinstance(limits, Limits):
            raise IsolationError(f"limits={limits!r:.80} are no Limits.", mend="Write Limits(seconds=2), for instance.")
        if isolation == "none" and limits is not None:
            raise IsolationError(
                "Nothing keeps to limits at the level 'none'.", mend="Leave limits= out, or the level."
            )
        self.__dict__.update(isolation=asked, limits=(limits or Limits()).checked())
        self._is_level_given = isolation is not None
        self._imports, self._hosts = checked_imports(imports), checked_hosts(hosts)
        self._prepared: Any = None
        self._elsewhere: dict[str, Sandbox] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            raise IsolationError(
                f"{name} of a Sandbox cannot be changed.", mend=f"Make another one: Sandbox({name}=…)."
            )
        super().__setattr__(name, value)

    @property
    def level(self) -> str:
        """What is in force, as it was tried out, such as ``landlock+seccomp``, ``child`` or ``none``.

        Raises:
            IsolationError: What was asked for is not to be had.
        """
        name: str = self._level.name
        return name

    def load(
        self,
        source: str,
        name: str | None = None,
        *,
        like: FunctionType | None = None,
        owner: type | None = None,
        file: str | None = None,
        hosts: Hosts = (),
        imports: Collection[str] = (),
        adapt: Callable[[Any], Any] | None = None,
        printed: Callable[[str], object] | None = None,
        printed_errors: Callable[[str], object] | None = None,
    ) -> Candidate:
        """Return the function that *source* defines. Nothing of it runs before it is called.

        Args:
            source: The text: a function, and imports and helpers beside it.
            name: Of the function; the last one if it is left out.
            like: The function whose place it takes. What it speaks of is looked up where that stands: plain data and
                the source of functions and classes are sent along.
            owner: The class that *like* is a method of.
            file: What tracebacks call the text.
            hosts: More that is called outside.
            imports: More modules that it may import.
            adapt: Maps what *like* speaks of before it is looked at: to unwrap what wraps data or functions. For a
                function whose text is not that in its file any more, it returns a `Rewritten`.
            printed: Called with what a call has printed, if anything. See `Candidate.output`.
            printed_errors: Called in its place with what went to `sys.stderr`: warnings and logs, for instance.

        Raises:
            SourceError: There is no such function in the text.
            SandboxTransferError: It speaks of something that cannot enter.
            IsolationError: What was asked for is not to be had.
        """
        tree = _parsed(source)
        if like is not None and not isinstance(like, FunctionType):
            raise SourceError(
                f"like={like!r:.80} is no function that was written in Python.", mend="Give the function itself."
            )
        wanted = name or (like.__name__ if like is not None else None)
        definition = find_definition(tree, wanted)
        if definition is None:
            raise SourceError(
                f"The code does not define {'a function' if wanted is None else f'{wanted}()'}.",
                mend="Write a def statement." if wanted is None else _how_to_name(wanted, is_given=name is not None),
            )
        file = file or f"<{definition.name}, candidate {_version()}>"
        self.enter_into_use()
        engine = _engines().make(
            source,
            definition,
            level=self._level,
            limits=self.limits,
            like=like,
            owner=owner,
            file=file,
            hosts={**self._hosts, **checked_hosts(hosts)},
            imports=(*self._imports, *checked_imports(imports)),
            adapt=adapt,
            printed=printed,
            printed_errors=printed_errors,
        )
        return Candidate(source, definition, engine, like)

    def prepare(self) -> None:
        """Find out now, and not at the first candidate, whether the level is to be had.

        Raises:
            IsolationError: It is not.
            MissingDependencyError: A package that it needs is not installed.
        """
        _ = self._level

    def enter_into_use(self) -> None:
        """Note that code runs at this level. `load` does; whoever runs code at the level ``none`` without it should."""
        _levels_in_use.setdefault(self.level)

    def objection(
        self,
        source: str,
        like: FunctionType,
        arguments: Mapping[str, Any],
        *,
        owner: type | None = None,
        adapt: Callable[[Any], Any] | None = None,
    ) -> SandboxTransferError | None:
        """Return why *source*, in the place of *like*, could not be called with *arguments* here, if that can be seen.

        Nothing is run and no process started: containers are looked at, not copied. At the level ``none``, nothing
        stands against anything; what ``monty`` makes of it, a call tells.
        """
        if self.isolation in {"none", "monty"}:
            return None
        borders = import_module("opto.sandbox.borders")
        try:
            borders.look(source, arguments, like=like, owner=owner, hosts=self._hosts, adapt=adapt)
        except SandboxTransferError as error:
            return error
        except Exception as error:  # objects of the program may answer anything to whoever looks at them
            _note_unseen(like, error)
        return None

    def losses(
        self, source: str, like: FunctionType, arguments: Mapping[str, Any], *, owner: type | None = None
    ) -> str | None:
        """Return what of the program *source* would change to no avail, in the place of *like*, as its text tells.

        That is what it assigns to attributes of the object that it is called on, to global names and closure variables,
        and what it changes in plain containers there.
        """
        if self.isolation == "none":
            return None
        borders = import_module("opto.sandbox.borders")
        try:
            said: str | None = borders.lost(source, arguments, like=like, owner=owner, hosts=self._hosts)
        except Exception as error:  # as above
            _note_unseen(like, error)
            return None
        return said

    def offers(self, path: str) -> bool:
        """True if the user has said what candidates call outside by *path*, or by a part of it."""
        return any(
            path == item or f"{path}.".startswith(f"{item}.") or item.startswith(f"{path}.") for item in self._hosts
        )

    def at_level_around(self) -> "Sandbox":
        """Return the same at the level of the block around the caller, if there is one and this was made without any.

        A block of its own does not count: what is around that does.
        """
        if self._is_level_given:
            return self
        around = self.blocks.around()
        level = _level_around(around[: around.index(self)] if self in around else around)
        if level is None or level == self.isolation:
            return self
        if level not in self._elsewhere:
            self._elsewhere[level] = Sandbox(level, limits=self.limits, imports=self._imports, hosts=self._hosts)
        return self._elsewhere[level]

    def is_like(self, other: "Sandbox") -> bool:
        """True if candidates of *other* may stay there: a block in a loop makes a sandbox for each round."""
        return self is other or self._settings == other._settings  # noqa: SLF001 - its own class

    @property
    def _settings(self) -> tuple[Any, ...]:
        return self.isolation, self.limits, self._imports, self._hosts

    @property
    def _level(self) -> Any:
        if self._prepared is None:
            self._prepared = _engines().prepare(self.isolation)
        return self._prepared

    def __repr__(self) -> str:
        more = f", imports={self._imports}" if self._imports else ""
        more += f", hosts={[*self._hosts]}" if self._hosts else ""
        return f"Sandbox({self.isolation!r}, limits={self.limits}{more})"


def current_sandbox() -> Sandbox:
    """Return the sandbox whose block is around the caller, or one with the settings of the environment.

    Example:
        >>> with Sandbox("child") as sandbox:
        ...     current_sandbox() is sandbox
        True
    """
    around = Sandbox.blocks.around()
    return cast("Sandbox", around[-1]).at_level_around() if around else _default(os.environ.get(_VARIABLE))


def levels_in_use() -> tuple[str, ...]:
    """Return the levels at which code has been loaded in this process so far, as `Sandbox.level` names them."""
    return (*_levels_in_use,)


def _level_around(blocks: "Iterable[Sandbox]") -> Isolation | None:
    """Return the level that the innermost of *blocks* with one gives; None for that without limits, which is weaker."""
    level = next((item.isolation for item in reversed([*blocks]) if item._is_level_given), None)  # noqa: SLF001 - its own class
    return None if level == "none" else level


@cache
def _default(_: str | None) -> Sandbox:
    return Sandbox()


def _note_unseen(like: FunctionType, error: Exception) -> None:
    import logging  # noqa: PLC0415 - few programs get here

    logging.getLogger(__name__).debug("What stands against %s() could not be seen.", like.__name__, exc_info=error)


def _how_to_name(wanted: str, *, is_given: bool) -> str:
    if wanted.isidentifier():
        return (
            f"Keep the function and its name, {wanted}{'' if is_given else ', or give another: load(…, name, like=…)'}."
        )
    return "Give the name of the function: load(source, name, like=…)."


def _engines() -> Any:
    """Return the module of what runs candidates: programs that change no code do without."""
    return import_module("opto.sandbox.engines")


def _parsed(source: str) -> ast.Module:
    if not isinstance(source, str):
        raise SourceError(
            f"The code is of the type {type(source).__name__}, not a text.", mend="Give the text of a function."
        )
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = f" in line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise SourceError(f"The code does not parse{where}: {reason}.", mend="Give complete, valid Python.") from error
