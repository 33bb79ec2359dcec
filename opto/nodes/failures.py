"""Exceptions of user code, as words and as an `ExecutionError` that is still what was raised."""

import types
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
    return f"({type(cause).__name__}) {cause}".rstrip()


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
    kind = _both(type(original(cause)))
    error = kind.__new__(kind)
    ExecutionError.__init__(error, problem, mend=mend, exception_node=exception_node)
    _copy_attributes(original(cause), error)
    error.__cause__ = cause
    return error


_kinds: dict[type[BaseException], type[ExecutionError]] = {}


def _both(raised: type[BaseException]) -> type[ExecutionError]:
    if raised not in _kinds:
        try:
            _kinds[raised] = type(f"ExecutionError[{raised.__name__}]", (ExecutionError, raised), {})
        except TypeError:
            # Some exceptions cannot be combined with another class; they are caught as ExecutionError only.
            _kinds[raised] = ExecutionError
    return _kinds[raised]


def _copy_attributes(source: BaseException, target: BaseException) -> None:
    """Copy what handlers look at: attributes set in Python, and fields in C such as ``OSError.errno``."""
    for kind in type(source).__mro__:
        if kind in (Exception, BaseException):
            break
        for name, member in vars(kind).items():
            if isinstance(member, types.MemberDescriptorType) and hasattr(source, name):
                setattr(target, name, getattr(source, name))
    for name, value in vars(source).items():
        if name not in vars(target):
            setattr(target, name, value)
