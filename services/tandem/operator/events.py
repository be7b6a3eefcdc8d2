"""Kubernetes Events: what the operator tells people about an object, besides its conditions. `kubectl describe` shows them.

Decides which are written, and how often. Reasons come from a fixed set, so that programs may wait for one. What is told again is counted in
the Event that stands there, at most once a minute; an object that tells too much, or all objects together, are cut off, and the log has it
all. A thread writes: telling never delays nor fails the work, and an Event that cannot be written is dropped.
"""

import hashlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import structlog

from tandem.adapters import telemetry
from tandem.domain.errors import InvariantBroken, TandemError
from tandem.domain.units import utc
from tandem.ports import Cluster, Conflict, Manifest

COMPONENT = "tandem-operator"
# Of pairs, accounts and the operator itself; those of rollouts are plan.REASONS.
REASONS = frozenset(
    {
        "Declared",
        "Conflict",
        "PairNotInModel",
        "DriftRepaired",
        "Withdrawing",
        "Withdrawn",
        "WithdrawalTimedOut",
        "ForceDeleted",
        "Held",
        "ModeSet",
        "ModeKept",
        "CredentialsMissing",
        "CredentialsUnreadable",
        "Invalid",
        "KafkaUnreachable",
        "PostgresUnreachable",
        "RegistryUnreachable",
        "ApiServerWasAway",
    }
)
Kind = Literal["Normal", "Warning"]
_WAITING_MAX = 1_000  # not yet written; more are dropped
_AGAIN_S = 60.0  # the same Event is counted again at most so often
_KNOWN_MAX = 4_096  # Events that are remembered to be the same
_MESSAGE_CHARACTERS_MAX = 1_024  # the API server's limit
log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """How many Events may be told at once, and how soon one more."""

    burst: int
    every_s: float


# As client-go's filter against spam: 25 for one object, then one in five minutes. All together: what 500 new objects tell.
OBJECT, ALL = Allowance(burst=25, every_s=300.0), Allowance(burst=600, every_s=0.5)


class _Bucket:
    """What is left of an allowance."""

    def __init__(self, allowance: Allowance, now_s: float) -> None:
        self._allowance, self._left, self._at_s = allowance, float(allowance.burst), now_s

    def take(self, now_s: float) -> bool:
        self._left = min(float(self._allowance.burst), self._left + (now_s - self._at_s) / self._allowance.every_s)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Events:
    """Tells people; `tell` returns at once."""

    def __init__(
        self, cluster: Cluster, namespace: str, *, reporter: str, reasons: frozenset[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """cluster: guarded, so that only the one writer tells. reporter: this process. reasons: all that may be told."""
        self._cluster, self._namespace, self._reporter, self._reasons, self._clock = cluster, namespace, reporter, reasons, clock
        self._waiting: deque[Manifest] = deque()
        self._known: OrderedDict[str, float] = OrderedDict()  # name of the Event -> when it was last told
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()  # by the object's uid
        self._all = _Bucket(ALL, clock())
        for reason in reasons:
            telemetry.counter("operator_events_total").labels(reason=reason)  # at 0, so that the first is a rise
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self, limit_s: float = 3.0) -> None:
        """Write what is waiting, within the limit."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout=limit_s)

    def tell(self, about: Manifest, kind: Kind, reason: str, message: str) -> None:
        """Tell this about an object. From any thread. A reason that is not in the set is a mistake in the code."""
        if reason not in self._reasons:
            raise InvariantBroken(f"Event reason {reason!r}, allowed are {', '.join(sorted(self._reasons))}")
        event = self._event(about, kind, reason, message[:_MESSAGE_CHARACTERS_MAX])
        log.info("event", kind=about["kind"], name=about["metadata"]["name"], reason=reason, message=message)
        with self._changed:
            if self._allowed(event):
                self._waiting.append(event)
                self._changed.notify()

    def _allowed(self, event: Manifest) -> bool:
        """Whether to write it: not the same a moment ago, not too much of one object, not too much of all."""
        name, uid, now_s = event["metadata"]["name"], event["involvedObject"]["uid"], self._clock()
        if name in self._known and now_s - self._known[name] < _AGAIN_S:
            return False
        bucket = self._buckets.setdefault(uid, _Bucket(OBJECT, now_s))
        if len(self._waiting) >= _WAITING_MAX or not bucket.take(now_s) or not self._all.take(now_s):
            return False
        self._known[name] = now_s
        for table in (self._known, self._buckets):
            while len(table) > _KNOWN_MAX:
                table.popitem(last=False)
        return True

    def _event(self, about: Manifest, kind: Kind, reason: str, message: str) -> Manifest:
        """The Event, named by what it says: told again, by this process or the next, it is the same one."""
        metadata = about["metadata"]
        uid = metadata.get("uid", "")
        digest = hashlib.sha256("\0".join((uid, kind, reason, message)).encode()).hexdigest()[:16]
        now = f"{utc(time.time_ns()):%Y-%m-%dT%H:%M:%SZ}"
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name'][:200]}.{digest}", "namespace": self._namespace},
            "involvedObject": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "name": metadata["name"],
                "namespace": self._namespace,
                "uid": uid,
            },
            "type": kind,
            "reason": reason,
            "message": message,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._reporter,
        }

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._stopping:
                    self._changed.wait()
                if not self._waiting:
                    return
                event = self._waiting.popleft()
            try:
                self._write(event)
            except TandemError as error:
                log.warning("event_not_written", reason=event["reason"], name=event["involvedObject"]["name"], why=str(error))
            else:
                telemetry.counter("operator_events_total").labels(reason=event["reason"]).inc()

    def _write(self, event: Manifest) -> None:
        try:
            self._cluster.create(event)
        except Conflict:
            old = self._cluster.get("Event", event["metadata"]["name"])
            if old is not None:
                changes = {"count": int(old.get("count") or 1) + 1, "lastTimestamp": event["lastTimestamp"]}
                self._cluster.patch("Event", event["metadata"]["name"], changes)
