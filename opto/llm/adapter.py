"""What a provider must offer to be used by `LLM`."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from opto.errors import BadRequestError
from opto.llm.bridge import in_loose_thread
from opto.llm.messages import Message, Reply

__all__ = ["Adapter", "Recorded"]


class Adapter(Protocol):
    """The edge to one model: one request, one reply, no memory of either.

    Everything that is the same for every model (settings, and whatever else stands between a caller and a
    model) belongs to `LLM`, which holds an adapter. An adapter only translates: messages and settings to its
    provider's call, the answer to a `Reply`, the provider's exceptions to the tree under
    `opto.errors.LLMError`. It is called from several threads and event loops at once.

    A class that derives from this one needs `model` and `complete`, or `model` and both ways if it can do better than
    to block a thread. What goes wrong is raised as one of the errors under `LLMError`, with a problem and a mend:
    ``raise ServerError("The model is still loading.", mend="Wait for it.") from error``; those that are
    ``transient`` are tried again.

    Example:
        >>> class Shout(Adapter):
        ...     model = "local:shout"
        ...     def complete(self, messages, settings):
        ...         return Reply(messages[-1]["content"].upper(), model="shout")
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
        return f"local:{type(self).__name__}"

    def complete(self, messages: Sequence[Message], settings: Mapping[str, Any]) -> Reply:  # noqa: ARG002 - a default
        """Ask the model; `settings` holds what the user set, and nothing else."""
        raise BadRequestError(
            f"{type(self).__name__} has no complete(), by which blocking calls are made.",
            mend="Define it, or use `await llm.acall(messages)`.",
        )

    async def acomplete(self, messages: Sequence[Message], settings: Mapping[str, Any]) -> Reply:
        """Ask the model without blocking the event loop; by default, `complete` does it in a thread."""
        return await in_loose_thread(self.complete, messages, settings)

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


class Recorded(Adapter):
    """A model whose replies are recorded, and that cannot be asked for others.

    Args:
        model: As what it was recorded.
    """

    def __init__(self, model: str) -> None:
        self._model = model

    @property
    def model(self) -> str:
        return self._model

    def complete(self, messages: Sequence[Message], settings: Mapping[str, Any]) -> Reply:  # noqa: ARG002
        raise BadRequestError(
            f"{self._model} was made to answer from a cassette, and there is none any more.",
            mend="Ask it within the block of the cassette, or give the client a model.",
        )
