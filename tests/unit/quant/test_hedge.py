"""Hedge ratios: total least squares against singular values, the filter against statsmodels' and against what was planted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.tsa.statespace.kalman_filter import KalmanFilter

from tandem.quant.hedge import KalmanFit, kalman_fit, kalman_path, total_least_squares_of
from tandem.quant.rejections import ConstantSeries, TooFewBars


def legs(*, bars: int = 800, alpha_step: float = 0.0, beta_step: float = 0.0, noise: float = 0.01, seed: int = 1):  # type: ignore[no-untyped-def]
    """log a and log b of a pair whose coefficients wander, and beta (T,)."""
    rng = np.random.default_rng(seed)
    b = 4 + np.cumsum(0.01 * rng.standard_normal(bars))
    alpha = 0.5 + np.cumsum(alpha_step * rng.standard_normal(bars))
    beta = 0.8 + np.cumsum(beta_step * rng.standard_normal(bars))
    return alpha + beta * (b - b.mean()) + noise * rng.standard_normal(bars), b, beta


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_total_least_squares_is_the_first_principal_axis_and_turns_with_the_legs(seed):
    rng = np.random.default_rng(seed)
    table = rng.standard_normal((50, 2)) @ rng.standard_normal((2, 2))
    axis = np.linalg.svd(table - table.mean(axis=0))[2][0]
    forth, back = total_least_squares_of(table, np.array([[0, 1], [1, 0]]))
    assert forth == pytest.approx(axis[0] / axis[1], rel=1e-6)
    assert forth == pytest.approx(1 / back, rel=1e-6)


def test_total_least_squares_of_a_constant_leg_is_not_a_number():
    table = np.column_stack([np.arange(10.0), np.ones(10)])
    assert np.isnan(total_least_squares_of(table, np.array([[0, 1]]))[0])


def statsmodels_filter(a, b, fit: KalmanFit):  # type: ignore[no-untyped-def]
    """The same model in statsmodels' state space form."""
    model = KalmanFilter(k_endog=1, k_states=2)
    model.bind(np.asfortranarray(a[None, :]))
    model["design"] = np.stack([np.ones(len(a)), b - fit.centre])[None]
    model["transition"] = model["selection"] = np.eye(2)
    model["state_cov"] = np.diag([fit.alpha_step, fit.beta_step])
    model["obs_cov"] = np.array([[fit.noise]])
    # Known one step before the first bar there, before its step here.
    model.initialize_known(np.array([a[0], 0.0]), (1e7 * fit.noise) * np.eye(2) + np.diag([fit.alpha_step, fit.beta_step]))
    return model.filter()


def test_the_filter_is_that_of_statsmodels():
    a, b, _ = legs(alpha_step=0.002, beta_step=0.001)
    fit = kalman_fit(a, b)
    ours, theirs = kalman_path(a, b, fit), statsmodels_filter(a, b, fit)
    assert ours.innovation[20:] == pytest.approx(theirs.forecasts_error[0, 20:], abs=1e-8)
    assert ours.variance[20:] == pytest.approx(theirs.forecasts_error_cov[0, 0, 20:], rel=1e-6)
    assert ours.beta[20:] == pytest.approx(theirs.filtered_state[1, 20:], abs=1e-6)
    assert fit.log_likelihood == pytest.approx(theirs.llf_obs[20:].sum(), rel=1e-6)


def test_no_neighbour_of_the_fit_is_more_likely():
    a, b, _ = legs(alpha_step=0.002, beta_step=0.001)
    fit = kalman_fit(a, b)
    for name in ("noise", "alpha_step", "beta_step"):
        for factor in (0.8, 1.25):
            other = KalmanFit(**{f: getattr(fit, f) for f in fit.__slots__} | {name: getattr(fit, name) * factor})
            assert statsmodels_filter(a, b, other).llf_obs[20:].sum() < fit.log_likelihood + 0.02


def test_a_constant_ratio_is_found_constant_and_a_wandering_one_followed():
    a, b, _ = legs()
    fixed = kalman_fit(a, b)
    assert fixed.beta == pytest.approx(0.8, abs=0.03)
    assert fixed.log_likelihood - fixed.log_likelihood_constant < 2
    a, b, beta = legs(beta_step=0.004)
    moving = kalman_fit(a, b)
    assert moving.log_likelihood - moving.log_likelihood_constant > 50
    assert np.corrcoef(kalman_path(a, b, moving).beta[100:], beta[100:])[0, 1] > 0.9


def test_later_bars_change_nothing_before_them():
    a, b, _ = legs(alpha_step=0.002)
    fit = kalman_fit(a[:500], b[:500])
    whole, part = kalman_path(a, b, fit), kalman_path(a[:600], b[:600], fit)
    assert np.array_equal(whole.innovation[:600], part.innovation)
    assert whole.alpha[499] == pytest.approx(fit.alpha, abs=1e-6)


def test_what_cannot_be_fitted_is_refused_by_name():
    a, b, _ = legs()
    with pytest.raises(TooFewBars, match="59 bars"):
        kalman_fit(a[:59], b[:59])
    with pytest.raises(ConstantSeries):
        kalman_fit(a, np.full(800, 4.0))
