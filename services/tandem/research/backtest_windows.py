"""The walk of a backtest: which bars each window sees and which it trades. Nothing that is traded is seen before."""

import numpy as np
from numpy.typing import NDArray

from tandem.domain.errors import BadSetting
from tandem.domain.units import rfc3339
from tandem.research.backtest_records import WindowPlan

_TRADE_BARS_MIN = 2  # one to open on and one to close on


def plan_windows(
    close_ns: NDArray[np.int64], *, train_bars: int, trade_bars: int, from_ns: int | None = None, to_ns: int | None = None
) -> tuple[WindowPlan, ...]:
    """Windows side by side: each trades `trade_bars` bars and has seen the `train_bars` before them.

    close_ns: (T,) ascending. from_ns: the first bar that is traded closes after it; default: as early as the training allows.
    to_ns: no bar that closes after it is traded. The last window may be shorter. Raises BadSetting when nothing is left to trade.
    """
    if train_bars < 2 or trade_bars < _TRADE_BARS_MIN:
        raise BadSetting(f"train-bars {train_bars}, trade-bars {trade_bars}: at least 2 each")
    first = train_bars if from_ns is None else int(np.searchsorted(close_ns, from_ns, side="right"))
    stop = len(close_ns) if to_ns is None else int(np.searchsorted(close_ns, to_ns, side="right"))
    if first < train_bars:
        raise BadSetting(f"{first} bars before {rfc3339(from_ns or 0)}, the first window must have seen {train_bars}: begin later")
    if stop - first < _TRADE_BARS_MIN:
        span = f"{rfc3339(int(close_ns[0]))} to {rfc3339(int(close_ns[-1]))}" if len(close_ns) else "nothing"
        raise BadSetting(f"{max(stop - first, 0)} bars to trade after {train_bars} to train on; the data hold {len(close_ns)} bars, {span}")
    starts = [start for start in range(first, stop, trade_bars) if stop - start >= _TRADE_BARS_MIN]
    ends = [*starts[1:], stop]
    return tuple(
        WindowPlan(
            number=number,
            train_start=start - train_bars,
            trade_start=start,
            trade_stop=end,
            train_from_ns=int(close_ns[start - train_bars]),
            train_to_ns=int(close_ns[start - 1]),
            trade_to_ns=int(close_ns[end - 1]),
        )
        for number, (start, end) in enumerate(zip(starts, ends, strict=True), start=1)
    )
