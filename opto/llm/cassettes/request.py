"""What a reply answers: the whole of a request that shapes the answer, and nothing else."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

from opto.errors import CassetteError
from opto.llm.cassettes.plain import Plain, as_text
from opto.llm.forms import form_of

__all__ = ["Request"]

#: What says how, how often and how long to ask, and not what.
_NOT_OF_THE_ANSWER = frozenset(
    {
        *("api_key", "base_url", "budget", "cassette", "deadline", "default_headers", "extra_headers", "http_client"),
        *("max_retries", "requests_per_minute", "retries", "rollout", "timeout", "tokens_per_minute"),
    }
)


@dataclass(frozen=True)
class Request:
    """One question to one model.

    Args:
        model: ``"provider:model"``.
        messages: As they are sent.
        settings: As they are sent; those that cannot change the answer, and headers, are left out.
        rollout: Which of several replies to the same request is meant, from 0; None for the next one.
        secrets: What must not be written down besides what looks like a key: the key of the client.

    Example:
        >>> request = Request("openai:m", [{"role": "user", "content": "hello"}], {"temperature": 1.0, "timeout": 5})
        >>> request.content["settings"]
        {'temperature': 1}
        >>> request.key == Request("openai:m", [{"content": "hello", "role": "user"}], {"temperature": 1}).key
        True

    Raises:
        CassetteError: The rollout is no number; or, when it is used, something in it has no form in JSON.
    """

    model: str
    messages: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    rollout: int | None = None
    secrets: Collection[str] = field(default=(), repr=False, compare=False)
    #: Take what has no form in JSON by its type.
    _lenient: bool = field(default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        number = self.rollout
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 0):
            raise CassetteError(f"The rollout {number!r} is no number.", mend="Give one from 0 on.")

    @cached_property
    def content(self) -> dict[str, Any]:
        """The request in plain values and without secrets, as it is stored and compared."""
        plain = Plain(self.secrets, self._lenient)
        settings = {name: item for name, item in self.settings.items() if name not in _NOT_OF_THE_ANSWER}
        if (schema := settings.get("schema")) is not None:
            settings["schema"] = form_of(schema).schema
        return {
            "model": plain(self.model, "model"),
            "messages": plain(list(self.messages), "messages"),
            "settings": plain(settings, "settings"),
        }

    @cached_property
    def text(self) -> str:
        """The content as JSON. It does not name the rollout."""
        return as_text(self.content)

    @property
    def key(self) -> str:
        """The hash that names the request; 0 stands for a rollout that is None."""
        return self.key_of(self.rollout or 0)

    def key_of(self, rollout: int) -> str:
        """Return the hash of this request for *rollout*."""
        digest = self._digest.copy()
        digest.update(f', "rollout": {rollout}}}'.encode())
        return digest.hexdigest()

    def __str__(self) -> str:
        return f"{self.content['model']}: {self.content['messages'][-1].get('content')!r}"

    def leniently(self) -> Self:
        """Return the request with everything that has no form in JSON told by its type."""
        return replace(self, _lenient=True)

    @cached_property
    def _digest(self) -> "hashlib._Hash":
        # All of the JSON but its closing brace; lone surrogates have no bytes of their own.
        return hashlib.sha256(self.text[:-1].encode("utf-8", "backslashreplace"))
