"""What a sector asks of a new model version before, while and after it takes over. Values only; gates and plan read them.

Source of the defaults: docs/rollout-gates.md, whose table of false promotions and power was simulated with them.
"""

import math
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from tandem.domain.control import Handover


class Claim(StrEnum):
    """What the paired forecasts must show of a candidate."""

    NON_INFERIOR = "non_inferior"  # not worse by more than the margin: for the routine refit of a model that is trusted
    SUPERIOR = "superior"  # better: for a new kind of model


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """The statistical gate on QLIKE, paired bar by bar."""

    claim: Claim = Claim.NON_INFERIOR
    level: float = 0.05  # of a false promotion, over all the times that anyone looks
    margin_qlike: float = 0.05  # a mean QLIKE worse by less is not worse: a variance 26 % too low costs that; 0 under SUPERIOR
    bars_min: int = 60  # paired bars before any verdict but "not yet"; fewer than 20 count as 20, over which spreads get their scale
    sessions_min: int = 3  # and trading sessions that they come from
    bars_max: int = 2000  # without a verdict so far, the rollout ends as inconclusive and the stable version stays

    def __post_init__(self) -> None:
        if not 0 < self.level < 0.5 or not 0 <= self.margin_qlike < math.inf:
            raise ValueError(f"gate {self}: level in (0, 0.5), margin_qlike finite and at least 0")
        if self.sessions_min < 1 or not 1 <= self.bars_min <= self.bars_max:
            raise ValueError(f"gate {self}: sessions_min at least 1, bars_min from 1 to bars_max")


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationalPolicy:
    """The operational gates: how a candidate may behave as a program. They can fail a candidate, never pass one."""

    errors_max: int = 0  # records that it could not use and the stable version could
    withheld_share_max: float = 0.01  # of its forecasts that were not finite and therefore not published
    latency_p99_s_max: float = 1.0  # from the ingestor's receipt to the forecast's publication
    divergence_max: float = 4.0  # largest |log variance ratio| to the stable version that may be ordinary
    divergence_share_max: float = 0.05  # of the paired forecasts beyond it

    def __post_init__(self) -> None:
        if self.errors_max < 0 or not 0 <= self.withheld_share_max <= 1 or not 0 <= self.divergence_share_max <= 1:
            raise ValueError(f"operations {self}: errors_max at least 0, shares in [0, 1]")
        if not self.latency_p99_s_max > 0 or not self.divergence_max > 0:
            raise ValueError(f"operations {self}: latency_p99_s_max and divergence_max above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryStep:
    """One step of the canary: this share of the pairs, for so many bars."""

    pairs_share: float
    bars: int = 10

    def __post_init__(self) -> None:
        if not 0 < self.pairs_share <= 1 or self.bars < 1:
            raise ValueError(f"canary step {self}: pairs_share in (0, 1], bars at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPolicy:
    """All of it. Counts of bars are event time; seconds are wall time and only ever wait or give up, they never pass a gate."""

    gate: GatePolicy = GatePolicy()
    operations: OperationalPolicy = OperationalPolicy()
    replay_required: bool = True  # without the recorded span of its training no version starts
    canary: tuple[CanaryStep, ...] = (CanaryStep(pairs_share=0.25), CanaryStep(pairs_share=0.5))  # () goes from shadow to promotion
    canary_notional_usd_max: Decimal = field(default=Decimal(5_000))
    handover: Handover = Handover.HAND_OVER
    watch_bars: int = 60  # the rollback window: the previous version stays hot and the gates go on looking
    warm_deadline_s: float = 900.0  # for a candidate to become Ready
    auto_promote: bool = True  # False: wait for a request once the gates have passed
    auto_rollback: bool = True

    def __post_init__(self) -> None:
        shares = [step.pairs_share for step in self.canary]
        if shares != sorted(set(shares)):
            raise ValueError(f"canary shares {shares}: must grow from step to step")
