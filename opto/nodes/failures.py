"""Exceptions of user code, as words and as an `ExecutionError` that is still what was raised."""

import contextlib
import types
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Any

from opto.errors import ExecutionError

__all__ = ["annotated_traceback", "as_execution_error", "in_words", "original"]


def original(cause: BaseException) -> BaseException:
    """Return what user code raised: the innermost cause, if *cause* is an `ExecutionError` already."""
    while isinstance(cause, ExecutionError) and cause.__cause__ is not None:
        cause = cause.__cause__
    return cause


def in_words(cause: BaseException) -> str:
    """Return *cause* in one line.

    Example:
        >>> in_words(ValueError("no digits")), in_words(ValueError())
        ('(ValueError) no digits', '(ValueError)')
    """
    return f"({type(cause).__name__}) {message(cause)}".rstrip()


def message(cause: BaseException) -> str:
    """Return ``str(cause)``, with the members of a group, and without what is said to users; "" if it cannot say it.

    Example:
        >>> message(ExceptionGroup("two tasks", [ValueError("no digits"), KeyError("a")]))
        "two tasks (2 sub-exceptions): (ValueError) no digits; (KeyError) 'a'"
    """
    try:
        if isinstance(cause, ExecutionError):
            return str(cause.__dict__["problem"])
        said = str(cause)
        if isinstance(cause, BaseExceptionGroup):
            members = [*islice(_members_of(cause), _MOST_MEMBERS + 1)]
            shown = [*map(in_words, members[:_MOST_MEMBERS]), *["and more"] * (len(members) > _MOST_MEMBERS)]
            said += f": {'; '.join(shown)}"
    except Exception:
        return ""
    return said


#: How many exceptions of a group are named: whoever mends the code begins with the first.
_MOST_MEMBERS = 3


def _members_of(group: "BaseExceptionGroup[Any]") -> Iterator[BaseException]:
    """Yield the exceptions in *group* and in groups in it."""
    for member in BaseExceptionGroup.exceptions.__get__(group):
        if isinstance(member, BaseExceptionGroup):
            yield from _members_of(member)
        else:
            yield member


def annotated_traceback(cause: BaseException, package: str) -> str:
    """Return the lines of user code that *cause* came through, outermost first, with the error behind the last.

    Frames of files below the folder *package* (opto itself) are left out.
    """
    import traceback  # noqa: PLC0415 - only when something failed

    lines = [
        f"in {frame.name}, line {frame.lineno}: {frame.line or '(source not available)'}"
        for frame in traceback.extract_tb(cause.__traceback__)
        if not frame.filename.startswith(package)
    ]
    if not lines:
        return in_words(cause)
    lines[-1] += f"  <--- {in_words(cause)}"
    return "\n".join(lines)


def as_execution_error(cause: BaseException, problem: str, *, mend: str, exception_node: Any) -> ExecutionError:
    """Return an `ExecutionError` that ``except`` clauses for the class of *cause* catch as well.

    A traced program thus handles the errors of its functions as it does untraced.
    """
    raised = original(cause)
    try:
        kind: Any = type(raised)
        error = _new(_both(kind), raised)
        _copy_attributes(raised, error)
    except Exception:
        # Classes that cannot be combined, or that nobody but themselves can make: still an ExecutionError.
        error = ExecutionError.__new__(ExecutionError)
    # Past __init__ and __setattr__, which the class of the cause may have defined for itself.
    BaseException.args.__set__(error, raised.args)  # type: ignore[attr-defined]
    error.__dict__.update(problem=problem, mend=mend, exception_node=exception_node)
    error.__cause__ = cause
    return error


def _new(kind: type[ExecutionError], raised: BaseException) -> ExecutionError:
    builtin = next(base for base in type(raised).__mro__ if base.__module__ == "builtins")
    # A group cannot be without its members.
    error: ExecutionError = builtin.__new__(kind, *(raised.args if isinstance(raised, BaseExceptionGroup) else ()))
    return error


@lru_cache(maxsize=512)
def _both(raised: Any) -> type[ExecutionError]:
    return type(f"ExecutionError[{raised.__name__}]", (ExecutionError, raised), {})


def _copy_attributes(source: BaseException, target: BaseException) -> None:
    """Copy what handlers look at: attributes set in Python, and fields in C such as ``OSError.errno``."""
    for kind in type(source).__mro__:
        if kind in (Exception, BaseException):
            break
        for name, member in vars(kind).items():
            if isinstance(member, types.MemberDescriptorType) and hasattr(source, name):
                with contextlib.suppress(AttributeError, TypeError):  # read-only
                    member.__set__(target, getattr(source, name))
    target.__dict__.update(vars(source))
