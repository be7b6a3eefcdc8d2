"""The control topic as the operator uses it: what every service has been told, kept up to date, and the only place where it is written.

A thread follows the topic and tells which keys have changed, so that a record that somebody else overwrites is noticed. After trouble
with Kafka the topic is read again from its first record: a broker that has come back without its data must not pass for one that has it.
Decides nothing about pairs or models. Safe to use from many threads; writes ask the guard first, see lease.py.
"""

import socket
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import structlog

from tandem.adapters import telemetry, topics
from tandem.adapters.codec import encode_control
from tandem.adapters.control_log import ControlTable
from tandem.adapters.kafka_log import KafkaReader, KafkaWriter, create_topics
from tandem.domain.control import ControlRecord, PairSpec, RoutingPointer, TradingState
from tandem.domain.errors import Transient
from tandem.ports import LogRecord

Record = TypeVar("Record", PairSpec, RoutingPointer, TradingState)
CLIENT_ID = "tandem-operator"
_CHECK_S = 3.0  # how often the brokers are looked for; Kafka's client itself waits in silence while they are away
_CONNECT_S = 2.0
_RETRY_S = (1.0, 15.0)  # first and longest pause between attempts to connect
_PENDING_S = 30.0  # how long a record of ours counts before it was read back; it is there a moment after the flush
_PARTITION = (topics.CONTROL, 0)
log = structlog.get_logger()


class _Pending(NamedTuple):
    """A record of ours that counts as the newest of its key until it is read back."""

    record: ControlRecord | None
    value: bytes | None
    until_s: float


