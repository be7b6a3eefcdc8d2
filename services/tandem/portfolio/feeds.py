"""The two Kafka threads of the portfolio: they poll, decode, and hand on through one queue. The decision thread alone acts on it.

Offsets are committed by the forecast thread, up to what the decision thread says has taken effect.
"""

import hashlib
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from tandem.adapters import topics
from tandem.adapters.codec import decode_forecasts
from tandem.adapters.deadletter import park
from tandem.adapters.kafka_log import KafkaReader, KafkaWriter
from tandem.domain.errors import BadRecord, TandemError
from tandem.domain.forecasts import ForecastBatch
from tandem.domain.ids import PairId
from tandem.flow.breakers import Breaker
from tandem.flow.decisions import LogPlace
from tandem.portfolio import measures
from tandem.portfolio.provenance import place_of
from tandem.ports import LogRecord

SERVICE = "portfolio"
_POLL_S = 0.2  # bounds how late a stop or a commit is noticed; records come at once
QUEUE_MAX = 10_000  # events between the readers and the decision thread
_COMMIT_EVERY_S = 1.0  # after a crash so much is read again, and changes nothing
_PARTITION = (topics.FORECASTS, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastsArrived:
    """A batch, its offset, and when it was published (wall time in ns, 0 if the record does not say)."""

    batch: ForecastBatch
    offset: int
    published_ns: int
    place: LogPlace


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlArrived:
    """A record of the control topic, not yet applied."""

    record: LogRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerReset:
    """A person has looked at what tripped a breaker, and ends it."""

    breaker: Breaker


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseWanted:
    """A person has looked at a quarantined pair. answer gets "" when it is released, else why it is not."""

    pair: PairId
    adopt: bool
    answer: Future[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A thread has ended with an error."""

    error: TandemError


class Inbox:
    """The decision thread's queue. Bounded: a reader that is far ahead waits; closed, it takes everything and keeps nothing."""

    def __init__(self) -> None:
        self._queue: queue.Queue[object] = queue.Queue(QUEUE_MAX)
        self._closed = threading.Event()

    def put(self, event: object) -> None:
        """Add an event, from any thread."""
        while not self._closed.is_set():
            try:
                self._queue.put(event, timeout=_POLL_S)
            except queue.Full:
                continue
            return

    def get(self, timeout_s: float) -> object | None:
        """The next event, None when there was none for so long."""
        try:
            return self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def close(self) -> None:
        """Let go of whoever waits to put something in."""
        self._closed.set()


class ForecastFeed(threading.Thread):
    """Reads tandem.forecasts from the group's committed offset."""

    def __init__(self, servers: str, writer: KafkaWriter, deliver: Callable[[object], None], *, account: str) -> None:
        """deliver: puts into the decision thread's queue. writer: for records that cannot be read. Raises Transient.

        account: names the group, so that each account's portfolio reads every forecast.
        """
        super().__init__(name="forecasts", daemon=True)
        self.applied_offset = 0  # set by the decision thread: everything before it has taken effect
        self._reader = KafkaReader(servers, [topics.FORECASTS], client_id=SERVICE, group=f"tandem.portfolio.{account}")
        self._writer, self._deliver = writer, deliver
        self._stopping = threading.Event()
        self._committed, self._next_commit_s, self._newest_ms = 0, 0.0, 0
        self._ends = self._reader.end_offsets()

    def skip_old(self) -> None:
        """Leave out what the topic held when this feed was made. Only before it starts."""
        self._reader.seek(self._ends)
        self._reader.commit_offsets(self._ends)

    def run(self) -> None:
        """Until stop."""
        try:
            while not self._stopping.is_set():
                for record in self._reader.poll(_POLL_S):
                    self._hand_on(record)
                    self._newest_ms = record.timestamp_ms
                measures.forecasts_seen(self._reader.lag(), self._newest_ms)
                if time.monotonic() >= self._next_commit_s:
                    self._commit()
            if self.applied_offset:
                self._reader.commit_offsets({_PARTITION: self.applied_offset})
        except TandemError as error:
            self._deliver(Failed(error=error))
        finally:
            self._reader.close()

    def _hand_on(self, record: LogRecord) -> None:
        try:
            batch = decode_forecasts(record.value or b"")
        except BadRecord as error:
            park(self._writer, SERVICE, record.topic, error, record.value or b"")
            return
        published_ns = int.from_bytes(record.headers.get(topics.HEADER_PUBLISHED, b""), "little")
        digest = hashlib.sha256(record.value or b"").hexdigest()
        place = place_of(batch, offset=record.offset, sha256=digest, ticks=record.headers.get(topics.HEADER_TICKS, b""))
        self._deliver(ForecastsArrived(batch=batch, offset=record.offset, published_ns=published_ns, place=place))
        time.sleep(0)  # gives the interpreter to the decision thread, which else waits until this one has nothing more to do

    def _commit(self) -> None:
        self._next_commit_s = time.monotonic() + _COMMIT_EVERY_S
        applied = self.applied_offset
        if applied > self._committed:
            self._reader.commit_soon({_PARTITION: applied})
            self._committed = applied

    def stop(self) -> None:
        """Commit what has taken effect, and end."""
        self._stopping.set()
        if self.ident is None:
            self._reader.close()  # never started
        else:
            self.join(timeout=5)


class ControlFeed(threading.Thread):
    """Goes on reading tandem.control where `read_control` stopped."""

    def __init__(self, reader: KafkaReader, deliver: Callable[[object], None]) -> None:
        super().__init__(name="control", daemon=True)
        self._reader, self._deliver = reader, deliver
        self._stopping = threading.Event()

    def run(self) -> None:
        """Until stop."""
        try:
            while not self._stopping.is_set():
                for record in self._reader.poll(_POLL_S):
                    self._deliver(ControlArrived(record=record))
        except TandemError as error:
            self._deliver(Failed(error=error))
        finally:
            self._reader.close()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        if self.ident is None:
            self._reader.close()  # never started
        else:
            self.join(timeout=5)
