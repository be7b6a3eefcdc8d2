"""A sector's world in memory: cluster, control topic and registry that behave as the real ones, and an operator that can be killed.

Every write goes through Faults, which may kill the operator just before or just after it takes effect; `World.restart` is the new process.
The forecasters' readiness, the bars and the clock are moved by the test.
"""

import random
import threading
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import wraps
from itertools import count
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from rollout_shapes import ENERGY, FULL
from tandem.domain.control import PairSpec, RoutingPointer
from tandem.domain.errors import Transient
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import PairId, Symbol
from tandem.operator.context import Context
from tandem.operator.control import ControlTopic
from tandem.operator.events import Events
from tandem.operator.gather import Sources
from tandem.operator.objects import Objects
from tandem.operator.replays import ReplayRuns
from tandem.operator.sectors import Sectors
from tandem.ports import Conflict, Manifest
from tandem.quant.bundle import model_name
from tandem.rollout.deployment import parse_template
from tandem.rollout.observed import RegisteredVersion, ReplayCheck
from tandem.rollout.paired import PairedLosses, no_losses
from tandem.rollout.promotion import UNKNOWN, Health
from tandem.rollout.sector_model import SectorModelStatus
from tandem.rollout.state import RolloutState
from tandem.settings import Settings

NAME = model_name(ENERGY)
KINDS = ("SectorModel", "ModelRollout", "Deployment", "TradingPair")
BAR_NS = 60_000_000_000
SESSION_BARS = 10
# Decided within some fifty bars, so that a whole rollout is a short test.
POLICY: dict[str, Any] = {
    "gate": {"claim": "NonInferior", "level": 0.05, "marginQlike": 0.2, "barsMin": 20, "sessionsMin": 2, "barsMax": 200},
    "canary": [{"pairsShare": 0.5, "bars": 3}],
    "canaryNotionalUsdMax": "1000",
    "watchBars": 3,
}


class Killed(BaseException):
    """The operator's process is gone: nothing after this line happens."""


@dataclass
class Faults:
    """Kills at the n-th write, before or after it takes effect; makes servers go away."""

    kill_at: int = 0  # 0: never
    after: bool = False
    writes: list[str] = field(default_factory=list)
    away: set[str] = field(default_factory=set)  # cluster, control, registry, postgres

    def write(self, server: str, what: str) -> bool:
        """Before a write takes effect; True when the process dies right after it."""
        self.reach(server)
        self.writes.append(what)
        if len(self.writes) == self.kill_at and not self.after:
            raise Killed(what)
        return len(self.writes) == self.kill_at

    def reach(self, server: str) -> None:
        if server in self.away:
            raise Transient(f"{server} does not answer")


P = ParamSpec("P")
R = TypeVar("R")


