"""The paper exchange of a backtest: the recycler's market without its sockets, and a broker over it for the portfolio's own code.

Orders are matched by flow/exchange.py, as in a replay: on the first trade of their symbol after the watermark at which they were sent,
which for bars is the next bar's close. Costs come from basis points of the price or, with quotes, from the spread quoted at that time.
Called by backtest_replay.py.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from tandem.adapters.market_file import MarketData
from tandem.domain.ids import Symbol
from tandem.domain.market import SessionGrid
from tandem.domain.trading import Fee, Fill, Order, OrderStatus, Position
from tandem.flow.exchange_events import Charged, Filled, Mark, Rejected, Tick
from tandem.flow.exchange_records import Rules
from tandem.flow.order_checks import buying_power_usd, equity_usd
from tandem.ports import Account, OrderReport
from tandem.recycler.book import OrderRecord, Status, Update, activity_id
from tandem.recycler.market import Market
from tandem.recycler.order_body import OrderBody
from tandem.research.backtest_quotes import Quotes

_STATUS = {
    Status.NEW: OrderStatus.ACCEPTED,
    Status.HELD: OrderStatus.ACCEPTED,
    Status.PARTIALLY_FILLED: OrderStatus.PARTIAL,
    Status.PENDING_CANCEL: OrderStatus.PENDING_CANCEL,
    Status.PENDING_REPLACE: OrderStatus.ACCEPTED,
    Status.REPLACED: OrderStatus.CANCELED,
    Status.REJECTED: OrderStatus.REJECTED,
    Status.FILLED: OrderStatus.FILLED,
    Status.CANCELED: OrderStatus.CANCELED,
    Status.EXPIRED: OrderStatus.EXPIRED,
}


class QuotedMarket(Market):
    """A market whose half spread is the one that was quoted when an order fills. Takes market orders only, which is all that we send."""

    def __init__(self, data: MarketData, grid: SessionGrid, rules: Rules, cash_usd: Decimal, quotes: Quotes) -> None:
        super().__init__(data, grid, rules, cash_usd)
        self._quotes = quotes

    def advance(self, stop: int) -> None:
        """The ticks up to a place have been sent: match them against the working orders."""
        if stop <= self.place:
            return
        for place, name in self._due(stop):
            event_ns = int(self.tape.event_ns[place])
            half_usd = self._quotes.half_spread_usd(name, event_ns)
            rules = replace(self.rules, half_spread_bps=Decimal(0), half_spread_min_usd=half_usd)
            self.paper.take(Tick(event_ns=event_ns, symbol=name, price_usd=Decimal(repr(float(self.tape.price[place])))), rules)
        self.place = stop
        self.paper.take(Mark(event_ns=int(self.tape.event_ns[stop - 1])))

    def _due(self, stop: int) -> list[tuple[int, Symbol]]:
        """The first tick of each symbol with working orders, in order of time: all of its orders fill there."""
        names = dict.fromkeys(order.symbol for order in self.state.orders.values())
        found = []
        for name in names:
            places = self.tape.places[name]
            inside = places[(places >= self.place) & (places < stop)]
            accepted_ns = max(order.accepted_ns for order in self.state.orders.values() if order.symbol == name)
            if len(later := inside[self.tape.event_ns[inside] > accepted_ns]):
                found.append((int(later[0]), name))
        return sorted(found)


class PaperBroker:
    """ports.Broker over a market in this process. What happens to orders waits in `updates` until the replay takes it, as on a stream."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.updates: deque[Update] = deque()
        market.on_update = self._keep

    def _keep(self, updates: Sequence[Update]) -> None:
        self.updates.extend(updates)

    def submit(self, order: Order) -> OrderReport:
        """Send once, at the market's clock."""
        answer = self.market.submit(
            OrderBody(
                symbol=order.symbol,
                side=order.side,
                qty=Decimal(order.outside_qty),
                limit_usd=order.limit_usd,
                client_order_id=order.client_order_id,
            )
        )
        if isinstance(answer, Rejected):
            return OrderReport(
                client_order_id=order.client_order_id,
                broker_order_id="",
                status=OrderStatus.REJECTED,
                filled_qty="0",
                reason=f"{answer.status}: {answer.message}",
            )
        return report_of(self._record(answer.order.order_id))

    def find(self, client_order_id: str) -> OrderReport | None:
        """The order under this id."""
        record = self.market.book.by_client_order_id(client_order_id)
        return None if record is None else report_of(record)

    def cancel(self, broker_order_id: str) -> bool:
        """Cancel a working order."""
        return self.market.cancel(broker_order_id)

    def positions(self) -> tuple[Position, ...]:
        """All positions that are not zero, in order of symbol."""
        return tuple(Position(symbol=name, qty=held.qty) for name, held in sorted(self.market.state.holdings.items()))

    def account(self) -> Account:
        """The account at the last prices."""
        state = self.market.valued()
        power = buying_power_usd(self.market.rules, state)
        return Account(account_id="backtest", cash=str(state.cash_usd), equity=str(equity_usd(state)), buying_power=str(power))

    def fills(self, after_ns: int) -> tuple[Fill, ...]:
        """All executions after a time, oldest first."""
        found = self.market.book.activities(after_ns=after_ns, until_ns=self.market.now_ns)
        return tuple(fill_of(activity) for _, activity in found if isinstance(activity, Filled))

    def fees(self, after_ns: int) -> tuple[Fee, ...]:
        """All fees after a time, oldest first."""
        found = self.market.book.activities(after_ns=after_ns, until_ns=self.market.now_ns)
        return tuple(_fee(activity) for _, activity in found if isinstance(activity, Charged))

    def _record(self, order_id: str) -> OrderRecord:
        record = self.market.book.order(order_id)
        assert record is not None, f"the exchange accepted {order_id} and does not know it"
        return record


def report_of(record: OrderRecord) -> OrderReport:
    """An order as the broker tells of it."""
    return OrderReport(
        client_order_id=record.order.client_order_id,
        broker_order_id=record.order.order_id,
        status=_STATUS[record.status],
        filled_qty=str(record.order.filled_qty),
    )


def fill_of(filled: Filled) -> Fill:
    """An execution as the broker tells of it."""
    return Fill(
        execution_id=filled.execution_id,
        client_order_id=filled.order.client_order_id,
        symbol=filled.order.symbol,
        side=filled.order.side,
        qty=filled.qty,
        price_usd=filled.price_usd,
        event_ns=filled.event_ns,
    )


def _fee(charged: Charged) -> Fee:
    return Fee(
        activity_id=activity_id(charged),
        symbol=charged.order.symbol,
        amount_usd=charged.amount_usd,
        event_ns=charged.event_ns,
        description=f"{charged.kind}: {charged.description}",
        broker_order_id=charged.order.order_id,
    )
