"""LiteLLM: one library for the providers that opto does not speak to itself."""

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from opto.llm.messages import Message, Reply, Usage, chat_words
from opto.llm.pacing.deadlines import seconds_left
from opto.llm.providers.clients import Clients
from opto.llm.providers.failures import text_of_response
from opto.llm.providers.reading import chat_reply, chat_usage, dig, text_or_none
from opto.llm.providers.sdk import SDKAdapter

__all__ = ["LiteLLMAdapter"]


class LiteLLMAdapter(SDKAdapter):
    """One model behind LiteLLM, which has connections of its own for the whole process."""

    package = "litellm"
    requirement = "opto-trace[litellm]"
    clients = ("completion", "acompletion")
    renames = ("max_tokens", "max_completion_tokens")

    @property
    def takes_tools(self) -> bool:
        # That depends on what is behind it.
        return False

    def _opened(self) -> Clients:
        return _Library(self._endpoint, self.package, self.requirement, self.clients, self._address())

    def _create(self, client: Any) -> Any:
        return client.create

    def _body(self, messages: Sequence[Message], settings: Mapping[str, Any]) -> dict[str, Any]:
        return {"messages": messages, **chat_words(settings)}

    def _arguments(self, create: Any, body: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - it takes them all
        endpoint = {"api_base": self._endpoint.base_url, "api_key": self._endpoint.api_key}
        left = seconds_left()
        if left == 0:
            # A limit of 0 is none to LiteLLM.
            raise TimeoutError("the time for this attempt is over")
        limit = {} if left is None else {"timeout": left}
        known = {name: value for name, value in endpoint.items() if value is not None}
        # Before it looks at tools, it imports what it needs for those of MCP servers, which few have installed.
        tools = body.get("tools") or []
        functions = {"_skip_mcp_handler": True} if all(dig(tool, "type") == "function" for tool in tools) else {}
        # It writes notes of its own into some of them, such as metadata.
        body = {name: dict(value) if isinstance(value, dict) else value for name, value in body.items()}
        # Tried again in one place only.
        return {**body, **known, **limit, **(functions if tools else {}), "num_retries": 0, "max_retries": 0}

    def _read(self, response: Any, model: str) -> Reply | None:
        reply = chat_reply(response, model=model)
        if reply is None:
            return None
        # A private attribute, and so none of the fields in which `dig` looks.
        headers = dig(getattr(response, "_hidden_params", None), "additional_headers")
        names = ("llm_provider-x-request-id", "llm_provider-request-id")
        found = [text_or_none(dig(headers, name)) for name in names]
        return replace(reply, request_id=next((name for name in found if name), None), usage=_reported(reply.usage))

    def _usage(self, usage: Any) -> Usage | None:
        return _reported(chat_usage(usage))

    def _keep(self, error: Any, text: str) -> None:  # noqa: ARG002 - its connections are not ours to listen to
        # Errors that it translates still hold what came.
        super()._keep(error, text_of_response(error.__cause__))


def _reported(usage: Usage | None) -> Usage | None:
    # Where a provider says nothing, LiteLLM says 0; but there is no empty prompt.
    return usage if usage is not None and usage.input_tokens else None


class _Library(Clients):
    """LiteLLM's functions in the place of clients."""

    def _imported(self) -> Any:
        # While it is imported it would fetch a table of prices, and wait for the network.
        variable = "LITELLM_LOCAL_MODEL_COST_MAP"
        is_ours = self._package not in sys.modules and variable not in os.environ
        if is_ours:
            os.environ[variable] = "True"
        try:
            library = super()._imported()
        finally:
            if is_ours:
                del os.environ[variable]
        # It prints advice with each error, and warns of event loops that come and go.
        library.suppress_debug_info = True
        log = logging.getLogger("LiteLLM")
        if log.level == logging.NOTSET:
            log.setLevel(logging.ERROR)
        return library

    def _build(self, name: str) -> Any:
        async def nothing() -> None:
            pass

        close = nothing if name == self._names[1] else lambda: None
        return SimpleNamespace(create=getattr(self._imported(), name), close=close)
