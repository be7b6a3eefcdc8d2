"""Scored forecasts in Postgres as the recorder writes them: what the gates of a rollout compare."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tandem.adapters.history_store import HistoryStore
from tandem.domain.forecasts import Forecast, ModelRef
from tandem.domain.ids import PairId, SectorId, pair_legs
from tandem.domain.market import Source
from tandem.domain.scores import Outcome, ScoredForecast
from tandem.domain.units import NS_PER_S

DAY_NS = 86_400 * NS_PER_S
START_NS = 19_675 * DAY_NS + 21 * 3_600 * NS_PER_S  # 14 November 2023, 16:00 in New York


def write_scores(url: str, sector: SectorId, model: ModelRef, pairs: Sequence[str], qlike: NDArray[np.float64], *, start: int = 0) -> None:
    """One row for each daily bar and pair. qlike: (bars, pairs); start: the number of the first bar."""
    rows = [
        score(sector, model, pair, START_NS + (start + bar) * DAY_NS, float(qlike[bar, column]))
        for bar in range(len(qlike))
        for column, pair in enumerate(pairs)
    ]
    store = HistoryStore(url, "test")
    try:
        store.save([], rows, {})
    finally:
        store.close()


def score(sector: SectorId, model: ModelRef, pair: str, close_ns: int, qlike: float, *, variance: float = 1e-4) -> ScoredForecast:
    """One forecast with what then happened."""
    a, b = pair_legs(pair)
    forecast = Forecast(
        pair=PairId(pair),
        leg_a=a,
        leg_b=b,
        price_a=60.1,
        price_b=50.0,
        beta=1.0,
        mu=0.1,
        spread=0.0,
        expected_spread=0.0,
        z=0.0,
        variance=variance,
        garch_variance=1e-4,
        reversion_probability=0.6,
        half_life_bars=5.0,
        bar_index=3,
    )
    return ScoredForecast(
        sector=sector,
        model=model,
        source=Source.RECYCLED,
        replay_id="r",
        bar_close_ns=close_ns,
        forecast=forecast,
        outcome=Outcome(next_close_ns=close_ns + DAY_NS, realised=1e-4, qlike=qlike, garch_qlike=1.0),
    )
