"""The code that a trainable function runs: as the user wrote it, or as an optimizer has changed it."""

from _thread import RLock  # what `threading` is made of, which not every program needs
from collections.abc import Callable
from copy import deepcopy
from typing import Any, NamedTuple

from opto.errors import DomainError, SourceError
from opto.nodes import ParameterNode
from opto.sandbox import Sandbox
from opto.trace.binding import make_binder, with_names
from opto.trace.calls import Call, make_runner
from opto.trace.confined import Confined, note_of_borders, sandbox_for, warn_of_borders
from opto.trace.definition import Definition
from opto.trace.source import CodeParameter, rewrapped

__all__ = ["CodeVersions"]

_new = object.__new__


class Version(NamedTuple):
    """A source and what runs it.

    Attributes:
        source: The text, if nothing but another text could make this another version: as the user wrote it.
        function: What it was compiled to, or a function that passes calls on to a sandbox.
        runner: Has the signature of that, runs it and records the call (see `make_runner`).
        confined: What a changed text runs in; None for the one that the user wrote.
    """

    source: str | None
    function: Callable[..., Any]
    runner: Callable[..., Any]
    confined: Confined | None = None


class CodeVersions:
    """The code that a trainable function runs: a parameter, and the newest version of it.

    Trust goes by author: the function as the user wrote it runs in this process, any other text in a sandbox.

    Attributes:
        definition: Of the function.
        parameter: Holds the source.
        version: The newest that was made.
        asked: True once somebody has looked the function up on the instance that owns this code.
    """

    __slots__ = ("_lock", "asked", "definition", "parameter", "version")

    def __init__(self, definition: Definition) -> None:
        assert definition.code is not None
        assert definition.source is not None
        self.definition = definition
        self.parameter: ParameterNode[str] = CodeParameter(
            definition.source,
            name=definition.code.name,
            description=note_of_borders(definition),
            domain=definition.domain,
            projections=definition.options.projections,
        )
        # Unless a first call has to look at it, the very function: `_updated` is for those that may have changed.
        self.version = self._written if definition.was_looked_at else self._unknown(definition)
        self.asked = False
        self._lock = RLock()

    @classmethod
    def revived(cls, definition: Definition, parameter: ParameterNode[str], *, asked: bool) -> "CodeVersions":
        """Return code as it was before, whose source is not compiled yet."""
        code = _new(cls)
        code.definition, code.parameter, code.asked = definition, parameter, asked
        code.version, code._lock = cls._unknown(definition), RLock()  # noqa: SLF001 - its own class
        return code

    @staticmethod
    def _unknown(definition: Definition) -> Version:
        return Version(None, definition.function, definition.runner)

    def __deepcopy__(self, memo: dict[int, Any]) -> "CodeVersions":
        twin = self.revived(self.definition, deepcopy(self.parameter, memo), asked=self.asked)
        source, function, runner, _ = self.version
        # A copy of changed code is another candidate, and keeps to itself.
        if source is not None:
            twin.version = Version(source, function, with_names(runner, **twin.call_of(function).names))
        return twin

    def run(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function as its source stands now."""
        version = self.version
        # By identity, which is all that a call needs to know. It is recorded as an input, not read.
        if self.parameter._data is not version.source:  # noqa: SLF001 - no read of the program
            version = self._updated(args, kwargs)
        return version.runner(*args, **kwargs) if kwargs else version.runner(*args)

    def call_of(self, function: Callable[..., Any], confined: Confined | None = None) -> Call:
        """Return how *function*, a version of this code, is run."""
        return Call(function, self.definition.operator, self.definition.options, self.parameter, confined)

    @property
    def _written(self) -> Version:
        """The function as the user wrote it, the very object."""
        function, runner = self.definition.function, self.definition.runner
        return Version(self.definition.source, function, with_names(runner, **self.call_of(function).names))

    def _updated(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Version:
        source = self.parameter._data  # noqa: SLF001 - as above
        definition = self.definition
        assert definition.source is not None
        if source == definition.source:
            if not definition.was_looked_at:
                definition.was_looked_at = True
                warn_of_borders(definition, args, kwargs)
            self.version = self._written._replace(source=source)  # the very object: `run` asks for no more
            return self.version
        sandbox = sandbox_for(definition)
        sandbox.prepare()  # what is not to be had is no fault of the code
        version = self.version
        if version.confined is not None and version.confined.is_current(source, sandbox, args):
            return version
        with self._lock:  # or calls at the same time would begin with a candidate each
            version = self.version
            if version.confined is None or not version.confined.is_current(source, sandbox, args):
                version = self.version = self._changed(source, sandbox, args, kwargs)
        return version

    def _changed(self, source: str, sandbox: Sandbox, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Version:
        definition = self.definition
        confined = Confined(source, definition, sandbox, args)
        try:
            self._check(source)
            confined.load(args)
            function = rewrapped(definition.function, definition.inner, confined.function)
        except Exception as cause:
            # Code that a domain let pass may still fail where it is defined: in a default, in an import.
            keys, inputs, *_ = make_binder(definition.function)(*args, **kwargs)
            self.call_of(definition.function, confined).fail(keys, inputs, [], cause)
        return Version(None, function, make_runner(self.call_of(function, confined)), confined)

    def _check(self, source: str) -> None:
        """Refuse what the domain refuses: whoever set the value may not have asked, and callers rely on it."""
        code = self.definition.code
        if code is None or self.parameter.domain is not code:
            return
        try:
            code.check(source)
        except DomainError as error:
            raise SourceError(error.problem, mend=error.mend) from error
