"""How much a call may use, before it is made: an estimate, and never more than that."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from opto.forks import renew_after_fork
from opto.llm.messages import Reply, Usage
from opto.llm.tokens import estimate_messages, estimate_tokens

__all__ = ["FIRST_OUTPUT", "Expectations"]

FIRST_OUTPUT = 1024
"""Tokens that a model is taken to write as long as it has written nothing, and nobody limits them."""

_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
#: Settings that the model reads.
_READ = ("tool", "tools", "schema", "response_format")


class Expectations:
    """What calls of one client may use, judging by their texts and by what the models wrote before."""

    def __init__(self) -> None:
        self._most: dict[str, int] = {}
        self.begin_again()
        renew_after_fork(self)

    def begin_again(self) -> None:
        """Forget a lock that somebody may hold in the process that this one was forked from."""
        self._lock = threading.Lock()

    def of(self, model: str, messages: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> Usage:
        """Return what a call may use.

        What it reads, by `estimate_messages`, and what it may write: ``max_tokens`` or its like if it is set, else the
        most that this model wrote in one reply so far, else `FIRST_OUTPUT`.
        """
        read = estimate_messages(messages)
        read += sum(estimate_tokens(str(settings[name])) for name in _READ if settings.get(name) is not None)
        limits = [limit for name in _LIMITS if isinstance(limit := settings.get(name), int) and limit > 0]
        replies = settings.get("n")
        number = replies if isinstance(replies, int) and replies > 0 else 1
        written = min(limits) * number if limits else self._most.get(model, FIRST_OUTPUT * number)
        return Usage(max(1, read), written)

    def learn(self, model: str, usage: Usage) -> None:
        """Remember how much a model wrote."""
        if usage.output_tokens > self._most.get(model, 0):
            with self._lock:
                self._most[model] = max(usage.output_tokens, self._most.get(model, 0))

    def by_texts(self, messages: Sequence[Mapping[str, Any]], reply: Reply) -> Usage:
        """Return what a call used about, if its reply does not say: its texts, in tokens."""
        written = estimate_tokens(reply.text) + estimate_tokens(reply.arguments or "")
        return Usage(max(1, estimate_messages(messages)), written)
