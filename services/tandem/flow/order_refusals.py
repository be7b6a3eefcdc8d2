"""Which orders the paper exchange refuses, with Alpaca's codes and words. The first check that speaks against an order decides.

Sources: Alpaca's order documentation and its answers as recorded in forum threads and client issues. Called by flow/exchange.py for each
order and each replacement.
"""

from collections.abc import Mapping
from decimal import Decimal

from tandem.domain.trading import Side
from tandem.domain.units import CENT, NS_PER_S
from tandem.flow.exchange_events import Rejected, Submit
from tandem.flow.exchange_records import ExchangeState, Hours, OrderClass, Rules, TimeInForce, WorkingOrder
from tandem.flow.order_checks import (
    buying_power_usd,
    equity_usd,
    gross_usd,
    held_for_orders,
    is_closing,
    opening_qty,
    qty_of,
    reserve_usd,
    tick_usd,
)

FORBIDDEN, UNPROCESSABLE = 403, 422
CODE_FORBIDDEN, CODE_ORDER, CODE_PARAMETER = 40310000, 42210000, 40010001
_MINUTE_NS = 60 * NS_PER_S
_OPEN_CUTOFF_NS = 2 * _MINUTE_NS  # 09:28 New York
_CLOSE_CUTOFF_NS = 10 * _MINUTE_NS  # 15:50
_EVENING_NS = 180 * _MINUTE_NS  # 19:00, three hours after a whole session's close: orders for the next auctions are taken again
_NOTIONAL_MIN_USD = Decimal(1)  # Alpaca's


def refusal(rules: Rules, state: ExchangeState, order: Submit) -> Rejected | None:
    """Why the order is refused, None if it is accepted."""
    return (
        _malformed(order)
        or _auction(order)
        or _grouped(order)
        or _unpriced(state, order)
        or _disallowed(state, order)
        or _crossing(rules, state, order)
        or _unavailable(rules, state, order)
    )


def _malformed(order: Submit) -> Rejected | None:
    if order.notional_usd is not None:
        if order.notional_usd < _NOTIONAL_MIN_USD:
            return _no(order, UNPROCESSABLE, CODE_PARAMETER, f"notional must be >= {_NOTIONAL_MIN_USD}")
        if order.time_in_force is not TimeInForce.DAY:
            return _no(order, UNPROCESSABLE, CODE_ORDER, "notional orders must be DAY orders")
    elif order.qty <= 0:
        return _no(order, UNPROCESSABLE, CODE_PARAMETER, "qty must be > 0")
    if order.trail_percent is not None and not 0 < order.trail_percent < 100:
        return _no(order, UNPROCESSABLE, CODE_PARAMETER, "trail_percent must be > 0 and < 100")
    prices = {"limit": order.limit_usd, "stop": order.stop_usd, "trail": order.trail_usd}
    if order.take_profit is not None:
        prices["take_profit limit"] = order.take_profit.limit_usd
    if order.stop_loss is not None:
        prices |= {"stop_loss stop": order.stop_loss.stop_usd, "stop_loss limit": order.stop_loss.limit_usd}
    for name, price in prices.items():
        if (refused := _unsound_price(order, name, price)) is not None:
            return refused
    return None


def _unsound_price(order: Submit, name: str, price: Decimal | None) -> Rejected | None:
    if price is None:
        return None
    if price <= 0:
        return _no(order, UNPROCESSABLE, CODE_PARAMETER, f"{name} price must be > 0")
    if price % tick_usd(price) != 0:
        message = f"invalid {name.replace(' ', '.')}_price {price}. sub-penny increment does not fulfill minimum pricing criteria"
        return _no(order, UNPROCESSABLE, CODE_ORDER, message)
    return None


def _auction(order: Submit) -> Rejected | None:
    """Orders for an auction are market or limit, and come in time."""
    force = order.time_in_force
    if force not in (TimeInForce.OPG, TimeInForce.CLS):
        return None
    if order.stop_usd is not None or order.trail_usd is not None or order.trail_percent is not None:
        return _no(order, UNPROCESSABLE, CODE_ORDER, f"{force.value} orders must be market or limit orders")
    if order.hours is None or not _in_time(order.hours, force, order.event_ns):
        window = "9:28am" if force is TimeInForce.OPG else "3:50pm"
        return _no(order, UNPROCESSABLE, CODE_ORDER, f"{force.value} orders cannot be submitted after {window} and before 7:00pm ET")
    return None


def _in_time(hours: Hours, force: TimeInForce, now_ns: int) -> bool:
    if hours.open_ns is None or hours.close_ns is None:
        return False
    if hours.closed_ns is not None and now_ns < min(hours.closed_ns + _EVENING_NS, hours.open_ns - _OPEN_CUTOFF_NS):
        return False
    return now_ns < (hours.open_ns - _OPEN_CUTOFF_NS if force is TimeInForce.OPG else hours.close_ns - _CLOSE_CUTOFF_NS)


