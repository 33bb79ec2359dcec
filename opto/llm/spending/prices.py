"""What a call cost in US dollars: by what the user says, else by a table, else unknown."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib import import_module
from typing import Any

from opto.errors import BadRequestError
from opto.llm.messages import Usage

__all__ = ["Price", "Pricing"]

_PER = 1_000_000
_INSTALL = 'pip install "opto-trace[prices]"'
#: What the table calls a provider that has another name here.
_PROVIDERS = {"openai-responses": "openai"}
#: Prices of plain text in the table; those of what a model was not asked for do not matter.
_PLAIN = {"input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "input_audio_mtok", "output_audio_mtok"}


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens.

    Args:
        input: For what the model reads.
        output: For what it writes, its reasoning included.
        cached_input: For the part of the input that comes from a cache; None if it costs as much as the rest.

    Example:
        >>> from opto.llm import Usage
        >>> round(Price(2.5, 15, cached_input=0.25).of(Usage(1_000_000, 100_000, cached_tokens=400_000)), 6)
        3.1
    """

    input: float
    output: float
    cached_input: float | None = None

    def __post_init__(self) -> None:
        for name in ("input", "output", "cached_input"):
            value = getattr(self, name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (is_number and 0 <= value < math.inf) and not (name == "cached_input" and value is None):
                raise BadRequestError(
                    f"The price of {name} is {value!r:.80}.",
                    mend="Give US dollars per million tokens, such as Price(input=2.5, output=15).",
                )

    @classmethod
    def given(cls, price: "Price | tuple[float, ...] | None") -> "Price | None":
        """Read what a user gave as a price: one, or ``(input, output)`` or ``(input, output, cached_input)``.

        Raises:
            BadRequestError: It is none.
        """
        if price is None or isinstance(price, Price):
            return price
        if isinstance(price, tuple | list) and len(price) in {2, 3}:
            return cls(*price)
        raise BadRequestError(
            f"The price is {price!r:.80}.",
            mend="Give (input, output) in US dollars per million tokens, or an opto.llm.Price.",
        )

    def of(self, usage: Usage) -> float:
        """Return what *usage* costs, in US dollars."""
        cached = min(usage.cached_tokens, usage.input_tokens)
        cheaper = self.input if self.cached_input is None else self.cached_input
        amounts = ((usage.input_tokens - cached, self.input), (cached, cheaper), (usage.output_tokens, self.output))
        return sum(tokens * price for tokens, price in amounts) / _PER

    @property
    def is_free(self) -> bool:
        return not (self.input or self.output or self.cached_input)


class Pricing:
    """What the calls of one client cost.

    Args:
        price: What the user says, which holds for all models of the client.
        is_official: False for a server of one's own, whatever the model is called there: no table knows its prices.
    """

    def __init__(self, price: Price | tuple[float, ...] | None = None, *, is_official: bool = True) -> None:
        self._given = Price.given(price)
        self._is_official = is_official

    def cost(
        self, model: str, usage: Usage | None, *, answered_by: str = "", at: datetime | None = None
    ) -> float | None:
        """Return US dollars; None if the price is not known, or the usage of a model that is not free.

        Args:
            model: ``"provider:model"``.
            usage: What was used.
            answered_by: What the provider calls the model: at Azure, the other name is one that the user made up.
            at: When; now, if not given. Some prices change on a day.
        """
        if self._given is not None:
            if usage is None:
                return 0.0 if self._given.is_free else None
            return self._given.of(usage)
        table = _table() if self._is_official and usage is not None else None
        if table is None or usage is None:
            return None
        provider, _, name = model.partition(":")
        provider = _PROVIDERS.get(provider, provider)
        names = (answered_by, name) if provider == "azure" else (name,)
        for candidate in filter(None, names):
            price = table.price(provider, candidate)
            if price is not None:
                return price(usage, at or datetime.now(UTC))
        return None

    def mend(self) -> str:
        """What to do about a price that is not known."""
        if self._is_official and _table() is None:
            return (
                f"Install a table of prices ({_INSTALL}), or give the client price=(input, output), per million tokens."
            )
        return "Give the client price=(input, output), in US dollars per million tokens; (0, 0) if it is free."


_Cost = Callable[[Usage, datetime], float | None]


class _Table:
    """The prices that come with the package, as of its version: nothing is fetched."""

    def __init__(self, snapshot: Any, usage: Any) -> None:
        self._snapshot = snapshot
        self._usage = usage
        self._known: dict[tuple[str, str], _Cost | None] = {}

    def price(self, provider: str, model: str) -> _Cost | None:
        key = provider, model
        if key not in self._known:
            self._known[key] = self._find(provider, model)
        return self._known[key]

    def _find(self, provider: str, model: str) -> _Cost | None:
        try:
            _, found = self._snapshot.find_provider_model(model, None, provider, None)
        except LookupError:
            return None
        prices = found.prices
        if isinstance(prices, list) or not hasattr(prices, "__dict__"):
            return self._exactly(provider, model)
        said = {name: price for name, price in vars(prices).items() if price is not None}
        if not said:
            return None
        is_plain = {"input_mtok", "output_mtok"} <= set(said) <= _PLAIN
        if is_plain and not any(hasattr(price, "tiers") for price in said.values()):
            cached = said.get("cache_read_mtok")
            per_token = Price(
                float(said["input_mtok"]), float(said["output_mtok"]), None if cached is None else float(cached)
            )
            return lambda usage, _: per_token.of(usage)
        return self._exactly(provider, model)

    def _exactly(self, provider: str, model: str) -> _Cost:
        """For prices that depend on the day or on the length of a prompt, which takes the table longer."""

        def cost(usage: Usage, at: datetime) -> float | None:
            counts = self._usage(
                input_tokens=usage.input_tokens,
                cache_read_tokens=min(usage.cached_tokens, usage.input_tokens),
                output_tokens=usage.output_tokens,
            )
            try:
                return float(self._snapshot.calc(counts, model, provider, None, at).total_price)
            except (LookupError, ValueError, ArithmeticError):
                return None

        return cost


@lru_cache(maxsize=1)
def _table() -> _Table | None:
    """Return the table of prices, if it is installed."""
    try:
        snapshots, data = import_module("genai_prices.data_snapshot"), import_module("genai_prices.data")
        usage = import_module("genai_prices").Usage
    except ImportError:
        return None
    # A snapshot of our own: that of the package may be one that somebody has it fetch.
    return _Table(snapshots.DataSnapshot(providers=data.providers, from_auto_update=False), usage)
