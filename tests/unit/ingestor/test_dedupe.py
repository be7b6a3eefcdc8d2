"""Duplicates: a key is let through once, within a payload and across payloads, and the window is bounded."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.domain.market import KIND_ASK, KIND_BID, KIND_CANCEL, KIND_TRADE, TICK_DTYPE, TickArray
from tandem.ingestor.dedupe import WINDOW_TICKS_MAX, Window


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


def test_a_full_window_forgets_the_oldest_and_says_from_when_on_it_knows_all():
    """The bound is stated: nobody may ask for what is older again."""
    window = Window()
    window.fresh(ticks((0, 1, 1)))
    later = np.zeros(WINDOW_TICKS_MAX, TICK_DTYPE)
    later["event_ns"], later["trade_id"], later["kind"] = np.arange(10, 10 + WINDOW_TICKS_MAX), 1, KIND_TRADE
    assert window.fresh(later).all()
    assert len(window) <= WINDOW_TICKS_MAX
    assert 1 < window.covered_from_ns <= 10 + WINDOW_TICKS_MAX // 2 + 1
    assert window.fresh(ticks((0, 1, 1))).tolist() == [True]
    assert not window.fresh(later[later["event_ns"] >= window.covered_from_ns][:100]).any()


def test_pruning_forgets_what_is_older_only():
    window = Window()
    many = np.zeros(100_000, TICK_DTYPE)
    many["event_ns"], many["kind"] = np.arange(100_000), KIND_TRADE
    window.fresh(many)
    window.prune(90_000)
    assert (len(window), window.covered_from_ns) == (10_000, 90_000)
    assert not window.fresh(many[90_000:]).any()


def test_kinds_of_one_time_and_symbol_are_told_apart():
    """A trade and its cancel carry one id; two quotes of one time differ by price or size."""
    rows = [(5, 1, 9.0, 1, 0, KIND_TRADE, 0), (5, 1, 9.0, 1, 0, KIND_CANCEL, 0)]
    rows += [(5, 0, price, size, 0, kind, 0) for kind in (KIND_BID, KIND_ASK) for price, size in ((9.0, 1), (9.0, 2), (9.1, 1))]
    window, each = Window(), np.array(rows, TICK_DTYPE)
    assert window.fresh(each).all()
    assert not window.fresh(each).any()


@settings(deadline=None)
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
