"""The dead letter: a parked record says who parked it, why, and what it was."""

import base64

import orjson

from tandem.adapters import topics
from tandem.adapters.deadletter import MARKET_DATA, PAYLOAD_BYTES_MAX, letters_of, note_replayed, park
from tandem.domain.errors import BadRecord
from tandem.ports import LogRecord


class Written:
    """A log that keeps what is published."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes | None]] = []
        self.keys: list[bytes | None] = []

    def publish(self, topic: str, value: bytes | None, *, key: bytes | None = None, headers: dict[str, bytes] | None = None) -> None:
        self.records.append((topic, value))
        self.keys.append(key)

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


def test_a_reason_that_quotes_all_that_it_found_fits_into_a_record():
    written = Written()
    park(written, "ingestor", "market-data", BadRecord("price_invalid", "p " + "9" * 2_000_000), bytes(PAYLOAD_BYTES_MAX))
    assert len(written.records[0][1] or b"") < 1_000_000


def test_a_payload_larger_than_a_record_keeps_its_first_part_and_its_length():
    written = Written()
    park(written, "ingestor", "market-data", BadRecord("payload_malformed", "not msgpack"), bytes(PAYLOAD_BYTES_MAX * 3))

    doc = orjson.loads(written.records[0][1] or b"")
    assert doc["payload_bytes"] == PAYLOAD_BYTES_MAX * 3
    assert len(base64.b64decode(doc["payload"])) == PAYLOAD_BYTES_MAX
    assert len(written.records[0][1] or b"") < 1_000_000


def records(written: Written) -> list[LogRecord]:
    """What was written, as it is read back."""
    return [
        LogRecord(topic=topic, partition=0, offset=offset, key=key, value=value, timestamp_ms=1000 + offset)
        for offset, ((topic, value), key) in enumerate(zip(written.records, written.keys, strict=True))
    ]


def test_letters_are_read_back_and_know_whether_they_were_replayed():
    written = Written()
    for number in range(3):
        park(written, "ingestor", MARKET_DATA, BadRecord("price_invalid", f"p {number}"), b"\x01")
    note_replayed(written, [1])
    letters = list(letters_of(records(written)))
    assert [(e.offset, e.parked_ms, e.service, e.topic, e.detail, e.payload, e.replayed) for e in letters] == [
        (n, 1000 + n, "ingestor", "market-data", f"p {n}", b"\x01", n == 1) for n in range(3)
    ]


def test_a_record_that_is_no_letter_is_shown_as_one():
    (letter,) = letters_of([LogRecord(topic=topics.DEADLETTER, partition=0, offset=4, key=None, value=b"?")])
    assert (letter.reason, letter.payload, letter.is_cut) == ("letter_malformed", b"?", False)


def test_a_payload_that_was_cut_says_so():
    written = Written()
    park(written, "ingestor", MARKET_DATA, BadRecord("payload_malformed", ""), bytes(PAYLOAD_BYTES_MAX + 1))
    assert next(letters_of(records(written))).is_cut
