"""Which shards this replica publishes, from which record on, and how far each has got for whoever takes it over.

Every replica reads all ticks and keeps the state of all pairs; it forecasts and publishes those of its shards. When a replica goes, the
others go back to where its shards had got and publish on from there. A batch that both have published is the same twice, and counts once;
one that neither has is impossible, because a shard's offset moves only after its batches are acknowledged. Called by pump.py.
"""

import threading
import time

import structlog

from tandem.adapters import topics
from tandem.adapters.kafka_log import KafkaWriter
from tandem.adapters.kafka_members import Members, Progress
from tandem.domain.errors import Transient
from tandem.flow.sector import SectorModel
from tandem.flow.shards import shards_of

log = structlog.get_logger()
COMMIT_EVERY_S = 1.0  # a crash replays at most this much; the forecasts are then published again with the same content
_JOIN_S_MAX = 20  # a group that waits for a lost member to time out takes SESSION_S; then the state is rebuilt all the same
_NOBODY = ("",)


class Shares:
    """Written by the pump's thread; a thread of its own commits, so that the pump never waits for it."""

    def __init__(self, servers: str, model: SectorModel, member: str, writer: KafkaWriter) -> None:
        """member: the replica's name, unique among those that run now. Raises Transient."""
        topic = topics.ticks(model.bundle.sector)
        self._group = f"tandem.forecaster.{model.bundle.sector}.{model.ref.version}"
        self._shards, self._member, self._writer = model.shards, member, writer
        self._published_to: tuple[dict[int, int], int] = ({}, 0)  # by own shard the first record to publish; the next record; one object
        self._committed: dict[int, int] = {}
        self._alive: tuple[str, ...] = ()
        self._failure: Transient | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._commit_on, name="progress", daemon=True)
        self._progress = Progress(servers, topic)
        self._members: Members | None = None
        if model.shards > 1:
            self._members = Members(servers, topic, group=f"{self._group}.members", member=member)
            self._members.start()

    def begin(self, stop: threading.Event) -> None:
        """Wait until this replica knows the others, and take what is its own."""
        deadline_s = time.monotonic() + _JOIN_S_MAX
        while not self.alive and time.monotonic() < deadline_s and not stop.wait(0.02):
            pass
        self.follow(0)
        self._thread.start()

    @property
    def alive(self) -> tuple[str, ...]:
        """The replicas; one that need not share knows none but itself."""
        return self._members.alive if self._members is not None else _NOBODY

    @property
    def owned(self) -> frozenset[int]:
        """The shards to forecast."""
        return frozenset(self._published_to[0])

    def publishes(self, shard: int, offset: int) -> bool:
        """Whether the batches that the record at this offset makes of a shard are this replica's to publish."""
        start = self._published_to[0].get(shard)
        return start is not None and offset >= start

    def reached(self, next_offset: int) -> None:
        """Everything before this record has been published, if not acknowledged."""
        self._published_to = (self._published_to[0], next_offset)

    def follow(self, next_offset: int) -> int | None:
        """Own what is this replica's by now; the record to go back to where a new shard had stopped before. Raises Transient."""
        if self._failure is not None:
            raise self._failure
        alive = self.alive
        if alive == self._alive:
            return None
        own = frozenset({0}) if self._members is None else shards_of(self._member, alive, self._shards)
        gained = own - self.owned
        reached = self._progress.read([self._name(shard) for shard in sorted(gained)])
        starts = {shard: max(start, next_offset) for shard, start in self._published_to[0].items() if shard in own}
        starts |= {shard: reached[self._name(shard)] for shard in gained}
        back_to = min((starts[shard] for shard in gained), default=next_offset)
        self._published_to, self._alive = (starts, min(back_to, next_offset)), alive
        log.info("shards_owned", owned=sorted(own), alive=alive, back_to=back_to)
        return back_to if back_to < next_offset else None

    def close(self, *, clean: bool) -> None:
        """Commit what was published, when that went well, and leave."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=5)
        try:
            if clean:
                self._commit()
        finally:
            if self._members is not None:
                self._members.stop()
            self._progress.close()

    def _name(self, shard: int) -> str:
        return self._group if self._shards == 1 else f"{self._group}.{shard}of{self._shards}"

    def _commit_on(self) -> None:
        while not self._stopping.wait(COMMIT_EVERY_S):
            try:
                self._commit()
            except Transient as error:
                self._failure = error
                return

    def _commit(self) -> None:
        """The offset moves only after the forecasts are acknowledged."""
        starts, next_offset = self._published_to
        done = {shard: max(start, next_offset) for shard, start in starts.items()}
        changed = {shard: offset for shard, offset in done.items() if self._committed.get(shard) != offset}
        if changed:
            self._writer.flush()
            self._progress.write({self._name(shard): offset for shard, offset in changed.items()})
        self._committed = done
