"""Forecasts against what then happened: when the pair's next bar has closed, the forecast of the bar before gets its outcome.

The next bar's prices come with the next forecast of the same pair under the same model; the spread is taken with the earlier forecast's own
beta and mu:

    realised = (log(next price_a) - beta log(next price_b) - mu - expected_spread)^2

where expected_spread is the AR(1) mean that the forecast stated. So `variance` and `realised` speak of the same thing, the innovation of
the spread over the next bar of the grid. A forecast keeps no outcome where that bar got no forecast, because a leg did not trade in it or
the model withheld it: what came two bars later is not what it was about. Called by recorder/pump.py.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tandem.domain.forecasts import Forecast, ForecastBatch
from tandem.domain.ids import PairId
from tandem.domain.market import SessionGrid
from tandem.domain.scores import Outcome, ScoredForecast
from tandem.quant.losses import qlike


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreState:
    """The newest forecast of each pair of one sector, model version and stream, with the close of its bar."""

    newest: Mapping[PairId, tuple[int, Forecast]]


def step(state: ScoreState, batch: ForecastBatch, grid: SessionGrid) -> tuple[ScoreState, tuple[ScoredForecast, ...]]:
    """Rows for the batch's forecasts, without outcome, and for those before them, with theirs. A repeated forecast adds nothing.

    grid: says which bar is the next one.
    """
    newest = dict(state.newest)
    rows: list[ScoredForecast] = []
    adjacent: dict[int, bool] = {}  # by the earlier close: thousands of pairs share one or two of them
    for forecast in batch.forecasts:
        close_ns, before = newest.get(forecast.pair, (None, None))
        if close_ns is not None and batch.bar_close_ns <= close_ns:
            continue  # published again after a restart of the forecaster
        if close_ns is not None and close_ns not in adjacent:
            adjacent[close_ns] = _adjacent(grid, close_ns, batch.bar_close_ns)
        if close_ns is not None and before is not None and adjacent[close_ns]:
            rows.append(_row(batch, close_ns, before, _outcome(before, forecast, batch.bar_close_ns)))
        rows.append(_row(batch, batch.bar_close_ns, forecast, None))
        newest[forecast.pair] = (batch.bar_close_ns, forecast)
    return ScoreState(newest=newest), tuple(rows)


def _adjacent(grid: SessionGrid, close_ns: int, next_close_ns: int) -> bool:
    if not (grid.covers(close_ns) and grid.covers(next_close_ns)):
        return False
    earlier, later = grid.places(np.array([close_ns, next_close_ns])).number.tolist()
    return bool(later == earlier + 1)


def _outcome(before: Forecast, after: Forecast, close_ns: int) -> Outcome:
    spread = math.log(after.price_a) - before.beta * math.log(after.price_b) - before.mu
    realised = (spread - before.expected_spread) ** 2
    losses = qlike(np.array([realised, realised]), np.array([before.variance, before.garch_variance]))
    return Outcome(next_close_ns=close_ns, realised=realised, qlike=float(losses[0]), garch_qlike=float(losses[1]))


def _row(batch: ForecastBatch, bar_close_ns: int, forecast: Forecast, outcome: Outcome | None) -> ScoredForecast:
    return ScoredForecast(
        sector=batch.sector,
        model=batch.model,
        source=batch.source,
        replay_id=batch.replay_id,
        bar_close_ns=bar_close_ns,
        forecast=forecast,
        outcome=outcome,
    )
