"""A broker and a store in memory for tests of the portfolio. Both keep the promises of the real ones, and notice when we break ours."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal

from tandem.adapters.postgres_load import Stored
from tandem.domain.errors import InvariantBroken, Transient
from tandem.domain.ids import PairId, Symbol
from tandem.domain.ledger import Entry
from tandem.domain.trading import Fee, Fill, Order, OrderStatus, Position
from tandem.flow.accounting import Book, deposit_entry, fold
from tandem.flow.journal import Changes
from tandem.flow.orders import OrderState
from tandem.ports import Account, OrderReport


@dataclass
class MemoryStore:
    """Tables as dicts, with the unique keys of migration 0001."""

    intents: dict[str, object] = field(default_factory=dict)
    orders: dict[str, OrderState] = field(default_factory=dict)
    fills: dict[str, tuple[Fill, PairId]] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    crosses: dict[str, object] = field(default_factory=dict)
    written: list[Changes] = field(default_factory=list)

    def commit(self, changes: Changes) -> None:
        for intent in changes.intents:
            self._new(self.intents, intent.intent_id)
            self.intents[intent.intent_id] = intent
        new = {order.client_order_id for order in changes.new_orders}
        self.orders |= {key: state for key, state in changes.orders.items() if key not in new}
        for order in changes.new_orders:
            self._new(self.orders, order.client_order_id)
            live = [s for s in self.orders.values() if not s.status.is_final and (s.order.pair, s.order.leg) == (order.pair, order.leg)]
            if live:
                raise InvariantBroken(f"a second live order of {order.pair} leg {order.leg}")
            self.orders[order.client_order_id] = OrderState(order=order)
        self.crosses |= changes.crosses
        self.orders |= {key: state for key, state in changes.orders.items() if key in new}
        for fill, pair in changes.fills:
            self._new(self.fills, fill.execution_id)
            self.fills[fill.execution_id] = (fill, pair)
        for entry in changes.entries:
            self._new(self.entries, entry.entry_id)
            self.entries[entry.entry_id] = entry
        self.written.append(changes)

    @staticmethod
    def _new(table: dict, key: str) -> None:
        if key in table:
            raise InvariantBroken(f"{key} is there already")

    def order_of(self, client_order_id: str) -> PairId | None:
        state = self.orders.get(client_order_id)
        return state.order.pair if state else None

    def has_fill(self, execution_id: str) -> bool:
        return execution_id in self.fills

    def signals(self) -> list[tuple[str, str, str]]:
        """(pair, action, refusal) of every signal written."""
        return [(s.pair, s.action.value, s.refusal) for changes in self.written for s in changes.signals]


def stored(capital_usd: int = 1_000_000) -> Stored:
    """What a new book loads."""
    return Stored(
        book=fold([deposit_entry("b", Decimal(capital_usd), 0)]) if capital_usd else Book(),
        executions={},
        trades={},
        trading_states={},
        execution_ids=set(),
        fee_ids=set(),
        order_pairs={},
        prices={},
        remembered_from_ns=0,
        last_fill_ns=0,
        last_fee_ns=0,
    )


@dataclass
class MemoryBroker:
    """Takes every order once by its id. `answers` decides what becomes of one; `store` proves that it was durable before it came."""

    store: MemoryStore
    answers: dict[str, Callable[[Order], OrderReport]] = field(default_factory=dict)  # by symbol, for its next order only
    reports: dict[str, OrderReport] = field(default_factory=dict)
    sent: list[Order] = field(default_factory=list)
    posts: int = 0
    held: dict[Symbol, Decimal] = field(default_factory=dict)
    away: bool = False
    history: tuple[Fill, ...] = ()

    def submit(self, order: Order) -> OrderReport:
        self.posts += 1
        assert order.client_order_id in self.store.orders, "sent before it was durable"
        if order.client_order_id in self.reports:
            return self.reports[order.client_order_id]
        answer = self.answers.pop(order.symbol, None)
        report = answer(order) if answer else accepted(order)
        if report.status is not OrderStatus.REJECTED and report.reason != "lost":
            self.reports[order.client_order_id] = replace(report, status=OrderStatus.ACCEPTED)
            self.sent.append(order)
        return report

    def find(self, client_order_id: str) -> OrderReport | None:
        if self.away:
            raise Transient("the broker is away")
        return self.reports.get(client_order_id)

    def cancel(self, broker_order_id: str) -> bool:
        for key, report in self.reports.items():
            if report.broker_order_id == broker_order_id and not report.status.is_final:
                self.reports[key] = replace(report, status=OrderStatus.CANCELED)
                return True
        return False

    def live(self, symbol: str) -> Order:
        """The newest order of a symbol that is still open."""
        return next(o for o in reversed(self.sent) if o.symbol == symbol and not self.reports[o.client_order_id].status.is_final)

    def end(self, symbol: str, status: OrderStatus) -> OrderReport:
        """End the open order of a symbol with what is filled of it."""
        key = self.live(symbol).client_order_id
        self.reports[key] = replace(self.reports[key], status=status)
        return self.reports[key]

    def fill(self, symbol: str, event_ns: int, price: str = "50", qty: int | None = None) -> Fill:
        """Fill the open order of a symbol, or `qty` shares of it."""
        order = self.live(symbol)
        before = Decimal(self.reports[order.client_order_id].filled_qty)
        done = before + (order.outside_qty - before if qty is None else qty)
        status = OrderStatus.FILLED if done == order.outside_qty else OrderStatus.PARTIAL
        self.reports[order.client_order_id] = replace(self.reports[order.client_order_id], status=status, filled_qty=str(done))
        self.held[order.symbol] = self.held.get(order.symbol, Decimal(0)) + (done - before) * order.side.sign
        return Fill(
            execution_id=f"x-{order.client_order_id}" if before == 0 else f"x-{order.client_order_id}-{done}",
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            qty=done - before,
            price_usd=Decimal(price),
            event_ns=event_ns,
        )

    def positions(self) -> tuple[Position, ...]:
        return tuple(Position(symbol=s, qty=q) for s, q in self.held.items() if q)

    def account(self) -> Account:
        return Account(account_id="memory", cash="1000000", equity="1000000", buying_power="2000000")

    def fills(self, after_ns: int) -> Iterable[Fill]:
        return tuple(fill for fill in self.history if fill.event_ns > after_ns)

    def fees(self, after_ns: int) -> Iterable[Fee]:
        return ()


def accepted(order: Order) -> OrderReport:
    return OrderReport(
        client_order_id=order.client_order_id, broker_order_id=f"B{order.client_order_id}", status=OrderStatus.ACCEPTED, filled_qty="0"
    )


def rejected(order: Order) -> OrderReport:
    return replace(accepted(order), broker_order_id="", status=OrderStatus.REJECTED, reason="403: insufficient buying power")


def taken_without_answer(order: Order) -> OrderReport:
    """The broker has it, but its answer was lost."""
    return replace(accepted(order), status=OrderStatus.UNKNOWN, reason="timeout")


def lost(order: Order) -> OrderReport:
    """Neither the order nor the answer came through."""
    return replace(accepted(order), status=OrderStatus.UNKNOWN, reason="lost")
