"""The ingestor's loop: stream events -> intake -> Kafka, and control changes -> subscriptions. Owns clock, socket and Kafka.

Guarantee: every tick of the followed symbols is in its sector's topic once, in the order of the stream. What was taken from the socket is
published in order, or the process ends with the reason; what a broken connection or an earlier life lost is asked of history before the
next heartbeat goes out. Bounded: events, held ticks and unacknowledged records each stop the reading of the socket. Called by main.py.
"""

import asyncio
import time
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any

import structlog

from tandem.adapters import telemetry, topics
from tandem.adapters.alpaca_market import Connected, Disconnected, Mark, Payload, StreamEvent, TradeStream, Unreadable
from tandem.adapters.codec import encode_frame, encode_heartbeat
from tandem.adapters.control_log import ControlTable
from tandem.adapters.deadletter import MARKET_DATA, park
from tandem.adapters.kafka_log import KafkaReader, KafkaWriter, create_topics
from tandem.adapters.series import STREAM_CODES
from tandem.domain.control import PairSpec
from tandem.domain.errors import BadRecord, BadSetting, Permanent, Transient
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import Source
from tandem.domain.units import NS_PER_MS, NS_PER_S
from tandem.ingestor.clock import WallClock
from tandem.ingestor.condition import Condition
from tandem.ingestor.fills import Filler
from tandem.ingestor.frames import StampedFrame
from tandem.ingestor.gap import FillWanted
from tandem.ingestor.intake import Intake
from tandem.ingestor.outputs import (
    Conflated,
    Duplicates,
    Noted,
    Output,
    Recovered,
    ReplayBegan,
    ResumeMissed,
    StampedHeartbeat,
    StreamError,
    Subscribed,
)
from tandem.ingestor.past import Past
from tandem.ingestor.tail import flags_header, read_past
from tandem.ingestor.trades import Parked, unpriced

log = structlog.get_logger()
SERVICE = "ingestor"
_IDLE_S = 0.005  # a quiet stream's ticks leave after this ...
_AGE_NS_MAX = 20 * NS_PER_MS  # ... and a steady stream's after this: the budget from receipt to Kafka at the 99th percentile
_GATHERED_MAX = 1_024  # messages of several payloads that are read at once
_ACKNOWLEDGED_EVERY_S = 1.0  # how soon a record that Kafka refused ends the process
_ASK_AGAIN_S = 5.0  # after an error of the stream; Alpaca counts no such question
_CONTROL_POLL_S = 0.5
_BEAT_EVERY_S = 1.0
_BEHIND_NS_TOLD = NS_PER_S  # a network and a loop that is busy delay less
_UNACKNOWLEDGED_MAX = 512  # records, 32 MiB: while Kafka is away the socket waits, and Alpaca or the recycler behind it
_STOP_FLUSH_S = 4.0  # of the ten seconds that a service has to stop; what is not acknowledged then, the next life asks history for


def routes_of(pairs: Mapping[str, PairSpec], known: Iterable[SectorId] = ()) -> dict[SectorId, tuple[Symbol, ...]]:
    """The symbols of each sector's pairs. Those of suspended pairs too: what such a pair holds is closed on its forecasts.

    known: sectors that get heartbeats even if their last pair is gone: whoever waits for all sectors of a bar waits for them too.
    """
    symbols: dict[SectorId, set[Symbol]] = {sector: set() for sector in known}
    for spec in pairs.values():
        symbols.setdefault(spec.sector, set()).update((spec.leg_a, spec.leg_b))
    return {sector: tuple(sorted(names)) for sector, names in sorted(symbols.items())}


