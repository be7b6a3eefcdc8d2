"""The portfolio's state in memory and what of it is still to be written. One thread owns it; readers get whole, frozen records.

Every change goes through here, so that memory and the next transaction cannot differ. Decides nothing: flow/ does, called by desk.py.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Protocol

import structlog

from tandem.adapters import telemetry
from tandem.adapters.postgres_ledger import Stored
from tandem.domain.control import TradingState
from tandem.domain.forecasts import Forecast, ForecastBatch, ModelRef
from tandem.domain.ids import PairId, Symbol, short_hash
from tandem.domain.trading import Fee, Fill, Order, OrderStatus, PairState, Side
from tandem.flow import accounting
from tandem.flow.accounting import NO_PAIR
from tandem.flow.execution import Alarm, Event, Execution, Leg, Output, Patience, step
from tandem.flow.journal import Changes, EquityPoint, RiskEvent, Trade
from tandem.flow.orders import OrderState
from tandem.flow.signals import held_under
from tandem.flow.sizing import Exposure

log = structlog.get_logger()
_ZERO = Decimal(0)
_REMEMBERED_ORDERS_MAX = 10_000  # whose pair is known without asking the database
_MEASURES_MAX = 256  # rows of measurements that wait for one transaction; lost when the process is killed, and made again by a replay
_MOVING = (PairState.OPENING, PairState.CLOSING, PairState.UNWINDING)


class BookStore(Protocol):
    """What the books need of a store: adapters/postgres_ledger.py has it, and a backtest keeps it in memory."""

    def commit(self, changes: Changes) -> None:
        """Write all of it, or nothing. Raises Transient, InvariantBroken."""
        ...

    def order_of(self, client_order_id: str) -> PairId | None:
        """The pair of an order; None if it is not of this book."""
        ...

    def has_fill(self, execution_id: str) -> bool:
        """Whether an execution is booked."""
        ...


class Books:
    """Pairs, ledger, marks and the changes since the last transaction."""

    def __init__(self, store: BookStore, stored: Stored, patience: Patience) -> None:
        self.book = stored.book
        self.executions: dict[PairId, Execution] = dict(stored.executions)
        self.trades: dict[PairId, Trade] = dict(stored.trades)
        self.trading_states: dict[str, TradingState] = dict(stored.trading_states)
        self.latest: dict[PairId, tuple[Forecast, ModelRef, int]] = {}  # newest forecast of each pair, with its bar's close
        self.changes = Changes()
        self.last_fill_ns, self.last_fee_ns = stored.last_fill_ns, stored.last_fee_ns
        self.fills_since_fees = False
        self._store = store
        self._patience = patience
        self._prices: dict[Symbol, float] = dict(stored.prices)
        self._remembered_from_ns = stored.remembered_from_ns
        self._execution_ids, self._fee_ids = set(stored.execution_ids), set(stored.fee_ids)
        self._order_pairs = dict(stored.order_pairs)
        self._broker_orders: dict[str, PairId] = {
            leg.order.broker_order_id: e.pair for e in self.executions.values() for leg in e.legs if leg.order and leg.order.broker_order_id
        }

    # --- pairs

    def tell(self, pair: PairId, event: Event, at_ns: int) -> tuple[Output, ...]:
        """Step one pair. Alarms are noted here; the other outputs are the caller's to carry out."""
        old = self.executions[pair]
        new, outputs = step(old, event, self._patience)
        for output in outputs:
            if isinstance(output, Alarm):
                self.alarm(f"pair/{pair}", output.code, output.detail, at_ns)
        if new is not old:
            self._put(old, new, at_ns)
        return tuple(output for output in outputs if not isinstance(output, Alarm))

    def _put(self, old: Execution, new: Execution, at_ns: int) -> None:
        self.executions[new.pair] = new
        self.changes.executions[new.pair] = new
        for before, leg in zip(old.legs, new.legs, strict=True):
            if leg.order is not None and leg.order is not before.order:
                self._put_order(new.pair, leg.order, before)
        if new.state is not old.state:
            self._follow_trade(old, new, at_ns)
            log.info("pair_state", pair=new.pair, old=old.state.value, new=new.state.value, event_ns=at_ns, reason=new.reason)

    def _put_order(self, pair: PairId, order: OrderState, before: Leg) -> None:
        self.changes.orders[order.order.client_order_id] = order
        self._order_pairs[order.order.client_order_id] = pair
        if order.broker_order_id:
            self._broker_orders[order.broker_order_id] = pair
        for memory in (self._order_pairs, self._broker_orders):
            if len(memory) > _REMEMBERED_ORDERS_MAX:
                del memory[next(iter(memory))]
        was_final = before.order is not None and before.order.order is order.order and before.order.status.is_final
        if order.status.is_final and not was_final:
            telemetry.counter("portfolio_orders_total").labels(status=order.status.value).inc()

    def _follow_trade(self, old: Execution, new: Execution, at_ns: int) -> None:
        trade = self.trades.get(new.pair)
        if trade is None or trade.trade_id != new.trade_id:
            return
        if new.state is PairState.HEDGED and trade.hedged_ns is None:
            trade = replace(trade, hedged_ns=new.last_fill_ns, unhedged_open_s=new.unhedged_s)
        elif new.state is PairState.FLAT:
            bare_s = new.unhedged_s
            trade = replace(
                trade,
                closed_ns=new.last_fill_ns or at_ns,
                exit_reason=trade.exit_reason or f"unwound: {old.reason or new.reason}",
                unhedged_open_s=bare_s if trade.hedged_ns is None else trade.unhedged_open_s,
                unhedged_close_s=trade.unhedged_close_s if trade.hedged_ns is None else max(trade.unhedged_close_s, bare_s),
            )
        self.put_trade(trade)
        telemetry.gauge("portfolio_open_pairs").set(len(self.open_pairs()))

    def put_trade(self, trade: Trade) -> None:
        """Note a trade's newest state; the profit of a closed one is what its pair's cash has gained."""
        if trade.closed_ns is not None:
            trade = replace(trade, pnl_usd=self.cash_of(trade.pair) - trade.cash_at_open_usd)
        self.trades[trade.pair] = trade
        self.changes.trades[trade.trade_id] = trade

    def open_pairs(self) -> list[PairId]:
        """Pairs that are not flat."""
        return [pair for pair, e in self.executions.items() if e.state is not PairState.FLAT]

    @property
    def opened_by(self) -> dict[PairId, str]:
        """The model version that opened each pair that is not flat."""
        return {pair: self.trades[pair].model.version for pair in self.open_pairs() if pair in self.trades}

    def moving(self) -> list[PairId]:
        """Pairs that wait for an order, in order of id."""
        return sorted(pair for pair, e in self.executions.items() if e.state in _MOVING)

    def cash_of(self, pair: PairId) -> Decimal:
        """Cash of the pair's sub-ledger: what it has earned while it is flat."""
        return self.book.cash_usd.get(pair, _ZERO)

    def cash_at_open(self, pair: PairId) -> Decimal | None:
        """Cash of the pair's sub-ledger when its open trade began; None when it is flat."""
        trade = self.trades.get(pair)
        return trade.cash_at_open_usd if trade is not None and trade.closed_ns is None else None

    # --- the ledger

    def pair_of_order(self, client_order_id: str) -> PairId | None:
        """The pair of an order; None if it is not ours."""
        return self._order_pairs.get(client_order_id) or self._store.order_of(client_order_id)

    def book_fill(self, fill: Fill) -> bool:
        """Book an execution once; False if it is booked already. One that belongs to no order of ours is an alarm, and not booked."""
        older = fill.event_ns < self._remembered_from_ns
        if fill.execution_id in self._execution_ids or (older and self._store.has_fill(fill.execution_id)):
            return False
        pair = self.pair_of_order(fill.client_order_id)
        if pair is None:
            self.alarm("book", "foreign_fill", f"{fill.execution_id}: {fill.side} {fill.qty} {fill.symbol}, not our order", fill.event_ns)
            return False
        self._execution_ids.add(fill.execution_id)
        entry = accounting.fill_entry(fill, pair)
        self.book = accounting.post(self.book, entry)
        self.changes.fills.append((fill, pair))
        self.changes.entries.append(entry)
        self.last_fill_ns = max(self.last_fill_ns, fill.event_ns)
        self.fills_since_fees = True
        self._prices.setdefault(fill.symbol, float(fill.price_usd))
        telemetry.counter("portfolio_fills_total").inc()
        self.tell(pair, fill, fill.event_ns)
        return True

    def book_fee(self, fee: Fee) -> bool:
        """Book a fee once; False if it is booked already."""
        if fee.activity_id in self._fee_ids:
            return False
        self._fee_ids.add(fee.activity_id)
        pair = self._broker_orders.get(fee.broker_order_id, NO_PAIR)
        entry = accounting.fee_entry(fee, pair)
        self.book = accounting.post(self.book, entry)
        self.changes.entries.append(entry)
        self.last_fee_ns = max(self.last_fee_ns, fee.event_ns)
        trade = self.trades.get(PairId(pair))
        if trade is not None and trade.closed_ns is not None:
            self.put_trade(trade)  # the closing's fees come after its executions
        return True

    # --- prices and exposure

    def take_forecasts(self, batches: Iterable[ForecastBatch]) -> None:
        """Remember the newest forecasts, and their prices as marks."""
        for batch in batches:
            for forecast in batch.forecasts:
                self._follow_model(forecast, batch.model)
                self.latest[forecast.pair] = (forecast, batch.model, batch.bar_close_ns)
                self._prices[forecast.leg_a], self._prices[forecast.leg_b] = forecast.price_a, forecast.price_b

    def _follow_model(self, forecast: Forecast, model: ModelRef) -> None:
        """When another model takes over, a held pair keeps its age in bars; after a restart the last bar is not known: it starts at 0."""
        execution = self.executions.get(forecast.pair)
        if execution is None or execution.held is None or execution.held.digest == model.digest:
            return
        last, _, _ = self.latest.get(forecast.pair, (None, None, 0))
        held = execution.held
        if last is not None:
            held = held_under(held, last, forecast, model.digest)
        else:
            held = replace(held, opened_bar_index=forecast.bar_index, digest=model.digest)
        self.executions[forecast.pair] = self.changes.executions[forecast.pair] = replace(execution, held=held)

    def marks(self) -> dict[Symbol, Decimal]:
        """The last price of every symbol that is held."""
        return {symbol: self._price(symbol) for symbol in {s for _, s in self.book.shares}}

    def mark(self, run: str, bar_close_ns: int) -> None:
        """Note the value of the book at a bar, if anything is open."""
        open_pairs = self.open_pairs()
        if not open_pairs and not self.book.shares:
            return
        marks = self.marks()
        point = EquityPoint(
            run=run,
            bar_close_ns=bar_close_ns,
            equity_usd=accounting.equity_usd(self.book, marks),
            cash_usd=self.book.total_cash_usd,
            gross_usd=accounting.gross_usd(self.book, marks),
            open_pairs=len(open_pairs),
        )
        self.changes.equity.append(point)
        telemetry.gauge("portfolio_equity_usd").set(float(point.equity_usd))

    def exposure(self, without: PairId) -> Exposure:
        """What all other pairs hold or have on order, at the marks."""
        sides: dict[Symbol, frozenset[Side]] = {}
        symbol_usd: dict[Symbol, Decimal] = {}
        others = [e for e in self.executions.values() if e.pair != without and e.state is not PairState.FLAT]
        for leg in (leg for e in others for leg in e.legs):
            shares = max(leg.held, Decimal(leg.target), key=abs)
            used = {Side.BUY if shares > 0 else Side.SELL} if shares else set()
            if leg.is_live and leg.order is not None:
                used.add(leg.order.order.side)
            sides[leg.symbol] = sides.get(leg.symbol, frozenset()) | used
            if shares:
                symbol_usd[leg.symbol] = symbol_usd.get(leg.symbol, _ZERO) + shares * self._price(leg.symbol)
        return Exposure(
            equity_usd=accounting.equity_usd(self.book, self.marks()),
            pairs_open=len(others),
            gross_usd=sum((abs(usd) for usd in symbol_usd.values()), _ZERO),
            symbol_usd=symbol_usd,
            sides=sides,
        )

    def _price(self, symbol: Symbol) -> Decimal:
        """The last price; infinite where none is known yet after a restart, so that every limit refuses."""
        return Decimal(str(self._prices[symbol])) if symbol in self._prices else Decimal("Infinity")

    def opposed(self, order: Order) -> bool:
        """Another pair has a live order on the other side of the symbol: the broker would refuse ours as a wash trade."""
        return any(
            leg.is_live and leg.symbol == order.symbol and leg.order is not None and leg.order.order.side is order.side.opposite
            for e in self.executions.values()
            if e.pair != order.pair
            for leg in e.legs
        )

    # --- writing

    def alarm(self, scope: str, code: str, detail: str, event_ns: int) -> None:
        """Note something that a person may want to know."""
        event_id = short_hash("risk", scope, code, detail, event_ns)
        self.changes.risk_events[event_id] = RiskEvent(event_id=event_id, scope=scope, code=code, detail=detail, event_ns=event_ns)
        log.warning("alarm", scope=scope, code=code, detail=detail, event_ns=event_ns)

    def flush(self) -> None:
        """Write all changes in one transaction; nothing happens when there are none. Raises Transient, InvariantBroken."""
        if self.changes:
            self._store.commit(self.changes)
            self.changes = Changes()

    def flush_if_due(self) -> None:
        """The same, unless there are only a few measurements."""
        if self.changes.is_urgent or len(self.changes.equity) + len(self.changes.signals) >= _MEASURES_MAX:
            self.flush()

    def trading_state(self, scope: str, state: TradingState | None) -> None:
        """Set or take back the trading mode of a scope."""
        if state is None:
            self.trading_states.pop(scope, None)
        else:
            self.trading_states[scope] = state
        self.changes.trading_states[scope] = state

    def live_orders(self) -> Mapping[str, OrderState]:
        """Orders that may still be filled, by client_order_id."""
        live = (leg.order for e in self.executions.values() for leg in e.legs if leg.is_live and leg.order is not None)
        return {state.order.client_order_id: state for state in live}

    def unclear_orders(self) -> list[OrderState]:
        """Orders of which it is not known whether the broker has them."""
        return [state for state in self.live_orders().values() if state.status in (OrderStatus.INITIALIZED, OrderStatus.UNKNOWN)]
