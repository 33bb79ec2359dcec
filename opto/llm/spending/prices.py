"""What a call cost in US dollars: by what the user says, else by a table, else unknown."""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
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
#: What `Price` holds, in the words of the table, and what does not matter to calls of these adapters.
_USED = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")
_UNUSED = {
    "cache_write_1h_mtok",
    "input_audio_mtok",
    "output_audio_mtok",
    "web_searches_kcount",
    "storage_searches_kcount",
}


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens.

    Args:
        input: For what the model reads.
        output: For what it writes, its reasoning included.
        cached_input: For the part of the input that comes from a cache; None if it costs as much as the rest.
        cache_write: For the part of it that is written to a cache; None likewise.

    Example:
        >>> from opto.llm import Usage
        >>> round(Price(2.5, 15, cached_input=0.25).of(Usage(1_000_000, 100_000, cached_tokens=400_000)), 6)
        3.1
    """

    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None

    def __post_init__(self) -> None:
        for name in ("input", "output", "cached_input", "cache_write"):
            value = getattr(self, name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (is_number and 0 <= value < math.inf) and not ("cache" in name and value is None):
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
        cached, stored = _parts(usage)
        return (
            (usage.input_tokens - cached - stored) * self.input
            + cached * (self.input if self.cached_input is None else self.cached_input)
            + stored * (self.input if self.cache_write is None else self.cache_write)
            + usage.output_tokens * self.output
        ) / _PER

    @property
    def is_free(self) -> bool:
        return not (self.input or self.output or self.cached_input or self.cache_write)


def _parts(usage: Usage) -> tuple[int, int]:
    """Return how much of the input came from a cache and went to one: never more than there is."""
    cached = min(usage.cached_tokens, usage.input_tokens)
    return cached, min(usage.cache_write_tokens, usage.input_tokens - cached)


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
        #: By the prices that hold on a day: the table keeps them.
        rates: dict[int, _Rates] = {}

        def cost(usage: Usage, at: datetime) -> float | None:
            prices = found.get_prices(at)
            if id(prices) not in rates:
                rates[id(prices)] = _Rates(vars(prices))
            said = rates[id(prices)]
            if said.is_plain:
                return said.of(usage)
            return self._exactly(provider, model, usage, at) if said.prices else None

        return cost

    def _exactly(self, provider: str, model: str, usage: Usage, at: datetime) -> float | None:
        """Let the table itself find out, which takes it longer."""
        cached, stored = _parts(usage)
        counts = self._usage(
            input_tokens=usage.input_tokens,
            cache_read_tokens=cached,
            cache_write_tokens=stored,
            output_tokens=usage.output_tokens,
        )
        try:
            return float(self._snapshot.calc(counts, model, provider, None, at).total_price)
        except (LookupError, ValueError, ArithmeticError):
            return None


class _Rates:
    """Prices of the table, which may be others for long prompts."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        self.prices = {name: price for name, price in said.items() if price is not None}
        self.is_plain = set(_USED[:2]) <= set(self.prices) <= {*_USED, *_UNUSED}
        tiers = (tier for price in self.prices.values() for tier in getattr(price, "tiers", ()))
        self._starts = sorted({tier.start for tier in tiers})
        self._by_length = [self._above(start) for start in (-1, *self._starts)] if self.is_plain else []

    def of(self, usage: Usage) -> float:
        """Return what *usage* costs: the length of the whole prompt decides the price of all of it."""
        return self._by_length[bisect_left(self._starts, usage.input_tokens)].of(usage)

    def _above(self, start: int) -> Price:
        """Return the prices of prompts that are longer than that, up to the next start."""
        return Price(*(_above(self.prices.get(name), start) for name in _USED))  # type: ignore[arg-type]


def _above(price: Any, start: int) -> float | None:
    if not hasattr(price, "tiers"):
        return None if price is None else float(price)
    reached = [tier for tier in price.tiers if tier.start <= start]
    return float(max(reached, key=lambda tier: tier.start).price if reached else price.base)


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
