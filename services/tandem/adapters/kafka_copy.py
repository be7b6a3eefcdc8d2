"""Topics to files and back, each record at the offset that it had. Called by cli/backup.py and cli/restore.py.

Offsets stand in the ledger's audit chain, in the recorder's positions and in the portfolio's group: a copy that moved them would be read
from the wrong place. A topic that no longer begins at 0 is filled up before, and what fills it is deleted again. Only a compacted topic has
gaps, and nobody remembers offsets of one.
"""

import gzip
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgpack
from kafka import KafkaAdminClient, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import KafkaError, NoError

from tandem.adapters.kafka_log import KafkaReader
from tandem.adapters.kafka_servers import client_options
from tandem.domain.errors import InvariantBroken, Permanent, Transient
from tandem.ports import LogRecord

T = TypeVar("T")
Stored = tuple[int, int | None, bytes | None, bytes | None, list[tuple[str, bytes]]]  # offset, timestamp in ms, key, value, headers
PREFIX = "tandem."  # of our topics and groups
_CLIENT_ID = "tandem-backup"
_TIMEOUT_S = 120.0
_POLL_S = 0.1
_WINDOW, _WINDOW_BYTES = 10_000, 32 << 20  # records under way, and their values
_KEPT_CONFIGS = ("cleanup.policy", "retention.ms")
_LEVEL = 1  # of compression: the disk is as fast


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicCopy:
    """What a file holds: the records from the first offset to the end, which is the offset after the last one."""

    topic: str
    file: str
    configs: dict[str, str]
    first_offset: int
    end_offset: int
    records: int

    @property
    def compacted(self) -> bool:
        """Offsets may have gaps, and are not kept."""
        return "compact" in self.configs.get("cleanup.policy", "")


class Topics:
    """The topics and groups of one Kafka. Use as a context manager. Raises Transient."""

    def __init__(self, servers: str) -> None:
        self._servers = servers
        try:
            self._admin = KafkaAdminClient(bootstrap_servers=servers.split(","), client_id=_CLIENT_ID, **client_options(servers))
        except KafkaError as error:
            raise Transient(f"Kafka at {servers}: {error!r}") from error

    def __enter__(self) -> "Topics":
        return self

    def __exit__(self, *_: object) -> None:
        self._admin.close()

    def names(self) -> list[str]:
        """Our topics that are there."""
        return sorted(name for name in self._admin.list_topics() if name.startswith(PREFIX))

    def filled(self) -> list[str]:
        """Our topics that have held a record."""
        names = self.names()
        reader = self._reader(names) if names else None
        if reader is None:
            return []
        try:
            return sorted({topic for (topic, _), end in reader.end_offsets().items() if end > 0})
        finally:
            reader.close()

    def save(self, topic: str, folder: Path) -> TopicCopy:
        """Write the records that a topic has now to a file of the folder. Raises Permanent for a topic of several partitions."""
        reader = self._reader([topic])
        try:
            ends = reader.end_offsets()
            if set(ends) != {(topic, 0)}:
                raise Permanent(f"{topic} has {len(ends)} partitions; topics of Tandem have one")
            configs = self._configs(topic)
            reader.seek_to_beginning()
            first, file = reader.position((topic, 0)), f"{topic}.msgpack.gz"
            count, expected = 0, first
            with gzip.open(folder / file, "wb", compresslevel=_LEVEL) as out:
                for record in _until(reader, topic, ends[topic, 0]):
                    if count == 0:  # retention may have gone on since the question
                        first = expected = record.offset
                    if record.offset != expected and "compact" not in configs["cleanup.policy"]:
                        raise InvariantBroken(
                            f"{topic}: offset {record.offset} comes after {expected - 1}, and nothing compacts this topic"
                        )
                    out.write(msgpack.packb(_fields(record)))
                    count, expected = count + 1, record.offset + 1
        finally:
            reader.close()
        return TopicCopy(topic=topic, file=file, configs=configs, first_offset=first, end_offset=ends[topic, 0], records=count)

    def _reader(self, names: Iterable[str]) -> KafkaReader:
        return KafkaReader(self._servers, names, client_id=_CLIENT_ID)

    def _configs(self, topic: str) -> dict[str, str]:
        found = self._admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
        return {name: str(found["topic"][topic][name]["value"]) for name in _KEPT_CONFIGS}

    def delete(self, names: Iterable[str]) -> None:
        """Delete topics, and wait until they are gone."""
        if wanted := list(names):
            try:
                self._admin.delete_topics(wanted)
                deadline_s = time.monotonic() + _TIMEOUT_S
                while left := set(wanted) & set(self.names()):
                    if time.monotonic() > deadline_s:
                        raise Transient(f"topics {', '.join(sorted(left))} are not gone {_TIMEOUT_S:.0f} s after they were deleted")
                    time.sleep(_POLL_S)
            except KafkaError as error:
                raise Transient(f"cannot delete topics: {error!r}") from error

    def restore(self, copy: TopicCopy, folder: Path) -> None:
        """Make the topic and write its records, which is checked in the end. The topic must not be there."""
        try:
            self._admin.create_topics([NewTopic(copy.topic, num_partitions=1, replication_factor=-1, topic_configs=copy.configs)])
            self._admin.wait_for_topics([copy.topic])
            self._write(copy, folder)
        except KafkaError as error:
            raise Transient(f"cannot restore {copy.topic}: {error!r}") from error
        reader = self._reader([copy.topic])
        try:
            end = reader.end_offsets()[copy.topic, 0]
        finally:
            reader.close()
        if not copy.compacted and end != copy.end_offset:
            raise InvariantBroken(f"{copy.topic} ends at {end} after the restore, the backup at {copy.end_offset}")

    def _write(self, copy: TopicCopy, folder: Path) -> None:
        producer = KafkaProducer(
            **client_options(self._servers),
            bootstrap_servers=self._servers.split(","),
            client_id=_CLIENT_ID,
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            max_request_size=1_048_576,
            metrics_enabled=False,
        )
        try:
            if not copy.compacted and copy.first_offset:
                _send(producer, copy, ((offset, None, None, b"", []) for offset in range(copy.first_offset)))
                self._admin.delete_records({TopicPartition(copy.topic, 0): copy.first_offset})
            _send(producer, copy, _read(folder / copy.file))
        finally:
            producer.close(timeout=10)

    def groups(self) -> dict[str, dict[str, int]]:
        """The committed offsets of our groups: group -> topic -> offset."""
        names = [str(group["group_id"]) for group in _patiently("list the groups", self._admin.list_groups)]
        found = {}
        for name in sorted(name for name in names if name.startswith(PREFIX)):
            places = _patiently(f"read the offsets of {name}", lambda name=name: self._admin.list_group_offsets([name])[name])  # type: ignore[misc]
            found[name] = {place.topic: int(at.offset) for place, at in places.items() if at.offset >= 0}
        return {name: offsets for name, offsets in found.items() if offsets}

    def restore_group(self, group: str, offsets: dict[str, int]) -> None:
        """Commit what a group had committed. It must have no members."""
        places = {TopicPartition(topic, 0): OffsetAndMetadata(offset, "", -1) for topic, offset in offsets.items()}

        def commit() -> dict[str, str]:
            refused = {p.topic: error for p, error in self._admin.alter_group_offsets(group, places).items() if error is not NoError}
            for error in refused.values():
                if error.retriable:  # told of each partition: e.g. the group's coordinator has only just been chosen
                    raise error
            return {topic: error.__name__ for topic, error in refused.items()}

        if refused := _patiently(f"set the offsets of {group}", commit):
            raise Permanent(f"Kafka does not take the offsets of {group}: {refused}; does one of its members still run?")


