"""Prices that cannot be right are parked; a new level passes once it is confirmed."""

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.domain.market import KIND_ASK, KIND_BID, KIND_TRADE, TICK_DTYPE, TickArray
from tandem.ingestor.plausible import JUMP_MAX, Prices

NAMES = ["KO", "PEP"]


def trades(*prices: float, symbol: int = 0) -> TickArray:
    return np.array([(10 + i, i, price, 1, symbol, KIND_TRADE, 0) for i, price in enumerate(prices)], TICK_DTYPE)


def passed(prices: Prices, ticks: TickArray) -> list[float]:
    return prices.passed(ticks, NAMES)[0]["price"].tolist()


@pytest.mark.parametrize("bad", [6000.0, 0.6, 60_000.0], ids=["100 x", "1/100", "1000 x"])
def test_a_single_print_far_off_is_parked_and_changes_nothing(bad):
    prices = Prices()
    assert passed(prices, trades(60.0)) == [60.0]
    kept, parked = prices.passed(trades(60.1, bad, 60.2), NAMES)
    assert kept["price"].tolist() == [60.1, 60.2]
    assert [p.error.reason for p in parked] == ["price_jump"]
    assert msgpack.unpackb(parked[0].payload)["p"] == bad
    assert passed(prices, trades(60.3)) == [60.3]


def test_a_new_level_passes_with_its_third_trade():
    """A reverse split of 1 for 100: prices stay there."""
    prices = Prices()
    passed(prices, trades(0.5))
    assert passed(prices, trades(50.0, 51.0, 49.0, 50.5)) == [49.0, 50.5]


def test_prints_that_do_not_agree_confirm_nothing():
    prices = Prices()
    passed(prices, trades(60.0))
    assert passed(prices, trades(6000.0, 0.6, 6000.0, 0.6, 6000.0)) == []


def test_symbols_do_not_confirm_each_other():
    prices = Prices()
    passed(prices, trades(60.0))
    passed(prices, trades(140.0, symbol=1))
    assert passed(prices, trades(6000.0, 6000.0)) == []
    assert passed(prices, trades(140.0, symbol=1)) == [140.0]


def test_a_quote_far_from_the_last_trade_is_parked_whole():
    prices = Prices()
    passed(prices, trades(60.0))
    rows = [
        (1, 0, 59.9, 1, 0, KIND_BID, 0),
        (1, 0, 6010.0, 1, 0, KIND_ASK, 0),
        (2, 0, 0.0, 0, 0, KIND_BID, 0),
        (2, 0, 60.1, 1, 0, KIND_ASK, 0),
    ]
    kept, parked = prices.passed(np.array(rows, TICK_DTYPE), NAMES)
    assert kept["price"].tolist() == [0.0, 60.1]
    (letter,) = parked
    assert msgpack.unpackb(letter.payload) == {"T": "q", "S": "KO", "bp": 59.9, "bs": 1, "ap": 6010.0, "as": 1, "t": 1}
    assert "KO at 6010.0 after 60.0" in letter.error.detail


def test_the_last_price_of_an_earlier_life_counts():
    prices = Prices()
    prices.seed(trades(60.0), np.array([1, 0]))  # the topic's first symbol is our second
    assert passed(prices, trades(6000.0, symbol=1)) == []
    assert passed(prices, trades(6000.0)) == [6000.0]


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(1.0, JUMP_MAX - 2.0), max_size=5), max_size=5))
def test_ordinary_prices_pass_in_any_cut(payloads):
    prices = Prices()
    for payload in payloads:
        assert passed(prices, trades(*payload)) == payload


@pytest.mark.parametrize("far", [6000.0, 60.0])
def test_a_trade_that_sets_no_price_is_neither_judged_nor_a_measure(far):
    """A derivative's price, far off or near, passes for its shares, and the next trade is judged by the last that set one."""
    prices = Prices()
    passed(prices, trades(60.0))
    odd = trades(far, far, far)
    odd["flags"] = 15
    assert passed(prices, odd) == [far, far, far]
    assert passed(prices, trades(6000.0, 60.1)) == [60.1]


def test_seeding_passes_over_trades_that_set_no_price():
    prices, held = Prices(), trades(60.0, 6000.0)
    held["flags"][1] = 15
    prices.seed(held, np.array([0]))
    assert passed(prices, trades(6000.0, 61.0)) == [61.0]
