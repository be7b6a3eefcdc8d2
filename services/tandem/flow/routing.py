"""Which version of a sector's model decides each pair: the stable one, the canary, or the one that opened the position.

Pure; the barrier waits for the versions named here, the portfolio's desk takes only the forecasts that are routed here. A bar of a pair is
always decided by one version as a whole, never a leg by one and a leg by another.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from tandem.domain.control import Handover, PairSpec, PinnedVersion, RoutingPointer
from tandem.domain.forecasts import ForecastBatch, ModelRef
from tandem.domain.ids import PairId


def acted_versions(pointer: RoutingPointer) -> tuple[str, ...]:
    """The versions whose forecasts may be acted on; the stable one first."""
    return tuple(pinned.version for pinned in _pinned(pointer))


def version_for(pointer: RoutingPointer, pair: PairId, opened_by: str | None) -> str:
    """The version that decides a pair now. opened_by: of the position it holds or moves; None when it is flat."""
    routed = _routed(pointer, pair)
    holds = pointer.handover is Handover.HOLD and opened_by is not None
    return opened_by if holds and opened_by is not None and opened_by in acted_versions(pointer) else routed


def must_flatten(pointer: RoutingPointer, pair: PairId, opened_by: str | None) -> bool:
    """A position that another version than the routed one has opened, and that is not to outlive it."""
    return pointer.handover is Handover.FLATTEN and opened_by is not None and opened_by != _routed(pointer, pair)


def routed(batch: ForecastBatch, pointer: RoutingPointer, opened_by: Mapping[PairId, str]) -> ForecastBatch:
    """The batch with only the forecasts that its version decides. Without any when its content is not what the pointer names."""
    if not matches(batch.model, pointer):
        return replace(batch, forecasts=())
    version = batch.model.version
    if pointer.canary is None and pointer.handover is not Handover.HOLD:  # every pair is one version's, which is the rule
        return batch if version == pointer.version else replace(batch, forecasts=())
    kept = tuple(f for f in batch.forecasts if version_for(pointer, f.pair, opened_by.get(f.pair)) == version)
    return replace(batch, forecasts=kept)


def matches(model: ModelRef, pointer: RoutingPointer) -> bool:
    """Whether the pointer names this version with this digest."""
    return PinnedVersion(version=model.version, digest=model.digest) in _pinned(pointer)


def capped(spec: PairSpec, pointer: RoutingPointer | None, version: str) -> PairSpec:
    """The pair with the canary's limit on a new position, when the canary opens it."""
    if pointer is None or pointer.canary is None or pointer.canary.version != version:
        return spec
    cap: Decimal = pointer.canary.notional_usd_max
    return replace(spec, notional_usd=min(spec.notional_usd, cap))


def _routed(pointer: RoutingPointer, pair: PairId) -> str:
    canary = pointer.canary
    return canary.version if canary is not None and pair in canary.pairs else pointer.version


def _pinned(pointer: RoutingPointer) -> tuple[PinnedVersion, ...]:
    """Stable, canary, and previous only where it still looks after what it opened."""
    found = [PinnedVersion(version=pointer.version, digest=pointer.digest)]
    if pointer.canary is not None:
        found.append(PinnedVersion(version=pointer.canary.version, digest=pointer.canary.digest))
    if pointer.previous is not None and pointer.handover is Handover.HOLD and pointer.previous not in found:
        found.append(pointer.previous)
    return tuple(found)
