"""The dead letter: a parked record says who parked it, why, and what it was."""

import base64

import orjson

from tandem.adapters import topics
from tandem.adapters.deadletter import PAYLOAD_BYTES_MAX, park
from tandem.domain.errors import BadRecord


class Written:
    """A log that keeps what is published."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes | None]] = []

    def publish(self, topic: str, value: bytes | None, *, key: bytes | None = None, headers: dict[str, bytes] | None = None) -> None:
        self.records.append((topic, value))

    def flush(self) -> None: ...

    def close(self) -> None: ...


def test_a_parked_record_tells_all():
    written = Written()
    park(written, "ingestor", "market-data", BadRecord("price_invalid", "p -1: expected above 0"), b"\xff\x00")

    ((topic, value),) = written.records
    doc = orjson.loads(value or b"")
    assert topic == topics.DEADLETTER
    assert base64.b64decode(doc.pop("payload")) == b"\xff\x00"
    assert doc == {
        "service": "ingestor",
        "topic": "market-data",
        "reason": "price_invalid",
        "detail": "p -1: expected above 0",
        "payload_bytes": 2,
    }


def test_a_payload_larger_than_a_record_keeps_its_first_part_and_its_length():
    written = Written()
    park(written, "ingestor", "market-data", BadRecord("payload_malformed", "not msgpack"), bytes(PAYLOAD_BYTES_MAX * 3))

    doc = orjson.loads(written.records[0][1] or b"")
    assert doc["payload_bytes"] == PAYLOAD_BYTES_MAX * 3
    assert len(base64.b64decode(doc["payload"])) == PAYLOAD_BYTES_MAX
    assert len(written.records[0][1] or b"") < 1_000_000
