"""The session's variance profile."""

import numpy as np
import pytest

from tandem.quant.diurnal import variance_profile

SLOTS = 78
SHAPE = np.concatenate(([30.0], np.linspace(2.0, 0.5, SLOTS - 1)))


def observations(sessions: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Squared innovations with the variance SHAPE, and their slots."""
    slot = np.tile(np.arange(SLOTS), sessions)
    return SHAPE[slot] * np.random.default_rng(seed).chisquare(1, len(slot)), slot


def test_the_shape_of_a_session_is_found() -> None:
    """With 400 sessions within 20 % everywhere, the overnight gap of slot 0 included."""
    squares, slot = observations(400)
    profile = variance_profile(squares, slot, SLOTS, 20.0)
    np.testing.assert_allclose(profile, SHAPE / SHAPE.mean(), rtol=0.2)


def test_dividing_by_the_profile_keeps_the_level() -> None:
    """Its mean over the observations is 1, so the scale of the innovations stays what it was."""
    squares, slot = observations(30)
    assert variance_profile(squares, slot, SLOTS, 20.0)[slot].mean() == pytest.approx(1.0)


def test_few_observations_leave_it_near_one() -> None:
    """One session, or a slot never seen, does not make a profile."""
    squares, slot = observations(1)
    profile = variance_profile(squares, slot, SLOTS, 20.0)
    assert profile[0] < 3.0
    unseen = slot != 40
    seen_profile = variance_profile(*(x[np.tile(unseen, 1)] for x in (squares, slot)), SLOTS, 20.0)
    assert seen_profile[40] == pytest.approx(1.0, abs=0.25)


def test_slot_0_stands_alone() -> None:
    """The overnight gap does not leak into its neighbours."""
    squares, slot = observations(400)
    quiet = np.where(slot == 0, 0.0, squares)
    loud, still = variance_profile(squares, slot, SLOTS, 20.0), variance_profile(quiet, slot, SLOTS, 20.0)
    np.testing.assert_allclose(loud[1:] / loud[1], still[1:] / still[1], rtol=0.05)


@pytest.mark.parametrize("slots", [1, 2, 3, 7, 390])
def test_any_number_of_slots_has_one_factor_each(slots: int) -> None:
    """From daily bars to minutes."""
    slot = np.arange(800) % slots
    profile = variance_profile(np.random.default_rng(0).chisquare(1, 800), slot, slots, 20.0)
    assert profile.shape == (slots,)
    assert np.all(profile > 0)
    if slots == 1:
        assert profile.tolist() == [1.0]
