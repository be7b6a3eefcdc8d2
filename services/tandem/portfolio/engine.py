"""The decision thread: takes one event after the other from the queue, and does whatever it makes possible. Owns all state.

Broker events are booked as they come; a bar is traded when the barrier lets it through, and acknowledged when everything about it is done.
A bar on which nothing happens costs no transaction and one small HTTP request.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future

import structlog

from tandem.adapters import topics
from tandem.adapters.alpaca_trade_stream import BrokerHeartbeat, StreamLost, StreamReady, TradeUpdate, Unusable
from tandem.adapters.control_log import ControlTable
from tandem.adapters.deadletter import park
from tandem.adapters.kafka_log import KafkaWriter
from tandem.adapters.replay_control import ReplayControl
from tandem.domain.errors import InvariantBroken, Transient
from tandem.domain.ids import PairId, SectorId
from tandem.domain.market import Source
from tandem.flow.barrier import Arrived, Barrier, BrokerReached, Decidable, PointersMoved, step
from tandem.flow.breakers import Breaker, Compared, Reset
from tandem.flow.routing import acted_versions
from tandem.portfolio import measures, reconcile
from tandem.portfolio.books import Books
from tandem.portfolio.comparison import EVERY_BARS, BrokerSnapshot, Comparison, Snapshots, take_snapshot
from tandem.portfolio.desk import Desk
from tandem.portfolio.feeds import SERVICE, BreakerReset, ControlArrived, Failed, ForecastFeed, ForecastsArrived, Inbox, ReleaseWanted
from tandem.portfolio.memory import tidy_memory
from tandem.portfolio.reconcile import Origin
from tandem.portfolio.sender import Sender, reported
from tandem.ports import Broker

log = structlog.get_logger()
_LOOK_S = 1.0
_RELEASE_TIMEOUT_S = 20.0  # a snapshot takes three requests, a bar may come first
_IDLE_S = 0.5  # without an event for so long, measurements are written and unclear orders asked about


class ReplayChanged(Transient):
    """The recycler plays another replay, with a new account: everything is loaded anew."""


class Engine:
    """One broker account, from its start to its stop or its first failure."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        books: Books,
        desk: Desk,
        broker: Broker,
        sender: Sender,
        control: ControlTable,
        feed: ForecastFeed,
        writer: KafkaWriter,
        origin: Origin,
        replay: ReplayControl | None,
        barrier: Barrier,
        comparison: Comparison | None = None,
        snapshots: Snapshots | None = None,
    ) -> None:
        """snapshots: collects what `comparison` looks at; None in replays, which collect at their bars."""
        self.control, self.books, self.desk = control, books, desk
        self.decided_ns = 0  # newest bar, for people
        self.has_traded = False  # a bar with forecasts was decided, written and acknowledged; live, each second has an empty one
        self.stream_lost = "the trade-updates stream has not connected yet"  # "" while it is connected
        self._inbox, self._broker, self._sender = inbox, broker, sender
        self._feed, self._writer, self._origin, self._replay = feed, writer, origin, replay
        self._barrier = barrier
        self._comparison, self._snapshots = comparison or Comparison(books, sender), snapshots
        self._bars, self._next_look_s = 0, 0.0
        self._next_offset = 0
        self._published_ns = 0
        self._charges, self._charges_booked = -1, -1  # of the exchange in a replay; -1: not told yet, so that the first bar asks
        self._old_replays: set[str] = set()
        self._last_event_ns = 0
        self._scopes: set[str] = set()  # of trading modes that the control topic has named
        self._follow_control()

    @property
    def lagging(self) -> tuple[SectorId, ...]:
        """Sectors whose forecasts the next bar is waiting for."""
        return self._barrier.lagging

    def run(self, stopping: Callable[[], bool]) -> None:
        """Until stop. Raises whatever makes going on impossible; what is not yet written is then made again from the log."""
        while not stopping():
            event = self._inbox.get(_IDLE_S)
            if event is None:
                self._idle()
            else:
                self._handle(event)
            if self._replay is None and time.monotonic() >= self._next_look_s:
                self._look()
        self.books.flush()

    def release(self, pair: PairId, *, adopt: bool = False, timeout_s: float = _RELEASE_TIMEOUT_S) -> str:
        """From any thread: end a quarantine; "" when it is ended, else why it is not. Raises Transient when no answer comes."""
        answer: Future[str] = Future()
        self._inbox.put(ReleaseWanted(pair=pair, adopt=adopt, answer=answer))
        try:
            return answer.result(timeout_s)
        except TimeoutError as error:
            raise Transient(f"release of {pair}: no answer within {timeout_s} s") from error

    def reset_breaker(self, breaker: Breaker) -> None:
        """From any thread: end what a breaker has set, as a person who has looked at it."""
        self._inbox.put(BreakerReset(breaker=breaker))

    def _look(self) -> None:
        """Live: patience counts in seconds, whether or not a bar closes or the broker says something."""
        self._next_look_s = time.monotonic() + _LOOK_S
        for pair in self.books.moving():
            self.desk.review(pair, self.desk.run(""), time.time_ns())
        self.books.flush_if_due()
        self._show()

    def _idle(self) -> None:
        if self.books.unclear_orders():
            self.desk.resolve_unclear(self._last_event_ns)
        self.books.flush()

    def _handle(self, event: object) -> None:
        match event:
            case ForecastsArrived():
                self._take_batch(event)
            case BrokerHeartbeat():
                self._broker_reached(event)
            case TradeUpdate():
                self._take_update(event)
            case ControlArrived(record=record):
                if self.control.apply(record):
                    self._follow_control()
            case StreamReady():
                reconcile.catch_up(self.books, self._broker, self._sender, self._origin, resend_from_ns=None)
                self.stream_lost = ""
                log.info("trade_stream_ready")
            case StreamLost(reason=reason):
                self.stream_lost = f"the trade-updates stream is down: {reason}"
                log.warning("trade_stream_lost", reason=reason)
            case Unusable(payload=payload, error=error):
                log.warning("update_parked", reason=error.reason, detail=error.detail)
                park(self._writer, SERVICE, "trade_updates", error, payload)
            case BrokerSnapshot():
                self._compare(event, self._last_event_ns)
            case BreakerReset() | ReleaseWanted():
                self._serve(event)
            case Failed(error=failure):
                raise failure
            case _:
                raise InvariantBroken(f"event {type(event).__name__} is not known here")

    def _take_batch(self, event: ForecastsArrived) -> None:
        batch = event.batch
        self._next_offset = event.offset + 1
        if batch.source is not Source(self._origin.source) or self._is_of_old_replay(batch.replay_id):
            self._feed.applied_offset = self._barrier.safe_offset(self._next_offset)
            return
        self._published_ns = event.published_ns
        measures.forecasts_taken()
        self.books.provenance.note(event.batch, event.place)
        self._advance(Arrived(batch=batch, offset=event.offset))

    def _is_of_old_replay(self, replay_id: str) -> bool:
        """True for records of an earlier replay in the log. Raises ReplayChanged if the recycler has gone on to this one."""
        if replay_id == self._barrier.replay_id or replay_id in self._old_replays:
            return replay_id != self._barrier.replay_id
        if self._replay is not None and self._replay.status().replay_id == replay_id:
            raise ReplayChanged(f"replay {replay_id} instead of {self._barrier.replay_id}")
        self._old_replays.add(replay_id)
        return True

    def _broker_reached(self, event: BrokerHeartbeat) -> None:
        if event.replay_id != self._barrier.replay_id:
            raise ReplayChanged(f"replay {event.replay_id} instead of {self._barrier.replay_id}")
        self._last_event_ns, self._charges = event.watermark_ns, event.charges
        if event.lockstep and event.watermark_ns <= self._barrier.decided_ns and self._replay is not None:
            # It comes again: a recycler that was killed after our acknowledgement, and came back at this bar, waits for one.
            self._replay.acknowledge(event.watermark_ns, event.replay_id)
        self._advance(BrokerReached(replay_id=event.replay_id, watermark_ns=event.watermark_ns))

    def _advance(self, event: Arrived | BrokerReached | PointersMoved) -> None:
        self._barrier, bars = step(self._barrier, event)
        for bar in bars:
            self._trade(bar)
        if bars and bars[-1].lockstep and self._replay is not None:
            # Before the offset moves: an acknowledgement that gets lost is made again from the bar's own records, which must still come.
            self._replay.acknowledge(bars[-1].bar_close_ns, bars[-1].replay_id)
        self.has_traded = self.has_traded or any(batch.forecasts for bar in bars for batch in bar.batches)
        self._feed.applied_offset = self._barrier.safe_offset(self._next_offset)
        if bars:
            tidy_memory()

    def _trade(self, bar: Decidable) -> None:
        if self._replay is not None:  # on a live feed each comparison does both: a question would stand between a forecast and its orders
            if self.books.fills_since_fees or self._charges != self._charges_booked:
                reconcile.book_fees(self.books, self._broker, self._origin)
                if self._charges != self._charges_booked:
                    self._settle(
                        bar.bar_close_ns
                    )  # a split is counted, too: one told after its morning, before the old shares are traded on
                self._charges_booked = self._charges
            self._compare_at_bar(bar.bar_close_ns)
        self.desk.trade(bar, self._published_ns)
        self.decided_ns = self._last_event_ns = bar.bar_close_ns
        if bar.end_of_stream:
            self._end(bar)
        self.books.flush()  # before the bar is acknowledged: its mark and its signals are in the same transaction as what it changed
        self.books.provenance.forget_before(bar.bar_close_ns)
        self._show()
        measures.show_mode(self.books.trading_states, self.desk.account)

    def _settle(self, at_ns: int) -> None:
        """In a replay: take in what the exchange has done to the shares since the morning."""
        if self.desk.morning is not None:
            self.desk.morning.settle(self.desk.specs, self._broker.positions(), at_ns, moved=True)

    def _show(self) -> None:
        """What alerts look at: on live feeds every second, as a leg that stands alone does not wait for a bar."""
        measures.show(self.books.executions.values(), self.books.price_usd)

    def _compare_at_bar(self, at_ns: int) -> None:
        """A replay's turn to compare: every so many bars, and when an order of an earlier bar has not ended."""
        self._bars += 1
        old = any(state.order.decided_ns < at_ns for state in self.books.live_orders().values())
        if old:
            self._comparison.resolve_old(at_ns)
        if old or self._comparison.suspects or self._bars % EVERY_BARS == 0:
            self._compare(self._snapshot(), at_ns)

    def _snapshot(self) -> BrokerSnapshot:
        return take_snapshot(self.books, self._broker, self.books.last_fill_ns - self._origin.overlap_ns)

    def _compare(self, snapshot: BrokerSnapshot, at_ns: int) -> None:
        reconcile.book_fees(self.books, self._broker, self._origin)  # charges come without an execution, and are no difference
        if self.desk.morning is not None:  # a split over night is no difference
            self.desk.morning.settle(self.desk.specs, snapshot.positions, time.time_ns() if self._replay is None else at_ns)
        found = self._comparison.take(snapshot, at_ns)
        if self._replay is None:
            self._comparison.resolve_old(at_ns)
        if found or not self._comparison.suspects:
            self.desk.guard.feed(Compared(at_ns=at_ns, difference=reconcile.describe(found)))
        if self._comparison.suspects and self._snapshots is not None:
            self._snapshots.again_soon()
        self.books.flush_if_due()

    def _serve(self, wanted: BreakerReset | ReleaseWanted) -> None:
        """What a person asked for."""
        if isinstance(wanted, BreakerReset):
            self.desk.guard.feed(Reset(at_ns=self._last_event_ns, breaker=wanted.breaker))
            self.books.flush()
            log.warning("breaker_reset", breaker=wanted.breaker.value)
            return
        try:
            told = self._comparison.release(wanted.pair, self._snapshot(), self._last_event_ns, adopt=wanted.adopt)
        except Transient as error:
            wanted.answer.set_exception(error)
            raise
        log.warning("release", pair=wanted.pair, adopt=wanted.adopt, refused=told)
        wanted.answer.set_result(told)

    def _end(self, bar: Decidable) -> None:
        """Nothing more will come: take in what is left, compare, and write the result down. Positions stay as they are."""
        run = self.desk.run(bar.replay_id)
        reconcile.catch_up(self.books, self._broker, self._sender, self._origin, resend_from_ns=None)
        self._settle(bar.bar_close_ns)
        found = reconcile.compare(self.books, self._broker, run=run, occasion="end_of_stream", event_ns=bar.bar_close_ns)
        self.desk.guard.feed(Compared(at_ns=bar.bar_close_ns, difference=reconcile.describe(found)))
        self.books.changes.decided[run] = (bar.bar_close_ns, True)

    def _take_update(self, event: TradeUpdate) -> None:
        pair = self.books.pair_of_order(event.report.client_order_id)
        if event.fill is not None:
            self.books.book_fill(event.fill)
        if pair is None:
            return
        self.books.tell(pair, reported(event.report), event.event_ns)
        self._last_event_ns = max(self._last_event_ns, event.event_ns)
        if self._replay is None:
            self.desk.review(pair, self.desk.run(""), event.event_ns)
            self.books.flush_if_due()

    def _follow_control(self) -> None:
        """Take over the control topic: pairs, routing pointers and trading modes, the last durably before anything else is decided."""
        for record, error in self.control.rejected:
            park(self._writer, SERVICE, topics.CONTROL, error, record.value or b"")
        self.control.rejected.clear()
        self.desk.specs = {PairId(pair): spec for pair, spec in self.control.pairs.items()}
        trading = self.control.trading
        for scope in sorted(self._scopes | trading.keys()):  # a mode that only the database knows stays: the safe side of a lost topic
            if trading.get(scope) != self.books.trading_states.get(scope):
                self.books.trading_state(scope, trading.get(scope))
                log.warning("trading_state", scope=scope, mode=trading[scope].mode.value if scope in trading else "active")
        self._scopes = set(trading)
        measures.show_mode(self.books.trading_states, self.desk.account)
        self.books.flush_if_due()
        self.desk.pointers = {SectorId(sector): pointer for sector, pointer in self.control.pointers.items()}
        versions = {sector: acted_versions(pointer) for sector, pointer in self.desk.pointers.items()}
        if versions != dict(self._barrier.versions):
            log.info("routing", versions=versions)
            self._advance(PointersMoved(versions=versions))
