"""Which orders the paper exchange refuses, with Alpaca's codes and words, and what an account may still buy.

The first check that refuses decides. Sources: Alpaca's order documentation and its answers as recorded in forum threads and client issues;
Regulation T for the margin. Called by flow/exchange.py for each order, and by the views for the account's figures.
"""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from tandem.domain.ids import Symbol
from tandem.domain.trading import Side
from tandem.domain.units import CENT, SUB_PENNY
from tandem.flow.exchange_records import ExchangeState, Holding, Rejected, Rules, Submit, TimeInForce, WorkingOrder

_BPS = Decimal(10_000)
_ONE_USD = Decimal(1)  # below it a price may have four decimals
FORBIDDEN, UNPROCESSABLE = 403, 422
CODE_FORBIDDEN, CODE_ORDER, CODE_PARAMETER = 40310000, 42210000, 40010001
_FLAT = Holding(qty=Decimal(0), cost_usd=Decimal(0))


def refusal(rules: Rules, state: ExchangeState, order: Submit) -> Rejected | None:
    """Why the order is refused, None if it is accepted."""
    return _malformed(order) or _unpriced(state, order) or _crossing(rules, state, order) or _unavailable(rules, state, order)


def quote(rules: Rules, price_usd: Decimal, side: Side) -> Decimal:
    """What an order of this side gets when the market trades at a price: half the spread worse, on the tick, rounded against the order."""
    half = max(rules.half_spread_min_usd, price_usd * rules.half_spread_bps / _BPS)
    raw = price_usd + side.sign * half
    if not rules.whole_ticks:
        return max(raw, SUB_PENNY)
    tick = CENT if raw >= _ONE_USD else SUB_PENNY
    rounded = raw.quantize(tick, rounding=ROUND_CEILING if side is Side.BUY else ROUND_FLOOR)
    return max(rounded, SUB_PENNY)  # a sale of what trades at a fraction of a cent still has a price


def equity_usd(state: ExchangeState) -> Decimal:
    """Cash and holdings at the last marks."""
    return state.cash_usd + sum((h.qty * state.marks[s] for s, h in state.holdings.items()), Decimal(0))


def gross_usd(state: ExchangeState) -> Decimal:
    """Value of long and short holdings, both counted as positive."""
    return sum((abs(h.qty) * state.marks[s] for s, h in state.holdings.items()), Decimal(0))


def buying_power_usd(rules: Rules, state: ExchangeState) -> Decimal:
    """What may still be opened: leverage x equity, less what is held and what working orders have reserved. Never below 0."""
    reserved = sum((order.reserve_usd for order in state.orders.values()), Decimal(0))
    return max(rules.leverage * equity_usd(state) - gross_usd(state) - reserved, Decimal(0))


def held_for_orders(state: ExchangeState, symbol: Symbol) -> Decimal:
    """Shares of a holding that working orders on its closing side already want."""
    holding = state.holdings.get(symbol, _FLAT)
    closing = Side.SELL if holding.qty > 0 else Side.BUY
    working = (order for order in state.orders.values() if order.symbol == symbol and order.side is closing)
    return min(sum((order.qty for order in working), Decimal(0)), abs(holding.qty))


def opening_qty(state: ExchangeState, order: Submit) -> Decimal:
    """The part of an order that does not close a holding."""
    holding = state.holdings.get(order.symbol, _FLAT)
    if holding.qty * order.side.sign >= 0:
        return order.qty
    return max(order.qty - (abs(holding.qty) - held_for_orders(state, order.symbol)), Decimal(0))


def reserve_usd(rules: Rules, state: ExchangeState, order: Submit) -> Decimal:
    """Buying power that the order needs: its opening part at the limit or the quote; a short sale 3 % above the ask if that is more."""
    ask = quote(rules, state.marks[order.symbol], Side.BUY)
    price = order.limit_usd or ask
    if order.side is Side.SELL:
        price = max(order.limit_usd or Decimal(0), rules.short_reserve * ask)
    return opening_qty(state, order) * price


def _malformed(order: Submit) -> Rejected | None:
    if order.qty <= 0:
        return _no(order, UNPROCESSABLE, CODE_PARAMETER, "qty must be > 0")
    if order.limit_usd is None:
        return None
    if order.limit_usd <= 0:
        return _no(order, UNPROCESSABLE, CODE_PARAMETER, "limit price must be > 0")
    tick = CENT if order.limit_usd >= _ONE_USD else SUB_PENNY
    if order.limit_usd % tick != 0:
        message = f"invalid limit_price {order.limit_usd}. sub-penny increment does not fulfill minimum pricing criteria"
        return _no(order, UNPROCESSABLE, CODE_ORDER, message)
    return None


def _unpriced(state: ExchangeState, order: Submit) -> Rejected | None:
    if order.symbol in state.marks:
        return None
    message = f"{order.symbol} has not traded yet in this replay: there is no price to check buying power with"
    return _no(order, UNPROCESSABLE, CODE_ORDER, message)


def _crossing(rules: Rules, state: ExchangeState, order: Submit) -> Rejected | None:
    """Two orders of one account that could trade with each other."""
    if not rules.strict:
        return None
    for other in state.orders.values():
        if other.symbol == order.symbol and other.side is not order.side and _crosses(order, other):
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
    if rules.strict and opening > 0 and _is_closing(state, order):
        return _short_of_shares(state, order)
    if opening > 0 and order.side is Side.SELL:
        if opening != opening.to_integral_value():
            return _no(order, UNPROCESSABLE, CODE_ORDER, "fractional orders cannot be sold short")
        if equity_usd(state) < rules.short_equity_min_usd:
            message = f"account not allowed to short: equity below {rules.short_equity_min_usd} USD"
            return _no(order, FORBIDDEN, CODE_FORBIDDEN, message)
    if order.qty != order.qty.to_integral_value() and order.time_in_force is not TimeInForce.DAY:
        return _no(order, UNPROCESSABLE, CODE_ORDER, "fractional orders must be DAY orders")
    cost, power = reserve_usd(rules, state, order), buying_power_usd(rules, state)
    if cost > power:
        details = {"buying_power": _money(power), "cost_basis": _money(cost)}
        return _no(order, FORBIDDEN, CODE_FORBIDDEN, "insufficient buying power", details)
    return None


def _is_closing(state: ExchangeState, order: Submit) -> bool:
    return state.holdings.get(order.symbol, _FLAT).qty * order.side.sign < 0


def _short_of_shares(state: ExchangeState, order: Submit) -> Rejected:
    existing, held = abs(state.holdings[order.symbol].qty), held_for_orders(state, order.symbol)
    details = {
        "symbol": order.symbol,
        "existing_qty": f"{existing:f}",
        "held_for_orders": f"{held:f}",
        "available": f"{existing - held:f}",
    }
    message = f"insufficient qty available for order (requested: {order.qty:f}, available: {existing - held:f})"
    return _no(order, FORBIDDEN, CODE_FORBIDDEN, message, details)


def _money(amount: Decimal) -> str:
    return f"{amount.quantize(CENT):f}"


def _no(order: Submit, status: int, code: int, message: str, details: dict[str, str] | None = None) -> Rejected:
    return Rejected(client_order_id=order.client_order_id, status=status, code=code, message=message, details=details or {})
