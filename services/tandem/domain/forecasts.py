"""What a forecaster publishes: one batch per sector and bar, which is also the sector's watermark."""

import math
from dataclasses import dataclass

from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.market import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """One version of a sector's model. The digest names the content, the version its place in the registry."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The state of one pair at the close of a bar and what is expected of its next bar."""

    pair: PairId
    leg_a: Symbol
    leg_b: Symbol
    price_a: float  # USD, last trade of the bar
    price_b: float
    beta: float  # hedge ratio: spread = log a - beta log b - mu
    mu: float
    spread: float
    expected_spread: float  # AR(1) mean of the pair's next bar; realised variance = (next spread - expected_spread)^2
    z: float  # spread / its standard deviation in the training span
    variance: float  # of the spread's innovation over the next bar, after the GRU's correction
    garch_variance: float  # the same before the correction
    reversion_probability: float  # calibrated: reverts by more than its cost within the horizon
    half_life_bars: float
    bar_index: int  # bars of this pair since the end of training, counting from 0

    def __post_init__(self) -> None:
        prices = (self.price_a, self.price_b, self.beta, self.mu, self.spread, self.expected_spread, self.z)
        rest = (self.variance, self.garch_variance, self.half_life_bars)
        if not all(map(math.isfinite, prices + rest)) or not 0 <= self.reversion_probability <= 1:
            raise ValueError(f"forecast of {self.pair} holds a number that is not finite: {self}")
        if self.variance <= 0 or self.garch_variance <= 0 or self.price_a <= 0 or self.price_b <= 0:
            raise ValueError(f"forecast of {self.pair}: variances and prices must be above 0: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastBatch:
    """All forecasts of one sector and model version at one bar. Empty when no pair advanced: still a watermark."""

    sector: SectorId
    model: ModelRef
    source: Source
    replay_id: str
    bar_close_ns: int
    lockstep: bool
    end_of_stream: bool
    forecasts: tuple[Forecast, ...]
