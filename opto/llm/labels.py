"""For whom a model is asked: in what role, by which operator of the program, and in which step of an optimizer."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from operator import index
from typing import Any, Literal, NamedTuple, cast, get_args

from opto.errors import BadRequestError
from opto.hooks import hooks

__all__ = ["Labels", "Role", "checked_role", "labelled", "labels"]

Role = Literal["optimizer", "judge", "task"]


class Labels(NamedTuple):
    """For whom a model is asked.

    Args:
        role: ``optimizer``, ``judge``, or ``task`` for calls of the program itself.
        operator: The bundled function whose body makes the call: the innermost, if they call each other.
        step: Number of the optimizer's step, as in its records.
    """

    role: Role = "task"
    operator: str | None = None
    step: int | None = None


class _Said(NamedTuple):
    """What was said by blocks around a call."""

    role: Role | None = None
    operator: str | None = None
    step: int | None = None
    #: Operators that started later know better which one it is.
    number: int = -1


_NOTHING = _Said()
_said: ContextVar[_Said] = ContextVar("opto_labels", default=_NOTHING)


def labels(role: Role | None = None) -> Labels:
    """Return for whom a model would be asked here.

    Args:
        role: That of the client, which holds unless a block around says another one.

    Example:
        >>> labels()
        Labels(role='task', operator=None, step=None)
        >>> with labelled(role="judge", step=3):
        ...     labels()
        Labels(role='judge', operator=None, step=3)
    """
    said, running = _said.get(), hooks.running()
    operator = said.operator
    if running is not None and (operator is None or running.number > said.number):
        operator = running.name
    return Labels(said.role or role or "task", operator, said.step)


@contextmanager
def labelled(*, role: Role | None = None, operator: str | None = None, step: int | None = None) -> Iterator[None]:
    """Say for whom models are asked in this thread or task, until the end of the block.

    What is left out stays as blocks around have it.

    Raises:
        BadRequestError: There is no such role, the operator is no name, or the step no number.
    """
    said = _said.get()
    if role is not None:
        said = said._replace(role=checked_role(role))
    if operator is not None:
        if not isinstance(operator, str):
            raise BadRequestError(f"The operator is {operator!r:.80}.", mend="Give its name.")
        running = hooks.running()
        said = said._replace(operator=operator, number=-1 if running is None else running.number)
    if step is not None:
        try:
            said = said._replace(step=index(step))
        except TypeError as error:
            raise BadRequestError(f"The step is {step!r:.80}.", mend="Give its number.") from error
    token = _said.set(said)
    try:
        yield
    finally:
        # A generator that was left in the middle ends in another context, in which nothing was said.
        with suppress(ValueError):
            _said.reset(token)


def checked_role(role: Any) -> Role:
    """Return *role*.

    Raises:
        BadRequestError: It is none.
    """
    if role not in get_args(Role):
        raise BadRequestError(f"There is no role {role!r:.80}.", mend=f"Choose one of {', '.join(get_args(Role))}.")
    return cast("Role", role)
