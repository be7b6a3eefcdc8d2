"""Trades a bar: look after pairs on their way, then exits, then entries, each in order of pair id; write; only then send.

The decisions themselves are flow's. What is here is the order of things: all intents and orders of a bar are in one transaction before
the first of them leaves, and every answer is booked before the bar counts as done. Called by engine.py in its thread.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import structlog

from tandem.adapters import telemetry
from tandem.domain.control import PairSpec, RoutingPointer
from tandem.domain.errors import Transient
from tandem.domain.forecasts import ForecastBatch, ModelRef
from tandem.domain.ids import PairId, SectorId
from tandem.domain.trading import Action, OrderStatus, PairState
from tandem.domain.units import NS_PER_S
from tandem.flow.barrier import Decidable
from tandem.flow.breakers import Answered
from tandem.flow.execution import flat
from tandem.flow.execution_records import (
    CancelWanted,
    Closing,
    CompleteWanted,
    Completing,
    Flattening,
    FlattenWanted,
    Opened,
    Output,
    Review,
)
from tandem.flow.journal import SignalRecord, Trade
from tandem.flow.pretrade import Purpose, Refusal, told
from tandem.flow.routing import capped, matches, routed
from tandem.flow.session_end import Policy, is_ending
from tandem.flow.signals import Held, Reason
from tandem.flow.sizing import Refusal as SizeRefusal
from tandem.flow.sizing import Refused, size
from tandem.portfolio import tickets
from tandem.portfolio.books import Books
from tandem.portfolio.dispatch import Answer, Dispatch
from tandem.portfolio.gate import Gate
from tandem.portfolio.guard import Guard
from tandem.portfolio.morning import Morning
from tandem.portfolio.orphans import Orphans
from tandem.portfolio.passed_bars import PassedBars
from tandem.portfolio.risk import Risk
from tandem.portfolio.sender import Sender
from tandem.portfolio.tickets import Outgoing, Ticket
from tandem.portfolio.watch import Watch
from tandem.portfolio.wishes import Declared, Wish, silent, wishes_of

log = structlog.get_logger()
_OPPOSED = "opposes_live_order"  # a live order of another pair is on the other side of the symbol; tried again at the next bar
_NEVER = -(2**63)
_ROUNDS_MAX = 4  # cancel, its answer, unwind, its answer: whatever is left waits for the next bar


class Desk:
    """Trades the declared pairs."""

    def __init__(
        self,
        books: Books,
        sender: Sender,
        risk: Risk,
        *,
        bars_per_day: float,
        live_run: str,
        account: str = "",
        gate: Gate | None = None,
        guard: Guard | None = None,
        dispatch: Dispatch | None = None,
        morning: Callable[[Gate, Watch], Morning] | None = None,
    ) -> None:
        """live_run: what stands for the replay id in ids when there is no replay: the broker's account. account: our name of it.

        gate, guard: pre-trade checks and breakers; those made here know no calendar. morning: of the facts of the day, where there are any.
        """
        self.specs: Mapping[PairId, PairSpec] = {}
        self.pointers: Mapping[SectorId, RoutingPointer] = {}  # of a sector without one, every batch is acted on as it is
        self.account = account
        self.reasons: dict[PairId, str] = {}  # why each pair does what it does, for people
        self._books, self._sender, self._risk = books, sender, risk
        self._dispatch = dispatch or Dispatch(sender)
        self._bars_per_day, self._live_run = bars_per_day, live_run
        self.gate, self.guard = gate or Gate(books, risk.pretrade), guard or Guard(books, risk.breakers)
        self.watch = Watch(books, risk.stops, risk.drift, price_age_s_max=risk.pretrade.price_age_s_max, grid=self.gate.grid)
        self._passed = PassedBars(self.gate.grid)
        self.morning = None if morning is None else morning(self.gate, self.watch)
        self._acted_ns: dict[tuple[str, PairId], int] = {}  # newest bar of each replay and pair
        self._mismatches: set[ModelRef] = set()
        self._orphans, self._reported = Orphans(), set[PairId]()
        self._refused: dict[PairId, tuple[Action, str]] = {}  # the last refusal, to note a row of equal ones once

    @property
    def books(self) -> Books:
        """What it decides over."""
        return self._books

    def run(self, replay_id: str) -> str:
        """The name of the run that ids are made of."""
        return replay_id or self._live_run

    def trade(self, bar: Decidable, published_ns: int) -> None:
        """Everything that the bar asks for. published_ns: when its last forecast was published, wall time; 0 if unknown."""
        at_ns, run, books = bar.bar_close_ns, self.run(bar.replay_id), self._books
        if self.morning is not None:
            self.morning.look(self.specs, at_ns)
        lost = dict.fromkeys(self._lost(bar), Reason.MODEL_LACKS_PAIR)
        bar = replace(bar, batches=self._acted(bar))
        books.take_forecasts(bar.batches)
        self.gate.see(bar.batches)
        self.guard.see(at_ns, self.gate)
        ending = is_ending(self.gate.grid, at_ns, self._risk.session_end)
        if self._passed.is_end(bar) and ending:
            lost = dict.fromkeys(silent(bar, books), Reason.SESSION_END) | lost
        self.watch.look(self.gate.market, at_ns, ending=ending)
        self.watch.take(bar.batches, self.specs, at_ns)
        outgoing = Outgoing()
        for pair in books.moving():
            review = Review(at_ns=at_ns, bar_closed=self._passed.count(bar, books.executions[pair]))
            self._carry_out(books.tell(pair, review, at_ns), pair, run, at_ns, outgoing)
        declared = Declared(specs=self.specs, pointers=self.pointers, account=self.account)
        wishes = wishes_of(bar, books, declared, self.reasons, fresh=self._is_fresh(bar), outlook=self.watch.outlook, lost=lost)
        for pair in wishes.quiet:
            self._refused.pop(pair, None)
        for wish in wishes.closes:
            self._close(wish, run, at_ns, outgoing)
        for wish in wishes.opens:
            self._open(wish, run, at_ns, outgoing)
        if outgoing.tickets:
            books.changes.decided[run] = (at_ns, False)
            self._send(outgoing, run, at_ns, published_ns, together=not bar.lockstep)
        if self._passed.is_session_end(bar) and self._risk.session_end.policy is Policy.CLOSE:
            self._tell_kept(at_ns)
        self.watch.keep(bar.batches, at_ns)
        if self._passed.is_one(bar):
            books.mark(run, at_ns)

    def review(self, pair: PairId, run: str, at_ns: int) -> None:
        """Between bars, on live feeds only: act at once on what the broker told of a pair."""
        outgoing = Outgoing()
        self._carry_out(self._books.tell(pair, Review(at_ns=at_ns, bar_closed=False), at_ns), pair, run, at_ns, outgoing)
        if outgoing.tickets:
            self._send(outgoing, run, at_ns, 0, together=True)

    def resolve_unclear(self, at_ns: int) -> None:
        """Ask again for orders whose fate is not known. Raises Transient."""
        for state in self._books.unclear_orders():
            found = self._sender.find(state.order)
            if found is not None:
                self._books.tell(state.order.pair, found, at_ns)

    def _acted(self, bar: Decidable) -> tuple[ForecastBatch, ...]:
        """The bar's batches with the forecasts that are acted on: those of the routed versions, each pair once a bar whatever moves."""
        opened_by, found = self._books.opened_by, []
        for batch in bar.batches:
            pointer = self.pointers.get(batch.sector)
            if pointer is not None and not matches(batch.model, pointer):
                self._mismatch(batch)
            mine = batch if pointer is None else routed(batch, pointer, opened_by)
            new = tuple(f for f in mine.forecasts if self._acted_ns.get((bar.replay_id, f.pair), _NEVER) < bar.bar_close_ns)
            self._acted_ns |= {(bar.replay_id, f.pair): bar.bar_close_ns for f in new}
            telemetry.counter("portfolio_forecasts_repeated_total").labels(sector=batch.sector).inc(len(mine.forecasts) - len(new))
            if new:
                telemetry.counter("portfolio_forecasts_acted_total").labels(sector=batch.sector, version=batch.model.version).inc(len(new))
                if pointer is not None:
                    telemetry.gauge("portfolio_routing_epoch").labels(sector=batch.sector).set(pointer.epoch)
            found.append(replace(mine, forecasts=new))
        return tuple(found)

    def _lost(self, bar: Decidable) -> tuple[PairId, ...]:
        """Held pairs without a model; each is reported once."""
        lost = self._orphans.follow(bar, self._books, self.pointers)
        for pair in set(lost) - self._reported:
            self._books.alarm(f"pair/{pair}", "held_without_model", "the version that decides now does not hold the pair", bar.bar_close_ns)
        self._reported = set(lost)
        return lost

    def _tell_kept(self, at_ns: int) -> None:
        """What should have been closed in this session and is not flat; a closing that waits for the next open is not, either."""
        for pair in sorted(self._books.open_pairs()):
            state = self._books.executions[pair].state.value
            self._books.alarm(f"pair/{pair}", "held_over_night", f"{state} at the close, and nothing was to be held over it", at_ns)

    def _mismatch(self, batch: ForecastBatch) -> None:
        """Forecasts of a version whose content is not what the pointer names are never acted on; said once."""
        if batch.model not in self._mismatches:
            self._mismatches.add(batch.model)
            detail = f"version {batch.model.version} forecasts with digest {batch.model.digest[:12]}, which its pointer does not name"
            self._books.alarm(f"sector/{batch.sector}", "digest_mismatch", detail, batch.bar_close_ns)

    def _is_fresh(self, bar: Decidable) -> bool:
        """Wall time counts on live feeds only."""
        return bool(bar.replay_id) or time.time_ns() - bar.bar_close_ns <= self._risk.signal_age_s_max * NS_PER_S

    def _close(self, wish: Wish, run: str, at_ns: int, outgoing: Outgoing) -> None:
        books, pair = self._books, wish.spec.pair
        execution = books.executions[pair]
        ticket = tickets.closing(wish, execution, run, at_ns)
        if not self._way_is_free(ticket, run, at_ns, outgoing):
            self.reasons[pair] = _OPPOSED
            return
        if refusals := self.gate.refusals(Purpose.REDUCE, ticket.orders, at_ns):
            self._hold_back(wish, refusals, at_ns)
            return
        self._refused.pop(pair, None)
        trade = books.trades[pair]
        books.put_trade(trade.leaving(z=wish.forecast.z, reason=wish.reason.value))
        self.watch.closed(wish.forecast, wish.model.digest, wish.reason.value, at_ns)
        self._note(wish, run, at_ns)
        self._issue(ticket, outgoing)
        books.tell(pair, Closing(a=ticket.leg("a"), b=ticket.leg("b")), at_ns)

    def _open(self, wish: Wish, run: str, at_ns: int, outgoing: Outgoing) -> None:
        books, spec, forecast = self._books, wish.spec, wish.forecast
        exposure = replace(books.exposure(spec.pair), betas=self.gate.betas)
        spec = capped(spec, self.pointers.get(spec.sector), wish.model.version)
        plan = size(
            forecast,
            spec,
            wish.action,
            limits=self._risk.limits,
            exposure=exposure,
            bars_per_day=self._bars_per_day,
            factor=self.guard.size_factor,
        )
        if isinstance(plan, Refused):
            self._refuse(wish, plan, run, at_ns)
            return
        ticket = tickets.opening(wish, plan, run, at_ns)
        if books.through_zero(ticket.orders):
            told_zero = "it would take the account through zero in a symbol, which only an exit may"
            self._refuse(wish, Refused(refusal=SizeRefusal.OPPOSES_OTHER_PAIR, detail=told_zero), run, at_ns)
            return
        if refusals := self.gate.refusals(Purpose.OPEN, ticket.orders, at_ns):
            self._refuse(wish, Refused(refusal=refusals[0].code, detail=told(refusals)), run, at_ns)
            return
        self._refused.pop(spec.pair, None)
        held = Held(
            direction=1 if wish.action is Action.OPEN_LONG else -1,
            opened_bar_index=forecast.bar_index,
            half_life_bars=forecast.half_life_bars,
            digest=wish.model.digest,
        )
        self._note(wish, run, at_ns)
        self._issue(ticket, outgoing)
        trade = Trade(
            trade_id=ticket.intent.trade_id,
            pair=spec.pair,
            sector=spec.sector,
            direction=held.direction,
            model=wish.model,
            opened_ns=at_ns,
            entry_z=forecast.z,
            cash_at_open_usd=books.cash_of(spec.pair),
        )
        books.put_trade(trade)
        books.executions.setdefault(spec.pair, flat(spec.pair, spec.sector, spec.leg_a, spec.leg_b))
        books.tell(spec.pair, Opened(trade_id=trade.trade_id, held=held, a=ticket.leg("a"), b=ticket.leg("b")), at_ns)

    def _hold_back(self, wish: Wish, refusals: tuple[Refusal, ...], at_ns: int) -> None:
        """A closing that cannot be sent now: it is tried again at each bar, and told of once."""
        pair, reason = wish.spec.pair, refusals[0].code.value
        if self._refused.get(pair) != (wish.action, reason):
            self._books.alarm(f"pair/{pair}", "closing_waits", told(refusals), at_ns)
        self.reasons[pair], self._refused[pair] = reason, (wish.action, reason)

    def _refuse(self, wish: Wish, refused: Refused, run: str, at_ns: int) -> None:
        """Note a refusal, but not again at each bar that it lasts."""
        pair, reason = wish.spec.pair, refused.refusal.value
        self.reasons[pair] = reason
        if self._refused.get(pair) != (wish.action, reason):
            self._refused[pair] = (wish.action, reason)
            self._note(wish, run, at_ns, refused)

    def _note(self, wish: Wish, run: str, at_ns: int, refused: Refused | None = None) -> None:
        telemetry.counter("portfolio_signals_total").labels(outcome="refused" if refused else "taken").inc()
        self._books.changes.signals.append(
            SignalRecord(
                run=run,
                pair=wish.spec.pair,
                bar_close_ns=at_ns,
                action=wish.action,
                reason=wish.reason.value,
                refusal=refused.refusal.value if refused else "",
                detail=refused.detail if refused else "",
                model=wish.model,
                z=wish.forecast.z,
                reversion_probability=wish.forecast.reversion_probability,
                variance=wish.forecast.variance,
            )
        )

    def _carry_out(self, outputs: Iterable[Output], pair: PairId, run: str, at_ns: int, outgoing: Outgoing) -> None:
        """Cancel what a pair wants canceled, look again, and issue what it wants undone."""
        books = self._books
        for _ in range(_ROUNDS_MAX):
            cancels = [output for output in outputs if isinstance(output, CancelWanted)]
            for output in outputs:
                if isinstance(output, FlattenWanted | CompleteWanted):
                    self._repair(output, pair, run, at_ns, outgoing)
            if not cancels:
                return
            for cancel in cancels:
                self._cancel(cancel, pair, at_ns)
            outputs = books.tell(pair, Review(at_ns=at_ns, bar_closed=False), at_ns)

    def _repair(self, wanted: FlattenWanted | CompleteWanted, pair: PairId, run: str, at_ns: int, outgoing: Outgoing) -> None:
        """Undo or complete legs, unless they cannot be traded now: then the next review asks again."""
        books, execution, model = self._books, self._books.executions[pair], self._books.trades[pair].model
        completes = isinstance(wanted, CompleteWanted)
        if isinstance(wanted, CompleteWanted):
            ticket = tickets.completing(wanted, execution, model, run=run, at_ns=at_ns)
        else:
            ticket = tickets.flattening(wanted, execution, model, run=run, at_ns=at_ns)
        if (
            (books.through_zero(ticket.orders) or any(map(books.opposing, ticket.orders)))
            if completes
            else not self._way_is_free(ticket, run, at_ns, outgoing)
        ):
            return
        if refusals := self.gate.refusals(Purpose.COMPLETE if completes else Purpose.REDUCE, ticket.orders, at_ns):
            books.alarm(f"pair/{pair}", "completion_waits" if completes else "unwinding_waits", told(refusals), at_ns)
            return
        self._issue(ticket, outgoing)
        books.tell(pair, Completing(orders=ticket.orders) if completes else Flattening(orders=ticket.orders), at_ns)

    def _way_is_free(self, ticket: Ticket, run: str, at_ns: int, outgoing: Outgoing) -> bool:
        """Whether the broker would take these orders. What works there on the other side of their symbols is canceled: exits come first."""
        books = self._books
        for state in {s.order.client_order_id: s for order in ticket.orders for s in books.opposing(order)}.values():
            pair = state.order.pair
            books.alarm(f"pair/{pair}", "order_gives_way", f"{state.order.client_order_id} to an exit of {ticket.intent.pair}", at_ns)
            self._cancel(CancelWanted(order=state), pair, at_ns)
            self._carry_out(books.tell(pair, Review(at_ns=at_ns, bar_closed=False), at_ns), pair, run, at_ns, outgoing)
        if any(room == 0 for room in books.through_zero(ticket.orders).values()):
            return False  # others are closing what the account holds; the rest leaves when that is done
        return not any(books.opposing(order) for order in ticket.orders)

    def _cancel(self, wanted: CancelWanted, pair: PairId, at_ns: int) -> None:
        try:
            report = self._sender.cancel(wanted.order)
        except Transient as error:  # the order stays as it is and is asked about again at the next bar
            self._books.alarm(f"pair/{pair}", "cancel_unclear", str(error), at_ns)
            return
        self._books.tell(pair, report, at_ns)

    def _issue(self, ticket: Ticket, outgoing: Outgoing) -> None:
        outgoing.tickets.append(ticket)
        self._books.changes.intents.append(ticket.intent)
        self._books.changes.new_orders.extend(ticket.orders)

    def _send(self, outgoing: Outgoing, run: str, at_ns: int, published_ns: int, *, together: bool) -> None:
        """Make durable, then send, then act on refusals; each round that issues something is durable before it is sent."""
        for _ in range(_ROUNDS_MAX):
            self._meet(outgoing)
            self._books.flush()
            sent, outgoing = outgoing.tickets, Outgoing()
            for answer in self._dispatch.send(sent, together=together):
                self._hear(answer, at_ns, published_ns)
            self._books.settle_crosses(at_ns)
            self._books.flush()
            for pair in dict.fromkeys(ticket.intent.pair for ticket in sent):
                if self._books.executions[pair].state is PairState.UNWINDING:
                    outputs = self._books.tell(pair, Review(at_ns=at_ns, bar_closed=False), at_ns)
                    self._carry_out(outputs, pair, run, at_ns, outgoing)
            if not outgoing.tickets:
                return
        assert not outgoing.tickets, f"{len(outgoing.tickets)} tickets are durable but were not sent"

    def _meet(self, outgoing: Outgoing) -> None:
        """Orders that are about to leave on opposite sides of a symbol meet inside."""
        changed = self._books.net(order for ticket in outgoing.tickets for order in ticket.orders)
        if changed:
            log.info("orders_meet_inside", orders={key: order.crossed_qty for key, order in changed.items()})
            outgoing.tickets = [
                replace(ticket, orders=tuple(changed.get(order.client_order_id, order) for order in ticket.orders))
                for ticket in outgoing.tickets
            ]

    def _hear(self, answer: Answer, at_ns: int, published_ns: int) -> None:
        """Book one answer of the broker."""
        report = answer.report
        if answer.answered_ns and published_ns:
            telemetry.histogram("forecast_to_order_seconds").observe((answer.answered_ns - published_ns) / NS_PER_S)
        if report.status is not OrderStatus.DENIED:
            self.guard.feed(Answered(at_ns=at_ns, rejected=report.status is OrderStatus.REJECTED))
        if report.status is OrderStatus.REJECTED:
            log.warning("order_rejected", order=answer.order.client_order_id, symbol=answer.order.symbol, reason=report.reason)
        self._books.tell(answer.order.pair, report, at_ns)