class Pump:
    """Runs until stopped or until something breaks."""

    def __init__(
        self,
        *,
        servers: str,
        intake: Intake,
        stream: TradeStream,
        events: "asyncio.Queue[StreamEvent]",
        writer: KafkaWriter,
        control: tuple[ControlTable, KafkaReader],
        condition: Condition,
        lateness_ms: int | None,
        overlap_ns: int,
        quotes: frozenset[str],
        keep_ticks_ms: int = -1,
    ) -> None:
        """lateness_ms: the pump makes heartbeats itself, this far behind the wall clock; None: the stream brings its own.

        quotes: sectors whose symbols' quotes are followed, "*" for all. `filler` is to be set before `run`.
        """
        self._servers, self._intake, self._stream, self._events, self._writer = servers, intake, stream, events, writer
        self._table, self._control = control
        self._condition, self._overlap_ns, self._quotes = condition, overlap_ns, quotes
        self._beats, self._lateness_ns = lateness_ms is not None, (lateness_ms or 0) * NS_PER_MS
        self._keep_ticks_ms = keep_ticks_ms
        self.filler: Filler | None = None
        self.heard_s = time.monotonic()  # when the socket last brought something
        self._routes: dict[SectorId, tuple[Symbol, ...]] | None = None
        self._followed: frozenset[Symbol] = frozenset()
        self._has_symbols = asyncio.Event()
        self._waiting_since_ns: int | None = None
        self._is_marked = False  # a heartbeat of ours waits among the events
        self._behind_ns, self._beat_event_ns = 0, 0  # how old ticks are when they come; the newest of which that is known
        self._clock = WallClock()
        self._is_ending = False

    async def run(self, stop: asyncio.Event, *others: Coroutine[Any, Any, None]) -> None:
        """Pump until `stop` is set, with further tasks beside it. Raises what ended it otherwise: Transient (Kafka), Permanent."""
        work = [self._consume(), self._connect(), self._follow(), self._acknowledge(), self._ask_again(), *others]
        if self._beats:
            work.append(self._beat())
        tasks = [asyncio.create_task(each) for each in work]
        stopped = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopped}:
                task.result()
            await self._stream.stop_now()
        finally:
            for task in (*tasks, stopped):
                task.cancel()
            await asyncio.gather(*tasks, stopped, return_exceptions=True)
            if self.filler is not None:
                await self.filler.stop()
            # A cancelled to_thread leaves its thread running: nobody may close a reader that another thread is polling.
            await asyncio.get_running_loop().shutdown_default_executor()
        self._is_ending = True
        while not self._events.empty():
            self._handle_all(self._events.get_nowait())
        self.publish(self._intake.drain())
        try:
            self._writer.flush(_STOP_FLUSH_S)
        except Transient as error:
            log.warning("stopped_unacknowledged", error=str(error))  # the next life finds out what Kafka has, and asks for the rest

    async def _connect(self) -> None:
        """The stream, once there is something to follow. alpaca-py spins at full speed without a symbol, so it is not started before."""
        await self._has_symbols.wait()
        await self._stream.run_until_stopped()
        raise Permanent(f"Alpaca ends the subscription for good: {self._condition.loss}")

    async def _consume(self) -> None:
        while True:
            await self._room()
            try:
                async with asyncio.timeout(_IDLE_S if self._waiting_since_ns is not None else None):
                    event = await self._events.get()
            except TimeoutError:
                self._drain()
                continue
            self._handle_all(event)
            if self._waiting_since_ns is not None and time.time_ns() - self._waiting_since_ns >= _AGE_NS_MAX:
                self._drain()

    async def _room(self) -> None:
        """Wait while history or Kafka are so far behind that more in memory would not help; the socket then waits, too."""
        while self._intake.is_full or self._writer.unacknowledged > _UNACKNOWLEDGED_MAX:
            self._intake.conflates = True
            await asyncio.sleep(_IDLE_S)
        self._intake.conflates = self._events.full()

    def _drain(self) -> None:
        self._waiting_since_ns = None
        self.publish(self._intake.drain())

    def _handle_all(self, event: StreamEvent) -> None:
        """An event and what waits behind it, neighbouring payloads as one: the cost of a payload is mostly the same for one tick or for
        hundreds, so that a feed of small payloads is taken the faster the further we are behind."""
        payload: Payload | None = None
        while True:
            if not isinstance(event, Payload):
                if payload is not None:
                    self._handle(payload)
                payload = None
                self._handle(event)
            elif payload is None:
                payload = event
            else:
                payload = Payload(messages=payload.messages + event.messages, received_ns=payload.received_ns)
            if self._events.empty() or (payload is not None and len(payload.messages) >= _GATHERED_MAX):
                break
            event = self._events.get_nowait()
        if payload is not None:
            self._handle(payload)

    def _handle(self, event: StreamEvent) -> None:
        match event:
            case Payload():
                self.heard_s = time.monotonic()
                self.publish(self._intake.take(event.messages, event.received_ns))
                if self._waiting_since_ns is None:
                    self._waiting_since_ns = event.received_ns
            case Mark():
                self._is_marked = False
                self._beat_at(event.at_ns)
            case Unreadable():
                self._intake.doubt()
                self._park(Parked(error=BadRecord("payload_malformed", event.detail), payload=event.payload))
            case Connected():
                self._intake.connected()
                self._condition.connect()
                log.info("stream_connected", symbols=len(self._condition.wanted or ()))
            case Disconnected():
                self._intake.lost()
                self._condition.lose(event.reason)
                telemetry.gauge("ingestor_connected").set(0)
                telemetry.counter("ingestor_connections_lost_total").inc()
                if event.code:
                    self._count_error(event.code)
                log.warning("stream_lost", reason=event.reason, code=event.code, last_event_ns=self._intake.last_event_ns)

    def publish(self, outputs: Iterable[Output]) -> None:
        """Everything in order: frames and heartbeats to Kafka, the rest to where it is counted."""
        for out in outputs:
            match out:
                case StampedFrame():
                    sector = out.frame.sector
                    self._send(sector, encode_frame(out.frame), out.ingested_ns)
                    telemetry.counter("ingestor_ticks_total").labels(sector=sector).inc(len(out.frame.ticks))
                    telemetry.counter("ingestor_frames_total").labels(sector=sector).inc()
                    for reason, count in unpriced(out.frame.ticks):
                        telemetry.counter("ingestor_unpriced_trades_total").labels(sector=sector, reason=reason).inc(count)
                    telemetry.gauge("ingestor_last_frame_seconds").labels(sector=sector).set_to_current_time()
                    if not out.frame.replay_id:
                        delay_s = (out.ingested_ns - int(out.frame.ticks["event_ns"][0])) / NS_PER_S
                        telemetry.histogram("ingestor_delay_seconds").labels(sector=sector).observe(delay_s)
                case StampedHeartbeat():
                    self._send(out.heartbeat.sector, encode_heartbeat(out.heartbeat), out.ingested_ns, flags_header(out.flags))
                    telemetry.gauge("ingestor_watermark_seconds").set(out.heartbeat.watermark_ns / NS_PER_S)
                case Parked():
                    self._park(out)
                case FillWanted():
                    assert self.filler is not None, "an intake that asks history is given one that answers"
                    if not self._is_ending:  # else the next life asks
                        self.filler.ask(out)
                case _:
                    self._note(out)

    def publish_at_once(self, outputs: Iterable[Output]) -> None:
        """The same for what did not come from the socket, whose pauses otherwise decide when a frame leaves."""
        self.publish(outputs)
        self.publish(self._intake.drain())

    def _send(self, sector: str, value: bytes, ingested_ns: int, more: Mapping[str, bytes] | None = None) -> None:
        headers = {topics.HEADER_INGESTED: ingested_ns.to_bytes(8, "little"), **(more or {})}
        self._writer.publish(topics.ticks(sector), value, headers=headers)

    def _park(self, parked: Parked) -> None:
        telemetry.counter("ingestor_parked_total").labels(reason=parked.error.reason).inc()
        park(self._writer, SERVICE, MARKET_DATA, parked.error, parked.payload)

    def _note(self, out: Noted) -> None:
        match out:
            case Subscribed():
                self._condition.confirm(out.symbols)
                telemetry.gauge("ingestor_connected").set(int(self._condition.subscribed))
                log.info("subscribed", symbols=sorted(out.symbols), missing=self._condition.missing)
            case StreamError():
                self._condition.fail(out)
                self._count_error(out.code)
                log.error("stream_error", code=out.code, message=out.message)
            case ReplayBegan():
                log.info("replay_began", replay_id=out.replay_id, lockstep=out.lockstep)
            case Duplicates():
                telemetry.counter("ingestor_duplicates_total").inc(out.count)
            case Recovered():
                telemetry.counter("ingestor_recovered_ticks_total").inc(out.count)
            case Conflated():
                telemetry.counter("ingestor_conflated_quotes_total").inc(out.count)
            case ResumeMissed():
                log.warning("resume_missed", symbol=out.symbol, event_ns=out.event_ns)

    def _count_error(self, code: int) -> None:
        telemetry.counter("ingestor_stream_errors_total").labels(code=str(code) if code in STREAM_CODES else "other").inc()

    async def _ask_again(self) -> None:
        """An error frame does not say what is still sent; the full list does, so it is asked for. An error that lasts comes back."""
        while True:
            await asyncio.sleep(_ASK_AGAIN_S)
            if self._condition.error is not None and self._condition.connected:
                await self._stream.ask_again()

    async def _follow(self) -> None:
        """Declared pairs to subscriptions, now and at each change."""
        while True:
            known = [*self._table.pointers, *(self._routes or ())]
            if (routes := routes_of(self._table.pairs, map(SectorId, known))) != self._routes:
                await self._reroute(routes)
            changed = False
            while not changed:
                for record in await asyncio.to_thread(self._control.poll, _CONTROL_POLL_S):
                    changed |= self._table.apply(record)
                self._park_rejected()

    async def _reroute(self, routes: dict[SectorId, tuple[Symbol, ...]]) -> None:
        pasts: dict[SectorId, Past] = {}
        if new := [sector for sector in routes if sector not in (self._routes or {})]:
            await asyncio.to_thread(create_topics, self._servers, new, keep_ticks_ms=self._keep_ticks_ms)
            for sector in new:
                past = await asyncio.to_thread(read_past, self._servers, sector, client_id=SERVICE, overlap_ns=self._overlap_ns)
                if past is not None:
                    pasts[sector] = past
                    self._check_source(sector, past)
                    log.info(
                        "topic_goes_on", sector=sector, replay_id=past.replay_id, watermark_ns=past.watermark_ns, ticks=len(past.ticks)
                    )
        self.publish(self._intake.route(routes, pasts))
        self._routes = routes
        symbols = frozenset(symbol for names in routes.values() for symbol in names)
        if not symbols:  # a heartbeat comes only to those who follow something
            symbols = self._followed or frozenset(past.symbols[0] for past in pasts.values() if past.symbols)
        self._followed = symbols
        self._condition.want(symbols)
        log.info("following", symbols=sorted(symbols), sectors=list(routes))
        quoted = {symbol for sector, names in routes.items() if self._quotes & {"*", sector} for symbol in names}
        await self._stream.follow(symbols, quotes=quoted)
        if symbols:
            self._has_symbols.set()
        else:
            log.info("nothing_declared", reason="no pair is declared; waiting for one")

    def _check_source(self, sector: SectorId, past: Past) -> None:
        """Raises BadSetting if a replay would go into a topic of real data: who reads it on would follow the replay."""
        if self._intake.source is Source.RECYCLED and past.source is not Source.RECYCLED:
            raise BadSetting(
                f"TANDEM_SOURCE is recycled, but {topics.ticks(sector)} holds {past.source.value} data: give the replay a Kafka of its own"
            )

    def _park_rejected(self) -> None:
        while self._table.rejected:
            record, error = self._table.rejected.pop()
            park(self._writer, SERVICE, record.topic, error, record.value or b"")

    async def _acknowledge(self) -> None:
        """A record that Kafka did not take ends the process here, rather than being lost without a word."""
        while True:
            await asyncio.sleep(_ACKNOWLEDGED_EVERY_S)
            self._writer.check()
            telemetry.gauge("ingestor_unacknowledged_records").set(self._writer.unacknowledged)
            if self.filler is not None and (failure := self.filler.failure()) is not None:
                raise failure

    async def _beat(self) -> None:
        """Heartbeats for a feed that has none. They take their turn among the events: one that overtook ticks closed bars without them."""
        was_full = False
        while True:
            await asyncio.sleep(_BEAT_EVERY_S)
            if self._events.full():
                was_full = True
            elif was_full:
                was_full = False  # whoever waited for room goes first
            elif not self._is_marked:
                self._is_marked = True
                self._events.put_nowait(Mark(at_ns=self._now_ns()))

    def _now_ns(self) -> int:
        """The wall clock, unless it has stepped and the market knows nothing of it."""
        was_off, wall_ns = bool(self._clock.step_ns), time.time_ns()
        now_ns = self._clock.believed_ns(wall_ns, time.monotonic_ns(), self._intake.last_event_ns)
        if bool(self._clock.step_ns) != was_off:
            log.error("clock_stepped" if not was_off else "clock_believed", seconds=round(self._clock.step_ns / NS_PER_S, 3))
        return now_ns

    def _beat_at(self, now_ns: int) -> None:
        """A heartbeat for that moment, while every symbol is subscribed: only then is it true that all ticks before were sent.

        Ticks that come long after their events tell of a socket that waited for us, or of a clock that is ahead: what is to come is as old.
        """
        if (event_ns := self._intake.last_event_ns) > self._beat_event_ns:
            self._beat_event_ns, delay_ns = event_ns, now_ns - event_ns
            behind_ns = delay_ns if delay_ns > self._lateness_ns else 0
            if (behind_ns > _BEHIND_NS_TOLD) != (self._behind_ns > _BEHIND_NS_TOLD):
                log.warning("feed_behind" if behind_ns > self._behind_ns else "feed_up_to_date", seconds=round(delay_ns / NS_PER_S, 3))
            self._behind_ns = behind_ns
        if self._condition.subscribed and self._intake.is_whole:
            self._waiting_since_ns = None
            self.publish(self._intake.beat(now_ns - self._behind_ns - self._lateness_ns, now_ns))
