"""Which model to talk to, and where: from arguments, else from environment variables."""

import os
import sys
from dataclasses import dataclass, field, replace
from typing import NamedTuple
from urllib.parse import urlsplit

from opto.errors import AuthenticationError, BadRequestError, kind_of
from opto.llm.labels import Role
from opto.llm.naming import Provider, checked_model, maker_of, nobody_named, split_model, unknown_provider
from opto.llm.of_trace import NO_KEY, by_variables

__all__ = [
    "ANTHROPIC_DEFAULT_MODEL",
    "NO_KEY",
    "OPENAI_DEFAULT_MODEL",
    "WITHOUT_A_MODEL",
    "Endpoint",
    "environment_model",
    "find_endpoint",
    "no_key",
    "role_variable",
]

OPENAI_DEFAULT_MODEL = "gpt-6.1-terra"
"""Used when the environment holds an OpenAI key and names no model."""

ANTHROPIC_DEFAULT_MODEL = "claude-sonnet-5-5"
"""Used when the environment holds an Anthropic key and names no model."""


WITHOUT_A_MODEL = (
    "Numbers and choices need no model with opto.optimizers.LocalSearch, nor do tests with opto.llm.ScriptedLLM."
)
"""What to do where there is none."""


class _Place(NamedTuple):
    """Where a provider is asked.

    Args:
        key: The variable with its key.
        url: The variable with its address; None if it has none.
        host: The provider's own; None if everybody has an address of their own.
        model: Used when none is named.
    """

    key: str
    url: str | None
    host: str | None = None
    model: str | None = None


