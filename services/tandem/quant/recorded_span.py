"""The last bars of a training, kept beside the bundle, with the state that the filter had before them: what a version is tested on again.

A version is begun at the span's start instead of its own and stepped through these bars by whoever would serve it; it must then decide what
it decided when it was trained (flow/decision_digest.py). Cut out by the trainer; knows no file and no server.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tandem.domain.errors import BadRecord
from tandem.domain.ids import PairId, Symbol
from tandem.domain.market import SessionGrid
from tandem.quant.bundle import Bundle, PairStart, pair_start
from tandem.quant.history import fold
from tandem.quant.panel import Panel

SPAN_BARS = 500  # two years of days, or a session and a half of minutes: seconds to replay


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordedSpan:
    """n bars of S symbols, and where each pair stood before the first of them."""

    start_ns: int  # close of the bar before the first
    starts: Mapping[PairId, PairStart]
    grid: SessionGrid  # of the span's sessions and of the bar before it
    symbols: tuple[Symbol, ...]
    close_ns: NDArray[np.int64]  # (n,)
    close: NDArray[np.float64]  # (n, S), NaN where a symbol did not trade

    def begun(self, bundle: Bundle) -> Bundle:
        """The bundle as it would be if its training had ended where the span starts. Raises BadRecord for another model's span."""
        missing = [pair.pair for pair in bundle.pairs if pair.pair not in self.starts]
        if missing or len(self.starts) != len(bundle.pairs):
            found = ", ".join(sorted(self.starts))
            raise BadRecord("span_foreign", f"the span is of {found}, the bundle of {', '.join(p.pair for p in bundle.pairs)}")
        pairs = tuple(replace(pair, start=self.starts[pair.pair]) for pair in bundle.pairs)
        return replace(bundle, trained_to_ns=self.start_ns, pairs=pairs)


def record_span(bundle: Bundle, panel: Panel, grid: SessionGrid, *, bars: int = SPAN_BARS) -> RecordedSpan | None:
    """The last `bars` bars of the panel that the bundle was trained on, fewer where some pair has not enough bars before them.

    None where no span leaves each pair the window that its network looks at. grid: the one that the panel was made with.
    """
    count = min(bars, len(panel.close_ns) - 1)
    while count > 0:
        border = len(panel.close_ns) - count
        histories = fold(panel.before(border), bundle.pairs)
        if all(len(history.spread) >= bundle.sequence for history in histories):
            break
        count //= 2
    else:
        return None
    mean, sd = np.array(bundle.feature_mean), np.array(bundle.feature_sd)
    legs = tuple(sorted({leg for pair in bundle.pairs for leg in (pair.leg_a, pair.leg_b)}))
    start_ns = int(panel.close_ns[border - 1])
    return RecordedSpan(
        start_ns=start_ns,
        starts={history.pair.pair: history.start(bundle.sequence, mean, sd) for history in histories},
        grid=_between(grid, start_ns, int(panel.close_ns[-1])),
        symbols=legs,
        close_ns=panel.close_ns[border:],
        close=panel.close[border:][:, [panel.symbols.index(leg) for leg in legs]],
    )


def _between(grid: SessionGrid, from_ns: int, to_ns: int) -> SessionGrid:
    """The sessions of the bars that close in [from_ns, to_ns]."""
    kept = (grid.close_ns >= from_ns) & (grid.open_ns < to_ns)
    return SessionGrid(open_ns=grid.open_ns[kept], close_ns=grid.close_ns[kept], bar_ns=grid.bar_ns)


def span_document(span: RecordedSpan) -> dict[str, Any]:
    """As JSON values; a price that is not there is null."""
    return {
        "start_ns": span.start_ns,
        "starts": {pair: asdict(start) for pair, start in sorted(span.starts.items())},
        "sessions": [span.grid.open_ns.tolist(), span.grid.close_ns.tolist()],
        "bar_ns": span.grid.bar_ns,
        "symbols": list(span.symbols),
        "close_ns": span.close_ns.tolist(),
        "close": [[None if math.isnan(price) else price for price in row] for row in span.close.tolist()],
    }


def span_of(document: Mapping[str, Any]) -> RecordedSpan:
    """Back. Raises BadRecord."""
    try:
        opens, closes = (np.array(times, dtype=np.int64) for times in document["sessions"])
        symbols = tuple(map(Symbol, document["symbols"]))
        return RecordedSpan(
            start_ns=int(document["start_ns"]),
            starts={PairId(pair): pair_start(row) for pair, row in document["starts"].items()},
            grid=SessionGrid(open_ns=opens, close_ns=closes, bar_ns=int(document["bar_ns"])),
            symbols=symbols,
            close_ns=np.array(document["close_ns"], dtype=np.int64),
            close=np.array(document["close"], dtype=np.float64).reshape(-1, len(symbols)),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRecord("span_malformed", f"{type(error).__name__}: {error}") from error
