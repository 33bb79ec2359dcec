"""What a bundled function is: its operator, its options, and the versions of its code."""

import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from types import FunctionType
from typing import Any, NamedTuple

from opto.errors import DomainError, SourceError
from opto.nodes import Domain, OfType, Operator, ParameterNode, as_domain, write_arguments
from opto.trace.binding import argument_names, make_binder, with_names
from opto.trace.calls import Call, Options, make_runner
from opto.trace.origin import source_of, text_of
from opto.trace.source import Code, CodeParameter, compile_source, rewrapped, unwrapped

__all__ = ["CodeVersions", "Definition", "Version"]


class Definition:
    """What all calls and all bound copies of one bundled function share. Fixed once its class is made.

    Attributes:
        runner: Has the signature of the function, runs it and records the call.
        owner: The class in whose body the function stands, or None.
        inner: What a new source takes the place of: *function*, or what the decorators below `bundle` wrap in it.
        source: The source of that as the user wrote it, *code* what a new one must be to be called as it is called, and
            *domain* what it may be, which is *code* unless the user lets go of it; None if it is not trainable.
    """

    __slots__ = ("code", "domain", "function", "inner", "operator", "options", "owner", "runner", "source")

    def __init__(self, function: Callable[..., Any], options: Options) -> None:
        self.function = function
        self.options = options
        self.owner: type | None = None
        name = _name_of(function)
        description = options.description
        if description is None:
            description = (getattr(function, "__doc__", None) or "").strip()
        elif prefix := re.match(r"\s*\[([^\[\]]+)\]\s*", description):
            # Trace's notation: "[name] what it does".
            name, description = prefix[1], description[prefix.end() :]
        is_method = argument_names(function)[:1] == ("self",)
        inner = unwrapped(function)
        self.operator = Operator(
            options.output_name or name,
            function,
            description=description,
            template=_writer(name, is_method=is_method),
            source=partial(text_of, inner),
        )
        self.runner = make_runner(Call(function, self.operator, options))
        self.inner = inner
        self.source: str | None = None
        self.code: Code | None = None
        self.domain: Domain | None = None
        if options.trainable:
            if not isinstance(inner, FunctionType) or inner.__name__ == "<lambda>":
                raise SourceError(
                    f"{name} cannot be trainable, because it has no def statement.",
                    mend="Write it as a def, or leave trainable=True out.",
                )
            if options.source is None and inner.__code__.co_name != inner.__name__:
                raise SourceError(
                    f"{name}() is wrapped by another decorator, so its source is not what runs.",
                    mend="Put bundle right above def, below the other decorators.",
                )
            rewrapped(function, inner, inner)  # or say now that it cannot be done
            self.source = options.source if options.source is not None else source_of(inner)
            asked = None if options.domain is None else as_domain(options.domain, self.source)
            # A type, such as str, stands for all of its values.
            also = None if isinstance(asked, OfType | Code) else asked
            self.code = Code.of(self.source, inner.__name__, inner.__code__.co_freevars, also)
            self.domain = self.code if asked is also else asked

    @property
    def name(self) -> str:
        return self.operator.name

    def __deepcopy__(self, memo: dict[int, Any]) -> "Definition":
        return self


def _name_of(function: Callable[..., Any]) -> str:
    named = function
    while isinstance(named, partial) and not hasattr(named, "__name__"):
        named = named.func
    name: str = getattr(named, "__name__", type(named).__name__)
    return "lambda_" if name == "<lambda>" else name


