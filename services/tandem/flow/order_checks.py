"""What an account may still buy, which of its shares are spoken for, and what an order gets when the market trades at a price.

Sources: Alpaca's order documentation; Regulation T for the margin. Called by flow/exchange*.py, and by the views for the account's figures.
Which orders are refused is flow/order_refusals.py.
"""

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal

from tandem.domain.ids import Symbol
from tandem.domain.trading import Side
from tandem.domain.units import CENT, SUB_PENNY
from tandem.flow.exchange_events import Submit
from tandem.flow.exchange_records import ExchangeState, Holding, Rules, WorkingOrder

_BPS = Decimal(10_000)
_ONE_USD = Decimal(1)  # below it a price may have four decimals
_ZERO = Decimal(0)
SHARE = Decimal("0.000000001")  # the smallest part of a share
FLAT = Holding(qty=_ZERO, cost_usd=_ZERO)


def tick_usd(price_usd: Decimal) -> Decimal:
    """The smallest step of a price (Regulation NMS rule 612)."""
    return CENT if price_usd >= _ONE_USD else SUB_PENNY


def quote(rules: Rules, price_usd: Decimal, side: Side, *, slips: bool = False) -> Decimal:
    """What an order of this side gets when the market trades at a price: half the spread worse, on the tick, rounded against the order.

    slips: slippage comes on top, as for an order that takes any price.
    """
    half = max(rules.half_spread_min_usd, price_usd * rules.half_spread_bps / _BPS)
    return slipped(rules, price_usd + side.sign * half, side, price_usd * rules.slippage_bps / _BPS if slips else _ZERO)


def slipped(rules: Rules, price_usd: Decimal, side: Side, slippage_usd: Decimal) -> Decimal:
    """A price made worse by an amount, on the tick, rounded against the order."""
    raw = price_usd + side.sign * slippage_usd
    if not rules.whole_ticks:
        return max(raw, SUB_PENNY)
    rounded = raw.quantize(tick_usd(raw), rounding=ROUND_CEILING if side is Side.BUY else ROUND_FLOOR)
    return max(rounded, SUB_PENNY)  # a sale of what trades at a fraction of a cent still has a price


def equity_usd(state: ExchangeState) -> Decimal:
    """Cash and holdings at the last marks."""
    return state.cash_usd + sum((h.qty * state.marks[s] for s, h in state.holdings.items()), _ZERO)


def gross_usd(state: ExchangeState) -> Decimal:
    """Value of long and short holdings, both counted as positive."""
    return sum((abs(h.qty) * state.marks[s] for s, h in state.holdings.items()), _ZERO)


def reserved_usd(state: ExchangeState) -> Decimal:
    """Buying power that working orders hold."""
    return sum((order.reserved_usd for order in state.orders.values()), _ZERO)


def buying_power_usd(rules: Rules, state: ExchangeState) -> Decimal:
    """What may still be opened: leverage x equity, less what is held and what working orders have reserved. Never below 0."""
    free = max(rules.leverage * equity_usd(state) - gross_usd(state) - reserved_usd(state), _ZERO)
    cap = state.conditions.power_cap_usd
    return free if cap is None else min(free, cap)


def shares_of(notional_usd: Decimal, price_usd: Decimal) -> Decimal:
    """Shares that an amount buys, rounded down."""
    return (notional_usd / price_usd).quantize(SHARE, rounding=ROUND_DOWN)


def held_for_orders(state: ExchangeState, symbol: Symbol) -> Decimal:
    """Shares of a holding that working orders on its closing side already want; the two exits of a group want the same ones."""
    holding = state.holdings.get(symbol, FLAT)
    closing = Side.SELL if holding.qty > 0 else Side.BUY
    wanted: dict[str, Decimal] = {}
    for order in state.orders.values():
        if order.symbol == symbol and order.side is closing and not order.is_held:
            key = order.group if order.is_exit else order.order_id
            wanted[key] = max(wanted.get(key, _ZERO), _wanted(state, order))
    return min(sum(wanted.values(), _ZERO), abs(holding.qty))


def _wanted(state: ExchangeState, order: WorkingOrder) -> Decimal:
    if order.qty or order.notional_usd is None:
        return order.remaining
    return shares_of(order.notional_usd, state.marks[order.symbol])


def qty_of(state: ExchangeState, order: Submit) -> Decimal:
    """Shares of an order; those of an amount of money at the last price."""
    return order.qty if order.notional_usd is None else shares_of(order.notional_usd, state.marks[order.symbol])


def opening_qty(state: ExchangeState, order: Submit) -> Decimal:
    """The part of an order that does not close a holding."""
    holding, qty = state.holdings.get(order.symbol, FLAT), qty_of(state, order)
    if holding.qty * order.side.sign >= 0:
        return qty
    return max(qty - (abs(holding.qty) - held_for_orders(state, order.symbol)), _ZERO)


def reserve_usd(rules: Rules, state: ExchangeState, order: Submit) -> Decimal:
    """Buying power that the order needs: its opening part at the limit or the quote; a short sale 3 % above the ask if that is more."""
    ask = quote(rules, state.marks[order.symbol], Side.BUY)
    price = order.limit_usd or max(order.stop_usd or _ZERO, ask)
    if order.side is Side.SELL:
        price = max(order.limit_usd or _ZERO, rules.short_reserve * ask)
    if order.notional_usd is not None and order.side is Side.BUY:
        return order.notional_usd if opening_qty(state, order) else _ZERO
    return opening_qty(state, order) * price


def is_closing(state: ExchangeState, symbol: Symbol, side: Side) -> bool:
    """Whether an order of this side makes the holding smaller."""
    return state.holdings.get(symbol, FLAT).qty * side.sign < 0