_OPENAI = _Place("OPENAI_API_KEY", "OPENAI_BASE_URL", "api.openai.com", OPENAI_DEFAULT_MODEL)
_PLACES: dict[Provider, _Place] = {
    "openai": _OPENAI,
    "openai-responses": _OPENAI,
    "anthropic": _Place("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "api.anthropic.com", ANTHROPIC_DEFAULT_MODEL),
    "azure": _Place("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"),
    "ollama": _Place("OLLAMA_API_KEY", "OLLAMA_HOST"),
    # It finds keys and addresses itself, in the variables of whichever provider it is to ask.
    "litellm": _Place("the variable that LiteLLM reads for this provider", None),
}
_OLLAMA_PORT = 11434


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
    def is_at_home(self) -> bool:
        """Whether this is an address of the provider's own."""
        if self.base_url is None:
            return True
        host, own = urlsplit(self.base_url).hostname or "", _PLACES[self.provider].host
        return own is not None and (host == own or host.endswith(f".{own}"))

    @property
    def is_official(self) -> bool:
        """Whether this is the provider itself, and not a server that speaks its protocol."""
        return self.is_at_home or self.provider == "azure"

    @property
    def account(self) -> tuple[str | None, ...]:
        """What has limits of its own: models of one address and key share them, in whatever protocol they are asked."""
        # Behind one LiteLLM there are many providers.
        behind = (self.model or "").partition("/")[0] if self.provider == "litellm" else None
        return self.key_variable, self.base_url, self.api_key, behind

    @property
    def key_variable(self) -> str:
        return _PLACES[self.provider].key

    @property
    def url_variable(self) -> str | None:
        return _PLACES[self.provider].url

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
        if self.is_at_home or self.model is None:
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
    model = model if model is None else checked_model(model)
    if base_url is not None:
        _check_url(base_url, "base_url")
    if model is None and base_url is None:
        endpoint = _from_environment(role)
        if endpoint is None:
            if "opto_child" in sys.modules:
                raise AuthenticationError(
                    "There is no model in a sandbox.",
                    mend="Offer the function that asks one, with Sandbox(hosts=['call_llm']) for instance.",
                )
            own = "" if role is None else f"{role_variable(role)}, "
            raise AuthenticationError(
                f"No model is configured: none of {own}OPTO_MODEL, OPENAI_BASE_URL, OPENAI_API_KEY and"
                " ANTHROPIC_API_KEY is set.",
                mend=f'Set one of them, or pass llm="openai:…" or a function from messages to text. {WITHOUT_A_MODEL}',
            )
    else:
        endpoint = _from_arguments(model, base_url)
    return _with_key(endpoint, api_key, from_environment=base_url is None)


def _from_environment(role: Role | None) -> Endpoint | None:
    for variable in ("OPTO_MODEL",) if role is None else (role_variable(role), "OPTO_MODEL"):
        if (named := _variable(variable)) is not None:
            return _from_arguments(named, None, said=f" in {variable}")
    if (place := by_variables()) is not None:
        return replace(_from_arguments(place.model, place.base_url), api_key=place.api_key)
    openai_url = _variable("OPENAI_BASE_URL")
    if openai_url is not None or _variable("OPENAI_API_KEY") is not None:
        return _with_default_model("openai", _variable("OPENAI_MODEL"), openai_url)
    if _variable("ANTHROPIC_API_KEY") is not None:
        return _with_default_model("anthropic", None, _variable("ANTHROPIC_BASE_URL"))
    return None


def _from_arguments(model: str | None, base_url: str | None, *, said: str = "") -> Endpoint:
    prefix, name = split_model(model, said)
    if prefix is not None:
        provider = prefix
    elif name is None or base_url is not None:
        provider = "openai"
    else:
        provider, name = _by_name(name, said)
    url = base_url if base_url is not None else _url_of_environment(provider)
    if provider == "ollama":
        url = _ollama_url(url or "127.0.0.1")
    endpoint = _with_default_model(provider, name, url, source="base_url" if base_url is not None else None)
    if prefix is None and name is not None and ":" in name and endpoint.is_at_home and maker_of(name) is None:
        raise unknown_provider(name, said)
    return endpoint


def _by_name(name: str, said: str) -> tuple[Provider, str]:
    """Return who is asked for a model without a provider in front, and what it is called there."""
    url = _url_of_environment("openai")
    if url is not None:
        _check_url(url, "OPENAI_BASE_URL")
        if not Endpoint("openai", name, url).is_at_home:
            return "openai", name  # a server of one's own calls its models as it likes
    maker = maker_of(name)
    if maker is not None:
        return maker
    if name in _PLACES or "/" in name:
        raise nobody_named(name, said)
    if ":" in name:
        raise unknown_provider(name, said)
    if _variable("OPENAI_API_KEY") is not None:
        return "openai", name
    if _variable("ANTHROPIC_API_KEY") is not None:
        return "anthropic", name
    raise nobody_named(name, said)


def _url_of_environment(provider: Provider) -> str | None:
    variable = _PLACES[provider].url
    return None if variable is None else _variable(variable)


def _ollama_url(address: str) -> str:
    """Return where Ollama speaks OpenAI's protocol, for what its own programs take as its address.

    Example:
        >>> _ollama_url("0.0.0.0"), _ollama_url("https://box.example/ollama")
        ('http://127.0.0.1:11434/v1', 'https://box.example/ollama/v1')
    """
    has_scheme = "://" in address
    parts = urlsplit(address if has_scheme else f"http://{address}")
    try:
        host, port = parts.hostname or "127.0.0.1", parts.port
    except ValueError:
        host, port = "", None
    # Where a server listens, which is no address to call.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not bound to
    port = _OLLAMA_PORT if port is None and not has_scheme else port
    user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    place = f"{user}{f'[{host}]' if ':' in host else host}{'' if port is None else f':{port}'}"
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{place if host else ''}{path if path.endswith('/v1') else f'{path}/v1'}"


def _with_default_model(
    provider: Provider, model: str | None, base_url: str | None, *, source: str | None = None
) -> Endpoint:
    if base_url is not None:
        _check_url(base_url, source or _PLACES[provider].url or "base_url")
    endpoint = Endpoint(provider, model, base_url)
    if model is None and endpoint.is_at_home:
        return Endpoint(provider, _PLACES[provider].model, base_url)
    return endpoint


def _with_key(endpoint: Endpoint, api_key: str | None, *, from_environment: bool) -> Endpoint:
    """Choose the key; the environment's never goes to an address that the environment does not name."""
    if endpoint.provider == "azure" and api_key != NO_KEY:  # else nobody is asked
        _check_azure(endpoint)
    if api_key is not None:
        _check_key(api_key)
    api_key = endpoint.api_key if api_key is None else api_key
    if api_key is None and (from_environment or endpoint.is_at_home):
        api_key = _variable(endpoint.key_variable)
    if api_key is None and not _needs_key(endpoint, from_environment=from_environment):
        return endpoint
    if api_key is None and not endpoint.is_official:
        api_key = NO_KEY
    if api_key is None:
        raise no_key(endpoint)
    api_key = api_key.strip()  # as read from a file, with the end of its line
    if not (api_key.isascii() and api_key.isprintable()):
        raise AuthenticationError(
            f"The key for {endpoint} holds characters that cannot be sent.",
            mend=f"Check {endpoint.key_variable} or api_key=…: a key is one word of plain letters and signs.",
        )
    return Endpoint(endpoint.provider, endpoint.model, endpoint.base_url, api_key)


def _check_key(api_key: object) -> None:
    # Never shown, whatever it is.
    if not isinstance(api_key, str):
        raise AuthenticationError(f"api_key is {kind_of(api_key)}.", mend="Give the key itself, as a str.")
    if not api_key.strip():
        raise AuthenticationError(
            "api_key is empty.", mend="Leave it out for the key of the environment, or look at where it comes from."
        )


def no_key(endpoint: Endpoint) -> AuthenticationError:
    """Return the error to raise where a key is missing."""
    return AuthenticationError(
        f"There is no key for {endpoint}.", mend=f"Set {endpoint.key_variable}, or pass api_key=… {WITHOUT_A_MODEL}"
    )


def _needs_key(endpoint: Endpoint, *, from_environment: bool) -> bool:
    """Tell whether opto has to have a key, and does not leave it to the SDK to find one."""
    match endpoint.provider:
        case "anthropic":
            return not endpoint.is_at_home and not from_environment
        case "litellm":
            return not endpoint.is_at_home
        case "azure":
            return not (from_environment and _variable("AZURE_OPENAI_AD_TOKEN"))
    return True


def _check_azure(endpoint: Endpoint) -> None:
    if endpoint.base_url is None:
        raise BadRequestError(
            f"The address of {endpoint.name} is not known.",
            mend="Set AZURE_OPENAI_ENDPOINT to that of your resource, or pass base_url=…",
        )
    if _variable("OPENAI_API_VERSION") is None:
        raise BadRequestError(
            f"Azure wants to know the version of its API for {endpoint}.",
            mend='Set OPENAI_API_VERSION, or use the version that needs none: LLM("openai:…", api_key=…,'
            ' base_url="https://….openai.azure.com/openai/v1/").',
        )


def _check_url(base_url: str, source: str) -> None:
    try:
        parts = urlsplit(base_url) if isinstance(base_url, str) else None
        is_address = parts is not None and parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:  # brackets that do not close
        is_address = False
    if not is_address:
        # Not shown: it may be a key that landed in the wrong argument.
        what = "not an address" if isinstance(base_url, str) else f"{kind_of(base_url)}, and not an address"
        raise BadRequestError(f"{source} is {what}.", mend='Write it in full, such as "http://localhost:11434/v1".')


def _variable(name: str) -> str | None:
    # Set but empty means unset, as shells and CI systems have it.
    return os.environ.get(name, "").strip() or None
