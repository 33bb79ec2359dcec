"""Which model to talk to, and where: from arguments, else from environment variables."""

import difflib
import os
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from opto.errors import AuthenticationError, BadRequestError
from opto.llm.labels import Role

__all__ = [
    "ANTHROPIC_DEFAULT_MODEL",
    "NO_KEY",
    "OPENAI_DEFAULT_MODEL",
    "Endpoint",
    "environment_model",
    "find_endpoint",
    "role_variable",
]

Provider = Literal["openai", "anthropic"]

OPENAI_DEFAULT_MODEL = "gpt-6.1-terra"
"""Used when the environment holds an OpenAI key and names no model."""

ANTHROPIC_DEFAULT_MODEL = "claude-sonnet-5-5"
"""Used when the environment holds an Anthropic key and names no model."""

NO_KEY = "no-key"
"""Sent to servers that need no key, because the SDKs insist on one."""

_DEFAULT_MODELS: dict[Provider, str] = {
    "openai": OPENAI_DEFAULT_MODEL,
    "anthropic": ANTHROPIC_DEFAULT_MODEL,
}
_HOSTS: dict[Provider, str] = {"openai": "api.openai.com", "anthropic": "api.anthropic.com"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model at an address.

    Args:
        provider: The protocol that is spoken there.
        model: None for the first model that the server lists.
        base_url: None for the provider's own.
        api_key: None leaves it to the SDK to find one.
    """

    provider: Provider
    model: str | None
    base_url: str | None = field(default=None, repr=False)  # may hold a password
    api_key: str | None = field(default=None, repr=False)

    @property
    def is_official(self) -> bool:
        """Whether this is the provider itself, and not a server that speaks its protocol."""
        if self.base_url is None:
            return True
        host, own = urlsplit(self.base_url).hostname or "", _HOSTS[self.provider]
        return host == own or host.endswith(f".{own}")

    @property
    def key_variable(self) -> str:
        return f"{self.provider.upper()}_API_KEY"

    @property
    def shown_url(self) -> str | None:
        """The address without user, password and query, which may hold secrets."""
        if self.base_url is None:
            return None
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def name(self) -> str:
        return f"{self.provider}:{self.model or f'(first model of {self.shown_url})'}"

    def __str__(self) -> str:
        if self.is_official or self.model is None:
            return self.name
        return f"{self.name} at {self.shown_url}"


def environment_model(role: Role | None = None) -> str | None:
    """Tell which model `LLM()` would use, without building or contacting anything.

    Args:
        role: The same for ``LLM(role=…)``.

    Returns:
        ``"provider:model"``, or None if the environment names no model. For a local server whose model is not
        named, a text in its place, for people to read.

    Example:
        A program that can do without a model::

            optimizer = OptoPrime(parameters) if environment_model() else LocalSearch(parameters)
    """
    endpoint = _from_environment(role)
    return None if endpoint is None else endpoint.name


def role_variable(role: Role) -> str:
    """Return the environment variable that names the model of a role."""
    return f"OPTO_{role.upper()}_MODEL"


def find_endpoint(
    model: str | None = None, *, base_url: str | None = None, api_key: str | None = None, role: Role | None = None
) -> Endpoint:
    """Combine arguments and environment; what is passed wins.

    Raises:
        AuthenticationError: Nothing says which model to use, or its key is missing.
        BadRequestError: The model or the address is unusable.
    """
    if base_url is not None:
        _check_url(base_url)
    if model is None and base_url is None:
        endpoint = _from_environment(role)
        if endpoint is None:
            own = "" if role is None else f"{role_variable(role)}, "
            raise AuthenticationError(
                f"No model is configured: none of {own}OPTO_MODEL, OPENAI_BASE_URL, OPENAI_API_KEY and"
                " ANTHROPIC_API_KEY is set.",
                mend='Set one of them, pass llm="openai:…" or a function from messages to text, or, for numbers and'
                " choices, use opto.optimizers.LocalSearch, which needs no model.",
            )
    else:
        endpoint = _from_arguments(model, base_url)
    return _with_key(endpoint, api_key, from_environment=base_url is None)


def _from_environment(role: Role | None) -> Endpoint | None:
    named = (_variable(role_variable(role)) if role is not None else None) or _variable("OPTO_MODEL")
    if named is not None:
        return _from_arguments(named, None)
    openai_url = _variable("OPENAI_BASE_URL")
    if openai_url is not None or _variable("OPENAI_API_KEY") is not None:
        return _with_default_model("openai", _variable("OPENAI_MODEL"), openai_url)
    if _variable("ANTHROPIC_API_KEY") is not None:
        return _with_default_model("anthropic", None, _variable("ANTHROPIC_BASE_URL"))
    return None


def _from_arguments(model: str | None, base_url: str | None) -> Endpoint:
    prefix, name = _split(model)
    provider = prefix or ("openai" if base_url is not None else _provider_of_environment(name))
    url = base_url if base_url is not None else _variable(f"{provider.upper()}_BASE_URL")
    endpoint = _with_default_model(provider, name, url)
    if prefix is None and name is not None and ":" in name and endpoint.is_official:
        raise _unknown_provider(name)
    return endpoint


def _split(model: str | None) -> tuple[Provider | None, str | None]:
    """Take a provider off the front; names of local models may hold colons too (``llama3.2:1b``)."""
    prefix, colon, name = (model or "").partition(":")
    if colon and prefix in _DEFAULT_MODELS:
        if not name:
            raise BadRequestError(f"The model {model!r} has no name.", mend=f'Write "{prefix}:" and a model.')
        return prefix, name
    return None, model or None


def _provider_of_environment(name: str | None) -> Provider:
    if _variable("OPENAI_BASE_URL") is not None or _variable("OPENAI_API_KEY") is not None:
        return "openai"
    if _variable("ANTHROPIC_API_KEY") is not None:
        return "anthropic"
    if name is not None and ":" in name:
        raise _unknown_provider(name)
    raise BadRequestError(
        f"The model {name!r} names no provider.",
        mend=f'Write "openai:{name}" or "anthropic:{name}", or pass base_url=…',
    )


def _unknown_provider(model: str) -> BadRequestError:
    prefix = model.partition(":")[0]
    near = difflib.get_close_matches(prefix, _DEFAULT_MODELS, n=1)
    question = f"Did you mean {near[0]!r}? " if near else ""
    return BadRequestError(
        f"The model {model!r} names the provider {prefix!r}, which opto does not know.",
        mend=f'{question}Write "openai:…" or "anthropic:…", or pass base_url=… for a server of your own.',
    )


def _with_default_model(provider: Provider, model: str | None, base_url: str | None) -> Endpoint:
    if base_url is not None:
        _check_url(base_url)
    endpoint = Endpoint(provider, model, base_url)
    if model is None and endpoint.is_official:
        return Endpoint(provider, _DEFAULT_MODELS[provider], base_url)
    return endpoint


def _with_key(endpoint: Endpoint, api_key: str | None, *, from_environment: bool) -> Endpoint:
    """Choose the key; the environment's never goes to an address that the environment does not name."""
    if api_key is None and (from_environment or endpoint.is_official):
        api_key = _variable(endpoint.key_variable)
    if api_key is None and not endpoint.is_official and (endpoint.provider == "openai" or not from_environment):
        api_key = NO_KEY
    if api_key is None and endpoint.provider == "openai":
        raise AuthenticationError(
            f"There is no key for {endpoint}.", mend=f"Set {endpoint.key_variable}, or pass api_key=…"
        )
    return Endpoint(endpoint.provider, endpoint.model, endpoint.base_url, api_key)


def _check_url(base_url: str) -> None:
    parts = urlsplit(base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        # Not shown: it may be a key that landed in the wrong argument.
        raise BadRequestError(
            "The base URL is not an address.",
            mend='Write it in full, such as "http://localhost:11434/v1".',
        )


def _variable(name: str) -> str | None:
    # Set but empty means unset, as shells and CI systems have it.
    return os.environ.get(name, "").strip() or None
