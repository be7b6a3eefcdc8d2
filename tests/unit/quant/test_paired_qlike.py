"""Small moves of two spreads, and the variance of a bar's difference that a tail may still hide."""

import numpy as np
import pytest
from scipy import stats

from tandem.quant.losses import qlike
from tandem.quant.paired_qlike import SHOCK_CORRELATION, SMALL_SHARE, SQUARE_VARIANCE, WARM_BARS, levels, small_moves, tail_variance

RNG = np.random.default_rng(5)


def test_the_level_is_the_mean_so_far_after_the_first_bars() -> None:
    """Of each column by itself; what it has of the first WARM_BARS bars shares its mean, and holes count for nothing."""
    realised = RNG.chisquare(1, (60, 2))
    realised[5:9, 1] = np.nan
    realised[30] = np.nan  # no bar at all
    found = levels(realised)
    for column in (0, 1):
        np.testing.assert_allclose(found[:WARM_BARS, column], np.nanmean(realised[:WARM_BARS, column]), rtol=1e-12)
        np.testing.assert_allclose(found[-1, column], np.nanmean(realised[:, column]), rtol=1e-12)
        np.testing.assert_allclose(found[40, column], np.nanmean(realised[:41, column]), rtol=1e-12)


def test_no_later_bar_changes_a_level_that_a_gate_has_looked_at() -> None:
    """Not of a pair either that has only some of the first bars, or begins after them."""
    realised = RNG.chisquare(1, (60, 4))
    realised[:WARM_BARS:2, 1] = realised[:35, 2] = np.nan
    realised[3:7] = np.nan  # which count for nobody
    realised[4, 3] = np.nan
    whole = levels(realised)
    for bars in range(WARM_BARS + 4, 60):
        np.testing.assert_array_equal(levels(realised[:bars]), whole[:bars])


def test_few_values_share_their_mean() -> None:
    np.testing.assert_allclose(levels(np.array([[1.0], [np.nan], [3.0]])), 2.0)
    assert np.isnan(levels(np.full((3, 1), np.nan))).all()
    assert levels(np.empty((0, 2))).shape == (0, 2)


def test_only_small_moves_are_lifted_and_to_the_share() -> None:
    realised = np.array([[1.0], [1.0], [1e-9], [2.0]])
    mean = (4 + 1e-9) / 4
    np.testing.assert_allclose(small_moves(realised)[:, 0], [0, 0, np.log(SMALL_SHARE * mean / 1e-9), 0], rtol=1e-12)
    assert np.isfinite(small_moves(np.zeros((5, 1)))).all()


def test_the_loss_is_still_least_at_the_true_variance() -> None:
    """What is taken off does not depend on the forecast: 10 % to either side loses as before."""
    realised = RNG.chisquare(1, (4_000, 1))
    at = {
        share: float(np.mean(qlike(realised, np.full_like(realised, share * realised.mean())) - small_moves(realised)))
        for share in (0.9, 1.0, 1.1)
    }
    assert at[1.0] < min(at[0.9], at[1.1])


def test_two_almost_equal_spreads_no_longer_differ_by_their_smallest_moves() -> None:
    """Innovations that differ by a twentieth of their size, the same variance: four fifths of the differences' variance is gone."""
    own = RNG.standard_normal((4_000, 1))
    realised = [own**2, (own + 0.05 * RNG.standard_normal(own.shape)) ** 2]
    raw = [qlike(each, np.ones_like(each)) for each in realised]
    lifted = [loss - small_moves(each) for loss, each in zip(raw, realised, strict=True)]
    assert np.var(lifted[1] - lifted[0]) < 0.2 * np.var(raw[1] - raw[0])


@pytest.mark.parametrize(
    ("ratio", "null", "sign", "mean"),
    [
        (-0.3, 0.0, 1, 0.3),  # the candidate's variance is lower: mostly better, now and then much worse
        (-0.3, 0.05, 1, 0.35),
        (0.3, 0.05, 1, 0.0),  # it is higher: it cannot lose more than the ratio at a bar
        (0.3, 0.0, -1, 0.3),  # that it is worse: the other way round
        (0.3, 0.05, -1, 0.25),
        (0.03, 0.05, -1, 0.0),  # it can never be worse by more than its ratio
        (-0.3, 0.05, -1, 0.0),
        (np.nan, 0.05, 1, 0.0),
        (-0.01, 0.05, 1, 4 * np.expm1(0.01)),  # .06 would need a truth six times the stated variance
        (0.0, 0.05, 1, 0.0),
    ],
)
def test_the_hidden_variance_of_one_pair(ratio: float, null: float, sign: int, mean: float) -> None:
    assert tail_variance(np.array([[ratio]]), null=null, sign=sign) == pytest.approx([SQUARE_VARIANCE * mean**2])


def test_it_is_the_variance_of_student_t_shocks() -> None:
    """The squares of Student's t with 5.5 degrees of freedom over their mean: the fourth moment is 7 times the square of the second."""
    shocks = stats.t(5.5)
    assert float(shocks.moment(4) / shocks.moment(2) ** 2 - 1) == pytest.approx(SQUARE_VARIANCE, rel=1e-6)
    ratio = -0.3
    unit = -ratio / (np.exp(-ratio) - 1)  # mean of u at which the difference u (exp(-r) - 1) + r has mean 0
    variance = (np.exp(-ratio) - 1) ** 2 * unit**2 * SQUARE_VARIANCE
    assert float(tail_variance(np.array([[ratio]]), null=0.0, sign=1)[0]) == pytest.approx(variance)


def test_pairs_share_shocks_in_part() -> None:
    """Four alike: between a quarter, were they independent, and the whole, were they one. A hole makes it three."""
    one = float(tail_variance(np.array([[-0.3]]), null=0.0, sign=1)[0])
    alike = np.full((1, 4), -0.3)
    assert tail_variance(alike, null=0.0, sign=1) == pytest.approx([one * ((1 - SHOCK_CORRELATION) / 4 + SHOCK_CORRELATION)])
    alike[0, 2] = np.nan
    assert tail_variance(alike, null=0.0, sign=1) == pytest.approx([one * ((1 - SHOCK_CORRELATION) / 3 + SHOCK_CORRELATION)])