def _patiently(what: str, work: Callable[[], T]) -> T:
    """The result; an empty Kafka makes its topic of groups when it is first asked for one, and says meanwhile that there is none."""
    deadline_s = time.monotonic() + _TIMEOUT_S
    while True:
        try:
            return work()
        except KafkaError as error:
            if not error.retriable or time.monotonic() > deadline_s:
                raise Transient(f"cannot {what}: {error!r}") from error
        time.sleep(_POLL_S)


def _until(reader: KafkaReader, topic: str, end: int) -> Iterator[LogRecord]:
    """Every record before an offset."""
    while reader.position((topic, 0)) < end:
        for record in reader.poll(1.0):
            if record.offset >= end:
                return
            yield record


def _fields(record: LogRecord) -> tuple[Any, ...]:
    return record.offset, record.timestamp_ms, record.key, record.value, list(record.headers.items())


def _read(path: Path) -> Iterator[Stored]:
    with gzip.open(path, "rb") as file:
        for offset, timestamp_ms, key, value, headers in msgpack.Unpacker(file, use_list=False, max_buffer_size=64 << 20):
            yield offset, timestamp_ms, key, value, list(headers)


def _send(producer: KafkaProducer, copy: TopicCopy, records: Iterable[Stored]) -> None:
    """Write records in order, a bounded number of them at a time."""
    futures: list[tuple[int, Any]] = []
    size = 0
    for offset, timestamp_ms, key, value, headers in records:
        sent = producer.send(copy.topic, value=value, key=key, headers=headers, partition=0, timestamp_ms=timestamp_ms)
        futures.append((offset, sent))
        size += len(value or b"")
        if len(futures) >= _WINDOW or size >= _WINDOW_BYTES:
            _check(copy, futures)
            size = 0
    _check(copy, futures)


def _check(copy: TopicCopy, futures: list[tuple[int, Any]]) -> None:
    """Wait for records, and compare where they went. Empties the list."""
    for wanted, future in futures:
        found = future.get(timeout=_TIMEOUT_S).offset
        if found != wanted and not copy.compacted:
            raise InvariantBroken(f"{copy.topic}: the record of offset {wanted} went to {found}; does something else write to it?")
    futures.clear()
