"""The world of pairs and accounts in memory: cluster, control topic, book and registry, and an operator that can be killed at each write.

The cluster is sector_world's, with deletions that wait for finalizers. A reconcile is looked at as the queue does it, only in one thread.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from operator_process import account_manifest, condition, pair_manifest
from sector_world import Faults, Killed, MemoryCluster, MemoryEvents
from tandem.adapters.open_positions import OpenPosition, OpenPositions
from tandem.domain.control import ControlRecord, PairSpec, RoutingPointer, TradingState, control_key
from tandem.domain.errors import Transient
from tandem.domain.ids import PairId, SectorId
from tandem.operator.accounts import Accounts
from tandem.operator.context import Context
from tandem.operator.control import ControlTopic
from tandem.operator.events import Events
from tandem.operator.live_pairs import LivePairs
from tandem.operator.objects import Objects
from tandem.operator.pairs import Pairs
from tandem.ports import Conflict, Manifest
from tandem.settings import Settings

__all__ = ["Killed", "World", "account_manifest", "condition", "pair_manifest"]
KINDS = ("TradingPair", "TradingAccount")


class Cluster(MemoryCluster):
    """Deletions wait for finalizers, as in a real one."""

    def delete(self, kind: str, name: str, *, uid: str = "") -> bool:
        """As the API server's."""
        if (kind, name) not in self.objects:
            return False
        assert uid in {"", self.objects[kind, name]["metadata"]["uid"]}
        self.ask_deletion(kind, name, 1_800_000_000.0)
        return True

    def ask_deletion(self, kind: str, name: str, now_s: float) -> None:
        """As `kubectl delete`: gone at once, or marked."""
        found = self.objects[kind, name]
        if not found["metadata"].get("finalizers"):
            del self.objects[kind, name]
            return
        found["metadata"]["deletionTimestamp"] = f"{datetime.fromtimestamp(now_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
        self._store((kind, name), found, found)

    def _store(self, key: tuple[str, str], manifest: Manifest, old: Manifest) -> Manifest:
        made = super()._store(key, manifest, old)
        if made["metadata"].get("deletionTimestamp") and not made["metadata"].get("finalizers"):
            del self.objects[key]
        return made


