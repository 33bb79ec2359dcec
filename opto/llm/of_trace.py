"""What programs for Trace say about models: in variables of the environment, and by names in LiteLLM's form."""

import os
from typing import NamedTuple

from opto.errors import AuthenticationError, BadRequestError
from opto.llm.naming import checked_model, maker_of

__all__ = ["BACKENDS", "NO_KEY", "Place", "by_variables", "litellm_model", "model_for_trace"]

#: What Trace may ask models by.
BACKENDS = ("LiteLLM", "CustomLLM")

NO_KEY = "no-key"
"""Sent to servers that need no key, because the SDKs insist on one."""


class Place(NamedTuple):
    """Which model to ask, and where; None leaves it to the environment."""

    model: str | None = None
    base_url: str | None = None
    api_key: str | None = None


def by_variables() -> Place | None:
    """Return what the variables of Trace name, if they name something.

    Raises:
        AuthenticationError: It has no address.
        BadRequestError: It cannot be used.
    """
    place = model_for_trace()
    return None if place.model is None else place


def model_for_trace(backend: str | None = None, model: str | None = None) -> Place:
    """Return which model a program for Trace means.

    Args:
        backend: One of `BACKENDS`; None for the one of the environment, else LiteLLM.
        model: As the program names it; None for the one of the environment.

    Raises:
        AuthenticationError: It has no address.
        BadRequestError: The backend is not known, or cannot be used; or *model* is no name.
    """
    model = model if model is None else checked_model(model)
    backend = backend or _variable("TRACE_DEFAULT_LLM_BACKEND") or "LiteLLM"
    if backend == "LiteLLM":
        model = model or _variable("TRACE_LITELLM_MODEL") or _variable("DEFAULT_LITELLM_MODEL")
        return Place(None if model is None else litellm_model(model))
    if backend == "CustomLLM":
        url = _variable("TRACE_CUSTOMLLM_URL")
        if url is None:
            raise AuthenticationError(
                "CustomLLM has no address.",
                mend='Set TRACE_CUSTOMLLM_URL, or write LLM("model", base_url="http://…/v1").',
            )
        # Named in full, because the server may be a proxy that lists very many.
        named = model or _variable("TRACE_CUSTOMLLM_MODEL") or "gpt-4o"
        return Place(f"openai:{named}", url, _variable("TRACE_CUSTOMLLM_API_KEY") or NO_KEY)
    if backend in {"AutoGen", "AutoGenLLM"}:
        raise BadRequestError(
            "AutoGen, by which models are to be asked here, is nothing that opto uses.",
            mend='Write LLM("openai:…") and leave TRACE_DEFAULT_LLM_BACKEND unset, or hand on what AutoGen makes:'
            " DummyLLM(wrapper.create).",
        )
    raise BadRequestError(f"There is no backend {backend!r:.80}.", mend=f"Choose one of {', '.join(BACKENDS)}.")


def litellm_model(name: str) -> str:
    """Return what `opto.llm.LLM` calls a model that Trace hands to LiteLLM under this name.

    Names in opto's own form stay as they are.

    Example:
        >>> litellm_model("gpt-4o"), litellm_model("anthropic/claude-x"), litellm_model("gemini/g-2")
        ('openai:gpt-4o', 'anthropic:claude-x', 'litellm:gemini/g-2')
    """
    maker = maker_of(name)
    if maker is not None:
        return ":".join(maker)
    return name if ":" in name.partition("/")[0] else f"litellm:{name}"  # the former is opto's own form


def _variable(name: str) -> str | None:
    return os.environ.get(name, "").strip() or None
