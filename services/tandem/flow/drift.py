"""Whether a spread still comes back as its model says: a running Dickey-Fuller regression with the model's speed as its hypothesis.

Each forecast says what the next spread should be and how uncertain that is. What it was instead, in forecast standard deviations, is
regressed on the distance from the mean in the same unit: the slope is the speed of reversion that is missing. Under a model that holds the
statistic is near standard normal, on the quiet side, so a threshold has a known rate of false alarms (at 3: 5 % of pairs in 252 bars, half
life 10; a random walk is noticed in 95 %). The usual test against a random walk hardly ever tells a slow reversion from none within the
few half-lives that can be waited for. Old bars fade out by exponential weights: the state is a few numbers. Pure; portfolio/watch.py
keeps one for each pair.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from tandem.domain.forecasts import Forecast


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftLimits:
    """The part `drift` of config/risk.yaml. window: the longer of bars_min and so many half-lives; its weights sum to that many bars."""

    window_half_lives: float = 2.0
    bars_min: int = 30
    t_max: float = 3.0
    t_recovered: float = 1.0

    def __post_init__(self) -> None:
        if self.window_half_lives <= 0 or self.bars_min < 2 or not 0 <= self.t_recovered <= self.t_max or self.t_max == 0:
            raise ValueError(f"{self}: window_half_lives above 0, bars_min at least 2, 0 <= t_recovered <= t_max and t_max above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftState:
    """One pair under one model. expected, variance, spread: of the newest forecast. drifting: the alarm stands."""

    digest: str
    bar_index: int
    expected: float
    variance: float
    spread: float
    bars: int = 0  # that the sums hold
    cross: float = 0.0  # weighted sum of surprise x distance
    cross_variance: float = 0.0  # of it, under the model
    drifting: bool = False

    @property
    def t(self) -> float:
        """How much slower than the model the spread comes back, in standard errors; 0 while nothing is known."""
        return _t(self.cross, self.cross_variance)


def step(state: DriftState | None, forecast: Forecast, digest: str, limits: DriftLimits) -> DriftState:
    """The state after one more forecast. Another model starts anew; a bar that is missing is left out.

    So is one after a forecast that expects the spread to stay where it is: it claims no speed that could be missing.
    """
    if state is None or state.digest != digest or forecast.bar_index < state.bar_index:
        return DriftState(
            digest=digest,
            bar_index=forecast.bar_index,
            expected=forecast.expected_spread,
            variance=forecast.variance,
            spread=forecast.spread,
        )
    bars, cross, cross_variance = state.bars, state.cross, state.cross_variance
    if forecast.bar_index == state.bar_index + 1 and state.expected != state.spread:
        keep = 1 - 1 / max(limits.bars_min, limits.window_half_lives * forecast.half_life_bars)
        distance = state.spread / math.sqrt(state.variance)
        surprise = (forecast.spread - state.expected) / math.sqrt(state.variance)
        bars += 1
        cross = keep * cross + surprise * distance
        cross_variance = keep * keep * cross_variance + distance * distance
    # The alarm begins at t_max and ends at t_recovered, so that it does not come and go at the border.
    t_alarm = limits.t_recovered if state.drifting else limits.t_max
    return DriftState(
        digest=digest,
        bar_index=forecast.bar_index,
        expected=forecast.expected_spread,
        variance=forecast.variance,
        spread=forecast.spread,
        bars=bars,
        cross=cross,
        cross_variance=cross_variance,
        drifting=bars >= limits.bars_min and _t(cross, cross_variance) >= t_alarm,
    )


def _t(cross: float, cross_variance: float) -> float:
    return cross / math.sqrt(cross_variance) if cross_variance > 0 else 0.0


def row(state: DriftState) -> list[Any]:
    """As plain values in the order of the fields, for the database: there is one for each pair and bar."""
    return [getattr(state, name) for name in _FIELDS]


def state_of(found: Sequence[Any]) -> DriftState:
    """What `row` wrote."""
    return DriftState(**dict(zip(_FIELDS, found, strict=True)))


_FIELDS = tuple(field.name for field in fields(DriftState))
