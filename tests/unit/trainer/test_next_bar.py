"""The rule behind a card's profit: filled at the next bar, paid for, and nothing else."""

import numpy as np
import pytest

from tandem.quant.bundle import Thresholds
from tandem.trainer.next_bar import positions, profits

RULE = Thresholds(entry_z=2.0, exit_z=0.5, probability_min=0.5)


def test_in_at_the_entry_out_at_the_exit_and_only_where_it_is_probable() -> None:
    """Short above, long below, flat between; an improbable reversion is not entered, but one that is held stays."""
    z = np.array([0.0, 2.1, 1.0, 0.4, -2.5, -2.5, -1.0, 0.2, 2.2, 3.0, -3.0])
    probability = np.array([1.0, 0.6, 0.0, 1.0, 0.4, 0.5, 0.0, 1.0, 0.9, 0.9, 0.9])
    assert positions(z, probability, RULE).tolist() == [0, -1, -1, 0, 0, 1, 1, 0, -1, -1, 1]


def test_a_move_between_the_signal_and_the_fill_earns_nothing() -> None:
    """Trap of signals filled at the bar that made them: the spread is back at the next bar, so there is nothing left to earn."""
    spread = np.array([0.0, 0.10, 0.0, 0.0, 0.0, 0.0])
    wanted = positions(spread / 0.02, np.ones(6), RULE)
    assert wanted.tolist() == [0, -1, 0, 0, 0, 0]
    assert profits(wanted, spread, beta=1.0, cost_bps=0.0).tolist() == pytest.approx([0.0, 0.0, 0.0, 0.0])
    slow = np.array([0.0, 0.10, 0.10, 0.0, 0.0, 0.0])
    held = positions(slow / 0.02, np.ones(6), RULE)
    assert profits(held, slow, beta=1.0, cost_bps=0.0).tolist() == pytest.approx([0.0, 0.05, 0.0, 0.0])


def test_each_change_pays_and_so_does_what_is_left_at_the_end() -> None:
    """Half a cost in, half out, per unit of gross exposure; turning round pays twice."""
    flat = np.zeros(7)
    assert profits(np.array([0, 1, 1, 0, 0, 0, 0]), flat, beta=1.0, cost_bps=5.0).sum() == pytest.approx(-2 * 5e-4)
    assert profits(np.array([1, -1, -1, 0, 0, 0, 0]), flat, beta=1.0, cost_bps=5.0).sum() == pytest.approx(-4 * 5e-4)
    assert profits(np.ones(7, dtype=np.int64), flat, beta=1.0, cost_bps=5.0)[-1] == pytest.approx(-5e-4)


def test_profit_is_per_unit_of_gross_exposure() -> None:
    """One dollar in leg a and beta in leg b."""
    spread = np.array([0.1, 0.1, 0.0])
    assert profits(np.array([-1, 0, 0]), spread, beta=1.5, cost_bps=0.0)[0] == pytest.approx(0.1 / 2.5)
