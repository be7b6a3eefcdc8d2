"""Duplicates: a key is let through once, within a payload and across payloads, and the window is bounded."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tandem.domain.market import KIND_TRADE, TICK_DTYPE, TickArray
from tandem.ingestor.dedupe import WINDOW_TICKS, Window


def ticks(*keys: tuple[int, int, int]) -> TickArray:
    """Ticks of (symbol, event_ns, trade_id)."""
    return np.array([(event_ns, trade_id, 1.0, 1, symbol, KIND_TRADE, 0) for symbol, event_ns, trade_id in keys], TICK_DTYPE)


def test_a_repeated_payload_is_left_out():
    window = Window()
    assert window.fresh(ticks((0, 10, 1), (1, 10, 1), (0, 11, 2))).tolist() == [True, True, True]
    assert window.fresh(ticks((0, 10, 1), (1, 10, 1), (0, 11, 2))).tolist() == [False, False, False]


def test_an_overlap_lets_only_the_new_part_through():
    window = Window()
    window.fresh(ticks((0, 10, 1), (0, 11, 2)))
    assert window.fresh(ticks((0, 11, 2), (0, 11, 3), (0, 12, 4))).tolist() == [False, True, True]


def test_a_repetition_within_a_payload_is_left_out():
    assert Window().fresh(ticks((0, 10, 1), (0, 10, 1), (0, 10, 2))).tolist() == [True, False, True]


def test_an_older_tick_that_is_new_passes():
    window = Window()
    window.fresh(ticks((0, 20, 5)))
    assert window.fresh(ticks((0, 10, 4))).tolist() == [True]
    assert window.fresh(ticks((0, 10, 4))).tolist() == [False]


def test_the_same_trade_id_at_another_time_or_symbol_is_another_trade():
    window = Window()
    window.fresh(ticks((0, 10, 1)))
    assert window.fresh(ticks((1, 10, 1), (0, 9, 1))).tolist() == [True, True]


def test_nothing_in_is_nothing_out():
    assert Window().fresh(ticks()).tolist() == []


def test_what_left_the_window_is_not_recognised():
    """The bound is stated: WINDOW_TICKS later, the first tick would pass again."""
    window = Window()
    window.fresh(ticks((0, 1, 1)))
    later = np.zeros(WINDOW_TICKS, TICK_DTYPE)
    later["event_ns"], later["trade_id"] = np.arange(10, 10 + WINDOW_TICKS), 1
    assert window.fresh(later).all()
    assert window.fresh(ticks((0, 1, 1))).tolist() == [True]
    assert not window.fresh(later[-100:]).any()


@given(st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6), st.integers(0, 2)), max_size=12), max_size=8))
def test_it_agrees_with_a_set_of_keys(payloads):
    """Whatever comes in whatever order and cut, a tick passes exactly when its key was not seen."""
    window, seen = Window(), set()
    for keys in payloads:
        expected = []
        for key in keys:
            expected.append(key not in seen)
            seen.add(key)
        assert window.fresh(ticks(*keys)).tolist() == expected
