"""The forecaster's loop: tick topic -> bars -> forecasts -> forecasts topic, and the state that its HTTP shows.

It reads the retained ticks from their start, so that its state is always the one that the log implies; what lies before the committed
offset was published by an earlier life and is only replayed into the state. Called by forecaster/service.py, in a thread of its own.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence

import structlog

from tandem.adapters import telemetry, topics
from tandem.adapters.codec import decode_tick_record, encode_forecasts
from tandem.adapters.deadletter import park
from tandem.adapters.kafka_log import KafkaReader, KafkaWriter
from tandem.domain.errors import BadRecord, TandemError, Transient
from tandem.domain.forecasts import ForecastBatch
from tandem.domain.market import BarSet, TickFrame
from tandem.flow.sector import SectorModel, SectorState, initial_sector, step
from tandem.forecaster.health import HealthCounts
from tandem.ports import LogRecord

log = structlog.get_logger()
COMMIT_EVERY_S = 1.0  # a crash replays at most this much; the forecasts are then published again with the same content
RETRY_S = (0.5, 1.0, 2.0, 5.0, 10.0)  # then the process ends
FAILURES: list[str] = []  # why this process ends; read by forecaster/main.py for its exit code


class Pump:
    """Runs the sector's step over the log until stopped. `state` is replaced as a whole, so that other threads may read it."""

    def __init__(self, *, servers: str, model: SectorModel, past_bars: Callable[[int, str], Sequence[BarSet]]) -> None:
        """`past_bars(until_ns, replay_id)`: the bars between the end of training and the first tick that Kafka still holds."""
        self.model = model
        self.state: SectorState = initial_sector(model)
        self.health = HealthCounts()
        self._sector, self._version = model.bundle.sector, model.ref.version
        self._servers, self._past_bars = servers, past_bars
        self._stop = threading.Event()
        self._caught_up = False
        self.failure: str | None = None
        self.next_offset = 0
        self._labels = {"sector": self._sector, "version": self._version}
        telemetry.gauge("forecaster_model_info").labels(**self._labels, digest=model.ref.digest[:12]).set(1)

    def why_not_ready(self) -> str | None:
        """None when the state is rebuilt and the lag is gone, else the reason."""
        if self.failure is not None:
            return self.failure
        return None if self._caught_up else "rebuilding state from the tick topic"

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
        reader = KafkaReader(self._servers, [topic], client_id=client, group=f"tandem.forecaster.{self._sector}.{self._version}")
        writer = KafkaWriter(self._servers, client)
        try:
            published_to = reader.committed()[(topic, 0)]
            target = reader.end_offsets()[(topic, 0)]
            reader.seek_to_beginning()
            self.state, self.health = initial_sector(self.model), HealthCounts()
            self._caught_up = target == 0
            committed, committed_s = published_to, time.monotonic()
            while not self._stop.is_set():
                for record in reader.poll(0.25):
                    self._take(record, writer, publish=record.offset >= published_to)
                    self.next_offset = record.offset + 1
                if not self._caught_up and self.next_offset >= target:
                    writer.flush()
                    self._caught_up = True
                if self.next_offset > committed and time.monotonic() - committed_s >= COMMIT_EVERY_S:
                    self._commit(reader, writer, topic)
                    committed, committed_s = self.next_offset, time.monotonic()
                    lag = reader.end_offsets()[(topic, 0)] - self.next_offset
                    telemetry.gauge("forecaster_lag_records").labels(**self._labels).set(lag)
                    self.health.lag_records = lag
            if self.next_offset > committed:
                self._commit(reader, writer, topic)
        finally:
            reader.close()
            writer.close()

    def _commit(self, reader: KafkaReader, writer: KafkaWriter, topic: str) -> None:
        """The offset moves only after the forecasts are acknowledged."""
        writer.flush()
        reader.commit_offsets({(topic, 0): self.next_offset})

    def _take(self, record: LogRecord, writer: KafkaWriter, *, publish: bool) -> None:
        try:
            event = decode_tick_record(record.value or b"")
        except BadRecord as error:
            self.health.bad_record()
            if publish:
                park(writer, "forecaster", record.topic, error, record.value or b"")
            return
        if record.offset > 0 and self.state.replay_id is None and isinstance(event, TickFrame):
            # Kafka's retention has dropped what came before: the recorder's bars stand in for it.
            self.state = initial_sector(self.model, self._past_bars(int(event.ticks["event_ns"][0]), event.replay_id))
        self.state, batches = step(self.model, self.state, event)
        self.health.step(self.state, batches)
        if not publish:
            return
        ingested = record.headers.get(topics.HEADER_INGESTED, b"")
        if isinstance(event, TickFrame):
            telemetry.counter("forecaster_ticks_total").labels(**self._labels).inc(len(event.ticks))
        for batch in batches:
            self._publish(batch, writer, ingested)

    def _publish(self, batch: ForecastBatch, writer: KafkaWriter, ingested: bytes) -> None:
        now_ns = time.time_ns()
        headers = {topics.HEADER_PUBLISHED: now_ns.to_bytes(8, "little")}
        if ingested:
            headers[topics.HEADER_INGESTED] = ingested
            if batch.forecasts and self._caught_up:
                elapsed_s = (now_ns - int.from_bytes(ingested, "little")) / 1e9
                self.health.published(elapsed_s)
                telemetry.histogram("tick_to_forecast_seconds").labels(sector=self._sector).observe(elapsed_s)
        writer.publish(topics.FORECASTS, encode_forecasts(batch), key=batch.sector.encode(), headers=headers)
        telemetry.counter("forecaster_forecasts_total").labels(**self._labels).inc(len(batch.forecasts))
