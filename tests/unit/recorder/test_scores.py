"""Scores of forecasts: what the realised variance is, when an outcome is known, and that repetitions add nothing."""

import math
from dataclasses import replace

import numpy as np
import pytest

from tandem.domain.forecasts import Forecast, ForecastBatch, ModelRef
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.market import SessionGrid, Source
from tandem.recorder.scores import ScoreState, step

GRID = SessionGrid(open_ns=np.arange(0, 1000, 100), close_ns=np.arange(100, 1100, 100), bar_ns=100)
START = ScoreState(newest={})


def forecast(bar_index: int, price_a: float = 60.0, price_b: float = 150.0, **changes: object) -> Forecast:
    made = Forecast(
        pair=PairId("KO-PEP"),
        leg_a=Symbol("KO"),
        leg_b=Symbol("PEP"),
        price_a=price_a,
        price_b=price_b,
        beta=0.8,
        mu=0.1,
        spread=math.log(price_a) - 0.8 * math.log(price_b) - 0.1,
        expected_spread=-0.02,
        z=1.0,
        variance=4e-4,
        garch_variance=2e-4,
        reversion_probability=0.6,
        half_life_bars=5.0,
        bar_index=bar_index,
    )
    return replace(made, **changes)


def batch(bar_close_ns: int, *forecasts: Forecast, replay_id: str = "r") -> ForecastBatch:
    return ForecastBatch(
        sector=SectorId("staples"),
        model=ModelRef(name="m", version="1", digest="d"),
        source=Source.RECYCLED,
        replay_id=replay_id,
        bar_close_ns=bar_close_ns,
        lockstep=True,
        end_of_stream=False,
        forecasts=forecasts,
    )


def test_a_forecast_is_written_at_once_without_an_outcome():
    _, rows = step(START, batch(100, forecast(0)), GRID)
    assert [(row.bar_close_ns, row.forecast, row.outcome) for row in rows] == [(100, forecast(0), None)]


def test_the_next_bar_gives_the_outcome():
    """realised = (log 61 - 0.8 log 149 - 0.1 + 0.02)^2; QLIKE y/f - log(y/f) - 1, by hand."""
    state, _ = step(START, batch(100, forecast(0)), GRID)
    _, rows = step(state, batch(200, forecast(1, 61.0, 149.0)), GRID)

    scored, fresh = rows
    realised = (math.log(61.0) - 0.8 * math.log(149.0) - 0.1 + 0.02) ** 2
    assert (scored.bar_close_ns, scored.forecast, fresh.bar_close_ns, fresh.outcome) == (100, forecast(0), 200, None)
    assert scored.outcome is not None
    assert scored.outcome.next_close_ns == 200
    assert scored.outcome.realised == pytest.approx(realised, rel=1e-12)
    assert scored.outcome.qlike == pytest.approx(realised / 4e-4 - math.log(realised / 4e-4) - 1, rel=1e-12)
    assert scored.outcome.garch_qlike == pytest.approx(realised / 2e-4 - math.log(realised / 2e-4) - 1, rel=1e-12)


def test_the_outcome_uses_the_earlier_forecasts_own_hedge_ratio():
    """A model that changed beta under the same version would be judged by what it said, not by what it says later."""
    state, _ = step(START, batch(100, forecast(0)), GRID)
    _, rows = step(state, batch(200, forecast(1, 61.0, 149.0, beta=0.5, mu=9.0)), GRID)
    assert rows[0].outcome is not None
    assert rows[0].outcome.realised == pytest.approx((math.log(61.0) - 0.8 * math.log(149.0) - 0.1 + 0.02) ** 2, rel=1e-12)


def test_a_spread_that_does_not_move_from_its_expectation_scores_finite():
    still = forecast(0)
    state, _ = step(START, batch(100, replace(still, expected_spread=math.log(60.0) - 0.8 * math.log(150.0) - 0.1)), GRID)
    _, rows = step(state, batch(200, forecast(1)), GRID)
    assert rows[0].outcome is not None
    assert rows[0].outcome.realised == 0
    assert math.isfinite(rows[0].outcome.qlike)


def test_a_forecast_whose_next_bar_was_withheld_keeps_no_outcome():
    state, _ = step(START, batch(100, forecast(0)), GRID)
    _, rows = step(state, batch(300, forecast(2)), GRID)
    assert [(row.bar_close_ns, row.outcome) for row in rows] == [(300, None)]


def test_a_forecast_whose_next_bar_lacked_a_leg_keeps_no_outcome():
    """It was of one bar ahead; the pair's next bar comes two later."""
    state, _ = step(START, batch(100, forecast(0)), GRID)
    state, rows = step(state, batch(200), GRID)
    assert rows == ()
    _, rows = step(state, batch(300, forecast(1)), GRID)
    assert [(row.bar_close_ns, row.outcome is not None) for row in rows] == [(300, False)]


def test_published_again_it_adds_nothing_and_the_next_outcome_is_right():
    state, _ = step(START, batch(100, forecast(0)), GRID)
    state, _ = step(state, batch(200, forecast(1)), GRID)
    for repeated in (batch(100, forecast(0)), batch(200, forecast(1))):
        state, rows = step(state, repeated, GRID)
        assert rows == ()
    _, rows = step(state, batch(300, forecast(2)), GRID)
    assert [row.bar_close_ns for row in rows] == [200, 300]


def test_pairs_are_scored_apart():
    other = forecast(7, pair=PairId("PG-CL"), leg_a=Symbol("PG"), leg_b=Symbol("CL"))
    state, _ = step(START, batch(100, forecast(0), other), GRID)
    _, rows = step(state, batch(200, replace(other, bar_index=8)), GRID)
    assert [(row.forecast.pair, row.bar_close_ns, row.outcome is not None) for row in rows] == [("PG-CL", 100, True), ("PG-CL", 200, False)]


def test_the_grid_is_asked_once_for_all_pairs_of_a_bar():
    """Thousands of pairs share their bars: a search for each of them would take longer than all else."""
    asked: list[int] = []

    class Counted(SessionGrid):
        def places(self, close_ns):
            asked.append(len(close_ns))
            return super().places(close_ns)

    grid = Counted(open_ns=GRID.open_ns, close_ns=GRID.close_ns, bar_ns=GRID.bar_ns)
    pairs = [forecast(0, pair=PairId(f"A{number}-B{number}")) for number in range(50)]
    state, _ = step(START, batch(100, *pairs), grid)
    _, rows = step(state, batch(200, *(replace(found, bar_index=1) for found in pairs)), grid)
    assert sum(row.outcome is not None for row in rows) == 50
    assert asked == [2]
