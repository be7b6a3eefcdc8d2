"""Johansen against statsmodels on real prices, correlation against numpy, Hurst against what theory says."""

import numpy as np
import pytest
from statsmodels.tsa.vector_ar.vecm import coint_johansen

from tandem.adapters.market_file import load_market_data
from tandem.adapters.skfolio_data import skfolio_dataset
from tandem.quant.correlation import return_correlations
from tandem.quant.hurst import hurst, hurst_of_spreads
from tandem.quant.johansen import CRITICAL_NONE, CRITICAL_ONE, johansen_many

PAIRS = np.array([(i, j) for i in range(20) for j in range(i)])


@pytest.fixture(scope="module")
def log_close(tmp_path_factory):  # type: ignore[no-untyped-def]
    """Log closes (8313, 20) of the stocks in the skfolio wheel."""
    data = load_market_data(skfolio_dataset(tmp_path_factory.mktemp("wheel") / "stocks.parquet"))
    return np.log(data.ticks["price"][np.argsort(data.ticks["symbol"], kind="stable")].reshape(20, -1).T)


@pytest.mark.parametrize(("start", "bars"), [(0, 252), (4000, 1258)])
def test_johansen_is_that_of_statsmodels(log_close, start, bars):
    part = log_close[start : start + bars]
    ours = johansen_many(part, PAIRS)
    for row, pair in enumerate(PAIRS[::7].tolist()):
        theirs = coint_johansen(part[:, pair], 0, 1)
        assert ours.trace_none[row * 7] == pytest.approx(theirs.trace_stat[0], abs=1e-8)
        assert ours.trace_one[row * 7] == pytest.approx(theirs.trace_stat[1], abs=1e-8)
        assert ours.beta[row * 7] == pytest.approx(-theirs.evec[1, 0] / theirs.evec[0, 0], rel=1e-6)
        assert CRITICAL_NONE.tolist() == theirs.trace_stat_crit_vals[0].tolist()
        assert CRITICAL_ONE.tolist() == theirs.trace_stat_crit_vals[1].tolist()


def test_johansen_does_not_depend_on_the_order_of_the_legs_nor_on_the_unit(log_close):
    part = log_close[:500]
    forth, back = johansen_many(part, PAIRS), johansen_many(part + np.log(7.0), PAIRS[:, ::-1])
    assert back.trace_none == pytest.approx(forth.trace_none, rel=1e-9)
    assert back.beta == pytest.approx(1 / forth.beta, rel=1e-6)


def test_what_johansen_cannot_test_is_not_a_number(log_close):
    table = np.column_stack([log_close[:300, 0], 2 * log_close[:300, 0] + 1, np.full(300, 4.0)])
    assert np.isnan(johansen_many(table, np.array([[0, 1], [0, 2]])).trace_none).all()
    assert np.isnan(johansen_many(log_close[:19], PAIRS).trace_none).all()


def test_the_correlation_is_of_returns_over_common_bars(log_close):
    table = log_close[:300, :2].copy()
    table[50:60, 0] = np.nan
    expected = np.corrcoef(np.diff(table[np.isfinite(table).all(axis=1)], axis=0).T)[0, 1]
    assert return_correlations(table, np.array([[0, 1], [1, 0]])) == pytest.approx([expected] * 2, abs=1e-12)
    assert np.isnan(return_correlations(np.column_stack([table[:, 1], np.full(300, 1.0)]), np.array([[0, 1]]))[0])


def test_unrelated_walks_have_correlated_levels_and_uncorrelated_returns():
    """The trap: half of all pairs of random walks of a year have |correlation of levels| above .4."""
    walks = np.cumsum(np.random.default_rng(1).standard_normal((252, 60)), axis=0)
    pairs = np.array([(i, j) for i in range(60) for j in range(i)])
    levels = np.abs(np.corrcoef(walks.T)[pairs[:, 0], pairs[:, 1]])
    assert np.median(levels) > 0.35
    assert np.abs(return_correlations(walks, pairs)).max() < 0.3


def test_hurst_is_half_for_a_random_walk_less_for_a_reverting_series_and_more_for_a_trend():
    rng = np.random.default_rng(2)
    walks = [hurst(np.cumsum(rng.standard_normal(2000))) for _ in range(50)]
    assert np.mean(walks) == pytest.approx(0.5, abs=0.02)
    ar = np.zeros(2000)
    for t in range(1, 2000):
        ar[t] = 0.9 * ar[t - 1] + rng.standard_normal()
    # Theory for AR(1): mean square of a lag-k difference is proportional to 1 - phi^k.
    lags = 2.0 ** np.arange(6)
    assert hurst(ar) == pytest.approx(np.polyfit(np.log(lags), 0.5 * np.log(1 - 0.9**lags), 1)[0], abs=0.06)
    assert hurst(rng.standard_normal(2000)) == pytest.approx(0.0, abs=0.03)
    assert hurst(np.arange(200.0)) == pytest.approx(1.0)


def test_hurst_of_a_spread_is_that_of_its_series_and_needs_movement(log_close):
    pair, part = np.array([[3, 5]]), log_close[:400]
    assert hurst_of_spreads(part, pair, np.array([0.8]))[0] == pytest.approx(hurst(part[:, 3] - 0.8 * part[:, 5]), abs=1e-12)
    assert np.isnan(hurst(np.ones(100)))
    assert np.isnan(hurst(np.arange(63.0)))
