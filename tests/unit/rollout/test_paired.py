"""Paired losses: what cannot be one, what is compared, and what is left after a time."""

from dataclasses import replace

import numpy as np
import pytest

from tandem.domain.ids import PairId
from tandem.quant.losses import qlike
from tandem.rollout.paired import PairedLosses, no_losses

RNG = np.random.default_rng(6)
BARS, PAIRS = 40, (PairId("KO-PEP"), PairId("PG-WMT"))


def losses(**changes: object) -> PairedLosses:
    """Two pairs whose candidate states a tenth more variance of the same spread."""
    realised = RNG.chisquare(1, (BARS, 2))
    whole = PairedLosses(
        close_ns=np.arange(1, BARS + 1) * 10,
        sessions=np.arange(BARS) // 4,
        pairs=PAIRS,
        stable=qlike(realised, np.ones_like(realised)),
        candidate=qlike(realised, np.full_like(realised, 1.1)),
        log_variance_ratio=np.full((BARS, 2), np.log(1.1)),
    )
    return replace(whole, **changes)  # type: ignore[arg-type]  # a table's changes, each checked by the record itself


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stable": np.zeros((BARS, 3))}, r"stable: float64 of shape \(40, 3\)"),
        ({"candidate": np.zeros((BARS, 2), dtype=np.float32)}, "candidate: float32"),
        ({"log_variance_ratio": np.full((BARS, 2), np.inf)}, "infinite"),
        ({"realised_stable": np.ones((BARS, 2))}, "both or neither"),
        ({"sessions": np.zeros(3, dtype=np.int64)}, "3 sessions for 40 bars"),
        ({"sessions": -np.arange(BARS)}, "never fall"),
        ({"close_ns": np.zeros(BARS, dtype=np.int64)}, "rise strictly"),
        ({"pairs": (PAIRS[0], PAIRS[0])}, "each must stand once"),
    ],
)
def test_a_faulty_table_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        losses(**changes)


def test_a_bar_counts_once_and_only_where_something_can_be_compared() -> None:
    stable = RNG.chisquare(1, (BARS, 2))
    stable[3] = np.nan
    stable[-1] = np.nan
    stable[5, 0] = np.nan
    found = losses(stable=stable)
    assert found.bars == BARS - 2
    assert found.newest_ns == 10 * (BARS - 1)
    assert np.isnan(found.differences[[3, 5], [1, 0]]).all()
    assert (no_losses().bars, no_losses().newest_ns) == (0, 0)


def test_a_loss_without_its_variances_is_not_compared() -> None:
    """How far the two disagree must be known: it says how much of a tail may be hidden."""
    ratio = np.full((BARS, 2), 0.1)
    ratio[7, 1] = np.nan
    assert np.isnan(losses(log_variance_ratio=ratio).differences[7, 1])


def test_after_a_time_all_tables_are_cut_alike() -> None:
    realised = RNG.chisquare(1, (BARS, 2))
    whole = losses(realised_stable=realised, realised_candidate=2 * realised)
    cut = whole.after(100)
    assert cut.close_ns.tolist() == whole.close_ns[10:].tolist()
    for name in ("stable", "candidate", "log_variance_ratio", "realised_stable", "realised_candidate", "sessions"):
        np.testing.assert_array_equal(getattr(cut, name), getattr(whole, name)[10:])
    assert losses().after(10**9).bars == 0


def test_the_same_spread_gives_the_plain_difference() -> None:
    """Whether the innovations are stated or not."""
    plain, realised = losses(), RNG.chisquare(1, (BARS, 2))
    stated = replace(plain, realised_stable=realised, realised_candidate=realised.copy())
    np.testing.assert_allclose(stated.differences, plain.differences, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(stated.relative_ratios, plain.relative_ratios, rtol=1e-12)


def test_a_spread_in_another_unit_makes_no_difference() -> None:
    """A hedge ratio for twice the position: four times the variance and the innovations, and nothing that the gate sees."""
    plain, realised = losses(), RNG.chisquare(1, (BARS, 2))
    plain = replace(plain, realised_stable=realised, realised_candidate=realised.copy())
    doubled = replace(plain, log_variance_ratio=plain.log_variance_ratio + np.log(4), realised_candidate=4 * realised)
    np.testing.assert_allclose(doubled.differences, plain.differences, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(doubled.relative_ratios, plain.relative_ratios, rtol=1e-9, atol=1e-12)


def test_rounding_of_a_large_loss_is_no_difference() -> None:
    """A move of a hundred standard deviations: the last digits of its loss are worth more than those of 1."""
    large = np.full((BARS, 2), 1e4)
    rounded = np.nextafter(np.nextafter(large, np.inf), np.inf)
    told = losses(stable=large, candidate=rounded)
    assert np.abs(rounded - large).min() > 1e-12
    np.testing.assert_array_equal(told.differences, 0.0)
    np.testing.assert_array_equal(losses(stable=large, candidate=large + 1e-6).differences, (large + 1e-6) - large)


def test_a_spread_that_never_moved_has_no_scale() -> None:
    """Zero innovations: the ratio stays as stated, and nothing is infinite."""
    still = losses(realised_stable=np.zeros((BARS, 2)), realised_candidate=np.zeros((BARS, 2)))
    np.testing.assert_array_equal(still.relative_ratios, still.log_variance_ratio)
    assert np.isfinite(still.differences).all()
