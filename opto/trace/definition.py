"""What a bundled function is: its operator, its options, and the versions of its code."""

import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from types import FunctionType
from typing import Any, NamedTuple

from opto.errors import SourceError
from opto.nodes import Operator, ParameterNode, node, write_arguments
from opto.trace.binding import Bound, argument_names, make_binder
from opto.trace.memo import Memo
from opto.trace.source import Code, compile_source, source_of

__all__ = ["CodeVersions", "Definition", "Options", "Version"]

# Flags of code objects, as in `inspect`, which takes longer to import than all of this package.
_COROUTINE, _GENERATOR, _ASYNC_GENERATOR = 0x80, 0x20, 0x200


class Options(NamedTuple):
    """What the user passed to `bundle`."""

    description: str | None = None
    trainable: bool = False
    source: str | None = None
    catch_execution_error: bool = True
    allow_external_dependencies: bool = False
    traceable_code: bool = False
    process_inputs: bool = True
    projections: tuple[Callable[[Any], Any], ...] = ()
    domain: Any = None
    memo: Memo | None = None
    output_name: str | None = None


class Definition:
    """What all calls and all bound copies of one bundled function share. Never changed after decoration.

    Attributes:
        mode: How its body is run: ``plain``, ``open`` (on the nodes themselves), ``memo``, ``async``, ``generator`` or
            ``async generator``.
        owner: The class in whose body the function stands, or None.
        source: The source as the user wrote it, and *code* what a new one must be; None if it is not trainable.
    """

    __slots__ = ("bind", "code", "function", "is_special", "mode", "operator", "options", "owner", "source")

    def __init__(self, function: Callable[..., Any], options: Options) -> None:
        self.function = function
        self.options = options
        self.bind = make_binder(function)
        self.owner: type | None = None
        self.mode = _mode(function, options)
        self.is_special = self.mode != "plain"
        name = _name_of(function)
        description = options.description
        if description is None:
            description = (getattr(function, "__doc__", None) or "").strip()
        elif prefix := re.match(r"\s*\[([^\[\]]+)\]\s*", description):
            # Trace's notation: "[name] what it does".
            name, description = prefix[1], description[prefix.end() :]
        is_method = argument_names(function)[:1] == ("self",)
        self.operator = Operator(
            options.output_name or name, function, description=description, template=_writer(name, is_method=is_method)
        )
        self.source: str | None = None
        self.code: Code | None = None
        if options.trainable:
            if not isinstance(function, FunctionType) or function.__name__ == "<lambda>":
                raise SourceError(
                    f"{name} cannot be trainable, because it has no def statement.",
                    mend="Write it as a def, or leave trainable=True out.",
                )
            self.source = options.source if options.source is not None else source_of(function)
            self.code = Code.of(self.source, function.__name__, function.__code__.co_freevars)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Definition":
        return self


def _name_of(function: Callable[..., Any]) -> str:
    named = function
    while not hasattr(named, "__name__") and hasattr(named, "func"):  # functools.partial
        named = named.func
    name: str = getattr(named, "__name__", type(named).__name__)
    return "lambda_" if name == "<lambda>" else name


def _mode(function: Callable[..., Any], options: Options) -> str:
    flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
    if options.traceable_code or not options.process_inputs:
        return "open"
    for flag, mode in ((_COROUTINE, "async"), (_ASYNC_GENERATOR, "async generator"), (_GENERATOR, "generator")):
        if flags & flag:
            return mode
    return "plain" if options.memo is None else "memo"


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
        also = [value for key, value in arguments.items() if key.startswith(" reads")]
        comments += [f"also reads {', '.join(also)}"] if also else []
        return f"{call}  # {'; '.join(comments)}" if comments else call

    return write


_new = object.__new__


class Version(NamedTuple):
    """A source and what it was compiled to."""

    source: str | None
    function: Callable[..., Any]
    bind: Callable[..., Bound]


class CodeVersions:
    """The code that a trainable function runs: a parameter, and the newest version of it, compiled.

    Attributes:
        parameter: Holds the source.
        version: The newest that was compiled.
        asked: True once somebody has looked the function up on the instance that owns this code.
    """

    __slots__ = ("asked", "parameter", "version")

    def __init__(self, definition: Definition) -> None:
        assert definition.code is not None
        self.parameter: ParameterNode[str] = node(
            definition.source,
            name=definition.function.__name__,
            trainable=True,
            domain=definition.options.domain or definition.code,
            projections=definition.options.projections,
        )
        # What the user wrote runs as it is, the very function object; only what was changed is compiled.
        self.version = Version(self.parameter._data, definition.function, definition.bind)  # noqa: SLF001
        self.asked = False

    def __deepcopy__(self, memo: dict[int, Any]) -> "CodeVersions":
        twin = _new(CodeVersions)
        twin.parameter, twin.version, twin.asked = deepcopy(self.parameter, memo), self.version, self.asked
        return twin

    def is_current(self) -> bool:
        """True if the newest version is compiled: by identity, which is all that a call needs to know."""
        return self.parameter._data is self.version.source  # noqa: SLF001 - the caller records it as an input

    def current(self, definition: Definition) -> Version:
        """Return the version of the source as it is now."""
        source = self.parameter._data  # noqa: SLF001 - as above
        if source != self.version.source:
            original = definition.function
            assert isinstance(original, FunctionType)
            assert definition.source is not None
            if source == definition.source:
                self.version = Version(source, original, definition.bind)
                return self.version
            function = compile_source(source, original, definition.owner, written=definition.source)
            self.version = Version(source, function, make_binder(function))
        return self.version