def _writer(name: str, *, is_method: bool) -> Callable[[Mapping[str, str]], str]:
    """Return how a call is written: a method on ``self``, and what is no argument as a comment or not at all.

    Keys that are no names of arguments begin with a blank or are ``__code``.
    """

    def write(arguments: Mapping[str, str]) -> str:
        shown = {
            key: value
            for key, value in arguments.items()
            if key[0] != " " and key != "__code" and not (is_method and key == "self")
        }
        # Trainable functions go by the name of their code: two instances may run two versions.
        call = f"{'self.' * is_method}{arguments.get('__code', name)}({write_arguments(shown)})"
        if " item" in arguments:
            call = f"list({call})[{arguments[' item']}]"
        comments = [f"= {arguments[' inside']}"] if " inside" in arguments else []
        sent = [value for key, value in arguments.items() if key.startswith(" sent")]
        comments += [f"sent {', '.join(sent)}"] if sent else []
        also = [value for key, value in arguments.items() if key.startswith(" reads")]
        comments += [f"also reads {', '.join(also)}"] if also else []
        return f"{call}  # {'; '.join(comments)}" if comments else call

    return write


_new = object.__new__


class Version(NamedTuple):
    """A source, what it was compiled to, and what runs that (see `make_runner`)."""

    source: str | None
    function: Callable[..., Any]
    runner: Callable[..., Any]


class CodeVersions:
    """The code that a trainable function runs: a parameter, and the newest version of it, compiled.

    Attributes:
        definition: Of the function.
        parameter: Holds the source.
        version: The newest that was compiled.
        asked: True once somebody has looked the function up on the instance that owns this code.
    """

    __slots__ = ("asked", "definition", "parameter", "version")

    def __init__(self, definition: Definition) -> None:
        assert definition.code is not None
        assert definition.source is not None
        self.definition = definition
        self.parameter: ParameterNode[str] = CodeParameter(
            definition.source,
            name=definition.code.name,
            domain=definition.domain,
            projections=definition.options.projections,
        )
        self.version = self._written
        self.asked = False

    @classmethod
    def revived(cls, definition: Definition, parameter: ParameterNode[str], *, asked: bool) -> "CodeVersions":
        """Return code as it was before, whose source is not compiled yet."""
        code = _new(cls)
        code.definition, code.parameter, code.asked = definition, parameter, asked
        code.version = Version(None, definition.function, definition.runner)
        return code

    def __deepcopy__(self, memo: dict[int, Any]) -> "CodeVersions":
        twin = self.revived(self.definition, deepcopy(self.parameter, memo), asked=self.asked)
        source, function, runner = self.version
        twin.version = Version(source, function, with_names(runner, **twin.call_of(function).names))
        return twin

    def run(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function as its source stands now."""
        version = self.version
        # By identity, which is all that a call needs to know. It is recorded as an input, not read.
        if self.parameter._data is not version.source:  # noqa: SLF001 - no read of the program
            version = self._updated(args, kwargs)
        return version.runner(*args, **kwargs) if kwargs else version.runner(*args)

    def call_of(self, function: Callable[..., Any]) -> Call:
        """Return how *function*, a version of this code, is run."""
        return Call(function, self.definition.operator, self.definition.options, self.parameter)

    @property
    def _written(self) -> Version:
        """The function as the user wrote it, the very object: only what was changed is compiled."""
        function, runner = self.definition.function, self.definition.runner
        return Version(self.definition.source, function, with_names(runner, **self.call_of(function).names))

    def _updated(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Version:
        source = self.parameter._data  # noqa: SLF001 - as above
        if source == self.version.source:
            return self.version
        definition = self.definition
        assert definition.source is not None
        if source == definition.source:
            self.version = self._written
            return self.version
        try:
            self._check(source)
            made = compile_source(source, definition.inner, definition.owner, written=definition.source)
            function = rewrapped(definition.function, definition.inner, made)
        except Exception as cause:
            # Code that a domain let pass may still fail where it is defined: in a default, in an import.
            keys, inputs, *_ = make_binder(definition.function)(*args, **kwargs)
            self.call_of(definition.function).fail(keys, inputs, [], cause)
        self.version = Version(source, function, make_runner(self.call_of(function)))
        return self.version

    def _check(self, source: str) -> None:
        """Refuse what the domain refuses: whoever set the value may not have asked, and callers rely on it."""
        code = self.definition.code
        if code is None or self.parameter.domain is not code:
            return
        try:
            code.check(source)
        except DomainError as error:
            raise SourceError(error.problem, mend=error.mend) from error
