"""The GARCH fit: indifferent to the unit, bounded, and clear about what it refuses."""

import numpy as np
import pytest

from model_cases import market
from tandem.quant import garch
from tandem.quant.cointegration import fit_spread


def innovations(seed: int = 1, bars: int = 700) -> np.ndarray:
    """Of the cointegrated pair of the test market."""
    panel = market(bars, seed=seed)
    return fit_spread(panel.log_close("AAA"), panel.log_close("BBB"), bars_min=100).innovations


def test_percent_and_decimal_returns_give_the_same_model() -> None:
    """Trap: the unit must not change the optimum. Only the scale follows it."""
    decimal, percent = garch.fit(innovations()), garch.fit(100 * innovations())
    assert percent.scale == pytest.approx(100 * decimal.scale, rel=1e-12)
    assert (percent.omega, percent.alpha, percent.beta, percent.nu) == (
        pytest.approx(decimal.omega, rel=1e-6),
        pytest.approx(decimal.alpha, rel=1e-6),
        pytest.approx(decimal.beta, rel=1e-6),
        pytest.approx(decimal.nu, rel=1e-6),
    )


def test_the_gradient_is_that_of_the_likelihood() -> None:
    """Against central differences, 1e-5 relative."""
    unit = innovations() / innovations().std()
    at, step = np.array([0.1, 0.12, 0.8, 5.0]), 1e-6

    def value(vector: np.ndarray) -> float:
        return garch._negative_log_likelihood(vector, unit**2, garch.backcast(unit))[0]

    gradient = garch._negative_log_likelihood(at, unit**2, garch.backcast(unit))[1]
    numeric = [(value(at + step * axis) - value(at - step * axis)) / (2 * step) for axis in np.eye(4)]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_every_fit_is_stationary_and_in_bounds(seed: int) -> None:
    """alpha + beta below 1 and no parameter outside its range, on heavy tails and on constant variance alike."""
    rng = np.random.default_rng(seed)
    series = rng.standard_t(2.5, 400) if seed % 2 else rng.standard_normal(400)
    fitted = garch.fit(series)
    assert fitted.alpha + fitted.beta <= garch.PERSISTENCE_MAX + 1e-6
    assert fitted.nu > 2


def test_a_series_that_does_not_move_is_refused() -> None:
    """A halted or stale symbol gives a named reason, not a division by zero."""
    with pytest.raises(garch.ConstantSeries):
        garch.fit(np.zeros(300))
    mostly_stale = np.zeros(300)
    mostly_stale[::10] = 0.01
    with pytest.raises(garch.ConstantSeries):
        garch.fit(mostly_stale)


def test_a_short_series_is_refused() -> None:
    """Four parameters on 99 values are noise."""
    with pytest.raises(garch.TooFewBars, match="99 innovations"):
        garch.fit(innovations()[:99])
