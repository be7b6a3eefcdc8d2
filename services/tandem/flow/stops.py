"""Where a held pair's stop stands when its volatility changes, and how long a pair rests after it was stopped.

The stop's distance from the entry's threshold grows with the forecast volatility, up to a bound, so that a louder market is not a stop by
itself; it never shrinks. A stopped pair opens again only on a new excursion: the spread has been back inside its entry band, or a newer
model puts the band elsewhere, and some half-lives have passed. Without that, a spread that stays outside is entered and stopped at each
bar on which it dips below the stop. Pure; called by signals.py through its case, and by portfolio/watch.py.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from tandem.domain.control import PairSpec
from tandem.domain.forecasts import Forecast

REST_AFTER = frozenset({"stop_z", "time_stop", "drift"})  # reasons of flow/signals.py that say: it does not come back


@dataclass(frozen=True, slots=True, kw_only=True)
class StopLimits:
    """The part `stops` of config/risk.yaml. widening_max: 1 for a stop that never moves."""

    widening_max: float = 1.25
    rest_half_lives: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.widening_max < 2 or self.rest_half_lives < 0:
            raise ValueError(f"{self}: widening_max must be in [1, 2), rest_half_lives not below 0")


def widening(forecast: Forecast, limits: StopLimits) -> float:
    """Forecast volatility over that of the spread's usual innovations, between 1 and widening_max.

    The usual one follows from the spread's standard deviation s and half-life h: an AR(1) has innovations of s sqrt(1 - 2^(-2/h)).
    """
    if forecast.z == 0 or not 0 < forecast.half_life_bars < math.inf:
        return 1.0
    usual = abs(forecast.spread / forecast.z) * math.sqrt(1 - 2 ** (-2 / forecast.half_life_bars))
    return min(max(math.sqrt(forecast.variance) / usual, 1.0), limits.widening_max) if usual > 0 else 1.0


def stop_z(spec: PairSpec, widened: float) -> float:
    """The stop with its distance from the entry's threshold so many times as wide."""
    return spec.entry_z + (spec.stop_z - spec.entry_z) * widened


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """A pair that was stopped. bars: forecasts since, up to the one of `at_ns`; returned: a new excursion is possible."""

    reason: str
    digest: str
    half_life_bars: float
    at_ns: int
    bars: int = 0
    returned: bool = False

    def is_over(self, limits: StopLimits) -> bool:
        """It may open again."""
        return self.returned and self.bars >= limits.rest_half_lives * self.half_life_bars


def rested(rest: Rest, forecast: Forecast, spec: PairSpec, *, digest: str, at_ns: int) -> Rest:
    """The rest one forecast later. A bar that is decided again after a restart counts once."""
    if at_ns <= rest.at_ns:
        return rest
    back = rest.returned or digest != rest.digest or abs(forecast.z) < spec.entry_z
    return replace(rest, at_ns=at_ns, bars=rest.bars + 1, returned=back)


def document(rest: Rest) -> dict[str, Any]:
    """As plain values, for the database."""
    return asdict(rest)


def rest_of(found: Mapping[str, Any]) -> Rest:
    """What `document` wrote."""
    return Rest(**found)
