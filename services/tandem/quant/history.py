"""The past as the network saw it: `advance` folded over a panel, then windows with what came after them.

The fold is the serving step (quant/features.py), so training rows equal serving rows to the last bit. Labels look ahead, on purpose and
only here; each sample states the span of bars that it touches, so that parts can be purged. Called by the trainer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tandem.domain.errors import Permanent
from tandem.quant.bundle import PairModel, PairStart
from tandem.quant.features import FEATURES, FilterState, Vector, advance, not_begun, pair_arrays, scaled
from tandem.quant.network import Windows
from tandem.quant.panel import Panel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairHistory:
    """One pair's bars, n of them: those in which both legs traded, without the first, which has no bar before it."""

    pair: PairModel
    close_ns: NDArray[np.int64]  # (n,)
    spread: Vector  # (n,)
    variance: Vector  # (n,) unit scale, of the next bar
    expected_spread: Vector  # (n,) of the next bar
    garch_variance: Vector  # (n,) of the next bar
    elapsed: NDArray[np.int64]  # (n,) bars since the pair's last one
    rows: Vector  # (n, F) not scaled
    end: FilterState  # of this pair alone, after the panel's last bar

    def start(self, sequence: int, mean: Vector, sd: Vector) -> PairStart:
        """The state after the last bar of the panel."""
        window = scaled(self.rows[-sequence:], mean, sd)
        levels, leg_logs, leg_levels = ((float(a), float(b)) for ((a, b),) in (self.end.levels, self.end.leg_logs, self.end.leg_levels))
        return PairStart(
            spread=float(self.end.spread[0]),
            variance=float(self.end.variance[0]),
            missed=int(self.end.missed[0]),
            levels=levels,
            leg_logs=leg_logs,
            leg_levels=leg_levels,
            bars=len(self.spread) + 1,
            window=tuple(tuple(row) for row in window.astype(np.float64).tolist()),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """N windows of several pairs, by time of their last bar; `take` makes parts of them."""

    rows: Vector  # (R, F) feature rows of all pairs, not scaled
    last_row: NDArray[np.int64]  # (N,) place in `rows` of the window's last row
    close_ns: NDArray[np.int64]  # (N,) close of that bar: when the forecast is made
    first_ns: NDArray[np.int64]  # (N,) close of the window's first bar
    end_ns: NDArray[np.int64]  # (N,) close of the last bar that the labels look at
    garch_variance: Vector  # (N,) forecast for the next bar
    realised: Vector  # (N,) (next spread - expected spread)^2
    reverted: NDArray[np.bool_]  # (N,)
    sequence: int

    def __len__(self) -> int:
        return len(self.last_row)

    def take(self, *, from_ns: int, to_ns: int) -> "Samples":
        """The samples whose window and labels lie wholly in [from_ns, to_ns): purged on both sides."""
        inside = (self.first_ns >= from_ns) & (self.end_ns < to_ns)
        names = ("last_row", "close_ns", "first_ns", "end_ns", "garch_variance", "realised", "reverted")
        return Samples(rows=self.rows, sequence=self.sequence, **{name: getattr(self, name)[inside] for name in names})

    def windows(self, mean: Vector, sd: Vector) -> Windows:
        """(N, sequence, F) scaled."""
        return scaled(self.rows, mean, sd)[self.last_row[:, None] + np.arange(1 - self.sequence, 1)]


def fold(panel: Panel, pairs: Sequence[PairModel]) -> tuple[PairHistory, ...]:
    """Step all pairs through the panel, forward only. The filter starts at the pair's first bar with the training variance."""
    arrays = pair_arrays(pairs)
    leg_a = [panel.symbols.index(p.leg_a) for p in pairs]
    leg_b = [panel.symbols.index(p.leg_b) for p in pairs]
    close_a, close_b = panel.close[:, leg_a], panel.close[:, leg_b]
    bars, count = len(panel.close_ns), len(pairs)
    valid = np.zeros((bars, count), dtype=bool)
    tables = {name: np.empty((bars, count)) for name in ("spread", "expected_spread", "garch_variance")}
    elapsed, variance = np.zeros((bars, count), dtype=np.int64), np.empty((bars, count))
    rows = np.empty((bars, count, len(FEATURES)))
    state = not_begun(count)
    places = zip(panel.slot.tolist(), panel.next_slot.tolist(), np.diff(panel.number, prepend=panel.number[:1] - 1).tolist(), strict=True)
    for t, (slot, next_slot, passed) in enumerate(places):
        moved = advance(arrays, state, prices=(close_a[t], close_b[t]), slot=slot, next_slot=next_slot, passed=passed)
        state = moved.state
        valid[t], rows[t], elapsed[t], variance[t] = moved.valid, moved.rows, moved.elapsed, state.variance
        for name, table in tables.items():
            table[t] = getattr(moved, name)
    return tuple(
        PairHistory(
            pair=pair,
            close_ns=panel.close_ns[valid[:, i]],
            rows=rows[valid[:, i], i],
            variance=variance[valid[:, i], i],
            elapsed=elapsed[valid[:, i], i],
            end=_only(state, i),
            **{name: table[valid[:, i], i] for name, table in tables.items()},
        )
        for i, pair in enumerate(pairs)
    )


def _only(state: FilterState, place: int) -> FilterState:
    """The state of one of the pairs."""
    return FilterState(**{part.name: getattr(state, part.name)[place : place + 1] for part in fields(state)})


def samples_of(histories: Sequence[PairHistory], *, sequence: int, horizon_bars: int, cost_bps: float) -> Samples:
    """All windows of all pairs that have a whole past and a whole future within the history."""
    parts = [_samples(history, sequence, horizon_bars, cost_bps) for history in histories]
    offset = np.cumsum([0] + [len(part.rows) for part in parts])
    last_row = np.concatenate([part.last_row + start for part, start in zip(parts, offset.tolist(), strict=False)])
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("close_ns", "first_ns", "end_ns", "garch_variance", "realised", "reverted")
    }
    order = np.lexsort((last_row, joined["close_ns"]))
    return Samples(
        rows=np.concatenate([part.rows for part in parts]),
        last_row=last_row[order],
        sequence=sequence,
        **{name: values[order] for name, values in joined.items()},
    )


