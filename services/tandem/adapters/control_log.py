"""The control topic as a table: the newest record of each key, kept up to date by polling."""

from collections.abc import Mapping

from tandem.adapters import topics
from tandem.adapters.codec import decode_control, encode_control
from tandem.adapters.kafka_log import KafkaReader, KafkaWriter
from tandem.domain.control import ControlRecord, PairSpec, RoutingPointer, TradingState
from tandem.domain.errors import BadRecord
from tandem.ports import LogRecord


class ControlTable:
    """The state of the control topic. `apply` is the only way it changes."""

    def __init__(self) -> None:
        self._records: dict[str, ControlRecord] = {}
        self.rejected: list[tuple[LogRecord, BadRecord]] = []  # for the caller to park

    def apply(self, record: LogRecord) -> bool:
        """Take over one record; True if it changed the table. A routing pointer with an epoch that is not higher is ignored."""
        key = (record.key or b"").decode(errors="replace")
        if record.value is None:
            return self._records.pop(key, None) is not None
        try:
            new = decode_control(record.value)
        except BadRecord as error:
            self.rejected.append((record, error))
            return False
        old = self._records.get(key)
        if isinstance(old, RoutingPointer) and isinstance(new, RoutingPointer) and new.epoch <= old.epoch:
            return False
        self._records[key] = new
        return new != old

    @property
    def records(self) -> Mapping[str, ControlRecord]:
        """Every record by its key."""
        return self._records

    @property
    def pairs(self) -> dict[str, PairSpec]:
        """Declared pairs by pair id, in order of id."""
        return {r.pair: r for _, r in sorted(self._records.items()) if isinstance(r, PairSpec)}

    @property
    def pointers(self) -> dict[str, RoutingPointer]:
        """Routing pointers by sector, in order of sector."""
        return {r.sector: r for _, r in sorted(self._records.items()) if isinstance(r, RoutingPointer)}

    @property
    def trading(self) -> dict[str, TradingState]:
        """Trading states by scope."""
        return {r.scope: r for _, r in sorted(self._records.items()) if isinstance(r, TradingState)}


def read_control(servers: str, client_id: str) -> tuple[ControlTable, KafkaReader]:
    """The table after reading the topic to its end, and the reader to go on with."""
    reader = KafkaReader(servers, [topics.CONTROL], client_id=client_id)
    table = ControlTable()
    end = reader.end_offsets()[(topics.CONTROL, 0)]
    while reader.position((topics.CONTROL, 0)) < end:  # the position also moves past what compaction took away
        for record in reader.poll(1.0):
            table.apply(record)
    return table, reader


def publish_control(writer: KafkaWriter, *records: ControlRecord) -> None:
    """Write control records durably."""
    for record in records:
        key, value = encode_control(record)
        writer.publish(topics.CONTROL, value, key=key)
    writer.flush()
