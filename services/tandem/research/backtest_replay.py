"""One account over one recording, bar by bar, in this process: the replay of the platform without its servers.

What runs is what runs live: flow/sector.py or another forecaster over the ticks, flow/barrier.py, the portfolio's Desk and Books with
their signals, sizing, execution and accounting, and the paper exchange of the recycler. A step sends the ticks of a bar to the exchange,
books what was filled, lets the forecaster see them, and decides; orders go out at the bar's close and meet later trades only.

Added to that, instead of what the paper exchange would charge in lots: the cost of borrowing what is short overnight, to each pair its own.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import ROUND_DOWN, Decimal
from typing import Protocol

import numpy as np

from tandem.domain.control import PairSpec
from tandem.domain.errors import InvariantBroken
from tandem.domain.forecasts import ForecastBatch
from tandem.domain.ids import PairId, SectorId, Symbol, derived_uuid
from tandem.domain.market import Heartbeat, Source, TickFrame
from tandem.domain.trading import Fee
from tandem.domain.units import CENT, NS_PER_S
from tandem.flow import accounting
from tandem.flow.barrier import Arrived, Barrier, BrokerReached, PointersMoved
from tandem.flow.barrier import step as barrier_step
from tandem.flow.breakers import Breaker, Reset
from tandem.flow.netting import is_internal
from tandem.flow.replay import Step
from tandem.flow.tape import last_prices
from tandem.portfolio import reconcile
from tandem.portfolio.books import Books
from tandem.portfolio.desk import Desk
from tandem.portfolio.gate import Gate
from tandem.portfolio.guard import Guard
from tandem.portfolio.reconcile import Origin
from tandem.portfolio.risk import Risk
from tandem.portfolio.sender import Sender, reported
from tandem.recycler.book import Update
from tandem.recycler.market import Market
from tandem.recycler.views import EXECUTIONS
from tandem.research.backtest_market import PaperBroker, fill_of, report_of
from tandem.research.backtest_records import BarPoint, Execution
from tandem.research.backtest_store import MemoryBookStore, opened

_DAY_NS = 86_400 * NS_PER_S
_YEAR_DAYS = 365
_BPS = Decimal(10_000)
_ZERO = Decimal(0)


class Forecaster(Protocol):
    """Makes the batches of one model version out of the market's records; flow/sector.py is one."""

    version: str

    def step(self, event: TickFrame | Heartbeat) -> tuple[ForecastBatch, ...]:
        """The batches that this record completes."""
        ...


