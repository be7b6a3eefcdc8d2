"""Tests of tails against published regions and critical values, against statsmodels, and for their size under the null."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from tandem.quant import coverage

# Kupiec (1995), also Jorion, Value at Risk, table 6-2: numbers of hits that a 95 % test does not reject, ends excluded.
KUPIEC_REGIONS = [
    (0.01, 255, 0, 7),  # printed as "N < 7": the table leaves no hits, whose ratio is 5.13, out of account
    (0.01, 510, 1, 11),
    (0.01, 1000, 4, 17),
    (0.025, 255, 2, 12),
    (0.025, 510, 6, 21),
    (0.025, 1000, 15, 36),
    (0.05, 255, 6, 21),
    (0.05, 510, 16, 36),
    (0.05, 1000, 37, 65),
    (0.075, 255, 11, 28),
    (0.075, 510, 27, 51),
    (0.075, 1000, 59, 92),
    (0.10, 255, 16, 36),
    (0.10, 510, 38, 65),
    (0.10, 1000, 81, 120),
]


def _hits(count: int, total: int) -> coverage.Hits:
    return np.arange(total) < count


@pytest.mark.parametrize(("level", "days", "below", "above"), KUPIEC_REGIONS)
def test_kupiecs_published_regions(level: float, days: int, below: int, above: int) -> None:
    accepted = [n for n in range(days // 4) if coverage.kupiec(_hits(n, days), level).p_value > 0.05]
    assert (accepted[0], accepted[-1]) == (below + 1, above - 1)


def test_christoffersen_by_hand() -> None:
    """Ten days 0 0 1 1 0 0 0 1 0 0: transitions 00: 4, 01: 2, 10: 2, 11: 1, so pi01 = 1/3, pi11 = 1/3 = pi: no dependence at all."""
    independent = coverage.christoffersen(np.array([0, 0, 1, 1, 0, 0, 0, 1, 0, 0], dtype=bool), 0.3)
    assert independent.independence.statistic == pytest.approx(0, abs=1e-12)
    clustered = coverage.christoffersen(np.array([0, 0, 0, 0, 1, 1, 1, 1, 0, 0], dtype=bool), 0.4)
    # 00: 4, 01: 1, 10: 1, 11: 3; pi01 = 1/5, pi11 = 3/4, pi = 4/9.
    free = 4 * math.log(4 / 5) + math.log(1 / 5) + math.log(1 / 4) + 3 * math.log(3 / 4)
    bound = 5 * math.log(5 / 9) + 4 * math.log(4 / 9)
    assert clustered.independence.statistic == pytest.approx(2 * (free - bound), rel=1e-12)
    assert clustered.independence.p_value == pytest.approx(float(stats.chi2.sf(2 * (free - bound), 1)), rel=1e-12)
    assert clustered.conditional.statistic == pytest.approx(clustered.independence.statistic, rel=1e-12)  # 4 of 10 at 40 %: Kupiec is 0


def test_no_hit_at_all_is_defined() -> None:
    """Kupiec refutes 5 % on 250 days without a hit; independence cannot be refuted."""
    none = _hits(0, 250)
    assert coverage.kupiec(none, 0.05).p_value < 0.001
    assert coverage.christoffersen(none, 0.05).independence.p_value == 1.0


def test_the_dynamic_quantile_statistic_is_that_of_ordinary_least_squares() -> None:
    """Engle and Manganelli (2004): explained sum of squares over p (1 - p), regressors from statsmodels."""
    rng = np.random.default_rng(3)
    quantile = -1 - rng.random(400)
    hits = rng.random(400) < 0.1
    centred = hits - 0.1
    regressors = np.column_stack([np.ones(396), quantile[4:], *(centred[4 - lag : 400 - lag] for lag in range(1, 5))])
    fitted = sm.OLS(centred[4:], regressors).fit().fittedvalues
    found = coverage.dynamic_quantile(hits, 0.1, quantile)
    assert found.statistic == pytest.approx(float(fitted @ fitted) / 0.09, rel=1e-9)
    assert found.p_value == pytest.approx(float(stats.chi2.sf(found.statistic, 6)), rel=1e-9)


def test_a_constant_quantile_costs_the_dynamic_test_one_degree() -> None:
    rng = np.random.default_rng(4)
    found = coverage.dynamic_quantile(rng.random(400) < 0.1, 0.1, np.full(400, -1.6))
    assert found.p_value == pytest.approx(float(stats.chi2.sf(found.statistic, 5)), rel=1e-9)


def test_under_the_null_each_test_rejects_about_as_often_as_it_says() -> None:
    """5 % tests of independent hits at 5 % on 1,000 days, 400 samples: between 2 and 9 % of rejections each."""
    rejected = dict.fromkeys(("kupiec", "independence", "conditional", "dynamic"), 0)
    for seed in range(400):
        rng = np.random.default_rng(seed)
        hits = rng.random(1000) < 0.05
        both = coverage.christoffersen(hits, 0.05)
        rejected["kupiec"] += coverage.kupiec(hits, 0.05).p_value < 0.05
        rejected["independence"] += both.independence.p_value < 0.05
        rejected["conditional"] += both.conditional.p_value < 0.05
        rejected["dynamic"] += coverage.dynamic_quantile(hits, 0.05, -1 - rng.random(1000)).p_value < 0.05
    assert all(8 <= count <= 36 for count in rejected.values()), rejected


def test_clustered_hits_of_the_right_number_are_found() -> None:
    """A Markov chain with 5 % of hits but 40 % after a hit: Kupiec mostly accepts, the others reject."""
    rng = np.random.default_rng(8)
    hits = np.zeros(2000, dtype=bool)
    for t in range(1, 2000):
        hits[t] = rng.random() < (0.4 if hits[t - 1] else 0.6 * 0.05 / 0.95)
    both = coverage.christoffersen(hits, 0.05)
    assert both.independence.p_value < 1e-6
    assert coverage.dynamic_quantile(hits, 0.05, np.full(2000, -1.0)).p_value < 1e-6


def test_pinball_is_least_at_the_true_quantile() -> None:
    returns = np.random.default_rng(5).standard_normal(20_000)
    at = {q: coverage.pinball(returns, np.full(20_000, q), 0.05).mean() for q in (-1.9, stats.norm.ppf(0.05), -1.4)}
    assert min(at, key=lambda q: at[q]) == stats.norm.ppf(0.05)


def test_pinball_by_hand() -> None:
    """One below by 1 costs 1 - level, one above by 1 costs level."""
    np.testing.assert_allclose(coverage.pinball(np.array([-3.0, -1.0]), np.array([-2.0, -2.0]), 0.05), [0.95, 0.05], rtol=1e-12)


def test_acerbi_and_szekelys_published_critical_value() -> None:
    """Z2 at level 2.5 %, 250 days, 5 %: -0.70 for normal returns (Acerbi and Szekely 2014, table of critical levels); 20,000 samples."""
    level, draws = 0.025, 20_000
    quantile = stats.norm.ppf(level)
    shortfall = -stats.norm.pdf(quantile) / level
    returns = np.random.default_rng(6).standard_normal((draws, 250))
    z2 = [coverage.acerbi_szekely(row, np.full(250, quantile), np.full(250, shortfall), level) for row in returns]
    assert np.quantile(z2, 0.05) == pytest.approx(-0.70, abs=0.03)
    assert np.mean(z2) == pytest.approx(0, abs=0.01)
    simulated = np.random.default_rng(7).standard_normal((2000, 250))
    assert coverage.shortfall_p_value(-0.70, simulated, quantile, shortfall, level) == pytest.approx(0.05, abs=0.015)
    assert coverage.shortfall_p_value(-5.0, simulated, quantile, shortfall, level) == pytest.approx(1 / 2001, rel=1e-12)


def test_losses_beyond_the_shortfall_pull_z2_below_zero() -> None:
    """Forecast of unit normal, returns twice as wide."""
    quantile, level = float(stats.norm.ppf(0.025)), 0.025
    wide = 2 * np.random.default_rng(9).standard_normal(1000)
    assert coverage.acerbi_szekely(wide, np.full(1000, quantile), np.full(1000, -stats.norm.pdf(quantile) / level), level) < -3


def test_a_shortfall_that_is_no_loss_is_refused() -> None:
    with pytest.raises(ValueError, match="must be below 0"):
        coverage.acerbi_szekely(np.zeros(5), np.zeros(5), np.zeros(5), 0.05)


def test_no_day_and_no_level_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        coverage.kupiec(np.zeros(0, dtype=bool), 0.05)
    with pytest.raises(ValueError, match="level"):
        coverage.kupiec(_hits(1, 10), 0.0)
