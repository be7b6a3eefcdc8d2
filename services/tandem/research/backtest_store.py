"""The store of a backtest's books: keeps in memory what live writes to Postgres, and refuses what its unique keys refuse."""

from decimal import Decimal

from tandem.adapters.postgres_load import Stored
from tandem.domain.errors import InvariantBroken
from tandem.domain.ids import PairId
from tandem.domain.trading import Fill, Order
from tandem.flow.accounting import deposit_entry, fold
from tandem.flow.journal import Changes, Intent, RiskEvent, SignalRecord, Trade


class MemoryBookStore:
    """Everything that was committed."""

    def __init__(self) -> None:
        self.intents: dict[str, Intent] = {}
        self.orders: dict[str, Order] = {}
        self.fills: dict[str, tuple[Fill, PairId]] = {}
        self.trades: dict[str, Trade] = {}
        self.signals: list[SignalRecord] = []
        self.alarms: dict[str, RiskEvent] = {}

    def commit(self, changes: Changes) -> None:
        """Keep all of it. Raises InvariantBroken for an intent, order or execution that is there already."""
        for intent in changes.intents:
            _new(self.intents, intent.intent_id)
            self.intents[intent.intent_id] = intent
        for order in changes.new_orders:
            _new(self.orders, order.client_order_id)
            self.orders[order.client_order_id] = order
        for fill, pair in changes.fills:
            _new(self.fills, fill.execution_id)
            self.fills[fill.execution_id] = (fill, pair)
        self.trades |= changes.trades
        self.signals += changes.signals
        self.alarms |= changes.risk_events

    def order_of(self, client_order_id: str) -> PairId | None:
        """The pair of an order; None if it is not ours."""
        order = self.orders.get(client_order_id)
        return order.pair if order is not None else None

    def has_fill(self, execution_id: str) -> bool:
        """Whether an execution is booked."""
        return execution_id in self.fills


def _new(table: dict[str, object] | dict[str, Intent] | dict[str, Order] | dict[str, tuple[Fill, PairId]], key: str) -> None:
    if key in table:
        raise InvariantBroken(f"{key} is there already: decided or booked twice")


def opened(capital_usd: Decimal) -> Stored:
    """What a book loads that begins with its capital and nothing else."""
    return Stored(
        book=fold([deposit_entry("backtest", capital_usd, 0)]),
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