class Replay:
    """The account and everything around it. `begin_window`, then `play` for each step; `end` after the last."""

    def __init__(
        self,
        market: Market,
        sector: SectorId,
        risk: Risk,
        *,
        capital_usd: Decimal,
        bars_per_day: float,
        borrow_bps_year: Decimal,
    ) -> None:
        """The market must have begun: its replay id is what ids are made of."""
        self.market, self.store = market, MemoryBookStore()
        self.broker = PaperBroker(market)
        self.books = Books(self.store, opened(capital_usd), risk.patience)
        sender = Sender(self.broker, lambda: True)  # an exchange in this process never leaves an order unclear
        self.desk = Desk(
            self.books,
            sender,
            risk,
            bars_per_day=bars_per_day,
            live_run="backtest",
            gate=Gate(self.books, risk.pretrade, grid=market.grid),
            guard=Guard(self.books, risk.breakers, grid=market.grid),
        )
        self.points: list[BarPoint] = []
        self.trade_windows: dict[str, int] = {}
        self.borrow_usd: dict[str, Decimal] = {}
        self._sector, self._borrow_bps_year = sector, borrow_bps_year
        self._origin = Origin(source=Source.RECYCLED.value, capital_usd=capital_usd, replay=True)
        self._barrier = Barrier(replay_id=market.state.replay_id)
        self._owed_usd: dict[PairId, Decimal] = {}  # borrow of less than a cent
        self._forecaster: Forecaster | None = None
        self._window, self._offset = 0, 0

    @property
    def equity_usd(self) -> Decimal:
        """Cash and shares at the last trades."""
        return accounting.equity_usd(self.books.book, self.marks())

    def marks(self) -> dict[Symbol, Decimal]:
        """The last trade of everything held."""
        held = {symbol for _, symbol in self.books.book.shares}
        return last_prices(self.market.tape, sorted(held), self.market.place)

    def begin_window(self, number: int, specs: Mapping[PairId, PairSpec], forecaster: Forecaster) -> None:
        """From now on these pairs are traded on this forecaster's word. The drawdown counts anew, as when a person has looked at it."""
        self.desk.guard.feed(Reset(at_ns=self.market.now_ns, breaker=Breaker.DRAWDOWN))
        self._window, self._forecaster = number, forecaster
        self.desk.specs = specs
        self._advance(PointersMoved(versions={self._sector: (forecaster.version,)}))

    def close_all(self) -> None:
        """From the next bar on every pair is closed and none opened: the window ends."""
        self.desk.specs = {pair: replace(spec, suspended=True) for pair, spec in self.desk.specs.items()}

    def play(self, step: Step, *, nights: int) -> None:
        """One bar. nights: calendar days until the next one, which is how long what is short at its close is borrowed."""
        self.market.advance(step.stop)
        self.market.reach(step.watermark_ns)
        self._take_updates()
        if not step.end_of_stream:  # before the decision: a live exchange has charged at the close what the bar is decided with
            self._book_fees()
            self._charge_borrow(step.watermark_ns, nights)
        for batch in self._forecasts(step):
            self._offset += 1
            self._advance(Arrived(batch=batch, offset=self._offset))
        self._advance(BrokerReached(replay_id=self._barrier.replay_id, watermark_ns=step.watermark_ns))
        self._take_updates()
        if not step.end_of_stream:
            self._mark(step.watermark_ns)

    def end(self) -> None:
        """Book what is left and compare the ledger with the exchange. Raises InvariantBroken when they differ."""
        self._take_updates()
        reconcile.book_fees(self.books, self.broker, self._origin)
        self.books.flush()
        broker_cash = Decimal(self.broker.account().cash)
        if found := accounting.differences(self.books.book, self.broker.positions(), broker_cash):
            raise InvariantBroken(f"the backtest's ledger and its exchange differ: {reconcile.describe(found)}")

    def executions(self) -> tuple[Execution, ...]:
        """All fills of the exchange with the prices around them, in order of time; what met inside cost nothing."""
        rows = [self._execution(execution_id) for execution_id in self.store.fills if not is_internal(execution_id)]
        return tuple(sorted(rows, key=lambda row: (row.event_ns, row.pair, row.symbol)))

    def _execution(self, execution_id: str) -> Execution:
        fill, pair = self.store.fills[execution_id]
        order = self.store.orders[fill.client_order_id]
        tape = self.market.tape
        times = tape.event_ns[tape.places[fill.symbol]]
        prices = tape.price[tape.places[fill.symbol]]
        decided = int(np.searchsorted(times, order.decided_ns, side="left")) - 1
        filled = int(np.searchsorted(times, fill.event_ns, side="left"))
        assert int(times[filled]) == fill.event_ns > order.decided_ns, f"{execution_id} was filled at or before its decision"
        return Execution(
            pair=pair,
            trade_id=self.store.intents[order.intent_id].trade_id,
            symbol=fill.symbol,
            side=fill.side,
            qty=fill.qty,
            decided_ns=order.decided_ns,
            event_ns=fill.event_ns,
            decided_usd=Decimal(repr(float(prices[decided]))),
            market_usd=Decimal(repr(float(prices[filled]))),
            price_usd=fill.price_usd,
        )

    def _forecasts(self, step: Step) -> tuple[ForecastBatch, ...]:
        assert self._forecaster is not None, "no window has begun"
        stream = (self._sector, Source.RECYCLED, self._barrier.replay_id)
        ticks = self.market.data.ticks[step.start : step.stop]
        frame = TickFrame(sector=stream[0], source=stream[1], replay_id=stream[2], symbols=self.market.data.symbols, ticks=ticks)
        beat = Heartbeat(
            sector=stream[0],
            source=stream[1],
            replay_id=stream[2],
            watermark_ns=step.watermark_ns,
            lockstep=True,
            end_of_stream=step.end_of_stream,
        )
        if step.end_of_stream:  # ticks after the last close, if any, belong to no bar
            return self._forecaster.step(beat)
        return self._forecaster.step(frame) + self._forecaster.step(beat)

    def _advance(self, event: Arrived | BrokerReached | PointersMoved) -> None:
        self._barrier, bars = barrier_step(self._barrier, event)
        for bar in bars:
            self._book_fees()
            known = set(self.books.changes.trades) | set(self.store.trades)
            self.desk.trade(bar, 0)
            self.books.flush()
            for trade_id in self.store.trades.keys() - known:
                self.trade_windows[trade_id] = self._window

    def _book_fees(self) -> None:
        """Those of the fills since the last time; before any later charge, as fees are asked for from the newest on."""
        if self.books.fills_since_fees:
            reconcile.book_fees(self.books, self.broker, self._origin)

    def _take_updates(self) -> None:
        """What the exchange has told since the last time, as the portfolio's engine takes it from the stream."""
        while self.broker.updates:
            self._take(self.broker.updates.popleft())

    def _take(self, update: Update) -> None:
        report = report_of(update.record)
        pair = self.books.pair_of_order(report.client_order_id)
        if update.event in EXECUTIONS and update.record.fill is not None:
            self.books.book_fill(fill_of(update.record.fill))
        if pair is not None:
            self.books.tell(pair, reported(report), update.event_ns)

    def _charge_borrow(self, close_ns: int, nights: int) -> None:
        """A night's rate on what the account is short of at the close, divided among the pairs that are; whole cents, the rest is owed."""
        if not self._borrow_bps_year or not nights or not self.books.book.shares:
            return
        marks, account = self.marks(), accounting.positions(self.books.book)
        for (name, symbol), shares in self.books.book.shares.items():
            if shares >= 0 or (net := account.get(symbol, _ZERO)) >= 0:
                continue  # what other pairs are long of needs no lender
            pair = PairId(name)
            short = sum(qty for (_, other), qty in self.books.book.shares.items() if other == symbol and qty < 0)
            lent = -shares * net / short
            owed = self._owed_usd.get(pair, _ZERO) + lent * marks[symbol] * self._borrow_bps_year / _BPS * nights / _YEAR_DAYS
            paid = owed.quantize(CENT, rounding=ROUND_DOWN)
            self._owed_usd[pair] = owed - paid
            if paid:
                self._charge(pair, symbol, paid, close_ns)

    def _charge(self, pair: PairId, symbol: Symbol, amount_usd: Decimal, close_ns: int) -> None:
        fee = Fee(
            activity_id=derived_uuid("borrow", self._barrier.replay_id, pair, symbol, close_ns),
            symbol=symbol,
            amount_usd=amount_usd,
            event_ns=close_ns,
            description=f"borrow of {symbol} at {self._borrow_bps_year} bps a year",
        )
        self.books.book_fee(fee, pair)
        self.market.state = replace(self.market.state, cash_usd=self.market.state.cash_usd - amount_usd)
        self.borrow_usd[pair] = self.borrow_usd.get(pair, _ZERO) + amount_usd

    def _mark(self, close_ns: int) -> None:
        marks, book = self.marks(), self.books.book
        self.points.append(
            BarPoint(
                window=self._window,
                close_ns=close_ns,
                equity_usd=accounting.equity_usd(book, marks),
                cash_usd=book.total_cash_usd,
                gross_usd=accounting.gross_usd(book, marks),
                net_usd=accounting.market_value_usd(book, marks),
                open_pairs=len(self.books.open_pairs()),
            )
        )
