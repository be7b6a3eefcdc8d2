"""Who else does the same work: the living members of a Kafka group, and how far each part of the work has got.

The group assigns no partition: its members only learn each other's names, and each works out for itself what is its own. A member that is
killed is missed after SESSION_S, one that stops says so. What the parts have reached is kept as offsets of groups of their own, so that
whoever takes a part over knows where to go on.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from kafka import KafkaAdminClient, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from kafka.errors import KafkaError
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment, ConsumerProtocolSubscription

from tandem.adapters.kafka_servers import client_options
from tandem.domain.errors import Transient

log = structlog.get_logger()
SESSION_S = 6  # Kafka's own least, by group.min.session.timeout.ms
_BEAT_S = 2  # a third of it, as Kafka advises
_POLL_S = 0.5  # bounds how late a stop is noticed; the client's own thread keeps the session
_REQUEST_TIMEOUT_MS = 20_000


class _Roster(AbstractPartitionAssignor):
    """An assignment of nothing, which tells every member the names of all."""

    name = "tandem-roster"

    def __init__(self, member: str) -> None:
        self._member = member
        self.alive: tuple[str, ...] = ()

    def metadata(self, topics: set[str]) -> Any:
        """What this member says of itself when it joins."""
        return ConsumerProtocolSubscription(0, list(topics), self._member.encode())

    def assign(self, _cluster: object, members: Sequence[Any]) -> dict[str, Any]:
        """By the member that the broker made the leader."""
        names = json.dumps(sorted(member.metadata.user_data.decode() for member in members)).encode()
        return {member.member_id: ConsumerProtocolAssignment(0, [], names) for member in members}

    def on_assignment(self, assignment: Any, generation: int) -> None:
        """Replaced as a whole: another thread reads it."""
        self.alive = tuple(json.loads(assignment.user_data))
        log.info("members", group_generation=generation, alive=self.alive)


class Members(threading.Thread):
    """Membership in a group, from start() to stop(). Kafka being away changes nothing: the last known members stay until it is back."""

    def __init__(self, servers: str, topic: str, *, group: str, member: str) -> None:
        """topic: any that exists; nothing is read. Raises Transient."""
        super().__init__(name="members", daemon=True)
        self.member = member
        self._roster, self._stopping = _Roster(member), threading.Event()
        try:
            self._consumer = KafkaConsumer(
                topic,
                **client_options(servers),
                bootstrap_servers=servers.split(","),
                client_id=member,
                group_id=group,
                partition_assignment_strategy=[self._roster],
                session_timeout_ms=SESSION_S * 1000,
                heartbeat_interval_ms=_BEAT_S * 1000,
                enable_auto_commit=False,
                request_timeout_ms=_REQUEST_TIMEOUT_MS,
                allow_auto_create_topics=False,
                metrics_enabled=False,
            )
        except KafkaError as error:
            raise Transient(f"Kafka at {servers}: {error!r}") from error

    @property
    def alive(self) -> tuple[str, ...]:
        """The names of all members, ascending; empty until this one has joined."""
        return self._roster.alive

    def run(self) -> None:
        """Until stop."""
        try:
            while not self._stopping.is_set():
                try:
                    self._consumer.poll(timeout_ms=int(_POLL_S * 1000))
                except KafkaError as error:
                    log.warning("members_unknown", error=repr(error))
                    self._stopping.wait(_POLL_S)
        finally:
            self._consumer.close(autocommit=False)

    def stop(self) -> None:
        """Leave the group, so that the others need not wait for the session to end."""
        self._stopping.set()
        if self.ident is None:
            self._consumer.close(autocommit=False)
        else:
            self.join(timeout=5)


class Progress:
    """The next offset of one topic's only partition, by name of what reads it: a group without members for each."""

    def __init__(self, servers: str, topic: str) -> None:
        """Raises Transient."""
        self._partition = TopicPartition(topic, 0)
        self._turn = threading.Lock()  # one thread takes shards over while another commits
        try:
            self._admin = KafkaAdminClient(
                bootstrap_servers=servers.split(","), request_timeout_ms=_REQUEST_TIMEOUT_MS, **client_options(servers)
            )
        except KafkaError as error:
            raise Transient(f"Kafka at {servers}: {error!r}") from error

    def read(self, names: Sequence[str]) -> dict[str, int]:
        """How far each has got; 0 where nothing is known. Raises Transient."""
        if not names:
            return {}
        try:
            with self._turn:
                found = self._admin.list_group_offsets({name: [self._partition] for name in names})
        except KafkaError as error:
            raise Transient(f"cannot read how far {', '.join(names)} got: {error!r}") from error
        return {name: max(0, found[name][self._partition].offset) if self._partition in found[name] else 0 for name in names}

    def write(self, offsets: Mapping[str, int]) -> None:
        """Everything before these offsets is done. Raises Transient."""
        for name, offset in offsets.items():
            try:
                with self._turn:
                    results = self._admin.alter_group_offsets(name, {self._partition: OffsetAndMetadata(offset, "", -1)})
            except KafkaError as error:
                raise Transient(f"cannot write how far {name} got: {error!r}") from error
            if refused := [error for error in results.values() if issubclass(error, KafkaError) and error.errno != 0]:
                raise Transient(f"cannot write how far {name} got: {refused[0].__name__}")

    def close(self) -> None:
        """Let go of the connection."""
        self._admin.close()
