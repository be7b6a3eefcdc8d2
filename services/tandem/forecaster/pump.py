"""The forecaster's loop: tick topic -> bars -> forecasts -> forecasts topic, and the state that its HTTP shows.

It reads the retained ticks from their start, so that its state is always the one that the log implies; what lies before the committed
offset was published by an earlier life and is only replayed into the state. With several replicas each publishes its shards (shares.py);
to take one over it goes back to a checkpoint of its state. Called by forecaster/service.py, in a thread of its own.
"""

import gc
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from tandem.adapters import telemetry, topics
from tandem.adapters.codec import decode_tick_record, encode_forecasts
from tandem.adapters.deadletter import park
from tandem.adapters.kafka_log import KafkaReader, KafkaWriter
from tandem.domain.errors import BadRecord, TandemError, Transient
from tandem.domain.forecasts import Forecast, ForecastBatch
from tandem.domain.ids import PairId
from tandem.domain.market import BarSet, Heartbeat, TickFrame
from tandem.flow.forecast import recalled
from tandem.flow.sector import SectorModel, SectorState, initial_sector, step
from tandem.forecaster.health import HealthCounts, live_latency_s
from tandem.forecaster.shares import Shares
from tandem.ports import LogRecord

log = structlog.get_logger()
LOOK_EVERY_S = 1.0  # at the lag, and at checkpoints
CHECKPOINTS = 30  # seconds back that a lost replica's shards are taken over without rebuilding: five times what it takes to miss it
RETRY_S = (0.5, 1.0, 2.0, 5.0, 10.0)  # then the process ends
FAILURES: list[str] = []  # why this process ends; read by forecaster/main.py for its exit code


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The state before a record. States share what did not change between them."""

    offset: int
    state: SectorState
    first_tick: int | None


class Pump:
    """Runs the sector's step over the log until stopped. `state` is replaced as a whole, so that other threads may read it."""

    def __init__(
        self, *, servers: str, model: SectorModel, past_bars: Callable[[int, str], Sequence[BarSet]], member: str = "alone"
    ) -> None:
        """`past_bars(until_ns, replay_id)`: the bars between the end of training and the first tick that Kafka still holds.

        member: this replica's name, where it shares the sector's shards with others.
        """
        self.model = model
        self.state: SectorState = initial_sector(model)
        self.health = HealthCounts()
        self._sector, self._version = model.bundle.sector, model.ref.version
        self._rows = {pair.pair: row for row, pair in enumerate(model.bundle.pairs)}
        self._servers, self._past_bars, self._member = servers, past_bars, member
        self._shares: Shares | None = None
        self._checkpoints: deque[Checkpoint] = deque(maxlen=CHECKPOINTS)
        self._stop = threading.Event()
        self._caught_up = False
        self._live_from_ns: int | None = None  # when the state was rebuilt
        self.failure: str | None = None
        self.next_offset = 0
        self._counted_to = 0
        self._ticks = 0  # since the counter was told: a word to it for each frame would be a twentieth of the work on the frame
        self._look_s = 0.0
        self._newest_ms = 0  # Kafka's time of the newest record that was read
        self._first_tick: int | None = None  # offset of the first record that is new in the next batch
        self._labels = {"sector": self._sector, "version": self._version}
        self._ticks_read = telemetry.counter("forecaster_ticks_total").labels(**self._labels)
        self._forecasts_made = telemetry.counter("forecaster_forecasts_total").labels(**self._labels)
        self._last_forecast = telemetry.gauge("forecaster_last_forecast_seconds").labels(**self._labels)
        self._latency_s = telemetry.histogram("tick_to_forecast_seconds").labels(sector=self._sector)
        self._withheld = telemetry.counter("forecaster_forecasts_withheld_total").labels(**self._labels)
        for name in ("forecaster_parked_total", "forecaster_late_ticks_total"):
            telemetry.counter(name).labels(**self._labels)  # at 0, so that the first is a rise
        telemetry.gauge("forecaster_model_info").labels(**self._labels, digest=model.ref.digest[:12]).set(1)

    def why_not_ready(self) -> str | None:
        """None when the state is rebuilt and the lag is gone, else the reason."""
        if self.failure is not None:
            return self.failure
        if self._shares is None or not self._shares.alive:
            return "looking for the sector's other replicas"
        return None if self._caught_up else "rebuilding state from the tick topic"

    def forecast_of(self, pair: str) -> Forecast | None:
        """The pair's newest forecast; of a pair that another replica publishes, what this one would have said at the last bar."""
        row, state = self._rows.get(PairId(pair)), self.state
        if row is None:
            return None
        shares = self._shares
        if shares is None or int(self.model.shard[row]) in shares.owned:
            return state.latest.get(pair)
        return recalled(state.forecasts, row, self.model.network)

    def sharing(self) -> dict[str, Any]:
        """Which shards are this replica's, and who lives, for people."""
        shares = self._shares
        return {
            "member": self._member,
            "shards": self.model.shards,
            "owned": sorted(shares.owned) if shares is not None else [],
            "alive": list(shares.alive) if shares is not None and self.model.shards > 1 else [],
        }

    def stop(self) -> None:
        """Ask the loop to end after the record in hand."""
        self._stop.set()

    def run(self) -> None:
        """The loop; tries again with a backoff when Kafka is away, from the state that the log implies.

        What it cannot mend ends the process, so that its supervisor sees it: the restart is the normal start.
        """
        try:
            self._run_with_retries()
        except TandemError as error:
            self.failure = f"{type(error).__name__}: {error}"
            FAILURES.append(self.failure)
            log.error("pump_failed", error=self.failure)
            os.kill(os.getpid(), signal.SIGTERM)

    def _run_with_retries(self) -> None:
        for pause_s in RETRY_S:
            try:
                return self._run()
            except Transient as error:
                log.warning("pump_retries", error=str(error), pause_s=pause_s)
                if self._stop.wait(pause_s):
                    return None
        return self._run()

    def _run(self) -> None:
        topic = topics.ticks(self._sector)
        client = f"forecaster-{self._sector}-{self._version}"
        reader = KafkaReader(self._servers, [topic], client_id=client)
        writer = KafkaWriter(self._servers, client)
        shares = None
        clean = False
        try:
            shares = self._shares = Shares(self._servers, self.model, self._member, writer)
            shares.begin(self._stop)
            target = reader.end_offsets()[(topic, 0)]
            self._rewind(reader, 0)
            self._caught_up = target == 0
            self._live_from_ns = time.time_ns() if self._caught_up else None
            while not self._stop.is_set():
                self._turn(reader, writer, shares)
                if not self._caught_up and self.next_offset >= target:
                    writer.flush()
                    gc.freeze()  # what is there now stays: no later collection walks through all of BentoML on the way to a forecast
                    self._caught_up, self._live_from_ns = True, time.time_ns()
            clean = True
        finally:
            reader.close()
            if shares is not None:
                shares.close(clean=clean)
            writer.close()

    def _turn(self, reader: KafkaReader, writer: KafkaWriter, shares: Shares) -> None:
        """What came since the last turn, after a look at who is there."""
        back_to = shares.follow(self.next_offset)
        if back_to is not None:
            self._rewind(reader, back_to)
        for record in reader.poll(0.25):
            self._take(record, writer, shares)
            self.next_offset, self._newest_ms = record.offset + 1, record.timestamp_ms
        shares.reached(self.next_offset)
        if self._ticks:
            self._ticks_read.inc(self._ticks)
            self._ticks = 0
        now_s = time.monotonic()
        if now_s >= self._look_s:
            self._look_s = now_s + LOOK_EVERY_S
            if self.model.shards > 1:  # else there is nothing to take over
                self._checkpoints.append(Checkpoint(offset=self.next_offset, state=self.state, first_tick=self._first_tick))
            withheld = self.health.newly_withheld()
            self._withheld.inc(withheld if self._caught_up else 0)  # what is forecast again while the state is rebuilt was counted before
            self.health.lag_records = reader.lag()
            telemetry.gauge("forecaster_lag_records").labels(**self._labels).set(self.health.lag_records)
            telemetry.gauge("forecaster_lag_seconds").labels(**self._labels).set(telemetry.lag_s(self.health.lag_records, self._newest_ms))
            telemetry.gauge("service_ready").labels(service="forecaster").set(self.why_not_ready() is None)

    def _rewind(self, reader: KafkaReader, offset: int) -> None:
        """Go back to the newest checkpoint that is not after the record; without one, to the start of the log."""
        while self._checkpoints and self._checkpoints[-1].offset > offset:
            self._checkpoints.pop()
        if self._checkpoints:
            found = self._checkpoints[-1]
            self.state, self._first_tick, self.next_offset = found.state, found.first_tick, found.offset
            reader.seek({(topics.ticks(self._sector), 0): found.offset})
        else:
            self.state, self._first_tick, self.next_offset = initial_sector(self.model), None, 0
            self.health = HealthCounts()
            reader.seek_to_beginning()
        log.info("pump_goes_back", to=self.next_offset, wanted=offset)

    def _take(self, record: LogRecord, writer: KafkaWriter, shares: Shares) -> None:
        try:
            event = decode_tick_record(record.value or b"")
        except BadRecord as error:
            self.health.bad_record()
            telemetry.counter("forecaster_parked_total").labels(**self._labels).inc()
            if shares.publishes(0, record.offset):
                park(writer, "forecaster", record.topic, error, record.value or b"")
            return
        if record.offset > 0 and self.state.replay_id is None and isinstance(event, TickFrame):
            # Kafka's retention has dropped what came before: the recorder's bars stand in for it.
            self.state = initial_sector(self.model, self._past_bars(int(event.ticks["event_ns"][0]), event.replay_id))
        self.state, batches = step(self.model, self.state, event, shares.owned)
        self.health.step(self.state)
        self._count(record.offset, event)
        first_tick = self._first_tick if self._first_tick is not None else record.offset
        closes = isinstance(event, Heartbeat)
        self._first_tick = record.offset + 1 if closes else first_tick
        ingested = record.headers.get(topics.HEADER_INGESTED, b"")
        for batch in batches:
            if shares.publishes(batch.shard, record.offset):
                self._publish(batch, writer, ingested, (first_tick, record.offset))

    def _count(self, offset: int, event: TickFrame | Heartbeat) -> None:
        """Once for each record of this process's life, whatever it reads again."""
        if offset < self._counted_to:
            return
        self._counted_to = offset + 1
        if self._caught_up and isinstance(event, TickFrame):
            self._ticks += len(event.ticks)
            late = sum(len(frame.ticks) for frame in self.state.bars.late)
            if late:
                telemetry.counter("forecaster_late_ticks_total").labels(**self._labels).inc(late)

    def _publish(self, batch: ForecastBatch, writer: KafkaWriter, ingested: bytes, ticks: tuple[int, int]) -> None:
        now_ns = time.time_ns()
        headers = {topics.HEADER_PUBLISHED: now_ns.to_bytes(8, "little"), topics.HEADER_TICKS: b"%d-%d" % ticks}
        if ingested:
            headers[topics.HEADER_INGESTED] = ingested
            elapsed_s = live_latency_s(int.from_bytes(ingested, "little"), published_ns=now_ns, live_from_ns=self._live_from_ns)
            if batch.forecasts and elapsed_s is not None:
                self.health.published(elapsed_s)
                self._latency_s.observe(elapsed_s)
        writer.publish(topics.FORECASTS, encode_forecasts(batch), key=batch.sector.encode(), headers=headers)
        time.sleep(0)  # gives the interpreter to the client's thread, which else sends when this one has nothing more to do
        self._last_forecast.set_to_current_time()
        self._forecasts_made.inc(len(batch.forecasts))
