"""The anytime-valid test against the theorem it rests on, statsmodels, Brownian paths and a table of normal numbers."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import integrate, stats
from statsmodels.stats.multitest import multipletests

from tandem.quant import sequential
from tandem.rollout.promotion import holm


@pytest.mark.parametrize("level", [-1.0, 0.0, 1.0, 2.0, 2.5, 3.5])
def test_the_crossing_probability_is_robbins_and_siegmunds_integral(level: float) -> None:
    """Theorem 1 of 1970: P(B(1) >= A(1)) + 1/e times the integral over drifts y > 0 of P(N(y, 1) < A(1)), with e the height of the mixture.

    The mixture of exp(y x - y^2 / 2) over y > 0 is integrated numerically, too: nothing of the closed form is used. Tolerance 1e-8.
    """
    height, _ = integrate.quad(lambda drift: np.exp(drift * level - drift**2 / 2), 0, 40)
    below, _ = integrate.quad(lambda drift: stats.norm.cdf(level - drift), 0, 40)
    expected = stats.norm.sf(level) + below / height
    assert float(sequential.crossing_probability(np.array(level))) == pytest.approx(expected, rel=1e-8)


def test_it_approaches_half_of_the_published_two_sided_formula() -> None:
    """Robbins (1970): |B(t)| crosses (t (a^2 + log t))^(1/2) after t = 1 with probability 2 (1 - F(a) + a f(a)). Same for high levels."""
    level = np.array([3.0, 4.0, 5.0])
    two_sided = 2 * (stats.norm.sf(level) + level * stats.norm.pdf(level))
    ratio = 2 * sequential.crossing_probability(level) / two_sided
    assert np.all(np.abs(ratio - 1) < [2e-3, 2e-4, 1e-5]), ratio


def test_a_brownian_motion_crosses_as_often_as_said() -> None:
    """10,000 paths at 2,000 times from 1 to 10^8, each 0.9 % after the last: between them a few crossings are missed."""
    rng = np.random.default_rng(1)
    times = np.geomspace(1, 1e8, 2_000)
    bound = float(sequential.evidence(np.array(sequential.start_level(0.05))))
    crossed = 0
    for _ in range(10):
        path = np.cumsum(rng.standard_normal((1_000, len(times))) * np.sqrt(np.diff(times, prepend=0.0)), axis=1)
        found = sequential.evidence(path / np.sqrt(times)) - 0.5 * np.log(times)
        crossed += int((found >= bound).any(axis=1).sum())
    assert 0.042 < crossed / 10_000 < 0.055  # standard error .0022


def test_the_level_at_the_start_is_the_one_that_the_formula_gives() -> None:
    """2.503 standard deviations for 5 %, 3.137 for 1 %; back and forth without loss."""
    assert sequential.start_level(0.05) == pytest.approx(2.50306, abs=1e-5)
    assert sequential.start_level(0.01) == pytest.approx(3.13676, abs=1e-5)
    level = np.linspace(-30, 30, 2_001)
    np.testing.assert_allclose(sequential.level_of(sequential.evidence(level)), level, atol=1e-9)


@pytest.mark.parametrize("size", [12, 100, 731])
def test_the_share_is_the_hac_variance_of_statsmodels_over_the_plain_one(size: int) -> None:
    """OLS on a constant with Bartlett weights and the bandwidth for that length, at every prefix. Tolerance: rounding."""
    values = 0.3 + np.convolve(np.random.default_rng(size).standard_t(4, size + 2), [1.0, 0.6, 0.2], mode="valid")
    share = sequential.newey_west_share(values)
    for count in {size, size // 2, 5}:
        lags = int(4 * (count / 100) ** (2 / 9))
        fitted = sm.OLS(values[:count], np.ones(count)).fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": False})
        expected = float(fitted.bse[0]) ** 2 * count / values[:count].var()
        assert share[count - 1] == pytest.approx(expected, rel=1e-9)


def test_persistence_is_made_up_for() -> None:
    """A sum of an autoregression of .5 has three times the variance of one of independent values; Newey and West's few lags find 2.4."""
    noise = np.random.default_rng(2).standard_normal(50_000)
    values = np.empty_like(noise)
    now = 0.0
    for place, shock in enumerate(noise.tolist()):
        now = 0.5 * now + shock
        values[place] = now
    assert sequential.long_run_share(values)[-1] == pytest.approx(3.0, rel=0.05)
    assert sequential.newey_west_share(values[:500])[-1] < 2.6
    assert sequential.long_run_share(-np.cumsum(noise[:300] * (-1.0) ** np.arange(300)))[-1] >= 1


def test_holm_by_hand_and_by_statsmodels() -> None:
    """Holm's own kind of example: .005, .01, .03, .04 become .02, .03, .06, .06."""
    given = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}
    assert holm(given) == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})
    random = np.random.default_rng(3).random(30) ** 3
    expected = multipletests(random, method="holm")[1]
    adjusted = holm({str(place): p for place, p in enumerate(random.tolist())})
    np.testing.assert_allclose([adjusted[str(place)] for place in range(30)], expected, rtol=1e-12)
