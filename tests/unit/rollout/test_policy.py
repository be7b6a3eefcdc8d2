"""Policies that cannot be: a gate that anything passes, or that nothing can."""

import math

import pytest

from tandem.rollout.policy import GatePolicy, OperationalPolicy


@pytest.mark.parametrize(
    "changes",
    [
        {"level": 0.0},
        {"level": 0.5},
        {"level": math.nan},
        {"margin_qlike": -0.01},
        {"margin_qlike": math.inf},
        {"bars_min": 0},
        {"bars_min": 2001},
        {"sessions_min": 0},
    ],
)
def test_a_gate_outside_its_bounds_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"level in|sessions_min at least"):
        GatePolicy(**changes)  # type: ignore[arg-type]  # one field each


@pytest.mark.parametrize(
    "changes",
    [
        {"errors_max": -1},
        {"withheld_share_max": 1.1},
        {"divergence_share_max": -0.1},
        {"latency_p99_s_max": 0.0},
        {"divergence_max": math.nan},
    ],
)
def test_operations_outside_their_bounds_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"shares in|above 0"):
        OperationalPolicy(**changes)  # type: ignore[arg-type]  # one field each
