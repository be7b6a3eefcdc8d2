"""Where stops stand: when a trade triggers one, and how a trailing one follows the market. Pure; called by the paper exchange's modules."""

from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from tandem.domain.trading import Side
from tandem.flow.exchange_events import Tick
from tandem.flow.exchange_records import OrderKind, WorkingOrder
from tandem.flow.order_checks import tick_usd

_PERCENT, _ZERO = Decimal(100), Decimal(0)


def stop_after(order: WorkingOrder, tick: Tick) -> WorkingOrder:
    """A waiting stop after a trade: triggered, trailed to a new best price, or as it was."""
    assert order.stop_usd is not None
    sign = order.side.sign  # a buy stop waits for a rise
    if (tick.price_usd - order.stop_usd) * sign >= 0:
        return replace(order, is_triggered=True, works_after_ns=tick.event_ns)
    if order.kind is OrderKind.TRAILING_STOP and order.mark_usd is not None and (tick.price_usd - order.mark_usd) * sign < 0:
        return replace(order, mark_usd=tick.price_usd, stop_usd=trailed(order, tick.price_usd))
    return order


def trailed(order: WorkingOrder, mark_usd: Decimal) -> Decimal:
    """Where a trailing stop stands when this is the best price seen, rounded away from the market."""
    distance = order.trail_usd if order.trail_usd is not None else mark_usd * (order.trail_percent or _ZERO) / _PERCENT
    raw = mark_usd + order.side.sign * distance
    tick = tick_usd(raw)
    return max(raw.quantize(tick, rounding=ROUND_CEILING if order.side is Side.BUY else ROUND_FLOOR), tick)
