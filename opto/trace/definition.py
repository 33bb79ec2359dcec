"""What a bundled function is: its operator, its options, and what its code may be."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from types import FunctionType
from typing import Any

from opto.errors import SourceError
from opto.nodes import Domain, OfType, Operator, as_domain, write_arguments
from opto.trace.binding import argument_names
from opto.trace.calls import Call, Options, make_runner
from opto.trace.origin import source_of, text_of
from opto.trace.source import Code, rewrapped, unwrapped

__all__ = ["Definition"]


class Definition:
    """What all calls and all bound copies of one bundled function share. Fixed once its class is made.

    Attributes:
        runner: Has the signature of the function, runs it and records the call.
        owner: The class in whose body the function stands, or None.
        inner: What a new source takes the place of: *function*, or what the decorators below `bundle` wrap in it.
        source: The source of that as the user wrote it, *code* what a new one must be to be called as it is called, and
            *domain* what it may be, which is *code* unless the user lets go of it; None if it is not trainable.
        was_looked_at: True once a call has told what of it could not run in a sandbox.
    """

    __slots__ = (
        "code",
        "domain",
        "function",
        "inner",
        "operator",
        "options",
        "owner",
        "runner",
        "source",
        "was_looked_at",
    )

    def __init__(self, function: Callable[..., Any], options: Options) -> None:
        self.function = function
        self.options = options
        self.owner: type | None = None
        self.was_looked_at = False
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
