"""The body of POST /v2/orders as an order, or the reason why the paper exchange cannot take it. Numbers may be text or JSON numbers."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tandem.domain.ids import Symbol
from tandem.domain.trading import Side
from tandem.flow.exchange_records import TimeInForce
from tandem.recycler.parameters import amount, bad

_CLIENT_ORDER_ID_MAX = 128  # characters, Alpaca's limit
_UNSUPPORTED = ("notional", "stop_price", "trail_price", "trail_percent", "take_profit", "stop_loss", "legs")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderBody:
    """An order as it came, checked for form."""

    symbol: Symbol
    side: Side
    qty: Decimal
    limit_usd: Decimal | None
    time_in_force: TimeInForce
    extended_hours: bool
    client_order_id: str | None


def order_body(document: dict[str, Any]) -> OrderBody:
    """The order in a request. Raises Refusal with 422 for what is missing, malformed or not supported."""
    for name in _UNSUPPORTED:
        if document.get(name) is not None:
            raise bad(f"{name} is not supported by the paper exchange")
    if document.get("order_class") not in {None, "", "simple"}:
        raise bad(f"order_class {document['order_class']!r} is not supported by the paper exchange: only simple is")
    kind = document.get("type")
    if kind not in {"market", "limit"}:
        raise bad(f"order type {kind!r} is not supported by the paper exchange: market and limit are")
    limit_usd = amount(document, "limit_price")
    if (kind == "limit") != (limit_usd is not None):
        raise bad("limit orders require a limit_price" if kind == "limit" else "market orders require no limit_price")
    qty = amount(document, "qty")
    if qty is None:
        raise bad("qty is required")
    return OrderBody(
        symbol=Symbol(_text(document, "symbol")),
        side=Side(_listed(document, "side", ("buy", "sell"))),
        qty=qty,
        limit_usd=limit_usd,
        time_in_force=TimeInForce(_listed(document, "time_in_force", tuple(TimeInForce))),
        extended_hours=_extended(document, kind),
        client_order_id=_client_order_id(document),
    )


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise bad(f"{name} is required")
    return value


def _listed(document: dict[str, Any], name: str, allowed: tuple[str, ...]) -> str:
    value = _text(document, name)
    if value not in allowed:
        raise bad(f"{name} {value!r} is not supported by the paper exchange: allowed are {', '.join(allowed)}")
    return value


def _extended(document: dict[str, Any], kind: object) -> bool:
    extended = document.get("extended_hours") is True
    if extended and (kind != "limit" or document.get("time_in_force") not in {"day", "gtc"}):
        raise bad("extended hours order must be DAY or GTC limit orders")
    return extended


def _client_order_id(document: dict[str, Any]) -> str | None:
    value = document.get("client_order_id")
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > _CLIENT_ORDER_ID_MAX:
        raise bad(f"client_order_id must be text of no more than {_CLIENT_ORDER_ID_MAX} characters")
    return value
