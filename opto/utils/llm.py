"""Models under the names that programs for Trace use; what is behind them is `opto.llm`."""

import time
from abc import ABCMeta
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from opto import llm as edge
from opto.errors import BadRequestError
from opto.llm import Reply, model_for_trace

__all__ = [
    "LLM",
    "AbstractModel",
    "AutoGenLLM",
    "CustomLLM",
    "DummyLLM",
    "LLMFactory",
    "LiteLLM",
]


class AbstractModel(metaclass=ABCMeta):  # noqa: B024 - for `register`
    """A model of your own: what a factory makes, made anew from time to time. All clients of opto count as one.

    Args:
        factory: Returns a function of messages, such as that of an SDK.
        reset_freq: Seconds after which it is asked for another one; None for never.
    """

    def __init__(self, factory: Callable[[], Any], reset_freq: float | None = None) -> None:
        self.factory = factory
        self.reset_freq = reset_freq
        self._renew()

    def _renew(self) -> None:
        self._model, self._born = self.factory(), time.monotonic()

    @property
    def model(self) -> Any:
        """What is called with the messages. Subclasses may override it."""
        return self._model

    def __call__(self, *args: Any, **settings: Any) -> Any:
        """Ask the model, in its own way."""
        if self.reset_freq is not None and time.monotonic() - self._born >= self.reset_freq:
            self._renew()
        return self.model(*args, **settings)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in {"_model", "_born"}}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        self._renew()


AbstractModel.register(edge.LLM)


class _Name(str):
    """The name of a model, which can be called like the model, as in Trace."""

    __slots__ = ("client",)
    client: edge.LLM

    def __call__(self, messages: Any, **settings: Any) -> Reply:
        return self.client(messages, **settings)


class _OfTrace(edge.LLM):
    """What clients of Trace have besides."""

    @property
    def model(self) -> str:
        """``"provider:model"``. As in Trace, it can be called like the client."""
        name = _Name(super().model)
        name.client = self
        return name

    @property
    def model_name(self) -> str:
        """The name of the model alone."""
        return super().model.partition(":")[2]

    def create(self, *, messages: str | Sequence[Mapping[str, Any]], **settings: Any) -> Reply:
        """Ask the model; the same as calling the client."""
        return self(messages, **settings)


class LLM(_OfTrace):
    """A model to ask: `opto.llm.LLM` with the arguments of Trace.

    Args:
        model: ``"gpt-4o"``, ``"anthropic/…"`` and other names of LiteLLM, or ``"provider:model"``. Models of OpenAI and
            Anthropic are asked by their own SDKs, others by LiteLLM.
        reset_freq: Taken as in Trace, and not needed: connections are opened again when they are.
        cache: Taken as in Trace, where it means nothing; see `opto.llm.Cassette`.
        profile: One of `LLMFactory`.
        backend: ``LiteLLM`` or ``CustomLLM``; the default is ``TRACE_DEFAULT_LLM_BACKEND``.
        settings: As for `opto.llm.LLM`; they precede those of the profile.
    """

    _backend: ClassVar[str | None] = None

    def __init__(
        self,
        model: str | None = None,
        reset_freq: float | None = None,  # noqa: ARG002 - as said above
        cache: bool = True,  # noqa: ARG002 - as said above, and as in Trace
        *,
        profile: str | None = None,
        backend: str | None = None,
        **settings: Any,
    ) -> None:
        backend = backend or self._backend
        if profile is not None:
            known = LLMFactory.get_profile_info(profile)
            backend, settings = backend or known["backend"], {**known["params"], **settings}
            model = settings.pop("model", None) if model is None else model
        if "max_retries" in settings:
            settings["retries"] = settings.pop("max_retries")
        if not {"adapter", "base_url"} & settings.keys() and (model, backend) != (None, None):
            place = model_for_trace(backend, model)
            model = place.model
            settings = {"base_url": place.base_url, "api_key": place.api_key, **settings}
        # With nothing said, the environment decides; it knows the variables of Trace.
        super().__init__(model, **settings)


class LiteLLM(LLM):
    """As `LLM`, with ``TRACE_LITELLM_MODEL`` or ``DEFAULT_LITELLM_MODEL`` for the model that is not named."""

    _backend = "LiteLLM"


class CustomLLM(LLM):
    """As `LLM`, at ``TRACE_CUSTOMLLM_URL``, with ``TRACE_CUSTOMLLM_API_KEY`` and ``TRACE_CUSTOMLLM_MODEL``."""

    _backend = "CustomLLM"


class AutoGenLLM(LLM):
    """Not here: what says so.

    Raises:
        BadRequestError: Always.
    """

    def __init__(self, *_given: Any, **_settings: Any) -> None:
        super().__init__(backend="AutoGenLLM")


class DummyLLM(_OfTrace, edge.DummyLLM):
    """A function in place of a model.

    Args:
        callable: As for `opto.llm.DummyLLM`.
        reset_freq: Taken as in Trace, and not needed.
        settings: As for `opto.llm.LLM`.
    """

    def __init__(
        self,
        callable: Callable[..., Any],  # noqa: A002 - as in Trace
        reset_freq: float | None = None,  # noqa: ARG002 - as said above
        **settings: Any,
    ) -> None:
        super().__init__(callable, **settings)


class LLMFactory:
    """Models by names of your own, for ``LLM(profile="cheap")``.

    The profiles that Trace has (``default``, ``premium``, ``cheap``, ``fast``, ``reasoning``) mean the model of the
    environment until they are registered: names of models go out of use.

    Example:
        >>> LLMFactory.register_profile("small", "LiteLLM", model="gpt-4o-mini", temperature=0.5)
        >>> LLMFactory.get_profile_info("small")
        {'backend': 'LiteLLM', 'params': {'model': 'gpt-4o-mini', 'temperature': 0.5}}
    """

    _profiles: ClassVar[dict[str, dict[str, Any]]] = {
        name: {"backend": None, "params": {}} for name in ("default", "premium", "cheap", "fast", "reasoning")
    }

    @classmethod
    def register_profile(cls, name: str, backend: str = "LiteLLM", **params: Any) -> None:
        """Let *name* stand for a model and its settings, in this process."""
        cls._profiles[name] = {"backend": backend, "params": params}

    @classmethod
    def get_llm(cls, profile: str = "default") -> LLM:
        """Return a client for a profile."""
        return LLM(profile=profile)

    @classmethod
    def list_profiles(cls) -> list[str]:
        """Return the names of all profiles."""
        return list(cls._profiles)

    @classmethod
    def get_profile_info(cls, profile: str | None = None) -> dict[str, Any]:
        """Return backend and settings of a profile; without a name, those of all.

        Raises:
            BadRequestError: There is no such profile.
        """
        if profile is None:
            return dict(cls._profiles)
        if profile not in cls._profiles:
            raise BadRequestError(
                f"There is no profile {profile!r:.80}.",
                mend=f"Use one of {', '.join(cls._profiles)}, or register it with LLMFactory.register_profile().",
            )
        return cls._profiles[profile]
