"""What the name of a model says about who is to be asked for it."""

import difflib
import re
from typing import Any, Literal, get_args

from opto.errors import BadRequestError, kind_of

__all__ = ["PROVIDERS", "Provider", "checked_model", "maker_of", "nobody_named", "split_model", "unknown_provider"]

Provider = Literal["openai", "openai-responses", "anthropic", "azure", "ollama", "litellm"]
PROVIDERS: tuple[Provider, ...] = get_args(Provider)

#: Models of the two providers that are known by their names alone; those of gpt-oss run anywhere but at OpenAI.
_OPENAI = re.compile(r"((chat|ft:)?gpt-(?!oss)|(ft:)?o\d)").match
_ANTHROPIC = re.compile(r"claude-").match

#: What others call our providers.
_OTHER_NAMES = {"claude": "anthropic", "gpt": "openai", "chatgpt": "openai", "open-ai": "openai"}
#: Whom LiteLLM asks, by what it calls them.
_BY_LITELLM = {
    "bedrock": "bedrock",
    "deepseek": "deepseek",
    "gemini": "gemini",
    "google": "gemini",
    "grok": "xai",
    "groq": "groq",
    "huggingface": "huggingface",
    "mistral": "mistral",
    "openrouter": "openrouter",
    "vertex_ai": "vertex_ai",
    "xai": "xai",
}
#: Programs that speak OpenAI's protocol wherever they are started.
_SERVERS = {"vllm", "sglang", "tgi", "lmstudio", "lm-studio", "llamacpp", "llama.cpp", "llamafile", "localai", "local"}
#: "opnai" is a slip; "llama3" is none, of "ollama".
_ALIKE = 0.75


def checked_model(model: Any) -> str:
    """Return what was given as the name of a model, without what stands around it.

    Raises:
        BadRequestError: It is no name.
    """
    if not isinstance(model, str):
        raise BadRequestError(f"The model is {kind_of(model)}.", mend=_instead_of_name(model))
    if not model.strip():
        raise BadRequestError(
            "The model is empty.",
            mend="Look at where it comes from, such as a variable that is not set; leave it out for the model that the"
            " environment names.",
        )
    return model.strip()


def _instead_of_name(given: Any) -> str:
    if hasattr(given, "complete") and not isinstance(given, type):
        return "Write LLM(adapter=…) for an adapter, or as_llm(…)."
    if callable(given) and not isinstance(given, type):
        return "Write DummyLLM(…) for a function of messages, or as_llm(…) for whatever can be asked."
    return 'Give its name, such as "openai:gpt-…" or "anthropic:claude-…".'


def split_model(model: str | None, said: str = "") -> tuple[Provider | None, str | None]:
    """Take a provider off the front; names of local models may hold colons too (``llama3.2:1b``).

    Args:
        model: What was given.
        said: Where, for the error: ``" in OPTO_MODEL"``.
    """
    prefix, colon, name = (model or "").partition(":")
    for provider in PROVIDERS:
        if colon and prefix == provider:
            if not name:
                raise BadRequestError(f"The model {model!r}{said} has no name.", mend=f'Write "{prefix}:" and a model.')
            return provider, name
    return None, model or None


def maker_of(name: str) -> tuple[Provider, str] | None:
    """Return whose model this is, and what it is called there, as far as a name without a provider tells.

    Example:
        >>> maker_of("gpt-4o"), maker_of("anthropic/claude-x"), maker_of("some-model")
        (('openai', 'gpt-4o'), ('anthropic', 'claude-x'), None)
    """
    maker, slash, model = name.partition("/")
    if slash:  # as LiteLLM has it
        known: dict[str, Provider] = {"openai": "openai", "anthropic": "anthropic"}
        return (known[maker], model) if maker in known and model else None
    if _OPENAI(name):
        return "openai", name
    return ("anthropic", name) if _ANTHROPIC(name) else None


def nobody_named(name: str, said: str = "") -> BadRequestError:
    """Return the error for a name that says nothing about who is to be asked."""
    if name in PROVIDERS:
        return BadRequestError(
            f"{name!r}{said} is a provider, and no model of it is named.", mend=f'Write "{name}:" and a model.'
        )
    if "/" in name:
        return BadRequestError(
            f"The model {name!r}{said} names no provider that opto knows.",
            mend=f'Write "litellm:{name}", or pass base_url=… for a server that has it.',
        )
    return BadRequestError(
        f"The model {name!r}{said} names no provider.",
        mend=f'Write "openai:{name}", "anthropic:{name}" or "ollama:{name}", or pass base_url=…',
    )


def unknown_provider(name: str, said: str = "") -> BadRequestError:
    """Return the error for a name with something in front that is no provider of ours."""
    prefix, _, model = name.partition(":")
    return BadRequestError(
        f"The model {name!r}{said} names the provider {prefix!r}, which opto does not know.",
        mend=_known_instead(prefix.lower(), model or "…", name),
    )


def _known_instead(prefix: str, model: str, name: str) -> str:
    if prefix in _OTHER_NAMES:
        return f'Write "{_OTHER_NAMES[prefix]}:{model}".'
    if prefix in _BY_LITELLM:
        return f'Write "litellm:{_BY_LITELLM[prefix]}/{model}".'
    if prefix in _SERVERS:
        return f'Write LLM({model!r}, base_url="http://…/v1"), with the address where it runs.'
    is_model = prefix.startswith("llama") or any(letter.isdigit() for letter in prefix)
    near = [] if is_model else difflib.get_close_matches(prefix, PROVIDERS, n=1, cutoff=_ALIKE)
    if near:
        return f'Did you mean {near[0]!r}? Write "{near[0]}:{model}".'
    return (
        f'Write "ollama:{name}" for a model of Ollama, pass base_url=… for another server of your own, or put a'
        ' provider in front, such as "openai:".'
    )
