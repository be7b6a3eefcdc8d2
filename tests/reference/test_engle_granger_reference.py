"""The compiled tests against statsmodels on real prices: same statistic, same lag, same p-value."""

import warnings
from itertools import combinations

import numpy as np
import pytest
from statsmodels.tools.sm_exceptions import CollinearityWarning
from statsmodels.tsa.adfvalues import mackinnonp
from statsmodels.tsa.stattools import adfuller, coint

from tandem.adapters.market_file import load_market_data
from tandem.adapters.skfolio_data import skfolio_dataset
from tandem.quant.dickey_fuller import adf, mackinnon_p
from tandem.quant.engle_granger import adf_of_spreads, engle_granger_many

PAIRS = np.array(list(combinations(range(20), 2))[::19])


@pytest.fixture(scope="module")
def log_close(tmp_path_factory):  # type: ignore[no-untyped-def]
    """Log closes (8313, 20) of the stocks in the skfolio wheel."""
    data = load_market_data(skfolio_dataset(tmp_path_factory.mktemp("wheel") / "stocks.parquet"))
    return np.log(data.ticks["price"][np.argsort(data.ticks["symbol"], kind="stable")].reshape(20, -1).T)


def residual_of(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    design = np.column_stack([x, np.ones(len(x))])
    return y - design @ np.linalg.lstsq(design, y, rcond=None)[0]


@pytest.mark.parametrize(("start", "bars", "lags_max"), [(0, 252, None), (3000, 1258, None), (6000, 600, 12), (7000, 252, 0)])
def test_statistic_p_value_and_lag_are_those_of_statsmodels_both_ways(log_close, start, bars, lags_max):
    part = log_close[start : start + bars]

    tests = engle_granger_many(part, PAIRS, lags_max=lags_max)

    for row, (i, j) in enumerate(PAIRS):
        for way, (y, x) in enumerate(((part[:, i], part[:, j]), (part[:, j], part[:, i]))):
            statistic, p_value, _ = coint(y, x, trend="c", maxlag=lags_max, autolag="aic")
            assert tests.statistic[row, way] == pytest.approx(statistic, abs=1e-8)
            assert tests.p_value[row, way] == pytest.approx(p_value, abs=1e-8)
            residual = residual_of(y, x)
            assert tests.spread_sd[row, way] == pytest.approx(residual.std(), rel=1e-9)
            if row < 3:
                most = int(np.ceil(12 * (bars / 100) ** 0.25)) if lags_max is None else lags_max
                plain = adfuller(residual, maxlag=most, regression="n", autolag="AIC", result_object=False)
                constant = adfuller(residual, maxlag=most, regression="c", autolag="AIC", result_object=False)
                assert tests.lag[row, way] == plain[2]
                assert tests.adf_lag[row, way] == constant[2]
                assert tests.adf_statistic[row, way] == pytest.approx(constant[0], abs=1e-8)
                assert tests.adf_p_value[row, way] == pytest.approx(constant[1], abs=1e-8)


def test_a_fixed_number_of_lags_is_that_of_statsmodels_too(log_close):
    part = log_close[2000:2252]
    tests = engle_granger_many(part, PAIRS, lags_max=2, fixed=True)
    for row, (i, j) in enumerate(PAIRS):
        assert tests.p_value[row, 0] == pytest.approx(coint(part[:, i], part[:, j], maxlag=2, autolag=None)[1], abs=1e-8)
    assert (tests.lag == 2).all()


def test_the_old_gate_selects_what_it_is_known_to_select(tmp_path):
    """Reference of the project, on these 20 stocks, calendar years 2000-2017: log closes, alphabetical direction, two lags, correlation of
    levels above .8 and p below .05 let 78 of 3,420 pass; 7.7 % of them pass p < .05 in the next year, against 4.7 % of all."""
    data = load_market_data(skfolio_dataset(tmp_path / "stocks.parquet"))
    order = np.argsort(data.ticks["symbol"], kind="stable")
    table = np.log(data.ticks["price"][order].reshape(20, -1).T)
    year = data.ticks["event_ns"][order].reshape(20, -1)[0].astype("datetime64[ns]").astype("datetime64[Y]").astype(int) + 1970
    pairs = np.array(list(combinations(range(20), 2)))
    p_values = {y: engle_granger_many(table[year == y], pairs, lags_max=2, fixed=True).p_value[:, 0] for y in range(2000, 2019)}
    levels = {y: np.corrcoef(table[year == y].T)[pairs[:, 0], pairs[:, 1]] for y in range(2000, 2018)}
    passed = np.concatenate([(p_values[y] < 0.05) & (levels[y] > 0.8) for y in range(2000, 2018)])
    following = np.concatenate([p_values[y + 1] < 0.05 for y in range(2000, 2018)])
    assert (len(passed), passed.sum(), (passed & following).sum()) == (3420, 78, 6)
    assert following.mean() == pytest.approx(0.047, abs=0.0005)


def test_the_dickey_fuller_test_is_that_of_statsmodels(log_close):
    for name in range(0, 20, 7):
        series = log_close[5000:6000, name]
        ours, theirs = adf(series), adfuller(series, maxlag=22, regression="c", autolag="AIC", result_object=False)
        assert (ours.lag, ours.statistic) == (theirs[2], pytest.approx(theirs[0], abs=1e-8))
        assert ours.p_value == pytest.approx(theirs[1], abs=1e-8)


def test_a_spread_with_a_given_hedge_ratio_is_tested_like_a_series(log_close):
    part, pairs = log_close[5000:5600], np.array([[0, 1], [4, 9]])
    expected = [adf(part[:, a] - 0.7 * part[:, b]).p_value for a, b in pairs]
    assert adf_of_spreads(part, pairs, np.full(2, 0.7)) == pytest.approx(expected, abs=1e-9)
    assert np.isnan(adf_of_spreads(part, pairs[:1], np.array([np.nan]))[0])


@pytest.mark.parametrize("series", [1, 2])
def test_p_values_follow_the_surface_of_statsmodels_over_its_whole_range(series):
    statistics = np.concatenate([np.linspace(-25, 5, 301), [-np.inf]])
    expected = [mackinnonp(value, regression="c", N=series) for value in statistics]
    assert mackinnon_p(statistics, series=series) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(mackinnon_p(np.array([np.nan]), series=series)[0])


def test_smooth_series_whose_differences_are_nearly_collinear_agree_too():
    """The Gram matrix has lost its digits there: the slow way decides."""
    t = np.linspace(0, 6, 400)
    a, b = np.sin(t) + 1e-7 * np.random.default_rng(0).standard_normal(400), np.cos(0.7 * t)
    tests = engle_granger_many(np.column_stack([a, b]), np.array([[0, 1]]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = [coint(a, b, maxlag=17), coint(b, a, maxlag=17)]
    assert tests.statistic[0] == pytest.approx([e[0] for e in expected], abs=1e-6)
    assert tests.p_value[0] == pytest.approx([e[1] for e in expected], abs=1e-6)


def test_collinear_legs_are_reported_as_statsmodels_does():
    a = np.cumsum(np.random.default_rng(0).standard_normal(300))
    b = 2 * a + 1
    with pytest.warns(CollinearityWarning):
        statistic, p_value, _ = coint(a, b)
    tests = engle_granger_many(np.column_stack([a, b]), np.array([[0, 1]]))
    assert tests.statistic.tolist() == [[statistic] * 2]
    assert tests.p_value.tolist() == [[p_value] * 2]
