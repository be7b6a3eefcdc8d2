"""The portfolio's state in memory and what of it is still to be written. One thread owns it; readers get whole, frozen records.

Every change goes through here, so that memory and the next transaction cannot differ. Decides nothing: flow/ does, called by desk.py.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import structlog

from tandem.adapters.postgres_load import Stored
from tandem.domain.control import TradingState
from tandem.domain.forecasts import Forecast, ForecastBatch, ModelRef
from tandem.domain.ids import PairId, Symbol, short_hash
from tandem.domain.ledger import Entry
from tandem.domain.trading import Fee, Fill, Order, OrderStatus, PairState
from tandem.flow import accounting
from tandem.flow.accounting import NO_PAIR
from tandem.flow.execution import step
from tandem.flow.execution_records import Alarm, Event, Execution, Leg, Output, Patience, Quarantine, Reported
from tandem.flow.journal import Changes, GuardRecord, RiskEvent, Trade
from tandem.flow.netting import Cross, net, through_zero
from tandem.flow.orders import OrderState
from tandem.flow.signals import held_under
from tandem.flow.sizing import Exposure
from tandem.portfolio import measures
from tandem.portfolio.exposure import equity_point, exposure_of
from tandem.portfolio.provenance import Provenance
from tandem.portfolio.store import BookStore

log = structlog.get_logger()
_ZERO = Decimal(0)
_REMEMBERED_ORDERS_MAX = 10_000  # whose pair is known without asking the database
_MEASURES_MAX = 256  # rows of measurements that wait for one transaction; lost when the process is killed, and made again by a replay
_MOVING = (PairState.OPENING, PairState.CLOSING, PairState.UNWINDING)


class Books:
    """Pairs, ledger, marks and the changes since the last transaction."""

    def __init__(self, store: BookStore, stored: Stored, patience: Patience) -> None:
        self.book = stored.book
        self.executions: dict[PairId, Execution] = dict(stored.executions)
        self.trades: dict[PairId, Trade] = dict(stored.trades)
        self.trading_states: dict[str, TradingState] = dict(stored.trading_states)
        self.latest: dict[PairId, tuple[Forecast, ModelRef, int]] = {}  # newest forecast of each pair, with its bar's close
        self.guards: dict[tuple[str, str], Mapping[str, Any]] = dict(stored.guards)  # what portfolio/guard.py remembers, by name and scope
        self.changes, self.provenance = Changes(), Provenance()
        self.last_fill_ns, self.last_fee_ns = stored.last_fill_ns, stored.last_fee_ns
        self.fills_since_fees = False
        self._unmarked = stored.unmarked
        self._moves = deque(stored.moves, maxlen=accounting.MOVES_MAX)
        self.bookings = 0  # entries made since the start: tells whether a snapshot of the broker is older than the ledger
        self.last_booking: dict[str, int] = {}  # by symbol
        self._idle: dict[PairId, Execution] = {}  # pairs without a live order, as they were when that was seen
        self._crosses = {cross.cross_id: cross for cross in stored.crosses}  # that have not happened yet
        self._store, self._patience = store, patience
        self._prices: dict[Symbol, float] = dict(stored.prices)
        self._execution_ids, self._fee_ids = set(stored.execution_ids), set(stored.fee_ids)
        self._remembered_from_ns, self._order_pairs = stored.remembered_from_ns, dict(stored.order_pairs)
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
                if output.code in ("illegal_transition", "order_transition_refused"):
                    measures.refused()
        if new is not old:
            self._put(old, new, at_ns)
        if self._crosses and isinstance(event, Reported):
            self.settle_crosses(at_ns)
        return tuple(output for output in outputs if not isinstance(output, Alarm))

    def _put(self, old: Execution, new: Execution, at_ns: int) -> None:
        self.executions[new.pair] = new
        self.changes.executions[new.pair] = new
        for before, leg in zip(old.legs, new.legs, strict=True):
            if leg.order is not None and leg.order is not before.order:
                self._put_order(new.pair, leg.order, before)
        if new.state is not old.state:
            self._follow_trade(old, new, at_ns)
            measures.changed(new)
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
            measures.ended(order)

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

    def knows_order(self, client_order_id: str) -> bool:
        """Whether an order of this id was made before, as far as memory goes: the newest are in it, and the database refuses the rest."""
        return client_order_id in self._order_pairs

    def pair_of_order(self, client_order_id: str) -> PairId | None:
        """The pair of an order; None if it is not ours."""
        return self._order_pairs.get(client_order_id) or self._store.order_of(client_order_id)

    def book_fill(self, fill: Fill) -> bool:
        """Book an execution once; False if it is booked already. One of no order of ours belongs to no pair, and stops some."""
        known = fill.execution_id in self._execution_ids
        if known or (fill.event_ns < self._remembered_from_ns and self._store.has_fill(fill.execution_id)):
            return False
        pair = self.pair_of_order(fill.client_order_id)
        self._execution_ids.add(fill.execution_id)
        for cross in [c for c in self._crosses.values() if c.priced_by == fill.client_order_id]:
            self._happen(cross, fill.price_usd, fill.event_ns)
        self.enter(accounting.foreign_entry(fill) if pair is None else accounting.fill_entry(fill, pair))
        if pair is not None:
            self.changes.fills.append((fill, pair))
        self.last_booking[fill.symbol] = self.bookings
        self.last_fill_ns = max(self.last_fill_ns, fill.event_ns)
        self.fills_since_fees = True
        self._prices.setdefault(fill.symbol, float(fill.price_usd))
        measures.filled(fill, self.executions.get(owner := pair or PairId(NO_PAIR)), self.latest.get(owner))
        if pair is None:
            self._stop_holders(fill)
        else:
            self.tell(pair, fill, fill.event_ns)
        return True

    def rescale(self, changed: Execution, symbol: Symbol, entry: Entry) -> None:
        """Take over a pair whose shares of a symbol a split has changed, with the entry that says so."""
        self.enter(entry)
        self.last_booking[symbol] = self.bookings
        self.executions[changed.pair] = self.changes.executions[changed.pair] = changed

    def reprice(self, symbol: Symbol, ratio: Decimal) -> None:
        """A split changes the price as it changes the shares: until the next trade this is the mark."""
        if symbol in self._prices:
            self._prices[symbol] /= float(ratio)

    def settle_crosses(self, at_ns: int) -> None:
        """Let happen, at their marks, the meetings that no execution outside will price any more."""
        if not self._crosses:
            return
        legs = (leg.order for execution in self.executions.values() for leg in execution.legs if leg.order is not None)
        open_ids = {state.order.client_order_id for state in legs if not state.is_over_outside}
        for cross in [cross for cross in self._crosses.values() if cross.priced_by not in open_ids]:
            self._happen(cross, cross.mark_usd, max(at_ns, cross.decided_ns))

    def _happen(self, cross: Cross, price_usd: Decimal, event_ns: int) -> None:
        if self._crosses.pop(cross.cross_id, None) is None:
            return  # one of its own executions has led here
        sale, purchase = cross.fills(price_usd, event_ns)
        self.changes.crosses[cross.cross_id] = (cross, sale)
        measures.crossed(cross)
        for fill in (sale, purchase):
            self.book_fill(fill)

    def net(self, orders: Iterable[Order]) -> dict[str, Order]:
        """Let opposite orders that are about to leave meet inside; the orders that do, by id, as they are from now on."""
        orders = tuple(orders)
        marks = {order.symbol: price for order in orders if (price := self.price_usd(order.symbol)).is_finite()}
        changed, crosses = net(orders, marks)
        rooms = self.through_zero(changed.get(order.client_order_id, order) for order in orders)
        for order in orders:
            room, now = rooms.get(order.client_order_id, 0), changed.get(order.client_order_id, order)
            if order.client_order_id in rooms and (qty := now.crossed_qty + room):
                changed[order.client_order_id] = replace(now, qty=qty)
        for order in changed.values():
            execution = self.executions[order.pair]
            a, b = (
                replace(leg, order=replace(leg.order, order=order))
                if leg.order is not None and leg.order.order.client_order_id == order.client_order_id
                else leg
                for leg in execution.legs
            )
            self._put(execution, replace(execution, a=a, b=b), order.decided_ns)
        self.changes.new_orders = [changed.get(order.client_order_id, order) for order in self.changes.new_orders]
        for cross in crosses:
            self._crosses[cross.cross_id] = cross
            self.changes.crosses[cross.cross_id] = (cross, None)
        return changed

    def through_zero(self, orders: Iterable[Order]) -> dict[str, int]:
        """Of orders that would take the account through zero in their symbol, the shares that may leave now, by id."""
        orders, held = tuple(orders), accounting.positions(self.book)
        mine, working = {order.client_order_id for order in orders}, dict.fromkeys(held, 0)
        for key, state in self.live_orders().items():
            if key not in mine and held.get(state.order.symbol, _ZERO) * state.order.side.sign < 0:
                working[state.order.symbol] += int(state.order.outside_qty - (state.filled - state.inside))
        return through_zero(orders, held, working)

    def enter(self, entry: Entry) -> None:
        """Post one entry that is new."""
        self.book = accounting.post(self.book, entry)
        self.changes.entries.append(entry)
        self._unmarked = True
        self._moves.extend(accounting.moves_of(entry))
        self.bookings += 1

    def _stop_holders(self, fill: Fill) -> None:
        """Somebody else trades what pairs of ours hold: a person, or the broker for want of margin. They wait for a person."""
        told = f"{fill.execution_id}: {fill.side} {fill.qty} {fill.symbol}, not our order"
        self.alarm("book", "foreign_fill", told, fill.event_ns)
        for execution in tuple(self.executions.values()):
            if execution.state is not PairState.FLAT and any(leg.symbol == fill.symbol for leg in execution.legs):
                self.tell(execution.pair, Quarantine(reason=f"foreign execution {told}"), fill.event_ns)

    def book_fee(self, fee: Fee, owner: PairId | None = None) -> bool:
        """Book a fee once; False if it is booked already. owner: the pair that caused it, where no order of the broker says so."""
        if fee.activity_id in self._fee_ids:
            return False
        self._fee_ids.add(fee.activity_id)
        pair = owner if owner is not None else self._broker_orders.get(fee.broker_order_id, PairId(NO_PAIR))
        for entry in accounting.charge_entries(fee, pair, accounting.shares_before(fee, self.book.shares, self._moves)):
            self.enter(entry)
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
        return {symbol: self.price_usd(symbol) for symbol in {s for _, s in self.book.shares}}

    def mark(self, run: str, bar_close_ns: int) -> None:
        """Note the value of the book at a bar, if anything is open, or was booked since the last one: a closing leaves a value, too."""
        open_pairs = self.open_pairs()
        if not open_pairs and not self.book.shares and not self._unmarked:
            return
        point = equity_point(self.book, self.marks(), run=run, bar_close_ns=bar_close_ns, open_pairs=len(open_pairs))
        self.changes.equity.append(point)
        self._unmarked = False
        measures.valued(point)

    def exposure(self, without: PairId) -> Exposure:
        """What all other pairs hold or have on order, at the marks."""
        others = tuple(e for e in self.executions.values() if e.pair != without and e.state is not PairState.FLAT)
        return exposure_of(others, accounting.equity_usd(self.book, self.marks()), self.price_usd)

    def price_usd(self, symbol: Symbol) -> Decimal:
        """The last price; infinite where none is known yet after a restart, so that every limit refuses."""
        return Decimal(str(self._prices[symbol])) if symbol in self._prices else Decimal("Infinity")

    def opposing(self, order: Order) -> tuple[OrderState, ...]:
        """Other pairs' orders that work on the other side of the symbol: beside them, the broker would refuse ours as a wash trade.

        What has not left yet is not among them: it meets ours inside.
        """
        return tuple(
            state
            for state in self._live()
            if state.order.pair != order.pair
            and state.status is not OrderStatus.INITIALIZED
            and (state.order.symbol, state.order.side) == (order.symbol, order.side.opposite)
            and state.order.outside_qty
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
            self.changes.decisions = self.provenance.of(self.changes.intents, self.latest, self._prices)
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

    def put_guard(self, record: GuardRecord) -> None:
        """Remember what a guard must know after a restart."""
        self.guards[record.name, record.scope] = record.document
        self.changes.guards[record.name, record.scope] = record

    def live_orders(self) -> Mapping[str, OrderState]:
        """Orders that may still be filled, by client_order_id."""
        return {state.order.client_order_id: state for state in self._live()}

    def _live(self) -> Iterator[OrderState]:
        """Orders that may still be filled. Asked for many times by each order; most pairs have none, and are passed over."""
        for pair, execution in self.executions.items():
            if self._idle.get(pair) is not execution:
                live = [leg.order for leg in execution.legs if leg.is_live and leg.order is not None]
                if not live:
                    self._idle[pair] = execution
                yield from live

    def unclear_orders(self) -> list[OrderState]:
        """Orders of which it is not known whether the broker has them."""
        unclear = (OrderStatus.INITIALIZED, OrderStatus.UNKNOWN)
        return [state for state in self.live_orders().values() if state.status in unclear and state.order.outside_qty]
