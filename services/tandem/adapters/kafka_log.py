"""The event log on Apache Kafka, through kafka-python. Partitions are assigned by hand: one process owns its topics, no rebalance."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from tandem.adapters import topics
from tandem.adapters.kafka_servers import client_options
from tandem.domain.errors import Transient
from tandem.ports import LogRecord

_REQUEST_TIMEOUT_MS = 20_000


class KafkaWriter:
    """Idempotent, acks=all. Errors of earlier records surface at the next flush."""

    def __init__(self, servers: str, client_id: str) -> None:
        try:
            self._producer = KafkaProducer(
                **client_options(servers),
                bootstrap_servers=servers.split(","),
                client_id=client_id,
                acks="all",
                enable_idempotence=True,
                linger_ms=0,
                max_request_size=1_048_576,
                request_timeout_ms=_REQUEST_TIMEOUT_MS,
                delivery_timeout_ms=60_000,
                metrics_enabled=False,
            )
        except KafkaError as error:
            raise Transient(f"Kafka at {servers}: {error!r}") from error
        self._failed: BaseException | None = None
        self._sent = self._done = 0  # records; the first is counted here, the second by the client's thread

    @property
    def unacknowledged(self) -> int:
        """Records that Kafka has not confirmed yet."""
        return self._sent - self._done

    def publish(self, topic: str, value: bytes | None, *, key: bytes | None = None, headers: dict[str, bytes] | None = None) -> None:
        """Queue one record; blocks while the queue is full."""
        try:
            future = self._producer.send(topic, value=value, key=key, headers=list((headers or {}).items()))
        except KafkaError as error:
            raise Transient(f"cannot publish to {topic}: {error!r}") from error
        self._sent += 1
        future.add_callback(self._confirm)
        future.add_errback(self._remember)

    def _confirm(self, _: object) -> None:
        self._done += 1

    def _remember(self, error: BaseException) -> None:
        self._failed = error
        self._done += 1

    def flush(self, timeout_s: float = 60) -> None:
        """Wait until all records are acknowledged. Raises Transient for one that was refused, and when the time is over."""
        try:
            self._producer.flush(timeout=timeout_s)
        except KafkaError as error:
            raise Transient(f"records not acknowledged: {error!r}") from error
        self.check()

    def check(self) -> None:
        """Raises Transient if a record was refused since the last look; does not wait."""
        if self._failed is not None:
            failed, self._failed = self._failed, None
            raise Transient(f"a record was not accepted: {failed!r}") from failed

    def close(self, timeout_s: float = 10) -> None:
        """Flush and close; what is not acknowledged in time is given up."""
        self._producer.close(timeout=timeout_s)


class KafkaReader:
    """Reads all partitions of some topics. With a group it starts at the group's committed offset, else at the start."""

    def __init__(self, servers: str, topic_names: Iterable[str], *, client_id: str, group: str | None = None) -> None:
        try:
            self._consumer = KafkaConsumer(
                **client_options(servers),
                bootstrap_servers=servers.split(","),
                client_id=client_id,
                group_id=group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                isolation_level="read_committed",
                fetch_max_wait_ms=250,
                max_partition_fetch_bytes=8 * 1_048_576,
                max_poll_records=2_000,
                request_timeout_ms=_REQUEST_TIMEOUT_MS,
                allow_auto_create_topics=False,
                metrics_enabled=False,
            )
        except KafkaError as error:
            raise Transient(f"Kafka at {servers}: {error!r}") from error
        self._refused: KafkaError | None = None  # a commit's refusal that nobody has been told yet
        try:
            self._partitions = [
                TopicPartition(name, number) for name in topic_names for number in sorted(self._consumer.partitions_for_topic(name) or ())
            ]
            if missing := set(topic_names) - {p.topic for p in self._partitions}:
                raise Transient(f"Kafka at {servers} has no topic {', '.join(sorted(missing))}")
            self._consumer.assign(self._partitions)
        except Transient:
            self.close()  # else its thread goes on asking for connections
            raise
        except KafkaError as error:
            self.close()
            raise Transient(f"Kafka at {servers}: {error!r}") from error

    def poll(self, timeout_s: float) -> Sequence[LogRecord]:
        """The next records, or none after the timeout."""
        try:
            batches = self._consumer.poll(timeout_ms=int(timeout_s * 1000))
        except KafkaError as error:
            raise Transient(f"cannot read: {error!r}") from error
        return [
            LogRecord(
                topic=r.topic,
                partition=r.partition,
                offset=r.offset,
                key=r.key,
                value=r.value,
                headers=dict(r.headers),
                timestamp_ms=r.timestamp,
            )
            for records in batches.values()
            for r in records
        ]

    def commit(self) -> None:
        """Commit the positions of all partitions: what was polled has taken effect."""
        self.commit_offsets({(p.topic, p.partition): self._consumer.position(p) for p in self._partitions})

    def commit_offsets(self, offsets: dict[tuple[str, int], int]) -> None:
        """Commit the next offset to read of each (topic, partition)."""
        try:
            self._consumer.commit({TopicPartition(t, n): OffsetAndMetadata(offset, "", -1) for (t, n), offset in offsets.items()})
        except KafkaError as error:
            raise Transient(f"cannot commit: {error!r}") from error

    def commit_soon(self, offsets: dict[tuple[str, int], int]) -> None:
        """The same without waiting: a commit takes the broker longer than everything that a record is read for.

        A commit that fails in passing is left to the next one. Raises Transient where an earlier one was refused for good.
        """
        refused, self._refused = self._refused, None
        if refused is not None:
            raise Transient(f"cannot commit: {refused!r}") from refused
        wanted = {TopicPartition(t, n): OffsetAndMetadata(offset, "", -1) for (t, n), offset in offsets.items()}
        try:
            self._consumer.commit_async(wanted, callback=self._hear)
        except KafkaError as error:
            raise Transient(f"cannot commit: {error!r}") from error

    def _hear(self, _: object, answer: object) -> None:
        """What became of a commit; told from within a later poll or commit."""
        if isinstance(answer, KafkaError) and not answer.retriable:
            self._refused = answer

    def committed(self) -> dict[tuple[str, int], int]:
        """The group's committed offsets; 0 where it has none."""
        return {(p.topic, p.partition): self._consumer.committed(p) or 0 for p in self._partitions}

    def end_offsets(self) -> dict[tuple[str, int], int]:
        """The offset after the last record of each partition, now. Raises Transient."""
        try:
            return {(p.topic, p.partition): offset for p, offset in self._consumer.end_offsets(self._partitions).items()}
        except KafkaError as error:
            raise Transient(f"cannot ask for offsets: {error!r}") from error

    def lag(self) -> int:
        """Records that were there at the last fetch and have not been polled yet; does not ask the broker."""
        ends = ((self._consumer.highwater(p), p) for p in self._partitions)
        return sum(max(0, end - self._consumer.position(p)) for end, p in ends if end is not None)

    def position(self, partition: tuple[str, int]) -> int:
        """The offset that the next poll starts at. Raises Transient."""
        try:
            return int(self._consumer.position(TopicPartition(*partition)))
        except KafkaError as error:
            raise Transient(f"cannot ask for offsets: {error!r}") from error

    def seek_to_beginning(self) -> None:
        """Read everything that is retained, whatever was committed."""
        self._consumer.seek_to_beginning(*self._partitions)

    def seek(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Go on at these offsets; where one is no longer retained, at the oldest record."""
        for partition, offset in offsets.items():
            self._consumer.seek(TopicPartition(*partition), offset)

    def close(self) -> None:
        """Close without committing."""
        self._consumer.close(autocommit=False)


def create_topics(servers: str, sectors: Iterable[str], *, keep_ticks_ms: int = -1) -> None:
    """Create the topics that are missing: one partition each, so that a sector has one order of events. They can be used when it returns.

    keep_ticks_ms: how long new tick topics keep their records; -1: for ever.
    """
    try:
        admin = KafkaAdminClient(bootstrap_servers=servers.split(","), request_timeout_ms=_REQUEST_TIMEOUT_MS, **client_options(servers))
    except KafkaError as error:
        raise Transient(f"Kafka at {servers}: {error!r}") from error
    try:
        present = set(admin.list_topics())
        wanted = {topics.FORECASTS: {}, topics.DEADLETTER: {}, topics.CONTROL: {"cleanup.policy": "compact"}}
        wanted |= {topics.ticks(sector): {"retention.ms": str(keep_ticks_ms)} for sector in sectors}
        new = [
            NewTopic(name, num_partitions=1, replication_factor=1, topic_configs={"retention.ms": "-1", **configs})
            for name, configs in wanted.items()
            if name not in present
        ]
        if new:
            with suppress(TopicAlreadyExistsError):  # another process was faster
                admin.create_topics(new)
        admin.wait_for_topics(list(wanted), timeout_ms=_REQUEST_TIMEOUT_MS)  # also for what another has only asked for
    except KafkaError as error:
        raise Transient(f"cannot create topics: {error!r}") from error
    finally:
        admin.close()
