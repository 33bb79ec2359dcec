"""Which model is asked where none is named: by role, in this thread or task."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from opto.errors import BadRequestError
from opto.llm.client import LLM, DummyLLM
from opto.llm.environment import role_variable
from opto.llm.labels import Role, checked_role, labels

__all__ = ["as_llm", "named_for", "use_llm"]

_NONE: Mapping[Role | None, LLM] = MappingProxyType({})
#: Of `use_llm`: by role, and under None for all others.
_models: ContextVar[Mapping[Role | None, LLM]] = ContextVar("opto_models", default=_NONE)


def as_llm(thing: LLM | str | Callable[..., Any] | None = None, *, role: Role | None = None) -> LLM:
    """Make a client of whatever a user passed as one.

    Args:
        thing: A client, which is passed through; ``"provider:model"``; a function that answers messages; or
            None for the model of `use_llm`, and outside of it for what the environment names. A function gets
            the messages by keyword if it has a parameter ``messages``, else as its first argument, and those
            settings that it has parameters for. It may be asynchronous, for `LLM.acall` only.
        role: What the client is for: it chooses among models if *thing* is None, and is that of a client that is made
            here. The default is that of `labels`.

    Raises:
        AuthenticationError: There is no model, or no key for it.
        BadRequestError: *thing* is nothing to ask, or there is no such role.

    Example:
        >>> as_llm(lambda messages, max_tokens=None: f"{max_tokens} tokens")("hello", max_tokens=5).text
        '5 tokens'
    """
    role = role if role is None else checked_role(role)
    if isinstance(thing, LLM):
        return thing
    if thing is None:
        named, wanted = _models.get(), role or labels().role
        return named.get(wanted) or named.get(None) or LLM(role=wanted)
    if isinstance(thing, str):
        return LLM(thing, role=role)
    if isinstance(thing, type):
        raise BadRequestError(
            f"The class {thing.__name__} cannot be used as a model.",
            mend=f"Pass an instance: {thing.__name__}(…).",
        )
    if callable(thing):
        return DummyLLM(thing, role=role)
    raise BadRequestError(
        f"A {type(thing).__name__} cannot be used as a model.",
        mend='Pass an opto.llm.LLM, a string like "openai:…", or a function of messages.',
    )


def named_for(role: Role) -> LLM | None:
    """Return the model that `use_llm` or the environment names for this role in particular; None if they do not."""
    named = _models.get()
    if role in named or None in named or not os.environ.get(role_variable(role), "").strip():
        return named.get(role)
    return LLM(role=role)


@contextmanager
def use_llm(
    thing: LLM | str | Callable[..., Any] | None = None,
    *,
    optimizer: LLM | str | Callable[..., Any] | None = None,
    judge: LLM | str | Callable[..., Any] | None = None,
    task: LLM | str | Callable[..., Any] | None = None,
) -> Iterator[LLM]:
    """Use *thing* wherever no model is named, in this thread or task, until the end of the block.

    So a program runs unchanged with another model, or with a script in place of one. The block gets the client, the
    first one if there are several.

    Args:
        thing: The model for all roles that are not named; if left out, they keep those that they have.
        optimizer: That which optimizers ask for new values.
        judge: That which judges outputs or suggestions.
        task: That of the program itself.

    Example:
        >>> from opto.llm import ScriptedLLM
        >>> with use_llm(ScriptedLLM(["hello"])):
        ...     as_llm(None)("hi").text
        'hello'
    """
    given: dict[Role | None, Any] = {None: thing, "optimizer": optimizer, "judge": judge, "task": task}
    made = {role: as_llm(item, role=role) for role, item in given.items() if item is not None}
    if not made:
        raise BadRequestError("use_llm() is given no model.", mend="Give it one, or one for a role: use_llm(judge=…).")
    token = _models.set(made if thing is not None else {**_models.get(), **made})
    try:
        yield next(iter(made.values()))
    finally:
        with suppress(ValueError):  # as in `labelled`
            _models.reset(token)
