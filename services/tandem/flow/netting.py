"""Orders of several pairs in one symbol at one bar: opposite ones meet inside, and only what is left goes to the broker, on one side.

A broker refuses two orders of one account that could trade with each other, and would charge for both. What meets inside has the price
that what is left of its symbol gets outside; where nothing is left, the bar's last trade. The sub-ledgers of the pairs stay exact: each
side of a meeting is an execution of its order. Pure; called by the portfolio's desk before anything is written down.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from tandem.domain.ids import Symbol, short_hash
from tandem.domain.trading import Fill, Order, Side

CROSS_PREFIX = "cross/"  # of execution ids that no broker knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Cross:
    """Shares that pass from one order to another. priced_by: the order whose first execution prices it, "" for the mark."""

    cross_id: str
    symbol: Symbol
    qty: int
    buy_order: str
    sell_order: str
    priced_by: str
    mark_usd: Decimal
    decided_ns: int

    def fills(self, price_usd: Decimal, event_ns: int) -> tuple[Fill, Fill]:
        """Both sides of it as executions, the sale first."""
        sides = ((Side.SELL, self.sell_order), (Side.BUY, self.buy_order))
        sale, purchase = (
            Fill(
                execution_id=f"{CROSS_PREFIX}{self.cross_id}/{side}",
                client_order_id=order,
                symbol=self.symbol,
                side=side,
                qty=Decimal(self.qty),
                price_usd=price_usd,
                event_ns=event_ns,
            )
            for side, order in sides
        )
        return sale, purchase


def is_internal(execution_id: str) -> bool:
    """An execution between two pairs, which no broker knows of."""
    return execution_id.startswith(CROSS_PREFIX)


def net(orders: Iterable[Order], marks: Mapping[Symbol, Decimal]) -> tuple[dict[str, Order], tuple[Cross, ...]]:
    """The orders that meet others, by id, with what of them meets; and the meetings. The same orders in any order give the same.

    marks: last trades; a symbol without one is left as it is.
    """
    sides: dict[Symbol, dict[Side, list[Order]]] = defaultdict(lambda: {Side.BUY: [], Side.SELL: []})
    for order in sorted(orders, key=lambda order: (order.pair, order.leg, order.client_order_id)):
        if order.symbol in marks:
            sides[order.symbol][order.side].append(order)
    changed: dict[str, Order] = {}
    crosses: list[Cross] = []
    for symbol, by_side in sorted(sides.items()):
        met = _meetings(by_side[Side.BUY], by_side[Side.SELL])
        for order in (*by_side[Side.BUY], *by_side[Side.SELL]):
            crossed = sum(qty for buy, sell, qty in met if order.client_order_id in (buy.client_order_id, sell.client_order_id))
            if crossed:
                changed[order.client_order_id] = replace(order, crossed_qty=crossed)
        after = [changed.get(o.client_order_id, o) for side in by_side.values() for o in side]
        priced_by = next((order.client_order_id for order in after if order.outside_qty), "")
        crosses += [_cross(symbol, buy, sell, qty, priced_by=priced_by, mark_usd=marks[symbol]) for buy, sell, qty in met]
    return changed, tuple(crosses)


def through_zero(orders: Iterable[Order], positions: Mapping[Symbol, Decimal], working: Mapping[Symbol, int]) -> dict[str, int]:
    """Shares that may leave now of the orders that would take the account from long to short or back, by id; 0: none of them.

    A broker takes a sale of more than is held as neither a sale nor a short sale: first what is held, then, when that is done, the rest.
    orders: as they leave, each symbol's on one side. positions: of the account; working: shares of live orders that reduce them already.
    """
    left: dict[Symbol, int] = {}
    cut: dict[str, int] = {}
    for order in sorted(orders, key=lambda order: (order.pair, order.leg, order.client_order_id)):
        held = positions.get(order.symbol, Decimal(0))
        if held * order.side.sign >= 0 or not order.outside_qty:
            continue
        room = left.setdefault(order.symbol, max(int(abs(held)) - working.get(order.symbol, 0), 0))
        if order.outside_qty > room:
            cut[order.client_order_id] = room
        left[order.symbol] = room - min(room, order.outside_qty)
    return cut


def _meetings(buys: list[Order], sells: list[Order]) -> list[tuple[Order, Order, int]]:
    """Each side's orders in turn, as many shares as both have left."""
    left = {order.client_order_id: order.qty for order in (*buys, *sells)}
    met: list[tuple[Order, Order, int]] = []
    for buy in buys:
        for sell in sells:
            if qty := min(left[buy.client_order_id], left[sell.client_order_id]):
                met.append((buy, sell, qty))
                left[buy.client_order_id] -= qty
                left[sell.client_order_id] -= qty
    return met


def _cross(symbol: Symbol, buy: Order, sell: Order, qty: int, *, priced_by: str, mark_usd: Decimal) -> Cross:
    return Cross(
        cross_id=short_hash("cross", buy.client_order_id, sell.client_order_id),
        symbol=symbol,
        qty=qty,
        buy_order=buy.client_order_id,
        sell_order=sell.client_order_id,
        priced_by=priced_by,
        mark_usd=mark_usd,
        decided_ns=max(buy.decided_ns, sell.decided_ns),
    )
