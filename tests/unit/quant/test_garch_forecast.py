"""Forecasts over a horizon and the quantiles of the shocks, against integrals and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special

from tandem.quant.garch_forecast import horizon_variance
from tandem.quant.garch_quantiles import draws, probability, quantile, square_below_zero, tail_mean
from tandem.quant.garch_shocks import digamma, skewed
from tandem.quant.volatility import Kind, Shocks, Volatility


def model(kind: Kind, nu: float | None = None, skew: float | None = None) -> Volatility:
    """With leverage where the kind has it."""
    shocks = Shocks.NORMAL if nu is None else Shocks.STUDENT_T if skew is None else Shocks.SKEWED_T
    gamma = {Kind.GARCH: 0.0, Kind.GJR: 0.15, Kind.EGARCH: -0.1}[kind]
    omega, beta = (0.0, 0.9) if kind is Kind.EGARCH else (0.05, 0.8)
    return Volatility(kind=kind, shocks=shocks, omega=omega, alpha=0.05, gamma=gamma, beta=beta, nu=nu, skew=skew, scale=1.0)


def test_garch_returns_to_its_level() -> None:
    """level + persistence^k (variance - level), Bollerslev 1986."""
    found = horizon_variance(model(Kind.GARCH), 3.0, 20)
    level = 0.05 / (1 - 0.85)
    np.testing.assert_allclose(found, level + 0.85 ** np.arange(20) * (3.0 - level), rtol=1e-12)


@pytest.mark.parametrize("skew", [-0.4, 0.3])
def test_gjr_keeps_the_part_of_gamma_that_its_shocks_have_below_zero(skew: float) -> None:
    """Skewed shocks: the mean of 200,000 simulated variances, within four standard errors."""
    volatility, rng = model(Kind.GJR, nu=8.0, skew=skew), np.random.default_rng(1)
    variance = np.full(200_000, 2.0)
    for _ in range(4):
        shock = draws(volatility, variance.shape, rng)
        variance = 0.05 + (0.05 + 0.15 * (shock < 0)) * variance * shock**2 + 0.8 * variance
    error = 4 * variance.std() / np.sqrt(len(variance))
    assert horizon_variance(volatility, 2.0, 5)[4] == pytest.approx(variance.mean(), abs=error)


def test_egarch_is_simulated_by_seed() -> None:
    """The same seed the same numbers, the known first variance exact, towards the level in the long run; no seed, no forecast."""
    volatility = model(Kind.EGARCH)
    first, again = horizon_variance(volatility, 4.0, 60, seed=1), horizon_variance(volatility, 4.0, 60, seed=1)
    np.testing.assert_array_equal(first, again)
    assert first[0] == 4.0
    # The log variance is a stationary AR(1), near normal: mean 0, variance of the news / (1 - beta^2).
    news = 0.05**2 * (1 - 2 / np.pi) + 0.1**2
    assert first[-1] == pytest.approx(np.exp(0.5 * news / (1 - 0.9**2)), rel=0.02)
    with pytest.raises(ValueError, match="seed"):
        horizon_variance(volatility, 4.0, 2)


def test_a_horizon_below_one_is_refused() -> None:
    """There is no variance of zero bars."""
    with pytest.raises(ValueError, match="horizon 0"):
        horizon_variance(model(Kind.GARCH), 1.0, 0)


def density(shock: float, nu: float, skew: float) -> float:
    """Of the compiled likelihood, one value at variance 1."""
    return float(np.exp(skewed(np.array([shock]), np.ones(1), (nu, skew), np.empty(1), np.empty(1))[0]))


@pytest.mark.parametrize(("nu", "skew"), [(4.0, -0.5), (6.0, 0.0), (12.0, 0.7)])
def test_the_skewed_density_has_mean_0_variance_1_and_these_tails(nu: float, skew: float) -> None:
    """Numerical integrals of the density that is fitted, against the closed forms of the quantiles and the tail means."""
    volatility = model(Kind.GARCH, nu=nu, skew=skew)
    edge = float(quantile(volatility, 0.05))

    def integral(power: int, low: float, high: float) -> float:
        return integrate.quad(lambda x: x**power * density(x, nu, skew), low, high, limit=200)[0]

    assert [integral(k, -np.inf, 0) + integral(k, 0, np.inf) for k in range(3)] == pytest.approx([1, 0, 1], abs=2e-6)
    assert integral(0, -np.inf, edge) == pytest.approx(0.05, abs=1e-8)
    assert tail_mean(volatility, 0.05) == pytest.approx(integral(1, -np.inf, edge) / 0.05, rel=1e-6)
    assert square_below_zero(volatility) == pytest.approx(integral(2, -np.inf, 0), rel=1e-5)


@pytest.mark.parametrize("nu", [None, 5.0])
def test_symmetric_tails_are_those_of_draws(nu: float | None) -> None:
    """400,000 draws: the mean below the 5 % quantile within 1 %."""
    volatility = model(Kind.GARCH, nu=nu)
    drawn = draws(volatility, (400_000,), np.random.default_rng(3))
    edge = quantile(volatility, 0.05)
    assert (drawn < edge).mean() == pytest.approx(0.05, abs=0.0015)
    assert drawn[drawn < edge].mean() == pytest.approx(tail_mean(volatility, 0.05), rel=0.01)


@settings(max_examples=100, deadline=None)
@given(st.floats(2.1, 400), st.floats(-0.9, 0.9), st.floats(0.001, 0.999))
def test_quantile_and_probability_are_inverse(nu: float, skew: float, level: float) -> None:
    """For each distribution."""
    for volatility in (model(Kind.GARCH), model(Kind.GARCH, nu=nu), model(Kind.GARCH, nu=nu, skew=skew)):
        assert probability(volatility, quantile(volatility, level)) == pytest.approx(level, rel=1e-8)


def test_a_level_outside_of_0_and_1_is_refused() -> None:
    """Percent given for a fraction."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        quantile(model(Kind.GARCH), 5.0)


def test_digamma_is_scipys() -> None:
    """To 1e-13 over the range that nu takes."""
    points = np.concatenate((np.linspace(1.02, 9, 50), np.linspace(9, 260, 50)))
    np.testing.assert_allclose([digamma(x) for x in points], special.digamma(points), rtol=1e-13, atol=1e-14)
