"""Diagnostics of variance: equal to statsmodels, blind to the future, and never a reason to leave a series out."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.diagnostic import acorr_ljungbox, het_arch

from tandem.quant.stability import (
    WINDOW,
    Finding,
    Verdict,
    annualised_volatility,
    arch_lm,
    bars_per_year,
    features,
    ljung_box,
    rolling_sigma_cv,
    stability,
    z_against_past,
)


def garch(count: int, *, seed: int, alpha: float = 0.2, beta: float = 0.75) -> np.ndarray:
    """Innovations of unit variance that follow GARCH(1,1)."""
    rng = np.random.default_rng(seed)
    out, variance = np.empty(count), 1.0
    for t in range(count):
        out[t] = math.sqrt(variance) * rng.standard_normal()
        variance = 1 - alpha - beta + alpha * out[t] ** 2 + beta * variance
    return out


@pytest.mark.parametrize("scale", [1.0, 1e-4, 100.0])
@pytest.mark.parametrize("lags", [1, 5, 12])
def test_arch_lm_equals_statsmodels(lags, scale):
    """statsmodels 0.15 het_arch, to 1e-8, whatever the unit of the series."""
    values = scale * garch(800, seed=lags)
    assert arch_lm(values, lags) == pytest.approx(het_arch(values, nlags=lags)[:2], rel=1e-8)


@pytest.mark.parametrize("lags", [1, 10])
def test_ljung_box_equals_statsmodels_at_every_lag(lags):
    """statsmodels 0.15 acorr_ljungbox, to 1e-8."""
    values = np.cumsum(garch(300, seed=3)) * 0.1 + np.random.default_rng(4).standard_normal(300)
    expected = acorr_ljungbox(values, lags=lags)["lb_pvalue"]
    assert ljung_box(values, lags) == pytest.approx(expected.tolist(), rel=1e-8, abs=1e-300)


def test_the_rolling_sigma_of_a_steady_series_varies_little_and_that_of_two_regimes_much():
    """30 normal values estimate their sigma to about 13 %: 1 / sqrt(2 x 29)."""
    steady = np.random.default_rng(5).standard_normal(20_000)
    assert rolling_sigma_cv(steady, WINDOW) == pytest.approx(1 / math.sqrt(58), rel=0.05)
    assert rolling_sigma_cv(np.concatenate((steady, 10 * steady)), WINDOW) > 0.7


def test_volatility_is_annualised_by_the_bars_of_the_year():
    """A bar of one minute has 252 x 390 in a year, not 252: the old tables were low by sqrt(390) = 19.7."""
    minute = 1e-4 * np.random.default_rng(6).standard_normal(5000)
    assert bars_per_year(1) == 252
    assert annualised_volatility(minute, bars_per_year=bars_per_year(390)) == pytest.approx(
        math.sqrt(390) * annualised_volatility(minute, bars_per_year=bars_per_year(1))
    )
    assert annualised_volatility(minute, bars_per_year=bars_per_year(390)) == pytest.approx(1e-4 * math.sqrt(252 * 390), rel=0.05)


@given(st.floats(-1e3, 1e3), st.integers(WINDOW, 99))
def test_a_value_never_dampens_its_own_z(jump, at):
    """z[t] is linear in x[t] with the slope of the past alone; with the value in its own window it could not exceed 5.3."""
    values = np.random.default_rng(7).standard_normal(100)
    past = values[at - WINDOW : at].copy()
    values[at] = jump
    z = z_against_past(values, WINDOW)
    assert z[at] == pytest.approx((jump - past.mean()) / past.std(ddof=1))


@given(st.integers(WINDOW + 1, 119))
def test_a_feature_knows_nothing_of_later_bars_nor_of_where_the_series_began(cut):
    """The same bar gets the same numbers from any series that holds its window."""
    level = np.cumsum(0.01 * np.random.default_rng(8).standard_normal(120))
    whole, early = features(level, bars_per_year=252), features(level[:cut], bars_per_year=252)
    late = features(level[20:], bars_per_year=252)
    for name in ("level", "change", "z_score", "rolling_mean", "rolling_sd", "volatility_annualised"):
        np.testing.assert_array_equal(getattr(whole, name)[:cut], getattr(early, name))
        np.testing.assert_array_equal(getattr(whole, name)[20 + WINDOW + 1 :], getattr(late, name)[WINDOW + 1 :])


def test_a_constant_stretch_has_no_z():
    """No spread in the past, no unit to measure in: NaN, not infinity."""
    z = z_against_past(np.concatenate((np.ones(WINDOW), [2.0], np.random.default_rng(9).standard_normal(5))), WINDOW)
    assert np.isnan(z[: WINDOW + 1]).all()
    assert np.isfinite(z[WINDOW + 1 :]).all()


def test_what_garch_models_is_found_and_kept():
    """ARCH effects are a finding of the series, and gone once each innovation is divided by its own sigma."""
    noise = np.random.default_rng(10).standard_normal(2000)
    found = stability(garch(2000, seed=10))
    assert found.verdict is Verdict.VARYING
    assert Finding.ARCH_EFFECTS in found.findings
    assert stability(noise).verdict is Verdict.STEADY
    assert stability(noise).ljung_box_p_min == min(stability(noise).ljung_box_p_values)


def test_a_series_that_follows_its_own_past_is_found():
    """An AR(1) left in the mean."""
    noise = np.random.default_rng(11).standard_normal(1000)
    values = noise.copy()
    for t in range(1, len(values)):
        values[t] += 0.3 * values[t - 1]
    assert Finding.AUTOCORRELATION in stability(values).findings


@pytest.mark.parametrize(
    ("values", "reason"), [(np.zeros(10), "10 values"), (np.full(200, 0.1), "does not vary"), (np.zeros(0), "0 values")]
)
def test_a_series_that_says_nothing_is_recorded_with_its_reason(values, reason):
    """No number is invented for it, and no warning raised."""
    found = stability(values)
    assert found.verdict is Verdict.INSUFFICIENT_DATA
    assert reason in found.reason
    assert (found.arch_p_value, found.sigma_cv, found.ljung_box_p_min) == (None, None, None)


def test_squares_that_never_change_show_no_arch():
    """Ticks back and forth: nothing for a lag to explain."""
    assert arch_lm(np.tile([1.0, -1.0], 100), 5) == (0.0, 1.0)
