"""Keeps the objects of a sector as the manifests want them: applies what differs, takes away what is not wanted, puts drift right.

Server-side apply changes nothing where nothing differs, but asking costs a request for each object. So an object is applied when its
manifest is new, when the cluster's copy is not the one that the last apply left (Deployments, which are listed at each look anyway), and
when the last time is REPEAT_S ago, whatever is known: a Service that somebody edited is right again by then. Called by sectors.py.
"""

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tandem.domain.errors import Permanent
from tandem.domain.ids import SectorId
from tandem.ports import Cluster, Manifest
from tandem.rollout.labels import sector_name
from tandem.rollout.manifests import ObjectKey, key_of

REPEAT_S = 60.0
# Kinds of other projects: a cluster may not know them. That one cannot be made is told; that it cannot be deleted is no trouble.
FOREIGN = frozenset({"ServiceMonitor", "ScaledObject"})
_VERSION = re.compile(r"-v[0-9]+")  # what follows the sector in the names of a version's objects
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

    def keep(self, manifests: Iterable[Manifest], found: Mapping[ObjectKey, Manifest]) -> None:
        """Bring these objects about. found: the cluster's copies of the Deployments. Raises Transient when the API server is away.

        What the API server refuses is remembered, see trouble(), and stops nothing: a rollback must not wait for a quota on budgets.
        """
        for manifest in manifests:
            key = key_of(manifest)
            if self._due(key, manifest, found.get(key)):
                self._apply(key, manifest)

    def remove(self, keys: Iterable[ObjectKey]) -> None:
        """Take these objects away, where they are. What is refused is remembered, unless the cluster does not know the kind at all."""
        for key in keys:
            if self._due(key, None, None):
                trouble = ""
                try:
                    self._cluster.delete(key.kind, key.name)
                except Permanent as error:
                    trouble = "" if key.kind in FOREIGN else f"{key.kind} {key.name}: {error}"
                self._remember(key, None, {}, trouble=trouble)

    def trouble(self, sector: SectorId) -> tuple[str, ...]:
        """What of a sector's objects could not be made or taken away, and why, in order of kind and name."""
        own = sector_name(sector)
        with self._lock:
            bad = [(key.kind, key.name, kept.trouble) for key, kept in self._kept.items() if kept.trouble]
        return tuple(why for _, name, why in sorted(bad) if name == own or _VERSION.fullmatch(name.removeprefix(own)))

    def _apply(self, key: ObjectKey, manifest: Manifest) -> None:
        try:
            applied = self._cluster.apply(manifest)
        except Permanent as error:  # asked for again after REPEAT_S: the right may be given, the kind installed by then
            self._remember(key, manifest, {}, trouble=f"{key.kind} {key.name}: {error}")
            return
        self._remember(key, manifest, applied)
        if key.kind == "Deployment":
            self._applied(applied)

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
