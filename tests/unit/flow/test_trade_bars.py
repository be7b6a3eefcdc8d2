"""Bars of the channels and of history: over any length, by session, and what of them is known when."""

import numpy as np

from recorded_cases import MINUTE_NS, OPEN_NS
from tandem.domain.ids import Symbol
from tandem.domain.market import KIND_TRADE, TICK_DTYPE, SessionGrid
from tandem.flow.trade_bars import by_length, by_session, rows_between, trade_table

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


def test_a_bar_is_known_when_it_has_ended():
    bars = by_length(table((0, 0, 1.0, 1), (60, 0, 2.0, 1), (61, 1, 3.0, 1)), MINUTE_NS)

    def closes(symbols, known_s):
        rows = rows_between(bars, symbols, from_ns=0, to_ns=2**62, known_ns=OPEN_NS + known_s * SECOND_NS)
        return bars.close[rows].tolist()

    assert closes([0, 1], 119) == [1.0]
    assert closes([0, 1], 120) == [1.0, 2.0, 3.0]
    assert closes([1], 120) == [3.0]