def _grouped(order: Submit) -> Rejected | None:
    """The legs of a bracket, OCO or OTO lie on the right sides of each other."""
    if order.order_class is OrderClass.SIMPLE:
        return None
    if order.time_in_force not in (TimeInForce.DAY, TimeInForce.GTC):
        return _no(order, UNPROCESSABLE, CODE_ORDER, f"{order.order_class.value} orders must be DAY or GTC orders")
    if order.extended_hours:
        return _no(order, UNPROCESSABLE, CODE_ORDER, "complex orders are not allowed in extended hours")
    if order.qty != order.qty.to_integral_value() or order.notional_usd is not None:
        return _no(order, UNPROCESSABLE, CODE_ORDER, "fractional orders must be simple orders")
    exit_sign = order.side.sign if order.order_class is OrderClass.OCO else -order.side.sign
    profit = order.limit_usd if order.order_class is OrderClass.OCO else (order.take_profit.limit_usd if order.take_profit else None)
    stop = order.stop_loss.stop_usd if order.stop_loss else None
    if profit is not None and stop is not None and (profit - stop) * exit_sign >= 0:
        return _no(
            order, UNPROCESSABLE, CODE_PARAMETER, "take_profit.limit_price and stop_loss.stop_price are on the wrong sides of each other"
        )
    if order.order_class is OrderClass.OCO or order.limit_usd is None:
        return None
    if profit is not None and (profit - order.limit_usd + exit_sign * CENT) * exit_sign > 0:
        return _no(order, UNPROCESSABLE, CODE_PARAMETER, "take_profit.limit_price must be beyond base_price by at least 0.01")
    if stop is not None and (stop - order.limit_usd - exit_sign * CENT) * exit_sign < 0:
        return _no(order, UNPROCESSABLE, CODE_PARAMETER, "stop_loss.stop_price must be behind base_price by at least 0.01")
    return None


def _unpriced(state: ExchangeState, order: Submit) -> Rejected | None:
    if order.symbol in state.marks:
        return None
    message = f"{order.symbol} has not traded yet in this replay: there is no price to check buying power with"
    return _no(order, UNPROCESSABLE, CODE_ORDER, message)


def _disallowed(state: ExchangeState, order: Submit) -> Rejected | None:
    """What the broker's flags and short sale restrictions say."""
    flags = state.conditions.of(order.symbol)
    if not flags.tradable:
        return _no(order, UNPROCESSABLE, CODE_ORDER, f'asset "{order.symbol}" is not tradable')
    if order.side is Side.BUY or opening_qty(state, order) == 0 or is_closing(state, order.symbol, order.side):
        return None
    if not flags.shortable:
        return _no(order, UNPROCESSABLE, CODE_ORDER, f'asset "{order.symbol}" cannot be sold short')
    if not flags.easy_to_borrow and order.time_in_force is not TimeInForce.DAY:
        return _no(order, UNPROCESSABLE, CODE_ORDER, f'only day orders are allowed for hard-to-borrow asset "{order.symbol}"')
    if order.symbol in state.conditions.restricted and order.limit_usd is None:
        return _no(order, UNPROCESSABLE, CODE_ORDER, f'asset "{order.symbol}" is under a short sale restriction: only limit orders')
    return None


def _crossing(rules: Rules, state: ExchangeState, order: Submit) -> Rejected | None:
    """Two orders of one account that could trade with each other."""
    if not rules.strict:
        return None
    for other in state.orders.values():
        if other.symbol == order.symbol and other.side is not order.side and not other.is_held and _crosses(order, other):
            message = "potential wash trade detected. use complex orders"
            return _no(
                order,
                FORBIDDEN,
                CODE_FORBIDDEN,
                message,
                {"existing_order_id": other.order_id, "reject_reason": "opposite side order exists"},
            )
    return None


def _crosses(order: Submit, other: WorkingOrder) -> bool:
    if order.limit_usd is None or other.limit_usd is None:
        return True
    buy, sell = (order.limit_usd, other.limit_usd) if order.side is Side.BUY else (other.limit_usd, order.limit_usd)
    return buy >= sell


def _unavailable(rules: Rules, state: ExchangeState, order: Submit) -> Rejected | None:
    """More shares or more money than there are."""
    opening = opening_qty(state, order)
    if rules.strict and opening > 0 and is_closing(state, order.symbol, order.side):
        return _short_of_shares(state, order)
    if opening > 0 and order.side is Side.SELL:
        if opening != opening.to_integral_value() or order.notional_usd is not None:
            return _no(order, UNPROCESSABLE, CODE_ORDER, "fractional orders cannot be sold short")
        if equity_usd(state) < rules.short_equity_min_usd:
            message = f"account not allowed to short: equity below {rules.short_equity_min_usd} USD"
            return _no(order, FORBIDDEN, CODE_FORBIDDEN, message)
    if order.qty != order.qty.to_integral_value() and order.time_in_force is not TimeInForce.DAY:
        return _no(order, UNPROCESSABLE, CODE_ORDER, "fractional orders must be DAY orders")
    if opening > 0 and gross_usd(state) > rules.gross_equity_max * equity_usd(state):
        message = f"account is restricted to closing orders: positions above {rules.gross_equity_max} times equity"
        return _no(order, FORBIDDEN, CODE_FORBIDDEN, message)
    cost, power = reserve_usd(rules, state, order), buying_power_usd(rules, state)
    if cost > power:
        details = {"buying_power": _money(power), "cost_basis": _money(cost)}
        return _no(order, FORBIDDEN, CODE_FORBIDDEN, "insufficient buying power", details)
    return None


def _short_of_shares(state: ExchangeState, order: Submit) -> Rejected:
    existing, held = abs(state.holdings[order.symbol].qty), held_for_orders(state, order.symbol)
    details = {
        "symbol": order.symbol,
        "existing_qty": f"{existing:f}",
        "held_for_orders": f"{held:f}",
        "available": f"{existing - held:f}",
    }
    message = f"insufficient qty available for order (requested: {qty_of(state, order):f}, available: {existing - held:f})"
    return _no(order, FORBIDDEN, CODE_FORBIDDEN, message, details)


def _money(amount: Decimal) -> str:
    return f"{amount.quantize(CENT):f}"


def _no(order: Submit, status: int, code: int, message: str, details: Mapping[str, str] | None = None) -> Rejected:
    return Rejected(client_order_id=order.client_order_id, status=status, code=code, message=message, details=details or {})
