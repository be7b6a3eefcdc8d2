"""One writer: the Lease object that says which operator may act, and a guard that keeps everybody else from writing.

Decides when this process holds the lease and when it must stop. Times as in client-go: a holder renews every 2 s, believes itself for 10 s
after the last renewal it asked for, and may be replaced 15 s after the others last saw a change. Between the two lies more than the longest
request, so a write that began under the lease has ended before anybody else may begin. Others' clocks do not count, only whether a record
stays the same. kubernetes.leaderelection is not used: it ends on the first lost connection, knows no deadline between its callbacks and
never gives a lease back.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from tandem.adapters import telemetry
from tandem.domain.errors import TandemError, Transient
from tandem.domain.units import utc
from tandem.ports import Cluster, Conflict, Manifest

NAME = "tandem-operator"
log = structlog.get_logger()


class NotLeader(Transient):
    """This process may not write, or not any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """In seconds. The renewal deadline plus the longest request (adapters/kubernetes_cluster.py) must stay below the duration."""

    duration_s: float = 15.0
    renewal_deadline_s: float = 10.0
    retry_s: float = 2.0


class Lease:
    """Takes and holds the lease in a thread of its own."""

    def __init__(
        self,
        cluster: Cluster,
        identity: str,
        *,
        on_change: Callable[[bool], None],
        times: Times | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """on_change: told True when the lease is taken and False when it is lost, in the lease's thread; it must not take long."""
        self._cluster, self._identity, self._on_change, self._clock = cluster, identity, on_change, clock
        self.times = times or Times()
        self._renewed_s = float("-inf")  # when the request was sent that last renewed it
        self._seen: tuple[str, float] = ("", 0.0)  # the other holder's record, and since when it stands there
        self._told = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self.trouble: str | None = "starting"  # why nothing is known of the lease; None while the API server answers

    def start(self) -> None:
        """Begin to ask for it."""
        self._thread.start()

    def stop(self) -> None:
        """Give it back, so that the next one need not wait for its end. Call when nothing is written any more."""
        self._stop.set()
        self._thread.join(timeout=10)
        if self.held:
            try:
                self._release()
            except TandemError as error:
                log.warning("lease_not_released", reason=str(error))
        self._renewed_s = float("-inf")

    @property
    def held(self) -> bool:
        """This process may write now."""
        return self._clock() - self._renewed_s < self.times.renewal_deadline_s

    def check(self) -> None:
        """Before each write. Raises NotLeader."""
        if not self.held:
            raise NotLeader("this operator does not hold the lease: another one does, or the API server has not answered for too long")

    def look(self) -> None:
        """One attempt to take or renew it, and what came of it told. Its thread does this again and again."""
        try:
            self._ask()
            self.trouble = None
        except TandemError as error:  # a Conflict: somebody else was faster
            self.trouble = None if isinstance(error, Conflict) else str(error)
            if self.trouble:
                log.warning("lease_not_asked", reason=self.trouble)
        telemetry.gauge("operator_dependency_up").labels(dependency="kubernetes").set(self.trouble is None)
        self._tell()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._stop.wait(self.times.retry_s)

    def _tell(self) -> None:
        held = self.held
        telemetry.gauge("operator_leader").set(held)
        if held != self._told:
            self._told = held
            log.info("lease_taken" if held else "lease_lost", identity=self._identity)
            self._on_change(held)

    def _ask(self) -> None:
        """One attempt to take or renew it. Raises Transient, Permanent; Conflict when another was faster."""
        asked_s = self._clock()
        lease = self._cluster.get("Lease", NAME)
        if lease is None:
            self._cluster.create(self._document(0, {}))
        else:
            spec = lease.get("spec", {})
            holder = spec.get("holderIdentity") or ""
            if holder not in {"", self._identity} and not self._expired(lease, spec, asked_s):
                self._renewed_s = float("-inf")
                return
            transitions = int(spec.get("leaseTransitions") or 0) + (holder != self._identity)
            changes = self._document(transitions, spec if holder == self._identity else {})
            self._cluster.patch("Lease", NAME, {"spec": changes["spec"]}, version=lease["metadata"]["resourceVersion"])
        self._renewed_s = asked_s

    def _expired(self, lease: Manifest, spec: Mapping[str, object], now_s: float) -> bool:
        """Whether the other's record has stood unchanged for as long as it may, by this machine's clock."""
        record = str(lease["metadata"]["resourceVersion"])
        if self._seen[0] != record:
            self._seen = (record, now_s)
        return now_s - self._seen[1] > float(str(spec.get("leaseDurationSeconds") or self.times.duration_s))

    def _document(self, transitions: int, spec: Mapping[str, object]) -> Manifest:
        now = f"{utc(time.time_ns()):%Y-%m-%dT%H:%M:%S.%fZ}"
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": NAME},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": max(1, round(self.times.duration_s)),
                "acquireTime": spec.get("acquireTime") or now,
                "renewTime": now,
                "leaseTransitions": transitions,
            },
        }

    def _release(self) -> None:
        lease = self._cluster.get("Lease", NAME)
        if lease is not None and lease.get("spec", {}).get("holderIdentity") == self._identity:
            version = lease["metadata"]["resourceVersion"]
            self._cluster.patch("Lease", NAME, {"spec": {"holderIdentity": "", "leaseDurationSeconds": 1}}, version=version)


class GuardedCluster:
    """A Cluster that reads always and writes only under the lease."""

    def __init__(self, cluster: Cluster, check: Callable[[], None]) -> None:
        self._cluster, self._check = cluster, check

    def get(self, kind: str, name: str) -> Manifest | None:
        """As Cluster.get."""
        return self._cluster.get(kind, name)

    def list(self, kind: str, labels: Mapping[str, str] | None = None) -> tuple[Manifest, ...]:
        """As Cluster.list."""
        return self._cluster.list(kind, labels)

    def create(self, manifest: Manifest) -> Manifest:
        """As Cluster.create, under the lease."""
        self._check()
        return self._cluster.create(manifest)

    def apply(self, manifest: Manifest) -> Manifest:
        """As Cluster.apply, under the lease."""
        self._check()
        return self._cluster.apply(manifest)

    def patch(self, kind: str, name: str, changes: Manifest, *, version: str = "") -> Manifest:
        """As Cluster.patch, under the lease."""
        self._check()
        return self._cluster.patch(kind, name, changes, version=version)

    def patch_status(self, kind: str, name: str, status: Manifest, *, version: str = "") -> Manifest:
        """As Cluster.patch_status, under the lease."""
        self._check()
        return self._cluster.patch_status(kind, name, status, version=version)

    def delete(self, kind: str, name: str, *, uid: str = "") -> bool:
        """As Cluster.delete, under the lease."""
        self._check()
        return self._cluster.delete(kind, name, uid=uid)
