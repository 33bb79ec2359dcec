"""Domains of text: what a prompt must keep, whatever else is changed in it."""

import re
from collections.abc import Iterable
from typing import Any

from opto.errors import DomainError
from opto.nodes.constants import cut
from opto.nodes.domains.base import Domain
from opto.nodes.domains.reading import read_as
from opto.nodes.frozen import Frozen

__all__ = ["Text"]

Span = str | re.Pattern[str]


class Text(Frozen, Domain):
    """Text of a certain form.

    Args:
        pattern: Regular expression that all of the text must match.
        min_length: Fewest characters. The default lets in whatever is not blank; 0, and a parameter that starts blank,
            let in white space and nothing at all as well.
        max_length: Most characters.
        max_lines: Most lines.
        placeholders: Names that must stand in braces, as `str.format` fills them in, and no others; braces that
            mean themselves are doubled. True for those of the text that the parameter starts as.
        optional: Names that may stand in braces as well.
        keep: Parts that must stay, word for word and in this order: text, or compiled regular expressions for
            what they find in the text that the parameter starts as.

    Example:
        >>> prompt = Text(placeholders=["question"], max_length=80, keep=["Answer in JSON."])
        >>> prompt.accept("Think. Answer in JSON. {question}")
        'Think. Answer in JSON. {question}'
        >>> prompt.accept("Think. Answer in JSON.")
        Traceback (most recent call last):
        opto.errors.DomainError: The text lacks the placeholder {question}. Keep {question} in it.
        >>> prompt.describe()
        "a text of at most 80 characters, with the placeholder {question} and no other (a brace that means itself is \
doubled: {{ or }}), that keeps 'Answer in JSON.' word for word"
    """

    pattern: re.Pattern[str] | None
    min_length: int
    blank: bool
    max_length: int | None
    max_lines: int | None
    placeholders: tuple[str, ...] | bool
    optional: tuple[str, ...]
    keep: tuple[Span, ...]

    def __init__(
        self,
        pattern: Span | None = None,
        *,
        min_length: int | None = None,
        max_length: int | None = None,
        max_lines: int | None = None,
        placeholders: Iterable[str] | bool = False,
        optional: Iterable[str] = (),
        keep: Span | Iterable[Span] = (),
    ) -> None:
        names = placeholders if isinstance(placeholders, bool) else _names(placeholders)
        spans = (keep,) if isinstance(keep, str | re.Pattern) else tuple(keep)
        try:
            compiled = re.compile(pattern) if isinstance(pattern, str) else pattern
        except re.error as error:
            raise DomainError(
                f"{pattern!r} is no regular expression: {error}.", mend="Give one that re.compile takes."
            ) from error
        self._hold(
            pattern=compiled,
            min_length=min_length or 0,
            blank=min_length == 0,
            max_length=max_length,
            max_lines=max_lines,
            placeholders=names,
            optional=_names(optional),
            keep=spans,
        )
        if any(most is not None and most < least for most, least in ((max_length, min_length or 0), (max_lines, 1))):
            raise DomainError(
                f"No text has {min_length or 0} to {max_length} characters in at most {max_lines} lines.",
                mend="Give a smaller minimum or a larger maximum.",
            )

    def for_value(self, value: Any) -> Domain:
        if not isinstance(value, str):
            return self
        names = self.placeholders
        if names is True:
            fields = _fields(value)
            if not fields:
                raise DomainError(f"{value!r:.200} has no placeholders.", mend="Start with a text that has some.")
            names = tuple(name for name in dict.fromkeys(fields) if name not in self.optional)
        spans: list[str] = []
        for span in self.keep:
            found = [span] if isinstance(span, str) else [match[0] for match in span.finditer(value)]
            if not any(found):
                raise DomainError(f"{span!r:.200} finds nothing in the text.", mend="Mark what must stay.")
            spans += filter(None, found)
        return Text(
            self.pattern,
            min_length=0 if self.blank or (not value.strip() and not self.min_length) else self.min_length or None,
            max_length=self.max_length,
            max_lines=self.max_lines,
            placeholders=names,
            optional=self.optional,
            keep=spans,
        )

    def read(self, raw: Any) -> Any:
        return read_as(str, raw)

    def check(self, value: str) -> None:
        self._check_size(value)
        if self.pattern is not None and not self.pattern.fullmatch(value):
            raise DomainError(
                f"{value!r:.200} does not match {self.pattern.pattern}.",
                mend="Give a text all of which matches this regular expression.",
            )
        if self.placeholders or self.optional:
            self._check_placeholders(value)
        position = 0
        # A pattern has become what it finds in the value that a parameter starts as.
        for span in (span for span in self.keep if isinstance(span, str)):
            found = value.find(span, position)
            if found < 0:
                part = repr(cut(span, 400))
                said = f"lacks {part}" if span not in value else f"has {part} in another place"
                raise DomainError(f"The text {said}.", mend="Keep this part word for word, in its place.")
            position = found + len(span)

    def _check_size(self, value: str) -> None:
        if not self.blank and not value.strip():
            raise DomainError("The text is blank.", mend="Give one with something in it.")
        if len(value) < self.min_length:
            raise DomainError(
                f"The text has {_counted(len(value), 'character')}.", mend=f"Give at least {self.min_length}."
            )
        if self.max_length is not None and len(value) > self.max_length:
            raise DomainError(
                f"The text has {_counted(len(value), 'character')}.", mend=f"Give at most {self.max_length}."
            )
        lines = value.removesuffix("\n").count("\n") + 1
        if self.max_lines is not None and lines > self.max_lines:
            raise DomainError(f"The text has {_counted(lines, 'line')}.", mend=f"Give at most {self.max_lines}.")

    def _check_placeholders(self, value: str) -> None:
        fields = _fields(value)
        required = self.placeholders if isinstance(self.placeholders, tuple) else ()
        for name in required:
            if name not in fields:
                raise DomainError(f"The text lacks the placeholder {{{name}}}.", mend=f"Keep {{{name}}} in it.")
        for name in fields:
            if name not in (*required, *self.optional):
                raise DomainError(
                    f"The text has the placeholder {{{name}}}, for which there is no value.",
                    mend="Leave it out, or double braces that mean themselves: {{ and }}.",
                )

    def describe(self) -> str:
        said = []
        if self.max_length is not None:
            least = f"{self.min_length} to" if self.min_length else "at most"
            said.append(f"of {least} {_counted(self.max_length, 'character')}")
        elif self.min_length:
            said.append(f"of at least {_counted(self.min_length, 'character')}")
        if self.max_lines is not None:
            said.append(f"of at most {_counted(self.max_lines, 'line')}")
        if self.pattern is not None:
            said.append(f"matching the regular expression {self.pattern.pattern} as a whole")
        if self.placeholders or self.optional:
            said.append(self._describe_placeholders())
        if self.keep:
            # Long ones stand in the value, which is shown as well.
            spans = ", then ".join(repr(cut(span if isinstance(span, str) else span.pattern, 80)) for span in self.keep)
            said.append(f"that keeps {spans} word for word")
        return f"a text {', '.join(said)}" if said else "a text"

    def _describe_placeholders(self) -> str:
        required = self.placeholders if isinstance(self.placeholders, tuple) else ()
        named = ", ".join(f"{{{name}}}" for name in required)
        may = ", ".join(f"{{{name}}}" for name in self.optional)
        with_ = f"with the placeholder{'s' * (len(required) > 1)} {named}" if named else "with placeholders as at first"
        with_ = f"{with_}, perhaps {may}," if named and may else f"with no placeholder but {may}" if may else with_
        return f"{with_} and no other (a brace that means itself is doubled: {{{{ or }}}})"


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def _names(given: Iterable[str]) -> tuple[str, ...]:
    """Return the names of placeholders, which may be written with their braces or without."""
    names = tuple(re.sub(r"\A\{(.*)\}\Z", r"\1", name) for name in ([given] if isinstance(given, str) else given))
    for name in names:
        if not name or re.search(r"[{}!:]", name):
            raise DomainError(f"{name!r} is no name of a placeholder.", mend="Give names, such as 'question'.")
    return names


def _fields(text: str) -> list[str]:
    """Return the names of the placeholders in *text*, as `str.format` reads it.

    Raises:
        DomainError: `str.format` cannot read it.
    """
    from string import Formatter  # noqa: PLC0415 - few parameters have placeholders

    found: list[str] = []
    try:
        waiting = [text]
        while waiting:
            for _, field, layout, conversion in Formatter().parse(waiting.pop()):
                if field is not None:
                    # With what follows the name: {user.name} need not work where {user} does.
                    found.append(field)
                    waiting.append(layout or "")
                if conversion not in {None, "r", "s", "a"}:
                    raise ValueError(f"!{conversion} is none of !r, !s and !a")
    except ValueError as error:
        raise DomainError(
            f"The text cannot be filled in: {error}.", mend="Double braces that mean themselves: {{ and }}."
        ) from error
    return found
