"""What a candidate printed: a text, and which parts of it went to `sys.stderr`."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from opto.sandbox.child.codes import ERRORS_BEGIN, ERRORS_END
from opto.sandbox.scope.remaking import visible

__all__ = ["Printed", "Streams"]


class Printed(NamedTuple):
    """What was printed.

    Attributes:
        text: All of it, in order.
        errors: Where in it that begins and ends what went to `sys.stderr`, as the child says.
    """

    text: str = ""
    errors: Any = ()

    @classmethod
    def told(cls, reply: Mapping[str, Any]) -> "Printed":
        """Return what an answer tells of."""
        text = reply.get("out")
        return cls(text, reply.get("err")) if type(text) is str else cls()

    @classmethod
    def copied(cls, data: bytes) -> "Printed":
        """Return what was written down in case there would be no answer."""
        text, errors = "", list[tuple[int, int]]()
        for number, part in enumerate(data.split(ERRORS_BEGIN)):
            inside, _, outside = part.partition(ERRORS_END) if number else (b"", b"", part)
            begin = errors.pop()[0] if errors and errors[-1][1] == len(text) else len(text)
            text += inside.decode("utf-8", "replace")
            errors.append((begin, len(text)))
            text += outside.decode("utf-8", "replace")
        return cls(text, errors)

    def pieces(self) -> Iterator[tuple[str, bool]]:
        """Yield parts that went to the same stream, and whether that was `sys.stderr`."""
        done = 0
        for begin, end in self._found_errors():
            yield self.text[done:begin], False
            yield self.text[begin:end], True
            done = end
        yield self.text[done:], False

    def _found_errors(self) -> Iterator[tuple[int, int]]:
        # What a child says is anything.
        done = 0
        for part in self.errors if isinstance(self.errors, list) else ():
            match part:
                case [int(begin), int(end)] if done <= begin < end <= len(self.text):
                    yield begin, end
                    done = end


class Streams(NamedTuple):
    """Where it is shown.

    Attributes:
        printed: Called with it.
        errors: Called with what went to `sys.stderr`, in place of `printed`.
    """

    printed: Callable[[str], object] | None = None
    errors: Callable[[str], object] | None = None

    def show(self, said: Printed, most: int) -> str:
        """Show what was *said*, at most so many characters; return all of it as it was shown."""
        shown = [(visible(text), is_error) for text, is_error in said._replace(text=said.text[:most]).pieces() if text]
        for text, is_error in shown:
            show = self.errors if is_error and self.errors is not None else self.printed
            if show is not None:
                show(text)
        return "".join([text for text, _ in shown])
