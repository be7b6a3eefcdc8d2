"""What the end of a sector's tick topic holds, read backwards as far as needed: where an ingestor that starts again goes on."""

from collections.abc import Mapping, Sequence

import orjson

from tandem.adapters import topics
from tandem.adapters.codec import decode_tick_record
from tandem.adapters.kafka_log import KafkaReader
from tandem.domain.errors import BadRecord
from tandem.domain.market import KIND_STATUS, Heartbeat, TickFrame
from tandem.ingestor.past import Past, past_of
from tandem.ports import LogRecord

_FIRST_RECORDS = 256  # half a minute of a busy sector, ten bars of a quiet one
TAIL_TICKS_MAX = 1_048_576  # 32 MiB, half of the window that they go into
_POLL_S = 1.0


def read_past(servers: str, sector: str, *, client_id: str, overlap_ns: int) -> Past | None:
    """The last stream of the sector's topic; None for an empty topic. Raises Transient if Kafka or the topic is away."""
    topic = topics.ticks(sector)
    reader = KafkaReader(servers, [topic], client_id=client_id)
    try:
        end, count = reader.end_offsets()[topic, 0], _FIRST_RECORDS
        while end > 0:
            start = max(0, end - count)
            records = _between(reader, topic, start, end)
            events, flags = _events(records)
            ticks = sum(len(event.ticks) for event in events if isinstance(event, TickFrame))
            found = past_of(events, overlap_ns=overlap_ns, flags=flags, is_all=start == 0, is_cut=ticks >= TAIL_TICKS_MAX)
            if found is not None or start == 0:
                return found
            count *= 2
        return None
    finally:
        reader.close()


def _between(reader: KafkaReader, topic: str, start: int, end: int) -> list[LogRecord]:
    """The records of [start, end) that are retained."""
    reader.seek({(topic, 0): start})
    records: list[LogRecord] = []
    while reader.position((topic, 0)) < end:
        records.extend(reader.poll(_POLL_S))
    return [record for record in records if record.offset < end]


def _events(records: Sequence[LogRecord]) -> tuple[list[TickFrame | Heartbeat], dict[str, int]]:
    """Frames and heartbeats in order, and the flags of the last heartbeat and what was told after it. The unreadable its readers park."""
    events: list[TickFrame | Heartbeat] = []
    flags: dict[str, int] = {}
    for record in records:
        try:
            event = decode_tick_record(record.value or b"")
        except BadRecord:
            continue
        if events and (events[-1].source, events[-1].replay_id) != (event.source, event.replay_id):
            flags = {}  # of another market
        events.append(event)
        if isinstance(event, Heartbeat):
            flags = flags_of(record.headers.get(topics.HEADER_FLAGS))
        else:
            told = event.ticks[event.ticks["kind"] == KIND_STATUS]
            flags |= {event.symbols[place]: bits for place, bits in zip(told["symbol"].tolist(), told["flags"].tolist(), strict=True)}
    return events, flags


def flags_header(flags: Mapping[str, int]) -> dict[str, bytes]:
    """The header of a heartbeat that says which symbols are halted or restricted; none when all are as usual."""
    return {topics.HEADER_FLAGS: orjson.dumps(dict(flags))} if flags else {}


def flags_of(header: bytes | None) -> dict[str, int]:
    """The flags in a heartbeat's header."""
    return {str(symbol): int(flags) for symbol, flags in orjson.loads(header).items()} if header else {}
