"""The monitor of a fitted pair: right size without drift, power with it."""

import numpy as np
import pytest

from tandem.quant.drift import BARS_MIN, drift, sup_brownian_sf


@pytest.mark.parametrize(("level", "probability"), [(1.96, 0.1), (2.2414, 0.05), (2.8070, 0.01)])
def test_the_quantiles_are_those_of_the_supremum_of_brownian_motion(level, probability):
    """By reflection nearly 4 (1 - Phi(b)); 2.2414 and 2.8070 are Phi^-1(1 - p/4). Tolerance: the second term of the reflection."""
    assert sup_brownian_sf(level) == pytest.approx(probability, abs=1e-4)


def test_without_drift_the_test_rejects_no_more_often_than_it_says():
    """600 series of 100 fat-tailed innovations; the binomial standard deviation at 5 % is 0.9 %."""
    rng = np.random.default_rng(1)
    rejected = np.mean([drift(rng.standard_t(5, 100)).p_value < 0.05 for _ in range(600)])
    assert 0.01 < rejected < 0.075


def test_a_level_that_moved_is_found():
    """Half a standard deviation to one side for 100 bars."""
    rng = np.random.default_rng(2)
    assert np.mean([drift(0.5 + rng.standard_normal(100)).p_value < 0.05 for _ in range(200)]) > 0.95


def test_a_wrong_level_of_the_variance_alone_is_no_drift():
    """The statistic does not depend on the scale."""
    values = np.random.default_rng(3).standard_normal(60)
    assert drift(3 * values).statistic == pytest.approx(drift(values).statistic)


def test_too_few_or_no_moves_say_nothing():
    """None, and no division by zero."""
    assert drift(np.ones(BARS_MIN - 1)) is None
    assert drift(np.zeros(100)) is None
