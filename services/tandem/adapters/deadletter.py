"""The dead letter topic: where a record that cannot be used waits with its reason, so that nothing is skipped in silence.

Written by every service, read by `tandem deadletter`, which also notes there what it has replayed.
"""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import orjson

from tandem.adapters import topics
from tandem.adapters.kafka_log import KafkaReader
from tandem.domain.errors import BadRecord
from tandem.ports import LogRecord, LogWriter

# Kafka takes records up to 1 MiB, base64 adds a third: a longer payload keeps its first part, and its full length beside it.
PAYLOAD_BYTES_MAX = 512 * 1024
_DETAIL_CHARS_MAX = 4_000  # a reason may quote what it found
MARKET_DATA = "market-data"  # in place of a topic: a message of Alpaca's stream, MessagePack
_REPLAYED_KEY = b"replayed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One parked record. topic: where it came from, or was to go. replayed: a later note says so."""

    offset: int
    parked_ms: int
    service: str
    topic: str
    reason: str
    detail: str
    payload: bytes
    payload_bytes: int
    replayed: bool = False

    @property
    def is_cut(self) -> bool:
        """Whether the payload was too long to be kept whole."""
        return len(self.payload) < self.payload_bytes


def park(writer: LogWriter, service: str, topic: str, error: BadRecord, payload: bytes) -> None:
    """Queue one unusable record. service: who parks it; topic: where it came from, or was to go. Raises what the writer raises."""
    doc = {
        "service": service,
        "topic": topic,
        "reason": error.reason,
        "detail": error.detail[:_DETAIL_CHARS_MAX],
        "payload": base64.b64encode(payload[:PAYLOAD_BYTES_MAX]).decode(),
        "payload_bytes": len(payload),
    }
    writer.publish(topics.DEADLETTER, orjson.dumps(doc), key=service.encode())


def note_replayed(writer: LogWriter, offsets: Iterable[int]) -> None:
    """Queue the note that these letters were replayed."""
    writer.publish(topics.DEADLETTER, orjson.dumps({"replayed": sorted(offsets)}), key=_REPLAYED_KEY)


def read_letters(servers: str, *, client_id: str) -> list[Letter]:
    """All letters that are retained, oldest first. Raises Transient."""
    reader = KafkaReader(servers, [topics.DEADLETTER], client_id=client_id)
    try:
        end = reader.end_offsets()[topics.DEADLETTER, 0]
        records: list[LogRecord] = []
        while reader.position((topics.DEADLETTER, 0)) < end:
            records.extend(reader.poll(1.0))
        return list(letters_of(records))
    finally:
        reader.close()


def letters_of(records: Iterable[LogRecord]) -> Iterator[Letter]:
    """The letters in these records of the topic. A record that is none shows as one, so that even it is seen."""
    kept = list(records)
    replayed = {offset for record in kept if record.key == _REPLAYED_KEY for offset in _noted(record)}
    for record in kept:
        if record.key != _REPLAYED_KEY:
            yield _letter(record, replayed=record.offset in replayed)


def _noted(record: LogRecord) -> list[int]:
    try:
        return [int(offset) for offset in orjson.loads(record.value or b"")["replayed"]]
    except (KeyError, TypeError, ValueError):
        return []


def _letter(record: LogRecord, *, replayed: bool) -> Letter:
    value = record.value or b""
    try:
        doc = orjson.loads(value)
        service, topic, reason, detail = (str(doc[name]) for name in ("service", "topic", "reason", "detail"))
        payload, payload_bytes = base64.b64decode(doc["payload"]), int(doc["payload_bytes"])
    except (KeyError, TypeError, ValueError) as error:
        service, topic, reason, detail = "", topics.DEADLETTER, "letter_malformed", str(error)
        payload, payload_bytes = value, len(value)
    return Letter(
        offset=record.offset,
        parked_ms=record.timestamp_ms,
        service=service,
        topic=topic,
        reason=reason,
        detail=detail,
        payload=payload,
        payload_bytes=payload_bytes,
        replayed=replayed,
    )
