"""Laws of the statistics of returns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.quant import performance as p

samples = st.integers(1, 10_000).map(lambda seed: 0.001 + 0.01 * np.random.default_rng(seed).standard_t(5, 300))


@given(samples, st.floats(0.1, 10))
def test_a_larger_position_has_the_same_sharpe_ratio_and_the_same_probability(returns: np.ndarray, size: float) -> None:
    one, more = p.moments(returns), p.moments(size * returns)
    assert more.sharpe == pytest.approx(one.sharpe, rel=1e-9)
    assert p.probabilistic_sharpe(more) == pytest.approx(p.probabilistic_sharpe(one), rel=1e-9)


@given(samples, st.integers(1, 500), st.integers(1, 500))
def test_more_trials_never_make_a_result_more_credible(returns: np.ndarray, trials: int, more: int) -> None:
    found = p.moments(returns)
    few, many = (p.deflated_sharpe(found, n, p.sampling_variance(found)) for n in (trials, trials + more))
    assert many <= few
    assert p.deflated_sharpe(found, 1, p.sampling_variance(found)) == p.probabilistic_sharpe(found)


@given(samples)
def test_fat_tails_and_losses_that_come_at_once_cost_credibility(returns: np.ndarray) -> None:
    found = p.moments(returns)
    if found.sharpe <= 0:
        return
    worse = p.Moments(n=found.n, mean=found.mean, sd=found.sd, skew=found.skew - 1, kurtosis=found.kurtosis + 2)
    assert p.probabilistic_sharpe(worse) < p.probabilistic_sharpe(found)


@given(samples)
def test_a_drawdown_is_what_its_two_places_say_and_no_other_is_deeper(returns: np.ndarray) -> None:
    equity = 100 * np.cumprod(1 + returns)
    found = p.drawdown(equity)
    assert 0 <= found.depth < 1
    assert found.depth == pytest.approx(1 - equity[found.trough] / equity[found.peak])
    assert found.depth == pytest.approx(max(1 - equity[i:].min() / equity[i] for i in range(len(equity))))


@given(samples)
def test_months_compound_to_the_whole(returns: np.ndarray) -> None:
    equity = 100 * np.cumprod(np.append(1.0, 1 + returns))
    months = np.array([f"2020-{1 + i // 30:02d}" for i in range(len(equity))])
    found = p.monthly_returns(equity, months)
    assert len(found) == len(set(months))
    assert np.prod([1 + r for r in found.values()]) == pytest.approx(equity[-1] / equity[0])


def test_a_bootstrap_interval_is_the_same_for_the_same_seed_and_holds_the_statistic() -> None:
    returns = 0.001 + 0.01 * np.random.default_rng(5).standard_normal(500)
    interval = p.bootstrap_interval(returns, lambda r: float(r.mean()), seed=3, reps=300)

    assert interval == p.bootstrap_interval(returns, lambda r: float(r.mean()), seed=3, reps=300)
    assert interval.low < returns.mean() < interval.high


def test_bootstrap_intervals_of_a_mean_cover_it_about_as_often_as_they_say() -> None:
    """60 samples with a known mean of 0: at 80 %, between 60 % and 95 % of the intervals hold it (binomial, 1 in 10,000 outside)."""
    random = np.random.default_rng(7)
    covered = 0
    for seed in range(60):
        found = p.bootstrap_interval(random.standard_normal(200), lambda r: float(r.mean()), seed=seed, level=0.8, reps=200)
        covered += found.low < 0 < found.high
    assert 36 <= covered <= 57


def test_constant_returns_have_no_sharpe_ratio() -> None:
    found = p.moments(np.zeros(10))
    assert found.sharpe is None
    assert p.probabilistic_sharpe(found) is None
    assert p.annual_sharpe(np.zeros(10), 252) is None


@pytest.mark.parametrize("returns", [[], [0.1, 0.2], [0.1, float("nan"), 0.2], [0.1, float("inf"), 0.0]])
def test_returns_that_cannot_be_used_are_a_named_error(returns: list[float]) -> None:
    with pytest.raises(p.ReturnsUnusable, match="at least 3"):
        p.moments(np.array(returns))


def test_a_year_compounds() -> None:
    assert p.annual_return(np.full(252, 0.001), 252) == pytest.approx(1.001**252 - 1)
    assert p.annual_return(np.array([-1.0, 0.5, 0.1]), 252) == -1.0


def test_hits_and_turnover() -> None:
    assert p.hit_rate(np.array([1.0, -1.0, 0.0, 2.0])) == 0.5
    assert p.hit_rate(np.array([])) is None
    assert p.annual_turnover(2_000.0, 500.0, 2.0) == 2.0
