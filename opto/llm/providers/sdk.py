"""What the adapters of SDKs share: clients built late and closed in time, and the way of a call."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from opto.errors import BadRequestError, LLMError
from opto.llm.adapter import Adapter
from opto.llm.environment import NO_KEY, Endpoint
from opto.llm.messages import Message, Reply, Usage
from opto.llm.providers.adjusting import Adjustments
from opto.llm.providers.clients import Clients
from opto.llm.providers.failures import masked, not_an_answer, sdk_errors
from opto.llm.providers.reading import dig, text_or_none
from opto.llm.providers.receiving import Received, receiving, usage_object

__all__ = ["SDKAdapter"]


class SDKAdapter(Adapter):
    """One model at one endpoint, through its provider's SDK."""

    package: ClassVar[str]
    requirement: ClassVar[str]
    clients: ClassVar[tuple[str, str]]
    #: Parameters that go under another name if a model refuses this one.
    renames: ClassVar[tuple[str, ...]] = ()

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._recorded_as = None if endpoint.model else f"{endpoint.provider}:(first model)"
        self._clients = self._opened()
        self._adjustments = Adjustments(self.renames)
        self._known: frozenset[str] | None = None
        self._is_usable = False

    @property
    def takes_tools(self) -> bool:
        # What servers speak the protocol make of tools differs; some leave them out without a word.
        return self._endpoint.is_official

    @property
    def model(self) -> str:
        return self._endpoint.name

    @property
    def recorded_as(self) -> str:
        """The model in cassettes: the same at every address, and before and after a server told its name."""
        return self._recorded_as or self.model

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be written down."""
        key = self._endpoint.api_key
        return () if key is None or key == NO_KEY else (key,)

    def prepare(self) -> bool:
        if self._clients.is_built:
            return False
        with self._clients.lent() as client:
            self._create(client)  # an SDK loads more of itself then
        return True

    async def aprepare(self) -> bool:
        if self._clients.is_built_here():
            return False
        async with self._clients.alent() as client:
            self._create(client)
        return True

    def complete(self, messages: Sequence[Message], settings: Mapping[str, Any]) -> Reply:
        with self._clients.lent() as client:
            if not self._is_usable:
                self._check_client(client)
                self._is_usable = True
            if self._endpoint.model is None and "model" not in settings:
                with sdk_errors(self._endpoint):
                    listed = client.models.list()
                self._take_first_model(listed)
            create = self._create(client)
            while True:
                body, left_out = self._request(messages, settings)
                try:
                    with receiving(self._keep) as received:
                        with sdk_errors(self._endpoint, received):
                            response = create(**self._arguments(create, body))
                        return self._checked(response, body["model"], left_out, received)
                except BadRequestError as error:
                    if not self._adjustments.learn(error, body, self.model):
                        raise

    async def acomplete(self, messages: Sequence[Message], settings: Mapping[str, Any]) -> Reply:
        async with self._clients.alent() as client:
            if not self._is_usable:
                self._check_client(client)
                self._is_usable = True
            if self._endpoint.model is None and "model" not in settings:
                with sdk_errors(self._endpoint):
                    listed = await client.models.list()
                self._take_first_model(listed)
            create = self._create(client)
            while True:
                body, left_out = self._request(messages, settings)
                try:
                    with receiving(self._keep) as received:
                        with sdk_errors(self._endpoint, received):
                            response = await create(**self._arguments(create, body))
                        return self._checked(response, body["model"], left_out, received)
                except BadRequestError as error:
                    if not self._adjustments.learn(error, body, self.model):
                        raise

    def close(self) -> None:
        self._clients.close()

    async def aclose(self) -> None:
        await self._clients.aclose()

    def _opened(self) -> Clients:
        return Clients(self._endpoint, self.package, self.requirement, self.clients, self._address())

    def _address(self) -> dict[str, Any]:
        """What tells a client of the SDK where to send its requests."""
        return {"base_url": self._endpoint.base_url}

    def _check_client(self, client: Any) -> None:
        """Refuse a client that cannot work, once and before the SDK does so in its own words."""

    def _create(self, client: Any) -> Any:
        """The method of the SDK that asks the model."""
        raise NotImplementedError

    def _body(self, messages: Sequence[Message], settings: Mapping[str, Any]) -> dict[str, Any]:
        """The request in the provider's words."""
        raise NotImplementedError

    def _read(self, response: Any, model: str) -> Reply | None:
        """The reply in a response, or None if there is none."""
        raise NotImplementedError

    def _usage(self, usage: Any) -> Usage | None:
        """Read the object of a response that says what it cost."""
        raise NotImplementedError

    def _keep(self, error: Any, text: str) -> None:
        """Keep what came before anything went wrong on the error that says so; on a cancellation too."""
        if isinstance(error, LLMError) or not isinstance(error, Exception):
            error.raw = masked(text, self._endpoint) or None
            error.usage = self._usage(usage_object(text))

    def _request(
        self, messages: Sequence[Message], settings: Mapping[str, Any]
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the body of a request, and what it should have had that the model does not take."""
        if settings.get("stream"):
            raise BadRequestError("stream=True cannot be used: a Reply is whole.", mend="Leave it out.")
        body = {"model": self._endpoint.model, **self._body(messages, settings)}
        return body, self._adjustments.apply(body)

    def _arguments(self, create: Any, body: dict[str, Any]) -> dict[str, Any]:
        if self._known is None:
            self._known = frozenset(inspect.signature(create).parameters)
        # Local servers know more settings than an SDK, and an SDK may drop one that its provider still takes.
        if body.keys() <= self._known:
            return body
        extra = {name: value for name, value in body.items() if name not in self._known}
        arguments = {name: value for name, value in body.items() if name not in extra}
        arguments["extra_body"] = {**extra, **(arguments.get("extra_body") or {})}
        return arguments

    def _take_first_model(self, listed: Any) -> None:
        model = text_or_none(dig(listed, "data", 0, "id"))
        if model is None:
            raise BadRequestError(
                f"The server at {self._endpoint.shown_url} lists no model.",
                mend="Load one there, or name one with model=… or OPENAI_MODEL.",
            )
        old = self._endpoint
        self._endpoint = Endpoint(old.provider, model, old.base_url, old.api_key)

    def _checked(self, response: Any, model: str, left_out: tuple[str, ...], received: Received) -> Reply:
        reply = self._read(response, model)
        if reply is None:
            request_id = text_or_none(dig(response, "_request_id"))
            raise not_an_answer(response, self._endpoint, request_id=request_id, text=received.text)
        return replace(reply, left_out=left_out) if left_out else reply
