"""Which pairs a sector's live version holds: asked of the registry once for each version, as a version never changes.

While the registry is away nobody waits for it twice within a few seconds, and what was learned before stays known.
"""

import threading
import time
from typing import Protocol

from tandem.domain.errors import Transient
from tandem.domain.ids import PairId, SectorId
from tandem.quant.bundle import model_name

_AGAIN_S = 10.0  # after a failure, or where a version does not say which pairs it holds
_VERSIONS_MAX = 256  # that are remembered; a version that is pushed out is asked for again


class PairsOfVersion(Protocol):
    """The part of the registry that is needed here."""

    def pairs(self, name: str, version: str) -> tuple[PairId, ...] | None:
        """The pairs of a version's bundle; None when it does not say. Raises Transient, Permanent."""
        ...


class LivePairs:
    """The registry's answers, remembered. Safe to use from many threads."""

    def __init__(self, registry: PairsOfVersion) -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], frozenset[PairId]] = {}
        self._unsaid: dict[tuple[str, str], float] = {}  # until when "does not say" is believed
        self._away: tuple[float, str] = (float("-inf"), "")  # until when the registry is not asked again, and why

    def of(self, sector: SectorId, version: str) -> frozenset[PairId] | None:
        """The pairs of this version; None when the registry does not say. Raises Transient, Permanent."""
        key = (model_name(sector), version)
        with self._lock:  # one question at a time: 500 pairs ask for the same few versions
            if (known := self._known.get(key)) is not None:
                return known
            now_s = time.monotonic()
            if self._unsaid.get(key, 0.0) > now_s:
                return None
            if self._away[0] > now_s:
                raise Transient(self._away[1])
            try:
                found = self._registry.pairs(*key)
            except Transient as error:
                self._away = (time.monotonic() + _AGAIN_S, str(error))
                raise
            if found is None:
                self._unsaid[key] = now_s + _AGAIN_S
                return None
            while len(self._known) >= _VERSIONS_MAX:
                del self._known[next(iter(self._known))]
            self._known[key] = frozenset(found)
            return self._known[key]
