"""The linear forecasts of realised variance: what a row may know, and that each fit ends where its loss says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realised_cases import made_measures
from tandem.quant import realised_path, realised_terms
from tandem.quant.realised_terms import LOST


def test_a_mean_is_of_the_day_and_those_before_it() -> None:
    """Trap 3: a centred mean, or one that fills forward, would hold another day."""
    values = np.arange(1.0, 31.0)

    means = realised_terms.rolling_mean(values, 5)

    assert len(means) == 30 - LOST
    assert means[0] == np.mean([18, 19, 20, 21, 22])
    assert means[-1] == np.mean([26, 27, 28, 29, 30])


@given(day=st.integers(LOST, 58), seed=st.integers(0, 20))
def test_no_row_knows_a_later_day(day: int, seed: int) -> None:
    """Traps 2 and 3, bit for bit: whatever comes after a day, its rows stay."""
    realised, returns = made_measures(60, seed=seed)
    other_realised, other_returns = realised.copy(), returns.copy()
    other_realised[day + 1 :] *= 7
    other_returns[day + 1 :] -= 3

    for terms in (realised_terms.shocks, realised_terms.trends):
        assert np.array_equal(terms(realised, returns)[: day - LOST + 1], terms(other_realised, other_returns)[: day - LOST + 1])
    for logs in (realised_terms.har_logs, realised_terms.har_levels):
        assert np.array_equal(logs(realised)[: day - LOST + 1], logs(other_realised)[: day - LOST + 1])


def test_trends_and_shocks_have_no_unit() -> None:
    """Trap 8: percent or decimal, the leverage terms are the same numbers."""
    realised, returns = made_measures(100)

    np.testing.assert_allclose(realised_terms.trends(realised / 1e4, returns / 100), realised_terms.trends(realised, returns), rtol=1e-12)
    np.testing.assert_allclose(realised_terms.shocks(realised / 1e4, returns / 100), realised_terms.shocks(realised, returns), rtol=1e-12)


def test_log_har_without_noise_gives_back_its_coefficients() -> None:
    columns = np.random.default_rng(1).normal(size=(200, 3))
    rows = realised_path.design(columns)

    found = realised_path.har_fit(rows, np.exp(rows @ [0.1, 0.4, 0.3, 0.2]))

    np.testing.assert_allclose(found, [0.1, 0.4, 0.3, 0.2], rtol=1e-9)


def test_the_constant_of_log_har_makes_a_mean_of_a_median() -> None:
    """exp of a normal with variance s^2 has mean exp(s^2 / 2)."""
    rows = np.ones((50_000, 1))
    realised = np.exp(np.random.default_rng(2).normal(0.3, 0.6, 50_000))

    assert np.exp(realised_path.har_fit(rows, realised)[0]) == pytest.approx(realised.mean(), rel=0.01)


def test_the_path_ends_at_the_least_qlike() -> None:
    """No step of any coefficient, in either direction, lowers the penalised loss that is minimised."""
    random = np.random.default_rng(3)
    rows = realised_path.design(random.normal(size=(400, 3)))
    realised = np.exp(rows @ [0.2, 0.5, -0.3, 0.1]) * random.gamma(3, 1 / 3, 400)
    weights, start = realised_path.day_weights(400), np.zeros(4)

    def loss(coefficients: realised_path.Vector) -> float:
        log = rows @ coefficients
        pull = realised_path.RIDGE * rows.var(axis=0) @ (coefficients - start) ** 2 / 2
        return float(weights @ (realised * np.exp(-log) + log) + pull)

    found = realised_path.fit_path(rows, realised, weights, start=start)

    assert all(loss(found) < loss(found + step * axis) for axis in np.eye(4) for step in (-1e-3, 1e-3))


def test_a_path_through_one_constant_is_the_weighted_mean() -> None:
    """QLIKE of a constant is least at the mean: the reason why it needs no correction of a median."""
    realised = np.random.default_rng(4).gamma(2, 1.0, 300)
    weights = realised_path.day_weights(300)

    found = realised_path.fit_path(np.ones((300, 1)), realised, weights, start=np.zeros(1))

    assert np.exp(found[0]) == pytest.approx(weights @ realised, rel=1e-9)


def test_a_repeated_column_does_not_stop_the_fit() -> None:
    random = np.random.default_rng(5)
    column = random.normal(size=200)
    rows = realised_path.design(np.column_stack((column, column, random.normal(size=200))))

    found = realised_path.fit_path(rows, np.exp(0.5 * column), realised_path.day_weights(200), start=np.zeros(4))

    assert found[1] == pytest.approx(found[2], rel=1e-6)


def test_day_weights_halve_each_half_life_and_sum_to_one() -> None:
    weights = realised_path.day_weights(900, 300.0)

    assert weights.sum() == pytest.approx(1)
    assert weights[-301] == pytest.approx(weights[-1] / 2)
