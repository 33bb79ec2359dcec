"""A model that says what it is told to, for tests and documentation."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from opto.errors import BadRequestError, LLMError, kind_of
from opto.forks import renew_after_fork
from opto.llm.adapter import Adapter
from opto.llm.client import LLM
from opto.llm.messages import Message, Reply

__all__ = ["Call", "ScriptedLLM"]

Answer = str | Reply | Exception

_OVER: Any = object()


class Call(NamedTuple):
    """What a model was shown in one call."""

    messages: list[Message]
    settings: dict[str, Any]


class ScriptedLLM(LLM):
    """A model that answers from a script, and remembers what it was asked.

    Args:
        replies: What to answer, in order: a text, a whole `Reply`, or an exception to raise. It may be
            endless. Or a function that takes the messages and returns one of these.
        settings: As for `LLM`; an exception of the script is raised at once, unless ``retries`` says otherwise.

    Attributes:
        calls: Messages and settings of each call so far.

    Raises:
        LLMError: A call came after the last reply.

    Example:
        >>> llm = ScriptedLLM(["first", "second"])
        >>> llm("hello").text, llm("again", temperature=0).text
        ('first', 'second')
        >>> llm.calls[1].messages, llm.calls[1].settings
        ([{'role': 'user', 'content': 'again'}], {'temperature': 0})
    """

    def __init__(self, replies: Iterable[Answer] | Callable[[list[Message]], Answer], **settings: Any) -> None:
        self.calls: list[Call] = []
        super().__init__(adapter=_ScriptAdapter(replies, self.calls), **{"retries": 0, "deadline": None, **settings})


class _ScriptAdapter(Adapter):
    model = "scripted:script"

    def __init__(self, replies: Iterable[Answer] | Callable[[list[Message]], Answer], calls: list[Call]) -> None:
        if isinstance(replies, str):
            # A string is an iterable of its letters, which nobody wants.
            raise BadRequestError("The script is a single string.", mend=f"Write ScriptedLLM([{replies!r}]).")
        if not callable(replies) and not isinstance(replies, Iterable):
            raise BadRequestError(
                f"The script is {kind_of(replies)}.", mend="Give a list of replies, or a function that makes them."
            )
        self._function = replies if callable(replies) else None
        self._replies: Iterator[Answer] = iter(()) if callable(replies) else iter(replies)
        self._calls = calls
        self.begin_again()
        renew_after_fork(self)

    def begin_again(self) -> None:
        """Forget a lock that somebody may hold in the process that this one was forked from."""
        self._lock = threading.Lock()

    def complete(self, messages: Sequence[Message], settings: Mapping[str, Any]) -> Reply:
        call = Call(list(messages), dict(settings))
        with self._lock:
            self._calls.append(call)
            number = len(self._calls)
            answer = next(self._replies, _OVER) if self._function is None else None
        if self._function is not None:
            answer = self._function(call.messages)
        elif answer is _OVER:
            raise LLMError(f"The script of a ScriptedLLM is over: this is call {number}.", mend="Give it more replies.")
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, str):
            return Reply(answer, model="script")
        if isinstance(answer, Reply):
            return answer
        raise BadRequestError(
            f"A ScriptedLLM cannot answer with {kind_of(answer)}.",
            mend="Let the script hold str, opto.llm.Reply or exceptions.",
        )

    async def acomplete(self, messages: Sequence[Message], settings: Mapping[str, Any]) -> Reply:
        return self.complete(messages, settings)
