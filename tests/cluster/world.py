"""What the steps of the scenario act on and ask: a release on a node, its resources by kubectl, its market and its model versions."""

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.isolation import NAMESPACE
from cluster.market import ACCOUNT, Market
from cluster.node import Node
from cluster.release import Release
from cluster.steps import Unmet, check, eventually, say
from cluster.versions import PAIRS, SECTOR, Versions
from tandem.domain.forecasts import ModelRef

KINDS = "tradingpairs,tradingaccounts,sectormodels,modelrollouts"
SERVES_S = 300.0  # a forecaster starts, rebuilds its state and catches up, on two cores that do much else
TOLD_S = 120.0  # for what the operator says or does by itself; seconds, where nobody else wants the cores
BARS_AT_ONCE = 10  # between two looks at a rollout
BARS_MAX = 600  # for a rollout to come to its end
_LOG_LINES = 30
_LOOK_S = 20.0  # of the operator at bars that come faster here than anywhere else
_POLICY: Mapping[str, Any] = {
    "gate": {"claim": "NonInferior", "barsMin": 40, "sessionsMin": 3, "marginQlike": 0.05},
    "operations": {"latencyP99SecondsMax": 60, "divergenceMax": 4},  # the cores are busy: latency is no fault of a version here
    "canary": [{"pairsShare": 0.5, "bars": 5}],
    "watchBars": 20,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The parts."""

    node: Node
    release: Release
    market: Market
    versions: Versions

    def begin_rollout(self, volatility: float) -> ModelRef:
        """Register a version and wait until its forecaster serves; says how long that took."""
        began_s = time.monotonic()
        ref = self.versions.register(volatility)
        registered_s = time.monotonic()
        name = f"forecaster-{SECTOR}-v{ref.version}"
        eventually(lambda: self.exists("deployment", name), f"the forecaster of version {ref.version}", SERVES_S, self.told)
        made_s = time.monotonic()
        self.release.kubectl("rollout", "status", f"deployment/{name}", f"--timeout={SERVES_S:.0f}s", timeout_s=SERVES_S + 10)
        say(
            f"  version {ref.version} registered in {registered_s - began_s:.0f} s, a forecaster made {made_s - registered_s:.0f} s later, "
            f"Ready {time.monotonic() - made_s:.0f} s after that"
        )
        return ref

    def play_until(self, ref: ModelRef, reached: Callable[[Mapping[str, Any]], bool], what: str) -> None:
        """Play bars until the version's rollout has come so far. Raises Unmet when it ends otherwise, or takes too many bars."""
        for _ in range(BARS_MAX // BARS_AT_ONCE):
            status = self.rollout_status(ref)
            if reached(status):
                say(f"  version {ref.version} {what}: {status.get('step')}, {status.get('bars')} bars, {status.get('message')}")
                return
            if status.get("step") == "Done":
                raise Unmet(f"version {ref.version} was to be {what}, and is {status.get('outcome')}: {status.get('message')}")
            self.market.play(BARS_AT_ONCE)
            self._await_look(ref, status)
        raise Unmet(f"version {ref.version} is not {what} after {BARS_MAX} bars:\n{self.told()}")

    def _await_look(self, ref: ModelRef, before: Mapping[str, Any]) -> None:
        """Give the operator the time to look at the bars that came; they come faster here than anywhere else."""
        try:
            eventually(lambda: self.rollout_status(ref) != before, "a look", _LOOK_S)
        except Unmet:
            return

    def check_acted_on(self, ref: ModelRef) -> None:
        """The next bar is decided by this version: by its forecasts the portfolio moves on, and no other's."""
        self.market.play(1)
        acted_on = {pair["pair"]: pair["forecast"]["version"] for pair in self.market.pairs() if pair["forecast"] is not None}
        check(set(acted_on.values()) == {ref.version}, f"one bar after the pointer moved to version {ref.version} pairs act on {acted_on}")
        say(f"  the next bar was decided by version {ref.version}")

    def kill(self, pod: Mapping[str, Any]) -> None:
        """SIGKILL to the processes of a pod, as a machine that runs out of memory does it."""
        processes = self.node.processes(pod["metadata"]["uid"])
        check(processes, f"pod {pod['metadata']['name']} has no process to kill")
        for process in processes:
            os.kill(process, signal.SIGKILL)

    def writer(self) -> str:
        """The name of the portfolio's pod that trades; its host name, which stands in the lease."""
        [(holder,)] = self.market.rows("SELECT holder FROM writers ORDER BY renewed_at DESC LIMIT 1")
        return str(holder).partition("/")[0]

    def all_annotated(self, components: Sequence[str], name: str) -> bool:
        """Whether every pod of these components has this annotation."""
        pods = [pod for component in components for pod in self.release.pods(f"app.kubernetes.io/component={component}")]
        return all(name in pod["metadata"].get("annotations", {}) for pod in pods)

    def left(self) -> list[str]:
        """Objects in the namespace that were not there before the release. Events are no objects of anybody."""
        kinds = self.release.kubectl("api-resources", "--namespaced", "--verbs=list,delete", "--output=name").splitlines()
        wanted = ",".join(kind for kind in kinds if not kind.startswith("events"))
        found = self.release.kubectl("get", wanted, "--output=name", "--ignore-not-found").splitlines()
        return [name for name in found if name not in ("configmap/kube-root-ca.crt", "serviceaccount/default")]

    def events(self, reasons: Sequence[str]) -> list[str]:
        """The Events with one of these reasons, with their messages."""
        found = self.node.api.get("events", "--namespace", NAMESPACE)["items"]
        return [f"{event['reason']}: {event['message']}" for event in found if event.get("reason") in reasons]

    def exists(self, kind: str, name: str) -> bool:
        """Whether there is this object."""
        return self.node.api.kubectl("get", kind, name, "--namespace", NAMESPACE).returncode == 0

    def wait_ready(self, kind: str, name: str, timeout_s: float) -> None:
        """Wait for the condition Ready of an object. Raises Unmet, telling what the operator said."""
        done = self.node.api.kubectl(
            "wait",
            "--for=condition=Ready",
            f"{kind}/{name}",
            "--namespace",
            NAMESPACE,
            f"--timeout={timeout_s:.0f}s",
            timeout_s=timeout_s + 10,
        )
        check(done.returncode == 0, f"{kind}/{name} is not Ready: {done.stderr.strip()}\n{self.told()}")

    def check_sector(self, ref: ModelRef, why: str) -> None:
        """Raises Unmet unless this version is the stable one."""
        status = self.sector_status()
        check(status.get("stableVersion") == ref.version, f"{why}: stable is {status.get('stableVersion')}, must be {ref.version}")

    def sector_status(self) -> dict[str, Any]:
        """The SectorModel's status."""
        return dict(self.node.api.get("sectormodel", str(SECTOR), "--namespace", NAMESPACE).get("status", {}))

    def rollout_status(self, ref: ModelRef) -> dict[str, Any]:
        """The status of the version's ModelRollout."""
        return dict(self.node.api.get("modelrollout", rollout_name(ref), "--namespace", NAMESPACE).get("status", {}))

    def told(self) -> str:
        """For a failure: the objects, what the operator logged, the pods."""
        operator = self.release.kubectl("logs", "--selector=app.kubernetes.io/component=operator", "--tail=200")
        lines = [line for line in operator.splitlines() if line.startswith("{")][-_LOG_LINES:]
        return "\n".join((self.release.kubectl("get", KINDS, "--output=wide"), *lines, self.release.told()))

    def show(self, kinds: str) -> None:
        """Print what `kubectl get` shows."""
        say("  " + self.release.kubectl("get", kinds).replace("\n", "\n  "))

    def apply(self, *documents: Mapping[str, Any]) -> None:
        """`kubectl apply` of these objects."""
        self.node.api.apply(*documents, namespace=NAMESPACE)


def rollout_name(ref: ModelRef) -> str:
    """Of the ModelRollout of a version."""
    return f"{SECTOR}-v{ref.version}"


def pair_names() -> list[str]:
    """The names of the TradingPairs."""
    return [pair.lower() for pair in PAIRS]


def pair_manifest(pair: str, legs: Sequence[str] = ()) -> dict[str, Any]:
    """A pair that trades often: the scenario wants orders, not profit."""
    signal_rules = {"entryZ": 0.75, "exitZ": 0.25, "stopZ": 6, "minReversionProbability": 0}
    spec = {"sector": SECTOR, "legs": list(legs) or pair.split("-"), "signal": signal_rules, "risk": {"notionalUsd": "10000"}}
    return _object("TradingPair", pair.lower(), spec)


def account_manifest() -> dict[str, Any]:
    """The account that the portfolio trades in."""
    return _object("TradingAccount", ACCOUNT, {"source": "recycled"})


def sector_manifest() -> dict[str, Any]:
    """The sector, with gates that come to a verdict within the bars that there are."""
    return _object("SectorModel", str(SECTOR), {"sector": SECTOR, "rollout": _POLICY})


def _object(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "tandem.trading/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
