"""Probabilistic and deflated Sharpe ratios against the examples that their papers print.

Bailey and Lopez de Prado, "The deflated Sharpe ratio", 2014, numerical example: the best of 100 trials has an annual Sharpe ratio of 2.5
over 1,250 daily returns of skewness -3 and kurtosis 10; the trials' annual Sharpe ratios have variance 1/2. The paper prints an expected
maximum of 0.1132 a day and a deflated Sharpe ratio of 0.9004, and 0.9505 for 46 trials. The year has 250 days there.
"The Sharpe ratio efficient frontier", 2012: 24 monthly returns with a Sharpe ratio of 0.458, skewness -2.448 and kurtosis 10.164 give a
probability of 0.913 that the true one is above 0, where a normal law gives 0.982.
"""

import math

import numpy as np
import pytest
from scipy.stats import kurtosis, skew

from tandem.quant.performance import Moments, deflated_sharpe, drawdown, expected_max_sharpe, moments, probabilistic_sharpe

DAILY = Moments(n=1250, mean=2.5 / math.sqrt(250), sd=1.0, skew=-3.0, kurtosis=10.0)


def test_the_expected_maximum_of_a_hundred_trials() -> None:
    assert expected_max_sharpe(100, 0.5 / 250) == pytest.approx(0.1132, abs=5e-5)


@pytest.mark.parametrize(("trials", "printed"), [(100, 0.9004), (46, 0.9505)])
def test_the_deflated_sharpe_ratio_of_the_paper(trials: int, printed: float) -> None:
    assert deflated_sharpe(DAILY, trials, 0.5 / 250) == pytest.approx(printed, abs=5e-5)


@pytest.mark.parametrize(("skewness", "tail", "printed"), [(0.0, 3.0, 0.982), (-2.448, 10.164, 0.913)])
def test_the_probabilistic_sharpe_ratio_of_the_paper(skewness: float, tail: float, printed: float) -> None:
    """The printed Sharpe ratio is rounded to three digits, which moves the result by 5e-4."""
    found = Moments(n=24, mean=0.458, sd=1.0, skew=skewness, kurtosis=tail)
    assert probabilistic_sharpe(found) == pytest.approx(printed, abs=1e-3)


def test_moments_are_those_of_scipy() -> None:
    returns = np.random.default_rng(1).standard_t(5, 500)
    found = moments(returns)
    assert found.skew == pytest.approx(skew(returns), rel=1e-12)
    assert found.kurtosis == pytest.approx(kurtosis(returns, fisher=False), rel=1e-12)


def test_the_expected_maximum_is_that_of_a_simulation() -> None:
    """Independent computation: the best of 50 normal Sharpe ratios, 20,000 times; the formula is an approximation good to 2 %."""
    best = np.random.default_rng(2).standard_normal((20_000, 50)).max(axis=1).mean()
    assert expected_max_sharpe(50, 1.0) == pytest.approx(best, rel=0.02)


def test_a_drawdown_that_can_be_read_off() -> None:
    found = drawdown(np.array([100.0, 120.0, 90.0, 110.0, 121.0, 115.0]))
    assert (found.depth, found.peak, found.trough, found.recovered, found.longest_bars) == (0.25, 1, 2, 4, 2)
