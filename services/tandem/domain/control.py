"""What the control topic carries: pairs, routing pointers, trading modes and rollouts. Plain records; manifests are in rollout/.

The only way that configuration reaches a running service, with a cluster and without.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.trading import TradingMode


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSpec:
    """A declared pair with its thresholds. z is in training standard deviations of the spread."""

    pair: PairId
    sector: SectorId
    leg_a: Symbol
    leg_b: Symbol
    entry_z: float = 2.0
    exit_z: float = 0.5
    stop_z: float = 4.0
    probability_min: float = 0.5
    notional_usd: Decimal = Decimal(10_000)  # of both legs together, before scaling by variance
    hold_half_lives_max: float = 4.0  # time stop
    suspended: bool = False  # close what is open, open nothing
    frozen: bool = False  # no order in either direction: what is held stays as it is, for a person to deal with

    def __post_init__(self) -> None:
        if self.leg_a == self.leg_b:
            raise ValueError(f"pair {self.pair}: the legs must differ")
        if not 0 <= self.exit_z < self.entry_z < self.stop_z:
            raise ValueError(
                f"pair {self.pair}: exit_z {self.exit_z}, entry_z {self.entry_z}, stop_z {self.stop_z}; must be 0 <= exit < entry < stop"
            )
        if not 0 <= self.probability_min < 1 or self.notional_usd <= 0 or self.hold_half_lives_max <= 0:
            raise ValueError(f"pair {self.pair}: probability_min in [0, 1), notional_usd and hold_half_lives_max above 0; found {self}")


class Handover(StrEnum):
    """What becomes of positions that another version than the routed one has opened."""

    HAND_OVER = "hand_over"  # the routed version looks after them from its first forecast on
    HOLD = "hold"  # the version that opened them looks after them until they are closed, as long as the pointer names it as previous
    FLATTEN = "flatten"  # they are closed at the first bar of the routed version


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedVersion:
    """One registered version by number and content."""

    version: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """Some pairs of a sector that another version decides, with less money."""

    version: str
    digest: str
    pairs: tuple[PairId, ...]  # in order of id
    notional_usd_max: Decimal  # of a new position, both legs together

    def __post_init__(self) -> None:
        if not self.pairs or list(self.pairs) != sorted(set(self.pairs)):
            raise ValueError(f"canary pairs {self.pairs}: must be at least one, each once, in order")
        if self.notional_usd_max <= 0:
            raise ValueError(f"canary notional_usd_max {self.notional_usd_max}, must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingPointer:
    """The version of a sector's model that the portfolio acts on. A higher epoch wins, so an old writer cannot undo it.

    previous: the version before, still running, to which a roll-back returns; it looks after its own positions under HOLD.
    """

    sector: SectorId
    version: str
    digest: str
    epoch: int
    canary: Canary | None = None
    previous: PinnedVersion | None = None
    handover: Handover = Handover.HAND_OVER
    reason: str = ""  # why it moved, for people

    def __post_init__(self) -> None:
        if self.epoch < 1:
            raise ValueError(f"routing of {self.sector}: epoch {self.epoch}, must be at least 1")
        if self.canary is not None and self.canary.version == self.version:
            raise ValueError(f"routing of {self.sector}: canary and stable are both version {self.version}")
        if self.previous is not None and self.previous.version == self.version:
            raise ValueError(f"routing of {self.sector}: previous and stable are both version {self.version}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingState:
    """The kill switch for a scope: "global", "account/<name>", "sector/<name>" or "pair/<name>". The strictest that applies holds."""

    scope: str
    mode: TradingMode
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRecord:
    """Where a sector's rollout stands: rollout.state.RolloutState as a JSON document. Written by the one that carries rollouts out."""

    sector: SectorId
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRequest:
    """What a person asks of a sector's rollout without Kubernetes; done once, told apart by its id."""

    sector: SectorId
    request_id: str
    action: str  # start, promote, rollback or abort
    version: str = ""  # of start
    reason: str = ""


ControlRecord = PairSpec | RoutingPointer | TradingState | RolloutRecord | RolloutRequest


def control_key(record: ControlRecord) -> str:
    """The record's key in the compacted topic."""
    match record:
        case PairSpec():
            return f"pair/{record.pair}"
        case RoutingPointer():
            return f"routing/{record.sector}"
        case TradingState():
            return f"trading/{record.scope}"
        case RolloutRecord():
            return f"rollout/{record.sector}"
        case RolloutRequest():
            return f"rollout-request/{record.sector}"