class Topic:
    """The control topic: its newest records, and every write in order."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.records: dict[str, ControlRecord] = {}
        self.writes: list[str] = []

    @property
    def trouble(self) -> str | None:
        return "kafka does not answer" if "kafka" in self._faults.away else None

    def pair(self, pair: str) -> PairSpec | None:
        return cast(PairSpec | None, self._read(f"pair/{pair}"))

    def pointer(self, sector: str) -> RoutingPointer | None:
        return cast(RoutingPointer | None, self._read(f"routing/{sector}"))

    def trading(self, scope: str) -> TradingState | None:
        return cast(TradingState | None, self._read(f"trading/{scope}"))

    def pairs(self) -> dict[str, PairSpec]:
        self._faults.reach("kafka")
        return {record.pair: record for record in self.records.values() if isinstance(record, PairSpec)}

    def publish(self, record: ControlRecord) -> None:
        key = control_key(record)
        dies = self._faults.write("kafka", f"publish {key}")
        self.records[key] = record
        self.writes.append(f"{key}: {_short(record)}")
        if dies:
            raise Killed

    def withdraw(self, key: str) -> None:
        dies = self._faults.write("kafka", f"withdraw {key}")
        self.records.pop(key, None)
        self.writes.append(f"{key}: gone")
        if dies:
            raise Killed

    def _read(self, key: str) -> ControlRecord | None:
        self._faults.reach("kafka")
        return self.records.get(key)


def _short(record: ControlRecord) -> str:
    match record:
        case PairSpec(suspended=True):
            return "suspended"
        case PairSpec(frozen=True):
            return "frozen"
        case TradingState():
            return record.mode
        case _:
            return "declared"


class World:
    """What a test turns."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.cluster, self.topic, self.events = Cluster(self.faults), Topic(self.faults), MemoryEvents()
        self.open: dict[tuple[str, str], str] = {}  # (pair, account) -> source
        self.names: dict[str, str] = {}  # of the TradingAccounts, by the broker's id
        self.live: dict[str, tuple[str, ...]] = {}  # version -> pairs
        self.asked = 0  # how often the registry was asked
        self.now_s = 1_800_000_000.0
        self.restart()

    def restart(self) -> None:
        """A new process: everything that was in memory is gone."""
        self.objects = Objects()
        context = Context(
            settings=Settings(),
            namespace="trading",
            cluster=self.cluster,
            objects=self.objects,
            control=cast(ControlTopic, self.topic),
            events=cast(Events, self.events),
            wake=lambda kind, name, *, after_s=0.0: None,
            now_s=lambda: self.now_s,
        )
        self.live_pairs = LivePairs(_Registry(self))
        positions = cast(OpenPositions, self)
        self.pairs, self.accounts = Pairs(context, positions, self.live_pairs), Accounts(context, positions)

    def now(self) -> tuple[OpenPosition, ...]:
        """OpenPositions.now."""
        self.faults.reach("postgres")
        return tuple(
            OpenPosition(pair=PairId(pair), account=account, source=source, state="hedged", trading_account=self.names.get(account, ""))
            for (pair, account), source in sorted(self.open.items())
        )

    def hold(self, pair: str, account: str = "broker-1", source: str = "recycled") -> None:
        """The pair is open in an account."""
        self.open[pair, account] = source

    def route(self, sector: str, version: str, *pairs: str, epoch: int = 1) -> None:
        """A version that holds these pairs becomes the live one."""
        self.live[version] = pairs
        self.topic.records[f"routing/{sector}"] = RoutingPointer(sector=SectorId(sector), version=version, digest="d", epoch=epoch)

    def apply(self, *documents: Mapping[str, Any]) -> None:
        """As a person, whose writes neither count nor fail."""
        faults, self.cluster._faults = self.faults, Faults()
        for document in documents:
            self.cluster.apply(dict(document))
        self.cluster._faults = faults

    def delete(self, kind: str, name: str) -> None:
        """As a person."""
        self.cluster.ask_deletion(kind, name, self.now_s)

    def get(self, kind: str, name: str) -> Manifest | None:
        """The object as it stands in the cluster."""
        return self.cluster.objects.get((kind, name))

    def says(self, kind: str, name: str, about: str = "Ready") -> tuple[str, str] | None:
        """Status and reason of a condition."""
        return condition(self.get(kind, name), about)

    def relist(self) -> None:
        """List everything anew."""
        for listed in KINDS:
            self.objects.relist(listed, lambda listed=listed: tuple(m for (k, _), m in sorted(self.cluster.objects.items()) if k == listed))

    def sweep(self) -> None:
        """What follows after everything was listed; repeated when the process was killed."""
        for _ in range(2):
            self.relist()
            try:
                self.pairs.resync()
            except Killed:
                self.faults.kill_at = 0
                self.restart()

    def look(self, kind: str, name: str) -> float | None:
        """One look, with everything listed before it."""
        self.relist()
        part = self.pairs if kind == "TradingPair" else self.accounts
        return part.reconcile(name)

    def settle(self, kind: str, name: str, looks: int = 6) -> None:
        """Looks until nothing is written any more; a process that was killed or that failed is followed by the next look."""
        for _ in range(looks):
            try:
                self.look(kind, name)
            except Killed:
                self.faults.kill_at = 0
                self.restart()
            except (Transient, Conflict):
                pass


class _Registry:
    """As LivePairs asks it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def pairs(self, name: str, version: str) -> tuple[PairId, ...] | None:
        self._world.asked += 1
        self._world.faults.reach("registry")
        found = self._world.live.get(version)
        return tuple(map(PairId, found)) if found is not None else None
