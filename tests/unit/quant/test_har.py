"""HAR, log-HAR and EWMA: forward only, exact where they can be, equal to the reference table of the S&P 500's realised variance."""

import math

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorded_cases import shared_data
from tandem.quant.har import DAYS_MIN, ewma_variance, fit_har, forecast_har, har_features, rolling_har
from tandem.quant.rejections import ConstantSeries, NotFinite, TooFewBars


def measures(days: int = 400, seed: int = 1) -> np.ndarray:
    """Lognormal and persistent."""
    rng, level = np.random.default_rng(seed), np.zeros(days)
    for t in range(1, days):
        level[t] = 0.9 * level[t - 1] + 0.4 * rng.standard_normal()
    return np.exp(level)


def test_features_are_means_of_day_week_and_month() -> None:
    """1, 2, 3, ...: at day t the means are t, t - 2 and t - 10.5. No row before a whole month."""
    features = har_features(np.arange(1.0, 31.0))
    assert np.isnan(features[:21]).all()
    np.testing.assert_allclose(features[21:], [[t, t - 2, t - 10.5] for t in range(22, 31)])


@settings(max_examples=25, deadline=None)
@given(st.integers(60, 119), st.booleans())
def test_no_forecast_knows_a_later_day(day: int, log: bool) -> None:
    """Trap: forecasts up to a day stay bit for bit the same when that day and all later ones change."""
    known = measures(120)
    changed = known.copy()
    changed[day:] = 1e3 * changed[day:] + 7
    first, second = (rolling_har(values, window_days=55, log=log) for values in (known, changed))
    np.testing.assert_array_equal(first[: day + 1], second[: day + 1])


@pytest.mark.parametrize("log", [True, False])
def test_the_rolling_forecast_is_the_fit_of_its_window(log: bool) -> None:
    """The day's forecast by fit_har on the window before it alone."""
    series = measures(200)
    rolled = rolling_har(series, window_days=80, log=log)
    assert np.isnan(rolled[:80]).all()
    for day in (80, 131, 199):
        window = series[day - 80 : day]
        assert rolled[day] == pytest.approx(forecast_har(fit_har(window, log=log), window), rel=1e-9)


def test_log_har_forecasts_the_mean_and_not_the_median() -> None:
    """Independent lognormal measures of sd 1: the forecast is e^(1/2), the median 1. 20,000 days, standard error 1 %."""
    model = fit_har(np.exp(np.random.default_rng(3).standard_normal(20_000)))
    assert forecast_har(model, np.ones(22)) == pytest.approx(math.exp(0.5), rel=0.04)
    assert model.residual_variance == pytest.approx(1.0, rel=0.04)


def test_a_linear_forecast_does_not_fall_below_what_was_seen() -> None:
    """A calm month after a fit with a steep slope would give a negative variance."""
    series = measures(300)
    model = fit_har(series, log=False)
    calm = np.full(22, 1e-9)
    assert forecast_har(model, calm) >= series.min()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0])
def test_a_measure_that_is_none_is_refused(bad: float) -> None:
    """By name, before a logarithm of it is taken."""
    series = measures()
    series[7] = bad
    with pytest.raises(NotFinite, match="1 of 400"):
        fit_har(series)


def test_too_few_or_constant_days_are_refused() -> None:
    """Four coefficients need more than a month."""
    with pytest.raises(TooFewBars, match="51 days"):
        fit_har(measures(DAYS_MIN - 1))
    with pytest.raises(TooFewBars, match="window of 30 days"):
        rolling_har(measures(), window_days=30)
    with pytest.raises(ConstantSeries):
        fit_har(np.full(100, 2.0))


def test_ewma_is_the_weighted_mean_of_the_past() -> None:
    """Weights .06 x .94^k, and the rest on the start."""
    series = np.random.default_rng(1).standard_normal(50)
    path = ewma_variance(series, start=2.0)
    weights = 0.06 * 0.94 ** np.arange(50)[::-1]
    assert path[0] == 2.0
    assert path[-1] == pytest.approx(weights @ series**2 + 2.0 * 0.94**50, rel=1e-12)


def test_the_reference_scores_of_the_spx_are_met() -> None:
    """QLIKE 2014-2017 (1,007 days, rolling 1,000, refit daily): log-HAR .2426, HAR .3506, EWMA .3475 (reference table, protocol B)."""
    table = pq.read_table(shared_data("realized_measures_spx_2000_2017.parquet"))
    variance = table["rv5"].to_numpy() * 1e4
    returns = table["open_to_close"].to_numpy() * 100
    test = slice(-1007, None)
    forecasts = {name: rolling_har(variance[-2007:], window_days=1000, log=name == "log_har")[test] for name in ("log_har", "har")} | {
        "ewma": ewma_variance(returns, start=float(np.mean(returns[:75] ** 2)))[:-1][test]
    }
    scores = {}
    for name, forecast in forecasts.items():
        ratio = variance[test] / forecast
        scores[name] = float(np.mean(ratio - np.log(ratio) - 1))
    assert scores == pytest.approx({"log_har": 0.2426, "har": 0.3506, "ewma": 0.3475}, abs=5e-5)
