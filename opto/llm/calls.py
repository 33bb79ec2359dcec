"""One call of a client: answered by a cassette, or held to budgets, made, kept and counted."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from opto.errors import LLMError, LLMTimeoutError
from opto.llm.adapter import Adapter
from opto.llm.cassettes import Request, Tape
from opto.llm.forms import Form
from opto.llm.labels import Labels
from opto.llm.messages import Message, Reply
from opto.llm.pacing import Attempts, ask, ask_async
from opto.llm.spending import Meter, MeteredCall

__all__ = ["Call"]


class Call:
    """One call, from what is asked to what came of it.

    Args:
        adapter: The edge to the model.
        messages: What is asked.
        settings: How, as the adapter takes them.
        rollout: Which of several replies to the same request a cassette is to give; None for the next one.
        cassette: The one in force, if any.
        meter: What counts the calls of the client, and holds them to budgets.
        labels: For whom it is.
        form: What the reply is to be read as.
        attempts: How it is tried.
    """

    def __init__(
        self,
        adapter: Adapter,
        messages: Sequence[Message],
        settings: Mapping[str, Any],
        *,
        rollout: int | None,
        cassette: Tape | None,
        meter: Meter,
        labels: Labels,
        form: Form | None,
        attempts: Attempts,
    ) -> None:
        self._adapter = adapter
        self._messages = messages
        self._settings = settings
        self._cassette = cassette
        self._meter = meter
        self._labels = labels
        self._form = form
        self._attempts = attempts
        secrets = getattr(adapter, "secrets", ())
        model = getattr(adapter, "recorded_as", adapter.model)
        self._request = None if cassette is None else Request(model, messages, settings, rollout, secrets)

    def make(self) -> Reply:
        """Return the reply, from wherever it comes.

        Raises:
            LLMError: There is none.
            BudgetError: There is no room for the call in a budget.
            CassetteError: A cassette does not hold it, and nobody may be asked.
        """
        known = self._replayed()
        if known is not None:
            return self._formed(known)
        with self._metered() as metered:
            try:
                reply = ask(self._adapter, self._messages, self._settings, self._attempts, before_each=metered.begin)
            except LLMError as error:
                self._keep(error)
                if isinstance(error, LLMTimeoutError):
                    self._meter.check_time()  # it may be that of a budget that was over
                raise
            metered.replied(reply)
            self._keep(reply)
            return self._formed(reply)

    async def amake(self) -> Reply:
        """Do the same without blocking the event loop."""
        known = self._replayed()
        if known is not None:
            return self._formed(known)
        async with self._metered() as metered:
            try:
                reply = await ask_async(
                    self._adapter, self._messages, self._settings, self._attempts, before_each=metered.begin
                )
            except LLMError as error:
                self._keep(error)
                if isinstance(error, LLMTimeoutError):
                    self._meter.check_time()  # it may be that of a budget that was over
                raise
            metered.replied(reply)
            self._keep(reply)
            return self._formed(reply)

    def _replayed(self) -> Reply | None:
        """Return what a cassette answers, if it does."""
        if self._cassette is None or self._request is None:
            return None
        try:
            reply = self._cassette.find(self._request)
        except LLMError as error:
            self._meter.replayed(self._adapter.model, error, labels=self._labels)
            raise
        if reply is not None:
            self._meter.replayed(self._adapter.model, reply, labels=self._labels)
        return reply

    def _keep(self, outcome: Reply | LLMError) -> None:
        """Write down what came of it, before anybody makes anything of that: it was paid for."""
        if self._cassette is not None and self._request is not None:
            self._cassette.keep(self._request, outcome)

    def _formed(self, reply: Reply) -> Reply:
        return reply if self._form is None else replace(reply, form=self._form)

    def _metered(self) -> MeteredCall:
        return self._meter.call(
            lambda: self._adapter.model, self._messages, self._settings, labels=self._labels, attempts=self._attempts
        )
