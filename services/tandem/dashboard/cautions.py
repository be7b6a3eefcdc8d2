"""What a person should know about an account before they read its figures: rules over the broker's document and the book's risk.

Pure. These are for people: what keeps the portfolio from trading are its own limits (docs/risk.md), which stand apart from them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MARGIN_SHARE_MAX = 0.5  # of equity that maintenance margin takes; from there a fall of the market leads to a margin call
SYMBOL_SHARE_MAX = 0.2  # of equity in one symbol
_BLOCKS = ("trading_blocked", "transfers_blocked", "account_blocked", "trade_suspended_by_user")


def cautions(account: Mapping[str, Any], risk: Mapping[str, Any]) -> list[str]:
    """One sentence each, the gravest first. account: the broker's; risk: of the portfolio's API."""
    return [*_of_account(account), *_of_book(risk)]


def _of_account(account: Mapping[str, Any]) -> Iterator[str]:
    for name in _BLOCKS:
        if account.get(name):
            yield f"The broker says {name}."
    if account.get("pattern_day_trader"):
        yield f"The broker counts the account as a pattern day trader ({account.get('daytrade_count', 'unknown')} day trades)."
    if account.get("shorting_enabled") is False:
        yield "The broker does not let the account sell short: no pair can be opened."
    equity, margin = account.get("equity"), account.get("maintenance_margin")
    if equity is not None and margin is not None and float(margin) > MARGIN_SHARE_MAX * float(equity):
        yield f"Maintenance margin is {float(margin):,.0f} USD of {float(equity):,.0f} USD equity: above {MARGIN_SHARE_MAX:.0%}."


def _of_book(risk: Mapping[str, Any]) -> Iterator[str]:
    for breaker in risk["breakers"]:
        yield f"Breaker {breaker['breaker']} has set {breaker['mode']}: {breaker['reason']}. It ends by {breaker['ends']}."
    if risk["quarantined"]:
        yield f"In quarantine until a person releases them: {', '.join(risk['quarantined'])}."
    if risk["size_factor"] < 1:
        yield f"The drawdown of {risk['drawdown']:.1%} leaves {risk['size_factor']:.0%} of a new position's size."
    yield from _concentration(risk["symbols"], float(risk["equity_usd"]))


def _concentration(symbols: Sequence[Mapping[str, Any]], equity_usd: float) -> Iterator[str]:
    for row in sorted(symbols, key=lambda row: -abs(float(row["value_usd"]))):
        if abs(float(row["value_usd"])) > SYMBOL_SHARE_MAX * equity_usd:
            yield f"{row['symbol']} is {abs(float(row['value_usd'])) / equity_usd:.0%} of equity: above {SYMBOL_SHARE_MAX:.0%}."
