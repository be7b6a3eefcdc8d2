"""What really is in Kafka after a run: counted from the topics themselves, not from any service's own counters."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tandem.adapters import topics
from tandem.adapters.codec import decode_forecasts, decode_tick_record
from tandem.adapters.kafka_log import KafkaReader
from tandem.domain.market import TickFrame
from tandem.ports import LogRecord

TickKey = tuple[str, int]  # symbol, event time in ns


@dataclass(kw_only=True)
class KafkaCounts:
    """Counts over whole topics."""

    ticks: int = 0  # distinct ticks: a symbol of two sectors is written to both, and counted once
    ticks_doubled: int = 0  # written more than once to the same topic
    frames: int = 0
    first_event_ns: int | None = None
    last_event_ns: int | None = None
    forecasts: int = 0
    bars_forecast: int = 0  # (sector, bar) that carried at least one forecast
    parked: int = 0
    last_price: dict[str, float] = field(default_factory=dict)  # of each symbol's last tick
    latency_ms: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))  # ingestor's receipt to forecast's publication


def read_all(servers: str, topic: str) -> Iterable[LogRecord]:
    """All records that the topic holds now, in order."""
    reader = KafkaReader(servers, [topic], client_id="tandem-measure")
    try:
        end = reader.end_offsets()[(topic, 0)]
        while reader.position((topic, 0)) < end:
            yield from reader.poll(1.0)
    finally:
        reader.close()


def end_offsets(servers: str, names: Sequence[str]) -> dict[str, int]:
    """The offset after the last record of each topic, now."""
    reader = KafkaReader(servers, names, client_id="tandem-measure")
    try:
        return {topic: offset for (topic, _), offset in reader.end_offsets().items()}
    finally:
        reader.close()


def count_kafka(servers: str, sectors: Iterable[str], run: str = "") -> KafkaCounts:
    """Read the tick, forecast and dead-letter topics from start to end. run: only this replay's ticks and forecasts; all without one."""
    counts = KafkaCounts()
    by_symbol: dict[str, list[NDArray[np.int64]]] = defaultdict(list)
    for sector in sectors:
        for symbol, ids in _ticks_of(servers, sector, counts, run).items():
            unique = np.unique(ids)
            counts.ticks_doubled += len(ids) - len(unique)
            by_symbol[symbol].append(unique)
    counts.ticks = sum(len(np.unique(np.concatenate(parts))) for parts in by_symbol.values())
    _count_forecasts(servers, counts, run)
    counts.parked = sum(1 for _ in read_all(servers, topics.DEADLETTER))
    return counts


def _ticks_of(servers: str, sector: str, counts: KafkaCounts, run: str) -> dict[str, NDArray[np.int64]]:
    """Trade ids by symbol in one sector's topic."""
    parts: dict[str, list[NDArray[np.int64]]] = defaultdict(list)
    for record in read_all(servers, topics.ticks(sector)):
        frame = decode_tick_record(record.value or b"")
        if not isinstance(frame, TickFrame) or len(frame.ticks) == 0 or (run and frame.replay_id != run):
            continue
        counts.frames += 1
        first, last = int(frame.ticks["event_ns"].min()), int(frame.ticks["event_ns"].max())
        counts.first_event_ns = first if counts.first_event_ns is None else min(first, counts.first_event_ns)
        counts.last_event_ns = last if counts.last_event_ns is None else max(last, counts.last_event_ns)
        for number in np.unique(frame.ticks["symbol"]):
            of_symbol = frame.ticks[frame.ticks["symbol"] == number]
            parts[frame.symbols[number]].append(of_symbol["trade_id"])
            counts.last_price[frame.symbols[number]] = float(of_symbol["price"][-1])
    return {symbol: np.concatenate(arrays) for symbol, arrays in parts.items()}


def _count_forecasts(servers: str, counts: KafkaCounts, run: str) -> None:
    latency_ms = []
    for record in read_all(servers, topics.FORECASTS):
        batch = decode_forecasts(record.value or b"")
        if run and batch.replay_id != run:
            continue
        counts.forecasts += len(batch.forecasts)
        if not batch.forecasts:
            continue
        counts.bars_forecast += 1
        ingested, published = record.headers.get(topics.HEADER_INGESTED), record.headers.get(topics.HEADER_PUBLISHED)
        if ingested and published:
            latency_ms.append((int.from_bytes(published, "little") - int.from_bytes(ingested, "little")) / 1e6)
    counts.latency_ms = np.array(latency_ms)


def tick_prices(servers: str, sectors: Iterable[str], wanted: set[TickKey]) -> dict[TickKey, float]:
    """The first trade's price at each wanted (symbol, event time): what a fill's spread cost is measured against."""
    found: dict[TickKey, float] = {}
    times = np.array(sorted({event_ns for _, event_ns in wanted}), dtype=np.int64)
    for sector in sectors:
        for record in read_all(servers, topics.ticks(sector)):
            frame = decode_tick_record(record.value or b"")
            if not isinstance(frame, TickFrame):
                continue
            for row in frame.ticks[np.isin(frame.ticks["event_ns"], times)]:
                key = (str(frame.symbols[row["symbol"]]), int(row["event_ns"]))
                if key in wanted:
                    found.setdefault(key, float(row["price"]))
    return found
