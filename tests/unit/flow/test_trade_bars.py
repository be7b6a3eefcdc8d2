"""Bars of the channels and of history: over any length, by session, and what of them is known when."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorded_cases import MINUTE_NS, OPEN_NS
from tandem.domain.ids import Symbol
from tandem.domain.market import KIND_TRADE, TICK_DTYPE, SessionGrid
from tandem.flow.trade_bars import by_length, by_session, joined, priced, trade_table

SYMBOLS = (Symbol("KO"), Symbol("PEP"))
SECOND_NS = 1_000_000_000


def table(*rows: tuple[float, int, float, int]):
    """Trades of (seconds after the open, symbol, price, size)."""
    ticks = np.array([(OPEN_NS + int(s * SECOND_NS), 0, p, size, symbol, KIND_TRADE, 0) for s, symbol, p, size in rows], TICK_DTYPE)
    return trade_table(SYMBOLS, ticks)


def test_a_minute_holds_open_high_low_close_volume_count_and_average_price():
    bars = by_length(table((0, 0, 10.0, 1), (30, 0, 13.0, 2), (59, 0, 9.0, 1), (60, 0, 11.0, 5)), MINUTE_NS)

    assert (bars.start_ns - OPEN_NS).tolist() == [0, MINUTE_NS]
    assert (bars.end_ns - OPEN_NS).tolist() == [MINUTE_NS, 2 * MINUTE_NS]
    first = (bars.open[0], bars.high[0], bars.low[0], bars.close[0], bars.volume[0], bars.trades[0], bars.vwap[0])
    assert first == (10.0, 13.0, 9.0, 9.0, 4, 3, 45.0 / 4)


def test_bars_are_in_order_of_their_end_then_symbol():
    bars = by_length(table((1, 1, 1.0, 1), (2, 0, 1.0, 1), (61, 1, 1.0, 1)), MINUTE_NS)
    assert list(zip((bars.end_ns - OPEN_NS).tolist(), bars.symbol.tolist(), strict=True)) == [
        (MINUTE_NS, 0),
        (MINUTE_NS, 1),
        (2 * MINUTE_NS, 1),
    ]


def test_longer_bars_of_bars_are_the_longer_bars_of_the_trades():
    random = np.random.default_rng(7)
    rows = sorted(
        (float(s), int(k), float(p), int(v))
        for s, k, p, v in zip(
            random.integers(0, 3000, 400),
            random.integers(0, 2, 400),
            random.integers(900, 1100, 400),
            random.integers(1, 50, 400),
            strict=True,
        )
    )
    trades = table(*rows)
    direct, stepwise = by_length(trades, 15 * MINUTE_NS), by_length(by_length(trades, 5 * MINUTE_NS), 15 * MINUTE_NS)
    for name in ("symbol", "start_ns", "open", "high", "low", "close", "volume", "trades"):
        assert np.array_equal(getattr(direct, name), getattr(stepwise, name)), name
    assert np.allclose(direct.vwap, stepwise.vwap, rtol=1e-12)


def test_a_daily_bar_starts_at_midnight_and_leaves_out_what_is_outside_the_session():
    close_ns = OPEN_NS + 390 * MINUTE_NS
    grid = SessionGrid(open_ns=np.array([OPEN_NS]), close_ns=np.array([close_ns]), bar_ns=MINUTE_NS)

    bars = by_session(table((-1, 0, 1.0, 1), (0, 0, 2.0, 1), (23_399, 0, 3.0, 1), (23_400, 0, 4.0, 1)), grid)

    assert (bars.open.tolist(), bars.close.tolist(), bars.volume.tolist()) == ([2.0], [3.0], [2])
    assert (OPEN_NS - int(bars.start_ns[0]), int(bars.end_ns[0])) == (570 * MINUTE_NS, close_ns)


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 1), st.integers(1, 9)), min_size=1, max_size=60), st.lists(st.integers(0, 60))
)
def test_bars_of_parts_put_together_are_the_bars_of_the_whole(rows, cuts):
    """Wherever the tape is cut, also in the midst of a bar."""
    rows = [(float(at), symbol, 10.0 + n, size) for n, (at, symbol, size) in enumerate(sorted(rows))]
    edges = [0, *sorted(cut for cut in cuts if cut < len(rows)), len(rows)]
    parts = [by_length(table(*rows[a:b]), MINUTE_NS) for a, b in itertools.pairwise(edges) if b > a]
    whole, again = by_length(table(*rows), MINUTE_NS), by_length(joined(SYMBOLS, parts), MINUTE_NS)
    for name in ("symbol", "start_ns", "end_ns", "open", "high", "low", "close", "volume", "trades"):
        assert getattr(whole, name).tolist() == getattr(again, name).tolist()
    assert whole.vwap == pytest.approx(again.vwap)


def flagged(*rows: tuple[float, float, int, int]):
    """Trades of KO of (seconds after the open, price, size, flags)."""
    return trade_table(SYMBOLS, np.array([(OPEN_NS + int(s * SECOND_NS), 0, p, n, 0, KIND_TRADE, f) for s, p, n, f in rows], TICK_DTYPE))


ODD, OFFICIAL = 6, 135


def test_a_trade_that_sets_no_price_is_in_volume_and_count_only():
    """Alpaca's rule: average price over the shares of trades that set prices."""
    bars = by_length(flagged((1, 99.0, 5, ODD), (2, 10.0, 1, 0), (3, 1.0, 7, ODD), (4, 12.0, 3, 0), (5, 50.0, 1000, OFFICIAL)), MINUTE_NS)
    assert (bars.open[0], bars.high[0], bars.low[0], bars.close[0], bars.volume[0], bars.trades[0]) == (10.0, 12.0, 10.0, 12.0, 16, 4)
    assert bars.vwap[0] == (10.0 + 36.0) / 4


