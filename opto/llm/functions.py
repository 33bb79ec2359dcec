"""Any function that answers messages, used as a model."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opto.errors import BadRequestError
from opto.llm.adapter import Adapter
from opto.llm.bridge import in_loose_thread
from opto.llm.messages import Message, Reply, chat_words
from opto.llm.providers import chat_reply

__all__ = ["FunctionAdapter"]


class FunctionAdapter(Adapter):
    """Calls a function in the way that its signature asks for.

    A parameter named ``messages`` gets them by keyword, else the first positional parameter gets them; a
    function of nothing but ``**kwargs`` gets ``messages=``. Settings go to a function that has ``**kwargs``
    or a parameter of that name, others are left out: a function need not know about ``max_tokens``.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._name = getattr(function, "__name__", type(function).__name__)
        self._by_keyword, self._takes = _calling(function, self._name)
        call = getattr(function, "__call__", None)  # noqa: B004 - the method itself may be asynchronous
        self._is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)

    @property
    def model(self) -> str:
        return f"function:{self._name}"

    def complete(self, messages: Sequence[Message], settings: Mapping[str, Any]) -> Reply:
        answer = None if self._is_async else self._call(messages, settings)
        if self._is_async or inspect.isawaitable(answer):
            if inspect.iscoroutine(answer):
                answer.close()
            raise BadRequestError(
                f"{self._name} is asynchronous and cannot be called from here.",
                mend="Use `await llm.acall(messages)`, or `await optimizer.astep()`.",
            )
        return self._reply(answer)

    async def acomplete(self, messages: Sequence[Message], settings: Mapping[str, Any]) -> Reply:
        if self._is_async:
            answer = await self._call(messages, settings)
        else:
            # Not one of the event loop's threads, which are few: many calls may wait at once.
            answer = await in_loose_thread(self._call_in_thread, messages, settings)
            if inspect.isawaitable(answer):
                answer = await answer
        return self._reply(answer)

    def _call(self, messages: Sequence[Message], settings: Mapping[str, Any]) -> Any:
        # What the function does not know itself comes in words of the protocol that most of them speak.
        own = {name: settings[name] for name in ("tool", "schema") if name in settings and name in (self._takes or ())}
        known = {**chat_words({name: value for name, value in settings.items() if name not in own}), **own}
        accepted = {name: value for name, value in known.items() if self._takes is None or name in self._takes}
        if self._by_keyword:
            return self._function(messages=messages, **accepted)
        return self._function(messages, **accepted)

    def _call_in_thread(self, messages: Sequence[Message], settings: Mapping[str, Any]) -> Any:
        try:
            return self._call(messages, settings)
        except StopIteration as error:
            raise RuntimeError(f"{self._name} raised StopIteration") from error

    def _reply(self, answer: Any) -> Reply:
        if isinstance(answer, Reply):
            return answer
        if isinstance(answer, str):
            return Reply(answer, model=self.model)
        reply = chat_reply(answer, model=self.model)
        if reply is None:
            raise BadRequestError(
                f"{self._name} returned a {type(answer).__name__}, which is not an answer.",
                mend="Return a str, an opto.llm.Reply, or an object with .choices[0].message.content.",
            )
        return reply


def _calling(function: Callable[..., Any], name: str) -> tuple[bool, frozenset[str] | None]:
    """Tell whether messages go by keyword, and which settings may go along (None: all)."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        # Some functions written in C do not tell.
        return False, frozenset()
    kinds = {parameter.kind for parameter in parameters.values()}
    named = frozenset(
        key
        for key, parameter in parameters.items()
        if parameter.kind in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}
    )
    positional = [
        key
        for key, parameter in parameters.items()
        if parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}
    ]
    takes = None if inspect.Parameter.VAR_KEYWORD in kinds else named
    if "messages" in named:
        return True, takes
    if positional:
        return False, takes if takes is None else takes - {positional[0]}
    if takes is None and not inspect.isbuiltin(function):
        # (*args, **kwargs): Trace calls by keyword, and functions written for it look there.
        return True, takes
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return False, takes
    raise BadRequestError(f"{name} takes no messages.", mend="Give it a parameter named messages.")