def reverted(spread: Vector, *, horizon_bars: int, cost: float) -> NDArray[np.bool_]:
    """Whether the spread (n,) goes back toward its mean by more than `cost` within the horizon, for the bars 0 .. n - horizon - 2.

    Measured from the next bar on, the first that an order decided at this bar's close can fill at: with s = spread, some k in 2..horizon+1
    has -sign(s[t]) (s[t+k] - s[t+1]) > cost. Never true at s[t] = 0.
    """
    if len(spread) < horizon_bars + 2:
        return np.zeros(0, dtype=bool)
    later = sliding_window_view(spread[2:], horizon_bars)
    now, entry = spread[: len(later)], spread[1 : len(later) + 1]
    fell, rose = entry - later.min(axis=1), later.max(axis=1) - entry
    return np.where(now > 0, fell, np.where(now < 0, rose, -np.inf)) > cost


def _samples(history: PairHistory, sequence: int, horizon_bars: int, cost_bps: float) -> Samples:
    count = len(history.spread) - horizon_bars - 1
    if count < sequence:
        raise Permanent(f"pair {history.pair.pair}: {len(history.spread)} bars, the window and horizon need {sequence + horizon_bars + 1}")
    cost = 2 * (1 + abs(history.pair.beta)) * cost_bps * 1e-4  # both legs, in and out
    label = reverted(history.spread, horizon_bars=horizon_bars, cost=cost)
    last = np.arange(sequence - 1, count)
    # The forecast is of the grid's next bar: where the pair did not trade in it, nothing says how that came out.
    last = last[history.elapsed[last + 1] == 1]
    return Samples(
        rows=history.rows,
        last_row=last,
        close_ns=history.close_ns[last],
        first_ns=history.close_ns[last - sequence + 1],
        end_ns=history.close_ns[last + horizon_bars + 1],
        garch_variance=history.garch_variance[last],
        realised=(history.spread[last + 1] - history.expected_spread[last]) ** 2,
        reverted=label[last],
        sequence=sequence,
    )
