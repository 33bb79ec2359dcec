"""The client that everything in opto asks, whatever is behind it."""

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, NoReturn, Self

from opto.errors import BadRequestError
from opto.hooks import hooks
from opto.llm.adapter import Adapter, Recorded
from opto.llm.bridge import bridge_of_thread
from opto.llm.calls import Call
from opto.llm.cassettes import Cassette, cassette_in_force
from opto.llm.checking import check_names, check_settings, check_tape
from opto.llm.environment import NO_KEY, Endpoint, environment_model, find_endpoint
from opto.llm.forms import form_of
from opto.llm.functions import FunctionAdapter
from opto.llm.labels import Role, checked_role, labels
from opto.llm.messages import Reply, conversation
from opto.llm.naming import checked_model, split_model
from opto.llm.pacing import DEADLINE, RETRIES, Attempts, Clock, Patience, limited, throttle_of
from opto.llm.providers import ADAPTERS
from opto.llm.spending import Budget, Ledger, Meter, Price

__all__ = ["LLM", "DummyLLM"]


class LLM:
    """A model to ask.

    ::

        LLM("openai:gpt-5.4-mini", temperature=0.2)
        LLM("openai-responses:gpt-5.4-mini", reasoning={"effort": "low"})
        LLM("anthropic:claude-sonnet-5", max_tokens=1000)
        LLM("azure:my-deployment")  # AZURE_OPENAI_ENDPOINT, AZURE_OPENAI_API_KEY, OPENAI_API_VERSION
        LLM("ollama:llama3.2")  # this machine, or OLLAMA_HOST
        LLM("some-model", base_url="http://localhost:8000/v1")  # vLLM, any server of OpenAI's protocol
        LLM()  # what the environment names

    ``LLM()`` takes the first of these environment variables that is set: ``OPTO_MODEL`` (``provider:model``), which
    ``OPTO_OPTIMIZER_MODEL``, ``OPTO_JUDGE_MODEL`` and ``OPTO_TASK_MODEL`` precede for a client with that role; those of
    Trace, such as ``TRACE_LITELLM_MODEL``;
    ``OPENAI_BASE_URL`` or ``OPENAI_API_KEY``, with the model in ``OPENAI_MODEL``; ``ANTHROPIC_API_KEY``.
    Without a name, a provider's default model is used, and of a server of your own the first model that it
    lists.

    Nothing is sent that you did not set, except Anthropic's obligatory ``max_tokens`` (8192). Connections are
    opened at the first call and released by `close` or at the end of a ``with`` block; a forgotten client
    releases them when it is garbage-collected. One client serves any number of threads and event loops.

    Args:
        model: ``"provider:model"``, with a provider as above in front. A name alone goes to `base_url`, or to the
            provider that the environment names.
        base_url: Address of a server other than the provider's own. Only `api_key` is sent there, never a key
            from the environment, which is meant for somebody else.
        api_key: Instead of ``OPENAI_API_KEY``, ``ANTHROPIC_API_KEY`` and their like.
        adapter: Your own edge to a model, in place of all the above.
        role: What it is asked as, unless a block says otherwise (see `labelled`); without *model* and the others, the
            model that the environment names for this role is used: ``OPTO_JUDGE_MODEL`` for ``judge``.
        retries: How often a call is tried again after a failure that may pass (`LLMError.transient`), with growing
            waits, or those that the provider asks for.
        deadline: Seconds for a call in all, its retries and waits included; None for no end. A wait that would go
            beyond it is not begun: the failure is raised at once.
        requests_per_minute: Begin no more requests than these within any minute.
        tokens_per_minute: The same for tokens, read and written: estimated before a call, counted after it.
        ledger: Where calls are entered, besides those whose blocks are around a call; `ledger` is one of its own if
            left out. See `Ledger`.
        budget: What the calls may spend, besides the budgets whose blocks are around; one or several. See `Budget`.
        price: US dollars per million tokens, ``(input, output)`` or a `Price`, where the price is not known.
        cassette: What answers in place of the model, or keeps its replies, whatever blocks are around. See `Cassette`.
        settings: Sent with each call. ``max_tokens`` and ``timeout`` (seconds for one attempt, from the first
            byte sent to the last byte read) mean the same everywhere; others (``temperature``, ``seed``,
            ``extra_headers`` …) are the provider's and are passed on by name. None means not set. ``schema`` is the
            form of the answer, which `Reply.value` reads: a pydantic model, a dataclass, a TypedDict, or a JSON
            schema as a dict. A call may have ``retries`` and ``deadline`` of its own as well, and a ``rollout``: which
            of several replies to the same request a cassette is to give.

    Raises:
        AuthenticationError: Neither arguments nor environment name a model, or its key is missing.
        BadRequestError: The model or the address is unusable.

    Example:
        >>> from opto.llm import LLM, DummyLLM
        >>> llm = DummyLLM(lambda messages: messages[-1]["content"].upper())
        >>> llm("hello").text
        'HELLO'
    """

    #: What it is asked as, if no block says it.
    role: Role | None = None

    def __init__(
        self,
        model: str | None = None,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        adapter: Adapter | None = None,
        role: Role | None = None,
        retries: int = RETRIES,
        deadline: float | None = DEADLINE,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        ledger: Ledger | None = None,
        budget: Budget | Sequence[Budget] | None = None,
        price: Price | tuple[float, ...] | None = None,
        cassette: Cassette | None = None,
        **settings: Any,
    ) -> None:
        self.role = role if role is None else checked_role(role)
        check_names(settings, type(self), for_call=False)
        check_tape("ledger", ledger, Ledger)
        check_tape("cassette", cassette, Cassette)
        self._cassette = cassette
        _check_kinds(settings)
        throttle, is_official = None, False
        if adapter is None:
            adapter, endpoint = self._edge(model, base_url=base_url, api_key=api_key)
            if endpoint is not None:
                is_official, throttle = endpoint.is_official, throttle_of(endpoint)
        elif model is not None or base_url is not None or api_key is not None:
            raise BadRequestError(
                "An adapter is given together with a model, a base URL or a key.",
                mend="Give those to the adapter.",
            )
        self._adapter = adapter
        self._settings = settings
        check_settings(settings)
        self._patience = Patience(retries, deadline)
        self._throttle = limited(throttle, requests_per_minute, tokens_per_minute)
        self._meter = Meter(ledger=ledger, budget=budget, price=price, is_official=is_official)
        self._clock = Clock()

    @property
    def ledger(self) -> Ledger:
        """What the calls of this client were, and cost."""
        return self._meter.ledger

    @property
    def model(self) -> str:
        """``"provider:model"``, for people, logs and bills."""
        return self._adapter.model

    @property
    def takes_tools(self) -> bool:
        """True if the model is known to call tools that it is offered (``tool=``)."""
        cassette = cassette_in_force(self._cassette)
        if cassette is not None and not cassette.asks:
            # What is asked depends on this, and the server that was asked then may not be named now.
            return cassette.has_tools
        # Adapters need not derive from the protocol.
        return bool(getattr(self._adapter, "takes_tools", False))

    def __call__(self, messages: str | Sequence[Mapping[str, Any]], **settings: Any) -> Reply:
        """Ask the model and wait for its reply.

        Args:
            messages: A list of ``{"role": …, "content": …}``; a string is one message of the user. Nodes in it, and
                among the settings, stand for what they hold.
            settings: For this call, on top of those of the client.

        Raises:
            LLMError: The subclass tells what went wrong; ``transient`` whether calling again may help.
        """
        bridge = bridge_of_thread()
        if bridge is not None:
            return bridge.run(self.acall(messages, **settings))
        return self._call(messages, settings).make()

    async def acall(self, messages: str | Sequence[Mapping[str, Any]], **settings: Any) -> Reply:
        """Ask the model without blocking the event loop; else the same as calling the client."""
        return await self._call(messages, settings).amake()

    def close(self) -> None:
        """Release all connections; event loops close theirs themselves. A later call opens new ones."""
        self._adapter.close()

    async def aclose(self) -> None:
        """Release all connections, and wait for those of the running event loop."""
        await self._adapter.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __memo__(self) -> tuple[Any, ...]:
        # What replies depend on; connections are no part of it. An adapter without an endpoint speaks for itself.
        return self.model, self._settings, getattr(self._adapter, "_endpoint", self._adapter)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # A copy of a program shares the connections of the original, and whatever counts its calls.
        return self

    def __copy__(self) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        # Another process would have neither its key nor its bill.
        raise TypeError(f"{self!r} has connections and counts calls in this process: make it anew in the other one")

    def __repr__(self) -> str:
        # Headers and bodies may hold secrets.
        shown = [f"{name}={value!r}" for name, value in self._settings.items() if not name.startswith("extra_")]
        return f"{type(self).__name__}({', '.join([repr(self.model), *shown])})"

    def _edge(self, model: str | None, *, base_url: str | None, api_key: str | None) -> tuple[Adapter, Endpoint | None]:
        """Return what asks the model, and where that is, if it is anywhere."""
        model = model if model is None else checked_model(model)
        cassette = cassette_in_force(self._cassette)
        if cassette is not None and not cassette.asks:
            # Nobody is asked, so that no key need be there; nor a model, if it can be told which one was asked.
            recorded = None if base_url is not None else cassette.recorded_as(model)
            if recorded is not None and split_model(recorded)[0] is None:  # a function, a script: nothing to find again
                return Recorded(recorded), None
            api_key = api_key or NO_KEY
            if base_url is None and (model is not None or environment_model(self.role) is None):
                model = recorded or model
        endpoint = find_endpoint(model, base_url=base_url, api_key=api_key, role=self.role)
        return ADAPTERS[endpoint.provider](endpoint), endpoint

    def _call(self, messages: str | Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> Call:
        """Return a call that is not made yet; everything about it is checked."""
        if settings:
            check_names(settings, type(self), for_call=True)
            _check_kinds(settings)
        merged = {**self._settings, **settings}
        if merged:
            merged = hooks.plain(merged)
            check_settings(merged)
        patience, left = self._patience, self._meter.seconds_left
        if left is not None or not merged.keys().isdisjoint(("retries", "deadline", "timeout")):
            retries = merged.pop("retries", None)
            deadline = merged.pop("deadline", patience.deadline)
            patience = Patience(
                patience.retries if retries is None else retries,
                deadline if left is None or (deadline is not None and deadline <= left) else left or None,
                merged.get("timeout"),
            )
        return Call(
            self._adapter,
            conversation(messages),
            {name: value for name, value in merged.items() if value is not None and name != "rollout"},
            rollout=merged.get("rollout"),
            cassette=cassette_in_force(self._cassette),
            meter=self._meter,
            labels=labels(self.role),
            form=form_of(merged["schema"]) if merged.get("schema") is not None else None,
            attempts=Attempts(patience, model=self.model, throttle=self._throttle, clock=self._clock),
        )


#: What holds for a client, and not for one of its calls.


def _check_kinds(settings: Mapping[str, Any]) -> None:
    """Raise if something among *settings* is none, so that a limit which was meant would limit nothing."""
    for name, value in settings.items():
        if isinstance(value, Budget | Cassette | Ledger | Price):
            kind = type(value).__name__
            raise BadRequestError(f"There is no setting {name}= that is a {kind}.", mend=f"Write {kind.lower()}=….")


class DummyLLM(LLM):
    """A function in place of a model, under the name that programs for Trace use.

    Args:
        function: Takes ``messages`` (and settings, if it has parameters for them); returns a string, a
            `Reply`, or an object or dict with ``choices[0].message.content``.
        settings: As for `LLM`. A function is called once, and for as long as it takes, unless ``retries`` and
            ``deadline`` say otherwise.
    """

    def __init__(self, function: Callable[..., Any], **settings: Any) -> None:
        super().__init__(adapter=FunctionAdapter(function), **{"retries": 0, "deadline": None, **settings})
