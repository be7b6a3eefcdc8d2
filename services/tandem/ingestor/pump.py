"""The ingestor's loop: stream events -> intake -> Kafka, and control changes -> subscriptions. Owns clock, socket and Kafka.

Guarantee: what was taken from the socket is published in order, or the process ends with the reason. What a broken connection lost is only
logged as possible_gap: there is no backfill yet. Called by ingestor/main.py.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping

import structlog

from tandem.adapters import telemetry, topics
from tandem.adapters.alpaca_market import Connected, Disconnected, Payload, StreamEvent, TradeStream, Unreadable
from tandem.adapters.codec import encode_frame, encode_heartbeat
from tandem.adapters.control_log import ControlTable
from tandem.adapters.deadletter import park
from tandem.adapters.kafka_log import KafkaReader, KafkaWriter, create_topics
from tandem.domain.control import PairSpec
from tandem.domain.errors import BadRecord, Permanent
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.units import NS_PER_MS, NS_PER_S
from tandem.ingestor.condition import Condition
from tandem.ingestor.frames import StampedFrame
from tandem.ingestor.intake import Duplicates, Intake, Output, ReplayBegan, StampedHeartbeat, StreamError, Subscribed
from tandem.ingestor.trades import Parked

log = structlog.get_logger()
SERVICE = "ingestor"
_IDLE_S = 0.005  # a quiet stream's ticks leave after this ...
_AGE_NS_MAX = 20 * NS_PER_MS  # ... and a steady stream's after this: the budget from receipt to Kafka at the 99th percentile
_GATHERED_MAX = 1_024  # messages of several payloads that are read at once
_ACKNOWLEDGED_EVERY_S = 1.0  # how soon a record that Kafka refused ends the process
_CONTROL_POLL_S = 0.5
_BEAT_EVERY_S = 1.0


def routes_of(pairs: Mapping[str, PairSpec]) -> dict[SectorId, tuple[Symbol, ...]]:
    """The symbols of each sector's pairs. Those of suspended pairs too: what such a pair holds is closed on its forecasts."""
    symbols: dict[SectorId, set[Symbol]] = {}
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
    ) -> None:
        """lateness_ms: the pump makes heartbeats itself, this far behind the wall clock; None: the stream brings its own."""
        self._servers, self._intake, self._stream, self._events, self._writer = servers, intake, stream, events, writer
        self._table, self._control = control
        self._condition, self._lateness_ms = condition, lateness_ms
        self._routes: dict[SectorId, tuple[Symbol, ...]] = {}
        self._has_symbols = asyncio.Event()
        self._waiting_since_ns: int | None = None
        self._connected_before = False

    async def run(self, stop: asyncio.Event) -> None:
        """Pump until `stop` is set. Raises what ended it otherwise: Transient (Kafka), Permanent (the account may not subscribe)."""
        work = [self._consume(), self._connect(), self._follow(), self._acknowledge()]
        if self._lateness_ms is not None:
            work.append(self._beat(self._lateness_ms))
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
            # A cancelled to_thread leaves its thread running: nobody may close a reader that another thread is polling.
            await asyncio.get_running_loop().shutdown_default_executor()
        while not self._events.empty():
            self._handle_all(self._events.get_nowait())
        self._publish(self._intake.drain())
        self._writer.flush()

    async def _connect(self) -> None:
        """The stream, once there is something to follow. alpaca-py spins at full speed without a symbol, so it is not started before."""
        await self._has_symbols.wait()
        await self._stream.run_until_stopped()
        raise Permanent(f"Alpaca ends the subscription for good: {self._condition.loss}")

    async def _consume(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_IDLE_S if self._waiting_since_ns is not None else None):
                    event = await self._events.get()
            except TimeoutError:
                self._drain()
                continue
            self._handle_all(event)
            if self._waiting_since_ns is not None and time.time_ns() - self._waiting_since_ns >= _AGE_NS_MAX:
                self._drain()

    def _drain(self) -> None:
        self._waiting_since_ns = None
        self._publish(self._intake.drain())

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
                self._publish(self._intake.take(event.messages, event.received_ns))
                if self._waiting_since_ns is None:
                    self._waiting_since_ns = event.received_ns
            case Unreadable():
                self._park(Parked(error=BadRecord("payload_malformed", event.detail), payload=event.payload))
            case Connected():
                self._condition.connect()
                log.info("stream_connected", symbols=len(self._condition.wanted or ()))
                if self._connected_before:
                    log.warning("possible_gap", last_event_ns=self._intake.last_event_ns)
                self._connected_before = True
            case Disconnected():
                self._condition.lose(event.reason)
                telemetry.gauge("ingestor_connected").set(0)
                log.warning("stream_lost", reason=event.reason, last_event_ns=self._intake.last_event_ns)

    def _publish(self, outputs: Iterable[Output]) -> None:
        for out in outputs:
            match out:
                case StampedFrame():
                    sector = out.frame.sector
                    self._send(sector, encode_frame(out.frame), out.ingested_ns)
                    telemetry.counter("ingestor_ticks_total").labels(sector=sector).inc(len(out.frame.ticks))
                    telemetry.counter("ingestor_frames_total").labels(sector=sector).inc()
                case StampedHeartbeat():
                    self._send(out.heartbeat.sector, encode_heartbeat(out.heartbeat), out.ingested_ns)
                    telemetry.gauge("ingestor_watermark_seconds").set(out.heartbeat.watermark_ns / NS_PER_S)
                case Parked():
                    self._park(out)
                case _:
                    self._note(out)

    def _send(self, sector: str, value: bytes, ingested_ns: int) -> None:
        self._writer.publish(topics.ticks(sector), value, headers={topics.HEADER_INGESTED: ingested_ns.to_bytes(8, "little")})

    def _park(self, parked: Parked) -> None:
        telemetry.counter("ingestor_parked_total").labels(reason=parked.error.reason).inc()
        park(self._writer, SERVICE, "market-data", parked.error, parked.payload)

    def _note(self, out: Subscribed | StreamError | ReplayBegan | Duplicates) -> None:
        match out:
            case Subscribed():
                self._condition.confirm(out.symbols)
                telemetry.gauge("ingestor_connected").set(int(self._condition.subscribed))
                log.info("subscribed", symbols=sorted(out.symbols), missing=self._condition.missing)
            case StreamError():
                self._condition.fail(out)
                telemetry.counter("ingestor_stream_errors_total").labels(code=str(out.code)).inc()
                log.error("stream_error", code=out.code, message=out.message)
            case ReplayBegan():
                log.info("replay_began", replay_id=out.replay_id, lockstep=out.lockstep)
            case Duplicates():
                telemetry.counter("ingestor_duplicates_total").inc(out.count)

    async def _follow(self) -> None:
        """Declared pairs to subscriptions, now and at each change."""
        while True:
            if (routes := routes_of(self._table.pairs)) != self._routes or not self._routes:
                await self._reroute(routes)
            changed = False
            while not changed:
                for record in await asyncio.to_thread(self._control.poll, _CONTROL_POLL_S):
                    changed |= self._table.apply(record)
                self._park_rejected()

    async def _reroute(self, routes: dict[SectorId, tuple[Symbol, ...]]) -> None:
        if new := [sector for sector in routes if sector not in self._routes]:
            await asyncio.to_thread(create_topics, self._servers, new)
        self._publish(self._intake.route(routes))
        self._routes = routes
        symbols = frozenset(symbol for names in routes.values() for symbol in names)
        self._condition.want(symbols)
        log.info("following", symbols=sorted(symbols), sectors=list(routes))
        await self._stream.follow(symbols)
        if symbols:
            self._has_symbols.set()
        else:
            log.info("nothing_declared", reason="no pair is declared; waiting for one")

    def _park_rejected(self) -> None:
        while self._table.rejected:
            record, error = self._table.rejected.pop()
            park(self._writer, SERVICE, record.topic, error, record.value or b"")

    async def _acknowledge(self) -> None:
        """A record that Kafka did not take ends the process here, rather than being lost without a word."""
        while True:
            await asyncio.sleep(_ACKNOWLEDGED_EVERY_S)
            await asyncio.to_thread(self._writer.flush)

    async def _beat(self, lateness_ms: int) -> None:
        """Heartbeats for a feed that has none, while every symbol is subscribed: only then is it true that all ticks before were sent."""
        while True:
            await asyncio.sleep(_BEAT_EVERY_S)
            if self._condition.subscribed:
                now_ns = time.time_ns()
                self._waiting_since_ns = None
                self._publish(self._intake.beat(now_ns - lateness_ms * NS_PER_MS, now_ns))
