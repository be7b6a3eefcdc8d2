"""What the control topic carries: pairs, routing pointers and trading modes. Plain records; manifests are in rollout/crd.py."""

from dataclasses import dataclass
from decimal import Decimal

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
    suspended: bool = False

    def __post_init__(self) -> None:
        if self.leg_a == self.leg_b:
            raise ValueError(f"pair {self.pair}: the legs must differ")
        if not 0 <= self.exit_z < self.entry_z < self.stop_z:
            raise ValueError(
                f"pair {self.pair}: exit_z {self.exit_z}, entry_z {self.entry_z}, stop_z {self.stop_z}; must be 0 <= exit < entry < stop"
            )
        if not 0 <= self.probability_min < 1 or self.notional_usd <= 0 or self.hold_half_lives_max <= 0:
            raise ValueError(f"pair {self.pair}: probability_min in [0, 1), notional_usd and hold_half_lives_max above 0; found {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingPointer:
    """The version of a sector's model that the portfolio acts on. A higher epoch wins, so an old writer cannot undo it."""

    sector: SectorId
    version: str
    digest: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingState:
    """The kill switch for a scope: "global", "sector/<name>" or "pair/<name>". The strictest that applies holds."""

    scope: str
    mode: TradingMode
    reason: str


ControlRecord = PairSpec | RoutingPointer | TradingState


def control_key(record: ControlRecord) -> str:
    """The record's key in the compacted topic."""
    match record:
        case PairSpec():
            return f"pair/{record.pair}"
        case RoutingPointer():
            return f"routing/{record.sector}"
        case TradingState():
            return f"trading/{record.scope}"