def _at_once(method: "Callable[Concatenate[MemoryCluster, P], R]") -> "Callable[Concatenate[MemoryCluster, P], R]":
    """One request after the other, as etcd takes them: two threads that create the same object do not both succeed."""

    @wraps(method)
    def locked(self: "MemoryCluster", /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._lock:
            return method(self, *args, **kwargs)

    return locked


class MemoryCluster:
    """Objects with versions and generations; conflicts as the API server's."""

    def __init__(self, faults: Faults, namespace: str = "trading") -> None:
        self._lock = threading.RLock()
        self._faults, self._namespace, self._numbers = faults, namespace, count(1)
        self.objects: dict[tuple[str, str], Manifest] = {}

    @_at_once
    def get(self, kind: str, name: str) -> Manifest | None:
        self._faults.reach("cluster")
        return deepcopy(self.objects.get((kind, name)))

    @_at_once
    def list(self, kind: str, labels: Mapping[str, str] | None = None) -> tuple[Manifest, ...]:
        self._faults.reach("cluster")
        wanted = (labels or {}).items()
        return tuple(
            deepcopy(found)
            for (of, _), found in sorted(self.objects.items())
            if of == kind and wanted <= (found["metadata"].get("labels") or {}).items()
        )

    @_at_once
    def create(self, manifest: Manifest) -> Manifest:
        key = (manifest["kind"], manifest["metadata"]["name"])
        dies = self._faults.write("cluster", f"create {key[0]} {key[1]}")
        if key in self.objects:
            raise Conflict(f"{key} is there")
        return self._done(self._store(key, {k: v for k, v in manifest.items() if k != "status"}, {}), dies)

    @_at_once
    def apply(self, manifest: Manifest) -> Manifest:
        key = (manifest["kind"], manifest["metadata"]["name"])
        old = self.objects.get(key)
        dies = self._faults.write("cluster", f"apply {key[0]} {key[1]}")
        if old is not None:
            merged = _merged(old, manifest)
            if merged == old:
                return self._done(deepcopy(old), dies)
            return self._done(self._store(key, merged, old), dies)
        return self._done(self._store(key, manifest, {}), dies)

    @_at_once
    def patch(self, kind: str, name: str, changes: Manifest, *, version: str = "") -> Manifest:
        return self._patch(kind, name, changes, version, f"patch {kind} {name}")

    @_at_once
    def patch_status(self, kind: str, name: str, status: Manifest, *, version: str = "") -> Manifest:
        return self._patch(kind, name, {"status": status}, version, f"status {kind} {name}")

    @_at_once
    def delete(self, kind: str, name: str, *, uid: str = "") -> bool:
        dies = self._faults.write("cluster", f"delete {kind} {name}")
        gone = self.objects.pop((kind, name), None) is not None
        if dies:
            raise Killed
        return gone

    def _patch(self, kind: str, name: str, changes: Manifest, version: str, what: str) -> Manifest:
        old = self.objects.get((kind, name))
        dies = self._faults.write("cluster", what)
        if old is None or (version and old["metadata"]["resourceVersion"] != version):
            raise Conflict(f"{kind} {name} is not the one that was read")
        return self._done(self._store((kind, name), _merged(old, changes), old), dies)

    def _store(self, key: tuple[str, str], manifest: Manifest, old: Manifest) -> Manifest:
        made = deepcopy(manifest)
        number, before = next(self._numbers), old.get("metadata", {})
        now = datetime.fromtimestamp(1_700_000_000 + number, tz=UTC)
        generation = before.get("generation", 0) + (old.get("spec") != made.get("spec"))
        made["metadata"] |= {
            "namespace": self._namespace,
            "uid": before.get("uid", f"uid-{number}"),
            "resourceVersion": str(number),
            "generation": generation,
            "creationTimestamp": before.get("creationTimestamp", f"{now:%Y-%m-%dT%H:%M:%SZ}"),
        }
        self.objects[key] = made
        return deepcopy(made)

    def _done(self, answer: Manifest, dies: bool) -> Manifest:
        if dies:
            raise Killed
        return answer


def _merged(old: Any, changes: Any) -> Any:
    """JSON merge patch."""
    if not isinstance(changes, dict) or not isinstance(old, dict):
        return deepcopy(changes)
    merged = dict(old)
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


class MemoryControl:
    """The control topic: every pointer that was published, in order; a reader ignores one whose epoch is not higher."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.published: list[RoutingPointer] = []
        self.declared: dict[str, PairSpec] = {}

    @property
    def trouble(self) -> str | None:
        return "control does not answer" if "control" in self._faults.away else None

    def pointer(self, sector: str) -> RoutingPointer | None:
        self._faults.reach("control")
        newest: RoutingPointer | None = None
        for pointer in self.published:
            if pointer.sector == sector and (newest is None or pointer.epoch > newest.epoch):
                newest = pointer
        return newest

    def pairs(self) -> dict[str, PairSpec]:
        self._faults.reach("control")
        return dict(self.declared)

    def publish(self, record: RoutingPointer) -> None:
        dies = self._faults.write("control", f"pointer {record.version}@{record.epoch}{' canary' if record.canary else ''}")
        self.published.append(record)
        if dies:
            raise Killed


class MemoryRegistry:
    """Versions of one registered model with aliases and tags."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.held: dict[str, RegisteredVersion] = {}

    def register(self, version: str, *aliases: str, digest: str | None = None) -> ModelRef:
        made = RegisteredVersion(version=version, digest=f"d{version}" * 8 if digest is None else digest)
        self.held[version] = made
        for alias in aliases:
            self._move(alias, version)
        return ModelRef(name=NAME, version=version, digest=made.digest)

    def versions(self, name: str) -> tuple[RegisteredVersion, ...]:
        self._faults.reach("registry")
        return tuple(self.held.values())

    def set_alias(self, name: str, alias: str, version: str) -> None:
        dies = self._faults.write("registry", f"alias {alias}={version}")
        self._move(alias, version)
        if dies:
            raise Killed

    def set_tag(self, name: str, version: str, key: str, value: str) -> None:
        dies = self._faults.write("registry", f"tag {version} {key}")
        if key == "tandem.quarantined":
            self.held[version] = replace(self.held[version], quarantined=value)
        if dies:
            raise Killed

    def _move(self, alias: str, version: str) -> None:
        for number, held in self.held.items():
            kept = set(held.aliases) - {alias} | ({alias} if number == version else set())
            self.held[number] = replace(held, aliases=tuple(sorted(kept)))


class MemoryEvents:
    """What people were told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str, str]] = []  # kind of object, Normal or Warning, reason, message

    def tell(self, about: Manifest, kind: str, reason: str, message: str) -> None:
        self.told.append((about["kind"], kind, reason, message))

    def reasons(self, kind: str = "SectorModel") -> list[str]:
        return [reason for of, _, reason, _ in self.told if of == kind]


class ReplayTable:
    """Stands for the replay gate's processes: the verdict of each version is known at once."""

    def __init__(self, verdicts: Mapping[str, bool]) -> None:
        self._verdicts, self.started = verdicts, set[str]()

    def start(self, model: ModelRef) -> None:
        self.started.add(model.version)

    def result(self, model: ModelRef) -> ReplayCheck | None:
        passed = self._verdicts.get(model.version, True)
        return ReplayCheck(passed=passed, digest="r", reason="") if model.version in self.started else None

    def trouble(self, model: ModelRef) -> str:
        return ""

    def stop(self) -> None:
        return


class World:
    """One sector, its operator, and what a test turns."""

    def __init__(self, *, template: Mapping[str, Any] | None = None, spec: Mapping[str, Any] | None = None) -> None:
        self.faults = Faults()
        self.cluster, self.control, self.registry = MemoryCluster(self.faults), MemoryControl(self.faults), MemoryRegistry(self.faults)
        self.events = MemoryEvents()
        self.template = parse_template(FULL | (template or {}))
        self.now_s, self.bars = 1_700_000_000.0, 0
        self.worse: dict[str, float] = {}  # by version: added to its QLIKE
        self.diverging: dict[str, float] = {}  # by version: share of its forecasts whose variance is far from the stable one's
        self.unready: set[str] = set()  # versions whose forecasters never get ready
        self.replays: dict[str, bool] = {}  # by version: the verdict, True where it is not named
        self.health = UNKNOWN
        self._losses = np.random.default_rng(11).gamma(2.0, 0.5, size=(400, 2))
        self._noise = np.random.default_rng(12).normal(0.0, 0.05, size=(400, 2))
        for pair in ("CVX-XOM", "COP-EOG"):
            a, b = pair.split("-")
            self.control.declared[pair] = PairSpec(pair=PairId(pair), sector=ENERGY, leg_a=Symbol(a), leg_b=Symbol(b))
        self.declare(**(spec or {}))
        self.restart()

    def declare(self, name: str = "energy", **spec: Any) -> None:
        """Apply a SectorModel as a person would."""
        full = {"sector": "energy", "rollout": POLICY} | spec
        self.cluster.apply({"apiVersion": "tandem.trading/v1alpha1", "kind": "SectorModel", "metadata": {"name": name}, "spec": full})
        self.faults.writes.clear()

    def restart(self) -> None:
        """A new process: everything that was in memory is gone."""
        self.objects = Objects()
        self.woken: list[tuple[str, str]] = []
        context = Context(
            settings=Settings(),
            namespace="trading",
            cluster=self.cluster,
            objects=self.objects,
            control=cast(ControlTopic, self.control),
            events=cast(Events, self.events),
            wake=lambda kind, name, *, after_s=0.0: self.woken.append((kind, name)),
            now_s=lambda: self.now_s,
        )
        sources = Sources(
            context=context, registry=self.registry, losses=self._paired, health=self._health, instance=self.template.instance
        )
        self.sectors = Sectors(sources, self.template, cast(ReplayRuns, ReplayTable(self.replays)))

    def look(self, name: str = "energy") -> float | None:
        """One look, with everything listed before it."""
        for kind in KINDS:
            self.objects.relist(kind, lambda kind=kind: self.cluster.list(kind))
        return self.sectors.reconcile(name)

    def run(self, looks: int = 150, *, until: str = "") -> None:
        """Looks, each followed by what a cluster and a market do meanwhile: pods get ready, a bar passes. until: a phase."""
        for _ in range(looks):
            try:
                self.look()
            except Killed:
                self.faults.kill_at = 0
                self.restart()
            except Transient:
                pass
            self.pass_time()
            if until and self.status().phase == until:
                return
        assert not until, f"phase {until} not reached in {looks} looks, but {self.status().phase}: {self.status().conditions}"

    def pass_time(self, bars: int = 1) -> None:
        """A kubelet's and a market's doing."""
        self.now_s += 3.0
        self.bars += bars
        for (kind, name), found in list(self.cluster.objects.items()):
            if kind == "Deployment":
                version = found["metadata"]["labels"]["tandem.trading/model-version"]
                wanted = found["spec"]["replicas"]
                ready = 0 if version in self.unready else wanted
                if (found.get("status") or {}).get("readyReplicas", 0) != ready or not found.get("status"):
                    self._node(name, {"replicas": wanted, "readyReplicas": ready})

    def _node(self, name: str, status: Mapping[str, Any]) -> None:
        """A write of the cluster's own: it neither counts nor fails."""
        kept, self.cluster._faults = self.cluster._faults, Faults()
        self.cluster.patch_status("Deployment", name, dict(status))
        self.cluster._faults = kept

    def status(self, name: str = "energy") -> SectorModelStatus:
        return SectorModelStatus.read(self.cluster.objects["SectorModel", name])

    def condition(self, kind: str, name: str = "energy") -> tuple[str, str, str]:
        found = next(condition for condition in self.status(name).conditions if condition.type == kind)
        return found.status, found.reason, found.message

    def rollout(self, name: str) -> Manifest:
        return self.cluster.objects["ModelRollout", name]

    def running(self) -> set[str]:
        """The versions that have a Deployment."""
        return {
            found["metadata"]["labels"]["tandem.trading/model-version"]
            for (kind, _), found in self.cluster.objects.items()
            if kind == "Deployment"
        }

    def _paired(self, state: RolloutState) -> PairedLosses:
        self.faults.reach("postgres")
        bars = min(self.bars, len(self._losses))
        if state.stable is None or not bars:
            return no_losses()
        pairs = tuple(sorted(map(PairId, self.control.declared)))
        stable = self._losses[:bars] + self.worse.get(state.stable.version, 0.0)
        candidate = self._losses[:bars] + self._noise[:bars] + self.worse.get(state.candidate.version, 0.0)
        return PairedLosses(
            close_ns=np.arange(1, bars + 1, dtype=np.int64) * BAR_NS,
            sessions=np.arange(bars, dtype=np.int64) // SESSION_BARS,
            pairs=pairs,
            stable=stable,
            candidate=candidate,
            log_variance_ratio=self._ratios(state.candidate.version)[:bars],
        )

    def _ratios(self, version: str) -> NDArray[np.float64]:
        """Of the variances; every n-th bar is far off, by the share of the version."""
        ratios = self._noise.copy()
        if share := self.diverging.get(version, 0.0):
            ratios[:: round(1 / share)] = 9.0
        return ratios

    def _health(self, model: ModelRef, sector: str) -> Health:
        return self.health


def seeded(seed: int) -> random.Random:
    """Chance that is the same in every run."""
    return random.Random(seed)