def test_a_minute_in_which_nothing_set_a_price_is_no_bar_and_its_shares_are_the_days():
    minutes = by_length(flagged((1, 10.0, 1, 0), (61, 99.0, 5, ODD), (121, 11.0, 2, 0), (181, 50.0, 9, OFFICIAL)), MINUTE_NS)
    assert priced(minutes).close.tolist() == [10.0, 11.0]
    grid = SessionGrid(open_ns=np.array([OPEN_NS]), close_ns=np.array([OPEN_NS + 390 * MINUTE_NS]), bar_ns=390 * MINUTE_NS)
    day = by_session(minutes, grid)
    assert (day.open[0], day.high[0], day.close[0], day.volume[0], day.trades[0]) == (10.0, 11.0, 11.0, 8, 3)
    assert day.vwap[0] == 32.0 / 3
    assert len(priced(by_session(by_length(flagged((1, 10.0, 1, ODD)), MINUTE_NS), grid))) == 0


_FLAGGED = st.tuples(st.integers(0, 600), st.integers(900, 1100), st.integers(1, 500), st.sampled_from([0, 0, ODD, OFFICIAL]))


@given(st.lists(_FLAGGED, min_size=1, max_size=60), st.integers(1, 20))
def test_bars_of_pieces_are_the_bars_of_the_whole_with_any_conditions(rows, piece):
    """Whatever the pieces, whatever trades they begin and end with."""
    rows = sorted((float(s), float(p), n, f) for s, p, n, f in rows)
    whole = priced(by_length(flagged(*rows), 5 * MINUTE_NS))
    parts = [by_length(flagged(*rows[start : start + piece]), MINUTE_NS) for start in range(0, len(rows), piece)]
    found = priced(by_length(joined(SYMBOLS, parts), 5 * MINUTE_NS))
    for name in ("start_ns", "open", "high", "low", "close", "volume", "trades", "weight"):
        assert getattr(found, name).tolist() == getattr(whole, name).tolist(), name
    np.testing.assert_allclose(found.vwap, whole.vwap)
