"""A sector under a running operator: declared, given versions, compared, and asked what it says. Real servers all.

No kubelet: tests/pods.py says for the pods whether they are Ready. The forecasts that are compared are written as the recorder does.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from cluster.control_plane import KubeApi
from definitions import install_definitions
from http_gate import Gate, gate_to
from operator_process import events, wait_condition
from operator_world import Control, Servers, register_version
from pods import Pods, ready_pods
from score_rows import write_scores
from service_process import wait_until
from tandem.adapters.codec import decode_control
from tandem.adapters.postgres import upgrade
from tandem.adapters.registry_rest import Registry
from tandem.domain.control import PairSpec, RoutingPointer
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.quant.bundle import model_name

PAIRS = ("KO-PEP", "CL-KMB")
# A verdict after some forty bars; no replay, because these versions have no bundle.
POLICY: dict[str, Any] = {
    "replayRequired": False,
    "gate": {"claim": "NonInferior", "marginQlike": 0.3, "barsMin": 20, "sessionsMin": 2, "barsMax": 400},
    "canary": [{"pairsShare": 0.5, "bars": 5}],
    "watchBars": 5,
}
_AHEAD = 3  # bars, fewer than any step of the policy counts
_REGISTRY_S = 120.0  # for the test itself: a server that answers late is not what it looks at


@dataclass
class OperatedSector:
    """One sector of its own on the servers that all tests share."""

    api: KubeApi
    namespace: str
    sector: str
    environ: dict[str, str]
    control: Control
    servers: Servers
    pods: Pods
    registry: Registry
    gate: Gate  # before MLflow, for the operator

    @property
    def model(self) -> str:
        return model_name(self.sector)

    def declare(self, **spec: Any) -> None:
        """Apply the SectorModel."""
        document = {
            "apiVersion": "tandem.trading/v1alpha1",
            "kind": "SectorModel",
            "metadata": {"name": self.sector},
            "spec": {"sector": self.sector, "rollout": POLICY} | spec,
        }
        self.api.apply(document, namespace=self.namespace)

    def says(self, **wanted: tuple[str, str]) -> dict[str, Any]:
        """Wait until the SectorModel's conditions say this."""
        return wait_condition(self.api, self.namespace, "sectormodel", self.sector, wanted)

    def register(self, *aliases: str, **place: str) -> ModelRef:
        """A new version with these aliases; nothing lies at its source. place: source and run_id."""
        version = register_version(self.servers.mlflow, self.sector, PAIRS, **place)
        for alias in aliases:
            self.registry.set_alias(self.model, alias, version)
        digest = next(held.digest for held in self.registry.versions(self.model) if held.version == version)
        return ModelRef(name=self.model, version=version, digest=digest)

    def adopt(self) -> ModelRef:
        """A first version, acted on."""
        self.declare()
        first = self.register("champion")
        self.says(Ready=("True", "Serving"))
        return first

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """An object; empty when there is none."""
        done = self.api.kubectl("get", kind, name, "--namespace", self.namespace, "-o", "json", "--ignore-not-found")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def rollout(self, version: str) -> dict[str, Any]:
        """The status of a version's rollout."""
        return (self.get("modelrollout", f"{self.sector}-v{version}").get("status")) or {}

    def step(self, version: str, *steps: str) -> None:
        """Wait until a rollout is at one of these steps."""
        wait_until(lambda: self.rollout(version).get("step") in steps, f"version {version} at {steps}, is {self.rollout(version)}")

    def ended(self, version: str, outcome: str) -> dict[str, Any]:
        """Wait until a rollout has ended like this."""
        wait_until(
            lambda: (found := self.rollout(version)).get("step") == "Done" and found.get("outcome") == outcome,
            f"version {version} to end {outcome}",
        )
        return self.rollout(version)

    def pointers(self) -> list[RoutingPointer]:
        """Every pointer of the sector that was ever published, in order."""
        self.control.table()
        records = [decode_control(value) for key, value in self.control.history if key == f"routing/{self.sector}" and value]
        return [record for record in records if isinstance(record, RoutingPointer)]

    def versions_running(self) -> set[str]:
        """The versions that have a Deployment."""
        labels = f"tandem.trading/sector={self.sector}"
        found = self.api.get("deployments", "--namespace", self.namespace, "-l", labels)["items"]
        return {item["metadata"]["labels"]["tandem.trading/model-version"] for item in found}

    def kubectl(self, *arguments: str) -> str:
        """A command that must succeed; what it said."""
        done = self.api.kubectl(*arguments, "--namespace", self.namespace)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def compare(self, stable: ModelRef, candidate: ModelRef, *, bars: int, start: int = 0, worse: float = 0.0) -> None:
        """Scored forecasts of both versions at the same bars."""
        noise = np.random.default_rng(7 + start).normal(0.0, 0.02, size=(bars, len(PAIRS)))
        base = np.random.default_rng(8 + start).gamma(2.0, 0.5, size=(bars, len(PAIRS)))
        write_scores(self.servers.postgres, SectorId(self.sector), stable, PAIRS, base, start=start)
        write_scores(self.servers.postgres, SectorId(self.sector), candidate, PAIRS, base + noise + worse, start=start)

    def feed(self, stable: ModelRef, candidate: ModelRef, bars: int, *, until: Callable[[], bool]) -> int:
        """One more bar at each look until this holds; the number of bars then.

        Never so many more than the operator has counted that a step could begin and end between two looks.
        """

        def look() -> bool:
            nonlocal bars
            if until():
                return True
            if bars < (self.rollout(candidate.version).get("bars") or 0) + _AHEAD:
                self.compare(stable, candidate, bars=1, start=bars)
                bars += 1
            return False

        wait_until(look, "the rollout to go on")
        return bars

    def told(self, name: str = "") -> dict[str, str]:
        """The Events about the SectorModel, or about another object of this name."""
        return events(self.api, self.namespace, name or self.sector)


@dataclass
class Place:
    """The servers, one namespace in which pods get ready, and how an operator is told of them."""

    api: KubeApi
    namespace: str
    servers: Servers
    environ: dict[str, str]
    control: Control
    pods: Pods
    registry: Registry
    gate: Gate

    def sector(self) -> "OperatedSector":
        """A sector with two declared pairs, of which nothing else is there yet."""
        sector = f"s{uuid4().hex[:8]}"
        for name in PAIRS:
            a, b = name.split("-")
            self.control.write(PairSpec(pair=PairId(name), sector=SectorId(sector), leg_a=Symbol(a), leg_b=Symbol(b)))
        return OperatedSector(sector=sector, **{name: getattr(self, name) for name in self.__dataclass_fields__})


@contextmanager
def place_of(api: KubeApi, servers: Servers, folder: Path) -> Iterator[Place]:
    """A new namespace, and the servers without an operator."""
    install_definitions(api)
    upgrade(servers.postgres)
    namespace, control = f"sectors-{uuid4().hex[:12]}", Control(servers.kafka)
    api.create_namespace(namespace)
    registry = Registry(servers.mlflow, timeout_s=_REGISTRY_S)
    with gate_to(servers.mlflow) as (gate, through), ready_pods(api, namespace) as pods, registry:
        environ = replace(servers, mlflow=through).environ(folder, namespace)
        yield Place(api, namespace, servers, environ, control, pods, registry, gate)
    control.close()
    api.kubectl("delete", "namespace", namespace, "--wait=false")
