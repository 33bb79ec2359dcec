"""What calls cost: by what the user says, else by the table that is installed, else unknown."""

import socket
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from opto.errors import BadRequestError
from opto.llm import Price, Usage
from opto.llm.spending import Pricing, prices

MILLION = Usage(1_000_000, 1_000_000)


@pytest.fixture
def no_table(monkeypatch):
    """As if the package with prices were not installed."""
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    monkeypatch.setitem(sys.modules, "genai_prices.data", None)
    monkeypatch.setitem(sys.modules, "genai_prices.data_snapshot", None)
    prices._table.cache_clear()
    yield
    prices._table.cache_clear()


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Usage(1_000_000, 0), 2.0),
        (Usage(0, 1_000_000), 10.0),
        (Usage(1_000_000, 0, cached_tokens=400_000), 1.2 + 0.08),
        (Usage(0, 1_000_000, reasoning_tokens=900_000), 10.0),
        (Usage(1_000_000, 0, cached_tokens=400_000, cache_write_tokens=100_000), 1.0 + 0.08 + 0.25),
        # A provider that reports nonsense does not make anything cheaper than its input.
        (Usage(100, 0, cached_tokens=1_000_000), 0.00002),
    ],
)
def test_a_price_is_per_million_tokens(usage, cost):
    assert Price(2, 10, cached_input=0.2, cache_write=2.5).of(usage) == pytest.approx(cost)


def test_cached_input_costs_as_much_as_the_rest_if_nothing_is_said():
    assert Price(2, 10).of(Usage(1_000_000, 0, cached_tokens=600_000, cache_write_tokens=400_000)) == 2


@pytest.mark.parametrize("given", [(1,), "cheap", (1, 2, 3, 4), (1, -2), (1, float("nan")), (True, 1), (1, "2"), 3])
def test_what_is_no_price_is_refused(given):
    with pytest.raises(BadRequestError, match="per million tokens"):
        Pricing(given)


def test_what_the_user_says_holds_for_any_model_anywhere():
    pricing = Pricing((1, 2), is_official=False)
    assert pricing.cost("openai:llama3.2", MILLION) == 3
    assert Pricing(Price(1, 2)).cost("openai:gpt-4o", MILLION) == 3
    assert Pricing((1, 2, 0.5)).cost("openai:gpt-4o", Usage(1_000_000, 0, cached_tokens=1_000_000)) == 0.5


def test_unknown_usage_costs_nothing_only_where_everything_is_free():
    assert Pricing((1, 2)).cost("function:f", None) is None
    assert Pricing((0, 0)).cost("function:f", None) == 0


@pytest.mark.parametrize(
    ("model", "answered_by"),
    [
        ("openai:gpt-4o", ""),
        ("openai-responses:gpt-4o", ""),
        ("azure:gpt-4o", ""),
        ("azure:our-deployment", "gpt-4o-2024-08-06"),
        ("litellm:openai/gpt-4o", ""),
        ("litellm:azure/gpt-4o", ""),
        ("litellm:gpt-4o", ""),
    ],
)
def test_prices_of_official_endpoints_are_in_the_table(model, answered_by):
    # What this model has cost for years.
    assert Pricing().cost(model, MILLION, answered_by=answered_by) == pytest.approx(12.5)


def test_the_table_knows_other_providers():
    assert Pricing().cost("anthropic:claude-sonnet-4-5", Usage(100_000, 10_000)) == pytest.approx(0.45)
    assert Pricing().cost("anthropic:claude-sonnet-4-5", Usage(100_000, 0, cached_tokens=100_000)) == pytest.approx(
        0.03
    )

    stored = Usage(100_000, 0, cache_write_tokens=100_000)
    assert Pricing().cost("anthropic:claude-sonnet-4-5", stored) == pytest.approx(0.375)


def test_prices_that_depend_on_the_length_of_a_prompt_are_taken_as_they_are():
    short, long = (Pricing().cost("litellm:gemini/gemini-2.5-pro", Usage(size, 0)) for size in (200_000, 400_000))
    assert long == pytest.approx(4 * short)


@pytest.mark.parametrize("size", [30_000, 128_000, 200_000, 200_001, 272_000, 272_001, 900_000])
def test_the_quick_way_costs_what_the_table_itself_says(size):
    table, now = prices._table(), datetime.now(UTC)
    usage, compared, plain = Usage(size, 700, 20_000, 100, 3000), 0, 0
    for provider in table._snapshot.providers:
        for model in provider.models:
            quick, exact = table.price(provider.id, model.id), table._exactly(provider.id, model.id, usage, now)
            if quick is None or (amount := quick(usage, now)) is None:
                continue
            assert amount == pytest.approx(exact, rel=1e-9, abs=1e-12), (provider.id, model.id)
            compared += 1
            plain += prices._Rates(
                vars(table._snapshot.find_provider_model(model.id, None, provider.id, None)[1].get_prices(now))
            ).is_plain
    assert compared > 500
    assert plain > 0.8 * compared


@pytest.mark.parametrize(
    "model", ["openai:llama3.2", "openai:", "local:shout", "function:f", "azure:our-deployment", "x"]
)
def test_what_no_table_knows_is_unknown(model):
    assert Pricing().cost(model, MILLION) is None


def test_a_server_of_ones_own_has_no_price_whatever_its_model_is_called():
    pricing = Pricing(is_official=False)
    assert pricing.cost("openai:gpt-4o", MILLION) is None
    assert "price=(input, output)" in pricing.mend()


def test_without_the_table_costs_are_unknown_and_it_is_said_what_to_do(no_table):
    pricing = Pricing()
    assert pricing.cost("openai:gpt-4o", MILLION) is None
    assert 'pip install "opto-trace[prices]"' in pricing.mend()
    assert "price=(input, output)" in pricing.mend()
    assert Pricing((1, 2)).cost("openai:gpt-4o", MILLION) == 3


def test_the_table_needs_no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a connection was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    prices._table.cache_clear()
    assert Pricing().cost("openai:gpt-4o", MILLION) == pytest.approx(12.5)


def test_prices_that_somebody_has_fetched_meanwhile_change_nothing():
    """The same run costs the same on every machine with this version of the table."""
    from genai_prices import data_snapshot

    before = Pricing().cost("openai:gpt-4o", MILLION)
    prices._table.cache_clear()
    data_snapshot.set_custom_snapshot(data_snapshot.DataSnapshot(providers=[], from_auto_update=True))
    try:
        assert Pricing().cost("openai:gpt-4o", MILLION) == before
    finally:
        data_snapshot.set_custom_snapshot(None)


def test_the_table_is_loaded_when_it_is_needed_and_not_before():
    program = (
        "import sys; import opto.llm; from opto.llm.spending import Pricing;"
        "from opto.llm import Usage; Pricing((1, 2)).cost('openai:gpt-4o', Usage(1, 1));"
        "assert not {'genai_prices', 'pydantic', 'decimal', 'asyncio'} & set(sys.modules), sorted(sys.modules);"
        "Pricing().cost('openai:gpt-4o', Usage(1, 1)); assert 'genai_prices' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
