"""What a provider must offer to be used by `LLM`."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from opto.llm.messages import Message, Reply

__all__ = ["Adapter"]


class Adapter(Protocol):
    """The edge to one model: one request, one reply, no memory of either.

    Everything that is the same for every model (settings, and whatever else stands between a caller and a
    model) belongs to `LLM`, which holds an adapter. An adapter only translates: messages and settings to its
    provider's call, the answer to a `Reply`, the provider's exceptions to the tree under
    `opto.errors.LLMError`. It is called from several threads and event loops at once.

    Example:
        >>> class Shout(Adapter):
        ...     model = "local:shout"
        ...     def complete(self, messages, settings):
        ...         return Reply(messages[-1]["content"].upper(), model="shout")
        ...     async def acomplete(self, messages, settings):
        ...         return self.complete(messages, settings)
        >>> from opto.llm import LLM
        >>> LLM(adapter=Shout())("hello").text
        'HELLO'
    """

    @property
    def takes_tools(self) -> bool:
        """True if the model is known to call tools that it is offered."""
        return False

    @property
    def model(self) -> str:
        """``provider:model``, for people, logs and bills."""

    def complete(self, messages: Sequence[Message], settings: Mapping[str, Any]) -> Reply:
        """Ask the model; `settings` holds what the user set, and nothing else."""

    async def acomplete(self, messages: Sequence[Message], settings: Mapping[str, Any]) -> Reply:
        """Ask the model without blocking the event loop."""

    def prepare(self) -> bool:
        """Load and build what a call needs, if that was not done; return True if it took time.

        It is called before each call, and that time is none of the call's.
        """
        return False

    async def aprepare(self) -> bool:
        """Do the same for the running event loop."""
        return False

    def close(self) -> None:
        """Release connections; a later call may open new ones."""
        return None  # noqa: RET501 - a body, so that subclasses may inherit it

    async def aclose(self) -> None:
        """Release connections of the running event loop and all others."""
        self.close()