class ControlTopic:
    """The newest record of each key, and the way to write one."""

    def __init__(self, servers: str, *, check: Callable[[], None], on_change: Callable[[str | None], None]) -> None:
        """check: raises when this process may not write. on_change: told each key that changed, or None when all may have."""
        self._servers, self._check, self._on_change = servers, check, on_change
        self._lock = threading.Lock()  # of what is known
        self._writing = threading.Lock()  # one write at a time, which may take as long as Kafka likes
        self._table: ControlTable | None = None
        self._pending: dict[str, _Pending] = {}  # ours that were not read back yet
        self._writer: KafkaWriter | None = None
        self._trouble: str | None = f"Kafka at {servers}: the control topic is not read yet"
        self.settled = threading.Event()  # the topic was read, or could not be
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """End; what was published is durable already."""
        self._stop.set()
        self._thread.join(timeout=10)
        if self._writing.acquire(timeout=5):
            self._close_writer()
            self._writing.release()

    @property
    def trouble(self) -> str | None:
        """Why nothing can be read or written now; None when all is well."""
        return self._trouble

    def pair(self, pair: str) -> PairSpec | None:
        """What is declared of a pair now. Raises Transient without Kafka."""
        return self._record(f"pair/{pair}", PairSpec)

    def pointer(self, sector: str) -> RoutingPointer | None:
        """The version that a sector is routed to now. Raises Transient without Kafka."""
        return self._record(f"routing/{sector}", RoutingPointer)

    def trading(self, scope: str) -> TradingState | None:
        """The trading mode of a scope now. Raises Transient without Kafka."""
        return self._record(f"trading/{scope}", TradingState)

    def _record(self, key: str, kind: type[Record]) -> Record | None:
        """The newest record of a key as every service sees it, ours included."""
        with self._lock:
            table = self._known()
            pending = self._pending.get(key)
            found = pending.record if pending is not None and time.monotonic() < pending.until_s else table.records.get(key)
        return found if isinstance(found, kind) else None

    def pairs(self) -> dict[str, PairSpec]:
        """All declared pairs by id, in order of id. Raises Transient without Kafka."""
        with self._lock:
            return self._known().pairs

    def publish(self, record: ControlRecord) -> None:
        """Write a record durably, under the lease. Raises Transient, NotLeader."""
        key, value = encode_control(record)
        self._write(key.decode(), _Pending(record, value, time.monotonic() + _PENDING_S))

    def withdraw(self, key: str) -> None:
        """Take a key out of the topic durably, under the lease. Raises Transient, NotLeader."""
        self._write(key, _Pending(None, None, time.monotonic() + _PENDING_S))

    def _known(self) -> ControlTable:
        if self._table is None:
            raise Transient(self._trouble or "the control topic is not read yet")
        return self._table

    def _write(self, key: str, pending: _Pending) -> None:
        with self._writing:
            self._check()
            if self._trouble is not None:
                raise Transient(self._trouble)
            try:
                if self._writer is None:
                    self._writer = KafkaWriter(self._servers, CLIENT_ID)
                with self._lock:
                    self._pending[key] = pending  # first: it may be read back before any of the next two returns
                self._writer.publish(topics.CONTROL, pending.value, key=key.encode())
                self._writer.flush()
            except Transient as error:
                with self._lock:
                    self._pending.pop(key, None)
                self._trouble = str(error)
                self._close_writer()  # what it still holds must not arrive after something newer
                raise
        telemetry.counter("operator_control_writes_total").labels(record=key.partition("/")[0]).inc()

    def _close_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _run(self) -> None:
        pause_s = _RETRY_S[0]
        while not self._stop.is_set():
            reader = None
            try:
                reader = self._open()
                pause_s = _RETRY_S[0]
                self._follow(reader)
            except Transient as error:
                self._fail(str(error))
                self._stop.wait(pause_s)
                pause_s = min(2 * pause_s, _RETRY_S[1])
            finally:
                if reader is not None:
                    reader.close()

    def _fail(self, reason: str) -> None:
        with self._lock:
            known, self._table, self._trouble = self._table, None, reason
            self._pending.clear()
        self.settled.set()
        telemetry.gauge("operator_dependency_up").labels(dependency="kafka").set(0)
        log.error("kafka_unreachable", reason=reason)
        if known is not None:
            self._on_change(None)

    def _open(self) -> KafkaReader:
        """Read the topic to its end."""
        self._look_for_brokers()
        create_topics(self._servers, ())
        reader, table = KafkaReader(self._servers, [topics.CONTROL], client_id=CLIENT_ID), ControlTable()
        try:
            end = reader.end_offsets()[_PARTITION]
            while reader.position(_PARTITION) < end and not self._stop.is_set():  # also moves past what compaction took away
                records = reader.poll(1.0)
                if not records:
                    self._look_for_brokers()
                for record in records:
                    self._take(table, record)
        except Transient:
            reader.close()
            raise
        with self._lock:
            self._table, self._trouble = table, None
        self.settled.set()
        telemetry.gauge("operator_dependency_up").labels(dependency="kafka").set(1)
        log.info("control_topic_read", pairs=len(table.pairs), pointers=len(table.pointers))
        self._on_change(None)
        return reader

    def _follow(self, reader: KafkaReader) -> None:
        """Until stop. Raises Transient when Kafka is away or has lost what it had."""
        checked_s = time.monotonic()
        while not self._stop.is_set():
            for record in reader.poll(1.0):
                self._change(record)
            if time.monotonic() - checked_s < _CHECK_S:
                continue
            checked_s = time.monotonic()
            self._look_for_brokers()
            if self._trouble is not None:
                raise Transient(self._trouble)
            if (end := reader.end_offsets()[_PARTITION]) < (here := reader.position(_PARTITION)):
                raise Transient(f"Kafka at {self._servers}: the control topic ends at {end} and was read to {here}: it has lost records")

    def _change(self, record: LogRecord) -> None:
        key = (record.key or b"").decode(errors="replace")
        with self._lock:
            if self._table is None:
                return
            changed = self._take(self._table, record)
            pending = self._pending.get(key)
            ours = pending is not None and pending.value == record.value
            if ours:
                del self._pending[key]
        if changed and not ours:
            self._on_change(key)

    def _take(self, table: ControlTable, record: LogRecord) -> bool:
        changed = table.apply(record)
        for bad, error in table.rejected:
            log.error("control_record_unusable", key=(bad.key or b"").decode(errors="replace"), reason=str(error))
        table.rejected.clear()
        return changed

    def _look_for_brokers(self) -> None:
        """Raises Transient when nobody listens at any of the addresses: Kafka's own client would find out after half a minute."""
        reasons = []
        for server in self._servers.split(","):
            host, _, port = server.strip().rpartition(":")
            try:
                socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
            except OSError as error:
                reasons.append(f"{server}: {error.strerror or error}")
            else:
                return
        raise Transient(f"Kafka does not answer: {'; '.join(reasons)}")
