"""The distance method through the live code: its selection and thresholds as forecasts, orders at the next bar, whole shares, real limits.

The study of quant/distance.py is the yardstick in the units of the literature; this is what an account would have made of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tandem.domain.control import PairSpec
from tandem.domain.forecasts import Forecast, ForecastBatch, ModelRef
from tandem.domain.ids import PairId, SectorId, Symbol, pair_id, short_hash
from tandem.domain.market import BarSet, Heartbeat, SessionGrid, TickFrame
from tandem.flow import bars as bar_flow
from tandem.flow.sector import batch_of
from tandem.quant.distance import DistanceRule, FormationUnusable, closest_pairs
from tandem.quant.panel import Panel
from tandem.research.policies import Prepared, Terms, WindowData, idle

_NEVER = 1e9  # half-lives: the method has no time stop but the end of the window


@dataclass(frozen=True, slots=True, kw_only=True)
class DistanceModel:
    """One pair as its formation period left it."""

    pair: PairId
    leg_a: Symbol
    leg_b: Symbol
    spread_sd: float


class DistanceForecaster:
    """z is the difference of the prices, each over its first of the trading period, in formation standard deviations."""

    def __init__(self, models: tuple[DistanceModel, ...], ref: ModelRef, grid: SessionGrid, *, variance: float) -> None:
        """variance: what sizing is told, per bar; the one that gives every pair its full notional, as the method knows no other size."""
        self.version = ref.version
        self._models, self._ref, self._variance = models, ref, variance
        self._bars = bar_flow.initial_bars(grid)
        self._first: dict[Symbol, float] = {}
        self._number = 0

    def step(self, event: TickFrame | Heartbeat) -> tuple[ForecastBatch, ...]:
        """A batch for each bar that closes, and an empty one for a heartbeat that closes none."""
        self._bars, closed = bar_flow.step(self._bars, event)
        batches = [batch_of(self._ref, event, bar_set.close_ns, self._forecasts(bar_set)) for bar_set in closed]
        if isinstance(event, Heartbeat) and (event.end_of_stream or not closed or closed[-1].close_ns < event.watermark_ns):
            batches.append(batch_of(self._ref, event, event.watermark_ns, (), end=event.end_of_stream))
        return tuple(batches)

    def _forecasts(self, bar_set: BarSet) -> tuple[Forecast, ...]:
        for symbol, bar in bar_set.bars.items():
            self._first.setdefault(symbol, bar.close)
        found = tuple(
            self._forecast(model, bar_set) for model in self._models if model.leg_a in bar_set.bars and model.leg_b in bar_set.bars
        )
        self._number += 1
        return found

    def _forecast(self, model: DistanceModel, bar_set: BarSet) -> Forecast:
        price_a, price_b = bar_set.bars[model.leg_a].close, bar_set.bars[model.leg_b].close
        spread = price_a / self._first[model.leg_a] - price_b / self._first[model.leg_b]
        return Forecast(
            pair=model.pair,
            leg_a=model.leg_a,
            leg_b=model.leg_b,
            price_a=price_a,
            price_b=price_b,
            beta=1.0,  # a dollar in each leg
            mu=0.0,
            spread=spread,
            expected_spread=spread,
            z=spread / model.spread_sd,
            variance=self._variance,
            garch_variance=self._variance,
            reversion_probability=1.0,  # the method does not doubt
            half_life_bars=1.0,
            bar_index=self._number,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DistancePolicy:
    """The closest pairs of the training window. variance: per bar, at which sizing gives the full notional."""

    rule: DistanceRule
    terms: Terms
    variance: float
    name: str = "distance"

    @property
    def says(self) -> str:
        """One sentence for the report."""
        return (
            f"The {self.rule.pairs} closest pairs of each training window (Gatev, Goetzmann, Rouwenhorst), opened beyond "
            f"{self.rule.entry_sd:g} standard deviations, closed when prices cross or the window ends."
        )

    def prepare(self, window: WindowData) -> Prepared:
        """Choose on the window's whole symbols."""
        whole, symbols = whole_symbols(window.panel)
        tested = len(symbols) * (len(symbols) - 1) // 2
        try:
            found = closest_pairs(whole, self.rule.pairs)
        except FormationUnusable as error:
            return idle(window, tested=tested, note=str(error))
        models = tuple(
            DistanceModel(pair=pair_id(symbols[p.a], symbols[p.b]), leg_a=symbols[p.a], leg_b=symbols[p.b], spread_sd=p.spread_sd)
            for p in found
        )
        digest = short_hash("distance", window.data_digest, window.panel.close_ns[-1], *((m.pair, m.spread_sd) for m in models))
        ref = ModelRef(name=f"distance_{window.sector}", version=str(window.number), digest=digest)
        return Prepared(
            specs=self._specs(models, window.sector),
            forecaster=DistanceForecaster(models, ref, window.grid, variance=self.variance),
            digest=digest,
            tested=tested,
        )

    def _specs(self, models: tuple[DistanceModel, ...], sector: SectorId) -> Mapping[PairId, PairSpec]:
        return {
            m.pair: self.terms.applied(
                PairSpec(
                    pair=m.pair,
                    sector=sector,
                    leg_a=m.leg_a,
                    leg_b=m.leg_b,
                    entry_z=self.rule.entry_sd,
                    exit_z=0.0,
                    stop_z=float("inf"),
                    probability_min=0.0,
                    hold_half_lives_max=_NEVER,
                )
            )
            for m in models
        }


def whole_symbols(panel: Panel) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float64]], tuple[Symbol, ...]]:
    """Closes (T, N) of the symbols that have one at every bar, and their names."""
    kept = np.flatnonzero(np.isfinite(panel.close).all(axis=0))
    return panel.close[:, kept], tuple(panel.symbols[i] for i in kept)
