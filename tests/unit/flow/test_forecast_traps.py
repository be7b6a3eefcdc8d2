"""Traps of the data that the forecast step must not fall into: volumes of another feed, minutes that are missing."""

from dataclasses import replace

import numpy as np

from model_cases import DAY_NS, SEQUENCE, bar_sets, bundle_of, market, pair_model, panel_of_closes
from tandem.domain.forecasts import Forecast
from tandem.domain.market import BarSet
from tandem.flow.forecast import initial_forecasts, step
from tandem.quant.history import fold
from tandem.quant.network import Outputs, Windows

PAIR = pair_model("AAA", "BBB", beta=0.7)


def last_row(windows: Windows) -> Outputs:
    """A network that says something different for each window: the means of the two halves of its last row."""
    half = windows.shape[2] // 2
    return np.stack((windows[:, -1, :half].mean(axis=1), windows[:, -1, half:].mean(axis=1)), axis=1).astype(np.float32) / 10


def forecasts(bars: list[BarSet]) -> list[Forecast]:
    """All forecasts of these bars."""
    state, made = initial_forecasts(bundle_of(PAIR)), []
    for bar_set in bars:
        state, new = step(state, bar_set, last_row)
        made += new
    return made


def test_a_feed_with_a_hundred_times_the_volume_forecasts_the_same() -> None:
    """Volumes step up when a venue's feed gives way to the consolidated tape: no feature may look at them."""
    bars = bar_sets(market(60))
    larger = [
        replace(s, bars={name: replace(bar, volume=100 * bar.volume, trades=7 * bar.trades) for name, bar in s.bars.items()})
        for s in bars[30:]
    ]
    assert forecasts(bars[:30] + larger) == forecasts(bars)
    assert len(forecasts(bars)) == 60


def test_a_minute_without_a_trade_is_never_filled_with_the_last_price() -> None:
    """Stale prices fake a lag between the legs: where one leg did not trade there is no spread, no forecast and no change of state."""
    panel = market(80)
    close = panel.close.copy()
    close[40:43, 0] = np.nan
    gappy = replace(panel, close=close)
    (history,) = fold(gappy, [PAIR])
    assert not np.isin(panel.close_ns[40:43], history.close_ns).any()
    assert history.elapsed[np.searchsorted(history.close_ns, panel.close_ns[43])] == 4
    made = forecasts(bar_sets(gappy))
    assert len(made) == 77
    (filled,) = fold(replace(panel, close=np.where(np.isnan(close), close[39], close)), [PAIR])
    assert not np.isin(filled.spread, history.spread).all()  # filling would have made up spreads that nobody traded at


def test_half_days_and_clock_changes_do_not_shift_the_bars() -> None:
    """A bar is found by its place in its session, not by the clock: a short session changes neither slots nor what follows them."""
    count, slots = 40, 4
    close_ns = (np.arange(count) // slots + 1) * DAY_NS + (np.arange(count) % slots + 1) * (DAY_NS // 8)
    full = panel_of_closes(close_ns, market(count).close, symbols=("AAA", "BBB", "CCC"), slots=slots)
    kept = np.r_[0:18, 20:count]  # the fifth session ends after two bars
    half = replace(
        full,
        close_ns=full.close_ns[kept],
        slot=full.slot[kept],
        number=np.arange(len(kept)),
        next_slot=np.where(kept == 17, 0, full.next_slot[kept]),
        close=full.close[kept],
    )
    pair = replace(
        pair_model("AAA", "BBB", beta=0.7, slots=slots), start=replace(PAIR.start, window=((0.0,) * len(PAIR.start.window[0]),) * SEQUENCE)
    )
    (history,) = fold(half, [pair])
    assert history.elapsed.tolist() == [1] * len(history.elapsed)  # the bars after a half day's close never existed: nothing is missing
    profile = pair.profile
    at = int(np.searchsorted(history.close_ns, full.close_ns[17]))
    assert np.isclose(history.garch_variance[at] / history.variance[at], pair.volatility.scale**2 * profile[0], rtol=1e-12)
