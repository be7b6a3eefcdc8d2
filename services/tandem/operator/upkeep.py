"""Keeps the objects of a sector as the manifests want them: applies what differs, takes away what is not wanted, puts drift right.

Server-side apply changes nothing where nothing differs, but asking costs a request for each object. So an object is applied when its
manifest is new, when the cluster's copy is not the one that the last apply left (Deployments, which are listed at each look anyway), and
when the last time is REPEAT_S ago, whatever is known: a Service that somebody edited is right again by then. Called by sectors.py.
"""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tandem.domain.errors import Permanent
from tandem.ports import Cluster, Manifest
from tandem.rollout.manifests import ObjectKey, key_of

REPEAT_S = 60.0
# Kinds of other projects: a cluster may not know them. What cannot be made is told; that it cannot be deleted is no trouble.
FOREIGN = frozenset({"ServiceMonitor", "ScaledObject"})
_REVISION = "deployment.kubernetes.io/revision"  # written by the cluster, at each new template


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is known of an object since it was last applied."""

    wanted: str
    found: str
    at_s: float
    trouble: str = ""  # why it could not be made


class Upkeep:
    """One for the operator; knows what it applied. After a restart it applies everything once."""

    def __init__(
        self, cluster: Cluster, *, applied: Callable[[Manifest], None] = lambda _: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """applied: told of each Deployment as the cluster has it now, before the watch tells."""
        self._cluster, self._applied, self._clock = cluster, applied, clock
        self._kept: dict[ObjectKey, _Kept] = {}
        self._lock = threading.Lock()

    def keep(self, manifests: Iterable[Manifest], found: Mapping[ObjectKey, Manifest]) -> tuple[str, ...]:
        """Bring these objects about. found: the cluster's copies of the Deployments. Returns what could not be made and why.

        Raises Transient when the API server is away, Permanent when it refuses an object of its own kinds.
        """
        trouble = []
        for manifest in manifests:
            key = key_of(manifest)
            if self._due(key, manifest, found.get(key)):
                self._apply(key, manifest)
            if (kept := self._kept.get(key)) is not None and kept.trouble:
                trouble.append(kept.trouble)
        return tuple(trouble)

    def _apply(self, key: ObjectKey, manifest: Manifest) -> None:
        try:
            applied = self._cluster.apply(manifest)
        except Permanent as error:
            if key.kind not in FOREIGN:
                raise
            # Asked for again after REPEAT_S: its kind may be installed by then.
            self._remember(key, manifest, {}, trouble=f"{key.kind} {key.name}: {error}")
            return
        self._remember(key, manifest, applied)
        if key.kind == "Deployment":
            self._applied(applied)

    def remove(self, keys: Iterable[ObjectKey]) -> None:
        """Take these objects away, where they are."""
        for key in keys:
            if self._due(key, None, None):
                try:
                    self._cluster.delete(key.kind, key.name)
                except Permanent:
                    if key.kind not in FOREIGN:
                        raise
                self._remember(key, None, {})

    def forget(self, keys: Iterable[ObjectKey]) -> None:
        """Look at these afresh the next time."""
        with self._lock:
            for key in keys:
                self._kept.pop(key, None)

    def _due(self, key: ObjectKey, manifest: Manifest | None, found: Manifest | None) -> bool:
        with self._lock:
            kept = self._kept.get(key)
        if kept is None or kept.wanted != _digest(manifest) or self._clock() - kept.at_s >= REPEAT_S:
            return True
        return key.kind == "Deployment" and manifest is not None and kept.found != _fingerprint(found)

    def _remember(self, key: ObjectKey, manifest: Manifest | None, applied: Manifest, *, trouble: str = "") -> None:
        with self._lock:
            self._kept[key] = _Kept(wanted=_digest(manifest), found=_fingerprint(applied), at_s=self._clock(), trouble=trouble)


def _fingerprint(manifest: Manifest | None) -> str:
    """Of everything that an apply may have to put right; the status and what the cluster writes by itself are left out."""
    if manifest is None:
        return ""
    metadata = manifest.get("metadata", {})
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != _REVISION}
    parts = ("uid", "generation", "labels", "ownerReferences", "deletionTimestamp")
    return _digest({part: metadata.get(part) for part in parts} | {"annotations": annotations})


def _digest(document: object) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
