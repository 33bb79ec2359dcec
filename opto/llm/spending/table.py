"""Ledgers, budgets and estimates as people read them."""

from collections.abc import Mapping
from typing import Any

from opto.llm.spending.records import Totals

__all__ = ["dollars", "duration", "ledger_table", "number"]

_HEAD = (
    "model",
    "role",
    "calls",
    "failed",
    "retries",
    "replayed",
    "in",
    "cached",
    "out",
    "reasoning",
    "cost",
    "seconds",
)
#: Columns of words, which stand on the left.
_WORDS = 2


def ledger_table(parts: Mapping[Any, Totals], total: Totals) -> str:
    """Return a table of totals by model and role, the dearest first, and of all of them."""
    ordered = sorted(parts.items(), key=lambda part: (-part[1].known_cost, -part[1].usage.total_tokens))
    rows = [_HEAD, *(_row(model, role, totals) for (model, role), totals in ordered)]
    if len(parts) != 1:
        rows.append(_row("all", None, total))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place < _WORDS else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    if total.unpriced:
        lines.append(
            f"? not all is known: of {number(total.unpriced)} of {number(total.calls)} calls, the cost is not."
        )
    return "\n".join(lines)


def _row(model: str, role: str | None, totals: Totals) -> tuple[str, ...]:
    cost = dollars(totals.known_cost) if totals.known_cost or not totals.unpriced else ""
    counts = (totals.calls, totals.failed, totals.retries, totals.replayed)
    usage = totals.usage
    tokens = (usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.reasoning_tokens)
    return (
        model,
        role or "",
        *map(number, counts),
        *map(number, tokens),
        f"{cost}?" if totals.unpriced else cost,
        f"{totals.seconds:.1f}",
    )


def number(count: float) -> str:
    """Return a count with commas."""
    return f"{count:,}"


def dollars(amount: float) -> str:
    """Return an amount of US dollars: small ones with as many places as they need.

    Example:
        >>> dollars(12.5), dollars(0.0123), dollars(0.0000456), dollars(0)
        ('$12.50', '$0.0123', '$0.0000456', '$0.00')
    """
    if amount == 0 or abs(amount) >= 1:
        return f"${amount:,.2f}"
    places = max(2, 2 - int(f"{amount:e}".partition("e")[2]))
    text = f"{amount:.{places}f}".rstrip("0")
    decimals = len(text.partition(".")[2])
    return f"${text}{'0' * max(0, 2 - decimals)}"


def duration(seconds: float) -> str:
    """Return a time as people say it.

    Example:
        >>> duration(3.21), duration(200), duration(9000)
        ('3.2 s', '3.3 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
