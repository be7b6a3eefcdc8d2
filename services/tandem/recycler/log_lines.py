"""What the paper exchange says as lines of its log. docs/exchange.md explains them; decimals are text."""

from decimal import Decimal
from typing import Any

from tandem.flow.directives import Directive
from tandem.flow.exchange_events import (
    Accepted,
    Adjusted,
    Booked,
    Booking,
    CancelRefused,
    Charged,
    Closed,
    Filled,
    Happened,
    Noted,
    Output,
    Rejected,
    Released,
    Replaced,
    ReplaceRefused,
    Voided,
)
from tandem.flow.exchange_records import WorkingOrder
from tandem.recycler.directives_body import directive_fields, directive_name

Fields = dict[str, Any]


def line_of(output: Output) -> tuple[str, int | None, Fields]:
    """(kind, event time or None for now, further fields) of an output."""
    match output:
        case Filled():
            return "fill", output.event_ns, _fill(output)
        case Charged():
            return "fee", output.event_ns, _fee(output)
        case Booked():
            return output.kind.value, output.event_ns, _booked(output)
        case Happened():
            return "directive", output.event_ns, _directive(output.directive_id, output.directive)
        case Rejected():
            return "reject", None, {"order_id": None, **_reason(output.client_order_id, output)}
        case ReplaceRefused():
            return "ack", None, {"order_id": output.order_id, "what": "replace_refused", "message": output.message}
        case CancelRefused():
            return "ack", None, {"order_id": output.order_id, "what": "cancel_refused"}
        case _:
            return _order_line(output)


def _order_line(output: Accepted | Released | Adjusted | Noted | Voided | Closed | Replaced) -> tuple[str, int | None, Fields]:
    order = output.order
    match output:
        case Accepted():
            return "order", order.accepted_ns, _order(order)
        case Released():
            return "ack", output.event_ns, {"order_id": order.order_id, "what": "released"}
        case Adjusted():
            return "ack", output.event_ns, {"order_id": order.order_id, "what": "adjusted", "qty": _text(order.qty)}
        case Noted():
            return "ack", output.event_ns, {"order_id": order.order_id, "what": output.what.value}
        case Voided():
            return "reject", output.event_ns, {"order_id": order.order_id, **_reason(order.client_order_id, output)}
        case Closed():
            return "expire" if output.expired else "cancel", output.event_ns, {**_ended(order), "reason": output.ending.value}
        case Replaced():
            fields = {"order_id": order.order_id, "new_order_id": output.new_order_id, "client_order_id": output.new_client_order_id}
            return "replace", output.event_ns, {**fields, "filled_qty": _text(order.filled_qty)}


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"


def _order(order: WorkingOrder) -> Fields:
    return {
        "order_id": order.order_id,
        "client_order_id": order.client_order_id,
        "symbol": order.symbol,
        "side": order.side.value,
        "qty": None if order.notional_usd is not None else _text(order.qty),
        "notional": _text(order.notional_usd),
        "type": order.kind.value,
        "limit": _text(order.limit_usd),
        "stop": _text(order.stop_usd),
        "trail_price": _text(order.trail_usd),
        "trail_percent": _text(order.trail_percent),
        "time_in_force": order.time_in_force.value,
        "extended_hours": order.extended_hours,
        "order_class": order.order_class.value,
        "parent_id": order.group if order.is_exit and order.group != order.order_id else None,
        "replaces": order.replaces or None,
        "expires_ns": order.expires_ns,
        "source": order.origin.value,
    }


def _fill(found: Filled) -> Fields:
    order = found.order
    return {
        "execution_id": found.execution_id,
        "order_id": order.order_id,
        "client_order_id": order.client_order_id,
        "symbol": order.symbol,
        "side": order.side.value,
        "qty": _text(found.qty),
        "price": _text(found.price_usd),
        "cum_qty": _text(order.filled_qty),
        "leaves_qty": _text(order.remaining),
        "position_qty": _text(found.position_qty),
        "cash": _text(found.cash_usd),
    }


def _fee(found: Charged) -> Fields:
    return {
        "activity_id": found.activity_id,
        "order_id": found.order.order_id,
        "execution_id": found.execution_id,
        "symbol": found.order.symbol,
        "type": found.kind,
        "amount": _text(found.amount_usd),
    }


def _booked(found: Booked) -> Fields:
    common = {"activity_id": found.activity_id, "symbol": found.symbol}
    match found.kind:
        case Booking.BORROW:
            return {**common, "qty": _text(found.qty), "amount": _text(-found.amount_usd), "nights": found.nights}
        case Booking.INTEREST:
            return {"activity_id": found.activity_id, "amount": _text(-found.amount_usd), "nights": found.nights}
        case Booking.DIVIDEND:
            return {**common, "qty": _text(found.qty), "per_share": _text(found.per_share_usd), "amount": _text(found.amount_usd)}
        case Booking.SPLIT:
            new_qty = found.new_qty if found.new_qty is not None else found.qty
            return {**common, "old_qty": _text(found.qty), "new_qty": _text(new_qty), "cash_in_lieu": _text(found.amount_usd)}


def _ended(order: WorkingOrder) -> Fields:
    return {"order_id": order.order_id, "client_order_id": order.client_order_id, "filled_qty": _text(order.filled_qty)}


def _reason(client_order_id: str, output: Rejected | Voided) -> Fields:
    symbol = output.order.symbol if isinstance(output, Voided) else None
    return {"client_order_id": client_order_id, "symbol": symbol, "status": output.status, "code": output.code, "message": output.message}


def _directive(directive_id: str, directive: Directive) -> Fields:
    return {"directive_id": directive_id, "name": directive_name(directive), "fields": directive_fields(directive)}
