"""The recorder's loop: ticks -> bars and forecasts -> scores, both into Postgres with the offsets they came from.

Never in the way of a replay: nobody waits for the recorder, it takes no part in lockstep. Guarantee: rows and offsets are one transaction,
so a restart at any point adds nothing twice and loses nothing; the dead letter may hold a record twice. Called by recorder/main.py.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

import structlog

from tandem.adapters import telemetry, topics
from tandem.adapters.bar_store import BarRow
from tandem.adapters.codec import decode_forecasts, decode_tick_record, encode_frame
from tandem.adapters.control_log import ControlTable
from tandem.adapters.deadletter import park
from tandem.adapters.history_store import HistoryStore, Position, Retention
from tandem.adapters.kafka_log import KafkaReader, KafkaWriter, create_topics
from tandem.adapters.market_events import MarketEvent, Revision
from tandem.domain.errors import BadRecord, Transient
from tandem.domain.forecasts import ForecastBatch
from tandem.domain.ids import SectorId
from tandem.domain.market import KIND_TRADE, BarSet, Heartbeat, SessionGrid, TickFrame
from tandem.domain.scores import ScoredForecast
from tandem.ports import LogRecord
from tandem.recorder import happened, scores
from tandem.recorder.topic import TickTopic, initial_topic
from tandem.recorder.topic import step as tick_step

T = TypeVar("T")
log = structlog.get_logger()
SERVICE = "recorder"
ROWS_MAX = 20_000  # rows that wait for one transaction: 10 MB, and a few hundred milliseconds of Postgres
SAVE_EVERY_S = 1.0  # what waits longer is saved, however little it is
_POLL_S = 0.2
_CONTROL_EVERY_S = 0.5
_FORGET_EVERY_S = 3_600.0
_SAVE_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)  # between tries while Postgres is away; then the process ends


@dataclass(slots=True)
class _Waiting:
    """What is not in Postgres yet."""

    bars: list[BarRow] = field(default_factory=list)
    events: list[MarketEvent] = field(default_factory=list)
    revisions: list[Revision] = field(default_factory=list)
    scores: dict[tuple[object, ...], ScoredForecast] = field(default_factory=dict)  # by key: with its outcome it replaces itself without
    positions: dict[str, Position] = field(default_factory=dict)
    since_s: float | None = None
    at_once: bool = False


class Pump:
    """Runs until stopped. `why_not_ready` may be asked from another thread."""

    def __init__(
        self,
        *,
        servers: str,
        store: HistoryStore,
        writer: KafkaWriter,
        control: tuple[ControlTable, KafkaReader],
        grid: SessionGrid,
        timeframe: str,
        retention: Retention,
    ) -> None:
        self._servers, self._store, self._writer, self._grid, self._timeframe = servers, store, writer, grid, timeframe
        self._retention, self._forgot_s = retention, float("-inf")
        self._table, self._control = control
        self._stop = threading.Event()
        self._reader: KafkaReader | None = None
        self._stored = store.positions()
        self._newest_ms: dict[str, int] = {}  # by topic: Kafka's time of the newest record that was read
        self._ticks: dict[str, TickTopic] = {}  # by topic
        self._sectors: dict[str, SectorId] = {}
        self._forecast_offset = self._stored.get(topics.FORECASTS, Position(next_offset=0, restart_offset=0)).next_offset
        self._scores: dict[tuple[str, ...], tuple[tuple[str, str], scores.ScoreState]] = {}  # by sector and model: stream and state
        self._waiting = _Waiting()
        self._trouble: str | None = "starting"

    def why_not_ready(self) -> str | None:
        """None while it reads and what it read can be saved; else the reason."""
        return self._trouble

    def stop(self) -> None:
        """Ask the loop to save and end."""
        self._stop.set()

    def run(self) -> None:
        """The loop. Raises Transient when Kafka or Postgres stay away."""
        self._follow()
        self._show_lag()
        self._trouble = None
        looked_s = time.monotonic()
        try:
            while not self._stop.is_set():
                for record in self._reading.poll(_POLL_S):
                    self._take(record)
                    self._save_if_due()
                self._save_if_due()
                if time.monotonic() - looked_s >= _CONTROL_EVERY_S:
                    self._poll_control()
                    self._show_lag()
                    self._forget_if_due()
                    looked_s = time.monotonic()
            self._save()
        finally:
            self._reading.close()

    @property
    def _reading(self) -> KafkaReader:
        assert self._reader is not None, "_follow opens the reader before anything is read"
        return self._reader

    def _poll_control(self) -> None:
        changed = False
        for record in self._control.poll(0):
            changed |= self._table.apply(record)
        while self._table.rejected:
            record, error = self._table.rejected.pop()
            self._park(record.topic, error, record.value or b"")
        if changed:
            self._follow()

    def _follow(self) -> None:
        """Read the forecasts and the ticks of every sector that has a pair; a sector that lost its last pair is still read to its end."""
        wanted = sorted({spec.sector for spec in self._table.pairs.values()})
        new = [sector for sector in wanted if topics.ticks(sector) not in self._ticks]
        if self._reader is not None and not new:
            return
        create_topics(self._servers, new)
        names = [topics.FORECASTS, *self._ticks, *map(topics.ticks, new)]
        reader = KafkaReader(self._servers, names, client_id=SERVICE)
        ends = reader.end_offsets()
        if self._reader is None:
            self._forecast_offset = _within(topics.FORECASTS, self._forecast_offset, ends)
        for sector in new:
            topic = topics.ticks(sector)
            stored = self._stored.get(topic)
            if stored is not None and _within(topic, stored.next_offset, ends) != stored.next_offset:
                stored = None
            self._ticks[topic], self._sectors[topic] = initial_topic(self._grid, sector, stored), sector
            telemetry.counter("recorder_late_ticks_total").labels(sector=sector)  # at 0, so that the first is a rise
        reader.seek(
            {(topic, 0): state.next_offset for topic, state in self._ticks.items()} | {(topics.FORECASTS, 0): self._forecast_offset}
        )
        if self._reader is not None:
            self._reader.close()
        self._reader = reader
        log.info("following", sectors=wanted, reason=None if wanted else "no pair is declared; waiting for one")

    def _take(self, record: LogRecord) -> None:
        if record.topic == topics.FORECASTS:
            self._take_forecasts(record)
        else:
            self._take_ticks(record)
        self._newest_ms[record.topic] = record.timestamp_ms
        if self._waiting.since_s is None:
            self._waiting.since_s = time.monotonic()

    def _take_ticks(self, record: LogRecord) -> None:
        state = self._ticks[record.topic]
        event: TickFrame | Heartbeat | None = None
        try:
            event = decode_tick_record(record.value or b"")
        except BadRecord as error:
            if record.offset >= state.reported_offset:
                self._park(record.topic, error, record.value or b"")
        state, closed, late = tick_step(state, record.offset, event)
        self._ticks[record.topic] = state
        if isinstance(event, Heartbeat):
            self._waiting.bars += self._rows(closed, event)
            self._waiting.at_once |= event.end_of_stream
        if isinstance(event, TickFrame) and record.offset >= state.reported_offset:
            self._waiting.events += happened.events_of(event, record.topic, record.offset, late)
        for frame in late:
            self._take_late(record, frame)
        self._waiting.positions[record.topic] = state.position

    def _take_late(self, record: LogRecord, frame: TickFrame) -> None:
        """Trades whose bar has closed are parked; corrections and cancels of such trades change the stored bar."""
        trades = frame.ticks[frame.ticks["kind"] == KIND_TRADE]
        if len(trades):
            telemetry.counter("recorder_late_ticks_total").labels(sector=self._sectors[record.topic]).inc(len(trades))
            reason = BadRecord(
                "tick_late", f"{len(trades)} trades of bars that had closed by {self._ticks[record.topic].bars.watermark_ns} ns"
            )
            self._park(record.topic, reason, encode_frame(replace(frame, ticks=trades)))
        for amendment in happened.amendments_of((frame,)):
            row = happened.event_of(frame, frame.ticks[amendment.place], record.topic, record.offset, outcome="")
            outcome, revision = happened.revised(
                amendment,
                record.offset,
                grid=self._grid,
                timeframe=self._timeframe,
                read_back=lambda start, stop: self._read_back(record.topic, start, stop),
                event=row,
            )
            self._waiting.events.append(replace(row, outcome=outcome))
            if revision is not None:
                self._waiting.revisions.append(revision)
            log.info("amendment_after_close", symbol=row.symbol, kind=row.kind, trade_id=row.trade_id, outcome=outcome)

    def _read_back(self, topic: str, start: int, stop: int) -> list[TickFrame | Heartbeat]:
        """The readable records of [start, stop). Raises Transient."""
        events: list[TickFrame | Heartbeat] = []
        reader = KafkaReader(self._servers, [topic], client_id=SERVICE)
        try:
            reader.seek({(topic, 0): start})
            while reader.position((topic, 0)) < stop:
                for record in reader.poll(_POLL_S):
                    if record.offset < stop:
                        with suppress(BadRecord):  # parked when it was read for the first time
                            events.append(decode_tick_record(record.value or b""))
        finally:
            reader.close()
        return events

    def _forget_if_due(self) -> None:
        """Delete what is older than it is to be kept, once an hour."""
        if time.monotonic() - self._forgot_s < _FORGET_EVERY_S:
            return
        self._forgot_s = time.monotonic()
        if gone := self._patiently(lambda: self._store.forget(self._retention)):
            log.info("forgotten", **gone)

    def _rows(self, closed: Sequence[BarSet], event: Heartbeat) -> list[BarRow]:
        return [(bar, self._timeframe, event.source.value, event.replay_id) for bar_set in closed for bar in bar_set.bars.values()]

    def _take_forecasts(self, record: LogRecord) -> None:
        try:
            batch = decode_forecasts(record.value or b"")
        except BadRecord as error:
            self._park(record.topic, error, record.value or b"")
        else:
            self._score(batch)
        self._forecast_offset = record.offset + 1
        self._waiting.positions[topics.FORECASTS] = Position(next_offset=self._forecast_offset, restart_offset=self._forecast_offset)

    def _score(self, batch: ForecastBatch) -> None:
        model = (batch.sector, batch.model.name, batch.model.version, batch.model.digest)
        stream = (batch.source.value, batch.replay_id)
        known_stream, state = self._scores.get(model, (None, None))
        if state is None or known_stream != stream:
            self._save()  # what is asked for next may still be waiting
            state = scores.ScoreState(newest=self._patiently(lambda: self._store.unscored(batch)))
        state, rows = scores.step(state, batch, self._grid)
        self._scores[model] = (stream, state)
        for row in rows:
            self._waiting.scores[*model, *stream, row.forecast.pair, row.bar_close_ns] = row
        self._waiting.at_once |= batch.end_of_stream

    def _save_if_due(self) -> None:
        waiting = self._waiting
        rows = len(waiting.bars) + len(waiting.scores) + len(waiting.events)
        waited = waiting.since_s is not None and time.monotonic() - waiting.since_s >= SAVE_EVERY_S
        if waiting.at_once or waited or rows >= ROWS_MAX:
            self._save()

    def _save(self) -> None:
        """One transaction; tried again while Postgres is away."""
        waiting, self._waiting = self._waiting, _Waiting()
        if not waiting.positions:
            return
        self._writer.flush()  # what was parked is safe before its record counts as done
        saved = self._patiently(
            lambda: self._store.save(
                waiting.bars, waiting.scores.values(), waiting.positions, events=waiting.events, revisions=waiting.revisions
            )
        )
        telemetry.gauge("recorder_last_save_seconds").set_to_current_time()
        telemetry.counter("recorder_bars_total").inc(saved.bars)
        telemetry.counter("recorder_scores_total").inc(saved.scores)
        telemetry.counter("recorder_market_events_total").inc(saved.events)
        telemetry.counter("recorder_bars_revised_total").inc(saved.revised)

    def _patiently(self, ask: Callable[[], T]) -> T:
        """The answer of Postgres, tried again while it is away; every question is idempotent. Raises Transient in the end."""
        for pause_s in _SAVE_PAUSES_S:
            try:
                answer = ask()
            except Transient as error:
                self._trouble = str(error)
                log.warning("postgres_retries", error=str(error), pause_s=pause_s)
                time.sleep(pause_s)
            else:
                self._trouble = None
                return answer
        return ask()

    def _park(self, topic: str, error: BadRecord, payload: bytes) -> None:
        telemetry.counter("recorder_parked_total").labels(reason=error.reason).inc()
        log.warning("parked", topic=topic, reason=error.reason, detail=error.detail)
        park(self._writer, SERVICE, topic, error, payload)

    def _show_lag(self) -> None:
        done = {topic: state.next_offset for topic, state in self._ticks.items()} | {topics.FORECASTS: self._forecast_offset}
        for (topic, _), end in self._reading.end_offsets().items():
            lag_records = end - done[topic]
            telemetry.gauge("recorder_lag_records").labels(topic=topic).set(lag_records)
            telemetry.gauge("recorder_lag_seconds").labels(topic=topic).set(telemetry.lag_s(lag_records, self._newest_ms.get(topic, 0)))


def _within(topic: str, offset: int, ends: Mapping[tuple[str, int], int]) -> int:
    """The offset, or 0 if the topic ends before it: then it is another topic of the same name. Its rows are told apart by their keys."""
    if offset <= ends[topic, 0]:
        return offset
    log.warning("topic_recreated", topic=topic, stored_offset=offset, end_offset=ends[topic, 0])
    return 0
