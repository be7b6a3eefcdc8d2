"""What the test divides by, and what it must not do: rise, forget, or be sure of what it has not seen."""

import numpy as np
import pytest

from tandem.quant.sequential import TAIL_RATIO, anytime_p, best_evidence, prefix_statistic

RNG = np.random.default_rng(4)


def test_the_statistic_of_a_prefix_needs_nothing_after_it() -> None:
    """Every prefix alone gives the last value of the whole's same prefix."""
    gains, tail = RNG.standard_t(4, 300) + 0.2, RNG.random(300)
    whole = prefix_statistic(gains, tail_variance=tail)
    for count in (1, 2, 7, 60, 101, 299):
        assert prefix_statistic(gains[:count], tail_variance=tail[:count])[-1] == pytest.approx(whole[count - 1], rel=1e-9)


def test_many_series_at_once_are_the_same_as_one_by_one() -> None:
    """The simulations run what serving runs."""
    gains, tail = RNG.standard_t(3, (6, 150)), RNG.random((6, 150))
    together = anytime_p(gains, start=30, tail_variance=tail)
    for row in range(6):
        np.testing.assert_allclose(together[row], anytime_p(gains[row], start=30, tail_variance=tail[row]), rtol=1e-9)


def test_the_unit_of_the_gains_does_not_matter() -> None:
    gains = RNG.standard_t(4, 200) + 0.1
    np.testing.assert_allclose(prefix_statistic(1e-4 * gains), prefix_statistic(gains), rtol=1e-9)


def test_one_more_loss_as_large_as_the_worst_is_taken_off() -> None:
    """By hand, where the sum of squares is the largest variance: gains 3, -9, 6, 6 (their autocorrelation is below 0)."""
    gains = np.array([3.0, -9.0, 6.0, 6.0])
    squares, absolute = 162.0, 24.0
    expected = (6.0 - 9.0) / np.sqrt(max(squares + 81.0, TAIL_RATIO / 4 * absolute**2))
    assert prefix_statistic(gains)[-1] == pytest.approx(expected)


def test_gains_of_one_size_are_not_certain() -> None:
    """A gain at each of 100 bars, all alike: their own spread is nothing, yet a tail may be unseen; the statistic is (n / 4)^(1/2)."""
    assert prefix_statistic(np.full(100, 0.7))[-1] == pytest.approx(np.sqrt(100 / TAIL_RATIO))


def test_variance_that_has_not_shown_itself_counts() -> None:
    """tail_variance takes over where it is the largest."""
    gains = np.full(64, 0.5)
    assert prefix_statistic(gains, tail_variance=np.full(64, 4.0))[-1] == pytest.approx(32 / 16)


def test_no_gains_say_nothing() -> None:
    """Zero differences: two versions that are the same."""
    assert prefix_statistic(np.zeros(50)).tolist() == [0.0] * 50
    assert prefix_statistic(np.empty(0)).tolist() == []
    assert anytime_p(np.empty(0), start=30).tolist() == []
    assert anytime_p(np.zeros(200), start=60)[-1] == pytest.approx(0.8183, abs=1e-4)  # 1 - F(0) + f(0)^2 / F(0)


def test_nothing_is_said_before_the_start() -> None:
    """Whatever came before it."""
    p_values = anytime_p(np.full(100, 1.0), start=60)
    assert p_values[:59].tolist() == [1.0] * 59
    assert p_values[59] < 1


def test_the_p_value_never_rises() -> None:
    """A claim that was shown stays shown: an early strength is not forgotten when luck turns."""
    gains = np.concatenate([np.full(80, 1.0), np.full(200, -1.0)]) + 0.1 * RNG.standard_normal(280)
    p_values = anytime_p(gains, start=20)
    assert np.all(np.diff(p_values) <= 0)
    assert p_values[-1] == p_values[79] < 0.05


def test_evidence_is_measured_from_the_start_on() -> None:
    """The boundary rises by half the logarithm of the count: the same statistic later is less."""
    statistic = np.full(400, 2.6)
    assert best_evidence(statistic[None], start=100)[0, 99:].tolist() == [best_evidence(statistic, start=100)[-1]] * 301
    late = np.concatenate([np.zeros(399), [2.6]])
    assert best_evidence(late, start=100)[-1] == pytest.approx(best_evidence(statistic, start=100)[-1] - 0.5 * np.log(4))
