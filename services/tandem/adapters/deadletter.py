"""The dead letter topic: where a record that cannot be used waits with its reason, so that nothing is skipped in silence."""

import base64

import orjson

from tandem.adapters import topics
from tandem.domain.errors import BadRecord
from tandem.ports import LogWriter

# Kafka takes records up to 1 MiB, base64 adds a third: a longer payload keeps its first part, and its full length beside it.
PAYLOAD_BYTES_MAX = 512 * 1024


def park(writer: LogWriter, service: str, topic: str, error: BadRecord, payload: bytes) -> None:
    """Queue one unusable record. service: who parks it; topic: where it came from, or was to go. Raises what the writer raises."""
    doc = {
        "service": service,
        "topic": topic,
        "reason": error.reason,
        "detail": error.detail,
        "payload": base64.b64encode(payload[:PAYLOAD_BYTES_MAX]).decode(),
        "payload_bytes": len(payload),
    }
    writer.publish(topics.DEADLETTER, orjson.dumps(doc), key=service.encode())
