"""Reads tick and forecast topics and the control topic from start to end: what was really written, of one replay."""

from collections.abc import Iterable, Iterator

from tandem.adapters import topics
from tandem.adapters.codec import decode_forecasts, decode_tick_record
from tandem.adapters.control_log import read_control
from tandem.adapters.kafka_log import KafkaReader
from tandem.checker.evidence import BatchRecord, Forecasts, SectorTicks
from tandem.domain.control import PairSpec
from tandem.domain.errors import BadRecord
from tandem.domain.forecasts import ForecastBatch
from tandem.domain.market import Heartbeat, TickFrame
from tandem.ports import LogRecord

_CLIENT = "tandem-verify"
_POLL_S = 1.0


def declared_pairs(servers: str) -> tuple[PairSpec, ...]:
    """The pairs of the control topic. Raises Transient."""
    table, reader = read_control(servers, _CLIENT)
    reader.close()
    return tuple(table.pairs.values())


def read_ticks(servers: str, sectors: Iterable[str], replay_id: str, injected: frozenset[bytes] = frozenset()) -> tuple[SectorTicks, ...]:
    """The tick topics of these sectors, without records that are known to be injected. Raises Transient."""
    return tuple(_sector(servers, sector, replay_id, injected) for sector in sectors)


def read_forecasts(servers: str, replay_id: str, injected: frozenset[bytes] = frozenset()) -> Forecasts:
    """The forecast topic, without records that are known to be injected. Raises Transient."""
    found, unreadable = [], []
    for record in _all(servers, topics.FORECASTS):
        if record.value in injected:
            continue
        try:
            batch: ForecastBatch = decode_forecasts(record.value or b"")
        except BadRecord as error:
            unreadable.append(f"{topics.FORECASTS}@{record.offset}: {error}")
            continue
        if batch.replay_id == replay_id:
            found.append(BatchRecord(offset=record.offset, batch=batch, content=record.value or b""))
    return Forecasts(records=tuple(found), unreadable=tuple(unreadable))


def newest_replay(servers: str, sectors: Iterable[str]) -> str:
    """The replay of the last record that a tick topic holds; "" if there is none. Raises Transient."""
    found = ""
    for sector in sectors:
        for record in _all(servers, topics.ticks(sector)):
            try:
                found = decode_tick_record(record.value or b"").replay_id
            except BadRecord:
                continue
    return found


def _sector(servers: str, sector: str, replay_id: str, injected: frozenset[bytes]) -> SectorTicks:
    records: list[tuple[int, TickFrame | Heartbeat]] = []
    unreadable = []
    for record in _all(servers, topics.ticks(sector)):
        if record.value in injected:
            continue
        try:
            found = decode_tick_record(record.value or b"")
        except BadRecord as error:
            unreadable.append(f"offset {record.offset}: {error}")
            continue
        if found.replay_id == replay_id:
            records.append((record.offset, found))
    return SectorTicks(sector=sector, records=tuple(records), unreadable=tuple(unreadable))


def _all(servers: str, topic: str) -> Iterator[LogRecord]:
    """Every record that the topic holds now."""
    reader = KafkaReader(servers, [topic], client_id=_CLIENT)
    try:
        end = reader.end_offsets()[(topic, 0)]
        while reader.position((topic, 0)) < end:
            yield from reader.poll(_POLL_S)
    finally:
        reader.close()
