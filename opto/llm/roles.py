"""Which model is asked where none is named: by role, in this thread or task."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from opto.errors import BadRequestError
from opto.llm.client import LLM, DummyLLM

__all__ = ["as_llm", "use_llm"]

_default: ContextVar[LLM | None] = ContextVar("opto_default_llm", default=None)


def as_llm(thing: LLM | str | Callable[..., Any] | None = None) -> LLM:
    """Make a client of whatever a user passed as one.

    Args:
        thing: A client, which is passed through; ``"provider:model"``; a function that answers messages; or
            None for the model of `use_llm`, and outside of it for what the environment names. A function gets
            the messages by keyword if it has a parameter ``messages``, else as its first argument, and those
            settings that it has parameters for. It may be asynchronous, for `LLM.acall` only.

    Example:
        >>> as_llm(lambda messages, max_tokens=None: f"{max_tokens} tokens")("hello", max_tokens=5).text
        '5 tokens'
    """
    if isinstance(thing, LLM):
        return thing
    if thing is None:
        return _default.get() or LLM()
    if isinstance(thing, str):
        return LLM(thing)
    if isinstance(thing, type):
        raise BadRequestError(
            f"The class {thing.__name__} cannot be used as a model.",
            mend=f"Pass an instance: {thing.__name__}(…).",
        )
    if callable(thing):
        return DummyLLM(thing)
    raise BadRequestError(
        f"A {type(thing).__name__} cannot be used as a model.",
        mend='Pass an opto.llm.LLM, a string like "openai:…", or a function of messages.',
    )


@contextmanager
def use_llm(thing: LLM | str | Callable[..., Any]) -> Iterator[LLM]:
    """Use *thing* wherever no model is named, in this thread or task, until the end of the block.

    So a program runs unchanged with another model, or with a script in place of one.

    Example:
        >>> from opto.llm import ScriptedLLM
        >>> with use_llm(ScriptedLLM(["hello"])):
        ...     as_llm(None)("hi").text
        'hello'
    """
    llm = as_llm(thing)
    token = _default.set(llm)
    try:
        yield llm
    finally:
        _default.reset(token)
