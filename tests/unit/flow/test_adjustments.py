"""Adjusted bars against numbers made by hand."""

import numpy as np
import pytest

from tandem.domain.ids import Symbol
from tandem.domain.market import KIND_TRADE, TICK_DTYPE
from tandem.flow.adjustments import Adjustment, adjusted, dividend_adjustment, split_adjustment
from tandem.flow.trade_bars import trade_table


def table(*prices):
    """A bar of 10 shares at each time from 0 on."""
    return trade_table((Symbol("KO"),), np.array([(at, 0, price, 10, 0, KIND_TRADE, 0) for at, price in enumerate(prices)], TICK_DTYPE))


def test_a_split_divides_earlier_prices_and_multiplies_their_volumes():
    found = adjusted(table(400.0, 404.0, 101.0), [split_adjustment(2, new_shares=4, old_shares=1)])
    assert (found.close.tolist(), found.volume.tolist()) == ([100.0, 101.0, 101.0], [40, 40, 10])


def test_a_dividend_takes_its_share_of_the_close_before_off_all_earlier_prices():
    found = adjusted(table(50.0, 40.0, 39.0), [dividend_adjustment(2, usd_per_share=1.0, close_before=40.0)])
    assert found.close.tolist() == pytest.approx([50.0 * 39 / 40, 39.0, 39.0])
    assert found.volume.tolist() == [10, 10, 10]


def test_several_multiply_and_none_changes_nothing():
    both = [split_adjustment(1, new_shares=2, old_shares=1), split_adjustment(2, new_shares=3, old_shares=1)]
    assert adjusted(table(60.0, 30.0, 10.0), both).close.tolist() == [10.0, 10.0, 10.0]
    same = table(1.0, 2.0)
    assert adjusted(same, []) is same


def test_a_dividend_above_the_price_has_no_factor():
    assert dividend_adjustment(1, usd_per_share=5.0, close_before=5.0) is None
    with pytest.raises(ValueError, match="must be above 0"):
        Adjustment(ex_ns=0, price_factor=0.0)
