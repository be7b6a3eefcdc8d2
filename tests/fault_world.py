"""The portfolio's engine over a real paper exchange in one process, with a fault at any call of any port.

A fault ends the session as it would live; the next one starts as session.py does: state from PostgreSQL, the broker's truth, the bar that
was not acknowledged once more. What was waiting on the broker's stream is lost with the session.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from tandem.adapters.alpaca_trade_stream import BrokerHeartbeat, StreamReady, TradeUpdate
from tandem.adapters.calendar import session_grid
from tandem.adapters.codec import encode_control
from tandem.adapters.control_log import ControlTable
from tandem.adapters.market_file import MarketData, load_market_data
from tandem.adapters.postgres_load import Stored
from tandem.adapters.replay_control import ReplayStatus
from tandem.adapters.skfolio_data import skfolio_dataset
from tandem.domain.control import PairSpec, RoutingPointer
from tandem.domain.errors import InvariantBroken, Transient
from tandem.domain.forecasts import ForecastBatch
from tandem.domain.ids import PairId, Symbol
from tandem.domain.ledger import Entry
from tandem.domain.market import SessionGrid
from tandem.domain.trading import Order, OrderStatus
from tandem.domain.units import NS_PER_S
from tandem.flow.accounting import fold
from tandem.flow.barrier import Barrier
from tandem.flow.exchange_records import Rules
from tandem.flow.journal import Changes
from tandem.flow.replay import Schedule, Step, schedule
from tandem.portfolio import reconcile
from tandem.portfolio.desk import Desk
from tandem.portfolio.engine import Engine
from tandem.portfolio.feeds import ForecastsArrived
from tandem.portfolio.gate import Gate
from tandem.portfolio.guard import Guard
from tandem.portfolio.provenance import place_of
from tandem.portfolio.reconcile import Origin
from tandem.portfolio.risk import Risk
from tandem.portfolio.sender import Sender
from tandem.ports import Account, LogRecord, OrderReport
from tandem.recycler.market import Market
from tandem.research.backtest_market import PaperBroker, fill_of, report_of
from trading_cases import CONSUMER, MODEL, SPEC, batch, forecast
from trading_fakes import MemoryStore

REPLAY = "faults"
CAPITAL_USD = Decimal(1_000_000)
REFUSED_BAR = 11
_SESSIONS_MAX = 8
_IDLE_MAX = 3
T = TypeVar("T")


class Died(Transient):
    """The fault that the test injects."""


@dataclass
class Faults:
    """Counts the calls of each port; fails one of them, once: before its effect, or after it, when the answer is lost."""

    port: str = ""
    number: int = 0
    after: bool = False
    calls: Counter[str] = field(default_factory=Counter)
    struck: bool = False

    def call(self, port: str, effect: Callable[[], T], failed: Callable[[], T] | None = None) -> T:
        """failed: what the caller gets instead of an exception."""
        self.calls[port] += 1
        if (port, self.calls[port]) != (self.port, self.number):
            return effect()
        self.struck = True
        if self.after:
            effect()
        if failed is not None:
            return failed()
        raise Died(f"{port}, call {self.number}, {'after' if self.after else 'before'} its effect")


class FaultyBroker(PaperBroker):
    """The paper exchange behind a wire that can break."""

    def __init__(self, market: Market, faults: Faults, account: str) -> None:
        super().__init__(market)
        self._faults, self._account = faults, account
        self.refused: tuple[Symbol, int] | None = None

    def submit(self, order: Order) -> OrderReport:
        lost = OrderReport(client_order_id=order.client_order_id, broker_order_id="", status=OrderStatus.UNKNOWN, filled_qty="0")
        return self._faults.call("broker.submit", lambda: self._once(order), lambda: lost)

    def _once(self, order: Order) -> OrderReport:
        """An id is taken once, as by the real exchange; one leg is refused, so that the other must be canceled."""
        if (order.symbol, order.decided_ns) == self.refused:
            return replace(report_of_refused(order), reason="403: insufficient buying power")
        return super().find(order.client_order_id) or super().submit(order)

    def find(self, client_order_id: str) -> OrderReport | None:
        return self._faults.call("broker.ask", lambda: PaperBroker.find(self, client_order_id))

    def cancel(self, broker_order_id: str) -> bool:
        return self._faults.call("broker.cancel", lambda: PaperBroker.cancel(self, broker_order_id))

    def positions(self) -> Any:
        return self._faults.call("broker.ask", lambda: PaperBroker.positions(self))

    def account(self) -> Account:
        found = self._faults.call("broker.ask", lambda: PaperBroker.account(self))
        return replace(found, account_id=self._account)

    def fills(self, after_ns: int) -> Any:
        return self._faults.call("broker.ask", lambda: PaperBroker.fills(self, after_ns))

    def fees(self, after_ns: int) -> Any:
        return self._faults.call("broker.ask", lambda: PaperBroker.fees(self, after_ns))


def report_of_refused(order: Order) -> OrderReport:
    """What the broker says of an order that it refuses."""
    return OrderReport(client_order_id=order.client_order_id, broker_order_id="", status=OrderStatus.REJECTED, filled_qty="0")


class FaultyStore:
    """A store behind a wire that can break: a lost COMMIT reply leaves the outcome unknown to the caller."""

    def __init__(self, store: Any, faults: Faults) -> None:
        self._store, self._faults = store, faults

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, changes: Changes) -> None:
        self._faults.call("store.commit", lambda: self._store.commit(changes))

    def load(self) -> Any:
        return self._faults.call("store.load", self._store.load)


class LastingStore(MemoryStore):
    """The memory store as a database: it outlives sessions, and knows books."""

    def __init__(self) -> None:
        super().__init__()
        self.book, self._begun = "", ()
        self.latest = Changes()

    def open_newest_book(self) -> Any:
        return self._begun or None

    def begin_book(self, source: str, capital_usd: Decimal) -> None:
        self.__init__()  # type: ignore[misc]
        self.book, self._begun = "memory", (source, capital_usd)

    def has_orders(self) -> bool:
        return bool(self.orders)

    def append(self, entries: list[Entry]) -> int:
        self.entries |= {entry.entry_id: entry for entry in entries}
        return len(entries)

    def commit(self, changes: Changes) -> None:
        super().commit(changes)
        self.latest.executions |= changes.executions
        self.latest.trades |= changes.trades
        self.latest.equity += changes.equity

    def load(self) -> Stored:
        trades = {trade.pair: trade for trade in sorted(self.latest.trades.values(), key=lambda trade: trade.opened_ns)}
        return Stored(
            book=fold(self.entries.values()),
            executions=dict(self.latest.executions),
            trades=trades,
            trading_states={},
            execution_ids=set(self.fills),
            fee_ids={entry.source_id for entry in self.entries.values() if entry.kind == "fee"},
            order_pairs={key: state.order.pair for key, state in self.orders.items()},
            prices={fill.symbol: float(fill.price_usd) for fill, _ in self.fills.values()},
            remembered_from_ns=0,
            last_fill_ns=max((fill.event_ns for fill, _ in self.fills.values()), default=0),
            last_fee_ns=0,
            crosses=tuple(cross for cross, sale in self.crosses.values() if sale is None),
            unmarked=max(e.event_ns for e in self.entries.values()) > max((p.bar_close_ns for p in self.latest.equity), default=0)
            if self.entries
            else False,
        )

    def close(self) -> None:
        """Nothing to let go of."""

    def tables(self) -> list[Any]:
        """What it holds in the end, but for what depends on when it was written."""
        fills = sorted((f.execution_id, f.client_order_id, pair, f.qty, f.price_usd, f.event_ns) for f, pair in self.fills.values())
        orders = sorted((key, s.order.qty, s.order.crossed_qty, s.filled, s.status.value) for key, s in self.orders.items())
        pairs = sorted((e.pair, e.state.value, e.a.held, e.b.held) for e in self.latest.executions.values())
        equity = sorted({(point.bar_close_ns, point.equity_usd) for point in self.latest.equity})
        return [orders, fills, pairs, fold(self.entries.values()), equity]


@dataclass
class FaultyReplay:
    """The recycler's clock: it goes on when the bar is acknowledged."""

    world: "FaultWorld"

    def status(self) -> ReplayStatus:
        return self.world.faults.call(
            "clock", lambda: ReplayStatus(state="running", replay_id=REPLAY, watermark_ns=self.world.watermark_ns)
        )

    def acknowledge(self, watermark_ns: int, replay_id: str) -> None:
        def acknowledged() -> None:
            assert replay_id == REPLAY
            self.world.acknowledged_ns = watermark_ns

        self.world.faults.call("clock", acknowledged)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What is replayed."""

    data: MarketData
    grid: SessionGrid
    steps: Schedule


class FaultWorld:
    """One replay from its first bar to its end, through as many sessions as the fault makes of it."""

    def __init__(self, tape: Recording, risk: Risk, *, account: str, store_of: Callable[[], Any], faults: Faults) -> None:
        """store_of: a new connection to the database of this world."""
        self.account, self.grid, self.steps, self.risk, self.faults = account, tape.grid, tape.steps, risk, faults
        self._store_of = store_of
        self.market = Market(tape.data, tape.grid, Rules(), CAPITAL_USD)
        self.market.begin(REPLAY, place=tape.steps.start, now_ns=int(tape.data.ticks["event_ns"][tape.steps.start]) - 1)
        self.broker = FaultyBroker(self.market, faults, account)
        self.broker.refused = Symbol("KO"), tape.steps.step(REFUSED_BAR).watermark_ns
        self.origin = Origin(source="recycled", capital_usd=CAPITAL_USD, replay=True)
        self.watermark_ns = self.acknowledged_ns = 0
        self.sessions = 0
        self.calls: Counter[str] = Counter()  # of the replay, without what the end asks
        self.deaths: list[str] = []

    def play(self, path: Mapping[int, Mapping[PairId, float]], specs: Mapping[PairId, PairSpec]) -> None:
        """All bars. path: z of pairs by bar number; a pair that is not named has none."""
        engine: Engine | None = None
        events: deque[object] = deque()
        for number in range(len(self.steps)):
            step = self.steps.step(number)
            self.market.advance(step.stop)
            self.market.reach(step.watermark_ns)
            self.watermark_ns = step.watermark_ns
            while self.acknowledged_ns < step.watermark_ns:
                try:
                    if engine is None:
                        events.clear()
                        self.broker.updates.clear()
                        engine = self._session(events, specs)
                        events.append(StreamReady())
                    self._tell(events, step, number, path.get(number, {}), specs)
                    self._run(engine, events, step)
                except Transient as error:
                    self.deaths.append(str(error))
                    engine = None
        self.end()

    def _session(self, events: deque[object], specs: Mapping[PairId, PairSpec]) -> Engine:
        """As session.py starts one."""
        self.sessions += 1
        assert self.sessions <= _SESSIONS_MAX, f"sessions end one after the other: {self.deaths}"
        replay = FaultyReplay(self)
        status, sender = replay.status(), Sender(self.broker, lambda: False)
        store: Any = FaultyStore(self._store_of(), self.faults)
        new = not any(self.market.book.orders(newest_first=True))
        books = reconcile.open_books(store, self.broker, self.origin, self.risk.patience, broker_is_new=new)
        reconcile.catch_up(books, self.broker, sender, self.origin, resend_from_ns=status.watermark_ns)
        found = reconcile.compare(books, self.broker, run=REPLAY, occasion="start", event_ns=status.watermark_ns)
        books.flush()
        if found:
            raise InvariantBroken(f"after {self.deaths}: {reconcile.describe(found)}")
        control = ControlTable()
        pointer = RoutingPointer(sector=CONSUMER, version=MODEL.version, digest=MODEL.digest, epoch=1)
        for offset, record in enumerate((*specs.values(), pointer)):
            key, value = encode_control(record)
            control.apply(LogRecord(topic="tandem.control", partition=0, offset=offset, key=key, value=value))
        return Engine(
            inbox=SimpleNamespace(get=lambda _: events.popleft() if events else None, put=events.append),
            books=books,
            desk=Desk(
                books,
                sender,
                self.risk,
                bars_per_day=1.0,
                live_run=self.account,
                gate=Gate(books, self.risk.pretrade, grid=self.grid),
                guard=Guard(books, self.risk.breakers, grid=self.grid),
            ),
            broker=self.broker,
            sender=sender,
            control=control,
            feed=SimpleNamespace(applied_offset=0),
            writer=None,
            origin=self.origin,
            replay=replay,
            barrier=Barrier(replay_id=REPLAY, decided_ns=status.watermark_ns - 1),
        )

    def _tell(self, events: deque[object], step: Step, number: int, z: Mapping[PairId, float], specs: Mapping[PairId, PairSpec]) -> None:
        """What the stream and the log have for this bar."""
        while self.broker.updates:
            update = self.broker.updates.popleft()
            fill = fill_of(update.record.fill) if update.event in ("fill", "partial_fill") and update.record.fill is not None else None
            events.append(TradeUpdate(event=update.event, report=report_of(update.record), fill=fill, event_ns=update.event_ns))
        events.append(self._batch(step, number, z, specs))
        events.append(
            BrokerHeartbeat(
                replay_id=REPLAY,
                watermark_ns=step.watermark_ns,
                lockstep=True,
                end_of_stream=step.end_of_stream,
                charges=self.market.book.charges,
            )
        )

    def _batch(self, step: Step, number: int, z: Mapping[PairId, float], specs: Mapping[PairId, PairSpec]) -> ForecastsArrived:
        tape = self.market.tape

        def price(symbol: Symbol) -> float:
            places = tape.places[symbol]
            return float(tape.price[places[places < step.stop][-1]])

        forecasts = [
            forecast(
                pair=pair,
                leg_a=specs[pair].leg_a,
                leg_b=specs[pair].leg_b,
                z=value,
                price_a=price(specs[pair].leg_a),
                price_b=price(specs[pair].leg_b),
                bar_index=number,
            )
            for pair, value in sorted(z.items())
        ]
        made: ForecastBatch = batch(step.watermark_ns, *forecasts, replay_id=REPLAY, end_of_stream=step.end_of_stream)
        place = place_of(made, offset=number, sha256="0" * 64, ticks=b"")
        return ForecastsArrived(batch=made, offset=number, published_ns=0, place=place)

    def _run(self, engine: Engine, events: deque[object], step: Step) -> None:
        idle = 0

        def done() -> bool:
            nonlocal idle
            idle += not events
            assert idle <= _IDLE_MAX or self.acknowledged_ns >= step.watermark_ns, f"bar {step.number} is never acknowledged: {self.deaths}"
            return not events and self.acknowledged_ns >= step.watermark_ns

        engine.run(done)

    def end(self) -> None:
        """Nothing fails any more: the ledger must be the broker's."""
        self.calls = Counter(self.faults.calls)
        self.faults.number = 0
        store: Any = FaultyStore(self._store_of(), self.faults)
        books = reconcile.open_books(store, self.broker, self.origin, self.risk.patience, broker_is_new=False)
        sender = Sender(self.broker, lambda: False)
        reconcile.catch_up(books, self.broker, sender, self.origin, resend_from_ns=2**63 - 1)
        found = reconcile.compare(books, self.broker, run=REPLAY, occasion="end_of_stream", event_ns=self.watermark_ns)
        assert not found, reconcile.describe(found)
        books.flush()
        store.close()

    def orders_at_the_exchange(self) -> list[tuple[str, str, str, str]]:
        """(client id, symbol, side, shares) of each, in order of their ids."""
        orders = (record.order for record in self.market.book.orders(newest_first=False))
        return sorted((o.client_order_id, str(o.symbol), o.side.value, str(o.qty)) for o in orders)


