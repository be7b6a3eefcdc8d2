"""A feature row by hand."""

import math

import numpy as np
import pytest

from model_cases import pair_model
from tandem.quant.features import FEATURES, advance, pair_arrays, scaled

PAIR = pair_model(slots=4)


def row(spread_last: float, price_a: float, *, slot: int = 2) -> dict[str, float]:
    """The named features of one bar; leg b stands at 150, the variance at 1.1."""
    moved = advance(
        pair_arrays([PAIR]), np.array([spread_last]), np.array([1.1]), prices=(np.array([price_a]), np.array([150.0])), slot=slot
    )
    assert moved.valid.all()
    return dict(zip(FEATURES, moved.rows[0].tolist(), strict=True))


@pytest.mark.parametrize("spread_last", [0.03, -0.03])
def test_each_feature_is_what_its_name_says(spread_last: float) -> None:
    """Residual against the variance forecast for this bar and slot, log ratio of the next one, z of the spread, its change and side."""
    spread = math.log(61.5) - 0.8 * math.log(150.0) - 0.1
    innovation = (spread - 0.0004 - 0.95 * spread_last) / (0.01 * math.sqrt(PAIR.profile[2]))
    residual = innovation / math.sqrt(1.1)
    z, z_last = spread / 0.05, spread_last / 0.05
    assert abs(residual) < 8
    assert row(spread_last, 61.5) == pytest.approx(
        {
            "residual": residual,
            "residual_size": math.log(1 + residual**2),
            "variance_log_ratio": math.log(0.05 + 0.1 * innovation**2 + 0.85 * 1.1),
            "z": z,
            "z_size": abs(z),
            "z_change": z - z_last,
            "moved_away": math.copysign(1, z_last) * (z - z_last),
            "slot_fraction": 0.5,
        },
        rel=1e-12,
    )


def test_an_outlier_is_cut_for_the_network_but_not_for_the_variance() -> None:
    """A halt or a split must not throw the network; the GARCH recursion still sees all of it."""
    wild = row(0.0, 90.0)
    assert wild["residual"] == 8.0
    assert wild["residual_size"] == pytest.approx(math.log(65))
    assert wild["variance_log_ratio"] > math.log(0.1 * 100)


def test_a_session_longer_than_any_in_training_uses_the_last_slot() -> None:
    """Its factor is the best guess there is; the index never runs over."""
    assert row(0.01, 61.5, slot=9) == row(0.01, 61.5, slot=3)


def test_scaling_is_elementwise_in_float32() -> None:
    """(row - mean) / sd, rounded once at the end."""
    rows = np.array([[1.0, 2.0], [3.0, 5.0]])
    result = scaled(rows, np.array([1.0, 1.0]), np.array([2.0, 3.0]))
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, np.array([[0.0, 1 / 3], [1.0, 4 / 3]], dtype=np.float32))
