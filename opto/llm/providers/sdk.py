"""What the adapters of SDKs share: clients built late and closed in time, and the way of a call."""

import inspect
import threading
import weakref
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, ClassVar

from opto.errors import BadRequestError, LLMError, MissingDependencyError
from opto.llm.adapter import Adapter
from opto.llm.environment import NO_KEY, WITHOUT_A_MODEL, Endpoint
from opto.llm.messages import Message, Reply, Usage
from opto.llm.pacing.deadlines import limit_request
from opto.llm.providers.adjusting import Adjustments
from opto.llm.providers.failures import masked, not_an_answer, sdk_errors
from opto.llm.providers.reading import dig, text_or_none
from opto.llm.providers.receiving import akeep_response, keep_response, receiving, usage_object

__all__ = ["Clients", "SDKAdapter"]


class SDKAdapter(Adapter):
    """One model at one endpoint, through its provider's SDK."""

    package: ClassVar[str]
    requirement: ClassVar[str]
    clients: ClassVar[tuple[str, str]]
    #: Parameters that go under another name if a model refuses this one.
    renames: ClassVar[tuple[str, ...]] = ()

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._clients = self._opened()
        self._adjustments = Adjustments(self.renames)
        self._known: frozenset[str] | None = None

    @property
    def takes_tools(self) -> bool:
        # What servers speak the protocol make of tools differs; some leave them out without a word.
        return self._endpoint.is_official

    @property
    def model(self) -> str:
        return self._endpoint.name

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be written down."""
        key = self._endpoint.api_key
        return () if key is None or key == NO_KEY else (key,)

    def complete(self, messages: Sequence[Message], settings: Mapping[str, Any]) -> Reply:
        client = self._clients.blocking()
        self._check_client(client)
        if self._endpoint.model is None and "model" not in settings:
            with sdk_errors(self._endpoint):
                listed = client.models.list()
            self._take_first_model(listed)
        create = self._create(client)
        while True:
            body, left_out = self._request(messages, settings)
            with receiving() as received:
                try:
                    with sdk_errors(self._endpoint):
                        response = create(**self._arguments(create, body))
                    reply = self._checked(response, body["model"])
                    return replace(reply, left_out=left_out) if left_out else reply
                except LLMError as error:
                    self._keep(error, received.text)
                    if not self._adjustments.learn(error, body, self.model):
                        raise

    async def acomplete(self, messages: Sequence[Message], settings: Mapping[str, Any]) -> Reply:
        client = await self._clients.of_this_loop()
        self._check_client(client)
        if self._endpoint.model is None and "model" not in settings:
            with sdk_errors(self._endpoint):
                listed = await client.models.list()
            self._take_first_model(listed)
        create = self._create(client)
        while True:
            body, left_out = self._request(messages, settings)
            with receiving() as received:
                try:
                    with sdk_errors(self._endpoint):
                        response = await create(**self._arguments(create, body))
                    reply = self._checked(response, body["model"])
                    return replace(reply, left_out=left_out) if left_out else reply
                except LLMError as error:
                    self._keep(error, received.text)
                    if not self._adjustments.learn(error, body, self.model):
                        raise

    def close(self) -> None:
        self._clients.close()

    async def aclose(self) -> None:
        await self._clients.aclose()

    def _opened(self) -> "Clients":
        return Clients(self._endpoint, self.package, self.requirement, self.clients, self._address())

    def _address(self) -> dict[str, Any]:
        """What tells a client of the SDK where to send its requests."""
        return {"base_url": self._endpoint.base_url}

    def _check_client(self, client: Any) -> None:
        """Refuse a client that cannot work, before the SDK does so in its own words."""

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

    def _keep(self, error: LLMError, text: str) -> None:
        """Keep what came before anything went wrong on the error that says so."""
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

    def _arguments(self, create: Any, body: Mapping[str, Any]) -> dict[str, Any]:
        if self._known is None:
            self._known = frozenset(inspect.signature(create).parameters)
        arguments = {name: value for name, value in body.items() if name in self._known}
        # Local servers know more settings than an SDK, and an SDK may drop one that its provider still takes.
        extra = {name: value for name, value in body.items() if name not in self._known}
        if extra:
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

    def _checked(self, response: Any, model: str) -> Reply:
        reply = self._read(response, model)
        if reply is None:
            request_id = text_or_none(dig(response, "_request_id"))
            raise not_an_answer(response, self._endpoint, request_id=request_id)
        return reply


class Clients:
    """The SDK's clients of one adapter: one for all threads, and one for each event loop.

    Connections of an event loop can be closed in that loop only. So each of its clients lives in an async
    generator that closes it at the end, and asyncio ends such generators itself: when the generator is
    dropped, and when the loop shuts down.
    """

    def __init__(
        self, endpoint: Endpoint, package: str, requirement: str, names: tuple[str, str], address: Mapping[str, Any]
    ) -> None:
        self._endpoint = endpoint
        self._address = address
        self._package = package
        self._requirement = requirement
        self._names = names
        self._lock = threading.Lock()
        self._blocking: Any = None
        self._at_end: weakref.finalize[..., Clients] | None = None
        self._by_loop: dict[Any, tuple[AsyncGenerator[None], Any]] = {}

    def blocking(self) -> Any:
        with self._lock:
            if self._blocking is None:
                self._blocking = self._build(self._names[0])
                # The client is part of reference cycles: left to the garbage collector, its sockets may go
                # first.
                self._at_end = weakref.finalize(self, self._blocking.close)
            return self._blocking

    async def of_this_loop(self) -> Any:
        # Imported here because importing opto must not load asyncio.
        from asyncio import get_running_loop  # noqa: PLC0415 - only where it runs already

        loop = get_running_loop()
        with self._lock:
            if loop in self._by_loop:
                return self._by_loop[loop][1]
        client = self._build(self._names[1])
        life = _life(client)
        # Runs to the first yield without giving way to other tasks, so no second client is built meanwhile.
        await anext(life)
        with self._lock:
            self._by_loop = {old: entry for old, entry in self._by_loop.items() if not old.is_closed()}
            self._by_loop[loop] = life, client
        return client

    def close(self) -> None:
        with self._lock:
            if self._at_end is not None:
                self._at_end()
            self._blocking = self._at_end = None
            self._by_loop = {}

    async def aclose(self) -> None:
        # Imported here because importing opto must not load asyncio.
        from asyncio import get_running_loop  # noqa: PLC0415 - only where it runs already

        with self._lock:
            life, _ = self._by_loop.pop(get_running_loop(), (None, None))
        if life is not None:
            await life.aclose()
        self.close()

    def _imported(self) -> Any:
        try:
            return import_module(self._package)
        except ImportError as error:
            raise MissingDependencyError(
                f"{self._endpoint} needs the package {self._package!r}, which cannot be imported: {error}.",
                mend=f'Install it: pip install "{self._requirement}". {WITHOUT_A_MODEL}',
            ) from error

    def _build(self, name: str) -> Any:
        sdk = self._imported()
        with sdk_errors(self._endpoint):
            # A task can be cancelled when its time is over; a thread must see to it itself.
            if name == self._names[1]:
                http = sdk.DefaultAsyncHttpxClient(event_hooks={"response": [akeep_response]})
            else:
                http = sdk.DefaultHttpxClient(event_hooks={"request": [limit_request], "response": [keep_response]})
            return getattr(sdk, name)(
                api_key=self._endpoint.api_key,
                http_client=http,
                max_retries=0,  # tried again in one place only
                **self._address,
            )


async def _life(client: Any) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        await client.close()