SPECS = {
    PairId("KO-PEP"): replace(SPEC, pair=PairId("KO-PEP")),
    PairId("KO-PG"): replace(SPEC, pair=PairId("KO-PG"), leg_b=Symbol("PG"), notional_usd=Decimal(12_000)),
}

KO_PEP, KO_PG = SPECS
# Both pairs open and close; at bar 4 one sells KO as the other buys it, at bar 8 the other way round. In the end a leg is refused.
PATH: Mapping[int, Mapping[PairId, float]] = {
    1: {KO_PEP: -2.5, KO_PG: 0.0},
    2: {KO_PEP: -1.5, KO_PG: 0.0},
    3: {KO_PEP: -1.5, KO_PG: 0.0},
    4: {KO_PEP: -0.1, KO_PG: -2.5},
    5: {KO_PEP: 0.0, KO_PG: -1.5},
    6: {KO_PEP: 0.0, KO_PG: -1.5},
    7: {KO_PEP: 0.0, KO_PG: -1.5},
    8: {KO_PEP: -2.5, KO_PG: -0.1},
    9: {KO_PEP: -1.5, KO_PG: 0.0},
    10: {KO_PEP: -0.1, KO_PG: 0.0},
    REFUSED_BAR: {KO_PEP: 0.0, KO_PG: -2.5},
}
PORTS = ("broker.submit", "broker.cancel", "broker.ask", "store.commit", "store.load", "clock")
_BARS = 13
_DAY_NS = 86_400 * NS_PER_S
_FROM_NS = 1_546_387_200 * NS_PER_S  # 2019-01-02


def recording(folder: Path) -> Recording:
    """Real closes of some days."""
    data = load_market_data(skfolio_dataset(folder / "daily.parquet"), from_ns=_FROM_NS - 5 * _DAY_NS, to_ns=_FROM_NS + 40 * _DAY_NS)
    grid = session_grid("1d", int(data.ticks["event_ns"][0]), int(data.ticks["event_ns"][-1]) + 7 * _DAY_NS)
    closes = [int(close) for close in grid.close_ns if int(close) >= _FROM_NS]
    return Recording(data=data, grid=grid, steps=schedule(data.ticks["event_ns"], grid, from_ns=_FROM_NS, to_ns=closes[_BARS - 1] + 1))
