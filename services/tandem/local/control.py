"""The control topic as this machine's supervisor uses it: what is there now, and the only place where it writes.

What is written is read back before anything else is decided, so that no decision is made from an older pointer than one's own.
"""

from collections.abc import Iterable

from tandem.adapters.control_log import ControlTable, publish_control, read_control
from tandem.adapters.kafka_log import KafkaWriter
from tandem.adapters.topics import CONTROL
from tandem.domain.control import ControlRecord

_PARTITION = (CONTROL, 0)


class ControlTopic:
    """A table of the newest records, brought up to date when asked. For one thread. Raises Transient without Kafka."""

    def __init__(self, servers: str, client_id: str) -> None:
        """Reads the topic to its end."""
        self._servers, self._client_id = servers, client_id
        self.table: ControlTable
        self.table, self._reader = read_control(servers, client_id)

    def catch_up(self) -> ControlTable:
        """The table at the topic's present end."""
        end = self._reader.end_offsets()[_PARTITION]
        while self._reader.position(_PARTITION) < end:
            for record in self._reader.poll(1.0):
                self.table.apply(record)
        return self.table

    def publish(self, *records: ControlRecord) -> None:
        """Write records durably."""
        if not records:
            return
        writer = KafkaWriter(self._servers, self._client_id)
        try:
            publish_control(writer, *records)
        finally:
            writer.close()
        self.catch_up()

    def withdraw(self, keys: Iterable[str]) -> None:
        """Take keys out of the topic durably."""
        wanted = list(keys)
        if not wanted:
            return
        writer = KafkaWriter(self._servers, self._client_id)
        try:
            for key in wanted:
                writer.publish(CONTROL, None, key=key.encode())
            writer.flush()
        finally:
            writer.close()
        self.catch_up()

    def close(self) -> None:
        """Let go of Kafka."""
        self._reader.close()
