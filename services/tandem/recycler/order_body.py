"""The bodies of POST and PATCH /v2/orders as an order, or the reason why the paper exchange cannot take it; and back, for its log.

Numbers may be text or JSON numbers. What is a matter of the account or the market, flow/order_refusals.py decides.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tandem.domain.ids import Symbol
from tandem.domain.trading import Side
from tandem.flow.exchange_records import OrderClass, OrderKind, TimeInForce, kind_of
from tandem.recycler.parameters import amount, bad

CLIENT_ORDER_ID_MAX = 128  # characters, Alpaca's limit
_PRICES = {
    OrderKind.MARKET: (),
    OrderKind.LIMIT: ("limit_price",),
    OrderKind.STOP: ("stop_price",),
    OrderKind.STOP_LIMIT: ("stop_price", "limit_price"),
    OrderKind.TRAILING_STOP: (),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitBody:
    """A leg as it came."""

    limit_usd: Decimal | None = None
    stop_usd: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderBody:
    """An order as it came, checked for form. qty 0: notional_usd counts."""

    symbol: Symbol
    side: Side
    qty: Decimal
    limit_usd: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.DAY
    extended_hours: bool = False
    client_order_id: str | None = None
    notional_usd: Decimal | None = None
    stop_usd: Decimal | None = None
    trail_usd: Decimal | None = None
    trail_percent: Decimal | None = None
    order_class: OrderClass = OrderClass.SIMPLE
    take_profit: ExitBody | None = None
    stop_loss: ExitBody | None = None

    @property
    def kind(self) -> OrderKind:
        """Alpaca's type."""
        return kind_of(self.limit_usd, self.stop_usd, trails=self.trail_usd is not None or self.trail_percent is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeBody:
    """A replacement as it came."""

    qty: Decimal | None = None
    limit_usd: Decimal | None = None
    stop_usd: Decimal | None = None
    trail: Decimal | None = None
    time_in_force: TimeInForce | None = None
    client_order_id: str | None = None


def order_body(document: dict[str, Any]) -> OrderBody:
    """The order in a request. Raises Refusal with 422 for what is missing, malformed or contradictory."""
    order_class = (
        OrderClass(_listed(document, "order_class", tuple(OrderClass))) if document.get("order_class") != "simple" else OrderClass("")
    )
    if document.get("legs") is not None:
        raise bad("legs: orders of several symbols are for options, which the paper exchange does not trade")
    take_profit, stop_loss = _exit(document, "take_profit"), _exit(document, "stop_loss")
    if order_class is OrderClass.OCO:
        document = {**document, "limit_price": document.get("limit_price") or (take_profit.limit_usd if take_profit else None)}
        take_profit = None
    kind = OrderKind(_listed(document, "type", tuple(OrderKind)))
    limit_usd, stop_usd = amount(document, "limit_price"), amount(document, "stop_price")
    _check_prices(kind, limit_usd, stop_usd)
    trail_usd, trail_percent = amount(document, "trail_price"), amount(document, "trail_percent")
    if (kind is OrderKind.TRAILING_STOP) != ((trail_usd is None) != (trail_percent is None)):
        raise bad("trailing_stop orders require either a trail_price or a trail_percent, other orders neither")
    qty, notional = amount(document, "qty"), amount(document, "notional")
    if (qty is None) == (notional is None):
        raise bad("qty is required" if qty is None else "qty and notional: give one of them")
    found = OrderBody(
        symbol=Symbol(_text(document, "symbol")),
        side=Side(_listed(document, "side", ("buy", "sell"))),
        qty=qty if qty is not None else Decimal(0),
        notional_usd=notional,
        limit_usd=limit_usd,
        stop_usd=stop_usd,
        trail_usd=trail_usd,
        trail_percent=trail_percent,
        time_in_force=TimeInForce(_listed(document, "time_in_force", tuple(TimeInForce))),
        extended_hours=_extended(document, kind),
        client_order_id=_client_order_id(document),
        order_class=order_class,
        take_profit=take_profit,
        stop_loss=stop_loss,
    )
    _check_legs(found)
    return found


def change_body(document: dict[str, Any]) -> ChangeBody:
    """The replacement in a request. Raises Refusal with 422."""
    force = document.get("time_in_force")
    found = ChangeBody(
        qty=amount(document, "qty"),
        limit_usd=amount(document, "limit_price"),
        stop_usd=amount(document, "stop_price"),
        trail=amount(document, "trail"),
        time_in_force=None if force is None else TimeInForce(_listed(document, "time_in_force", tuple(TimeInForce))),
        client_order_id=_client_order_id(document),
    )
    if (found.qty, found.limit_usd, found.stop_usd, found.trail, found.time_in_force) == (None,) * 5:
        raise bad("no field to replace: qty, limit_price, stop_price, trail or time_in_force")
    for name, value in (("qty", found.qty), ("limit_price", found.limit_usd), ("stop_price", found.stop_usd), ("trail", found.trail)):
        if value is not None and value <= 0:
            raise bad(f"{name} must be > 0")
    return found


def order_document(body: OrderBody) -> dict[str, Any]:
    """The request that an order came from, as the log keeps it; `order_body` reads it back."""
    found: dict[str, Any] = {
        "symbol": body.symbol,
        "side": body.side.value,
        "type": body.kind.value,
        "time_in_force": body.time_in_force.value,
        "order_class": body.order_class.value,
        "extended_hours": body.extended_hours,
        "client_order_id": body.client_order_id,
        "qty": None if body.notional_usd is not None else f"{body.qty:f}",
        "notional": _plain(body.notional_usd),
        "limit_price": _plain(body.limit_usd),
        "stop_price": _plain(body.stop_usd),
        "trail_price": _plain(body.trail_usd),
        "trail_percent": _plain(body.trail_percent),
    }
    for name, leg in (("take_profit", body.take_profit), ("stop_loss", body.stop_loss)):
        if leg is not None:
            found[name] = {"limit_price": _plain(leg.limit_usd), "stop_price": _plain(leg.stop_usd)}
    return {name: value for name, value in found.items() if value is not None}


def change_document(body: ChangeBody) -> dict[str, Any]:
    """The same for a replacement."""
    found = {
        "qty": _plain(body.qty),
        "limit_price": _plain(body.limit_usd),
        "stop_price": _plain(body.stop_usd),
        "trail": _plain(body.trail),
        "time_in_force": body.time_in_force.value if body.time_in_force else None,
        "client_order_id": body.client_order_id,
    }
    return {name: value for name, value in found.items() if value is not None}


def _plain(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"


def _check_prices(kind: OrderKind, limit_usd: Decimal | None, stop_usd: Decimal | None) -> None:
    for name, value in (("limit_price", limit_usd), ("stop_price", stop_usd)):
        if (name in _PRICES[kind]) != (value is not None):
            raise bad(f"{kind.value} orders require {'a' if name in _PRICES[kind] else 'no'} {name}")


def _check_legs(body: OrderBody) -> None:
    """Each class has exactly the legs that make it."""
    profit, loss = body.take_profit, body.stop_loss
    wanted = {
        OrderClass.SIMPLE: (False, False),
        OrderClass.BRACKET: (True, True),
        OrderClass.OCO: (False, True),
    }.get(body.order_class)
    if wanted is None and (profit is None) == (loss is None):
        raise bad("oto orders require either take_profit or stop_loss")
    if wanted is not None and wanted != (profit is not None, loss is not None):
        needs = [name for name, is_needed in zip(("take_profit", "stop_loss"), wanted, strict=True) if is_needed]
        raise bad(f"{body.order_class.value or 'simple'} orders require {' and '.join(needs) or 'neither take_profit nor stop_loss'}")
    if body.order_class in (OrderClass.BRACKET, OrderClass.OTO) and body.kind not in (OrderKind.MARKET, OrderKind.LIMIT):
        raise bad(f"{body.order_class.value} orders must be market or limit orders")
    if body.order_class is OrderClass.OCO and body.kind is not OrderKind.LIMIT:
        raise bad("oco orders must be limit orders")
    if profit is not None and (profit.limit_usd is None or profit.stop_usd is not None):
        raise bad("take_profit requires a limit_price, and nothing else")
    if loss is not None and loss.stop_usd is None:
        raise bad("stop_loss requires a stop_price")


def _exit(document: dict[str, Any], name: str) -> ExitBody | None:
    leg = document.get(name)
    if leg is None:
        return None
    if not isinstance(leg, dict):
        raise bad(f"{name} must be an object")
    return ExitBody(limit_usd=amount(leg, "limit_price"), stop_usd=amount(leg, "stop_price"))


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise bad(f"{name} is required")
    return value


def _listed(document: dict[str, Any], name: str, allowed: tuple[str, ...]) -> str:
    if name == "order_class" and not document.get(name):
        return ""
    value = _text(document, name)
    if value not in allowed:
        raise bad(f"{name} {value!r} is not supported by the paper exchange: allowed are {', '.join(a or 'simple' for a in allowed)}")
    return value


def _extended(document: dict[str, Any], kind: OrderKind) -> bool:
    extended = document.get("extended_hours") is True
    if extended and (kind is not OrderKind.LIMIT or document.get("time_in_force") not in {"day", "gtc"}):
        raise bad("extended hours order must be DAY or GTC limit orders")
    return extended


def _client_order_id(document: dict[str, Any]) -> str | None:
    value = document.get("client_order_id")
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > CLIENT_ORDER_ID_MAX:
        raise bad(f"client_order_id must be text of no more than {CLIENT_ORDER_ID_MAX} characters")
    return value
